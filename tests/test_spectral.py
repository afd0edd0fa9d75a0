"""Critics and generators of bounded slopes."""

from __future__ import annotations

import copy
import json

import pytest
import safetensors.torch
import torch
from programs.critics import CLASSES, generator, labels, largest, layers, residual, textbook, unnormalised
from programs.small_networks import awaken

from pushforward.networks import (
    Spectral,
    TextbookCritic,
)
from pushforward.spec import build, describe
from pushforward.testing import class_labels
from pushforward.training.loop.optimizers import Average


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


def test_spectral_layers_that_start_at_zero_are_drawn_anew():
    critic = residual((2, 6, 9))
    narrow = critic.levels[0][0].narrow
    assert narrow.weight.abs().max() == 0
    network = Spectral(critic)
    x = torch.randn(5, 2, 6, 9, requires_grad=True)
    for _ in range(100):
        network(x)
    scores = network(x) + network(2 * x)  # two calls, each with vectors of its own
    (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    (scores.sum() + slope.square().sum()).backward()
    assert largest(narrow) == pytest.approx(1, abs=1e-3)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def spectral_critic() -> Spectral:
    return Spectral(residual((2, 6, 9), conditions=class_labels(CLASSES)))


def test_spectral_networks_are_copied_saved_and_rebuilt():
    x, condition = torch.randn(5, 2, 6, 9), labels(5)
    network = spectral_critic().to(memory_format=torch.channels_last)
    for _ in range(3):
        network(x, None, condition)
    twin = copy.deepcopy(network).eval()
    spec = json.loads(json.dumps(describe(network)))
    assert spec == {"part": "Spectral", "network": describe(residual((2, 6, 9), conditions=class_labels(CLASSES)))}
    rebuilt = build(spec).to(memory_format=torch.channels_last).eval()
    saved = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
    rebuilt.load_state_dict(safetensors.torch.load(saved))
    scores = network.eval()(x, None, condition)
    assert torch.equal(twin(x, None, condition), scores)
    assert torch.equal(rebuilt(x, None, condition), scores)
    # a copy in training mode goes its own way
    twin.train()(x, None, condition)
    assert torch.equal(network(x, None, condition), scores)
    assert not torch.equal(twin.eval()(x, None, condition), scores)


def test_spectral_networks_are_averaged():
    """The singular vectors are averaged as well and shrink; the norms must stay."""
    network = Spectral(textbook((6,)))
    average = Average(network, half_life=20_000, share=0.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(1, 301):
        x = torch.randn(32, 6)
        loss = (network(x) - x.norm(dim=1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(32 * step, 32)
    first, last = layers(average.method)
    assert first.parametrizations.weight[0]._u.norm() < 0.95
    assert largest(first) == pytest.approx(1, abs=0.03)
    assert largest(last) == pytest.approx(1, abs=0.03)


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
