"""Samples that can be looked at: a tensor of data that knows its space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.transports import ConditionLike, Transport
from pushforward.transports.rejection import counted

if TYPE_CHECKING:
    from PIL import Image


LARGEST_GRID = 256
"""The most images of one picture; the rest is left out."""


class Samples(Tensor):
    """Data (n, *shape) in data units. Arithmetic gives plain tensors; a slice of whole samples stays `Samples`."""

    space: Space
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def of(x: Tensor, space: Space) -> Samples:
        """The tensor as samples of a space; it is not copied."""
        samples = x.as_subclass(Samples)
        samples.space = space
        return samples

    def __getitem__(self, where: Any) -> Tensor:
        part = super().__getitem__(where)
        whole = tuple(part.shape[1:]) == tuple(self.space.shape) and part.dim() == self.dim()
        return Samples.of(part, self.space) if whole else part

    def to_pil(self, columns: int | None = None, *, zoom: int | None = None) -> Image.Image:
        """A picture: a grid of images, or a scatter plot of vectors of two numbers, with axes.

        Args:
            columns: Images in a row; None makes the grid about square.
            zoom: How many times every pixel is enlarged; None enlarges small images to about 64 pixels.

        Raises:
            UsageError: If there are no samples, or they are vectors of another length.
        """
        from pushforward.pictures import columns_picture, grid_picture, legible

        if not len(self):
            raise UsageError("There are no samples to draw: n is 0.")
        values = self.space.quantise(self.as_subclass(Tensor)[:LARGEST_GRID])
        if not self.space.as_points:
            pictures = self.space.drawing(values)
            return grid_picture(pictures, columns, scale=zoom or legible(pictures))
        if tuple(self.space.shape) != (2,):
            raise UsageError(
                f"Vectors of {self.space.shape[0]} numbers have no picture; only images and vectors of 2 numbers are drawn."
            )
        return columns_picture(self.numpy(), self.space)

    def show(self) -> None:
        """Show the picture of `to_pil`: below the cell in a notebook, else in the system's image viewer."""
        from pushforward.notebooks import display, in_notebook

        picture = self.to_pil()
        if in_notebook():
            display(picture)
        else:
            picture.show()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        shape = "x".join(map(str, self.space.shape))
        return f"Samples({len(self)} of {shape}, {self.space.noun}s in data units)"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuilt, (self.as_subclass(Tensor), self.space)

    def _repr_png_(self) -> bytes | None:
        import io

        if not len(self) or (self.space.as_points and tuple(self.space.shape) != (2,)):
            return None
        file = io.BytesIO()
        self.to_pil().save(file, format="PNG")
        return file.getvalue()


def drawn_from(transport: Transport, n: int, condition: ConditionLike, *, seed: int, batch: int) -> Any:
    """New samples as a person takes them: `Samples`, or of a table a data frame where pandas is installed.

    A model of a polars frame returns polars frames. A pandas frame's ``attrs["drawn_again"]`` is the share of draws that broke a
    constraint and were drawn again.

    Args:
        transport: The model.
        n: How many.
        condition: As `Transport.sample` takes it.
        seed: The seed of the first sample.
        batch: Examples computed at a time.

    Raises:
        Diverged: For samples that break a constraint of the data still.
    """
    with counted() as tally:
        x = transport.sample(n, condition, seed=seed, batch=batch)
    frame = transport.space.frame(x)
    if frame is None:
        return Samples.of(x, transport.space)
    if hasattr(frame, "attrs"):
        frame.attrs["drawn_again"] = tally.share
    return frame


def _rebuilt(x: Tensor, space: Space) -> Samples:
    return Samples.of(x, space)
