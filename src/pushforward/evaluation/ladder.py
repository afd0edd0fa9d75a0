"""A map between two times in few calls, beside its teacher: the same noise, the same examples, a bounded time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.denoisers import AtScale, FlowMap, Guided
from pushforward.errors import Diverged
from pushforward.evaluation.combining import point_of, together
from pushforward.evaluation.cost import solver_title
from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import REPEAT_SEEDS, ModelResult
from pushforward.evaluation.scoring import floors, score
from pushforward.evaluation.unseen import starts
from pushforward.metrics import Score, describe
from pushforward.numbers import counted
from pushforward.paths import same_source
from pushforward.solvers import Jump
from pushforward.training import Run
from pushforward.training.runs.learned_solvers import by_default
from pushforward.training.runs.run import transport_of
from pushforward.transports import Flow, Transport, inner_of, with_inner
from pushforward.transports.rejection import unmet_kept

if TYPE_CHECKING:
    from pushforward.evaluation.judge import Judge

__all__ = ["CALLS", "ladder_of", "pair_of", "teacher_of", "with_ladder"]

CALLS = (1, 2, 4, 8, 16)
SCORES = ("energy", "frechet", "kid", "coverage")
SECONDS = 120.0
"""About the most that sampling for one ladder may take."""
SIZES = (500, 1_000, 2_000)
"""Samples on either side where fewer are compared than otherwise: the most of these that the time allows, or the first."""
SHOWN = {False: 36, True: 200}
"""Samples that are drawn beside the teacher's, by whether they are points."""


@dataclass
class _Climb:
    """How the points of a ladder are measured.

    Args:
        judge: Data, features and seeds.
        n: Samples on either side.
        repeats: Samplings of each point.
        name: What progress calls the map.
        taught: The teacher's samples by the solver of the map's training, a tensor for each sampling; empty where there are none.
    """

    judge: Judge
    n: int
    repeats: int
    name: str = "a map"
    taught: list[Tensor] = field(default_factory=list)

    def samples(self, transport: Transport, of: str = "") -> list[Tensor]:
        """Those of each sampling, data units; ``of`` is what progress calls the transport, by default the map's name."""
        self.judge.say(f"{of or self.name}, {counted(transport.calls, 'call')}")
        return [self.judge.draw(transport, (repeat + 1) * REPEAT_SEEDS, self.n)[0] for repeat in range(self.repeats)]

    def finite(self, transport: Transport, of: str = "") -> list[Tensor]:
        """Those of each sampling; empty where a sample is not finite."""
        with suppress(Diverged):
            return self.samples(transport, of)
        return []

    def point(
        self,
        transport: Transport,
        samplings: Sequence[Tensor] | None = None,
        beside: Sequence[Tensor] | None = None,
        of: str = "",
    ) -> CurvePoint:
        """One point; without scores where a sample is not finite.

        Args:
            transport: What is measured.
            samplings: Its samples; None draws them.
            beside: The teacher's, from which distance is measured; None takes `taught`, and nothing measures none.
            of: What progress calls the transport; see `samples`.
        """
        flow = inner_of(transport)
        assert isinstance(flow, Flow)
        point = CurvePoint(flow.steps, transport.calls)
        with suppress(Diverged):
            samplings = self.samples(transport, of) if samplings is None else samplings
            rows = [score(x, self.judge.data, self.judge.features, n=self.n, metrics=SCORES) for x in samplings]
            point = point_of(flow.steps, transport.calls, together(rows, self.n, infos=describe()))
            distance = _distance(self.judge, samplings, self.taught if beside is None else beside)
            point = replace(point, distance=distance)
        return point

    def points(
        self,
        rungs: Sequence[Transport],
        others: Sequence[Transport],
        own: Transport | None,
        taught: CurvePoint | None,
        finished: bool,
        of: str = "",
    ) -> tuple[tuple[CurvePoint, ...], tuple[CurvePoint, ...]]:
        """Those of a map and of its teacher; distance is from a finished map's teacher in as many calls, else from `taught`.

        Args:
            rungs: The map.
            others: The teacher.
            own: The teacher by the solver and in the steps of the map's training.
            taught: Its point.
            finished: Whether the teacher is the map that was finished.
            of: What progress calls the teacher.
        """
        points, beside = {}, []
        known = [] if own is None or taught is None else [(own, self.taught, taught)]
        for other in others:
            same = next((entry for entry in known if _alike(other, entry[0])), None)
            if same is None:
                drawn = self.finite(other, of)
                same = other, drawn, self.point(other, drawn or None, drawn if finished else None, of)
                known.append(same)
            beside.append(same[2])
            for rung in rungs:
                if finished and rung.calls == other.calls:
                    points[rung.calls] = self.point(rung, None, same[1])
        for rung in rungs:
            if rung.calls not in points:
                points[rung.calls] = self.point(rung, None, () if finished else None)
        return tuple(points[rung.calls] for rung in rungs), tuple(beside)


def _distance(judge: Judge, samplings: Sequence[Tensor], beside: Sequence[Tensor]) -> float | None:
    if not beside:
        return None
    to_model = judge.data.space.to_model
    gaps = [to_model(x) - to_model(y) for x, y in zip(samplings, beside, strict=True)]
    return math.sqrt(float(torch.stack([gap.square().mean() for gap in gaps]).mean()))


def _finished(model: Run | Transport) -> bool:
    """Whether a model's run holds a map as its teacher, at which it starts."""
    return isinstance(model, Run) and isinstance(model.method.parts.get("teacher"), FlowMap)


def teacher_of(model: Run | Transport) -> Flow | None:
    """The teacher that a run of a map between two times holds, where both start from the same noise; at the map's guidance.

    A teacher that is a map itself, as that of a finish, jumps as often as the run does.
    """
    teacher = model.method.parts.get("teacher") if isinstance(model, Run) else None
    inner = inner_of(transport_of(model))
    if isinstance(teacher, FlowMap) and isinstance(inner, Flow):
        teacher = Flow(teacher, Jump.of(teacher), inner.steps)
    if not (isinstance(teacher, Flow) and isinstance(inner, Flow) and teacher.noise_shape == inner.noise_shape):
        return None
    if not same_source(teacher.source, inner.source):
        return None
    if isinstance(inner.denoiser, AtScale) and isinstance(teacher.denoiser, Guided):
        return Flow(Guided(teacher.denoiser.denoiser, inner.denoiser.scale), teacher.solver, teacher.steps, teacher.grid)
    return teacher


def ladder_of(judge: Judge, model: Run | Transport, seconds: float | None = None, name: str = "a map") -> Ladder | None:
    """Scores of a map between two times in 1, 2, 4, 8 and 16 calls, and of its teacher from the same noise.

    The teacher takes the solver with which the run holds it, in the most steps that need no more calls, and in the run's steps;
    and the solver, steps and grid by which its own run samples, where the map's run names them.

    Args:
        judge: Data and features.
        model: A run or a transport; a transport has no teacher.
        seconds: The time of one call for one sample, from which follows how many samples are affordable; None takes as many
            as the judge compares, at most the last of `SIZES`.
        name: What progress calls the model.

    Returns:
        None for any other model.
    """
    transport = transport_of(model)
    flow = inner_of(transport)
    if not isinstance(flow, Flow) or not flow.solver.jumps:
        return None
    teacher = teacher_of(model)
    finished = _finished(model) and teacher is not None
    rungs = [with_inner(transport, flow.with_solver(flow.solver, steps)) for steps in CALLS]
    own = None if teacher is None else with_inner(transport, teacher)
    others = [] if teacher is None or own is None else list(_taught_rungs(transport, teacher))
    default = None if teacher is None or not isinstance(model, Run) else by_default(model.spec, "teacher", teacher)
    usual = None if default is None else with_inner(transport, default)
    calls = sum(rung.calls for rung in [*rungs, *others, *(rung for rung in (own, usual) if rung is not None)])
    once = None if starts(model) is None else 1  # as the judge samples it
    climb = _Climb(judge, *affordable(judge, None if seconds is None else SECONDS / (seconds * calls), once), name)
    taught, by_teacher = None, f"the teacher of {name}"
    if own is not None:
        climb.taught = climb.finite(own, f"{by_teacher} in its own steps")
        taught = climb.point(own, climb.taught or None, of=by_teacher)
    points, beside = climb.points(rungs, others, own, taught, finished, by_teacher)
    same_sampler = own is not None and usual is not None and _alike(own, usual)
    by_run = None
    if usual is not None and not same_sampler:
        by_run = climb.point(usual, None, () if finished else None, f"{by_teacher} by its run's sampler")
    same = judge.floors if climb.n == judge.n and set(SCORES) <= judge.floors.keys() else None
    known = same or floors(judge.data, judge.features, n=climb.n, metrics=SCORES)
    return Ladder(
        n=climb.n,
        repeats=climb.repeats,
        floors={name: Score(known[name].value, known[name].spread, n=known[name].n) for name in SCORES if name in known},
        points=points,
        teacher=beside,
        own=taught,
        solver=None if teacher is None else solver_title(teacher),
        default=taught if same_sampler else by_run,
        default_solver=None if default is None else solver_title(default),
        teacher_run=_teacher_run(model) if isinstance(model, Run) and teacher is not None else None,
        finished=finished,
        learned=(model.method.learns or None) if isinstance(model, Run) and teacher is not None else None,
    )


def _teacher_run(run: Run) -> str | None:
    """The folder that a run was asked to take its teacher from."""
    pairs = (str(text).partition("=") for text in (run.spec.get("asked") or {}).get("frozen") or ())
    return next((folder for name, _, folder in pairs if name == "teacher"), None)


def affordable(judge: Judge, samples: float | None, repeats: int | None = None) -> tuple[int, int]:
    """Samples of each point, and how often, of so many affordable ones (None: any number); at most ``repeats`` times."""
    most, repeats = min(judge.n, SIZES[-1]), repeats or judge.repeats
    if samples is None:
        return most, repeats
    if samples >= most:
        return most, max(1, min(repeats, int(samples // most)))
    n = max([size for size in SIZES if size <= samples], default=SIZES[0])
    return min(n, most), 1


def _taught_rungs(transport: Transport, teacher: Flow) -> Iterator[Transport]:
    """The teacher in the most steps that need at most each of `CALLS`, by its own solver."""
    if teacher.solver.adaptive:
        return
    grid = teacher.grid if isinstance(teacher.grid, str) else None
    extra = transport.calls - inner_of(transport).calls
    for calls in CALLS:
        fitting = (with_inner(transport, teacher.with_solver(teacher.solver, steps, grid)) for steps in range(calls, 0, -1))
        rung = next((rung for rung in fitting if rung.calls - extra <= calls), None)
        if rung is not None:
            yield rung


def _alike(first: Transport, other: Transport) -> bool:
    """Whether two flows of one denoiser take the same times by the same solver."""
    a, b = inner_of(first), inner_of(other)
    same = isinstance(a, Flow) and isinstance(b, Flow) and np.array_equal(a.times, b.times)
    return same and spec.describe(a.solver) == spec.describe(b.solver)  # type: ignore[union-attr]


def pair_of(model: Run | Transport) -> tuple[np.ndarray, np.ndarray] | None:
    """Samples of a map in one call and of its teacher from the same noise, as arrays to be drawn; None without a teacher."""
    transport, teacher = transport_of(model), teacher_of(model)
    flow = inner_of(transport)
    if teacher is None or not isinstance(flow, Flow) or not flow.solver.jumps:
        return None
    space = transport.space
    both = (flow.with_solver(flow.solver, 1), teacher)
    try:
        with unmet_kept():
            jumped, own = (with_inner(transport, inner).sample(SHOWN[space.as_points]) for inner in both)
    except Diverged:
        return None
    return space.drawing(space.quantise(jumped)), space.drawing(space.quantise(own))


def with_ladder(judge: Judge, model: Run | Transport, result: ModelResult, pictures: Pictures) -> tuple[ModelResult, Pictures]:
    """A model's result with its ladder and the pictures beside its teacher's, where it is a map between two times."""
    seconds, calls = result.sampling.seconds_per_sample, result.sampling.calls
    ladder = ladder_of(judge, model, seconds / calls if seconds and calls else None, result.name)
    if ladder is None:
        return result, pictures
    return replace(result, ladder=ladder), replace(pictures, pair=pair_of(model))
