"""Models of one call whose answers are known."""

import numpy as np
import torch
from torch import nn

from pushforward import solvers
from pushforward.data import VectorSpace
from pushforward.denoisers import Denoiser
from pushforward.draws import ExampleDraws
from pushforward.paths import Linear
from pushforward.transports import Flow, Map


class Called(nn.Module):
    """A plain module as a network of z."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z, t, condition):
        return self.inner(z)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def space(d=7, **more):
    return VectorSpace(
        shape=(d,), mean=tuple(np.linspace(-1, 2, d)), std=tuple(np.linspace(0.5, 3, d)), **more
    )


def linear(latent=3, d=7, seed=0):
    return Map(Called(seeded(lambda: nn.Linear(latent, d), seed)), space(d), (latent,))


def perceptron(latent=5, d=40):
    network = seeded(
        lambda: nn.Sequential(
            nn.Linear(latent, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, d)
        )
    )
    with torch.no_grad():
        network[-1].weight.mul_(1.4 / network(normal(0, 500, latent)).std())
    return Map(Called(network), space(d), (latent,))


def flow():
    network = Called(nn.Linear(7, 7))
    return Flow(Denoiser(network, Linear(), "data", space()), solvers.DDIM(), 4)


def normal(seed, n, d):
    return ExampleDraws(seed, n, "test").normal((d,))
