"""Conditions that are columns of a table: continuous attributes, and known columns of a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import Cells, ConditionKind, Shape, as_numbers
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn


# Number of training examples that a condition holds to draw from
EXAMPLES = 1024


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
    def shape(self) -> Shape:
        return (len(self.columns),)

    def read(self, request: Any) -> Tensor:
        k = len(self.columns)
        values = as_numbers(request)
        if values is not None and k == 1 and values.shape != (1,) and values.dim() < 2:
            values = values.unsqueeze(-1)
        if values is None or values.dim() not in (1, 2) or values.shape[-1] != k:
            raise UsageError(
                f"Expected finite numbers of shape ({k},) or (n, {k}) for "
                f"{', '.join(self.columns)}; got {request!r}."
            )
        return values

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        import torch

        if not self.examples:
            raise UsageError(
                f"There are no examples of {', '.join(self.columns)} to draw from. Specify their "
                "values."
            )
        # Example i of m is at the place (i + 1/2) / m, and those within the bounds are first <= i <
        # end, so i = first + floor((u - low) / (high - low) (end - first))
        table = torch.tensor(self.examples, dtype=torch.float32)
        first, end = (bounds * len(table) - 0.5).ceil().long().unbind(1)
        low, high = bounds.unbind(1)
        within = ((u - low) / (high - low)).clamp(0, 1)
        at = first + (within * (end - first)).long().minimum(end - first - 1).clamp(min=0)
        return table[at.clamp(max=len(table) - 1)]

    def cells(self, values: Tensor) -> Cells:
        short = values.float().numpy().astype(str)
        return [dict(zip(self.columns, _floats(example), strict=True)) for example in short]

    def _check(self) -> None:
        lengths = {len(self.columns), *map(len, self.examples)}
        if not self.columns or len(lengths) > 1:
            raise UsageError(
                f"Expected examples with {len(self.columns)} numbers: one per column, and at least "
                "one column."
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
        self._check()
        numbers = [*self.mean, *self.std]
        fits = len(self.mean) == len(self.std) == len(self.columns)
        if not fits or not np.isfinite(numbers).all() or min(self.std) <= 0:
            raise DataError(
                "mean and std must have a finite number per column, and std must be above 0 (use "
                "std 1 for constant columns)."
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
        mean = tuple(wide.mean(0).tolist())
        examples = cls.examples_of(values, chosen)
        return cls(tuple(columns), mean, tuple(std.tolist()), examples)

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
        mean = values.new_tensor(self.mean)
        std = values.new_tensor(self.std)
        return (values - mean) / std


def _floats(numbers: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, numbers))
