"""The interface of a kind of data: its shape and units, how it is stored, drawn and written, and suitable networks."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.label import Label
from pushforward.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


# The files that samples which are pictures are written to.
PICTURE_FILES = {
    ".png": ".png (a grid)",
    "": "no ending (a folder of PNGs)",
    ".npz": ".npz",
    ".gif": ".gif (noise to data)",
}


class Space(ABC):
    """Where data of one kind lives and how it is scaled; it travels with every checkpoint.

    A kind of data is a frozen dataclass below this class. One that is defined in a plug-in file is found like those of the
    package: data is of the first kind that `accepts` it.

    Attributes:
        noun: One sample in a word, such as "image".
        shape: Shape of one sample.
        size: How many numbers one sample holds.
        conditions: Kinds of condition by name; "label" is a `Label` where examples have classes.
        low: Smallest possible values in data units; None where there is no bound.
        high: Largest possible values in data units; None exactly where ``low`` is None.
        columns: Names of the numbers of a sample, where they have names.
        integer: Which of them are whole numbers.
        binary: Whether every value is 0 or 1 in data units.
        levels: 256 for numbers i / 255, which are stored as uint8; None for numbers with a density.
        as_points: Whether samples are drawn as points of one plot, hence many of them, and not each as a picture.
        has_pixels: Whether a sample is one image (C, H, W) from 0 to 1, which image files hold and metrics of images compare.
        augmentations: Names of the changes of training examples that suit it (`pushforward.data.core.sampler.AUGMENTATIONS`).
    """

    noun: ClassVar[str]
    levels: ClassVar[int | None] = None
    as_points: ClassVar[bool] = True
    has_pixels: ClassVar[bool] = False
    augmentations: ClassVar[tuple[str, ...]] = ()

    shape: tuple[int, ...]
    conditions: Mapping[str, ConditionKind]
    binary: bool
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()

    # Arrays and units

    @classmethod
    @abstractmethod
    def accepts(cls, x: NDArray[Any]) -> bool:
        """Whether an array (n, *shape) holds data of this kind as a `Split` stores it."""

    @classmethod
    @abstractmethod
    def stores(cls) -> str:
        """The accepted arrays, in words."""

    @classmethod
    @abstractmethod
    def measured(cls, x: NDArray[Any], **names: Any) -> Self:
        """The space of a training split, its units measured.

        Args:
            x: An accepted array.
            names: Conditions, columns and the like, where there are such.
        """

    @abstractmethod
    def to_model(self, x: Tensor) -> Tensor:
        """Data to model units, float (n, *shape) on any device, in which the data has mean 0 and standard deviation 1."""

    @abstractmethod
    def to_data(self, u: Tensor) -> Tensor:
        """Model to data units, float (n, *shape) on any device, held to the bounds where there are such."""

    @abstractmethod
    def rounded(self, x: Tensor) -> Tensor:
        """Data units as a file would give them back, float32 (n, *shape)."""

    @abstractmethod
    def quantise(self, x: Tensor | NDArray[Any]) -> NDArray[Any]:
        """Data units (n, *shape) as files hold them."""

    @abstractmethod
    def unscaled(self, shape: tuple[int, ...]) -> Self:
        """A space of this kind and conditions for samples of another shape, whose data units are model units, without bounds."""

    def finished(self, x: Tensor, condition: Mapping[str, Tensor] | None, normal: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Samples in data units with what a model in float32 cannot say of them; by default as they are.

        Args:
            x: The samples, float32 (n, *shape) on the CPU.
            condition: What was given.
            normal: Standard normal numbers (n, *shape) of a shape.
        """
        return x

    @property
    def precision(self) -> torch.dtype:
        """The type of samples in data units: float32."""
        import torch

        return torch.float32

    @property
    @abstractmethod
    def size(self) -> int:
        """How many numbers one sample holds."""

    @property
    @abstractmethod
    def units(self) -> Mapping[str, tuple[float, ...]]:
        """Measured units of the data by name, such as "mean" and "std", in data units."""

    @property
    @abstractmethod
    def scale(self) -> NDArray[np.float32]:
        """The standard deviation of each number of a sample in data units, (size,)."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Smallest and largest value in model units, float32, shaped to broadcast over a batch; None without bounds."""

    @property
    @abstractmethod
    def log_det(self) -> float:
        """Logarithm of |det d(model units) / d(data units)| of a whole sample: log p(x) = log p(u) + log_det."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a table's columns, each of which may be several numbers of a sample; empty for other data."""
        return ()

    # What suits it

    @property
    def grid(self) -> tuple[int, ...]:
        """The sides over which two-dimensional convolutions run, (height, width); empty where none suit, hence for vectors."""
        return ()

    @property
    def memory_format(self) -> torch.memory_format:
        """How networks of it are laid out while they are trained."""
        import torch

        return torch.contiguous_format

    # Pictures and files

    def drawing(self, examples: NDArray[Any]) -> NDArray[Any]:
        """Samples as they are drawn.

        Args:
            examples: As `quantise` gives them.

        Returns:
            Pictures, uint8 (n, height, width, channels); points, float (n, d), exactly where ``as_points``.
        """
        return examples.reshape(len(examples), -1)

    @property
    def endings(self) -> Mapping[str, str]:
        """The endings of the files that samples are written to, each with its description."""
        return {".npz": ".npz"} if self.as_points else PICTURE_FILES

    def records(self, x: Tensor) -> list[list[Any]]:
        """The rows of a file for samples in data units: a cell for each of ``columns``, or of the numbers of a vector."""
        return [list(map(float, example)) for example in self.drawing(self.quantise(x))]

    def frame(self, x: Tensor) -> Any:
        """Samples in data units as a data frame of their table; None where they are no rows of one, or pandas is not there."""
        return None

    def valid(self, x: Tensor) -> NDArray[np.bool_] | None:
        """Which samples in data units meet the constraints of the data, (n,); None where there are none."""
        return None

    # Conditions

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
    def frequencies(self) -> tuple[float, ...]:
        """Share of each class in the training split; empty without labels."""
        return () if self.label is None else self.label.frequencies

    def label_index(self, label: str | int) -> int:
        """The number of a class, see `Label.index`.

        Raises:
            UsageError: no such class, or no labels at all.
        """
        if self.label is None:
            raise UsageError(f'There is no label "{label}": there were no labels in training. {self._without_label(label)}')
        return self.label.index(label)

    def _without_label(self, label: str | int) -> str:
        return "Leave the label out."

    def with_conditions(self, conditions: Mapping[str, ConditionKind] | None = None) -> Self:
        """This space with other conditions, or without any."""
        return dataclasses.replace(self, conditions=conditions or {})  # type: ignore[type-var]

    def without_labels(self) -> Self:
        """This space without its classes."""
        return self.with_conditions({name: kind for name, kind in self.conditions.items() if name != "label"})
