"""Interpolation and variations, on models whose answers are known in closed form."""

import math

import pytest
import torch
from programs.edits import inpaint, super_resolve, vary
from programs.gaussian_flows import IDS, PATHS, pictures, rows, seen
from torch import nn
from torch.nn import functional as F

from pushforward import solvers
from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.denoisers import Denoiser, Guided
from pushforward.editing import Variation, between, inpainting, interpolate_seeds, slerp
from pushforward.editing.given_data import condition_of_data
from pushforward.errors import UsageError
from pushforward.paths import VP, Linear
from pushforward.transports import Flow, Map

every_path = pytest.mark.parametrize("path", PATHS, ids=IDS)


def angles(a, b):
    """The angles between the rows of two batches."""
    cosines = F.cosine_similarity(a.flatten(1), b.flatten(1))
    return torch.acos(cosines.clamp(max=1))


def norms(x):
    return x.flatten(1).norm(dim=1)


@pytest.fixture
def pair():
    """Two batches of four points, the second of three times the norm."""
    return seen(0, (2, 5), 4), 3 * seen(9, (2, 5), 4)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.7, 1.0])
def test_slerp_turns_at_a_steady_angle_and_changes_the_norm_linearly(pair, share):
    a, b = pair
    whole = angles(a, b)
    c = slerp(a, b, share)
    torch.testing.assert_close(angles(a, c), share * whole, atol=1e-3, rtol=0)
    torch.testing.assert_close(angles(b, c), (1 - share) * whole, atol=1e-3, rtol=0)
    expected = (1 - share) * norms(a) + share * norms(b)
    torch.testing.assert_close(norms(c), expected)


def test_slerp_may_turn_each_row_by_a_share_of_its_own(pair):
    a, b = pair
    mixed = slerp(a, b, torch.tensor([0.0, 1.0, 0.3, 0.7]))
    third = slerp(a, b, 0.3)[2]
    fourth = slerp(a, b, 0.7)[3]
    torch.testing.assert_close(mixed, torch.stack([a[0], b[1], third, fourth]))
    torch.testing.assert_close(slerp(a, b, 1.0), b)


def distance(flow, x, y):
    """The root mean square of a difference, in standard deviations of the data."""
    std = torch.tensor(flow.space.std)
    return ((x - y) / std).square().mean().sqrt().item()


X = torch.tensor([-1.5, 1.0, 4.0])


@every_path
@pytest.mark.parametrize("solver", [solvers.RK4(), solvers.DEIS()], ids=["rk4", "deis"])
def test_interpolation_ends_at_its_inputs(path, solver):
    flow = rows(path, solver=solver, steps=60)
    end = torch.tensor([-0.7, -1.0, 0.0])
    x = between(flow, (X, end), 5)
    assert x.shape == (5, 3)
    assert distance(flow, x[0], X) < 1e-3
    assert distance(flow, x[-1], end) < 1e-3
    # what lies between is not the straight line
    straight = (X + end) / 2
    deviation = (x[2] - straight) / torch.tensor(flow.space.std)
    assert deviation.abs().max() > 0.05


@every_path
@pytest.mark.parametrize(
    "solver", [solvers.Heun(), solvers.Ancestral(), solvers.DPM()], ids=["heun", "ancestral", "dpm"]
)
def test_the_ends_of_strength(path, solver):
    flow = rows(path, solver=solver)
    actual = vary(flow, X, 1.0, 6, seed=3)
    expected = flow.sample(6, seed=3)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    distances = []
    for strength in (1e-6, 0.3, 0.6, 1.0):
        varied = vary(flow, X, strength, 64, seed=3)
        distances.append(distance(flow, varied, X))
    assert distances[0] < 0.02, "at t_min noise is a hundredth at most"
    assert distances == sorted(distances)
    coarse = flow.with_solver(solver, 5, "time")
    varied = vary(coarse, X, 1e-6, 64)
    assert distance(coarse, varied, X) < 0.02, "even within the last of few steps"


def test_a_variation_has_the_mean_and_spread_of_noising_and_solving_back():
    """x_t = alpha x + sigma z, and the ideal ODE scales what deviates from the mean by sqrt(v /
    (alpha^2 v + sigma^2)).
    """
    v = 0.6
    mean = 0.4
    flow = rows(VP(), [[v]], solvers.RK4(), 60, mean=(mean,))
    data = torch.tensor([3.0])
    variation = Variation(flow, data, 0.5)
    times = variation.rest.times
    assert len(times) == 31
    assert variation.calls == 4 * 29 + 1
    k = flow.denoiser.path.at(torch.tensor(float(times[0]), dtype=torch.float64))
    alpha = k.alpha.item()
    sigma = k.sigma.item()
    x = flow.space.to_model(data[None]).item()
    scale = math.sqrt(v / (alpha**2 * v + sigma**2))
    z = torch.tensor([[-1.3], [0.0], [0.8]], dtype=torch.float64)
    wanted = mean + scale * (alpha * (x - mean) + sigma * z)
    torch.testing.assert_close(variation(z), wanted, atol=2e-3, rtol=0)


MASK = torch.tensor([False, True, False])


def varied_rows(n, seed, **options):
    flow = rows(solver=solvers.Ancestral())
    return vary(flow, X, 0.6, n, seed=seed, **options)


def filled_rows(n, seed, **options):
    return inpaint(rows(), X, MASK, n, seed=seed, **options)


def enlarged_pictures(n, seed, **options):
    flow = pictures()
    image = flow.space.to_data(torch.zeros(1, 2, 4, 6))[0]
    return super_resolve(flow, image[:, ::2, ::2], n, seed=seed, **options)


@pytest.mark.parametrize("draw", [varied_rows, filled_rows, enlarged_pictures])
def test_rows_depend_on_their_seed_alone(draw):
    together = draw(5, 10)
    torch.testing.assert_close(together[3:4], draw(1, 13))
    torch.testing.assert_close(together, draw(5, 10, batch=2))
    assert not torch.allclose(together[0], together[1])


@pytest.fixture
def labelled():
    """A flow whose samples are the label that it saw."""
    label = Label(tuple("abc"), (0.2, 0.3, 0.5))
    space = VectorSpace((2,), mean=(0.0,) * 2, std=(1.0,) * 2, conditions={"label": label})
    denoiser = Denoiser(Labelled(), Linear(), "data", space)
    return Flow(denoiser, solvers.DDIM(), 4)


ORIGIN = torch.zeros(2)


SECOND = torch.tensor([False, True])


class Labelled(nn.Module):
    """A network that tells which condition it saw: the label, or -1 without one."""

    def forward(self, x, t, condition):
        label = torch.full((len(x),), -1.0)
        if condition is not None and "label" in condition:
            label = condition["label"].float()
        if condition is not None and "label_null" in condition:
            label = torch.where(condition["label_null"], -1.0, label)
        return label[:, None].expand(x.shape)


@pytest.mark.parametrize(("condition", "wanted"), [(None, -1.0), ({"label": 2}, 2.0)])
def test_without_a_label_given_data_meet_the_unconditional_model(labelled, condition, wanted):
    varied = vary(labelled, ORIGIN, 0.5, 5, condition=condition)
    assert (varied == wanted).all()
    filled = inpaint(labelled, ORIGIN, SECOND, 5, condition=condition)
    assert (filled[:, 1] == wanted).all()
    path = between(labelled, (ORIGIN, ORIGIN + 1), 3, condition)
    assert (path == wanted).all()


@pytest.mark.parametrize("seed", range(6))
def test_seeds_are_interpolated_with_the_label_of_the_first(labelled, seed):
    labels = labelled.conditions(1, None, seed)["label"]
    path = interpolate_seeds(labelled, seed, 99, 3)
    assert (path == labels.item()).all()


def test_given_data_need_a_label_where_there_is_no_unconditional_model(labelled):
    labelled.denoiser.unconditional = False
    filler = Flow(inpainting(labelled, ORIGIN, SECOND).denoiser, solvers.DDIM(), 4)
    for model in (labelled, filler):
        with pytest.raises(UsageError, match="label"):
            condition_of_data(model, None)


def test_guidance_acts_only_with_a_label(labelled):
    guided = Flow(Guided(labelled.denoiser, 3.0), solvers.DDIM(), 4)
    with_label = vary(guided, ORIGIN, 0.5, 5, condition={"label": 1})
    assert (with_label == -1 + 3 * 2).all()
    without_label = vary(guided, ORIGIN, 0.5, 5)
    assert (without_label == -1).all()


def test_models_of_one_call_and_solvers_that_draw_are_refused():
    flow = rows()
    one_call = Map(nn.Identity(), flow.space, (3,))
    with pytest.raises(UsageError, match="not an iterative model"):
        Variation(one_call, X, 0.5)
    with pytest.raises(UsageError, match="not an iterative model"):
        inpaint(one_call, X, MASK, 2)
    noisy = flow.with_solver(solvers.Ancestral(), 5)
    with pytest.raises(UsageError, match="deterministic"):
        interpolate_seeds(noisy, 0, 1, 3)


def test_strengths_shapes_and_masks_that_cannot_be_are_refused():
    flow = rows()
    with pytest.raises(UsageError, match=r"\(0, 1\]"):
        vary(flow, X, 0.0, 2)
    with pytest.raises(UsageError, match="shape"):
        vary(flow, X[None], 0.5, 2)
    with pytest.raises(UsageError, match="finite"):
        vary(flow, X / 0, 0.5, 2)
    with pytest.raises(UsageError, match="not everywhere"):
        inpaint(flow, X, MASK | ~MASK, 2)


def test_only_images_of_a_whole_factor_are_enlarged():
    with pytest.raises(UsageError, match="images"):
        super_resolve(rows(), X, 2)
    space = ImageSpace(shape=(2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1))
    flow = pictures(space=space)
    with pytest.raises(UsageError, match="factor"):
        super_resolve(flow, torch.zeros(2, 2, 2), 2)
