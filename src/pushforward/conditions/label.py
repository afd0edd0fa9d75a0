"""Class labels as a condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import Cells, ConditionKind, Shape, check_tensor
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.numbers import some

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Label(ConditionKind):
    """Class label: a value is the number of a class, int64.

    Args:
        names: Names of the classes, in the order of their numbers.
        frequencies: Fraction of each class in the training split; empty if values are not drawn.
        target: Name of the column used as the label (tables); empty for none.
    """

    names: tuple[str, ...]
    frequencies: tuple[float, ...] = ()
    target: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "frequencies", tuple(self.frequencies))
        if len(self.frequencies) not in (0, len(self.names)) or not self.names:
            raise DataError(
                f"A label needs at least one class and one frequency for each; got "
                f"{len(self.names)} classes and {len(self.frequencies)} frequencies."
            )

    @classmethod
    def of(cls, labels: NDArray[np.int64], names: Sequence[str], target: str = "") -> Label:
        """Build the label of training examples from their numbers (n,), with class frequencies."""
        shares = np.bincount(labels, minlength=len(names)) / len(labels)
        return cls(tuple(names), tuple(shares.tolist()), target)

    @classmethod
    def numbered(cls, classes: int) -> Label:
        """Build equally frequent classes with the names 0, 1, 2, ..."""
        return cls(tuple(map(str, range(classes))), (1 / max(1, classes),) * classes)

    @property
    def shape(self) -> Shape:
        return ()

    @property
    def channels(self) -> int:
        return len(self.names)

    def index(self, label: str | int) -> int:
        """Return the number of a class, given by name or number; a text is a name first."""
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        try:
            number = int(label)
        except ValueError:
            number = -1
        if 0 <= number < len(self.names):
            return number
        raise UsageError(
            f'There is no class "{label}".{did_you_mean(str(label), self.names)} Expected a number '
            f"from 0 to {len(self.names) - 1} or one of: {some(self.names, 12)}."
        )

    def read(self, request: Any) -> Tensor:
        import torch

        names = request
        if isinstance(names, str):
            names = self.index(names)
        elif isinstance(names, (list, tuple, np.ndarray)):
            names = [self.index(part) if isinstance(part, str) else part for part in names]
        try:
            label = torch.as_tensor(names)
            integers = not torch.is_floating_point(label) and not torch.is_complex(label)
        except (TypeError, ValueError, RuntimeError):
            integers = False
        if not integers or label.dim() > 1 or label.dtype == torch.bool or not self._has(label):
            raise UsageError(
                "A label must be a class name or an integer between 0 and "
                f"{len(self.names) - 1}, or a list with one of these per sample; got {request!r}."
            )
        return label

    def _has(self, label: Tensor) -> bool:
        return bool(((label >= 0) & (label < len(self.names))).all())

    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        import torch

        if not self.frequencies:
            raise UsageError(
                "These classes have no frequencies to draw labels from. Specify the label."
            )
        edges = torch.tensor(np.cumsum(self.frequencies)[:-1], dtype=torch.float32)
        return torch.bucketize(u.float(), edges, right=True)

    def bounds(self, labels: Tensor) -> Tensor:
        """Return where the training examples of labels begin and end; 0 and 1 if there are none."""
        import torch

        if not self.frequencies:
            return super().bounds(labels)
        shares = np.array(self.frequencies)
        ends = np.cumsum(shares) / sum(self.frequencies)
        table = np.stack([np.concatenate([[0.0], ends[:-1]]), ends], axis=1)
        table[shares == 0] = (0, 1)
        return torch.from_numpy(table)[labels.long()]

    def embedding(self, width: int) -> nn.Module:
        from pushforward.conditions.embeddings import LabelEmbedding

        return LabelEmbedding(len(self.names), width)

    def describe(self) -> str:
        return f"{len(self.names)} classes"

    def check(self, values: Tensor, n: int) -> None:
        check_tensor("labels", values, (n,), "integers")

    def blank(self, n: int, device: Any) -> Tensor:
        import torch

        return torch.zeros(n, dtype=torch.int64, device=device)

    def for_networks(self) -> Label:
        return replace(self, frequencies=(), target="")

    def as_channels(self, values: Tensor) -> Tensor:
        from torch.nn import functional as F

        return F.one_hot(values.long(), len(self.names))

    def cells(self, values: Tensor) -> Cells:
        return [{self.target or "label": self.names[number]} for number in values.tolist()]
