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


def squared_alphas(path, levels):
    """alpha^2 at t = (i + 1) / T."""
    t = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    return path.at(t).alpha.square()


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_levels_are_those_of_the_sampler(name, settings, tmp_path):
    """alpha^2 is the sampler's own product, for the classes whose schedule we read without making
    them.
    """
    scheduler = getattr(diffusers, name)(**settings)
    folder, _ = saved(tmp_path / "theirs", scheduler)
    path = from_diffusers(folder).path
    expected = scheduler.alphas_cumprod.double()
    actual = squared_alphas(path, len(expected))
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=1e-9)


def test_a_schedule_that_ends_at_pure_noise(tmp_path):
    """All levels but the last are the sampler's; the last has next to no signal, and less than the
    one before.
    """
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, **V)
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    alpha2 = squared_alphas(denoiser.path, T)
    expected = scheduler.alphas_cumprod[:-1].double()
    torch.testing.assert_close(alpha2[:-1], expected, rtol=1e-4, atol=1e-9)
    assert 0 < alpha2[-1] < alpha2[-2] / 2 < 1e-6
    z = noise()
    output = network(z, T - 1).sample
    theirs = scheduler.step(output, T - 1, z).pred_original_sample
    ours = denoiser.predict("data", z, torch.ones(4)).clamp(-1, 1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


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
        output = network(x, i).sample
        torch.testing.assert_close(denoiser(x, t), output, rtol=1e-4, atol=1e-4)
        theirs = scheduler.step(output, i, x).pred_original_sample
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


EPSILON = {"prediction_type": "epsilon"}
SAMPLE = {"prediction_type": "sample"}
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
WRITTEN = [
    (diffusers.DDPMScheduler(), EPSILON),
    (diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", **V), V),
    (diffusers.PNDMScheduler(**SCALED), EPSILON),
    (diffusers.DDPMScheduler(beta_schedule="sigmoid", **SAMPLE), SAMPLE),
    (diffusers.FlowMatchHeunDiscreteScheduler(700), {"num_train_timesteps": 700, "shift": 1.0}),
]


@pytest.mark.parametrize(("scheduler", "wanted"), WRITTEN)
def test_round_trip(scheduler, wanted, tmp_path):
    """Folder, denoiser, folder: diffusers reads the same network, and the same levels; so do we."""
    folder, network = saved(tmp_path / "theirs", scheduler)
    denoiser = from_diffusers(folder)
    out = tmp_path / "ours"
    to_diffusers(denoiser, out)
    assert [path.name for path in tmp_path.glob(".*")] == []
    back = diffusers.DDPMPipeline.from_pretrained(out)
    assert wanted.items() <= dict(back.scheduler.config).items()
    x = noise()
    assert torch.equal(back.unet(x, 500).sample, network(x, 500).sample)
    again = from_diffusers(out)
    t = torch.tensor([0.2, 0.4, 0.6, 0.9])
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
    ours = denoiser(x, t, {"label": label})
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    others = denoiser(x, t, {"label": label.flip(0)})
    assert not torch.allclose(others, theirs, atol=1e-2)


def test_without_a_class_for_no_label_every_example_needs_one(tmp_path):
    denoiser, network = labelled(tmp_path)
    label = torch.tensor([4, 0, 2, 1])
    t = torch.full((4,), 0.5)
    x = noise()
    assert not denoiser.unconditional
    with pytest.raises(UsageError, match="unconditional"):
        pf.Guided(denoiser, 2.0)
    with pytest.raises(UsageError, match="label for each example"):
        denoiser(x, t)
    with pytest.raises(UsageError, match="label for each example") as refused:
        denoiser(x, t, {"label": label, "label_null": label > 2})
    advice = re.findall(r"(?:null|num_class_embeds)=(\d+)", str(refused.value))
    classes, added = map(int, advice)
    DiffusersUNet({**network.config, "num_class_embeds": classes}, null=added)


def test_a_class_for_no_label(tmp_path):
    """Where the space names one class fewer than are embedded, the last of them is the null, for
    guidance.
    """
    space = dataclasses.replace(space_in_diffusers_units(), conditions=class_labels(4))
    denoiser, network = labelled(tmp_path, space)
    label = torch.tensor([3, 0, 2, 1])
    null = torch.full((4,), 4)
    t = torch.full((4,), 0.5)
    x = noise()
    with_label = network(x, 499, class_labels=label).sample
    without = network(x, 499, class_labels=null).sample
    torch.testing.assert_close(denoiser(x, t), without, rtol=1e-4, atol=1e-4)
    guided = pf.Guided(denoiser, 3.0).predict("v", x, t, {"label": label})
    expected = without + 3 * (with_label - without)
    torch.testing.assert_close(guided, expected, rtol=1e-3, atol=1e-3)


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SAMPLER = "scheduler/scheduler_config.json"
INDEX = "model_index.json"
NETWORK = "unet/config.json"


def as_pickle(folder, network):
    (folder / WEIGHTS).unlink()
    network.save_pretrained(folder / "unet", safe_serialization=False)


def cut(folder, network):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def in_json(name, **changes):
    return lambda folder, network: rewrite(folder / name, **changes)


def without_weights(folder, network):
    (folder / WEIGHTS).unlink()


def damaged(folder, network):
    (folder / SAMPLER).write_text('{"beta')


other_sampler = in_json(INDEX, scheduler=["diffusers", "DDPScheduler"])
other_network = in_json(INDEX, unet=["diffusers", "UNet2DConditionModel"])
foreign_code = in_json(INDEX, unet=["my_module", "UNet2DModel"])
wavy = in_json(SAMPLER, beta_schedule="wavy")
other_channels = in_json(NETWORK, in_channels=4)
BROKEN = {
    "pickle": (as_pickle, UsageError, "safe_serialization=True"),
    "cut weights": (cut, CheckpointError, "safetensors"),
    "no weights": (without_weights, UsageError, "safetensors is missing"),
    "damaged": (damaged, CheckpointError, "cannot be read"),
    "sampler": (other_sampler, UsageError, "DDPScheduler"),
    "network": (other_network, UsageError, "UNet2DConditionModel"),
    "foreign code": (foreign_code, UsageError, "my_module"),
    "schedule": (wavy, UsageError, "schedule"),
    "other channels": (other_channels, CheckpointError, "cannot be read|do not fit"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_folders_that_cannot_be_read(case, tmp_path):
    change, error, said = BROKEN[case]
    folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
    change(folder, network)
    with pytest.raises(error, match=said):
        from_diffusers(folder)


def space_in_diffusers_units():
    half = (0.5,) * SHAPE[0]
    return pf.data.ImageSpace(SHAPE, half, half, (0.0,) * 3, (1.0,) * 3)


def model_of(**changes):
    """A model that diffusers can hold, but for changes."""
    parts = {
        "network": DiffusersUNet(unet()),
        "path": pf.Tabulated(linear_betas()),
        "prediction": "noise",
        "space": space_in_diffusers_units(),
        "preconditioning": Preconditioning(scale_input=False),
        **changes,
    }
    return pf.Denoiser(**parts)


REFUSED = {
    "source": "from other data",
    "our network": "does not support the network",
    "path": "the path VP",
    "prediction": "velocity is not supported",
    "units": "standard deviation of 0.5",
    "scaled input": "scale_input = True",
    "levels": "levels = 1000",
}


def unsupported(case):
    """A model that diffusers does not support."""
    match case:
        case "our network":
            return model_of(network=pf.networks.UNet(SHAPE, widths=(16, 32)))
        case "path":
            return model_of(path=pf.VP())
        case "prediction":
            return model_of(prediction="velocity")
        case "units":
            space = pf.data.ImageSpace(SHAPE, (0.4,) * 3, (0.2,) * 3)
            return model_of(space=space)
        case "scaled input":
            return model_of(path=pf.Linear(), prediction="velocity", preconditioning=None)
        case "levels":
            return model_of(path=pf.Tabulated(linear_betas(500)))
    model = model_of()
    model.source = pf.paths.Source("digits", model.space, fingerprint="known")
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_diffusers_has_no_words_for(case, tmp_path):
    model = unsupported(case)
    with pytest.raises(UsageError, match=REFUSED[case]):
        to_diffusers(model, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_not_overwritten_and_appears_whole(tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    model = model_of()
    with pytest.raises(UsageError, match="already"):
        to_diffusers(model, there)

    def full(self, folder, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(diffusers.DDPMScheduler, "save_pretrained", full)
    with pytest.raises(CheckpointError, match="No space left"):
        to_diffusers(model, tmp_path / "new")
    assert list(tmp_path.iterdir()) == [there]


def test_without_diffusers(tmp_path, monkeypatch):
    folder, _ = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[diffusers\]'"):
        from_diffusers(folder)
    with pytest.raises(MissingExtra, match=r"pip install 'pushforward\[diffusers\]'"):
        DiffusersUNet(unet_config())


def recipe_of_diffusers(space, preconditioned):
    config = unet_config(sample_size=8, in_channels=1, out_channels=1)
    recipe = pf.recipes.ddpm(space, network=DiffusersUNet(config), preconditioned=preconditioned)
    training = dataclasses.replace(recipe.training, precision="float32", batch=8)
    return dataclasses.replace(recipe, training=training)


@pytest.mark.parametrize(
    ("preconditioned", "kind", "output"),
    [(True, "v", "v_prediction"), (False, "noise", "epsilon")],
)
def test_a_network_of_diffusers_is_trained_here_and_handed_back(
    tmp_path, preconditioned, kind, output
):
    """Trained on the average of `fit`; the run is read again from its folder, and diffusers reads
    what was written of it.
    """
    data = pf.data.load("digits")
    space = dataclasses.replace(data.space.without_labels(), mean=(0.5,), std=(0.5,))
    data = dataclasses.replace(data, space=space)
    recipe = recipe_of_diffusers(space, preconditioned)
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "run")
    out = tmp_path / "out"
    to_diffusers(run, out)
    x = torch.randn(2, 1, 8, 8)
    t = torch.tensor([0.3, 0.8])
    expected = run.denoiser.predict("data", x, t)
    for denoiser in (from_diffusers(out), pf.load(tmp_path / "run").denoiser):
        actual = denoiser.predict("data", x, t)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    back = diffusers.DDPMPipeline.from_pretrained(out)
    assert back.scheduler.config.beta_schedule == "linear"
    assert back.scheduler.config.prediction_type == output
    theirs = back.unet(x, 1000 * t - 1).sample
    ours = run.denoiser.predict(kind, x, t)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


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
        law = theirs.encode(2 * x - 1).latent_dist
        moments = ours.moments(ours.space.to_model(x))
        image = ours.space.to_data(ours.decode(law.mean))
        their_image = theirs.decode(law.mean).sample
    mean, log_variance = moments.chunk(2, 1)
    torch.testing.assert_close(mean, law.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_variance, law.logvar, rtol=1e-4, atol=1e-5)
    expected = (their_image / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)


def test_a_model_in_the_space_of_an_autoencoder_kl_is_whole_by_itself(tmp_path):
    autoencoder = tmp_path / "kl"
    kl_autoencoder(autoencoder)
    data = space_data((3, 12, 16), labels=True)
    recipe = pf.in_latent("flow", data, autoencoder, "tiny")
    run = pf.fit(recipe, data, steps=2, out=tmp_path / "run")
    shutil.rmtree(autoencoder)
    x = run.transport.sample(2, seed=1)
    assert x.shape == (2, 3, 12, 16)
    again = pf.load(tmp_path / "run").transport.sample(2, seed=1)
    torch.testing.assert_close(again, x, rtol=1e-4, atol=1e-5)
    assert run.space.classes == data.space.classes
