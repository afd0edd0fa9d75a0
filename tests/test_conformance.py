"""The checks for parts of one's own: the package's parts pass, and each planted mistake is
named.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from programs.rows import far, table_samples
from torch import nn

import pushforward as pf
from pushforward import solvers
from pushforward.metrics import MetricInfo, Score
from pushforward.paths import Coefficients, Path
from pushforward.registries import METRICS, PARTS
from pushforward.solvers import Solver
from pushforward.solvers.solver import over
from pushforward.testing import (
    Broken,
    check_method,
    check_metric,
    check_path,
    check_recipe,
    check_solver,
    space_data,
)
from pushforward.testing.metrics import sample_sets
from pushforward.transports import Map


@pytest.fixture(autouse=True)
def no_parts_stay_registered(monkeypatch):
    monkeypatch.setattr(PARTS, "added", {})


class MidpointRule(Solver):
    """The midpoint rule with the data's own share of the step, which a mistake changes."""

    order = 2
    calls_per_step = 2

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def step(self, denoiser, x, t, s, condition, draws, memory):
        middle = t + self.share * (s - t)
        half = x + over(middle - t, x) * denoiser.predict("velocity", x, t, condition)
        return x + over(s - t, x) * denoiser.predict("velocity", half, middle, condition), None


class Remembering(MidpointRule):
    """It keeps a counter in itself."""

    count = 0

    def step(self, *given):
        self.count += 1
        return super().step(*given)


class Uncounted(MidpointRule):
    calls_per_step = 1


class Forgetful(MidpointRule):
    """It does not keep its argument."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__(0.5)
        self.share = share / 2


class Mixed(MidpointRule):
    def step(self, denoiser, x, *rest):
        x, memory = super().step(denoiser, x, *rest)
        return x + 1e-3 * (x.mean(0) - x), memory


class Detached(MidpointRule):
    def step(self, denoiser, x, *rest):
        return super().step(denoiser, x.detach(), *rest)


class Noisy(solvers.Ancestral):
    """A tenth too much noise."""

    def step(self, denoiser, x, t, s, condition, draws, memory):
        moved, memory = super().step(denoiser, x, t, s, condition, draws, memory)
        return moved + 0.05 * draws.normal(x.shape[1:]).to(x), memory


@pytest.mark.parametrize(
    "solver",
    [MidpointRule, MidpointRule(0.5), solvers.DPM(2), solvers.DDIM(0.5), solvers.Adaptive()],
)
def test_lawful_solvers_pass(solver):
    check_solver(solver)


@pytest.mark.parametrize(
    ("solver", "says"),
    [
        (MidpointRule(0.45), "MidpointRule: the order measured on vp .*Measured 1"),
        (Remembering, "must not change the solver"),
        (Uncounted, "number of predictions"),
        (Forgetful(0.4), "rebuilt from its description"),
        (Mixed, r"seed \+ i"),
        (Detached, "differentiable"),
        (Noisy, "covariance"),
    ],
)
def test_mistakes_in_solvers_are_named(solver, says):
    with pytest.raises(Broken, match=says):
        check_solver(solver)


def test_a_name_of_the_packages_own_is_refused():
    with pytest.raises(Broken, match="name"):
        check_solver(type("Heun", (MidpointRule,), {}))


class Quadratic(Path):
    """alpha = 1 - t^2, sigma = t, with mistakes that are asked for."""

    ends = (0.01, 0.99)

    def __init__(self, slope: float = 2.0, lift: float = 0.0, turn: float = 1.0) -> None:
        self.slope = slope
        self.lift = lift
        self.turn = turn

    def at(self, t):
        return Coefficients(1 - t**2, t, -self.slope * t, torch.ones_like(t))

    def log_snr(self, t):
        return 2 * (torch.log(1 - t**2) - torch.log(t)) + self.lift

    def time(self, log_snr):
        ratio = self.turn * torch.exp(-log_snr / 2)  # t / (1 - t^2)
        return 2 * ratio / (1 + torch.sqrt(1 + 4 * ratio**2))


def test_a_lawful_path_passes():
    check_path(Quadratic)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [({"slope": 1.9}, "derivatives"), ({"lift": 0.1}, "log-SNR"), ({"turn": 1.1}, "must equal t")],
)
def test_mistakes_in_paths_are_named(mistake, says):
    with pytest.raises(Broken, match=says):
        check_path(Quadratic(**mistake))


class Distance:
    """The distance of means, with mistakes that are asked for."""

    scores: ClassVar = {
        "mean_distance": MetricInfo("Mean distance", "lower", "The distance of means.")
    }

    def __init__(self, name="mean_distance", sign=1, first=slice(None), better="lower"):
        self.name = name
        self.sign = sign
        self.first = first
        self.scores = {
            "mean_distance": MetricInfo("Mean distance", better, "The distance of means.")
        }

    def applies(self, samples):
        return True

    def __call__(self, samples):
        generated = samples.generated_features[self.first]
        if self.sign == 0:
            samples.generated[0] = 0
        gap = np.linalg.norm(generated.mean(0) - samples.reference_features.mean(0))
        return {self.name: Score(float(gap))}


def test_a_lawful_metric_passes():
    check_metric(Distance)


def of_training(samples):
    copied = samples.training
    return dataclasses.replace(
        samples, generated=copied, generated_features=copied.astype(np.float64)
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_of_the_package_passes(name):
    metric = METRICS[name]()
    if any(metric.applies(samples) for samples in sample_sets()):
        check_metric(metric, **({"worse": of_training} if name == "memorisation" else {}))
    elif metric.applies(table_samples()):
        check_metric(metric, table_samples(), far)
    else:
        pytest.skip("it needs a classifier of stacked images")


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"name": "other"}, "each declared and described"),
        ({"first": slice(50)}, "the order of generated examples must not matter"),
        ({"better": "higher"}, "must not be better for worse examples"),
        ({"sign": 0}, "arrays"),
    ],
)
def test_mistakes_in_metrics_are_named(mistake, says):
    with pytest.raises(Broken, match=says):
        check_metric(Distance(**mistake))


class Moments(pf.Method):
    """A Gaussian fitted by its moments, with mistakes that are asked for."""

    def __init__(self, space, mistake: str = "") -> None:
        super().__init__()
        self.space = space
        self.mistake = mistake
        self.count = 0
        self.affine = Affine(space.size)
        self.other = Affine(space.size)

    @property
    def players(self):
        players = {
            "affine": self.affine,
            "other": self.affine if self.mistake == "shared" else self.other,
        }
        if self.mistake in ("shared", "unplayed"):
            return players
        return {"affine": self.affine}

    def losses(self, batch, now):
        self.count += self.mistake == "counting"
        noise = now.draws.normal(batch.x.shape[1:])
        loss = (self.affine(noise).mean(0) - batch.x.mean(0)).square().sum()
        loss = loss + (self.affine(noise).std(0) - batch.x.std(0)).square().sum()
        yield (
            "nobody" if self.mistake == "name" else "affine",
            loss * (1 + (torch.rand(()) if self.mistake == "random" else 0)),
        )
        if self.mistake == "unplayed":
            yield "other", loss

    def transport(self):
        return Map(
            Batchwise(self.affine) if self.mistake == "batchwise" else self.affine,
            self.space,
            self.space.shape,
        )


class Affine(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size
        self.map = nn.Linear(size, size)

    def forward(self, z, t=None, condition=None):
        return self.map(z)


class Batchwise(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z, t=None, condition=None):
        x = self.inner(z)
        return x - x.mean(0)


def test_a_lawful_method_passes():
    check_method(Moments, space_data((5,), labels=False))


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("shared", "share"),
        ("unplayed", 'No gradient reaches "other"'),
        ("name", '"nobody" is not one of its networks'),
        ("batchwise", r"seed \+ i"),
    ],
)
def test_mistakes_in_methods_are_named(mistake, says):
    with pytest.raises(Broken, match=says):
        check_method(lambda space: Moments(space, mistake), space_data((5,), labels=False))


def test_a_loss_that_draws_for_itself_is_named(monkeypatch):
    # as with a generator of its own, which nothing reseeds
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    with pytest.raises(Broken, match="batch, now and weights"):
        check_method(lambda space: Moments(space, "random"), space_data((5,), labels=False))


def moments(space, size: str = "small") -> pf.Recipe:
    return pf.Recipe(Moments(space), pf.Training(batch=16), "moments", "moments")


def test_a_recipe_of_ones_own_passes(tmp_path):
    check_recipe(moments, space_data((5,), labels=False), tmp_path)


def test_a_recipe_that_counts_in_itself_is_named(tmp_path, monkeypatch):
    """Its loss depends on how often it was asked in this process, so a resumed run ends
    elsewhere.
    """

    def losses(self, batch, now):
        self.count += 1
        yield "affine", (self.affine(batch.x).mean(0) * self.count).square().sum()

    monkeypatch.setattr(Moments, "losses", losses)
    with pytest.raises(Broken, match="interrupted"):
        check_recipe(moments, space_data((5,), labels=False), tmp_path)
