"""Guidance: a denoiser made from a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.denoiser import Condition, Denoiser
from pushforward.errors import UsageError
from pushforward.predictions import check, convert

__all__ = ["Guided"]


class Guided(nn.Module):
    """Classifier-free guidance: y = y_without + scale (y_with - y_without), both from one doubled batch.

    Scale 1 is the conditional model itself, 0 the unconditional one; both cost one call, all others two. All
    predictions are affine in each other at fixed x_t, so it does not matter which of them is guided.

    Args:
        denoiser: A denoiser trained with labels and label dropout.
        scale: How far to go beyond the unconditional estimate.

    References:
        Ho and Salimans, Classifier-Free Diffusion Guidance (2022).
    """

    def __init__(self, denoiser: Denoiser, scale: float = 1.0) -> None:
        super().__init__()
        if not denoiser.space.classes:
            raise UsageError("Guidance needs a model trained with labels; this one was trained without (--condition label).")
        self.denoiser, self.scale = denoiser, float(scale)
        self.path, self.space = denoiser.path, denoiser.space

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The guided estimate of ``kind`` at x_t (n, *shape) and t (n,), model units."""
        check(kind)
        if condition is None or self.scale == 0:
            return self.denoiser.predict(kind, x_t, t, None)
        if self.scale == 1:
            return self.denoiser.predict(kind, x_t, t, condition)
        n = len(x_t)
        null = torch.arange(2 * n, device=x_t.device) >= n
        doubled = {name: torch.cat([part, part]) for name, part in condition.items()}
        given = doubled.get("null")
        doubled["null"] = null if given is None else null | given
        both = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), doubled)
        y = torch.lerp(both[n:], both[:n], self.scale)
        return convert(self.denoiser.prediction, kind, y, x_t, self.denoiser.coefficients(x_t, t))

    def calls(self) -> int:
        """Two, or one where the scale is 0 or 1."""
        return 1 if self.scale in (0, 1) else 2
