"""Pictures and a page of a report, and what a page has to be."""

from __future__ import annotations

import functools
import html.parser
import re

import numpy as np
from programs.reporting import VALUES, metrics, real_data_scores, score


@functools.cache
def of_digits():
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    x = load_digits().images[..., None] / 16
    pictures = {"real": {"grid": (x[:64] * 255).astype(np.uint8)}}
    for i, name in enumerate(VALUES):
        data = np.clip(
            x[100 + 64 * i : 164 + 64 * i] + (0.02 + 0.03 * i) * rng.normal(size=(64, 8, 8, 1)),
            0,
            1,
        )
        noise = rng.normal(size=(16, 8, 8, 1)) * 0.5 + 0.5
        mix = [
            (float(t), np.clip((1 - t) * data[:16] + t * noise, 0, 1))
            for t in np.linspace(1, 0, 11)
        ]
        history = [
            (
                500 * k,
                (255 * np.clip(data[:64] + rng.normal(size=data.shape) / (1 + 2 * k), 0, 1)).astype(
                    np.uint8
                ),
            )
            for k in range(6)
        ]
        pictures[name] = {
            "grid": (data * 255).astype(np.uint8),
            "formation": [(t, (255 * frame).astype(np.uint8)) for t, frame in mix]
            if name in ("flow", "ddpm")
            else None,
            "training": history,
        }
    return pictures


@functools.cache
def of_toys():
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)

    def draw(n, modes, width):
        return (centres[rng.integers(0, modes, n)] + width * rng.normal(size=(n, 2))).astype(
            np.float32
        )

    pictures = {"real": {"grid": draw(1000, 8, 0.05)}}
    for name, modes, width in (
        ("flow", 8, 0.06),
        ("ddpm", 8, 0.08),
        ("gan", 6, 0.03),
        ("vae", 8, 0.2),
    ):
        data = draw(1000, modes, width)
        noise = rng.normal(size=(600, 2))
        path = [
            (float(t), ((1 - t) * data[:600] + t * noise).astype(np.float32))
            for t in np.linspace(1, 0, 9)
        ]
        iterative = name in ("flow", "ddpm")
        pictures[name] = {"grid": data, "formation": path if iterative else None}
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
    for entry, npe in zip(content["models"], (0.31, 0.48), strict=False):
        entry["trajectory"]["npe"] = npe
    more = {
        "modes_held": ("Modes held", "higher", 8.0, 0.0),
        "bridges": ("Bridges", "lower", 0.001, 0.001),
        "spread": ("Spread", "target", 1.0, 0.02),
    }
    content["metrics"] = {
        k: v for k, v in content["metrics"].items() if k != "sharpness"
    } | metrics(more)
    content["real_data_scores"] = {
        k: v for k, v in content["real_data_scores"].items() if k != "sharpness"
    } | real_data_scores(more)
    modes = {
        "flow": (8, 0.01, 1.05),
        "ddpm": (8, 0.02, 1.1),
        "gan": (6, 0.005, 0.6),
        "vae": (8, 0.2, 1.8),
    }
    for row in content["models"]:
        held, bridges, spread = modes[row["name"]]
        row["scores"].pop("sharpness")
        row["scores"] |= {
            "modes_held": score(held, 0.0, 8),
            "bridges": score(bridges, 0.002, 0.001),
            "spread": score(spread, 0.01, 1),
        }
    return content


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
            if name in ("src", "srcset", "poster", "action", "data", "xlink:href") or (
                name == "href" and tag == "link"
            ):
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
    assert all(
        address.removeprefix("#") in read.ids for address in read.hrefs if address.startswith("#")
    )
    styles = " ".join(re.findall(r"<style>(.*?)</style>", page, re.S)) + " ".join(
        re.findall(r'style="([^"]*)"', page)
    )
    assert all(
        address.strip("'\"").startswith("data:")
        for address in re.findall(r"url\(([^)]*)\)", styles)
    )
    assert "@import" not in styles
    assert all("alt" in attrs for tag, attrs in read.tags if tag == "img")
    assert len(page.encode()) < 8_000_000
    return read
