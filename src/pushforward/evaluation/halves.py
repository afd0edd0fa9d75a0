"""Which training examples the features are fitted on, and from which ones the floors are drawn.

Features that were fitted on an example see it otherwise than a new one: a classifier pulls its own training examples to the
centre of their class. A floor of such examples is not what a perfect model scores, whose samples are new to the classifier. So
features are fitted on one half of the training examples, and floors are drawn from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.dataset import Dataset
from pushforward.data.core.ground_truth import Stack
from pushforward.data.core.keys import mix
from pushforward.evaluation.rows import is_table
from pushforward.extractors.labels import labelled

__all__ = ["Halves", "Kind", "halves", "kind_of"]

Kind = Literal["raw", "classifier", "pca"]

_KEY = 0xF1_7ED
COLUMNS = 1024
"""Coordinates of a table that are compared as they are, at most: as many as the features "raw" take."""


@dataclass(frozen=True)
class Halves:
    """Examples of a training split, by number; of stacked images, examples of the images that are stacked.

    Args:
        fitted: What features are fitted on, int64, sorted.
        drawn: What floors are drawn from, int64, sorted; it shares no example with ``fitted``, except where ``halves`` says so.
    """

    fitted: NDArray[np.int64]
    drawn: NDArray[np.int64]


def halves(dataset: Dataset, learned: bool = False) -> Halves:
    """Split the training examples in two halves by a hash of their content; copies that are kept together fall on one side.

    The half for the features holds at least one example of each class, as far as there is room. Raw features (toys) have nothing
    to overfit: only their centre and one scale are measured. There both parts are all examples.

    Args:
        dataset: The data.
        learned: Whether features are learned that suit it less than raw ones would: a toy is then split as well.
    """
    if kind_of(dataset) == "raw" and not learned:
        examples = np.arange(len(dataset.train))
        return Halves(examples, examples)
    split = dataset.truth.base.train if isinstance(dataset.truth, Stack) else dataset.train
    keys = mix(_KEY, split.hashes)
    order = np.argsort(keys, kind="stable")
    count = _between_copies(keys[order], max(1, len(split) // 2))
    first, rest = order[:count], order[count:]
    if split.labels is not None:
        first = _with_every_class(first, rest, split.labels, keys)
    return Halves(np.sort(first), np.setdiff1d(order, first))


def _between_copies(keys: NDArray[np.uint64], count: int) -> int:
    """The place next to ``count`` in sorted keys that lies between copies of two examples, unless an eighth of them away."""
    if count >= len(keys):
        return count
    ends = np.searchsorted(keys, keys[count], "left"), np.searchsorted(keys, keys[count], "right")
    near = min((int(end) for end in ends if 0 < end < len(keys)), key=lambda end: abs(end - count), default=count)
    return near if abs(near - count) <= len(keys) // 8 else count


def _with_every_class(
    first: NDArray[np.int64], rest: NDArray[np.int64], labels: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """The first examples, some of which give way to one example of each class that only the rest has, and to its copies."""
    classes, at = np.unique(labels[rest], return_index=True)
    lost = rest[at[~np.isin(classes, labels[first])]]
    needed = first[np.unique(labels[first], return_index=True)[1]]
    spare = first[~np.isin(keys[first], keys[needed])]
    count = min(len(lost), len(spare))
    moved, gone = keys[lost[:count]], keys[spare[len(spare) - count :]]
    return np.concatenate([first[~np.isin(keys[first], gone)], rest[np.isin(keys[rest], moved)]])


def kind_of(dataset: Dataset) -> Kind:
    """Which features a data set has: "raw" for toys and tables, "classifier" where there are labels, "pca" for the rest."""
    space = dataset.space
    if is_table(space):
        return "raw" if space.size <= COLUMNS else "pca"
    if space.as_points and (space.size <= 3 or dataset.truth is not None):
        return "raw"
    return "classifier" if labelled(dataset) else "pca"
