"""The no-network row: a Gaussian for each class. A model that does not beat it has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.draws import Draws
from pushforward.evaluation.reduction import strongest
from pushforward.transports import Transport

__all__ = ["GaussianBaseline"]

FULL = 1024
"""Columns up to which the covariance is kept whole."""
RANK = 256
"""Directions that are kept above; the rest of the variance is independent noise per column."""
SHRINKAGE = 1e-3
"""Share of each covariance that is replaced by independent noise of the same variance."""


class GaussianBaseline(Transport):
    """One Gaussian per class, or one in all for unlabelled data; x = mean + z_1 factor + z_2 residual.

    It samples like any transport: `sample`, `stream`, examples from ``seed + i`` alone, bit for bit at every batch size.

    Args:
        space: The data's shape and units.
        means: (classes, d), model units.
        factors: For each class (rank, d), so that factor' factor is its covariance without the residual.
        residuals: (classes, d) standard deviations of the independent part.
    """

    means: Tensor
    residuals: Tensor

    def __init__(self, space: Space, means: Tensor, factors: list[Tensor], residuals: Tensor) -> None:
        super().__init__()
        self.space, self.factors = space, factors
        self.register_buffer("means", means)
        self.register_buffer("residuals", residuals)
        self._rank = max(len(factor) for factor in factors)
        self.noise_shape = (self._rank + space.size,)

    @classmethod
    def fit(cls, dataset: Dataset) -> GaussianBaseline:
        """Measure the Gaussians on the training split; a class without examples gets the Gaussian of all."""
        space, labels = dataset.space, dataset.train.labels
        examples = np.arange(len(dataset.train))
        if space.classes and labels is not None:
            groups = [np.flatnonzero(labels == label) for label in range(len(space.classes))]
        else:
            groups = [examples]
        parts = [_gaussian(dataset, group if len(group) else examples) for group in groups]
        means, factors, residuals = zip(*parts, strict=True)
        return cls(space, torch.stack(means), list(factors), torch.stack(residuals))

    @property
    def calls(self) -> int:
        """None: there is no network."""
        return 0

    @property
    def device(self) -> torch.device:
        """Where the means are."""
        return self.means.device

    def forward(self, z: Tensor, condition: Mapping[str, Tensor] | None = None, draws: Draws | None = None) -> Tensor:
        """Examples in model units, (n, *shape).

        Each example is computed by itself: a matrix product over a batch rounds differently at different batch sizes.
        """
        labels = condition["label"].tolist() if condition and len(self.factors) > 1 else [0] * len(z)
        out = self.means[labels] + z[:, self._rank :] * self.residuals[labels]
        for example, label in enumerate(labels):
            factor = self.factors[label]
            if len(factor):
                out[example] += z[example, : len(factor)].clone() @ factor
        return out.reshape(-1, *self.space.shape)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor | None:
        """Log density of examples in data units, nats float64 (n,); None where a covariance is singular or over 1,024 wide.

        Args:
            x: Data units, (n, *shape).
            labels: int64 (n,), where there is a Gaussian for each class.
        """
        if self.space.size > FULL:
            return None
        examples = self.space.to_model(x.double()).flatten(1)
        which = torch.zeros(len(examples), dtype=torch.int64) if labels is None or len(self.factors) == 1 else labels
        log_probs = torch.empty(len(examples), dtype=torch.float64)
        for label, factor in enumerate(self.factors):
            covariance = factor.double().T @ factor.double() + torch.diag(self.residuals[label].double().square())
            scale, failed = torch.linalg.cholesky_ex(covariance)
            if failed:
                return None
            density = torch.distributions.MultivariateNormal(self.means[label].double(), scale_tril=scale, validate_args=False)
            log_probs[which == label] = density.log_prob(examples[which == label])  # type: ignore[no-untyped-call]
        return log_probs + self.space.log_det


def _gaussian(dataset: Dataset, examples: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    x = dataset.space.to_model(dataset.train.data_units(examples)).flatten(1).numpy()
    d, mean = x.shape[1], x.mean(0, dtype=np.float64)
    centred = (x - mean.astype(np.float32)).astype(np.float64 if d <= FULL else np.float32)
    variance = (centred**2).mean(0, dtype=np.float64)
    factor = _whole(centred) if d <= FULL else _largest(centred)
    factor = factor * np.sqrt(1 - SHRINKAGE)
    residual = np.sqrt(np.clip(variance - (factor**2).sum(0), 0, None))
    return tuple(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in (mean, factor, residual))  # type: ignore[return-value]


def _whole(centred: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    some = values > 1e-10 * max(float(values[-1]), 1e-30)
    factor: np.ndarray = np.sqrt(values[some])[:, None] * vectors.T[some]
    return factor


def _largest(centred: np.ndarray) -> np.ndarray:
    values, axes = strongest(centred, RANK)
    factor: np.ndarray = (values / np.sqrt(len(centred)))[:, None] * axes.T
    return factor
