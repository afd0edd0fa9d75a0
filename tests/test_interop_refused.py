"""Folders, networks and models that cannot be read from diffusers or written for it."""

import json
import sys

import pytest
import torch
from programs.diffusers_models import SHAPE, diffusers, rewrite, saved, unet, unet_config

import pushforward as pf
from pushforward.denoisers import Preconditioning
from pushforward.errors import CheckpointError, MissingExtra, UsageError
from pushforward.interop import DiffusersUNet, from_diffusers, to_diffusers
from pushforward.paths import linear_betas


def broken(change):
    """A folder with one thing wrong in it."""

    def make(tmp_path):
        folder, network = saved(tmp_path / "theirs", diffusers.DDPMScheduler())
        change(folder, network)
        return folder

    return make


def as_pickle(folder, network):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(folder / "unet", safe_serialization=False)


def pickle_beside_lost_parts(folder, network):
    """A pickle does not take the place of parts that are lost."""
    as_pickle(folder, network)
    parts = {"metadata": {}, "weight_map": {"conv_in.bias": "diffusion_pytorch_model-00001-of-00001.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(parts))


def cut(folder, network):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def one_weight_less(folder, network):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path)


def in_json(name, **changes):
    return lambda folder, network: rewrite(folder / name, **changes)


def without(name):
    return lambda folder, network: (folder / name).unlink()


SAMPLER, INDEX, NETWORK = "scheduler/scheduler_config.json", "model_index.json", "unet/config.json"
BROKEN = {
    "pickle": (as_pickle, UsageError, "safe_serialization=True"),
    "pickle beside lost parts": (pickle_beside_lost_parts, CheckpointError, "cannot be read"),
    "no size": (in_json(NETWORK, sample_size=None), UsageError, "names no sample_size"),
    "cut weights": (cut, CheckpointError, "cannot be read"),
    "a weight missing": (one_weight_less, CheckpointError, "missing keys: conv_in.bias"),
    "no weights": (without("unet/diffusion_pytorch_model.safetensors"), UsageError, "safetensors is missing"),
    "no index": (without(INDEX), CheckpointError, "model_index.json"),
    "no sampler": (without(SAMPLER), CheckpointError, "scheduler_config.json"),
    "no config": (without(NETWORK), CheckpointError, "config.json"),
    "damaged": (lambda folder, network: (folder / SAMPLER).write_text('{"beta'), CheckpointError, "cannot be read"),
    "a list": (lambda folder, network: (folder / INDEX).write_text("[]"), CheckpointError, "holds no settings"),
    "sampler": (in_json(INDEX, scheduler=["diffusers", "DDPScheduler"]), UsageError, 'Did you mean "DDPMScheduler"'),
    "network": (in_json(INDEX, unet=["diffusers", "UNet2DConditionModel"]), UsageError, "UNet2DConditionModel.*only"),
    "network, in its config": (in_json(NETWORK, _class_name="Transformer2DModel"), UsageError, "Transformer2DModel"),
    "foreign code": (in_json(INDEX, unet=["my_module", "UNet2DModel"]), UsageError, "my_module.*only"),
    "no network named": (in_json(INDEX, unet=[None, None]), UsageError, "only"),
    "more parts": (in_json(INDEX, vae=["diffusers", "AutoencoderKL"]), UsageError, "vae.*only"),
    "prediction": (in_json(SAMPLER, prediction_type="score"), UsageError, "epsilon, sample, v_prediction"),
    "schedule": (in_json(SAMPLER, beta_schedule="wavy"), UsageError, "makes no schedule"),
    "beta": (in_json(SAMPLER, trained_betas=[0.1, 1.5, 0.1], num_train_timesteps=3), UsageError, "between 0 and 1"),
    "continuous": (in_json(SAMPLER, timestep_type="continuous"), UsageError, "continuous"),
    "quantised": (in_json(NETWORK, quantization_config={"quant_method": "torchao"}), UsageError, "quantised"),
    "other channels": (in_json(NETWORK, in_channels=4), CheckpointError, "cannot be read|do not fit"),
    "not for it": (in_json(NETWORK, block_out_channels=[8, 17]), CheckpointError, "cannot be read"),
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
    "source": (from_other_data, "from other data instead of noise"),
    "our network": (lambda: refused(network=pf.networks.UNet(SHAPE, widths=(16, 32))), "which diffusers does not have"),
    "path": (lambda: refused(path=pf.VP()), "on the path VP"),
    "prediction": (lambda: refused(prediction="velocity"), '"velocity" on the path Tabulated'),
    "noise on the straight path": (lambda: refused(path=pf.Linear()), '"noise" on the path Linear'),
    "units": (lambda: refused(space=other_units()), "standard deviation of 0.5"),
    "scaled input": (lambda: refused(path=pf.Linear(), prediction="velocity", preconditioning=None), "scale_input=False"),
    "clock": (lambda: refused(preconditioning=Preconditioning(clock="log_snr")), "log_snr"),
    "levels": (lambda: refused(path=pf.Tabulated(linear_betas(500))), "levels=500, offset=1"),
    "offset": (lambda: refused(path=pf.Linear(), prediction="velocity"), "levels=1000, offset=0"),
    "no denoiser": (lambda: pf.Map(torch.nn.Identity(), space_in_diffusers_units(), SHAPE), "got a Map"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_diffusers_has_no_words_for(case, tmp_path):
    model, said = REFUSED[case]
    with pytest.raises(UsageError, match=said):
        to_diffusers(model(), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_not_overwritten_and_appears_whole(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
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
