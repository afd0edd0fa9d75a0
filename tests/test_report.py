"""The report: what it says of planted faults, and that the page is whole, safe and self-contained."""

from __future__ import annotations

import copy
import dataclasses
import html.parser
import json
import os
import re

import numpy as np
import pytest

from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.aggregate import aggregated
from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.results import Comparison, ModelResult, Score
from pushforward.metrics import MetricInfo, describe
from pushforward.numbers import duration, measured, percent, plain, quantity
from pushforward.pictures import grid_picture, scatter_picture, tick_texts, write_gif
from pushforward.report import Report, captions, costs, sentences, statistics, tables
from pushforward.report import limits as stated
from pushforward.report.charts import Series, line_chart
from pushforward.report.path_charts import CROSS
from pushforward.report.sprites import Look
from pushforward.report.text import score_parts, scores_text
from pushforward.report.text import text as as_text
from pushforward.report.verdict import verdict

ABOUT = {
    "frechet": ("Fréchet distance", "lower", 0.100, 0.010),
    "kid": ("KID", "lower", 0.00002, 0.00030),
    "precision": ("Precision", "higher", 0.80, 0.02),
    "recall": ("Recall", "higher", 0.78, 0.02),
    "density": ("Density", "target", 1.0, 0.03),
    "coverage": ("Coverage", "higher", 0.960, 0.010),
    "near_copies": ("Near-copies", "lower", 0.004, 0.003),
    "sharpness": ("Sharpness", "target", 1.0, 0.01),
}
VALUES = {
    name: dict(zip(ABOUT, numbers, strict=True))
    for name, numbers in {
        "flow": (0.13, 0.0004, 0.79, 0.77, 0.98, 0.95, 0.003, 1.02),
        "ddpm": (0.21, 0.0011, 0.76, 0.77, 0.94, 0.942, 0.002, 1.05),
        "gan": (0.44, 0.0035, 0.75, 0.68, 0.9, 0.88, 0.004, 0.98),
        "vae": (0.92, 0.0081, 0.74, 0.69, 1.1, 0.79, 0.0, 0.88),
    }.items()
}
FAMILIES = {"flow": "flow matching", "ddpm": "diffusion", "gan": "GAN", "vae": "VAE"}
BASE = dict(zip(ABOUT, (1.9, 0.02, 0.5, 0.7, 0.5, 0.74, 0.0, 1.3), strict=True))
SPREADS = {"near_copies": 0.001, "kid": 0.0002}


def comparison(content, pictures=None):
    """The comparison of a JSON file's content, with arrays given as dicts."""
    given = json.loads(json.dumps({"format_version": 2} | content).replace("NaN", "null"))
    shown = {name: Pictures(**arrays) for name, arrays in (pictures or {}).items()}
    return dataclasses.replace(Comparison.from_plain(given), pictures=shown)


def report(content, pictures=None):
    return Report(comparison(content, pictures))


def scorecards(content):
    return tables.scorecards(comparison(content))


def pooled(content, pictures):
    aggregate = aggregated(comparison(content, pictures))
    return aggregate.to_plain(), aggregate.pictures


def score(value, spread, floor):
    rng = np.random.default_rng(3)
    return {
        "value": value,
        "spread": spread,
        "values": (value + spread * rng.normal(size=3)).tolist(),
        "ratio": value / floor if floor else None,
    }


def metrics(declared=ABOUT):
    """Their real places in the report; the targets are those of the floors."""
    return {
        name: dataclasses.replace(
            describe().get(name, MetricInfo()), label=label, better=better, target=None, what=f"What {label} is."
        ).to_plain()
        for name, (label, better, _, _) in declared.items()
    }


def floors(declared=ABOUT):
    return {name: {"value": value, "spread": spread} for name, (_, _, value, spread) in declared.items()}


def losses(family, steps=300):
    rng, step = np.random.default_rng(5), np.arange(0, steps * 10, 10)
    fall = 0.3 + 0.9 * np.exp(-step / 300) + 0.04 * rng.normal(size=steps)
    if family != "GAN":
        return {"model": {"step": step.tolist(), "value": fall.tolist()}}
    other = 0.69 + 0.1 * np.sin(step / 400) + 0.05 * rng.normal(size=steps)
    return {
        "critic": {"step": step.tolist(), "value": fall.tolist()},
        "generator": {"step": step.tolist(), "value": other.tolist()},
    }


def trajectory(name):
    worse = 0.1 if name == "ddpm" else 0.0
    levels = [9.0, 4.5, 0.0, -4.5, -9.0][: 4 if name == "ddpm" else 5]
    rows = [{"log_snr": level, "error": 0.4 + worse + level**2 / 100, "spread": 0.012} for level in levels]
    return {"n": 250, "straightness": 0.125 + 10 * worse, "npe": None, "loss_by_level": rows}


def timing(seconds, low=0.99, high=1.01):
    return {"batch": 64, "low": low * seconds, "high": high * seconds, "values": [seconds] * 7}


def make_model(name):
    family = FAMILIES[name]
    iterative = name in ("flow", "ddpm")
    calls = {"flow": 19, "ddpm": 20}.get(name, 1)
    curve = [
        {
            "calls": 2 * k - 1 if name == "flow" else k,
            "steps": k,
            "scores": {"frechet": 0.12 + 2.0 / k**1.5, "coverage": 0.95 - 0.5 / k},
        }
        for k in (1, 2, 4, 8, 16, 32)
    ]
    return {
        "name": name,
        "family": family,
        "method": "Denoising" if iterative else family,
        "conditioned": ["label"],
        "run": f"runs/{name}",
        "seed": 0,
        "parameters": {"flow": 402_314, "ddpm": 402_314, "gan": 388_120, "vae": 410_442}[name],
        "other_parameters": {"critic": 391_000} if name == "gan" else {},
        "training": {
            "seconds": 60.2,
            "steps": 2990,
            "samples": 382_720 * (2 if name == "vae" else 1),
            "precision": "float32",
            "batch": 128,
            "samples_per_second": 6357.0,
            "memory_mb": 21.0,
        },
        "sampling": {
            "solver": {"flow": "Heun", "ddpm": "DDIM"}.get(name),
            "steps": {"flow": 10, "ddpm": 20}.get(name),
            "calls": calls,
            "seconds_per_sample": 0.00021 * calls,
            "timing": timing(0.00021 * calls),
            "flops_per_sample": 3_100_000 * calls,
            "memory": {"mb": 3.2, "batch": 64},
        },
        "scores": {m: score(v, SPREADS.get(m, 0.008), ABOUT[m][2]) for m, v in VALUES[name].items()},
        "curve": curve if iterative else [],
        "trajectory": trajectory(name) if iterative else None,
        "losses": losses(family),
        "label_agreement": 0.97,
        "warnings": [],
        "commands": [f"pushforward train {name} --data digits --budget 60s --seed 0"],
    }


@pytest.fixture(scope="module")
def whole():
    return {
        "format_version": 2,
        "title": "gan, vae, ddpm, flow on digits",
        "created": "2026-11-24",
        "data": {
            "name": "digits",
            "shape": [1, 8, 8],
            "kind": "image",
            "classes": [str(i) for i in range(10)],
            "columns": [],
            "train": 1437,
            "held_out": 360,
            "fingerprint": "9f2c" * 16,
        },
        "settings": {
            "n": 360,
            "repeats": 3,
            "seeds": 1,
            "budget": "60s",
            "k": 5,
            "features": "classifier, 36 dimensions, held-out accuracy 0.98",
            "shared": [],
        },
        "machine": {"cpu": "AMD EPYC", "cores": 2, "torch": "2.13.0", "python": "3.11.2", "platform": "Linux"},
        "metrics": metrics(),
        "floors": floors(),
        "models": [make_model(name) for name in VALUES],
        "baseline": {
            "name": "no network (one Gaussian per class)",
            "scores": {m: score(v, SPREADS.get(m, 0.01), ABOUT[m][2]) for m, v in BASE.items()},
        },
        "commands": ["pushforward compare gan vae ddpm flow --data digits --budget 60s"],
    }


@pytest.fixture
def content(whole):
    return copy.deepcopy(whole)


@pytest.fixture(scope="module")
def digit_pictures():
    from sklearn.datasets import load_digits

    rng, x = np.random.default_rng(0), load_digits().images[..., None] / 16
    pictures = {"real": {"grid": (x[:64] * 255).astype(np.uint8)}}
    for i, name in enumerate(VALUES):
        data = np.clip(x[100 + 64 * i : 164 + 64 * i] + (0.02 + 0.03 * i) * rng.normal(size=(64, 8, 8, 1)), 0, 1)
        noise = rng.normal(size=(16, 8, 8, 1)) * 0.5 + 0.5
        mix = [(float(t), np.clip((1 - t) * data[:16] + t * noise, 0, 1)) for t in np.linspace(1, 0, 11)]
        history = [
            (500 * k, (255 * np.clip(data[:64] + rng.normal(size=data.shape) / (1 + 2 * k), 0, 1)).astype(np.uint8))
            for k in range(6)
        ]
        pictures[name] = {
            "grid": (data * 255).astype(np.uint8),
            "formation": [(t, (255 * frame).astype(np.uint8)) for t, frame in mix] if name in ("flow", "ddpm") else None,
            "training": history,
        }
    return pictures


@pytest.fixture(scope="module")
def toy_pictures():
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)

    def draw(n, modes, width):
        return (centres[rng.integers(0, modes, n)] + width * rng.normal(size=(n, 2))).astype(np.float32)

    pictures = {"real": {"grid": draw(1000, 8, 0.05)}}
    for name, modes, width in (("flow", 8, 0.06), ("ddpm", 8, 0.08), ("gan", 6, 0.03), ("vae", 8, 0.2)):
        data = draw(1000, modes, width)
        noise = rng.normal(size=(600, 2))
        path = [(float(t), ((1 - t) * data[:600] + t * noise).astype(np.float32)) for t in np.linspace(1, 0, 9)]
        lines = np.stack([data[:60] + t * noise[:60] for t in np.linspace(1, 0, 9)], axis=1)
        iterative = name in ("flow", "ddpm")
        pictures[name] = {"grid": data, "formation": path if iterative else None, "paths": lines if iterative else None}
    return pictures


def toy_content(content):
    content["title"] = "gan, vae, ddpm, flow on ring"
    content["data"] |= {"name": "ring", "shape": [2], "kind": "vector", "classes": [], "columns": ["x", "y"]}
    content["settings"]["shared"] = [list(VALUES)]
    for entry, npe in zip(content["models"], (0.31, 0.48), strict=False):
        entry["trajectory"]["npe"] = npe
    more = {
        "modes_held": ("Modes held", "higher", 8.0, 0.0),
        "bridges": ("Bridges", "lower", 0.001, 0.001),
        "spread": ("Spread", "target", 1.0, 0.02),
    }
    content["metrics"] = {k: v for k, v in content["metrics"].items() if k != "sharpness"} | metrics(more)
    content["floors"] = {k: v for k, v in content["floors"].items() if k != "sharpness"} | floors(more)
    modes = {"flow": (8, 0.01, 1.05), "ddpm": (8, 0.02, 1.1), "gan": (6, 0.005, 0.6), "vae": (8, 0.2, 1.8)}
    for row in content["models"]:
        held, bridges, spread = modes[row["name"]]
        row["scores"].pop("sharpness")
        row["scores"] |= {
            "modes_held": score(held, 0.0, 8),
            "bridges": score(bridges, 0.002, 0.001),
            "spread": score(spread, 0.01, 1),
        }
    return content


def model(content, name):
    return next(entry for entry in content["models"] if entry["name"] == name)


def put(content, name, metric, mean):
    """Another value, with its ratio to the floor."""
    row = content["baseline"] if name == "baseline" else model(content, name)
    row["scores"][metric] |= {"value": mean, "ratio": mean / ABOUT[metric][2]}


def said(content, kind=None):
    return [sentence.text for sentence in verdict(comparison(content)) if kind in (None, sentence.kind)]


class Reader(html.parser.HTMLParser):
    """Collects tags, addresses that would be loaded, and text outside scripts and styles."""

    void = ("meta", "link", "img", "input", "br", "circle", "polygon", "line", "path", "rect")

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.loads, self.ids, self.hrefs, self.text = [], [], [], [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "action", "data", "xlink:href") or (name == "href" and tag == "link"):
                self.loads.append(value)
            if name == "id":
                self.ids.append(value)
            if name == "href" and tag == "a":
                self.hrefs.append(value)
            assert not name.startswith("on"), f"inline handler {name}"
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def check_page(page):
    """Whole, well nested, self-contained, small; returns what it holds."""
    read = Reader(page)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert all(address.startswith("data:") for address in read.loads), read.loads
    assert all(address.startswith(("#", "data:text/csv")) for address in read.hrefs)
    assert all(address.removeprefix("#") in read.ids for address in read.hrefs if address.startswith("#"))
    styles = " ".join(re.findall(r"<style>(.*?)</style>", page, re.S)) + " ".join(re.findall(r'style="([^"]*)"', page))
    assert all(address.strip("'\"").startswith("data:") for address in re.findall(r"url\(([^)]*)\)", styles))
    assert "@import" not in styles
    assert all("alt" in attrs for tag, attrs in read.tags if tag == "img")
    assert len(page.encode()) < 8_000_000
    return read


# The page ------------------------------------------------------------------------------------------------------


def test_page_of_images(content, digit_pictures):
    page = report(content, digit_pictures).to_html()
    read = check_page(page)
    assert "http://" not in page
    assert "https://" not in page
    for wanted in (
        "verdict",
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
    assert len([tag for tag, _ in read.tags if tag == "img"]) == 5
    jumps = [attrs for tag, attrs in read.tags if tag == "figure" and "jump" in attrs.get("class", "")]
    assert len(jumps) == 2, "gan and vae have no formation"
    frames = {attrs["class"]: attrs["data-frames"] for _, attrs in read.tags if "data-frames" in attrs}
    assert frames == {"sprite f0": "11", "sprite f1": "11"} | {f"sprite t{i}": "6" for i in range(4)}
    assert "not a measure" in read.text or "no measure of quality" in read.text
    assert "same seeds" in read.text
    assert content["commands"][0] in read.text
    assert content["data"]["fingerprint"] in read.text


def test_sprites_hold_the_frames_they_show(content, digit_pictures):
    """The last frame of a sheet is the sample, the first the noise: decoded and compared pixel by pixel."""
    import base64
    import io

    from PIL import Image

    frames = digit_pictures["flow"]["formation"]
    sprite = Look(comparison({}, digit_pictures).pictures).sprite(frames, 0, "t")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite.uri.split(",")[1]))).convert("RGBA"))
    assert sheet.shape[:2] == (sprite.height * sprite.frames, sprite.width)
    assert sprite.labels[0] == "t = 1.00"
    assert sprite.labels[-1] == "t = 0.00"
    for number in (0, 10):
        tile = sheet[number * sprite.height :][:32, :32, 0]
        np.testing.assert_array_equal(tile, np.kron(frames[number][1][0, :, :, 0], np.ones((4, 4), np.uint8)))


def test_page_of_points(content, toy_pictures):
    read = check_page(report(toy_content(content), toy_pictures).to_html())
    assert "held-out data" in read.text
    assert "same noise" in read.text


def test_a_model_has_one_colour_on_the_whole_page(content, toy_pictures, digit_pictures):
    opening = toy_content(copy.deepcopy(content))
    gan, flow = model(opening, "gan"), model(opening, "flow")
    opening["models"] = [gan, gan | {"name": "original GAN"}, flow]
    circle = comparison(opening, {**toy_pictures, "original GAN": toy_pictures["gan"]})
    page = Report(comparison(content, digit_pictures), circle).to_html()
    colours = {}
    for colour, name in re.findall(r'<svg class="sign e(\d)"[^>]*>(?:(?!</svg>).)*</svg>(?:<strong>)?([\w ]+)<', page):
        colours.setdefault(name.strip(), set()).add(colour)
    assert colours == {"flow": {"0"}, "ddpm": {"1"}, "gan": {"2"}, "vae": {"3"}, "original GAN": {"4"}}
    panels = [attrs["data-model"] for tag, attrs in Reader(page).tags if "data-model" in attrs]
    assert panels == ["2", "4", "0", "0", "1", "2", "3"]
    assert "<strong>original GAN</strong></p>" in page, "the name says the family"
    assert '<strong>flow</strong> <span class="family">flow matching</span>' in page
    check_page(page)


def test_page_of_table_rows(content):
    rng = np.random.default_rng(2)
    content["data"] |= {"kind": "vector", "shape": [4], "columns": ["age", "<b>income</b>", "height", "x&y"]}
    pictures = {name: {"grid": rng.normal(size=(90, 4)) * [1, 50, 0.1, 3]} for name in (*VALUES, "real")}
    pictures["gan"]["grid"][:5] = np.nan
    read = check_page(report(content, pictures).to_html())
    assert "<b>income</b>" in read.text
    assert len([1 for tag, attrs in read.tags if attrs.get("aria-label", "").startswith("Histogram of")]) == 4


def test_large_colour_images_still_fit(content):
    rng = np.random.default_rng(4)
    grid = rng.integers(0, 256, (36, 96, 80, 3), dtype=np.uint8)
    frames = [(t, grid[:16]) for t in np.linspace(1, 0, 40)]
    content["models"] += [make_model("flow") | {"name": name} for name in ("edm", "edm-2")]
    pictures = {
        entry["name"]: {"grid": grid, "formation": frames, "training": list(enumerate([grid[:16]] * 12))}
        for entry in content["models"]
    }
    check_page(report(content, pictures | {"real": {"grid": grid}}).to_html())


@pytest.mark.parametrize(("largest", "pictures", "animations"), [(8_000_000, 9, 16), (600_000, 9, 0), (300_000, 0, 0)])
def test_many_models_never_make_the_page_too_large(content, monkeypatch, largest, pictures, animations):
    """Fewer and smaller pictures first, then no animations, then no pictures, and the page says so."""
    from pushforward.report import page as module

    rng = np.random.default_rng(4)
    grid = rng.integers(0, 256, (36, 64, 64, 3), dtype=np.uint8)
    frames = [(t, grid[:16]) for t in np.linspace(1, 0, 7)]
    content["models"] = [make_model("flow") | {"name": f"flow {i}", "losses": {}} for i in range(8)]
    shown = {entry["name"]: {"grid": grid, "formation": frames, "training": frames} for entry in content["models"]}
    monkeypatch.setattr(module, "LARGEST", largest)
    monkeypatch.setattr(module, "DETAILS", (0.5, 0.22))
    html = report(content, shown | {"real": {"grid": grid}}).to_html()
    read = check_page(html)
    assert len(html.encode()) <= largest
    assert len([tag for tag, _ in read.tags if tag == "img"]) == pictures
    assert len([1 for _, attrs in read.tags if "data-frames" in attrs]) == animations
    left_out = {(9, 0): "animations would", (0, 0): "pictures would"}.get((pictures, animations))
    assert ("so they are left out" in read.text) is (left_out is not None)
    assert left_out is None or left_out in read.text


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
    assert json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.S)[1]) == comparison(content).to_plain()
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
    changed, first, *rest = copy.copy(content), *path
    if rest:
        changed[first] = without(changed[first], rest, null)
    elif null:
        changed[first] = None
    else:
        changed.pop(first)
    return changed


def test_any_field_may_be_missing(content):
    """A page is drawn for each missing field, and for a null one where that is read as something else.

    A model that loses a field is compared with one other.
    """
    del content["models"][2:]
    for entry in content["models"]:
        entry["losses"] = losses(entry["family"], steps=12)
    paths = [path for path in every_path(content) if path and path != ("format_version",)]
    assert len(paths) > 100
    whole = comparison(content)
    assert "None" not in report(content).to_markdown()
    for path in paths:
        shorts = [comparison(without(content, path, null)) for null in (False, True)]
        for short in shorts[:1] if shorts[0] == shorts[1] else shorts:
            if short == whole:
                continue  # the field had its default
            drawn = Report(short)
            page, text = drawn.to_html(), drawn.to_markdown()
            assert "None" not in text, path
            assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", text.lower()), path
            assert "None" not in page or "None" not in Reader(page).text, path  # reading a page takes longer than drawing it


def test_nothing_at_all_is_a_page():
    read = check_page(report({}).to_html())
    assert "Nothing was scored" in read.text
    assert report({"models": [{}, {"name": "a"}]}).to_markdown()


# JSON and files ------------------------------------------------------------------------------------------------


def test_json_is_strict_and_equals_the_content(content):
    def no_constant(name):
        raise AssertionError(name)

    whole = comparison(content)
    assert holds(json.loads(report(content).to_json(), parse_constant=no_constant), content)
    assert Comparison.from_json(whole.to_json()) == whole == Comparison.from_plain(whole.to_plain())
    scores = {"kid": Score(float("nan"), values=(1.0, np.float32("inf")), extra={"mass": np.array([0.25, np.nan])})}
    first = ModelResult("it", parameters=np.int64(7), conditioned=(), scores=scores, seed=(1, None))
    single = dataclasses.replace(whole, models=(first,))
    plain = json.loads(single.to_json(), parse_constant=no_constant)["models"][0]
    kid = {name: value for name, value in plain["scores"]["kid"].items() if value not in (None, [], "")}
    assert kid == {"values": [1.0, None], "extra": {"mass": [0.25, None]}}
    assert (plain["parameters"], plain["conditioned"], plain["seed"]) == (7, [], [1, None])
    assert Comparison.from_json(single.to_json()) == single
    check_page(Report(single).to_html())
    with pytest.raises(TypeError, match="plain data; object is not"):
        ModelResult(run=object())


def holds(actual, wanted):
    """Whether JSON has everything that it was read from; it may have more, which are defaults."""
    if isinstance(wanted, dict):
        return all(name in actual and holds(actual[name], value) for name, value in wanted.items() if value is not None)
    if isinstance(wanted, list):
        return len(actual) == len(wanted) and all(map(holds, actual, wanted))
    return actual == wanted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format_version": 1, "entrants": []}, "has format 1; this version of pushforward reads format 2"),
        ({"entrants": []}, "damaged: the number of the format is missing"),
        ([], "damaged: the number of the format is missing"),
        ({"format_version": 2, "models": {"a": 1}}, "models must be a list, got"),
        ({"format_version": 2, "models": [{"scores": {"kid": 3}}]}, r"models\[0\].scores.kid must be an object, got 3"),
        ({"format_version": 2, "models": [{"scores": {"kid": {"value": "3"}}}]}, 'kid.value must be a number, got "3"'),
        ({"format_version": 2, "models": [{"latent": {"code": 3}}]}, r"models\[0\].latent.code must be an object, got 3"),
        ({"format_version": 2, "metrics": {"kid": {"better": "more"}}}, "metrics.kid.better must be 'lower' or 'higher' or 'tar"),
        ({"format_version": 2, "data": {"shape": [True]}}, r"data.shape\[0\] must be a whole number, got true"),
    ],
)
def test_other_formats_and_wrong_types_are_refused_by_their_place(wrong, message):
    with pytest.raises(CheckpointError, match=message):
        Comparison.from_json(json.dumps(wrong))
    with pytest.raises(CheckpointError, match="not JSON"):
        Comparison.from_json("{")
    with pytest.raises(UsageError, match=r"pf\.compare"):
        Report({"models": []})


def test_files_are_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    written = report(content)
    written.save_all(tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["report.html", "report.json", "report.md"]
    target = tmp_path / "mine.html"
    written.save(target)
    assert target.read_text(encoding="utf-8") == written.to_html()
    with pytest.raises(UsageError, match=r"\.html, \.json or \.md"):
        written.save(tmp_path / "mine.pdf")

    target.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save(target)
    with pytest.raises(CheckpointError, match="No space left"):
        written.save_all(tmp_path)
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["mine.html", "new"]


def test_markdown_has_verdict_scores_cost_and_commands(content):
    content["models"][0]["name"] = "flow|a*b"
    text = report(content).to_markdown()
    for line in said(content):
        assert line.replace("|", "\\|").replace("*", "\\*") in text
    assert "**0.130 ± 0.008 (1.3×)**" in text
    assert content["commands"][0] in text
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 8
    for table in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


# The words -----------------------------------------------------------------------------------------------------


def test_a_sound_comparison_names_winners_and_worries_of_nothing(content):
    assert said(content, "quality") == [
        "flow has the best Fréchet distance: 0.130 ± 0.008, next ddpm with 0.210 ± 0.008; real data scores 0.100 ± 0.010."
    ]
    put(content, "flow", "frechet", 0.128)
    assert said(content, "quality")[0].endswith("real data scores 0.100 ± 0.010, within noise of it.")
    assert said(content, "diversity")[0].startswith(
        "flow and ddpm lead in coverage, with no measurable difference between them at n = 360"
    )
    assert said(content, "speed") == [
        "gan and vae sample fastest, in 210 µs each (1 network call); ddpm takes 20 times as long (20 network calls)."
    ]
    assert said(content, "warning") == []
    _, table = scorecards(content)[0]
    assert [(row.name, c) for row in table.rows for c, cell in enumerate(row.cells) if cell.best] == [("flow", 0)]


def test_overlapping_intervals_are_no_difference(content):
    for entry in content["models"]:
        entry["scores"]["frechet"]["spread"] = 0.5
    assert said(content, "quality")[0].startswith(
        "flow, ddpm, gan and vae differ measurably in coverage (0.950 ± 0.008 for flow, 0.790 ± 0.008 for vae) and recall"
    )
    assert not any(cell.best for _, table in scorecards(content) for row in table.rows for cell in row.cells[:1])


def two_alike(content):
    """Two models and the no-network row within noise of real data in the Fréchet distance; the first repeats itself."""
    content["models"] = [model(content, "vae"), model(content, "flow")]
    content["settings"] |= {"n": 50, "repeats": 1}
    content["floors"]["frechet"] = {"value": 0.08, "spread": 0.05}
    for row, values in zip(
        (*content["models"], content["baseline"]), ((0.047, 0.64, 0.02), (0.05, 1, 1), (0.049, 1, 1)), strict=True
    ):
        row["scores"] = {name: {"value": value} for name, value in zip(("frechet", "coverage", "recall"), values, strict=True)}
    return content


def test_a_distance_that_sees_nothing_never_speaks_for_quality(content):
    content = two_alike(content)
    (quality,), (diversity,) = said(content, "quality"), said(content, "diversity")
    assert quality == (
        "vae and flow differ measurably in coverage (1 for flow, 0.640 for vae) and recall (1 for flow, 0.0200 for vae), but "
        "not in Fréchet distance at n = 50: 0.0470 and 0.0500; real data scores 0.08 ± 0.05, which is no better: these values "
        "all lie within noise."
    )
    assert diversity.startswith(
        "flow scores best of the models in coverage, but not measurably better than no network (1): 1, next vae"
    )
    assert not any("quality" in sentence or "cannot tell a good" in sentence for sentence in said(content))
    assert not any(cell.best for _, table in scorecards(content) for row in table.rows for cell in row.cells), (
        "no network is as good"
    )
    assert "repeated samplings" not in report(content).to_text()
    model(content, "flow")["curve"] = [{"calls": c, "scores": {"frechet": f}} for c, f in ((1, 0.05), (4, 0.051), (16, 0.049))]
    assert plain_notes(content) == [
        "Fréchet distance at n = 50 cannot tell 1 call of flow from 16: even the no-network row is not measurably worse than "
        "real data."
    ]


def test_a_code_without_active_units_is_named_beside_no_alarm(content):
    vae = model(content, "vae")
    vae["latent"] = {"reconstruction": {}, "code": {"active": 0, "units": 2}}
    vae["health"] = {"series": {"active_units": {"step": [1, 100, 159], "value": [0.0, 0.0, 0.0]}}}
    vae["training"]["steps"] = 159
    (worry,) = said(content, "warning")
    assert worry == (
        "Of vae, at the end no unit of the code is active (0 of 2): samples of a class are nearly the same; after 159 steps this "
        "may be too early to call collapse. Train longer, or set warmup to 0.3."
    )
    text = Reader(report(content).to_html()).text
    assert "No alarm was raised, but at the end no unit" in text
    assert "none is posterior collapse" not in text


def test_lucky_agreement_of_repeats_is_no_difference(content):
    """Spreads of zero: the floor's own spread still bounds what can be told."""
    content["models"] = content["models"][:2]
    for entry, value in zip(content["models"], (0.120, 0.148), strict=True):
        entry["scores"]["frechet"] |= {"value": value, "spread": 0.0}
    assert "No measurable difference in Fréchet distance" in said(content, "quality")[0]
    content["models"][1]["scores"]["frechet"]["value"] = 0.149
    assert "flow has the best Fréchet distance" in said(content, "quality")[0]


@pytest.mark.parametrize(("share", "distinct"), [(0.95, False), (1.05, True)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_one_rule_decides_every_comparison(content, share, distinct, spread):
    """Just below and just above two spreads of a difference: among models, against real data and against no network."""
    width, floor = max(spread, 0.01), 0.01
    rows = content["models"] = content["models"][:2]
    base = content["baseline"]

    def set_to(row, mean):
        row["scores"] = {"frechet": {"value": mean, "spread": spread}}

    set_to(rows[0], 0.5)
    set_to(rows[1], 0.5 + share * 2 * 2**0.5 * width)
    set_to(base, 1.9)
    assert ("flow has the best Fréchet distance" in said(content, "quality")[0]) is distinct
    compared = comparison(content)
    bars = [statistics.statistic(compared, row, "frechet") for row in compared.models]
    assert (bars[0].value + bars[0].half < bars[1].value - bars[1].half) is distinct, "bars that overlap are no difference"
    set_to(base, 0.5 + share * 2 * 2**0.5 * width)
    assert said(content)[0].startswith("No model measurably beats the no-network row") is not distinct
    near = 0.1 + share * 2 * np.hypot(width, floor)
    set_to(base, near)
    assert statistics.blind(comparison(content), "frechet") is not distinct
    set_to(rows[0], near)
    assert said(content, "quality")[0].endswith(", within noise of it.") is not distinct


def test_whoever_does_not_beat_the_no_network_row_is_named(content):
    put(content, "vae", "frechet", 2.4)
    put(content, "gan", "coverage", 0.745)
    warnings = said(content, "warning")
    assert any(
        sentence == "vae is measurably worse than the no-network row in Fréchet distance: 2.400 ± 0.008 against 1.900 ± 0.010."
        for sentence in warnings
    )
    assert any(sentence.startswith("gan does not measurably beat the no-network row in coverage: 0.745") for sentence in warnings)
    assert not any("flow" in sentence or "ddpm" in sentence for sentence in warnings)


def test_features_of_too_few_dimensions_are_the_first_worry(content):
    content["settings"] |= {"n": 11, "dimensions": 1}
    assert said(content)[0] == (
        "These features have 1 dimension (n = 11) and cannot see most differences: do not rely on these scores."
    )
    content["data"]["shape"] = [1]
    assert not any("These features" in sentence for sentence in said(content))


def test_a_blind_score_accuses_nobody(content):
    content["baseline"]["scores"]["coverage"]["value"] = 0.958
    warnings = said(content, "warning")
    assert said(content)[0] == (
        "On this data coverage cannot show that a model is good: even Gaussians fitted to the training data, without any "
        "network, are not measurably worse than real data. A model that scores measurably worse is bad."
    ), "before what rests on it"
    assert not any("flow" in sentence for sentence in warnings)
    assert any(
        sentence.startswith("gan and vae are measurably worse than the no-network row in coverage") for sentence in warnings
    )


def test_models_within_noise_of_the_no_network_row_are_not_lumped_with_worse_ones(content):
    """.030 and .069 against .034: the one is within noise, the other is twice as far from the data."""
    content["models"] = content["models"][:3]
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.002}
    put(content, "baseline", "frechet", 0.034)
    for row in (content["baseline"], *content["models"]):
        row["scores"]["frechet"]["spread"] = 0.002
    for name, value in (("flow", 0.030), ("ddpm", 0.069), ("gan", 0.02)):
        put(content, name, "frechet", value)
    warnings = [sentence for sentence in said(content, "warning") if "no-network row in Fréchet" in sentence]
    assert warnings == [
        "flow does not measurably beat the no-network row in Fréchet distance: 0.0300 ± 0.0020 against 0.0340 ± 0.0020, within "
        "noise of it.",
        "ddpm is measurably worse than the no-network row in Fréchet distance: 0.0690 ± 0.0020 against 0.0340 ± 0.0020.",
    ]
    put(content, "gan", "frechet", 0.033)
    assert said(content)[0] == (
        "No model measurably beats the no-network row (one Gaussian per class) in Fréchet distance (0.0340 ± 0.0020): flow and "
        "gan are within noise of it (0.0300 ± 0.0020 and 0.0330 ± 0.0020); ddpm is measurably worse (0.0690 ± 0.0020)."
    )


def test_nobody_beats_the_no_network_row(content):
    content["baseline"]["scores"]["frechet"]["value"] = 0.02
    row = "the no-network row in Fréchet distance"
    first = "No model beats the no-network row (one Gaussian per class) in Fréchet distance (0.020 ± 0.010)"
    all_worse = f"{first}: flow, ddpm, gan and vae are measurably worse"
    assert said(content, "baseline") == [f"{all_worse} (from 0.130 ± 0.008 to 0.920 ± 0.008)."]
    put(content, "flow", "frechet", 0.12)
    assert said(content, "warning")[0].startswith(f"ddpm, gan and vae are measurably worse than {row}")
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.001}
    put(content, "flow", "frechet", 0.13)
    assert said(content, "baseline")[0].startswith(all_worse)


def test_high_precision_far_from_the_data_does_not_look_right(content):
    for metric, value in {"precision": 0.85, "recall": 0.0, "density": 0.4}.items():
        put(content, "gan", metric, value)
    assert said(content, "warning") == []


@pytest.mark.parametrize(
    ("name", "scores", "sentence"),
    [
        (
            "gan",
            {"near_copies": 0.12},
            "Memorisation: samples of gan (12 %) are near-copies of training samples, more than real data's",
        ),
        (
            "gan",
            {"precision": 0.85, "recall": 0.3},
            "Samples of gan (precision 1.1×, recall 0.38× real data's) look like real examples but vary too little",
        ),
        (
            "vae",
            {"precision": 0.24, "recall": 0.8},
            "Samples of vae (density 1.1×, precision 0.30×, recall 1.0× real data's) cover the data, but many look wrong.",
        ),
        (
            "vae",
            {"density": 0.55, "recall": 0.8},
            "Samples of vae (density 0.55×, precision 0.92×, recall 1.0× real data's) cover the data, but many look wrong.",
        ),
        ("vae", {"sharpness": 0.5}, "Samples are blurred, by their fine detail: vae (0.50× real data's)."),
        ("gan", {"sharpness": 1.9}, "Samples are grainy, by their fine detail: gan (1.9× real data's)."),
    ],
)
def test_planted_faults_are_told(content, name, scores, sentence):
    for metric, value in scores.items():
        put(content, name, metric, value)
    warnings = said(content, "warning")
    assert len(warnings) == 1
    assert warnings[0].startswith(sentence)


@pytest.mark.parametrize(
    ("scores", "against"),
    [
        ({"sharpness": 0.02}, "but sharpness 0.020"),
        ({"classifier_test": 0.947}, "but classifier test 95 %"),
        ({"neighbour_test": 0.9, "frechet": 2.4}, "but nearest-neighbour test 90 % and no better than no network"),
    ],
)
def test_samples_that_other_scores_tell_from_real_data_are_not_said_to_look_right(content, scores, against):
    gan = model(content, "gan")
    for metric, value in {"precision": 0.85, "recall": 0.0, **scores}.items():
        gan["scores"][metric] = score(value, 0.008, ABOUT[metric][2] if metric in ABOUT else None)
    (sentence,) = [text for text in said(content, "warning") if "recall" in text]
    assert sentence.startswith(f"Samples of gan (precision 1.1×, recall 0× real data's, {against}) lie in few places")
    assert "look like real" not in sentence
    gan["scores"] |= {"sharpness": score(0.98, 0.008, 1.0), "frechet": score(0.44, 0.008, 0.1)}
    gan["scores"] |= {test: score(0.75, 0.008, None) for test in ("classifier_test", "neighbour_test")}
    assert "look like real examples but vary too little" in said(content, "warning")[0]


def test_faults_of_toys(content):
    content = toy_content(content)
    warnings = said(content, "warning")
    assert warnings == [
        "Modes are lost: gan holds 6 of 8.",
        "Samples fall between the modes, where no data is: vae (20 %).",
        "Modes are too narrow (width over the true one): gan (0.60).",
        "Modes are too wide (width over the true one): vae (1.8).",
    ]


def test_modes_from_their_mass(content):
    for name, mass in (("gan", [0.3, 0.3, 0.03, 0.37, 0.0]), ("flow", [0.2] * 5)):
        model(content, name)["scores"]["modes_held"] = {"extra": {"mass": mass}}
    assert said(content, "warning") == ["Modes are lost: gan holds 3 of 5 (too little of modes 3 and 5)."]


def test_unequal_conditions_are_told(content):
    model(content, "gan")["training"]["seconds"] = 120.0
    model(content, "vae")["parameters"] = 4_000_000
    model(content, "ddpm")["conditioned"] = []
    model(content, "flow")["label_agreement"] = 0.62
    content["settings"]["n"] = 90
    model(content, "gan")["warnings"] = ["3 steps were skipped"]
    text = " ".join(said(content))
    assert "All made 2,990 training steps, which took from 60.2 s (flow) to 2 min (gan)." in text
    model(content, "gan")["training"]["steps"] = 1000
    text = " ".join(said(content))
    assert "Training took unequal time, from 60.2 s (flow) to 2 min (gan)" in text
    assert "vae has 10 times the parameters of gan" in text
    assert "flow, gan and vae were given class labels, the others were not" in text
    model(content, "vae")["conditioned"] = ["age", "label"]
    text = " ".join(said(content))
    assert "flow and gan were given class labels; vae was given age and class labels, the others were not" in text
    assert "recognises too few samples as the class they were asked to be: flow (62 %)." in text
    assert "Only 90 samples" in text
    assert "gan: 3 steps were skipped" in text


def test_near_copies_are_judged_beside_those_of_real_data(content):
    content["floors"]["near_copies"] = {"value": 0.19, "spread": 0.02}
    put(content, "gan", "near_copies", 0.11)
    put(content, "vae", "near_copies", 0.21)  # two hundredths more than real data, which is one spread
    assert said(content, "warning") == []
    put(content, "gan", "near_copies", 0.31)
    (worry,) = said(content, "warning")
    assert worry.startswith(
        "Memorisation: samples of gan (31 %) are near-copies of training samples, more than real data's 19 %."
    )
    content["floors"]["near_copies"] = None
    assert "more than the 1.0 % that this report allows" in said(content, "warning")[0]


def test_labels_are_judged_beside_those_of_real_data(content):
    content["settings"]["classifier_accuracy"] = 0.865
    model(content, "flow")["label_agreement"] = 0.79
    model(content, "gan")["label_agreement"] = 0.89
    assert said(content, "warning") == []
    model(content, "gan")["label_agreement"] = 0.7
    assert said(content, "warning") == [
        "A classifier recognises too few samples as the class they were asked to be: gan (70 %); "
        "of real samples it recognises 86 %."
    ]
    content["settings"]["n"] = 20  # .7 of 20 samples and .865 of 20 may differ by luck
    assert not any("recognises" in worry for worry in said(content, "warning"))


def test_a_model_without_finite_scores_wins_nothing(content):
    for metric in ("frechet", "coverage", "kid", "recall"):
        model(content, "flow")["scores"][metric]["value"] = float("nan")
    assert said(content, "quality")[0].startswith("ddpm has the best Fréchet distance")
    assert said(content, "warning")[0].startswith("flow has no finite score")


def plain_notes(content):
    return [sentences.unmarked(note) for note in captions.curve_notes(comparison(content))]


def test_how_many_calls_are_enough(content):
    points = ((1, 1, 3.0), (7, 4, 0.4), (15, 8, 0.13), (31, 16, 0.125))
    model(content, "flow")["curve"] = [{"calls": c, "steps": s, "scores": {"frechet": f}} for c, s, f in points]
    model(content, "ddpm")["curve"] = [{"calls": c, "scores": {"frechet": 1 / c}} for c in (1, 2, 4, 8)]
    assert plain_notes(content) == [
        "For flow, 15 calls (8 steps: 0.130) are enough, within two spreads (0.020) of 31 calls (16 steps: 0.125); more only "
        "cost time.",
        "ddpm still improves at 8 calls (0.125).",
    ]


def test_a_plateau_above_the_best_of_a_curve_is_not_enough(content):
    """The floor's spread is .0028: .0378 is 2.8 of them above .03, and a single good point before a bad one does not count."""
    content["floors"]["frechet"] = {"value": 0.01, "spread": 0.0028}
    curve = ((1, 0.3), (2, 0.09), (4, 0.0378), (8, 0.0379), (16, 0.033), (32, 0.03))
    model(content, "flow")["curve"] = [{"calls": c, "scores": {"frechet": f}} for c, f in curve]
    curve = ((1, 0.3), (4, 0.031), (8, 0.05), (16, 0.0315), (32, 0.03))
    model(content, "ddpm")["curve"] = [{"calls": c, "scores": {"frechet": f}} for c, f in curve]
    assert plain_notes(content) == [
        "For flow, 16 calls (0.0330) are enough, within two spreads (0.0056) of 32 calls (0.0300); more only cost time.",
        "For ddpm, 16 calls (0.0315) are enough, within two spreads (0.0056) of 32 calls (0.0300); more only cost time.",
    ]
    model(content, "ddpm")["curve"][-1]["scores"]["frechet"] = 0.2
    assert plain_notes(content)[1] == "For ddpm, 4 calls (0.0310) are best; with 32 calls (0.200) it is worse."


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ((1.0, 1.1), (19.9, 20.5), "flow samples fastest, in 1 ms each (19 network calls); ddpm takes 18 to 21 times as long "
         "(20 network calls)."),
        ((1.0, 1.001), (20.0, 20.01), "flow samples fastest, in 1 ms each (19 network calls); ddpm takes 20 times as long (20 "
         "network calls)."),
        ((1.0, 1.0), (253.4, 253.6), "flow samples fastest, in 1 ms each (19 network calls); ddpm takes 250 times as long (20 "
         "network calls)."),
        ((1.0, 3.0), (25.3, 40.0), "flow samples fastest, in 1 ms each (19 network calls); ddpm takes at least 8.4 times as "
         "long (20 network calls)."),
        ((1.0, 30.0), (25.3, 30.0), "No measurable difference in sampling time: from 1 ms to 25.3 ms each."),
        ((1.0, 1.1), (1.2, 1.3), "No measurable difference in sampling time: from 1 ms to 1.20 ms each."),
    ],
)  # fmt: skip
def test_speeds_are_compared_as_far_as_their_spread_supports_it(content, first, second, sentence):
    content["models"] = content["models"][:2]
    for entry, (low, high) in zip(content["models"], (first, second), strict=True):
        entry["sampling"] |= {"seconds_per_sample": low / 1000, "timing": {"batch": 64, "low": low / 1000, "high": high / 1000}}
    assert said(content, "speed") == [sentence]


def test_the_fastest_models_keep_their_own_times(content):
    """The second one's fastest turn is near the first one, its own time is not."""
    content["models"] = [make_model(name) for name in ("vae", "flow", "ddpm")]
    times = ((1.0, 1.0, 1.05), (25.0, 1.1, 30.0), (100.0, 100.0, 110.0))
    for entry, (own, low, high) in zip(content["models"], times, strict=True):
        timing = {"batch": 64, "low": low / 1000, "high": high / 1000}
        entry["sampling"] |= {"seconds_per_sample": own / 1000, "timing": timing, "calls": 1}
    (sentence,) = said(content, "speed")
    assert sentence.startswith("vae and flow sample fastest, from 1 ms to 25 ms each (1 network call); ddpm takes ")
    content["models"][1]["sampling"]["calls"] = 25
    assert "from 1 ms to 25 ms each; ddpm" in said(content, "speed")[0]


def test_times_without_a_spread_are_not_compared(content):
    """As in reports of earlier versions."""
    for entry in content["models"]:
        del entry["sampling"]["timing"]
    (sentence,) = said(content, "speed")
    assert "times as long" not in sentence
    assert sentence.endswith("the spread of these times is not known.")


def test_the_cost_tables_show_spread_batch_and_memory(content):
    (_, training), (_, sampling) = costs.costs(comparison(content))
    assert [row.cells[[c.label for c in training.columns].index("Memory")].flat for row in training.rows] == ["21 MB"] * 4
    cells = dict(zip([c.label for c in sampling.columns], sampling.rows[2].cells, strict=True))
    assert cells["Time per sample"].flat == "210 µs (208 µs to 212 µs, 64 at once)"
    assert cells["Memory"].flat == "3.2 MB (64 at once)"
    for entry in content["models"]:
        entry["training"] = {"peak_memory_mb": 743.0}
    assert "743" not in report(content).to_markdown(), "the whole process's memory is not the model's"


def test_a_model_worse_than_a_guess_is_named(content):
    guess = {"name": "uniform guess over 256 levels", "scores": {"bpd": {"value": 8.0}}}
    content["metrics"]["bpd"] = {"label": "bits per dimension", "better": "lower"}
    content["guesses"] = [guess]
    for name, value in (("flow", 8.06), ("ddpm", 7.99), ("gan", 1.3)):
        model(content, name)["scores"]["bpd"] = {"value": value, "spread": 0.01}
    assert [sentence for sentence in said(content, "warning") if "bits" in sentence] == [
        "ddpm is not measurably better than uniform guess over 256 levels in bits per dimension: 7.990 ± 0.010 against 8.",
        "flow is measurably worse than uniform guess over 256 levels in bits per dimension: 8.060 ± 0.010 against 8.",
    ]
    _, table = scorecards(content)[-1]
    row = next(row for row in table.rows if row.name == guess["name"])
    assert [cell.value for cell in row.cells][[column.label for column in table.columns].index("bits per dimension")] == "8"
    check_page(report(content).to_html())


def test_text_for_a_terminal_holds_verdict_and_scores(content):
    text = report(content).to_text()
    assert "- flow has the best Fréchet distance: 0.130 ± 0.008" in text
    assert re.search(r"^flow +0.130 ± 0.008 \* +0.00040 ± 0.00020 ", text, re.M)
    assert max(map(len, text.splitlines())) < 150
    assert re.search(r"^no network +", text, re.M)
    assert re.search(r"^real data +", text, re.M)
    assert "the ratio to what" not in text, "the terminal shows none"
    assert "In round brackets stands the ratio to what real data scores." in report(content).to_markdown()
    assert report({}).to_text() == ""
    assert "Fréchet distance ↓" in text


def test_the_scores_of_one_model_read_alike_in_evaluate_and_in_its_report(content):
    content["models"] = [model(content, "flow")]
    content["models"][0]["scores"]["kid"] |= {"value": -0.0012, "interval": [-0.0031, 0.0007]}
    given = comparison(content)
    shown, printed, parts = scores_text(given, 110), as_text(given, 110), score_parts(given, 110)
    assert parts
    assert all(part in shown and part in printed for part in parts)
    assert re.search(r"^KID ↓ +−0.0012 \[−0.0031, 0.0007\] +0.0000 ± 0.0003 ", shown, re.M)
    assert re.search(r"^Fréchet distance ↓ +0.130 ± 0.008 +0.100 ± 0.010 +1.3× ", shown, re.M)
    assert re.search(r"^Density → \S+ +", shown, re.M), "the right value stands beside a score that has one"
    assert re.search(r" flow +real data +ratio +no network$", shown, re.M)
    assert "[low, high] is the 95 % interval of a score" in shown
    assert "Best" not in shown, "a single model is compared with none"
    assert max(map(len, shown.splitlines())) <= 110
    assert max(map(len, scores_text(given, 60).splitlines())) <= 60


def test_limits_come_from_the_floors(content):
    text = " ".join(stated.limits(comparison(content)))
    assert "At n = 360, two models must differ by at least 0.028 in Fréchet distance" in text  # 2 sqrt(2) 0.010
    assert "Models are compared by their own spreads: where these are larger, they must differ by more." in text
    assert "Each model was trained once" in text
    content["settings"]["seeds"] = 3
    assert "Each model was trained once" in " ".join(stated.limits(comparison(content))), (
        "a stated number is no spread over trainings"
    )


def test_limits_of_many_scores_are_a_table_with_shares_in_per_cent(content):
    noise = stated.noise_table(comparison(content))
    values = {row.name: row.cells[0].value for row in noise.rows}
    assert values["Fréchet distance"] == "0.028"
    assert values["Near-copies"] == "0.85 percentage points"  # 2 sqrt(2) 0.003
    assert set(values) == {label for label, *_ in ABOUT.values()}
    assert "| Near-copies | 0.85 percentage points |" in report(content).to_markdown()
    assert all(len(re.findall(r"0\.\d", limit)) <= 2 for limit in stated.limits(comparison(content)))
    content["metrics"] = {name: content["metrics"][name] for name in ("frechet", "coverage")}
    assert stated.noise_table(comparison(content)) is None, "the sentence says both"


# Trajectories --------------------------------------------------------------------------------------------------


def test_trajectories_are_a_table_of_the_models_that_have_any(content):
    table = [[cell.value for cell in row.cells] for row in tables.trajectories(comparison(content)).rows]
    assert table == [["0.125", "250"], ["1.12", "250"]]
    assert "NPE" not in Reader(report(content).to_html()).text, "nobody has one"
    table = tables.trajectories(comparison(toy_content(content)))
    assert [column.label for column in table.columns] == ["Straightness", "NPE", "Trajectories"]
    assert [row.cells[1].value for row in table.rows] == ["0.310", "0.480"]
    read, text = Reader(report(content).to_html()), report(content).to_markdown()
    for shown in (read.text, text):
        assert "which one step suffices" in shown
        assert "NPE, the normalised path energy" in shown
    assert "| ddpm | 1.12 | 0.480 | 250 |" in text


def test_losses_by_noise_level_line_up_by_level(content):
    """The shorter path lacks the noisiest level; the noisier, the further right, and one line for each iterative model."""
    model(content, "flow")["trajectory"]["loss_by_level"].reverse()
    table = tables.levels(comparison(content))
    assert [column.label for column in table.columns] == ["flow", "ddpm"]
    assert [row.name for row in table.rows][::2] == ["0.0111 (log-SNR 9)", "1 (log-SNR 0)", "90.0 (log-SNR −9)"]
    assert [cell.flat for cell in table.rows[0].cells] == ["1.210 ± 0.012", "1.310 ± 0.012"]
    assert [cell.flat for cell in table.rows[-1].cells] == ["1.210 ± 0.012", "–"]
    page = report(content).to_html()
    chart = re.search(r'<svg[^>]*aria-label="Mean squared error in v against.*?</svg>', page, re.S)[0]
    assert re.findall(r"<title>(\w+): ([\d.]+) at ([\d.]+)</title>", chart)[:2] == [
        ("flow", "1.21", "0.0111"),
        ("flow", "0.603", "0.105"),
    ]
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    assert len(across) == 5
    assert across == sorted(across)
    assert chart.count('class="line"') == 2


def test_trajectories_in_the_plane_are_drawn_from_noise_to_sample(content, toy_pictures):
    toy_pictures = {name: dict(parts) for name, parts in toy_pictures.items()}
    lines = toy_pictures["flow"]["paths"] = toy_pictures["flow"]["paths"].copy()
    lines[7, 3] = np.nan
    page = report(toy_content(content), toy_pictures).to_html()
    check_page(page)
    charts = re.findall(r'<svg[^>]*aria-label="Trajectories of (\w+), from noise to data".*?</svg>', page, re.S)
    assert charts == ["flow", "ddpm"]
    chart = re.search(r'<svg[^>]*aria-label="Trajectories of flow.*?</svg>', page, re.S)[0]
    assert chart.count('class="way"') == 59, "a line that is not finite is left out"
    limits = Look(comparison({}, toy_pictures).pictures).paths_limits()
    assert limits[0] < lines[:, 0, 0].min()
    assert lines[:, 0, 1].max() < limits[3]
    corner = rf'd="M([-\d.]+) ([-\d.]+){CROSS}"'
    for sign, place, off, at in (("from", corner, 2.4, 0), ("to", r'cx="([-\d.]+)" cy="([-\d.]+)"', 0.0, -1)):
        x, y = (float(number) + off for number in re.search(f'class="{sign}" {place}', chart).groups())
        assert limits[0] + x / 320 * (limits[1] - limits[0]) == pytest.approx(lines[0, at, 0], abs=0.02)
        assert limits[3] - y / 320 * (limits[3] - limits[2]) == pytest.approx(lines[0, at, 1], abs=0.02)


def test_reports_made_before_trajectories_still_open(content, toy_pictures):
    for entry in content["models"]:
        del entry["trajectory"]
    older = {name: {key: part for key, part in parts.items() if key != "paths"} for name, parts in toy_pictures.items()}
    page = report(json.loads(json.dumps(content)), older).to_html()
    read = check_page(page)
    assert "trajectories" not in read.ids
    assert "Loss by noise level" not in read.text
    assert "rajector" not in report(content).to_markdown()


def test_trajectories_of_several_trainings_are_means(content):
    content = trained(content, (0.12, 0.20))
    content["models"][1]["trajectory"]["straightness"] = 0.325
    content["models"][1]["trajectory"]["loss_by_level"][2]["error"] = 0.6
    trajectory = model(pooled(content, {})[0], "flow")["trajectory"]
    assert trajectory["straightness"] == pytest.approx(0.225)
    assert [level["error"] for level in trajectory["loss_by_level"]] == pytest.approx([1.21, 0.6025, 0.5, 0.6025, 1.21])
    assert [level["log_snr"] for level in trajectory["loss_by_level"]] == [9.0, 4.5, 0.0, -4.5, -9.0]
    assert trajectory["npe"] is None
    assert model(pooled(content, {})[0], "gan")["trajectory"] is None


# Trainings of one recipe ---------------------------------------------------------------------------------------


def trained(content, values, name="flow"):
    """One model for each training of a recipe, as `compare --seeds` makes them, in place of one."""
    (place,) = (i for i, entry in enumerate(content["models"]) if entry["name"] == name)
    trainings = []
    for seed, value in enumerate(values):
        entry = copy.deepcopy(content["models"][place]) | {"name": f"{name}-{seed}", "seed": seed, "run": f"runs/{name}-{seed}"}
        entry["scores"]["frechet"] |= {"value": value, "ratio": value / 0.1}
        entry["training"]["seconds"] = 60.0 + seed
        entry["commands"] = [f"pushforward train {name} --seed {seed}"]
        trainings.append(entry)
    content["models"][place : place + 1] = trainings
    content["settings"] |= {"seeds": len(values), "shared": [[entry["name"] for entry in trainings] + ["ddpm"], ["gan", "vae"]]}
    return content


def test_trainings_of_a_recipe_are_one_row_with_their_own_spread(content):
    content = trained(content, (0.12, 0.20, 0.13))
    pictures = {entry["name"]: {"grid": i} for i, entry in enumerate(content["models"])} | {"real": {"grid": 9}}
    aggregate, shown = pooled(content, pictures)
    assert [entry["name"] for entry in aggregate["models"]] == ["flow", "ddpm", "gan", "vae"]
    flow = model(aggregate, "flow")
    row = flow["scores"]["frechet"]
    assert row["value"] == pytest.approx(0.15)
    assert row["spread"] == pytest.approx(np.std([0.12, 0.20, 0.13], ddof=1))
    assert row["ratio"] == pytest.approx(1.5)
    assert row["values"] == [0.12, 0.20, 0.13]
    assert flow["scores"]["kid"]["spread"] == pytest.approx(0.0002), "no less than over samplings"
    assert flow["training"]["seconds"] == pytest.approx(61)
    assert flow["parameters"] == 402_314
    assert [training["seed"] for training in flow["trainings"]] == [0, 1, 2]
    assert [training["scores"]["frechet"]["value"] for training in flow["trainings"]] == [0.12, 0.20, 0.13]
    assert len(flow["commands"]) == 3
    assert {name: parts.grid for name, parts in shown.items()} == {"flow": 0, "ddpm": 3, "gan": 4, "vae": 5, "real": 9}
    assert aggregate["settings"]["shared"] == [["flow", "ddpm"], ["gan", "vae"]]
    assert "best" not in said(content, "quality")[0] or "flow-0" in said(content, "quality")[0]
    assert said(aggregate, "quality")[0].startswith("flow and ddpm lead in Fréchet distance"), (
        "0.15 ± 0.04 is no better than 0.21"
    )
    text = " ".join(stated.limits(comparison(aggregate)))
    assert "The spread of flow is over 3 trainings" in text
    assert "ddpm, gan and vae were trained once" in text
    check_page(report(aggregate).to_html())
    assert "from 1 or 3 trainings, 3 samplings of each; ± is a spread" in report(aggregate).to_markdown()


def test_only_trainings_of_one_recipe_are_pooled(content):
    content = trained(content, (0.12, 0.20))
    content["models"][1]["parameters"] = 9
    model(content, "gan")["name"] = "gan-7"
    names = [entry["name"] for entry in content["models"]]
    assert [entry["name"] for entry in pooled(content, {})[0]["models"]] == names, "another size; a number that is no seed"
    content["models"][1]["parameters"] = 402_314
    model(content, "ddpm")["name"] = "flow"
    assert [entry["name"] for entry in pooled(content, {})[0]["models"]] == ["flow (2 trainings)", "flow", "gan-7", "vae"]
    content["models"][1]["scores"]["frechet"]["value"] = None
    assert pooled(content, {})[0]["models"][0]["scores"]["frechet"]["value"] is None, "a failed training is no training less"


@pytest.mark.parametrize(
    ("shared", "sentence"),
    [
        ([["flow", "ddpm"]], "flow and ddpm start from the same noise: the same place in their grids is the same z. "
         "The noise of gan and vae has other shapes, so equal places do not correspond."),
        ([["flow", "ddpm"], ["gan", "vae"]], "flow and ddpm start from the same noise, and so do gan and vae: the same place in "
         "their grids is the same z."),
        ([["flow", "ddpm", "gan"]], "The noise of vae has another shape, so equal places do not correspond."),
        ([], "All models use the same seeds. Their noise has different shapes, so equal places do not correspond."),
        ([["flow", "ddpm", "gan", "vae"]], "All models start from the same noise: the same place in each grid is the same z."),
    ],
)  # fmt: skip
def test_grids_say_who_shares_noise(content, digit_pictures, shared, sentence):
    content["settings"]["shared"] = shared
    assert sentence in Reader(report(content, digit_pictures).to_html()).text


def test_compare_groups_noise_pools_trainings_and_draws_the_real_rows(tmp_path, monkeypatch):
    from pushforward.data import VectorSpace
    from pushforward.data.dataset import Dataset, Split
    from pushforward.evaluation import compare, drawing
    from pushforward.evaluation.baseline import GaussianBaseline

    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path))
    monkeypatch.setitem(drawing.SHOWN, True, 30)
    rng = np.random.default_rng(6)
    rows = np.sort(rng.normal(size=(300, 1)), axis=0) + 0.1 * rng.normal(size=(300, 2))
    held_out = rows[::3].astype(np.float32)
    train = Split(np.delete(rows, slice(0, 300, 3), 0).astype(np.float32))
    data = Dataset("sorted", VectorSpace((2,), (0.0, 0.0), (1.0, 1.0)), train, Split(held_out))
    first, second = (GaussianBaseline.fit(data) for _ in range(2))
    second.noise_shape, second._rank = (5,), 3
    comparison = compare({"one": first, "two": second, "three": GaussianBaseline.fit(data)}, data, repeats=2, seeds=2)
    assert comparison.settings.shared == (("one", "three"),)
    assert len(comparison.models) == 3
    shown = comparison.pictures["real"].grid
    assert shown.shape == (30, 2)
    assert shown[:, 0].max() > np.quantile(held_out[:, 0], 0.7), "drawn, not the first of sorted rows"


def test_captions_follow_the_family(content):
    heads = {result.name: captions.loss_caption(result) for result in comparison(content).models}
    assert "no measure of quality" in heads["gan"]
    assert "negative ELBO per dimension" in heads["vae"]
    assert "never reaches zero" in heads["ddpm"]
    assert "velocity" in heads["flow"]
    assert captions.family_of(ModelResult()) == "other"


# Numbers and pictures ------------------------------------------------------------------------------------------


def test_numbers_read_well():
    assert measured(0.12345, 0.0082) == ("0.123", "0.008")
    assert measured(12.345, 1.23) == ("12.3", "1.2")
    assert measured(1234.5, 40.2) == ("1,234", "40")
    assert measured(None, 1.0) == ("–", "")
    assert measured(0.5, None) == ("0.500", "")
    assert measured(0.858, 0.0) == ("0.858", "0.000")
    assert measured(8.0, 0.0) == ("8", "0")
    assert [plain(x) for x in (0, 8.0, 0.00123, -2.5, float("nan"), "x")] == ["0", "8", "0.00123", "−2.50", "–", "–"]
    assert [duration(x) for x in (2.1e-4, 3.2, 600, 7201, None)] == ["210 µs", "3.20 s", "10 min", "2.00 h", "–"]
    assert [percent(x) for x in (0, 0.004, 0.123)] == ["0 %", "0.4 %", "12 %"]
    assert [quantity(x) for x in (999, 402_314, 3.1e9)] == ["999", "402 k", "3.10 G"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grids_put_each_image_in_its_place(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 4, channels), dtype=np.uint8)
    grid = np.asarray(grid_picture(images, columns=3, gap=1))
    assert grid.shape[:2] == (2 * 7 + 1, 3 * 4 + 2)
    grid = grid.reshape(*grid.shape[:2], channels)
    np.testing.assert_array_equal(grid[8:15, 5:9], images[4])
    assert (grid[7] == 255).all()
    with pytest.raises(ValueError, match="uint8"):
        grid_picture(images.astype(float))


def test_scatter_puts_points_where_they_are():
    picture = np.asarray(scatter_picture(np.array([[0.5, -0.5], [np.nan, 0]]), limits=(-1, 1, -1, 1), size=200))
    rows, columns = np.nonzero((picture != 255).any(-1))
    assert abs(rows.mean() - 149.5) < 1
    assert abs(columns.mean() - 149.5) < 1


@pytest.mark.parametrize("values", [[2015, 2017.5, 2020], [1234565, 1234567, 1234569], [-0.05, 0.0, 0.05], [1e-5, 2e-5]])
def test_ticks_read_back_as_themselves(values):
    assert [float(text) for text in tick_texts(values)] == pytest.approx(values)


def test_animations_keep_frames_and_time(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (4, 6, 9, 3), dtype=np.uint8) for _ in range(3)]
    points = [rng.normal(size=(20, 2)) for _ in range(3)]
    for number, frames in enumerate((batches, points)):
        path = tmp_path / f"{number}.gif"
        write_gif(path, frames, ms=120)
        with Image.open(path) as animation:
            assert animation.n_frames == 3
            assert animation.info["duration"] == 120
            assert animation.info["loop"] == 0


if __name__ == "__main__":  # writes pages to look at: python tests/test_report.py FOLDER
    import sys

    full, digits, toy = whole.__wrapped__(), digit_pictures.__wrapped__(), toy_pictures.__wrapped__()  # type: ignore[attr-defined]
    report(full, digits).save_all(f"{sys.argv[1]}/digits")
    report(toy_content(copy.deepcopy(full)), toy).save_all(f"{sys.argv[1]}/toy")


@pytest.mark.parametrize(("x", "whole"), [(range(1, 17), True), ((0.0, 0.5, 1.0), False)])
def test_what_is_counted_has_ticks_at_whole_numbers(x, whole):
    chart = line_chart([Series("vae", 1, [*x], [1000.0 * number for number in x])], "unit", "KL")
    ticks = [float(number) for number in re.findall(r'text-anchor="middle">([0-9.]+)</text>', chart)]
    assert len(ticks) > 2
    assert all(tick.is_integer() for tick in ticks) == whole
