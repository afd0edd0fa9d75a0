"""Scores of flow maps over network calls, and of models over training time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.denoisers import AtScale, FlowMap, Guided
from pushforward.errors import Diverged
from pushforward.evaluation.costs import solver_title
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.measurements import CurvePoint, Pictures, StepsCurve, SweepPoint
from pushforward.evaluation.models import Model, check_model, commands
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.evaluation.scores import real_data_scores
from pushforward.evaluation.trajectories import trajectory_of
from pushforward.metrics import Score
from pushforward.metrics.score import Scores
from pushforward.numbers import duration, plural
from pushforward.paths import same_source
from pushforward.solvers import Jump
from pushforward.training import Run
from pushforward.training.runs.run import by_default, transport_of
from pushforward.transports import (
    Flow,
    Transport,
    has_levels,
    has_steps,
    inner_of,
    starts,
    with_inner,
)
from pushforward.transports.redrawing import unmet_kept

CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")
CALLS = (1, 2, 4, 8, 16)
SCORES = ("energy", "frechet", "kid", "coverage")
SWEEPS = 3  # Sampling for one curve takes at most about as long as this many sweeps
SIZES = (500, 1_000, 2_000)  # Numbers of samples to choose from if time is short
SHOWN = {False: 36, True: 200}  # Samples that are drawn, by whether they are points


@dataclass(frozen=True)
class _SampledPoint:
    transport: Transport
    samplings: list[Tensor]
    point: CurvePoint


@dataclass
class _PointSampler:
    evaluator: Evaluator
    n: int
    repeats: int

    def sample(self, transport: Transport, words: str) -> _SampledPoint:
        self.evaluator.say(f"{words}, {plural(transport.calls, 'call')}")
        scores: Scores = {}
        samplings: list[Tensor] = []
        with suppress(Diverged):
            scores, samplings = self.evaluator.score_samplings(
                transport, SCORES, self.n, self.repeats
            )
        flow = inner_of(transport)
        assert isinstance(flow, Flow)
        return _SampledPoint(transport, samplings, CurvePoint(flow.steps, transport.calls, scores))

    def beside(self, sampled: _SampledPoint, teacher: Sequence[Tensor]) -> CurvePoint:
        to_model = self.evaluator.data.space.to_model
        squares = []
        for x, y in zip(sampled.samplings, teacher, strict=False):
            squares.append((to_model(x) - to_model(y)).square().mean())
        if not squares:
            return sampled.point
        distance = math.sqrt(float(torch.stack(squares).mean()))
        return replace(sampled.point, distance=distance)


def quality_curve(
    evaluator: Evaluator,
    transport: Transport,
    scores: Mapping[str, Score],
    counts: Sequence[int],
    name: str,
) -> tuple[CurvePoint, ...]:
    """Measure distances and coverage over network calls, as far as time allows.

    Args:
        scores: Scores at the model's own number of steps, which replaces numbers within a factor of
            1.5.
    """
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive:
        return ()
    # times given one by one are for their own number of steps
    grid = flow.grid if isinstance(flow.grid, str) else None
    points = []
    started = time.perf_counter()
    own = flow.steps if flow.grid is grid else 0
    if own:
        known = {name: scores[name] for name in CURVE_SCORES if name in scores}
        points.append(CurvePoint(own, transport.calls, known))
    rest = [steps for steps in counts if not own / 1.5 < steps < own * 1.5]
    repeats = max((len(score.values) for score in scores.values()), default=1)
    for steps in rest:
        other = with_inner(transport, flow.with_solver(flow.solver, steps, grid))
        evaluator.say(f"{name}, number of steps: {steps}")
        began = time.perf_counter()
        seconds = evaluator.plan.sweep / len(rest)
        measured, samplings = evaluator.score_samplings(
            other, CURVE_SCORES, evaluator.n, repeats, seconds
        )
        points.append(CurvePoint(steps, other.calls, measured))
        now = time.perf_counter()
        each = (now - began) / len(samplings)
        if now - started + 2 * each > evaluator.plan.sweep:
            break
    return tuple(sorted(points, key=lambda point: point.steps or 0))


def teacher_of(model: Model) -> Flow | None:
    """Return the teacher of a flow map from the same noise, at its guidance scale; else None.

    A teacher that is itself a flow map takes the same number of steps.
    """
    if not isinstance(model, Run):
        return None
    teacher = model.method.parts.get("teacher")
    inner = inner_of(transport_of(model))
    if not isinstance(inner, Flow):
        return None
    if isinstance(teacher, FlowMap):
        teacher = Flow(teacher, Jump.of(teacher), inner.steps)
    if not isinstance(teacher, Flow) or teacher.noise_shape != inner.noise_shape:
        return None
    if not same_source(teacher.source, inner.source):
        return None
    if isinstance(inner.denoiser, AtScale) and isinstance(teacher.denoiser, Guided):
        guided = Guided(teacher.denoiser.denoiser, inner.denoiser.scale)
        return Flow(guided, teacher.solver, teacher.steps, teacher.grid)
    return teacher


def steps_curve_of(
    evaluator: Evaluator, model: Model, seconds: float | None = None, name: str = "a map"
) -> StepsCurve | None:
    """Score a flow map with 1, 2, 4, 8 and 16 calls, and its teacher from the same noise.

    The teacher is sampled with the solver stored in the run, at the largest number of steps that
    needs no more calls and at the stored number of steps, and with the sampler of its own run.
    Distances are to the teacher of a finished map with the same number of calls, otherwise to the
    teacher with the solver used in training.
    """
    transport = transport_of(model)
    flow = inner_of(transport)
    if not isinstance(flow, Flow) or not flow.solver.jumps:
        return None
    transports = [with_inner(transport, flow.with_solver(flow.solver, steps)) for steps in CALLS]
    taught = []
    by_run = []
    steps_curve = StepsCurve()
    teacher = teacher_of(model)
    if teacher is not None and isinstance(model, Run):
        taught = [with_inner(transport, teacher), *_teacher_transports(transport, teacher)]
        steps_curve = replace(
            steps_curve,
            solver=solver_title(teacher),
            finished=isinstance(model.method.parts.get("teacher"), FlowMap),
            learned=model.method.learns or None,
        )
        default = by_default(model.spec, "teacher", teacher)
        if default is not None:
            by_run = [with_inner(transport, default)]
            steps_curve = replace(steps_curve, default_solver=solver_title(default))
    affordable_samples = None
    if seconds is not None:
        calls = sum(each.calls for each in [*transports, *taught, *by_run])
        affordable_samples = SWEEPS * evaluator.plan.sweep / (seconds * calls)
    repeats = None if starts(transport) is None else 1  # a flow from a data set is sampled once
    sampler = _PointSampler(evaluator, *affordable(evaluator, affordable_samples, repeats))
    real = evaluator.real_data_scores
    if sampler.n != evaluator.n or not set(SCORES) <= real.keys():
        real = real_data_scores(evaluator.data, evaluator.features, n=sampler.n, metrics=SCORES)
    known = [name for name in SCORES if name in real]
    steps_curve = replace(
        steps_curve,
        n=sampler.n,
        repeats=sampler.repeats,
        real_data_scores={
            name: Score(real[name].value, real[name].spread, n=real[name].n) for name in known
        },
    )
    return _measure_points(sampler, steps_curve, transports, taught, by_run, name)


def _measure_points(
    sampler: _PointSampler,
    steps_curve: StepsCurve,
    transports: Sequence[Transport],
    taught: Sequence[Transport],
    by_run: Sequence[Transport],
    name: str,
) -> StepsCurve:
    teachers: list[_SampledPoint] = []
    own: list[Tensor] = []
    for transport in taught:  # the first has the solver and steps used in training
        same = [sampled for sampled in teachers if _alike(transport, sampled.transport)]
        if same:
            teachers.append(same[0])
            continue
        sampled = sampler.sample(transport, f"the teacher of {name}")
        if not teachers:
            own = sampled.samplings
        beside = sampled.samplings if steps_curve.finished else own
        teachers.append(replace(sampled, point=sampler.beside(sampled, beside)))
    beside_by_calls = {}
    if steps_curve.finished:
        own = []
        for transport, sampled in zip(taught[1:], teachers[1:], strict=True):
            beside_by_calls[transport.calls] = sampled.samplings
    points = []
    for transport in transports:
        beside = beside_by_calls.get(transport.calls, own)
        points.append(sampler.beside(sampler.sample(transport, name), beside))
    default = None
    for transport in by_run:
        if _alike(taught[0], transport):
            default = teachers[0].point
        else:
            words = f"the teacher of {name} with the sampler of its run"
            default = sampler.beside(sampler.sample(transport, words), own)
    teacher_points = [sampled.point for sampled in teachers]
    return replace(
        steps_curve,
        points=tuple(points),
        teacher=tuple(teacher_points[1:]),
        own=teacher_points[0] if teacher_points else None,
        default=default,
    )


def affordable(
    evaluator: Evaluator, samples: float | None, repeats: int | None = None
) -> tuple[int, int]:
    """Choose the numbers of samples and samplings per point for a number of samples."""
    most = min(evaluator.n, SIZES[-1])
    repeats = repeats or evaluator.repeats
    if samples is None:
        return most, repeats
    if samples >= most:
        return most, max(1, min(repeats, int(samples // most)))
    fitting = [size for size in SIZES if size <= samples]
    return min(max(fitting, default=SIZES[0]), most), 1


def _teacher_transports(transport: Transport, teacher: Flow) -> Iterator[Transport]:
    if teacher.solver.adaptive:
        return
    grid = teacher.grid if isinstance(teacher.grid, str) else None
    extra = transport.calls - inner_of(transport).calls
    for calls in CALLS:
        for steps in range(calls, 0, -1):
            other = with_inner(transport, teacher.with_solver(teacher.solver, steps, grid))
            if other.calls - extra <= calls:
                yield other
                break


def _alike(first: Transport, other: Transport) -> bool:
    a = inner_of(first)
    b = inner_of(other)
    if not isinstance(a, Flow) or not isinstance(b, Flow):
        return False
    same_times = np.array_equal(a.times, b.times)
    return same_times and spec.describe(a.solver) == spec.describe(b.solver)


def pair_of(model: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw samples of a flow map with one call and of its teacher from the same noise, if any."""
    transport = transport_of(model)
    teacher = teacher_of(model)
    flow = inner_of(transport)
    if teacher is None or not isinstance(flow, Flow) or not flow.solver.jumps:
        return None
    space = transport.space
    n = SHOWN[space.as_points]
    with suppress(Diverged), unmet_kept():
        jumped = with_inner(transport, flow.with_solver(flow.solver, 1)).sample(n)
        taught = with_inner(transport, teacher).sample(n)
        return space.drawing(space.quantise(jumped)), space.drawing(space.quantise(taught))
    return None


def with_curves(
    evaluator: Evaluator,
    model: Model,
    result: ModelResult,
    pictures: Pictures,
    counts: Sequence[int] = CURVE_STEPS,
) -> tuple[ModelResult, Pictures]:
    """Add scores over calls, trajectories and the steps curve of a flow map to a result."""
    transport = transport_of(model)
    name = result.name
    seconds = result.sampling.seconds_per_sample
    points = quality_curve(evaluator, transport, result.scores, counts, name)
    if has_levels(transport):
        evaluator.say(f"{name}, trajectories")
    trajectory = trajectory_of(transport, evaluator.data, evaluator.seed, seconds)
    result = replace(result, curve=points, trajectory=trajectory)
    return with_steps_curve(evaluator, model, result, pictures)


def with_steps_curve(
    evaluator: Evaluator, model: Model, result: ModelResult, pictures: Pictures
) -> tuple[ModelResult, Pictures]:
    """Add the steps curve and the pictures of its teacher to the result of a flow map."""
    steps_curve = steps_curve_of(evaluator, model, result.sampling.seconds_per_call, result.name)
    if steps_curve is None:
        return result, pictures
    return replace(result, steps_curve=steps_curve), replace(pictures, pair=pair_of(model))


def with_sweep(
    evaluator: Evaluator, comparison: Comparison, runs: Mapping[str, Sequence[Run]]
) -> Comparison:
    """Add the scores of shorter training runs, by name of the model, to a comparison."""
    sweep = {}
    for name, shorter in runs.items():
        points = []
        for run in shorter:
            check_model(name, run, evaluator.data)
            points.append(_sweep_point(evaluator, name, run))
        for model in comparison.models:
            if model.name == name:
                points.append(_longest_point(model))
        points.sort(key=lambda point: point.budget or point.seconds or 0.0)
        sweep[name] = tuple(points)
    return replace(comparison, sweep=sweep)


def _sweep_point(evaluator: Evaluator, name: str, run: Run) -> SweepPoint:
    seconds = run.state["seconds"]
    budget = run.spec["budget"]["seconds"]
    evaluator.say(f"{name} after {duration(budget or seconds)}")
    scores, _ = evaluator.score_samplings(
        run.transport, CURVE_SCORES, evaluator.n, evaluator.repeats
    )
    repeat = tuple(commands(run))
    return SweepPoint(seconds, run.state["step"], run.spec["seed"], scores, budget, repeat)


def _longest_point(model: ModelResult) -> SweepPoint:
    budget = (model.config.get("budget") or {}).get("seconds")
    first = model.trainings[0] if model.trainings else model
    known = [name for name in CURVE_SCORES if name in first.scores]
    scores = {name: first.scores[name] for name in known}
    return SweepPoint(first.training.seconds, first.training.steps, first.seed, scores, budget)
