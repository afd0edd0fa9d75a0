"""The limit of the target of a map that agrees with itself along a velocity."""

import torch

from pushforward.draws import BlockDraws
from pushforward.methods.flow_map_targets import StartTarget, TargetInputs

N = 64
X = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None]


def target(rule, velocity, own):
    """The target at (x, .9, 0) of a map F(x, t, s) = ``own``(x) for pairs of this velocity."""
    t = torch.full((N,), 0.9, dtype=torch.float64)
    s = torch.zeros_like(t)
    draws = BlockDraws(0, 0, N)
    inputs = TargetInputs(X, t, s, velocity, lambda x, t, s: own(x), 1.0, draws)
    return rule.target(inputs)


def test_a_short_leg_has_the_limit_of_the_derivative():
    """(target - F) / a of a short leg is that of the limit, v - F - (t - s) dF/dt."""
    v = torch.randn(N, 1, dtype=torch.float64)
    a = 1e-5
    own = X**2
    short = (target(StartTarget(a, a), v, torch.square) - own) / a
    limit = target(StartTarget(derivative="forward"), v, torch.square) - own
    torch.testing.assert_close(short, limit, rtol=0, atol=1e-3)
