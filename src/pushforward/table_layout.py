"""How the coordinates of a table's rows lie: scores, blocks of indicators, columns."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data.spaces import TableSpace
from pushforward.data.tables import Number

__all__ = ["LEAST_ENTROPY", "TableLayout"]

LEAST_ENTROPY = 0.1
"""The least entropy, in nats, by which the cross-entropy of a block is divided: columns that hardly vary count for less."""
LEAST_SHARE = 1e-6


class TableLayout(nn.Module):
    """Index tables and constants of a table's coordinates, for tensors of rows (n, d).

    Args:
        table: The table's space.
    """

    owner: Tensor
    indicator: Tensor
    mean: Tensor
    scale: Tensor
    prior: Tensor
    gate: Tensor
    entropy: Tensor
    place: Tensor
    score: Tensor
    first: Tensor
    blocked: Tensor
    absent: Tensor
    edges: Tensor
    closed: Tensor

    def __init__(self, table: TableSpace) -> None:
        super().__init__()
        self.table = table
        self.size, self.count = table.shape[0], len(table.fields)
        shares = np.array(table.mean)
        indicator = np.zeros(self.size, dtype=bool)
        gate = np.full(self.size, self.size)
        for start, stop in table.blocks:
            indicator[start:stop] = True
            if start and table.owners[start - 1] == table.owners[start]:
                gate[start - 1] = start
        with np.errstate(divide="ignore"):
            prior = np.where(indicator, np.log(np.maximum(shares, LEAST_SHARE)), 0.0)
        entropy = [sum(-share * math.log(share) for share in field.shares if share > 0) for field in table.fields]
        self._hold("owner", table.owners)
        self._hold("indicator", indicator)
        self._hold("mean", shares, torch.float32)
        self._hold("scale", np.array(table.std), torch.float32)
        self._hold("prior", prior, torch.float32)
        self._hold("gate", gate)
        self._hold("entropy", np.maximum(entropy, LEAST_ENTROPY), torch.float32)
        self._hold("first", np.array(table.starts[:-1]))
        self._hold("blocked", np.array([bool(field.shares) for field in table.fields]))
        absent = np.zeros(self.size, dtype=bool)
        absent[[stop - 1 for field, stop in zip(table.fields, table.starts[1:], strict=True) if field.missing]] = True
        self._hold("absent", absent)
        self._hold("score", np.flatnonzero(~indicator))
        self._group(table)
        self._intervals(table)

    def _hold(self, name: str, values: np.ndarray, dtype: torch.dtype | None = None) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)).to(dtype), persistent=False)

    def _group(self, table: TableSpace) -> None:
        """Blocks of one width together, so that a hundred columns of two categories are a single operation."""
        widths = sorted({stop - start for start, stop in table.blocks})
        groups = [np.array([np.arange(a, b) for a, b in table.blocks if b - a == width]) for width in widths]
        self.groups = len(groups)
        for number, group in enumerate(groups):
            self._hold(f"group{number}", group)
        place = np.full(self.size, sum(group.size for group in groups))
        order = np.concatenate([group.ravel() for group in groups]) if groups else np.zeros(0, dtype=np.int64)
        place[order] = np.arange(len(order))
        self._hold("place", place)

    def _intervals(self, table: TableSpace) -> None:
        """The ranks where the values of a closed column and the knots of an open one begin and end, filled up with 1."""
        scored = [field for field in table.fields if isinstance(field, Number)]
        ranks = [field.bounds for field in scored]
        longest = max((len(rank) for rank in ranks), default=0)
        edges = np.ones((len(scored), longest + 1))
        for row, rank in zip(edges, ranks, strict=True):
            row[: len(rank)] = rank
        self._hold("edges", edges, torch.float64)
        self._hold("closed", np.array([field.closed for field in scored], dtype=bool))

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Log-probabilities of the indicators of each block, (n, d); 0 at scores."""
        parts = [getattr(self, f"group{number}") for number in range(self.groups)]
        within = [torch.log_softmax(logits[:, index], dim=-1).flatten(1) for index in parts]
        return torch.cat([*within, logits.new_zeros(len(logits), 1)], dim=1)[:, self.place]

    def by_column(self, values: Tensor) -> Tensor:
        """Sums over the coordinates of each column, (n, columns)."""
        return values.new_zeros(len(values), self.count).index_add_(1, self.owner, values)

    def ordinary(self, indicators: Tensor) -> Tensor:
        """For each coordinate the indicator that its score counts, (n, d): 1 for indicators and in columns without any."""
        return torch.cat([indicators, indicators.new_ones(len(indicators), 1)], dim=1)[:, self.gate]

    def spread(self, x: Tensor, normal: Tensor) -> Tensor:
        """Rows whose scores have a standard normal law in each column.

        A value of a closed column and a knot of an open one hold an interval of ranks, in which the score is drawn. A score that
        does not count, that of an atom or of a missing value, is noise.

        Args:
            x: Coordinates in data units, (n, d).
            normal: Standard normal numbers, one for each score, (n, scores).
        """
        scores = x[:, self.score]
        rank, edges = torch.special.ndtr(scores.double()).T.contiguous(), self.edges
        after = torch.searchsorted(edges, rank).clamp(max=edges.shape[1] - 1)
        upper = edges.gather(1, after)
        lower = torch.where(after > 0, edges.gather(1, (after - 1).clamp(min=0)), 0.0)
        u = lower + (upper - lower) * torch.special.ndtr(normal.double()).T
        drawn = torch.special.ndtri(u.clamp(1e-7, 1 - 1e-7)).T.to(x)
        drawn = torch.where(self.closed | (after.T % 2 == 1), drawn, scores)
        drawn = torch.where(self.ordinary(x)[:, self.score] > 0.5, drawn, normal)
        return x.index_copy(1, self.score, drawn)
