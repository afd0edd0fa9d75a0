"""Critics and generators of bounded slopes."""

from __future__ import annotations

import pytest
import torch
from programs.critics import CLASSES, generator, labels, largest, layers, residual, textbook, unnormalised
from programs.small_networks import awaken

from pushforward.networks import (
    Spectral,
    TextbookCritic,
)
from pushforward.testing import class_labels


@pytest.mark.parametrize("make", [textbook, unnormalised, residual, generator])
def test_spectral_layers_have_norm_one(make):
    plain = awaken(make((2, 6, 9), conditions=class_labels(CLASSES)), 0.2)
    before = [largest(layer) for layer in layers(plain)]
    network = Spectral(plain)
    x = torch.randn(4, *((5,) if make is generator else (2, 6, 9)))
    with torch.no_grad():
        for _ in range(100):
            network(x, None, labels(4))
    after = [largest(layer) for layer in layers(network)]
    assert len(after) >= 2
    assert max(abs(norm - 1) for norm in before) > 0.05
    assert after == pytest.approx([1.0] * len(after), abs=1e-3)


def test_spectral_slopes_are_bounded():
    """Leaky ReLUs and layers of norm one: two scores differ by at most the distance of the inputs."""
    network = Spectral(awaken(TextbookCritic((7,), width=8), 1.0)).double()
    with torch.no_grad():
        for _ in range(300):
            network(torch.zeros(1, 7).double())
    x, y = torch.randn(2, 500, 7).double()
    ratio = (network(x) - network(y)).abs() / (x - y).norm(dim=1)
    assert 0.1 < ratio.max() <= 1 + 1e-3


def spectral_critic() -> Spectral:
    return Spectral(residual((2, 6, 9), conditions=class_labels(CLASSES)))


@pytest.mark.parametrize("training", [True, False])
def test_spectral_networks_export_and_have_forward_derivatives(training):
    x, v = torch.randn(2, 5, 2, 6, 9, dtype=torch.float64)
    condition = labels(5)
    network = spectral_critic().double()
    network.train(training)
    if not training:
        exported = torch.export.export(network, (x, None, condition), strict=False).module()
        torch.testing.assert_close(exported(x, None, condition), network(x, None, condition))
    _, derivative = torch.func.jvp(lambda x: network(x, None, condition), (x,), (v,))
    network.eval()
    with torch.no_grad():
        difference = (network(x + 1e-6 * v, None, condition) - network(x - 1e-6 * v, None, condition)) / 2e-6
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-7)
