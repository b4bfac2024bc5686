"""Codebooks in double precision: the lookup with unit lengths and its gradients, and codes as running averages.

`lookup` is LlamaGen's `VectorQuantizer` with `l2_norm`; `average` and `average_unit` are the update of van den Oord et al. 2017
(appendix A.1) with Sonnet's smoothing, in numbers of features a step.
"""

import torch
import torch.nn.functional as F

from fixture import generator, normal, write

IMAGES, ROWS, WIDTH, CODES, STEPS = 2, 24, 5, 12, 4
COMMITMENT, SCALE, DECAY, SMOOTHING = 0.25, 0.7, 0.8, 1e-5


def nearest(z, codes):
    return torch.cdist(z, codes).argmin(1)


def lookup(source):
    z, codes, upstream = (normal(source, rows, WIDTH) for rows in (ROWS, CODES, ROWS))
    z.requires_grad_()
    codes.requires_grad_()
    unit, book = F.normalize(z, dim=1), F.normalize(codes, dim=1)
    found = nearest(unit, book)
    vectors = book[found]
    errors = ((vectors - unit) ** 2).view(IMAGES, -1).sum(1)
    loss = ((vectors - unit.detach()) ** 2).sum() + COMMITMENT * ((vectors.detach() - unit) ** 2).sum()
    passed = unit + (vectors - unit).detach()
    ((passed * upstream).sum() + SCALE * loss).backward()
    return dict(
        z=z, codes=codes, dy=upstream, vectors=vectors, found=found.int(), errors=errors, dz=z.grad, dcodes=codes.grad,
        commitment=COMMITMENT, scale=SCALE, images=IMAGES)


def average(source, is_unit):
    z, codes = normal(source, STEPS, ROWS, WIDTH), normal(source, CODES, WIDTH, scale=0.5)
    given = codes
    share = ROWS / CODES
    counts, sums = torch.full((CODES,), share, dtype=torch.float64), codes * share
    all_codes, all_found = [], []
    for features in F.normalize(z, dim=2) if is_unit else z:
        found = nearest(features, F.normalize(codes, dim=1) if is_unit else codes)
        taken = F.one_hot(found, CODES).double()
        counts = DECAY * counts + (1 - DECAY) * taken.sum(0)
        sums = DECAY * sums + (1 - DECAY) * taken.T @ features
        epsilon = SMOOTHING * share
        smoothed = (counts + epsilon) / (counts.sum() + CODES * epsilon) * counts.sum()
        codes = sums / smoothed[:, None]
        all_codes.append(codes)
        all_found.append(found.int())
    return dict(
        z=z, codes=given, found=torch.stack(all_found), after=torch.stack(all_codes), use=counts / share,
        sums=sums / share, decay=DECAY)


source = generator(61)
write("codebook", dict(lookup=lookup(source), average=average(source, False), average_unit=average(source, True)))
