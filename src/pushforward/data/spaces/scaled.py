"""Standardised kinds of data: vectors and images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pushforward.conditions.kind import Kinds, Shape, checked
from pushforward.data.core.hashes import Array, Floats, blocks
from pushforward.data.images.image_store import level_counts
from pushforward.data.spaces.space import Space
from pushforward.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


_CHUNK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class ScaledSpace(Space):
    """Data with model units u = (x - mean) / std, with one mean and std per column or channel.

    Args:
        shape: Shape of one sample.
        mean: Mean in data units, per column or per channel.
        std: Standard deviation in data units, per column or per channel, above 0 (1 for constant
            ones).
        low: Smallest possible value in data units, per column or per channel; None without bounds.
        high: Largest possible value in data units; None if ``low`` is None.
        conditions: Kinds of condition by name; "label" is a `Label` if examples have classes.
        binary: Whether every value is 0 or 1 in data units.

    Raises:
        UsageError: a condition whose name or kind cannot be.
        DataError: lengths that do not fit the shape, or a standard deviation that is not positive.
    """

    shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    conditions: Kinds = field(default_factory=dict, hash=False)
    binary: bool = False

    sides: ClassVar[tuple[str, ...]]  # names of the sides of a sample
    axis: ClassVar[int] = 0  # the side along which units differ

    def __post_init__(self) -> None:
        numbers = {"shape": int, "mean": float, "std": float, "low": float, "high": float}
        for name, kind in numbers.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(kind(v) for v in value))
        object.__setattr__(self, "conditions", checked(self.conditions))
        given = [getattr(self, name) for name in ("mean", "std", "low", "high")]
        lengths = {len(values) for values in given if values is not None}
        if (
            len(self.shape) != len(self.sides)
            or min(self.shape) < 1
            or lengths != {self.shape[self.axis]}
            or not all(map(math.isfinite, self.mean + self.std))
            or min(self.std) <= 0
            or (self.low is None) != (self.high is None)
        ):
            raise DataError(
                f"The units of these {self.noun}s do not fit: shape {self.shape} with mean, std, "
                f"low and high {given}. Expected the shape ({', '.join(self.sides)}), one finite "
                "value per column or channel, and std above 0 (1 for constant columns)."
            )

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def units(self) -> dict[str, tuple[float, ...]]:
        return {"mean": self.mean, "std": self.std}

    @property
    def scale(self) -> Array:
        std = np.asarray(self.std, dtype=np.float32).reshape(self._view()[1:])
        return np.broadcast_to(std, self.shape).flatten()

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        if self.low is None or self.high is None:
            return None
        import torch

        like = torch.empty(0)
        low = self._broadcast(self.low, like)
        high = self._broadcast(self.high, like)
        return self.to_model(low), self.to_model(high)

    @property
    def log_det(self) -> float:
        return -sum(math.log(s) for s in self.std) * (self.size // self.shape[self.axis])

    def to_model(self, x: Tensor) -> Tensor:
        return (x - self._broadcast(self.mean, x)) / self._broadcast(self.std, x)

    def to_data(self, u: Tensor) -> Tensor:
        x = self._broadcast(self.mean, u) + self._broadcast(self.std, u) * u
        if self.low is None or self.high is None:
            return x
        return x.clamp(self._broadcast(self.low, x), self._broadcast(self.high, x))

    def quantise(self, x: Tensor | Array) -> Array:
        import torch

        if isinstance(x, torch.Tensor):
            values = x.detach().to("cpu", torch.float32).numpy()
        else:
            values = np.asarray(x, dtype=np.float32)
        if self.levels is None:
            return values.copy()
        return np.rint(np.clip(values, 0, 1) * np.float32(self.levels - 1)).astype(np.uint8)

    def rounded(self, x: Tensor) -> Tensor:
        if self.levels is None:
            return x
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def unscaled(self, shape: Shape) -> Self:
        count = shape[self.axis]
        return type(self)(shape, (0.0,) * count, (1.0,) * count, conditions=self.conditions)

    @classmethod
    def accepts(cls, x: Array) -> bool:
        return x.ndim == 1 + len(cls.sides) and x.dtype == cls._stored()

    @classmethod
    def stores(cls) -> str:
        how = ", such as x.astype(np.float32)" if cls.levels is None else f", 0 to {cls.levels - 1}"
        return f"{cls._stored()} {cls.noun}s (n, {', '.join(cls.sides)}){how}"

    @classmethod
    def measured(cls, x: Array, **names: Any) -> Self:
        if cls.levels is None:
            mean, std, binary = _column_statistics(x, 1 + cls.axis)
        else:
            mean, std, binary = _level_statistics(x, 1 + cls.axis)
            names |= {"low": (0.0,) * len(mean), "high": (1.0,) * len(mean)}
        std = np.where(std > 0, std, 1.0)
        return cls(x.shape[1:], tuple(mean.tolist()), tuple(std.tolist()), binary=binary, **names)

    @classmethod
    def _stored(cls) -> np.dtype[Any]:
        return np.dtype(np.float32 if cls.levels is None else np.uint8)

    def _view(self) -> Shape:
        return (1,) * (1 + self.axis) + (-1,) + (1,) * (len(self.shape) - 1 - self.axis)

    def _broadcast(self, values: Sequence[float], like: Tensor) -> Tensor:
        return like.new_tensor(values).view(self._view())


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

    def quantise(self, x: Tensor | Array) -> Array:
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
        rows: list[list[Any]] = self.quantise(x).tolist()
        for row in rows:
            for column in self.integer:
                row[column] = int(row[column])
        return rows

    @property
    def endings(self) -> Mapping[str, str]:
        tables = {".npz": ".npz", ".csv": ".csv"}
        if self.shape == (2,):
            return tables | {".png": ".png (a scatter plot)", ".gif": ".gif (noise to data)"}
        return tables


@dataclass(frozen=True)
class ImageSpace(ScaledSpace):
    """Images (C, H, W), stored as uint8 with 255 for 1; also latent maps, which are unbounded."""

    noun = "image"
    sides = ("channels", "height", "width")
    levels = 256
    as_points = False
    has_pixels = True
    augmentations = ("flip", "shift", "dequantise")

    @property
    def grid(self) -> Shape:
        return self.shape[1:]

    @property
    def memory_format(self) -> torch.memory_format:
        import torch

        return torch.channels_last

    def quantise(self, x: Tensor | Array) -> Array:
        return np.ascontiguousarray(super().quantise(x).transpose(0, 2, 3, 1))

    def drawing(self, images: Array) -> Array:
        return images


def _level_statistics(x: Array, axis: int) -> tuple[Floats, Floats, bool]:
    # images that stay on disk were counted when they were first read
    if hasattr(x, "level_counts"):
        counts = x.level_counts()
    else:
        counts = np.sum([level_counts(x[block], axis) for block in _blocks(x)], axis=0)
    values = np.arange(256) / 255
    total = counts.sum(1, keepdims=True)
    mean = (counts * values).sum(1) / total[:, 0]
    variance = (counts * (values - mean[:, None]) ** 2).sum(1) / total[:, 0]
    variance[(counts > 0).sum(1) == 1] = 0.0
    used = np.flatnonzero(counts.sum(0))
    return mean, np.sqrt(variance), used.tolist() == [0, 255]


def _column_statistics(x: Array, axis: int) -> tuple[Floats, Floats, bool]:
    axes = tuple(other for other in range(x.ndim) if other != axis)
    entries = x.size // x.shape[axis]
    mean = sum(np.sum(x[b], axis=axes, dtype=np.float64) for b in _blocks(x)) / entries
    centre = np.expand_dims(mean, axes)
    squares = (np.sum((x[b].astype(np.float64) - centre) ** 2, axis=axes) for b in _blocks(x))
    variance = sum(squares) / entries
    constant = np.ptp(x, axis=axes) == 0
    binary = bool(((x == 0) | (x == 1)).all() and not constant.all())
    return mean, np.where(constant, 0.0, np.sqrt(variance)), binary


def _blocks(x: Array) -> list[slice]:
    chunk = max(1, _CHUNK_ELEMENTS // max(1, math.prod(x.shape[1:])))
    return blocks(len(x), chunk)
