"""The no-network row of a table: a mixture of rows with independent columns."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pushforward.data.core.dataset import Dataset
from pushforward.data.core.keys import permutation
from pushforward.data.spaces import TableSpace
from pushforward.data.tables.encoding import Coordinates, gumbel
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.transports import Transport

__all__ = ["RowMixture"]

ROWS = 50_000
"""Rows that a mixture is fitted to at most."""
ROWS_EACH = 100
"""Rows for each component, at least."""
COMPONENTS = 256
ITERATIONS = 60
ENOUGH = 1e-3
"""A gain of so few nats a row ends the fit."""
PRIOR = 1.0
"""Rows of the whole table that join each component."""
NARROWEST = 0.02
"""The least standard deviation of a component's scores."""
BLOCK = 8192


class RowMixture(Transport):
    """Rows from one of k components, in each of which columns are independent: blocks categorical, scores normal.

    It samples like any transport: sample i comes from ``seed + i`` alone, bit for bit at every batch size.

    Args:
        space: The table's columns.
        weights: Of the components, (k,).
        logits: Log-probabilities of indicators, (k, d); 0 for scores.
        means: Of scores, in rows that have one, (k, s).
        deviations: Of scores, (k, s).

    References:
        Shallow mixtures are a strong baseline of tables, for example beside Tractable Probabilistic Circuits (TabPC, 2026).
    """

    weights: Tensor
    logits: Tensor
    means: Tensor
    deviations: Tensor

    def __init__(self, space: TableSpace, weights: Tensor, logits: Tensor, means: Tensor, deviations: Tensor) -> None:
        super().__init__()
        self.space, self.layout = space, Coordinates(space)
        for name, value in {"weights": weights, "logits": logits, "means": means, "deviations": deviations}.items():
            self.register_buffer(name, value)
        self.noise_shape = (1 + space.size,)

    @classmethod
    def fit(cls, data: Dataset, components: int | None = None, iterations: int = ITERATIONS) -> RowMixture:
        """Fit by expectation-maximisation to the training split, at most 50,000 of its rows.

        Args:
            data: A table.
            components: How many; None takes one for each 100 rows, at most 256.
            iterations: At most; a gain of less than 0.001 nats a row ends the fit.
        """
        space = data.space
        assert isinstance(space, TableSpace)
        order = permutation(len(data.train), 0)[:ROWS]
        rows = data.train.data_units(np.sort(order))
        k = max(1, min(COMPONENTS, len(rows) // ROWS_EACH)) if components is None else components
        layout, known = Coordinates(space), _Rows(rows, Coordinates(space))
        centres = rows[:: max(1, len(rows) // k)][:k]
        units = rows / layout.std
        shares = torch.nn.functional.one_hot(torch.cdist(units, centres / layout.std).argmin(1), len(centres)).float()
        mixture, last = cls(space, *known.maximised([shares])), -math.inf
        for _ in range(iterations):
            parts, total = [], 0.0
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

    @property
    def calls(self) -> int:
        """None: there is no network."""
        return 0

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Rows in model units, (n, d): z[0] selects the component, the rest is the noise of coordinates."""
        layout = self.layout
        which = torch.searchsorted(self.weights.double().cumsum(0), torch.special.ndtr(z[:, 0].double()))
        which, noise = which.clamp(max=len(self.weights) - 1), z[:, 1:]
        rows = layout.chosen(self.logits[which] + gumbel(noise))
        scores = self.means[which] + self.deviations[which] * noise[:, layout.scores]
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p of rows in data units, nats (n,): probabilities of indicators, densities of scores."""
        return torch.logsumexp(_Rows(x, self.layout).joint(self, slice(None)), 1)


class _Rows:
    """Rows of a table as statistics of a product of categorical and normal columns, in which both halves of a step are linear."""

    def __init__(self, rows: Tensor, layout: Coordinates) -> None:
        self.layout, self.counts = layout, rows.index_fill(1, layout.scores, 0.0)
        self.gates = layout.gated(rows)
        self.first = self.gates * rows[:, layout.scores]
        self.second = self.first * rows[:, layout.scores]

    def joint(self, mixture: RowMixture, block: slice) -> Tensor:
        """Log p(row, component), (n, k)."""
        precision = mixture.deviations.square().reciprocal()
        constant = -(mixture.means.square() * precision + math.log(2 * math.pi)) / 2 - mixture.deviations.log()
        joint = self.counts[block] @ mixture.logits.T + self.gates[block] @ constant.T
        joint = joint + self.first[block] @ (mixture.means * precision).T - self.second[block] @ (precision / 2).T
        return joint + mixture.weights.log()

    def maximised(self, shares: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights, logits, means and deviations for the components' shares of rows, blocks of (n, k)."""

        def summed(values: Tensor) -> Tensor:
            parts = torch.split(values, [len(part) for part in shares])
            return torch.stack([part.T @ value for part, value in zip(shares, parts, strict=True)]).sum(0)

        total = torch.stack([part.sum(0) for part in shares]).sum(0)
        counts = summed(self.counts) + PRIOR * self.counts.mean(0)
        logits = (counts / (total[:, None] + PRIOR)).clamp(min=1e-12).log().index_fill(1, self.layout.scores, 0.0)
        gates = summed(self.gates) + PRIOR * self.gates.mean(0).clamp(min=1e-12)
        means = (summed(self.first) + PRIOR * self.first.mean(0)) / gates
        squares = (summed(self.second) + PRIOR * self.second.mean(0)) / gates
        deviations = (squares - means.square()).clamp(min=NARROWEST**2).sqrt()
        weights = (total + PRIOR) / (total + PRIOR).sum()
        return weights, logits, means, deviations
