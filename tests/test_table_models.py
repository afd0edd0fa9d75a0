"""Models of tables of mixed types: rows of a generator, likelihoods of each kind, codes."""

import numpy as np
import pytest
import torch
from programs.tables import mixed_space, mixed_table, mixed_values
from scipy import stats
from torch import nn

import pushforward as pf
from pushforward.data import TableSpace
from pushforward.errors import UsageError
from pushforward.export import exported
from pushforward.methods.likelihoods import likelihood_of
from pushforward.networks import FourierFeatures
from pushforward.paths import Linear
from pushforward.tables import Category, Number
from pushforward.tables.columns import Format
from pushforward.tables.coordinates import Coordinates, Rows, StraightThrough, log_between
from pushforward.tables.recipes import table_denoising
from pushforward.training.recipe_argument import in_latent
from pushforward.transports import Flow


class Constant(nn.Module):
    """The same output for each row of z."""

    def __init__(self, out):
        super().__init__()
        self.out = nn.Parameter(out)

    def forward(self, z, t=None, condition=None):
        return self.out.expand(len(z), -1)


@pytest.fixture(scope="module")
def space():
    return mixed_space(mixed_values())


def open_space():
    """A column of numbers with a density, and one that is 0 in a third of the rows."""
    values = np.random.default_rng(0).normal(size=(2000, 2))
    values[:700, 1] = 0.0
    dense, gated = values.T
    return TableSpace.of([Number.measured("a", dense), Number.measured("b", gated)])


def noise_of(space, n, latent=1, seed=0):
    size = StraightThrough(nn.Identity(), space, latent).noise_size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, size, generator=generator)


def test_rows_of_a_generator_are_exactly_rows_of_the_table(space):
    network = Called(nn.Linear(3, space.size))
    head = StraightThrough(network, space, 3)
    rows = space.to_data(head(noise_of(space, 200, 3))).detach()
    for start, stop in space.blocks:
        block = rows[:, start:stop]
        torch.testing.assert_close(block.sum(1), torch.ones(200))
        torch.testing.assert_close(block.amax(1), torch.ones(200))
    np.testing.assert_allclose(space.quantise(rows), rows, atol=1e-5)
    layout = Coordinates(space)
    closed = layout.gated(rows) == 0
    assert closed.any()
    scores = rows[:, layout.scores]
    assert (scores[closed] == 0).all()


class Called(nn.Module):
    """A layer as a network."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, z, t=None, condition=None):
        return self.layer(z)


def test_gradients_are_those_of_the_softmax(space):
    out = torch.randn(space.size)
    weights = torch.randn(space.size)
    head = StraightThrough(Constant(out), space, 1)
    z = noise_of(space, 1)
    layout = Coordinates(space)
    weights[layout.scores] = 0.0  # scores are gated by indicators
    rows = space.to_data(head(z))
    (rows @ weights).sum().backward()
    logits = out.clone().requires_grad_()
    uniform = torch.special.ndtr(z[0].double())
    gumbel = -torch.log(-torch.log(uniform)).float()
    used = 1
    for start, stop in space.blocks:
        size = stop - start
        noisy = logits[start:stop] + gumbel[used : used + size]
        probabilities = torch.softmax(noisy, 0)
        (probabilities @ weights[start:stop]).backward()
        used += size
    torch.testing.assert_close(head.network.out.grad, logits.grad, rtol=1e-4, atol=1e-6)


def test_scores_pass_their_gradient_where_a_row_has_one(space):
    zeros = torch.zeros(space.size)
    head = StraightThrough(Constant(zeros), space, 1)
    layout = Coordinates(space)
    score = layout.scores[1]
    gate = layout.gate[score]
    assert gate < space.size
    rows = head(noise_of(space, 50))
    rows[:, score].sum().backward()
    opened = space.to_data(rows)[:, gate] > 0.5
    count = opened.sum()
    assert 0 < count < 50
    torch.testing.assert_close(head.network.out.grad[score], count.float())


def test_categories_of_noise_have_the_shares_of_their_logits(space):
    shares = torch.tensor([0.6, 0.25, 0.05, 0.1])
    out = torch.zeros(space.size)
    (start, stop) = space.blocks[-2]
    out[start:stop] = shares.log()
    n = 20_000
    head = StraightThrough(Constant(out), space, 1)
    rows = space.to_data(head(noise_of(space, n))).detach()
    drawn = rows[:, start:stop].mean(0)
    check_probabilities(drawn, shares, n)


def check_probabilities(drawn, wanted, n):
    """Fractions of n draws are probabilities within 4.5 standard errors."""
    standard_error = (wanted * (1 - wanted) / n) ** 0.5
    largest = abs(drawn - wanted) / standard_error
    assert largest.max() < 4.5


def test_the_likelihood_of_densities_is_scipys():
    space = open_space()
    likelihood = Rows(space)
    rows = torch.tensor([[0.3, 0.7, 1.0, 0.0], [-1.2, 0.0, 0.0, 1.0]])
    decoded = torch.tensor([[0.1, 0.4, 0.2, -0.3], [0.5, 9.0, 1.0, 0.6]])
    with torch.no_grad():
        likelihood.spread.copy_(torch.tensor([-0.1, 0.05]))
    a, b = np.exp([-0.5, 0.25])
    blocks = torch.log_softmax(decoded[:, 2:].double(), 1).numpy()
    first = stats.norm.logpdf(0.3, 0.1, a) + stats.norm.logpdf(0.7, 0.4, b) + blocks[0, 0]
    second = stats.norm.logpdf(-1.2, 0.5, a) + blocks[1, 1]  # an atom has no score
    got = likelihood.log_prob(space.to_model(rows), decoded)
    np.testing.assert_allclose(got.detach(), [first, second], rtol=1e-5)


def rows_of(field):
    """Every value that a column can have."""
    if isinstance(field, Number):
        values = [*field.knots, *field.atoms]
    else:
        values = list(range(len(field.names)))
    if field.missing:
        values.append(np.nan)
    return np.array(values, dtype=float)


@pytest.mark.parametrize("place", range(5))
def test_probabilities_of_all_values_of_a_column_add_up_to_one(space, place):
    field = space.fields[place]
    alone = TableSpace.of([field])
    values = rows_of(field)
    decoded = 3 * torch.randn(1, alone.size)
    rows = modelled(alone, values)
    log_prob = Rows(alone).log_prob(rows, decoded.expand(len(rows), -1))
    probabilities = log_prob.detach().double().exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)


def modelled(space, values):
    """Rows of a table of one column, in model units."""
    rows = space.encoded(values[:, None])
    return space.to_model(torch.from_numpy(rows))


def test_draws_have_the_probabilities_of_the_likelihood():
    ranks = (0.2, 0.5, 0.7, 1)
    shares = (0.6, 0.3, 0.1)
    options = {"atoms": (7,), "shares": shares, "missing": True}
    field = Number("n", (0, 1, 2, 3), ranks, True, "whole", **options)
    space = TableSpace.of([field])
    likelihood = Rows(space)
    n = 20_000
    decoded = torch.tensor([[0.4, 0.5, -0.2, 0.3]])
    with torch.no_grad():
        likelihood.spread.fill_(0.03)
        mean = likelihood.mean(decoded).expand(n, -1)
        noise = torch.randn(n, space.size)
        rows = likelihood.sample(mean, noise)
        drawn = space.values(space.to_data(rows))
        every = rows_of(field)
        rows = modelled(space, every)
        wanted = likelihood.log_prob(rows, decoded.expand(6, -1)).exp().numpy()
    for value, probability in zip(every, wanted, strict=True):
        same = (drawn == value) | (np.isnan(drawn) & np.isnan(value))
        check_probabilities(same.mean(), probability, n)


def test_intervals_in_either_tail_do_not_cancel():
    low = torch.tensor([8.0, -9.0, -1.0, 20.0], dtype=torch.float64)
    high = torch.tensor([9.0, -8.0, 2.0, 20.5], dtype=torch.float64)
    tail = stats.norm.sf
    far = np.log(tail(8) - tail(9))
    middle = np.log(tail(-1) - tail(2))
    farthest = np.log(tail(20) - tail(20.5))
    wanted = [far, far, middle, farthest]
    np.testing.assert_allclose(log_between(low, high), wanted, rtol=1e-10)


def test_tables_take_the_likelihood_of_rows(space):
    assert isinstance(likelihood_of("auto", space), Rows)
    with pytest.raises(UsageError, match="tables"):
        likelihood_of("rows", space.unscaled((3,)))


def test_gan_vae_and_a_flow_on_codes_sample_valid_rows(tmp_path):
    data = mixed_table(200)
    runs = []
    for name in ("vae", "gan", "autoencoder"):
        run = pf.fit(name, data, steps=3, size="tiny", out=tmp_path / name)
        runs.append(run)
    recipe = in_latent("flow", data, runs[0], "tiny")
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "flow")
    runs.append(run)
    for run in runs:
        again = pf.load(run.folder).transport
        rows = again.sample(20, seed=3)
        expected = run.transport.sample(20, seed=3, batch=7)
        assert torch.equal(rows, expected), run.folder
        columns = data.space.values(rows).T
        for field, values in zip(data.space.fields, columns, strict=True):
            known = values[~np.isnan(values)]
            assert set(known) <= set(rows_of(field)), run.folder
        with pytest.raises(UsageError, match="flow, ddpm or edm"):
            again.sample(2, {"kind": "a"})


def test_models_on_codes_draw_rows_around_decoded_codes(space):
    data = mixed_table(200)
    vae = pf.recipes.vae(data.space, "tiny").method
    latent = in_latent("flow", data, vae.autoencoder(), "tiny").method.transport()
    z = torch.zeros(40, *latent.noise_shape)
    with torch.no_grad():
        certain = data.space.to_data(latent(z))
        rows = data.space.to_data(latent(z, None, pf.draws.ExampleDraws(0, 40)))
    expected = certain[:1].expand(40, -1)
    torch.testing.assert_close(certain, expected, rtol=0, atol=1e-3)
    different = np.unique(data.space.values(rows), axis=0)
    assert len(different) > 10
    start, stop = space.blocks[-1]
    largest = rows[:, start:stop].amax(1)
    torch.testing.assert_close(largest, torch.ones(40))


def test_a_sampler_of_rows_exports_for_any_number_of_rows_with_given_columns():
    """The program's results are coordinates, of which the table makes cells."""
    _, gain, _, kind, _ = mixed_values(300).T
    gain = Number.measured("gain", gain, form=Format(2))
    kind = Category.measured("kind", kind, ["a", "b", "c"])
    space = TableSpace.of([gain, kind])
    method = table_denoising(space, "tiny", "mlp", Linear(), "velocity")
    denoiser = method.denoiser.eval()
    denoiser.move(torch.tensor([0.4, -0.2]))
    nn.init.normal_(denoiser.network.leave.weight, 0, 0.1)
    flow = Flow(denoiser, "euler", 1)
    program = exported(flow).module()
    z = torch.randn(7, *flow.noise_shape)
    for given in (None, {"kind": "b"}):
        condition = flow.conditions(7, given, 0)
        with torch.no_grad():
            rows = flow.space.to_data(flow(z, condition))
            actual = program(z=z, condition=condition, noise=None, decoder_noise=None)
        torch.testing.assert_close(actual, rows, rtol=1e-5, atol=1e-5)
        cells = flow.space.cells(actual)
        assert cells == flow.space.cells(rows)
    assert {cell for _, cell in cells} == {"b"}


def test_rows_are_encoded_in_parts(monkeypatch, space):
    values = mixed_values(700)
    whole = space.encoded(values)
    monkeypatch.setattr("pushforward.tables.space.ROWS", 64)
    assert np.array_equal(space.encoded(values), whole)


def waves_of(critic):
    return [part.frequencies for part in critic.modules() if isinstance(part, FourierFeatures)]


@pytest.mark.parametrize("pack", [1, 2])
def test_a_critic_of_rows_receives_waves_of_scores_alone(space, pack):
    critic = pf.recipes.gan(space, "tiny", pack=pack).method.critic
    (waves,) = waves_of(critic)
    assert waves.shape == (32, pack * space.size)
    assert space.scored == (0, 1, 4)
    scored = torch.zeros(space.size, dtype=torch.bool)
    scored[list(space.scored)] = True
    seen = waves.abs().amax(0).view(pack, -1)
    assert (seen[:, scored] > 0).all()
    assert (seen[:, ~scored] == 0).all()
    largest = waves.norm(dim=1).amax()
    torch.testing.assert_close(largest, torch.tensor(30.0))


def test_a_critic_of_categories_receives_no_waves():
    letters = TableSpace.of([Category.measured("only", np.zeros(4), ["a", "b"])])
    critic = pf.recipes.gan(letters, "tiny").method.critic
    assert waves_of(critic) == []
