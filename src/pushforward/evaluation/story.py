"""The families in two dimensions, where each mistake can be seen: what a demo trains before it turns to images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pushforward import recipes
from pushforward.data import load
from pushforward.training import Trainer
from pushforward.training.api import prepare, reopen
from pushforward.training.loop.progress import Watcher
from pushforward.training.loop.torch_generators import seeded

__all__ = ["CAST", "DATA", "Character", "story_trainers"]

DATA = "ring"
"""Eight narrow Gaussians on a circle: a model that loses some of them is seen to."""


@dataclass(frozen=True)
class Character:
    """One model of the story.

    Args:
        recipe: The recipe's name.
        settings: Of the recipe, where they are not its defaults.
        training: Changes to how it trains.
    """

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=lambda: {"batch": 128})


CAST: Mapping[str, Character] = {
    "gan": Character("gan"),
    "original GAN": Character(
        "gan",
        # Goodfellow et al. (2014), section 3, without what later work added; at this rate it loses modes within 1,500 steps
        {"loss": "non_saturating", "penalty": "none", "sign_codes": 0, "fourier_features": 0},
        {"batch": 64, "lr": 0.02},
    ),
    "vae": Character("vae"),
    "ddpm": Character("ddpm"),
    "flow": Character("flow"),
}
"""The models by name, in the order of the report."""


def story_trainers(folder: Path, seconds: float, *, seed: int = 0, progress: Watcher | None = None) -> list[Trainer]:
    """A trainer for each model of the `CAST`, tiny networks on the ring.

    Args:
        folder: Holds the runs; those that are there already go on where they stopped.
        seconds: The budget of each training.
        seed: Of weights and training.
        progress: Receives where each stands; None is silent.
    """
    data = load(DATA)
    trainers = []
    for name, character in CAST.items():
        function = recipes.named(character.recipe)
        recipe = seeded(partial(function, data.space, "tiny", **character.settings), seed)
        recipe = replace(recipe, training=recipe.training.changed(**character.training))
        asked = {"size": "tiny", **character.settings, **character.training}
        where = folder / name.replace(" ", "-")
        if (where / "spec.json").is_file():
            trainers.append(reopen(where, data=data, progress=progress))
        else:
            trainers.append(prepare(recipe, data, seconds=seconds, seed=seed, out=where, progress=progress, asked=asked))
    return trainers
