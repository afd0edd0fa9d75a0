"""The sampler that each denoising recipe comes with: what it is, and what it does with a perfect denoiser."""

import math

import pytest
import torch

import pushforward as pf
from pushforward.testing import recipe_for, ring, space_data

DEFAULTS = {
    ("flow", "vector"): ("DPM", 25, "shifted:0.3"),
    ("flow", "digits"): ("DPM", 25, "shifted:0.3"),
    ("flow", "image"): ("DPM", 25, "time"),
    ("ddpm", "vector"): ("DPM", 25, "log_snr"),
    ("ddpm", "digits"): ("DPM", 25, "time"),
    ("ddpm", "image"): ("DPM", 25, "time"),
    ("edm", "vector"): ("Heun", 18, "karras"),
    ("edm", "digits"): ("Heun", 18, "karras"),
    ("edm", "image"): ("Heun", 18, "karras"),
}
SHAPES = {"vector": (2,), "digits": (1, 8, 8), "image": (1, 28, 28)}


@pytest.mark.parametrize(("name", "kind"), DEFAULTS)
def test_default_samplers(name, kind):
    flow = recipe_for(name, space_data(SHAPES[kind], labels=False)).method.transport()
    assert (type(flow.solver).__name__, flow.steps, flow.grid) == DEFAULTS[name, kind]


@pytest.mark.parametrize("name", ["flow", "ddpm", "edm"])
@pytest.mark.parametrize("std", [0.1, 0.05])
def test_default_samplers_keep_the_width_of_narrow_modes(name, std):
    """Eight narrow Gaussians of unit variance together, and their exact denoiser: what is lost is lost by the sampler."""
    method = recipe_for(name, space_data((2,), labels=False)).method
    exact = ring(method.denoiser.path, modes=8, radius=math.sqrt(2), std=std)
    z = torch.randn(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = pf.Flow(exact, method.solver, method.steps, method.grid)(z)
    distances = torch.cdist(x, exact.centres)
    width = (distances.min(1).values.square().mean() / 2).sqrt()
    masses = distances.argmin(1).bincount(minlength=8) / len(x)
    assert float(width) == pytest.approx(std, rel=0.05)
    assert masses.numpy() == pytest.approx(1 / 8, abs=0.025)
