"""Training: the loop, budgets, averages, checkpoints and run folders. Names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward.training.budget import Budget
    from pushforward.training.digests import state_digest
    from pushforward.training.distilling import distil
    from pushforward.training.frozen import with_frozen
    from pushforward.training.latent_data import autoencoder_of, in_latent
    from pushforward.training.progress import Progress, Silent, Watcher
    from pushforward.training.resuming import resume
    from pushforward.training.run import Run, load
    from pushforward.training.start import fit
    from pushforward.training.trainer import Trainer

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
        "budget": ("Budget",),
        "digests": ("state_digest",),
        "distilling": ("distil",),
        "latent_data": ("autoencoder_of", "in_latent"),
        "frozen": ("with_frozen",),
        "progress": ("Progress", "Silent", "Watcher"),
        "run": ("Run", "load"),
        "resuming": ("resume",),
        "start": ("fit",),
        "trainer": ("Trainer",),
    },
)
