"""What an encoder's codes hold: reconstructions, the KL term number by number, and where it goes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pushforward.data import Dataset, Split
from pushforward.data.keys import permutation
from pushforward.denoiser import Condition
from pushforward.evaluation.features import Features
from pushforward.methods.bounds import active_units, divergences, explained
from pushforward.metrics.reconstruction import psnr, ssim
from pushforward.transports import Autoencoder

__all__ = ["CERTAIN", "chosen", "code_health", "encoded", "reconstructed", "reconstruction"]

ROWS = 1000
"""Held-out rows that are coded at most."""
PART = 250
MOST = 64
"""Numbers of a code whose KL terms are listed, the largest first."""
FEWEST = 4
"""Rows for each unit from which a covariance of codes is measured."""
CERTAIN = -30.0
"""Log-variances below this are of codes that have none: a plain autoencoder's, or quantised ones."""


def chosen(split: Split, n: int, labelled: bool, seed: int = 0) -> tuple[Tensor, Condition]:
    """Some rows of a split in data units, the same ones for the same n, with their labels where asked for."""
    rows = permutation(len(split), seed)[:n]
    labels = split.labels if labelled else None
    return split.data_units(rows), None if labels is None else {"label": torch.from_numpy(labels[rows])}


def encoded(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """The mean codes of rows in data units, float64 on the CPU, (n, c, ...)."""
    return _moments(autoencoder, x, condition).chunk(2, dim=1)[0]


def _moments(autoencoder: Autoencoder, x: Tensor, condition: Condition) -> Tensor:
    made = []
    for start in range(0, len(x), PART):
        part = slice(start, start + PART)
        with torch.no_grad():
            rows = autoencoder.space.to_model(x[part].to(autoencoder.device))
            made.append(autoencoder.moments(rows, _part(condition, part, autoencoder)).double().cpu())
    return torch.cat(made)


def reconstructed(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """Rows coded by their mean codes and decoded, data units, on the CPU.

    Args:
        autoencoder: Any.
        x: Data units, (n, *shape).
        condition: None or a dict of tensors with n rows.
    """
    made = []
    for start in range(0, len(x), PART):
        part = slice(start, start + PART)
        given = _part(condition, part, autoencoder)
        with torch.no_grad():
            codes = autoencoder.encode(autoencoder.space.to_model(x[part].to(autoencoder.device)), given)
            made.append(autoencoder.space.to_data(autoencoder.decode(codes, given)).float().cpu())
    return torch.cat(made)


def _part(condition: Condition, part: slice, autoencoder: Autoencoder) -> Condition:
    return None if condition is None else {name: rows[part].to(autoencoder.device) for name, rows in condition.items()}


def reconstruction(autoencoder: Autoencoder, data: Dataset, features: Features, n: int = ROWS) -> dict[str, Any]:
    """How near reconstructions of held-out rows are to them.

    Args:
        autoencoder: On the CPU or a device.
        data: Its held-out rows are used.
        features: In which rows are compared as well.
        n: How many at most.

    Returns:
        ``explained`` (the share of the variance about the mean row), ``feature_distance`` (mean squared distance in features, in
        which the data has unit variance), and for images ``psnr`` (decibels) and ``ssim``; means over rows. ``n``.
    """
    x, condition = chosen(data.held_out, min(n, len(data.held_out)), bool(autoencoder.space.classes))
    made = reconstructed(autoencoder, x, condition)
    apart = features(x, len(x)) - features(made, len(x))
    found: dict[str, Any] = {
        "n": len(x),
        "explained": float(explained(data.space.to_model(x), data.space.to_model(made))),
        "feature_distance": float((apart**2).sum(1).mean()),
    }
    if data.space.kind == "image":
        found |= {"psnr": float(psnr(x.numpy(), made.numpy()).mean()), "ssim": float(ssim(x.numpy(), made.numpy()).mean())}
    return found


def code_health(autoencoder: Autoencoder, data: Dataset, n: int = ROWS) -> dict[str, Any] | None:
    """What the codes of held-out rows carry: active units, the KL term by number, and how far all codes together miss the prior.

    The mismatch is KL(N(m, C) | N(0, 1)) with m and C the mean and covariance of codes drawn for all rows together: what a
    Gaussian sees of the gap between the codes of data and the prior from which samples are drawn. (Estimates of the gap itself
    need more rows than e to the KL term.)

    Args:
        autoencoder: Any.
        data: Its held-out rows are used.
        n: How many at most.

    Returns:
        ``units``, ``active``, ``kl`` (nats a row), ``mismatch`` (nats; None where there are fewer than four rows a unit),
        ``by_unit`` (nats, falling, 64 at most), ``n``; None for codes without variances. Where N(0, 1) is not their prior, as
        for an hvae or an autoencoder for latents, ``kl`` and ``mismatch`` are None and ``by_unit`` is empty.

    References:
        Burda et al. (2016), section 5.2, for active units; Hoffman and Johnson, ELBO Surgery (2016), for the gap.
    """
    x, condition = chosen(data.held_out, min(n, len(data.held_out)), bool(autoencoder.space.classes))
    mean, log_variance = (half.flatten(1) for half in _moments(autoencoder, x, condition).chunk(2, dim=1))
    if float(log_variance.max()) < CERTAIN:
        return None
    label = None if condition is None else condition["label"]
    found: dict[str, Any] = {"n": len(x), "units": mean.shape[1], "active": int(active_units(mean, label))}
    if not autoencoder.standard:
        return found | {"kl": None, "mismatch": None, "by_unit": []}
    each = divergences(mean, log_variance).mean(0)
    return found | {
        "kl": float(each.sum()),
        "mismatch": _mismatch(mean, log_variance) if len(x) >= FEWEST * mean.shape[1] else None,
        "by_unit": sorted((float(f"{value:.4g}") for value in each), reverse=True)[:MOST],
    }


def _mismatch(mean: Tensor, log_variance: Tensor) -> float:
    """KL(N(m, C) | N(0, 1)) of all codes together, nats."""
    centre, covariance = mean.mean(0), torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1)
    covariance = covariance + torch.diag(log_variance.exp().mean(0))
    gap = covariance.trace() + centre.square().sum() - len(centre) - torch.linalg.slogdet(covariance).logabsdet
    return float(gap) / 2
