"""What a metric receives, what it declares and what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np

from pushforward.errors import DataError, Diverged
from pushforward.files import Record
from pushforward.numbers import measured, plain

if TYPE_CHECKING:
    from pushforward.metrics.table import Table


Better = Literal["lower", "higher", "target"]
Role = Literal["quality", "diversity"]
ROLES: tuple[Role, ...] = ("quality", "diversity")
Extra = Mapping[str, Any]  # What a score has beside its value, by name
FURTHER = "Further checks"  # The group of scores that name no other; it is the last in a report


@dataclass(frozen=True)
class MetricInfo(Record):
    """What a reader, and a report, must know of a score. A metric declares it once.

    Args:
        label: The name in words.
        better: Which direction is better: "lower", "higher", or "target" for values that should meet ``target``.
        what: The meaning, in one sentence.
        unit: Such as "nats"; "%" for a share between 0 and 1 that is shown in per cent; empty for plain numbers.
        group: The heading under which a report lists the score; a new heading makes a new table.
        role: "quality" or "diversity" for scores by which the verdict may rank models; None for all others.
        priority: Among scores of one role the verdict takes the one with the lowest number that any model has.
        target: The ideal value where ``better`` is "target"; None means that of real data.
        missing: The sentence that explains a missing score; empty where none is needed.
        unbiased: Whether the mean of the score is the same at any number of examples. Where it is not, an interval is of the mean
            at this number.
        least: The least value that the score can have; None where there is none.
        most: The greatest, likewise. An interval of a score stays between both.
        root: Whether the score is the root of a mean, such as of squared distances. Two of them are compared by their squares.
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
    """One number about a model, in data's terms; its name is the key under which it is stored.

    Args:
        value: The number, the mean over ``values``; None where it is not finite.
        spread: By how much it varies: the standard deviation over samplings or trainings; for a score that needs no sampling,
            its standard error. None where unknown.
        error: The standard error of a single sampling over new examples on both sides, where the metric knows it (for several
            samplings their mean).
        reference_error: The part of it that comes from the reference, which all samplings share: error^2 is its square and that
            of the other part.
        values: One for each sampling or training.
        n: How many examples were compared on either side.
        ratio: The value over real data's; None where that is too near 0 to divide by.
        interval: The ends of a 95 % interval of the score's mean over new samples, and as far as ``reference_error`` is known new
            reference examples; None where there is none.
        interval_of: What the interval was measured from: "examples", "samplings" or "trainings".
        bias: By how much the mean at this n is above that of infinitely many examples, about, where the metric knows it.
        growth: How the variance of a single sampling grows with the true value, of distances whose metric knows it: the
            numbers of a `pushforward.metrics.growth.Growth`.
        reference_terms: What groups of reference examples add, the same groups for all models, up to a constant, where the metric
            knows it (`pushforward.metrics.subsets.by_examples`); by it two models are compared on the same examples.
        sample_terms: What groups of generated examples add, in the same way; of several samplings those of each, one after the
            other, with its value as their mean.
        extra: Further numbers and texts, such as the mass of each mode.
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
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> float:
        """The value; NaN where there is none."""
        return math.nan if self.value is None else self.value

    @property
    def stated(self) -> str:
        """The interval in words, after a comma; empty where there is none."""
        if self.interval is None or len(self.interval) != 2:
            return ""
        width = (self.interval[1] - self.interval[0]) / 2
        low, high = (measured(end, width)[0] for end in self.interval)
        return f", 95 % interval {low} to {high} over {self.interval_of}"

    def __str__(self) -> str:
        """Such as ``0.130 ± 0.008``."""
        value, spread = measured(self.value, self.spread)
        return f"{value} ± {spread}" if spread else value

    def __repr__(self) -> str:
        """Value, spread, interval, ratio to real data and number of examples."""
        ratio = "" if self.ratio is None else f", {plain(self.ratio, 2)} times real data's"
        return f"Score({self}{self.stated}{ratio}{'' if self.n is None else f', n = {self.n:,}'})"


@dataclass(frozen=True)
class Samples:
    """Generated, reference (held-out) and training examples, as every metric receives them.

    Raw examples are data units flattened to (n, d), float32, and of a table points of its rows' values, which no model changes;
    to save memory ``training`` may be uint8, where 255 stands for 1. Features are float64, (n, f), the same f everywhere.

    Args:
        generated: (n, d) examples of the model.
        reference: (m, d) held-out examples.
        training: (k, d) examples that the model was trained on.
        generated_features: (n, f).
        reference_features: (m, f).
        shape: The shape of one example, (d,) or (channels, height, width).
        scale: The standard deviation of each raw column over the training split, (d,), for distances in model units;
            None means 1.
        truth: What is known of the distribution, or None. Mode metrics read ``truth.centres`` (k, d), ``truth.std``
            and ``truth.weights`` (k,); the metric of stacked images ``truth.modes`` and ``truth.read(examples)``.
        generated_classes: The class of each generated example as a classifier reads it, whole
            numbers (n,); None where the data has no classes, or no metric has ``reads_classes``.
        reference_classes: The class of each held-out example by its label, (m,), or None.
        classes: How many classes the data has; 0 where it has none.
        table: The rows as a table's own values; None for data that is no table of mixed types.
        generated_more: (k, d) all examples of the model that there are, ``generated`` among them, for attacks, which may use
            more than are compared; None where there are no others.
        apart: Whether equal rows are on both sides of the split, as draws of their own.
        errors: Whether standard errors are wanted; a metric may leave them out where they are not and take long.

    Raises:
        Diverged: If generated examples are not finite; the message says how many.
        DataError: If real examples are not finite.
    """

    generated: np.ndarray
    reference: np.ndarray
    training: np.ndarray
    generated_features: np.ndarray
    reference_features: np.ndarray
    shape: tuple[int, ...]
    scale: np.ndarray | None = None
    truth: Any = None
    generated_classes: np.ndarray | None = None
    reference_classes: np.ndarray | None = None
    classes: int = 0
    table: Table | None = None
    generated_more: np.ndarray | None = None
    apart: bool = False
    errors: bool = True

    def __post_init__(self) -> None:
        for part in fields(self):
            examples = getattr(self, part.name)
            if isinstance(examples, np.ndarray) and part.name != "scale" and not part.name.endswith("classes"):
                check_finite(part.name, examples)

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Generated and reference examples in units of ``scale``; columns whose scale is 0 as they are."""
        unit = 1.0 if self.scale is None else np.where(self.scale > 0, self.scale, 1.0)
        return self.generated / unit, self.reference / unit

    @property
    def equal(self) -> bool:
        """Whether there are as many generated as reference examples, as comparisons between models need."""
        return len(self.generated) == len(self.reference)


@runtime_checkable
class Metric(Protocol):
    """One metric, which may give several scores. ``scores`` declares each by its name."""

    scores: ClassVar[Mapping[str, MetricInfo]]

    def applies(self, samples: Samples) -> bool:
        """Whether the metric has a meaning for these samples."""

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """The scores by name; one that cannot be computed is left out."""


def is_metric(part: type[Any]) -> TypeGuard[type[Metric]]:
    """Whether a class is a metric that can be used, and not the protocol."""
    scores = inspect.getattr_static(part, "scores", None)
    return isinstance(scores, Mapping) and bool(scores) and all(isinstance(info, MetricInfo) for info in scores.values())


def check_finite(name: str, examples: np.ndarray) -> None:
    """Refuse examples that hold NaN or infinity, and say how many there are.

    Raises:
        Diverged: For generated examples.
        DataError: For real ones.
    """
    if not np.issubdtype(examples.dtype, np.floating):
        return
    wrong = int((~np.isfinite(examples.reshape(len(examples), -1)).all(axis=1)).sum())
    if not wrong:
        return
    message = f"{wrong} of {len(examples)} {name} examples contain NaN or infinite values, so no score can be computed."
    if name.startswith("generated"):
        raise Diverged(f"{message} Has training diverged? Lower the learning rate, or resume from an earlier checkpoint.")
    raise DataError(f"{message} Remove them from the data.")
