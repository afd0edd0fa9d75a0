"""Data: a `Space`, its samples with a fixed held-out split, and batches that are functions of their number.

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward.data.checking import check
    from pushforward.data.dataset import Dataset, Split
    from pushforward.data.memory import dataset_of, from_arrays
    from pushforward.data.packing import pack
    from pushforward.data.reading import Reading
    from pushforward.data.sampler import Batch, PreparedSampler, Sampler
    from pushforward.data.source import Derived, Source, register
    from pushforward.data.sources import listing, load, names
    from pushforward.data.spaces import ImageSpace, ScaledSpace, Space, TableSpace, VectorSpace, kinds, measure
    from pushforward.data.truth import Truth

__all__ = [
    "Batch",
    "Dataset",
    "Derived",
    "ImageSpace",
    "PreparedSampler",
    "Reading",
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
    "register",
]

__getattr__ = exports(
    __name__,
    {
        "dataset": ("Dataset", "Split"),
        "memory": ("dataset_of", "from_arrays"),
        "sampler": ("Batch", "PreparedSampler", "Sampler"),
        "checking": ("check",),
        "packing": ("pack",),
        "reading": ("Reading",),
        "source": ("Derived", "Source", "register"),
        "sources": ("listing", "load", "names"),
        "spaces": ("ImageSpace", "ScaledSpace", "Space", "TableSpace", "VectorSpace", "kinds", "measure"),
        "truth": ("Truth",),
    },
)
