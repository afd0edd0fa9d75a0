"""The data contract: shape, units, bounds and names of what a model moves noise onto.

Model units are u = (x - mean) / std, one pair per channel (images) or per column (vectors), so that the data has mean
0 and standard deviation 1 everywhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind, checked
from pushforward.conditions.label import Label
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Space"]

_CHUNK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Space:
    """Where data lives and how it is scaled; it travels with every checkpoint.

    Args:
        shape: shape of one sample, (d,) for vectors or (C, H, W) for images.
        mean: mean in data units, per column or per channel.
        std: standard deviation in data units, per column or per channel, above 0 (constant ones get 1).
        low: smallest possible value in data units, per column or per channel; None where there is no bound.
        high: largest possible value in data units; None exactly where ``low`` is None.
        conditions: what models may be asked for, by name; "label" is a `Label` where examples have classes.
        columns: names of the columns (vectors from a table).
        integer: numbers of the columns that hold whole numbers.
        binary: whether every value is 0 or 1 in data units.

    Raises:
        UsageError: a condition whose name or kind cannot be.
        DataError: lengths that do not fit the shape, or a standard deviation that is not positive.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    conditions: Mapping[str, ConditionKind] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()
    binary: bool = False

    def __post_init__(self) -> None:
        """Turn lists (JSON has no tuples) into tuples of plain values, and check that they fit one another."""
        numbers = {"shape": int, "mean": float, "std": float, "low": float, "high": float}
        for name, kind in {**numbers, "columns": str, "integer": int}.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(kind(v) for v in value))
        object.__setattr__(self, "binary", bool(self.binary))
        object.__setattr__(self, "conditions", checked(self.conditions))
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise DataError(f"A sample of shape {self.shape} is not supported: expected (d,) or (channels, height, width).")
        for name in ("mean", "std", "low", "high"):
            value = getattr(self, name)
            if value is not None and len(value) != self.shape[0]:
                raise DataError(f"{name} has {len(value)} values, expected {self.shape[0]}: one per column or channel.")
        if not all(math.isfinite(m) for m in self.mean) or not all(math.isfinite(s) and s > 0 for s in self.std):
            raise DataError("mean must be finite and std finite and above 0 (constant columns get std 1).")
        if (self.low is None) != (self.high is None):
            raise DataError("low and high belong together: give both or neither.")
        if self.columns and len(self.columns) != self.shape[0]:
            raise DataError(f"{len(self.columns)} column names for {self.shape[0]} columns.")

    @property
    def kind(self) -> str:
        """``"image"`` or ``"vector"``."""
        return "image" if len(self.shape) == 3 else "vector"

    @property
    def label(self) -> Label | None:
        """The classes of examples; None without labels."""
        label = self.conditions.get("label")
        return label if isinstance(label, Label) else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers; empty without labels."""
        return () if self.label is None else self.label.names

    @property
    def size(self) -> int:
        """How many numbers one sample holds."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Smallest and largest value in model units, float32, shaped to broadcast over a batch; None without bounds."""
        if self.low is None or self.high is None:
            return None
        import torch

        low, high = torch.tensor(self.low), torch.tensor(self.high)
        view = self._view()
        return self.to_model(low.view(view)), self.to_model(high.view(view))

    @property
    def log_det(self) -> float:
        """Logarithm of |det d(model units) / d(data units)| of a whole sample: minus the sum of log std.

        ``log p(x) = log p(u) + log_det`` for densities in data and in model units.
        """
        return -sum(math.log(s) for s in self.std) * (self.size // self.shape[0])

    def to_model(self, x: Tensor) -> Tensor:
        """Data to model units, u = (x - mean) / std.

        Args:
            x: data units, float (n, *shape), any device.

        Returns:
            Model units, same shape, dtype and device.
        """
        mean, std = self._scale(x)
        return (x - mean) / std

    def to_data(self, u: Tensor) -> Tensor:
        """Model to data units, x = mean + std u, clamped to ``low`` and ``high`` where there are such.

        Args:
            u: model units, float (n, *shape), any device.

        Returns:
            Data units, same shape, dtype and device.
        """
        mean, std = self._scale(u)
        x = mean + std * u
        if self.low is None or self.high is None:
            return x
        import torch

        low, high = (torch.tensor(end, dtype=x.dtype, device=x.device).view(self._view()) for end in (self.low, self.high))
        return x.clamp(low, high)

    def quantise(self, x: Tensor | NDArray[Any]) -> NDArray[Any]:
        """Data units as files hold them.

        Args:
            x: data units, (n, *shape).

        Returns:
            Images: uint8 (n, H, W, C), x times 255 rounded. Vectors: float32 (n, d), whole-number columns rounded.
        """
        import torch

        values = x.detach().to("cpu", torch.float32).numpy() if isinstance(x, torch.Tensor) else np.asarray(x, dtype=np.float32)
        if self.kind == "image":
            pixels = np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)
            return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        rounded = values.copy()
        if self.integer:
            rounded[:, self.integer] = np.rint(rounded[:, self.integer])
        return rounded

    def label_index(self, label: str | int) -> int:
        """The number of a class, see `Label.index`.

        Raises:
            UsageError: no such class, or no labels at all.
        """
        if self.label is None:
            raise UsageError(f'There is no label "{label}": this data has no labels. Leave the label out.')
        return self.label.index(label)

    def with_conditions(self, conditions: Mapping[str, ConditionKind] | None = None) -> Space:
        """This space with other conditions, or without any."""
        return dataclasses.replace(self, conditions=conditions or {})

    def with_labels(self, labels: bool = True) -> Space:
        """This space unchanged (True), or without its classes (False)."""
        return self if labels else self.with_conditions({k: v for k, v in self.conditions.items() if k != "label"})

    @classmethod
    def measure(
        cls,
        x: NDArray[Any],
        conditions: Mapping[str, ConditionKind] | None = None,
        *,
        columns: Sequence[str] = (),
        integer: Sequence[int] = (),
    ) -> Space:
        """Measure a space on a training split, block by block, so that no float copy of the whole is made.

        Args:
            x: images uint8 (n, C, H, W), where 255 means 1, or vectors float (n, d).
            conditions: what models may be asked for, by name.
            columns: column names.
            integer: numbers of the whole-number columns.

        Returns:
            The space; the standard deviation is the population's (divided by n).
        """
        if x.dtype == np.uint8:
            mean, std, binary = _pixel_statistics(x)
        else:
            mean, std, binary = _column_statistics(x)
        std = np.where(std > 0, std, 1.0)
        image = x.ndim == 4
        return cls(
            shape=x.shape[1:],
            mean=tuple(mean),
            std=tuple(std),
            low=(0.0,) * x.shape[1] if image else None,
            high=(1.0,) * x.shape[1] if image else None,
            conditions=conditions or {},
            columns=tuple(columns),
            integer=tuple(integer),
            binary=binary,
        )

    def _view(self) -> tuple[int, ...]:
        return (1, -1) + (1,) * (len(self.shape) - 1)

    def _scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        view = self._view()
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device).view(view)
        return mean, torch.tensor(self.std, dtype=x.dtype, device=x.device).view(view)


def _blocks(x: NDArray[Any]) -> list[slice]:
    rows = max(1, _CHUNK_ELEMENTS // max(1, math.prod(x.shape[1:])))
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def _pixel_statistics(x: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Exact mean and std from a histogram of the 256 values per channel, and whether only 0 and 255 occur."""
    counts = np.zeros((x.shape[1], 256), dtype=np.int64)
    for block in _blocks(x):
        for channel in range(x.shape[1]):
            counts[channel] += np.bincount(x[block, channel].ravel(), minlength=256)
    values, total = np.arange(256) / 255, counts.sum(1, keepdims=True)
    mean = (counts * values).sum(1) / total[:, 0]
    variance = (counts * (values - mean[:, None]) ** 2).sum(1) / total[:, 0]
    variance[(counts > 0).sum(1) == 1] = 0.0
    used = np.flatnonzero(counts.sum(0))
    return mean, np.sqrt(variance), used.tolist() == [0, 255]


def _column_statistics(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Mean, then the squared deviations from it, both in float64, and whether only 0 and 1 occur."""
    axes = (0, *range(2, x.ndim))
    entries = x.size // x.shape[1]
    mean = sum(np.sum(x[b], axis=axes, dtype=np.float64) for b in _blocks(x)) / entries
    centre = mean.reshape((1, -1) + (1,) * (x.ndim - 2))
    variance = sum(np.sum((x[b].astype(np.float64) - centre) ** 2, axis=axes) for b in _blocks(x)) / entries
    constant = np.ptp(x, axis=axes) == 0
    binary = all(bool(np.isin(x[b], (0, 1)).all()) for b in _blocks(x)) and not bool(constant.all())
    return mean, np.where(constant, 0.0, np.sqrt(variance)), binary
