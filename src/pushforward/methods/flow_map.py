"""Maps between two times: consistency models, mean flows, shortcut models, their distillation."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.arguments import share, weight, whole
from pushforward.data import Batch
from pushforward.denoisers import Condition, FlowMap, Predicting, Rescheduled
from pushforward.denoisers.denoiser import condition_at, over, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.denoising import dropout_share, dropped
from pushforward.methods.flow_map_targets import Rule, StartTarget, TargetInputs
from pushforward.methods.method import Method, Modules, Move, StepContext, Sums
from pushforward.methods.trajectories import States, scaled
from pushforward.paths import (
    Coupling,
    Independent,
    Linear,
    Narrowed,
    Path,
    Stratified,
    Times,
    Uniform,
    training_noise,
)
from pushforward.solvers import Jump
from pushforward.transports import Flow


class Pairs(ABC):
    """Distribution of pairs of times t >= s; a fraction ``diagonal`` of them is equal."""

    group = 1  # Number of examples that are drawn together
    only_to_data = False  # Whether every s is 0

    def __init__(self, diagonal: float) -> None:
        self.diagonal = share("diagonal", diagonal)

    @abstractmethod
    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        """Draw times t and s (n,), float32; t is within the path's ends, s may be 0."""

    def equal(self, draws: Draws, path: Path) -> Tensor:
        """Draw times t (n,) of pairs with s = t."""
        return draws.uniform().clamp(*path.ends)


class Sorted(Pairs):
    """Two draws from one distribution, the larger first.

    Args:
        times: Distribution of the times; uniform by default.
        diagonal: Fraction of pairs with s = t, which are single draws.
        to_data: Fraction of the other pairs that have s = 0, in [0, 1].

    References:
        Geng et al., Mean Flows for One-step Generative Modeling (2025), section 4.3.
    """

    def __init__(
        self,
        times: Times | None = None,
        *,
        diagonal: float = 0.25,
        to_data: float = 0.0,
    ) -> None:
        super().__init__(diagonal)
        self.times = times or Uniform()
        self.to_data = share("to_data", to_data)
        self.group = self.times.group
        self.only_to_data = to_data == 1 and diagonal == 0

    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        first = self.equal(draws, path)
        # not stratified: two stratified draws of one example would always be neighbours
        second = plain(self.times)(draws.stream("second time"), path)
        t = torch.maximum(first, second)
        s = torch.minimum(first, second)
        to_data = draws.stream("to data").uniform() < self.to_data
        t = torch.where(to_data, first, t)
        s = torch.where(to_data, 0.0, s)
        equal = draws.stream("diagonal").uniform() < self.diagonal
        return torch.where(equal, first, t), torch.where(equal, first, s)

    def equal(self, draws: Draws, path: Path) -> Tensor:
        return self.times(draws, path)


def plain(times: Times) -> Times:
    """Return the distribution without stratification."""
    if isinstance(times, Stratified):
        return plain(times.times)
    return times


class Dyadic(Pairs):
    """Steps of length 1, 1/2, ..., 2^-levels on their own grids, with equal frequency.

    If ``staged``, training begins with the shortest steps, and doubles the length after each of
    levels + 1 equal parts.

    References:
        Frans et al., One Step Diffusion via Shortcut Models (2025), section 4.
    """

    def __init__(self, levels: int = 7, *, diagonal: float = 0.75, staged: bool = False) -> None:
        super().__init__(diagonal)
        self.levels = whole("levels", levels, 0)
        self.staged = staged

    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        u = draws.uniform()
        longest = 0
        lengths = self.levels + 1
        if self.staged:
            longest = max(0, self.levels - int(progress * lengths))
            # no stage trains halves of the shortest steps, so only the first stage learns these
            lengths = max(1, self.levels - longest)
        length = torch.floor(draws.stream("length").uniform() * lengths)
        steps = 2.0 ** (longest + length)
        end = torch.floor(u * steps) / steps
        equal = draws.stream("diagonal").uniform() < self.diagonal
        t = torch.where(equal, u, end + 1 / steps).clamp(*path.ends)
        return t, torch.where(equal, t, end)


class MapMethod(Method):
    """Base class of methods that train a map between two times.

    Maps of a guidance range cannot be ``compared`` with data, from which their samples differ.
    """

    def __init__(self, flow_map: Any, steps: int, *, compared: bool = False) -> None:
        super().__init__()
        if compared and flow_map.preconditioning.guidance is not None:
            raise UsageError(
                "This map was distilled with a range of guidance scales, so its guided samples do "
                "not follow the distribution of the training data. Finish a student that was "
                "distilled without guidance, or with one scale."
            )
        self.flow_map = flow_map
        self.space = flow_map.space
        self.steps = steps

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.flow_map,)

    def transport(self) -> Flow:
        return Flow(self.flow_map, Jump.of(self.flow_map), self.steps)


def starts(flow_map: FlowMap, x: Tensor, draws: Draws, inside: float = 0.0) -> States:
    """Draw states (n, *shape) on the path, and times (n,), from which a map jumps to data.

    A fraction ``inside`` starts from noisy data at a uniform time; the others start like sampling,
    from noise only (or from training examples of the source).
    """
    path = flow_map.path
    z = training_noise(flow_map.source, x.shape[1:], draws)
    low, high = path.ends
    t = x.new_full((len(x),), high)
    if not inside:
        return path.at(t).over(x).sigma * z, t
    noisy = draws.stream("inside").uniform().to(x) < inside
    t = torch.where(noisy, low + draws.stream("start").uniform().to(x) * (high - low), t)
    k = path.at(t).over(x)
    data = torch.where(shaped(noisy, x), x, torch.zeros_like(x))
    return k.state(data, z), t


def jump_to_data(flow_map: FlowMap, start: States, condition: Condition) -> Tensor:
    """Jump from states and times to data in one evaluation."""
    x, t = start
    return flow_map.jump(x, t, torch.zeros_like(t), condition)


# Largest difference of entries of a target from the velocity, in model units
BOUND = 10.0
# Added to a squared error before its power becomes the example's weight
EPS = 1e-3


def straight(predictor: Any) -> Predicting:
    """Convert a predictor to the straight path, where every map is a mean velocity."""
    path = predictor.path
    if isinstance(path, Narrowed):
        path = path.path
    if isinstance(path, Linear):
        return predictor
    return Rescheduled(predictor, Linear())


def mean_velocity(
    predictor: Predicting, x: Tensor, t: Tensor, s: Tensor, condition: Condition = None
) -> Tensor:
    """Compute the mean velocity F of a predictor on the straight path: x_s = x_t - (t - s) F."""
    columns = over(predictor.columns("velocity", t, s), x)
    return predictor.evaluate("velocity", x, columns, condition)


class FlowMapMatching(MapMethod):
    """Training of a map between two times: regresses its mean velocity on a target.

    loss = mean w |F(x_t, t, s) - target|^2 with x_t = (1 - t) x + t z. For s = t the target is the
    velocity z - x, or a teacher's; otherwise a rule derives it from the map itself, without
    gradients.

    Args:
        flow_map: Map on any path, which is converted to the straight path for training.
        rule: Rule for the target.
        pairs: Distribution of t and s.
        teacher: Frozen flow whose velocity replaces z - x.
        couple: Coupling of data and noise, independent by default.
        power: Each example's squared error e is divided by (e + 0.001)^power, without gradients.
        label_dropout: Fraction of examples without conditions; None for 0.1, or 0 if the map has no
            unconditional branch.
        steps: Default number of jumps of the transport.

    References:
        Boffi et al. (2025), flow map matching; Geng et al., Mean Flows (2025), eq. 22; Song et al.,
        Consistency Models (2023).
    """

    def __init__(
        self,
        flow_map: FlowMap,
        rule: Rule | None = None,
        pairs: Pairs | None = None,
        *,
        teacher: Flow | None = None,
        couple: Coupling | None = None,
        power: float = 0.5,
        label_dropout: float | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(flow_map, steps)
        self.rule = rule or StartTarget()
        self.pairs = pairs or Sorted()
        self.couple = couple or Independent(flow_map.source)
        flow_map.sampling = replace(flow_map.sampling, only_to_data=self.pairs.only_to_data)
        self.power = weight("power", power)
        self.label_dropout = dropout_share(flow_map, label_dropout)
        if teacher is None:
            self.teacher: Any = None
        else:
            self.freeze("teacher", teacher)
            self.learns = "velocity"
        self.target_map: FlowMap | None = None
        if self.rule.separate:
            self.target_map = copy.deepcopy(flow_map).requires_grad_(False)
            self.register_buffer("stage", torch.zeros((), dtype=torch.int64))

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Initialise the map, and the average that computes targets, with given weights."""
        self.flow_map.load_state_dict(weights)
        if self.target_map is not None:
            self.target_map.load_state_dict(weights)

    @property
    def players(self) -> Modules:
        return {"map": self.flow_map}

    @property
    def group(self) -> int:
        return math.lcm(self.couple.group, self.pairs.group)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        self._begin_stage(now)
        predictor = straight(self.flow_map)
        x, z, condition = self.couple.examples(batch.x, batch.condition, now.draws)
        t, s = self.pairs(now.draws.stream("times"), predictor.path, now.progress)
        x_t = shaped(1 - t, x) * x + shaped(t, x) * z
        condition = self._trained(condition, now.draws)
        output = mean_velocity(predictor, x_t, t, s, condition)
        with torch.no_grad():
            target = self.target((x_t, t, s), z - x, condition, now)
        error = (output - target).square().flatten(1).mean(1)
        equal = (s == t).float()
        diagonal = self.pairs.diagonal
        if 0 < diagonal < 1:
            noted = error.detach()
            now.notes["diagonal_loss"] = (noted * equal).mean() / diagonal
            now.notes["off_diagonal_loss"] = (noted * (1 - equal)).mean() / (1 - diagonal)
        yield from self.turn(error, now)

    def _begin_stage(self, now: StepContext) -> None:
        if self.target_map is None:
            return
        stage = self.rule.stage(now.progress)
        if stage != int(self.stage):
            self._follow(1.0)
            self.stage.fill_(stage)

    def turn(
        self, error: Tensor, now: StepContext, further: Tensor | None = None
    ) -> Iterator[Move]:
        """Yield the map's loss from errors (n,) and a further loss; update the target map."""
        loss = self.softened(error)
        if further is not None:
            loss = loss + further
        yield "map", loss.mean()

        def follow(total: Sums) -> None:
            self._follow(self.rule.weight(now.samples, total.count))

        if self.target_map is not None:
            yield Sums(len(error), then=follow)

    def softened(self, error: Tensor) -> Tensor:
        """Divide squared errors (n,) by their own power, so that large errors count less."""
        return error / (error.detach() + EPS) ** self.power

    @torch.no_grad()
    def _follow(self, weight: float) -> None:
        target: Any = self.target_map
        parameters = self.flow_map.parameters()
        for average, parameter in zip(target.parameters(), parameters, strict=True):
            average.lerp_(parameter, weight)
        for copied, buffer in zip(target.buffers(), self.flow_map.buffers(), strict=True):
            copied.copy_(buffer)

    def target(
        self,
        where: tuple[Tensor, Tensor, Tensor],
        velocity: Tensor,
        condition: Condition,
        now: StepContext,
    ) -> Tensor:
        """Compute the target at x_t, t and s; a teacher's velocity replaces that of the pair."""
        x, t, s = where
        predictor = straight(self.target_map or self.flow_map)
        if self.teacher is not None:
            velocity = straight(self.teacher.denoiser).predict("velocity", x, t, condition)

        # at equal times the target is the velocity, and the map is not called
        apart = (s < t).nonzero()[:, 0]
        apart_condition = condition_at(condition, apart)

        def velocity_of_map(x: Tensor, t: Tensor, s: Tensor) -> Tensor:
            if len(apart) == len(x):
                return mean_velocity(predictor, x, t, s, condition)
            if not len(apart):
                return torch.zeros_like(x)
            output = mean_velocity(predictor, x[apart], t[apart], s[apart], apart_condition)
            return torch.zeros_like(x).index_copy(0, apart, output.to(x))

        inputs = TargetInputs(x, t, s, velocity, velocity_of_map, now.progress, now.draws)
        target = self.rule.target(inputs)
        bounded = velocity + (target - velocity).clamp(-BOUND, BOUND)
        return torch.where(shaped(s == t, x), velocity, bounded)

    def _trained(self, condition: Condition, draws: Draws) -> Condition:
        guidance = self.flow_map.preconditioning.guidance
        if guidance is not None:
            return scaled(condition, guidance, draws)
        return dropped(condition, self.label_dropout, draws)
