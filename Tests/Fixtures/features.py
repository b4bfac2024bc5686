"""Writes features/: features of two sets in every form of .npz and .npy, and their distances by numpy and scipy.

The formulas are those of pytorch-fid (Fréchet distance), Bińkowski et al. 2018 (kernel distance) and Kynkäänniemi et al. 2019
(precision and recall).
"""

import json
from pathlib import Path

import numpy
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

out = Path(__file__).parent / "features"
out.mkdir(exist_ok=True)
random = numpy.random.default_rng(0)
WIDTH, COUNT = 16, 60
a = random.normal(size=(COUNT, WIDTH)) @ random.normal(size=(WIDTH, WIDTH)) * 0.3
b = a[random.permutation(COUNT)] * 0.8 + random.normal(size=(COUNT, WIDTH)) * 0.6 + 0.6
few = random.normal(size=(10, WIDTH))
a, b, few = a.astype(numpy.float32), b.astype(numpy.float32), few.astype(numpy.float32)


def statistics(x):
    x = x.astype(numpy.float64)
    return numpy.mean(x, axis=0), numpy.cov(x, rowvar=False)


def frechet(x, y):
    (m1, s1), (m2, s2) = statistics(x), statistics(y)
    root = sqrtm(s1 @ s2)
    return float(((m1 - m2) ** 2).sum() + numpy.trace(s1) + numpy.trace(s2) - 2 * numpy.trace(root.real))


def kernel(x, y):
    x, y = x.astype(numpy.float64), y.astype(numpy.float64)
    k = lambda p, q: (p @ q.T / WIDTH + 1) ** 3
    n = len(x)
    same = sum(k(z, z).sum() - numpy.trace(k(z, z)) for z in (x, y)) / (n * (n - 1))
    return float(same - 2 * k(x, y).mean())


def inside(x, y, neighbour=3):
    """The share of y among x."""
    radii = numpy.sort(cdist(x, x), axis=1)[:, neighbour]
    return float((cdist(y, x) <= radii).any(axis=1).mean())


numpy.savez_compressed(out / "a.npz", features=a)
numpy.savez(out / "b.npz", activations=b)
numpy.save(out / "b.npy", b.astype(numpy.float64))
numpy.savez(out / "few.npz", features=few)
for name, x in ("a", a), ("b", b):
    mu, sigma = statistics(x)
    save = numpy.savez if name == "a" else numpy.savez_compressed
    save(out / f"{name}-statistics.npz", mu=mu, sigma=numpy.asfortranarray(sigma))
expected = {
    "frechet_distance": frechet(a, b),
    # Fewer pictures than features: the covariance is singular.
    "frechet_distance_few": frechet(a, few),
    "kid": kernel(a, b),
    "precision": inside(a, b),
    "recall": inside(b, a),
}
(out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
print(expected)
