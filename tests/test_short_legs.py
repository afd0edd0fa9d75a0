"""The gradient of a rule whose first or last leg is short is that of its limit."""

import pytest
import torch

import pushforward as pf
from pushforward.data import Batch
from pushforward.draws import BlockDraws
from pushforward.methods import Mapping, Now
from pushforward.methods.pairs import Sorted
from pushforward.methods.rules import End, Start, Where

SHORT = 1e-4
RULES = {
    "start": (Start(SHORT, SHORT), Start(derivative="forward")),
    "start in its own direction": (Start(SHORT, SHORT, direction="map"), Start(derivative="forward", direction="map")),
    "end": (End(SHORT), End(derivative="forward")),
}


def gradient(rule, power):
    """The gradient of the loss of a small map in float64, after a few random changes of its weights."""
    torch.manual_seed(0)
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1))
    flow_map = pf.recipes.meanflow(space, "tiny").method.flow_map.double()
    for parameter in flow_map.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    method = Mapping(flow_map, rule, Sorted(diagonal=0.25, from_noise=0.2), power=power)
    now = Now(BlockDraws(0, 0, 256), 256, 1.0)
    _, loss = next(iter(method.losses(Batch(torch.randn(256, 2, dtype=torch.float64)), now)))
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in flow_map.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", RULES)
def test_the_gradient_of_a_short_leg_is_that_of_its_limit(name, power):
    short, limit = (gradient(rule, power) for rule in RULES[name])
    assert (short - limit).norm() < 0.01 * limit.norm()


@pytest.mark.parametrize("direction", ["pair", "map"])
def test_targets_in_the_maps_own_direction_vary_with_the_pair_by_its_leg_alone(direction):
    """On F(x, t, s) = x^2 two pairs through one state give targets that differ by a (v - w); the direction adds to that."""
    x, t = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None], torch.full((64,), 0.9, dtype=torch.float64)
    v, w = torch.randn(2, 64, 1, dtype=torch.float64)
    rule, a = Start(0.1, 0.1, direction=direction), 0.1
    place = {"x": x, "t": t, "s": 0 * t, "mean_velocity": lambda x, t, s: x**2, "progress": 1.0, "draws": BlockDraws(0, 0, 64)}
    difference = rule.target(Where(velocity=v, **place)) - rule.target(Where(velocity=w, **place))
    leg = 0.9 * a
    beside = {"map": 0.0 * v, "pair": (1 - a) * ((x - leg * v) ** 2 - (x - leg * w) ** 2)}[direction]
    torch.testing.assert_close(difference, a * (v - w) + beside, rtol=0, atol=1e-12)
