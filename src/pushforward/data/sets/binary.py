"""Images drawn as zeros and ones (`pushforward.data.binarised`)."""

from __future__ import annotations

from pushforward.data.binarised import drawn
from pushforward.data.dataset import Dataset
from pushforward.data.reading import Reading
from pushforward.data.sets.digits import DIGITS
from pushforward.data.sets.torchvision import MNIST
from pushforward.data.source import Derived, Source

__all__ = ["SETS"]


def _derive(base: Dataset, derived: Derived, reading: Reading) -> Dataset:
    return drawn(base, derived.name)


def _binary(base: Source) -> Derived:
    return Derived(
        name=f"binary-{base.name}",
        what=f"{base.name} drawn as zeros and ones, again in every epoch (likelihoods)",
        shape=base.shape,
        counts=base.counts,
        classes=base.classes,
        needs_download=base.needs_download,
        base=base.name,
        derive=_derive,
    )


SETS = (_binary(DIGITS), _binary(MNIST))
