"""Conditions that are columns of a table: continuous attributes, and known columns of a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind, as_numbers
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.table_column import Column

if TYPE_CHECKING:
    from torch import Tensor, nn


# Number of training examples that a condition holds to draw from
EXAMPLES = 1024
# Relative change of a number that is not reported if its cell stays the same
SAME = 1e-6
# Number of values of a column that a warning names
MOST = 5
# Change of a value of an open column, as a fraction of its range, that is not reported
ROUNDING = 1e-4


class Columns(ConditionKind):
    """Condition with k related numbers, (k,); values are drawn as whole training examples.

    Subclasses have at least two arguments, ``columns`` and ``examples`` (see `examples_of`).
    """

    columns: tuple[str, ...]
    examples: tuple[tuple[float, ...], ...]  # values of training examples to draw from

    @staticmethod
    def evenly(
        values: NDArray[np.float32], labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Choose training examples to draw from: all, or `EXAMPLES` evenly spaced ones.

        They are in the order of label and columns, so frequencies are met to within 1 / `EXAMPLES`.
        ``values`` (n, k) are columns of all conditions, which are drawn from the same examples.
        """
        keys = list(values.T[::-1])
        if labels is not None:
            keys.append(labels)
        order = np.lexsort(keys)
        m = min(len(order), EXAMPLES)
        return order[((np.arange(m) + 0.5) * len(order) / m).astype(np.int64)]

    @classmethod
    def examples_of(
        cls, values: NDArray[np.float32], chosen: NDArray[np.int64] | None = None
    ) -> tuple[tuple[float, ...], ...]:
        """Return the values of chosen or `evenly` spaced examples, as short as float32 allows."""
        if chosen is None:
            chosen = cls.evenly(values)
        short = np.asarray(values[chosen], dtype=np.float32).astype(str)
        return tuple(_floats(example) for example in short)

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
                f"Got values of shape {tuple(values.shape)} for {names}; expected ({k},) or "
                f"(n, {k})."
            )
        if not bool(values.isfinite().all()):
            wrong = float(values[~values.isfinite()][0])
            raise UsageError(f"Expected finite numbers for {names}, got {wrong}.")
        return values

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        import torch

        if not self.examples:
            raise UsageError(
                f"There are no examples of {', '.join(self.columns)} to draw from. Specify their "
                "values."
            )
        table = torch.tensor(self.examples, dtype=torch.float32)
        first, end = (bounds * len(table) - 0.5).ceil().long().unbind(1)
        low, high = bounds.unbind(1)
        within = ((u - low) / (high - low)).clamp(0, 1)
        at = first + (within * (end - first)).long().minimum(end - first - 1).clamp(min=0)
        return table[at.clamp(max=len(table) - 1)]

    def cells(self, values: Tensor) -> list[dict[str, Any]]:
        short = values.float().numpy().astype(str)
        return [dict(zip(self.columns, _floats(example), strict=True)) for example in short]

    def _tidy(self, columns: Sequence[str], examples: Sequence[Sequence[float]]) -> None:
        object.__setattr__(self, "columns", tuple(map(str, columns)))
        object.__setattr__(self, "examples", tuple(map(_floats, examples)))
        lengths = {len(self.columns), *map(len, self.examples)}
        if not self.columns or len(lengths) > 1:
            raise UsageError(
                f"Expected examples with {len(self.columns)} numbers: one per column, and at least "
                "one column."
            )


@dataclass(frozen=True)
class Known(ConditionKind):
    """Condition with the values of any columns of a table; other columns are drawn given these.

    A value is the coordinates of the known columns, zeros for the others, and after them a mark for
    each column: 1 if it is known, 0 if it is unknown, and -1 if it is only known not to be missing.
    It is (d + columns,), float64, in data units. Only a method that hides columns in training
    learns it; no data holds it.
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

        return torch.as_tensor(request, dtype=torch.float64)

    def of(self, values: NDArray[np.float64], marks: NDArray[np.int64]) -> Tensor:
        """Build the condition for rows (n, columns); values become the nearest of their column.

        Marks are 1 for given values, 0 for others, -1 for those only known not to be missing.
        """
        import torch

        parts = []
        for place, field in enumerate(self.fields):
            column = field.nearest(values[:, place])
            parts.append(field.encode(column) * (marks[:, place, None] > 0))
        return torch.from_numpy(np.concatenate([*parts, marks], axis=1).astype(np.float64))

    def entered(self, values: Tensor, entry: str, request: Any, n: int) -> Tensor:
        """Add one known column to the condition of n rows: one value, or n.

        A value is a number, the text of a category, None or an empty text for a missing value.
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
                f'"{entry}" has {len(cells)} values; expected one, or one for each of the {n} '
                "samples."
            )
        nearest, sentences = _nearest(field, cells)
        if sentences:
            warn(" ".join(sentences[:MOST]), stacklevel=2)
        values = values.clone()
        coordinates = torch.from_numpy(field.encode(nearest).astype(np.float64))
        values[:, start : start + field.width] = coordinates
        values[:, self.shape[0] - len(self.fields) + place] = 1.0
        return values

    def held(self, entry: str, request: Any) -> tuple[Any, list[str]]:
        field = self.fields[self.entries.index(entry)]
        nearest, sentences = _nearest(field, [request])
        if sentences:
            request = field.cells(nearest)[0]
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

    def cells(self, values: Tensor) -> list[dict[str, Any]]:
        return [{} for _ in values]


def _value(field: Column, cell: Any) -> float:
    absent = cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell
    text = "" if absent else str(cell).strip()
    value = float(field.read([text])[0])
    if not np.isnan(value) or (field.missing and not text):
        return value
    names = getattr(field, "names", None) or getattr(getattr(field, "form", None), "levels", ())
    if not names:
        example = ""
        if field.range:
            example = f", such as {field.cells(np.array(field.range[:1]))[0]}"
        raise UsageError(f'"{field.name}" takes a {field.kind}{example}; got {cell!r}.')
    listed = ", ".join(f'"{name}"' for name in names[:12])
    if len(names) > 12:
        listed += ", ..."
    hint = did_you_mean(text, names)
    if field.rare:
        hint += (
            f" Not learned: {field.rare:,} texts that at most one training row has; train with "
            "`rare=keep` to learn them."
        )
    raise UsageError(
        f'"{field.name}" has no category {quoted(text)}.{hint} Expected one of: {listed}.'
    )


@dataclass(frozen=True)
class Numbers(Columns):
    """Condition with k continuous attributes, such as age and income, in their own units, float32.

    Args:
        columns: Column names.
        mean: Mean of each column over the training split.
        std: Standard deviation of each column, above 0 (1 for constant columns).
        examples: Values of training examples to draw from.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    examples: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        self._tidy(self.columns, self.examples)
        for name in ("mean", "std"):
            numbers = _floats(getattr(self, name))
            object.__setattr__(self, name, numbers)
            if len(numbers) != len(self.columns):
                raise DataError(
                    f"{name} has {len(numbers)} values; expected {len(self.columns)}, one per "
                    "column."
                )
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) <= 0:
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
        constant = (np.ptp(wide, axis=0) == 0) | (std == 0)
        std = np.where(constant, 1.0, std)
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

        mean = torch.tensor(self.mean, dtype=values.dtype, device=values.device)
        std = torch.tensor(self.std, dtype=values.dtype, device=values.device)
        return (values - mean) / std


def _floats(numbers: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


def _nearest(field: Column, cells: Sequence[Any]) -> tuple[NDArray[np.float64], list[str]]:
    """Return the nearest values of cells in the training rows, and a sentence on each change."""
    numbers = np.array([_value(field, cell) for cell in cells])
    nearest = field.nearest(numbers)
    if field.range is None:
        return nearest, []
    held = field.decode(field.encode(nearest))
    texts = field.cells(held)
    change = np.abs(held - numbers)
    if field.open:
        replaced = change > ROUNDING * np.ptp(field.range)
    else:
        pairs = zip(texts, field.cells(numbers), strict=True)
        rewritten = np.array([text != asked for text, asked in pairs])
        replaced = (change > SAME * np.abs(numbers)) | rewritten
    first, last = field.cells(np.array(field.range))
    sentences = []
    for i in np.flatnonzero(replaced).tolist():
        sentences.append(
            f"{field.name}={cells[i]} does not occur in the training data ({first} to {last}), so "
            f"{texts[i]} is used."
        )
    return nearest, list(dict.fromkeys(sentences))
