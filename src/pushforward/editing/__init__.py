"""Editing with a trained model: interpolation, variation, inpainting, super-resolution, inversion, truncation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.editing.given_data import (
    Leading,
    Masked,
    Nearby,
    Pooled,
    Resampled,
    Restored,
    Truncated,
    Variation,
    inpaint,
    inpainting,
    super_resolution,
    super_resolve,
    truncate,
    variation,
    vary,
)
from pushforward.editing.interpolation import (
    INTERPOLATIONS,
    Inversion,
    Search,
    between,
    edited_condition,
    interpolate,
    interpolate_noise,
    interpolate_seeds,
    invert,
    lerp,
    slerp,
    variations,
    walk,
)
from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.tables.imputation import Imputed, impute

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

__getattr__ = exports(__name__, {".tables.imputation": ("Imputed", "impute")})
