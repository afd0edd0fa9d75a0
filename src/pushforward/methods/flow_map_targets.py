"""Rules for the target of a map between two times: where the mean velocity between them is read off.

On the straight path x_t = (1 - t) x + t z the mean velocity F(x_t, t, s) maps x_t to x_s = x_t - (t - s) F. For any time m
between s and t the way from t to s has two legs, so that

    F(x_t, t, s) = ((t - m) a + (m - s) b) / (t - s),  a = F(x_t, t, m),  b = F(x_m, m, s),  x_m = x_t - (t - m) a,

and a rule is a choice of m and of how a and b are estimated. Its limits, where a leg has no length, are derivatives.

References:
    Boffi et al., How to Build a Consistency Model: Learning Flow Maps via Self-Distillation (2025), for the three identities.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pushforward.arguments import number, one_of, whole
from pushforward.denoisers.denoiser import shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError

DERIVATIVES = ("none", "forward", "difference")
# Half the distance of central differences in time: in float32 errors of rounding and of curvature are about equal there
STEP = 5e-3
# The greatest half-life of an average of the map, as a share of the examples so far: at first its weights are random
EARLY = 0.05
Map = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Where:
    """A pair of times, a state, and the velocities there.

    Args:
        x: The state x_t, (n, *shape), model units.
        t: Its time (n,).
        s: The time to map to (n,), at most t.
        velocity: The velocity at x_t: z - x of the training pair, or a teacher's, (n, *shape).
        mean_velocity: ``mean_velocity(x, t, s)`` of the map that makes targets: the map in training, or an average of it.
        progress: The share of training that is done, in [0, 1].
        draws: Randomness, one number for each example.
    """

    x: Tensor
    t: Tensor
    s: Tensor
    velocity: Tensor
    mean_velocity: Map
    progress: float
    draws: Draws


class Rule(ABC):
    """Gives the target of the mean velocity; it is called without gradients.

    Args:
        average: The half-life, in samples, of an average of the map in training that makes the targets in place of the map
            itself; early in training it is a twentieth of the training examples so far. None: the map itself.
    """

    average: float | None = None

    def __init__(self, average: float | None = None) -> None:
        if average is not None and not 0 < number("average", average) < math.inf:
            raise UsageError(f"average is a half-life in samples and must be above 0; got {average}.")
        self.average = average

    @property
    def separate(self) -> bool:
        """Whether another map than the one in training makes the targets."""
        return self.average is not None

    def stage(self, progress: float) -> int:
        """The number of the stage of training; at the start of each the map that makes targets becomes the one in training."""
        return 0

    def weight(self, samples: int, new: int) -> float:
        """How far the map that makes targets moves to the map in training after a step of so many new samples, in [0, 1]."""
        if self.average is None:
            return 0.0
        return 1 - 0.5 ** (new / min(self.average, EARLY * (samples + new)))

    @abstractmethod
    def target(self, where: Where) -> Tensor:
        """The mean velocity from t to s, (n, *shape)."""


class Start(Rule):
    """The first leg is short and known, the second is the map's own: m = t - a (t - s).

    The share a falls from ``first`` to ``last`` over training. With a = 1 this is flow matching; with a small the map is
    consistent along the velocity. With s = 0 it is consistency training (from data's velocity) or distillation (a teacher's).

    Args:
        first: The share a at the start of training, in (0, 1].
        last: The share at the end, in (0, first].
        over: The share of training over which it falls, in (0, 1]; then it stays.
        derivative: "forward" or "difference" take the limit a -> 0 instead, F = v - (t - s) dF/dt along the velocity, by
            forward-mode differentiation or central differences; "none" does not.
        direction: Where the first leg goes: along the velocity of the "pair", or along that of the "map" at equal times,
            F(x_t, t, t), at a third call of the map. The velocity in the target stays that of the pair, whose noise then no
            longer moves the end of the leg. Once the map is right at equal times the expected target is the same to first
            order in the leg's length. With a teacher there is no such noise, and nothing is gained.
        average: See `Rule`.

    References:
        Zhang et al., AlphaFlow (2025), eq. 8; Luo et al., SoFlow (2025), for the geometric schedule; Song and Dhariwal,
        Improved Techniques for Training Consistency Models (2024); Geng et al., Mean Flows (2025), eq. 6, for the limit;
        Geng et al., Improved Mean Flows (2025), for the map's own direction.
    """

    def __init__(
        self,
        first: float = 0.1,
        last: float = 0.002,
        *,
        over: float = 1.0,
        derivative: str = "none",
        direction: str = "pair",
        average: float | None = None,
    ) -> None:
        super().__init__(average)
        if not 0 < last <= first <= 1:
            raise UsageError(f"Start needs 0 < last <= first <= 1, got first={first} and last={last}.")
        self.first, self.last, self.over, self.derivative = first, last, over, one_of("derivative", derivative, DERIVATIVES)
        self.direction = one_of("direction", direction, ("pair", "map"))

    def share(self, progress: float) -> float:
        """The share a: geometric from ``first`` to ``last``."""
        return self.first * (self.last / self.first) ** min(1.0, progress / self.over)

    def target(self, where: Where) -> Tensor:
        x, t, s, v = where.x, where.t, where.s, where.velocity
        share, exact = self.share(where.progress), self.derivative != "none"
        if share == 1 and not exact:
            return v
        direction = where.mean_velocity(x, t, t) if self.direction == "map" else v
        if exact:
            return v - shaped(t - s, x) * along(replace(where, velocity=direction), self.derivative)
        m = t - share * (t - s)
        b = where.mean_velocity(x - shaped(t - m, x) * direction, m, s)
        return share * v + (1 - share) * b


class Middle(Rule):
    """Two legs of the map's own, of equal length or divided at random.

    Args:
        random: Divide at a uniform share of the way, in place of the middle.
        average: See `Rule`.

    References:
        Frans et al., Shortcut Models (2025), eq. 5; Boffi et al. (2025), PSD; Salimans and Ho, Progressive Distillation (2022).
    """

    def __init__(self, random: bool = False, *, average: float | None = None) -> None:
        super().__init__(average)
        self.random = random

    def target(self, where: Where) -> Tensor:
        x, t, s = where.x, where.t, where.s
        share = where.draws.stream("middle").uniform().to(t) if self.random else torch.full_like(t, 0.5)
        m = t - share * (t - s)
        a = where.mean_velocity(x, t, m)
        b = where.mean_velocity(x - shaped(t - m, x) * a, m, s)
        return shaped(share, x) * a + shaped(1 - share, x) * b


class Progressive(Rule):
    """Two legs of equal length, of the map as it was at the start of the stage: each stage is the teacher of the next.

    Args:
        stages: Their number, which divide training into equal parts.

    References:
        Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models (2022), algorithm 2.
    """

    separate = True

    def __init__(self, stages: int = 5) -> None:
        super().__init__()
        self.stages = whole("stages", stages, 1)

    def stage(self, progress: float) -> int:
        return min(self.stages - 1, int(progress * self.stages))

    def target(self, where: Where) -> Tensor:
        return Middle().target(where)


class End(Rule):
    """The second leg is short and taken by the map's velocity at its start: m = s + h (t - s).

    Args:
        share: h, in (0, 1].
        derivative: "forward" or "difference" take the limit h -> 0 instead: the velocity at the end of the jump, plus
            (t - s) times the derivative of F in s.
        average: See `Rule`.

    References:
        Boffi et al. (2025), LSD; Zhou et al., Terminal Velocity Matching (2025).
    """

    def __init__(self, share: float = 0.05, *, derivative: str = "none", average: float | None = None) -> None:
        super().__init__(average)
        self.share, self.derivative = share, one_of("derivative", derivative, DERIVATIVES)

    def target(self, where: Where) -> Tensor:
        x, t, s = where.x, where.t, where.s
        if self.derivative == "none":
            m = s + self.share * (t - s)
            a = where.mean_velocity(x, t, m)
            b = where.mean_velocity(x - shaped(t - m, x) * a, m, m)
            return (1 - self.share) * a + self.share * b
        mean, slope = in_end(where, self.derivative)
        end = x - shaped(t - s, x) * mean
        return where.mean_velocity(end, s, s) + shaped(t - s, x) * slope


def along(where: Where, derivative: str) -> Tensor:
    """dF/dt along the velocity: the derivative of F(x_t, t, s) in the direction (v, 1, 0), (n, *shape)."""
    x, t, s, v = where.x, where.t, where.s, where.velocity
    if derivative == "forward":
        with torch.autocast(x.device.type, enabled=False):
            return torch.func.jvp(lambda x, t: where.mean_velocity(x, t, s), (x, t), (v, torch.ones_like(t)))[1]
    high, low = (t + STEP).clamp(max=1), torch.maximum(t - STEP, s)
    return _slope(lambda at: where.mean_velocity(x + shaped(at - t, x) * v, at, s), (low, t, high), x)


def in_end(where: Where, derivative: str) -> tuple[Tensor, Tensor]:
    """F(x_t, t, s) and its derivative in s."""
    x, t, s = where.x, where.t, where.s
    if derivative == "forward":
        with torch.autocast(x.device.type, enabled=False):
            return torch.func.jvp(lambda s: where.mean_velocity(x, t, s), (s,), (torch.ones_like(s),))  # type: ignore[return-value]
    high, low = torch.minimum(s + STEP, t), (s - STEP).clamp(min=0)
    slope = _slope(lambda at: where.mean_velocity(x, t, at), (low, s, high), x)
    return where.mean_velocity(x, t, s), slope


def _slope(function: Callable[[Tensor], Tensor], places: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """The derivative, at a place between a low and a high one, of the parabola through their values and that of their middle.

    At their middle it is the central difference; it is of second order at an end of the times that a map knows as well.
    """
    low, at, high = places
    share = shaped((at - low) / (high - low), x)
    weights = zip((low, (low + high) / 2, high), (4 * share - 3, 4 - 8 * share, 4 * share - 1), strict=True)
    total = torch.stack([weight * function(place) for place, weight in weights]).sum(0)
    return total / shaped(high - low, x)
