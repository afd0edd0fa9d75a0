"""Editing with a trained model: interpolation, variation, inpainting, super-resolution, inversion, truncation."""

from __future__ import annotations

from pushforward.editing.imputation import Imputed, impute
from pushforward.editing.interpolation import (
    INTERPOLATIONS,
    Nearby,
    Truncated,
    Variation,
    interpolate,
    interpolate_noise,
    interpolate_seeds,
    lerp,
    slerp,
    truncate,
    variation,
    vary,
    walk,
)
from pushforward.editing.inverse_problems import (
    Leading,
    Masked,
    Pooled,
    Resampled,
    Restored,
    inpaint,
    inpainting,
    super_resolution,
    super_resolve,
)
from pushforward.editing.inversion import Inversion, Search, between, edited_condition, invert, variations

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
