"""Scores of flow maps over network calls, of models over training time, and of one-call models over truncation."""

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
    """Return the teacher of a flow map if both start from the same noise, at the map's guidance scale; else None.

    A teacher that is itself a flow map, as in `finish`, takes the same number of steps as the run.
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
        by_run = climb.point(
            usual, climb.samples(usual, f"the teacher of {name} with the sampler of its run"), [] if finished else own
        )
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
    """Choose the number of samples and samplings per point.

    Args:
        judge: Evaluation, which sets the upper limits.
        samples: Number of samples that the time allows; None for no limit.
        repeats: Maximum number of samplings; None for the number of the evaluation.
    """
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
    """Draw samples of a flow map with one call and of its teacher from the same noise; None without a teacher."""
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
    """Add the ladder and the pictures of its teacher to the result of a flow map; other results are unchanged."""
    seconds, calls = result.sampling.seconds_per_sample, result.sampling.calls
    ladder = ladder_of(judge, model, seconds / calls if seconds and calls else None, result.name)
    if ladder is None:
        return result, pictures
    return replace(result, ladder=ladder), replace(pictures, pair=pair_of(model))


def training_distance(transport: Transport, data: Dataset) -> Callable[[Flow], float]:
    """Build a function that measures the distance between samples of a flow and training examples, to choose a sampler.

    The function uses the energy distance for points and rows, and otherwise the Fréchet distance to training
    examples that the features were not fitted on. All flows start from the same noise.

    Args:
        transport: Transport of the model, which decodes the latents of a latent flow.
        data: Training data of the model.
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
    judge = Judge(data, comparison.protocol.n or 0, comparison.settings.repeats or 1, CURVE_SCORES, spaces=features, tell=tell)
    judge.follow(comparison.settings.plan)
    check_same([("the comparison", comparison.protocol), ("its shorter training runs", judge.comparison().protocol)])
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
    """Scores at one truncation limit.

    Args:
        limit: Truncation limit; None for no truncation.
        scores: Scores by name.
        label_agreement: Fraction of samples recognised as the requested class.
    """

    limit: float | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    label_agreement: float | None = None


@dataclass(frozen=True)
class TruncationCurve(Record):
    """Scores by truncation limit, with the fields of `pushforward.evaluation.Comparison`.

    Args:
        data: Data set.
        settings: Settings of the evaluation.
        machine: Properties of the machine by name.
        metrics: Descriptions of scores by name.
        floors: Real-data scores by name.
        points: Scores in ascending order of the limit; the last point has no limit.
    """

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
    """Score a one-call model at several truncation limits of z, and without truncation.

    All limits use the same seeds, so the points differ only in truncation (`pushforward.editing.Truncated`).

    Args:
        transport: One-call model.
        data: Data set; its held-out split is the reference.
        limits: Truncation limits, above 0.
        n: Number of samples per side; None for the maximum that the held-out split allows, at most
            10,000.
        repeats: Number of samplings per limit.
        seed: Number added to the seed of every sampling.
        batch: Number of samples generated at a time.
        tell: Function called with a line of text before each sampling; None to print nothing.

    Returns:
        Precision, recall, density, coverage and Fréchet distance at each limit.

    Raises:
        UsageError: If the model is iterative, a limit is not above 0, or n is not allowed or too small for
            density and coverage.
    """
    wanted = sorted({float(limit) for limit in limits})
    if not wanted or not all(limit > 0 and math.isfinite(limit) for limit in wanted):
        raise UsageError(f"`limits` must be one or more numbers above 0, got {list(limits)}.")
    models = [(limit, Truncated(transport, limit)) for limit in wanted]
    judge = Judge(data, n or 0, repeats, ("manifold", "frechet"), seed, batch, tell=tell)
    if "density" not in judge.floors:
        raise UsageError(f"n = {judge.n} is too small for density and coverage. Use data with more held-out examples.")
    points = []
    for limit, model in (*models, (None, transport)):
        name = "z without truncation" if limit is None else f"z truncated to {limit:g}"
        points.append(TruncationPoint(limit, *judge.scores(model, name)))
    setting = judge.comparison()
    return TruncationCurve(setting.data, setting.settings, setting.machine, setting.metrics, setting.floors, tuple(points))


def truncation_picture(curve: TruncationCurve) -> Image.Image:
    """Plot density over coverage and precision over recall, with one point per limit and real data.

    Args:
        curve: Result of `truncation_curve`.

    Returns:
        RGB image, 1600 x 720.
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
