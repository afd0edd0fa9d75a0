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
    r = np.random.default_rng(0)
    values = r.normal(size=(2000, 2))
    values[:700, 1] = 0.0
    return TableSpace.of(
        [Number.measured(name, values[:, place]) for place, name in enumerate("ab")]
    )


def noise_of(space, n, latent=1, seed=0):
    size = StraightThrough(nn.Identity(), space, latent).noise_size
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed))


def test_rows_of_a_generator_are_exactly_rows_of_the_table(space):
    network = nn.Linear(3, space.size)
    head = StraightThrough(Called(network), space, 3)
    rows = space.to_data(head(noise_of(space, 200, 3)))
    for start, stop in space.blocks:
        block = rows[:, start:stop].detach()
        torch.testing.assert_close(block.sum(1), torch.ones(200))
        torch.testing.assert_close(block.amax(1), torch.ones(200))
    expected = rows.detach().numpy()
    np.testing.assert_allclose(space.quantise(rows), expected, atol=1e-5)
    gates = Coordinates(space).gated(rows.detach())
    assert (gates == 0).any()
    assert (rows.detach()[:, Coordinates(space).scores][gates == 0] == 0).all()


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
    (space.to_data(head(z)) @ weights).sum().backward()
    logits = out.clone().requires_grad_()
    total = 0.0
    at = 1
    for start, stop in space.blocks:
        gumbel = -torch.log(
            -torch.log(torch.special.ndtr(z[0, at : at + stop - start].double()))
        ).float()
        total = total + torch.softmax(logits[start:stop] + gumbel, 0) @ weights[start:stop]
        at += stop - start
    total.backward()
    torch.testing.assert_close(head.network.out.grad, logits.grad, rtol=1e-4, atol=1e-6)


def test_scores_pass_their_gradient_where_a_row_has_one(space):
    head = StraightThrough(Constant(torch.zeros(space.size)), space, 1)
    layout = Coordinates(space)
    rows = head(noise_of(space, 50))
    rows[:, layout.scores[1]].sum().backward()
    assert layout.gate[layout.scores[1]] < space.size
    taken = (space.to_data(rows)[:, layout.gate[layout.scores[1]]] > 0.5).sum()
    assert 0 < taken < 50
    torch.testing.assert_close(head.network.out.grad[layout.scores[1]], taken.float())


def test_categories_of_noise_have_the_shares_of_their_logits(space):
    shares = torch.tensor([0.6, 0.25, 0.05, 0.1])
    out = torch.zeros(space.size)
    (start, stop) = space.blocks[-2]
    out[start:stop] = shares.log()
    n = 20_000
    drawn = (
        space.to_data(StraightThrough(Constant(out), space, 1)(noise_of(space, n)))[:, start:stop]
        .detach()
        .mean(0)
    )
    assert ((drawn - shares).abs() < 4.5 * (shares * (1 - shares) / n).sqrt()).all()


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
    values = [*(field.knots if isinstance(field, Number) else map(float, range(len(field.names))))]
    values += [*getattr(field, "atoms", ())] + ([np.nan] if field.missing else [])
    return np.array(values)


@pytest.mark.parametrize("place", range(5))
def test_probabilities_of_all_values_of_a_column_add_up_to_one(space, place):
    field = space.fields[place]
    alone = TableSpace.of([field])
    values = rows_of(field)
    decoded = 3 * torch.randn(1, alone.size, generator=torch.Generator().manual_seed(place))
    rows = alone.to_model(torch.from_numpy(alone.encoded(values[:, None])))
    log_prob = Rows(alone).log_prob(rows, decoded.expand(len(rows), -1))
    total = float(log_prob.detach().double().exp().sum())
    assert total == pytest.approx(1, abs=1e-4)


def test_draws_have_the_probabilities_of_the_likelihood():
    r = np.random.default_rng(1)
    values = np.where(r.random(400) < 0.3, 7.0, r.integers(0, 4, 400).astype(float))
    values[:40] = np.nan
    space = TableSpace.of(
        [
            Number(
                "n",
                (0, 1, 2, 3),
                (0.2, 0.5, 0.7, 1),
                True,
                "whole",
                atoms=(7,),
                shares=(0.6, 0.3, 0.1),
                missing=True,
            )
        ]
    )
    likelihood = Rows(space)
    n = 20_000
    decoded = torch.tensor([[0.4, 0.5, -0.2, 0.3]])
    with torch.no_grad():
        likelihood.spread.fill_(0.03)
        mean = likelihood.mean(decoded).expand(n, -1)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(n, space.size, generator=generator)
        drawn = space.values(space.to_data(likelihood.sample(mean, noise)))[:, 0]
        every = np.array([0.0, 1, 2, 3, 7, np.nan])
        rows = space.to_model(torch.from_numpy(space.encoded(every[:, None])))
        wanted = likelihood.log_prob(rows, decoded.expand(6, -1)).exp().numpy()
    got = np.array(
        [(drawn == value).mean() if value == value else np.isnan(drawn).mean() for value in every]
    )
    assert (np.abs(got - wanted) < 4.5 * np.sqrt(wanted * (1 - wanted) / n)).all()


def test_intervals_in_either_tail_do_not_cancel():
    low = torch.tensor([8.0, -9.0, -1.0, 20.0], dtype=torch.float64)
    high = torch.tensor([9.0, -8.0, 2.0, 20.5], dtype=torch.float64)
    far, farthest = (np.log(stats.norm.sf(a) - stats.norm.sf(b)) for a, b in ((8, 9), (20, 20.5)))
    wanted = [far, far, np.log(stats.norm.cdf(2) - stats.norm.cdf(-1)), farthest]
    np.testing.assert_allclose(log_between(low, high), wanted, rtol=1e-10)


def test_tables_take_the_likelihood_of_rows(space):
    assert isinstance(likelihood_of("auto", space), Rows)
    with pytest.raises(UsageError, match="tables"):
        likelihood_of("rows", space.unscaled((3,)))


def test_gan_vae_and_a_flow_on_codes_sample_valid_rows(tmp_path):
    data = mixed_table(200)
    known = [
        set(field.knots) | set(field.atoms) if isinstance(field, Number) else set(range(3))
        for field in data.space.fields
    ]
    vae = pf.fit("vae", data, steps=3, size="tiny", out=tmp_path / "vae")
    models = {
        "vae": vae,
        "gan": pf.fit("gan", data, steps=3, size="tiny", out=tmp_path / "gan"),
        "flow": pf.fit(in_latent("flow", data, vae, "tiny"), data, steps=3, out=tmp_path / "flow"),
        "autoencoder": pf.fit(
            "autoencoder", data, steps=3, size="tiny", out=tmp_path / "autoencoder"
        ),
    }
    for name, run in models.items():
        again = pf.load(tmp_path / name).transport
        rows = again.sample(20, seed=3)
        expected = run.transport.sample(20, seed=3, batch=7)
        assert torch.equal(rows, expected), name
        for field, values in enumerate(data.space.values(rows).T):
            names = set(values[~np.isnan(values)])
            assert names <= known[field], name
        with pytest.raises(UsageError, match="flow, ddpm or edm"):
            again.sample(2, {"kind": "a"})


def test_models_on_codes_draw_rows_around_decoded_codes(space):
    data = mixed_table(200)
    vae = pf.recipes.vae(data.space, "tiny").method
    latent = in_latent("flow", data, vae.autoencoder(), "tiny").method.transport()
    z = torch.zeros(40, *latent.noise_shape)
    draws = pf.draws.ExampleDraws(0, 40)
    rows, certain = (data.space.to_data(latent(z, None, given).detach()) for given in (draws, None))
    expected = certain[:1].expand(40, -1)
    torch.testing.assert_close(certain, expected, rtol=0, atol=1e-3)
    count = len(np.unique(data.space.values(rows), axis=0))
    assert count > 10
    start, stop = space.blocks[-1]
    actual = rows[:, start:stop].amax(1)
    torch.testing.assert_close(actual, torch.ones(40))


def test_a_sampler_of_rows_exports_for_any_number_of_rows_with_given_columns():
    """The program's results are coordinates, of which the table makes cells."""
    values = mixed_values(300)[:, [1, 3]]
    fields = [
        Number.measured("gain", values[:, 0], form=Format(2)),
        Category.measured("kind", values[:, 1], ["a", "b", "c"]),
    ]
    denoiser = table_denoising(
        TableSpace.of(fields), "tiny", "mlp", Linear(), "velocity"
    ).denoiser.eval()
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
        cells = flow.space.cells(program(z=z, condition=condition, noise=None, decoder_noise=None))
        assert cells == flow.space.cells(rows)
        assert given is None or {cell for _, cell in cells} == {"b"}


def test_rows_are_encoded_in_parts(monkeypatch, space):
    values = mixed_values(700)
    whole = space.encoded(values)
    monkeypatch.setattr("pushforward.tables.space.ROWS", 64)
    assert np.array_equal(space.encoded(values), whole)


@pytest.mark.parametrize("pack", [1, 2])
def test_a_critic_of_rows_receives_waves_of_scores_alone(space, pack):
    critic = pf.recipes.gan(space, "tiny", pack=pack).method.critic
    waves = next(part for part in critic.modules() if isinstance(part, FourierFeatures)).frequencies
    assert waves.shape == (32, pack * space.size)
    seen = waves.abs().amax(0).view(pack, -1)
    assert space.scored == (0, 1, 4)
    assert (seen[:, list(space.scored)] > 0).all()
    assert float(seen.sum()) == pytest.approx(float(seen[:, list(space.scored)].sum()))
    actual = waves.norm(dim=1).amax()
    torch.testing.assert_close(actual, torch.tensor(30.0))
    letters = TableSpace.of([Category.measured("only", np.zeros(4), ["a", "b"])])
    assert not any(
        isinstance(part, FourierFeatures)
        for part in pf.recipes.gan(letters, "tiny").method.critic.modules()
    )
