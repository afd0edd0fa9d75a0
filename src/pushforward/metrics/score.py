"""Inputs, descriptions and results of metrics, and their selection by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np

from pushforward.errors import DataError, Diverged, UsageError, suggestion
from pushforward.files import Record
from pushforward.metrics.subsets import Array
from pushforward.numbers import mean_and_std, plain
from pushforward.registries import METRICS

Better = Literal["lower", "higher", "target"]
Role = Literal["quality", "diversity"]
ROLES: tuple[Role, ...] = ("quality", "diversity")
Extra = Mapping[str, Any]  # Additional numbers and texts of a score, by name
FURTHER = "Further checks"  # Default group of scores, the last one in a report


@dataclass(frozen=True)
class MetricInfo(Record):
    """Description of a score for reports.

    Args:
        better: "lower", "higher", or "target" for values that should be close to ``target``.
        what: Meaning of the score.
        unit: Unit, such as "nats"; "%" for a fraction that is shown as a percentage.
        group: Heading under which a report lists the score.
        role: "quality" or "diversity" for scores that may rank models.
        priority: Models are ranked by the available score of each role with the lowest number.
        target: Ideal value if ``better`` is "target"; None for the value of real data.
        missing: Sentence that explains a missing score.
        unbiased: Whether the mean of the score is the same for any number of examples.
        least: Smallest possible value.
        most: Largest possible value.
        root: Whether the score is the root of a mean; such scores are compared by their squares.
    """

    label: str = ""
    better: Better = "lower"
    what: str = ""
    unit: str = ""
    group: str = FURTHER
    role: Role | None = None
    priority: int = 1
    target: float | None = None
    missing: str = ""
    unbiased: bool = False
    least: float | None = None
    most: float | None = None
    root: bool = False


share_info = partial(MetricInfo, least=0.0, most=1.0)  # Declares a score from 0 to 1


@dataclass(frozen=True, repr=False)
class Score(Record):
    """Value of a score for one model, with its variation; None where unknown.

    Args:
        value: Mean over ``values``.
        spread: Standard deviation over samplings or training runs.
        error: Standard error of a single sampling over new examples on both sides.
        reference_error: Part of ``error`` from the reference, which samplings share; the squares of
            both parts add up to error^2.
        values: Values of single samplings or training runs.
        n: Number of examples compared on each side.
        ratio: Value divided by the real-data score; None if that is too close to 0.
        interval: Ends of a 95 % interval for the mean score.
        interval_of: Source of the interval: "examples", "samplings" or "training runs".
        bias: Difference of the mean at this n to infinitely many examples.
        growth: Fields of a `pushforward.metrics.growth.VarianceModel`.
        reference_terms: Contributions of groups of reference examples up to a constant
            (`pushforward.metrics.subsets.by_examples`).
        sample_terms: Contributions of groups of generated examples, for each sampling.
        extra: Additional numbers and texts.
    """

    value: float | None = None
    spread: float | None = None
    error: float | None = None
    values: tuple[float | None, ...] = ()
    n: int | None = None
    ratio: float | None = None
    reference_error: float | None = None
    interval: tuple[float, ...] | None = None
    interval_of: str | None = None
    bias: float | None = None
    growth: tuple[float, ...] = ()
    reference_terms: tuple[float, ...] = ()
    sample_terms: tuple[float, ...] = ()
    extra: Extra = field(default_factory=dict)

    @property
    def number(self) -> float:
        """Return the value, or NaN if there is none."""
        if self.value is None:
            return math.nan
        return self.value

    def __str__(self) -> str:
        """Return the value in words, such as ``0.130 ± 0.008``."""
        value, spread = mean_and_std(self.value, self.spread)
        if spread:
            return f"{value} ± {spread}"
        return value

    def __repr__(self) -> str:
        text = str(self)
        if self.ratio is not None:
            text += f", {plain(self.ratio, 2)} times real data's"
        if self.n is not None:
            text += f", n = {self.n:,}"
        return f"Score({text})"


Infos = Mapping[str, MetricInfo]
Scores = dict[str, Score]


@dataclass(frozen=True)
class Samples:
    """Generated, reference (held-out) and training examples, which are the input of every metric.

    Raw examples are in data units, flattened to (n, d), float32; for tables, they are points
    computed from rows. Features are float64, (n, f).

    Args:
        training: Training examples of the model, float32, or uint8 with 255 for 1.
        shape: Shape of one example, (d,) or (channels, height, width).
        scale: Standard deviation of each raw column over the training split, (d,); None for 1.
        truth: Known facts about the distribution: `pushforward.metrics.modes.Centred` or
            `pushforward.metrics.modes.Legible`.
        generated_classes: Class of each generated example according to a classifier, integers (n,);
            None if the data has no classes, or no metric has ``reads_classes``.
        reference_classes: Class of each held-out example by its label, or None.
        table: Rows with the original values of a table of mixed types.
        generated_more: All samples of the model for attacks, including ``generated``.
        apart: Whether equal rows may be on both sides of the split, as independent draws.
        errors: Whether to compute expensive standard errors.

    Raises:
        Diverged: If generated examples are not finite, with their number.
        DataError: If real examples are not finite.
    """

    generated: Array
    reference: Array
    training: Array
    generated_features: Array
    reference_features: Array
    shape: tuple[int, ...]
    scale: Array | None = None
    truth: Any = None
    generated_classes: Array | None = None
    reference_classes: Array | None = None
    classes: int = 0
    table: Any = None
    generated_more: Array | None = None
    apart: bool = False
    errors: bool = True

    def __post_init__(self) -> None:
        for part in fields(self):
            examples = getattr(self, part.name)
            if isinstance(examples, np.ndarray) and part.name != "scale":
                check_finite(part.name, examples)

    @property
    def points(self) -> tuple[Array, Array]:
        """Return generated and reference examples in units of ``scale``."""
        if self.scale is None:
            return self.generated, self.reference
        unit = np.where(self.scale > 0, self.scale, 1.0)
        return self.generated / unit, self.reference / unit

    @property
    def fewest(self) -> int:
        """Return the smaller number of examples."""
        return min(len(self.generated), len(self.reference))

    @property
    def equal(self) -> bool:
        """Return whether both sides have the same number of examples."""
        return len(self.generated) == len(self.reference)


@runtime_checkable
class Metric(Protocol):
    """Base class of metrics, whose scores ``scores`` declares by name.

    A metric that needs training examples has the attribute ``of_training = True``.
    """

    scores: ClassVar[Infos]

    def applies(self, samples: Samples) -> bool:
        """Return whether the metric is applicable to these samples."""

    def __call__(self, samples: Samples) -> Scores:
        """Compute scores by name; scores that cannot be computed are omitted."""


def is_metric(part: type[Any]) -> TypeGuard[type[Metric]]:
    """Return whether a class is a usable metric, not the protocol."""
    scores = inspect.getattr_static(part, "scores", None)
    if not isinstance(scores, Mapping) or not scores:
        return False
    return all(isinstance(info, MetricInfo) for info in scores.values())


def check_finite(name: str, examples: Array) -> None:
    """Raise `Diverged` or `DataError` if examples contain NaN or infinity."""
    if not np.issubdtype(examples.dtype, np.floating):
        return
    finite = np.isfinite(examples.reshape(len(examples), -1)).all(axis=1)
    wrong = int((~finite).sum())
    if not wrong:
        return
    message = (
        f"{wrong} of {len(examples)} {name} examples contain NaN or infinite values, so no score "
        "can be computed."
    )
    if name.startswith("generated"):
        raise Diverged(
            f"{message} Has training diverged? Lower the learning rate, or resume from an earlier "
            "checkpoint."
        )
    raise DataError(f"{message} Remove them from the data.")


def register(name: str, metric: type[Metric]) -> None:
    """Register a metric for evaluations, comparisons and the command line, or replace it.

    Raises:
        UsageError: If the class is not a metric, or the name of a score is taken.
    """
    METRICS.add(name, metric)


def check_metric(name: str, metric: Any) -> None:
    """Raise an error if a class is not a metric, or a score's name is taken."""
    if not is_metric(metric):
        raise UsageError(
            f'{metric!r} is not a metric: the class needs an attribute "scores", a dict from names '
            "to MetricInfo."
        )
    owners = _owners()
    for score in metric.scores:
        owner = owners.get(score)
        if owner is not None and owner is not METRICS.get(name):
            raise UsageError(
                f"Another metric already has a score named {score}. Choose another name."
            )


def _owners() -> dict[str, type[Metric]]:
    return {name: metric for metric in METRICS.values() for name in metric.scores}


def describe() -> dict[str, MetricInfo]:
    """Return the `MetricInfo` of each score, by name."""
    return {name: metric.scores[name] for name, metric in _owners().items()}


MODEL_SCORES: Infos = {
    "bpd": MetricInfo(
        "bits per dimension",
        "lower",
        "Bits that the model needs per dimension of a held-out example. For images, this is an "
        "upper bound for 256 levels; for vectors, minus the log density in the units of the data, "
        "which can be negative.",
        unit="bits",
        unbiased=True,
    ),
    "cas": share_info(
        "Classification accuracy score",
        "higher",
        "Accuracy on held-out examples of a classifier trained only on samples. The real-data "
        "score is that of a classifier trained on equally many real examples.",
        unit="%",
        group="Classes",
    ),
}
# Requested metrics, or names of metrics or scores; None for all
Wanted = Sequence[str | Metric] | None
# Metrics, each with the names of its requested scores
Choice = list[tuple[Metric, tuple[str, ...]]]


def check_metrics(names: Wanted) -> None:
    """Raise a `UsageError` with all known metrics if a name is unknown."""
    known = sorted({*METRICS, *MODEL_SCORES, *_owners()})
    for name in names or ():
        if isinstance(name, str) and name not in known:
            raise UsageError(
                f'Unknown metric "{name}". Available metrics: {", ".join(known)}.'
                f"{suggestion(name, known)}"
            )


def chosen(wanted: Wanted) -> Choice:
    """Select metrics and their requested scores."""
    if wanted is None:
        return [(metric(), tuple(metric.scores)) for metric in METRICS.values()]
    check_metrics(wanted)
    owners = _owners()
    metrics: dict[Any, tuple[Metric, dict[str, None]]] = {}
    for choice in wanted:
        if not isinstance(choice, str):
            metrics[id(choice)] = choice, dict.fromkeys(choice.scores)
            continue
        kind = METRICS.get(choice) or owners.get(choice)
        if kind is None:
            raise UsageError(
                f"{choice} needs the model, not only samples. Compute it for a run with "
                "pf.evaluate."
            )
        names = kind.scores if choice in METRICS else [choice]
        _, scores = metrics.setdefault(kind, (kind(), {}))
        scores |= dict.fromkeys(names)
    return [(metric, tuple(scores)) for metric, scores in metrics.values()]


def measured(samples: Samples, choice: Choice) -> Scores:
    """Compute the requested scores of the metrics that apply."""
    scores: Scores = {}
    for metric, wanted in choice:
        if metric.applies(samples):
            results = metric(samples)
            scores |= {name: results[name] for name in results if name in wanted}
    return scores
