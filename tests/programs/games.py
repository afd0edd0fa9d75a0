"""A game whose losses and slopes are known, and batches for it."""

import torch
from torch import nn

import pushforward as pf
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.methods import CriticInput, Now, Penalties

PLANE = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
PICTURES = ImageSpace(shape=(3, 6, 9), mean=(0.5,) * 3, std=(0.25,) * 3, low=(0.0,) * 3, high=(1.0,) * 3)
A, B = 1.5, 0.7


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, whose slope is a x; for packs, the sum over their rows."""

    def __init__(self, pack=1):
        super().__init__()
        self.pack = pack
        self.a = nn.Parameter(torch.tensor(A))

    def forward(self, x, t=None, condition=None):
        return (self.a * x.square().flatten(1).sum(1) / 2).reshape(-1, self.pack).sum(1)


class Scale(nn.Module):
    def __init__(self, shape=(2,)):
        super().__init__()
        self.shape = shape
        self.b = nn.Parameter(torch.tensor(B))

    def forward(self, z, t=None, condition=None):
        return (self.b * z).reshape(-1, *self.shape)


def now(rows, step=0, progress=0.0, samples=0, start=0):
    return Now(BlockDraws(0, step, rows, start), samples, progress, step)


def game(space=PLANE, loss="relativistic", **settings):
    """A GAN with the settings of its penalties and of its critic's input in one call."""
    given = CriticInput(**{name: settings.pop(name) for name in CriticInput.__dataclass_fields__ if name in settings})
    penalties, critic = Penalties(**settings), Quadratic(given.pack)
    return pf.GAN(Scale(space.shape), critic, space, latent=space.size, loss=loss, penalties=penalties, critic_input=given)


def turns(method, x, moment=None):
    moment = now(len(x)) if moment is None else moment
    return dict(method.turns(Batch(x), moment)), moment.notes


def rows(n=64):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3))


def parts(n=64):
    """Scores and squared slopes of n real and generated examples, computed apart from the library."""
    real, fake = rows(n), B * now(n).draws.normal((2,))
    return [value.square().sum(1) * scale for scale in (A / 2, A**2) for value in (real, fake)]


def images(n=40):
    return torch.randn(n, 3, 6, 9, generator=torch.Generator().manual_seed(4))
