"""Checks of every network: sizes at construction, shapes at each call. Only shapes are checked, never values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from pushforward.arguments import one_of
from pushforward.errors import UsageError

T = TypeVar("T")


def level_widths(width: int, number: int, most: int) -> list[int]:
    """Channels of so many levels, finest first: doubling, up to ``most`` times ``width``."""
    return [width * min(2**level, most) for level in range(number)]


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape of one image as a tuple of int: (channels, height, width).

    Raises:
        UsageError: The shape has another rank, or a side below 1.
    """
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or min(sides) < 1:
        raise UsageError(
            f"Shape {sides} is no image; expected (channels, height, width), each at least 1. "
            "For vectors of shape (d,) use an MLP."
        )
    return sides[0], sides[1], sides[2]


def vector_shape(shape: Sequence[int]) -> int:
    """The length d of one vector, from its shape (d,).

    Raises:
        UsageError: The shape has another rank, or d is below 1.
    """
    sides = tuple(int(side) for side in shape)
    if len(sides) != 1 or sides[0] < 1:
        raise UsageError(
            f"Shape {sides} is no vector; expected (d,) with d at least 1. "
            "For images of shape (channels, height, width) use a UNet, DiT, Generator, Critic, Encoder or Decoder."
        )
    return sides[0]


def check_input(x: Tensor, shape: tuple[int, ...], network: str) -> None:
    """Refuse a batch that is not (n, *shape), naming the network.

    Raises:
        UsageError: The shape differs.
    """
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        wanted = ", ".join(str(side) for side in ("n", *shape))
        raise UsageError(
            f"{network} got x of shape {tuple(x.shape)}; expected ({wanted}). "
            "Build the network for the shape of the data, or reshape x."
        )


def size_choice(size: str, choices: dict[str, T]) -> T:
    """The settings of one of the named sizes.

    Raises:
        UsageError: No such size.
    """
    return choices[one_of("size", size, choices)]


def stem_of(size: str, shape: Sequence[int], least: int) -> int:
    """The side of the patches that a network's first layer folds into channels, 1, 2, 4, ...: it then works on 16 to 32 pixels.

    Args:
        size: "tiny", "small" or "base"; base works on up to 32 pixels, the others on up to 16.
        shape: (channels, height, width) of one image.
        least: Images whose longer side is below this are not folded.

    Raises:
        UsageError: ``shape`` is no image.
    """
    side = max(image_shape(shape)[1:])
    stem = 1 if side < least else 2
    while side / stem > (32 if size == "base" else 16):
        stem *= 2
    return stem
