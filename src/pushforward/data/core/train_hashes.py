"""What a model has learned from: the hashes of its training examples, and warnings about the split of its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.example_hashes import ATOM, Hashes, among, distinct
from pushforward.data.tables.parse_errors import some

FEW = 20  # training examples of a class below which a model can hardly learn the class
NAMED = 12


@dataclass(frozen=True)
class Seen:
    """The hashes of the examples that a model has learned from, and of those that the models it builds on have learned from.

    Args:
        own: of its training examples, sorted, uint64 (n,); None where they are not known.
        inherited: of the training examples of all models and data sets that it builds on, but those that their own data holds out
            as well; sorted, uint64 (m,).
        shared: of those of its training examples that its own data holds out as well (`ATOM`), sorted, uint64 (k,).
        apart: that of its data; None for data that is no table, and for runs of before.
        names: of these models and data sets.
        unknown: the names of those whose training examples are not known.
        own_seconds: of its training, a teacher's trajectories included.
        seconds: of the trainings of those, as far as they are known, by name.
    """

    own: Hashes | None = None
    inherited: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    shared: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    names: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    apart: bool | None = None
    own_seconds: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def joined_by(self, name: str, other: Seen) -> Seen:
        """The same model, which now builds on another one as well."""
        hashes = [self.inherited, other.inherited] + ([] if other.own is None else [other.own[~among(other.own, other.shared)]])
        return replace(
            self,
            inherited=distinct(np.concatenate(hashes)),
            names=tuple(dict.fromkeys((*self.names, name, *other.names))),
            unknown=tuple(dict.fromkeys((*self.unknown, *((name,) if other.own is None else ()), *other.unknown))),
            seconds={**self.seconds, **other.seconds, **({} if other.own is None else {name: other.own_seconds})},
        )

    def overlaps(self, data: Dataset) -> tuple[int, int]:
        """How many held-out examples are among the own and how many among the inherited ones.

        Examples that the model's own data had in both splits do not count: `shared_examples` reports them.
        """
        held_out = data.held_out.hashes
        own = 0 if self.own is None else int((among(held_out, self.own) & ~among(held_out, self.shared)).sum())
        return own, int(among(held_out, self.inherited).sum())


def shared_examples(data: Dataset) -> tuple[str, ...]:
    """Warnings about data some of whose held-out examples are training examples as well, in sentences; usually none.

    Silent below one held-out example in a hundred, unless they are most examples of a class.
    """
    held_out, labels = data.held_out.hashes, data.held_out.labels
    shared = among(held_out, np.sort(data.train.hashes))
    count = len(data.space.classes)
    most = (
        np.zeros(count, bool)
        if labels is None
        else 2 * np.bincount(labels[shared], minlength=count) > np.bincount(labels, minlength=count)
    )
    whole = tuple(np.flatnonzero(most))
    if 100 * shared.sum() <= len(held_out) and not whole:
        return ()
    classes = f", among them most of class {', '.join(data.space.classes[label] for label in whole)}" if whole else ""
    return (
        f"{int(shared.sum()):,} of the {len(held_out):,} held-out examples of {data.name} are training examples as well"
        f"{classes}: the copies of an example that occurs more than {ATOM} times are on both sides. On these "
        "examples, scores do not tell a model that has learned its training examples by heart from a good one. If the copies are "
        "an accident or oversampling, keep one of each.",
    )


def seen_in_training(data: Dataset, builds_on: Iterable[tuple[str, Seen]] = ()) -> Seen:
    """The training examples of a model that is trained on some data and builds on other models.

    Args:
        data: the data.
        builds_on: names of models and data sets, with the training examples of each.
    """
    own = distinct(data.train.hashes)
    seen = Seen(own, shared=own[among(own, np.sort(data.held_out.hashes))], apart=data.apart)
    for name, other in builds_on:
        seen = seen.joined_by(name, other)
    return seen


def class_counts(data: Dataset) -> dict[str, tuple[int, int]]:
    """The training and the held-out examples of each class; empty for data without labels."""
    sides = [_counts(split, len(data.space.classes)) for split in (data.train, data.held_out)]
    return dict(zip(data.space.classes, zip(*sides, strict=True), strict=True))


def _counts(split: Split, classes: int) -> list[int]:
    labels = np.zeros(0, dtype=np.int64) if split.labels is None else split.labels
    return [int(count) for count in np.bincount(labels, minlength=classes)[:classes]]


def rare_classes(data: Dataset) -> tuple[str, ...]:
    """Warnings about classes with few training examples, or with none on one side, in sentences; usually none."""
    counts = class_counts(data)
    few = [f"{name} ({train})" for name, (train, _) in counts.items() if train < FEW]
    unseen = [name for name, (_, held_out) in counts.items() if not held_out]
    sentences = []
    if few:
        sentences.append(
            f"fewer than {FEW} training examples of {some(few, NAMED)}: samples of such a class will be poor. Add examples, or "
            "leave the class out."
        )
    if unseen:
        sentences.append(f"no held-out examples of {some(unseen, NAMED)}: scores say nothing of such a class. Add examples.")
    return tuple(sentences)
