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


def test_slerp_turns_at_a_steady_angle_and_changes_the_norm_linearly():
    a = seen(0, (2, 5), 4)
    b = 3 * seen(9, (2, 5), 4)
    whole = torch.acos(F.cosine_similarity(a.flatten(1), b.flatten(1)))
    for share in (0.0, 0.25, 0.7, 1.0):
        c = slerp(a, b, share)
        actual = torch.acos(F.cosine_similarity(a.flatten(1), c.flatten(1)).clamp(max=1))
        torch.testing.assert_close(actual, share * whole, atol=1e-3, rtol=0)
        actual = torch.acos(F.cosine_similarity(b.flatten(1), c.flatten(1)).clamp(max=1))
        torch.testing.assert_close(actual, (1 - share) * whole, atol=1e-3, rtol=0)
        norms = (1 - share) * a.flatten(1).norm(dim=1) + share * b.flatten(1).norm(dim=1)
        actual = c.flatten(1).norm(dim=1)
        torch.testing.assert_close(actual, norms)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    mixed = slerp(a, b, torch.tensor([0.0, 1.0, 0.3, 0.7]))
    expected = torch.stack([a[0], b[1], slerp(a, b, 0.3)[2], slerp(a, b, 0.7)[3]])
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("solver", [solvers.RK4(), solvers.DEIS()], ids=["rk4", "deis"])
def test_interpolation_ends_at_its_inputs(path, solver):
    flow = rows(path, solver=solver, steps=60)
    a = torch.tensor([-1.5, 1.0, 4.0])
    b = torch.tensor([-0.7, -1.0, 0.0])
    x = between(flow, (a, b), 5)
    assert x.shape == (5, 3)
    std = torch.tensor(flow.space.std)
    for end, wanted in ((x[0], a), (x[-1], b)):
        actual = ((end - wanted) / std).square().mean().sqrt()
        assert actual < 1e-3
    # what lies between is not the straight line
    largest = ((x[2] - (a + b) / 2) / std).abs().max()
    assert largest > 0.05


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize(
    "solver", [solvers.Heun(), solvers.Ancestral(), solvers.DPM()], ids=["heun", "ancestral", "dpm"]
)
def test_the_ends_of_strength(path, solver):
    flow = rows(path, solver=solver)
    x = torch.tensor([-1.5, 1.0, 4.0])
    actual = vary(flow, x, 1.0, 6, seed=3)
    expected = flow.sample(6, seed=3)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    std = torch.tensor(flow.space.std)
    gaps = [
        float(((vary(flow, x, strength, 64, seed=3) - x) / std).square().mean().sqrt())
        for strength in (1e-6, 0.3, 0.6, 1.0)
    ]
    assert gaps[0] < 0.02, "at t_min noise is a hundredth at most"
    assert gaps == sorted(gaps)
    coarse = flow.with_solver(solver, 5, "time")
    actual = ((vary(coarse, x, 1e-6, 64) - x) / std).square().mean().sqrt()
    assert actual < 0.02, "even within the last of few steps"


def test_a_variation_has_the_mean_and_spread_of_noising_and_solving_back():
    """x_t = alpha x + sigma z, and the ideal ODE scales what deviates from the mean by sqrt(v /
    (alpha^2 v + sigma^2)).
    """
    v = 0.6
    mean = 0.4
    flow = rows(VP(), [[v]], solvers.RK4(), 60, mean=(mean,))
    variation = Variation(flow, torch.tensor([3.0]), 0.5)
    assert (len(variation.rest.times), variation.calls) == (31, 4 * 29 + 1)
    k = flow.denoiser.path.at(torch.tensor(float(variation.rest.times[0]), dtype=torch.float64))
    x = float(flow.space.to_model(torch.tensor([[3.0]])))
    scale = math.sqrt(v / (float(k.alpha) ** 2 * v + float(k.sigma) ** 2))
    z = torch.tensor([[-1.3], [0.0], [0.8]], dtype=torch.float64)
    wanted = mean + scale * (float(k.alpha) * (x - mean) + float(k.sigma) * z)
    torch.testing.assert_close(variation(z), wanted, atol=2e-3, rtol=0)


def test_rows_depend_on_their_seed_alone():
    flow = rows()
    x = torch.tensor([-1.5, 1.0, 4.0])
    image = pictures()
    mask = torch.tensor([False, True, False])
    low = image.space.to_data(torch.zeros(1, 2, 4, 6))[0, :, ::2, ::2]
    for draw in (
        lambda n, seed, **more: vary(
            rows(solver=solvers.Ancestral()), x, 0.6, n, seed=seed, **more
        ),
        lambda n, seed, **more: inpaint(flow, x, mask, n, seed=seed, **more),
        lambda n, seed, **more: super_resolve(image, low, n, seed=seed, **more),
    ):
        together = draw(5, 10)
        torch.testing.assert_close(together[3:4], draw(1, 13))
        torch.testing.assert_close(together, draw(5, 10, batch=2))
        assert not torch.allclose(together[0], together[1])


class Labelled(nn.Module):
    """A network that tells which condition it saw: the label, or -1 without one."""

    def forward(self, x, t, condition):
        label = torch.full((len(x),), -1.0)
        if condition is not None and "label" in condition:
            label = condition["label"].float()
        if condition is not None and "label_null" in condition:
            label = torch.where(condition["label_null"], -1.0, label)
        return label[:, None].expand(x.shape)


def test_without_a_label_given_data_meet_the_unconditional_model():
    conditions = {"label": Label(tuple("abc"), (0.2, 0.3, 0.5))}
    space = VectorSpace(shape=(2,), mean=(0.0,) * 2, std=(1.0,) * 2, conditions=conditions)
    denoiser = Denoiser(Labelled(), Linear(), "data", space)
    flow = Flow(denoiser, solvers.DDIM(), 4)
    x = torch.zeros(2)
    mask = torch.tensor([False, True])
    for condition, wanted in ((None, -1.0), ({"label": 2}, 2.0)):
        assert (vary(flow, x, 0.5, 5, condition=condition) == wanted).all()
        assert (inpaint(flow, x, mask, 5, condition=condition)[:, 1] == wanted).all()
        assert (between(flow, (x, x + 1), 3, condition) == wanted).all()
    for seed in range(6):
        labels = flow.conditions(1, None, seed)["label"]
        assert (interpolate_seeds(flow, seed, 99, 3) == float(labels)).all()
    denoiser.unconditional = False
    for model in (flow, Flow(inpainting(flow, x, mask).denoiser, solvers.DDIM(), 4)):
        with pytest.raises(UsageError, match="label"):
            condition_of_data(model, None)
    denoiser.unconditional = True
    guided = Flow(Guided(denoiser, 3.0), solvers.DDIM(), 4)
    assert (vary(guided, x, 0.5, 5, condition={"label": 1}) == -1 + 3 * 2).all()
    assert (vary(guided, x, 0.5, 5) == -1).all()


def test_what_cannot_be_is_refused():
    flow = rows()
    x = torch.zeros(3)
    mask = torch.tensor([False, True, False])
    one_call = Map(nn.Identity(), flow.space, (3,))
    space = ImageSpace(shape=(2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1))
    images = pictures(space=space)
    low = torch.zeros(2, 2, 3)
    noisy = flow.with_solver(solvers.Ancestral(), 5)
    for refused, says in (
        (lambda: Variation(one_call, x, 0.5), "not an iterative model"),
        (lambda: inpaint(one_call, x, mask, 2), "not an iterative model"),
        (lambda: interpolate_seeds(noisy, 0, 1, 3), "deterministic"),
        (lambda: vary(flow, x, 0.0, 2), r"\(0, 1\]"),
        (lambda: vary(flow, x[None], 0.5, 2), "shape"),
        (lambda: vary(flow, x / 0, 0.5, 2), "finite"),
        (lambda: inpaint(flow, x, mask | ~mask, 2), "not everywhere"),
        (lambda: super_resolve(flow, x, 2), "images"),
        (lambda: super_resolve(images, low[:, :, :2], 2), "factor"),
    ):
        with pytest.raises(UsageError, match=says):
            refused()
