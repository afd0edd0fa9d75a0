"""Models of diffusers, read and written."""

import pytest
import torch
from programs.diffusers_models import SHAPE, T, V, close, diffusers, labelled, noise, saved

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.interop import from_diffusers, to_diffusers
from pushforward.paths import target
from pushforward.testing import class_labels

SETTINGS = [
    ("DDPMScheduler", {"trained_betas": [0.01, 0.3, 0.2, 0.4], "num_train_timesteps": 4}),
    ("DDIMScheduler", {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50}),
    ("PNDMScheduler", {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
    ("DPMSolverMultistepScheduler", {"beta_end": 0.03}),
    ("UniPCMultistepScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_levels_are_those_of_the_sampler(name, settings, tmp_path):
    """alpha^2 at t = (i + 1) / T is the sampler's own product, for the classes whose schedule we read without making them."""
    scheduler = getattr(diffusers, name)(**settings)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    path = from_diffusers(folder).path
    levels = len(scheduler.alphas_cumprod)
    t = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    torch.testing.assert_close(path.at(t).alpha.square(), scheduler.alphas_cumprod.double(), rtol=2e-5, atol=1e-9)


def test_a_schedule_that_ends_at_pure_noise(tmp_path):
    """All levels but the last are the sampler's; the last has next to no signal, and less than the one before."""
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, **V)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    t = (torch.arange(T, dtype=torch.float64) + 1) / T
    alpha2 = denoiser.path.at(t).alpha.square()
    torch.testing.assert_close(alpha2[:-1], scheduler.alphas_cumprod[:-1].double(), rtol=1e-4, atol=1e-9)
    assert 0 < alpha2[-1] < alpha2[-2] / 2 < 1e-6
    z = noise()
    theirs = scheduler.step(network(z, T - 1).sample, T - 1, z).pred_original_sample
    ours = denoiser.predict("data", z, torch.ones(4))
    torch.testing.assert_close(ours.clamp(-1, 1), theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_prediction_means_what_it_meant(kind, tmp_path):
    """At a level the network gets diffusers' own timestep, and the data read from it is diffusers' estimate."""
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser, x = from_diffusers(folder), noise(1)
    scheduler.set_timesteps(T)
    for i in (0, 1, 417, 998, 999):
        t = torch.tensor([(i + 1) / T])
        torch.testing.assert_close(denoiser(x, t), network(x, i).sample, rtol=1e-4, atol=1e-4)
        theirs = scheduler.step(network(x, i).sample, i, x).pred_original_sample
        close(denoiser.predict("data", x, t), theirs)


def test_v_has_the_sign_of_diffusers(tmp_path):
    scheduler = diffusers.DDPMScheduler(**V)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    denoiser, x, z, i = from_diffusers(folder), noise(seed=1), noise(seed=2), torch.tensor([0, 80, 500, 999])
    k = denoiser.coefficients(x, (i.double() + 1) / T)
    ours = target("v", x.double(), z.double(), k).float()
    torch.testing.assert_close(ours, scheduler.get_velocity(x, z, i), rtol=1e-4, atol=1e-5)


def test_a_flow_is_told_t_times_the_levels(tmp_path):
    folder, network = saved(tmp_path / "theirs", diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=300))
    denoiser, x, t = from_diffusers(folder), noise(), torch.tensor([0.01, 0.3, 0.77, 0.999])
    assert (type(denoiser.path), denoiser.prediction) == (pf.Linear, "velocity")
    torch.testing.assert_close(denoiser.predict("velocity", x, t), network(x, 300 * t).sample, rtol=1e-5, atol=1e-5)


WRITTEN = [
    (diffusers.DDPMScheduler(), {"beta_schedule": "linear", "beta_end": 0.02, "prediction_type": "epsilon"}),
    (diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", **V), {"beta_schedule": "squaredcos_cap_v2", **V}),
    (
        diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085},
    ),
    (diffusers.DDPMScheduler(beta_schedule="sigmoid", prediction_type="sample"), {"prediction_type": "sample"}),
    (diffusers.FlowMatchHeunDiscreteScheduler(700), {"num_train_timesteps": 700, "shift": 1.0}),
]


@pytest.mark.parametrize(("scheduler", "wanted"), WRITTEN)
def test_round_trip(scheduler, wanted, tmp_path):
    """Folder, denoiser, folder: diffusers reads the same network, and the same levels; so do we."""
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    to_diffusers(denoiser, tmp_path / "ours")
    assert [path.name for path in tmp_path.glob(".*")] == []
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "ours")
    assert wanted.items() <= dict(back.scheduler.config).items()
    again, x, t = from_diffusers(tmp_path / "ours"), noise(), torch.tensor([0.2, 0.4, 0.6, 0.9])
    assert torch.equal(back.unet(x, 500).sample, network(x, 500).sample)
    assert torch.equal(again.predict("data", x, t), denoiser.predict("data", x, t))
    if type(denoiser.path) is pf.Tabulated:
        assert again.path.betas == denoiser.path.betas
        named = back.scheduler.config.trained_betas is None
        assert named == (scheduler.config.beta_schedule != "sigmoid")


def test_labels(tmp_path):
    """Five embedded classes are five classes, none of which stands for no label."""
    denoiser, network = labelled(tmp_path)
    label, t, x = torch.tensor([4, 0, 2, 1]), torch.full((4,), 0.5), noise()
    assert denoiser.space.classes == ("0", "1", "2", "3", "4")
    theirs = network(x, 499, class_labels=label).sample
    torch.testing.assert_close(denoiser(x, t, {"label": label}), theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(denoiser(x, t, {"label": label.flip(0)}), theirs, atol=1e-2)
    assert not denoiser.unconditional
    with pytest.raises(UsageError, match="unconditional"):
        pf.Guided(denoiser, 2.0)
    with pytest.raises(UsageError, match="label for every example"):
        denoiser(x, t)
    with pytest.raises(UsageError, match="label_dropout=0"):
        denoiser(x, t, {"label": label, "label_null": label > 2})


def test_a_class_for_no_label(tmp_path):
    """Where the space names one class fewer than are embedded, the last of them is the null, for guidance."""
    four = {"conditions": class_labels(4)}
    space = pf.data.ImageSpace(SHAPE, (0.5,) * 3, (0.5,) * 3, (0.0,) * 3, (1.0,) * 3, **four)
    denoiser, network = labelled(tmp_path, space)
    label, t, x = torch.tensor([3, 0, 2, 1]), torch.full((4,), 0.5), noise()
    with_label, without = network(x, 499, class_labels=label).sample, network(x, 499, class_labels=torch.full((4,), 4)).sample
    torch.testing.assert_close(denoiser(x, t), without, rtol=1e-4, atol=1e-4)
    guided = pf.Guided(denoiser, 3.0).predict("v", x, t, {"label": label})
    torch.testing.assert_close(guided, without + 3 * (with_label - without), rtol=1e-3, atol=1e-3)
