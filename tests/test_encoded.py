"""Models in a latent space: every family, the frozen part in the run's own folder, samples decoded."""

import functools

import pytest
import torch
from programs.coders import coder, in_latent

import pushforward as pf
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.runs import precompute as preparing
from pushforward.transports import Autoencoder, Latent

SHAPES = {(1, 8, 8): False, (3, 13, 21): True, (2, 5, 3): False}


@pytest.fixture(scope="module")
def coders(tmp_path_factory):
    """Runs that code labelled data, by the data's shape and the recipe's name."""
    return functools.cache(lambda shape, name: coder(space_data(shape, labels=True), tmp_path_factory.mktemp("coders"), name))


@pytest.mark.parametrize(("shape", "labels"), SHAPES.items(), ids=str)
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


@pytest.mark.parametrize(
    ("name", "shape", "coding"),
    [("flow", (1, 8, 8), "autoencoder"), ("ddpm", (17,), "vae"), ("edm", (1, 8, 8), "hvae"), ("gan", (17,), "vae")],
)
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


def test_a_damaged_part_is_named(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run")
    weights = tmp_path / "run" / "parts" / "autoencoder" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for use in (lambda: pf.load(tmp_path / "run"), lambda: pf.resume(tmp_path / "run", data=data, steps=9)):
        with pytest.raises(CheckpointError, match="The part autoencoder of"):
            use()
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
