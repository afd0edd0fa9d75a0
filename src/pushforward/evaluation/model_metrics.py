"""Metrics that ask the model itself, not its samples: bits per dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from pushforward.data import Dataset
from pushforward.evaluation.guess import guess
from pushforward.evaluation.likelihood import bits, coded_bits
from pushforward.evaluation.models import transport_of
from pushforward.evaluation.results import ModelResult
from pushforward.methods.bounds import Weighing
from pushforward.metrics import MetricInfo, Score
from pushforward.training import Run
from pushforward.transports import Transport

__all__ = ["MODEL_METRICS", "BitsPerDim", "ModelMetric"]


class ModelMetric(Protocol):
    """A metric of a model and held-out data. It takes time, so that it is computed only where it is asked for."""

    scores: ClassVar[Mapping[str, MetricInfo]]

    def __call__(self, model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> dict[str, Score]:
        """The scores by name, on ``n`` held-out examples (None: as many as the metric takes), ``batch`` at a time."""
        ...

    def guess(self, model: Run | Transport, data: Dataset, n: int) -> ModelResult | None:
        """What a guess without a model scores on the same examples; None where there is none."""
        ...


class BitsPerDim:
    """Bits per dimension of an iterative model, a vae or an hvae, only where asked for."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "bpd": MetricInfo(
            "bits per dimension",
            "lower",
            "How many bits the model needs for one number of a held-out row: for images a bound for their 256 levels, for "
            "vectors minus the log density in the data's units, which may be negative.",
            unit="bits",
        )
    }

    def __call__(self, model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> dict[str, Score]:
        """One score, "bpd"."""
        if isinstance(model, Run) and isinstance(model.method, Weighing):
            return {"bpd": coded_bits(model.method, data, n, seed=seed)}
        return {"bpd": bits(transport_of(model), data, n, seed=seed, batch=batch)}

    def guess(self, model: Run | Transport, data: Dataset, n: int) -> ModelResult | None:
        """A uniform guess over the levels of images, or a Gaussian for vectors."""
        method = model.method if isinstance(model, Run) else None
        discrete = isinstance(method, Weighing) and method.discrete
        return guess(data, n, discrete=discrete, labelled=bool(transport_of(model).space.classes))


MODEL_METRICS: dict[str, type[ModelMetric]] = {"bpd": BitsPerDim}
