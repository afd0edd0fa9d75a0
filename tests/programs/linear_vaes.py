"""Linear models whose likelihood is known, and gradients of their bounds."""

import functools
import math

import numpy as np
import torch
from torch import distributions, nn

import pushforward as pf
from pushforward.data import Batch, Split, VectorSpace
from pushforward.data.core.dataset import Dataset
from pushforward.draws import BlockDraws
from pushforward.methods import EvidenceBound, HierarchicalVAE, StepContext
from pushforward.testing import space_data

CUBE = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)


def now(rows, step=0, progress=0.0):
    return StepContext(BlockDraws(0, step, rows), 0, progress)


class Affine(nn.Module):
    """A linear map with a bias, and, for a Gaussian, constant log-variances."""

    def __init__(self, weight, bias=0.0, log_variance=None):
        super().__init__()
        self.map = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
        with torch.no_grad():
            self.map.weight.copy_(weight)
            self.map.bias.fill_(bias)
        if log_variance is None:
            self.log_variance = None
        else:
            self.log_variance = nn.Parameter(torch.full((len(weight),), log_variance).to(weight))

    def forward(self, x, t=None, condition=None):
        mean = self.map(x)
        if self.log_variance is None:
            return mean
        return torch.cat([mean, self.log_variance.expand_as(mean)], 1)


WEIGHT = torch.tensor([[1.2, 0.3], [-0.4, 0.8], [0.5, -1.0]])
NOISE = -1.0
"""Log-variance of the data around the decoder's output."""


def affine_encoder(log_variance):
    weight = torch.tensor([[0.5, -0.1, 0.2], [0.1, 0.4, -0.3]])
    return Affine(weight, 0.1, log_variance)


def with_noise(vae):
    """The model with the noise of the data."""
    with torch.no_grad():
        vae.likelihood.spread.fill_(NOISE / 10)
    return vae


def linear_vae(**options):
    """x = W z + noise, with a posterior that is not the exact one."""
    decoder = Affine(WEIGHT, 0.2)
    bound = EvidenceBound(**options)
    vae = pf.VAE(affine_encoder(-0.5), decoder, CUBE, latent=2, bound=bound)
    return with_noise(vae)


def exact(x, weight=WEIGHT, offset=0.2):
    size = len(weight)
    mean = torch.full((size,), offset)
    covariance = weight @ weight.T + math.exp(NOISE) * torch.eye(size)
    return distributions.MultivariateNormal(mean, covariance).log_prob(x)


def exact_rows(n):
    torch.manual_seed(1)
    means = torch.randn(n, 2) @ WEIGHT.T + 0.2
    return means + math.exp(NOISE / 2) * torch.randn(n, 3)


@functools.cache
def gradients(make, beta, doubly, repeats=100, rows=256):
    """Gradients of the bound of one example in 8 codes, which stands in every row of a batch: by
    part, (repeats, parameters).
    """
    vae = make(beta=beta, samples=8, dreg=doubly)
    x = torch.tensor([[1.0, -0.3, 0.7]]).expand(rows, -1)
    drawn = {}
    for step in range(repeats):
        vae.zero_grad()
        ((_, loss),) = list(vae.losses(Batch(x), now(rows, step)))
        loss.backward()
        for name, part in vae.named_children():
            slopes = [parameter.grad.flatten() for parameter in part.parameters()]
            if slopes:
                drawn.setdefault(name, []).append(torch.cat(slopes))
    return {name: torch.stack(each) for name, each in drawn.items()}


def agree(plain, doubly):
    error = ((plain.var(0) + doubly.var(0)) / len(plain)).sqrt().clamp(min=1e-12)
    mean = plain.mean(0)
    distance = (mean - doubly.mean(0)).abs() / error
    assert float(distance.max()) < 4.5
    signal = mean.abs() / error
    assert float(signal.max()) > 20, "gradients of zero would agree as well"


UPPER = torch.tensor([[0.9], [-0.6]])


def raw(log_variance):
    """What a network says for it to come out within the bounds."""
    return 7 * math.atanh(log_variance / 7)


def hierarchy(**options):
    """u -> h = V u + noise -> x = W h + noise, with posteriors that are not the exact ones."""
    upper_posterior = torch.tensor([[0.5, -0.3]])
    vae = HierarchicalVAE(
        affine_encoder(raw(-0.5)),
        Affine(WEIGHT, 0.2),
        Affine(upper_posterior, -0.1, raw(-0.4)),
        Affine(UPPER, 0.3, raw(-0.7)),
        CUBE,
        latent=(2, 1),
        bound=EvidenceBound(**options),
    )
    return with_noise(vae)


def grey(rows=40):
    random = np.random.default_rng(0)
    return space_data((1, 4, 5), labels=False, n=rows), random


def dataset_of(x, **more):
    rows = x.numpy()
    return Dataset("rows", CUBE, Split(rows), Split(rows), **more)
