"""One model against held-out data: scores beside their floors, cost, curves and pictures."""

from __future__ import annotations

import hashlib
import inspect
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.data import Dataset, Space, TableSpace
from pushforward.errors import quoted
from pushforward.evaluation.baselines import GaussianBaseline, RowMixture, drawn_rows
from pushforward.evaluation.features import Features, fit_features, kind_of
from pushforward.evaluation.intervals import point_of, together
from pushforward.evaluation.measurements import CurvePoint, Memory, Pictures, Plan, SampleTime, SamplingCost
from pushforward.evaluation.model_metrics import trajectory_of
from pushforward.evaluation.models import Given, of_run, starts_warnings, unseen_warnings
from pushforward.evaluation.pictures import latent_pictures, latent_statistics, pictures_of
from pushforward.evaluation.results import REPEAT_SEEDS, REPEATS, Comparison, DataInfo, ModelResult, Protocol, Settings
from pushforward.evaluation.scores import (
    REPRESENTATION,
    attacked,
    compared,
    floors,
    labels_for,
    recoded,
    reference_examples,
    score,
)
from pushforward.extractors import Spaces, check_spaces, named_extractors
from pushforward.methods.method import parameters
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.metrics.names import chosen
from pushforward.registries import METRICS
from pushforward.training.estimates import training_memory
from pushforward.training.loop.machine import added_peak, held_bytes, machine
from pushforward.training.runs.run import Run, transport_of
from pushforward.transports import BATCH, Flow, Transport, has_levels, has_steps, inner_of, starts, with_inner
from pushforward.transports.transport import (
    MEASURED,
    Tally,
    as_drawn,
    counted,
    named_constraints,
    shared_stream,
    unmet_kept,
    warn_broken,
)

TURNS = 7  # How often each model is timed
TURN_SECONDS = 1.0  # About the most that one model's turn may take; where a single sample takes longer, a turn is one sample
SHORTEST = 0.02  # Seconds; a turn repeats calls that take less, so that a clock can time it
MOST_CALLS = 100  # Calls of one turn at most
FEW_STEPS = 6  # Steps of an iterative model whose memory is measured: no more is held at once in many
NEIGHBOURS = 5  # of precision, recall, density and coverage
EVERYTHING = Plan()
SCORES = ("frechet", "kid", "precision", "recall", "coverage")  # what is computed in every feature space
CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")


@dataclass
class Judge:
    """Everything that does not depend on the model: features, real-data scores and the no-network row, computed once.

    `follow` sets how much is measured, before anything is.

    Args:
        data: The data set; models are compared with its held-out split.
        n: Samples on either side; 0 takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings of each model.
        metrics: Names of metrics; None means all that apply.
        seed: Added to the seed of every sampling.
        batch: Samples generated at a time.
        spaces: Feature spaces (`pushforward.extractors`); models are ranked in the first, and scores in further ones stand beside
            its scores. None takes the one that suits the data.
        tell: Called with a line before each sampling of a model, and before whatever else takes long; None is silent.

    Raises:
        UsageError: For an unknown feature space, or one that comes twice.
        DataError: If an extractor cannot read the data.
        MissingExtra: Without a package that an extractor needs.
    """

    data: Dataset
    n: int = 0
    repeats: int = REPEATS
    metrics: Sequence[str] | None = None
    seed: int = 0
    batch: int = BATCH
    spaces: Spaces = None
    tell: Callable[[str], None] | None = None
    plan: Plan = field(init=False, default=EVERYTHING)
    features: Features = field(init=False)
    others: tuple[Features, ...] = field(init=False)
    unscored: dict[str, str] = field(init=False, default_factory=dict)  # why a metric that was asked for has no score, by name
    began: float = field(init=False)  # by `time.perf_counter`

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = compared(self.data, self.n or None, learns(self.data, self.spaces))
        extractors = named_extractors(kind_of(self.data) if self.spaces is None else self.spaces)
        check_spaces(extractors, self.data)
        self.say("features, which are stored for the next time")
        first, *others = ({name: extractor} for name, extractor in extractors.items())
        self.features = fit_features(self.data, first)
        self.others = tuple(fit_features(self.data, other, reads=False) for other in others)

    def follow(self, plan: Plan) -> None:
        """Measure as much as a plan says."""
        self.plan = plan
        self.n = plan.n or self.n
        self.repeats = plan.repeats or self.repeats

    @cached_property
    def floors(self) -> dict[str, Score]:
        """What real data scores."""
        return self._in_spaces(partial(floors, self.data, n=self.n, redraws=self.plan.redraws))

    def say(self, what: str) -> None:
        """Tell what is measured now."""
        if self.tell is not None:
            self.tell(f"measuring {what} ...")

    def _in_spaces(self, scored: Callable[..., dict[str, Score]]) -> dict[str, Score]:
        """All scores, and those of `SCORES` that were asked for in further feature spaces, such as "frechet (pca)"."""
        scores = scored(self.features, metrics=self.metrics)
        names = [name for _, names in chosen(self.metrics) for name in names if name in SCORES]
        for space in self.others if names else ():
            others = scored(space, metrics=names)
            scores |= {f"{name} ({space.name})": other for name, other in others.items()}
        return scores

    def _infos(self) -> dict[str, MetricInfo]:
        """What a report must know of each score; those in further spaces have their own heading and no role in the verdict."""
        known = describe()
        for space in self.others:
            what, group = f" Here in other features: {space.describe(self.n)}.", f"In other features: {space.name}"
            for info, name in ((known[name], f"{name} ({space.name})") for name in SCORES):
                label = f"{info.label} ({space.name})"
                known[name] = replace(info, label=label, what=info.what + what, group=group, role=None)
        return known

    def scores(self, sampler: Any, name: str = "") -> tuple[dict[str, Score], float | None]:
        """The scores of anything with ``stream(n, seed=..., batch=...)`` over all repeats, and its label agreement.

        A flow from a data set is sampled once: its samplings start from the same examples and would be no repeats.
        """
        samplings: list[dict[str, Score]] = []
        agreements = []
        once = isinstance(sampler, Transport) and starts(sampler) is not None
        times = 1 if once else self.repeats
        for repeat in range(times):
            if name:
                self.say(f"{name}, sampling {repeat + 1} of {times}")
            given = sampler if isinstance(sampler, Given) else None  # as many as they are
            n, seed = self.n if given else attacked(self.data, self.n), (repeat + 1) * REPEAT_SEEDS
            x, labels, values = self.draw(sampler, seed, n)
            learned = None if given is None else given.x if given.values is None else given.values
            samplings.append(self.score(x, self.n, values, learned))
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        scores = together(samplings, self.n, self.floors, self._infos())
        for key, metric in METRICS.items():
            table = isinstance(self.data.space, TableSpace) or not getattr(metric, "of_tables", False)
            wanted = self.metrics is None or {key, *metric.scores} & set(self.metrics)
            missing = {name: info.missing for name, info in metric.scores.items() if info.missing and name not in scores}
            self.unscored |= missing if table and wanted else {}
        return scores, float(np.mean(agreements)) if agreements else None

    def score(
        self,
        x: torch.Tensor,
        n: int,
        values: np.ndarray | None = None,
        learned: torch.Tensor | np.ndarray | None = None,
    ) -> dict[str, Score]:
        """The scores of one sampling in all feature spaces; arguments as of `pushforward.evaluation.scores.score`."""
        return self._in_spaces(partial(score, x, self.data, n=n, values=values, learned=learned))

    def draw(self, sampler: Any, seed: int, n: int | None = None) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray | None]:
        """As many samples as are compared, or n, in data units, with their labels; the first repeat has seed `REPEAT_SEEDS`.

        All models have the same labels, in proportion to the data's, and the same noise where it has one shape. With them come
        the values of rows of a table whose model has other coordinates than the data; else None.
        """
        n, seed = n or self.n, self.seed + seed
        if isinstance(sampler, Given):
            return sampler.part(n, seed)
        draw = sampler.stream
        if isinstance(sampler, Transport):
            draw = partial(shared_stream, sampler, condition=labels_for(sampler, self.data, n, seed))
        with unmet_kept():
            parts = list(draw(n, seed=seed, batch=self.batch))
        x, values = torch.cat([part for part, _ in parts]), None
        if isinstance(sampler, Transport):
            if not isinstance(sampler, RowMixture):
                warn_broken(sampler.space, x)
            x, values = recoded(x, sampler.space, self.data.space)
        if "label" not in (parts[0][1] or {}):
            return x, None, values
        labels = torch.cat([condition["label"] for _, condition in parts if condition is not None]).cpu().numpy()
        return x, labels, values

    def baseline(self) -> ModelResult:
        """The no-network row: a Gaussian for each class, or one in all; of a table a mixture of rows."""
        self.say("the baseline")
        if isinstance(self.data.space, TableSpace):
            mixture = RowMixture.fit(self.data)
            scores, agreement = self.scores(mixture)[0], None
            name = f"baseline (mixture of {len(mixture.weights)})"
        else:
            scores, agreement = self.scores(GaussianBaseline.fit(self.data))
            name = f"baseline ({'one Gaussian per class' if self.data.space.classes else 'one Gaussian'})"
        return ModelResult(name, sampling_seeds=self._seeds(scores), scores=scores, label_agreement=agreement)

    def _seeds(self, scores: Mapping[str, Score]) -> tuple[int, ...]:
        samplings = max((len(score.values) for score in scores.values()), default=0)
        return tuple(self.seed + (repeat + 1) * REPEAT_SEEDS for repeat in range(samplings))

    def further_baselines(self) -> tuple[ModelResult, ...]:
        """Of a table its columns drawn independently, and copies of its training rows; none of other data."""
        return tuple(ModelResult(name, scores=self.scores(drawn)[0]) for name, drawn in drawn_rows(self.data).items())

    def comparison(self, models: Sequence[ModelResult] = (), baseline: ModelResult | None = None) -> Comparison:
        """Results of models with data, settings, machine, metrics and floors; with a baseline the further ones of a table."""
        space, known = self.data.space, self._infos()
        rows = [*models, *([] if baseline is None else [baseline])]
        names = dict.fromkeys([*self.floors, *(name for row in rows for name in row.scores)])
        data = DataInfo(
            self.data.name,
            tuple(space.shape),
            space.noun,
            tuple(space.classes),
            space.names if isinstance(space, TableSpace) else tuple(space.columns),
            None if self.data.trained_on is False else len(self.data.train),
            len(self.data.held_out),
            self.data.fingerprint,
            tuple(entry for kind in space.conditions.values() for entry in kind.entries),
        )
        settings = Settings(
            n=self.n,
            repeats=self.repeats,
            k=NEIGHBOURS,
            features=self.features.describe(self.n),
            spaces=tuple(features.name for features in (self.features, *self.others)),
            dimensions=self.features.dims(self.n),
            classifier_accuracy=self.features.accuracy,
            plan=self.plan,
        )
        return Comparison(
            data=data,
            settings=settings,
            protocol=protocol_of(self.data, self.features, self.n, tuple(self.floors), self.others),
            machine=machine(),
            metrics={name: known[name] for name in names if name in known},
            floors=self.floors,
            unscored=self.unscored,
            models=tuple(models),
            baseline=baseline,
            further_baselines=() if baseline is None else self.further_baselines(),
        )

    def judge(
        self,
        name: str,
        model: Run | Transport,
        *,
        curve: bool | Sequence[int] = True,
        sampling: SamplingCost | None = None,
    ) -> tuple[ModelResult, Pictures]:
        """Everything that is measured of one model, and its pictures.

        Args:
            name: As the report shows it.
            model: A run or a transport.
            curve: Whether to measure quality against network calls, trajectories and the memory of training; or in which numbers
                of steps, beside its own, the first.
            sampling: The model's part of `sampling`; None measures it here, alone.
        """
        transport, run = transport_of(model), model if isinstance(model, Run) else None
        with counted() as tally:
            scores, agreement = self.scores(transport, name)
        sampling = sampling or self.sampling({name: transport})[name]
        sampling = replace(sampling, refused=tally.share if tally.drawn else None)
        points: tuple[CurvePoint, ...] = ()
        trajectory = None
        if curve and self.plan.sweep:
            points = quality_curve(self, transport, scores, None if isinstance(curve, bool) else curve, name)
            if has_levels(transport):
                self.say(f"{name}, trajectories")
            trajectory = trajectory_of(transport, self.data, self.seed, sampling.seconds_per_sample)
        result = ModelResult(
            name=name,
            family=type(transport).__name__,
            conditioned=names_of({k: v for k, v in transport.space.conditions.items() if not v.learned}),
            parameters=parameters(transport),
            sampling=sampling,
            scores=scores,
            label_agreement=agreement,
            sampling_seeds=self._seeds(scores),
            curve=points,
            trajectory=trajectory,
            latent=None if run is None else latent_statistics(run, self.data, self.features),
            warnings=(
                *(() if run is None else (*run.warnings, *run.unfinished)),
                *unseen_warnings(model, self.data),
                *starts_warnings(model, self.n),
                *constraint_warnings(transport.space, self.data.space, tally),
            ),
        )
        pictures = pictures_of(transport, run, self.data)
        if run is None:
            return result, pictures
        result = of_run(result, run)
        if curve:
            pictures = replace(pictures, latent=latent_pictures(run, self.data))
        if curve and self.plan.memory:
            self.say(f"{name}, the memory of training")
            held = training_memory(run, self.data)
            memory = None if held is None else held / 2**20
            result = replace(result, training=replace(result.training, memory_mb=memory))
        return result, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, SamplingCost]:
        """What sampling costs each model: calls, arithmetic, memory, and time, which is measured in turns over all models."""
        self.say("the time and memory of samples" if self.plan.memory else "the time of samples")
        return sampling_costs(models, most_at_once(self.data), self.plan)


def most_at_once(data: Dataset) -> int:
    """How many samples are made at a time, at most, where time and memory are measured."""
    return 1000 if data.space.as_points else 64


def learns(dataset: Dataset, spaces: Spaces) -> bool:
    """Whether any feature space is learned, so that floors come from one half of the training examples of a toy as well."""
    return any(extractor.learns for extractor in named_extractors(kind_of(dataset) if spaces is None else spaces).values())


def quality_curve(
    judge: Judge, transport: Transport, scores: Mapping[str, Score], counts: Sequence[int] | None = None, name: str = "a model"
) -> tuple[CurvePoint, ...]:
    """Distances and coverage against network calls, for as many steps as the time allows.

    The point of the model's own number of steps is what ``scores`` holds. It takes the place of one of the ``counts`` (None:
    `CURVE_STEPS`) within a factor of 1.5. The others are means over as many samplings, or over fewer, as the time allows: one
    value for each is stored. ``name`` is what progress calls the model.
    """
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive:
        return ()
    # times given one by one are for their own number of steps
    grid = flow.grid if isinstance(flow.grid, str) else None
    points, started = [], time.perf_counter()
    own = flow.steps if flow.grid is grid else 0
    if own:
        points.append(point_of(own, transport.calls, {name: scores[name] for name in CURVE_SCORES if name in scores}))
    rest = [steps for steps in counts or CURVE_STEPS if not own / 1.5 < steps < own * 1.5]
    repeats = max((len(score.values) for score in scores.values()), default=1)
    for steps in rest:
        other = with_inner(transport, flow.with_solver(flow.solver, steps, grid))
        judge.say(f"{name}, steps: {steps}")
        began, samplings = time.perf_counter(), []
        for repeat in range(1, repeats + 1):
            x, _, values = judge.draw(other, repeat * REPEAT_SEEDS)
            samplings.append(score(x, judge.data, judge.features, n=judge.n, metrics=CURVE_SCORES, values=values))
            took = (time.perf_counter() - began) / repeat
            if took * (repeat + 1) > judge.plan.sweep / len(rest):
                break
        points.append(point_of(steps, other.calls, together(samplings, judge.n)))
        if time.perf_counter() - started + 2 * took > judge.plan.sweep:
            break
    return tuple(sorted(points, key=lambda point: point.steps or 0))


def constraint_warnings(own: Space, data: Space, tally: Tally) -> tuple[str, ...]:
    """Sentences on a model of a table whose constraints are not those of the data, or that hardly meets its own.

    Args:
        own: The model's space.
        data: That of the data with which it is compared.
        tally: The draws of the samples that were scored.
    """
    if not isinstance(own, TableSpace) or not isinstance(data, TableSpace):
        return ()
    texts, others = (dict.fromkeys(quoted(each.text) for each in space.constraints) for space in (own, data))
    differences = {
        "it was trained without constraints that other models meet": [text for text in others if text not in texts],
        "its samples meet constraints that the data of this comparison lacks": [text for text in texts if text not in others],
    }
    unmet = f"samples that break {named_constraints(own)} after {MEASURED} further draws, scored as they are: {tally.unmet:,}."
    sentences = [f"{what}: {', '.join(constraints)}." for what, constraints in differences.items() if constraints]
    return (*sentences, *[unmet] * bool(tally.unmet))


def protocol_of(data: Dataset, features: Features, n: int, metrics: Sequence[str], others: Sequence[Features] = ()) -> Protocol:
    """The protocol of scores of n samples.

    Args:
        data: The data set, whose held-out examples are the reference.
        features: In which scores are computed.
        n: Samples on either side.
        metrics: Names of the scores.
        others: Further features that scores stand in beside.
    """
    space = data.space
    examples = data.held_out.data_units(reference_examples(len(data.held_out), n)).numpy()
    versions = {"pushforward": str(sys.modules["pushforward"].__version__)}  # importing the package would point up
    for metric in METRICS.values():
        own = sorted(set(metric.scores) & set(metrics))
        if own and not metric.__module__.startswith("pushforward.metrics."):  # a user's own is known by its file
            file = Path(inspect.getfile(metric))
            content = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
            versions |= dict.fromkeys(own, content)
        elif definition := getattr(metric, "definition", None):
            versions |= dict.fromkeys(own, f"definition {definition}")
    return Protocol(
        data=data.fingerprint,
        reference=hashlib.sha256(repr(examples.shape).encode() + examples.tobytes()).hexdigest(),
        n=n,
        k=NEIGHBOURS,
        extractor=features.identity,
        dimensions=features.dims(n),
        preprocessing=features.preprocessing,
        quantisation=f"{space.levels} levels" if space.levels is not None else "float32",
        representation=REPRESENTATION if isinstance(space, TableSpace) else "",
        labels="in proportion" if space.label is not None else "",
        versions=versions,
        spaces={other.name: other.identity for other in others},
        weights={each.name: each.weights for each in (features, *others)},
    )


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Floating point operations of matrix products, convolutions and attention in ``function(*inputs)``.

    A multiplication and an addition count as two. Element-wise work is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


def seconds_per_sample(sample: Callable[[int], Any], most: int) -> float:
    """Time the samples of a model that makes n of them, in batches that grow to ``most`` or a quarter of a turn."""
    n = 1
    sample(n)  # warms it up
    while (seconds := _seconds(sample, n)) < TURN_SECONDS / 4 and n < most:
        n = min(most, 8 * n)
    return max(seconds / n, 1e-9)


def time_in_turns(samplers: Mapping[str, Callable[[int], Any]], most: int, turns: int | None = None) -> dict[str, SampleTime]:
    """Time several models in turns, so that a machine that is busy for a moment slows all of them alike.

    A turn makes ``most`` samples at a time, or fewer where these would take longer than a turn.

    Args:
        samplers: For each name, a function that makes n samples.
        most: Samples made at a time at most.
        turns: Timed turns of each model; None for `TURNS`.

    Returns:
        For each name, its times.
    """
    batches, calls = {}, {}
    for name, sample in samplers.items():
        single = seconds_per_sample(sample, most)
        fits = TURN_SECONDS / single
        batches[name] = most if fits >= most else 2 ** math.floor(math.log2(max(1.0, fits)))
        calls[name] = min(MOST_CALLS, max(1, math.ceil(SHORTEST / (single * batches[name]))))
    names, seconds = list(samplers), {name: list[float]() for name in samplers}
    for turn in range(turns or TURNS):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            samples = batches[name] * calls[name]
            seconds[name].append(_seconds(samplers[name], batches[name], calls[name]) / samples)
    return {
        name: SampleTime(batches[name], min(values), statistics.median(values), tuple(values)) for name, values in seconds.items()
    }


def _seconds(sample: Callable[[int], Any], n: int, calls: int = 1) -> float:
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    wait: Callable[[], Any] = torch.cuda.synchronize if cuda else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(calls):
        sample(n)
    wait()
    return time.perf_counter() - began


@as_drawn()
def sampling_memory(transport: Transport, n: int) -> int | None:
    """Bytes in tensors that sampling a batch of n holds at most, the weights included.

    PyTorch's allocator counts them (`training.loop.memory.added_peak`), so neither the library nor other models and data
    in the process matter, and the same model gives the same number every time. Iterative models are sampled in at most
    six steps, since steps follow one another and hold no more in many.

    Returns:
        Bytes; None where nothing can be measured.
    """
    added = added_peak(lambda: _in_few_steps(transport, FEW_STEPS).sample(n, batch=n), transport.device)
    return None if added is None else held_bytes(transport) + added


@as_drawn()
def sampling_flops(transport: Transport) -> int:
    """Floating point operations of a sample, as `flops` counts them.

    Every network call takes the same, so those of an iterative model follow from solves of one step and of two.
    """
    short, long = (_in_few_steps(transport, steps) for steps in (1, 2))
    if long is transport:
        return flops(partial(batch_of, transport, 1))
    first, second = (flops(partial(batch_of, few, 1)) for few in (short, long))
    return second + (second - first) * (transport.calls - long.calls) // (long.calls - short.calls)


def _in_few_steps(transport: Transport, steps: int) -> Transport:
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive or flow.steps <= steps:
        return transport
    if len({flow.denoiser.calls(float(t)) for t in flow.times[:-1]}) > 1:
        return transport
    grid = flow.grid if flow.grid is None or isinstance(flow.grid, str) else "time"
    return with_inner(transport, flow.with_solver(flow.solver, steps, grid))


def sampling_costs(models: Mapping[str, Transport], most: int, plan: Plan = EVERYTHING) -> dict[str, SamplingCost]:
    """What sampling costs each model.

    Args:
        models: By name; they are timed in turns.
        most: Samples made at a time, at most where time and exactly where memory is measured.
        plan: Says how often each is timed, and whether memory is measured.
    """
    samplers = {name: partial(batch_of, transport) for name, transport in models.items()}
    timings = time_in_turns(samplers, most, plan.turns)
    costs = {}
    for name, transport in models.items():
        flow = inner_of(transport)
        held = sampling_memory(transport, most) if plan.memory else None
        costs[name] = SamplingCost(
            solver=solver_title(flow) if has_steps(flow) else None,
            steps=flow.steps if has_steps(flow) else None,
            calls=transport.calls,
            seconds_per_sample=float(np.quantile(timings[name].values, 0.25)),  # other programs can only slow a turn down
            timing=timings[name],
            flops_per_sample=sampling_flops(transport),
            memory=Memory() if held is None else Memory(held / 2**20, most),
        )
    return costs


def batch_of(transport: Transport, n: int) -> torch.Tensor:
    """Sample a batch."""
    with unmet_kept():
        return transport.sample(n, batch=n)


def solver_title(transport: Flow) -> str:
    """A flow's solver and grid in words."""
    name, grid = type(transport.solver).__name__, transport.grid
    if getattr(transport, "learned", None) is not None:
        return f"{name} by a learned table"
    return name if grid is None else f"{name} on the {grid} grid" if isinstance(grid, str) else f"{name} on times of its own"
