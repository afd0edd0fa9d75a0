"""Kinds of data, each a class in a file of its own, registered by `pushforward.data.spaces.space`.

`Space` is the interface of all kinds; `ScaledSpace` is the base class of kinds with model units u =
(x - mean) / std.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.data.spaces.image import ImageSpace
    from pushforward.data.spaces.space import Space, kinds, measure
    from pushforward.data.spaces.vector import ScaledSpace, VectorSpace
    from pushforward.tables.space import TableSpace

__all__ = ["ImageSpace", "ScaledSpace", "Space", "TableSpace", "VectorSpace", "kinds", "measure"]

__getattr__ = exports(
    __name__,
    {
        "image": ("ImageSpace",),
        "space": ("kinds", "measure", "Space"),
        "..tables.space": ("TableSpace",),
        "vector": ("ScaledSpace", "VectorSpace"),
    },
)
