"""Recipes: functions ``name(space, size="small", **settings) -> Recipe``, one module per family."""

from pushforward.recipes.diffusion import ddpm, edm, vdm
from pushforward.recipes.distil import distil, dmd, finish
from pushforward.recipes.flow import consistency, flow, meanflow, shortcut
from pushforward.recipes.gan import gan
from pushforward.recipes.recipe import (
    MODELS,
    Recipe,
    RecipeFunction,
    Schedule,
    Training,
    frozen_parts,
    load_file,
    missing_parts,
    named,
    settings,
    words_of,
)
from pushforward.recipes.vae import autoencoder, hvae, vae, vqvae

__all__ = [
    "MODELS",
    "Recipe",
    "RecipeFunction",
    "Schedule",
    "Training",
    "autoencoder",
    "consistency",
    "ddpm",
    "distil",
    "dmd",
    "edm",
    "finish",
    "flow",
    "frozen_parts",
    "gan",
    "hvae",
    "load_file",
    "meanflow",
    "missing_parts",
    "named",
    "settings",
    "shortcut",
    "vae",
    "vdm",
    "vqvae",
    "words_of",
]
