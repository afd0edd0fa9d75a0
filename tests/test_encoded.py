"""Models in a latent space: every family, the frozen part in the run's own folder, samples decoded."""

import functools
import shutil

import pytest
import torch
from programs.coders import coder, in_latent

import pushforward as pf
from pushforward.cli import main
from pushforward.draws import ExampleDraws
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.loop import model_setup as preparing
from pushforward.transports import Autoencoder, Flow, Latent

SHAPES = [(1, 8, 8), (3, 13, 21), (4, 16, 16), (2, 5, 3)]


@pytest.fixture(scope="module")
def coders(tmp_path_factory):
    """Runs that code labelled data, by the data's shape and the recipe's name."""
    return functools.cache(lambda shape, name: coder(space_data(shape, labels=True), tmp_path_factory.mktemp("coders"), name))


@pytest.mark.parametrize("labels", [False, True], ids=["plain", "labels"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_is_coded_and_decoded_and_sampled(shape, labels, tmp_path):
    data = space_data(shape, labels)
    for factor in (2, 4, 8):
        if factor > max(shape[1:]):
            with pytest.raises(UsageError, match="smaller factor"):
                pf.recipes.autoencoder(data.space, "tiny", factor=factor)
            continue
        autoencoder = pf.recipes.autoencoder(data.space, "tiny", factor=factor, channels=3).method.autoencoder()
        codes = autoencoder.encode(data.space.to_model(data.train.data_units(slice(5))))
        assert codes.shape == (5, 3, -(-shape[1] // factor), -(-shape[2] // factor))
        assert autoencoder.decode(codes).shape == (5, *shape)
    run = in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run").configured(steps=4)
    x = run.transport.sample(4, seed=3)
    assert x.shape == (4, *shape)
    assert isinstance(run.transport, Latent)
    assert run.transport.space.classes == data.space.classes
    assert run.transport.calls == run.transport.inner.calls + 1
    assert torch.equal(pf.load(tmp_path / "run").configured(steps=4).transport.sample(4, seed=3), x)


@pytest.mark.parametrize("name", ["flow", "ddpm", "edm", "gan", "vae"])
@pytest.mark.parametrize(("shape", "coding"), [((1, 8, 8), "autoencoder"), ((17,), "vae"), ((1, 8, 8), "hvae")])
def test_every_family_trains_on_codes_and_resumes_bit_for_bit(name, shape, coding, coders, tmp_path):
    data = space_data(shape, labels=True)
    run = coders(shape, coding)
    make = lambda: pf.in_latent(name, data, run, "tiny")  # noqa: E731
    whole = pf.fit(make(), data, steps=3, out=tmp_path / "whole")
    trainer = prepare(make(), data, steps=3, out=tmp_path / "cut", checkpoint_every=1)
    trainer.advance(1e-9)
    del trainer
    reopen(tmp_path / "cut", data=data).advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    assert whole.transport.sample(3, seed=1).shape == (3, *shape)


def test_a_latent_run_is_whole_by_itself(tmp_path):
    """Its autoencoder's run deleted, its folder moved: the same samples, and it goes on."""
    data = space_data((1, 8, 8), labels=True)
    run = in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run")
    x = run.transport.sample(4, seed=3)
    shutil.rmtree(tmp_path / "coder")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert torch.equal(pf.load(tmp_path / "elsewhere").transport.sample(4, seed=3), x)
    shutil.rmtree(tmp_path / "elsewhere" / "cache")
    assert pf.resume(tmp_path / "elsewhere", data=data, steps=5).state["step"] == 5


def test_a_damaged_part_is_named(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run")
    weights = tmp_path / "run" / "parts" / "autoencoder" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for use in (lambda: pf.load(tmp_path / "run"), lambda: pf.resume(tmp_path / "run", data=data, steps=9)):
        with pytest.raises(CheckpointError, match="The part autoencoder of"):
            use()
    weights.unlink()
    with pytest.raises(CheckpointError, match="The part autoencoder of"):
        pf.load(tmp_path / "run")
    weights.write_bytes(whole)
    pf.load(tmp_path / "run")


def test_the_frozen_part_is_in_no_checkpoint_and_does_not_move(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    coded = coder(data, tmp_path)
    before = {name: value.clone() for name, value in coded.method.autoencoder().state_dict().items()}
    run = in_latent("flow", data, coded, out=tmp_path / "run")
    for group in final_state(tmp_path / "run")[0].values():
        assert not any("autoencoder" in name for name in group), group.keys()
    after = run.transport.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in run.transport.autoencoder.parameters())


def test_data_is_encoded_once(tmp_path, monkeypatch):
    data, counted = space_data((1, 8, 8), labels=False), []
    run = coder(data, tmp_path)
    monkeypatch.setattr(preparing, "_last", None)
    moments = Autoencoder.moments
    monkeypatch.setattr(
        Autoencoder, "moments", lambda self, x, condition=None: counted.append(len(x)) or moments(self, x, condition)
    )
    in_latent("flow", data, run, out=tmp_path / "run")
    assert sum(counted) == len(data.train)
    monkeypatch.setattr(preparing, "_last", None)
    pf.resume(tmp_path / "run", data=data, steps=6)
    assert sum(counted) == len(data.train)
    path = tmp_path / "run" / "cache" / "prepared.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    monkeypatch.setattr(preparing, "_last", None)
    pf.resume(tmp_path / "run", data=data, steps=7)
    assert sum(counted) == 2 * len(data.train)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    monkeypatch.setattr(preparing, "_last", None)
    pf.resume(tmp_path / "run", data=data, steps=8)
    assert sum(counted) == 3 * len(data.train), "a flipped bit"
    assert path.read_bytes() == whole
    description = path.with_suffix(".json")
    description.write_text(description.read_text().replace(data.fingerprint, "0" * len(data.fingerprint)))
    monkeypatch.setattr(preparing, "_last", None)
    pf.resume(tmp_path / "run", data=data, steps=9)
    assert sum(counted) == 4 * len(data.train), "codes of other data"


def test_data_is_edited_with_the_label_that_the_autoencoder_needs(tmp_path, monkeypatch):
    data = space_data((1, 8, 8), labels=True)
    transport = in_latent("flow", data, coder(data, tmp_path, "vae"), out=tmp_path / "run").transport
    x, conditions, encode = data.held_out.data_units(slice(2)), [], Autoencoder.encode
    monkeypatch.setattr(
        Autoencoder, "encode", lambda self, x, condition=None: conditions.append(condition) or encode(self, x, condition)
    )
    for edit in (
        lambda condition: pf.editing.vary(transport, x[0], 0.5, 2, condition=condition),
        lambda condition: pf.editing.interpolate(transport, x[0], x[1], 3, condition=condition),
    ):
        with pytest.raises(UsageError, match="name it"):
            edit(None)
        conditions.clear()
        edit({"label": 1})
        assert [set(condition["label"].tolist()) for condition in conditions] == [{1}]
    sure = {"label": torch.tensor([1, 1])}
    z = transport.noise(ExampleDraws(0, 2))
    assert torch.equal(transport.decode(z, sure), transport.decode(z, sure | {"label_null": torch.tensor([True, True])}))
    plain = in_latent("flow", data, coder(data, tmp_path / "plain"), out=tmp_path / "other").transport
    assert len(pf.editing.vary(plain, x[0], 0.5, 3, condition={"label": [0, 1, 1]})) == 3
    report = pf.evaluate(pf.load(tmp_path / "run"), data.without_labels(), metrics=["frechet"], n=20, repeats=1)
    assert report.models[0].latent is None
    with pytest.raises(UsageError, match="name it"):
        transport.sample(2, {"label_null": torch.tensor(True)})


def test_augmentation_of_encoded_data_is_refused(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    recipe = pf.in_latent("flow", data, coder(data, tmp_path), "tiny")
    with pytest.raises(UsageError, match="prepared from the data once"):
        pf.fit(recipe, data, steps=2, out=tmp_path / "run", augment=["flip"])
    assert not (tmp_path / "run").exists()


def test_the_command_line_trains_samples_evaluates_and_edits_in_a_latent_space(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--data", "digits", "--size", "tiny", "--steps", "3", "--limit", "100"]
    assert main(["train", "autoencoder", *small, "--out", "ae"]) == 0
    assert main(["train", "flow", *small, "--latent", "ae", "--out", "latent"]) == 0
    shutil.rmtree("ae")
    assert (
        main(
            ["sample", "latent", "--n", "4", "--steps", "6", "--solver", "heun", "--scale", "2", "--label", "3", "--out", "x.png"]
        )
        == 0
    )
    assert main(["sample", "latent", "--n", "4", "--out", "x.gif"]) == 0
    assert main(["evaluate", "latent", "--repeats", "1", "--n", "40"]) == 0
    assert main(["interpolate", "latent", "--seeds", "0,1", "--out", "between.png"]) == 0
    assert main(["sample", "latent", "--n", "2", "--label", "1", "--out", "two"]) == 0
    images = [str(path) for path in sorted((tmp_path / "two").iterdir())]
    assert main(["interpolate", "latent", "--from", images[0], "--to", images[1], "--out", "images.png"]) == 0
    assert main(["vary", "latent", images[0], "--strength", "0.3", "--n", "2", "--out", "varied.png"]) == 0
    capsys.readouterr()
    assert main(["inpaint", "latent", images[0], "--box", "0,0,4,4"]) == 2
    assert "latent space" in capsys.readouterr().err
    assert main(["train", "flow", *small, "--latent", "nowhere"]) == 2
    capsys.readouterr()
    assert main(["train", "vae", *small[:1], "binary-digits", *small[2:], "--condition", "none", "--out", "bits"]) == 0
    assert main(["train", "flow", *small[:1], "binary-digits", *small[2:], "--condition", "none", "--latent", "bits"]) == 0
    assert isinstance(pf.load("latent").transport.inner, Flow)
