"""Baselines without a network: one Gaussian per class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset, Space
from pushforward.draws import Draws
from pushforward.metrics.subsets import FULL, principal_axes
from pushforward.transports import Transport

# Directions that are kept for more columns; the rest of the variance is independent noise per
# column
RANK = 256
SHRINKAGE = (
    1e-3  # Share of each covariance that is replaced by independent noise of the same variance
)


class GaussianBaseline(Transport):
    """One Gaussian per class, or one in total for unlabelled data.

    X = mean + z_1 factor + z_2 residual.

    Args:
        space: Space of the data.
        means: Means in model units, (classes, d).
        factors: Factors of the covariances without residuals, (rank, d) for each class.
        residuals: Standard deviations of the independent parts, (classes, d).
    """

    calls = 0  # type: ignore[assignment] # there is no network
    means: Tensor
    residuals: Tensor

    def __init__(
        self, space: Space, means: Tensor, factors: list[Tensor], residuals: Tensor
    ) -> None:
        super().__init__()
        self.space = space
        self.factors = factors
        self.register_buffer("means", means)
        self.register_buffer("residuals", residuals)
        self._rank = max(len(factor) for factor in factors)
        self.noise_shape = (self._rank + space.size,)

    @classmethod
    def fit(cls, dataset: Dataset) -> GaussianBaseline:
        """Fit Gaussians to the training split.

        A class without examples gets the Gaussian of all examples.
        """
        space = dataset.space
        labels = dataset.train.labels
        examples = np.arange(len(dataset.train))
        groups = [examples]
        if space.classes and labels is not None:
            groups = [np.flatnonzero(labels == label) for label in range(len(space.classes))]
        parts = [_gaussian(dataset, group if len(group) else examples) for group in groups]
        means, factors, residuals = zip(*parts, strict=True)
        return cls(space, torch.stack(means), list(factors), torch.stack(residuals))

    def forward(
        self, z: Tensor, condition: Mapping[str, Tensor] | None = None, draws: Draws | None = None
    ) -> Tensor:
        """Generate examples in model units, (n, *shape).

        Examples are computed one by one, because rounding in batched matrix products depends on the
        batch size.
        """
        if condition and len(self.factors) > 1:
            labels = condition["label"].tolist()
        else:
            labels = [0] * len(z)
        out = self.means[labels] + z[:, self._rank :] * self.residuals[labels]
        for example, label in enumerate(labels):
            factor = self.factors[label]
            if len(factor):
                out[example] += z[example, : len(factor)].clone() @ factor
        return out.reshape(-1, *self.space.shape)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor | None:
        """Compute the log density of examples in nats, float64 (n,).

        Args:
            x: Examples in data units, (n, *shape).
            labels: Labels, int64 (n,), if there is one Gaussian per class.

        Returns:
            Log density; None if a covariance is singular, or there are more than 1,024 dimensions.
        """
        if self.space.size > FULL:
            return None
        examples = self.space.to_model(x.double()).flatten(1)
        if labels is None or len(self.factors) == 1:
            which = torch.zeros(len(examples), dtype=torch.int64)
        else:
            which = labels
        log_probs = torch.empty(len(examples), dtype=torch.float64)
        for label, factor in enumerate(self.factors):
            covariance = factor.double().T @ factor.double() + torch.diag(
                self.residuals[label].double().square()
            )
            scale, failed = torch.linalg.cholesky_ex(covariance)
            if failed:
                return None
            density = torch.distributions.MultivariateNormal(
                self.means[label].double(), scale_tril=scale, validate_args=False
            )
            own = which == label
            log_probs[own] = density.log_prob(examples[own])  # type: ignore[no-untyped-call]
        return log_probs + self.space.log_det


def _gaussian(dataset: Dataset, examples: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    x = dataset.space.to_model(dataset.train.data_units(examples)).flatten(1).numpy()
    d = x.shape[1]
    mean = x.mean(0, dtype=np.float64)
    centred = (x - mean.astype(np.float32)).astype(np.float64 if d <= FULL else np.float32)
    variance = (centred**2).mean(0, dtype=np.float64)
    if d <= FULL:
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        some = values > 1e-10 * max(float(values[-1]), 1e-30)
        factor = np.sqrt(values[some])[:, None] * vectors.T[some]
    else:
        variances, axes = principal_axes(centred, RANK)
        factor = np.sqrt(variances)[:, None] * axes.T
    factor = factor * np.sqrt(1 - SHRINKAGE)
    residual = np.sqrt(np.clip(variance - (factor**2).sum(0), 0, None))
    return tuple(
        torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))
        for part in (mean, factor, residual)
    )  # type: ignore[return-value]


def baselines(data: Dataset) -> dict[str, GaussianBaseline]:
    """Fit one Gaussian per class, or one in total for unlabelled data."""
    name = "one Gaussian per class" if data.space.classes else "one Gaussian"
    return {name: GaussianBaseline.fit(data)}
