"""Conditions that are columns of a table: continuous attributes of examples, and columns that are known of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind, as_numbers
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.tables.column import Column

if TYPE_CHECKING:
    from torch import Tensor, nn


EXAMPLES = 1024  # how many training examples a condition holds to draw from
SAME = 1e-6  # the share of itself by which a number may change without a word where its cell stays the same
MOST = 5  # how many values of a column a warning names
ROUNDING = (
    1e-4  # the share of its range by which a value of an open column may change without a word
)


class Columns(ConditionKind):
    """Condition with k related numbers, (k,), such as columns of a table; values are drawn as whole training examples.

    Subclasses have at least two arguments, ``columns`` and ``examples`` (see `examples_of`).
    """

    columns: tuple[str, ...]  # their names
    examples: tuple[
        tuple[float, ...], ...
    ]  # values of training examples, k numbers each; empty where nothing is drawn

    @staticmethod
    def evenly(
        values: NDArray[np.float32], labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Choose training examples to draw from: all, or `EXAMPLES` evenly spaced ones, in the order of label and columns.

        The frequencies of labels, or without labels the law of the first column, are then met to within 1 / `EXAMPLES`. All
        conditions of a data set are drawn from the same examples, in the same order.

        Args:
            values: Columns of all conditions of the training examples, (n, k).
            labels: Label numbers, (n,).
        """
        order = np.lexsort((*values.T[::-1], *([] if labels is None else [labels])))
        m = min(len(order), EXAMPLES)
        return order[((np.arange(m) + 0.5) * len(order) / m).astype(np.int64)]

    @classmethod
    def examples_of(
        cls, values: NDArray[np.float32], chosen: NDArray[np.int64] | None = None
    ) -> tuple[tuple[float, ...], ...]:
        """Return the values of training examples to draw from, as short as float32 allows.

        Args:
            values: Values of all training examples, (n, k).
            chosen: Indices of examples to draw from, see `evenly`; None to choose by these values
                only.
        """
        values = values[cls.evenly(values) if chosen is None else chosen]
        return tuple(
            tuple(float(str(number)) for number in example)
            for example in np.asarray(values, dtype=np.float32)
        )

    @property
    def entries(self) -> tuple[str, ...]:
        return self.columns

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.columns),)

    def read(self, request: Any) -> Tensor:
        names = ", ".join(self.columns)
        k = len(self.columns)
        values = as_numbers(request, f"Expected numbers for {names}, got {request!r}.")
        if k == 1 and (values.dim() == 0 or (values.dim() == 1 and len(values) != 1)):
            values = values.unsqueeze(-1)
        if values.dim() not in (1, 2) or values.shape[-1] != k:
            raise UsageError(
                f"Got values of shape {tuple(values.shape)} for {names}; expected ({k},) or (n, {k})."
            )
        if not bool(values.isfinite().all()):
            raise UsageError(
                f"Expected finite numbers for {names}, got {float(values[~values.isfinite()][0])}."
            )
        return values

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        import torch

        if not self.examples:
            raise UsageError(
                f"There are no examples of {', '.join(self.columns)} to draw from. Specify their values."
            )
        table = torch.tensor(self.examples, dtype=torch.float32)
        first, end = (bounds * len(table) - 0.5).ceil().long().unbind(1)
        within = ((u - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0])).clamp(0, 1)
        at = first + (within * (end - first)).long().minimum(end - first - 1).clamp(min=0)
        return table[at.clamp(max=len(table) - 1)]

    def cells(self, values: Tensor) -> list[dict[str, Any]]:
        return [
            {name: float(str(v)) for name, v in zip(self.columns, example, strict=True)}
            for example in values.float().numpy()
        ]

    def _tidy(self, columns: Sequence[str], examples: Sequence[Sequence[float]]) -> None:
        object.__setattr__(self, "columns", tuple(str(name) for name in columns))
        object.__setattr__(
            self,
            "examples",
            tuple(tuple(float(number) for number in example) for example in examples),
        )
        if not self.columns or any(len(example) != len(self.columns) for example in self.examples):
            raise UsageError(
                f"Expected examples with {len(self.columns)} numbers: one per column, and at least one column."
            )


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))

    @property
    def entries(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(field.width for field in self.fields) + len(self.fields),)

    def read(self, request: Any) -> Tensor:
        import torch

        values = torch.as_tensor(request, dtype=torch.float64)
        if values.shape[-1:] != self.shape or values.dim() > 2:
            raise UsageError(
                f"Known columns need numbers of shape {self.shape} or (n, {self.shape[0]}); got {tuple(values.shape)}."
            )
        return values

    def of(self, values: NDArray[np.float64], marks: NDArray[np.int64]) -> Tensor:
        """Build the condition for rows; values that a column does not have are replaced by the nearest value.

        Args:
            values: Values of columns, NaN if missing, (n, columns).
            marks: 1 for those that are given, 0 for others, -1 for those that are only known not to be missing, (n, columns).
        """
        import torch

        columns = [field.nearest(values[:, place]) for place, field in enumerate(self.fields)]
        parts = [field.encode(column) for field, column in zip(self.fields, columns, strict=True)]
        parts = [part * (marks[:, place, None] > 0) for place, part in enumerate(parts)]
        return torch.from_numpy(np.concatenate([*parts, marks], axis=1).astype(np.float64))

    def entered(self, values: Tensor, entry: str, request: Any, n: int) -> Tensor:
        """Add one known column to the condition of n rows.

        Args:
            values: Condition so far, (n, *shape).
            entry: Column.
            request: Value: a number, the text of a category, None or an empty text for a missing
                value; or n such values.
            n: Number of samples.

        Raises:
            UsageError: If a text is not a value of the column.
        """
        import torch

        place = self.entries.index(entry)
        field = self.fields[place]
        start = sum(other.width for other in self.fields[:place])
        if hasattr(request, "tolist"):
            request = request.tolist()
        cells = list(request) if isinstance(request, (list, tuple)) else [request]
        if len(cells) not in (1, n):
            raise UsageError(
                f'"{entry}" has {len(cells)} values; expected one, or one for each of the {n} samples.'
            )
        numbers = np.array([_value(field, cell) for cell in cells])
        if sentences := _replaced(field, cells, numbers):
            warn(" ".join(sentences[:MOST]), stacklevel=2)
        coordinates = torch.from_numpy(
            field.encode(field.nearest(numbers)).astype(np.float64)
        ).expand(n, -1)
        values = values.clone()
        values[:, start : start + field.width] = coordinates
        values[:, self.shape[0] - len(self.fields) + place] = 1.0
        return values

    def held(self, entry: str, request: Any) -> tuple[Any, list[str]]:
        field = self.fields[self.entries.index(entry)]
        numbers = np.array([_value(field, request)])
        sentences = _replaced(field, [request], numbers)
        return field.cells(field.nearest(numbers))[0] if sentences else request, sentences

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        return self.blank(len(u), u.device)

    def blank(self, n: int, device: Any) -> Tensor:
        import torch

        return torch.zeros(n, *self.shape, dtype=torch.float64, device=device)

    def embedding(self, width: int) -> nn.Module:
        raise UsageError("Only denoisers of tables support known columns. Train flow, ddpm or edm.")

    def describe(self) -> str:
        return "any column can be given"

    def cells(self, values: Tensor) -> list[dict[str, Any]]:
        return [{} for _ in range(len(values))]


def _replaced(field: Column, cells: Sequence[Any], numbers: NDArray[np.float64]) -> list[str]:
    """A sentence on each number that is replaced by its nearest value, since the training rows have none like it."""
    if field.range is None:
        return []
    held = field.decode(field.encode(field.nearest(numbers)))
    texts = field.cells(held)
    if field.open:
        replaced = np.abs(held - numbers) > ROUNDING * np.ptp(field.range)
    else:
        rewritten = [text != asked for text, asked in zip(texts, field.cells(numbers), strict=True)]
        replaced = (np.abs(held - numbers) > SAME * np.abs(numbers)) | np.array(rewritten)
    first, last = field.cells(np.array(field.range))
    sentences = (
        f"{field.name}={cells[i]} does not occur in the training data ({first} to {last}), so {texts[i]} is used."
        for i in np.flatnonzero(replaced).tolist()
    )
    return list(dict.fromkeys(sentences))


def _value(field: Column, cell: Any) -> float:
    absent = cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell
    text = "" if absent else str(cell).strip()
    value = float(field.read([text])[0])
    if not np.isnan(value):
        return value
    if not text and field.missing:
        return value
    names = getattr(field, "names", None) or getattr(getattr(field, "form", None), "levels", ())
    if not names:
        such = f", such as {field.cells(np.array(field.range[:1]))[0]}" if field.range else ""
        raise UsageError(f'"{field.name}" takes a {field.kind}{such}; got {cell!r}.')
    listed = ", ".join(f'"{name}"' for name in names[:12]) + (", ..." if len(names) > 12 else "")
    rare = ""
    if field.rare:
        rare = f" Not learned: {field.rare:,} texts that at most one training row has; train with `rare=keep` to learn them."
    hint = did_you_mean(text, names)
    raise UsageError(
        f'"{field.name}" has no category {quoted(text)}.{hint}{rare} Expected one of: {listed}.'
    )


@dataclass(frozen=True)
class Numbers(Columns):
    """Condition with k continuous attributes, such as age and income: k numbers in their own units, float32.

    Args:
        columns: Column names.
        mean: Mean of each column over the training split.
        std: Standard deviation of each column, above 0 (1 for constant columns).
        examples: Values of training examples to draw from; see `Columns`.

    Raises:
        DataError: If lengths do not match, or a standard deviation is not positive.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    examples: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        self._tidy(self.columns, self.examples)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(number) for number in getattr(self, name)))
            if len(getattr(self, name)) != len(self.columns):
                raise DataError(
                    f"{name} has {len(getattr(self, name))} values; expected {len(self.columns)}, one per column."
                )
        if not all(math.isfinite(number) for number in self.mean) or not all(
            0 < number < math.inf for number in self.std
        ):
            raise DataError(
                "mean must be finite, and std finite and above 0 (use std 1 for constant columns)."
            )

    @classmethod
    def measure(
        cls,
        values: NDArray[np.float32],
        columns: Sequence[str],
        chosen: NDArray[np.int64] | None = None,
    ) -> Numbers:
        wide = np.asarray(values, dtype=np.float64)
        std = wide.std(0)
        constant = np.ptp(wide, axis=0) == 0
        std = np.where(constant | (std == 0), 1.0, std)
        return cls(tuple(columns), tuple(wide.mean(0)), tuple(std), cls.examples_of(values, chosen))

    @property
    def channels(self) -> int:
        return len(self.columns)

    @property
    def continuous(self) -> bool:
        return True

    def embedding(self, width: int) -> nn.Module:
        from pushforward.conditions.embeddings import NumbersEmbedding

        return NumbersEmbedding(self.mean, self.std, width)

    def describe(self) -> str:
        return f"given {', '.join(self.columns)}"

    def fits(self, other: ConditionKind) -> bool:
        # values are in their own units, and a network standardises them by its own
        return isinstance(other, Numbers) and self.columns == other.columns

    def for_networks(self) -> Numbers:
        return replace(self, examples=())

    def as_channels(self, values: Tensor) -> Tensor:
        import torch

        mean, std = (
            torch.tensor(part, dtype=values.dtype, device=values.device)
            for part in (self.mean, self.std)
        )
        return (values - mean) / std
