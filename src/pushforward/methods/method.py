"""What a method is: a training game that yields (player, loss) pairs, one for each parameter update."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.denoiser import Condition
from pushforward.draws import Draws
from pushforward.transports import Autoencoder, Transport

__all__ = ["Coding", "Method", "Now", "Preparing", "Scoring"]


@dataclass(frozen=True)
class Now:
    """Where training stands: all that a loss may depend on besides its batch and the weights.

    Args:
        draws: Randomness for this step, one row per sample of the batch.
        samples: Training samples seen so far.
        progress: The share of the budget that is used, in [0, 1].
        step: The training step, from 0.
        notes: What a method writes down as it goes, by name, to be logged as health: detached tensors of no dimension, each a
            mean over the rows of the batch. A loss must not depend on them.
    """

    draws: Draws
    samples: int
    progress: float
    step: int = 0
    notes: dict[str, Tensor] = field(default_factory=dict)

    def along(self, start: float, end: float, ramp: int | None = None) -> float:
        """A value on its way from start to end on a cosine: over the first ``ramp`` samples, or the whole of training."""
        share = self.progress if ramp is None else min(1.0, self.samples / ramp)
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@runtime_checkable
class Scoring(Protocol):
    """A method with a critic, which gives every point a number: the higher, the more like data it takes the point to be."""

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The critic's values (n,) of rows x (n, *shape) in model units, each computed alone and without augmentation.

        Only differences mean something, where the loss compares real and generated samples.
        """
        ...


@runtime_checkable
class Coding(Protocol):
    """A method that learns codes of data, in whose space other methods can learn."""

    def autoencoder(self) -> Autoencoder:
        """From data to codes and back, with the present weights."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A method that is trained on what its frozen parts make of the data, computed once before training."""

    space: Space

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The frozen parts by name."""
        ...

    def prepared(self, x: Tensor, condition: Condition = None) -> Tensor:
        """What batches hold in the place of data in model units: (n, ...) from x (n, *shape)."""
        ...


class Method(nn.Module, ABC):
    """A way of learning a transport.

    A method holds its networks, says who plays, and yields the losses in the order of the paper's algorithm. It
    knows nothing of optimisers, devices or files, and keeps no counters: what changes over training is a function of `Now`.
    """

    space: Space

    @property
    @abstractmethod
    def players(self) -> Mapping[str, nn.Module]:
        """What each turn updates, by player's name; frozen parts are no players."""

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Frozen parts by name, such as a teacher or an autoencoder; they belong to no player."""
        return {}

    @property
    def group(self) -> int:
        """Rows that must stay together when a batch is split (optimal transport, packing)."""
        return 1

    @property
    def reuse(self) -> int:
        """For how many steps one batch is kept."""
        return 1

    @abstractmethod
    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        """The turns of one step: (player, loss), each a mean of per-sample terms.

        What follows a ``yield`` runs after that player's update.

        Args:
            batch: ``x`` in model units (n, *shape) and ``condition``.
            now: Randomness and progress.
        """

    @abstractmethod
    def transport(self) -> Transport:
        """The sampler that the present weights make."""
