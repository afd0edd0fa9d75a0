"""Stacked digits, a distribution with a thousand modes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.ground_truth import Stack, numbered
from pushforward.data.core.hashes import mix
from pushforward.data.core.named_set import Derived, Source
from pushforward.data.readers.reader import DataOptions
from pushforward.data.sets.digits import DIGITS
from pushforward.data.sets.torchvision import MNIST
from pushforward.errors import DataError

CHANNELS = 3
TRAIN_EXAMPLES = 128_000
HELD_OUT_EXAMPLES = 26_000
_KEY = 0x57AC_3ED


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
        picked = mix(_KEY, part, channel, np.arange(count)) % np.uint64(len(images))
        x[:, channel] = images.x[picked, 0]
        classes[:, channel] = images.labels[picked]
    return Split(x, numbered(classes, len(base.space.classes)))


SETS = (_stack_of(DIGITS), _stack_of(MNIST))
