"""How often is one of equal models called clearly ahead, and how often is a true difference found?

    python benchmarks/paired_comparisons.py [--comparisons 2000] [--of-trees 200] [--workers 2]
    [--metrics coverage] [--every 1]

Results of metrics that are not asked for are kept.

Data are drawn from a standard normal distribution in four dimensions, samples of a model from one
that is moved along an axis. Models that are moved equally far, along different axes or in opposite
directions, have equal expected scores. Training runs of one model differ in how far it is moved.
Models have noise of their own, or share it, as solvers of one run do.

Power is measured for pairs whose true difference is five standard deviations of the difference over
    repeated comparisons: the
second model is moved farther in steps, and the power is read off between the two steps around a
ratio of five, or at the first step where its ratio is greater already.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from protocol import benchmark, parsed, results, table, write

import numpy as np
from scipy.spatial.distance import cdist

from pushforward.evaluation.intervals import combined
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import MetricInfo, Samples, Score
from pushforward.metrics.manifold import OF_REFERENCE, Manifold, scaled
from pushforward.metrics.subsets import by_examples, drawn, groups_of
from pushforward.metrics.two_sample import frechet_distance
from pushforward.metrics.uncertainty import by_blocks, frechet_errors, share_error, sliced_terms
from pushforward.tables.metrics.table import Table
from pushforward.tables.metrics.trees import Detection

DIMENSIONS = 4
N = 200
NEIGHBOURS = 5
MODELS = (2, 4, 8)
SAMPLINGS = (1, 2, 5)
TRAININGS = (1, 3, 5)
MOVED = 0.5  # How far equal models are moved, in standard deviations of the data
VARIED = 0.05  # Standard deviation of that over training runs
LABELS = {
    "frechet": "Fréchet distance",
    "coverage": "coverage",
    "sliced_w2": "sliced W2",
    "detection": "two-sample score",
}
HIGHER = ("coverage", "detection")
# The greatest numbers of models, training runs and samplings; training runs differ, so that one of
# them is not in the same grid
GRIDS = [(8, 1, 5), (8, 5, 5)]
GRIDS_OF_TREES = [(8, 1, 5), (8, 5, 1)]
FURTHER = np.concatenate(
    [[0.0], np.geomspace(0.001, 1.8, 24)]
)  # How much farther the second of two models is moved
FURTHER_OF_TREES = np.array([0.0, 0.45, 0.6, 0.75, 0.9, 1.1, 1.4])
RATIO = 5.0
# Orthonormal axes: all directions in which models are moved project onto them equally
AXES = np.concatenate(
    [
        np.linalg.qr(np.random.default_rng(seed).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
        for seed in range(4)
    ],
    axis=1,
)


def frechet(x: np.ndarray, real: np.ndarray) -> Score:
    distance = frechet_distance(x, real)
    *_, (of_x, of_real) = frechet_errors(x, real, distance)
    return Score(distance, sample_terms=by_examples(of_x), reference_terms=by_examples(of_real))


def sliced_w2(x: np.ndarray, real: np.ndarray) -> Score:
    first = x @ AXES
    second = real @ AXES
    value = float(np.sqrt(np.square(np.sort(first, 0) - np.sort(second, 0)).mean()))
    of_x, of_real = (by_examples(terms / (2 * value)) for terms in sliced_terms(first, second))
    return Score(value, sample_terms=of_x, reference_terms=of_real)


def coverage(x: np.ndarray, real: np.ndarray) -> Score:
    """The score of `Manifold`, without what takes most of its time at so few examples."""
    balls = np.partition(cdist(real, real), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    groups = groups_of(len(x))
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    covering = np.minimum.reduceat(cdist(real, x[order]), starts, axis=1) < balls[:, None]
    covered = covering.any(1)
    without = (covering.sum(1, keepdims=True) > covering).mean(0)
    terms = len(starts) * covered.mean() - (len(starts) - 1) * without
    blocks = by_blocks(_covered, drawn(x, len(x), 0), drawn(real, len(real), 1), 5 * NEIGHBOURS)
    error = max(float(blocks[0]), share_error(covered.sum(), len(x)))
    sample_terms = scaled(terms, error**2 * (1 - OF_REFERENCE["coverage"]))
    reference_terms = by_examples(covered.astype(float))
    return Score(float(covered.mean()), sample_terms=sample_terms, reference_terms=reference_terms)


def _covered(x: np.ndarray, real: np.ndarray) -> np.ndarray:
    balls = np.partition(cdist(real, real), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    return np.array([(cdist(real, x).min(1) < balls).mean()])


def detection(x: np.ndarray, real: np.ndarray) -> Score:
    columns = tuple(f"column {number}" for number in range(DIMENSIONS))
    rows = Table(x, real, columns, ("number",) * DIMENSIONS, ((),) * DIMENSIONS)
    return Detection()(Samples(x, real, real, x, real, (DIMENSIONS,), table=rows))["detection"]


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], Score]] = {
    "frechet": frechet,
    "coverage": coverage,
    "sliced_w2": sliced_w2,
    "detection": detection,
}


def check_coverage() -> None:
    """Assert that the coverage of this file is that of the package."""
    x, real = np.random.default_rng(0).standard_normal((2, N, DIMENSIONS))
    theirs = Manifold(NEIGHBOURS)(Samples(x, real, real, x, real, (1, 2, 2)))["coverage"]
    ours = coverage(x, real)
    assert np.isclose(ours.value, theirs.value)
    assert np.allclose(ours.sample_terms, theirs.sample_terms)


def shifts(models: int, moved: float) -> np.ndarray:
    """Shifts (models, dimensions) of equal length: along the axes, then in the opposite
    directions.
    """
    both = np.concatenate([np.eye(DIMENSIONS), -np.eye(DIMENSIONS)])
    return moved * both[:models]


def results_of(
    metric: str, moved: np.ndarray, seed: int, shared: bool, trainings: int, samplings: int
) -> list[list[list[Score]]]:
    """Scores of each model, training run and sampling against the same held-out examples."""
    random = np.random.default_rng([seed, 1])
    real = random.standard_normal((N, DIMENSIONS))
    noise = random.standard_normal((samplings, N, DIMENSIONS))
    models = []
    for shift in moved:
        runs = []
        for _ in range(trainings):
            factor = 1 + random.normal() * VARIED / MOVED if trainings > 1 else 1.0
            own = noise if shared else random.standard_normal(noise.shape)
            runs.append([SCORES[metric](z + factor * shift, real) for z in own])
        models.append(runs)
    return models


def comparison_of(metric: str, models: list[list[list[Score]]]) -> Comparison:
    better: Literal["higher", "lower"] = "higher" if metric in HIGHER else "lower"
    info = MetricInfo(LABELS[metric], better, role="quality", root=metric == "sliced_w2")
    rows = [
        ModelResult(
            f"model {number}-{seed}", seed=seed, scores={metric: combined(samplings, N, None, info)}
        )
        for number, runs in enumerate(models)
        for seed, samplings in enumerate(runs)
    ]
    comparison = Comparison(models=tuple(rows), metrics={metric: info})
    if len(models[0]) > 1:
        return aggregated(comparison)
    return comparison


def told_apart(
    metric: str, moved: float, shared: bool, most: tuple[int, int, int], seed: int
) -> list[bool]:
    """Whether any of equal models is called clearly ahead, in each cell of `cells`."""
    models = results_of(metric, shifts(most[0], moved), seed, shared, *most[1:])
    every = {}
    for trainings, samplings in {cell[1:] for cell in cells(most)}:
        some = [[run[:samplings] for run in runs[:trainings]] for runs in models]
        every[trainings, samplings] = comparison_of(metric, some)
    said = []
    for count, *rest in cells(most):
        comparison = every[tuple(rest)]
        pairs = replace(comparison, models=comparison.models[:count]).differences()[metric]
        said.append(any(pair["ahead"] for pair in pairs))
    return said


def cells(most: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Numbers of models, training runs and samplings, each at most the given one; several training
    runs, or one.
    """
    models, trainings, samplings = most
    runs = [number for number in TRAININGS if 1 < number <= trainings] or [1]
    return [
        (count, run, sampling)
        for count in MODELS
        for run in runs
        for sampling in SAMPLINGS
        if count <= models and sampling <= samplings
    ]


def rows_of(
    metric: str, noise: str, most: tuple[int, int, int], said: list[list[bool]]
) -> list[dict[str, Any]]:
    """Of each cell the rate at which equal models are told apart."""
    rates = np.mean(said, axis=0)
    row = {"metric": metric, "noise": noise, "comparisons": len(said)}
    return [
        row | {"cell": cell, "rate": float(rate)}
        for cell, rate in zip(cells(most), rates, strict=True)
    ]


def found(
    metric: str, moved: float, shared: bool, trainings: int, steps: np.ndarray, seed: int
) -> list[list[float]]:
    """For each step the difference of two models, and whether the better is called ahead among 2,
    4 and 8.
    """
    axis = np.eye(DIMENSIONS)[0]
    rows = []
    for further in steps:
        first, other = results_of(
            metric, np.stack([moved * axis, (moved + further) * axis]), seed, shared, trainings, 1
        )
        row = []
        for count in MODELS:
            pair = comparison_of(metric, [first, other, *[first] * (count - 2)])
            (stated,) = [
                each
                for each in pair.differences()[metric]
                if each["first"][:7] + each["other"][:7] == "model 0model 1"
            ]
            gap = stated["difference"] if metric in HIGHER else -stated["difference"]
            row.append(float(stated["ahead"] is not None and stated["ahead"].startswith("model 0")))
        rows.append([gap, *row])
    return rows


def power(rows: np.ndarray) -> tuple[float, list[float]]:
    """The greatest ratio of difference to standard deviation, and the power at `RATIO`,
    interpolated, for 2, 4 and 8 models.

    Args:
        rows: (comparisons, steps, 4), as `found` gives them.
    """
    gaps = rows[:, :, 0]
    said = rows[:, :, 1:]
    ratios = gaps.mean(0) / np.maximum(gaps.std(0, ddof=1), 1e-12)
    ratios[0] = 0.0
    if ratios.max() < RATIO:
        return float(ratios.max()), [float("nan")] * said.shape[2]
    upper = int(np.argmax(ratios >= RATIO))
    # where models share noise, the least step may exceed the ratio: its power is reported
    if upper == 1:
        return float(ratios.max()), said[:, 1].mean(0).tolist()
    weight = (RATIO - ratios[upper - 1]) / (ratios[upper] - ratios[upper - 1])
    seen = (1 - weight) * said[:, upper - 1].mean(0) + weight * said[:, upper].mean(0)
    return float(ratios.max()), seen.tolist()


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument(
        "--of-trees", type=int, default=200, help="comparisons of the two-sample score"
    )
    parser.add_argument(
        "--every", type=int, default=1, help="use every k-th step by which a model is moved"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--metrics", default=",".join(SCORES))
    given = parsed(parser, words, comparisons=2, of_trees=1, every=6, workers=1)
    check_coverage()
    stored = results() / "paired_comparisons.json"
    before = json.loads(stored.read_text())["rows"] if stored.exists() else []
    equal: list[dict[str, Any]] = []
    different: list[dict[str, Any]] = []
    with multiprocessing.Pool(given.workers) as pool:
        for metric, shared in itertools.product(given.metrics.split(","), (False, True)):
            trees = metric == "detection"
            count = given.of_trees if trees else given.comparisons
            noise = "shared" if shared else "own"
            steps = (FURTHER_OF_TREES if trees else FURTHER)[:: given.every]
            for most in GRIDS_OF_TREES if trees else GRIDS:
                work = partial(told_apart, metric, MOVED, shared, most)
                equal += rows_of(metric, noise, most, pool.map(work, range(count), chunksize=5))
            if not shared and not trees:
                work = partial(told_apart, metric, 0.0, False, (8, 1, 5))
                equal += rows_of(
                    metric,
                    "own, perfect models",
                    (8, 1, 5),
                    pool.map(work, range(count), chunksize=5),
                )
            for trainings in TRAININGS:
                if trainings == 1:
                    divisor = 5
                else:
                    divisor = 10 if trees else 20
                few = max(2, count // divisor)
                work = partial(found, metric, MOVED, shared, trainings, steps)
                ratio, seen = power(
                    np.array(pool.map(work, range(10**6, 10**6 + few), chunksize=5))
                )
                row = {"metric": metric, "noise": noise, "comparisons": few, "trainings": trainings}
                different.append(
                    row
                    | {"greatest": ratio, "power": dict(zip(map(str, MODELS), seen, strict=True))}
                )
            print(metric, noise, flush=True)
    kept = [row for row in before if row["metric"] not in given.metrics.split(",")]
    rows = sorted([*equal, *different, *kept], key=lambda row: list(SCORES).index(row["metric"]))
    write("paired_comparisons", "Models that are compared in pairs", _text(rows), rows)


def _text(rows: list[dict[str, Any]]) -> str:
    equal = [row for row in rows if "cell" in row]
    different = [row for row in rows if "power" in row]
    text = (
        f"Four dimensions, n = {N}. Equal models are moved by {MOVED} standard deviations, "
        "perfect "
        "ones by 0.\n\n"
    )
    text += (
        "## Equal models\n\nComparisons in which any model is called clearly ahead of another "
        "(at "
        "most 5 %).\n\n"
    )
    head = [
        "score",
        "noise",
        "comparisons",
        "training runs",
        "samplings",
        *(f"{count} models" for count in MODELS),
    ]
    body = []
    first = [row for row in equal if row["cell"][0] == MODELS[0]]
    for row in first:
        same = [
            other
            for count in MODELS
            for other in equal
            if (other["metric"], other["noise"], *other["cell"])
            == (row["metric"], row["noise"], count, *row["cell"][1:])
        ]
        cell = [
            LABELS[row["metric"]],
            row["noise"],
            *map(str, (row["comparisons"], *row["cell"][1:])),
        ]
        rates = [f"{100 * other['rate']:.1f} %" for other in same]
        body.append([*cell, *rates, *["–"] * (len(MODELS) - len(rates))])
    text += table(head, body)
    text += (
        f"\n\n## Power\n\nComparisons in which a difference of {RATIO:g} standard deviations "
        "is "
        "found, with one sampling "
    )
    text += "(at least 90 % of two models with one training run).\n\n"
    head = [
        "score",
        "noise",
        "comparisons",
        "training runs",
        *(f"among {count} models" for count in MODELS),
    ]
    body = [
        [
            LABELS[row["metric"]],
            row["noise"],
            str(row["comparisons"]),
            str(row["trainings"]),
            *(f"{100 * row['power'][str(count)]:.0f} %" for count in MODELS),
        ]
        for row in different
    ]
    return text + table(head, body)


if __name__ == "__main__":
    main()
