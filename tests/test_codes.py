"""Models in a latent space, their codes, and what is looked at in them."""

import dataclasses
import functools
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
from pushforward.training.loop.model_setup import prepared
from pushforward.training.monitor.health import FixedNoise, sampled
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
    coder = plain_coder(data)
    space = data.space
    both = strip(coder, data, 7)
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-6)
    a = both[0, 0]
    b = both[0, 1]
    actual = walk(coder, a, b, 5)
    expected = torch.lerp(a, b, torch.linspace(0, 1, 5).reshape(5, 1, 1, 1))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(
        walk(coder, a, b, 5), walk(coder, a, b, 5, interpolation="spherical"), atol=1e-2
    )
    plane = code_map(coder, data)
    rows = space.to_model(data.held_out.data_units()).flatten(1).double().numpy()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert plane.share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    actual = np.sort(plane.points.std(0))
    expected = np.sort(values[:2] / np.sqrt(len(rows)))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    labels = sorted(plane.labels.tolist())
    assert labels == sorted(data.held_out.labels.tolist())


def test_active_units_are_those_that_are_seen_to_carry_something():
    data = space_data((4,), labels=False, n=400)
    scale = torch.tensor([0.05, 0.11, 0.5, 2.0])
    statistics = code_statistics(Autoencoder(Scaled(scale), Back(), data.space), data)
    variance = scale**2 * data.space.to_model(data.held_out.data_units()).var(0)
    assert statistics.active == int((variance > 0.01).sum()) == 3


def test_the_report_draws_codes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--data", "digits", "--limit", "200", "--size", "tiny", "--steps", "20"]
    code = main(["train", "vae", *small, "--condition", "none", "--out", "vae"])
    assert code == 0
    run = pf.load("vae")
    data = pf.data.load("digits", limit=200, labelled=False)
    assert labelled(data).space.classes
    pictures = latent_pictures(run, data)
    assert set(pictures.walks) == {"spherical"}
    page = Report(pf.compare({"vae": run}, pf.data.load("digits", limit=200), repeats=1)).to_html()
    assert "Map of the latents" in page


@pytest.fixture(scope="module")
def told_labels(tmp_path_factory):
    data = pf.data.load("digits", limit=200)
    folder = tmp_path_factory.mktemp("told") / "vae"
    return pf.fit(pf.recipes.vae(data.space, size="tiny"), data, steps=20, out=folder), data


def test_a_coder_that_is_told_labels_walks_within_one_class(told_labels):
    run, data = told_labels
    pictures = latent_pictures(run, data)
    first, last = (pictures.walks["spherical"][at].astype(float) for at in (0, -1))
    coder = run.method.autoencoder().eval()
    held = data.held_out
    x = held.data_units(np.arange(len(held)))
    decoded = reconstructed(coder, x, {"label": torch.from_numpy(held.labels)})
    decoded = data.space.quantise(decoded).astype(float)
    from_, to = (int(np.abs(decoded - end).mean((1, 2, 3)).argmin()) for end in (first, last))
    assert held.labels[from_] == held.labels[to]
    assert from_ != to
    np.testing.assert_allclose(decoded[from_], first, atol=1)
    np.testing.assert_allclose(decoded[to], last, atol=1)
    actual = data.space.quantise(x[[from_]])[0]
    np.testing.assert_array_equal(actual, pictures.strip[0])


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
    wanted = space.quantise(
        space.to_data(torch.full((1, 1, 4, 5), ages[permutation(24, 0)[0]].item()))
    )
    for walked in _walks(Autoencoder(Same(), Told(), space), data).values():
        expected = wanted.repeat(len(walked), 0)
        np.testing.assert_array_equal(walked, expected)


def test_codes_under_another_prior_have_no_divergence_from_a_normal_one():
    data = space_data((1, 8, 8), labels=False)
    for name in ("hvae", "autoencoder"):
        coder = pf.recipes.named(name)(data.space, "tiny").method.autoencoder()
        statistics = code_statistics(coder, data)
        assert (statistics.kl, statistics.mismatch) == (None, None)
        assert 0 <= statistics.active <= statistics.units


SHAPES = {(1, 8, 8): False, (3, 13, 21): True, (2, 5, 3): False}


@pytest.fixture(scope="module")
def coders(tmp_path_factory):
    return functools.cache(
        lambda shape, name: coder(
            space_data(shape, labels=True), tmp_path_factory.mktemp("coders"), name
        )
    )


@pytest.mark.parametrize(("shape", "labels"), SHAPES.items(), ids=str)
def test_every_shape_is_coded_and_decoded_and_sampled(shape, labels, tmp_path):
    data = space_data(shape, labels)
    for factor in (2, 4, 8):
        if factor > max(shape[1:]):
            with pytest.raises(UsageError, match="factor"):
                pf.recipes.autoencoder(data.space, "tiny", factor=factor)
            continue
        autoencoder = pf.recipes.autoencoder(
            data.space, "tiny", factor=factor, channels=3
        ).method.autoencoder()
        codes = autoencoder.encode(data.space.to_model(data.train.data_units(slice(5))))
        assert codes.shape == (5, 3, -(-shape[1] // factor), -(-shape[2] // factor))
        assert autoencoder.decode(codes).shape == (5, *shape)
    run = in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run").configured(steps=4)
    x = run.transport.sample(4, seed=3)
    assert x.shape == (4, *shape)
    assert isinstance(run.transport, Latent)
    assert run.transport.space.classes == data.space.classes
    assert run.transport.calls == run.transport.inner.calls + 1
    actual = pf.load(tmp_path / "run").configured(steps=4).transport.sample(4, seed=3)
    assert torch.equal(actual, x)


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
    make = lambda: pf.in_latent(name, data, run, "tiny")  # noqa: E731
    whole = pf.fit(make(), data, steps=3, out=tmp_path / "whole")
    trainer = prepare(make(), data, steps=3, out=tmp_path / "cut", checkpoint_every=1)
    trainer.advance(1e-9)
    del trainer
    reopen(tmp_path / "cut", data=data).advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    actual = whole.transport.sample(3, seed=1).shape
    assert actual == (3, *shape)


def test_a_damaged_part_is_named(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    in_latent("flow", data, coder(data, tmp_path), out=tmp_path / "run")
    weights = tmp_path / "run" / "parts" / "autoencoder" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for use in (
        lambda: pf.load(tmp_path / "run"),
        lambda: pf.resume(tmp_path / "run", data=data, steps=9),
    ):
        with pytest.raises(CheckpointError, match="The part autoencoder of"):
            use()
    weights.write_bytes(whole)
    pf.load(tmp_path / "run")


def test_the_frozen_part_is_in_no_checkpoint_and_does_not_move(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    coded = coder(data, tmp_path)
    before = {
        name: value.clone() for name, value in coded.method.autoencoder().state_dict().items()
    }
    run = in_latent("flow", data, coded, out=tmp_path / "run")
    for group in final_state(tmp_path / "run")[0].values():
        assert not any("autoencoder" in name for name in group), group.keys()
    after = run.transport.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in run.transport.autoencoder.parameters())


def test_data_is_encoded_once(tmp_path, monkeypatch):
    data = space_data((1, 8, 8), labels=False)
    counted = []
    run = coder(data, tmp_path)
    monkeypatch.setattr(preparing, "_last", None)
    moments = Autoencoder.moments
    monkeypatch.setattr(
        Autoencoder,
        "moments",
        lambda self, x, condition=None: counted.append(len(x)) or moments(self, x, condition),
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
    description.write_text(
        description.read_text().replace(data.fingerprint, "0" * len(data.fingerprint))
    )
    monkeypatch.setattr(preparing, "_last", None)
    pf.resume(tmp_path / "run", data=data, steps=9)
    assert sum(counted) == 4 * len(data.train), "codes of other data"


def test_data_is_edited_with_the_label_that_the_autoencoder_needs(tmp_path, monkeypatch):
    data = space_data((1, 8, 8), labels=True)
    transport = in_latent(
        "flow", data, coder(data, tmp_path, "vae"), out=tmp_path / "run"
    ).transport
    x = data.held_out.data_units(slice(2))
    conditions = []
    encode = Autoencoder.encode
    monkeypatch.setattr(
        Autoencoder,
        "encode",
        lambda self, x, condition=None: conditions.append(condition) or encode(self, x, condition),
    )
    for edit in (
        lambda condition: vary(transport, x[0], 0.5, 2, condition),
        lambda condition: pf.editing.between(transport, (x[0], x[1]), 3, condition),
    ):
        with pytest.raises(UsageError, match="label as a condition"):
            edit(None)
        conditions.clear()
        edit({"label": 1})
        assert [set(condition["label"].tolist()) for condition in conditions] == [{1}]
    report = pf.evaluate(
        pf.load(tmp_path / "run"), data.without_labels(), metrics=["frechet"], n=20, repeats=1
    )
    assert report.models[0].latent is None


def test_the_codes_units_are_measured_with_the_posteriors_spread():
    data = space_data((17,), labels=True, n=300)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    space = recipe.method.method.space
    x = data.space.to_model(data.train.data_units()).double()
    wanted = (4 * x.var(0, correction=0) + 0.25).sqrt()
    np.testing.assert_allclose(space.std, wanted, rtol=1e-5)
    expected = 2 * x.mean(0)
    np.testing.assert_allclose(space.mean, expected, atol=1e-5)
    assert space.classes == data.space.classes
    image = code_space(torch.randn(50, 6, 4, 5), data.space)
    assert (len(image.mean), image.low, image.shape) == (3, None, (3, 4, 5))


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
    recipe = pf.in_latent(
        lambda space, size: pf.Recipe(Spy(space), pf.Training(batch=64)), data, doubled(data)
    )
    method = recipe.method
    trainer = prepare(
        pf.Recipe(method, pf.Training(batch=64)), data, steps=40, out=tmp_path / "other"
    )
    trainer.advance()
    seen = torch.stack(trainer.method.method.seen)
    back = [np.argsort(trainer.sampler.order(epoch)) for epoch in range(40)]
    rows = torch.stack([x[torch.from_numpy(order)] for x, order in zip(seen, back, strict=True)])
    assert float(rows.std()) == pytest.approx(1, abs=0.02)
    noise = rows.std(0) * torch.tensor(method.method.space.std)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    x = 2 * data.space.to_model(data.train.data_units())
    actual = method.method.space.to_data(rows.mean(0))
    torch.testing.assert_close(actual, x, rtol=0, atol=0.5)


def test_a_plain_autoencoder_s_codes_are_certain():
    data = space_data((17,), labels=False)
    autoencoder = pf.recipes.vae(data.space, "tiny", beta=0.0).method.autoencoder()
    mean, log_variance = autoencoder.moments(torch.randn(4, 17)).chunk(2, 1)
    assert (log_variance < -30).all()
    actual = autoencoder.encode(torch.zeros(4, 17))
    expected = mean * 0 + autoencoder.encode(torch.zeros(4, 17))
    assert torch.equal(actual, expected)


def test_health_reads_samples_in_the_autoencoder_s_units():
    data = space_data((1, 8, 8), labels=False)
    actual = tuple(2 * std for std in data.space.std)
    double = dataclasses.replace(data.space, std=actual)
    autoencoder = pf.recipes.vae(double, "tiny").method.autoencoder()
    method = pf.in_latent("gan", data, autoencoder, "tiny").method
    fixed = FixedNoise(data, 64)
    fixed.of(method)
    transport = method.transport()
    with torch.no_grad():
        wanted = double.to_data(transport(fixed._starts[0][:5], None))
    actual = sampled(method.transport(), *fixed._starts)[:5]
    torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-4)


def test_encoding_through_the_latent_space_and_back(tmp_path):
    """x -> code -> noise -> code -> x: the decoder's own reconstruction, to the solver's error."""
    data = space_data((17,), labels=False)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    transport = recipe.method.transport()
    fine = with_inner(transport, transport.inner.with_solver(pf.solvers.RK4(), 60, "time"))
    x = data.held_out.data_units(slice(6))
    z = fine.encode(x)
    actual = data.space.to_data(fine(z))
    torch.testing.assert_close(actual, x, rtol=0, atol=2e-2)
    shape = prepared(recipe.method, data)["x"].shape
    assert shape == (len(data.train), 34)


def test_a_map_of_codes_holds_all_of_them():
    chart, _ = code_chart(Map2D(np.array([[0.0, 1.0], [4.0, 5.0]]), None, 1.0), [], "codes")
    places = re.findall(r'<use [^>]*?x="([\d.]+)" y="([\d.]+)"', chart)
    assert len(places) == 2
    assert all(0 <= float(place) <= 400 for pair in places for place in pair)
