"""How far samples lie from training examples: what chooses among samplers, so that no held-out example has a say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pushforward.data.dataset import Dataset
from pushforward.data.truth import Stack
from pushforward.draws import ExampleDraws
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.scoring import reference_examples
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.two_sample import energy_distance
from pushforward.transports import BATCH, Flow, Transport, with_inner

__all__ = ["training_distance"]

SEED = 700_000_000
"""The first seed of the samples; that of samples, evaluations, grids and tables lies below."""
MOST = 2_000
"""Samples, and training examples at most."""


def training_distance(transport: Transport, data: Dataset) -> Callable[[Flow], float]:
    """A measure of flows: how far their samples lie from training examples, with the same starts for all.

    Of points and rows it is the energy distance in model units. Of others it is the Fréchet distance in the features of the data,
    to training examples on which these were not fitted.

    Args:
        transport: The model's, which decodes the codes where its flow samples codes.
        data: What the model was trained on.
    """
    space = data.space
    if len(space.shape) == 1:
        examples, distance = np.arange(len(data.train)), energy_distance
        seen: Callable[[Tensor], np.ndarray] = lambda x: space.to_model(x.float()).double().numpy()  # noqa: E731
    else:
        features, distance = fit_features(data), frechet_distance
        examples, seen = features.halves.drawn, lambda x: features(x, MOST)
    if isinstance(data.truth, Stack):
        real = torch.from_numpy(data.truth.composed(examples, MOST, 2))
    else:
        real = data.train.data_units(examples[reference_examples(len(examples), min(len(examples), MOST))])
    reference = seen(real)
    return lambda flow: distance(seen(_samples(with_inner(transport, flow), flow)), reference)


@torch.no_grad()
def _samples(transport: Transport, flow: Flow) -> Tensor:
    """Samples in data units; of a flow from a source they start at its training examples."""
    parts = []
    for start in range(SEED, SEED + MOST, BATCH):
        draws = ExampleDraws(start, min(BATCH, SEED + MOST - start), device=flow.device)
        condition = transport.conditions(draws.n, None, start)
        x = transport.space.to_data(transport(flow.training_noise(draws), condition, draws)).float().cpu()
        parts.append(transport.space.finished(x, condition, draws.stream("digits").normal))
    return torch.cat(parts)
