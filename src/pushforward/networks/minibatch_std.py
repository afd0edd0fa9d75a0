"""Minibatch standard deviation: a channel of the critic with the spread of a group of samples, which exposes lost modes."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.errors import UsageError
from pushforward.networks.checks import positive

SMALLEST = 1e-4
"""Deviations far above this are themselves; below it they fade into the variance, whose derivatives are finite at zero."""


def append_minibatch_std(h: Tensor, group: int) -> Tensor:
    """Append to each example how much its group of examples differs, as one more channel or feature.

    Examples form fixed groups of ``group`` consecutive examples; the last group is smaller where n is no multiple. In each group
    the standard deviation s of every feature (over the examples, divided by their number) is taken and averaged over all
    features, channels and pixels. In place of s stands sqrt(s^2 + e^2) - e with e = 1e-4: exactly 0 where the examples
    are equal or alone, less than s by at most e elsewhere, and with finite derivatives of every order.

    Args:
        h: (n, c, height, width) or (n, c): features of a critic.
        group: Examples in a group, at least 1; the paper has 4.

    Returns:
        (n, c + 1, height, width) or (n, c + 1), in the type of ``h``.

    Raises:
        UsageError: ``group`` is below 1, or ``h`` has no features.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, 2018, section 3.
    """
    positive(group=group)
    if h.ndim < 2:
        raise UsageError(f"Got features of shape {tuple(h.shape)}; expected (n, c, ...), one entry per example.")
    n = h.shape[0]
    flat = h.flatten(1).to(torch.promote_types(h.dtype, torch.float32))
    whole = n // group * group
    parts = [flat[:whole].unflatten(0, (-1, group))] if whole else []
    parts += [flat[None, whole:]] if whole < n else []
    means = [_deviation(part).repeat_interleave(part.shape[1]) for part in parts]
    deviation = torch.cat(means).to(h.dtype) if means else h.new_zeros(0)
    return torch.cat([h, deviation.unflatten(0, (-1, *[1] * (h.ndim - 1))).expand(-1, 1, *h.shape[2:])], dim=1)


def _deviation(groups: Tensor) -> Tensor:
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    # sqrt(v + e^2) - e without the difference of two nearly equal numbers
    return (variance / ((variance + SMALLEST**2).sqrt() + SMALLEST)).mean(1)
