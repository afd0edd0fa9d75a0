"""Distribution matching: its step against scores in closed form, its turns and its runs."""

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.data import Batch
from pushforward.denoisers import Preconditioning
from pushforward.draws import BlockDraws
from pushforward.methods import DistributionMatching, StepContext
from pushforward.methods.refinement import at_level, estimate
from pushforward.paths import VE, VP, Linear
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare

DATA = space_data((2,), labels=False, n=200)


def now(rows, step=0, progress=0.0):
    return StepContext(BlockDraws(0, step, rows), 0, progress, step)


class Gaussian(nn.Module):
    """The posterior mean of data from N(mean, variance), which is the best denoiser."""

    def __init__(self, path, mean, variance):
        super().__init__()
        self.path = path
        self.mean = nn.Parameter(torch.tensor(mean, dtype=torch.float64))
        self.variance = nn.Parameter(torch.tensor(variance, dtype=torch.float64))

    def forward(self, x, t, condition=None):
        k = self.path.at(t).over(x)
        gain = k.alpha * self.variance / (k.alpha**2 * self.variance + k.sigma**2)
        return self.mean + gain * (x - k.alpha * self.mean)


def denoiser(mean, variance, path=None):
    path = path or Linear()
    network = Gaussian(path, mean, variance)
    return pf.Denoiser(network, path, "data", DATA.space, preconditioning=Preconditioning(False))


def score(x, k, mean, variance):
    return -(x - k.alpha * mean) / (k.alpha**2 * variance + k.sigma**2)


def matching(real, fake, path=None, **options):
    flow_map = recipe_for("meanflow", DATA).method.flow_map
    teacher = pf.Flow(denoiser(*real, path), "heun", 4)
    return DistributionMatching(flow_map, denoiser(*fake, path), teacher=teacher, **options)


@pytest.mark.parametrize("path", [Linear(), VP(), VE()], ids=["linear", "vp", "ve"])
def test_the_step_is_the_difference_of_the_scores(path):
    """x_fake - x_real = sigma^2 / alpha (score_fake - score_real), in closed form, over the mean
    distance to x_real.
    """
    real = (0.3, 0.5)
    fake = (-0.4, 1.2)
    method = matching(real, fake, path)
    torch.manual_seed(0)
    x = torch.randn(64, 2, dtype=torch.float64) * 1.1 - 0.4
    step = method.step(x, None, now(64).draws)
    z = now(64).draws.stream("noise").normal((2,))
    levels = method._levels(now(64).draws)
    assert 0.02 <= levels.min() < 0.1
    assert 0.9 < levels.max() <= 0.98
    k = path.at(at_level(path, levels)).over(x)
    actual_levels = k.sigma / (k.alpha + k.sigma)
    torch.testing.assert_close(actual_levels[:, 0], levels, rtol=1e-6, atol=1e-6)
    x_t = k.alpha * x + k.sigma * z
    scores_apart = score(x_t, k, *fake) - score(x_t, k, *real)
    apart = k.sigma**2 / k.alpha * scores_apart
    x_real = estimate(method.teacher.denoiser, x, z, levels, None)
    away = (x - x_real).abs().mean(1, keepdim=True)
    expected = (apart / away).clamp(-10, 10)
    torch.testing.assert_close(step, expected, rtol=1e-5, atol=1e-6)


def test_samples_are_moved_against_the_step_and_stay_where_the_scores_agree():
    zeros = torch.zeros(256, 2, dtype=torch.float64)

    def step(method, x):
        return method.step(x, None, now(256).draws)

    off = step(matching((0.0, 0.25), (1.5, 0.25)), zeros + 1.5)
    assert off.mean() > 0.1, "samples above the teacher's mean move down"
    same = step(matching((0.3, 0.5), (0.3, 0.5)), torch.randn_like(zeros))
    assert same.abs().max() < 1e-12
    far = step(matching((0.0, 1e-4), (5000.0, 1e-4)), zeros + 50)
    assert far.abs().max() == 10


def test_the_loss_has_the_step_as_its_gradient_and_the_denoiser_of_samples_has_its_turns(
    tmp_path, monkeypatch
):
    trainer = prepare(recipe_for("dmd", DATA), DATA, out=tmp_path / "run", steps=2)
    method = trainer.method
    x = DATA.space.to_model(DATA.train.data_units(slice(64)))
    with torch.no_grad():
        for parameter in method.fake.parameters():
            parameter.mul_(1.1)
    jumps = []
    flow_map = type(method.flow_map)
    jump = flow_map.jump

    def noted(self, *given):
        jumps.append(jump(self, *given))
        return jumps[-1]

    monkeypatch.setattr(flow_map, "jump", noted)
    players = []
    for player, loss in method.turns(Batch(x), now(64)):
        players.append(player)
    monkeypatch.undo()
    assert players == ["fake"] * 5 + ["map"]
    samples = jumps[-1]
    (gradient,) = torch.autograd.grad(loss, samples)
    step = method.step(samples.detach(), None, now(64).draws)
    torch.testing.assert_close(gradient * x.numel(), step, rtol=1e-4, atol=1e-6)
    assert len(list(method.averaged)) == 1
    trainer.close()


def test_the_denoiser_of_samples_learns_their_score():
    """Its loss is least, among Gaussians of its mean, where it is that of the samples."""
    torch.manual_seed(0)
    x = 0.5 * torch.randn(4000, 2, dtype=torch.float64) + 0.7

    def loss(mean):
        return matching((0, 1), (mean, 0.25)).fake_loss(x, None, now(4000).draws)

    assert loss(0.7) < min(loss(0.4), loss(1.0))
