"""A recipe: a method with networks chosen for a space, and how to train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pushforward.errors import UsageError
from pushforward.methods import Method

__all__ = ["Recipe", "RecipeFunction", "Training"]


@dataclass(frozen=True)
class Training:
    """How a method is trained. Times are in steps or samples, never in epochs, so that budgets compare.

    Args:
        batch: Samples per step.
        accumulate: Parts into which a batch is split to save memory; the step is the same to rounding.
        lr: The learning rate on the plateau.
        lr_end: The share of it that is left at the end.
        warmup: Steps over which the rate rises from zero.
        decay: The share of training at its end over which the rate falls on a cosine, at most 1/3.
        betas: AdamW's averages.
        weight_decay: AdamW's.
        clip: The largest gradient norm per player; None leaves gradients alone.
        ema: The half-life of the averaged weights, in samples.
        ema_share: The half-life is never more than this share of the samples seen, so that early averages follow.
        precision: "auto", "float32" or "bfloat16", for network calls.
        players: Per player, other values for lr, betas, weight_decay or clip.
    """

    batch: int = 128
    accumulate: int = 1
    lr: float = 1e-3
    lr_end: float = 0.01
    warmup: int = 100
    decay: float = 1 / 3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float | None = 1.0
    ema: float = 50_000
    ema_share: float = 0.05
    precision: str = "auto"
    players: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        if self.batch < 1 or self.accumulate < 1:
            raise UsageError(f"batch and accumulate must be at least 1, got {self.batch} and {self.accumulate}.")
        if not self.lr > 0:
            raise UsageError(f"The learning rate must be positive, got {self.lr}.")
        if not 0 <= self.decay <= 1 / 3 + 1e-9:
            raise UsageError(f"decay is a share of training of at most 1/3, got {self.decay}.")

    def of(self, player: str, name: str) -> Any:
        """A setting for one player."""
        return self.players.get(player, {}).get(name, getattr(self, name))


@dataclass(frozen=True)
class Recipe:
    """What `pushforward.fit` trains.

    Args:
        method: The method with its networks.
        training: How it is trained.
        name: The recipe's name, for run folders and reports.
        family: What it is, in words.
    """

    method: Method
    training: Training = field(default_factory=Training)
    name: str = "method"
    family: str = ""


RecipeFunction = Callable[..., Recipe]
