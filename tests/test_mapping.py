"""Maps between two times: rules and jumps against a closed form, laws of pairs, and training."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

import pushforward as pf
from pushforward.data import Batch
from pushforward.denoisers import FlowMap, Preconditioning
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods import FlowMapMatching, StepContext
from pushforward.methods.flow_map import Dyadic, Sorted, mean_velocity, straight
from pushforward.methods.flow_map_targets import (
    EndTarget,
    MiddleTarget,
    Progressive,
    StartTarget,
    TargetInputs,
)
from pushforward.paths import VP, Linear, LogitNormal
from pushforward.sampling_options import configure
from pushforward.solvers import Jump
from pushforward.solvers.solver import run_steps
from pushforward.testing import assert_same, final_state
from pushforward.training.api import prepare, reopen
from pushforward.transports import Flow

MEAN = 0.7
VARIANCE = 0.16
N = 64


class Exact(nn.Module):
    """The mean velocity between two times of the flow from N(0, 1) to N(MEAN, VARIANCE), without a
    singularity at s = t.
    """

    def forward(self, x, t, condition=None):
        t, s = t.split(1, dim=1)
        here = width(t, VARIANCE)
        there = width(s, VARIANCE)
        slope = (VARIANCE * (t + s - 2) + t + s) / (here * (here + there))
        return slope * (x - (1 - t) * MEAN) - MEAN


def width(t, variance):
    """The standard deviation of x_t, of a Gaussian on the straight path."""
    return torch.sqrt((1 - t) ** 2 * variance + t**2)


def flow_map(network):
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1))
    scaling = Preconditioning(scale_input=False)
    return FlowMap(network, Linear(), "velocity", space, preconditioning=scaling)


def exact():
    return flow_map(Exact())


@pytest.fixture
def where():
    """States on the exact map with their velocities, at times that include both ends."""
    t = torch.rand(N, dtype=torch.float64) * 0.9 + 0.05
    s = t * torch.rand(N, dtype=torch.float64)
    t[:4] = 0.999
    s[4:8] = 0.0
    x = torch.randn(N, 2, dtype=torch.float64)

    def own(x, t, s):
        return mean_velocity(exact(), x, t, s)

    return TargetInputs(x, t, s, own(x, t, t), own, 0.5, ExampleDraws(0, N))


IDENTITIES = {
    "Eulerian": (StartTarget(derivative="forward"), 1e-8),
    "Lagrangian": (EndTarget(derivative="forward"), 1e-8),
    "semigroup": (MiddleTarget(), 1e-8),
    "Eulerian by differences": (StartTarget(derivative="difference"), 1e-3),
    "Lagrangian by differences": (EndTarget(derivative="difference"), 1e-3),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_target_of_the_exact_map_is_the_exact_map(name, where):
    rule, error = IDENTITIES[name]
    truth = where.mean_velocity(where.x, where.t, where.s)
    largest = (rule.target(where) - truth).abs().max()
    assert largest < error


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_target_of_another_map_is_not_that_map(name, where):
    rule, _ = IDENTITIES[name]

    def other(x, t, s):
        return where.mean_velocity(x, t, s) + (s * t)[:, None]

    wrong = dataclasses.replace(where, mean_velocity=other)
    away = rule.target(wrong) - other(where.x, where.t, where.s)
    assert away.abs().max() > 0.02


@pytest.mark.parametrize(("rule", "shares"), [(StartTarget, (0.02, 0.02)), (EndTarget, (0.02,))])
def test_the_error_of_a_short_leg_falls_with_its_length_squared(rule, shares, where):
    """A leg is taken straight, and is a share of the way."""
    truth = where.mean_velocity(where.x, where.t, where.s)
    long = (rule(*shares).target(where) - truth).norm()
    halved = [share / 2 for share in shares]
    short = (rule(*halved).target(where) - truth).norm()
    assert float(long / short) == pytest.approx(4, rel=0.1)
    assert short < 1e-2


def test_exact_jumps_compose_and_a_jump_to_the_same_time_stays(where):
    m = (where.t + where.s) / 3
    jump = exact().jump
    actual = jump(jump(where.x, where.t, m), m, where.s)
    expected = jump(where.x, where.t, where.s)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)
    actual = jump(where.x, where.t, where.t)
    torch.testing.assert_close(actual, where.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "pairs",
    [Sorted(diagonal=0.3, to_data=0.2), Sorted(LogitNormal(0.8, 1.4), diagonal=0.3), Dyadic(5)],
)
def test_pairs_are_ordered_and_meet_their_shares(pairs):
    n = 20_000
    within = 4 * math.sqrt(0.25 / n)
    t, s = pairs(ExampleDraws(0, n), Linear())
    assert (s <= t).all()
    assert s.min() >= 0
    assert t.min() >= 1e-3 - 1e-6
    assert t.max() <= 0.999 + 1e-6
    equal = int((s == t).sum()) / n
    assert equal == pytest.approx(pairs.diagonal, abs=within)
    if isinstance(pairs, Sorted):
        ends = int((s == 0).sum()) / n
        assert ends == pytest.approx((1 - pairs.diagonal) * pairs.to_data, abs=within)


@pytest.mark.parametrize("name", ["meanflow", "consistency", "shortcut"])
def test_a_map_learns_to_jump_without_a_teacher(name, tmp_path):
    """On a Gaussian, whose map is known: after 250 steps one jump is nearer to it than one step of
    a flow could be.
    """
    points = torch.randn(4000, 2) * 0.4 + 0.7
    data = pf.data.from_arrays(points.numpy(), name="gaussian")
    run = pf.fit(name, data, size="tiny", steps=250, seed=0, out=tmp_path / "run")
    z = torch.randn(2000, 2)
    with torch.no_grad():
        missed = run.transport(z) - 0.999 * z
    assert missed.square().mean().sqrt() < 0.25
    if name == "consistency":
        assert run.transport.solver.renoise == 1
        draws = ExampleDraws(0, len(z))
        x = run.configured(steps=4).transport(z, None, draws)
        assert x.std() == pytest.approx(1, abs=0.25)
        return
    logged = set()
    for row in run.losses():
        logged.update(row.get("health", {}))
    assert "off_diagonal_loss" in logged, "the raw losses are logged"


def flat(network):
    """All weights of a network as one vector."""
    return parameters_to_vector(network.parameters()).detach().clone()


def context(n, samples, progress):
    return StepContext(BlockDraws(0, 0, n), samples, progress)


@torch.no_grad()
def train_step(method, now):
    """Change the weights by chance where an optimiser would."""
    batch = Batch(torch.randn(64, 2))
    for player, _ in method.turns(batch, now):
        assert player == "map"
        for parameter in method.flow_map.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.fixture
def averaged(moons):
    """A method whose targets come from an average of the map."""
    return pf.recipes.shortcut(moons.space, "tiny", average=640.0).method


def test_the_average_of_a_map_follows_each_update(averaged):
    old = flat(averaged.target_map)
    assert torch.equal(old, flat(averaged.flow_map))
    for parameter in averaged.target_map.parameters():
        assert not parameter.requires_grad
    for samples, half_life in ((64 * 1000, 640), (64, 0.05 * 128)):
        train_step(averaged, context(64, samples, 0.5))
        weight = 1 - 0.5 ** (64 / half_life)
        average = flat(averaged.target_map)
        expected = old.lerp(flat(averaged.flow_map), weight)
        torch.testing.assert_close(average, expected)
        old = average
    with pytest.raises(UsageError, match="average"):
        MiddleTarget(average=-1.0)


@torch.no_grad()
def test_targets_come_from_the_average(averaged):
    train_step(averaged, context(64, 64_000, 0.5))
    x = torch.randn(4, 2)
    where = (x, torch.full((4,), 0.9), torch.zeros(4))
    now = context(4, 0, 0.5)
    target = averaged.target(where, x, None, now)
    averaged.target_map = averaged.flow_map
    of_map = averaged.target(where, x, None, now)
    assert not torch.allclose(target, of_map)


@pytest.mark.parametrize(
    ("progress", "lengths", "whole"),
    [(0.0, {0.25}, False), (0.4, {0.5}, False), (0.7, {0.5}, True), (1.0, {0.5}, True)],
)
def test_each_stage_has_longer_jumps(progress, lengths, whole):
    pairs = Dyadic(2, diagonal=0.0, staged=True)
    t, s = pairs(ExampleDraws(0, 500), Linear(), progress)
    length = t - s
    assert set(length[t < 0.99].tolist()) == lengths
    assert bool((length > 0.99).any()) == whole


def test_each_stage_is_the_teacher_of_the_next(moons):
    flow_map = pf.recipes.shortcut(moons.space, "tiny").method.flow_map
    pairs = Dyadic(2, diagonal=0.0, staged=True)
    method = FlowMapMatching(flow_map, Progressive(2), pairs)
    wanted = flat(method.target_map)
    for progress, renewed in ((0.0, False), (0.4, False), (0.5, True), (0.9, False)):
        if renewed:
            wanted = flat(flow_map)
        train_step(method, context(64, 64, progress))
        assert torch.equal(flat(method.target_map), wanted), progress
    assert int(method.stage) == 1


def test_an_average_is_resumed_bit_for_bit(moons, tmp_path):
    recipe = pf.recipes.shortcut(moons.space, "tiny", average=500.0)
    options = {"steps": 5, "seed": 3, "checkpoint_every": 1}
    pf.fit(recipe, moons, out=tmp_path / "whole", **options)
    trainer = prepare(recipe, moons, out=tmp_path / "cut", **options)
    trainer.advance(1e-9)
    del trainer
    reopen(tmp_path / "cut", data=moons).advance()
    whole = final_state(tmp_path / "whole")
    cut = final_state(tmp_path / "cut")
    assert_same(whole, cut)
    weights, *_ = cut
    assert "target_map" in " ".join(weights["method"])
    assert "target_map" not in " ".join(weights["average"])


class Jumping(nn.Module):
    """The mean velocity between two times of the flow that moves N(0, 1) onto N(mean, std^2) along
    the straight path.
    """

    def __init__(self, mean, std):
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x, t, condition=None):
        t, s = t.split(1, dim=1)
        s = torch.where(s == t, t - 1e-6, s)
        return (self.to(x, t, s) - x) / (s - t)

    def to(self, x, t, s):
        scale = width(s, self.std**2) / width(t, self.std**2)
        return (1 - s) * self.mean + scale * (x - (1 - t) * self.mean)


def jumping():
    return flow_map(Jumping(0.7, 0.4))


def last_state(flow, z, draws=None):
    """The last of the states between the steps of a flow."""
    start = flow._at_start(z)
    *_, (_, state) = run_steps(flow.solver, flow.denoiser, start, flow.times, None, draws)
    return state


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_jump_is_exact_for_the_exact_map_in_any_number_of_steps(steps):
    flow = Flow(jumping(), "jump", steps)
    z = torch.randn(6, 2, dtype=torch.float64)
    start = torch.tensor([[flow.times[0]]], dtype=torch.float64)
    wanted = Jumping(0.7, 0.4).to(z * start, start, torch.zeros_like(start))
    torch.testing.assert_close(flow(z), wanted, rtol=1e-9, atol=1e-9)
    assert flow.calls == steps
    torch.testing.assert_close(last_state(flow, z), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("renoise", [0.6, 1.0])
@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_noise_that_is_added_again_leaves_the_exact_map_exact(path, renoise):
    """The exact map of a Gaussian at mean 0 keeps its law: whatever noise is added, samples have
    the data's mean and width.
    """
    repathed = flow_map(Jumping(0.0, 0.4)).on(path)
    flow = Flow(repathed, Jump(renoise), 4)
    z = torch.randn(4000, 2, dtype=torch.float64)
    x = flow(z, None, ExampleDraws(1, 4000))
    assert float(x.std()) == pytest.approx(0.4, rel=0.03)
    other = flow(z, None, ExampleDraws(9000, 4000))
    apart = (x - other).std() / x.std()
    if renoise < 1:
        assert 0.2 < apart < 1.2
    else:
        assert apart == pytest.approx(2**0.5, abs=0.2)
    last = last_state(flow, z[:5], ExampleDraws(1, 5))
    torch.testing.assert_close(last, x[:5], rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match="renoise between 0 and 1"):
        Jump(1.5)


def test_a_flow_map_at_one_time_is_a_denoiser_for_every_solver():
    z = torch.randn(6, 2, dtype=torch.float64)
    jump = Flow(jumping(), "jump", 1)
    for name in ("heun", "dpm:3"):
        actual = Flow(jumping(), name, 200)(z)
        torch.testing.assert_close(actual, jump(z), rtol=0, atol=1e-3)
        configured = configure(jump, solver=name, steps=9)
        assert configured.steps == 9
        with pytest.raises(UsageError, match="`steps`"):
            configure(jump, solver=name)


def test_a_flow_map_jumps_on_another_path():
    """Rescheduled jumps land where jumps on the own path do, scaled to the new path's width."""
    own = Linear()
    new = VP()
    repathed = jumping().on(new)
    t = torch.tensor([[0.8], [0.7]], dtype=torch.float64)
    s = t / 2
    x = torch.randn(2, 2, dtype=torch.float64)
    own_t = own.time(new.log_snr(t))
    own_s = own.time(new.log_snr(s))
    width_t = own.at(own_t).r / new.at(t).r
    width_s = own.at(own_s).r / new.at(s).r
    wanted = Jumping(0.7, 0.4).to(x * width_t, own_t, own_s) / width_s
    actual = repathed.jump(x, t[:, 0], s[:, 0])
    torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-9)


RULES = {
    "start": StartTarget(0.1, 0.1),
    "mean flow": StartTarget(derivative="forward"),
    "middle": MiddleTarget(),
    "end": EndTarget(),
    "end by differences": EndTarget(derivative="difference"),
}


@pytest.fixture
def method():
    space = pf.testing.space_data((1, 8, 8), labels=True, n=8).space
    flow_map = pf.recipes.meanflow(space, "tiny", network="unet").method.flow_map
    for parameter in flow_map.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return FlowMapMatching(flow_map, pairs=Sorted())


@pytest.mark.parametrize("equal", [0, 20, N])
@pytest.mark.parametrize("name", RULES)
@torch.no_grad()
def test_targets_are_those_of_the_rule_without_calls_at_equal_times(name, equal, method):
    method.rule = RULES[name]
    x, velocity = torch.randn(2, N, 1, 8, 8)
    t = torch.rand(N) * 0.8 + 0.1
    condition = {"label": torch.arange(N) % 2}
    s = torch.where(torch.randperm(N) < equal, t, 0.5 * t)
    rows = set()
    network = method.flow_map.network
    network.register_forward_pre_hook(lambda module, inputs: rows.add(len(inputs[0])))
    target = method.target((x, t, s), velocity, condition, context(N, N, 0.5))
    assert rows <= {N - equal} - {0}

    def own(x, t, s):
        return mean_velocity(straight(method.flow_map), x, t, s, condition)

    inputs = TargetInputs(x, t, s, velocity, own, 0.5, BlockDraws(0, 0, N))
    by_rule = method.rule.target(inputs)
    at_equal_times = (s == t)[:, None, None, None]
    expected = torch.where(at_equal_times, velocity, by_rule)
    torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-4)
