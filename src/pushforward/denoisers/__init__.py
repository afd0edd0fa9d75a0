"""Denoisers: estimates of data, noise, score or velocity at a state and time; and guided ones."""

from __future__ import annotations

from pushforward.denoisers.denoiser import (
    Condition,
    Denoiser,
    FlowMap,
    MapSampling,
    Preconditioning,
    Predicting,
    Predictor,
    Rescheduled,
    TimeColumns,
    Wrapped,
)
from pushforward.denoisers.guidance import AtScale, Autoguided, Guided, Thresholded

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
    "Rescheduled",
    "Thresholded",
    "TimeColumns",
    "Wrapped",
]
