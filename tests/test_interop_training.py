"""Networks and autoencoders of diffusers in training."""

import dataclasses
import json
import shutil

import pytest
import torch
from programs.diffusers_models import diffusers, noise, unet, unet_config

import pushforward as pf
from pushforward import spec
from pushforward.interop import DiffusersUNet, from_diffusers, to_diffusers
from pushforward.testing import space_data
from pushforward.training import autoencoder_of


def test_a_network_is_rebuilt_from_its_description():
    network = DiffusersUNet(unet(num_class_embeds=5), 300, 0, 4)
    again = spec.build(json.loads(json.dumps(spec.describe(network))))
    again.load_state_dict(network.state_dict())
    t, condition = torch.tensor([0.1, 0.4, 0.6, 0.9]), {"label": torch.tensor([0, 3, 1, 2])}
    for given in (condition, None):
        assert torch.equal(again.eval()(noise(), t, given), network(noise(), t, given))


@pytest.mark.parametrize(("preconditioned", "output"), [(True, "v_prediction"), (False, "epsilon")])
def test_a_network_of_diffusers_is_trained_here_and_handed_back(tmp_path, preconditioned, output):
    """Trained on the average of `fit`; the run is read again from its folder, and diffusers reads what was written of it."""
    data = pf.data.load("digits")
    space = dataclasses.replace(data.space.without_labels(), mean=(0.5,), std=(0.5,))
    data = dataclasses.replace(data, space=space)
    config = unet_config(sample_size=8, in_channels=1, out_channels=1)
    recipe = pf.recipes.ddpm(space, network=DiffusersUNet(config), preconditioned=preconditioned)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, precision="float32", batch=8))
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "run")
    to_diffusers(run, tmp_path / "out")
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.8])
    wanted = run.denoiser.predict("data", x, t)
    again = from_diffusers(tmp_path / "out")
    torch.testing.assert_close(again.predict("data", x, t), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pf.load(tmp_path / "run").denoiser.predict("data", x, t), wanted, rtol=1e-4, atol=1e-4)
    back = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    assert back.scheduler.config.beta_schedule == "linear"
    assert back.scheduler.config.prediction_type == output
    theirs = run.denoiser.predict("v" if preconditioned else "noise", x, t)
    torch.testing.assert_close(back.unet(x, 1000 * t - 1).sample, theirs, rtol=1e-4, atol=1e-4)


# An AutoencoderKL as the frozen part of a latent model


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
        torch.testing.assert_close(image, (theirs.decode(wanted.mean).sample / 2 + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_a_model_in_the_space_of_an_autoencoder_kl_is_whole_by_itself(tmp_path):
    kl_autoencoder(tmp_path / "kl")
    data = space_data((3, 12, 16), labels=True)
    run = pf.fit(pf.in_latent("flow", data, tmp_path / "kl", "tiny"), data, steps=2, out=tmp_path / "run")
    shutil.rmtree(tmp_path / "kl")
    x = run.transport.sample(2, seed=1)
    assert x.shape == (2, 3, 12, 16)
    torch.testing.assert_close(pf.load(tmp_path / "run").transport.sample(2, seed=1), x, rtol=1e-4, atol=1e-5)
    assert run.space.classes == data.space.classes
