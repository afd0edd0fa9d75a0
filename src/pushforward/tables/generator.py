"""Generator of table rows, whose categories are drawn with straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.networks.blocks import Condition, check_input
from pushforward.tables.coordinates import Coordinates, gumbel
from pushforward.tables.space import TableSpace


class StraightThrough(nn.Module):
    """Generator of table rows that turns scores and logits into coordinates: each block is drawn from its logits.

    The network receives the first ``latent`` dimensions of z; each further dimension gives the
    Gumbel noise of an indicator, so that only z determines the row. With logits a and Gumbel noise
    g, an indicator has the largest a + g with probability softmax(a). Forward its indicator is
    exactly 1 and the others of the block 0; backward the gradient is that of softmax((a + g) /
    temperature). Scores of closed columns move to the score of the value that they stand for, and
    those of atoms and missing values to 0, as rows of the table have them; the gradient passes
    through the former unchanged.

    Args:
        network: ``network(z, None, condition)`` returns scores and logits (n, d) for z (n, latent).
        space: The table's columns.
        latent: Number of entries of z that the network receives.
        temperature: Temperature of the gradient, above 0.

    References:
        Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax (2017), section 2.2, "straight-through".
    """

    def __init__(
        self, network: nn.Module, space: TableSpace, latent: int, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self.latent = latent
        self.temperature = temperature
        self.layout = Coordinates(space)

    @staticmethod
    def noise_size(space: TableSpace, latent: int) -> int:
        """Return the length of z: ``latent`` plus one number per indicator."""
        return latent + sum(stop - start for start, stop in space.blocks)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Generate rows (n, d) in model units from noise x (n, `noise_size`)."""
        check_input(x, (self.noise_size(self.space, self.latent),), "a generator of rows")
        out = self.network(x[:, : self.latent], t, condition)
        with torch.autocast(x.device.type, enabled=False):
            return self._rows(out.float(), gumbel(x[:, self.latent :].float()))

    def _rows(self, out: Tensor, noise: Tensor) -> Tensor:
        layout = self.layout
        noisy = (
            out.index_add(1, layout.indicators, noise) if len(layout.indicators) else out
        ) / self.temperature
        soft = layout.log_shares(noisy).exp()
        if len(layout.indicators):
            rows = layout.chosen(noisy) + (soft - soft.detach())
        else:
            rows = torch.zeros_like(out)
        scores = out[:, layout.scores]
        codes = layout.codes.gather(1, layout.value_of(scores.detach()).T).T
        scores = scores + torch.where(layout.closed, codes - scores, 0.0).detach()
        rows = rows.index_copy(1, layout.scores, layout.gated(rows) * scores)
        return (rows - layout.mean) / layout.std
