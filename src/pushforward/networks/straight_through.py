"""Rows of a table from a generator: exact indicators forward, smooth gradients backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.data.spaces.table import TableSpace
from pushforward.data.tables.coordinates import Coordinates, gumbel
from pushforward.errors import UsageError
from pushforward.networks.checks import check_input, positive
from pushforward.networks.embedding import Condition


class StraightThrough(nn.Module):
    """A generator whose scores and logits become the coordinates of a row: each block is drawn from its logits.

    The first ``latent`` numbers of z are the network's; each further number makes the Gumbel noise of an indicator, so that z
    decides on the row alone. Of logits a and Gumbel numbers g the largest a + g has the probability softmax(a). Forward its
    indicator is exactly 1 and the others of the block 0; backward the gradient is that of softmax((a + g) / temperature).
    Scores of closed columns move to the score of the value that they stand for, and those of atoms and missing values to 0, as
    rows of the table have them; the gradient passes through the former unchanged.

    Args:
        network: ``network(z, None, condition)`` gives scores and logits (n, d) of z (n, latent).
        space: The table's columns.
        latent: Numbers of z that the network receives.
        temperature: That of the gradient, above 0.

    Raises:
        UsageError: A number is out of range.

    References:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), section 2.2, "straight-through".
    """

    def __init__(self, network: nn.Module, space: TableSpace, latent: int, temperature: float = 1.0) -> None:
        super().__init__()
        positive(latent=latent)
        if not temperature > 0:
            raise UsageError(f"temperature is {temperature}; expected a number above 0.")
        self.network, self.space, self.latent, self.temperature = network, space, latent, temperature
        self.layout = Coordinates(space)

    @staticmethod
    def noise_size(space: TableSpace, latent: int) -> int:
        """Length of z: ``latent``, and a number for each indicator."""
        return latent + sum(stop - start for start, stop in space.blocks)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Rows in model units, (n, d), of noise x (n, `noise_size`)."""
        check_input(x, (self.noise_size(self.space, self.latent),), "a generator of rows")
        out = self.network(x[:, : self.latent], t, condition)
        with torch.autocast(x.device.type, enabled=False):
            return self._rows(out.float(), gumbel(x[:, self.latent :].float()))

    def _rows(self, out: Tensor, noise: Tensor) -> Tensor:
        layout = self.layout
        noisy = (out.index_add(1, layout.indicators, noise) if len(layout.indicators) else out) / self.temperature
        soft = layout.log_shares(noisy).exp()
        rows = layout.chosen(noisy) + (soft - soft.detach()) if len(layout.indicators) else torch.zeros_like(out)
        scores = out[:, layout.scores]
        codes = layout.codes.gather(1, layout.value_of(scores.detach()).T).T
        scores = scores + torch.where(layout.closed, codes - scores, 0.0).detach()
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std
