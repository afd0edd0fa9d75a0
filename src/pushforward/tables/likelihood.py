"""Likelihood of table rows given the output of a decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.methods.likelihoods import LOG_TAU, SPEED, START, Likelihood
from pushforward.tables.coordinates import Coordinates, gumbel
from pushforward.tables.space import TableSpace


class Rows(Likelihood):
    """Likelihood of table rows: blocks are categorical, scores normal around the output with a learned variance per column.

    The output holds the means of scores and the logits of indicators. A score of an open column has
    a density. A value of a closed column has a probability: the probability of the scores that it
    covers. If a number is an atom or missing, only the indicators of its column count.

    Args:
        space: Space of the table.

    Raises:
        UsageError: If the data is not a table.

    References:
        Xu et al., Modeling Tabular Data using Conditional GAN (TVAE, 2019), section 4.4, for a likelihood of each kind; Rybkin
        et al., sigma-VAE (2021), for the learned variance.
    """

    discrete = True
    mean_is_data = False

    def __init__(self, space: TableSpace) -> None:
        super().__init__(space)
        if not space.names:
            raise UsageError(
                "The row likelihood supports only tables. Use the Gaussian likelihood."
            )
        self.layout = Coordinates(space)
        self.spread = nn.Parameter(torch.full((len(self.layout.scores),), START))

    @property
    def log_variance(self) -> Tensor:
        """Log variance of each score, (s,)."""
        return SPEED * self.spread

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Compute log p(x | z) in nats, (n,): probabilities of indicators and closed columns, densities of open columns."""
        layout = self.layout
        decoded = decoded.float()
        rows = x * layout.std + layout.mean
        shares = (rows * layout.log_shares(decoded)).sum(1)
        scores = rows[:, layout.scores]
        means = decoded[:, layout.scores]
        deviation = torch.exp(self.log_variance / 2)
        errors = (scores - means) / deviation
        densities = -(errors.square() + self.log_variance + LOG_TAU) / 2
        place = layout.value_of(scores).T
        low, high = ((layout.edges.gather(1, place + end).T - means) / deviation for end in (0, 1))
        each = torch.where(layout.closed, log_between(low, high), densities)
        return shares + (layout.gated(rows) * each).sum(1)

    def mean(self, decoded: Tensor) -> Tensor:
        shares = self.layout.log_shares(decoded.float()).exp()
        rows = shares.index_copy(1, self.layout.scores, decoded[:, self.layout.scores].float())
        return (rows - self.layout.mean) / self.layout.std

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Draw a row in model units: indicators by Gumbel noise, scores with noise of the learned variance."""
        layout = self.layout
        rows = mean * layout.std + layout.mean
        drawn = layout.chosen(torch.log(rows.clamp(min=1e-30)) + gumbel(noise))
        scores = rows[:, layout.scores] + torch.exp(self.log_variance / 2) * noise[:, layout.scores]
        drawn = drawn.index_copy(1, layout.scores, layout.gated(drawn) * scores)
        return (drawn - layout.mean) / layout.std


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """Compute log(Phi(high) - Phi(low)), low < high, without cancellation in either tail."""
    turned = low + high > 0
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    above = torch.special.log_ndtr(high)
    below = torch.special.log_ndtr(low)
    return above + torch.log(-torch.expm1((below - above).clamp(max=-1e-6)))
