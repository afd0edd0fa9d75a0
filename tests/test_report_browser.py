"""The report in a real browser: sliders, nearest images, trajectories, narrow windows, and
axe-core.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pushforward.evaluation.measurements import NearestImages, Pictures
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
        ModelResult(name, scores={"frechet": Score(0.2 + number, 0.01, ratio=2.0), **others})
        for number, name in enumerate(NAMES)
    )
    info = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}
    info |= {name: MetricInfo(f"A {name}", "higher", "A share.") for name in others}
    real_data_scores = {"frechet": Score(0.1, 0.01)}
    return Comparison(
        "three models",
        metrics=info,
        real_data_scores=real_data_scores,
        models=models,
        pictures=pictures,
    )


def images():
    rng = np.random.default_rng(0)

    def draw(n=25):
        return rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)

    shown = {"real": Pictures(draw())}
    for name in NAMES:
        forming = None if name == "gan" else [(t, draw()) for t in (1.0, 0.5, 0.0)]
        nearest = NearestImages(draw(), np.arange(25) + 0.5, 7.25)
        training = [(10 * k, draw()) for k in (1, 2, 5, 9)]
        shown[name] = Pictures(draw(), formation=forming, training=training, nearest=nearest)
    return compared(shown)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Report(images()).save(tmp_path_factory.mktemp("pages") / "images.html")


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened
        assert opened.requests == []
        assert opened.errors == []


def test_the_training_slider_moves_all_models_together(browser, page):
    browser.resize(1440, 900)
    browser.open(page)
    browser.run("document.querySelector('#slider-t').focus()")
    for key, step in (("Home", 10), ("ArrowRight", 20), ("ArrowRight", 50)):
        browser.press(key)
        assert (
            browser.run("[...document.querySelectorAll('.at')].map((one) => one.textContent)")
            == [f"after step {step}"] * 3
        )


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nothing_is_wider_than_the_window(browser, page, width):
    browser.resize(width, 900)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") == width
    wider = (
        "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > "
        "one.clientWidth + 1).length"
    )
    assert browser.run(wider) == 0


def test_axe_finds_nothing_serious_and_finds_planted_faults(browser, page, tmp_path):
    axe = Path(os.environ.get("AXE", "node_modules/axe-core/axe.min.js"))
    if not axe.is_file():
        pytest.skip("axe-core is not installed: set AXE to its axe.min.js")
    source = axe.read_text(encoding="utf-8") + "; 0"
    result = found(browser, source, page)
    assert result["passed"] > 20
    assert [problem for problem in result["problems"] if problem["impact"] in GRAVE] == []
    faulty = tmp_path / "faulty.html"
    faulty.write_text(
        page.read_text(encoding="utf-8").replace('alt="Samples of gan"', ""), encoding="utf-8"
    )
    assert [problem["id"] for problem in found(browser, source, faulty)["problems"]] == [
        "image-alt"
    ]


WORDS = """(() => {
  const picture = document.querySelector('main img, main svg.chart');
  const first = picture.getBoundingClientRect().top + scrollY;
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let before = 0, seen = 0;
  while (nodes.nextNode()) {
    const node = nodes.currentNode, parent = node.parentElement;
    const words = node.data.trim().split(/\\s+/).filter((word) => word);
    if (parent.closest('script, style, .skip')) continue;
    if (parent.closest('details:not([open])') && !parent.closest('summary')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const [rect] = range.getClientRects();
    if (!rect) continue;
    if (rect.top + scrollY < first && !parent.closest('svg')) before += words.length;
    if (rect.top + scrollY < 3 * 844) seen += words.length;
  }
  return [before, seen];
})()"""


def test_few_words_stand_before_the_first_picture_and_on_the_first_screens_of_a_phone(
    browser, page
):
    browser.resize(390, 844)
    browser.open(page)
    before, seen = browser.run(WORDS)
    assert 10 < before <= 120
    assert before < seen <= 250
