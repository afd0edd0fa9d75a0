"""Checks of every network: sizes at construction, shapes at each call. Only shapes are checked, never values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from pushforward.errors import UsageError, did_you_mean

__all__ = ["check_input", "count", "image_shape", "positive", "size_choice", "stem_of", "vector_shape"]

T = TypeVar("T")


def positive(**sizes: int) -> None:
    """Refuse sizes below one.

    Args:
        **sizes: Named whole numbers, each expected to be at least 1.

    Raises:
        UsageError: One of them is not a whole number, or is below 1.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(f"{name} is {size!r}; expected a whole number of at least 1.")


def count(**sizes: int) -> None:
    """Refuse sizes below zero (``times`` may be 0: none).

    Args:
        **sizes: Named whole numbers, each expected to be at least 0.

    Raises:
        UsageError: One of them is not a whole number, or is negative.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UsageError(f"{name} is {size!r}; expected a whole number of at least 0.")


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Read the shape of one image.

    Args:
        shape: (channels, height, width), each at least 1.

    Returns:
        The same three numbers as a tuple of int.

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
    """Read the length of one vector.

    Args:
        shape: (d,) with d at least 1.

    Returns:
        d.

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
    """Refuse a batch whose examples do not have the shape that the network was built for.

    Args:
        x: The batch, expected to be (n, *shape).
        shape: Shape of one example.
        network: Name for the message.

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
    """Look up one of the named sizes.

    Args:
        size: "tiny", "small" or "base".
        choices: The settings of each size.

    Returns:
        The entry of ``choices``.

    Raises:
        UsageError: No such size.
    """
    if size not in choices:
        raise UsageError(f'There is no size "{size}"; choose one of {", ".join(choices)}.{did_you_mean(size, choices)}')
    return choices[size]


def stem_of(size: str, shape: Sequence[int], least: int) -> int:
    """The side of the patches that a network's first layer folds into channels, so that it works on 16 to 32 pixels.

    Args:
        size: "tiny", "small" or "base"; base works on up to 32 pixels, the others on up to 16.
        shape: (channels, height, width) of one image.
        least: Images whose longer side is below this are not folded.

    Returns:
        1, 2, 4, ...

    Raises:
        UsageError: ``shape`` is no image.
    """
    side = max(image_shape(shape)[1:])
    stem = 1 if side < least else 2
    while side / stem > (32 if size == "base" else 16):
        stem *= 2
    return stem
