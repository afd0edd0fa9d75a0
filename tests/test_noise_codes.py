"""Signs and waves that are shown to generators and critics."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from pushforward.networks import (
    MLP,
    FourierFeatures,
    SignCodes,
)
from pushforward.spec import build, describe


class Sees(nn.Module):
    """A network that gives back what it receives."""

    def forward(self, x: Tensor, t: Tensor | None = None, condition: object = None) -> Tensor:
        self.given = t, condition
        return x


def test_signs_are_shown_after_the_noise():
    seen = SignCodes(Sees(), 5, 3, scale=0.5)(torch.tensor([[0.5, -2.0, -0.25, -7.0, 3.0]]))
    assert seen.tolist() == [[0.25, -1.0, -0.125, -3.5, 1.5, 1.0, -1.0, -1.0]]


def test_each_pattern_of_signs_learns_its_own_code():
    network = SignCodes(Sees(), 3, 2)
    z = torch.tensor([[1.0, -1.0, 5.0], [2.0, -0.1, -5.0], [-1.0, -1.0, 5.0]])
    loss = network(z)[:, 3:].sum()
    loss.backward()
    assert network.codes.grad.tolist() == [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    network.codes.data[1] = torch.tensor([7.0, 8.0])
    assert network(z)[:, 3:].tolist() == [[7.0, 8.0], [7.0, 8.0], [-1.0, -1.0]]


def test_fourier_features_are_sines_and_cosines_of_growing_frequency():
    network = FourierFeatures(Sees(), 2, 4, low=0.5, high=32.0)
    rates = network.frequencies.norm(dim=1)
    assert rates.tolist() == pytest.approx([0.5, 2.0, 8.0, 32.0], rel=1e-5)
    x = torch.randn(7, 2)
    out = network(x, None, {"label": x})
    assert network.network.given == (None, {"label": x})
    angles = torch.stack([x @ row for row in network.frequencies], dim=1)
    assert torch.allclose(out, torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=1), atol=1e-5)


def test_fourier_directions_point_everywhere():
    rows = nn.functional.normalize(FourierFeatures(Sees(), 3, 2000).frequencies, dim=1)
    assert rows.mean(0).abs().max() < 0.05
    assert torch.allclose(rows.T @ rows / len(rows), torch.eye(3) / 3, atol=0.04)


def test_fourier_directions_are_kept_with_the_weights():
    first, second = (FourierFeatures(MLP(2 + 8, 1, width=8, depth=1, times=0), 2, 4) for _ in range(2))
    assert not torch.equal(first.frequencies, second.frequencies)
    second.load_state_dict(first.state_dict())
    x = torch.randn(5, 2)
    assert torch.equal(first(x), second(x))
    rebuilt = build(json.loads(json.dumps(describe(first))))
    rebuilt.load_state_dict(first.state_dict())
    assert torch.equal(first(x), rebuilt(x))


def test_fourier_angles_keep_their_precision():
    from pushforward.denoisers.precision import call, network_precision

    network, x = FourierFeatures(Sees(), 2, 16), 3 * torch.randn(50, 2)
    with network_precision("bfloat16"):
        seen = call(network, x)
    angles = (x[:, None] * network.frequencies).sum(2)
    assert torch.allclose(seen, torch.cat([x, angles.sin(), angles.cos()], dim=1), atol=1e-3)
