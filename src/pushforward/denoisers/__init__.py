"""Denoisers: estimates of data, noise, score or velocity at a state and time; of tables, and guided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.denoisers.denoiser import (
    Condition,
    Denoiser,
    FlowMap,
    MapSampling,
    Preconditioning,
    Predicting,
    Predictor,
    Repathed,
    TimeColumns,
    Wrapped,
)
from pushforward.denoisers.guidance import AtScale, Autoguided, Guided, Thresholded
from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.tables.denoiser import TableDenoiser

__all__ = [
    "AtScale",
    "Autoguided",
    "Condition",
    "Denoiser",
    "FlowMap",
    "Guided",
    "MapSampling",
    "Preconditioning",
    "Predicting",
    "Predictor",
    "Repathed",
    "TableDenoiser",
    "Thresholded",
    "TimeColumns",
    "Wrapped",
]

__getattr__ = exports(__name__, {".tables.denoiser": ("TableDenoiser",)})
