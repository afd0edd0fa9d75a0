"""What a metric is given and what it gives back."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np

from pushforward.errors import DataError, Diverged

__all__ = ["Better", "Metric", "Samples", "Score", "check_finite", "is_metric"]

Better = Literal["lower", "higher", "target"]


@dataclass(frozen=True)
class Score:
    """One number about generated samples.

    Args:
        name: Such as "frechet".
        value: The number.
        better: Which way is better: "lower", "higher", or "target" for values that should meet ``target``.
        target: The ideal value where ``better`` is "target".
        error: Its standard error where the metric knows one.
        extra: What a table has no room for, such as the mass of each mode; plain lists and numbers.
    """

    name: str
    value: float
    better: Better
    target: float | None = None
    error: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """Generated, reference (held-out) and training rows, as every metric sees them.

    Raw rows are data units flattened to (n, d), float32; to save memory ``training`` may be uint8, where 255
    stands for 1. Features are float64, (n, f), the same f everywhere.

    Args:
        generated: (n, d) rows of the model.
        reference: (m, d) held-out rows.
        training: (k, d) rows that the model was trained on.
        generated_features: (n, f).
        reference_features: (m, f).
        shape: The shape of one row, (d,) or (channels, height, width).
        scale: The standard deviation of each raw column over the training split, (d,), for distances in model units;
            None means 1.
        truth: What is known of the distribution, or None. Mode metrics read ``truth.centres`` (k, d), ``truth.std``
            and ``truth.weights`` (k,); the metric of stacked images ``truth.modes`` and ``truth.read(rows)``.

    Raises:
        Diverged: If generated rows are not finite; the message says how many.
        DataError: If a set is empty or the dimensions do not fit each other.
    """

    generated: np.ndarray
    reference: np.ndarray
    training: np.ndarray
    generated_features: np.ndarray
    reference_features: np.ndarray
    shape: tuple[int, ...]
    scale: np.ndarray | None = None
    truth: Any = None

    def __post_init__(self) -> None:
        size = int(np.prod(self.shape))
        for one in fields(self):
            rows = getattr(self, one.name)
            if not isinstance(rows, np.ndarray) or one.name == "scale":
                continue
            if rows.ndim != 2 or len(rows) == 0:
                raise DataError(f"The {one.name} rows must be a table with at least one row, got shape {rows.shape}.")
            wanted = self.reference_features.shape[-1] if one.name.endswith("features") else size
            if rows.shape[1] != wanted:
                raise DataError(f"The {one.name} rows have {rows.shape[1]} columns; {wanted} were expected.")
            check_finite(one.name, rows)
        for first in ("generated", "reference"):
            rows, found = len(getattr(self, first)), len(getattr(self, f"{first}_features"))
            if rows != found:
                raise DataError(f"There are {rows} {first} rows but {found} rows of features.")

    @property
    def equal(self) -> bool:
        """Whether there are as many generated as reference rows, as comparisons between models need."""
        return len(self.generated) == len(self.reference)


@runtime_checkable
class Metric(Protocol):
    """One metric, which may give several scores. ``about`` describes each: label, better, what."""

    about: ClassVar[Mapping[str, Mapping[str, Any]]]
    scores: ClassVar[tuple[str, ...]]

    def applies(self, samples: Samples) -> bool:
        """Whether the metric has a meaning for these samples."""
        ...

    def __call__(self, samples: Samples) -> list[Score]:
        """The scores."""
        ...


def is_metric(part: type[Any]) -> TypeGuard[type[Metric]]:
    """Whether a class is a metric that can be used, and not the protocol."""
    return isinstance(inspect.getattr_static(part, "scores", None), tuple) and part is not Metric


def check_finite(name: str, rows: np.ndarray) -> None:
    """Refuse rows that hold NaN or infinity, and say how many there are.

    Raises:
        Diverged: For generated rows.
        DataError: For real ones.
    """
    if not np.issubdtype(rows.dtype, np.floating):
        return
    wrong = int((~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)).sum())
    if not wrong:
        return
    message = f"{wrong} of {len(rows)} {name} rows hold NaN or infinite values, so no score can be computed."
    if name.startswith("generated"):
        raise Diverged(f"{message} Has the training diverged? Lower the learning rate, or resume an earlier checkpoint.")
    raise DataError(f"{message} Remove them from the data.")
