"""The likelihood of rows of a table: of each kind of column its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.data.spaces.table import TableSpace
from pushforward.data.tables.coordinates import Coordinates, gumbel
from pushforward.errors import UsageError
from pushforward.methods.likelihoods import SPEED, START, Likelihood


class Rows(Likelihood):
    """Blocks are categorical, scores normal around the output with a learned variance for each column.

    The output holds a score's mean, and the logits of indicators. A score of an open column has a density. A value of a closed
    column has a probability: that of the scores which it holds. A row whose number is an atom or missing has no score, and its
    column counts by its indicators alone.

    Args:
        space: The table's columns.

    Raises:
        UsageError: For data that is no table.

    References:
        Xu et al., Modeling Tabular Data using Conditional GAN (TVAE, 2019), section 4.4, for a likelihood of each kind; Rybkin
        et al., sigma-VAE (2021), for the learned variance.
    """

    discrete = True

    def __init__(self, space: TableSpace) -> None:
        super().__init__(space)
        if not isinstance(space, TableSpace):
            raise UsageError("The likelihood of rows is for tables; use the Gaussian one.")
        self.layout = Coordinates(space)
        self.spread = nn.Parameter(torch.full((len(self.layout.scores),), START))

    @property
    def log_variance(self) -> Tensor:
        """Its logarithm for each score, (s,)."""
        return SPEED * self.spread

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Log p(x | z) in nats, (n,): probabilities of indicators and of closed columns, densities of open ones."""
        layout, decoded = self.layout, decoded.float()
        rows = x * layout.std + layout.mean
        shares = (rows * layout.log_shares(decoded)).sum(1)
        scores, means = rows[:, layout.scores], decoded[:, layout.scores]
        deviation = torch.exp(self.log_variance / 2)
        errors = (scores - means) / deviation
        densities = -(errors.square() + self.log_variance + math.log(2 * math.pi)) / 2
        place = layout.value_of(scores).T
        low, high = ((layout.edges.gather(1, place + end).T - means) / deviation for end in (0, 1))
        each = torch.where(layout.closed, log_between(low, high), densities)
        return shares + (layout.gated(rows) * each).sum(1)

    def mean(self, decoded: Tensor) -> Tensor:
        shares = self.layout.log_shares(decoded.float()).exp()
        rows = shares.index_copy(1, self.layout.scores, decoded[:, self.layout.scores].float())
        return (rows - self.layout.mean) / self.layout.std

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """A row in model units: indicators drawn by the noise's Gumbel numbers, scores with noise of the learned variance."""
        layout = self.layout
        rows = mean * layout.std + layout.mean
        drawn = layout.chosen(torch.log(rows.clamp(min=1e-30)) + gumbel(noise))
        scores = rows[:, layout.scores] + torch.exp(self.log_variance / 2) * noise[:, layout.scores]
        drawn = drawn.index_copy(1, layout.scores, layout.gated(drawn) * scores)
        return (drawn - layout.mean) / layout.std


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """Log of Phi(high) - Phi(low), low < high, without cancellation in either tail."""
    turned = low + high > 0
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    above, below = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return above + torch.log(-torch.expm1((below - above).clamp(max=-1e-6)))
