"""The gradient of a rule whose first or last leg is short is that of its limit."""

import pytest
import torch

import pushforward as pf
from pushforward.data import Batch
from pushforward.draws import BlockDraws
from pushforward.methods import Mapping, Now
from pushforward.methods.pairs import Sorted
from pushforward.methods.rules import End, Start

SHORT = 1e-4
RULES = {
    "start": (Start(SHORT, SHORT), Start(derivative="forward")),
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
