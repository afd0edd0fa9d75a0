"""Looking into latent spaces."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.editing.interpolation import walk
from pushforward.errors import UsageError
from pushforward.evaluation.measurements import LatentStatistics
from pushforward.evaluation.pictures import (
    arithmetic,
    code_map,
    code_statistics,
    labelled,
    latent_pictures,
    reconstructed,
    strip,
)
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import Report
from pushforward.report.curves import units
from pushforward.report.samples import code_chart
from pushforward.testing import space_data
from pushforward.transports import Autoencoder


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
    coder, space = plain_coder(data), data.space
    both = strip(coder, data, 7)
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-6)
    a, b = both[0, 0], both[0, 1]
    torch.testing.assert_close(
        walk(coder, a, b, 5), torch.lerp(a, b, torch.linspace(0, 1, 5).reshape(5, 1, 1, 1)), rtol=0, atol=1e-5
    )
    assert not torch.allclose(walk(coder, a, b, 5), walk(coder, a, b, 5, interpolation="spherical"), atol=1e-2)
    moved = arithmetic(coder, data, 0, 2, examples=3, frames=4)
    x, label = data.train.data_units(), data.train.labels
    way = x[label == 2].mean(0) - x[label == 0].mean(0)
    held = data.held_out.data_units(np.flatnonzero(data.held_out.labels == 0)[:3])
    wanted = held[:, None] + torch.linspace(0, 1.5, 4).reshape(1, 4, 1, 1, 1) * way
    torch.testing.assert_close(moved, wanted.clamp(0, 1), rtol=0, atol=1e-5)
    plane = code_map(coder, data)
    rows = space.to_model(data.held_out.data_units()).flatten(1).double().numpy()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert plane.share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    np.testing.assert_allclose(np.sort(plane.points.std(0)), np.sort(values[:2] / np.sqrt(len(rows))), rtol=1e-6)
    assert sorted(plane.labels.tolist()) == sorted(data.held_out.labels.tolist())


def test_codes_of_two_numbers_are_drawn_as_they_are_and_of_one_not_at_all():
    data = space_data((2,), labels=False)
    plane = code_map(plain_coder(data), data)
    assert plane.share == 1
    assert plane.labels is None
    rows = data.space.to_model(data.held_out.data_units()).numpy()
    np.testing.assert_allclose(np.sort(plane.points, 0), np.sort(rows, 0), atol=1e-6)
    single = space_data((1,), labels=False)
    assert code_map(plain_coder(single), single) is None


def test_what_cannot_be_looked_at_is_refused():
    data = space_data((1, 4, 5), labels=True)
    told_labels = Autoencoder(Same(), Back(), data.space)
    with pytest.raises(UsageError, match="receives the labels"):
        arithmetic(told_labels, data, 0, 1)
    with pytest.raises(UsageError, match="no labels"):
        arithmetic(plain_coder(data), data.without_labels(), 0, 1)
    with pytest.raises(UsageError, match="at least 2 frames"):
        walk(plain_coder(data), data.train.data_units(0), data.train.data_units(1), 1)


def test_active_units_are_those_that_are_seen_to_carry_something():
    """A mean of variance v costs v / 2 nats at least: units above the published .01 lie above .005, on a chart that shows it."""
    data = space_data((4,), labels=False, n=400)
    scale = torch.tensor([0.05, 0.11, 0.5, 2.0])
    statistics = code_statistics(Autoencoder(Scaled(scale), Back(), data.space), data)
    variance = scale**2 * data.space.to_model(data.held_out.data_units()).var(0)
    assert statistics.active == int((variance > 0.01).sum()) == 3
    assert sum(unit >= 0.005 for unit in statistics.by_unit) == 3
    model = ModelResult("vae", latent=LatentStatistics(code=statistics))
    chart = units(Comparison("codes", models=(model,))).svg
    heights = [float(y) for y in re.findall(r'<circle cx=".*?" cy="(.*?)"', chart)]
    assert np.diff(heights).min() > 5, "each unit can be told from the next"


def test_the_command_line_shows_codes_and_the_report_draws_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--data", "digits", "--limit", "200", "--size", "tiny", "--steps", "60"]
    assert main(["train", "vae", *small, "--condition", "none", "--out", "vae"]) == 0
    assert main(["train", "gan", *small[:-1], "2", "--out", "gan"]) == 0
    for what, more, size in (("reconstructions", ["--frames", "6"], (6, 2)), ("arithmetic", ["--groups", "4,9"], (9, 6))):
        assert main(["interpolate", "vae", "--show", what, *more, "--out", f"{what}.png"]) == 0
        width, height = Image.open(f"{what}.png").size
        assert (width + 2) // 66 == size[0]
        assert (height + 2) // 66 == size[1]
    assert main(["interpolate", "vae", "--show", "map", "--out", "map.png"]) == 0
    assert main(["interpolate", "vae", "--show", "map"]) == 0
    assert (tmp_path / "vae" / "samples" / "map.png").is_file()
    capsys.readouterr()
    for words, said in (
        (["gan", "--show", "map"], "no codes"),
        (["vae", "--show", "arithmetic"], "--groups 4,9"),
        (["vae", "--show", "arithmetic", "--groups", "4,eleven"], "no class"),
        (["vae", "--show", "map", "--out", "map.png"], "exists"),
    ):
        assert main(["interpolate", *words]) == 2
        assert said in capsys.readouterr().err
    run, data = pf.load("vae"), pf.data.load("digits", limit=200, labelled=False)
    assert labelled(data).space.classes
    pictures = latent_pictures(run, data)
    assert pictures.arithmetic.x.shape[1:] == (8, 8, 1)
    assert set(pictures.walks) == {"linear", "spherical"}
    comparison = pf.compare({"vae": run, "gan": pf.load("gan")}, pf.data.load("digits", limit=200), repeats=1)
    page = Report(comparison).to_html()
    for words in (
        "What the codes hold",
        "Active units",
        "unit of the code",
        "Map of the codes",
        "A walk",
        "Reconstructions",
    ):
        assert words in page
    assert comparison["gan"].latent is None
    alone = dataclasses.replace(comparison, models=comparison.models[1:])
    assert "What the codes hold" not in Report(alone).to_html()


@pytest.fixture(scope="module")
def told_labels(tmp_path_factory):
    """A run of a VAE that receives labels, with its data."""
    data = pf.data.load("digits", limit=200)
    folder = tmp_path_factory.mktemp("told") / "vae"
    return pf.fit(pf.recipes.vae(data.space, size="tiny"), data, steps=20, out=folder), data


def test_a_coder_that_is_told_labels_walks_within_one_class(told_labels):
    run, data = told_labels
    pictures = latent_pictures(run, data)
    assert pictures.arithmetic is None
    first, last = (pictures.walks["linear"][at].astype(float) for at in (0, -1))
    coder, held = run.method.autoencoder().eval(), data.held_out
    x = held.data_units(np.arange(len(held)))
    decoded = reconstructed(coder, x, {"label": torch.from_numpy(held.labels)})
    decoded = data.space.quantise(decoded).astype(float)
    from_, to = (int(np.abs(decoded - end).mean((1, 2, 3)).argmin()) for end in (first, last))
    assert held.labels[from_] == held.labels[to]
    assert from_ != to
    np.testing.assert_allclose(decoded[from_], first, atol=1)
    np.testing.assert_allclose(decoded[to], last, atol=1)
    np.testing.assert_array_equal(data.space.quantise(x[[from_]])[0], pictures.strip[0])
    page = Report(pf.compare({"vae": run}, data, repeats=1)).to_html()
    assert "A walk" in page


def test_codes_under_another_prior_have_no_divergence_from_a_normal_one():
    data = space_data((1, 8, 8), labels=False)
    for name in ("hvae", "autoencoder"):
        coder = pf.recipes.named(name)(data.space, "tiny").method.autoencoder()
        statistics = code_statistics(coder, data)
        assert (statistics.kl, statistics.mismatch, statistics.by_unit) == (None, None, ())
        assert 0 <= statistics.active <= statistics.units


def test_a_map_of_codes_holds_all_of_them():
    chart, _ = code_chart(np.array([[0.0, 1.0], [4.0, 5.0]]), None, [], "codes")
    places = re.findall(r'c[xy]="(-?\d+)"', chart)
    assert len(places) == 4
    assert all(0 <= int(place) <= 400 for place in places)
