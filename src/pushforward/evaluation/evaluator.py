"""Scores of one model on held-out data, with real-data scores, costs, curves and pictures."""

from __future__ import annotations

import hashlib
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.data import Dataset, Space
from pushforward.evaluation.features import Features, fit_features, kind_of
from pushforward.evaluation.intervals import point_of, together
from pushforward.evaluation.measurements import CurvePoint, Memory, Pictures, Plan, SamplingCost
from pushforward.evaluation.model_metrics import trajectory_of
from pushforward.evaluation.models import ExternalSamples, of_run, starts_warnings, unseen_warnings
from pushforward.evaluation.pictures import latent_pictures, latent_statistics, pictures_of
from pushforward.evaluation.results import (
    REPEAT_SEEDS,
    REPEATS,
    Comparison,
    DataInfo,
    ModelResult,
    Protocol,
    Settings,
)
from pushforward.evaluation.scores import (
    compared,
    floors,
    labels_for,
    reference_examples,
    score,
)
from pushforward.evaluation.timing import time_in_turns
from pushforward.extractors import Extractor, Spaces, check_spaces, named_extractors
from pushforward.methods.method import parameters
from pushforward.metrics import MetricInfo, Score, describe
from pushforward.metrics.names import chosen
from pushforward.registries import METRICS, at
from pushforward.training.estimates import training_memory
from pushforward.training.loop.machine import added_peak, held_bytes, machine
from pushforward.training.runs.run import Run, transport_of
from pushforward.transports import (
    BATCH,
    Flow,
    Transport,
    has_levels,
    has_steps,
    inner_of,
    starts,
    with_inner,
)
from pushforward.transports.redrawing import (
    MEASURED,
    Tally,
    counted,
    named_constraints,
    unmet_kept,
    warn_unmet,
    without_rejection,
)
from pushforward.transports.transport import shared_stream

FEW_STEPS = (
    6  # Steps of an iterative model whose memory is measured: no more is held at once in many
)
NEIGHBOURS = 5  # of precision, recall, density and coverage
EVERYTHING = Plan()
SCORES = (
    "frechet",
    "kid",
    "precision",
    "recall",
    "coverage",
)  # what is computed in every feature space
CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")


@dataclass
class Evaluator:
    """Evaluator of models on one data set, which computes features and real-data scores only once.

    Call `follow` before any other method to limit how much is measured.

    Args:
        data: Data set; models are compared with its held-out split.
        n: Number of samples per side; 0 for the maximum that the held-out split allows, at most
            10,000.
        repeats: Number of samplings per model.
        metrics: Names of metrics; None for all that apply.
        seed: Number added to the seed of every sampling.
        batch: Number of samples generated at a time.
        spaces: Feature spaces (`pushforward.extractors`). Models are ranked in the first space; a
            few scores are also computed in the others. None for the space that suits the data.
        tell: Function called with a line of text before each long step; None to print nothing.

    Raises:
        UsageError: If a feature space is unknown or is named twice.
        DataError: If an extractor cannot read the data.
        MissingExtra: If a package that an extractor needs is not installed.
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
    # Why a requested score is missing, by name
    unscored: dict[str, str] = field(init=False, default_factory=dict)
    began: float = field(init=False)  # Start of measuring, by `time.perf_counter`

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = compared(self.data, self.n or None, learns(self.data, self.spaces))
        extractors = _extractors(self.data, self.spaces)
        check_spaces(extractors, self.data)
        self.say("features, which are cached for the next evaluation")
        first, *others = ({name: extractor} for name, extractor in extractors.items())
        self.features = fit_features(self.data, first)
        self.others = tuple(fit_features(self.data, other, reads=False) for other in others)

    def follow(self, plan: Plan) -> None:
        """Set how much is measured."""
        self.plan = plan
        self.n = plan.n or self.n
        self.repeats = plan.repeats or self.repeats

    @cached_property
    def floors(self) -> dict[str, Score]:
        """Return the real-data scores."""
        return self._in_spaces(partial(floors, self.data, n=self.n, redraws=self.plan.redraws))

    def say(self, what: str) -> None:
        """Print what is measured next."""
        if self.tell is not None:
            self.tell(f"measuring {what} ...")

    def _in_spaces(self, scored: Callable[..., dict[str, Score]]) -> dict[str, Score]:
        scores = scored(self.features, metrics=self.metrics)
        requested = chain.from_iterable(names for _, names in chosen(self.metrics))
        names = [name for name in requested if name in SCORES]
        if not names:
            return scores
        for space in self.others:
            for name, result in scored(space, metrics=names).items():
                scores[f"{name} ({space.name})"] = result
        return scores

    def _infos(self) -> dict[str, MetricInfo]:
        known = describe()
        for space in self.others:
            what = f" Computed in other features: {space.describe(self.n)}."
            group = f"In other features: {space.name}"
            for name in SCORES:
                info = known[name]
                known[f"{name} ({space.name})"] = replace(
                    info,
                    label=f"{info.label} ({space.name})",
                    what=info.what + what,
                    group=group,
                    role=None,
                )
        return known

    def scores(self, sampler: Any, name: str = "") -> tuple[dict[str, Score], float | None]:
        """Compute scores over all samplings, and the fraction of samples in the requested class.

        A flow from a data set is sampled once, because all its samplings start from the same
        examples.

        Args:
            sampler: Transport, given samples, or any object with ``stream(n, seed=...,
                batch=...)``.
        """
        samplings: list[dict[str, Score]] = []
        agreements = []
        times = self.repeats
        if isinstance(sampler, Transport) and starts(sampler) is not None:
            times = 1
        for repeat in range(times):
            if name:
                self.say(f"{name}, sampling {repeat + 1} of {times}")
            seed = (repeat + 1) * REPEAT_SEEDS
            if isinstance(sampler, ExternalSamples):  # as many as there are
                n = self.n
                learned = sampler.x if sampler.values is None else sampler.values
            else:
                n = self.data.space.samples_needed(self.n, len(self.data.train))
                learned = None
            x, labels, values = self.draw(sampler, seed, n)
            samplings.append(self.score(x, self.n, values, learned))
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        scores = together(samplings, self.n, self.floors, self._infos())
        self._note_missing(scores)
        if not agreements:
            return scores, None
        return scores, float(np.mean(agreements))

    def _note_missing(self, scores: Mapping[str, Score]) -> None:
        for key, metric in METRICS.items():
            wanted = self.metrics is None or {key, *metric.scores} & set(self.metrics)
            suited = self.data.space.names or not getattr(metric, "of_tables", False)
            if not wanted or not suited:
                continue
            for name, info in metric.scores.items():
                if info.missing and name not in scores:
                    self.unscored[name] = info.missing

    def score(
        self,
        x: torch.Tensor,
        n: int,
        values: np.ndarray | None = None,
        learned: torch.Tensor | np.ndarray | None = None,
    ) -> dict[str, Score]:
        """Score one sampling in all feature spaces.

        Arguments as in `pushforward.evaluation.scores.score`.
        """
        return self._in_spaces(partial(score, x, self.data, n=n, values=values, learned=learned))

    def draw(
        self, sampler: Any, seed: int, n: int | None = None
    ) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray | None]:
        """Draw samples in data units.

        All models receive the same labels, and the same noise if its shape is the same.

        Args:
            n: Number of samples; None for the number that is compared.

        Returns:
            Samples, their labels or None, and the values of table rows if the coordinates of the
            model differ from the data's, or None.
        """
        n = n or self.n
        seed = self.seed + seed
        if isinstance(sampler, ExternalSamples):
            return sampler.part(n, seed)
        draw = sampler.stream
        if isinstance(sampler, Transport):
            condition = labels_for(sampler, self.data, n, seed)
            draw = partial(shared_stream, sampler, condition=condition)
        with unmet_kept():
            parts = list(draw(n, seed=seed, batch=self.batch))
        x = torch.cat([part for part, _ in parts])
        values = None
        if isinstance(sampler, Transport):
            if sampler.calls:  # baselines without a network break constraints
                warn_unmet(sampler.space, x, "They are scored unchanged.")
            x, values = sampler.space.recoded(x, self.data.space)
        if "label" not in (parts[0][1] or {}):
            return x, None, values
        labels = torch.cat([condition["label"] for _, condition in parts])
        return x, labels.cpu().numpy(), values

    def baselines(self) -> tuple[ModelResult, ...]:
        """Score the samplers without a network that the kind of data has, the main one first."""
        self.say("the baseline")
        main, *further = at(self.data.space.baselines)(self.data).items()
        name, sampler = main
        scores, agreement = self.scores(sampler)
        result = ModelResult(
            f"baseline ({name})",
            sampling_seeds=self._seeds(scores),
            scores=scores,
            label_agreement=agreement,
        )
        others = (ModelResult(name, scores=self.scores(sampler)[0]) for name, sampler in further)
        return result, *others

    def _seeds(self, scores: Mapping[str, Score]) -> tuple[int, ...]:
        samplings = max((len(score.values) for score in scores.values()), default=0)
        return tuple(self.seed + (repeat + 1) * REPEAT_SEEDS for repeat in range(samplings))

    def comparison(self, models: Sequence[ModelResult] = (), baselines: bool = False) -> Comparison:
        """Combine results of models with data, settings, machine, metrics and real-data scores."""
        space = self.data.space
        known = self._infos()
        baseline = None
        further: Sequence[ModelResult] = ()
        rows = list(models)
        if baselines:
            baseline, *further = self.baselines()
            rows.append(baseline)
        names = dict.fromkeys(self.floors)
        for row in rows:
            names |= dict.fromkeys(row.scores)
        entries = chain.from_iterable(kind.entries for kind in space.conditions.values())
        data = DataInfo(
            self.data.name,
            tuple(space.shape),
            space.noun,
            tuple(space.classes),
            space.names or tuple(space.columns),
            None if self.data.trained_on is False else len(self.data.train),
            len(self.data.held_out),
            self.data.fingerprint,
            tuple(entries),
            space.left_out,
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
            further_baselines=tuple(further),
        )

    def judge(
        self,
        name: str,
        model: Run | Transport,
        *,
        curve: bool | Sequence[int] = True,
        sampling: SamplingCost | None = None,
    ) -> tuple[ModelResult, Pictures]:
        """Measure one model, and make its pictures.

        Args:
            sampling: Sampling cost from `sampling`; None to measure it for this model alone.
        """
        transport = transport_of(model)
        run = model if isinstance(model, Run) else None
        with counted() as tally:
            scores, agreement = self.scores(transport, name)
        sampling = sampling or self.sampling({name: transport})[name]
        sampling = replace(sampling, refused=tally.share if tally.drawn else None)
        points: tuple[CurvePoint, ...] = ()
        trajectory = None
        if curve and self.plan.sweep:
            counts = CURVE_STEPS if isinstance(curve, bool) else curve
            points = quality_curve(self, transport, scores, counts, name)
            if has_levels(transport):
                self.say(f"{name}, trajectories")
            trajectory = trajectory_of(transport, self.data, self.seed, sampling.seconds_per_sample)
        conditions = transport.space.conditions
        given = {name: kind for name, kind in conditions.items() if not kind.learned}
        warnings = [
            *unseen_warnings(model, self.data),
            *starts_warnings(model, self.n),
            *constraint_warnings(transport.space, self.data.space, tally),
        ]
        latent = None
        if run is not None:
            warnings = [*run.warnings, *run.unfinished, *warnings]
            latent = latent_statistics(run, self.data, self.features)
        result = ModelResult(
            name=name,
            family=type(transport).__name__,
            conditioned=names_of(given),
            parameters=parameters(transport),
            sampling=sampling,
            scores=scores,
            label_agreement=agreement,
            sampling_seeds=self._seeds(scores),
            curve=points,
            trajectory=trajectory,
            latent=latent,
            warnings=tuple(warnings),
        )
        pictures = pictures_of(transport, run, self.data)
        if run is None:
            return result, pictures
        result = of_run(result, run)
        if curve:
            pictures = replace(pictures, latent=latent_pictures(run, self.data))
        if curve and self.plan.memory:
            self.say(f"{name}, training memory")
            held = training_memory(run, self.data)
            memory = None if held is None else held / 2**20
            result = replace(result, training=replace(result.training, memory_mb=memory))
        return result, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, SamplingCost]:
        """Measure the sampling cost of each model.

        Calls, operations, memory, and time in alternating rounds.
        """
        self.say("sampling time and memory" if self.plan.memory else "sampling time")
        return sampling_costs(models, most_at_once(self.data), self.plan)


def most_at_once(data: Dataset) -> int:
    """Return the largest batch size for measuring sampling time and memory."""
    if data.space.as_points:
        return 1000
    return 64


def learns(dataset: Dataset, spaces: Spaces) -> bool:
    """Return whether any feature space is learned; then only half of the data gives scores."""
    return any(extractor.learns for extractor in _extractors(dataset, spaces).values())


def _extractors(dataset: Dataset, spaces: Spaces) -> dict[str, Extractor]:
    if spaces is None:
        spaces = kind_of(dataset)
    return named_extractors(spaces)


def quality_curve(
    judge: Evaluator,
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
        points.append(
            point_of(
                own,
                transport.calls,
                {name: scores[name] for name in CURVE_SCORES if name in scores},
            )
        )
    rest = [steps for steps in counts if not own / 1.5 < steps < own * 1.5]
    repeats = max((len(score.values) for score in scores.values()), default=1)
    for steps in rest:
        other = with_inner(transport, flow.with_solver(flow.solver, steps, grid))
        judge.say(f"{name}, number of steps: {steps}")
        began = time.perf_counter()
        samplings = []
        for repeat in range(1, repeats + 1):
            x, _, values = judge.draw(other, repeat * REPEAT_SEEDS)
            samplings.append(
                score(x, judge.data, judge.features, n=judge.n, metrics=CURVE_SCORES, values=values)
            )
            took = (time.perf_counter() - began) / repeat
            if took * (repeat + 1) > judge.plan.sweep / len(rest):
                break
        points.append(point_of(steps, other.calls, together(samplings, judge.n)))
        if time.perf_counter() - started + 2 * took > judge.plan.sweep:
            break
    return tuple(sorted(points, key=lambda point: point.steps or 0))


def constraint_warnings(own: Space, data: Space, tally: Tally) -> tuple[str, ...]:
    """Write warnings if constraints differ from the data's, or samples break them."""
    warnings = own.constraint_warnings(data)
    if not tally.unmet:
        return warnings
    unmet = (
        f"{tally.unmet:,} scored samples still break {named_constraints(own)} after "
        f"{MEASURED} "
        "further draws."
    )
    return *warnings, unmet


def protocol_of(
    data: Dataset,
    features: Features,
    n: int,
    metrics: Sequence[str],
    others: Sequence[Features] = (),
) -> Protocol:
    """Describe how scores are computed, so that reports can be compared."""
    space = data.space
    examples = data.held_out.data_units(reference_examples(len(data.held_out), n)).numpy()
    return Protocol(
        data=data.fingerprint,
        reference=hashlib.sha256(repr(examples.shape).encode() + examples.tobytes()).hexdigest(),
        n=n,
        k=NEIGHBOURS,
        extractor=features.identity,
        dimensions=features.dims(n),
        preprocessing=features.preprocessing,
        quantisation=f"{space.levels} levels" if space.levels is not None else "float32",
        representation=space.encoder(data).representation,
        labels="in proportion" if space.label is not None else "",
        versions=_versions(metrics),
        spaces={other.name: other.identity for other in others},
        weights={each.name: each.weights for each in (features, *others)},
    )


def _versions(metrics: Sequence[str]) -> dict[str, str]:
    # importing the package would point up
    versions = {"pushforward": str(sys.modules["pushforward"].__version__)}
    for metric in METRICS.values():
        own = sorted(set(metric.scores) & set(metrics))
        if not own:
            continue
        if metric.__module__.startswith("pushforward."):
            definition = getattr(metric, "definition", None)
            version = f"definition {definition}" if definition else None
        else:
            version = _content_hash(Path(inspect.getfile(metric)))
        if version is not None:
            versions |= dict.fromkeys(own, version)
    return versions


def _content_hash(file: Path) -> str:
    if not file.is_file():
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def flops(function: Callable[..., Any], *inputs: Any) -> int:
    """Count the floating-point operations of ``function(*inputs)``."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops())


@without_rejection()
def sampling_memory(transport: Transport, n: int) -> int | None:
    """Measure the peak memory of tensors while sampling a batch of n, including the weights.

    Returns:
        Bytes; None if memory cannot be measured.
    """
    added = added_peak(
        lambda: _in_few_steps(transport, FEW_STEPS).sample(n, batch=n), transport.device
    )
    if added is None:
        return None
    return held_bytes(transport) + added


@without_rejection()
def sampling_flops(transport: Transport) -> int:
    """Count the floating-point operations per sample, from solves with one and two steps."""
    short = _in_few_steps(transport, 1)
    long = _in_few_steps(transport, 2)
    if long is transport:
        return flops(partial(batch_of, transport, 1))
    first = flops(partial(batch_of, short, 1))
    second = flops(partial(batch_of, long, 1))
    return second + (second - first) * (transport.calls - long.calls) // (long.calls - short.calls)


def _in_few_steps(transport: Transport, steps: int) -> Transport:
    flow = inner_of(transport)
    if not has_steps(flow) or flow.solver.adaptive or flow.steps <= steps:
        return transport
    if len({flow.denoiser.calls(float(t)) for t in flow.times[:-1]}) > 1:
        return transport
    grid = flow.grid if flow.grid is None or isinstance(flow.grid, str) else "time"
    return with_inner(transport, flow.with_solver(flow.solver, steps, grid))


def sampling_costs(
    models: Mapping[str, Transport], most: int, plan: Plan = EVERYTHING
) -> dict[str, SamplingCost]:
    """Measure the sampling cost of each model."""
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
            seconds_per_sample=float(
                np.quantile(timings[name].values, 0.25)
            ),  # other programs can only slow a round down
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
    """Name the solver and time grid of a flow, such as "Heun on the shifted:0.3 grid"."""
    name = type(transport.solver).__name__
    grid = transport.grid
    if grid is None:
        return name
    if isinstance(grid, str):
        return f"{name} on the {grid} grid"
    return f"{name} on its own time grid"
