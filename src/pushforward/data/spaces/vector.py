"""Space of vectors: table rows, points and latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.spaces.space import ScaledSpace
from pushforward.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VectorSpace(ScaledSpace):
    """Vectors (d,), stored as float32 in data units.

    Args:
        columns: Column names, if vectors come from a table.
        integer: Indices of integer columns.
    """

    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()

    noun = "vector"
    sides = ("d",)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", tuple(map(str, self.columns)))
        object.__setattr__(self, "integer", tuple(map(int, self.integer)))
        if self.columns and len(self.columns) != self.shape[0]:
            raise DataError(
                f"{len(self.columns)} column names do not match {self.shape[0]} columns."
            )

    def quantise(self, x: Tensor | NDArray[Any]) -> NDArray[Any]:
        rounded = super().quantise(x)
        if self.integer:
            rounded[:, self.integer] = np.rint(rounded[:, self.integer])
        return rounded

    def rounded(self, x: Tensor) -> Tensor:
        import torch

        if self.integer:
            return torch.from_numpy(self.quantise(x))
        return x

    def records(self, x: Tensor) -> list[list[Any]]:
        whole = [column in self.integer for column in range(self.shape[0])]
        return [
            [int(v) if flag else float(v) for v, flag in zip(row, whole, strict=True)]
            for row in self.quantise(x)
        ]

    @property
    def endings(self) -> Mapping[str, str]:
        tables = {".npz": ".npz", ".csv": ".csv"}
        if self.shape == (2,):
            return tables | {".png": ".png (a scatter plot)", ".gif": ".gif (noise to data)"}
        return tables
