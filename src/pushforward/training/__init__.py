"""Training: loop, budgets, averages, checkpoints and run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.training.api import distil, fit, resume
    from pushforward.training.checkpoint.tensors import state_digest
    from pushforward.training.loop.budget import Budget
    from pushforward.training.loop.display import Progress, Silent, Watcher
    from pushforward.training.loop.trainer import Trainer
    from pushforward.training.recipe_argument import autoencoder_of, in_latent, with_frozen
    from pushforward.training.runs.run import Run, load

__all__ = [
    "Budget",
    "Progress",
    "Run",
    "Silent",
    "Trainer",
    "Watcher",
    "autoencoder_of",
    "distil",
    "fit",
    "in_latent",
    "load",
    "resume",
    "state_digest",
    "with_frozen",
]

__getattr__ = exports(
    __name__,
    {
        "api": ("distil", "fit", "resume"),
        "loop.budget": ("Budget",),
        "checkpoint.tensors": ("state_digest",),
        "recipe_argument": ("autoencoder_of", "in_latent", "with_frozen"),
        "loop.display": ("Progress", "Silent", "Watcher"),
        "runs.run": ("Run", "load"),
        "loop.trainer": ("Trainer",),
    },
)
