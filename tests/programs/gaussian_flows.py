"""Flows whose answers are known in closed form."""

import numpy as np
import torch
from torch import nn

from pushforward import solvers
from pushforward.data import ImageSpace, VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.paths import VE, VP, Cosine, Linear, convert
from pushforward.transports import Flow


class Gaussian(nn.Module):
    """The ideal denoiser of N(mean, covariance) in model units, by Bayes' rule, on any path."""

    def __init__(self, path, mean, covariance, space=None):
        super().__init__()
        self.path = path
        d = len(mean)
        self.space = space or VectorSpace(
            shape=(d,), mean=tuple(np.linspace(-1, 2, d)), std=tuple(np.linspace(0.5, 3, d))
        )
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        values, axes = torch.linalg.eigh(torch.as_tensor(covariance, dtype=torch.float64))
        self.register_buffer("values", values)
        self.register_buffer("axes", axes)

    def predict(self, kind, x_t, t, condition=None):
        k = self.path.at(t).over(x_t.flatten(1))
        values = self.values.to(x_t)
        axes = self.axes.to(x_t)
        mean = self.mean.to(x_t)
        gain = k.alpha * values / (k.alpha**2 * values + k.sigma**2)
        data = mean + ((x_t.flatten(1) - k.alpha * mean) @ axes * gain) @ axes.T
        return convert("data", kind, data.reshape(x_t.shape), x_t, self.path.at(t).over(x_t))

    def calls(self, t=0.5):
        return 1


CORRELATED = [[1.0, 0.8, 0.1], [0.8, 1.5, 0.0], [0.1, 0.0, 0.7]]
PATHS = [Linear(), VP(), Cosine(), VE(0.01, 40.0)]
IDS = ["linear", "vp", "cosine", "ve"]


def rows(
    path=None, covariance=CORRELATED, solver=None, steps=20, grid="log_snr", mean=(0.3, -0.2, 0.5)
):
    return Flow(Gaussian(path or Linear(), mean, covariance), solver or solvers.Heun(), steps, grid)


def pictures(steps=10, space=None, path=None):
    """Images 2 x 4 x 6 whose pixels are correlated by distance."""
    shape = (2, 4, 6)
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    covariance = (
        np.exp(-np.square(place[:, None] - place).sum(-1) / 3) * 0.5 + np.eye(len(place)) * 0.2
    )
    space = space or ImageSpace(shape=shape, mean=(0.2, 0.6), std=(0.3, 0.1))
    return Flow(
        Gaussian(path or Linear(), [0.1] * len(place), covariance, space), solvers.Heun(), steps
    )


def seen(seed, shape, n=1):
    return ExampleDraws(seed, n, "seen").normal(shape).squeeze(0)
