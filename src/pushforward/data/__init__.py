"""Data: a `Space`, its samples with a fixed held-out split, and batches that are functions of their number.

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward.data.dataset import Dataset, Split
    from pushforward.data.memory import dataset_of, from_arrays
    from pushforward.data.sampler import Batch, PreparedSampler, Sampler
    from pushforward.data.sources import check, listing, load, names
    from pushforward.data.spaces import ImageSpace, ScaledSpace, Space, VectorSpace, kinds, measure

__all__ = [
    "Batch",
    "Dataset",
    "ImageSpace",
    "PreparedSampler",
    "Sampler",
    "ScaledSpace",
    "Space",
    "Split",
    "VectorSpace",
    "check",
    "dataset_of",
    "from_arrays",
    "kinds",
    "listing",
    "load",
    "measure",
    "names",
]

__getattr__ = exports(
    __name__,
    {
        "dataset": ("Dataset", "Split"),
        "memory": ("dataset_of", "from_arrays"),
        "sampler": ("Batch", "PreparedSampler", "Sampler"),
        "sources": ("check", "listing", "load", "names"),
        "spaces": ("ImageSpace", "ScaledSpace", "Space", "VectorSpace", "kinds", "measure"),
    },
)
