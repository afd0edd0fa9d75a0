"""Images with binary pixels, drawn at random from grey images."""

from __future__ import annotations

from dataclasses import replace

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
        chunks.append(bits(grey, _KEY, seed, part, rows))
    return Split(np.concatenate(chunks), split.labels, split.hashes, split.given)


SETS = (_binary(DIGITS), _binary(MNIST))
