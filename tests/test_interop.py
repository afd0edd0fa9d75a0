"""Models of diffusers: read, written, trained here, and refused."""

import dataclasses
import re
import shutil
import sys

import pytest
import torch
from programs.cases import class_labels
from programs.diffusers_models import (
    SHAPE,
    T,
    V,
    close,
    diffusers,
    labelled,
    noise,
    rewrite,
    saved,
    unet,
    unet_config,
)

import pushforward as pf
from pushforward.denoisers import Preconditioning
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.interop import DiffusersUNet, from_diffusers, to_diffusers
from pushforward.paths import linear_betas, target
from pushforward.testing import space_data
from pushforward.training import autoencoder_of

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
    """alpha^2 at t = (i + 1) / T is the sampler's own product, for the classes whose schedule we
    read without making them.
    """
    scheduler = getattr(diffusers, name)(**settings)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    path = from_diffusers(folder).path
    levels = len(scheduler.alphas_cumprod)
    t = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    actual = path.at(t).alpha.square()
    torch.testing.assert_close(actual, scheduler.alphas_cumprod.double(), rtol=2e-5, atol=1e-9)


def test_a_schedule_that_ends_at_pure_noise(tmp_path):
    """All levels but the last are the sampler's; the last has next to no signal, and less than the
    one before.
    """
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, **V)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    t = (torch.arange(T, dtype=torch.float64) + 1) / T
    alpha2 = denoiser.path.at(t).alpha.square()
    expected = scheduler.alphas_cumprod[:-1].double()
    torch.testing.assert_close(alpha2[:-1], expected, rtol=1e-4, atol=1e-9)
    assert 0 < alpha2[-1] < alpha2[-2] / 2 < 1e-6
    z = noise()
    theirs = scheduler.step(network(z, T - 1).sample, T - 1, z).pred_original_sample
    ours = denoiser.predict("data", z, torch.ones(4))
    actual = ours.clamp(-1, 1)
    torch.testing.assert_close(actual, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_prediction_means_what_it_meant(kind, tmp_path):
    """At a level the network gets diffusers' own timestep, and the data read from it is diffusers'
    estimate.
    """
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    x = noise(1)
    scheduler.set_timesteps(T)
    for i in (0, 1, 417, 998, 999):
        t = torch.tensor([(i + 1) / T])
        expected = network(x, i).sample
        torch.testing.assert_close(denoiser(x, t), expected, rtol=1e-4, atol=1e-4)
        theirs = scheduler.step(network(x, i).sample, i, x).pred_original_sample
        close(denoiser.predict("data", x, t), theirs)


def test_v_has_the_sign_of_diffusers(tmp_path):
    scheduler = diffusers.DDPMScheduler(**V)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    x = noise(seed=1)
    z = noise(seed=2)
    i = torch.tensor([0, 80, 500, 999])
    k = denoiser.coefficients(x, (i.double() + 1) / T)
    ours = target("v", x.double(), z.double(), k).float()
    expected = scheduler.get_velocity(x, z, i)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


WRITTEN = [
    (diffusers.DDPMScheduler(), {"prediction_type": "epsilon"}),
    (diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", **V), V),
    (
        diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        {"prediction_type": "epsilon"},
    ),
    (
        diffusers.DDPMScheduler(beta_schedule="sigmoid", prediction_type="sample"),
        {"prediction_type": "sample"},
    ),
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
    again = from_diffusers(tmp_path / "ours")
    x = noise()
    t = torch.tensor([0.2, 0.4, 0.6, 0.9])
    actual = back.unet(x, 500).sample
    expected = network(x, 500).sample
    assert torch.equal(actual, expected)
    actual = again.predict("data", x, t)
    expected = denoiser.predict("data", x, t)
    assert torch.equal(actual, expected)
    if type(denoiser.path) is pf.Tabulated:
        assert again.path.betas == denoiser.path.betas


def test_labels(tmp_path):
    """Five embedded classes are five classes, none of which stands for no label."""
    denoiser, network = labelled(tmp_path)
    label = torch.tensor([4, 0, 2, 1])
    t = torch.full((4,), 0.5)
    x = noise()
    assert denoiser.space.classes == ("0", "1", "2", "3", "4")
    theirs = network(x, 499, class_labels=label).sample
    actual = denoiser(x, t, {"label": label})
    torch.testing.assert_close(actual, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(denoiser(x, t, {"label": label.flip(0)}), theirs, atol=1e-2)
    assert not denoiser.unconditional
    with pytest.raises(UsageError, match="unconditional"):
        pf.Guided(denoiser, 2.0)
    with pytest.raises(UsageError, match="label for each example"):
        denoiser(x, t)
    with pytest.raises(UsageError, match="label for each example") as refused:
        denoiser(x, t, {"label": label, "label_null": label > 2})
    classes, added = map(int, re.findall(r"(?:null|num_class_embeds)=(\d+)", str(refused.value)))
    DiffusersUNet({**network.config, "num_class_embeds": classes}, null=added)


def test_a_class_for_no_label(tmp_path):
    """Where the space names one class fewer than are embedded, the last of them is the null, for
    guidance.
    """
    four = {"conditions": class_labels(4)}
    space = pf.data.ImageSpace(SHAPE, (0.5,) * 3, (0.5,) * 3, (0.0,) * 3, (1.0,) * 3, **four)
    denoiser, network = labelled(tmp_path, space)
    label = torch.tensor([3, 0, 2, 1])
    t = torch.full((4,), 0.5)
    x = noise()
    with_label = network(x, 499, class_labels=label).sample
    without = network(x, 499, class_labels=torch.full((4,), 4)).sample
    torch.testing.assert_close(denoiser(x, t), without, rtol=1e-4, atol=1e-4)
    guided = pf.Guided(denoiser, 3.0).predict("v", x, t, {"label": label})
    torch.testing.assert_close(guided, without + 3 * (with_label - without), rtol=1e-3, atol=1e-3)


def broken(change):
    def make(tmp_path):
        folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
        change(folder, network)
        return folder

    return make


def as_pickle(folder, network):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", safe_serialization=False)


def cut(folder, network):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def in_json(name, **changes):
    return lambda folder, network: rewrite(folder / name, **changes)


def without(name):
    return lambda folder, network: (folder / name).unlink()


SAMPLER = "scheduler/scheduler_config.json"
INDEX = "model_index.json"
NETWORK = "unet/config.json"
BROKEN = {
    "pickle": (as_pickle, UsageError, "safe_serialization=True"),
    "cut weights": (cut, CheckpointError, "safetensors"),
    "no weights": (
        without("unet/diffusion_pytorch_model.safetensors"),
        UsageError,
        "safetensors is missing",
    ),
    "damaged": (
        lambda folder, network: (folder / SAMPLER).write_text('{"beta'),
        CheckpointError,
        "cannot be read",
    ),
    "sampler": (
        in_json(INDEX, scheduler=["diffusers", "DDPScheduler"]),
        UsageError,
        "DDPScheduler",
    ),
    "network": (
        in_json(INDEX, unet=["diffusers", "UNet2DConditionModel"]),
        UsageError,
        "UNet2DConditionModel",
    ),
    "foreign code": (in_json(INDEX, unet=["my_module", "UNet2DModel"]), UsageError, "my_module"),
    "schedule": (in_json(SAMPLER, beta_schedule="wavy"), UsageError, "schedule"),
    "other channels": (
        in_json(NETWORK, in_channels=4),
        CheckpointError,
        "cannot be read|do not fit",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_folders_that_cannot_be_read(case, tmp_path):
    change, error, said = BROKEN[case]
    with pytest.raises(error, match=said):
        from_diffusers(broken(change)(tmp_path))


def space_in_diffusers_units():
    half = (0.5,) * SHAPE[0]
    return pf.data.ImageSpace(SHAPE, half, half, (0.0,) * 3, (1.0,) * 3)


def refused(**changes):
    parts = {
        "network": DiffusersUNet(unet()),
        "path": pf.Tabulated(linear_betas()),
        "prediction": "noise",
        "space": space_in_diffusers_units(),
        "preconditioning": Preconditioning(scale_input=False),
        **changes,
    }
    return pf.Denoiser(**parts)


def other_units():
    return pf.data.ImageSpace(SHAPE, (0.4,) * 3, (0.2,) * 3)


def from_other_data():
    model = refused()
    model.source = pf.paths.Source("digits", model.space, fingerprint="known")
    return model


REFUSED = {
    "source": (from_other_data, "from other data"),
    "our network": (
        lambda: refused(network=pf.networks.UNet(SHAPE, widths=(16, 32))),
        "does not support the network",
    ),
    "path": (lambda: refused(path=pf.VP()), "the path VP"),
    "prediction": (lambda: refused(prediction="velocity"), "velocity is not supported"),
    "units": (lambda: refused(space=other_units()), "standard deviation of 0.5"),
    "scaled input": (
        lambda: refused(path=pf.Linear(), prediction="velocity", preconditioning=None),
        "scale_input = True",
    ),
    "levels": (lambda: refused(path=pf.Tabulated(linear_betas(500))), "levels = 1000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_diffusers_has_no_words_for(case, tmp_path):
    model, said = REFUSED[case]
    with pytest.raises(UsageError, match=said):
        to_diffusers(model(), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_not_overwritten_and_appears_whole(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="already"):
        to_diffusers(refused(), tmp_path / "there")

    def full(self, folder, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(diffusers.DDPMScheduler, "save_pretrained", full)
    with pytest.raises(CheckpointError, match="No space left"):
        to_diffusers(refused(), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_without_diffusers(tmp_path, monkeypatch):
    folder, _ = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for call in (lambda: from_diffusers(folder), lambda: DiffusersUNet(unet_config())):
        with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[diffusers\]'"):
            call()


@pytest.mark.parametrize(("preconditioned", "output"), [(True, "v_prediction"), (False, "epsilon")])
def test_a_network_of_diffusers_is_trained_here_and_handed_back(tmp_path, preconditioned, output):
    """Trained on the average of `fit`; the run is read again from its folder, and diffusers reads
    what was written of it.
    """
    data = pf.data.load("digits")
    space = dataclasses.replace(data.space.without_labels(), mean=(0.5,), std=(0.5,))
    data = dataclasses.replace(data, space=space)
    config = unet_config(sample_size=8, in_channels=1, out_channels=1)
    recipe = pf.recipes.ddpm(space, network=DiffusersUNet(config), preconditioned=preconditioned)
    training = dataclasses.replace(recipe.training, precision="float32", batch=8)
    recipe = dataclasses.replace(recipe, training=training)
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "run")
    to_diffusers(run, tmp_path / "out")
    x = torch.randn(2, 1, 8, 8)
    t = torch.tensor([0.3, 0.8])
    wanted = run.denoiser.predict("data", x, t)
    again = from_diffusers(tmp_path / "out")
    actual = again.predict("data", x, t)
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)
    actual = pf.load(tmp_path / "run").denoiser.predict("data", x, t)
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    assert back.scheduler.config.beta_schedule == "linear"
    assert back.scheduler.config.prediction_type == output
    theirs = run.denoiser.predict("v" if preconditioned else "noise", x, t)
    actual = back.unet(x, 1000 * t - 1).sample
    torch.testing.assert_close(actual, theirs, rtol=1e-4, atol=1e-4)


def kl_autoencoder(folder, **changes):
    torch.manual_seed(0)
    config = {
        "block_out_channels": (16, 16),
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "norm_num_groups": 4,
        "latent_channels": 3,
        "scaling_factor": 0.3,
        **changes,
    }
    autoencoder = diffusers.AutoencoderKL(**config)
    autoencoder.save_pretrained(str(folder), safe_serialization=True)
    return autoencoder.eval()


def test_an_autoencoder_kl_codes_and_decodes_as_diffusers_does(tmp_path):
    theirs = kl_autoencoder(tmp_path / "kl")
    data = space_data((3, 12, 16), labels=True)
    ours = autoencoder_of(tmp_path / "kl", data.space)
    x = data.train.data_units(slice(4))
    with torch.no_grad():
        wanted = theirs.encode(2 * x - 1).latent_dist
        mean, log_variance = ours.moments(ours.space.to_model(x)).chunk(2, 1)
        torch.testing.assert_close(mean, wanted.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_variance, wanted.logvar, rtol=1e-4, atol=1e-5)
        image = ours.space.to_data(ours.decode(wanted.mean))
        expected = (theirs.decode(wanted.mean).sample / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)


def test_a_model_in_the_space_of_an_autoencoder_kl_is_whole_by_itself(tmp_path):
    kl_autoencoder(tmp_path / "kl")
    data = space_data((3, 12, 16), labels=True)
    run = pf.fit(
        pf.in_latent("flow", data, tmp_path / "kl", "tiny"), data, steps=2, out=tmp_path / "run"
    )
    shutil.rmtree(tmp_path / "kl")
    x = run.transport.sample(2, seed=1)
    assert x.shape == (2, 3, 12, 16)
    actual = pf.load(tmp_path / "run").transport.sample(2, seed=1)
    torch.testing.assert_close(actual, x, rtol=1e-4, atol=1e-5)
    assert run.space.classes == data.space.classes
