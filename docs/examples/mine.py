"""A generator trained with the energy distance, without a discriminator.

Reference: Szekely and Rizzo, Energy statistics (2013); Bellemare et al. (2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pushforward import Map, Method, Recipe, Training
from pushforward.data import Batch, Space
from pushforward.methods import StepContext
from pushforward.networks import MLP, Reshaped


class Energy(Method):
    """loss = 2 E|x - g(z)| - E|g(z) - g(z')|, over groups of fixed size."""

    def __init__(self, generator: nn.Module, space: Space, *, latent: int = 16) -> None:
        super().__init__()
        self.generator, self.space, self.latent = generator, space, latent

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"generator": self.generator}

    @property
    def group(self) -> int:
        return 64  # the loss compares samples with each other, so a split batch keeps whole groups

    def losses(self, batch: Batch, now: StepContext) -> Iterator[tuple[str, Tensor]]:
        made = self.generator(now.draws.normal((self.latent,)), None, batch.condition)
        terms = [
            energy(x.flatten(1), g.flatten(1)) * len(x)
            for x, g in zip(batch.x.split(64), made.split(64), strict=True)
        ]
        yield "generator", torch.stack(terms).sum() / len(made)

    def transport(self) -> Map:
        return Map(self.generator, self.space, (self.latent,))


def energy(x: Tensor, g: Tensor) -> Tensor:
    """Compute the energy distance of two samples, without its constant term."""
    near = torch.cdist(g, g).sum() / max(1, len(g) * (len(g) - 1))
    return 2 * torch.cdist(x, g).mean() - near


def mine(space: Space, size: str = "small", *, latent_size: int = 16) -> Recipe:
    """A generator trained with the energy distance.

    Args:
        space: Shape, units and classes of the data.
        size: tiny, small or base.
        latent_size: Dimension of the noise.
    """
    network = MLP.sized(
        size, shape=(latent_size,), outputs=space.size, conditions=space.conditions, times=0
    )
    return Recipe(
        Energy(Reshaped(network, space.shape), space, latent=latent_size),
        Training(batch=256),
        "mine",
        "energy distance",
    )
