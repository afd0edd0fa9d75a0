"""Images with binary pixels, drawn at random from grey images."""

from __future__ import annotations

import dataclasses

import numpy as np

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import bits
from pushforward.data.core.named_set import Derived, Source
from pushforward.data.sets.digits import DIGITS
from pushforward.data.sets.torchvision import MNIST
from pushforward.data.spaces.space import measure
from pushforward.errors import DataError

_KEY = 0xB1_7A_12
_CHUNK = 4096  # examples drawn at a time


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
    """Draw images with binary pixels from grey images.

    Args:
        data: Data set of images.
        name: Name of the new data set.
        seed: Seed of the random pixels.

    Returns:
        The data: both splits hold one draw, and ``probabilities`` the grey training examples, from which a `Sampler` draws
        again in every epoch.

    Raises:
        DataError: For vectors.
    """
    if not data.space.has_pixels:
        raise DataError(
            f"{data.name} contains vectors: only images can be drawn with binary pixels."
        )
    splits = []
    for part, split in enumerate((data.train, data.held_out)):
        parts = [np.arange(at, min(at + _CHUNK, len(split))) for at in range(0, len(split), _CHUNK)]
        x = np.concatenate(
            [bits(split.x[rows[0] : rows[-1] + 1], _KEY, seed, part, rows) for rows in parts]
        )
        splits.append(Split(x, split.labels, split.hashes, split.given))
    train, held_out = splits
    space = measure(train.x, data.space.conditions)
    return dataclasses.replace(
        data,
        name=name,
        space=space,
        train=train,
        held_out=held_out,
        truth=None,
        probabilities=data.train.x,
    )


SETS = (_binary(DIGITS), _binary(MNIST))
