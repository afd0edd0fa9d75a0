"""Scores of flow maps over network calls, of models over training time, and of one-call models over truncation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.data import Dataset
from pushforward.denoisers import AtScale, FlowMap, Guided
from pushforward.errors import Diverged
from pushforward.evaluation.evaluator import CURVE_SCORES, Judge, solver_title
from pushforward.evaluation.intervals import point_of, together
from pushforward.evaluation.measurements import CurvePoint, Ladder, Pictures, SweepPoint
from pushforward.evaluation.models import check_model, commands
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, ModelResult, check_same
from pushforward.evaluation.scores import floors, score
from pushforward.extractors import Spaces
from pushforward.metrics import Score, describe
from pushforward.numbers import counted, duration
from pushforward.paths import same_source
from pushforward.solvers import Jump
from pushforward.training import Run
from pushforward.training.runs.run import by_default, transport_of
from pushforward.transports import Flow, Transport, inner_of, starts, with_inner
from pushforward.transports.redrawing import unmet_kept

if TYPE_CHECKING:
    pass


CALLS = (1, 2, 4, 8, 16)
SCORES = ("energy", "frechet", "kid", "coverage")
SWEEPS = 3  # Sampling for one ladder takes at most about as long as this many sweeps
# Samples on either side where fewer are compared than otherwise: the most of these that the time allows, or the first
SIZES = (500, 1_000, 2_000)
SHOWN = {
    False: 36,
    True: 200,
}  # Samples that are drawn beside the teacher's, by whether they are points


@dataclass
class _Climb:
    """How the points of a ladder are measured.

    Args:
        judge: Data, features and seeds.
        n: Samples on either side.
        repeats: Samplings of each point.
    """

    judge: Judge
    n: int
    repeats: int

    def samples(self, transport: Transport, words: str) -> list[Tensor]:
        self.judge.say(f"{words}, {counted(transport.calls, 'call')}")
        with suppress(Diverged):
            return [
                self.judge.draw(transport, (repeat + 1) * REPEAT_SEEDS, self.n)[0]
                for repeat in range(self.repeats)
            ]
        return []

    def point(
        self, transport: Transport, samplings: Sequence[Tensor], beside: Sequence[Tensor]
    ) -> CurvePoint:
        """One point, without scores where a sample is not finite; ``beside``: the teacher's samples, or none."""
        flow = inner_of(transport)
        data = self.judge.data
        assert isinstance(flow, Flow)
        point = CurvePoint(flow.steps, transport.calls)
        with suppress(Diverged):
            rows = [
                score(x, data, self.judge.features, n=self.n, metrics=SCORES) for x in samplings
            ]
            point = point_of(flow.steps, transport.calls, together(rows, self.n, infos=describe()))
            if rows and beside:
                gaps = [
                    data.space.to_model(x) - data.space.to_model(y)
                    for x, y in zip(samplings, beside, strict=True)
                ]
                point = replace(
                    point,
                    distance=math.sqrt(
                        float(torch.stack([gap.square().mean() for gap in gaps]).mean())
                    ),
                )
        return point


def teacher_of(model: Run | Transport) -> Flow | None:
    """Return the teacher of a flow map if both start from the same noise, at the map's guidance scale; else None.

    A teacher that is itself a flow map, as in `finish`, takes the same number of steps as the run.
    """
    teacher = model.method.parts.get("teacher") if isinstance(model, Run) else None
    inner = inner_of(transport_of(model))
    if isinstance(teacher, FlowMap) and isinstance(inner, Flow):
        teacher = Flow(teacher, Jump.of(teacher), inner.steps)
    if not (
        isinstance(teacher, Flow)
        and isinstance(inner, Flow)
        and teacher.noise_shape == inner.noise_shape
    ):
        return None
    if not same_source(teacher.source, inner.source):
        return None
    if isinstance(inner.denoiser, AtScale) and isinstance(teacher.denoiser, Guided):
        return Flow(
            Guided(teacher.denoiser.denoiser, inner.denoiser.scale),
            teacher.solver,
            teacher.steps,
            teacher.grid,
        )
    return teacher


def ladder_of(
    judge: Judge, model: Run | Transport, seconds: float | None = None, name: str = "a map"
) -> Ladder | None:
    """Score a flow map with 1, 2, 4, 8 and 16 calls, and its teacher from the same noise.

    The teacher is sampled with the solver stored in the run, at the largest number of steps that needs no more calls and at the
    stored number of steps, and with the solver, steps and grid of its own run if they are known. Distances are measured to the
    teacher of a finished map with the same number of calls, otherwise to the teacher with the solver used in training.

    Args:
        judge: Evaluation with data and features.
        model: Run or transport; a transport has no teacher.
        seconds: Seconds per call and sample, which limit the number of samples; None for no limit.
        name: Name of the model in progress lines.

    Returns:
        Ladder; None for other models.
    """
    transport = transport_of(model)
    run = model if isinstance(model, Run) else None
    flow = inner_of(transport)
    if not isinstance(flow, Flow) or not flow.solver.jumps or not judge.plan.sweep:
        return None
    rungs = [with_inner(transport, flow.with_solver(flow.solver, steps)) for steps in CALLS]
    once = None if starts(transport) is None else 1  # as the judge samples it
    teacher = teacher_of(model)
    finished = (
        run is not None
        and teacher is not None
        and isinstance(run.method.parts.get("teacher"), FlowMap)
    )
    taught: list[Transport] = []
    default = None
    if run is not None and teacher is not None:
        taught = [with_inner(transport, teacher), *_taught_rungs(transport, teacher)]
        default = by_default(run.spec, "teacher", teacher)
    usual = None if default is None else with_inner(transport, default)
    calls = sum(rung.calls for rung in [*rungs, *taught, *(() if usual is None else (usual,))])
    climb = _Climb(
        judge,
        *affordable(
            judge, None if seconds is None else SWEEPS * judge.plan.sweep / (seconds * calls), once
        ),
    )
    known: list[tuple[Transport, list[Tensor], CurvePoint]] = []
    own: list[Tensor] = []
    beside = []
    for other in taught:  # the first is by the solver and in the steps of the map's training
        same = next((entry for entry in known if _alike(other, entry[0])), None)
        if same is None:
            drawn = climb.samples(other, f"the teacher of {name}")
            if not known:
                own = drawn
            same = other, drawn, climb.point(other, drawn, drawn if finished else own)
            known.append(same)
        beside.append(same)
    if finished:
        same_calls = {
            other.calls: entry[1] for other, entry in zip(taught[1:], beside[1:], strict=True)
        }
    else:
        same_calls = {}
    points = [
        climb.point(
            rung, climb.samples(rung, name), same_calls.get(rung.calls, [] if finished else own)
        )
        for rung in rungs
    ]
    by_run = None if usual is None or not _alike(taught[0], usual) else beside[0][2]
    if usual is not None and by_run is None:
        by_run = climb.point(
            usual,
            climb.samples(usual, f"the teacher of {name} with the sampler of its run"),
            [] if finished else own,
        )
    same_floors = climb.n == judge.n and set(SCORES) <= judge.floors.keys()
    if same_floors:
        real = judge.floors
    else:
        real = floors(judge.data, judge.features, n=climb.n, metrics=SCORES)
    asked = ((run.spec.get("asked") or {}).get("frozen") or ()) if run is not None else ()
    pairs = (str(text).partition("=") for text in asked)
    return Ladder(
        n=climb.n,
        repeats=climb.repeats,
        floors={
            name: Score(real[name].value, real[name].spread, n=real[name].n)
            for name in SCORES
            if name in real
        },
        points=tuple(points),
        teacher=tuple(point for _, _, point in beside[1:]),
        own=beside[0][2] if beside else None,
        solver=None if teacher is None else solver_title(teacher),
        default=by_run,
        default_solver=None if default is None else solver_title(default),
        teacher_run=next((folder for part, _, folder in pairs if part == "teacher"), None)
        if taught
        else None,
        finished=finished,
        learned=(run.method.learns or None) if run is not None and taught else None,
    )


def affordable(judge: Judge, samples: float | None, repeats: int | None = None) -> tuple[int, int]:
    """Choose the number of samples and samplings per point.

    Args:
        judge: Evaluation, which sets the upper limits.
        samples: Number of samples that the time allows; None for no limit.
        repeats: Maximum number of samplings; None for the number of the evaluation.
    """
    most = min(judge.n, SIZES[-1])
    repeats = repeats or judge.repeats
    if samples is None:
        return most, repeats
    if samples >= most:
        return most, max(1, min(repeats, int(samples // most)))
    n = max([size for size in SIZES if size <= samples], default=SIZES[0])
    return min(n, most), 1


def _taught_rungs(transport: Transport, teacher: Flow) -> Iterator[Transport]:
    if teacher.solver.adaptive:
        return
    grid = teacher.grid if isinstance(teacher.grid, str) else None
    extra = transport.calls - inner_of(transport).calls
    for calls in CALLS:
        fitting = (
            with_inner(transport, teacher.with_solver(teacher.solver, steps, grid))
            for steps in range(calls, 0, -1)
        )
        rung = next((rung for rung in fitting if rung.calls - extra <= calls), None)
        if rung is not None:
            yield rung


def _alike(first: Transport, other: Transport) -> bool:
    a = inner_of(first)
    b = inner_of(other)
    same = isinstance(a, Flow) and isinstance(b, Flow) and np.array_equal(a.times, b.times)
    return same and spec.describe(a.solver) == spec.describe(b.solver)  # type: ignore[union-attr]


def pair_of(model: Run | Transport) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw samples of a flow map with one call and of its teacher from the same noise; None without a teacher."""
    transport = transport_of(model)
    teacher = teacher_of(model)
    flow = inner_of(transport)
    if teacher is None or not isinstance(flow, Flow) or not flow.solver.jumps:
        return None
    space = transport.space
    both = (flow.with_solver(flow.solver, 1), teacher)
    with suppress(Diverged), unmet_kept():
        jumped, own = (
            with_inner(transport, inner).sample(SHOWN[space.as_points]) for inner in both
        )
        return space.drawing(space.quantise(jumped)), space.drawing(space.quantise(own))
    return None


def with_ladder(
    judge: Judge, model: Run | Transport, result: ModelResult, pictures: Pictures
) -> tuple[ModelResult, Pictures]:
    """Add the ladder and the pictures of its teacher to the result of a flow map; other results are unchanged."""
    seconds = result.sampling.seconds_per_sample
    calls = result.sampling.calls
    ladder = ladder_of(judge, model, seconds / calls if seconds and calls else None, result.name)
    if ladder is None:
        return result, pictures
    return replace(result, ladder=ladder), replace(pictures, pair=pair_of(model))


def with_sweep(
    comparison: Comparison,
    runs: Mapping[str, Sequence[Run]],
    data: Dataset,
    features: Spaces = None,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Add the scores of shorter training runs to a comparison, with the same protocol.

    Args:
        comparison: Comparison of the longest training runs, which become the last points; of several runs of
            a recipe, the first.
        runs: Shorter training runs by name of the model.
        data: Data of the comparison.
        features: Feature spaces of the comparison.
        tell: Function called with a line of text before each sampling; None to print nothing.

    Raises:
        UsageError: If a run has other data, or the protocol of these scores would differ.
    """
    for name, shorter in runs.items():
        for run in shorter:
            check_model(name, run, data)
    judge = Judge(
        data,
        comparison.protocol.n or 0,
        comparison.settings.repeats or 1,
        CURVE_SCORES,
        spaces=features,
        tell=tell,
    )
    judge.follow(comparison.settings.plan)
    check_same(
        [
            ("the comparison", comparison.protocol),
            ("its shorter training runs", judge.comparison().protocol),
        ]
    )
    sweep = {}
    for name, shorter in runs.items():
        points = []
        for run in shorter:
            state = run.state
            budget = run.spec["budget"]["seconds"]
            scores = judge.scores(
                run.transport, f"{name} after {duration(budget or state['seconds'])}"
            )[0]
            points.append(
                SweepPoint(
                    state["seconds"],
                    state["step"],
                    run.spec["seed"],
                    scores,
                    budget,
                    tuple(commands(run)),
                )
            )
        for model in (model for model in comparison.models if model.name == name):
            first = model.trainings[0] if model.trainings else model
            scores = {
                metric: first.scores[metric] for metric in CURVE_SCORES if metric in first.scores
            }
            budget = (model.config.get("budget") or {}).get("seconds")
            points.append(
                SweepPoint(first.training.seconds, first.training.steps, first.seed, scores, budget)
            )
        sweep[name] = tuple(sorted(points, key=lambda point: point.budget or point.seconds or 0.0))
    return replace(comparison, sweep={**comparison.sweep, **sweep})
