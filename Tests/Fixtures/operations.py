"""Inputs, outputs and gradients of every differentiable operation, computed by PyTorch in double precision."""

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from fixture import generator, leaf, normal, write


def differentiate(y, dy, **leaves):
    """The gradients of `sum(y · dy)` as `d<name>`."""
    gradients = torch.autograd.grad((y * dy).sum(), list(leaves.values()))
    return {f"d{name}": gradient for name, gradient in zip(leaves, gradients)}


def rms_norm():
    source, cases, epsilon = generator(1), {}, 1e-5
    shapes = {
        "plain": (6, 64, 1), "one_row": (1, 48, 1), "odd_width": (5, 77, 1), "large": (4, 40, 1e4),
        "tiny": (4, 40, 1e-4),
    }
    for case, (rows, width, scale) in shapes.items():
        x, weight = leaf(normal(source, rows, width, scale=scale)), leaf(normal(source, width))
        dy = normal(source, rows, width)
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight
        theirs = LlamaRMSNorm(width, epsilon)
        theirs.weight.data = weight.detach().float()
        assert torch.allclose(theirs(x.float()).double(), y, rtol=1e-5, atol=1e-5)
        cases[case] = dict(x=x, weight=weight, y=y, dy=dy, **differentiate(y, dy, x=x, weight=weight))
    write("rms_norm", cases)


def linear():
    source, cases = generator(2), {}
    shapes = {
        "plain": (6, 32, 48, True, 1), "one_row": (1, 32, 24, True, 1), "odd_width": (7, 19, 35, True, 1),
        "no_bias": (5, 24, 16, False, 1), "large": (3, 20, 12, True, 1e4), "tiny": (3, 20, 12, True, 1e-6),
    }
    for case, (rows, inputs, outputs, has_bias, scale) in shapes.items():
        x, weight = leaf(normal(source, rows, inputs, scale=scale)), leaf(normal(source, outputs, inputs))
        dy = normal(source, rows, outputs)
        leaves = dict(x=x, weight=weight)
        if has_bias:
            leaves["bias"] = leaf(normal(source, outputs, scale=scale))
        y = F.linear(x, weight, leaves.get("bias"))
        cases[case] = dict(**leaves, y=y, dy=dy, **differentiate(y, dy, **leaves))
    write("linear", cases)


def activations():
    source, gated, plain = generator(3), {}, {}
    shapes = {
        "plain": (4, 32, 1), "one_row": (1, 32, 1), "odd_width": (5, 37, 1), "large": (3, 24, 40),
        "tiny": (3, 24, 1e-5),
    }
    for case, (rows, width, scale) in shapes.items():
        gate, up = (leaf(normal(source, rows, width, scale=scale)) for _ in range(2))
        dy = normal(source, rows, width)
        y = F.silu(gate) * up
        gated[case] = dict(gate=gate, up=up, y=y, dy=dy, **differentiate(y, dy, gate=gate, up=up))
        y = F.silu(gate)
        plain[case] = dict(x=gate, y=y, dy=dy, **differentiate(y, dy, x=gate))
    write("swiglu", gated)
    write("silu", plain)


def rotate(x, positions, heads, base=10000.0):
    """Rotate-half: pairs (j, j + headWidth/2), angle position · base^(−2j/headWidth)."""
    rows, width = x.shape
    whole = x
    half = width // heads // 2
    angle = positions.double()[:, None] * base ** (-torch.arange(half, dtype=torch.float64) / half)
    x = x.view(rows, heads, 2, half)
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    first, second = x[:, :, 0], x[:, :, 1]
    rotated = torch.stack((first * cosine - second * sine, second * cosine + first * sine), 2).reshape(rows, width)
    angle = torch.cat((angle, angle), -1)
    split = whole.view(1, rows, heads, width // heads).transpose(1, 2)
    theirs, _ = apply_rotary_pos_emb(split, split, angle.cos()[None], angle.sin()[None])
    assert torch.allclose(rotated, theirs.transpose(1, 2).reshape(rows, width), rtol=1e-12)
    return rotated


def spans(documents, images):
    """The first and one-past-last visible row of each row.

    `documents` are lengths; `images` are `(first row, rows)`.
    """
    start, end = [], []
    for length in documents:
        start += [len(start)] * length
    end = list(range(1, len(start) + 1))
    for first, rows in images:
        end[first:first + rows] = [first + rows] * rows
    return torch.tensor(start), torch.tensor(end)


def span_attention():
    """Rotary embedding of queries and keys, then attention over each row's interval."""
    source, cases = generator(5), {}
    shapes = {
        "causal": ([9], [], 2, 16, 1), "one_row": ([1], [], 2, 8, 1), "image": ([14], [(3, 6)], 2, 16, 1),
        "whole_image": ([8], [(0, 8)], 1, 16, 1),
        "documents": ([5, 1, 11, 7], [(7, 4), (12, 4), (18, 4)], 3, 12, 1),
        "odd_width": ([13, 8], [(2, 5), (15, 3)], 1, 18, 1),
        "long": ([70, 59, 51], [(10, 40), (75, 40), (120, 9), (140, 40)], 1, 32, 1),
        "tiles": ([401, 199], [(30, 256), (450, 64), (520, 64)], 1, 4, 1),
        "far": ([10], [(2, 4)], 2, 8, 1), "large": ([10], [(2, 4)], 2, 8, 8), "tiny": ([10], [(2, 4)], 2, 8, 1e-5),
    }
    for case, (documents, images, heads, head_width, scale) in shapes.items():
        start, end = spans(documents, images)
        rows = len(start)
        positions = torch.arange(rows) - start + (3000 if case == "far" else 0)
        q, k, v = (leaf(normal(source, rows, heads * head_width, scale=scale)) for _ in range(3))
        do = normal(source, rows, heads * head_width)
        key = torch.arange(rows)
        mask = (key >= start[:, None]) & (key < end[:, None])
        turned = rotate(q, positions, heads), rotate(k, positions, heads), v
        split = [x.view(rows, heads, head_width).transpose(0, 1) for x in turned]
        scores = (split[0] @ split[1].transpose(1, 2)) * head_width**-0.5
        o = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ split[2]
        o = o.transpose(0, 1).reshape(rows, -1)
        cases[case] = dict(
            q=q, k=k, v=v, positions=positions, visible_start=start, visible_end=end, heads=heads, o=o, do=do,
            **differentiate(o, do, q=q, k=k, v=v))
    write("span_attention", cases)


def embedding():
    """Token embeddings with the vectors of patches at the rows of images."""
    source, cases = generator(6), {}
    for case, (tokens, vocabulary, width, per_image) in {
        "plain": ([3, 0, 9, 5], 10, 16, 0), "repeated": ([4, 4, 1, 4, 0, 1, 4], 6, 24, 0), "one_row": ([2], 3, 8, 0),
        "odd_width": ([0, 6, 6], 7, 19, 0), "patches": ([0, -1, -1, 3, -1, -1, -1, -1, 3, 1], 5, 12, 2),
    }.items():
        tokens, weight = torch.tensor(tokens), leaf(normal(source, vocabulary, width))
        rows = (tokens < 0).nonzero().flatten()
        patches = leaf(normal(source, len(rows), width))
        dy = normal(source, len(tokens), width)
        y = weight[tokens.clamp(min=0)].index_copy(0, rows, patches)
        cases[case] = dict(tokens=tokens, weight=weight, y=y, dy=dy)
        leaves = dict(weight=weight)
        if per_image:
            leaves["patches"] = patches
            cases[case] |= dict(image_starts=rows[::per_image], patches=patches)
        cases[case] |= differentiate(y, dy, **leaves)
    write("embedding", cases)


def cross_entropy():
    source, cases = generator(7), {}
    shapes = {
        "plain": (8, 24, 40, 1), "one_row": (1, 16, 12, 1), "odd_width": (19, 21, 101, 1), "large": (5, 16, 33, 30),
        "tiny": (5, 16, 33, 1e-4), "no_targets": (3, 8, 9, 1),
    }
    for case, (rows, width, vocabulary, scale) in shapes.items():
        hidden, weight = leaf(normal(source, rows, width)), leaf(normal(source, vocabulary, width, scale=scale))
        targets = torch.randint(0, vocabulary, (rows,), generator=source)
        if rows > 1:
            targets[::3] = -1
        if case == "no_targets":
            targets[:] = -1
        factor = 0.37
        loss = F.cross_entropy(hidden @ weight.T, targets, ignore_index=-1, reduction="sum")
        dhidden, dweight = torch.autograd.grad(factor * loss, [hidden, weight])
        cases[case] = dict(
            hidden=hidden, weight=weight, targets=targets, loss=loss, factor=factor, dhidden=dhidden, dweight=dweight)
    write("cross_entropy", cases)


def sinusoid(timesteps, width=256):
    half = width // 2
    angle = timesteps.double()[:, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat((angle.cos(), angle.sin()), -1)


def timestep_embedding():
    timesteps = torch.tensor([0, 1, 17, 499, 500, 998, 999])
    y = sinusoid(timesteps)
    theirs = get_timestep_embedding(timesteps, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert torch.allclose(theirs.double(), y, atol=1e-4)
    write("timestep_embedding", {"plain": dict(timesteps=timesteps, y=y)})


def mean_squared_error():
    source, cases = generator(8), {}
    for case, (images, elements, scale) in {
        "plain": (3, 32, 1), "one_row": (1, 48, 1), "odd_width": (2, 75, 1), "large": (2, 20, 1e3),
        "tiny": (2, 20, 1e-4),
    }.items():
        prediction = leaf(normal(source, images, elements, scale=scale))
        target = normal(source, images, elements, scale=scale)
        # One number an image: the mean over its elements. The loss is their sum times a factor of the whole batch.
        factor = 0.61
        per_image = F.mse_loss(prediction, target, reduction="none").mean(-1)
        (dprediction,) = torch.autograd.grad(factor * per_image.sum(), [prediction])
        cases[case] = dict(
            prediction=prediction, target=target, per_image=per_image, factor=factor, dprediction=dprediction)
    write("mean_squared_error", cases)


def patchify():
    cases = {}
    for case, (images, channels, height, width, patch) in {
        "plain": (2, 4, 8, 8, 2), "one_patch": (1, 3, 4, 4, 4), "wide": (1, 3, 6, 9, 3), "pixels": (1, 2, 2, 3, 1),
    }.items():
        x = torch.arange(images * channels * height * width).double().view(images, channels, height, width)
        rows, columns = height // patch, width // patch
        y = torch.empty(images * rows * columns, patch * patch * channels, dtype=torch.float64)
        for image in range(images):
            for row in range(rows):
                for column in range(columns):
                    block = x[image, :, row * patch:(row + 1) * patch, column * patch:(column + 1) * patch]
                    y[(image * rows + row) * columns + column] = block.permute(1, 2, 0).flatten()
        cases[case] = dict(x=x, patch=patch, y=y)
    write("patchify", cases)


for make in (
    rms_norm, linear, activations, span_attention, embedding, cross_entropy, timestep_embedding,
    mean_squared_error, patchify,
):
    make()
