"""Kinds of data, each a class in a file of its own, registered by `pushforward.data.spaces.space`.

`Space` is the interface of all kinds; `ScaledSpace` is the base class of kinds with model units u =
(x - mean) / std.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
