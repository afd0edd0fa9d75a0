"""Data sets derived from other images: binary pixels, and stacked digits with a thousand modes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pushforward.data.core.dataset import Dataset, Distribution, Schema, Split, build
from pushforward.data.core.hashes import Integers, Pixels, bits, blocks, mix
from pushforward.data.core.named_set import Derived, Source
from pushforward.data.readers.reader import DataOptions
from pushforward.data.sets.image_sets import DIGITS, MNIST
from pushforward.data.spaces.space import measure

CHANNELS = 3
TRAIN_EXAMPLES = 128_000
HELD_OUT_EXAMPLES = 26_000
_STACK_KEY = 0x57AC_3ED
_ANEW = 0xF1_7ED
_BINARY_KEY = 0xB1_7A_12
_CHUNK = 4096  # examples drawn at a time


@dataclass(frozen=True)
class Stack(Distribution):
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

    @property
    def modes(self) -> int:
        return len(self.base.space.classes) ** CHANNELS

    def composed(self, images: Integers, count: int, *key: int) -> Pixels:
        """Create examples from some training images, with the class proportions of all of them."""
        classes = _labels(self.base.train)
        places = np.arange(count * CHANNELS)
        labels = classes[mix(_ANEW, *key, 0, places) % np.uint64(len(classes))]
        words = mix(_ANEW, *key, 1, places)
        picked = np.empty(len(places), np.int64)
        for label in np.unique(labels):
            of_class = images[classes[images] == label]
            if not len(of_class):
                of_class = np.flatnonzero(classes == label)
            wanted = labels == label
            picked[wanted] = of_class[words[wanted] % np.uint64(len(of_class))]
        x = self.base.train.x[picked, 0]
        return x.reshape(count, CHANNELS, *x.shape[1:])


def numbered(classes: Integers, count: int) -> Integers:
    """Read the classes of each example, below ``count``, as digits of a number."""
    return np.ravel_multi_index(tuple(classes.T), (count,) * classes.shape[1])


def _stack_of(base: Source) -> Derived:
    return Derived(
        name=f"stacked-{base.name}",
        what=f"three images of {base.name} in three channels, 1000 modes (mode collapse)",
        shape=(CHANNELS, *base.shape[1:]),
        counts=(TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
        needs_download=base.needs_download,
        base=base.name,
        derive=_stack,
        whole=True,
    )


def _stack(base: Dataset, own: Derived, reading: DataOptions) -> Dataset:
    train = _stacked(base, base.train, 0, own.counts[0])
    held_out = _stacked(base, base.held_out, 1, own.counts[1])
    modes = tuple(map(str, range(len(base.space.classes) ** CHANNELS)))
    schema = Schema(modes)
    data = build(own.name, train, held_out, schema=schema, limit=reading.limit, seed=reading.seed)
    truth = Stack(base, _labels(data.train), _labels(data.held_out))
    return replace(data.without_labels(), truth=truth)


def _labels(split: Split) -> Integers:
    assert split.labels is not None
    return split.labels


def _stacked(base: Dataset, images: Split, part: int, count: int) -> Split:
    x = np.empty((count, CHANNELS, *base.space.shape[1:]), dtype=np.uint8)
    classes = np.empty((count, CHANNELS), dtype=np.int64)
    for channel in range(CHANNELS):
        picked = mix(_STACK_KEY, part, channel, np.arange(count)) % np.uint64(len(images))
        x[:, channel] = images.x[picked, 0]
        classes[:, channel] = _labels(images)[picked]
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
    rows = np.arange(len(split))
    for block in blocks(len(split), _CHUNK):
        chunks.append(bits(split.x[block], _BINARY_KEY, seed, part, rows[block]))
    return Split(np.concatenate(chunks), split.labels, split.hashes, split.given)


SETS = (_stack_of(DIGITS), _stack_of(MNIST), _binary(DIGITS), _binary(MNIST))
