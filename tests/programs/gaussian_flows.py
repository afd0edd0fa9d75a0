"""Flows whose answers are known in closed form."""

import numpy as np
import torch
from torch import nn

from pushforward import solvers
from pushforward.data import ImageSpace, VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.paths import VE, VP, Cosine, Linear, convert
from pushforward.transports import Flow


def scaled_space(d):
    """Vectors whose coordinates have different means and scales."""
    mean = np.linspace(-1, 2, d)
    std = np.linspace(0.5, 3, d)
    return VectorSpace(shape=(d,), mean=tuple(mean), std=tuple(std))


class Gaussian(nn.Module):
    """The ideal denoiser of N(mean, covariance) in model units, by Bayes' rule, on any path."""

    def __init__(self, path, mean, covariance, space=None):
        super().__init__()
        self.path = path
        self.space = space or scaled_space(len(mean))
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        covariance = torch.as_tensor(covariance, dtype=torch.float64)
        values, axes = torch.linalg.eigh(covariance)
        self.register_buffer("values", values)
        self.register_buffer("axes", axes)

    def predict(self, kind, x_t, t, condition=None):
        flat = x_t.flatten(1)
        k = self.path.at(t).over(flat)
        values = self.values.to(x_t)
        axes = self.axes.to(x_t)
        mean = self.mean.to(x_t)
        gain = k.alpha * values / (k.alpha**2 * values + k.sigma**2)
        apart = (flat - k.alpha * mean) @ axes
        data = mean + (apart * gain) @ axes.T
        k = self.path.at(t).over(x_t)
        return convert("data", kind, data.reshape(x_t.shape), x_t, k)

    def calls(self, t=0.5):
        return 1


CORRELATED = [[1.0, 0.8, 0.1], [0.8, 1.5, 0.0], [0.1, 0.0, 0.7]]
PATHS = [Linear(), VP(), Cosine(), VE(0.01, 40.0)]
IDS = ["linear", "vp", "cosine", "ve"]


def rows(
    path=None, covariance=CORRELATED, solver=None, steps=20, grid="log_snr", mean=(0.3, -0.2, 0.5)
):
    denoiser = Gaussian(path or Linear(), mean, covariance)
    return Flow(denoiser, solver or solvers.Heun(), steps, grid)


def pictures(steps=10, space=None, path=None):
    """Images 2 x 4 x 6 whose pixels are correlated by distance."""
    shape = (2, 4, 6)
    places = np.stack(np.indices(shape), -1).reshape(-1, 3)
    distance = np.square(places[:, None] - places).sum(-1)
    n = len(places)
    covariance = np.exp(-distance / 3) * 0.5 + np.eye(n) * 0.2
    space = space or ImageSpace(shape=shape, mean=(0.2, 0.6), std=(0.3, 0.1))
    denoiser = Gaussian(path or Linear(), [0.1] * n, covariance, space)
    return Flow(denoiser, solvers.Heun(), steps)


def seen(seed, shape, n=1):
    return ExampleDraws(seed, n, "seen").normal(shape).squeeze(0)
