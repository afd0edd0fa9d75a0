"""Conversion of examples to arrays that metrics compare."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pushforward.conditions.kind import Shape
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Array, Floats, Integers
from pushforward.data.images.image_store import without

if TYPE_CHECKING:
    from torch import Tensor


class Encoder:
    """Converter from examples to flat arrays for distances, float32 (n, d), in data units.

    Kinds of data with another representation override `of` and `at`, and those with further inputs
    of metrics `of_samples` and `of_real`.

    Args:
        data: Data set.

    Attributes:
        representation: Description of arrays that are not the examples themselves; change it with
            them, so that scores are not compared.
        scale: Divisor of each column for distances, (d,); None for arrays that are standardised.
    """

    representation: ClassVar[str] = ""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.scale: Array | None = data.space.scale

    @property
    def digest(self) -> str:
        """Hash of the content that scores depend on and features do not.

        Empty without such content.
        """
        return ""

    @property
    def shape(self) -> Shape:
        """Shape of one example."""
        return tuple(self.data.space.shape)

    @cached_property
    def training(self) -> Array:
        """All training examples; images as stored, in uint8."""
        train = self.data.train
        return train.x.reshape(len(train), -1)

    def values(self, x: Tensor) -> Floats | None:
        """Exact values of examples in data units, (n, columns).

        None if examples in data units are already exact.
        """
        return None

    def of(self, x: Tensor, values: Floats | None = None) -> Array:
        """Convert examples in data units, (n, *shape), or their exact values, if they are known."""
        return x.flatten(1).numpy()

    def at(self, split: Split, index: Any) -> Array:
        """Convert the examples of a split at some indices."""
        return self.of(split.data_units(index))

    def of_samples(
        self,
        x: Tensor,
        n: int,
        reference: Integers,
        values: Floats | None = None,
        learned: Any = None,
    ) -> dict[str, Any]:
        """Build the arguments of `pushforward.metrics.Samples` that come from examples of a model.

        Args:
            x: Samples in data units, (n or more, *shape).
            n: Number of samples to compare.
            reference: Indices of held-out examples.
            values: Exact values of the samples, if they are known.
            learned: Samples from which a predictor may learn; None for ``x``.
        """
        held_out = self.at(self.data.held_out, reference)
        return {"generated": self.of(x[:n]), "reference": held_out, "training": self.training}

    def of_real(self, split: Split, picked: Integers, reference: Integers) -> dict[str, Any]:
        """Build the arguments of `pushforward.metrics.Samples` for real examples.

        Args:
            split: Split that the examples are from.
            picked: Indices of the examples; those of the training split do not count as training
                examples.
            reference: Indices of held-out examples.
        """
        training = self.training
        if split is self.data.train:
            training = without(training, picked)
        return {
            "generated": self.at(split, picked),
            "reference": self.at(self.data.held_out, reference),
            "training": training,
        }
