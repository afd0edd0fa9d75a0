"""Continuous conditions, and the embeddings of labels and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.conditions.columns import Columns
from pushforward.conditions.kind import ConditionKind
from pushforward.errors import DataError


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
        pass

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


FREQUENCIES = (0.5, 1.0, 2.0)
"""Of the sines and cosines of a standardised value, in radians: slow ones, whose extrapolation stays smooth."""


class LabelEmbedding(nn.Module):
    """Labels as vectors: a table with one vector per class and, last, the learned null.

    Args:
        classes: Number of classes.
        width: Length of the result, at least 1.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        """Embed.

        Args:
            values: Label numbers (n,).
            null: bool (n,), True for examples without a label.

        Returns:
            (n, width).
        """
        label = values.to(torch.int64)
        return self.table(label if null is None else torch.where(null, self.classes, label))


class NumbersEmbedding(nn.Module):
    """Numbers as vectors: standardised values with sines and cosines of them, through two linear layers; and a learned null.

    Args:
        mean: Of each of k numbers.
        std: Of each, above 0.
        width: Length of the result, at least 1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int) -> None:
        super().__init__()
        self.mean, self.std, self.width = tuple(mean), tuple(std), width
        hidden = max(32, width)
        self.inner = nn.Linear(len(self.mean) * (1 + 2 * len(FREQUENCIES)), hidden)
        self.outer = nn.Linear(hidden, width)
        nn.init.normal_(self.outer.weight, std=math.sqrt(3 / (hidden * width)))
        self.null = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        """Embed.

        Args:
            values: (n, k), in their own units.
            null: bool (n,), True for examples without values.

        Returns:
            (n, width).
        """
        like = values.to(self.inner.weight.dtype)
        mean, std = (torch.tensor(part, dtype=like.dtype, device=like.device) for part in (self.mean, self.std))
        u = (like - mean) / std
        angles = [u * frequency for frequency in FREQUENCIES]
        features = torch.cat([u, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))], dim=1)
        vector = self.outer(F.silu(self.inner(features)))
        return vector if null is None else torch.where(null[:, None], self.null.to(vector.dtype), vector)
