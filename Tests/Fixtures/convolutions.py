"""Inputs, outputs and gradients of the operations over pictures, computed by PyTorch in double precision.

Pictures are stored as [images, height, width, channels]; kernels as PyTorch has them, [outputs, inputs, height, width].
"""

import torch
import torch.nn.functional as F

from fixture import generator, leaf, normal, write


def last(x):
    return x.movedim(1, -1)


def differentiate(y, dy, **leaves):
    """The gradients of `sum(y · dy)` as `d<name>`; those of pictures with the channels last."""
    gradients = torch.autograd.grad((y * dy).sum(), list(leaves.values()))
    return {
        f"d{name}": last(gradient) if name in ("x", "residual") else gradient
        for name, gradient in zip(leaves, gradients)
    }


def convolution():
    source, cases = generator(21), {}
    # images, height, width, inputs, outputs, kernel, stride, (top, left, bottom, right), bias, residual
    shapes = {
        "plain": (2, 7, 9, 5, 6, 3, 1, (1, 1, 1, 1), True, False),
        "one_pixel": (1, 1, 1, 3, 4, 3, 1, (1, 1, 1, 1), True, False),
        "pointwise": (2, 5, 3, 7, 9, 1, 1, (0, 0, 0, 0), True, True),
        "no_bias": (1, 4, 5, 8, 3, 1, 1, (0, 0, 0, 0), False, False),
        "residual": (2, 5, 4, 6, 6, 3, 1, (1, 1, 1, 1), True, True),
        "down_asymmetric": (2, 8, 6, 4, 5, 3, 2, (0, 0, 1, 1), True, False),
        "down_odd": (1, 7, 9, 4, 5, 3, 2, (0, 0, 1, 1), True, False),
        "down_symmetric": (1, 9, 8, 3, 7, 3, 2, (1, 1, 1, 1), True, False),
        "patches": (2, 9, 11, 3, 6, 4, 2, (1, 1, 1, 1), True, False),
        "patches_dense": (1, 6, 5, 6, 1, 4, 1, (1, 1, 1, 1), False, False),
        "gaps": (1, 7, 5, 3, 4, 1, 3, (0, 0, 0, 0), True, False),
        "uneven": (1, 5, 6, 2, 3, 3, 2, (2, 0, 1, 3), True, False),
        "packed": (1, 5, 6, 64, 64, 3, 1, (1, 1, 1, 1), True, False),
        "wide": (1, 3, 4, 260, 3, 3, 1, (1, 1, 1, 1), True, False),
        "by_taps": (1, 4, 5, 200, 3, 3, 1, (1, 1, 1, 1), True, False),
        "by_rows": (2, 5, 4, 48, 6, 3, 2, (0, 0, 1, 1), True, False),
        "many_pixels": (1, 45, 47, 3, 4, 3, 1, (1, 1, 1, 1), True, False),
    }
    for case, (images, height, width, inputs, outputs, kernel, stride, padding, bias, residual) in shapes.items():
        top, left, bottom, right = padding
        leaves = dict(
            x=leaf(normal(source, images, inputs, height, width)),
            weight=leaf(normal(source, outputs, inputs, kernel, kernel)))
        if bias:
            leaves["bias"] = leaf(normal(source, outputs))
        y = F.conv2d(F.pad(leaves["x"], (left, right, top, bottom)), leaves["weight"], leaves.get("bias"), stride)
        if residual:
            leaves["residual"] = leaf(normal(source, *y.shape))
            y = y + leaves["residual"]
        dy = normal(source, *y.shape)
        cases[case] = dict(
            leaves, x=last(leaves["x"]), stride=stride, padding=torch.tensor(padding), y=last(y), dy=last(dy),
            **differentiate(y, dy, **leaves))
        if residual:
            cases[case]["residual"] = last(leaves["residual"])
    write("convolution", cases)


def group_norm():
    source, cases = generator(22), {}
    # images, height, width, channels, groups, silu, scale, offset
    shapes = {
        "plain": (2, 4, 5, 12, 3, False, 1, 0), "silu": (2, 4, 5, 12, 3, True, 1, 0),
        "one_pixel": (2, 1, 1, 8, 2, True, 1, 0), "one_group": (1, 3, 7, 5, 1, True, 1, 0),
        "each_channel": (1, 5, 3, 6, 6, False, 1, 0), "odd_width": (3, 3, 3, 33, 11, True, 1, 0),
        "offset": (1, 5, 6, 8, 2, True, 1, 100), "large": (1, 5, 6, 8, 2, True, 1e3, 0),
        "tiny": (1, 5, 6, 8, 2, True, 1e-3, 0), "many_pixels": (1, 67, 65, 8, 4, True, 1, 1),
    }
    for case, (images, height, width, channels, groups, silu, scale, offset) in shapes.items():
        x = leaf((normal(source, images, channels, height, width, scale=scale) + offset).float().double())
        weight, bias = leaf(normal(source, channels)), leaf(normal(source, channels))
        y = F.group_norm(x, groups, weight, bias, 1e-6)
        if silu:
            y = F.silu(y)
        dy = normal(source, *y.shape)
        cases[case] = dict(
            x=last(x), weight=weight, bias=bias, groups=groups, silu=int(silu), y=last(y), dy=last(dy),
            **differentiate(y, dy, x=x, weight=weight, bias=bias))
    write("group_norm", cases)


def batch_norm():
    source, cases = generator(25), {}
    # images, height, width, channels, scale, offset
    shapes = {
        "plain": (4, 4, 5, 12, 1, 0), "one_pixel": (4, 1, 1, 8, 1, 0), "odd": (3, 7, 5, 33, 1, 0),
        "offset": (2, 5, 6, 8, 1, 100), "large": (2, 5, 6, 8, 1e3, 0), "tiny": (2, 5, 6, 8, 1e-3, 0),
        "many_pixels": (1, 67, 65, 8, 1, 1),
    }
    for case, (images, height, width, channels, scale, offset) in shapes.items():
        x = leaf((normal(source, images, channels, height, width, scale=scale) + offset).float().double())
        weight, bias = leaf(normal(source, channels)), leaf(normal(source, channels))
        y = F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)
        dy = normal(source, *y.shape)
        cases[case] = dict(
            x=last(x), weight=weight, bias=bias, y=last(y), dy=last(dy),
            **differentiate(y, dy, x=x, weight=weight, bias=bias))
    write("batch_norm", cases)


def resampling():
    source, cases = generator(23), {}

    def add(case, function, images, height, width, channels, **options):
        x = leaf(normal(source, images, channels, height, width))
        y = function(x)
        dy = normal(source, *y.shape)
        cases[case] = dict(options, x=last(x), y=last(y), dy=last(dy), **differentiate(y, dy, x=x))

    for case, shape in {"plain": (2, 3, 4, 5), "one_pixel": (1, 1, 1, 3), "wide": (1, 2, 3, 70)}.items():
        add(f"upsample_{case}", lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), *shape)
    # images, height, width, channels, size, stride, padding
    pools = {
        "plain": (2, 6, 8, 5, 2, 2, 0), "odd": (1, 7, 9, 3, 2, 2, 0), "overlapping": (2, 7, 8, 3, 3, 2, 1),
        "dense": (1, 5, 6, 4, 3, 1, 1), "gaps": (1, 8, 7, 3, 2, 3, 0), "wide": (1, 4, 5, 70, 3, 2, 1),
        "whole": (2, 4, 4, 3, 4, 4, 0),
    }
    for case, (images, height, width, channels, size, stride, padding) in pools.items():
        shape, options = (images, height, width, channels), dict(size=size, stride=stride, padding=padding)
        add(f"max_{case}", lambda x: F.max_pool2d(x, size, stride, padding), *shape, **options)
        for counts in (True, False):
            add(
                f"average_{case}_{int(counts)}",
                lambda x: F.avg_pool2d(x, size, stride, padding, count_include_pad=counts), *shape, **options,
                counts_padding=int(counts))
    write("resampling", cases)


def leaky_relu():
    source, cases = generator(24), {}
    for case, (rows, width, slope) in {"plain": (4, 32, 0.2), "odd_width": (5, 37, 0.01), "relu": (3, 17, 0.0)}.items():
        x = leaf(normal(source, rows, width))
        y = F.leaky_relu(x, slope)
        dy = normal(source, rows, width)
        (dx,) = torch.autograd.grad((y * dy).sum(), [x])
        cases[case] = dict(x=x, slope=slope, y=y, dy=dy, dx=dx)
    write("leaky_relu", cases)


for make in (convolution, group_norm, batch_norm, resampling, leaky_relu):
    make()
