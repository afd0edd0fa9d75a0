"""Results as objects: a comparison of models, which is what ``report.json`` holds.

    comparison = pf.compare({"flow": run, "gan": other}, data)
    comparison["flow"].scores["frechet"].value
    comparison == pf.Comparison.from_json(comparison.to_json())

Every field may be missing from the JSON, or null; it then has its default, and a report leaves out what it cannot say.
Numbers that are not finite are None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
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
    Ladder,
    LatentStatistics,
    Pictures,
    Plan,
    SamplingCost,
    Series,
    SweepPoint,
    TrainingCost,
    Trajectory,
)
from pushforward.files import Record
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.score import Role

FORMAT = 2  # Of the JSON; other formats are refused
INDEPENDENT_ROWS = "independent columns"
# The names of a table's rows without a network: columns drawn independently, and training rows drawn with replacement
ROW_COPIES = "copied rows"
REPEATS = 5  # Samplings of each model unless another number is asked for: Student's interval of three is 1.5 times as wide
REPEAT_SEEDS = 1_000_000  # Repeat r samples from seed (r + 1) times this, so that no two repeats share a sample


@dataclass(frozen=True)
class Protocol(Record):
    """Everything that all scores of a comparison share, and without which they cannot be compared with others.

    Args:
        data: sha256 of all examples of the data set, hexadecimal.
        reference: sha256 of the held-out examples that samples are compared with, after quantisation, hexadecimal.
        n: Samples on either side.
        k: Neighbours of precision, recall, density and coverage.
        extractor: What identifies the feature extractor: what determines its weights, where they are trained on the data.
        dimensions: Of the features.
        preprocessing: What happens to an example before the extractor.
        quantisation: How samples are rounded before they are compared.
        representation: What distances between rows of a table are measured in; empty for other data.
        labels: How the classes of samples and of floors are drawn; empty for data without classes.
        versions: Of this package, and by score the number of its definition, where it was changed, or a hash of the file of the
            user's own that defines it.
        spaces: What identifies the extractor of each further feature space, by its name.
        weights: A hash of the extractor's weights as they are in each space, by its name. It is not compared: processors round
            otherwise, so that weights of one origin may differ in their last digits.
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
    weights: Mapping[str, str] = field(default_factory=dict)


NAMES = {
    "data": "the data",
    "reference": "the sha256 of the reference examples",
    "n": "n",
    "k": "k",
    "extractor": "the feature extractor",
    "dimensions": "the number of features",
    "preprocessing": "the preprocessing",
    "quantisation": "the quantisation",
    "representation": "the representation of rows",
    "labels": "how classes are drawn",
    "versions": "the version of",
    "spaces": "the extractor of the feature space",
}  # what must be equal, in words; of versions and spaces only what both protocols hold


def check_same(protocols: Sequence[tuple[str, Protocol]], data: Sequence[str] = ()) -> None:
    """Refuse scores that do not share a protocol.

    Args:
        protocols: Each with the name of where its scores come from.
        data: The names of the data that they are about, where they are known.

    Raises:
        UsageError: Naming each field that differs, one a line, and both values; or both data sets where these differ.
    """
    for at, (name, other) in enumerate(protocols):
        first, known = protocols[0]
        if other == Protocol():
            raise UsageError(f"{name} does not say by which protocol its scores were measured: score its runs again.")
        if known.data != other.data:
            names = f" ({data[0]} and {data[at]})" if data else ""
            raise UsageError(f"{first} and {name} are about different data{names}, so their scores cannot be compared.")
        what = ""
        for field_name, words in NAMES.items():
            here, there = getattr(known, field_name), getattr(other, field_name)
            pairs = [("", here, there)]
            if isinstance(here, Mapping):
                pairs = [(f" {key}", here[key], there[key]) for key in sorted(here.keys() & there.keys())]
            for key, a, b in pairs:
                what += f"\n- {words}{key} is {_short(a)} in {first} and {_short(b)} in {name}" if a != b else ""
        if what:
            raise UsageError(
                f"Scores of unlike protocols cannot be compared:{what}\nScore the runs again together: "
                "pushforward compare RUN RUN."
            )


def _short(value: Any) -> str:
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b", r"\1", "not known" if value in (None, "") else str(value))


@dataclass(frozen=True)
class DataInfo(Record):
    """The data set that models were scored on.

    Args:
        name: Of the data set.
        shape: Of one example.
        kind: What one example is, in a word: "image", "vector" or the word of a plug-in's space.
        classes: Names of the classes.
        columns: Names of a vector's columns.
        train: Training examples.
        held_out: Held-out examples.
        fingerprint: sha256 of all examples, hexadecimal.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    kind: str = ""
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    train: int | None = None
    held_out: int | None = None
    fingerprint: str = ""
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings(Record):
    """How models were compared.

    Args:
        n: Samples on either side.
        repeats: Samplings of each model.
        seeds: Trainings of each recipe.
        budget: What each model was trained with, in words.
        k: Neighbours of precision, recall, density and coverage.
        features: In which models are ranked, in words.
        spaces: Names of the feature spaces, that of ``features`` first.
        dimensions: Of the features.
        classifier_accuracy: Of the classifier that reads labels, on held-out data.
        shared: Names of models whose sample grids start from the same noise, in groups; None where that is not known.
        timed: Of joined comparisons the names of models that were timed in turns with each other, in groups; None where all were.
        plan: What was measured in which time.
    """

    n: int | None = None
    repeats: int | None = None
    seeds: int | None = None
    budget: str | None = None
    k: int | None = None
    features: str | None = None
    spaces: tuple[str, ...] = ()
    dimensions: int | None = None
    classifier_accuracy: float | None = None
    shared: tuple[tuple[str, ...], ...] | None = None
    timed: tuple[tuple[str, ...], ...] | None = None
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True, repr=False)
class ModelResult(Record):
    """Everything measured of one model.

    Args:
        name: Unique within a comparison.
        family: In words; chooses the caption of the losses.
        method: The class of its method.
        conditioned: What it is given, sorted: "label", columns and other conditions; empty for nothing, None where unknown.
        run: Its folder.
        seed: Of its training, or of its trainings.
        sampling_seeds: Of its samplings: sample i of a sampling comes from its seed + i alone.
        parameters: Of what samples.
        other_parameters: Of networks that only training needs, by name.
        training: What training took; None for a model that is no run.
        weights_step: The step of the weights that sample, where training has ended with those of an earlier step than its last.
        sampling: What a sample costs.
        scores: By name.
        label_agreement: The share of samples that a classifier recognises as the class they were asked to be.
        curve: Scores against network calls, of an iterative model.
        ladder: Scores in few calls beside the teacher's, of a map between two times.
        trajectory: Of an iterative model.
        latent: Of a model with an encoder.
        losses: By player.
        health: What was measured while it was trained.
        alarms: Of its training.
        warnings: Sentences.
        commands: Command lines that train it again.
        extension: Command line that trains it further; empty if it is not a run.
        config: The settings of its training (`pushforward.evaluation.models`).
        origin: Command, commit, versions and hashes of its run, by their names in words.
        given: Whether its samples were there already, so that what stands for several samplings are parts of them.
        trainings: The single trainings, where several are one model (`pushforward.evaluation.comparison`): scores and costs are
            then means over them, spread is that over trainings or over samplings, the greater.
    """

    name: str = "unnamed"
    family: str = ""
    method: str = ""
    conditioned: tuple[str, ...] | None = None
    run: str | None = None
    seed: int | tuple[int | None, ...] | None = None
    sampling_seeds: tuple[int, ...] = ()
    parameters: int | None = None
    other_parameters: Mapping[str, int] = field(default_factory=dict)
    training: TrainingCost = field(default_factory=TrainingCost)
    weights_step: int | None = None
    sampling: SamplingCost = field(default_factory=SamplingCost)
    scores: Mapping[str, Score] = field(default_factory=dict)
    label_agreement: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    ladder: Ladder | None = None
    trajectory: Trajectory | None = None
    latent: LatentStatistics | None = None
    losses: Mapping[str, Series] = field(default_factory=dict)
    health: Health | None = None
    alarms: tuple[Alarm, ...] = ()
    warnings: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    extension: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    given: bool = False
    trainings: tuple[ModelResult, ...] = ()

    def __repr__(self) -> str:
        return f'ModelResult("{self.name}": {", ".join(f"{name} {score}" for name, score in self.scores.items())})'


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """Models scored on one data set; `pushforward.Report` renders it.

    Args:
        title: Heading of a report.
        created: ISO date.
        data: What models were scored on.
        settings: How.
        protocol: What all scores share; models of another protocol cannot be compared with these.
        machine: Names and values.
        metrics: What each score means, by its name, in the order of a report.
        floors: What real data scores against real data, by score.
        unscored: By score, the sentence that says why no model has it.
        models: In the order of a report.
        sweep: By model its recipe's trainings for several budgets, rising, the longest of which is the model.
        baseline: The no-network row.
        further_baselines: Rows that stand beside it and are never ranked (`pushforward.evaluation.baselines`).
        guesses: Rows that belong to one score, such as the uniform guess of bits per dimension.
        commands: Command lines that repeat the comparison.
        pictures: Arrays by model, and under "real"; not part of the JSON, and ignored where comparisons are compared.
    """

    title: str = ""
    created: str = ""
    data: DataInfo = field(default_factory=DataInfo)
    settings: Settings = field(default_factory=Settings)
    protocol: Protocol = field(default_factory=Protocol)
    machine: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    floors: Mapping[str, Score] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)
    models: tuple[ModelResult, ...] = ()
    sweep: Mapping[str, tuple[SweepPoint, ...]] = field(default_factory=dict)
    baseline: ModelResult | None = None
    further_baselines: tuple[ModelResult, ...] = ()
    guesses: tuple[ModelResult, ...] = ()
    commands: tuple[str, ...] = ()
    pictures: Mapping[str, Pictures] = field(default_factory=dict, compare=False, metadata={"stored": False})

    def __getitem__(self, name: str) -> ModelResult:
        return {model.name: model for model in self.models}[name]

    def info(self, metric: str) -> MetricInfo:
        """What is known of a score; its name as the label where nothing is."""
        info = self.metrics.get(metric) or MetricInfo()
        return info if info.label else replace(info, label=metric)

    def ranking_metric(self, role: Role) -> str | None:
        """Return the score that ranks models in quality or diversity: of those that any model has, the one of first priority."""
        known = [name for name, info in self.metrics.items() if info.role == role]
        known.sort(key=lambda name: self.metrics[name].priority)
        return next((name for name in known if any(self._value(model, name) is not None for model in self.models)), None)

    def best_first(self) -> Self:
        """Return the comparison with its models sorted by the score that ranks them in quality; unscored models come last."""
        metric = self.ranking_metric("quality") or ""

        def place(model: ModelResult) -> float:
            value = self._value(model, metric)
            return math.inf if value is None else self.loss(metric, value)

        return replace(self, models=tuple(sorted(self.models, key=place)))

    @staticmethod
    def _value(model: ModelResult, metric: str) -> float | None:
        return model.scores.get(metric, Score()).value

    def target(self, metric: str) -> float | None:
        """The right value of a score whose ``better`` is "target": what its metric declares, else what real data scores."""
        declared = self.info(metric).target
        return declared if declared is not None else self.floors.get(metric, Score()).value

    def loss(self, metric: str, value: float) -> float:
        """A value of a score, turned so that less is better: of a "target" the distance from it."""
        better = self.info(metric).better
        target = self.target(metric)
        if better == "target" and target is not None:
            return abs(value - target)
        return -value if better == "higher" else value

    def variations(self, metric: str, row: ModelResult) -> Variations:
        """How much the score of a model or of the no-network row varies; the score must be there."""
        score = row.scores[metric]
        rows = [training for other in self._scored(metric) for training in (other.trainings or [other])]
        of_real = self.floors.get(metric, Score()).spread or 0.0
        pooled = pooled_variation([other.scores[metric] for other in rows if metric in other.scores], of_real)
        runs = over_training_runs(score) if row.trainings else Variation()
        if self.info(metric).better == "target":
            # scores on either side of it: errors that they share add up, and the target has an error of its own
            score = replace(score, sample_terms=(), reference_terms=())
            own = (score.reference_error or 0.0) ** 2
            of_target = of_real**2 if self.info(metric).target is None else 0.0
            return Variations(self._over_samples(row, metric, score, pooled), Variation(2 * (own + of_target)), runs)
        root = score.number if self.info(metric).root else 0.0
        return Variations(self._over_samples(row, metric, score, pooled), over_references(score), runs, root)

    def _over_samples(self, row: ModelResult, metric: str, score: Score, pooled: Variation) -> Variation:
        """Over new samples; training runs share noise, so that several of them vary as much as one."""
        if score.sample_terms or not row.trainings:
            return over_samples(score, pooled)
        each = [over_samples(run.scores[metric], pooled).variance for run in row.trainings if metric in run.scores]
        return Variation(max(each, default=0.0))

    def comparisons(self, metric: str) -> int:
        """How many differences of a score are judged at once: all pairs of models, or each model and the no-network row."""
        models = sum(metric in model.scores for model in self.models)
        return max(models, models * (models - 1) // 2)

    def differences(self) -> dict[str, list[dict[str, Any]]]:
        """Compare all models, and the no-network row, in all scores.

        Returns:
            By score a list of pairs: the names "first" and "other", the "difference" of their values (of a "target" that of
            their distances from it), the "margin" that it must exceed so that one is clearly ahead (None where that is unknown),
            and the name of the one that is "ahead" (None where they are not clearly apart).
        """
        return {metric: pairs for metric in self.metrics if (pairs := self._pairs(metric))}

    def _scored(self, metric: str) -> list[ModelResult]:
        rows = [*self.models, *([] if self.baseline is None else [self.baseline])]
        return [row for row in rows if self._value(row, metric) is not None]

    def _pairs(self, metric: str) -> list[dict[str, Any]]:
        scored = self._scored(metric)
        varies = {row.name: self.variations(metric, row) for row in scored}
        losses = {row.name: self.loss(metric, row.scores[metric].number) for row in scored}
        pairs = []
        for first, other in combinations(losses, 2):
            margin = varies[first].margin(varies[other], self.comparisons(metric))
            gap = losses[first] - losses[other]
            better = first if gap < 0 else other
            pairs.append(
                {
                    "first": first,
                    "other": other,
                    "difference": -gap if self.info(metric).better == "higher" else gap,
                    "margin": margin if math.isfinite(margin) else None,
                    "ahead": better if abs(gap) > margin else None,
                }
            )
        return pairs

    def to_plain(self) -> dict[str, Any]:
        """Nested dicts and lists with the format number, and the `differences`, which follow from the scores."""
        return {"format_version": FORMAT, **super().to_plain(), "differences": self.differences()}

    @classmethod
    def from_plain(cls, data: object, where: str = "") -> Self:
        """Read what `to_plain` returned.

        Raises:
            CheckpointError: For another format, or a field that has another type than its declaration.
        """
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version != FORMAT:
            raise CheckpointError(f"This report has format {version}, and format {FORMAT} is read: compare its runs again.")
        return super().from_plain(data, where)

    def __repr__(self) -> str:
        return f'Comparison("{self.title}", models: {len(self.models)}, scores: {len(self.metrics)}, n = {self.settings.n})'

    def __str__(self) -> str:
        """A table of plain text: a heading, then models, rows without a network and real data; a column for each score."""
        models = self.best_first().models
        rows = [*models, *([self.baseline] if self.baseline else []), *self.further_baselines, *self.guesses]
        rows += [ModelResult("real data", scores=self.floors)] if self.floors else []
        names = dict.fromkeys([*self.metrics, *(name for row in rows for name in row.scores)])
        known = [name for name in names if any(name in row.scores for row in rows)]
        table = [["", *(self.info(name).label for name in known)]]
        table += [[row.name, *(str(row.scores.get(name, "–")) for name in known)] for row in rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([*([self.title] if self.title else []), *lines])

    def _repr_html_(self) -> str:
        # by name, since reports are built on comparisons
        tables: str = registries.at("report.page:notebook")(self)
        return tables
