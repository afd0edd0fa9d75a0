"""Editing with a trained model: interpolation, variation, inpainting, super-resolution, inversion, truncation."""

from __future__ import annotations

from pushforward.editing.any_model import between, edited_condition, variations
from pushforward.editing.imputation import Imputed, impute
from pushforward.editing.inpainting import Masked, inpaint, inpainting
from pushforward.editing.interpolation import INTERPOLATIONS, interpolate, interpolate_noise, interpolate_seeds, lerp, slerp, walk
from pushforward.editing.inversion import Inversion, Search, invert
from pushforward.editing.observation import Leading, Resampled, Restored
from pushforward.editing.super_resolution import Pooled, super_resolution, super_resolve
from pushforward.editing.truncation import Truncated, truncate
from pushforward.editing.variation import Nearby, Variation, variation, vary

__all__ = [
    "INTERPOLATIONS",
    "Imputed",
    "Inversion",
    "Leading",
    "Masked",
    "Nearby",
    "Pooled",
    "Resampled",
    "Restored",
    "Search",
    "Truncated",
    "Variation",
    "between",
    "edited_condition",
    "impute",
    "inpaint",
    "inpainting",
    "interpolate",
    "interpolate_noise",
    "interpolate_seeds",
    "invert",
    "lerp",
    "slerp",
    "super_resolution",
    "super_resolve",
    "truncate",
    "variation",
    "variations",
    "vary",
    "walk",
]
