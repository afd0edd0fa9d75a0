"""Which examples a model has learned from, so that nobody is judged on examples that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pushforward.data.row_hashes import ATOM, Hashes

if TYPE_CHECKING:
    from pushforward.data.dataset import Dataset

__all__ = ["Seen", "seen_in_training", "shared_examples"]


@dataclass(frozen=True)
class Seen:
    """The hashes of the examples that a model has learned from, and of those that the models it builds on have learned from.

    Args:
        own: of its training examples, sorted, uint64 (n,); None where they are not known.
        inherited: of the training examples of all models and data sets that it builds on, sorted, uint64 (m,).
        names: of these models and data sets.
        unknown: the names of those whose training examples are not known.
    """

    own: Hashes | None = None
    inherited: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    names: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def joined_by(self, name: str, other: Seen) -> Seen:
        """The same model, which now builds on another one as well."""
        rows = [self.inherited, other.inherited] + ([] if other.own is None else [other.own])
        return Seen(
            self.own,
            np.unique(np.concatenate(rows)),
            tuple(dict.fromkeys((*self.names, name, *other.names))),
            tuple(dict.fromkeys((*self.unknown, *((name,) if other.own is None else ()), *other.unknown))),
        )

    def overlaps(self, data: Dataset) -> tuple[int, int]:
        """How many held-out examples are among the own and how many among the inherited ones.

        Examples that the data itself has in both splits (`pushforward.data.row_hashes.ATOM`) do not count.
        """
        held_out = data.held_out.hashes
        held_out = held_out[~np.isin(held_out, data.train.hashes)]
        own = 0 if self.own is None else int(np.isin(held_out, self.own).sum())
        return own, int(np.isin(held_out, self.inherited).sum())


def shared_examples(data: Dataset) -> tuple[str, ...]:
    """What has to be said of data most of whose held-out examples are training examples as well, in sentences; mostly nothing."""
    held_out = data.held_out.hashes
    count = int(np.isin(held_out, data.train.hashes).sum())
    if 2 * count <= len(held_out):
        return ()
    return (
        f"{count:,} of the {len(held_out):,} held-out examples of {data.name} are training examples as well, since the copies of "
        f"an example that occurs more than {ATOM} times are on both sides: scores do not tell a model that has learned its "
        "training examples by heart from a good one. If the copies are an accident, keep one of each.",
    )


def seen_in_training(data: Dataset, builds_on: Iterable[tuple[str, Seen]] = ()) -> Seen:
    """What a model sees that is trained on the training split of some data, and builds on other models.

    Args:
        data: the data.
        builds_on: names of models and data sets, and what each of them has seen.
    """
    seen = Seen(np.unique(data.train.hashes))
    for name, other in builds_on:
        seen = seen.joined_by(name, other)
    return seen
