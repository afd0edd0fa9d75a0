"""Pictures and a page of a report, and what a page has to be."""

from __future__ import annotations

import functools
import html.parser
import re

import numpy as np
from programs.reporting import VALUES, metrics, real_data_scores, score

ITERATIVE = ("flow", "ddpm")


def pixels(x):
    """Bytes of grey levels from 0 to 1."""
    return (255 * np.clip(x, 0, 1)).astype(np.uint8)


def path_to(data, noise, steps):
    """Times from 1 to 0 and the states between noise and data."""
    return [(float(t), (1 - t) * data + t * noise) for t in np.linspace(1, 0, steps)]


@functools.cache
def of_digits():
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    x = load_digits().images[..., None] / 16
    pictures = {"real": {"grid": pixels(x[:64])}}
    for i, name in enumerate(VALUES):
        start = 100 + 64 * i
        clean = x[start : start + 64]
        error = (0.02 + 0.03 * i) * rng.normal(size=clean.shape)
        data = np.clip(clean + error, 0, 1)
        history = []
        for k in range(6):
            noise = rng.normal(size=data.shape) / (1 + 2 * k)
            history.append((500 * k, pixels(data + noise)))
        formation = None
        if name in ITERATIVE:
            noise = rng.normal(size=(16, 8, 8, 1)) * 0.5 + 0.5
            formation = [(t, pixels(state)) for t, state in path_to(data[:16], noise, 11)]
        pictures[name] = {"grid": pixels(data), "formation": formation, "training": history}
    return pictures


@functools.cache
def of_toys():
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)

    def draw(n, modes, width):
        mode = rng.integers(0, modes, n)
        points = centres[mode] + width * rng.normal(size=(n, 2))
        return points.astype(np.float32)

    pictures = {"real": {"grid": draw(1000, 8, 0.05)}}
    for name, modes, width in (
        ("flow", 8, 0.06),
        ("ddpm", 8, 0.08),
        ("gan", 6, 0.03),
        ("vae", 8, 0.2),
    ):
        data = draw(1000, modes, width)
        formation = None
        if name in ITERATIVE:
            noise = rng.normal(size=(600, 2)).astype(np.float32)
            formation = path_to(data[:600], noise, 9)
        pictures[name] = {"grid": data, "formation": formation}
    return pictures


def toy_content(content):
    content["title"] = "gan, vae, ddpm, flow on ring"
    content["data"] |= {
        "name": "ring",
        "shape": [2],
        "kind": "vector",
        "classes": [],
        "columns": ["x", "y"],
    }
    first, second, *_ = content["models"]
    first["trajectory"]["npe"] = 0.31
    second["trajectory"]["npe"] = 0.48
    more = {
        "modes_held": ("Modes held", "higher", 8.0, 0.0),
        "bridges": ("Bridges", "lower", 0.001, 0.001),
        "spread": ("Spread", "target", 1.0, 0.02),
    }
    del content["metrics"]["sharpness"]
    del content["real_data_scores"]["sharpness"]
    content["metrics"] |= metrics(more)
    content["real_data_scores"] |= real_data_scores(more)
    modes = {
        "flow": (8, 0.01, 1.05),
        "ddpm": (8, 0.02, 1.1),
        "gan": (6, 0.005, 0.6),
        "vae": (8, 0.2, 1.8),
    }
    for model in content["models"]:
        held, bridges, spread = modes[model["name"]]
        scores = model["scores"]
        del scores["sharpness"]
        scores["modes_held"] = score(held, 0.0, 8)
        scores["bridges"] = score(bridges, 0.002, 0.001)
        scores["spread"] = score(spread, 0.01, 1)
    return content


LOADED = ("src", "srcset", "poster", "action", "data", "xlink:href")
"""Attributes whose address is loaded with the page."""


class Reader(html.parser.HTMLParser):
    """Collects tags, addresses that would be loaded, and text outside scripts and styles."""

    void = ("meta", "link", "img", "input", "br", "circle", "polygon", "line", "path", "rect")

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.open = []
        self.loads = []
        self.ids = []
        self.hrefs = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in LOADED or (tag, name) == ("link", "href"):
                self.loads.append(value)
            if name == "id":
                self.ids.append(value)
            if (tag, name) == ("a", "href"):
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
    for address in read.loads:
        assert address.startswith("data:"), address
    for address in read.hrefs:
        assert address.startswith(("#", "data:text/csv")), address
        if address.startswith("#"):
            assert address.removeprefix("#") in read.ids
    sheets = re.findall(r"<style>(.*?)</style>", page, re.S)
    attributes = re.findall(r'style="([^"]*)"', page)
    styles = " ".join([*sheets, *attributes])
    assert "@import" not in styles
    for address in re.findall(r"url\(([^)]*)\)", styles):
        assert address.strip("'\"").startswith("data:"), address
    for tag, attributes in read.tags:
        if tag == "img":
            assert "alt" in attributes
    assert len(page.encode()) < 8_000_000
    return read
