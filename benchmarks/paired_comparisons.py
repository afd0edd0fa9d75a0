"""Are equal models called better, and how small a difference is seen? Comparisons in pairs beside comparisons by spreads.

    python benchmarks/paired_comparisons.py [--comparisons 200] [--seconds 5]

First without training: models whose law is the data's (Gaussians of five classes in four dimensions), moved, so that their true
Fréchet distances are known; equal models are moved as far, in the same direction or in others. Then four models of digits, tiny
and trained for a few seconds each, scored with classes drawn by chance and in proportion. "By spreads" is the rule before:
three samplings, two spreads of the difference, none less than that of real data.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from typing import Any
from unittest import mock

from protocol import benchmark, load, parsed, table, train, write

import numpy as np

import pushforward as pf
from pushforward.evaluation import evaluator as judging
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Judge
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.uncertainty import frechet_errors
from pushforward.report.statistics import leaders, margin, statistic, statistics

INFOS = {"frechet": MetricInfo("Fréchet distance", "lower", role="quality", least=0.0)}
DIMENSIONS, CLASSES, N, SAMPLINGS = 4, 5, 200, 5
ALONG = np.eye(DIMENSIONS)
CASES = {
    "4 equal, perfect": [0 * ALONG[0]] * 4,
    "4 equal, moved by 0.3 in four directions": [0.3 * ALONG[0], -0.3 * ALONG[0], 0.3 * ALONG[1], -0.3 * ALONG[1]],
    "4 equal, moved by 1 in four directions": [ALONG[0], -ALONG[0], ALONG[1], -ALONG[1]],
    "4 equal, moved by 1 in one direction": [ALONG[0]] * 4,
    "moved by 0.3 and 0.4": [0.3 * ALONG[0], 0.4 * ALONG[0]],
    "moved by 0.3 and 0.5": [0.3 * ALONG[0], 0.5 * ALONG[0]],
}


def simulated(seed: int, shifts: list[np.ndarray], share: bool, classes: bool) -> Comparison:
    """Models of one comparison, from the same noise or each from its own."""
    random = np.random.default_rng([seed, 1])
    means = 1.5 * np.random.default_rng(0).standard_normal((CLASSES, DIMENSIONS))
    real = means[random.integers(CLASSES, size=N)] + random.standard_normal((N, DIMENSIONS))
    labels = [np.arange(N) % CLASSES if classes else random.integers(CLASSES, size=N) for _ in range(SAMPLINGS)]
    noise = random.standard_normal((SAMPLINGS, N, DIMENSIONS))
    models = []
    for number, shift in enumerate(shifts):
        noise = noise if share else random.standard_normal(noise.shape)
        rows = [_scored(means[label] + z + shift, real) for label, z in zip(labels, noise, strict=True)]
        scores = {"frechet": combined(rows, N, None, INFOS["frechet"])}
        models.append(ModelResult(f"model {number}", sampling_seeds=tuple(range(SAMPLINGS)), scores=scores))
    return Comparison(models=tuple(models), metrics=INFOS)


def _scored(x: np.ndarray, real: np.ndarray) -> Score:
    distance = frechet_distance(x, real)
    (error, shared), growth, terms = frechet_errors(x, real, distance)
    return Score(distance, error=error, reference_error=shared, growth=growth, reference_terms=terms)


def by_spreads(comparison: Comparison, metric: str = "frechet", samplings: int = 3) -> dict[frozenset[str], tuple[float, float]]:
    """Of each pair the difference and by how much it must differ, by the rule until version 0.2."""
    rows = {}
    for row in (*comparison.models, *([] if comparison.baseline is None else [comparison.baseline])):
        values = np.array(row.scores[metric].values[:samplings], dtype=float)
        rows[row.name] = values.mean(), max(values.std(ddof=1), (comparison.floors.get(metric, Score()).spread or 0.0))
    return {
        frozenset((a, b)): (abs(rows[a][0] - rows[b][0]), 2 * float(np.hypot(rows[a][1], rows[b][1])))
        for a, b in itertools.combinations(rows, 2)
    }


def simulate(case: str, share: bool, classes: bool, comparisons: int) -> dict[str, Any]:
    """How often any model of a comparison is called better than another, and the median of the least differences."""
    seen = []
    for seed in range(comparisons):
        comparison = simulated(seed, CASES[case], share, classes)
        scores, before = statistics(comparison, "frechet"), by_spreads(comparison)
        pairs = [margin(*pair) for pair in itertools.combinations(scores, 2)]
        seen.append(
            (
                len(leaders(comparison, "frechet")) < len(scores),
                any(gap > least for gap, least in before.values()),
                np.median(pairs),
                np.median([least for _, least in before.values()]),
            )
        )
    apart, apart_before, least, least_before = np.array(seen, dtype=float).T
    return {
        "case": case,
        "noise": "shared" if share else "own",
        "classes": "in proportion" if classes else "by chance",
        "told_apart": apart.mean(),
        "told_apart_by_spreads": apart_before.mean(),
        "least": np.median(least),
        "least_by_spreads": np.median(least_before),
    }


def on_digits(seconds: float) -> list[dict[str, Any]]:
    """The least differences between four models of digits and no network, with classes by chance and in proportion."""
    data = load("digits")
    makers = {name: getattr(pf.recipes, name) for name in ("gan", "vae", "ddpm", "flow")}
    runs = {name: train(lambda make=make: make(data.space, "tiny"), data, 0, seconds=seconds) for name, make in makers.items()}
    rows = []
    for classes in (False, True):
        with mock.patch.object(judging, "labels_for", judging.labels_for if classes else lambda *_: None):
            judge = Judge(data, metrics=["frechet", "manifold"])
            results = [_result(judge, name, run.transport) for name, run in runs.items()]
            base = _result(judge, "no network", GaussianBaseline.fit(data))
            comparison = judge.comparison(results)
            comparison = dataclasses.replace(comparison, baseline=base)
        for metric in ("frechet", "coverage"):
            before = by_spreads(comparison, metric)
            scores = [statistic(comparison, row, metric) for row in (*results, base)]
            for pair in itertools.combinations(scores, 2):
                apart = [dataclasses.replace(score, seeds=(), score=_without_terms(score.score)) for score in pair]
                gap, least = before[frozenset(score.name for score in pair)]
                rows.append(
                    {
                        "score": metric,
                        "classes": "in proportion" if classes else "by chance",
                        "pair": " and ".join(score.name for score in pair),
                        "difference": abs(pair[0].value - pair[1].value),
                        "least": margin(*pair),
                        "least_unpaired": margin(*apart),
                        "least_by_spreads": least,
                        "difference_by_spreads": gap,
                    }
                )
    return rows


def _without_terms(score: Score | None) -> Score | None:
    return None if score is None else dataclasses.replace(score, reference_terms=())


def _result(judge: Judge, name: str, transport: Any) -> ModelResult:
    scores = judge.scores(transport)[0]
    return ModelResult(name, sampling_seeds=tuple((at + 1) * REPEAT_SEEDS for at in range(judge.repeats)), scores=scores)


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0, help="of training of each of four models of digits")
    given = parsed(parser, words, comparisons=3, seconds=0.2)
    cases = [(case, share, True) for case in CASES for share in (True, False)]
    cases += [(case, True, False) for case in CASES]
    simulations = [simulate(*case, given.comparisons) for case in cases]
    digits = on_digits(given.seconds)
    head = ["models", "noise", "classes", "told apart", "by spreads", "least difference", "by spreads"]
    body = [
        [
            *(row[key] for key in ("case", "noise", "classes")),
            *(f"{100 * row[key]:.1f} %" for key in ("told_apart", "told_apart_by_spreads")),
            *(f"{row[key]:.3f}" for key in ("least", "least_by_spreads")),
        ]
        for row in simulations
    ]
    text = f"Fréchet distance, n = {N}, {given.comparisons} comparisons of each kind, {SAMPLINGS} samplings, "
    text += "by spreads 3 of them.\n\n"
    text += table(head, body)
    head = ["score", "classes", "models", "difference", "least difference", "not paired", "by spreads, 3 samplings"]
    keys = ("difference", "least", "least_unpaired", "least_by_spreads")
    body = [[*(row[key] for key in ("score", "classes", "pair")), *(f"{row[key]:.4f}" for key in keys)] for row in digits]
    text += f"\n\n## Digits\n\nFour tiny models of {given.seconds:g} s, one training each (seed 0), n = 360.\n\n"
    text += table(head, body) + "\n"
    for metric, classes in itertools.product(("frechet", "coverage"), ("by chance", "in proportion")):
        mine = [row for row in digits if (row["score"], row["classes"]) == (metric, classes)]
        least, apart, before = (np.median([row[key] for row in mine]) for key in keys[1:])
        text += f"\n- {metric}, classes {classes}: the median least difference is {least:.4f} in pairs, "
        text += f"{apart:.4f} not paired, {before:.4f} by spreads."
    write("paired_comparisons", "Models that are compared in pairs", text, simulations + digits)


if __name__ == "__main__":
    main()
