"""Adversarial games whose losses and penalties have a closed form."""

import torch
from torch import nn
from torch.nn import functional as F

import pushforward as pf
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.methods import CriticInput, Penalties, StepContext, Sums
from pushforward.methods.adversarial import DiffAugment
from pushforward.methods.method import answered

PLANE = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
BLACK = (0.0, 0.0, 0.0)
GREY = (0.5, 0.5, 0.5)
WHITE = (1.0, 1.0, 1.0)
CONTRAST = (0.25, 0.25, 0.25)
PICTURES = ImageSpace(shape=(3, 6, 9), mean=GREY, std=CONTRAST, low=BLACK, high=WHITE)
A = 1.5
B = 0.7


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, whose slope is a x; for packs, the sum over their rows."""

    def __init__(self, pack=1):
        super().__init__()
        self.pack = pack
        self.a = nn.Parameter(torch.tensor(A))

    def forward(self, x, t=None, condition=None):
        scores = self.a * squares(x) / 2
        return scores.reshape(-1, self.pack).sum(1)


class Scale(nn.Module):
    def __init__(self, shape=(2,)):
        super().__init__()
        self.shape = shape
        self.b = nn.Parameter(torch.tensor(B))

    def forward(self, z, t=None, condition=None):
        scaled = self.b * z
        return scaled.reshape(-1, *self.shape)


def squares(x):
    """The squared norm of each row."""
    return x.square().flatten(1).sum(1)


def now(rows, step=0, progress=0.0, samples=0, start=0):
    draws = BlockDraws(0, step, rows, start)
    return StepContext(draws, samples, progress, step)


def game(space=PLANE, loss="relativistic", **settings):
    """A GAN with the settings of its penalties and of its critic's input in one call."""
    shown = settings.keys() & CriticInput.__dataclass_fields__
    given = CriticInput(**{name: settings.pop(name) for name in shown})
    penalties = Penalties(**settings)
    generator = Scale(space.shape)
    critic = Quadratic(given.pack)
    parts = {"penalties": penalties, "critic_input": given}
    return pf.GAN(generator, critic, space, latent=space.size, loss=loss, **parts)


def turns(method, x, moment=None):
    if moment is None:
        moment = now(len(x))
    losses = dict(method.turns(Batch(x), moment))
    return losses, moment.notes


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rows(n=64):
    return torch.randn(n, 2, generator=seeded(3))


def generated(n=64, step=0):
    """The rows that the generator makes in the first turn."""
    return B * now(n, step).draws.normal((2,))


def parts(n=64):
    """Scores and squared slopes of n real and generated examples, computed apart from the
    library.
    """
    real = squares(rows(n))
    fake = squares(generated(n))
    return A / 2 * real, A / 2 * fake, A**2 * real, A**2 * fake


def images(n=40):
    return torch.randn(n, 3, 6, 9, generator=seeded(4))


def generated_images(x):
    """The images that the generator makes in the first turn."""
    noise = now(len(x)).draws.normal((162,))
    return B * noise.reshape(x.shape)


def split_turns(method, x):
    """The losses of two halves of a batch, played in lock step, joined by their mean."""
    first = method.losses(Batch(x[:64]), now(64))
    second = method.losses(Batch(x[64:]), now(64, start=64))
    joined = {}
    reply = None
    while True:
        move = answered(first, reply)
        other = answered(second, reply)
        if move is None:
            return joined
        reply = None
        if isinstance(move, Sums):
            total = {name: value + other.values[name] for name, value in move.values.items()}
            reply = Sums(128, total, then=move.then).settled()
        else:
            player, loss = move
            joined[player] = (loss + other[1]) / 2


def adaptive(target, **settings):
    """A game whose strength of augmentation moves, from 0.4 on."""
    augment = DiffAugment()
    return game(PICTURES, augment=augment, strength=0.4, ada_target=target, **settings)


# Each game as its paper has it: the losses of critic and generator, by row


def relativistic(real, fake):
    critic = -torch.sigmoid(real - fake).log()
    generator = -torch.sigmoid(fake - real).log()
    return critic, generator


def cross_entropy(logits, target):
    targets = torch.full_like(logits, target)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def non_saturating(real, fake):
    critic = cross_entropy(real, 1) + cross_entropy(fake, 0)
    generator = cross_entropy(fake, 1)
    return critic, generator


def minimax(real, fake):
    generator = (1 - torch.sigmoid(fake)).log()
    critic = -torch.sigmoid(real).log() - generator
    return critic, generator


def hinge(real, fake):
    wanted = -torch.ones_like(real)
    real_loss = F.hinge_embedding_loss(real, wanted, margin=1, reduction="none")
    fake_loss = F.hinge_embedding_loss(-fake, wanted, margin=1, reduction="none")
    return real_loss + fake_loss, -fake


def least_squares(real, fake):
    critic = (real - 1) ** 2 / 2 + fake**2 / 2
    generator = (fake - 1) ** 2 / 2
    return critic, generator


def wasserstein(real, fake):
    return fake - real, -fake


GAMES = [relativistic, non_saturating, minimax, hinge, least_squares, wasserstein]
