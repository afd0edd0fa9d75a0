"""Images stacked in channels: a thousand modes or more, with the mode of every example known.

Each channel of an example is one image of a labelled set, drawn by itself; three digits make the numbers 000 to 999, each of them
a mode. Training examples consist of the set's training images alone, held-out examples of its held-out images alone. Which
images meet is a function of the example's number, so that a stack is the same data on every machine.

References:
    Metz et al., Unrolled Generative Adversarial Networks (2017); Lin et al., PacGAN (2018), section 4.2: 128,000 training
    examples, 26,000 samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pushforward.data.building import Schema, build
from pushforward.data.dataset import Dataset, Split
from pushforward.data.keys import mix
from pushforward.data.truth import Stack
from pushforward.errors import DataError

__all__ = ["CHANNELS", "HELD_OUT_EXAMPLES", "TRAIN_EXAMPLES", "numbered", "stack"]

CHANNELS = 3
TRAIN_EXAMPLES, HELD_OUT_EXAMPLES = 128_000, 26_000
_KEY = 0x57AC_3ED


def numbered(classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The classes of an example's channels as one number, the first channel's counting most.

    Args:
        classes: (n, channels), from 0 to count - 1.
        count: how many classes there are.

    Returns:
        int64 (n,), from 0 to count ** channels - 1.
    """
    places = count ** np.arange(classes.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray(classes, dtype=np.int64) @ places


def stack(
    name: str,
    base: Dataset,
    *,
    counts: tuple[int, int] = (TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
    channels: int = CHANNELS,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Stack images of one channel.

    Args:
        name: the new data's name.
        base: labelled images of one channel, of two classes or more.
        counts: how many training and held-out examples to make.
        channels: how many images an example holds.
        limit: at most so many training examples, chosen by ``seed``.
        seed: chooses the examples that ``limit`` keeps.

    Returns:
        Images uint8 (n, channels, H, W) without labels; the truth is a `Stack`.

    Raises:
        DataError: a base without labels, or of other than one channel.
        UsageError: a limit below 1.
    """
    space = base.space
    if not space.has_pixels or space.shape[0] != 1 or len(space.classes) < 2:
        raise DataError(
            f"{base.name} has examples of shape {space.shape} and {len(space.classes)} classes: expected images of one channel, "
            "(1, height, width), with labels of two classes or more."
        )
    splits = [_stacked(base, part, counts[part], channels) for part in (0, 1)]
    modes = tuple(str(number) for number in range(len(space.classes) ** channels))
    data = build(name, splits[0], splits[1], schema=Schema(modes), limit=limit, seed=seed)
    assert data.train.labels is not None
    assert data.held_out.labels is not None
    truth = Stack(base, data.train.labels, data.held_out.labels, channels)
    return dataclasses.replace(data.without_labels(), truth=truth)


def _stacked(base: Dataset, part: int, count: int, channels: int) -> Split:
    """Examples of which every channel is an image drawn from the training (0) or held-out (1) split, labelled by their mode."""
    images = (base.train, base.held_out)[part]
    assert images.labels is not None
    x = np.empty((count, channels, *base.space.shape[1:]), dtype=np.uint8)
    classes = np.empty((count, channels), dtype=np.int64)
    for channel in range(channels):
        picked = (mix(_KEY, part, channel, np.arange(count)) % np.uint64(len(images))).astype(np.int64)
        x[:, channel], classes[:, channel] = images.x[picked, 0], images.labels[picked]
    return Split(x, numbered(classes, len(base.space.classes)))
