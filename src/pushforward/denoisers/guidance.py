"""Guidance: wrappers of denoisers, for every prediction, path and solver."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pushforward.arguments import number, share as within
from pushforward.conditions.kind import hidden as hide, known_to
from pushforward.denoisers.denoiser import (
    SCALE,
    ChangesData,
    Condition,
    Predictor,
    Rescheduled,
    TimeColumns,
    Wrapped,
    blend,
    check_predictor,
    columns_of,
    condition_at,
    evaluate,
    guidance_range,
    mapped,
    rising,
    shaped,
    trained_denoiser,
    without_scale,
)
from pushforward.errors import UsageError
from pushforward.paths import Path

# Noise levels sigma / alpha, the lower first, between which guidance acts; None for all
Interval = tuple[float, float] | None


def _checked(interval: Interval) -> Interval:
    if interval is None:
        return None
    return rising("A guidance interval", interval)


def _inside(interval: Interval, path: Path, t: Tensor) -> Tensor:
    if interval is None:
        return torch.ones_like(t)
    level = torch.exp(-path.log_snr(t) / 2)
    return ((level >= interval[0]) & (level <= interval[1])).to(t.dtype)


def _acts(scale: float, interval: Interval, path: Path, t: float) -> bool:
    return scale != 1 and bool(_inside(interval, path, torch.tensor([t], dtype=torch.float64)))


def _per_example(part: float | Tensor, x: Tensor) -> bool:
    return isinstance(part, Tensor) and part.dim() > 0 and part.shape[0] == x.shape[0]


def _with_null(
    condition: dict[str, Tensor], hidden: dict[str, Tensor], x: Tensor, again: Tensor
) -> dict[str, Tensor]:
    both = {name: torch.cat([part, hidden[name]]) for name, part in condition.items()}
    shown = x.new_zeros(x.shape[0], dtype=torch.bool)
    masked = again.new_ones(again.shape[0], dtype=torch.bool)
    return hide(both, torch.cat([shown, masked]))


def _lerp(start: Tensor, end: Tensor, weight: float | Tensor) -> Tensor:
    if isinstance(weight, Tensor):
        weight = weight.to(start)
    return torch.lerp(start, end, weight)


class Guided(Wrapped):
    """Classifier-free guidance: y = y_without + scale (y_with - y_without), in one batch.

    Scales 0 and 1 cost one call, all others two. Outside the interval the conditional model is
    used. A condition may hold scales per example (`pushforward.denoisers.denoiser.SCALE`).

    Args:
        denoiser: Denoiser trained with conditions and label dropout.
        scale: Guidance scale: 0 is the unconditional model, 1 the conditional model.
        interval: Noise levels sigma / alpha between which guidance acts; None for all.

    Raises:
        UsageError: If the model has no conditions or no unconditional branch.

    References:
        Ho and Salimans, Classifier-Free Diffusion Guidance (2022); Kynkäänniemi et al., Applying
        Guidance in a Limited Interval (2024).
    """

    def __init__(self, denoiser: Predictor, scale: float = 1.0, interval: Interval = None) -> None:
        super().__init__(denoiser)
        if not denoiser.space.conditions:
            raise UsageError("Guidance needs a model trained with labels or other conditions.")
        inner = trained_denoiser(denoiser)
        if inner is not None and not inner.unconditional:
            raise UsageError(
                "Guidance needs an unconditional branch, and this model was built without one "
                "(unconditional=False). Guide it with a weaker model (`weaker=RUN`)."
            )
        self.scale = number("scale", scale)
        self.interval = _checked(interval)

    @property
    def _without(self) -> bool:
        learned = any(kind.learned for kind in self.space.conditions.values())
        return self.scale == 0 and self.interval is None and not learned

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        inner = columns_of(self.denoiser, kind, t, to)
        return {"acts": _inside(self.interval, self.path, t), "inner": inner}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        acts = columns["acts"]
        inner = columns["inner"]
        condition, scales = without_scale(condition)
        if condition is None or (self._without and scales is None):
            return evaluate(self.denoiser, kind, x_t, inner, None)
        plain = scales is None and self.scale == 1
        if plain or not (isinstance(acts, Tensor) or acts):
            return evaluate(self.denoiser, kind, x_t, inner, condition)
        scale: Any = self.scale
        if scales is not None:
            scale = shaped(scales.to(x_t), x_t)
        if isinstance(acts, Tensor):
            inside = scale if isinstance(scale, Tensor) else acts.new_tensor(scale)
            scale = torch.where(acts > 0.5, inside, 1.0)
        if not _per_example(scale, x_t):
            conditions = _with_null(condition, condition, x_t, x_t)
            y = evaluate(self.denoiser, kind, torch.cat([x_t, x_t]), inner, conditions)
            given, null = y.unflatten(0, (2, -1)).unbind(0)
            return _lerp(null, given, scale)
        n = x_t.shape[0]
        index = (scale.reshape(-1) != 1).nonzero().flatten()
        again = x_t[index]
        conditions = _with_null(condition, condition_at(condition, index) or {}, x_t, again)

        def repeated(part: Any) -> Any:
            if _per_example(part, x_t):
                return torch.cat([part, part[index]])
            return part

        columns = mapped(inner, repeated)
        y = evaluate(self.denoiser, kind, torch.cat([x_t, again]), columns, conditions)
        guided = torch.lerp(y[n:], y[index], scale[index])
        return y[:n].index_copy(0, index, guided)

    def calls(self, t: float = 0.5) -> int:
        calls = self.denoiser.calls(t)
        if self._without or not _acts(self.scale, self.interval, self.path, t):
            return calls
        return 2 * calls


class AtScale(Wrapped):
    """Map distilled with a guidance range, used at one scale in one call; `Guided` needs two.

    Raises:
        UsageError: If the scale is outside the range of the distillation.

    References:
        Meng et al., On Distillation of Guided Diffusion Models (2023), whose w is scale - 1.
    """

    def __init__(self, denoiser: Predictor, scale: float) -> None:
        super().__init__(denoiser)
        self.scale = number("scale", scale)
        low, high = guidance_range(denoiser) or (1.0, 1.0)
        if not low <= self.scale <= high:
            raise UsageError(
                f"This map was distilled with guidance scales from {low:g} to {high:g}, got "
                f"{self.scale:g}."
            )

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        return {"inner": columns_of(self.denoiser, kind, t, to)}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        scale = x_t.new_full((x_t.shape[0],), self.scale)
        with_scale = {SCALE: scale, **(condition or {})}
        return evaluate(self.denoiser, kind, x_t, columns["inner"], with_scale)


class Autoguided(Wrapped):
    """Autoguidance by a weaker version of the same model: y = y_weaker + scale (y - y_weaker).

    Args:
        denoiser: Model to guide, which may be `Guided`.
        weaker: Weaker model, on any path.
        scale: Guidance scale: 1 is the model itself.
        interval: Noise levels sigma / alpha between which guidance acts; None for all.

    Raises:
        UsageError: If the models have different shapes.

    References:
        Karras et al., Guiding a Diffusion Model with a Bad Version of Itself (2024).
    """

    def __init__(
        self, denoiser: Predictor, weaker: Predictor, scale: float = 2.0, interval: Interval = None
    ) -> None:
        super().__init__(denoiser)
        check_predictor(weaker)
        if denoiser.space.shape != weaker.space.shape:
            raise UsageError("The weaker model makes examples of another shape.")
        self.weaker = weaker
        self.scale = number("scale", scale)
        self.interval = _checked(interval)
        self._matched = Rescheduled(weaker, denoiser.path)

    @property
    def jumps(self) -> bool:
        return super().jumps and self._matched.jumps

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        inner = columns_of(self.denoiser, kind, t, to)
        weaker = self._matched.columns(kind, t, to)
        inside = _inside(self.interval, self.path, t) > 0.5
        scale = torch.where(inside, torch.full_like(t, self.scale), torch.ones_like(t))
        return {"scale": scale, "inner": inner, "weaker": weaker}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        scale = columns["scale"]
        y = evaluate(self.denoiser, kind, x_t, columns["inner"], condition)
        usual = scale if isinstance(scale, float) else self.scale
        if usual == 1:
            return y
        known = known_to(self.weaker.space.conditions, condition)
        weak = self._matched.evaluate(kind, x_t, columns["weaker"], known)
        return _lerp(weak, y, scale)

    def calls(self, t: float = 0.5) -> int:
        calls = self.denoiser.calls(t)
        if _acts(self.scale, self.interval, self.path, t):
            calls += self._matched.calls(t)
        return calls


class Thresholded(ChangesData):
    """Dynamic thresholding: limits predicted images to the data range.

    With u the prediction, scaled to [-1, 1], and s = max(1, the ``share``-quantile of |u| in one
    image), the prediction becomes clamp(u, -s, s) / s.

    Raises:
        UsageError: If the data has no bounds, or the share is outside (0, 1].

    References:
        Saharia et al., Imagen (2022), section 2.3.
    """

    def __init__(self, denoiser: Predictor, share: float = 0.995) -> None:
        super().__init__(denoiser)
        if denoiser.space.bounds is None:
            raise UsageError("Thresholding needs data with bounds, such as images.")
        self.share = within("threshold", share)

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        assert self.space.bounds is not None
        low, high = (end.to(x_t) for end in self.space.bounds)
        middle = (low + high) / 2
        half = (high - low) / 2
        data = evaluate(self.denoiser, "data", x_t, columns["inner"], condition)
        u = (data - middle) / half
        sizes = u.abs().flatten(1).sort(1).values
        place = self.share * (math.prod(u.shape[1:]) - 1)
        quantile = sizes[:, int(place)].lerp(sizes[:, math.ceil(place)], place % 1)
        reach = shaped(quantile.clamp(min=1), u)
        clamped = torch.maximum(torch.minimum(u, reach), -reach)
        return blend(columns, x_t, middle + half * clamped / reach)
