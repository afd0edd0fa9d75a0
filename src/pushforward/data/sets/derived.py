"""Data sets derived from other images: binary pixels, and stacked digits with a thousand modes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import Integers, Pixels, bits, mix
from pushforward.data.core.named_set import Derived, Source
from pushforward.data.readers.reader import DataOptions
from pushforward.data.sets.digits import DIGITS
from pushforward.data.sets.torchvision import MNIST
from pushforward.data.spaces.space import measure
from pushforward.errors import DataError

CHANNELS = 3
TRAIN_EXAMPLES = 128_000
HELD_OUT_EXAMPLES = 26_000
_STACK_KEY = 0x57AC_3ED
_ANEW = 0xF1_7ED
_BINARY_KEY = 0xB1_7A_12
_CHUNK = 4096  # examples drawn at a time


@dataclass(frozen=True)
class Stack:
    """The known distribution of stacked images.

    Args:
        base: Data set of the labelled images that are stacked, one per channel.
        train: Mode of each training example: the classes of its channels, read as digits of a
            number.
        held_out: Mode of each held-out example.
    """

    base: Dataset
    train: Integers
    held_out: Integers
    channels: int

    @property
    def modes(self) -> int:
        return len(self.base.space.classes) ** self.channels

    def composed(self, images: Integers, count: int, *key: int) -> Pixels:
        """Create examples from some training images, with the class proportions of all of them."""
        train = self.base.train
        places = np.arange(count * self.channels)
        labels = train.labels[mix(_ANEW, *key, 0, places) % np.uint64(len(train))]
        words = mix(_ANEW, *key, 1, places)
        picked = np.empty(len(places), np.int64)
        for label in np.unique(labels):
            of_class = images[train.labels[images] == label]
            if not len(of_class):
                of_class = np.flatnonzero(train.labels == label)
            wanted = labels == label
            picked[wanted] = of_class[words[wanted] % np.uint64(len(of_class))]
        x = train.x[picked, 0]
        return x.reshape(count, self.channels, *x.shape[1:])


def numbered(classes: Integers, count: int) -> Integers:
    """Read the classes of each example, below ``count``, as digits of a number."""
    places = count ** np.arange(classes.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray(classes, dtype=np.int64) @ places


def _stack_of(base: Source) -> Derived:
    return Derived(
        name=f"stacked-{base.name}",
        what=f"three images of {base.name} in three channels, 1000 modes (mode collapse)",
        shape=(CHANNELS, *base.shape[1:]),
        counts=(TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
        needs_download=base.needs_download,
        base=base.name,
        derive=_derived,
        whole=True,
    )


def _derived(base: Dataset, own: Derived, reading: DataOptions) -> Dataset:
    return stack(own.name, base, counts=own.counts, limit=reading.limit, seed=reading.seed)


def stack(
    name: str,
    base: Dataset,
    *,
    counts: tuple[int, int] = (TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
    channels: int = CHANNELS,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Stack grey images as the channels of new images without labels; the truth is a `Stack`.

    Args:
        base: Data set of labelled images with one channel and at least two classes.
        counts: Numbers of training and held-out examples to create.
        channels: Number of images per example.
    """
    space = base.space
    if not space.has_pixels or space.shape[0] != 1 or len(space.classes) < 2:
        raise DataError(
            f"{base.name} has examples of shape {space.shape} and {len(space.classes)} classes: "
            "expected images with one channel, (1, height, width), and labels of at least two "
            "classes."
        )
    train = _stacked(base, base.train, 0, counts[0], channels)
    held_out = _stacked(base, base.held_out, 1, counts[1], channels)
    modes = tuple(str(number) for number in range(len(space.classes) ** channels))
    data = build(name, train, held_out, schema=Schema(modes), limit=limit, seed=seed)
    assert data.train.labels is not None
    assert data.held_out.labels is not None
    truth = Stack(base, data.train.labels, data.held_out.labels, channels)
    return replace(data.without_labels(), truth=truth)


def _stacked(base: Dataset, images: Split, part: int, count: int, channels: int) -> Split:
    assert images.labels is not None
    x = np.empty((count, channels, *base.space.shape[1:]), dtype=np.uint8)
    classes = np.empty((count, channels), dtype=np.int64)
    for channel in range(channels):
        picked = mix(_STACK_KEY, part, channel, np.arange(count)) % np.uint64(len(images))
        x[:, channel] = images.x[picked, 0]
        classes[:, channel] = images.labels[picked]
    return Split(x, numbered(classes, len(base.space.classes)))


def _binary(base: Source) -> Derived:
    return Derived(
        name=f"binary-{base.name}",
        what=f"{base.name} with random binary pixels, drawn again in every epoch (likelihoods)",
        shape=base.shape,
        counts=base.counts,
        classes=base.classes,
        needs_download=base.needs_download,
        base=base.name,
        derive=lambda data, derived, reading: drawn(data, derived.name),
    )


def drawn(data: Dataset, name: str, seed: int = 0) -> Dataset:
    """Draw images with binary pixels; a `Sampler` draws training examples again in every epoch."""
    if not data.space.has_pixels:
        raise DataError(
            f"{data.name} contains vectors: only images can be drawn with binary pixels."
        )
    train = _drawn(data.train, seed, 0)
    return replace(
        data,
        name=name,
        space=measure(train.x, data.space.conditions),
        train=train,
        held_out=_drawn(data.held_out, seed, 1),
        truth=None,
        probabilities=data.train.x,
    )


def _drawn(split: Split, seed: int, part: int) -> Split:
    chunks = []
    for start in range(0, len(split), _CHUNK):
        grey = split.x[start : start + _CHUNK]
        rows = np.arange(len(split))[start : start + _CHUNK]
        chunks.append(bits(grey, _BINARY_KEY, seed, part, rows))
    return Split(np.concatenate(chunks), split.labels, split.hashes, split.given)


SETS = (_stack_of(DIGITS), _stack_of(MNIST), _binary(DIGITS), _binary(MNIST))
