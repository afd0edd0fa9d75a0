"""The base of conditions made of columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind, as_numbers
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


EXAMPLES = 1024
"""How many training examples a condition holds to draw from."""


class Columns(ConditionKind):
    """k numbers that belong together, (k,), such as columns of a table; values are drawn as whole training examples.

    A class of this kind has at least two arguments, ``columns`` and ``examples`` (see `examples_of`).
    """

    columns: tuple[str, ...]
    """Their names."""
    examples: tuple[tuple[float, ...], ...]
    """Values of training examples, k numbers each; empty where nothing is drawn."""

    @staticmethod
    def evenly(values: NDArray[np.float32], labels: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Numbers of training examples to draw from: all, or `EXAMPLES` evenly spaced ones, in the order of label and columns.

        The frequencies of labels, or without labels the law of the first column, are then met to within 1 / `EXAMPLES`. All
        conditions of a data set are drawn from the same examples, in the same order.

        Args:
            values: Columns of all conditions of the training examples, (n, k).
            labels: Their label numbers (n,).
        """
        order = np.lexsort((*values.T[::-1], *([] if labels is None else [labels])))
        m = min(len(order), EXAMPLES)
        return order[((np.arange(m) + 0.5) * len(order) / m).astype(np.int64)]

    @classmethod
    def examples_of(cls, values: NDArray[np.float32], chosen: NDArray[np.int64] | None = None) -> tuple[tuple[float, ...], ...]:
        """Values of training examples to draw from, as short as float32 allows.

        Args:
            values: Of all training examples, (n, k).
            chosen: Which are drawn from, see `evenly`; None chooses by these values alone.
        """
        values = values[cls.evenly(values) if chosen is None else chosen]
        return tuple(tuple(float(str(number)) for number in example) for example in np.asarray(values, dtype=np.float32))

    @property
    def entries(self) -> tuple[str, ...]:
        return self.columns

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.columns),)

    def read(self, request: Any) -> Tensor:
        """Numbers: k of them for all examples, (n, k), or where k is 1 also a single one, or one for each example."""
        names, k = ", ".join(self.columns), len(self.columns)
        values = as_numbers(request, f"Expected numbers for {names}, got {request!r}.")
        if k == 1 and (values.dim() == 0 or (values.dim() == 1 and len(values) != 1)):
            values = values.unsqueeze(-1)
        if values.dim() not in (1, 2) or values.shape[-1] != k:
            raise UsageError(f"Got values of shape {tuple(values.shape)} for {names}; expected ({k},) or (n, {k}).")
        if not bool(values.isfinite().all()):
            raise UsageError(f"Expected finite numbers for {names}, got {float(values[~values.isfinite()][0])}.")
        return values

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        """Whole training examples.

        Raises:
            UsageError: Where there are none.
        """
        import torch

        if not self.examples:
            raise UsageError(f"There are no examples of {', '.join(self.columns)} to draw from: give values.")
        table = torch.tensor(self.examples, dtype=torch.float32)
        first, end = (bounds * len(table) - 0.5).ceil().long().unbind(1)
        within = ((u - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0])).clamp(0, 1)
        at = first + (within * (end - first)).long().minimum(end - first - 1).clamp(min=0)
        return table[at.clamp(max=len(table) - 1)]

    def check(self, values: Tensor, n: int) -> None:
        if tuple(values.shape) != (n, *self.shape) or not values.is_floating_point():
            raise UsageError(
                f"Got values of shape {tuple(values.shape)} and {values.dtype} for {', '.join(self.columns)}; "
                f"expected float32 of shape ({n}, {len(self.columns)})."
            )

    def cells(self, values: Tensor) -> list[dict[str, Any]]:
        return [
            {name: float(str(v)) for name, v in zip(self.columns, example, strict=True)} for example in values.float().numpy()
        ]

    def blank(self, n: int, device: Any) -> Tensor:
        import torch

        return torch.zeros(n, *self.shape, device=device)

    def _tidy(self, columns: Sequence[str], examples: Sequence[Sequence[float]]) -> None:
        object.__setattr__(self, "columns", tuple(str(name) for name in columns))
        object.__setattr__(self, "examples", tuple(tuple(float(number) for number in example) for example in examples))
        if not self.columns or any(len(example) != len(self.columns) for example in self.examples):
            raise UsageError(f"Expected examples of {len(self.columns)} numbers, one for each of at least one column.")
