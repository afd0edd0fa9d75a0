"""Continuous attributes as a condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.columns import Columns
from pushforward.conditions.kind import ConditionKind
from pushforward.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Numbers(Columns):
    """k continuous attributes, such as age and income; a value is k numbers in their own units, float32.

    Args:
        columns: Their names.
        mean: Mean of each over the training split.
        std: Standard deviation of each, above 0 (constant ones get 1).
        examples: Values of training examples that are drawn from; see `Columns`.

    Raises:
        DataError: For lengths that do not fit, or a standard deviation that is not positive.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    examples: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        """Turn lists into tuples, and check that they fit one another."""
        self._tidy(self.columns, self.examples)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(number) for number in getattr(self, name)))
            if len(getattr(self, name)) != len(self.columns):
                raise DataError(f"{name} has {len(getattr(self, name))} values, expected {len(self.columns)}: one per column.")
        if not all(math.isfinite(number) for number in self.mean) or not all(0 < number < math.inf for number in self.std):
            raise DataError("mean must be finite and std finite and above 0 (constant columns get std 1).")

    @classmethod
    def measure(cls, values: NDArray[np.float32], columns: Sequence[str], chosen: NDArray[np.int64] | None = None) -> Numbers:
        """Mean and standard deviation of training values (n, k), and examples of them."""
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
        """Whether both have the same columns: values are in their own units, and a network standardises them by its own."""
        return isinstance(other, Numbers) and self.columns == other.columns

    def for_networks(self) -> Numbers:
        return replace(self, examples=())

    def as_channels(self, values: Tensor) -> Tensor:
        import torch

        mean, std = (torch.tensor(part, dtype=values.dtype, device=values.device) for part in (self.mean, self.std))
        return (values - mean) / std
