"""Stacked digits: a thousand modes (`pushforward.data.stacked`)."""

from __future__ import annotations

from pushforward.data.dataset import Dataset
from pushforward.data.reading import Reading
from pushforward.data.sets.digits import DIGITS
from pushforward.data.sets.torchvision import MNIST
from pushforward.data.source import Derived, Source
from pushforward.data.stacked import CHANNELS, HELD_OUT_EXAMPLES, TRAIN_EXAMPLES, stack

__all__ = ["SETS"]


def _derive(base: Dataset, derived: Derived, reading: Reading) -> Dataset:
    return stack(derived.name, base, counts=derived.counts, limit=reading.limit, seed=reading.seed)


def _stacked(base: Source) -> Derived:
    return Derived(
        name=f"stacked-{base.name}",
        what=f"three images of {base.name} in three channels, 1000 modes (mode collapse)",
        shape=(CHANNELS, *base.shape[1:]),
        counts=(TRAIN_EXAMPLES, HELD_OUT_EXAMPLES),
        needs_download=base.needs_download,
        base=base.name,
        derive=_derive,
        whole=True,
    )


SETS = (_stacked(DIGITS), _stacked(MNIST))
