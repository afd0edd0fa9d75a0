"""Smooth halving and doubling of images as matrix products."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def halving(side: int) -> Tensor:
    """The matrix (ceil(side / 2), side) that smooths by [1, 2, 1] / 4 and keeps every second number, beginning with the first.

    The ends are repeated outwards.
    """
    matrix = torch.zeros(-(-side // 2), side)
    for row in range(matrix.shape[0]):
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            matrix[row, min(max(2 * row + offset, 0), side - 1)] += weight
    return matrix


def doubling(side: int) -> Tensor:
    """The matrix (side, ceil(side / 2)) that puts between two numbers their mean: upsampling by [1, 2, 1] / 2.

    The last number that goes in is repeated outwards.
    """
    matrix = torch.zeros(side, -(-side // 2))
    for row in range(side):
        for column in (row // 2, -(-row // 2)):
            matrix[row, min(column, matrix.shape[1] - 1)] += 0.5
    return matrix


class Resample(nn.Module):
    """A linear map along the height and one along the width: two matrix products.

    This takes a quarter to half of the time of pooling, slicing or depthwise convolution with channels last, forward,
    backward and twice backward.

    Args:
        rows: (new height, height).
        columns: (new width, width).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, new height, new width), channels last in memory, of images (n, c, height, width)."""
        n, c, height, width = x.shape
        new_height, new_width = self.rows.shape[0], self.columns.shape[0]
        h = self.rows.to(x.dtype) @ x.permute(0, 2, 3, 1).reshape(n, height, width * c)
        h = self.columns.to(x.dtype) @ h.reshape(n * new_height, width, c)
        return h.reshape(n, new_height, new_width, c).permute(0, 3, 1, 2)
