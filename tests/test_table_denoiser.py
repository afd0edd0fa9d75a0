"""Denoisers of tables: closed forms, laws of estimates, given columns, learned factors,
imputation.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from programs.digest import state_digest
from programs.tables import mixed_space, mixed_table, mixed_values
from torch import nn

import pushforward as pf
from pushforward import spec
from pushforward.conditions import Request
from pushforward.data import TableSpace
from pushforward.draws import BlockDraws
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods import StepContext
from pushforward.networks import ColumnTransformer
from pushforward.paths import ROWS, VE, Linear, solve, target
from pushforward.recipes import Training
from pushforward.tables import Category, Number, denoiser as of_tables
from pushforward.tables.column import Known
from pushforward.tables.columns import Format
from pushforward.tables.coordinates import Coordinates
from pushforward.tables.denoiser import NAT, Given, TableDenoiser, known_columns
from pushforward.tables.recipes import table_denoising
from pushforward.training.api import prepare, reopen
from pushforward.training.runs.spec_file import recipe_of
from pushforward.transports import Flow

SHARES = (0.5, 0.27, 0.2, 0.03)


class Nothing(nn.Module):
    """A network that puts out zeros: the model of independent columns."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x, t, condition=None):
        return x.new_zeros(len(x), self.size)


class Copying(nn.Module):
    """Of two columns of two categories: the logits of the second are those that the first one
    gives, where it is given.
    """

    def forward(self, x, t, condition=None):
        return torch.cat([0 * x[:, :2], 60 * x[:, :2] * x[:, 4:5]], dim=1)


def single(space, path=None, prediction="velocity", network=None):
    return TableDenoiser(network or Nothing(space.shape[0]), path or Linear(), prediction, space)


def one_category(shares=SHARES, **options):
    return TableSpace.of([Category("c", tuple("abcd"[: len(shares)]), shares, **options)])


@pytest.fixture(scope="module")
def mixed():
    return mixed_space(mixed_values(500))


@pytest.mark.parametrize("path", [Linear(), VE(0.01, 20)], ids=["linear", "ve"])
@pytest.mark.parametrize("log_factor", [0.0, 0.7])
def test_of_a_single_category_the_softmax_is_the_posterior(path, log_factor):
    space = one_category()
    denoiser = single(space, path)
    denoiser.shift.fill_(round(log_factor * NAT))
    at = torch.tensor([0.02, 0.3, 0.9])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator)
    k = path.at(at.double())
    centres = (np.eye(4) - SHARES) / math.sqrt(0.5) * math.exp(round(log_factor * NAT) / NAT)
    for row in range(3):
        distance = ((x[row].double().numpy() - float(k.alpha[row]) * centres) ** 2).sum(1)
        weight = np.log(SHARES) - distance / (2 * float(k.sigma[row]) ** 2)
        posterior = np.exp(weight - weight.max()) / np.exp(weight - weight.max()).sum()
        data = denoiser.predict("data", x[row : row + 1], at[row : row + 1])
        actual = denoiser.space.to_data(data)[0]
        np.testing.assert_allclose(actual, posterior, atol=2e-4)


def test_of_a_single_score_the_estimate_is_the_conditional_mean():
    space = TableSpace.of([Number.measured("x", np.random.default_rng(0).normal(size=3000))])
    denoiser = single(space)
    denoiser.shift.fill_(NAT // 2)
    x = torch.tensor([[0.4], [-2.0]])
    t = torch.tensor([0.2, 0.7])
    f = math.exp(0.5)
    wanted = (1 - t) * f * x[:, 0] / (((1 - t) * f) ** 2 + t**2)
    actual = denoiser.space.to_data(denoiser.predict("data", x, t))[:, 0]
    torch.testing.assert_close(actual, wanted)


def test_a_score_that_may_not_count_is_noise_in_so_much():
    values = np.where(np.arange(3000) % 4, np.random.default_rng(0).normal(size=3000), 7.0)
    space = TableSpace.of([Number.measured("x", values)])
    denoiser = single(space)
    denoiser.network.forward = lambda x, t, condition=None: torch.tensor([[0.5, 0.0, 0.0]]).expand(
        len(x), 3
    )
    x = torch.tensor([[0.3, 0.4, -0.2]])
    t = torch.tensor([0.8])
    data = denoiser.space.to_data(denoiser.predict("data", x, t))[0]
    assert data[1] + data[2] == pytest.approx(1, abs=1e-6)
    assert 0.6 < data[1] < 0.99
    r = math.hypot(0.2, 0.8)
    assert float(data[0]) == pytest.approx(
        (0.2 * 0.3 / r - 0.8 * 0.5 * float(data[1])) / r, abs=1e-6
    )


@pytest.mark.parametrize("path", [Linear(), VE(0.01, 20)], ids=["linear", "ve"])
def test_estimates_of_every_kind_are_of_one_data_and_noise(mixed, path):
    denoiser = single(mixed, path, network=nn.Identity())
    denoiser.network.forward = lambda x, t, condition=None: torch.sin(3 * x[:, : mixed.shape[0]])
    x = torch.randn(6, *mixed.shape)
    t = torch.linspace(0.1, 0.9, 6)
    k = path.at(t).over(x)
    data = denoiser.predict("data", x, t)
    noise = (x - k.alpha * data) / k.sigma
    for kind in ROWS:
        estimate = denoiser.predict(kind, x, t)
        expected = target(kind, data, noise, k)
        torch.testing.assert_close(estimate, expected, rtol=1e-3, atol=1e-4)
        actual = solve(kind, estimate, x, k)[0]
        torch.testing.assert_close(actual, data, rtol=1e-3, atol=2e-3)
    expected = denoiser.predict(denoiser.prediction, x, t)
    torch.testing.assert_close(denoiser(x, t), expected)


def test_probabilities_of_a_row_are_the_same_in_every_batch(mixed):
    layout = Coordinates(mixed)
    logits = 5 * torch.randn(33, mixed.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = layout.log_shares(logits)
        assert all(torch.equal(layout.log_shares(logits[:n]), whole[:n]) for n in range(1, 34))


@pytest.mark.parametrize("grad", [True, False])
def test_blocks_of_all_widths_are_normalised_each_by_itself(mixed, grad):
    neighbours = TableSpace.of(
        [
            Category(f"c{i}", ("a", "b", "c")[:width], (1 / width,) * width)
            for i, width in enumerate((2, 2, 3))
        ]
    )
    for space in (mixed, neighbours):
        layout = Coordinates(space)
        logits = torch.randn(4, *space.shape)
        with torch.set_grad_enabled(grad):
            out = layout.log_shares(logits)
        for start, stop in space.blocks:
            expected = logits[:, start:stop].log_softmax(1)
            torch.testing.assert_close(out[:, start:stop], expected)
        assert bool((out[:, layout.scores] == 0).all())


def test_spread_scores_are_normal_and_mean_the_same_values(mixed):
    layout = single(mixed).layout
    values = mixed_values(4000, 3)
    mixed = mixed_space(values)
    layout = single(mixed).layout
    x = torch.from_numpy(mixed.encoded(values))
    spread = layout.spread(x, torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_array_equal(mixed.values(spread), mixed.values(x))
    for score in (0, 1, 4):
        largest = float(
            (torch.special.ndtr(spread[:, score]).sort().values - torch.linspace(0, 1, 4000))
            .abs()
            .max()
        )
        assert largest < 0.035
    assert len(spread[:, 4].unique()) > 3900 > 100 > len(x[:, 4].unique())


def test_a_frequent_value_of_an_open_column_is_drawn_as_often_as_it_occurs():
    """A value of 1 % of the rows, which is no atom, holds 1 % of the scores; scores drawn for it
    lie there and mean it.
    """
    values = np.r_[np.arange(0, 2970, 1.0), np.full(30, 1500.0)][:, None]
    field = Number.measured("n", values[:, 0], "whole", Format(decimals=0))
    space = TableSpace.of([field])
    assert not field.closed
    assert not field.atoms
    draws = torch.special.ndtri(torch.linspace(0, 1, 60_001)[1:-1].double())[:, None]
    difference = abs(float((space.values(draws) == 1500).mean()) - 31 / 3000)
    assert difference < 2e-4
    x = torch.from_numpy(space.encoded(values))
    spread = single(space).layout.spread(
        x, torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    )
    np.testing.assert_array_equal(space.values(spread), values)
    assert len(spread.unique()) == 3000 > len(x.unique())


def test_waves_are_expectations_given_the_noisy_score():
    """Their integral over data given its own noisy state; of a given column the waves of
    its value.
    """
    space = TableSpace.of(
        [
            Number("n", (-2.0, 2.0), (0.02, 0.98), closed=False),
            Number("m", (0.0, 1.0), (0.02, 0.98), False),
        ]
    )
    denoiser = TableDenoiser(Nothing(2), Linear(), "velocity", space, waves=3)
    t = torch.tensor([0.2, 0.6, 0.9])
    columns = {name: value[:, None] for name, value in denoiser.columns("v", t).items()}
    x_t = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.1]])
    reach = columns["alpha"] / (columns["alpha"] ** 2 + columns["sigma"] ** 2).sqrt()
    noisy = x_t / (columns["alpha"] ** 2 + columns["sigma"] ** 2).sqrt()
    waves = denoiser.features(noisy, None, reach)[:, 4:].reshape(3, 2, 2, 3)
    u = torch.linspace(-9, 9, 3001, dtype=torch.float64)
    for row in range(3):
        alpha = float(columns["alpha"][row])
        sigma = float(columns["sigma"][row])
        for score in range(2):
            law = torch.exp(-(u**2) / 2 - ((x_t[row, score] - alpha * u) / sigma) ** 2 / 2)
            angles = u * denoiser.frequencies[:, None].double()
            for kind, wave in enumerate((angles.sin(), angles.cos())):
                expected = (wave * law).sum(1) / law.sum()
                actual = waves[row, kind, score].double()
                torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    given = Given(
        torch.tensor([[0.5, 0.0]]).expand(3, 2), torch.tensor([[True, False]]).expand(3, 2)
    )
    seen = denoiser.features(noisy, given, reach)[:, 4:].reshape(3, 2, 2, 3)
    actual = torch.sin(0.5 * denoiser.frequencies)
    torch.testing.assert_close(seen[0, 0, 0], actual)
    torch.testing.assert_close(seen[:, :, 1], waves[:, :, 1])


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm"])
def test_frequencies_of_a_skewed_category_come_out_right(recipe):
    shares = (0.97, 0.02, 0.01)
    recipe = getattr(pf.recipes, recipe)(one_category(shares), "tiny")
    transport = recipe.method.transport()
    drawn = transport.space.values(transport.sample(1500, seed=1, batch=1500))[:, 0]
    for number, share in enumerate(shares):
        difference = abs(float((drawn == number).mean()) - share)
        expected = 4.5 * math.sqrt(share * (1 - share) / 1500)
        assert difference < expected


def test_columns_that_are_given_come_out_as_given(mixed):
    run = pf.recipes.flow(mixed, "tiny").method.transport()
    nn.init.normal_(run.denoiser.network.leave.weight, std=0.3)
    fields = mixed.fields
    given = {"kind": "b", "whole": 5, "gain": 0, "number": [float(v) for v in fields[0].knots[3:9]]}
    for transport in (
        run,
        *(Flow(pf.Guided(run.denoiser, scale), "heun", 4) for scale in (0.0, 2.5)),
        Flow(run.denoiser, "ancestral", 5),
    ):
        values = mixed.values(transport.sample(6, given, seed=4))
        np.testing.assert_array_equal(values[:, 3], 1.0)
        np.testing.assert_array_equal(values[:, 2], 5.0)
        np.testing.assert_array_equal(values[:, 1], 0.0)
        np.testing.assert_allclose(values[:, 0], fields[0].knots[3:9], rtol=1e-5)
    count = len(np.unique(mixed.values(run.sample(50, {"kind": "b"}))[:, 2]))
    assert count > 3


def test_columns_that_are_not_given_leave_no_trace_in_a_condition(mixed):
    known = Known(mixed.fields)
    values = mixed_values(500)
    first = values[:20]
    second = values[20:40].copy()
    marks = np.tile([1, -1, 0, 0, 0], (20, 1))
    assert not torch.equal(known.of(first, marks), known.of(second, marks))
    second[:, 0] = first[:, 0]
    actual = known.of(first, marks)
    expected = known.of(second, marks)
    assert torch.equal(actual, expected)


def test_guidance_leads_away_from_the_model_that_sees_no_given_column():
    space = TableSpace.of(
        [Category("a", ("u", "v"), (0.5, 0.5)), Category("b", ("u", "v"), (0.5, 0.5))]
    )
    denoiser = pf.recipes.flow(space, network=Copying()).method.denoiser
    given = {"known": torch.tensor([[0.0, 1, 0, 0, 1, 0]]), "known_null": torch.tensor([False])}
    x = torch.zeros(1, 4)
    t = torch.tensor([0.9])
    seen = denoiser.predict("data", x, t, given)
    hidden = denoiser.predict("data", x, t, given | {"known_null": torch.tensor([True])})
    assert seen[0, 3] > 0.6 > abs(float(hidden[0, 3]))
    assert torch.equal(seen[:, :2], hidden[:, :2])


def turns(method, n=512, step=0, progress=0.0, seed=0):
    rows = torch.from_numpy(method.space.encoded(mixed_values(n, seed)))
    batch = pf.data.Batch(method.space.to_model(rows))
    return list(method.turns(batch, StepContext(BlockDraws(seed, step, n), 0, progress)))


def test_factors_move_until_each_column_loses_half_of_its_information(mixed):
    method = table_denoising(
        mixed, "tiny", Nothing(mixed.shape[0]), Linear(), "velocity", known=0.0
    )
    lost = []
    method.denoiser.move = lambda step: (
        lost.append(step / 0.05 + 0.5),
        TableDenoiser.move(method.denoiser, step),
    )
    for step in range(160):
        turns(method, 64, step)
    assert float(method.denoiser.shift.abs().max()) > 100
    actual = torch.stack(lost[-80:]).mean(0)
    expected = torch.full((5,), 0.5)
    torch.testing.assert_close(actual, expected, atol=0.03, rtol=0)
    before = method.denoiser.shift.clone()
    turns(method, 64, 400, progress=0.4)
    assert torch.equal(method.denoiser.shift, before)
    shifted = method.denoiser.space
    actual = torch.tensor(mixed.std) / torch.tensor(shifted.std)
    torch.testing.assert_close(actual, method.denoiser.factors)
    flow = pf.recipes.flow(mixed, "tiny").method
    turns(flow, 64)
    assert not bool(flow.denoiser.shift.any()), "a flow has no factors"


def test_the_loss_of_the_independent_model_is_known(mixed, monkeypatch):
    """At pure noise each column loses its entropy or variance, and where all columns are given
    nothing counts.
    """
    method = table_denoising(
        mixed, "tiny", Nothing(mixed.shape[0]), VE(199.0, 200.0), "v", known=0.0, rate=0
    )
    loss = float(turns(method, 4096)[0][1])
    # a block counts once, and so does a score where it counts: in half of the rows of "gain"
    assert loss == pytest.approx((1 + (1 + 0.5) + 1 + 1 + 1) / 5, abs=0.05)
    monkeypatch.setattr(
        of_tables,
        "known_columns",
        lambda draws, columns, share: torch.ones(64, columns, dtype=torch.bool),
    )
    actual = float(turns(method, 64)[0][1])
    assert actual == 0


def test_columns_are_given_in_half_of_the_rows_of_training(mixed):
    method = table_denoising(mixed, "tiny", "mlp", Linear(), "velocity")
    known = known_columns(BlockDraws(0, 0, 8192), 5, method.known).float()
    none = float((known.sum(1) == 0).float().mean())
    assert none == pytest.approx(0.5 + 0.5 / 6, abs=0.02)
    expected = torch.full((5,), 0.25)
    torch.testing.assert_close(known.mean(0), expected, atol=0.02, rtol=0)


def test_a_token_is_made_of_its_own_column_and_makes_its_own_coordinates(mixed):
    network = ColumnTransformer.sized("tiny", shape=mixed.shape, starts=mixed.starts)
    for weight in network.leave:
        nn.init.normal_(weight)
    x = torch.randn(2, mixed.shape[0] + 5)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, torch.zeros(2)).sum(0), x)[
        :, 0
    ]
    owners = torch.from_numpy(np.concatenate([mixed.owners, np.arange(5)]))
    # blocks start as the identity
    expected = torch.from_numpy(mixed.owners)[:, None] == owners
    assert torch.equal(jacobian != 0, expected)
    shape = network(x, torch.zeros(2)).shape
    assert shape == (2, *mixed.shape)


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_a_training_with_learned_factors_resumes_bit_for_bit(network, tmp_path):
    data = mixed_table(200)

    def recipe():
        return dataclasses.replace(
            pf.recipes.ddpm(data.space, "tiny", network=network), training=Training(batch=64)
        )

    whole = pf.fit(recipe(), data, steps=9, out=tmp_path / "whole", seed=3)
    trainer = prepare(recipe(), data, steps=9, out=tmp_path / "cut", seed=3)
    while trainer.clock.step < 2:
        trainer.advance(1e-9)
    trainer.finish()
    reopen(tmp_path / "cut", data=data).advance()
    assert state_digest(tmp_path / "whole") == state_digest(tmp_path / "cut")
    assert bool(whole.method.denoiser.shift.any())
    assert pf.load(tmp_path / "cut").transport.space == whole.transport.space != data.space


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_the_time_of_all_rows_is_embedded_once_and_says_the_same(mixed, network):
    denoiser = table_denoising(mixed, "tiny", network, Linear(), "velocity").denoiser.eval()
    for weight in denoiser.parameters():
        nn.init.normal_(weight, 0, 0.1)
    lengths = []
    denoiser.network.conditioning.time.register_forward_pre_hook(
        lambda _, inputs: lengths.append(len(inputs[0]))
    )
    x = torch.randn(5, mixed.shape[0])
    t = torch.tensor(0.4)
    with torch.no_grad():
        alone = denoiser.evaluate("data", x, denoiser.columns("data", t))
        expected = denoiser.predict("data", x, t.expand(5))
        torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    assert lengths == [1, 5]


def test_a_network_that_declares_nothing_gets_a_time_for_each_row(mixed):
    denoiser = single(mixed)
    lengths = []
    denoiser.network.register_forward_pre_hook(lambda _, inputs: lengths.append(len(inputs[1])))
    denoiser.evaluate(
        "data", torch.randn(5, *mixed.shape), denoiser.columns("data", torch.tensor(0.4))
    )
    assert lengths == [5]


def test_a_hostile_number_of_waves_is_refused(mixed):
    method = table_denoising(mixed, "tiny", "mlp", Linear(), "velocity")
    content = {
        "method": spec.describe(method),
        "training": {"batch": 64},
        "recipe": "flow",
        "family": "flow",
    }
    for waves, why in ((4, "inputs; expected"), (10**7, "must be at most 64")):
        content["method"]["denoiser"]["waves"] = waves
        with pytest.raises(CheckpointError, match=why):
            recipe_of(content)


def test_a_value_that_a_column_does_not_have_is_refused(mixed):
    request = Request(pf.recipes.flow(mixed, "tiny").method.space.conditions)
    for given, words in {
        ("kind", "bb"): r'"kind" has no category "bb"\..*Expected one of: "a", "b", "c"',
        ("whole", "many"): r"\"whole\" takes a whole.*; got 'many'",
        ("number", None): r"\"number\" takes a number.*; got None",
    }.items():
        with pytest.raises(UsageError, match=words):
            request.values(3, dict([given]), 0)
    missing = request.values(2, {"kind": None}, 0)["known"]
    assert missing[0, mixed.columns.index("kind = missing")] == 1
