"""Data: a `Space`, its samples with a fixed held-out split, and batches that are functions of their number."""

from pushforward.data.dataset import Dataset, Split
from pushforward.data.sampler import Batch, PreparedSampler, Sampler
from pushforward.data.sources import check, listing, load, names
from pushforward.data.space import Space

__all__ = ["Batch", "Dataset", "PreparedSampler", "Sampler", "Space", "Split", "check", "listing", "load", "names"]
