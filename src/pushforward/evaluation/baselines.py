"""Baselines without a network: one Gaussian per class; for tables, a mixture, independent columns and copied rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset, Space, TableSpace
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.evaluation.features import strongest
from pushforward.evaluation.results import INDEPENDENT_ROWS, ROW_COPIES
from pushforward.tables.coordinates import Coordinates, gumbel
from pushforward.transports import Transport

FULL = 1024  # Columns up to which the full covariance is used
RANK = 256  # Directions that are kept for more columns; the rest of the variance is independent noise per column
SHRINKAGE = (
    1e-3  # Share of each covariance that is replaced by independent noise of the same variance
)
ROWS = 50_000  # Rows that a mixture is fitted to at most
ROWS_EACH = 100  # Rows for each component, at least
COMPONENTS = 256
ITERATIONS = 60
ENOUGH = 1e-3  # A gain of so few nats a row ends the fit
PRIOR = 1.0  # Rows of the whole table that join each component
NARROWEST = 0.02  # The least standard deviation of a component's scores
BLOCK = 8192


class GaussianBaseline(Transport):
    """One Gaussian per class, or one in total for unlabelled data; x = mean + z_1 factor + z_2 residual.

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
        """Fit Gaussians to the training split; a class without examples gets the Gaussian of all examples."""
        space = dataset.space
        labels = dataset.train.labels
        examples = np.arange(len(dataset.train))
        groups = [examples]
        if space.classes and labels is not None:
            groups = [np.flatnonzero(labels == label) for label in range(len(space.classes))]
        parts = [_gaussian(dataset, group if len(group) else examples) for group in groups]
        means, factors, residuals = zip(*parts, strict=True)
        return cls(space, torch.stack(means), list(factors), torch.stack(residuals))

    @property
    def device(self) -> torch.device:
        """Return the device of the means."""
        return self.means.device

    def forward(
        self, z: Tensor, condition: Mapping[str, Tensor] | None = None, draws: Draws | None = None
    ) -> Tensor:
        """Generate examples in model units, (n, *shape).

        Examples are computed one by one, because rounding in batched matrix products depends on the batch size.
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
            log_probs[which == label] = density.log_prob(examples[which == label])  # type: ignore[no-untyped-call]
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
        values, axes = strongest(centred, RANK)
        factor = (values / np.sqrt(len(centred)))[:, None] * axes.T
    factor = factor * np.sqrt(1 - SHRINKAGE)
    residual = np.sqrt(np.clip(variance - (factor**2).sum(0), 0, None))
    return tuple(
        torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))
        for part in (mean, factor, residual)
    )  # type: ignore[return-value]


class RowMixture(Transport):
    """Mixture of k components with independent columns: categorical indicators and normal scores.

    Args:
        space: Space of the table.
        weights: Component weights, (k,).
        logits: Log-probabilities of indicators, (k, d); 0 for scores.
        means: Means of scores over rows that have one, (k, s).
        deviations: Standard deviations of scores, (k, s).

    References:
        Shallow mixtures are a strong baseline of tables, for example beside Tractable Probabilistic Circuits (TabPC, 2026).
    """

    calls = 0  # type: ignore[assignment] # there is no network
    weights: Tensor
    logits: Tensor
    means: Tensor
    deviations: Tensor

    def __init__(
        self, space: TableSpace, weights: Tensor, logits: Tensor, means: Tensor, deviations: Tensor
    ) -> None:
        super().__init__()
        self.space, self.layout = space, Coordinates(space)
        for name, value in {
            "weights": weights,
            "logits": logits,
            "means": means,
            "deviations": deviations,
        }.items():
            self.register_buffer(name, value)
        self.noise_shape = (1 + space.size,)

    @classmethod
    def fit(
        cls, data: Dataset, components: int | None = None, iterations: int = ITERATIONS
    ) -> RowMixture:
        """Fit the mixture by expectation-maximisation to at most 50,000 training rows.

        Args:
            data: Table.
            components: Number of components; None for one per 100 rows, at most 256.
            iterations: Maximum number of iterations; a gain of less than 0.001 nats per row ends the fit.
        """
        space = data.space
        assert isinstance(space, TableSpace)
        order = permutation(len(data.train), 0)[:ROWS]
        rows = data.train.data_units(np.sort(order))
        k = max(1, min(COMPONENTS, len(rows) // ROWS_EACH)) if components is None else components
        layout = Coordinates(space)
        known = _Rows(rows, Coordinates(space))
        centres = rows[:: max(1, len(rows) // k)][:k]
        units = rows / layout.std
        shares = torch.nn.functional.one_hot(
            torch.cdist(units, centres / layout.std).argmin(1), len(centres)
        ).float()
        mixture = cls(space, *known.maximised([shares]))
        last = -math.inf
        for _ in range(iterations):
            parts = []
            total = 0.0
            for start in range(0, len(rows), BLOCK):
                joint = known.joint(mixture, slice(start, start + BLOCK))
                norm = torch.logsumexp(joint, 1, keepdim=True)
                total += float(norm.double().sum())
                parts.append((joint - norm).exp())
            mixture = cls(space, *known.maximised(parts))
            if total / len(rows) - last < ENOUGH:
                break
            last = total / len(rows)
        return mixture

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Generate rows in model units, (n, d); z[:, 0] selects the component, the rest is the noise of coordinates."""
        layout = self.layout
        which = torch.searchsorted(
            self.weights.double().cumsum(0), torch.special.ndtr(z[:, 0].double())
        )
        which = which.clamp(max=len(self.weights) - 1)
        noise = z[:, 1:]
        rows = layout.chosen(self.logits[which] + gumbel(noise))
        scores = self.means[which] + self.deviations[which] * noise[:, layout.scores]
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std


class _Rows:
    """Sufficient statistics of rows under products of categorical and normal columns."""

    def __init__(self, rows: Tensor, layout: Coordinates) -> None:
        self.layout, self.counts = layout, rows.index_fill(1, layout.scores, 0.0)
        self.gates = layout.gated(rows)
        self.first = self.gates * rows[:, layout.scores]
        self.second = self.first * rows[:, layout.scores]

    def joint(self, mixture: RowMixture, block: slice) -> Tensor:
        """Compute log p(row, component), (n, k)."""
        precision = mixture.deviations.square().reciprocal()
        constant = (
            -(mixture.means.square() * precision + math.log(2 * math.pi)) / 2
            - mixture.deviations.log()
        )
        joint = self.counts[block] @ mixture.logits.T + self.gates[block] @ constant.T
        joint = (
            joint
            + self.first[block] @ (mixture.means * precision).T
            - self.second[block] @ (precision / 2).T
        )
        return joint + mixture.weights.log()

    def maximised(self, shares: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute weights, logits, means and standard deviations from the component probabilities of rows, blocks of (n, k)."""

        def summed(values: Tensor) -> Tensor:
            parts = torch.split(values, [len(part) for part in shares])
            return torch.stack(
                [part.T @ value for part, value in zip(shares, parts, strict=True)]
            ).sum(0)

        total = torch.stack([part.sum(0) for part in shares]).sum(0)
        counts = summed(self.counts) + PRIOR * self.counts.mean(0)
        logits = (
            (counts / (total[:, None] + PRIOR))
            .clamp(min=1e-12)
            .log()
            .index_fill(1, self.layout.scores, 0.0)
        )
        gates = summed(self.gates) + PRIOR * self.gates.mean(0).clamp(min=1e-12)
        means = (summed(self.first) + PRIOR * self.first.mean(0)) / gates
        squares = (summed(self.second) + PRIOR * self.second.mean(0)) / gates
        deviations = (squares - means.square()).clamp(min=NARROWEST**2).sqrt()
        weights = (total + PRIOR) / (total + PRIOR).sum()
        return weights, logits, means, deviations


class DrawnRows(Transport):
    """Training rows drawn with replacement, as whole rows or column by column.

    Args:
        space: Space of the table.
        rows: Training rows in data units, (n, d).
        whole: Whether to draw whole rows, which are copies. If False, columns are drawn independently.
    """

    calls = 0  # type: ignore[assignment] # there is no network
    rows: Tensor

    def __init__(self, space: TableSpace, rows: Tensor, whole: bool) -> None:
        super().__init__()
        self.space = space
        self.whole = whole
        self.register_buffer("rows", rows)
        self.register_buffer(
            "owners",
            torch.zeros(space.size, dtype=torch.int64) if whole else torch.tensor(space.owners),
        )
        self.noise_shape = (1 if whole else len(space.fields),)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Generate rows in model units, (n, d); each column of z selects a training row."""
        places = (
            (torch.special.ndtr(z.double()) * len(self.rows)).long().clamp(max=len(self.rows) - 1)
        )
        return self.space.to_model(self.rows.gather(0, places[:, self.owners]))


def drawn_rows(data: Dataset) -> dict[str, DrawnRows]:
    """Create the further baselines of a table by name; copied rows only if the training rows are known."""
    space = data.space
    if not isinstance(space, TableSpace):
        return {}
    rows = data.train.data_units()
    if data.trained_on is not False:
        copies = {ROW_COPIES: DrawnRows(space, rows, whole=True)}
    else:
        copies = {}
    return {INDEPENDENT_ROWS: DrawnRows(space, rows, whole=False), **copies}
