"""Data sets of Gaussian classes and of digits."""

from __future__ import annotations

import functools

import numpy as np
from programs.rows import random

from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.core.dataset import Dataset, Split


def dataset(x, labels=None, held_out=200, truth=None, name="made", **space):
    flat = x.reshape(*x.shape[:2], -1).astype(np.float64)
    kind = VectorSpace
    if x.ndim == 4:
        channels = x.shape[1]
        kind = ImageSpace
        space |= {"low": (0.0,) * channels, "high": (1.0,) * channels}
        flat /= 255
    train = Split(x[held_out:])
    rest = Split(x[:held_out])
    if labels is not None:
        train = Split(x[held_out:], labels[held_out:])
        rest = Split(x[:held_out], labels[:held_out])
        share = np.bincount(train.labels) / len(train)
        names = tuple(map(str, range(len(share))))
        space["conditions"] = {"label": Label(names, tuple(share.tolist()))}
    mean = flat.mean((0, 2))
    std = flat.std((0, 2))
    std[std == 0] = 1
    units = kind(x.shape[1:], tuple(mean.tolist()), tuple(std.tolist()), **space)
    return Dataset(name, units, train, rest, truth)


def vectors(n=1200, d=12, classes=3, seed=0):
    r = random(seed)
    labels = r.integers(0, classes, n)
    centres = 3 * r.standard_normal((classes, d))
    noise = r.standard_normal((n, d)) * r.uniform(0.3, 2, d)
    x = centres[labels] + noise
    return x.astype(np.float32), labels


@functools.cache
def handwritten():
    from sklearn.datasets import load_digits

    source = load_digits()
    order = random(1).permutation(len(source.target))
    x = np.round(source.images * 255 / 16).astype(np.uint8)[order, None]
    return dataset(x, source.target[order].astype(np.int64), held_out=360, name="digits")


def mixture(rows, seed, d=64):
    """Classes that overlap in many columns, which a classifier learns by heart."""
    r = random(seed)
    fixed = random(99)
    centres = 0.15 * fixed.standard_normal((4, d))
    shapes = fixed.standard_normal((4, d, d)) / np.sqrt(d)
    labels = r.integers(0, 4, rows)
    noise = np.einsum("nij,nj->ni", shapes[labels], r.standard_normal((rows, d)))
    x = centres[labels] + noise
    return x.astype(np.float32), labels
