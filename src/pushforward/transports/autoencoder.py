"""An encoder and a decoder, as models in a latent space use them."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.precision import call
from pushforward.predictor import Condition
from pushforward.transports.map import Observed


class Autoencoder(nn.Module):
    """An encoder and a decoder, between data in model units and a latent.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances along the first axis.
        decoder: ``decoder(latent, None, condition) -> x``.
        space: The data's shape and units, with the conditions that both receive.
        standard: Whether codes of all examples together are meant to lie as N(0, 1) does, as those of a VAE are.
        likelihood: From which samples are drawn around the decoder's output; with None the output is the sample.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, space: Space, standard: bool = True, likelihood: Observed | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.space, self.standard = encoder, decoder, space, standard
        self.likelihood = likelihood

    def moments(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Means and log-variances of the codes (n, 2 c, ...) of data in model units."""
        return call(self.encoder, x, None, self._own(condition))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        held = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The mean code (n, c, ...) of data in model units."""
        return self.moments(x, condition).chunk(2, dim=1)[0]

    def decode(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Data in model units from codes."""
        return call(self.decoder, latent, None, self._own(condition))

    def drawn(self, x: Tensor, draws: Draws | None) -> Tensor:
        """A draw around decoded data x in model units; x itself without draws, or without a likelihood."""
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.stream("decoder").normal(self.space.shape))

    def _own(self, condition: Condition) -> Condition:
        names = self.space.conditions
        missing = [name for name in names if condition is None or name not in condition]
        if missing:
            what = " and ".join(missing)
            raise UsageError(f"This autoencoder receives {what}, so data has a code only together with its {what}: name it.")
        return {name: condition[name] for name in names} if condition and names else None
