"""The interface of a column of a table: values of the file, coordinates of a model, and cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from warnings import warn

import numpy as np

from pushforward.conditions.kind import Cells, ConditionKind, Kinds, Shape
from pushforward.data.core.hashes import Array, Floats, Integers, Mask
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.numbers import some

if TYPE_CHECKING:
    from torch import Tensor, nn


class Column(ABC):
    """Base class of columns of a table.

    A *value* is a float64: a number, a date as seconds since 1970, or the number of a category; NaN
    if it is missing. *Coordinates* are what a model learns: at most one score, then a block of
    indicators, exactly one being 1. A *cell* is text as the file writes it.

    Attributes:
        name: The column's name.
        kind: "number", "whole", "ordinal", "date", "category" or "boolean".
        missing: Whether values may be missing.
        shares: Frequency of each indicator in the training split; empty without indicators.
        rare: Number of different values of the table that are not learned.
        scores: Number of coordinates that are scores, 0 or 1; scores come before indicators.
    """

    scores: ClassVar[int]

    name: str
    kind: str
    missing: bool
    shares: tuple[float, ...]
    rare: int = 0

    @property
    @abstractmethod
    def coordinates(self) -> tuple[str, ...]:
        """A name for each coordinate."""

    @abstractmethod
    def encode(self, values: Floats) -> Array:
        """Encode values (n,) as coordinates (n, width)."""

    @abstractmethod
    def decode(self, coordinates: Array) -> Floats:
        """Decode coordinates."""

    @abstractmethod
    def cells(self, values: Floats, missing: str = "") -> list[str]:
        """Format values as in the file.

        Args:
            values: Values (n,).
        """

    @abstractmethod
    def exported(self, missing: str) -> dict[str, Any]:
        """Describe how coordinates become cells, as plain values for ``space.json``."""

    @abstractmethod
    def read(self, cells: Sequence[str]) -> Floats:
        """Parse cells to values, with NaN for invalid cells; the caller handles missing values."""

    def numbers(self, values: Floats) -> Floats:
        """Convert values."""
        return values

    def nearest(self, values: Floats) -> Floats:
        """Find the valid values of the column nearest to values (n,).

        Missing values stay missing.
        """
        return values

    def unknown(self, values: Floats) -> Mask:
        """Mark the values (n,) that are not missing but cannot be learned by a model."""
        return np.zeros(len(values), dtype=bool)

    @property
    def levels(self) -> tuple[str, ...]:
        """The texts of values that are places in them; empty for numbers and dates."""
        return ()

    @property
    def range(self) -> tuple[float, float] | None:
        """Return the smallest and largest value of the training split.

        None for categories, or without values.
        """
        return None

    @property
    def open(self) -> bool:
        """Whether the column takes values that the training split does not have."""
        return False

    @property
    def width(self) -> int:
        """Return the number of coordinates."""
        return self.scores + len(self.shares)


def check_shares(name: str, shares: Sequence[float]) -> None:
    """Raise an error if fractions are negative or do not sum to 1, within 1 %."""
    if not (min(shares, default=0) >= 0 and abs(sum(shares) - 1) <= 0.01):
        raise DataError(f'"{name}": the fractions of its values must be at least 0 and sum to 1.')


def indicators(chosen: Integers, count: int) -> Array:
    """Build one-hot rows, (n, count)."""
    rows = np.zeros((len(chosen), count), dtype=np.float32)
    rows[np.arange(len(chosen)), chosen] = 1.0
    return rows


def looked_up(entries: Sequence[float] | Floats, values: Floats) -> Floats:
    """Return the entries at the places (n,), NaN for missing and further places."""
    padded = np.append(np.asarray(entries, dtype=np.float64), np.nan)
    return padded[np.where(np.isnan(values), len(entries), values).astype(np.int64)]


def with_gaps(fields: Sequence[Column], missing: Mask) -> Iterator[tuple[int, Column, Integers]]:
    """Yield columns with missing values: index, column and rows without a value.

    Args:
        missing: Mask of their missing values, (n, columns).
    """
    for place, field in enumerate(fields):
        rows = np.flatnonzero(missing[:, place])
        if len(rows):
            yield place, field, rows


# Relative change of a number that is not reported if its cell stays the same
SAME = 1e-6
MOST = 5  # values of a column that a warning names
# Change of a value of an open column that is not reported, relative to the range of the column
ROUNDING = 1e-4


@dataclass(frozen=True)
class Known(ConditionKind):
    """Condition with the values of any columns of a table; other columns are drawn given these.

    A value is the coordinates of the known columns, zeros for the others, and after them a mark for
    each column: 1 if it is known, 0 if it is unknown, and -1 if it is only known not to be missing.
    It is (d + columns,), float64, in data units. Only a method that hides columns in training
    learns it; no data holds it.

    Args:
        fields: Columns of the table.
    """

    fields: tuple[Column, ...]

    learned = True

    @property
    def entries(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def shape(self) -> Shape:
        return (sum(field.width for field in self.fields) + len(self.fields),)

    def read(self, request: Any) -> Tensor:
        import torch

        values = torch.as_tensor(request, dtype=torch.float64)
        if values.shape[-1:] != self.shape or values.dim() > 2:
            raise UsageError(
                f"Known columns need numbers of shape {self.shape} or (n, {self.shape[0]}); got "
                f"{tuple(values.shape)}."
            )
        return values

    def of(self, values: Floats, marks: Integers) -> Tensor:
        """Build the condition for rows.

        Values that a column does not have are replaced by the nearest value.

        Args:
            values: Values of columns, NaN if missing, (n, columns).
            marks: 1 for those that are given, 0 for others, -1 for those that are only known not to
                be missing, (n, columns).
        """
        import torch

        parts = [
            field.encode(field.nearest(column)) * (mark[:, None] > 0)
            for field, column, mark in zip(self.fields, values.T, marks.T, strict=True)
        ]
        return torch.from_numpy(np.concatenate([*parts, marks], axis=1).astype(np.float64))

    def entered(self, values: Tensor, entry: str, request: Any, n: int) -> Tensor:
        """Add one known column to the condition of n rows.

        Args:
            values: Condition so far, (n, *shape).
            request: Value: a number, the text of a category, None or an empty text for a missing
                value; or n such values.
        """
        import torch

        place = self.entries.index(entry)
        field = self.fields[place]
        start = sum(other.width for other in self.fields[:place])
        if hasattr(request, "tolist"):
            request = request.tolist()
        cells = request if isinstance(request, (list, tuple)) else [request]
        if len(cells) not in (1, n):
            raise UsageError(
                f'"{entry}" has {len(cells)} values; expected one, or one for each of the {n} '
                "samples."
            )
        numbers = np.array([_value(field, cell) for cell in cells])
        sentences = _replaced(field, cells, numbers)
        if sentences:
            warn(" ".join(sentences[:MOST]), stacklevel=2)
        coordinates = field.encode(field.nearest(numbers)).astype(np.float64)
        values = values.clone()
        values[:, start : start + field.width] = torch.from_numpy(coordinates)
        values[:, self.shape[0] - len(self.fields) + place] = 1.0
        return values

    def held(self, entry: str, request: Any) -> tuple[Any, list[str]]:
        field = self.fields[self.entries.index(entry)]
        numbers = np.array([_value(field, request)])
        sentences = _replaced(field, [request], numbers)
        if sentences:
            request = field.cells(field.nearest(numbers))[0]
        return request, sentences

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        return self.blank(len(u), u.device)

    def blank(self, n: int, device: Any) -> Tensor:
        import torch

        return torch.zeros(n, *self.shape, dtype=torch.float64, device=device)

    def embedding(self, width: int) -> nn.Module:
        raise UsageError("Only denoisers of tables support known columns. Train flow, ddpm or edm.")

    def describe(self) -> str:
        return "any column can be given"

    def cells(self, values: Tensor) -> Cells:
        return [{} for _ in range(len(values))]


def known_in(conditions: Kinds) -> str:
    """Return the name of the condition that holds known columns; empty without one."""
    for name, kind in conditions.items():
        if isinstance(kind, Known):
            return name
    return ""


def _replaced(field: Column, cells: Sequence[Any], numbers: Floats) -> list[str]:
    if field.range is None:
        return []
    held = field.decode(field.encode(field.nearest(numbers)))
    texts = field.cells(held)
    change = np.abs(held - numbers)
    if field.open:
        replaced = change > ROUNDING * np.ptp(field.range)
    else:
        replaced = (change > SAME * np.abs(numbers)) | (np.array(texts) != field.cells(numbers))
    first, last = field.cells(np.array(field.range))
    sentences = {}
    for place in np.flatnonzero(replaced).tolist():
        sentence = (
            f"{field.name}={cells[place]} does not occur in the training data ({first} to {last}), "
            f"so {texts[place]} is used."
        )
        sentences[sentence] = place
    return list(sentences)


def _value(field: Column, cell: Any) -> float:
    absent = cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell
    text = "" if absent else str(cell).strip()
    value = float(field.read([text])[0])
    if not np.isnan(value) or (not text and field.missing):
        return value
    if not field.levels:
        such = some(field.cells(np.array(field.range or ())[:1]))
        raise UsageError(f'"{field.name}" takes a {field.kind}, such as {such}; got {cell!r}.')
    rare = ""
    if field.rare:
        rare = f" The {field.rare:,} texts of single rows are learned only with `rare=keep`."
    hint = did_you_mean(text, field.levels)
    raise UsageError(
        f'"{field.name}" has no category {quoted(text)}.{hint}{rare} Expected one of: '
        f"{some(map(quoted, field.levels), 12)}."
    )
