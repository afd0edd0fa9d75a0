"""Where both times are equal the target is the velocity, and the map that makes targets is not called."""

import pytest
import torch

import pushforward as pf
from pushforward.draws import BlockDraws
from pushforward.methods import Mapping, Now
from pushforward.methods.flow_map import Sorted, mean_velocity, straight
from pushforward.methods.rules import End, Middle, Start, Where

N = 64
RULES = {
    "start": Start(0.1, 0.1),
    "start in its own direction": Start(0.1, 0.1, direction="map"),
    "mean flow": Start(derivative="forward"),
    "middle": Middle(random=True),
    "end": End(),
    "end by differences": End(derivative="difference"),
}


@pytest.fixture
def method():
    torch.manual_seed(0)
    space = pf.testing.space_data((1, 8, 8), labels=True, n=8).space
    flow_map = pf.recipes.meanflow(space, "tiny", network="unet").method.flow_map
    for parameter in flow_map.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Mapping(flow_map, pairs=Sorted())


@pytest.mark.parametrize("equal", [0, 20, N])
@pytest.mark.parametrize("name", RULES)
def test_targets_are_those_of_the_rule_without_calls_at_equal_times(name, equal, method):
    method.rule = RULES[name]
    x, velocity = torch.randn(2, N, 1, 8, 8)
    t, condition = torch.rand(N) * 0.8 + 0.1, {"label": torch.arange(N) % 2}
    s = torch.where(torch.randperm(N) < equal, t, 0.5 * t)
    rows, network = [], method.flow_map.network
    network.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    now = Now(BlockDraws(0, 0, N), N, 0.5)
    with torch.no_grad():
        target = method.target((x, t, s), velocity, condition, now)
        assert set(rows) <= {N - equal} - {0}

        def own(x, t, s):
            return mean_velocity(straight(method.flow_map), x, t, s, condition)

        expected = method.rule.target(Where(x, t, s, velocity, own, 0.5, BlockDraws(0, 0, N)))
    wide = (s == t)[:, None, None, None]
    torch.testing.assert_close(target, torch.where(wide, velocity, expected), rtol=1e-4, atol=1e-4)
