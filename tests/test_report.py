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


SECTIONS = "answers scorecard samples choose calls trajectories losses cost limits reproduce"


def attributes(read, tag):
    """The attributes of all tags of a name."""
    return [attrs for name, attrs in read.tags if name == tag]


def frames_of(read):
    """The number of frames of each animation by its class."""
    frames = {}
    for _, attrs in read.tags:
        if "data-frames" in attrs:
            frames[attrs["class"]] = int(attrs["data-frames"])
    return frames


def test_page_of_images(content, digit_pictures):
    page = report(content, digit_pictures).to_html()
    read = check_page(page)
    assert "http://" not in page
    assert "https://" not in page
    assert set(SECTIONS.split()) <= set(read.ids)
    assert len(attributes(read, "img")) == 5
    classes = [attrs.get("class", "") for attrs in attributes(read, "figure")]
    jumps = [name for name in classes if "jump" in name]
    assert len(jumps) == 2, "gan and vae have no formation"
    formations = {"sprite f0": 11, "sprite f1": 11}
    trainings = {f"sprite t{i}": 6 for i in range(4)}
    assert frames_of(read) == formations | trainings
    assert content["commands"][0] in read.text
    assert content["data"]["fingerprint"] in read.text


def test_a_notebook_shows_tables_and_signs_that_need_no_style_sheet(content):
    made = report(content)
    comparison = made.comparison
    html = made._repr_html_()
    assert comparison._repr_html_() == html
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', html, re.DOTALL)
    assert "real data" in [head for head, _ in rows], "beside what real data scores"
    colours = {}
    cells_of = {}
    for head, cells in rows:
        sign = re.search('width="12" height="12" fill="(#[0-9a-f]{6})"', head)
        if sign:
            name = head.split("</svg>")[1].split()[0]
            colours[name] = sign[1]
            cells_of[name] = cells_of.get(name, "") + cells
    assert list(colours) == [model.name for model in comparison.models]
    assert len(set(colours.values())) == len(colours)
    for model in comparison.models:
        for metric in model.scores:
            cell = tables.score_cell(comparison, model, metric)
            assert cell.value in cells_of[model.name]
            assert (cell.interval or cell.spread) in cells_of[model.name]


@pytest.mark.parametrize(
    ("largest", "pictures", "animations", "left_out"),
    [
        (8_000_000, 9, 16, []),
        (600_000, 9, 0, ["The animations"]),
        (300_000, 0, 0, ["The pictures"]),
    ],
)
def test_many_models_never_make_the_page_too_large(
    content, monkeypatch, largest, pictures, animations, left_out
):
    """Fewer and smaller pictures first, then no animations, then no pictures, and the page
    says so.
    """
    monkeypatch.setattr("pushforward.report.page.LARGEST", largest)
    rng = np.random.default_rng(4)
    grid = rng.integers(0, 256, (36, 64, 64, 3), dtype=np.uint8)
    frames = [(t, grid[:16]) for t in np.linspace(1, 0, 7)]
    content["models"] = []
    shown = {"real": {"grid": grid}}
    for i in range(8):
        name = f"flow {i}"
        content["models"].append(make_model("flow") | {"name": name, "losses": {}})
        shown[name] = {"grid": grid, "formation": frames, "training": frames}
    html = report(content, shown).to_html()
    read = check_page(html)
    assert len(html.encode()) <= largest
    assert len(attributes(read, "img")) == pictures
    assert len(frames_of(read)) == animations
    said = re.findall("(The animations|The pictures) were left out", read.text)
    assert said == left_out


EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)> & \'"$title'


def with_hostile_names(content):
    """The content with markup in every text that users choose."""
    content["title"] = EVIL
    content["data"]["name"] = EVIL
    content["commands"][0] = EVIL
    content["data"]["classes"] = [EVIL, "\u2028", "\ue000a\ue001"]
    content["settings"] |= {"features": EVIL, "budget": EVIL}
    content["machine"][EVIL] = EVIL
    content["metrics"]["frechet"] |= {"label": EVIL, "what": EVIL}
    content["baseline"]["name"] = EVIL
    losses = {EVIL: {"step": [1, 2], "value": [1, 2]}}
    for entry in content["models"]:
        entry["name"] += EVIL
        entry |= {"family": EVIL, "run": EVIL, "warnings": [EVIL], "losses": losses}
        entry["sampling"]["solver"] = EVIL
        entry["other_parameters"] = {EVIL: 3}


def test_hostile_names_stay_text(content, digit_pictures):
    pictures = {"real": digit_pictures["real"]}
    for entry in content["models"]:
        name = entry["name"]
        pictures[name + EVIL] = digit_pictures[name]
    with_hostile_names(content)
    page = report(content, pictures).to_html()
    read = check_page(page)
    assert len(attributes(read, "script")) == 2
    assert len(attributes(read, "img")) == 5
    assert EVIL in read.text
    embedded = re.search(r'id="report-data">(.*?)</script>', page, re.S)[1]
    assert json.loads(embedded) == comparison(content).to_plain()
    for _, attrs in read.tags:
        assert "onerror" not in attrs
    text = report(content).to_markdown().split("```")[0]
    assert not re.search(r"(?<!\\)<(script|img)", text)


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


def shortened(content, path):
    """Comparisons without a field and with null in its place."""
    for null in (False, True):
        yield comparison(without(content, path, null))


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
        for short in shortened(content, path):
            if short in drawn[-2:]:
                continue  # the field had its default, or null is read as nothing
            drawn.append(short)
            text = Report(short).to_markdown()
            assert "None" not in text, path
            other_words = re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", text.lower())
            assert "nan" not in other_words, path
            page = Report(short).to_html()
            if "None" in page:  # reading a page takes longer than drawing it
                assert "None" not in Reader(page).text, path


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
    height, width = grid.shape[:2]
    assert height == 2 * 7 + 1
    assert width == 3 * 4 + 2
    grid = grid.reshape(height, width, channels)
    np.testing.assert_array_equal(grid[8:15, 5:9], images[4])
    assert (grid[7] == 255).all()


def plane(steps=8):
    return Flow(Mixture(VP(), [list(MEAN)], STD), Heun(), steps)


def rows_of(space, n=60):
    normal = np.random.default_rng(0).normal(size=(n, 2))
    rows = np.array(MEAN) + STD * normal
    split = Split(rows.astype(np.float32))
    return Dataset("rows", space, split, split)


def cell_centres(low, high, count):
    """The centres of equal cells of an interval."""
    return low + (high - low) * (np.arange(count) + 0.5) / count


def deviation(t):
    """The standard deviation of the points at a time of the straight path."""
    return math.hypot((1 - t) * STD, t)


def test_velocities_and_trajectories_are_those_of_the_closed_form():
    """x_t = (1 - t) m + s(t) z with s^2 = (1 - t)^2 std^2 + t^2, on the straight path, whatever
    path the model knows.
    """
    flow = plane()
    field = field_of(flow, rows_of(flow.space))
    left, right, low, high = field.limits
    assert right - left == pytest.approx(high - low)
    side = field.velocities.shape[2]
    columns = cell_centres(left, right, side)
    rows = cell_centres(low, high, side)
    x = np.stack(np.meshgrid(columns, rows), axis=-1)
    mean = np.array(MEAN)
    for number, t in enumerate(field.times[1:-1], 1):
        growth = (t - (1 - t) * STD**2) / deviation(t) ** 2
        velocity = -mean + growth * (x - (1 - t) * mean)
        np.testing.assert_allclose(field.velocities[0, number], -velocity, atol=2e-3)
    starts = field.ways[0, :, :, 0]
    ends = field.ways[0, :, :, -1]
    np.testing.assert_allclose(ends, mean + STD * starts, atol=0.03)
    assert field.classes == ("",)


def test_points_form_at_the_same_times_and_end_as_the_samples():
    flow = plane()
    samples = flow.sample(5)
    frames = formation_of(flow, samples, 5)
    times = [t for t, _ in frames]
    assert times == pytest.approx(np.linspace(1, 0, 24).tolist())
    np.testing.assert_array_equal(frames[-1][1], samples.numpy())
    t, middle = frames[11]
    assert t == pytest.approx(12 / 23)
    z = frames[0][1]
    expected = (1 - t) * np.array(MEAN) + deviation(t) * z
    np.testing.assert_allclose(middle, expected, atol=0.02)
