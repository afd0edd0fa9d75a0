"""The report in a real browser: sliders, nearest images, trajectories, narrow windows, and axe-core."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pushforward.evaluation.measurements import Field2D, NearestImages, Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score
from pushforward.report import Report

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

from accessibility import GRAVE, found
from browser import Browser, binary

pytestmark = pytest.mark.skipif(binary() is None, reason="there is no Chromium")

NAMES = ("gan", "flow", "ddpm")


def compared(pictures):
    """Three models with one score that ranks them and six others; the first needs a single call."""
    others = {f"score {number}": Score(0.123, interval=(0.1001, 0.1501)) for number in range(6)}
    models = tuple(
        ModelResult(name, scores={"frechet": Score(0.2 + number, 0.01, ratio=2.0), **others}) for number, name in enumerate(NAMES)
    )
    info = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}
    info |= {name: MetricInfo(f"A {name}", "higher", "A share.") for name in others}
    return Comparison("three models", metrics=info, floors={"frechet": Score(0.1, 0.01)}, models=models, pictures=pictures)


def images():
    rng = np.random.default_rng(0)

    def draw(n=25):
        return rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)

    shown = {"real": Pictures(draw())}
    for name in NAMES:
        forming = None if name == "gan" else [(t, draw()) for t in (1.0, 0.5, 0.0)]
        nearest = NearestImages(draw(), np.arange(25) + 0.5, 7.25)
        shown[name] = Pictures(draw(), formation=forming, training=[(10 * k, draw()) for k in (1, 2, 5, 9)], nearest=nearest)
    return compared(shown)


def points():
    """The field moves everything to the right; trajectories lead from the middle of their cell one unit to the right."""
    rng = np.random.default_rng(1)
    times, cells = np.array([1.0, 0.5, 0.0]), 4
    middles = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, cells)] * 2), axis=-1)
    ways = middles[None, :, :, None, :] + (1 - times)[:, None] * np.array([1.0, 0.0])
    velocities = np.broadcast_to(np.array([1.0, 0.0]), (1, 3, 3, 3, 2))
    field = Field2D((-2.0, 2.0, -2.0, 2.0), times, velocities, times, ways, ("",))
    shown = {"real": Pictures(rng.normal(size=(60, 2)))}
    for name in NAMES:
        grid = rng.normal(size=(60, 2))
        moves = None if name == "gan" else field
        mesh = np.stack([np.stack([np.linspace(-1, 1, 5), np.full(5, y)], -1) for y in (-1, 0, 1)]) if name == "gan" else None
        forming = None if name == "gan" else [(t, grid) for t in (1.0, 0.5, 0.0)]
        shown[name] = Pictures(grid, formation=forming, field=moves, mesh=mesh)
    return compared(shown)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {
        name: Report(comparison).save(folder / f"{name}.html")
        for name, comparison in (("images", images()), ("points", points()))
    }


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened
        assert opened.requests == []
        assert opened.errors == []


@pytest.mark.parametrize("width", [1440, 768, 390])
@pytest.mark.parametrize("name", ["images", "points"])
def test_nothing_is_wider_than_the_window(browser, pages, name, width):
    browser.resize(width, 900)
    browser.open(pages[name])
    assert browser.run("document.documentElement.scrollWidth") == width
    wider = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert browser.run(wider) == 0


@pytest.mark.parametrize("name", ["images", "points"])
def test_axe_finds_nothing_serious_and_finds_planted_faults(browser, pages, name, tmp_path):
    axe = Path(os.environ.get("AXE", "node_modules/axe-core/axe.min.js"))
    if not axe.is_file():
        pytest.skip("axe-core is not installed: set AXE to its axe.min.js")
    source = axe.read_text(encoding="utf-8") + "; 0"
    result = found(browser, source, pages[name])
    assert result["passed"] > 20
    assert [problem for problem in result["problems"] if problem["impact"] in GRAVE] == []
    faulty = tmp_path / "faulty.html"
    faulty.write_text(pages[name].read_text(encoding="utf-8").replace('alt="Samples of gan"', ""), encoding="utf-8")
    assert [problem["id"] for problem in found(browser, source, faulty)["problems"]] == ["image-alt"]


WORDS = """(() => {
  const first = document.querySelector('main img, main svg.chart').getBoundingClientRect().top + scrollY;
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let before = 0, seen = 0;
  while (nodes.nextNode()) {
    const node = nodes.currentNode, parent = node.parentElement, words = node.data.trim().split(/\\s+/).filter((word) => word);
    if (parent.closest('script, style, .skip') || (parent.closest('details:not([open])') && !parent.closest('summary'))) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const [rect] = range.getClientRects();
    if (!rect) continue;
    if (rect.top + scrollY < first && !parent.closest('svg')) before += words.length;
    if (rect.top + scrollY < 3 * 844) seen += words.length;
  }
  return [before, seen];
})()"""


@pytest.mark.parametrize("name", ["images", "points"])
def test_few_words_stand_before_the_first_picture_and_on_the_first_screens_of_a_phone(browser, pages, name):
    browser.resize(390, 844)
    browser.open(pages[name])
    before, seen = browser.run(WORDS)
    assert 10 < before <= 120
    assert before < seen <= 250
