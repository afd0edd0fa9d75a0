"""Named data sets: their descriptions, and how they are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pushforward.conditions.kind import Shape
from pushforward.data.core.dataset import Dataset, Distribution, Schema, Split, build
from pushforward.data.core.hashes import Floats
from pushforward.data.images import image_set
from pushforward.data.images.image_file import Size
from pushforward.data.readers.reader import DataOptions
from pushforward.errors import DataError, UsageError
from pushforward.registries import SETS

BLOCK = 1 << 20  # distances of examples and centres that are computed at a time


def folder() -> Path:
    """Return the folder of downloaded data sets, ``PUSHFORWARD_DATA`` or in the cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pushforward")
    place = os.path.expanduser(os.environ.get("PUSHFORWARD_DATA") or usual)
    if place.startswith("~"):
        raise DataError(
            f"{place} is not a folder, because this user has no home folder. Set PUSHFORWARD_DATA "
            "to the folder of data sets."
        )
    return Path(place)


def resized(split: Split, size: Size | None) -> Split:
    """Resize the images of a split; the hashes of the source images are kept."""
    if size is None:
        return split
    if split.x.ndim != 4:
        raise UsageError("`resize` supports only images, but the data are vectors. Leave it out.")
    return Split(image_set.resized(split.x, size), split.labels, split.hashes, split.given)


@dataclass(frozen=True)
class Truth(Distribution):
    """Known distribution of vectors: a mixture of isotropic Gaussians.

    Args:
        centres: Centres of the modes, (k, d).
        std: Standard deviation of each mode.
        weights: Probability of each mode, (k,).
    """

    centres: Floats
    std: float
    weights: Floats

    def log_density(self, x: Floats) -> Floats:
        """Compute the log density of examples (n, d) in data units, float64 (n,)."""
        variance = self.std**2
        log_norm = x.shape[1] / 2 * np.log(2 * np.pi * variance)
        densities = []
        for part in np.array_split(np.float64(x), 1 + len(x) * len(self.centres) // BLOCK):
            squares = ((part[:, None] - self.centres) ** 2).sum(2)
            terms = np.log(self.weights) - squares / (2 * variance)
            densities.append(np.logaddexp.reduce(terms, axis=1) - log_norm)
        return np.concatenate(densities)


@dataclass(frozen=True)
class Density(Distribution):
    """Known distribution of vectors without modes.

    Args:
        log_density: Function from examples (n, d) in data units to log densities, float64 (n,).
    """

    log_density: Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Named(ABC):
    """A data set with a name and a description, which can be listed without reading the data.

    Args:
        shape: Shape of one example.
        counts: Numbers of training and held-out examples.
        labelled: Whether labels are used by default.
        package: Optional package that contains the data.
        extra: Extra of pushforward that installs this package.
    """

    name: str
    what: str
    shape: Shape
    counts: tuple[int, int]
    classes: tuple[str, ...] = ()
    needs_download: bool = False
    labelled: bool = True
    package: str = ""
    extra: str = ""

    def dataset(self, reading: DataOptions) -> Dataset:
        reading.refuse_table(self.name)
        reading.refuse_stream(self.name)
        return self._dataset(reading)

    @abstractmethod
    def _dataset(self, reading: DataOptions) -> Dataset: ...


@dataclass(frozen=True, kw_only=True)
class Source(Named):
    """A named data set that a function reads or draws.

    Args:
        read: Function from ``download`` to training and held-out examples, or None to split some
            off.
        held_out: Number of examples to split off; None for a tenth.
        truth: Known properties of the distribution, needed by mode metrics.
    """

    read: Callable[[bool], tuple[Split, Split | None]]
    held_out: int | None = None
    truth: Truth | Density | None = None

    def _dataset(self, reading: DataOptions) -> Dataset:
        train, held_out = self.read(reading.download)
        for split in (train, held_out):
            if split is not None and split.x.shape[1:] != self.shape:
                raise DataError(
                    f"{self.name} has examples of shape {split.x.shape[1:]}, but declares the "
                    f"shape {self.shape}."
                )
        rest: Split | int | None = self.held_out
        if held_out is not None:
            rest = resized(held_out, reading.resize)
        return build(
            self.name,
            resized(train, reading.resize),
            rest,
            schema=Schema(self.classes),
            limit=reading.limit,
            seed=reading.seed,
            truth=self.truth,
        )


@dataclass(frozen=True, kw_only=True)
class Derived(Named):
    """A named data set derived from another one.

    Args:
        base: Name of the other data set.
        derive: Function from (other data set, this description, reading) to the data.
        whole: Whether ``derive`` applies ``reading.limit`` itself.
    """

    base: str
    derive: Callable[[Dataset, Derived, DataOptions], Dataset]
    whole: bool = False

    def _dataset(self, reading: DataOptions) -> Dataset:
        of_base = DataOptions(resize=reading.resize, download=reading.download)
        if not self.whole:
            of_base = replace(of_base, limit=reading.limit, seed=reading.seed)
        base = SETS.find(self.base).dataset(of_base)
        return self.derive(base, self, reading)


def register(*sets: Named) -> None:
    """Register data sets for `pushforward.data.load` and the command line.

    Raises:
        UsageError: If a name belongs to the package, or could be a path.
    """
    for part in sets:
        SETS.add(part.name, part)


def check_set(name: str, part: Named) -> None:
    """Refuse a name that could be a path."""
    if not name or set(name) & set("/\\") or name.endswith((".py", ".csv", ".npy", ".npz")):
        raise UsageError(
            f'"{name}" cannot be the name of a data set, because it looks like a path.'
        )
