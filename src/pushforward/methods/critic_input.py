"""How the examples of a critic are grouped and augmented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pushforward.augmentation import DiffAugment
from pushforward.draws import Draws
from pushforward.errors import UsageError


@dataclass(frozen=True)
class CriticInput:
    """How real and generated examples are grouped and augmented before the critic scores them.

    Args:
        pack: Examples that it judges together (`pushforward.networks.Packed`).
        minibatch_std: Scores in whose groups it compares examples (minibatch standard deviation); 0 for none.
        augment: Random changes; the penalties are on the slope in the augmented examples.
        strength: The probability of each change; where ``ada_target`` is given, only at the start.
        ada_target: The mean sign of the critic's scores of real examples, or of its gaps where the loss is one of pairs, at which
            the strength is held by moving it (adaptive augmentation); None keeps the strength.

    Raises:
        UsageError: For a number out of range.

    References:
        Lin et al., PacGAN (2018); Karras et al., Progressive Growing of GANs (2018), section 3, for minibatch standard
        deviation; Karras et al., Training GANs with Limited Data (2020), section 3, for the strength that adapts.
    """

    pack: int = 1
    minibatch_std: int = 0
    augment: DiffAugment | None = None
    strength: float = 1.0
    ada_target: float | None = None

    def __post_init__(self) -> None:
        for name, count, least in (("pack", self.pack, 1), ("minibatch_std", self.minibatch_std, 0)):
            if count < least:
                raise UsageError(f"{name} must be at least {least}, got {count}.")
        if not 0 <= self.strength <= 1 or not -1 < (self.ada_target or 0) < 1:
            raise UsageError(
                f"strength is a probability and ada_target a mean of signs; got {self.strength} and {self.ada_target}."
            )

    @property
    def group(self) -> int:
        """Examples that the critic scores together."""
        return self.pack * max(1, self.minibatch_std)

    def transform(self, draws: Draws, strength: Tensor | float) -> Callable[[Tensor], Tensor]:
        """A function that augments examples for the critic, anew in each call; ``strength`` is the probability of each change."""
        augment = self.augment
        if augment is None:
            return lambda x: x
        stream = draws.stream("augment")
        return lambda x: augment(x, stream, strength)

    def check(self, count: int) -> None:
        """Refuse a batch that cannot be cut into whole groups.

        Raises:
            UsageError: Saying which batches can.
        """
        if count % self.group:
            raise UsageError(
                f"The critic scores {self.group} examples together, but a batch has {count}; choose a `batch` that is a multiple "
                f"of {self.group}."
            )
