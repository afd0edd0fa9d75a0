"""Predictions: the meanings of a network's output, and the conversions between them.

A prediction is a row (a, b): the output is y = a x + b z. Together with x_t = alpha x + sigma z that is a 2x2 linear system, so
any output gives the data x and the noise z, and from these any other output.

References:
    Salimans and Ho, Progressive Distillation (2022), for v; Kingma and Gao, Understanding Diffusion Objectives (2023), for how
    loss weights move between predictions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.errors import unknown
from pushforward.paths import Coefficients

Row = tuple[Tensor, Tensor]

ROWS: dict[str, Callable[[Coefficients], Row]] = {
    "data": lambda k: (torch.ones_like(k.alpha), torch.zeros_like(k.alpha)),
    "noise": lambda k: (torch.zeros_like(k.alpha), torch.ones_like(k.alpha)),
    "velocity": lambda k: (k.dalpha, k.dsigma),
    "v": lambda k: (-k.sigma / k.r, k.alpha / k.r),
    "score": lambda k: (torch.zeros_like(k.alpha), -1 / k.sigma),
}
"""Prediction name -> (a, b) at given coefficients; `v` is unit length, never singular, and Salimans' v where variance is kept."""


def check(kind: str) -> str:
    """Return ``kind`` if it names a prediction, else raise `UsageError`."""
    if kind not in ROWS:
        raise unknown("prediction", kind, ROWS)
    return kind


def target(kind: str, x: Tensor, z: Tensor, k: Coefficients) -> Tensor:
    """The output of a perfect network of this kind, a x + b z.

    Args:
        kind: A name in `ROWS`.
        x: Data, (n, *shape), model units.
        z: Noise of the same shape.
        k: Coefficients that broadcast over x (`Coefficients.over`).
    """
    a, b = ROWS[kind](k)
    return a * x + b * z


def _determinant(kind: str, k: Coefficients) -> Tensor:
    a, b = ROWS[kind](k)
    return k.alpha * b - k.sigma * a


def solve(kind: str, y: Tensor, x_t: Tensor, k: Coefficients) -> tuple[Tensor, Tensor]:
    """The (x, z) with a x + b z = y and alpha x + sigma z = x_t."""
    a, b = ROWS[kind](k)
    det = k.alpha * b - k.sigma * a
    return (b * x_t - k.sigma * y) / det, (k.alpha * y - a * x_t) / det


def convert(kind: str, to: str, y: Tensor, x_t: Tensor, k: Coefficients) -> Tensor:
    """An output of one kind, read as another at the same x_t."""
    if kind == to:
        return y
    return target(to, *solve(kind, y, x_t, k), k)


def affine(kind: str, to: str, k: Coefficients) -> tuple[Tensor, Tensor]:
    """The (p, q) with which an output y of ``kind``, read as ``to``, is p x_t + q y; of the shape of the coefficients."""
    zeros, ones = torch.zeros_like(k.alpha), torch.ones_like(k.alpha)
    return convert(kind, to, zeros, ones, k), convert(kind, to, ones, zeros, k)


def gain(kind: str, to: str, k: Coefficients) -> Tensor:
    """How much an error in ``kind`` grows when read as ``to`` at fixed x_t: the ratio of their determinants.

    A weight w on the squared error of ``to`` is the weight ``w * gain(kind, to)**2`` on the squared error of ``kind``.
    """
    return _determinant(to, k) / _determinant(kind, k)
