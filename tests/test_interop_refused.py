"""Folders, networks and models that cannot be read from diffusers or written for it."""

import sys

import pytest
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


def cut(folder, network):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def in_json(name, **changes):
    return lambda folder, network: rewrite(folder / name, **changes)


def without(name):
    return lambda folder, network: (folder / name).unlink()


SAMPLER, INDEX, NETWORK = "scheduler/scheduler_config.json", "model_index.json", "unet/config.json"
BROKEN = {
    "pickle": (as_pickle, UsageError, "safe_serialization=True"),
    "cut weights": (cut, CheckpointError, "cannot be read"),
    "no weights": (without("unet/diffusion_pytorch_model.safetensors"), CheckpointError, "safetensors is missing"),
    "damaged": (lambda folder, network: (folder / SAMPLER).write_text('{"beta'), CheckpointError, "cannot be read"),
    "sampler": (in_json(INDEX, scheduler=["diffusers", "DDPScheduler"]), UsageError, 'Did you mean "DDPMScheduler"'),
    "network": (in_json(INDEX, unet=["diffusers", "UNet2DConditionModel"]), UsageError, "UNet2DConditionModel; only UNet2DModel"),
    "foreign code": (in_json(INDEX, unet=["my_module", "UNet2DModel"]), UsageError, "only diffusers' own classes"),
    "schedule": (in_json(SAMPLER, beta_schedule="wavy"), UsageError, "makes no schedule"),
    "other channels": (in_json(NETWORK, in_channels=4), CheckpointError, "cannot be read|do not fit"),
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
    "units": (lambda: refused(space=other_units()), "standard deviation of 0.5"),
    "scaled input": (lambda: refused(path=pf.Linear(), prediction="velocity", preconditioning=None), "scale_input=False"),
    "levels": (lambda: refused(path=pf.Tabulated(linear_betas(500))), "levels=500, offset=1"),
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
