"""Denoisers whose answers are known in closed form, for tests of paths and solvers."""

from __future__ import annotations

import math

import torch
from torch import nn

from pushforward.data import Space
from pushforward.predictions import convert


class Mixture(nn.Module):
    """The ideal denoiser of an isotropic Gaussian mixture, by Bayes' rule, on any path."""

    def __init__(self, path, centres, std):
        super().__init__()
        self.path, self.std = path, std
        self.register_buffer("centres", torch.as_tensor(centres, dtype=torch.float64))
        d = self.centres.shape[1]
        self.space = Space(shape=(d,), mean=(0.0,) * d, std=(1.0,) * d)

    def predict(self, kind, x_t, t, condition=None):
        k = self.path.at(t).over(x_t)
        centres = self.centres.to(x_t)
        variance = k.alpha**2 * self.std**2 + k.sigma**2
        gaps = x_t[:, None] - k.alpha[:, None] * centres
        share = torch.softmax(-(gaps**2).sum(-1) / (2 * variance), dim=1)
        data = (share[..., None] * (centres + (k.alpha * self.std**2 / variance)[:, None] * gaps)).sum(1)
        return convert("data", kind, data, x_t, k)

    def calls(self, t=0.5):
        return 1


def ring(path, modes=5, radius=2.0, std=0.5):
    angles = [2 * math.pi * i / modes for i in range(modes)]
    return Mixture(path, [[radius * math.cos(a), radius * math.sin(a)] for a in angles], std)
