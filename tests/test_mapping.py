"""Maps between two times: rules and jumps against a closed form, laws of pairs, and training."""

import math

import pytest
import torch
from torch import nn

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
from pushforward.solvers.solver import stepped
from pushforward.testing import assert_same, final_state, ring
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
        t, s = t[:, :1], t[:, 1:]
        here, there = (torch.sqrt((1 - at) ** 2 * VARIANCE + at**2) for at in (t, s))
        slope = (VARIANCE * (t + s - 2) + t + s) / (here * (here + there))
        return slope * (x - (1 - t) * MEAN) - MEAN


def exact():
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1))
    return FlowMap(
        Exact(), Linear(), "velocity", space, preconditioning=Preconditioning(scale_input=False)
    )


@pytest.fixture
def where():
    """States on the exact map with their velocities, at times that include both ends."""
    torch.manual_seed(0)
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
    wrong = TargetInputs(
        **{
            **vars(where),
            "mean_velocity": lambda x, t, s: where.mean_velocity(x, t, s) + (s * t)[:, None],
        }
    )
    away = rule.target(wrong) - wrong.mean_velocity(where.x, where.t, where.s)
    assert away.abs().max() > 0.02, "another map does not agree with itself"


@pytest.mark.parametrize("rule", [StartTarget, EndTarget])
def test_the_error_of_a_short_leg_falls_with_its_length_squared(rule, where):
    """A leg is taken straight, and is a share of the way."""
    truth = where.mean_velocity(where.x, where.t, where.s)
    errors = [
        float((rule(share, **options).target(where) - truth).norm())
        for share, options in _shares(rule)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] < 1e-2


def _shares(rule):
    return [(share, {"last": share} if rule is StartTarget else {}) for share in (0.02, 0.01)]


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
    t, s = pairs(ExampleDraws(0, n), Linear())
    assert bool((s <= t).all())
    assert float(s.min()) >= 0
    assert 1e-3 - 1e-6 <= float(t.min()) <= float(t.max()) <= 0.999 + 1e-6
    mean = float((s == t).float().mean())
    assert mean == pytest.approx(pairs.diagonal, abs=4 * math.sqrt(0.25 / n))
    if isinstance(pairs, Sorted):
        expected = (1 - pairs.diagonal) * pairs.to_data
        mean = float((s == 0).float().mean())
        assert mean == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))


@pytest.mark.parametrize("name", ["meanflow", "consistency", "shortcut"])
def test_a_map_learns_to_jump_without_a_teacher(name, tmp_path):
    """On a Gaussian, whose map is known: after 250 steps one jump is nearer to it than one step of
    a flow could be.
    """
    torch.manual_seed(0)
    data = pf.data.from_arrays((torch.randn(4000, 2) * 0.4 + 0.7).numpy(), name="gaussian")
    run = pf.fit(name, data, size="tiny", steps=250, seed=0, out=tmp_path / "run")
    z = torch.randn(2000, 2)
    with torch.no_grad():
        missed = (run.transport(z) - 0.999 * z).square().mean().sqrt()
    assert missed < 0.25
    if name == "consistency":
        assert run.transport.solver.renoise == 1
        std = run.configured(steps=4).transport(z, None, ExampleDraws(0, len(z))).std()
        assert std == pytest.approx(1, abs=0.25)
        return
    rows = [row for row in run.losses() if "off_diagonal_loss" in row.get("health", {})]
    assert rows, "the raw losses are logged"


def test_targets_come_from_an_average_that_follows_each_update(moons):
    recipe = pf.recipes.shortcut(moons.space, "tiny", average=640.0)
    method = recipe.method
    weights = [parameter.clone() for parameter in method.target_map.parameters()]
    assert all(
        torch.equal(a, b) for a, b in zip(weights, method.flow_map.parameters(), strict=True)
    )
    assert not any(parameter.requires_grad for parameter in method.target_map.parameters())
    batch = Batch(torch.randn(64, 2))
    for samples, half_life in ((64 * 1000, 640), (64, 0.05 * 128)):
        with torch.no_grad():
            for player, _ in method.turns(batch, StepContext(BlockDraws(0, 0, 64), samples, 0.5)):
                assert player == "map"
                for parameter in method.flow_map.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        weight = 1 - 0.5 ** (64 / half_life)
        for old, average, new in zip(
            weights, method.target_map.parameters(), method.flow_map.parameters(), strict=True
        ):
            torch.testing.assert_close(average, old.lerp(new, weight))
            old.copy_(average)
    targets = []
    x = torch.randn(4, 2)
    for map_ in (method.flow_map, method.target_map):
        own = method.target_map
        method.target_map = map_
        with torch.no_grad():
            where = (x, torch.full((4,), 0.9), torch.zeros(4))
            targets.append(method.target(where, x, None, StepContext(BlockDraws(0, 0, 4), 0, 0.5)))
        method.target_map = own
    assert not torch.allclose(*targets)
    with pytest.raises(UsageError, match="average"):
        MiddleTarget(average=-1.0)


def test_each_stage_is_the_teacher_of_the_next(moons):
    pairs = Dyadic(2, diagonal=0.0, staged=True)
    for progress, lengths in ((0.0, {0.25}), (0.4, {0.5}), (0.7, {0.5, 1}), (1.0, {0.5, 1})):
        t, s = pairs(ExampleDraws(0, 500), Linear(), progress)
        inside = t < 0.99
        difference = set((t - s)[inside].tolist())
        assert difference == lengths - {1}
        actual = bool(((t - s) > 0.99).any())
        assert actual == (1 in lengths)
    flow_map = pf.recipes.shortcut(moons.space, "tiny").method.flow_map
    method = FlowMapMatching(flow_map, Progressive(2), pairs)
    first = [parameter.clone() for parameter in method.target_map.parameters()]
    for progress, renewed in ((0.0, False), (0.4, False), (0.5, True), (0.9, False)):
        with torch.no_grad():
            before = [parameter.clone() for parameter in flow_map.parameters()]
            for _ in method.turns(
                Batch(torch.randn(64, 2)), StepContext(BlockDraws(0, 0, 64), 64, progress)
            ):
                for parameter in flow_map.parameters():
                    parameter.add_(0.1)
        wanted = before if renewed else first
        assert all(
            torch.equal(a, b) for a, b in zip(wanted, method.target_map.parameters(), strict=True)
        )
        first = wanted
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
    assert any(name.startswith("target_map") for name in cut[0]["method"])
    assert not any(name.startswith("target_map") for name in cut[0]["average"])


class Jumping(nn.Module):
    """The mean velocity between two times of the flow that moves N(0, 1) onto N(mean, std^2) along
    the straight path.
    """

    def __init__(self, mean, std):
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x, t, condition=None):
        t, s = t[:, :1], t[:, 1:]
        s = torch.where(s == t, t - 1e-6, s)
        return (self.to(x, t, s) - x) / (s - t)

    def to(self, x, t, s):
        here, there = (torch.sqrt((1 - at) ** 2 * self.std**2 + at**2) for at in (t, s))
        return (1 - s) * self.mean + there / here * (x - (1 - t) * self.mean)


OPTIONS = {
    "prediction": "velocity",
    "space": ring(Linear()).space,
    "preconditioning": Preconditioning(scale_input=False),
}


def jumping():
    return FlowMap(Jumping(0.7, 0.4), Linear(), **OPTIONS)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_jump_is_exact_for_the_exact_map_in_any_number_of_steps(steps):
    flow = Flow(jumping(), "jump", steps)
    z = torch.randn(6, 2, dtype=torch.float64)
    start = torch.tensor([[float(flow.times[0])]], dtype=torch.float64)
    wanted = Jumping(0.7, 0.4).to(z * start, start, torch.zeros_like(start))
    torch.testing.assert_close(flow(z), wanted, rtol=1e-9, atol=1e-9)
    assert flow.calls == steps
    states = list(stepped(flow.solver, flow.denoiser, flow._at_start(z), flow.times, None, None))
    torch.testing.assert_close(states[-1][1], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("renoise", [0.6, 1.0])
@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_noise_that_is_added_again_leaves_the_exact_map_exact(path, renoise):
    """The exact map of a Gaussian at mean 0 keeps its law: whatever noise is added, samples have
    the data's mean and width.
    """
    flow = Flow(FlowMap(Jumping(0.0, 0.4), Linear(), **OPTIONS).on(path), Jump(renoise), 4)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    draws = ExampleDraws(1, 4000)
    x = flow(z, None, draws)
    assert float(x.std()) == pytest.approx(0.4, rel=0.03)
    apart = (x - flow(z, None, ExampleDraws(9000, 4000))).std() / x.std()
    assert (0.2 < apart < 1.2) if renoise < 1 else apart == pytest.approx(2**0.5, abs=0.2)
    states = list(
        stepped(
            flow.solver, flow.denoiser, flow._at_start(z[:5]), flow.times, None, ExampleDraws(1, 5)
        )
    )
    torch.testing.assert_close(states[-1][1], x[:5], rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match="renoise between 0 and 1"):
        Jump(1.5)


def test_a_flow_map_at_one_time_is_a_denoiser_for_every_solver():
    z = torch.randn(6, 2, dtype=torch.float64)
    jumped = Flow(jumping(), "jump", 1)(z)
    for name in ("heun", "dpm:3"):
        actual = Flow(jumping(), name, 200)(z)
        torch.testing.assert_close(actual, jumped, rtol=0, atol=1e-3)
        steps = configure(Flow(jumping(), "jump", 1), solver=name, steps=9).steps
        assert steps == 9
        with pytest.raises(UsageError, match="`steps`"):
            configure(Flow(jumping(), "jump", 1), solver=name)


def test_a_flow_map_jumps_on_another_path():
    """Rescheduled jumps land where jumps on the own path do, scaled to the new path's width."""
    repathed = jumping().on(VP())
    t = torch.tensor([0.8, 0.7], dtype=torch.float64)
    s = t / 2
    x = torch.randn(2, 2, dtype=torch.float64)
    old = {at: Linear().time(VP().log_snr(at)) for at in (t, s)}
    widths = {at: Linear().at(old[at]).r / VP().at(at).r for at in (t, s)}
    wanted = (
        Jumping(0.7, 0.4).to(x * widths[t][:, None], old[t][:, None], old[s][:, None])
        / widths[s][:, None]
    )
    actual = repathed.jump(x, t, s)
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
    torch.manual_seed(0)
    space = pf.testing.space_data((1, 8, 8), labels=True, n=8).space
    flow_map = pf.recipes.meanflow(space, "tiny", network="unet").method.flow_map
    for parameter in flow_map.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return FlowMapMatching(flow_map, pairs=Sorted())


@pytest.mark.parametrize("equal", [0, 20, N])
@pytest.mark.parametrize("name", RULES)
def test_targets_are_those_of_the_rule_without_calls_at_equal_times(name, equal, method):
    method.rule = RULES[name]
    x, velocity = torch.randn(2, N, 1, 8, 8)
    t = torch.rand(N) * 0.8 + 0.1
    condition = {"label": torch.arange(N) % 2}
    s = torch.where(torch.randperm(N) < equal, t, 0.5 * t)
    rows = []
    network = method.flow_map.network
    network.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    now = StepContext(BlockDraws(0, 0, N), N, 0.5)
    with torch.no_grad():
        target = method.target((x, t, s), velocity, condition, now)
        assert set(rows) <= {N - equal} - {0}

        def own(x, t, s):
            return mean_velocity(straight(method.flow_map), x, t, s, condition)

        expected = method.rule.target(
            TargetInputs(x, t, s, velocity, own, 0.5, BlockDraws(0, 0, N))
        )
    wide = (s == t)[:, None, None, None]
    actual = torch.where(wide, velocity, expected)
    torch.testing.assert_close(target, actual, rtol=1e-4, atol=1e-4)
