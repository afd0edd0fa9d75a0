"""Guidance: denoisers made from denoisers, for every prediction, path and solver alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.arguments import number
from pushforward.denoiser import Condition, Predictor, Repathed, check_predictor, rows_of, trained
from pushforward.errors import UsageError
from pushforward.paths import Path
from pushforward.predictions import check, convert

__all__ = ["Autoguided", "Guided", "Thresholded"]

Interval = tuple[float, float] | None
"""The noise levels sigma / alpha, the lower first, between which guidance acts; None is everywhere."""


def _checked(interval: Interval) -> Interval:
    if interval is None:
        return None
    low, high = float(interval[0]), float(interval[1])
    if not 0 <= low < high:
        raise UsageError(f"A guidance interval is two noise levels sigma / alpha, the lower first; got {low:g} and {high:g}.")
    return low, high


def _scale(value: float) -> float:
    value = number("scale", value)
    if not math.isfinite(value):
        raise UsageError(f"A guidance scale must be a finite number, got {value}.")
    return value


def _inside(interval: Interval, path: Path, t: Tensor) -> Tensor | None:
    """Which rows guidance acts on, bool (n,); None is all of them."""
    if interval is None:
        return None
    level = torch.exp(-path.log_snr(t) / 2)
    return (level >= interval[0]) & (level <= interval[1])


def _acts(interval: Interval, path: Path, t: float) -> bool:
    inside = _inside(interval, path, torch.tensor([t], dtype=torch.float64))
    return inside is None or bool(inside)


class Guided(nn.Module):
    """Classifier-free guidance: y = y_without + scale (y_with - y_without), all rows in one batch.

    Scale 1 is the conditional model itself, 0 the unconditional one; both cost one call, all others two. All
    predictions are affine in each other at fixed x_t, so it does not matter which of them is guided. Outside the interval
    the conditional model is used alone, which costs one call.

    Args:
        denoiser: A denoiser trained with labels and label dropout.
        scale: How far to go beyond the unconditional estimate.
        interval: The noise levels sigma / alpha between which guidance acts; None is everywhere.

    Raises:
        UsageError: For a model without labels or without an unconditional branch, or an interval that is none.

    References:
        Ho and Salimans, Classifier-Free Diffusion Guidance (2022); Kynkäänniemi et al., Applying Guidance in a Limited Interval
        (2024).
    """

    def __init__(self, denoiser: Predictor, scale: float = 1.0, interval: Interval = None) -> None:
        super().__init__()
        check_predictor(denoiser)
        if not denoiser.space.classes:
            raise UsageError("Guidance needs a model trained with labels; this one was trained without.")
        inner = trained(denoiser)
        if inner is not None and not inner.unconditional:
            raise UsageError(
                "Guidance needs an unconditional branch, and this model was trained without one (label_dropout=0). Train with "
                "label_dropout=0.1, or guide it by a weaker model (`weaker=RUN`; pf.Autoguided in Python)."
            )
        self.denoiser, self.scale, self.interval = denoiser, _scale(scale), _checked(interval)
        self.path, self.space = denoiser.path, denoiser.space

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The guided estimate of ``kind`` at x_t (n, *shape) and t (n,), model units."""
        check(kind)
        if condition is None or (self.scale == 0 and self.interval is None):
            return self.denoiser.predict(kind, x_t, t, None)
        if self.scale == 1:
            return self.denoiser.predict(kind, x_t, t, condition)
        n, inside = len(x_t), _inside(self.interval, self.path, t)
        rows = torch.arange(n, device=x_t.device) if inside is None else inside.nonzero().flatten()
        every = torch.cat([torch.arange(n, device=x_t.device), rows])
        asked = rows_of(condition, every) or {}
        null = torch.arange(len(every), device=x_t.device) >= n
        asked["null"] = null | asked["null"] if "null" in asked else null
        y = self.denoiser.predict(kind, x_t[every], t[every], asked)
        return y[:n].index_copy(0, rows, torch.lerp(y[n:], y[rows], self.scale))

    def calls(self, t: float = 0.5) -> int:
        """Two inside the interval; one outside it, or where the scale is 0 or 1."""
        plain = self.scale == 1 or (self.scale == 0 and self.interval is None)
        return self.denoiser.calls(t) * (1 if plain or not _acts(self.interval, self.path, t) else 2)


class Autoguided(nn.Module):
    """Guidance by a worse version of the same model: y = y_weaker + scale (y - y_weaker).

    The weaker one is an earlier checkpoint or a smaller network; both see the same condition, so nothing of the data's variety
    is given up for the label's sake. The stronger one may be `Guided` itself.

    Args:
        denoiser: The model.
        weaker: The worse one, on any path.
        scale: 1 is the model itself; beyond, away from the worse one.
        interval: The noise levels sigma / alpha between which guidance acts; None is everywhere.

    Raises:
        UsageError: For models of different shapes, or an interval that is none.

    References:
        Karras et al., Guiding a Diffusion Model with a Bad Version of Itself (2024).
    """

    def __init__(self, denoiser: Predictor, weaker: Predictor, scale: float = 2.0, interval: Interval = None) -> None:
        super().__init__()
        check_predictor(denoiser)
        check_predictor(weaker)
        if tuple(denoiser.space.shape) != tuple(weaker.space.shape):
            raise UsageError(
                f"The weaker model makes rows of shape {tuple(weaker.space.shape)}, the model {tuple(denoiser.space.shape)}; "
                "guide with a model of the same data."
            )
        self.denoiser, self.weaker = denoiser, weaker
        self.scale, self.interval = _scale(scale), _checked(interval)
        self.path, self.space = denoiser.path, denoiser.space
        self._matched = Repathed(weaker, denoiser.path)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The guided estimate of ``kind`` at x_t (n, *shape) and t (n,), model units."""
        y = self.denoiser.predict(kind, x_t, t, condition)
        if self.scale == 1:
            return y
        inside = _inside(self.interval, self.path, t)
        rows = torch.arange(len(x_t), device=x_t.device) if inside is None else inside.nonzero().flatten()
        if not len(rows):
            return y
        known = self.weaker.space.classes
        weak = self._matched.predict(kind, x_t[rows], t[rows], rows_of(condition, rows) if known else None)
        return y.index_copy(0, rows, torch.lerp(weak, y[rows], self.scale))

    def calls(self, t: float = 0.5) -> int:
        """The model's and, inside the interval, the weaker one's."""
        acts = self.scale != 1 and _acts(self.interval, self.path, t)
        return self.denoiser.calls(t) + (self._matched.calls(t) if acts else 0)


class Thresholded(nn.Module):
    """Dynamic thresholding: the predicted image is held within its range, and drawn together where much of it lies outside.

    With u the prediction on the scale where the data's range is [-1, 1] and s = max(1, the p-quantile of |u| in one image), the
    prediction becomes clamp(u, -s, s) / s. Strong guidance then does not saturate pixels.

    Args:
        denoiser: What predicts.
        share: p, between 0 and 1.

    Raises:
        UsageError: For data without bounds, or a share outside (0, 1].

    References:
        Saharia et al., Imagen (2022), section 2.3.
    """

    def __init__(self, denoiser: Predictor, share: float = 0.995) -> None:
        super().__init__()
        check_predictor(denoiser)
        if denoiser.space.bounds is None:
            raise UsageError("Thresholding needs data with bounds (images); these rows have none.")
        if not 0 < share <= 1:
            raise UsageError(f"Thresholding takes a share of pixels in (0, 1], got {share}.")
        self.denoiser, self.share = denoiser, float(share)
        self.path, self.space = denoiser.path, denoiser.space

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` whose data lie within bounds, at x_t (n, *shape) and t (n,), model units."""
        assert self.space.bounds is not None
        low, high = (end.to(x_t) for end in self.space.bounds)
        middle, half = (low + high) / 2, (high - low) / 2
        u = (self.denoiser.predict("data", x_t, t, condition) - middle) / half
        reach = torch.quantile(u.abs().flatten(1), self.share, dim=1).clamp(min=1).reshape(-1, *(1,) * (u.dim() - 1))
        data = middle + half * torch.maximum(torch.minimum(u, reach), -reach) / reach
        return convert("data", check(kind), data, x_t, self.path.at(t).over(x_t))

    def calls(self, t: float = 0.5) -> int:
        """The denoiser's."""
        return self.denoiser.calls(t)
