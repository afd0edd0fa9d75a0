"""Results as objects: a comparison of models, which is what ``report.json`` holds.

    comparison = pf.compare({"flow": run, "gan": other}, data)
    comparison["flow"].scores["frechet"].value
    comparison == pf.Comparison.from_json(comparison.to_json())

Every field may be missing from the JSON, or null; it then has its default, and a report leaves out what it cannot say.
Numbers that are not finite are None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from typing import Any, Self

from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.measurements import (
    Alarm,
    CurvePoint,
    Health,
    Ladder,
    LatentStatistics,
    Pictures,
    SamplingCost,
    Series,
    SweepPoint,
    TrainingCost,
    Trajectory,
)
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import counted
from pushforward.records import Damaged, Record


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

    def differences(self, other: Protocol) -> list[tuple[str, Any, Any]]:
        """The fields in which two protocols differ, each with both values; of versions and spaces those that both have."""
        unlike: list[tuple[str, Any, Any]] = []
        for part in (part for part in fields(self) if part.name != "weights"):
            value, other_value = getattr(self, part.name), getattr(other, part.name)
            if part.name in COMMON:
                common = sorted(value.keys() & other_value.keys())
                unlike += [
                    (COMMON[part.name].format(key), value[key], other_value[key])
                    for key in common
                    if value[key] != other_value[key]
                ]
            elif value != other_value:
                unlike.append((NAMES.get(part.name, part.name), value, other_value))
        return unlike


# Fields of which only what both protocols hold must be equal, in words
COMMON = {"versions": "the version of {}", "spaces": "the extractor of the feature space {}"}
NAMES = {
    "reference": "the sha256 of the reference examples",
    "n": "n",
    "k": "k",
    "extractor": "the feature extractor",
    "dimensions": "the number of features",
    "preprocessing": "the preprocessing",
    "quantisation": "the quantisation",
    "representation": "the representation of rows",
    "labels": "how classes are drawn",
}


HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b")  # A long hash, and what is shown of it


def check_same(protocols: Sequence[tuple[str, Protocol]], data: Sequence[str] = ()) -> None:
    """Refuse scores that do not share a protocol.

    Args:
        protocols: Each with the name of where its scores come from.
        data: The names of the data that they are about, where they are known.

    Raises:
        UsageError: Naming each field that differs, one a line, and both values; or both data sets where these differ.
    """
    for name, protocol in protocols:
        if protocol == Protocol():
            raise UsageError(
                f"{name} does not say by which protocol its scores were measured, as reports of earlier versions do not: score "
                "its runs again."
            )
    for at, (name, other) in enumerate(protocols[1:], start=1):
        first, first_protocol = protocols[0]
        if first_protocol.data != other.data:
            raise UsageError(_other_data(first, name, (data[0], data[at]) if data else ("", "")))
        unlike = first_protocol.differences(other)
        if unlike:
            what = "".join(f"\n- {field} is {_text(a)} in {first} and {_text(b)} in {name}" for field, a, b in unlike)
            raise UsageError(
                f"Scores of unlike protocols cannot be compared:{what}\nScore the runs again together: "
                "pushforward compare RUN RUN."
            )


def _other_data(first: str, second: str, names: tuple[str, str]) -> str:
    if names[0] != names[1]:
        return f"These reports are about different data ({'; '.join(names)}), so their scores cannot be compared."
    called = f", although both are called {names[0]}" if names[0] else ""
    return f"{first} and {second} are about different data{called}, so their scores cannot be compared."


def _text(value: Any) -> str:
    """A value in words, the hashes in it cut to 8 characters."""
    if value in (None, ""):
        return "not known"
    return '"{}"'.format(HASH.sub(r"\1", value)) if isinstance(value, str) else str(value)


FORMAT = 2  # Of the JSON; other formats are refused
INDEPENDENT_ROWS = "independent columns"
# The names of a table's rows without a network: columns drawn independently, and training rows drawn with replacement
ROW_COPIES = "copied rows"
REPEATS = 5  # Samplings of each model unless another number is asked for: Student's interval of three is 1.5 times as wide
REPEAT_SEEDS = 1_000_000  # Repeat r samples from seed (r + 1) times this, so that no two repeats share a sample


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
        config: The settings of its training (`pushforward.evaluation.run_results`).
        origin: Command, commit, versions and hashes of its run, by their names in words.
        given: Whether its samples were there already, so that what stands for several samplings are parts of them.
        trainings: The single trainings, where several are one model (`pushforward.evaluation.merge`): scores and costs are
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
    config: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    given: bool = False
    trainings: tuple[ModelResult, ...] = ()

    def __repr__(self) -> str:
        """The name and the scores."""
        scores = ", ".join(f"{name} {score}" for name, score in self.scores.items())
        return f'ModelResult("{self.name}"{f": {scores}" if scores else ""})'


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
        """The model of a name.

        Raises:
            KeyError: Naming the models that there are.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(f'There is no model "{name}" here, but {", ".join(model.name for model in self.models)}.')

    def info(self, metric: str) -> MetricInfo:
        """What is known of a score; its name as the label where nothing is."""
        info = self.metrics.get(metric) or MetricInfo()
        return info if info.label else replace(info, label=metric)

    def to_plain(self) -> dict[str, Any]:
        """Nested dicts and lists with the format number."""
        return {"format_version": FORMAT, **super().to_plain()}

    @classmethod
    def from_plain(cls, data: object, where: str = "") -> Self:
        """Read what `to_plain` returned.

        Raises:
            CheckpointError: For another format, or a field that has another type than its declaration.
        """
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version is None:
            raise Damaged("the number of the format is missing")
        if version != FORMAT:
            raise CheckpointError(
                f"This report has format {version}; this version of pushforward reads format {FORMAT}. Compare the runs again: "
                "pushforward compare RUN RUN."
            )
        return super().from_plain(data, where)

    def __repr__(self) -> str:
        """Title and sizes."""
        n = "" if self.settings.n is None else f", n = {self.settings.n:,}"
        return f'Comparison("{self.title}", {counted(len(self.models), "model")}, {len(self.metrics)} scores{n})'

    def __str__(self) -> str:
        """The scores as a table of plain text."""
        table = self._table()
        widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([*([self.title] if self.title else []), *lines])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        heading = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join(
            f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
        )
        return f"<table><caption>{escape(self.title)}</caption><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"

    def _table(self) -> list[list[str]]:
        rows = [*self.models, *([self.baseline] if self.baseline else []), *self.further_baselines, *self.guesses]
        rows += [ModelResult("real data", scores=self.floors)] if self.floors else []
        names = dict.fromkeys([*self.metrics, *(name for row in rows for name in row.scores)])
        known = [name for name in names if any(name in row.scores for row in rows)]
        table = [["", *(self.info(name).label for name in known)]]
        return table + [[row.name, *(str(row.scores.get(name, "–")) for name in known)] for row in rows]
