"""Bits per dimension of held-out examples: of iterative models, and of models whose latents estimate the likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.kind import ConditionKind, described, met
from pushforward.data import Dataset
from pushforward.data.core.dataset import Split
from pushforward.denoisers import Condition
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods.evidence_bound import HasImportanceWeights, importance_bound
from pushforward.methods.method import Method
from pushforward.methods.vae import VAE
from pushforward.metrics import Score
from pushforward.transports import Flow, Latent, Transport, has_steps
from pushforward.transports.likelihood import bits_per_dim, decoder_spread, dequantise, elbo, log_prob

__all__ = ["bits", "check_examples", "check_iterative", "check_weighed", "coded_bits"]

TIMES = 16
FITTED = 64
"""Training examples on which the bound's decoder is fitted."""
CODES = 500
"""Codes for each example, where latents estimate the likelihood."""
EXAMPLES = 1_000
"""Examples whose likelihood is estimated from latents at most unless more are asked for: an example costs hundreds of decodings
where an iterative model's costs 16 network calls, and beyond these the standard error is small."""
WEIGHED = 512
"""Codes that are decoded at a time: what convolutions make of more of them leaves the processor's cache (measured in float32: a
quarter slower at 2,048, 3 to 5 times slower at 12,500)."""


def bits(
    transport: Transport, data: Dataset, n: int | None = None, *, times: int = TIMES, seed: int = 0, batch: int = 256
) -> Score:
    """Bits per dimension of held-out examples, with their standard error over examples.

    Images: the variational bound (`pushforward.transports.likelihood.elbo`), whose decoder is fitted on training examples.
    Vectors: minus the log density by the instantaneous change of variables (`log_prob`). A model of labels is asked for
    examples given their labels.

    Args:
        transport: An iterative model.
        data: The data set; its held-out examples are used.
        n: How many of them; None is all, at most 10,000.
        times: Network calls an example for the bound.
        seed: Of the draws.
        batch: Examples computed at a time.

    Returns:
        The mean with its standard error over examples, and in ``extra`` nats (mean an example) and how it was computed, in words.

    Raises:
        UsageError: For a model without a likelihood, or more examples than there are.
    """
    check_iterative(transport)
    assert has_steps(transport)
    held_out, conditions = data.held_out, transport.space.conditions
    count = min(len(held_out), 10_000) if n is None else check_examples(data, n)
    if conditions and not met(conditions, data.space.conditions):
        conditions = {}
    discrete = data.space.levels is not None
    spread = _spread(transport, data.train, conditions) if discrete else 1.0
    parts = []
    for start in range(0, count, batch):
        x, condition = _examples(held_out, np.arange(start, min(start + batch, count)), transport, conditions)
        if discrete:
            bound = elbo(transport, x, condition, times=times, spread=spread, seed=seed + start)
            parts.append(-bound / (data.space.size * math.log(2)))
        else:
            parts.append(bits_per_dim(log_prob(transport, x, condition, seed=seed + start), data.space))
    how = f"variational bound, {times} noise levels an example" if discrete else "density of the probability-flow ODE"
    return _score(torch.cat(parts), data, how, conditions)


def check_examples(data: Dataset, n: int) -> int:
    """How many held-out examples a likelihood is estimated of.

    Raises:
        UsageError: For more than there are, or less than one.
    """
    if not 1 <= whole("n", n) <= len(data.held_out):
        raise UsageError(f"bpd: `n` must be from 1 to {len(data.held_out)}, the number of held-out examples; got {n}.")
    return whole("n", n)


def check_iterative(transport: Transport) -> None:
    """Refuse a model without a likelihood.

    Raises:
        UsageError: Naming models that have one.
    """
    if isinstance(transport, Latent):
        raise UsageError(
            "bpd: a model in a latent space gives probabilities to codes, not to data. Take a model of the data itself, or the "
            "autoencoder's own run where that is a vae or an hvae."
        )
    if not has_steps(transport):
        raise UsageError(
            f"bpd: a {type(transport).__name__} moves noise in one call and has no likelihood. Take an iterative model "
            "(flow, ddpm, edm, vdm), a vae or hvae, or other metrics."
        )


def _score(bits: Tensor, data: Dataset, how: str, conditions: Mapping[str, ConditionKind]) -> Score:
    """Mean, standard error, and how it was computed."""
    mean, count = float(bits.mean()), len(bits)
    error = float(bits.std() / math.sqrt(count)) if count > 1 else None
    extra = {"nats": mean * data.space.size * math.log(2), "how": how + given_text(conditions)}
    return Score(mean, error, error, (mean,), count, extra=extra)


def given_text(conditions: Mapping[str, ConditionKind]) -> str:
    """Which conditions a probability is given, as the end of a sentence."""
    words = ["given the labels" if name == "label" else kind.describe() for name, kind in conditions.items()]
    return f", {' and '.join(words)}" if words else ""


def coded_bits(
    method: Method, data: Dataset, n: int | None = None, *, codes: int = CODES, seed: int = 0, batch: int = 32
) -> Score:
    """Bits per dimension of held-out examples by importance sampling, log mean_k p(x, z_k) / q(z_k | x); more codes tighten it.

    Zeros and ones, and levels under a mixture of logistics, have probabilities. Under a Gaussian, images are moved uniformly
    within their levels, so that the density bounds the probability of the levels, and vectors have a density in their own units.

    Args:
        method: One that is `HasImportanceWeights`.
        data: The data set; its held-out examples are used.
        n: How many of them; None is all, at most 1,000.
        codes: Codes for each example.
        seed: Example i draws from ``seed + i``.
        batch: Examples that are coded at a time, and with it how many codes of each are drawn at a time.

    Returns:
        As `bits`.

    Raises:
        UsageError: For another method, or a number that cannot be.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5: 5,000 codes an example.
    """
    check_weighed(method, data)
    count, codes = min(len(data.held_out), EXAMPLES) if n is None else check_examples(data, n), whole("codes", codes, 1)
    space, conditions = method.space, method.space.conditions
    device, discrete = next(method.parameters()).device, data.space.levels is not None
    parts = []
    for start in range(0, count, batch):
        part = slice(start, min(start + batch, count))
        x = data.held_out.data_units(part).to(device)
        x = dequantise(x, seed=seed + start) if discrete and not method.discrete else x
        condition = data.held_out.condition(conditions, part, device)
        nats = _weighed(method, space.to_model(x), condition, codes, seed + start)
        parts.append(-nats / (space.size * math.log(2)) if method.discrete else bits_per_dim(nats + space.log_det, space))
    return _score(torch.cat(parts), data, f"importance sampling, {codes:,} codes an example", conditions)


def check_weighed(method: Method, data: Dataset) -> None:
    """Refuse a model without latents that estimate a likelihood, and data without what it is given.

    Raises:
        UsageError: Saying what to take.
    """
    if not isinstance(method, HasImportanceWeights):
        raise UsageError(f"A {type(method).__name__} has no latents to estimate a likelihood with; take a vae or an hvae.")
    if isinstance(method, VAE) and method.bound.beta == 0:
        raise UsageError("bpd: trained with beta 0 this is a plain autoencoder, whose codes have no distribution to weigh with.")
    conditions = method.space.conditions
    if not met(conditions, data.space.conditions):
        raise UsageError(
            f"bpd: this model learned p(x | condition) with {described(conditions)}; {data.name} has "
            f"{described(data.space.conditions)}. Take the data with its labels, or a model trained without them."
        )


def _weighed(method: HasImportanceWeights, x: Tensor, condition: Condition, codes: int, seed: int) -> Tensor:
    """The bound for each example, nats float64 (n,), decoding a bounded number of codes at a time."""
    draws, weights, left = ExampleDraws(seed, len(x), "codes", x.device), [], codes
    while left:
        few = min(left, max(1, WEIGHED // len(x)))
        with torch.no_grad():
            weights.append(method.log_weights(x, few, draws, condition).double().cpu())
        left -= few
    return importance_bound(torch.cat(weights, 1))


def _spread(flow: Flow, train: Split, conditions: Mapping[str, ConditionKind]) -> float:
    x, condition = _examples(train, np.arange(min(FITTED, len(train))), flow, conditions)
    return decoder_spread(flow, x, condition)


def _examples(split: Split, index: np.ndarray, flow: Flow, conditions: Mapping[str, ConditionKind]) -> tuple[Tensor, Condition]:
    return split.data_units(index).to(flow.device), split.condition(conditions, index, flow.device)
