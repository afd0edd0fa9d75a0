"""Training of the demo's models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pushforward import data as named_sets, recipes
from pushforward.training import Trainer, Watcher
from pushforward.training.api import prepare
from pushforward.training.loop.machine import seeded

# Models of the demo in the order of the report: recipe, changed settings, changed training settings
DEMO_MODELS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "gan": ("gan", {}, {"batch": 128}),
    # Goodfellow et al. (2014), section 3; at this rate it loses modes within 1,500 steps
    "original GAN": (
        "gan",
        {"loss": "non_saturating", "penalty": "none", "sign_codes": 0, "fourier_features": 0},
        {"batch": 64, "lr": 0.02},
    ),
    "vae": ("vae", {}, {"batch": 128}),
    "ddpm": ("ddpm", {}, {"batch": 128}),
    "flow": ("flow", {}, {"batch": 128}),
}


def story_trainers(
    folder: Path, seconds: float, *, seed: int = 0, progress: Watcher | None = None
) -> list[Trainer]:
    """Create a trainer for each model of the demo, with tiny networks on the ring."""
    data = named_sets.load("ring")  # eight Gaussians on a circle, so that lost modes are visible
    trainers = []
    for name, (kind, settings, training) in DEMO_MODELS.items():
        recipe = seeded(partial(recipes.named(kind), data.space, "tiny", **settings), seed)
        trainer = prepare(
            replace(recipe, training=recipe.training.changed(**training)),
            data,
            out=folder / name.replace(" ", "-"),
            seconds=seconds,
            seed=seed,
            progress=progress,
            asked={"size": "tiny", **settings, **training},
        )
        trainers.append(trainer)
    return trainers
