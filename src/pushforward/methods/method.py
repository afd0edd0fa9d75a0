"""What a method is: a training game that yields (player, loss) pairs, one for each parameter update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.draws import Draws
from pushforward.transports import Transport

__all__ = ["Method", "Now"]


@dataclass(frozen=True)
class Now:
    """Where training stands: all that a loss may depend on besides its batch and the weights.

    Args:
        draws: Randomness for this step, one row per sample of the batch.
        samples: Training samples seen so far.
        progress: The share of the budget that is used, in [0, 1].
    """

    draws: Draws
    samples: int
    progress: float


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
