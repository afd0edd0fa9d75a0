"""The health of a map between two times: samples in 1, 2 and 4 calls, whether jumps agree, and how large targets are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition
from pushforward.draws import ExampleDraws
from pushforward.methods.method import Method, Now
from pushforward.paths import Coupling, training_noise
from pushforward.training.checkpoint.best import Choice
from pushforward.training.loop.callbacks import Moment, Observer
from pushforward.training.monitor.health import SAMPLES, Reference, as_sampled, interval, sampled, starts_of
from pushforward.transports import Flow, inner_of, with_inner

COUNTS = {1: 1, 2: 1, 4: 4}
"""Numbers of calls, each with the marks from one measurement in so many calls to the next: four calls a mark on average."""
BINS = {"low": 1 / 6, "middle": 1 / 2, "high": 5 / 6}
"""Times t at which targets are measured, by their third of [0, 1]."""
TARGETS = 128
"""Examples on which targets are measured at each of those times."""


@runtime_checkable
class HasTargets(Protocol):
    """A method of maps between two times (`pushforward.methods.flow_map.Mapping`)."""

    couple: Coupling
    """How data meets noise in its training."""

    def target(self, where: tuple[Tensor, Tensor, Tensor], velocity: Tensor, condition: Condition, now: Now) -> Tensor:
        """The target of the mean velocity from t to s at (x_t, t, s); the velocity where s = t."""
        ...


class Jumps(Observer):
    """Samples of the average in 1, 2 and 4 calls from noise that stays the same, and targets of the present weights.

    Only maps between two times are measured (`pushforward.denoisers.FlowMap`, sampled by jumps).

    Args:
        data: The training data.
        batch: Examples of a training step, which set how often is measured.
    """

    def __init__(self, data: Dataset, batch: int) -> None:
        self.data, self.every = data, interval(batch)
        self._jumps: bool | None = None
        self._choice = Choice()

    @property
    def decides(self) -> bool:  # type: ignore[override]
        """Whether its measures may trigger a checkpoint, so that the log is read at once."""
        return bool(self._jumps)

    @property
    def best(self) -> int | None:  # type: ignore[override]
        """The step whose samples in 1, 2 and 4 calls are the best so far (`pushforward.training.checkpoint.best`)."""
        return None if self._choice.best is None else self._choice.best.step

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        """Compare the samples of a row with those of the rows before it."""
        self._choice.read(row)
        return {}

    def due(self, moment: Moment) -> bool:
        """It goes by steps alone, so that a resumed run measures where the whole one does."""
        return moment.step % self.every == 0 and self._jumps is not False

    def look(self, moment: Moment) -> dict[str, float]:
        """Measures of samples of the average, and sizes of targets."""
        if self._jumps is None:
            self._prepare(moment.average)
        if not self._jumps:
            return {}
        mark = moment.step // self.every
        counts = [count for count, marks in COUNTS.items() if mark % marks == 0]
        return {**self.of(moment.average, counts), **dict(self._targets(moment))}

    def _prepare(self, method: Method) -> None:
        with as_sampled(method):
            transport = method.transport()
            flow = inner_of(transport)
            self._jumps = isinstance(flow, Flow) and flow.solver.jumps
            self._fresh = isinstance(flow, Flow) and flow.solver.stochastic
            if self._jumps:
                self._starts = starts_of(transport, min(SAMPLES, len(self.data.train)))
                self.reference = Reference(self.data, len(self._starts[0]))

    def of(self, method: Method, counts: Sequence[int]) -> dict[str, float]:
        """Measures of a method's samples in these numbers of calls.

        Returns:
            ``frechet``, ``coverage_1`` and ``recall`` in one call (`Reference`), ``frechet_2`` and
            ``frechet_4`` in others, and, unless noise is added between jumps, ``disagreement``: |x in one jump - x in two|, root
            mean square over the spread of the samples. Where four calls are among them, ``coverage`` and what is known of
            modes, for alarms: in that number of calls that has the least Fréchet distance, since a map that starts from
            nothing first learns to take small steps; of a game in one call, which is what its critic sees. Empty where samples
            in one call are not finite.
        """
        if self._jumps is None:
            self._prepare(method)
        samples = {count: self._samples(method, count) for count in counts}
        by_count = {count: scores for count, x in samples.items() if (scores := self.reference.measures(x))}
        if 1 not in by_count:
            return {}
        measures = self.reference.recall(samples[1])
        if "coverage" in by_count[1]:
            measures["coverage_1"] = by_count[1]["coverage"]
        if max(COUNTS) in by_count:
            best = 1 if "critic" in method.players else min(by_count, key=lambda count: by_count[count]["frechet"])
            measures |= by_count[best]
        measures |= {"frechet" if count == 1 else f"frechet_{count}": of["frechet"] for count, of in by_count.items()}
        if 2 in by_count and not self._fresh:
            measures["disagreement"] = disagreement(samples[1], samples[2])
        return measures

    def _samples(self, method: Method, count: int) -> Tensor:
        with as_sampled(method):
            transport = method.transport()
            flow = inner_of(transport)
            assert isinstance(flow, Flow)
            return sampled(with_inner(transport, flow.with_solver(flow.solver, count)), *self._starts)

    def _targets(self, moment: Moment) -> Iterator[tuple[str, float]]:
        """The size of targets at each of `BINS` over that of velocities there; nothing while targets are stored states."""
        method = moment.method
        if not isinstance(method, HasTargets) or moment.progress < getattr(method, "stored", 0.0):
            return
        split, space = self.data.train, method.space
        index = permutation(len(split), 0)[:TARGETS]
        device = next(method.parameters()).device
        x = space.to_model(split.data_units(index).to(device))
        condition = split.condition(space.conditions, index, device)
        draws = ExampleDraws(0, len(x), "targets", device=device)
        z, s = training_noise(method.couple.source, x.shape[1:], draws), draws.stream("second time").uniform()
        with as_sampled(method):
            for name, at in BINS.items():
                t = torch.full_like(s, at)
                x_t, now = (1 - at) * x + at * z, Now(draws.stream(name), 0, moment.progress)
                size, velocity = (
                    float(method.target((x_t, t, until), z - x, condition, now).square().mean()) for until in (s * t, t)
                )
                yield f"target_size_{name}", (size / velocity) ** 0.5 if velocity > 0 else math.nan


def disagreement(once: Tensor, twice: Tensor) -> float:
    """The root mean square difference of two sets of samples of the same noise over their spread."""
    spread = float(torch.stack([(x - x.mean(0)).double().square().mean() for x in (once, twice)]).mean())
    return float((once - twice).double().square().mean() / spread) ** 0.5 if spread > 0 else math.nan
