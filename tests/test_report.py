"""The report's page: whole, safe and self-contained, whatever it is of, and its pictures."""

from __future__ import annotations

import copy
import json
import math
import re

import numpy as np
import pytest
from programs.report_pages import Reader, check_page, of_digits
from programs.reporting import comparison, losses, make_model, report

from pushforward.data.core.dataset import Dataset, Split
from pushforward.evaluation.pictures import field_of, formation_of
from pushforward.paths import VP
from pushforward.pictures import grid_picture
from pushforward.report import Report, tables
from pushforward.solvers import Heun
from pushforward.testing import Mixture
from pushforward.transports import Flow


@pytest.fixture(scope="module")
def digit_pictures():
    return of_digits()


def test_page_of_images(content, digit_pictures):
    page = report(content, digit_pictures).to_html()
    read = check_page(page)
    assert "http://" not in page
    assert "https://" not in page
    for wanted in (
        "answers",
        "scorecard",
        "samples",
        "choose",
        "calls",
        "trajectories",
        "losses",
        "cost",
        "limits",
        "reproduce",
    ):
        assert wanted in read.ids
    count = len([tag for tag, _ in read.tags if tag == "img"])
    assert count == 5
    jumps = [
        attrs for tag, attrs in read.tags if tag == "figure" and "jump" in attrs.get("class", "")
    ]
    assert len(jumps) == 2, "gan and vae have no formation"
    frames = {
        attrs["class"]: attrs["data-frames"] for _, attrs in read.tags if "data-frames" in attrs
    }
    assert frames == {"sprite f0": "11", "sprite f1": "11"} | {
        f"sprite t{i}": "6" for i in range(4)
    }
    assert content["commands"][0] in read.text
    assert content["data"]["fingerprint"] in read.text


def test_a_notebook_shows_tables_and_signs_that_need_no_style_sheet(content):
    made = report(content)
    assert made.comparison._repr_html_() == made._repr_html_()
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', made._repr_html_(), re.DOTALL)
    signs = {
        name: re.search('width="12" height="12" fill="(#[0-9a-f]{6})"', name) for name, _ in rows
    }
    colours = {name.split("</svg>")[1].split()[0]: sign[1] for name, sign in signs.items() if sign}
    assert list(colours) == [model.name for model in made.comparison.models]
    assert len({*colours.values()}) == len(colours)
    assert [cells for name, cells in rows if name == "real data"], "beside what real data scores"
    for model in made.comparison.models:
        cells = "".join(cells for name, cells in rows if f"</svg>{model.name}" in name)
        for cell in (tables.score_cell(made.comparison, model, metric) for metric in model.scores):
            assert cell.value in cells
            assert (cell.interval or cell.spread) in cells


@pytest.mark.parametrize(
    ("largest", "pictures", "animations"), [(8_000_000, 9, 16), (600_000, 9, 0), (300_000, 0, 0)]
)
def test_many_models_never_make_the_page_too_large(
    content, monkeypatch, largest, pictures, animations
):
    """Fewer and smaller pictures first, then no animations, then no pictures, and the page
    says so.
    """
    from pushforward.report import page as module

    rng = np.random.default_rng(4)
    grid = rng.integers(0, 256, (36, 64, 64, 3), dtype=np.uint8)
    frames = [(t, grid[:16]) for t in np.linspace(1, 0, 7)]
    content["models"] = [make_model("flow") | {"name": f"flow {i}", "losses": {}} for i in range(8)]
    shown = {
        entry["name"]: {"grid": grid, "formation": frames, "training": frames}
        for entry in content["models"]
    }
    monkeypatch.setattr(module, "LARGEST", largest)
    html = report(content, shown | {"real": {"grid": grid}}).to_html()
    read = check_page(html)
    assert len(html.encode()) <= largest
    count = len([tag for tag, _ in read.tags if tag == "img"])
    assert count == pictures
    count = len([1 for _, attrs in read.tags if "data-frames" in attrs])
    assert count == animations
    left_out = {(9, 0): "The animations", (0, 0): "The pictures"}.get((pictures, animations))
    actual = re.findall("(The animations|The pictures) were left out", read.text)
    assert actual == ([] if left_out is None else [left_out])


def test_hostile_names_stay_text(content, digit_pictures):
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)> & \'"$title'
    content["title"] = content["data"]["name"] = content["commands"][0] = evil
    content["data"]["classes"] = [evil, "\u2028", "\ue000a\ue001"]
    content["settings"] |= {"features": evil, "budget": evil}
    content["machine"][evil] = evil
    content["metrics"]["frechet"] |= {"label": evil, "what": evil}
    pictures = dict(digit_pictures)
    for entry in content["models"]:
        pictures[entry["name"] + evil] = pictures.pop(entry["name"])
        entry |= {
            "name": entry["name"] + evil,
            "family": evil,
            "run": evil,
            "warnings": [evil],
            "losses": {evil: {"step": [1, 2], "value": [1, 2]}},
        }
        entry["sampling"]["solver"] = evil
        entry["other_parameters"] = {evil: 3}
    content["baseline"]["name"] = evil
    page = report(content, pictures).to_html()
    read = check_page(page)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("script") == 2
    assert tags.count("img") == 5
    assert evil in read.text
    actual = json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.S)[1])
    assert actual == comparison(content).to_plain()
    assert "onerror" not in [name for _, attrs in read.tags for name in attrs]
    text = report(content).to_markdown()
    assert not re.search(r"(?<!\\)<(script|img)", text.split("```")[0])


def every_path(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from every_path(value[key], (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from every_path(value[0], (*path, 0))


def without(content, path, null):
    """The content without what is at a path, or with null there; all beside the path is shared."""
    changed = copy.copy(content)
    first, *rest = path
    if rest:
        changed[first] = without(changed[first], rest, null)
    elif null:
        changed[first] = None
    else:
        changed.pop(first)
    return changed


def test_any_field_may_be_missing(content):
    """A page is drawn without each field of a comparison of two models, and with null in its place
    where that reads otherwise.
    """
    del content["models"][2:]
    for entry in content["models"]:
        entry["losses"] = losses(entry["family"], steps=12)
    paths = [path for path in every_path(content) if path and path != ("format_version",)][::4]
    assert len(paths) > 25
    assert "None" not in report(content).to_markdown()
    drawn = []
    for path in paths:
        for short in (comparison(without(content, path, null)) for null in (False, True)):
            if short in drawn[-2:]:
                continue  # the field had its default, or null is read as nothing
            drawn.append(short)
            page = Report(short).to_html()
            text = Report(short).to_markdown()
            assert "None" not in text, path
            assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", text.lower()), path
            assert "None" not in page or "None" not in Reader(page).text, (
                path
            )  # reading a page takes longer than drawing it


def test_nothing_at_all_is_a_page():
    read = check_page(report({}).to_html())
    assert "No score" in read.text
    assert report({"models": [{}, {"name": "a"}]}).to_markdown()


MEAN = (0.5, -0.3)
STD = 0.4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grids_put_each_image_in_its_place(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 4, channels), dtype=np.uint8)
    grid = np.asarray(grid_picture(images, columns=3, gap=1))
    assert grid.shape[:2] == (2 * 7 + 1, 3 * 4 + 2)
    grid = grid.reshape(*grid.shape[:2], channels)
    np.testing.assert_array_equal(grid[8:15, 5:9], images[4])
    assert (grid[7] == 255).all()


# Axes and bars
# --------------------------------------------------------------------------------------------------


# Points in the plane
# --------------------------------------------------------------------------------------------


def plane(steps=8):
    return Flow(Mixture(VP(), [list(MEAN)], STD), Heun(), steps)


def rows_of(space, n=60):
    split = Split(
        (np.array(MEAN) + STD * np.random.default_rng(0).normal(size=(n, 2))).astype(np.float32)
    )
    return Dataset("rows", space, split, split)


def test_velocities_and_trajectories_are_those_of_the_closed_form():
    """x_t = (1 - t) m + s(t) z with s^2 = (1 - t)^2 std^2 + t^2, on the straight path, whatever
    path the model knows.
    """
    flow = plane()
    field = field_of(flow, rows_of(flow.space))
    left, right, low, high = field.limits
    assert right - left == pytest.approx(high - low)
    side = field.velocities.shape[2]
    mean = np.array(MEAN)
    share = (np.arange(side) + 0.5) / side
    x = np.stack(np.meshgrid(left + share * (right - left), low + share * (high - low)), axis=-1)
    for number, t in enumerate(field.times[1:-1], 1):
        s = math.hypot((1 - t) * STD, t)
        moved = -mean + (t - (1 - t) * STD**2) / s**2 * (x - (1 - t) * mean)
        np.testing.assert_allclose(field.velocities[0, number], -moved, atol=2e-3)
    starts = field.ways[0, :, :, 0]
    ends = field.ways[0, :, :, -1]
    np.testing.assert_allclose(ends, mean + STD * starts, atol=0.03)
    assert field.classes == ("",)


def test_points_form_at_the_same_times_and_end_as_the_samples():
    flow = plane()
    samples = flow.sample(5)
    frames = formation_of(flow, samples, 5)
    assert [t for t, _ in frames] == pytest.approx(np.linspace(1, 0, 24).tolist())
    np.testing.assert_array_equal(frames[-1][1], samples.numpy())
    half = {round(t, 3): x for t, x in frames}[round(12 / 23, 3)]
    z = frames[0][1]
    t = 12 / 23
    expected = (1 - t) * np.array(MEAN) + math.hypot((1 - t) * STD, t) * z
    np.testing.assert_allclose(half, expected, atol=0.02)
