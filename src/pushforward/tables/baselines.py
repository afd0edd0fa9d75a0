"""Baselines of tables without a network: a mixture, independent columns and copied rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.tables.coordinates import Coordinates, gumbel
from pushforward.tables.space import TableSpace
from pushforward.transports import Transport

INDEPENDENT_ROWS = "independent columns"
ROW_COPIES = "copied rows"
ROWS = 50_000  # Rows that a mixture is fitted to at most
ROWS_EACH = 100  # Rows for each component, at least
COMPONENTS = 256
ITERATIONS = 60
ENOUGH = 1e-3  # A gain of so few nats a row ends the fit
PRIOR = 1.0  # Rows of the whole table that join each component
NARROWEST = 0.02  # The least standard deviation of a component's scores


class RowMixture(Transport):
    """Mixture of k components with independent columns: categorical indicators and normal scores.

    Args:
        space: Space of the table.
        weights: Component weights, (k,).
        logits: Log-probabilities of indicators, (k, d); 0 for scores.
        means: Means of scores over rows that have one, (k, s).
        deviations: Standard deviations of scores, (k, s).

    References:
        Shallow mixtures are a strong baseline of tables, for example beside Tractable Probabilistic
        Circuits (TabPC, 2026).
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
        self.space = space
        self.layout = Coordinates(space)
        self.register_buffer("weights", weights)
        self.register_buffer("logits", logits)
        self.register_buffer("means", means)
        self.register_buffer("deviations", deviations)
        self.noise_shape = (1 + space.size,)

    @classmethod
    def fit(
        cls, data: Dataset, components: int | None = None, iterations: int = ITERATIONS
    ) -> RowMixture:
        """Fit the mixture by expectation-maximisation to at most 50,000 training rows.

        Args:
            components: Number of components; None for one per 100 rows, at most 256.
            iterations: Maximum number of iterations; a gain of less than 0.001 nats per row ends
                the fit.
        """
        space = data.space
        assert isinstance(space, TableSpace)
        order = permutation(len(data.train), 0)[:ROWS]
        rows = data.train.data_units(np.sort(order))
        k = components or max(1, min(COMPONENTS, len(rows) // ROWS_EACH))
        layout = Coordinates(space)
        known = _Rows(rows, layout)
        centres = rows[:: max(1, len(rows) // k)][:k]
        nearest = torch.cdist(rows / layout.std, centres / layout.std).argmin(1)
        shares = torch.nn.functional.one_hot(nearest, len(centres)).float()
        mixture = cls(space, *known.maximised(shares))
        last = -math.inf
        for _ in range(iterations):
            joint = known.joint(mixture)
            norm = torch.logsumexp(joint, 1, keepdim=True)
            mixture = cls(space, *known.maximised((joint - norm).exp()))
            mean = float(norm.double().mean())
            if mean - last < ENOUGH:
                break
            last = mean
        return mixture

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Generate rows in model units, (n, d).

        Z[:, 0] selects the component, the rest is the noise of coordinates.
        """
        layout = self.layout
        ends = self.weights.double().cumsum(0)
        which = torch.searchsorted(ends, torch.special.ndtr(z[:, 0].double()))
        which = which.clamp(max=len(self.weights) - 1)
        noise = z[:, 1:]
        indicators = layout.chosen(self.logits[which] + gumbel(noise))
        scores = self.means[which] + self.deviations[which] * noise[:, layout.scores]
        return layout.joined(indicators, scores)


class _Rows:
    def __init__(self, rows: Tensor, layout: Coordinates) -> None:
        self.layout = layout
        self.counts = rows.index_fill(1, layout.scores, 0.0)
        self.gates = layout.gated(rows)
        self.first = self.gates * rows[:, layout.scores]
        self.second = self.first * rows[:, layout.scores]

    def joint(self, mixture: RowMixture) -> Tensor:
        precision = mixture.deviations.square().reciprocal()
        squares = mixture.means.square() * precision + math.log(2 * math.pi)
        constant = -squares / 2 - mixture.deviations.log()
        of_indicators = self.counts @ mixture.logits.T + self.gates @ constant.T
        linear = self.first @ (mixture.means * precision).T
        quadratic = self.second @ (precision / 2).T
        return of_indicators + linear - quadratic + mixture.weights.log()

    def maximised(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        total = shares.sum(0) + PRIOR
        counts = shares.T @ self.counts + PRIOR * self.counts.mean(0)
        logits = (counts / total[:, None]).clamp(min=1e-12).log()
        logits = logits.index_fill(1, self.layout.scores, 0.0)
        gates = shares.T @ self.gates + PRIOR * self.gates.mean(0).clamp(min=1e-12)
        means = (shares.T @ self.first + PRIOR * self.first.mean(0)) / gates
        squares = (shares.T @ self.second + PRIOR * self.second.mean(0)) / gates
        deviations = (squares - means.square()).clamp(min=NARROWEST**2).sqrt()
        return total / total.sum(), logits, means, deviations


class DrawnRows(Transport):
    """Training rows drawn with replacement, as whole rows or column by column.

    Args:
        space: Space of the table.
        rows: Training rows in data units, (n, d).
        whole: Whether to draw whole rows, which are copies. If False, columns are drawn
            independently.
    """

    calls = 0  # type: ignore[assignment] # there is no network
    rows: Tensor

    def __init__(self, space: TableSpace, rows: Tensor, whole: bool) -> None:
        super().__init__()
        self.space = space
        self.whole = whole
        self.register_buffer("rows", rows)
        owners = torch.tensor(space.owners)
        self.register_buffer("owners", torch.zeros_like(owners) if whole else owners)
        self.noise_shape = (1 if whole else len(space.fields),)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Generate rows in model units, (n, d); each column of z selects a training row."""
        last = len(self.rows) - 1
        places = (torch.special.ndtr(z.double()) * len(self.rows)).long().clamp(max=last)
        return self.space.to_model(self.rows.gather(0, places[:, self.owners]))


def drawn_rows(data: Dataset) -> dict[str, DrawnRows]:
    """Create the samplers of training rows by name.

    Copied rows only if the training rows are known.
    """
    space = data.space
    assert isinstance(space, TableSpace)
    rows = data.train.data_units()
    samplers = {INDEPENDENT_ROWS: DrawnRows(space, rows, whole=False)}
    if data.trained_on is not False:
        samplers[ROW_COPIES] = DrawnRows(space, rows, whole=True)
    return samplers


def baselines(data: Dataset) -> dict[str, Transport]:
    """Fit the mixture of a table, and create the samplers of its training rows."""
    mixture = RowMixture.fit(data)
    return {f"mixture of {len(mixture.weights)}": mixture, **drawn_rows(data)}
