"""What a report must say of the constraints that the samples of a model of a table meet."""

from __future__ import annotations

import hashlib
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.data import Dataset
from pushforward.data.spaces import Space, TableSpace
from pushforward.data.tables.comparable import numbers
from pushforward.data.tables.constraints import TEXT, Constraint
from pushforward.errors import quoted
from pushforward.evaluation import cost
from pushforward.evaluation.baselines import GaussianBaseline, RowMixture, drawn_rows
from pushforward.evaluation.features import Features, fit_features, kind_of
from pushforward.evaluation.intervals import point_of, together
from pushforward.evaluation.measurements import CurvePoint, Pictures, SamplingCost
from pushforward.evaluation.models import Given, starts, starts_warnings, unseen_warnings
from pushforward.evaluation.pictures import latent_pictures, latent_statistics, pictures_of
from pushforward.evaluation.results import REPEAT_SEEDS, REPEATS, Comparison, DataInfo, ModelResult, Protocol, Settings
from pushforward.evaluation.run_results import lag_warnings, of_run, unfinished_warnings
from pushforward.evaluation.scores import (
    REPRESENTATION,
    attacked,
    column_names,
    compared,
    floors,
    labels_for,
    recoded,
    reference_examples,
    score,
)
from pushforward.evaluation.trajectories import trajectory_of
from pushforward.extractors import Spaces, check_spaces, named_extractors
from pushforward.metrics import MetricInfo, Score, describe, registry
from pushforward.metrics.selection import chosen
from pushforward.numbers import counted, listing
from pushforward.predictor import Condition
from pushforward.training import Run
from pushforward.training.machine import machine
from pushforward.training.rehearsal import training_memory
from pushforward.training.run import transport_of
from pushforward.transports import BATCH, Transport, has_levels, has_steps, inner_of, redrawing, with_inner
from pushforward.transports.redrawing import MEASURED, TURNS, Tally, named_constraints, unmet_kept, warn_broken
from pushforward.transports.spreading import stream


def constraint_warnings(own: Space, data: Space, tally: Tally) -> tuple[str, ...]:
    """Sentences on a model whose constraints are not those of the data, or that hardly meets its own.

    Args:
        own: The model's space.
        data: That of the data with which it is compared.
        tally: The draws of the samples that were scored.
    """
    if not isinstance(own, TableSpace) or not isinstance(data, TableSpace):
        return ()
    own_texts, other_texts = ({_meaning(each, space): quoted(each.text) for each in space.constraints} for space in (own, data))
    lacking, further = (
        [text for meaning, text in here.items() if meaning not in there]
        for here, there in ((other_texts, own_texts), (own_texts, other_texts))
    )
    sentences = []
    if lacking:
        sentences.append(
            f"it was trained without {_named(lacking)}: its samples may break what those of models with "
            f"{'it' if len(lacking) == 1 else 'them'} are drawn again to meet."
        )
    if further:
        sentences.append(
            f"its samples are drawn again until they meet {_named(further)}, which the data of this comparison does not have."
        )
    if tally.unmet:
        sentences.append(
            f"{tally.unmet:,} of its samples break {named_constraints(own)} still, after {MEASURED} further draws each, and are "
            f"scored as they are ({tally.share:.0%} of all draws did). Sampling draws each up to {TURNS} times."
        )
    return tuple(sentences)


def _meaning(constraint: Constraint, space: TableSpace) -> str:
    fields = {field.name: field for field in space.fields}
    dated = constraint.quoted is not None and all(fields[name].kind == "date" for name in constraint.names)
    if not dated:
        return constraint.spelled(constraint.quoted)
    nothing = {name: np.zeros(0) for name in constraint.names}
    return constraint.spelled(float(numbers(constraint, fields, nothing)[TEXT]))


def _named(texts: list[str]) -> str:
    return f"the constraint{'s' * (len(texts) > 1)} {listing(texts)}"


CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SECONDS = 40.0  # the most that one model's curve of quality against calls may take
CURVE_SCORES = ("energy", "frechet", "coverage", "detection")


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
        judge.say(f"{name} in {counted(steps, 'step')}")
        began = time.perf_counter()
        samplings = _samplings(judge, other, repeats, CURVE_SECONDS / len(rest))
        points.append(point_of(steps, other.calls, together(samplings, judge.n)))
        took = (time.perf_counter() - began) / len(samplings)
        if time.perf_counter() - started + 2 * took > CURVE_SECONDS:
            break
    return tuple(sorted(points, key=lambda point: point.steps or 0))


def _samplings(judge: Judge, transport: Transport, repeats: int, seconds: float) -> list[dict[str, Score]]:
    samplings: list[dict[str, Score]] = []
    began = time.perf_counter()
    for repeat in range(1, repeats + 1):
        x, _, values = judge.draw(transport, repeat * REPEAT_SEEDS)
        samplings.append(score(x, judge.data, judge.features, n=judge.n, metrics=CURVE_SCORES, values=values))
        if (time.perf_counter() - began) * (repeat + 1) > seconds * repeat:
            break
    return samplings


# What is computed in every space: scores of features that order models
SCORES = ("frechet", "kid", "precision", "recall", "coverage")


def fit_spaces(dataset: Dataset, spaces: Spaces) -> tuple[Features, tuple[Features, ...]]:
    """The features by which models are ranked, and further ones.

    Args:
        dataset: The data.
        spaces: One or several; None is the space that suits the data.

    Raises:
        UsageError: For an unknown name, or one that comes twice.
        DataError: If an extractor cannot read the data.
        MissingExtra: Without a package that one needs.
    """
    extractors = named_extractors(kind_of(dataset) if spaces is None else spaces)
    check_spaces(extractors, dataset)
    first, *others = extractors.items()
    return fit_features(dataset, dict([first])), tuple(fit_features(dataset, dict([other]), reads=False) for other in others)


def learns(dataset: Dataset, spaces: Spaces) -> bool:
    """Whether any of the spaces is learned, so that floors come from one half of the training examples of a toy as well."""
    return any(extractor.learns for extractor in named_extractors(kind_of(dataset) if spaces is None else spaces).values())


def named_in(name: str, features: Features) -> str:
    """The name of a score in a further space, such as "frechet (pca)"."""
    return f"{name} ({features.name})"


def scores_in(
    others: Sequence[Features], x: Tensor | np.ndarray, dataset: Dataset, n: int, metrics: Sequence[str] | None
) -> dict[str, Score]:
    """Scores of samples in further spaces, by `named_in`."""
    return _by_space(others, metrics, lambda features, names: score(x, dataset, features, n=n, metrics=names))


def floors_in(others: Sequence[Features], dataset: Dataset, n: int, metrics: Sequence[str] | None) -> dict[str, Score]:
    """Floors in further spaces, by `named_in`."""
    return _by_space(others, metrics, lambda features, names: floors(dataset, features, n=n, metrics=names))


def _by_space(
    others: Sequence[Features], metrics: Sequence[str] | None, scored: Callable[[Features, list[str]], dict[str, Score]]
) -> dict[str, Score]:
    names = [name for _, names in chosen(metrics) for name in names if name in SCORES] if others else []
    spaces = others if names else ()
    return {named_in(name, space): result for space in spaces for name, result in scored(space, names).items()}


def infos_in(others: Sequence[Features], known: Mapping[str, MetricInfo], n: int) -> dict[str, MetricInfo]:
    """What a report must know of scores in further spaces: a heading of their own, and no role in the verdict."""
    infos = {}
    for features in others:
        for name in SCORES:
            info = known[name]
            what = f"{info.what} Here in other features: {features.describe(n)}."
            infos[named_in(name, features)] = replace(
                info, label=f"{info.label} ({features.name})", what=what, group=f"In other features: {features.name}", role=None
            )
    return infos


def protocol_of(
    data: Dataset, features: Features, n: int, k: int, metrics: Sequence[str], others: Sequence[Features] = ()
) -> Protocol:
    """The protocol of scores of n samples.

    Args:
        data: The data set, whose held-out examples are the reference.
        features: In which scores are computed.
        n: Samples on either side.
        k: Neighbours.
        metrics: Names of the scores.
        others: Further features that scores stand in beside.
    """
    space = data.space
    quantisation = f"{space.levels} levels" if space.levels is not None else "float32"
    return Protocol(
        data=data.fingerprint,
        reference=_sha256(data, n),
        n=n,
        k=k,
        extractor=features.identity,
        dimensions=features.dims(n),
        preprocessing=features.preprocessing,
        quantisation=quantisation,
        representation=REPRESENTATION if isinstance(space, TableSpace) else "",
        labels="in proportion" if space.label is not None else "",
        versions=_versions(metrics),
        spaces={other.name: other.identity for other in others},
        weights={each.name: each.weights for each in (features, *others)},
    )


def _sha256(data: Dataset, n: int) -> str:
    examples = data.held_out.data_units(reference_examples(len(data.held_out), n)).numpy()
    return hashlib.sha256(repr(examples.shape).encode() + examples.tobytes()).hexdigest()


def _versions(metrics: Sequence[str]) -> dict[str, str]:
    import inspect
    from pathlib import Path

    from pushforward.metrics import registry

    versions = {"pushforward": str(sys.modules["pushforward"].__version__)}  # importing the package would point up
    for metric in registry().values():
        own = set(metric.scores) & set(metrics)
        if own and not metric.__module__.startswith("pushforward.metrics."):
            file = Path(inspect.getfile(metric))
            content = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
            versions |= dict.fromkeys(sorted(own), content)
        elif own and (definition := getattr(metric, "definition", None)):
            versions |= dict.fromkeys(sorted(own), f"definition {definition}")
    return versions


# Samples generated at a time, at most, where time and memory are measured; by whether they are points
AT_ONCE = {False: 64, True: 1000}
NEIGHBOURS = 5  # Of precision, recall, density and coverage


class Sampler(typing.Protocol):
    """Anything that generates samples in parts, as a transport does."""

    def stream(self, n: int, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[torch.Tensor, Condition]]:
        """Samples in data units with their condition."""
        ...


@dataclass
class Judge:
    """Everything that does not depend on the model: features, floors and the no-network row, computed once.

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
    """

    data: Dataset
    n: int = 0
    repeats: int = REPEATS
    metrics: Sequence[str] | None = None
    seed: int = 0
    batch: int = BATCH
    spaces: Spaces = None
    tell: Callable[[str], None] | None = None
    features: Features = field(init=False)
    others: tuple[Features, ...] = field(init=False)
    floors: dict[str, Score] = field(init=False)
    unscored: dict[str, str] = field(init=False, default_factory=dict)
    """Why a metric that was asked for has no score, by its name."""

    def __post_init__(self) -> None:
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = compared(self.data, self.n or None, learns(self.data, self.spaces))
        self.features, self.others = fit_spaces(self.data, self.spaces)
        self.floors = floors(self.data, self.features, n=self.n, metrics=self.metrics)
        self.floors = {**self.floors, **floors_in(self.others, self.data, self.n, self.metrics)}

    def say(self, what: str) -> None:
        """Tell what is measured now."""
        if self.tell is not None:
            self.tell(f"measuring {what} ...")

    def scores(self, sampler: Sampler, name: str = "") -> tuple[dict[str, Score], float | None]:
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
            values, learned = (given.values_of(n, self.seed + seed), given.every) if given else (values, None)
            scored = score(x, self.data, self.features, n=self.n, metrics=self.metrics, values=values, learned=learned)
            samplings.append({**scored, **scores_in(self.others, x, self.data, self.n, self.metrics)})
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        infos = describe()
        scores = together(samplings, self.n, self.floors, {**infos_in(self.others, infos, self.n), **infos})
        reasons = _explained(self.metrics, isinstance(self.data.space, TableSpace))
        self.unscored |= {metric: why for metric, why in reasons.items() if metric not in scores}
        return scores, float(np.mean(agreements)) if agreements else None

    def draw(
        self, sampler: Sampler, seed: int, n: int | None = None
    ) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray | None]:
        """As many samples as are compared, or n, in data units, with their labels; the first repeat has seed `REPEAT_SEEDS`.

        All models have the same labels, in proportion to the data's, and the same noise where it has one shape. With them come
        the values of rows of a table whose model has other coordinates than the data; else None.
        """
        n, seed, draw = n or self.n, self.seed + seed, sampler.stream
        if isinstance(sampler, Transport):
            draw = partial(stream, sampler, condition=labels_for(sampler, self.data, n, seed))
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

    def _quick(self, transport: Transport, n: int) -> dict[str, Score]:
        ranking = {name for name, info in describe().items() if info.role == "quality"}
        names = [name for _, names in chosen(self.metrics) for name in names if name in ranking]
        x, _, values = self.draw(transport, REPEAT_SEEDS, n)
        return score(x, self.data, self.features, n=n, metrics=names, values=values) if names else {}

    def baseline(self) -> ModelResult:
        """The no-network row: a Gaussian for each class, or one in all; of a table a mixture of rows."""
        self.say("no network")
        if isinstance(self.data.space, TableSpace):
            mixture = RowMixture.fit(self.data)
            scores, name = self.scores(mixture)[0], f"no network (mixture of {len(mixture.weights)})"
            return ModelResult(name, sampling_seeds=self._seeds(scores), scores=scores)
        scores, agreement = self.scores(GaussianBaseline.fit(self.data))
        name = f"no network ({'one Gaussian per class' if self.data.space.classes else 'one Gaussian'})"
        return ModelResult(name, sampling_seeds=self._seeds(scores), scores=scores, label_agreement=agreement)

    def _seeds(self, scores: Mapping[str, Score]) -> tuple[int, ...]:
        samplings = max((len(score.values) for score in scores.values()), default=0)
        return tuple(self.seed + (repeat + 1) * REPEAT_SEEDS for repeat in range(samplings))

    def further_baselines(self) -> tuple[ModelResult, ...]:
        """Of a table its columns drawn independently, and copies of its training rows; none of other data."""
        return tuple(ModelResult(name, scores=self.scores(drawn)[0]) for name, drawn in drawn_rows(self.data).items())

    def comparison(self, models: Sequence[ModelResult] = (), baseline: ModelResult | None = None) -> Comparison:
        """Results of models with data, settings, machine, metrics and floors; with a baseline the further ones of a table."""
        space, known = self.data.space, describe()
        rows = [*models, *([] if baseline is None else [baseline])]
        names = dict.fromkeys([*self.floors, *(name for row in rows for name in row.scores)])
        known |= infos_in(self.others, known, self.n)
        data = DataInfo(
            self.data.name,
            tuple(space.shape),
            space.noun,
            tuple(space.classes),
            column_names(space),
            len(self.data.train),
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
        )
        return Comparison(
            data=data,
            settings=settings,
            protocol=protocol_of(self.data, self.features, self.n, NEIGHBOURS, tuple(self.floors), self.others),
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
        transport = transport_of(model)
        with redrawing.counted() as tally:
            scores, agreement = self.scores(transport, name)
        sampling = sampling or self.sampling({name: transport})[name]
        sampling = replace(sampling, refused=tally.share if tally.drawn else None)
        run = model if isinstance(model, Run) else None
        points: tuple[CurvePoint, ...] = ()
        trajectory = None
        if curve:
            points = quality_curve(self, transport, scores, None if isinstance(curve, bool) else curve, name)
            if has_levels(transport):
                self.say(f"{name}, trajectories")
            trajectory = trajectory_of(transport, self.data, self.seed, sampling.seconds_per_sample)
        result = ModelResult(
            name=name,
            family=type(transport).__name__,
            conditioned=names_of({k: v for k, v in transport.space.conditions.items() if not v.learned}),
            parameters=cost.parameters(transport),
            sampling=sampling,
            scores=scores,
            label_agreement=agreement,
            sampling_seeds=self._seeds(scores),
            curve=points,
            trajectory=trajectory,
            latent=None if run is None else latent_statistics(run, self.data, self.features),
            warnings=(
                *(() if run is None else (*run.warnings, *unfinished_warnings(run))),
                *unseen_warnings(model, self.data),
                *starts_warnings(model, self.n),
                *constraint_warnings(transport.space, self.data.space, tally),
                *lag_warnings(model, self._quick, self.n),
            ),
        )
        pictures = pictures_of(transport, run, self.data)
        if run is None:
            return result, pictures
        result = of_run(result, run)
        if curve:
            self.say(f"{name}, the memory of training")
            pictures = replace(pictures, latent=latent_pictures(run, self.data))
            memory = cost.megabytes(training_memory(run, self.data))
            result = replace(result, training=replace(result.training, memory_mb=memory))
        return result, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, SamplingCost]:
        """What sampling costs each model: calls, arithmetic, memory, and time, which is measured in turns over all models."""
        self.say("the time and memory of samples")
        return cost.sampling_costs(models, AT_ONCE[self.data.space.as_points])


def _explained(wanted: Sequence[str] | None, table: bool) -> dict[str, str]:
    metrics = [metric for name, metric in registry().items() if wanted is None or {name, *metric.scores} & set(wanted)]
    metrics = [metric for metric in metrics if table or not getattr(metric, "of_tables", False)]
    return {name: info.missing for metric in metrics for name, info in metric.scores.items() if info.missing}
