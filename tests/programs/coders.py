"""Autoencoders and models on their codes."""

import numpy as np
import torch
from torch import nn

import pushforward as pf
from pushforward.transports import Autoencoder


def coder(data, folder, name="autoencoder", **options):
    """A tiny run that codes the data."""
    recipe = pf.recipes.named(name)(data.space, "tiny", **options)
    return pf.fit(recipe, data, steps=3, out=folder / "coder")


def in_latent(name, data, run, steps=3, out=None, **options):
    recipe = pf.in_latent(name, data, run, "tiny", **options)
    return pf.fit(recipe, data, steps=steps, out=out)


class Doubling(nn.Module):
    """Codes that are twice the data, with a spread of a half."""

    def forward(self, x, t=None, condition=None):
        return torch.cat([2 * x, torch.full_like(x, -2 * np.log(2))], 1)


class Halving(nn.Module):
    def forward(self, z, t=None, condition=None):
        return z / 2


def doubled(data):
    return Autoencoder(Doubling(), Halving(), data.space.without_labels())
