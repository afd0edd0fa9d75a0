"""Denoisers of tables: closed forms, laws of estimates, given columns, learned factors,
imputation.
"""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from programs.digest import state_digest
from programs.tables import mixed_space, mixed_table, mixed_values
from programs.text_tables import read_texts
from scipy.special import softmax
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


def normal(*shape):
    """The same normal noise in every test."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


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
        first = x[:, :2]
        given = x[:, 4:5]
        return torch.cat([0 * first, 60 * first * given], dim=1)


def single(space, path=None, prediction="velocity", network=None):
    if network is None:
        network = Nothing(space.shape[0])
    return TableDenoiser(network, path or Linear(), prediction, space)


def one_category(shares=SHARES, **options):
    names = tuple("abcd"[: len(shares)])
    return TableSpace.of([Category("c", names, shares, **options)])


def measured(values, **options):
    """A space of one column of numbers."""
    return TableSpace.of([Number.measured("x", values, **options)])


def normal_values():
    return np.random.default_rng(0).normal(size=3000)


@pytest.fixture(scope="module")
def mixed():
    return mixed_space(mixed_values(500))


def denoising(space, network="mlp", path=None, prediction="velocity", **options):
    """A small method of denoising."""
    return table_denoising(space, "tiny", network, path or Linear(), prediction, **options)


@pytest.mark.parametrize("path", [Linear(), VE(0.01, 20)], ids=["linear", "ve"])
@pytest.mark.parametrize("log_factor", [0.0, 0.7])
def test_of_a_single_category_the_softmax_is_the_posterior(path, log_factor):
    denoiser = single(one_category(), path)
    shift = round(log_factor * NAT)
    denoiser.shift.fill_(shift)
    at = torch.tensor([0.02, 0.3, 0.9])
    x = normal(3, 4)
    k = path.at(at.double())
    factor = math.exp(shift / NAT)
    centres = (np.eye(4) - SHARES) / math.sqrt(0.5) * factor
    for row in range(3):
        alpha = float(k.alpha[row])
        sigma = float(k.sigma[row])
        offsets = x[row].double().numpy() - alpha * centres
        distances = (offsets**2).sum(1)
        log_weights = np.log(SHARES) - distances / (2 * sigma**2)
        posterior = softmax(log_weights)
        data = denoiser.predict("data", x[row : row + 1], at[row : row + 1])
        actual = denoiser.space.to_data(data)[0]
        np.testing.assert_allclose(actual, posterior, atol=2e-4)


def test_of_a_single_score_the_estimate_is_the_conditional_mean():
    denoiser = single(measured(normal_values()))
    denoiser.shift.fill_(NAT // 2)
    x = torch.tensor([[0.4], [-2.0]])
    t = torch.tensor([0.2, 0.7])
    alpha = (1 - t) * math.exp(0.5)
    mean = alpha * x[:, 0] / (alpha**2 + t**2)
    data = denoiser.predict("data", x, t)
    actual = denoiser.space.to_data(data)[:, 0]
    torch.testing.assert_close(actual, mean)


def test_a_score_that_may_not_count_is_noise_in_so_much():
    often_seven = np.where(np.arange(3000) % 4, normal_values(), 7.0)
    denoiser = single(measured(often_seven))
    output = torch.tensor([[0.5, 0.0, 0.0]])
    denoiser.network.forward = lambda x, t, condition=None: output.expand(len(x), 3)
    x = torch.tensor([[0.3, 0.4, -0.2]])
    data = denoiser.predict("data", x, torch.tensor([0.8]))
    score, counts, seven = denoiser.space.to_data(data)[0].tolist()
    assert counts + seven == pytest.approx(1, abs=1e-6)
    assert 0.6 < counts < 0.99
    r = math.hypot(0.2, 0.8)
    expected = (0.2 * 0.3 / r - 0.8 * 0.5 * counts) / r
    assert score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("path", [Linear(), VE(0.01, 20)], ids=["linear", "ve"])
def test_estimates_of_every_kind_are_of_one_data_and_noise(mixed, path):
    denoiser = single(mixed, path, network=nn.Identity())
    width = mixed.shape[0]
    denoiser.network.forward = lambda x, t, condition=None: torch.sin(3 * x[:, :width])
    x = torch.randn(6, width)
    t = torch.linspace(0.1, 0.9, 6)
    k = path.at(t).over(x)
    data = denoiser.predict("data", x, t)
    noise = (x - k.alpha * data) / k.sigma
    for kind in ROWS:
        estimate = denoiser.predict(kind, x, t)
        expected = target(kind, data, noise, k)
        torch.testing.assert_close(estimate, expected, rtol=1e-3, atol=1e-4)
        solved = solve(kind, estimate, x, k)[0]
        torch.testing.assert_close(solved, data, rtol=1e-3, atol=2e-3)
    expected = denoiser.predict(denoiser.prediction, x, t)
    torch.testing.assert_close(denoiser(x, t), expected)


def test_probabilities_of_a_row_are_the_same_in_every_batch(mixed):
    layout = Coordinates(mixed)
    logits = 5 * normal(33, mixed.size)
    with torch.no_grad():
        whole = layout.log_shares(logits)
        for n in range(1, 34):
            part = layout.log_shares(logits[:n])
            assert torch.equal(part, whole[:n])


@pytest.mark.parametrize("grad", [True, False])
def test_blocks_of_all_widths_are_normalised_each_by_itself(mixed, grad):
    fields = []
    for i, names in enumerate(("ab", "ab", "abc")):
        width = len(names)
        fields.append(Category(f"c{i}", tuple(names), (1 / width,) * width))
    neighbours = TableSpace.of(fields)
    for space in (mixed, neighbours):
        layout = Coordinates(space)
        logits = torch.randn(4, *space.shape)
        with torch.set_grad_enabled(grad):
            out = layout.log_shares(logits)
        for start, stop in space.blocks:
            expected = logits[:, start:stop].log_softmax(1)
            torch.testing.assert_close(out[:, start:stop], expected)
        assert not out[:, layout.scores].any()


def test_spread_scores_are_normal_and_mean_the_same_values():
    values = mixed_values(4000, 3)
    space = mixed_space(values)
    layout = single(space).layout
    x = torch.from_numpy(space.encoded(values))
    spread = layout.spread(x, normal(4000, 3))
    np.testing.assert_array_equal(space.values(spread), space.values(x))
    uniform = torch.linspace(0, 1, 4000)
    for score in (0, 1, 4):
        ranks = torch.special.ndtr(spread[:, score]).sort().values
        largest = float((ranks - uniform).abs().max())
        assert largest < 0.035
    assert len(spread[:, 4].unique()) > 3900
    assert len(x[:, 4].unique()) < 100


def test_a_frequent_value_of_an_open_column_is_drawn_as_often_as_it_occurs():
    """A value of 1 % of the rows, which is no atom, holds 1 % of the scores; scores drawn for it
    lie there and mean it.
    """
    values = np.r_[np.arange(0, 2970, 1.0), np.full(30, 1500.0)]
    space = measured(values, kind="whole", form=Format(decimals=0))
    (field,) = space.fields
    assert not field.closed
    assert not field.atoms
    levels = torch.linspace(0, 1, 60_001, dtype=torch.float64)[1:-1]
    scores = torch.special.ndtri(levels)[:, None]
    share = float((space.values(scores) == 1500).mean())
    assert abs(share - 31 / 3000) < 2e-4
    rows = values[:, None]
    x = torch.from_numpy(space.encoded(rows))
    spread = single(space).layout.spread(x, normal(3000, 1))
    np.testing.assert_array_equal(space.values(spread), rows)
    assert len(spread.unique()) == 3000
    assert len(x.unique()) < 3000


def wave_denoiser():
    """A denoiser of two numbers with three waves each."""
    first = Number("n", (-2.0, 2.0), (0.02, 0.98), False)
    second = Number("m", (0.0, 1.0), (0.02, 0.98), False)
    space = TableSpace.of([first, second])
    return TableDenoiser(Nothing(2), Linear(), "velocity", space, waves=3)


NOISY = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.1]])


def waves_of(denoiser, alpha, sigma, given=None):
    """The waves of the noisy rows: row, sine or cosine, column, frequency."""
    length = (alpha**2 + sigma**2).sqrt()[:, None]
    features = denoiser.features(NOISY / length, given, alpha[:, None] / length)
    return features[:, 4:].reshape(3, 2, 2, 3)


def times_of_rows(denoiser):
    columns = denoiser.columns("v", torch.tensor([0.2, 0.6, 0.9]))
    return columns["alpha"], columns["sigma"]


def test_waves_are_expectations_given_the_noisy_score():
    """Their integral over data given its own noisy state."""
    denoiser = wave_denoiser()
    alphas, sigmas = times_of_rows(denoiser)
    waves = waves_of(denoiser, alphas, sigmas)
    u = torch.linspace(-9, 9, 3001, dtype=torch.float64)
    angles = u * denoiser.frequencies[:, None].double()
    for row in range(3):
        alpha = float(alphas[row])
        sigma = float(sigmas[row])
        for score in range(2):
            noise = (NOISY[row, score] - alpha * u) / sigma
            law = torch.exp(-(u**2) / 2 - noise**2 / 2)
            sines = (angles.sin() * law).sum(1) / law.sum()
            cosines = (angles.cos() * law).sum(1) / law.sum()
            actual = waves[row, :, score].double()
            torch.testing.assert_close(actual[0], sines, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(actual[1], cosines, rtol=1e-4, atol=1e-5)


def test_waves_of_a_given_column_are_those_of_its_value():
    denoiser = wave_denoiser()
    alphas, sigmas = times_of_rows(denoiser)
    values = torch.tensor([[0.5, 0.0]]).expand(3, 2)
    marks = torch.tensor([[True, False]]).expand(3, 2)
    seen = waves_of(denoiser, alphas, sigmas, Given(values, marks))
    sines = torch.sin(0.5 * denoiser.frequencies)
    torch.testing.assert_close(seen[0, 0, 0], sines)
    others = waves_of(denoiser, alphas, sigmas)
    torch.testing.assert_close(seen[:, :, 1], others[:, :, 1])


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm"])
def test_frequencies_of_a_skewed_category_come_out_right(recipe):
    shares = (0.97, 0.02, 0.01)
    build = getattr(pf.recipes, recipe)
    transport = build(one_category(shares), "tiny").method.transport()
    samples = transport.sample(1500, seed=1, batch=1500)
    categories = transport.space.values(samples)[:, 0]
    for number, share in enumerate(shares):
        drawn = float((categories == number).mean())
        error = math.sqrt(share * (1 - share) / 1500)
        assert abs(drawn - share) < 4.5 * error


def test_columns_that_are_given_come_out_as_given(mixed):
    run = pf.recipes.flow(mixed, "tiny").method.transport()
    nn.init.normal_(run.denoiser.network.leave.weight, std=0.3)
    numbers = mixed.fields[0].knots[3:9]
    given = {"kind": "b", "whole": 5, "gain": 0, "number": [float(v) for v in numbers]}
    unguided = Flow(pf.Guided(run.denoiser, 0.0), "heun", 4)
    guided = Flow(pf.Guided(run.denoiser, 2.5), "heun", 4)
    ancestral = Flow(run.denoiser, "ancestral", 5)
    for transport in (run, unguided, guided, ancestral):
        values = mixed.values(transport.sample(6, given, seed=4))
        np.testing.assert_array_equal(values[:, 1:4], np.tile([0.0, 5.0, 1.0], (6, 1)))
        np.testing.assert_allclose(values[:, 0], numbers, rtol=1e-5)
    samples = run.sample(50, {"kind": "b"})
    count = len(np.unique(mixed.values(samples)[:, 2]))
    assert count > 3


def test_columns_that_are_not_given_leave_no_trace_in_a_condition(mixed):
    known = Known(mixed.fields)
    values = mixed_values(500)
    first = values[:20]
    second = values[20:40].copy()
    marks = np.tile([1, -1, 0, 0, 0], (20, 1))
    condition = known.of(first, marks)
    assert not torch.equal(condition, known.of(second, marks))
    second[:, 0] = first[:, 0]
    assert torch.equal(condition, known.of(second, marks))


def test_guidance_leads_away_from_the_model_that_sees_no_given_column():
    fields = [Category(name, ("u", "v"), (0.5, 0.5)) for name in "ab"]
    recipe = pf.recipes.flow(TableSpace.of(fields), network=Copying())
    known = torch.tensor([[0.0, 1, 0, 0, 1, 0]])

    def prediction(hidden):
        condition = {"known": known, "known_null": torch.tensor([hidden])}
        x = torch.zeros(1, 4)
        t = torch.tensor([0.9])
        return recipe.method.denoiser.predict("data", x, t, condition)

    seen = prediction(False)
    hidden = prediction(True)
    assert seen[0, 3] > 0.6
    assert abs(float(hidden[0, 3])) < 0.6
    assert torch.equal(seen[:, :2], hidden[:, :2])


def turns(method, n=512, step=0, progress=0.0, seed=0):
    rows = torch.from_numpy(method.space.encoded(mixed_values(n, seed)))
    batch = pf.data.Batch(method.space.to_model(rows))
    context = StepContext(BlockDraws(seed, step, n), 0, progress)
    return list(method.turns(batch, context))


def test_factors_move_until_each_column_loses_half_of_its_information(mixed):
    method = denoising(mixed, Nothing(mixed.shape[0]), known=0.0)
    denoiser = method.denoiser
    lost = []

    def move(step):
        lost.append(step / 0.05 + 0.5)
        TableDenoiser.move(denoiser, step)

    denoiser.move = move
    for step in range(160):
        turns(method, 64, step)
    assert float(denoiser.shift.abs().max()) > 100
    mean = torch.stack(lost[-80:]).mean(0)
    half = torch.full((5,), 0.5)
    torch.testing.assert_close(mean, half, atol=0.03, rtol=0)
    before = denoiser.shift.clone()
    turns(method, 64, 400, progress=0.4)
    assert torch.equal(denoiser.shift, before)
    factors = torch.tensor(mixed.std) / torch.tensor(denoiser.space.std)
    torch.testing.assert_close(factors, denoiser.factors)
    flow = pf.recipes.flow(mixed, "tiny").method
    turns(flow, 64)
    assert not bool(flow.denoiser.shift.any()), "a flow has no factors"


def test_the_loss_of_the_independent_model_is_known(mixed, monkeypatch):
    """At pure noise each column loses its entropy or variance, and where all columns are given
    nothing counts.
    """
    noise = VE(199.0, 200.0)
    method = denoising(mixed, Nothing(mixed.shape[0]), noise, "v", known=0.0, rate=0)
    loss = float(turns(method, 4096)[0][1])
    # a block counts once, and so does a score where it counts: in half of the rows of "gain"
    assert loss == pytest.approx((1 + 1.5 + 1 + 1 + 1) / 5, abs=0.05)

    def all_columns(draws, columns, share):
        return torch.ones(64, columns, dtype=torch.bool)

    monkeypatch.setattr(of_tables, "known_columns", all_columns)
    loss = float(turns(method, 64)[0][1])
    assert loss == 0


def test_columns_are_given_in_half_of_the_rows_of_training(mixed):
    method = denoising(mixed)
    draws = BlockDraws(0, 0, 8192)
    known = known_columns(draws, 5, method.known).float()
    counts = known.sum(1)
    none = float((counts == 0).float().mean())
    assert none == pytest.approx(0.5 + 0.5 / 6, abs=0.02)
    quarter = torch.full((5,), 0.25)
    torch.testing.assert_close(known.mean(0), quarter, atol=0.02, rtol=0)


def test_a_token_is_made_of_its_own_column_and_makes_its_own_coordinates(mixed):
    network = ColumnTransformer.sized("tiny", shape=mixed.shape, starts=mixed.starts)
    for weight in network.leave:
        nn.init.normal_(weight)
    x = torch.randn(2, mixed.shape[0] + 5)
    t = torch.zeros(2)
    assert network(x, t).shape == (2, *mixed.shape)
    jacobians = torch.autograd.functional.jacobian(lambda x: network(x, t).sum(0), x)
    depends = jacobians[:, 0] != 0
    outputs = torch.from_numpy(mixed.owners)
    inputs = torch.cat([outputs, torch.arange(5)])
    # blocks start as the identity
    assert torch.equal(depends, outputs[:, None] == inputs)


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_a_training_with_learned_factors_resumes_bit_for_bit(network, tmp_path):
    data = mixed_table(200)

    def recipe():
        ddpm = pf.recipes.ddpm(data.space, "tiny", network=network)
        return dataclasses.replace(ddpm, training=Training(batch=64))

    out = tmp_path / "whole"
    cut = tmp_path / "cut"
    whole = pf.fit(recipe(), data, steps=9, out=out, seed=3)
    trainer = prepare(recipe(), data, steps=9, out=cut, seed=3)
    while trainer.clock.step < 2:
        trainer.advance(1e-9)
    trainer.finish()
    reopen(cut, data=data).advance()
    assert state_digest(out) == state_digest(cut)
    assert bool(whole.method.denoiser.shift.any())
    resumed = pf.load(cut).transport.space
    assert resumed == whole.transport.space
    assert resumed != data.space


@pytest.mark.parametrize("network", ["mlp", "columns"])
def test_the_time_of_all_rows_is_embedded_once_and_says_the_same(mixed, network):
    denoiser = denoising(mixed, network).denoiser.eval()
    for weight in denoiser.parameters():
        nn.init.normal_(weight, 0, 0.1)
    lengths = []
    embedding = denoiser.network.conditioning.time
    embedding.register_forward_pre_hook(lambda _, inputs: lengths.append(len(inputs[0])))
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
    x = torch.randn(5, *mixed.shape)
    columns = denoiser.columns("data", torch.tensor(0.4))
    denoiser.evaluate("data", x, columns)
    assert lengths == [5]


@pytest.mark.parametrize(("waves", "why"), [(4, "inputs; expected"), (10**7, "at most 64")])
def test_a_hostile_number_of_waves_is_refused(mixed, waves, why):
    method = spec.describe(denoising(mixed))
    method["denoiser"]["waves"] = waves
    content = {"method": method, "training": {"batch": 64}, "recipe": "flow", "family": "flow"}
    with pytest.raises(CheckpointError, match=why):
        recipe_of(content)


REFUSED = read_texts(
    r"""
    kind   | "bb"   | "kind" has no category "bb"\..*Expected one of: "a", "b", "c"
    whole  | "many" | "whole" takes a whole.*; got 'many'
    number | null   | "number" takes a number.*; got None
    """
)


@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_a_value_that_a_column_does_not_have_is_refused(mixed, name, value, words):
    request = Request(pf.recipes.flow(mixed, "tiny").method.space.conditions)
    with pytest.raises(UsageError, match=words):
        request.values(3, {name: json.loads(value)}, 0)


def test_a_missing_category_can_be_given(mixed):
    request = Request(pf.recipes.flow(mixed, "tiny").method.space.conditions)
    known = request.values(2, {"kind": None}, 0)["known"]
    place = mixed.columns.index("kind = missing")
    assert known[0, place] == 1
