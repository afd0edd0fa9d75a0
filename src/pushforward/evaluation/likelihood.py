"""Bits per dimension of held-out rows under an iterative model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.dataset import Split
from pushforward.denoiser import Condition
from pushforward.errors import UsageError
from pushforward.likelihood import bits_per_dim, decoder_spread, elbo, log_prob
from pushforward.transports import Flow, Transport

__all__ = ["ABOUT", "bits"]

ABOUT = {
    "label": "bits per dimension",
    "better": "lower",
    "what": "How many bits the model needs for one number of a held-out row: for images a bound for their 256 levels, for "
    "vectors minus the log density in the data's units, which may be negative.",
}
TIMES = 16
FITTED = 64
"""Training rows on which the bound's decoder is fitted."""


def bits(
    transport: Transport, data: Dataset, n: int | None = None, *, times: int = TIMES, seed: int = 0, batch: int = 256
) -> dict[str, Any]:
    """Bits per dimension of held-out rows, with their standard error over rows.

    Images: the variational bound (`pushforward.likelihood.elbo`), whose decoder is fitted on training rows. Vectors: minus the
    log density by the instantaneous change of variables (`log_prob`). A model of labels is asked for rows given their labels.

    Args:
        transport: An iterative model.
        data: The data set; its held-out rows are used.
        n: How many of them; None is all, at most 10,000.
        times: Network calls a row for the bound.
        seed: Of the draws.
        batch: Rows computed at a time.

    Returns:
        mean, spread (the standard error), n, nats (mean a row) and how it was found, in words.

    Raises:
        UsageError: For a model without a likelihood, or more rows than there are.
    """
    if not isinstance(transport, Flow):
        raise UsageError(
            f"bpd: a {type(transport).__name__} moves noise in one call and has no likelihood. Take an iterative model "
            "(flow, ddpm, edm, vdm), or other metrics."
        )
    held_out, labelled = data.held_out, bool(transport.space.classes)
    count = min(len(held_out), 10_000) if n is None else n
    if not 1 <= count <= len(held_out):
        raise UsageError(f"bpd: n must be from 1 to {len(held_out)}, the number of held-out rows; got {count}.")
    image = data.space.kind == "image"
    spread = _spread(transport, data.train, labelled) if image else 1.0
    parts = []
    for start in range(0, count, batch):
        x, condition = _rows(held_out, np.arange(start, min(start + batch, count)), transport, labelled)
        if image:
            bound = elbo(transport, x, condition, times=times, spread=spread, seed=seed + start)
            parts.append(-bound / (data.space.size * math.log(2)))
        else:
            parts.append(bits_per_dim(log_prob(transport, x, condition, seed=seed + start), data.space))
    found = torch.cat(parts).cpu()
    how = f"variational bound, {times} noise levels a row" if image else "density of the probability-flow ODE"
    return {
        "mean": float(found.mean()),
        "spread": float(found.std() / math.sqrt(count)) if count > 1 else None,
        "values": [float(found.mean())],
        "ratio": None,
        "n": count,
        "nats": float(found.mean()) * data.space.size * math.log(2),
        "how": how + (", given the labels" if labelled else ""),
    }


def _spread(flow: Flow, train: Split, labelled: bool) -> float:
    x, condition = _rows(train, np.arange(min(FITTED, len(train))), flow, labelled)
    return decoder_spread(flow, x, condition)


def _rows(split: Split, index: np.ndarray, flow: Flow, labelled: bool) -> tuple[Tensor, Condition]:
    x = split.data_units(index).to(flow.device)
    if not labelled or split.labels is None:
        return x, None
    return x, {"label": torch.from_numpy(split.labels[index]).to(flow.device)}
