"""Rules for the target of a map between two times, from which the mean velocity is learned.

On the straight path x_t = (1 - t) x + t z the mean velocity F(x_t, t, s) maps x_t to
x_s = x_t - (t - s) F. For any time m between s and t the way from t to s has two legs, so that

    F(x_t, t, s) = ((t - m) a + (m - s) b) / (t - s),
    a = F(x_t, t, m),  b = F(x_m, m, s),  x_m = x_t - (t - m) a,

and a rule is a choice of m and of how a and b are estimated. Its limits, where a leg has no length,
are derivatives.

References:
    Boffi et al., How to Build a Consistency Model: Learning Flow Maps via Self-Distillation (2025),
    for the three identities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.arguments import one_of, weight, whole
from pushforward.denoisers.denoiser import shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError

DERIVATIVES = ("none", "forward", "difference")
# Half the distance of central differences in time, where errors of rounding and of curvature agree
STEP = 5e-3
# Largest half-life of an average, as a fraction of the examples so far: early weights are random
EARLY = 0.05
Map = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TargetInputs:
    """Inputs of a rule: a state x_t with times t and s, in model units.

    ``velocity`` is z - x of the training pair, or the teacher's velocity; ``mean_velocity(x, t,
    s)`` is that of the map that computes targets.
    """

    x: Tensor
    t: Tensor
    s: Tensor
    velocity: Tensor
    mean_velocity: Map
    progress: float
    draws: Draws

    def moved(self, m: Tensor, velocity: Tensor) -> Tensor:
        """Return the state at times m (n,), reached with this velocity."""
        return self.x - shaped(self.t - m, self.x) * velocity


class Rule(ABC):
    """Base class of rules for the target of the mean velocity; called without gradients.

    ``average`` is the half-life, in samples, of a weight average that computes targets (early in
    training, a twentieth of the examples so far); None for the trained map itself.
    """

    average: float | None = None

    def __init__(self, average: float | None = None) -> None:
        if average is not None:
            self.average = weight("average", average)

    @property
    def separate(self) -> bool:
        """Return whether targets come from another map than the trained one."""
        return self.average is not None

    def stage(self, progress: float) -> int:
        """Return the stage of training, at whose start the target map becomes the trained map."""
        return 0

    def weight(self, samples: int, new: int) -> float:
        """Return how far the target map moves to the trained map after ``new`` samples."""
        if self.average is None:
            return 0.0
        return 1 - 0.5 ** (new / min(self.average, EARLY * (samples + new)))

    @abstractmethod
    def target(self, where: TargetInputs) -> Tensor:
        """Compute the mean velocity from t to s, (n, *shape)."""


class StartTarget(Rule):
    """Rule with a short known first leg, and a second leg by the map: m = t - a (t - s).

    The fraction a falls geometrically from ``first`` to ``last`` over the fraction ``over`` of
    training. With a = 1 this is flow matching; with small a, the map is consistent along the
    velocity. ``derivative`` selects the limit a -> 0, F = v - (t - s) dF/dt along the velocity:
    "forward" for forward-mode differentiation, "difference" for central differences, or "none".

    References:
        Zhang et al., AlphaFlow (2025), eq. 8; Luo et al., SoFlow (2025), for the geometric
        schedule; Song and Dhariwal, Improved Techniques for Training Consistency Models (2024);
        Geng et al., Mean Flows (2025), eq. 6, for the limit.
    """

    def __init__(
        self,
        first: float = 0.1,
        last: float = 0.002,
        *,
        over: float = 1.0,
        derivative: str = "none",
        average: float | None = None,
    ) -> None:
        super().__init__(average)
        if not 0 < last <= first <= 1:
            raise UsageError(
                f"Start needs 0 < last <= first <= 1, got first={first} and last={last}."
            )
        self.first = first
        self.last = last
        self.over = over
        self.derivative = one_of("derivative", derivative, DERIVATIVES)

    def share(self, progress: float) -> float:
        """Return the fraction a: geometric from ``first`` to ``last``."""
        return self.first * (self.last / self.first) ** min(1.0, progress / self.over)

    def target(self, where: TargetInputs) -> Tensor:
        t = where.t
        s = where.s
        v = where.velocity
        share = self.share(where.progress)
        exact = self.derivative != "none"
        if share == 1 and not exact:
            return v
        if exact:
            slope = along(where, self.derivative)
            return v - shaped(t - s, v) * slope
        m = t - share * (t - s)
        b = where.mean_velocity(where.moved(m, v), m, s)
        return share * v + (1 - share) * b


class MiddleTarget(Rule):
    """Rule with two legs of equal length by the map.

    References:
        Frans et al., Shortcut Models (2025), eq. 5; Salimans and Ho, Progressive Distillation
        (2022).
    """

    def target(self, where: TargetInputs) -> Tensor:
        m = where.t - 0.5 * (where.t - where.s)
        a = where.mean_velocity(where.x, where.t, m)
        b = where.mean_velocity(where.moved(m, a), m, where.s)
        return 0.5 * a + 0.5 * b


class Progressive(Rule):
    """Rule with two equal legs by the map at the start of the stage, of ``stages`` equal stages.

    References:
        Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models (2022),
        algorithm 2.
    """

    separate = True

    def __init__(self, stages: int = 5) -> None:
        super().__init__()
        self.stages = whole("stages", stages, 1)

    def stage(self, progress: float) -> int:
        return min(self.stages - 1, int(progress * self.stages))

    def target(self, where: TargetInputs) -> Tensor:
        return MiddleTarget().target(where)


class EndTarget(Rule):
    """Rule with a short second leg along the map's velocity at its start: m = s + h (t - s).

    ``share`` is h, in (0, 1]; ``derivative`` selects the limit h -> 0, as in `StartTarget`.

    References:
        Boffi et al. (2025), LSD; Zhou et al., Terminal Velocity Matching (2025).
    """

    def __init__(
        self, share: float = 0.05, *, derivative: str = "none", average: float | None = None
    ) -> None:
        super().__init__(average)
        self.share = share
        self.derivative = one_of("derivative", derivative, DERIVATIVES)

    def target(self, where: TargetInputs) -> Tensor:
        s = where.s
        if self.derivative == "none":
            m = s + self.share * (where.t - s)
            a = where.mean_velocity(where.x, where.t, m)
            b = where.mean_velocity(where.moved(m, a), m, m)
            return (1 - self.share) * a + self.share * b
        mean, slope = in_end(where, self.derivative)
        end_velocity = where.mean_velocity(where.moved(s, mean), s, s)
        return end_velocity + shaped(where.t - s, mean) * slope


def along(where: TargetInputs, derivative: str) -> Tensor:
    """Compute dF/dt along the velocity: the derivative of F(x_t, t, s) in direction (v, 1, 0)."""
    x = where.x
    t = where.t
    s = where.s
    v = where.velocity
    if derivative == "forward":
        with torch.autocast(x.device.type, enabled=False):
            return torch.func.jvp(
                lambda x, t: where.mean_velocity(x, t, s), (x, t), (v, torch.ones_like(t))
            )[1]
    high = (t + STEP).clamp(max=1)
    low = torch.maximum(t - STEP, s)
    return _slope(lambda at: where.mean_velocity(where.moved(at, v), at, s), (low, t, high), x)


def in_end(where: TargetInputs, derivative: str) -> tuple[Tensor, Tensor]:
    """Compute F(x_t, t, s) and its derivative in s."""
    t = where.t
    s = where.s

    def mean_velocity(s: Tensor) -> Tensor:
        return where.mean_velocity(where.x, t, s)

    if derivative == "forward":
        with torch.autocast(where.x.device.type, enabled=False):
            ones = torch.ones_like(s)
            return torch.func.jvp(mean_velocity, (s,), (ones,))  # type: ignore[return-value]
    high = torch.minimum(s + STEP, t)
    low = (s - STEP).clamp(min=0)
    return mean_velocity(s), _slope(mean_velocity, (low, s, high), where.x)


def _slope(
    function: Callable[[Tensor], Tensor], places: tuple[Tensor, Tensor, Tensor], x: Tensor
) -> Tensor:
    low, at, high = places
    share = shaped((at - low) / (high - low), x)
    total = torch.stack(
        [
            (4 * share - 3) * function(low),
            (4 - 8 * share) * function((low + high) / 2),
            (4 * share - 1) * function(high),
        ]
    ).sum(0)
    return total / shaped(high - low, x)
