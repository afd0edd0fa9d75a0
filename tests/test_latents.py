"""The z of one-call models: truncation, projection and variation, and samples beside their nearest training examples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from torch import nn

from pushforward import solvers
from pushforward.conditions import Label
from pushforward.data import VectorSpace, load
from pushforward.data.building import build
from pushforward.data.dataset import Split
from pushforward.denoiser import Denoiser
from pushforward.draws import ExampleDraws
from pushforward.editing import (
    Nearby,
    Search,
    Truncated,
    interpolate_noise,
    interpolate_seeds,
    invert,
    lerp,
    slerp,
    truncate,
)
from pushforward.errors import Diverged, UsageError
from pushforward.evaluation import evaluate
from pushforward.evaluation.neighbours import nearest
from pushforward.evaluation.truncation import truncation_curve, truncation_picture
from pushforward.paths import Linear
from pushforward.transports import Flow, Map

LIMITS = (0.3, 1.0, 2.5)


class Called(nn.Module):
    """A plain module as a network of z."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z, t, condition):
        return self.inner(z)


class ByLabel(nn.Module):
    """One linear map for each label."""

    def __init__(self, maps):
        super().__init__()
        self.register_buffer("maps", maps)

    def forward(self, z, t, condition):
        return torch.einsum("nij,nj->ni", self.maps[condition["label"]], z)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def space(d=7, **more):
    return VectorSpace(shape=(d,), mean=tuple(np.linspace(-1, 2, d)), std=tuple(np.linspace(0.5, 3, d)), **more)


def linear(latent=3, d=7, seed=0):
    return Map(Called(seeded(lambda: nn.Linear(latent, d), seed)), space(d), (latent,))


def perceptron(latent=5, d=40):
    network = seeded(lambda: nn.Sequential(nn.Linear(latent, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, d)))
    with torch.no_grad():
        network[-1].weight.mul_(1.4 / network(normal(0, 500, latent)).std())
    return Map(Called(network), space(d), (latent,))


def flow():
    network = Called(nn.Linear(7, 7))
    return Flow(Denoiser(network, Linear(), "data", space()), solvers.DDIM(), 4)


def normal(seed, n, d):
    return ExampleDraws(seed, n, "test").normal((d,))


# interpolation


def test_a_straight_way_is_shorter_in_the_middle_and_a_spherical_one_is_not():
    a, b, share = normal(0, 500, 60), 2 * normal(500, 500, 60), 0.3
    straight = lerp(a, b, share)
    torch.testing.assert_close(straight, 0.7 * a + 0.3 * b)
    squares = 0.49 * a.square().sum(1) + 0.09 * b.square().sum(1) + 0.42 * (a * b).sum(1)
    torch.testing.assert_close(straight.square().sum(1), squares)
    torch.testing.assert_close(slerp(a, b, share).norm(dim=1), 0.7 * a.norm(dim=1) + 0.3 * b.norm(dim=1))
    middle = [way(a, b / 2, 0.5).square().sum(1).mean() / 60 for way in (lerp, slerp)]
    assert float(middle[0]) == pytest.approx(1 / 2, abs=0.02), "half the squared norm of noise is left"
    assert float(middle[1]) == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(lerp(a, b, torch.linspace(0, 1, 500))[[0, -1]], torch.stack([a[0], b[-1]]))


def test_both_ways_lead_a_one_call_model_from_z_to_z():
    model, (a, b) = linear(), normal(3, 2, 3)
    with torch.no_grad():
        for way, between in (("linear", lerp), ("spherical", slerp)):
            x = interpolate_noise(model, a, b, 5, interpolation=way, batch=2)
            z = torch.cat([between(a[None], b[None], share) for share in (0, 0.25, 0.5, 0.75, 1)])
            torch.testing.assert_close(x, model.space.to_data(model.network.inner(z)))
    for way in ("linear", "spherical"):
        ends = interpolate_seeds(model, 4, 9, 3, interpolation=way)[[0, 2]]
        torch.testing.assert_close(ends, torch.cat([model.sample(1, seed=4), model.sample(1, seed=9)]))
    for refused, says in (
        (lambda: interpolate_seeds(model, 0, 1, 3, interpolation="sperical"), 'Did you mean "spherical"'),
        (lambda: interpolate_noise(model, a[:2], b[:2], 3), r"shape \(3,\)"),
        (lambda: interpolate_noise(flow().with_solver(solvers.Ancestral(), 4), *normal(3, 2, 7), 3), "deterministic"),
        (lambda: lerp(a[None], b[None, :2], 0.5), "of the same shape"),
    ):
        with pytest.raises(UsageError, match=says):
            refused()


# truncation


@pytest.mark.parametrize("limit", LIMITS)
def test_truncated_noise_has_the_truncated_normal_distribution(limit):
    z = normal(1, 4000, 5)
    cut = truncate(z, limit)
    assert float(cut.abs().max()) <= limit * (1 + 1e-6)
    assert stats.kstest(cut.numpy().ravel(), stats.truncnorm(-limit, limit).cdf).pvalue > 0.01
    if limit < 2:
        assert stats.kstest(z.numpy().ravel() * float(cut.std()), stats.truncnorm(-limit, limit).cdf).pvalue < 1e-6
    wanted = stats.truncnorm(-limit, limit).ppf(stats.norm.cdf(z.double().numpy()))
    np.testing.assert_allclose(cut.numpy(), wanted, atol=2e-6)


def test_truncation_is_monotone_odd_and_vanishes_with_the_limit():
    z = torch.linspace(-9, 9, 361, dtype=torch.float64)
    for limit in (1e-3, *LIMITS, 20.0):
        cut = truncate(z, limit)
        assert (cut.diff() >= 0).all()
        assert (cut[100:261].diff() > 0).all()
        torch.testing.assert_close(cut, -truncate(-z, limit), rtol=0, atol=0)
        assert (cut.abs() <= z.abs() + 1e-12).all()
    for limit in (20.0, math.inf):
        torch.testing.assert_close(truncate(z, limit), z, rtol=1e-12, atol=1e-12)
    gaps = [float((truncate(z[80:281], limit) - z[80:281]).abs().max()) for limit in (0.5, 1, 2, 4, 6, 8)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-9
    assert torch.autograd.gradcheck(lambda part: truncate(part, 0.7), normal(0, 4, 3).double().requires_grad_(True))
    for limit in (0, -1, math.nan):
        with pytest.raises(UsageError, match="above 0"):
            truncate(z, limit)


def test_a_truncated_sample_depends_on_its_seed_alone_and_follows_it_continuously():
    model = linear()
    cut = Truncated(model, 0.8)
    together = cut.sample(6, seed=10)
    torch.testing.assert_close(together[4:5], cut.sample(1, seed=14))
    torch.testing.assert_close(together, cut.sample(6, seed=10, batch=4))
    with torch.no_grad():
        z = truncate(ExampleDraws(10, 6).normal((3,)), 0.8)
        torch.testing.assert_close(together, model.space.to_data(model.network.inner(z)))
    near = [float((Truncated(model, limit).sample(6, seed=10) - together).abs().max()) for limit in (0.801, 0.81, 0.9)]
    assert near == sorted(near)
    assert near[0] < 0.01
    torch.testing.assert_close(Truncated(model, 30).sample(6, seed=10), model.sample(6, seed=10))
    assert (cut.calls, cut.device, cut.noise_shape) == (1, model.device, (3,))
    with pytest.raises(UsageError, match=r"4 steps\. Guidance"):
        Truncated(flow(), 1.0)
    with pytest.raises(UsageError, match="above 0"):
        Truncated(model, 0.0)


# projection


def test_projection_solves_a_linear_model_as_least_squares_do():
    model = linear()
    x = model.space.to_data(normal(7, 4, 7))
    inverted = invert(model, x, search=Search(prior=0, starts=2, steps=400))
    weight, bias = (part.detach().double() for part in (model.network.inner.weight, model.network.inner.bias))
    target = model.space.to_model(x).double() - bias
    z = torch.linalg.lstsq(weight, target.T).solution.T
    torch.testing.assert_close(inverted.z.double(), z, atol=1e-3, rtol=1e-3)
    rest = (z @ weight.T - target).square().mean(1).sqrt()
    torch.testing.assert_close(inverted.error.double(), rest, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.space.to_model(inverted.x).double(), z @ weight.T + bias, atol=3e-3, rtol=1e-3)
    assert inverted.condition is None


def test_projection_finds_a_generated_row_again():
    model = perceptron()
    x = model.sample(6, seed=0)
    before = [part.clone() for part in model.parameters()]
    inverted = invert(model, x)
    assert inverted.error.max() < 0.05 * inverted.first.mean()
    assert invert(model, x, search=Search(prior=0)).error.max() < 0.01 * inverted.first.mean(), (
        "what is left is the pull towards |z| = sqrt(d)"
    )
    gap = (model.space.to_model(inverted.x) - model.space.to_model(x)).square().mean(1).sqrt()
    torch.testing.assert_close(gap, inverted.error, atol=1e-5, rtol=1e-3)
    assert all(part.grad is None and torch.equal(part, old) for part, old in zip(model.parameters(), before, strict=True))
    torch.testing.assert_close(inverted.x, model.space.to_data(model(inverted.z)).detach())


def test_projection_is_never_worse_than_the_best_random_z():
    model = perceptron()
    x = model.space.to_data(normal(9, 3, 40))
    drawn = ExampleDraws(0, 50, "project/5").normal((5,))
    gaps = (model(drawn).detach()[None] - model.space.to_model(x)[:, None]).square().mean(2).sqrt()
    none = invert(model, x, seed=5, search=Search(steps=0, candidates=50))
    torch.testing.assert_close(none.first, gaps.min(1).values)
    torch.testing.assert_close(none.error, none.first)
    torch.testing.assert_close(none.z, drawn[gaps.argmin(1)])
    wild = invert(model, x, seed=5, search=Search(steps=5, lr=1e4, candidates=50))
    torch.testing.assert_close(wild.error, none.error, msg="steps that only worsen are forgotten")
    few, more = (invert(model, x, seed=5, search=Search(steps=steps, candidates=50)).error for steps in (10, 200))
    assert (more < few).all()
    assert (few < none.error).all()


def test_the_best_of_all_steps_is_kept():
    model, x, seen = perceptron(), linear(5, 40, seed=3).sample(1), []
    target = model.space.to_model(x)
    model.network.register_forward_hook(lambda *call: seen.append(float((call[2].detach() - target).square().mean().sqrt())))
    inverted = invert(model, x, search=Search(steps=8, starts=1, candidates=1, lr=0.5, prior=0))
    way = seen[1:-1]
    assert len(way) == 9
    assert min(way) < way[-1] - 0.01 < way[0], "the rate is such that steps overshoot"
    assert float(inverted.error) == pytest.approx(min(way), rel=1e-5)
    assert seen[-1] == pytest.approx(min(way), rel=1e-5), "and its sample is what is handed back"


def test_projection_is_a_function_of_row_and_seed():
    model = perceptron()
    x = model.space.to_data(normal(9, 5, 40))
    options = {"steps": 30, "starts": 3, "candidates": 40}
    together = invert(model, x, search=Search(**options))
    for other in (invert(model, x, batch=7, search=Search(**options)), invert(model, x, search=Search(**options))):
        torch.testing.assert_close(other.z, together.z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(invert(model, x[3:4], search=Search(**options)).z, together.z[3:4], atol=1e-4, rtol=1e-4)
    assert ((invert(model, x, seed=1, search=Search(**options)).first - together.first).abs() > 1e-3).all()


def test_the_prior_pulls_z_to_the_length_of_noise():
    """x = z / 10 and a target at |z| = 20: (r - 20)^2 / 400 + prior (r / 2 - 1)^2 is least at the r below."""
    tenth = nn.Linear(4, 4, bias=False)
    tenth.weight.data = torch.eye(4) / 10
    model = Map(Called(tenth), VectorSpace(shape=(4,), mean=(0.0,) * 4, std=(1.0,) * 4), (4,))
    for prior in (0.0, 0.01, 0.1):
        inverted = invert(model, torch.full((1, 4), 1.0), search=Search(prior=prior, steps=400, starts=2))
        assert float(inverted.z.norm()) == pytest.approx((0.1 + prior) / (0.005 + prior / 2), rel=0.03)


def test_without_a_label_projection_keeps_the_one_that_fits():
    maps = seeded(lambda: torch.randn(3, 7, 2))
    labelled = Map(ByLabel(maps), space(conditions={"label": Label(("a", "b", "c"), (0.2, 0.3, 0.5))}), (2,))
    x = torch.cat([labelled.sample(2, {"label": label}, seed=50 + label) for label in (2, 0, 1)])
    free = invert(labelled, x, search=Search(prior=0, steps=200))
    assert free.condition["label"].tolist() == [2, 2, 0, 0, 1, 1]
    assert (free.error < 1e-3).all()
    forced = invert(labelled, x, {"label": 1}, search=Search(prior=0, steps=200))
    assert forced.condition["label"].tolist() == [1] * 6
    assert (forced.error[:4] > 0.1).all()
    each = invert(labelled, x, {"label": [2, 1, 0, 1, 1, 1]}, batch=20, search=Search(prior=0, steps=200))
    torch.testing.assert_close(each.error[[1, 3]], forced.error[[1, 3]], atol=1e-4, rtol=1e-3)
    assert (each.error[[0, 2, 4, 5]] < 1e-3).all()


def test_what_lies_beyond_the_bounds_is_no_error():
    bounded = VectorSpace(shape=(2,), mean=(0.5,) * 2, std=(0.25,) * 2, low=(0.0,) * 2, high=(1.0,) * 2)
    far = nn.Linear(1, 2)
    far.weight.data, far.bias.data = torch.zeros(2, 1), torch.tensor([40.0, 0.4])
    inverted = invert(Map(Called(far), bounded, (1,)), torch.tensor([[1.0, 0.5]]), search=Search(steps=2))
    torch.testing.assert_close(inverted.x, torch.tensor([[1.0, 0.6]]))
    torch.testing.assert_close(inverted.error, torch.tensor([0.4 / math.sqrt(2)]))


def test_a_projection_that_cannot_be_is_refused():
    model, x = linear(), torch.zeros(2, 7)
    for refused, says in (
        (lambda: invert(flow(), x), "4 steps. Its method encode"),
        (lambda: invert(model, x[:0]), "at least one example"),
        (lambda: invert(model, x[0]), "shape"),
        (lambda: invert(model, x[:, :5]), r"shape \(7,\)"),
        (lambda: invert(model, x / 0), "not finite"),
        (lambda: invert(model, x, {"label": 1}), "without labels"),
        (lambda: invert(model, x, search=Search(starts=0)), "at least 1"),
        (lambda: invert(model, x, search=Search(steps=-1)), "0 or more"),
        (lambda: invert(model, x, search=Search(lr=0)), "above 0"),
        (lambda: invert(model, x, search=Search(prior=-1)), "0 or more"),
        (lambda: Nearby(model, torch.zeros(2), 0.5), r"shape \(3,\)"),
        (lambda: Nearby(model, torch.zeros(3), 0), r"\(0, 1\]"),
        (lambda: Nearby(flow(), torch.zeros(7), 0.5), "editing.vary"),
    ):
        with pytest.raises(UsageError, match=says):
            refused()
    model.network.inner.weight.data.fill_(math.nan)
    with pytest.raises(Diverged):
        invert(model, x, search=Search(steps=2))


def test_variations_run_from_z_to_new_samples_and_keep_the_distribution():
    model, z = linear(), normal(2, 1, 3)[0]
    torch.testing.assert_close(Nearby(model, z, 1.0).sample(5, seed=8), model.sample(5, seed=8), rtol=0, atol=0)
    with torch.no_grad():
        middle = model.space.to_data(model(z[None]))
        wanted = model(0.8 * z + 0.6 * ExampleDraws(8, 5).normal((3,)))
    torch.testing.assert_close(Nearby(model, z, 0.6).sample(5, seed=8), model.space.to_data(wanted))
    gaps = [float((Nearby(model, z, s).sample(50, seed=8) - middle).abs().mean()) for s in (1e-3, 0.3, 0.6, 1.0)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.01
    torch.testing.assert_close(Nearby(model, z, 0.6).sample(5, seed=8)[3:4], Nearby(model, z, 0.6).sample(1, seed=11))
    around = torch.cat([Nearby(model, centre, 0.7).sample(1, seed=i) for i, centre in enumerate(normal(0, 800, 3))])
    assert stats.ks_2samp(around[:, 0].numpy(), model.sample(4000, seed=10_000)[:, 0].numpy()).pvalue > 0.01


# nearest training examples


def images(n=300, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 2, 3, 5), dtype=np.uint8)
    return build("noise", Split(pixels[: n - 60]), Split(pixels[n - 60 :]))


def test_nearest_rows_agree_with_all_distances():
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(3000, 9)) * np.linspace(0.1, 30, 9)).astype(np.float32)
    for data in (images(), build("table", Split(table[:2500]), Split(table[2500:]))):
        x = data.held_out.data_units(slice(0, 20))
        neighbours = nearest(x, data, 4)
        unit = np.repeat(data.space.std, data.space.size // data.space.shape[0])
        rows, train, held = (part.flatten(1).numpy() / unit for part in (x, data.train.data_units(), data.held_out.data_units()))
        gaps = cdist(rows, train)
        np.testing.assert_array_equal(neighbours.examples, gaps.argsort(1)[:, :4])
        np.testing.assert_allclose(neighbours.distances, np.sort(gaps, 1)[:, :4], rtol=1e-5)
        judges = np.random.Generator(np.random.Philox(0)).permutation(len(held))[:500]
        assert neighbours.threshold == pytest.approx(0.25 * np.median(cdist(held[judges], train).min(1)), rel=1e-5)
        np.testing.assert_array_equal(neighbours.copies, neighbours.distances[:, 0] < neighbours.threshold)
        assert not neighbours.copies.any()


def test_planted_copies_are_found_at_distance_zero():
    data = images()
    x = torch.cat([data.held_out.data_units(slice(0, 3)), data.train.data_units([17, 200])])
    neighbours = nearest(x + 1e-4, data, 2)
    assert neighbours.copies.tolist() == [False] * 3 + [True] * 2
    assert neighbours.examples[3:, 0].tolist() == [17, 200]
    assert (neighbours.distances[3:, 0] == 0).all()
    assert (neighbours.distances[3:, 1] > 0).all()
    torch.testing.assert_close(neighbours.x[3:], x[3:], msg="samples are rounded as files hold them")
    noisy = data.train.data_units([5]).add(0.02).clamp(0, 1)
    near = nearest(noisy, data)
    assert (near.examples.shape, near.copies.tolist()) == ((1, 1), [True])
    assert 0 < near.distances[0, 0] < near.threshold
    assert nearest(x[:1], data, len(data.train)).examples.shape == (1, len(data.train))
    for k in (0, len(data.train) + 1):
        with pytest.raises(UsageError, match="from 1 to 240"):
            nearest(x, data, k)
    with pytest.raises(Diverged):
        nearest(x / 0, data)


# the curve


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path))


def test_the_curve_ends_at_the_plain_evaluation(cache):
    data = load("moons", limit=600)
    network = seeded(lambda: nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2)), 2)
    with torch.no_grad():
        network[0].weight.mul_(2), network[2].weight.mul_(5)
    model, watched = Map(Called(network), data.space, (3,)), []
    curve = truncation_curve(model, data, (40, 0.05), 150, repeats=2, watch=watched.append)
    assert watched == [0.05, 40.0, None]
    assert [point.limit for point in curve.points] == watched
    plain = evaluate(model, data, n=150, repeats=2, metrics=("manifold", "frechet"))
    for name in ("precision", "recall", "density", "coverage", "frechet"):
        low, high, free = (point.scores[name] for point in curve.points)
        assert free.values == plain.models[0].scores[name].values
        assert high.values == pytest.approx(free.values, rel=1e-4, abs=1e-6)
        assert curve.floors[name] == plain.floors[name]
    low, _, free = (point.scores for point in curve.points)
    assert low["coverage"].value < 0.5 * free["coverage"].value
    assert low["recall"].value < free["recall"].value
    picture = truncation_picture(curve)
    assert (picture.mode, picture.size) == ("RGB", (1600, 720))
    assert len(set(picture.getdata())) > 10
    for limits in ((), (0.5, 0), (math.nan,), (math.inf,)):
        with pytest.raises(UsageError, match="above 0"):
            truncation_curve(model, data, limits)
    with pytest.raises(UsageError, match="Guidance"):
        truncation_curve(flow(), data)
    with pytest.raises(UsageError, match="too few examples"):
        truncation_curve(model, data, (1,), 4, repeats=1)
