"""Baselines of a table without a network: columns drawn independently, and copies of the training rows."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import TableSpace
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.evaluation.results import INDEPENDENT_ROWS, ROW_COPIES
from pushforward.transports import Transport

__all__ = ["DrawnRows", "drawn_rows"]


class DrawnRows(Transport):
    """Training rows drawn with replacement: whole, or each column of a sample from a row of its own.

    It samples like any transport: sample i comes from ``seed + i`` alone, bit for bit at every batch size.

    Args:
        space: The table's columns.
        rows: Training rows in data units, (n, d).
        whole: Whether a sample is one row: a bootstrap, which is nothing but copies. False leaves each column's distribution
            and nothing of what columns have to do with each other.
    """

    rows: Tensor

    def __init__(self, space: TableSpace, rows: Tensor, whole: bool) -> None:
        super().__init__()
        self.space, self.whole = space, whole
        self.register_buffer("rows", rows)
        self.register_buffer("owners", torch.zeros(space.size, dtype=torch.int64) if whole else torch.tensor(space.owners))
        self.noise_shape = (1 if whole else len(space.fields),)

    @property
    def calls(self) -> int:
        """None: there is no network."""
        return 0

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Rows in model units, (n, d); each number of z selects a training row."""
        places = (torch.special.ndtr(z.double()) * len(self.rows)).long().clamp(max=len(self.rows) - 1)
        return self.space.to_model(self.rows.gather(0, places[:, self.owners]))


def drawn_rows(data: Dataset) -> dict[str, DrawnRows]:
    """Both kinds, by the names of their rows in a report; empty for data that is no table."""
    space = data.space
    if not isinstance(space, TableSpace):
        return {}
    rows = data.train.data_units()
    return {INDEPENDENT_ROWS: DrawnRows(space, rows, whole=False), ROW_COPIES: DrawnRows(space, rows, whole=True)}
