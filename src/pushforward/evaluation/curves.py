"""Scores over the calls of a map between two times, beside its teacher; over seconds of training; and over truncation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.data import Dataset
from pushforward.denoisers import AtScale, FlowMap, Guided
from pushforward.editing.given_data import Truncated
from pushforward.errors import Diverged, UsageError
from pushforward.evaluation.evaluator import CURVE_SCORES, Judge, solver_title
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.intervals import point_of, together
from pushforward.evaluation.measurements import CurvePoint, Ladder, Pictures, SweepPoint
from pushforward.evaluation.models import check_model, commands
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, DataInfo, ModelResult, Settings, check_same
from pushforward.evaluation.scores import floors, score
from pushforward.extractors import Spaces
from pushforward.files import Record
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.numbers import counted, duration
from pushforward.paths import same_source
from pushforward.pictures import INK, REAL, figure_picture
from pushforward.solvers import Jump
from pushforward.training import Run
from pushforward.training.runs.run import by_default, transport_of
from pushforward.transports import BATCH, Flow, Transport, inner_of, starts, with_inner
from pushforward.transports.learned_steps import Pairs
from pushforward.transports.transport import unmet_kept

if TYPE_CHECKING:
    from PIL import Image


CALLS = (1, 2, 4, 8, 16)
SCORES = ("energy", "frechet", "kid", "coverage")
SWEEPS = 3  # Sampling for one ladder takes at most about as long as this many sweeps
# Samples on either side where fewer are compared than otherwise: the most of these that the time allows, or the first
SIZES = (500, 1_000, 2_000)
SHOWN = {False: 36, True: 200}  # Samples that are drawn beside the teacher's, by whether they are points
# The first seed of samples by which a sampler is chosen, above those of all others, and how many there are at most.
CHOOSING, CHOSEN_BY = 700_000_000, 2_000
LIMITS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
PAIRS = (("coverage", "density"), ("recall", "precision"))  # What is drawn: diversity to the right, quality upwards


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
            return [self.judge.draw(transport, (repeat + 1) * REPEAT_SEEDS, self.n)[0] for repeat in range(self.repeats)]
        return []

    def point(self, transport: Transport, samplings: Sequence[Tensor], beside: Sequence[Tensor]) -> CurvePoint:
        """One point, without scores where a sample is not finite; ``beside``: the teacher's samples, or none."""
        flow, data = inner_of(transport), self.judge.data
        assert isinstance(flow, Flow)
        point = CurvePoint(flow.steps, transport.calls)
        with suppress(Diverged):
            rows = [score(x, data, self.judge.features, n=self.n, metrics=SCORES) for x in samplings]
            point = point_of(flow.steps, transport.calls, together(rows, self.n, infos=describe()))
            if rows and beside:
                gaps = [data.space.to_model(x) - data.space.to_model(y) for x, y in zip(samplings, beside, strict=True)]
                point = replace(point, distance=math.sqrt(float(torch.stack([gap.square().mean() for gap in gaps]).mean())))
        return point


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
    and the solver, steps and grid by which its own run samples, where the map's run names them. Distance is from a finished
    map's teacher in as many calls, else from the teacher by the solver of the map's training.

    Args:
        judge: Data and features.
        model: A run or a transport; a transport has no teacher.
        seconds: The time of one call for one sample, from which follows how many samples are affordable; None takes as many
            as the judge compares, at most the last of `SIZES`.
        name: What progress calls the model.

    Returns:
        None for any other model.
    """
    transport, run = transport_of(model), model if isinstance(model, Run) else None
    flow = inner_of(transport)
    if not isinstance(flow, Flow) or not flow.solver.jumps or not judge.plan.sweep:
        return None
    rungs = [with_inner(transport, flow.with_solver(flow.solver, steps)) for steps in CALLS]
    once = None if starts(transport) is None else 1  # as the judge samples it
    teacher = teacher_of(model)
    finished = run is not None and teacher is not None and isinstance(run.method.parts.get("teacher"), FlowMap)
    taught: list[Transport] = []
    default = None
    if run is not None and teacher is not None:
        taught = [with_inner(transport, teacher), *_taught_rungs(transport, teacher)]
        default = by_default(run.spec, "teacher", teacher)
    usual = None if default is None else with_inner(transport, default)
    calls = sum(rung.calls for rung in [*rungs, *taught, *(() if usual is None else (usual,))])
    climb = _Climb(judge, *affordable(judge, None if seconds is None else SWEEPS * judge.plan.sweep / (seconds * calls), once))
    known: list[tuple[Transport, list[Tensor], CurvePoint]] = []
    own: list[Tensor] = []
    beside = []
    for other in taught:  # the first is by the solver and in the steps of the map's training
        same = next((entry for entry in known if _alike(other, entry[0])), None)
        if same is None:
            drawn = climb.samples(other, f"the teacher of {name}")
            own = own if known else drawn
            same = other, drawn, climb.point(other, drawn, drawn if finished else own)
            known.append(same)
        beside.append(same)
    same_calls = {other.calls: entry[1] for other, entry in zip(taught[1:], beside[1:], strict=True)} if finished else {}
    points = [climb.point(rung, climb.samples(rung, name), same_calls.get(rung.calls, [] if finished else own)) for rung in rungs]
    by_run = None if usual is None or not _alike(taught[0], usual) else beside[0][2]
    if usual is not None and by_run is None:
        by_run = climb.point(usual, climb.samples(usual, f"the teacher of {name} by its run's sampler"), [] if finished else own)
    same_floors = climb.n == judge.n and set(SCORES) <= judge.floors.keys()
    real = judge.floors if same_floors else floors(judge.data, judge.features, n=climb.n, metrics=SCORES)
    asked = ((run.spec.get("asked") or {}).get("frozen") or ()) if run is not None else ()
    pairs = (str(text).partition("=") for text in asked)
    return Ladder(
        n=climb.n,
        repeats=climb.repeats,
        floors={name: Score(real[name].value, real[name].spread, n=real[name].n) for name in SCORES if name in real},
        points=tuple(points),
        teacher=tuple(point for _, _, point in beside[1:]),
        own=beside[0][2] if beside else None,
        solver=None if teacher is None else solver_title(teacher),
        default=by_run,
        default_solver=None if default is None else solver_title(default),
        teacher_run=next((folder for part, _, folder in pairs if part == "teacher"), None) if taught else None,
        finished=finished,
        learned=(run.method.learns or None) if run is not None and taught else None,
    )


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
    with suppress(Diverged), unmet_kept():
        jumped, own = (with_inner(transport, inner).sample(SHOWN[space.as_points]) for inner in both)
        return space.drawing(space.quantise(jumped)), space.drawing(space.quantise(own))
    return None


def with_ladder(judge: Judge, model: Run | Transport, result: ModelResult, pictures: Pictures) -> tuple[ModelResult, Pictures]:
    """A model's result with its ladder and the pictures beside its teacher's, where it is a map between two times."""
    seconds, calls = result.sampling.seconds_per_sample, result.sampling.calls
    ladder = ladder_of(judge, model, seconds / calls if seconds and calls else None, result.name)
    if ladder is None:
        return result, pictures
    return replace(result, ladder=ladder), replace(pictures, pair=pair_of(model))


def training_distance(transport: Transport, data: Dataset) -> Callable[[Flow], float]:
    """A measure by which samplers are chosen: how far a flow's samples lie from training examples, with the same starts for all.

    Of points and rows it is the energy distance. Of others it is the Fréchet distance in the features of the data, to training
    examples on which these were not fitted.

    Args:
        transport: The model's, which decodes the codes where its flow samples codes.
        data: What the model was trained on.
    """
    features, name = fit_features(data), "energy" if len(data.space.shape) == 1 else "frechet"
    known = replace(data, held_out=data.train if data.truth else data.train.take(features.halves.drawn))
    n = min(len(known.held_out) - 1, CHOSEN_BY)

    def distance(flow: Flow) -> float:
        x = transport.space.to_data(Pairs.of(flow, with_inner(transport, flow), n, CHOOSING).target).float().cpu()
        return score(x, known, features, n=n, metrics=(name,))[name].number

    return distance


def with_sweep(
    comparison: Comparison,
    runs: Mapping[str, Sequence[Run]],
    data: Dataset,
    features: Spaces = None,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """A comparison with the scores of shorter trainings of its models, by the same protocol.

    Args:
        comparison: Of the longest trainings, which become the last point of each sweep; of several trainings the first, since
            the shorter ones are trained once.
        runs: Shorter trainings by the name of the model.
        data: The data of the comparison.
        features: Its feature spaces.
        tell: Called with a line before each sampling; silent by default.

    Raises:
        UsageError: For a run of other data, or where these scores would be of another protocol than the comparison's.
    """
    for name, shorter in runs.items():
        for run in shorter:
            check_model(name, run, data)
    judge = Judge(data, comparison.protocol.n or 0, comparison.settings.repeats or 1, CURVE_SCORES, spaces=features, tell=tell)
    judge.follow(comparison.settings.plan)
    check_same([("the comparison", comparison.protocol), ("its shorter trainings", judge.comparison().protocol)])
    sweep = {}
    for name, shorter in runs.items():
        points = []
        for run in shorter:
            state, budget = run.state, run.spec["budget"]["seconds"]
            scores = judge.scores(run.transport, f"{name} after {duration(budget or state['seconds'])}")[0]
            points.append(SweepPoint(state["seconds"], state["step"], run.spec["seed"], scores, budget, tuple(commands(run))))
        for model in (model for model in comparison.models if model.name == name):
            first = model.trainings[0] if model.trainings else model
            scores = {metric: first.scores[metric] for metric in CURVE_SCORES if metric in first.scores}
            budget = (model.config.get("budget") or {}).get("seconds")
            points.append(SweepPoint(first.training.seconds, first.training.steps, first.seed, scores, budget))
        sweep[name] = tuple(sorted(points, key=lambda point: point.budget or point.seconds or 0.0))
    return replace(comparison, sweep={**comparison.sweep, **sweep})


@dataclass(frozen=True)
class TruncationPoint(Record):
    """The scores at one limit; None is the model without a limit."""

    limit: float | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    label_agreement: float | None = None


@dataclass(frozen=True)
class TruncationCurve(Record):
    """Scores by rising limit, the last without one, beside the floors; fields as in `pushforward.evaluation.Comparison`."""

    data: DataInfo = field(default_factory=DataInfo)
    settings: Settings = field(default_factory=Settings)
    machine: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    floors: Mapping[str, Score] = field(default_factory=dict)
    points: tuple[TruncationPoint, ...] = ()


def truncation_curve(
    transport: Transport,
    data: Dataset,
    limits: Sequence[float] = LIMITS,
    n: int | None = None,
    *,
    repeats: int = 3,
    seed: int = 0,
    batch: int = BATCH,
    tell: Callable[[str], None] | None = None,
) -> TruncationCurve:
    """Score a one-call model with its z truncated (`pushforward.editing.Truncated`) to several limits, and without a limit.

    All limits have the same seeds, so the points differ by truncation alone.

    Args:
        transport: A one-call model.
        data: The data set; its held-out split is the reference.
        limits: Above 0, in any order.
        n: Samples on either side; None takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings at each limit.
        seed: Added to the seeds of all samplings.
        batch: Examples sampled at a time.
        tell: Called with a line before each sampling; silent by default.

    Returns:
        Precision, recall, density, coverage and Fréchet distance at each limit.

    Raises:
        UsageError: For an iterative model, no limits or ones that are not above 0, or a number n that cannot be or
            is too small for density and coverage.
    """
    wanted = sorted({float(limit) for limit in limits})
    if not wanted or not all(limit > 0 and math.isfinite(limit) for limit in wanted):
        raise UsageError(f"Limits are numbers above 0, at least one of them; got {list(limits)}.")
    models = [(limit, Truncated(transport, limit)) for limit in wanted]
    judge = Judge(data, n or 0, repeats, ("manifold", "frechet"), seed, batch, tell=tell)
    if "density" not in judge.floors:
        raise UsageError(f"There is no curve: n = {judge.n} is too few examples for density and coverage. Take data with more.")
    points = []
    for limit, model in (*models, (None, transport)):
        name = "z as it is" if limit is None else f"z truncated to {limit:g}"
        points.append(TruncationPoint(limit, *judge.scores(model, name)))
    setting = judge.comparison()
    return TruncationCurve(setting.data, setting.settings, setting.machine, setting.metrics, setting.floors, tuple(points))


def truncation_picture(curve: TruncationCurve) -> Image.Image:
    """Density against coverage and precision against recall, each limit a point, beside real data's.

    Args:
        curve: From `truncation_curve`.

    Returns:
        RGB, 1600 x 720.
    """
    from matplotlib.figure import Figure

    blue, gray, red = (tuple(value / 255 for value in colour) for colour in (INK, REAL, (213, 94, 0)))
    figure = Figure(figsize=(10, 4.5), dpi=160, layout="constrained")
    for axes, (across, up) in zip(figure.subplots(1, 2), PAIRS, strict=True):
        x, y = ([point.scores[name].number for point in curve.points] for name in (across, up))
        axes.plot(x, y, color=blue, linewidth=1.6, marker="o", markersize=5, zorder=2)
        axes.plot(x[-1], y[-1], color=red, marker="s", markersize=7, zorder=3)
        note = partial(axes.annotate, textcoords="offset points", fontsize=9)
        for point, *at in zip(curve.points[:-1], x, y, strict=False):
            note(f"{point.limit:g}", at, xytext=(-6, 5), color=blue, ha="right")
        note("no limit", (x[-1], y[-1]), xytext=(9, -4), color=red)
        (right, wide), (top, high) = ((curve.floors[name].number, curve.floors[name].spread) for name in (across, up))
        axes.errorbar(right, top, yerr=high, xerr=wide, color=gray, marker="D", markersize=6, capsize=3, zorder=1)
        note("real data", (right, top), xytext=(-7, -12), color=gray, ha="right")
        axes.set(xlabel=curve.metrics[across].label, ylabel=curve.metrics[up].label, axisbelow=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", linewidth=0.8)
        axes.margins(0.12)
    return figure_picture(figure)
