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
        self.mean, self.variance = (
            nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (mean, variance)
        )

    def forward(self, x, t, condition=None):
        k = self.path.at(t).over(x)
        gain = k.alpha * self.variance / (k.alpha**2 * self.variance + k.sigma**2)
        return self.mean + gain * (x - k.alpha * self.mean)


def denoiser(mean, variance, path=None):
    path = path or Linear()
    return pf.Denoiser(
        Gaussian(path, mean, variance),
        path,
        "data",
        DATA.space,
        preconditioning=Preconditioning(False),
    )


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
    moment = now(64)
    step = method.step(x, None, moment.draws)
    z = now(64).draws.stream("noise").normal((2,))
    levels = method._levels(now(64).draws)
    assert 0.02 <= float(levels.min()) < 0.1 < 0.9 < float(levels.max()) <= 0.98
    t = at_level(path, levels)
    k = path.at(t).over(x)
    torch.testing.assert_close((k.sigma / (k.alpha + k.sigma))[:, 0], levels, rtol=1e-6, atol=1e-6)
    x_t = k.alpha * x + k.sigma * z
    apart = k.sigma**2 / k.alpha * (score(x_t, k, *fake) - score(x_t, k, *real))
    away = (x - estimate(method.teacher.denoiser, x, z, levels, None)).abs().mean(1, keepdim=True)
    expected = (apart / away).clamp(-10, 10)
    torch.testing.assert_close(step, expected, rtol=1e-5, atol=1e-6)


def test_samples_are_moved_against_the_step_and_stay_where_the_scores_agree():
    x = torch.zeros(256, 2, dtype=torch.float64)
    off = matching((0.0, 0.25), (1.5, 0.25)).step(x + 1.5, None, now(256).draws)
    assert float(off.mean()) > 0.1, "samples above the teacher's mean move down"
    same = matching((0.3, 0.5), (0.3, 0.5)).step(
        torch.randn(256, 2, dtype=torch.float64), None, now(256).draws
    )
    assert float(same.abs().max()) < 1e-12
    far = matching((0.0, 1e-4), (5000.0, 1e-4)).step(x + 50, None, now(256).draws)
    assert float(far.abs().max()) == 10


def test_the_loss_has_the_step_as_its_gradient_and_the_denoiser_of_samples_has_its_turns(tmp_path):
    trainer = prepare(recipe_for("dmd", DATA), DATA, out=tmp_path / "run", steps=2)
    method = trainer.method
    x = DATA.space.to_model(DATA.train.data_units(slice(64)))
    with torch.no_grad():
        for parameter in method.fake.parameters():
            parameter.mul_(1.1)
    seen = []
    jumped = {}
    jump = type(method.flow_map).jump

    def noted(self, *given):
        jumped["x"] = jump(self, *given)
        return jumped["x"]

    type(method.flow_map).jump = noted
    try:
        for player, loss in method.turns(Batch(x), now(64)):
            seen.append(player)
    finally:
        type(method.flow_map).jump = jump
    assert seen == ["fake"] * 5 + ["map"]
    (gradient,) = torch.autograd.grad(loss, jumped["x"])
    step = method.step(jumped["x"].detach(), None, now(64).draws)
    actual = gradient * x.numel()
    torch.testing.assert_close(actual, step, rtol=1e-4, atol=1e-6)
    assert len(list(method.averaged)) == 1
    trainer.close()


def test_the_denoiser_of_samples_learns_their_score():
    """Its loss is least, among Gaussians of its mean, where it is that of the samples."""
    torch.manual_seed(0)
    x = 0.5 * torch.randn(4000, 2, dtype=torch.float64) + 0.7
    losses = [
        float(matching((0, 1), (mean, 0.25)).fake_loss(x, None, now(4000).draws))
        for mean in (0.4, 0.7, 1.0)
    ]
    assert losses[1] < min(losses[0], losses[2])
