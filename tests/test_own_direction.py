"""A map that agrees with itself along its own velocity: what is left of the pair's noise in a
target, and the limit.
"""

import pytest
import torch

from pushforward.draws import BlockDraws
from pushforward.methods.flow_map_targets import StartTarget, TargetInputs

N = 64


def target(rule, velocity, own):
    """The target at (x, .9, 0) of a map F(x, t, s) = ``own``(x) for pairs of this velocity."""
    x = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None]
    t = torch.full((N,), 0.9, dtype=torch.float64)
    return rule.target(
        TargetInputs(x, t, 0 * t, velocity, lambda x, t, s: own(x), 1.0, BlockDraws(0, 0, N))
    )


@pytest.mark.parametrize("direction", ["pair", "map"])
def test_targets_in_the_maps_own_direction_vary_with_the_pair_by_its_leg_alone(direction):
    """On F(x, t, s) = x^2 targets of two pairs through one state differ by a (v - w), in the pair's
    direction also by F there.
    """
    v, w = torch.randn(2, N, 1, dtype=torch.float64)
    rule = StartTarget(0.1, 0.1, direction=direction)
    a = 0.1
    x = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None]
    difference = target(rule, v, torch.square) - target(rule, w, torch.square)
    leg = 0.9 * a
    beside = {"map": 0.0 * v, "pair": (1 - a) * ((x - leg * v) ** 2 - (x - leg * w) ** 2)}[
        direction
    ]
    torch.testing.assert_close(difference, a * (v - w) + beside, rtol=0, atol=1e-12)


@pytest.mark.parametrize("direction", ["pair", "map"])
def test_a_short_leg_in_either_direction_has_the_limit_of_the_derivative(direction):
    """(target - F) / a of a short leg is that of the limit, v - F - (t - s) dF/dt along the same
    direction.
    """
    v = torch.randn(N, 1, dtype=torch.float64)
    a = 1e-5
    own = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None] ** 2
    short = (target(StartTarget(a, a, direction=direction), v, torch.square) - own) / a
    limit = target(StartTarget(derivative="forward", direction=direction), v, torch.square) - own
    torch.testing.assert_close(short, limit, rtol=0, atol=1e-3)
