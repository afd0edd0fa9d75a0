"""Recipes: the one place where methods meet networks; one file each.

A recipe is a function ``name(space, size="small", **settings) -> Recipe`` in a file of its own name. A file
outside the package can hold one as well (`load_file`).
"""

from pushforward.recipes.autoencoder import autoencoder
from pushforward.recipes.consistency import consistency
from pushforward.recipes.ddpm import ddpm
from pushforward.recipes.distil import distil
from pushforward.recipes.dmd import dmd
from pushforward.recipes.edm import edm
from pushforward.recipes.finish import finish
from pushforward.recipes.flow import flow
from pushforward.recipes.gan import gan
from pushforward.recipes.hvae import hvae
from pushforward.recipes.meanflow import meanflow
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
from pushforward.recipes.shortcut import shortcut
from pushforward.recipes.vae import vae
from pushforward.recipes.vdm import vdm
from pushforward.recipes.vqvae import vqvae

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
