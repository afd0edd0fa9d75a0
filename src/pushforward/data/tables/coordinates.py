"""Where scores and blocks of indicators lie among the coordinates of a table, as tensors for networks and losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data.spaces.table import TableSpace
from pushforward.data.tables.number import Number

__all__ = ["Places", "gumbel"]

FARTHEST = 30.0
"""Scores beyond it do not occur: the outer ends of the first and the last value of a closed column."""


class Places(nn.Module):
    """The places of scores and blocks, and the scores that each value of a closed column holds.

    With d coordinates, m indicators, s scores and closed columns of at most e values; blocks of one width are one operation:

    Args:
        space: The table's columns.

    Attributes:
        indicators: The coordinates of indicators, rising, (m,).
        order: The same, blocks of one width together, (m,).
        scores: The coordinates of scores, (s,).
        gates: For each score the coordinate of the indicator that says that the row has one, or d, (s,).
        closed: Which scores are of closed columns, bool (s,).
        edges: Where the scores of a closed column's values begin and end, (s, e + 1), filled up with `FARTHEST`.
        codes: The score that stands for each value, (s, e), filled up with the last.
        mean: Of each coordinate, (d,).
        std: Of each coordinate, (d,).
    """

    indicators: Tensor
    order: Tensor
    scores: Tensor
    gates: Tensor
    closed: Tensor
    edges: Tensor
    codes: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, space: TableSpace) -> None:
        super().__init__()
        self.widths = sorted({stop - start for start, stop in space.blocks})
        groups = [
            torch.stack([torch.arange(start, stop) for start, stop in space.blocks if stop - start == width])
            for width in self.widths
        ]
        order = torch.cat([torch.zeros(0, dtype=torch.int64), *(group.flatten() for group in groups)])
        numbers = [(field, start) for field, start in zip(space.fields, space.starts, strict=False) if isinstance(field, Number)]
        ends = [_ends(field) for field, _ in numbers]
        longest = max((len(codes) for _, codes in ends), default=1)
        constants = {
            **{f"group{number}": group for number, group in enumerate(groups)},
            "indicators": order.sort().values,
            "order": order,
            "scores": torch.tensor([start for _, start in numbers], dtype=torch.int64),
            "gates": torch.tensor([start + 1 if field.shares else space.size for field, start in numbers], dtype=torch.int64),
            "closed": torch.tensor([field.closed for field, _ in numbers], dtype=torch.bool),
            "edges": _filled([edges for edges, _ in ends], longest + 1),
            "codes": _filled([codes for _, codes in ends], longest),
            "mean": torch.tensor(space.mean, dtype=torch.float32),
            "std": torch.tensor(space.std, dtype=torch.float32),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def log_shares(self, logits: Tensor) -> Tensor:
        """Logarithms of each block's probabilities, (n, d), of logits (n, d); 0 for scores."""
        return self._spread([torch.log_softmax(block, dim=2) for block in self._blocks(logits)], logits)

    def chosen(self, logits: Tensor) -> Tensor:
        """Exact indicators of each block's largest logit, 0 or 1, (n, d); 0 for scores."""
        best = [(block, block.argmax(dim=2, keepdim=True)) for block in self._blocks(logits)]
        return self._spread([torch.zeros_like(block).scatter_(2, place, 1.0) for block, place in best], logits)

    def gated(self, indicators: Tensor) -> Tensor:
        """For each score the indicator, or probability, that a row has one, (n, s), of (n, d); 1 in columns without a block."""
        return torch.cat([indicators, torch.ones_like(indicators[:, :1])], dim=1)[:, self.gates]

    def value_of(self, scores: Tensor) -> Tensor:
        """The number of the value that each score stands for in a closed column, (n, s), of scores (n, s)."""
        inner = self.edges[:, 1:-1]
        return torch.searchsorted(inner.contiguous(), scores.T.contiguous()).T

    def _blocks(self, logits: Tensor) -> list[Tensor]:
        """The entries of all blocks of each width, (n, blocks, width)."""
        return [logits[:, self.get_buffer(f"group{number}")] for number in range(len(self.widths))]

    def _spread(self, blocks: list[Tensor], like: Tensor) -> Tensor:
        """Entries of blocks at their coordinates, (n, d)."""
        if not blocks:
            return torch.zeros_like(like)
        parts = torch.cat([block.flatten(1) for block in blocks], dim=1)
        return torch.zeros_like(like, dtype=parts.dtype).index_copy(1, self.order, parts)


def gumbel(noise: Tensor) -> Tensor:
    """Standard Gumbel numbers from standard normal ones, -log(-log Phi(noise)), of the same shape."""
    return -torch.log(-torch.special.log_ndtr(noise))


def _ends(field: Number) -> tuple[list[float], list[float]]:
    """The ends of the scores of each value, and the score that stands for it; of an open column, of one value."""
    if not field.closed or not field.knots:
        return [-FARTHEST, FARTHEST], [0.0]
    knots = np.array(field.knots)
    _, upper = field.intervals(knots)
    inner = torch.special.ndtri(torch.tensor(upper[:-1], dtype=torch.float64)).tolist()
    return [-FARTHEST, *inner, FARTHEST], field.encode(knots)[:, 0].tolist()


def _filled(parts: list[list[float]], length: int) -> Tensor:
    rows = [[*part, *[part[-1]] * (length - len(part))] for part in parts]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, length)
