"""How soon does the page of an exported model show its first picture, and what does an image cost
there?

Protocol: an untrained flow of 28 x 28 images with the small U-Net (1.2 M weights), its zeros
    scattered, and a tiny generator,
each a page opened from disk by a new headless Chromium; medians of ``--runs`` openings. Then one
image at a time, in 10 steps of dpm, by the page and by onnxruntime with one thread from the same
file and seeds, in turns. Bars: the first picture within 4 s, at most 3 times the time of
onnxruntime, at most 5 MB and 1.3 times the ONNX file.

    python benchmarks/page.py [--runs 5] [--smoke]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, smoking, table, write

import numpy as np
import torch

import pushforward as pf
from pushforward.conditions import Label
from pushforward.draws import ExampleDraws
from pushforward.export import Graph, graph
from pushforward.export.page import write as write_page
from pushforward.export.parity import session

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

from browser import Browser, binary

SPACE = pf.data.ImageSpace(
    (1, 28, 28), (0.13,), (0.31,), (0.0,), (1.0,), {"label": Label.numbered(10)}
)
STEPS = 10
FIRST = "performance.getEntriesByName('first picture')[0]?.startTime ?? 0"
BARS = {"first": 4.0, "ratio": 3.0}


def exported(recipe: str) -> Graph:
    """An untrained model as the graph of a page."""
    torch.manual_seed(0)
    transport = pf.recipes.named(recipe)(
        SPACE, "tiny" if recipe == "gan" else "small"
    ).method.transport()
    with torch.no_grad():
        for weight in (weight for weight in transport.parameters() if not weight.abs().sum()):
            weight.normal_(0, 0.02)
    has_steps = recipe == "flow"
    return graph(
        transport, ["dpm"] if has_steps else [], STEPS if has_steps else None, name=recipe, way=True
    )


def settled(browser: Browser, expression: str) -> Any:
    """A value of the page, once it is neither 0 nor absent."""
    end = time.monotonic() + 120
    while not (value := browser.run(expression)) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def image_in_page(browser: Browser, seed: int) -> float:
    """Milliseconds that the page says of one image of a seed."""
    act = f"one.value = {seed}; one.dispatchEvent(new Event('input', {{bubbles: true}}))"
    browser.run(
        f"((one) => {{ document.querySelector('[value=one]').checked = true; {act}; "
        "})(document.getElementById('seed'))"
    )
    done = "!document.querySelector('[role=status]').textContent.endsWith('…')"
    return float(
        settled(browser, f"{done} && Number(document.querySelector('.panel').dataset.milliseconds)")
    )


def image_in_onnxruntime(made: Graph) -> Callable[[int], float]:
    """A function that draws one image of a seed, and returns its milliseconds."""
    model = session(made.model.SerializeToString())
    given = {
        "steps": np.array(STEPS),
        "solver": np.array(0),
        "way": np.array(0),
        "scale": np.ones(1, np.float32),
    }
    given["label"] = np.zeros(1, np.int64)

    def draw(seed: int) -> float:
        feeds = given | {"z": ExampleDraws([seed]).normal(made.transport.noise_shape).numpy()}
        began = time.perf_counter()
        model.run(None, {one.name: feeds[one.name] for one in model.get_inputs()})
        return 1000 * (time.perf_counter() - began)

    return draw


def page_rows(runs: int) -> list[dict[str, Any]]:
    """Bytes, first picture and time of an image, for a generator and, but in a smoke run, for the
    U-Net.
    """
    rows = []
    for recipe in ("gan",) if smoking() else ("gan", "flow"):
        made = exported(recipe)
        content = made.model.SerializeToString()
        path = Path(tempfile.mkdtemp()) / "page.html"
        write_page(path, [(made.description, content)], recipe)
        row: dict[str, Any] = {
            "model": recipe,
            "onnx_bytes": len(content),
            "page_bytes": path.stat().st_size,
        }
        row["bar_bytes"] = round(5e6 + 1.3 * len(content))
        if binary() is not None:
            row |= timed(path, image_in_onnxruntime(made), runs)
        rows.append(row)
    return rows


def timed(path: Path, draw: Callable[[int], float], runs: int) -> dict[str, Any]:
    """Medians over new browsers of seconds to the first picture, and of milliseconds of an image
    there and in onnxruntime.
    """
    first = []
    there = []
    here = []
    for run in range(runs):
        with Browser() as browser:
            browser.open(path)
            first.append(settled(browser, FIRST) / 1000)
            image_in_page(browser, 0)
            for seed in range(1, 6):
                there.append(image_in_page(browser, 100 * run + seed))
                here.append(draw(100 * run + seed))
    page = float(np.median(there))
    onnxruntime = float(np.median(here))
    return {
        "first": float(np.median(first)),
        "page_ms": page,
        "onnxruntime_ms": onnxruntime,
        "ratio": page / onnxruntime,
    }


def text_of(rows: list[dict[str, Any]]) -> str:
    """The table."""
    head = [
        "model",
        "ONNX, MB",
        "page, MB",
        "bar, MB",
        "first picture, s",
        "image, ms",
        "onnxruntime, ms",
        "ratio",
    ]
    cells = [
        [
            row["model"],
            *(f"{row[name] / 1e6:.2f}" for name in ("onnx_bytes", "page_bytes", "bar_bytes")),
        ]
        + [
            f"{row[name]:.3g}" if name in row else "no Chromium"
            for name in ("first", "page_ms", "onnxruntime_ms", "ratio")
        ]
        for row in rows
    ]
    return (
        f"Bars: first picture within {BARS['first']:g} s, ratio at most "
        f"{BARS['ratio']:g}.\n\n{table(head, cells)}"
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the table and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="openings of each page (default 5)")
    given = parsed(parser, words, runs=1)
    rows = page_rows(given.runs)
    write("page", "Pages of exported models", text_of(rows), rows, runs=given.runs, steps=STEPS)


if __name__ == "__main__":
    main()
