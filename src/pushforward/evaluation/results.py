"""Results of evaluations: a `Comparison` has the contents of ``report.json``.

    comparison = pf.compare({"flow": run, "gan": other}, data)
    comparison["flow"].scores["frechet"].value
    comparison == pf.Comparison.from_json(comparison.to_json())

Fields that are missing from the JSON, or null, have their defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from typing import Any, Self

from pushforward import registries
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.intervals import (
    Variation,
    Variations,
    over_references,
    over_samples,
    over_training_runs,
    pooled_variation,
)
from pushforward.evaluation.measurements import (
    Alarm,
    CurvePoint,
    Health,
    LatentStatistics,
    Number,
    Pictures,
    Plan,
    SamplingCost,
    Seeds,
    Series,
    StepsCurve,
    SweepPoint,
    TrainingCost,
    Trajectory,
)
from pushforward.files import Record
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.score import Infos, Role
from pushforward.numbers import finite

Names = tuple[str, ...]
FORMAT = 2  # Format of the JSON; other formats are refused
REPEATS = 5  # Default number of samplings per model
REPEAT_SEEDS = 1_000_000  # Sampling r starts at seed (r + 1) times this, so no two share a sample


@dataclass(frozen=True)
class Protocol(Record):
    """How scores were computed. Scores are comparable only if their protocols are equal.

    Args:
        data: SHA-256 of all examples of the data set.
        reference: SHA-256 of the quantised held-out examples.
        k: Number of neighbours for precision, recall, density and coverage.
        labels: Rule by which classes are drawn.
        versions: Version of this package and, by score, the number of a changed definition,
            or the hash of the file of a user's metric.
    """

    data: str = ""
    reference: str = ""
    n: int | None = None
    k: int | None = None
    extractor: str = ""
    dimensions: int | None = None
    preprocessing: str = ""
    quantisation: str = ""
    representation: str = ""
    labels: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)


def check_same(protocols: Sequence[tuple[str, Protocol]], data: Sequence[str] = ()) -> None:
    """Raise a `UsageError` that names all fields in which protocols differ.

    Of versions and spaces, only the entries of both protocols must be equal.
    """
    for at, (name, other) in enumerate(protocols):
        first, known = protocols[0]
        if other == Protocol():
            raise UsageError(
                f"{name} does not contain the protocol of its scores. Score its runs again."
            )
        if known.data != other.data:
            names = f" ({data[0]} and {data[at]})" if data else ""
            raise UsageError(
                f"{first} and {name} were scored on different data{names}, so their scores cannot "
                "be compared."
            )
        differing = list(_differing(known, other))
        if differing:
            raise UsageError(
                f"The scores of {first} and {name} cannot be compared, because they were computed "
                f"with different {', '.join(differing)}.\nScore the runs together: "
                "pushforward compare RUN RUN."
            )


def _differing(first: Protocol, other: Protocol) -> Iterator[str]:
    others = other.to_plain()
    for name, value in first.to_plain().items():
        own = value
        compared = others[name]
        if isinstance(value, Mapping):
            both = value.keys() & compared.keys()
            own = {key: value[key] for key in both}
            compared = {key: compared[key] for key in both}
        if own != compared:
            yield f"{name} ({own!s:.30} and {compared!s:.30})"


@dataclass(frozen=True)
class DataInfo(Record):
    """Data set of a comparison.

    Args:
        kind: Kind of example: "image", "vector", or the noun of a plug-in's space.
        fingerprint: SHA-256 of all examples.
        given: Names of the conditions.
        left_out: Names of the columns of a table that are neither learned nor scored.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    kind: str = ""
    classes: Names = ()
    columns: Names = ()
    train: int | None = None
    held_out: int | None = None
    fingerprint: str = ""
    given: Names = ()
    left_out: Names = ()


@dataclass(frozen=True)
class Settings(Record):
    """Settings of a comparison.

    Args:
        seeds: Number of training runs per recipe.
        budget: Training budget, such as "--budget 60s".
        features: Description of the features in which models are ranked.
        classifier_accuracy: Held-out accuracy of the classifier that recognises labels.
        timed: Groups of models that were timed together; None if all were.
    """

    n: int | None = None
    repeats: int | None = None
    seeds: int | None = None
    budget: str | None = None
    k: int | None = None
    features: str | None = None
    spaces: Names = ()
    dimensions: int | None = None
    classifier_accuracy: Number = None
    timed: tuple[Names, ...] | None = None
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True, repr=False)
class ModelResult(Record):
    """Results of one model.

    Args:
        family: Model family, such as "flow".
        method: Name of the method class.
        conditioned: Sorted names of the conditions.
        seed: Seed of the training run, or seeds of several.
        parameters: Number of parameters used for sampling.
        other_parameters: Number of parameters of other networks used in training.
        weights_step: Training step of the weights, if it is not the last one.
        label_agreement: Fraction of samples that a classifier recognises as the requested class.
        curve: Scores over network calls.
        extension: Command that continues training.
        config: Settings of training (`pushforward.evaluation.models`).
        origin: Command, commit, versions and hashes of the run.
        given: Whether samplings are subsets of existing samples.
        trainings: Single training runs, if scores and costs are means over several.
    """

    name: str = "unnamed"
    family: str = ""
    method: str = ""
    conditioned: Names | None = None
    run: str | None = None
    seed: Seeds = None
    parameters: int | None = None
    other_parameters: Mapping[str, int] = field(default_factory=dict)
    training: TrainingCost = field(default_factory=TrainingCost)
    weights_step: int | None = None
    sampling: SamplingCost = field(default_factory=SamplingCost)
    scores: Mapping[str, Score] = field(default_factory=dict)
    label_agreement: Number = None
    curve: tuple[CurvePoint, ...] = ()
    steps_curve: StepsCurve | None = field(default=None, metadata={"former": "ladder"})
    trajectory: Trajectory | None = None
    latent: LatentStatistics | None = None
    losses: Mapping[str, Series] = field(default_factory=dict)
    health: Health | None = None
    alarms: tuple[Alarm, ...] = ()
    warnings: Names = ()
    commands: Names = ()
    extension: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    given: bool = False
    trainings: tuple[ModelResult, ...] = ()

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {score}" for name, score in self.scores.items())
        return f'ModelResult("{self.name}": {scores})'

    def value(self, metric: str) -> Number:
        """Return the value of a score, or None."""
        return self.scores.get(metric, Score()).value


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """Results of models on one data set; `pushforward.Report` renders them.

    Args:
        metrics: Descriptions of scores by name, in the order of a report.
        real_data_scores: Real-data scores by name.
        unscored: Sentences that explain missing scores, by name of the score.
        models: Results of models, in the order of a report.
        sweep: Scores of training runs with several budgets, by model.
        further_baselines: Results of baselines that are never ranked.
        guesses: Baselines of a single score, such as the uniform guess for bits per dimension.
        commands: Commands that repeat the comparison.
        pictures: Arrays by model, and for "real"; not stored in the JSON, and ignored by ``==``.
    """

    title: str = ""
    created: str = ""
    data: DataInfo = field(default_factory=DataInfo)
    settings: Settings = field(default_factory=Settings)
    protocol: Protocol = field(default_factory=Protocol)
    machine: Mapping[str, Any] = field(default_factory=dict)
    metrics: Infos = field(default_factory=dict)
    real_data_scores: Mapping[str, Score] = field(
        default_factory=dict, metadata={"former": "floors"}
    )
    unscored: Mapping[str, str] = field(default_factory=dict)
    models: tuple[ModelResult, ...] = ()
    sweep: Mapping[str, tuple[SweepPoint, ...]] = field(default_factory=dict)
    baseline: ModelResult | None = None
    further_baselines: tuple[ModelResult, ...] = ()
    guesses: tuple[ModelResult, ...] = ()
    commands: Names = ()
    pictures: Mapping[str, Pictures] = field(
        default_factory=dict, compare=False, metadata={"stored": False}
    )

    def __getitem__(self, name: str) -> ModelResult:
        return {model.name: model for model in self.models}[name]

    def info(self, metric: str) -> MetricInfo:
        """Return the description of a score, whose label is at least its name."""
        info = self.metrics.get(metric) or MetricInfo()
        if info.label:
            return info
        return replace(info, label=metric)

    def ranking_metric(self, role: Role) -> str | None:
        """Return the name of the score that ranks models in a role, if any."""
        known = [name for name, info in self.metrics.items() if info.role == role]
        known.sort(key=lambda name: self.metrics[name].priority)
        for name in known:
            if any(model.value(name) is not None for model in self.models):
                return name
        return None

    def best_first(self) -> Self:
        """Return the comparison with its models sorted by quality; unscored models come last."""
        metric = self.ranking_metric("quality") or ""

        def place(model: ModelResult) -> float:
            value = model.value(metric)
            if value is None:
                return math.inf
            return self.loss(metric, value)

        return replace(self, models=tuple(sorted(self.models, key=place)))

    def target(self, metric: str) -> Number:
        """Return the declared target of a score, or the real-data score."""
        declared = self.info(metric).target
        if declared is not None:
            return declared
        return self.real_data_scores.get(metric, Score()).value

    def loss(self, metric: str, value: float) -> float:
        """Convert a value so that lower is better; for a "target", to a distance."""
        better = self.info(metric).better
        target = self.target(metric)
        if better == "target" and target is not None:
            return abs(value - target)
        if better == "higher":
            return -value
        return value

    def variations(self, metric: str, row: ModelResult) -> Variations:
        """Return how much a score of a model or of the baseline varies."""
        score = row.scores[metric]
        info = self.info(metric)
        real_spread = self.real_data_scores.get(metric, Score()).spread or 0.0
        pooled = pooled_variation(self._single_scores(metric), real_spread)
        runs = Variation()
        if row.trainings:
            runs = over_training_runs(score)
        if info.better == "target":
            # with scores on either side of the target, shared errors add up instead of cancelling
            score = replace(score, sample_terms=(), reference_terms=())
            variance = (score.reference_error or 0.0) ** 2
            if info.target is None:
                variance += real_spread**2
            samples = self._over_samples(row, metric, score, pooled)
            return Variations(samples, Variation(2 * variance), runs)
        root = 0.0
        if info.root:
            root = score.number
        samples = self._over_samples(row, metric, score, pooled)
        return Variations(samples, over_references(score), runs, root)

    def _single_scores(self, metric: str) -> list[Score]:
        runs = chain.from_iterable(row.trainings or [row] for row in self._rows(metric))
        return [run.scores[metric] for run in runs if metric in run.scores]

    def _over_samples(
        self, row: ModelResult, metric: str, score: Score, pooled: Variation
    ) -> Variation:
        if score.sample_terms or not row.trainings:
            return over_samples(score, pooled)
        # runs share noise, so that several of them vary as much as one
        most = 0.0
        for run in row.trainings:
            if metric in run.scores:
                most = max(most, over_samples(run.scores[metric], pooled).variance)
        return Variation(most)

    def tested_differences(self, metric: str) -> int:
        """Return the number of differences of a score that are tested at once."""
        models = sum(metric in model.scores for model in self.models)
        return max(models, models * (models - 1) // 2)

    def differences(self) -> dict[str, list[dict[str, Any]]]:
        """Compare all models and the baseline in all scores.

        Returns:
            Pairs by score, with the names "first" and "other"; the "difference" of their values (or
            distances from the target); the "margin" that it must exceed; and the name of the model
            that is significantly "ahead", or None.
        """
        pairs = {metric: self._pairs(metric) for metric in self.metrics}
        return {metric: found for metric, found in pairs.items() if found}

    def _rows(self, metric: str) -> list[ModelResult]:
        rows = list(self.models)
        if self.baseline is not None:
            rows.append(self.baseline)
        return [row for row in rows if row.value(metric) is not None]

    def _pairs(self, metric: str) -> list[dict[str, Any]]:
        losses = {}
        variations = {}
        for row in self._rows(metric):
            losses[row.name] = self.loss(metric, row.scores[metric].number)
            variations[row.name] = self.variations(metric, row)
        pairs = []
        for first, other in combinations(losses, 2):
            margin = variations[first].margin(variations[other], self.tested_differences(metric))
            difference = losses[first] - losses[other]
            ahead = None
            if abs(difference) > margin:
                ahead = first if difference < 0 else other
            if self.info(metric).better == "higher":
                difference = -difference
            pair = {
                "first": first,
                "other": other,
                "difference": difference,
                "margin": finite(margin),
                "ahead": ahead,
            }
            pairs.append(pair)
        return pairs

    def to_plain(self) -> dict[str, Any]:
        """Convert to plain data with the format number and the `differences`."""
        return {"format_version": FORMAT, **super().to_plain(), "differences": self.differences()}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a comparison; a `CheckpointError` if the format is not supported."""
        version = data.get("format_version")
        if version != FORMAT:
            raise CheckpointError(
                f"This report has format {version}; expected format {FORMAT}. Compare its runs "
                "again."
            )
        return super().from_plain(data)

    def to_frame(self) -> Any:
        """Return a data frame of pandas, or of polars if pandas is not installed.

        The frame has one row per model, and columns for each score ("frechet", "frechet_spread",
        "frechet_low" and "frechet_high", the ends of its 95 % interval) and for costs.

        Raises:
            MissingExtra: If neither pandas nor polars is installed.
        """
        # by name, since reports are built on comparisons
        return registries.at("report.papers:frame")(self)

    def __repr__(self) -> str:
        return (
            f'Comparison("{self.title}", models: {len(self.models)}, scores: {len(self.metrics)}, '
            f"n = {self.settings.n})"
        )

    def __str__(self) -> str:
        text: str = registries.at("report.plain_text:text")(self.best_first())
        return text

    def _repr_html_(self) -> str:
        # by name, since reports are built on comparisons
        tables: str = registries.at("report.page:notebook")(self)
        return tables
