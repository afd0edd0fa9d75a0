"""Statistics of a latent space: reconstructions, active units, the KL term by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from pushforward.conditions.kind import met
from pushforward.data import Dataset, Split
from pushforward.data import load as load_data
from pushforward.data.core.keys import permutation
from pushforward.denoisers import Condition
from pushforward.evaluation.features import Features
from pushforward.evaluation.measurements import CodeStatistics, LatentStatistics, Reconstruction
from pushforward.methods.evidence_bound import active_units, divergences, explained
from pushforward.methods.method import HasAutoencoder
from pushforward.metrics.reconstruction import psnr, ssim
from pushforward.training import Run
from pushforward.transports import Autoencoder

__all__ = [
    "CERTAIN",
    "autoencoder_of",
    "chosen",
    "code_statistics",
    "labelled",
    "latent_statistics",
    "mean_codes",
    "reconstructed",
    "reconstruction",
]

EXAMPLES = 1000
"""Held-out examples that are coded at most."""
PART = 250
MOST = 64
"""Numbers of a code whose KL terms are listed, the largest first."""
FEWEST = 4
"""Examples for each unit from which a covariance of codes is measured."""
CERTAIN = -30.0
"""Log-variances below this are of codes that have none: a plain autoencoder's, or quantised ones."""


def chosen(split: Split, n: int, names: Iterable[str]) -> tuple[Tensor, Condition]:
    """At most n examples of a split in data units, always the same ones, with the conditions of these names."""
    examples = permutation(len(split), 0)[:n]
    return split.data_units(examples), split.condition(names, examples)


def mean_codes(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """The mean codes of examples in data units, float64 on the CPU, (n, c, ...)."""
    return _moments(autoencoder, x, condition).chunk(2, dim=1)[0]


def _moments(autoencoder: Autoencoder, x: Tensor, condition: Condition) -> Tensor:
    return _in_parts(autoencoder, x, condition, lambda examples, given: autoencoder.moments(examples, given).double())


def reconstructed(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """Examples coded by their mean codes and decoded, data units, on the CPU.

    Args:
        autoencoder: Any.
        x: Data units, (n, *shape).
        condition: None or a dict of tensors with n examples.
    """

    def decoded(examples: Tensor, given: Condition) -> Tensor:
        return autoencoder.space.to_data(autoencoder.decode(autoencoder.encode(examples, given), given)).float()

    return _in_parts(autoencoder, x, condition, decoded)


def _in_parts(autoencoder: Autoencoder, x: Tensor, condition: Condition, work: Callable[[Tensor, Condition], Tensor]) -> Tensor:
    """The result of ``work`` on examples in model units and their conditions, some at a time, on the CPU."""
    results = []
    for start in range(0, len(x), PART):
        part = slice(start, start + PART)
        given = None if condition is None else {name: value[part].to(autoencoder.device) for name, value in condition.items()}
        with torch.no_grad():
            results.append(work(autoencoder.space.to_model(x[part].to(autoencoder.device)), given).cpu())
    return torch.cat(results)


def reconstruction(autoencoder: Autoencoder, data: Dataset, features: Features, n: int = EXAMPLES) -> Reconstruction:
    """How near reconstructions of held-out examples are to them.

    Args:
        autoencoder: On the CPU or a device.
        data: Its held-out examples are used.
        features: In which examples are compared as well.
        n: How many at most.

    Returns:
        Means over examples; ``psnr`` and ``ssim`` for images.
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    decoded = reconstructed(autoencoder, x, condition)
    difference = features(x, len(x)) - features(decoded, len(x))
    image = data.space.has_pixels
    return Reconstruction(
        n=len(x),
        explained=float(explained(data.space.to_model(x), data.space.to_model(decoded))),
        feature_distance=float((difference**2).sum(1).mean()),
        psnr=float(psnr(x.numpy(), decoded.numpy()).mean()) if image else None,
        ssim=float(ssim(x.numpy(), decoded.numpy()).mean()) if image else None,
    )


def code_statistics(autoencoder: Autoencoder, data: Dataset, n: int = EXAMPLES) -> CodeStatistics | None:
    """Statistics of the codes of held-out examples: active units, the KL term by number, the distance from the prior.

    The mismatch is KL(N(m, C) | N(0, 1)) with m and C the mean and covariance of codes drawn for all examples together: what a
    Gaussian sees of the gap between the codes of data and the prior from which samples are drawn. (Estimates of the gap itself
    need more examples than e to the KL term.)

    Args:
        autoencoder: Any.
        data: Its held-out examples are used.
        n: How many at most.

    Returns:
        None for codes without variances. Where N(0, 1) is not their prior, as for an hvae or an autoencoder for latents, ``kl``
        and ``mismatch`` are None and ``by_unit`` is empty; ``mismatch`` is None as well for fewer than four examples a unit.

    References:
        Burda et al. (2016), section 5.2, for active units; Hoffman and Johnson, ELBO Surgery (2016), for the gap.
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    mean, log_variance = (half.flatten(1) for half in _moments(autoencoder, x, condition).chunk(2, dim=1))
    if float(log_variance.max()) < CERTAIN:
        return None
    label = None if condition is None else condition.get("label")
    units, active = mean.shape[1], int(active_units(mean, label))
    if not autoencoder.standard:
        return CodeStatistics(len(x), units, active)
    by_unit = divergences(mean, log_variance).mean(0)
    mismatch = _mismatch(mean, log_variance) if len(x) >= FEWEST * units else None
    falling = sorted((float(f"{value:.4g}") for value in by_unit), reverse=True)[:MOST]
    return CodeStatistics(len(x), units, active, float(by_unit.sum()), mismatch, tuple(falling))


def _mismatch(mean: Tensor, log_variance: Tensor) -> float:
    """KL(N(m, C) | N(0, 1)) of all codes together, nats."""
    centre, covariance = mean.mean(0), torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1)
    covariance = covariance + torch.diag(log_variance.exp().mean(0))
    gap = covariance.trace() + centre.square().sum() - len(centre) - torch.linalg.slogdet(covariance).logabsdet
    return float(gap) / 2


def latent_statistics(run: Run, data: Dataset, features: Features) -> LatentStatistics | None:
    """Reconstructions and codes of a run; None without an encoder, and where it needs labels which the data lacks."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder, data = pair
    return LatentStatistics(reconstruction(autoencoder, data, features), code_statistics(autoencoder, data))


def autoencoder_of(run: Run, data: Dataset) -> tuple[Autoencoder, Dataset] | None:
    """A run's autoencoder, and the data with labels where it needs some; None without an encoder or its conditions."""
    if not isinstance(run.method, HasAutoencoder):
        return None
    autoencoder = run.method.autoencoder().eval()
    data = labelled(data) if autoencoder.space.classes else data
    return (autoencoder, data) if met(autoencoder.space.conditions, data.space.conditions) else None


def labelled(data: Dataset) -> Dataset:
    """The data with the labels that its source has, where they were left out of training."""
    origin = data.origin or {}
    if data.space.classes or origin.get("labelled") is not False:
        return data
    again = load_data(**{name: value for name, value in origin.items() if name != "labelled"})
    return again if again.examples_fingerprint == data.examples_fingerprint else data
