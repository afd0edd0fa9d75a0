"""Models in a latent space, their codes, and what is looked at in them."""

import copy
import dataclasses
import functools
import math
import re

import numpy as np
import pytest
import torch
from programs.edits import vary
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.conditions import Numbers
from pushforward.data.core.hashes import permutation
from pushforward.editing.interpolation import walk
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.measurements import Map2D
from pushforward.evaluation.pictures import (
    _walks,
    code_map,
    code_statistics,
    labelled,
    latent_pictures,
    reconstructed,
    strip,
)
from pushforward.report import Report
from pushforward.report.samples import code_chart
from pushforward.testing import assert_same, final_state, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.loop import model_setup as preparing
from pushforward.training.loop.model_setup import prepare_inputs
from pushforward.training.monitor.health import FixedNoise, sample_in_batches
from pushforward.training.recipe_argument import code_space
from pushforward.transports import Autoencoder, Latent, with_inner


def coder(data, folder, name="autoencoder", **options):
    """A tiny run that codes the data."""
    recipe = pf.recipes.named(name)(data.space, "tiny", **options)
    return pf.fit(recipe, data, steps=3, out=folder / "coder")


def in_latent(name, data, run, steps=3, out=None, **options):
    recipe = pf.in_latent(name, data, run, "tiny", **options)
    return pf.fit(recipe, data, steps=steps, out=out)


class Doubling(nn.Module):
    """Codes that are twice the data, with a spread of a half."""

    def forward(self, x, t=None, condition=None):
        return torch.cat([2 * x, torch.full_like(x, -2 * np.log(2))], 1)


class Halving(nn.Module):
    def forward(self, z, t=None, condition=None):
        return z / 2


def doubled(data):
    return Autoencoder(Doubling(), Halving(), data.space.without_labels())


class Same(nn.Module):
    """Codes that are the data itself."""

    def forward(self, x, t=None, condition=None):
        return torch.cat([x, torch.zeros_like(x)], 1)


class Scaled(nn.Module):
    """Mean codes that are the data, scaled, with a variance of nearly 1."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x, t=None, condition=None):
        return torch.cat([x * self.scale, torch.full_like(x, -1e-3)], 1)


class Back(nn.Module):
    def forward(self, z, t=None, condition=None):
        return z


def plain_coder(data):
    return Autoencoder(Same(), Back(), data.space.without_labels())


def test_looking_through_a_coder_that_changes_nothing():
    data = space_data((1, 4, 5), labels=True, n=90)
    originals, copies = strip(plain_coder(data), data, 7)
    torch.testing.assert_close(originals, copies, rtol=0, atol=1e-6)


def test_a_walk_between_codes_is_a_line_or_an_arc():
    data = space_data((1, 4, 5), labels=True, n=90)
    coder = plain_coder(data)
    a, b = data.held_out.data_units(slice(2))
    line = walk(coder, a, b, 5)
    fractions = torch.linspace(0, 1, 5).reshape(5, 1, 1, 1)
    torch.testing.assert_close(line, torch.lerp(a, b, fractions), rtol=0, atol=1e-5)
    arc = walk(coder, a, b, 5, interpolation="spherical")
    assert not torch.allclose(line, arc, atol=1e-2)


def test_a_map_of_codes_shows_their_two_principal_axes():
    data = space_data((1, 4, 5), labels=True, n=90)
    plane = code_map(plain_coder(data), data)
    codes = data.space.to_model(data.held_out.data_units())
    rows = codes.flatten(1).double().numpy()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    variances = values**2 / len(rows)
    principal = variances[:2]
    assert plane.share == pytest.approx(principal.sum() / variances.sum())
    shown = np.sort(plane.points.var(0))
    np.testing.assert_allclose(shown, np.sort(principal), rtol=2e-6)
    assert sorted(plane.labels) == sorted(data.held_out.labels)


def test_active_units_are_those_that_are_seen_to_carry_something():
    data = space_data((4,), labels=False, n=400)
    scale = torch.tensor([0.05, 0.11, 0.5, 2.0])
    coder = Autoencoder(Scaled(scale), Back(), data.space)
    codes = scale * data.space.to_model(data.held_out.data_units())
    seen = codes.var(0) > 0.01
    assert seen.sum() == 3
    assert code_statistics(coder, data).active == 3


def test_the_report_draws_codes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "--data digits --limit 200 --size tiny --steps 20"
    command = f"train vae {small} --condition none --out vae"
    assert main(command.split()) == 0
    run = pf.load("vae")
    data = pf.data.load("digits", limit=200, labelled=False)
    with_labels = labelled(data)
    assert with_labels.space.classes
    pictures = latent_pictures(run, data)
    assert set(pictures.walks) == {"spherical"}
    comparison = pf.compare({"vae": run}, with_labels, repeats=1)
    assert "Map of the latents" in Report(comparison).to_html()


@pytest.fixture(scope="module")
def told_labels(tmp_path_factory):
    data = pf.data.load("digits", limit=200)
    folder = tmp_path_factory.mktemp("told") / "vae"
    return pf.fit(pf.recipes.vae(data.space, size="tiny"), data, steps=20, out=folder), data


def test_a_coder_that_is_told_labels_walks_within_one_class(told_labels):
    run, data = told_labels
    pictures = latent_pictures(run, data)
    first, *_, last = pictures.walks["spherical"].astype(float)
    coder = run.method.autoencoder().eval()
    held = data.held_out
    x = held.data_units()
    labels = torch.from_numpy(held.labels)
    decoded = reconstructed(coder, x, {"label": labels})
    decoded = data.space.quantise(decoded).astype(float)
    start = nearest(decoded, first)
    end = nearest(decoded, last)
    assert labels[start] == labels[end]
    assert start != end
    np.testing.assert_allclose(decoded[start], first, atol=1)
    np.testing.assert_allclose(decoded[end], last, atol=1)
    original = data.space.quantise(x)[start]
    np.testing.assert_array_equal(original, pictures.strip[0])


def nearest(images, image):
    """Which of the images differs least from this one."""
    gaps = np.abs(images - image).mean((1, 2, 3))
    return int(gaps.argmin())


class Told(nn.Module):
    """Decodes every code as the number that it is given."""

    def forward(self, z, t=None, condition=None):
        return z * 0 + condition["age"].reshape(-1, 1, 1, 1)


def test_a_walk_is_decoded_as_what_its_first_example_is_given():
    data = space_data((1, 4, 5), labels=False)
    ages = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
    conditions = {"age": Numbers(("age",), (0.0,), (1.0,))}
    space = dataclasses.replace(data.space, conditions=conditions)
    held_out = dataclasses.replace(data.held_out, given={"age": ages})
    data = dataclasses.replace(data, space=space, held_out=held_out)
    first, *_ = permutation(24, 0)
    decoded = torch.full((1, 1, 4, 5), ages[first].item())
    wanted = space.quantise(space.to_data(decoded))
    coder = Autoencoder(Same(), Told(), space)
    for walked in _walks(coder, data).values():
        expected = np.broadcast_to(wanted, walked.shape)
        np.testing.assert_array_equal(walked, expected)


def test_codes_under_another_prior_have_no_divergence_from_a_normal_one():
    data = space_data((1, 8, 8), labels=False)
    for name in ("hvae", "autoencoder"):
        coder = pf.recipes.named(name)(data.space, "tiny").method.autoencoder()
        statistics = code_statistics(coder, data)
        assert statistics.kl is None
        assert statistics.mismatch is None
        assert 0 <= statistics.active <= statistics.units


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 21), (2, 5, 3)], ids=str)
def test_every_shape_is_coded_and_decoded(shape, factor):
    data = space_data(shape, labels=False)
    _, height, width = shape
    if factor > max(height, width):
        with pytest.raises(UsageError, match="factor"):
            pf.recipes.autoencoder(data.space, "tiny", factor=factor)
        return
    recipe = pf.recipes.autoencoder(data.space, "tiny", factor=factor, channels=3)
    autoencoder = recipe.method.autoencoder()
    x = data.space.to_model(data.train.data_units(slice(5)))
    codes = autoencoder.encode(x)
    assert codes.shape == (5, 3, math.ceil(height / factor), math.ceil(width / factor))
    assert autoencoder.decode(codes).shape == (5, *shape)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 21), (2, 5, 3)], ids=str)
def test_a_model_of_codes_samples_every_shape(shape, tmp_path):
    data = space_data(shape, labels=shape[0] == 3)
    coded = coder(data, tmp_path)
    run = in_latent("flow", data, coded, out=tmp_path / "run").configured(steps=4)
    transport = run.transport
    x = transport.sample(4, seed=3)
    assert x.shape == (4, *shape)
    assert isinstance(transport, Latent)
    assert transport.space.classes == data.space.classes
    assert transport.calls == transport.inner.calls + 1
    again = pf.load(tmp_path / "run").configured(steps=4)
    assert torch.equal(again.sample(4, seed=3), x)


@pytest.fixture(scope="module")
def coders(tmp_path_factory):
    """Runs that code data of a shape, by a recipe's name."""

    def trained(shape, name):
        data = space_data(shape, labels=True)
        return coder(data, tmp_path_factory.mktemp("coders"), name)

    return functools.cache(trained)


@pytest.mark.parametrize(
    ("name", "shape", "coding"),
    [
        ("flow", (1, 8, 8), "autoencoder"),
        ("ddpm", (17,), "vae"),
        ("edm", (1, 8, 8), "hvae"),
        ("gan", (17,), "vae"),
    ],
)
def test_every_family_trains_on_codes_and_resumes_bit_for_bit(
    name, shape, coding, coders, tmp_path
):
    data = space_data(shape, labels=True)
    run = coders(shape, coding)
    whole = in_latent(name, data, run, out=tmp_path / "whole")
    recipe = pf.in_latent(name, data, run, "tiny")
    trainer = prepare(recipe, data, steps=3, out=tmp_path / "cut", checkpoint_every=1)
    trainer.advance(1e-9)
    del trainer
    reopen(tmp_path / "cut", data=data).advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    x = whole.sample(3, seed=1)
    assert x.shape == (3, *shape)


def test_a_damaged_part_is_named(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run")
    weights = tmp_path / "run" / "parts" / "autoencoder" / "weights.safetensors"
    flip_last_bit(weights)
    with pytest.raises(CheckpointError, match="The part autoencoder of"):
        pf.load(tmp_path / "run")
    with pytest.raises(CheckpointError, match="The part autoencoder of"):
        pf.resume(tmp_path / "run", data=data, steps=9)
    flip_last_bit(weights)
    pf.load(tmp_path / "run")


def test_the_frozen_part_is_in_no_checkpoint_and_does_not_move(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    coded = coder(data, tmp_path)
    before = copy.deepcopy(coded.method.autoencoder().state_dict())
    run = in_latent("flow", data, coded, out=tmp_path / "run")
    tensors, _ = final_state(tmp_path / "run")
    for group in tensors.values():
        assert "autoencoder" not in " ".join(group)
    frozen = run.transport.autoencoder
    torch.testing.assert_close(dict(frozen.state_dict()), dict(before), rtol=0, atol=0)
    assert not any(weight.requires_grad for weight in frozen.parameters())


def test_data_is_encoded_once(tmp_path, monkeypatch):
    data = space_data((1, 8, 8), labels=False)
    counted = []
    run = coder(data, tmp_path)
    monkeypatch.setattr(preparing, "_last", None)
    moments = Autoencoder.moments

    def counting(self, x, condition=None):
        counted.append(len(x))
        return moments(self, x, condition)

    monkeypatch.setattr(Autoencoder, "moments", counting)
    in_latent("flow", data, run, out=tmp_path / "run")
    assert sum(counted) == len(data.train)

    def encoded_by_resuming(steps):
        """How many rows are encoded, by a process that does not hold the codes."""
        counted.clear()
        monkeypatch.setattr(preparing, "_last", None)
        pf.resume(tmp_path / "run", data=data, steps=steps)
        return sum(counted)

    assert encoded_by_resuming(6) == 0
    path = tmp_path / "run" / "cache" / "prepared.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert encoded_by_resuming(7) == len(data.train)
    assert path.read_bytes() == whole
    flip_last_bit(path)
    assert encoded_by_resuming(8) == len(data.train)
    assert path.read_bytes() == whole
    description = path.with_suffix(".json")
    text = description.read_text()
    other = "0" * len(data.fingerprint)
    description.write_text(text.replace(data.fingerprint, other))
    assert encoded_by_resuming(9) == len(data.train), "codes of other data"


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_data_is_edited_with_the_label_that_the_autoencoder_needs(tmp_path, monkeypatch):
    data = space_data((1, 8, 8), labels=True)
    coded = coder(data, tmp_path, "vae")
    run = in_latent("flow", data, coded, out=tmp_path / "run")
    transport = run.transport
    first, last = data.held_out.data_units(slice(2))
    conditions = []
    encode = Autoencoder.encode

    def noting(self, x, condition=None):
        conditions.append(condition)
        return encode(self, x, condition)

    monkeypatch.setattr(Autoencoder, "encode", noting)
    for edit in (
        lambda condition: vary(transport, first, 0.5, 2, condition),
        lambda condition: pf.editing.between(transport, (first, last), 3, condition),
    ):
        with pytest.raises(UsageError, match="label as a condition"):
            edit(None)
        conditions.clear()
        edit({"label": 1})
        (condition,) = conditions
        assert (condition["label"] == 1).all()
    unlabelled = data.without_labels()
    report = pf.evaluate(run, unlabelled, metrics=["frechet"], n=20, repeats=1)
    assert report.models[0].latent is None


def test_the_codes_units_are_measured_with_the_posteriors_spread():
    data = space_data((17,), labels=True, n=300)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    space = recipe.method.method.space
    x = data.space.to_model(data.train.data_units()).double()
    variance = 4 * x.var(0, correction=0) + 0.25
    np.testing.assert_allclose(space.std, variance.sqrt(), rtol=1e-5)
    np.testing.assert_allclose(space.mean, 2 * x.mean(0), atol=1e-5)
    assert space.classes == data.space.classes
    moments = torch.randn(50, 6, 4, 5)
    image = code_space(moments, data.space)
    assert image.shape == (3, 4, 5)
    assert len(image.mean) == 3
    assert image.low is None


class Spy(pf.Method):
    def __init__(self, space):
        super().__init__()
        self.space = space
        self.seen = []
        self.weight = nn.Parameter(torch.zeros(()))

    @property
    def players(self):
        return {"spy": self}

    def losses(self, batch, now):
        self.seen.append(batch.x)
        yield "spy", self.weight * batch.x.mean()

    def transport(self):
        return pf.Map(Halving(), self.space, self.space.shape)


def test_codes_are_drawn_afresh_in_every_step_and_in_units_of_their_own(tmp_path):
    data = space_data((17,), labels=False, n=64)
    training = pf.Training(batch=64)

    def spying(space, size):
        return pf.Recipe(Spy(space), training)

    method = pf.in_latent(spying, data, doubled(data)).method
    recipe = pf.Recipe(method, training)
    trainer = prepare(recipe, data, steps=40, out=tmp_path / "other")
    trainer.advance()
    epochs = []
    for epoch, x in enumerate(trainer.method.method.seen):
        codes = torch.empty_like(x)
        codes[trainer.sampler.order(epoch)] = x
        epochs.append(codes)
    codes = torch.stack(epochs)
    assert len(codes) == 40
    assert float(codes.std()) == pytest.approx(1, abs=0.02)
    space = method.method.space
    noise = codes.std(0) * torch.tensor(space.std)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    x = data.space.to_model(data.train.data_units())
    mean = space.to_data(codes.mean(0))
    torch.testing.assert_close(mean, 2 * x, rtol=0, atol=0.5)


def test_a_plain_autoencoder_s_codes_are_certain():
    data = space_data((17,), labels=False)
    autoencoder = pf.recipes.vae(data.space, "tiny", beta=0.0).method.autoencoder()
    x = torch.randn(4, 17)
    mean, log_variance = autoencoder.moments(x).chunk(2, 1)
    assert (log_variance < -30).all()
    torch.testing.assert_close(autoencoder.encode(x), mean)


def test_health_reads_samples_in_the_autoencoder_s_units():
    data = space_data((1, 8, 8), labels=False)
    wider = tuple(2 * std for std in data.space.std)
    double = dataclasses.replace(data.space, std=wider)
    autoencoder = pf.recipes.vae(double, "tiny").method.autoencoder()
    method = pf.in_latent("gan", data, autoencoder, "tiny").method
    fixed = FixedNoise(data, 64)
    fixed.of(method)
    z, _ = fixed._starts
    transport = method.transport()
    with torch.no_grad():
        x = transport(z[:5], None)
    samples = sample_in_batches(method.transport(), *fixed._starts)
    torch.testing.assert_close(samples[:5], double.to_data(x), rtol=0, atol=1e-4)


def test_encoding_through_the_latent_space_and_back(tmp_path):
    """x -> code -> noise -> code -> x: the decoder's own reconstruction, to the solver's error."""
    data = space_data((17,), labels=False)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    transport = recipe.method.transport()
    fine_steps = transport.inner.with_solver(pf.solvers.RK4(), 60, "time")
    fine = with_inner(transport, fine_steps)
    x = data.held_out.data_units(slice(6))
    z = fine.encode(x)
    again = data.space.to_data(fine(z))
    torch.testing.assert_close(again, x, rtol=0, atol=2e-2)
    moments = prepare_inputs(recipe.method, data)["x"]
    assert moments.shape == (len(data.train), 34)


def test_a_map_of_codes_holds_all_of_them():
    points = np.array([[0.0, 1.0], [4.0, 5.0]])
    codes = Map2D(points, None, 1.0)
    chart, _ = code_chart(codes, [], "codes")
    places = re.findall(r'<use [^>]*?x="([\d.]+)" y="([\d.]+)"', chart)
    assert len(places) == 2
    assert all(0 <= float(place) <= 400 for pair in places for place in pair)
