"""Interface of kinds of data, and the choice of a kind for an array."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pushforward import spec
from pushforward.conditions.kind import Kinds, Shape
from pushforward.conditions.label import Label
from pushforward.data.core.hashes import Array, Floats, Mask
from pushforward.errors import DataError, UsageError
from pushforward.registries import SPACES, at

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn


# The files that samples which are pictures are written to.
PICTURE_FILES = {
    ".png": ".png (a grid)",
    "": "none (a folder of PNGs)",
    ".npz": ".npz",
    ".gif": ".gif (noise to data)",
}
REDRAWS = 20
# Samples in data units, and their exact values if they have any (see `Encoder.values`)
Samples = tuple[Array, Floats | None]


class Space(ABC):
    """Kind of data with its shape, units and conditions; stored in every checkpoint.

    A kind of data is a frozen dataclass derived from this class. Kinds defined in a plugin are
    registered like those of the package; the first kind that `accepts` an array is used.

    Attributes:
        noun: Name of one sample, such as "image".
        shape: Shape of one sample.
        size: Number of dimensions of one sample.
        conditions: Kinds of condition by name; "label" is a `Label` if examples have classes.
        low: Smallest possible values in data units; None without bounds.
        high: Largest possible values in data units; None if ``low`` is None.
        columns: Names of the dimensions, if they have names.
        integer: Indices of dimensions that are integers.
        binary: Whether every value is 0 or 1 in data units.
        levels: Number of levels, 256 for values i / 255 stored as uint8; None for values with a
            density.
        as_points: Whether many samples are drawn as points of one plot, instead of one picture per
            sample.
        has_pixels: Whether a sample is one image (C, H, W) from 0 to 1, which image files and image
            metrics support.
        augmentations: Names of suitable augmentations (`pushforward.data.Sampler`).
        recipes: Recipes of this kind of data by the name of the general recipe that they replace,
            each as "module:function" below `pushforward`.
        baselines: Function from a data set to samplers without a network by name, the main one
            first, as "module:function".
        no_density: Sentence on data without a density, after "does not support"; empty for data
            that has one.
        repeats: Whether equal examples are common.
        left_out: Names of columns of the file that the model does not learn.
        missing_texts: Text of a missing value in each column of the file.
        export_scripts: Scripts that an export of a model contains, as paths in the package.
    """

    noun: ClassVar[str]
    levels: ClassVar[int | None] = None
    as_points: ClassVar[bool] = True
    has_pixels: ClassVar[bool] = False
    augmentations: ClassVar[tuple[str, ...]] = ()
    recipes: ClassVar[Mapping[str, str]] = {}
    baselines: ClassVar[str] = "evaluation.baselines:baselines"
    no_density: ClassVar[str] = ""
    repeats: ClassVar[bool] = False
    left_out: tuple[str, ...] = ()
    missing_texts: tuple[str, ...] = ()
    export_scripts: ClassVar[tuple[str, ...]] = ()

    shape: Shape
    conditions: Kinds
    binary: bool
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()

    # Arrays and units

    @classmethod
    @abstractmethod
    def accepts(cls, x: Array) -> bool:
        """Return whether an array (n, *shape) contains stored examples of this kind."""

    @classmethod
    @abstractmethod
    def stores(cls) -> str:
        """Describe the accepted arrays."""

    @classmethod
    @abstractmethod
    def measured(cls, x: Array, **names: Any) -> Self:
        """Build the space of a training split from measured units.

        Args:
            x: An accepted array.
            names: Further attributes, such as conditions and column names.
        """

    @abstractmethod
    def to_model(self, x: Tensor) -> Tensor:
        """Convert data units to model units, float."""

    @abstractmethod
    def to_data(self, u: Tensor) -> Tensor:
        """Convert model units to data units, float."""

    @abstractmethod
    def rounded(self, x: Tensor) -> Tensor:
        """Round data units to the precision of files, float32 (n, *shape)."""

    @abstractmethod
    def quantise(self, x: Tensor | Array) -> Array:
        """Convert data units (n, *shape) to stored values."""

    @abstractmethod
    def unscaled(self, shape: Shape) -> Self:
        """Return a space of this kind for another shape, without scaling or bounds."""

    def finished(
        self,
        x: Tensor,
        condition: Mapping[str, Tensor] | None,
        normal: Callable[[Shape], Tensor],
    ) -> Tensor:
        """Complete samples in data units with digits that a float32 model cannot generate.

        By default unchanged.

        Args:
            x: Samples float32 (n, *shape) on the CPU.
            condition: Conditions of the samples.
            normal: Function that returns standard normal numbers (n, *shape) for a shape.
        """
        return x

    @property
    def precision(self) -> torch.dtype:
        """Dtype of samples in data units: float32."""
        import torch

        return torch.float32

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of dimensions of one sample."""

    @property
    @abstractmethod
    def units(self) -> Mapping[str, tuple[float, ...]]:
        """Measured units by name, such as "mean" and "std", in data units."""

    @property
    @abstractmethod
    def scale(self) -> Array:
        """Standard deviation of each dimension in data units, (size,)."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Smallest and largest value in model units, broadcasting over a batch; or None."""

    @property
    @abstractmethod
    def log_det(self) -> float:
        """Log determinant of d(model units) / d(data units) of a whole sample.

        Log p(x) = log p(u) + log_det.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a table's columns, each with one or more dimensions; empty for other data."""
        return ()

    # What suits it

    @property
    def continuous(self) -> tuple[int, ...] | None:
        """Dimensions with continuous values; None if all are."""
        return None

    def generator(self, network: nn.Module, latent: int) -> tuple[nn.Module, int]:
        """Complete the generator of a GAN, which takes noise of length ``latent``.

        Returns it and the length of its noise.
        """
        return network, latent

    @property
    def likelihood(self) -> str:
        """Name of the suitable likelihood of decoders (`pushforward.methods.likelihoods`)."""
        if self.binary:
            return "bernoulli"
        return "gaussian"

    @property
    def grid(self) -> Shape:
        """Height and width for two-dimensional convolutions.

        Empty for data without a grid, such as vectors.
        """
        return ()

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of networks during training."""
        import torch

        return torch.contiguous_format

    # Evaluation

    def encoder(self, data: Any) -> Any:
        """Return the `Encoder` of a data set of this kind."""
        return at("data.core.encoder:Encoder")(data)

    def features(self, labelled: bool, known: bool) -> str:
        """Name of the features that samples are compared in by default (`pushforward.extractors`).

        Args:
            labelled: Whether examples have labels of two or more classes.
            known: Whether the distribution of the data is known.
        """
        if self.as_points and (self.size <= 3 or known):
            return "raw"
        if labelled:
            return "classifier"
        return "pca"

    @property
    def redraws(self) -> int:
        """Usual number of draws of real-data scores."""
        return REDRAWS

    def samples_needed(self, n: int, training: int) -> int:
        """Number of samples to draw if n are compared and there are some training examples."""
        return n

    def recoded(self, x: Tensor, space: Space) -> tuple[Tensor, Floats | None]:
        """Convert samples of a model of this space to another space of the same shape.

        Args:
            x: Samples in data units, (n, *shape).
            space: Space of the data.

        Returns:
            Samples, and their exact values if they changed, as of `Encoder.values`.
        """
        return x, None

    def difference(self, data: Space) -> str:
        """Describe why a model of this space does not fit data of another space.

        Empty if it is the shape.
        """
        return ""

    def constraint_warnings(self, data: Space) -> tuple[str, ...]:
        """Describe constraints that only a model of this space, or only the data, has."""
        return ()

    def read(self, path: Path) -> Samples | None:
        """Read samples from a file in a format of this kind of data; None for other formats."""
        return None

    def read_frame(self, frame: Any) -> Samples | None:
        """Read samples from a data frame; None if it has other columns."""
        if list(frame.columns) != list(self.columns):
            return None
        return frame.to_numpy(), None

    def notes(self, values: Floats, name: str) -> list[str]:
        """Describe exact values of samples that the data set called ``name`` does not have."""
        return []

    # Pictures and files

    def drawing(self, examples: Array) -> Array:
        """Convert samples to a form that can be drawn.

        Args:
            examples: Samples as returned by `quantise`.

        Returns:
            Pictures, uint8 (n, height, width, channels); points, float (n, d), exactly where
            ``as_points``.
        """
        return examples.reshape(len(examples), -1)

    @property
    def endings(self) -> Mapping[str, str]:
        """Extensions of the files that samples can be written to, with descriptions."""
        if self.as_points:
            return {".npz": ".npz"}
        return PICTURE_FILES

    @property
    def writers(self) -> Mapping[str, str]:
        """Writers of files of this kind of data only, as "module:function", by extension."""
        return {}

    def check_file(self, path: Path) -> None:
        """Raise an error if a file cannot be written because a package is not installed."""
        return None

    def export_layout(self) -> dict[str, Any]:
        """Describe how the output of an exported model becomes the content of a file.

        Returns:
            "columns", "table" (format of the file) and "units" (None if scripts do not need them).
        """
        units = None
        if self.as_points:
            units = {name: list(values) for name, values in self.units.items()}
        return {"columns": list(self.columns), "table": {}, "units": units}

    def records(self, x: Tensor) -> list[list[Any]]:
        """Convert samples in data units to rows of cells."""
        return [list(map(float, example)) for example in self.drawing(self.quantise(x))]

    def frame(self, x: Tensor, fill: Mapping[str, str] | None = None) -> Any:
        """Convert samples in data units to a data frame.

        None if they are not rows of a table or pandas is not installed.

        Args:
            x: Samples.
            fill: Values of columns that the model does not learn, as for
                `pushforward.samples.write_samples`.
        """
        return None

    def valid(self, x: Tensor) -> Mask | None:
        """Return which samples in data units meet the constraints of the data, (n,).

        None without constraints.
        """
        return None

    # Conditions

    @property
    def label(self) -> Label | None:
        label = self.conditions.get("label")
        if isinstance(label, Label):
            return label
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the class numbers; empty without labels."""
        if self.label is None:
            return ()
        return self.label.names

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Fraction of each class in the training split; empty without labels."""
        if self.label is None:
            return ()
        return self.label.frequencies

    def label_index(self, label: str | int) -> int:
        if self.label is None:
            raise UsageError(
                f'There is no label "{label}", because the model was trained without labels. '
                "Leave it out. Models trained with flow, ddpm or edm on a table accept values of "
                "any columns: `given=COLUMN=VALUE`."
            )
        return self.label.index(label)

    def with_conditions(self, conditions: Kinds | None = None) -> Self:
        return dataclasses.replace(self, conditions=conditions or {})  # type: ignore[type-var]

    def without_labels(self) -> Self:
        return self.with_conditions(
            {name: kind for name, kind in self.conditions.items() if name != "label"}
        )


def kinds() -> tuple[type[Space], ...]:
    """Return all kinds of data, in the order in which `accepts` is called."""
    return (*map(at, SPACES), *spec.plugins(Space))


def kind_of(x: Array) -> type[Space]:
    """Return the first kind of data that accepts an array (n, *shape).

    Raises:
        DataError: If none does.
    """
    for kind in kinds():
        if kind.accepts(x):
            return kind
    known = ", or ".join(kind.stores() for kind in kinds())
    raise DataError(
        f"No kind of data accepts examples with shape {x.shape} and dtype {x.dtype}: expected "
        f"{known}."
    )


def measure(
    x: Array,
    conditions: Kinds | None = None,
    *,
    columns: Sequence[str] = (),
    integer: Sequence[int] = (),
) -> Space:
    """Measure a space on a training split.

    Args:
        x: Images uint8 (n, C, H, W) with 255 for 1, vectors float32 (n, d), or any array that a
            plugin's space accepts.
        conditions: Kinds of condition by name.
        columns: Column names.
        integer: Indices of integer columns.

    Returns:
        The space, of the first kind that accepts the array; the standard deviation is the
        population's (divided by n).

    Raises:
        DataError: If no kind of data accepts the array.
    """
    names: dict[str, Any] = {"columns": tuple(columns)} if columns else {}
    names |= {"integer": tuple(integer)} if integer else {}
    return kind_of(x).measured(x, conditions=conditions or {}, **names)
