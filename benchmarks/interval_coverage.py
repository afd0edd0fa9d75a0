"""Do the 95 % intervals of scores hold the true value? Simulated repeats of whole evaluations, new samples and real data in each.

    python benchmarks/interval_coverage.py [--repeats 200] [--n 200]
    python benchmarks/interval_coverage.py --metrics copying sinkhorn    # these alone; other rows stay as results/ has them

Each repeat draws n real and n generated examples (three times), scores them as an evaluation does, and asks whether the stated
interval holds the true value. True values are closed forms where there are such, else the mean score over repeats that are not
those judged: for a score whose mean depends on n, that mean is what the interval is of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from protocol import benchmark, parsed, results, table, write

import numpy as np
from scipy.stats import norm

from pushforward.evaluation.judge import combined
from pushforward.evaluation.naming import chosen
from pushforward.evaluation.naming import measured as scores_of
from pushforward.metrics import Samples, Score, describe
from pushforward.metrics.frechet import gaussian_distance
from pushforward.metrics.stacked import Stacked

SAMPLINGS = 3
RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
STD, SIDE, FEATURES, MODES, CLASSES = 0.1, 8, 16, 27, 5
READ = "modes that are read"
WEIGHTS = np.array([0.16, 0.14, 0.13, 0.125, 0.125, 0.12, 0.11, 0.09])
"""Of the generated modes; the true ones have an eighth each."""
AXES = np.linalg.qr(np.random.Generator(np.random.Philox(3)).standard_normal((SIDE * SIDE, FEATURES)))[0]
DECAY = 1 / np.sqrt(1 + np.arange(SIDE * SIDE))
"""Standard deviations of the numbers of an image, before they are turned."""


def classes_of(features: np.ndarray) -> np.ndarray:
    """Five classes of images, equally frequent in real data, by their first feature."""
    ends = norm.ppf(np.arange(1, CLASSES) / CLASSES) * np.linalg.norm(DECAY * AXES[:, 0])
    return np.digitize(features[:, 0], ends)


@dataclass(frozen=True)
class Case:
    """Real data and a model, by their draws."""

    name: str
    real: Callable[[int, np.random.Generator], np.ndarray]
    model: Callable[[int, np.random.Generator], np.ndarray]
    shape: tuple[int, ...]
    truths: dict[str, float]

    def samples(self, n: int, reference: np.ndarray, training: np.ndarray, draw: np.random.Generator) -> Samples:
        """One sampling of the model beside a reference."""
        generated = self.model(n, draw)
        features = [rows.astype(np.float64) if len(self.shape) == 1 else rows @ AXES for rows in (generated, reference)]
        if len(self.shape) == 1:
            truth = SimpleNamespace(centres=RING, std=STD, weights=np.full(8, 1 / 8))
            return Samples(generated, reference, training, *features, shape=self.shape, truth=truth)
        classes = dict(zip(("generated_classes", "reference_classes"), map(classes_of, features), strict=True))
        return Samples(generated, reference, training, *features, shape=self.shape, **classes, classes=CLASSES)


def ring(width: float, weights: np.ndarray | None, bridges: float = 0.0) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Points around eight centres, some of them spread between."""

    def draw(n: int, random: np.random.Generator) -> np.ndarray:
        x = RING[random.choice(8, n, p=weights)] + width * STD * random.standard_normal((n, 2))
        return np.where(random.random((n, 1)) < bridges, 0.03 * random.standard_normal((n, 2)), x).astype(np.float32)

    return draw


def images(scale: float, shift: float) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Flattened images of Gaussian numbers."""

    def draw(n: int, random: np.random.Generator) -> np.ndarray:
        x = scale * DECAY * random.standard_normal((n, SIDE * SIDE))
        return (x + shift * AXES[:, 0]).astype(np.float32)

    return draw


def cases() -> list[Case]:
    """A model with usual faults and one without any, for points and for images."""
    spread, real = AXES.T @ np.diag(DECAY**2) @ AXES, np.zeros(FEATURES)
    limit = gaussian_distance(0.3 * np.eye(FEATURES)[0], 0.81 * spread, real, spread)
    shape = (1, SIDE, SIDE)
    return [
        Case("points, a fair model", ring(1, None), ring(1.1, WEIGHTS, 0.05), (2,), {"bridges": 0.05}),
        Case(
            "points, perfect",
            ring(1, None),
            ring(1, None),
            (2,),
            {"frechet_limit": 0.0, "kid": 0.0, "energy": 0.0, "spread": 1.0},
        ),
        Case("images, a fair model", images(1, 0), images(0.9, 0.3), shape, {"frechet_limit": limit}),
        Case("images, perfect", images(1, 0), images(1, 0), shape, {"frechet_limit": 0.0, "kid": 0.0}),
    ]


class Reader:
    """Modes as they are written in the first column."""

    modes = MODES

    def read(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 0].astype(np.int64)


def repeated(case: Case, n: int, repeat: int, metrics: list[str] | None) -> list[dict[str, Score]]:
    """The scores of each sampling of one repeat."""
    draw = np.random.Generator(np.random.Philox(key=[repeat, sum(map(ord, case.name))]))
    reference, training = case.real(n, draw), case.real(2 * n, np.random.Generator(np.random.Philox(1)))
    return [scores_of(case.samples(n, reference, training, draw), chosen(metrics)) for _ in range(SAMPLINGS)]


def of_stacked(n: int, repeat: int) -> list[dict[str, Score]]:
    """The same for modes that a classifier reads."""
    draw = np.random.Generator(np.random.Philox(key=[repeat, 7]))
    shares = np.linspace(1, 2, MODES) / np.linspace(1, 2, MODES).sum()
    rows = [draw.choice(MODES, (n, 1), p=shares).astype(np.float32) for _ in range(SAMPLINGS)]
    return [Stacked()(Samples(x, x, x, x, x, shape=(1,), truth=Reader())) for x in rows]


def coverage(name: str, results: list[list[dict[str, Score]]], truths: dict[str, float], n: int) -> list[dict[str, Any]]:
    """How often the interval of each score holds the true value, which comes from the other half of the repeats."""
    rows: list[dict[str, Any]] = []
    known = describe()
    for score in results[0][0]:
        values = np.array([[sampling[score].number for sampling in repeat] for repeat in results])
        half = len(values) // 2
        other = [truths.get(score, float((values[half:] if at < half else values[:half]).mean())) for at in range(len(values))]
        for count in (1, SAMPLINGS):
            intervals = [combined([sampling[score] for sampling in repeat[:count]], n, None, known[score]) for repeat in results]
            stated = [(interval, true) for interval, true in zip(intervals, other, strict=True) if interval.interval]
            spread = float(values[:, :count].mean(1).std(ddof=1))
            if len(stated) < len(intervals) / 2 or spread == 0:
                continue
            held = [interval.interval[0] <= true <= interval.interval[1] for interval, true in stated]
            widths = [(interval.interval[1] - interval.interval[0]) / 2 for interval, _ in stated]
            row = {"case": name, "score": score, "samplings": count, "of": stated[0][0].interval_of, "held": float(np.mean(held))}
            rows.append(row | {"true": float(np.mean(other)), "half": float(np.mean(widths)), "spread": spread})
    return rows


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--metrics", nargs="*", help="measure these alone")
    given = parsed(parser, words, repeats=2, n=40)
    rows = []
    for case in cases():
        results_of = [repeated(case, given.n, at, given.metrics) for at in range(given.repeats)]
        rows += coverage(case.name, results_of, case.truths, given.n)
        print(case.name, flush=True)
    if given.metrics is None:
        rows += coverage(READ, [of_stacked(given.n, at) for at in range(given.repeats)], {}, given.n)
    report(rows if given.metrics is None else joined(rows), given)


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, and of the results that there are those of other scores, which say at which commit they were measured."""
    path = results() / "interval_coverage.json"
    before = json.loads(path.read_text()) if path.exists() else {"rows": []}
    measured = {(row["case"], row["score"]) for row in rows}
    others = [row for row in before["rows"] if (row["case"], row["score"]) not in measured]
    rows = rows + [{"commit": before["commit"], **row} for row in others]
    order = {name: at for at, name in enumerate([*(case.name for case in cases()), READ])}
    scores = {name: at for at, name in enumerate(describe())}
    return sorted(rows, key=lambda row: (order[row["case"]], scores[row["score"]], row["samplings"]))


def report(rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    known, names = describe(), list(dict.fromkeys((row["case"], row["score"]) for row in rows))
    body = []
    for case, score in names:
        by_samplings = {row["samplings"]: row for row in rows if (row["case"], row["score"]) == (case, score)}
        cells = [
            f"{by_samplings[count]['held']:.1%}".replace("%", " %") if count in by_samplings else "–" for count in (1, SAMPLINGS)
        ]
        last = by_samplings[max(by_samplings)]
        width = f"{last['half'] / (1.96 * last['spread']):.2f}"
        of = "at any n" if known[score].unbiased else f"at n = {given.n}"
        body.append([case, score, of, f"{last['true']:.4g}", *cells, last["of"], width])
    head = [
        "case",
        "score",
        "true value",
        "",
        "held, 1 sampling",
        f"held, {SAMPLINGS} samplings",
        "interval over",
        "width over the right one",
    ]
    text = table(head, body)
    fair = [row for row in rows if "perfect" not in row["case"]]
    for count in (1, SAMPLINGS):
        some = [row for row in fair if row["samplings"] == count]
        within = [row for row in some if 0.9 <= row["held"] <= 0.99]
        text += (
            f"\n\n{count} sampling{'s' if count > 1 else ''}, models that are not perfect: {len(within)} of {len(some)} scores "
        )
        text += "hold the true value in 90 to 99 % of the repeats"
        off = [f"{row['score']} ({row['case']}, {row['held']:.1%})".replace("%)", " %)") for row in some if row not in within]
        text += f"; not {', '.join(off)}." if off else "."
    text += (
        "\n\nReal data is drawn anew for each repeat. The width is that of the mean interval over 1.96 standard deviations of "
        "the score over repeats. Of a perfect model, distances are at the end of their range, where their first order is 0: "
        f"intervals are then too wide on purpose. With {given.repeats} repeats a share of 95 % is uncertain by 3 points."
    )
    for older in dict.fromkeys(row["commit"] for row in rows if "commit" in row):
        names = dict.fromkeys(f"{row['score']} ({row['case']})" for row in rows if row.get("commit") == older)
        text += f"\n\nMeasured before, at {older}: {', '.join(names)}."
    write("interval_coverage", "Intervals of scores that hold the true value", text, rows, repeats=given.repeats, n=given.n)


if __name__ == "__main__":
    main()
