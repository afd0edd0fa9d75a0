"""Students that take a scale of guidance as an input: against a closed form, and as runs."""

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.data import Batch
from pushforward.denoisers import SCALE, FlowMap, Preconditioning
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.evaluation.curves import teacher_of
from pushforward.methods import Distillation, Mapping, Now, Trajectories
from pushforward.methods.flow_map import Sorted, mean_velocity, straight
from pushforward.methods.rules import Start
from pushforward.networks import MLP
from pushforward.paths import VP, Linear
from pushforward.recipes.students import student_of
from pushforward.testing import space_data
from pushforward.testing.models import teachers_for
from pushforward.training.frozen_recipes import with_frozen

MEAN, VARIANCE = 0.8, 0.25
LABELS = {"label": pf.conditions.Label(("a", "b"), (0.5, 0.5))}
SPACE = pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions=LABELS)
RANGE = (1.0, 4.0)


class TwoGaussians(nn.Module):
    """The data estimate of N(+-MEAN, VARIANCE) given the label, and of N(0, VARIANCE) without it.

    An estimate is linear in the mean, so that guidance at scale w is N(+-w MEAN, VARIANCE).
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, x, t, condition=None):
        k = self.path.at(t).over(x)
        mean = torch.zeros_like(x[:, :1])
        if condition is not None:
            seen = ~condition.get("label_null", torch.zeros(len(x), dtype=torch.bool))
            mean = (seen * MEAN * (2 * condition["label"] - 1))[:, None].to(x)
        return mean + k.alpha * VARIANCE / (k.alpha**2 * VARIANCE + k.sigma**2) * (x - k.alpha * mean)


def guided(path, scale=1.0):
    denoiser = pf.Denoiser(TwoGaussians(path), path, "data", SPACE, preconditioning=Preconditioning(scale_input=False))
    return pf.Flow(pf.Guided(denoiser, scale), "heun", 24)


@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_a_trajectory_is_that_of_its_own_scale(path):
    teacher = guided(path)
    stored = Trajectories(teacher, 40, seed=3, guidance=RANGE)
    stored.fill()
    condition = stored.condition(torch.arange(40))
    scale, sign = condition[SCALE], 2 * condition["label"] - 1
    assert RANGE[0] <= float(scale.min()) < 1.5 < 3.5 < float(scale.max()) <= RANGE[1]
    ends = stored.states[:, -1].float()
    exact = (scale * sign * MEAN)[:, None] + VARIANCE**0.5 * teacher.noise(ExampleDraws(3, 40))
    assert (ends - exact).abs().max() < 0.08, "the map of N(w mean, variance) in closed form"
    for row in (0, 7):
        alone = guided(path, float(scale[row]))
        own = alone.sample(40, {"label": condition["label"].tolist()}, seed=3)[row]
        assert (own - ends[row]).abs().max() < 4e-3
    with pytest.raises(UsageError, match="have no scale"):
        Trajectories(teacher, 4, guidance=RANGE, unconditional=0.1)


@pytest.mark.parametrize("number", [1, 5])
def test_scales_of_single_examples_take_the_place_of_the_common_one(number):
    x, t = torch.randn(number, 2), torch.rand(number) * 0.8 + 0.1
    label, scales = torch.arange(number) % 2, torch.linspace(1, 3, number)
    given = {"label": label, SCALE: scales}
    for common in (0.0, 1.0, 2.5):
        rows = guided(Linear(), common).denoiser.predict("velocity", x, t, given)
        for i in range(number):
            one_scale = guided(Linear(), float(scales[i])).denoiser
            alone = one_scale.predict("velocity", x[i : i + 1], t[i : i + 1], {"label": label[i : i + 1]})
            torch.testing.assert_close(rows[i : i + 1], alone)


def student():
    torch.manual_seed(0)
    network = MLP(2, 2, width=32, depth=2, conditions=LABELS, times=3)
    return FlowMap(network, Linear(), "velocity", SPACE, preconditioning=Preconditioning(guidance=RANGE), unconditional=False)


@pytest.mark.parametrize("stored", [1.0, 0.0])
def test_a_student_learns_every_scale_in_one_call(stored):
    """Along trajectories, and by a rule with the teacher's velocity alone."""
    if stored:
        trajectories = Trajectories(guided(Linear()), 2000, guidance=RANGE)
        method = Distillation(student(), Start(), Sorted(diagonal=0.15), trajectories=trajectories, stored=1.0)
    else:
        method = Mapping(student(), Start(0.5, 0.05), Sorted(diagonal=0.25, to_data=0.5), teacher=guided(Linear()))
    optimizer = torch.optim.Adam(method.flow_map.parameters(), 4e-3)
    for step in range(200):
        draws = BlockDraws(0, step, 256)
        label = (draws.stream("label").uniform() < 0.5).long()
        x = ((2 * label - 1) * MEAN)[:, None] + VARIANCE**0.5 * draws.stream("data").normal((2,))
        for _, loss in method.turns(Batch(x, {"label": label}), Now(draws, 0, step / 200, step)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    flow_map = method.flow_map.requires_grad_(False)
    z = torch.randn(400, 2)
    for label, sign in ((0, -1), (1, 1)):
        condition = {"label": torch.full((400,), label)}
        for scale in (1.0, 2.0, 4.0):
            x = pf.Flow(pf.AtScale(flow_map, scale), "jump", 1)(z, condition)
            assert float(x.mean()) == pytest.approx(sign * scale * MEAN, abs=0.25 if stored else 0.35 * scale * MEAN)
        plain = pf.Flow(flow_map, "jump", 1)
        assert torch.equal(plain(z, condition), pf.Flow(pf.AtScale(flow_map, 1.0), "jump", 1)(z, condition))


def test_the_scale_is_an_input_that_starts_without_effect():
    data = space_data((17,), labels=True)
    teacher = teachers_for(pf.recipes.named("distil"), data.space)["teacher"].denoiser
    narrow, wide = student_of(teacher), student_of(teacher, guidance=(2.0, 3.0))
    x, t, label = torch.randn(60, 17), torch.rand(60) * 0.9 + 0.05, torch.arange(60) % 3
    with torch.no_grad():
        known = mean_velocity(narrow, x, t, t / 2, {"label": label})
        for scale in (None, 2.0, 3.0):
            condition = {"label": label} if scale is None else {"label": label, SCALE: torch.full((60,), scale)}
            torch.testing.assert_close(mean_velocity(wide, x, t, t / 2, condition), known, rtol=1e-3, atol=1e-3)
        assert (known - straight(teacher).predict("velocity", x, t, {"label": label})).norm() < 0.12 * known.norm()
        wide.network.conditioning.time.inner.weight.normal_(std=0.3)
        at = [pf.AtScale(wide, scale).predict("velocity", x, t, {"label": label}) for scale in (2.0, 3.0)]
        assert (at[0] - at[1]).abs().max() > 1e-3
        assert torch.equal(wide.predict("velocity", x, t, {"label": label}), at[0]), "the least where 1 is not among them"
        data_and_noise = wide.pair(x, t, {"label": label})
        assert torch.allclose(data_and_noise[1] - data_and_noise[0], at[0], atol=1e-5)


def test_a_run_is_sampled_at_any_scale_of_its_range(tmp_path, capsys):
    data = space_data((2,), labels=True, n=200)
    teacher = pf.fit("flow", data, size="tiny", steps=3, out=tmp_path / "flow", progress=False)
    recipe = with_frozen("distil", {"teacher": teacher})(
        data.space, guidance="1,4", trajectories=64, teacher_steps=2, diagonal=0.5
    )
    pf.fit(recipe, data, steps=4, out=tmp_path / "run", checkpoint_every=1, progress=False)
    run = pf.resume(tmp_path / "run", data=data, steps=30, progress=False)
    run.method.flow_map.network.conditioning.time.inner.weight.data.normal_(std=0.3)
    strong = run.configured(scale=3.0)
    assert run.transport.calls == strong.transport.calls == 1
    assert not torch.equal(run.sample(8), strong.sample(8))
    assert torch.equal(run.sample(8), run.sample(8, scale=1.0))
    assert torch.equal(strong.configured(scale=2.0).sample(8), run.sample(8, scale=2.0))
    taught, own = teacher_of(strong), pf.Flow(pf.Guided(teacher.denoiser, 3.0), "unipc", 2, "time")
    assert torch.equal(taught.sample(6), own.sample(6)), "reports compare it with its teacher at the same scale"
    for scale in (0.5, 4.1):
        with pytest.raises(UsageError, match=r"at scales from 1 to 4, got"):
            run.sample(2, scale=scale)
    with pytest.raises(UsageError, match="leave `interval` out"):
        run.sample(2, scale=2.0, interval=(0.1, 1.0))
