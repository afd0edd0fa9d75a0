from pushforward.denoisers.denoiser import (
    Condition as Condition,
    Denoiser as Denoiser,
    FlowMap as FlowMap,
    MapSampling as MapSampling,
    Preconditioning as Preconditioning,
    Predicting as Predicting,
    Predictor as Predictor,
    Rescheduled as Rescheduled,
    TimeColumns as TimeColumns,
    Wrapped as Wrapped,
)
from pushforward.denoisers.guidance import (
    AtScale as AtScale,
    Autoguided as Autoguided,
    Guided as Guided,
    Thresholded as Thresholded,
)
