"""Data sets: a `Space`, training examples, a fixed held-out split, and batches by number.

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.data.core.arrays import from_arrays
    from pushforward.data.core.check import check
    from pushforward.data.core.dataset import Dataset, Split
    from pushforward.data.core.ground_truth import Truth
    from pushforward.data.core.load import dataset_of, listing, load, names
    from pushforward.data.core.named_set import Derived, Source, register
    from pushforward.data.core.real_data import real_data
    from pushforward.data.core.sampler import Batch, PreparedSampler, Sampler
    from pushforward.data.images.pack import pack
    from pushforward.data.readers.reader import DataOptions
    from pushforward.data.spaces import (
        ImageSpace,
        ScaledSpace,
        Space,
        TableSpace,
        VectorSpace,
        kinds,
        measure,
    )

__all__ = [
    "Batch",
    "DataOptions",
    "Dataset",
    "Derived",
    "ImageSpace",
    "PreparedSampler",
    "Sampler",
    "ScaledSpace",
    "Source",
    "Space",
    "Split",
    "TableSpace",
    "Truth",
    "VectorSpace",
    "check",
    "dataset_of",
    "from_arrays",
    "kinds",
    "listing",
    "load",
    "measure",
    "names",
    "pack",
    "real_data",
    "register",
]

__getattr__ = exports(
    __name__,
    {
        "core.arrays": ("from_arrays",),
        "core.check": ("check",),
        "core.dataset": ("Dataset", "Split"),
        "core.ground_truth": ("Truth",),
        "core.load": ("dataset_of", "listing", "load", "names"),
        "core.named_set": ("Derived", "Source", "register"),
        "core.real_data": ("real_data",),
        "readers.reader": ("DataOptions",),
        "core.sampler": ("Batch", "PreparedSampler", "Sampler"),
        "images.pack": ("pack",),
        "spaces": (
            "ImageSpace",
            "ScaledSpace",
            "Space",
            "TableSpace",
            "VectorSpace",
            "kinds",
            "measure",
        ),
    },
)
