"""Settings of networks: parameter budgets, arguments, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pushforward.errors import UsageError
from pushforward.networks import (
    MLP,
    Compressor,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    Decoder,
    DiT,
    Encoder,
    Expander,
    Generator,
    Perceptron,
    TextbookCritic,
    TextbookGenerator,
    UNet,
    parameter_count,
)
from pushforward.testing import class_labels


@pytest.mark.parametrize(
    ("kind", "shape", "budgets"),
    [
        (UNet, (1, 28, 28), {"tiny": (0.15e6, 0.3e6), "small": (1.1e6, 1.3e6), "base": (5e6, 10e6)}),
        (UNet, (1, 8, 8), {"tiny": (0.05e6, 0.3e6), "small": (0.3e6, 0.6e6), "base": (2e6, 10e6)}),
        (DiT, (3, 32, 32), {"tiny": (0.15e6, 0.3e6), "small": (1.1e6, 1.3e6), "base": (5e6, 10e6)}),
        (Generator, (1, 28, 28), {"tiny": (0.05e6, 0.1e6), "small": (0.15e6, 0.3e6), "base": (2e6, 6e6)}),
        (Critic, (1, 28, 28), {"tiny": (0.05e6, 0.1e6), "small": (0.15e6, 0.3e6), "base": (2e6, 6e6)}),
        (Encoder, (1, 28, 28), {"tiny": (0.1e6, 0.25e6), "small": (0.4e6, 1e6), "base": (2e6, 6e6)}),
        (Decoder, (1, 28, 28), {"tiny": (0.1e6, 0.25e6), "small": (0.4e6, 1e6), "base": (2e6, 6e6)}),
        (MLP, (2,), {"tiny": (1e4, 3e4), "small": (4e4, 1e5), "base": (1e6, 3e6)}),
        (DCGANGenerator, (1, 28, 28), {"tiny": (0.2e6, 0.3e6), "small": (1e6, 1.3e6), "base": (4e6, 5e6)}),
        (DCGANCritic, (1, 28, 28), {"tiny": (0.04e6, 0.06e6), "small": (0.5e6, 0.6e6), "base": (2.5e6, 3e6)}),
        (DCGANGenerator, (3, 8, 8), {"tiny": (0.05e6, 0.1e6), "small": (0.4e6, 0.7e6), "base": (2e6, 3e6)}),
        (TextbookGenerator, (1, 28, 28), {"tiny": (0.05e6, 0.07e6), "small": (0.2e6, 0.3e6), "base": (0.9e6, 1.1e6)}),
        (Compressor, (3, 64, 64), {"tiny": (0.05e6, 0.12e6), "small": (0.25e6, 0.4e6), "base": (1.8e6, 2.6e6)}),
        (Expander, (3, 64, 64), {"tiny": (0.05e6, 0.12e6), "small": (0.2e6, 0.4e6), "base": (1.8e6, 2.6e6)}),
        (Perceptron, (784,), {"tiny": (0.1e6, 0.12e6), "small": (0.3e6, 0.4e6), "base": (1e6, 1.1e6)}),
        (TextbookCritic, (17,), {"tiny": (1e3, 2e3), "small": (5e3, 1e4), "base": (2e4, 4e4)}),
    ],
)
def test_parameter_budgets(kind, shape, budgets):
    for size, (low, high) in budgets.items():
        network = kind.sized(size, shape=shape, conditions=class_labels(10))
        assert low <= parameter_count(network) <= high, (size, parameter_count(network))
    with pytest.raises(UsageError, match='Did you mean "small"'):
        kind.sized("smal", shape=shape)


def test_a_leaky_perceptron_is_piecewise_linear():
    """Without biases it scales with its input; the plain one does not. So a slope has no slope of its own."""
    network = MLP(5, 1, width=7, depth=3, times=0, activation="leaky_relu").double()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    x = torch.randn(6, 5, dtype=torch.float64)
    assert torch.allclose(network(3 * x), 3 * network(x))
    smooth = MLP(5, 1, width=7, depth=3, times=0).double()
    smooth.load_state_dict(network.state_dict())
    assert not torch.allclose(smooth(3 * x), 3 * smooth(x))
    by_hand = network.leave(nn.functional.leaky_relu(_residual(network, x), 0.2))
    assert torch.allclose(network(x), by_hand)


def _residual(network, x):
    h = network.enter(x)
    for layer in network.hidden:
        h = h + layer(nn.functional.leaky_relu(h, 0.2))
    return h
