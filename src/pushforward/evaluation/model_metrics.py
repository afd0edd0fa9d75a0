"""Metrics that ask the model itself, not its samples: bits per dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from pushforward.data import Dataset
from pushforward.evaluation.guess import guess
from pushforward.evaluation.likelihood import bits, coded_bits
from pushforward.evaluation.model_scores import MODEL_SCORES
from pushforward.evaluation.results import Comparison, DataInfo, ModelResult, Settings
from pushforward.methods.importance_weighting import HasImportanceWeights
from pushforward.metrics import MetricInfo, Score
from pushforward.training import Run
from pushforward.training.machine import machine
from pushforward.training.run import transport_of
from pushforward.transports import Transport

__all__ = ["MODEL_METRICS", "BitsPerDim", "ModelMetric", "ask_model"]


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

    scores: ClassVar[Mapping[str, MetricInfo]] = MODEL_SCORES["bpd"]

    def __call__(self, model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> dict[str, Score]:
        """One score, "bpd"."""
        if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
            return {"bpd": coded_bits(model.method, data, n, seed=seed)}
        return {"bpd": bits(transport_of(model), data, n, seed=seed, batch=batch)}

    def guess(self, model: Run | Transport, data: Dataset, n: int) -> ModelResult | None:
        """A uniform guess over the levels of images, or a Gaussian for vectors."""
        method = model.method if isinstance(model, Run) else None
        discrete = isinstance(method, HasImportanceWeights) and method.discrete
        return guess(data, n, discrete=discrete, conditions=transport_of(model).space.conditions)


MODEL_METRICS: dict[str, type[ModelMetric]] = {"bpd": BitsPerDim}


def ask_model(
    model: Run | Transport, data: Dataset, metrics: Sequence[str], n: int | None, seed_and_batch: tuple[int, int]
) -> Comparison:
    """The scores that ask the model itself, which need no samples; a comparison without a model where none are asked for."""
    if not metrics:
        return Comparison()
    computed = {name: MODEL_METRICS[name]() for name in metrics}
    scores = {name: result for m in computed.values() for name, result in m(model, data, n, *seed_and_batch).items()}
    compared_with = next(iter(scores.values())).n or len(data.held_out)
    guesses = [row for metric in computed.values() if (row := metric.guess(model, data, compared_with)) is not None]
    return Comparison(
        data=DataInfo(data.name, fingerprint=data.fingerprint),
        settings=Settings(n=compared_with),
        machine=machine(),
        metrics={name: info for metric in computed.values() for name, info in metric.scores.items()},
        models=(ModelResult(scores=scores),),
        guesses=tuple(guesses),
    )
