"""Conditions that are columns of a table: continuous attributes of examples, and columns that are known of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind, as_numbers
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn


EXAMPLES = 1024  # how many training examples a condition holds to draw from


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
