"""How many digits a classifier needs for nearly its best accuracy, and how many a generator for
nearly its best coverage.

Both learn from the same subset of the training digits: logistic regression of the label, p(label |
    data), and a flow given the
label, p(data | label). A quality is the share of what the same learner reaches with all training
digits; needed is the number of digits at which it passes 95 %, between two numbers by a straight
line in log n. The number of seeds was fixed beforehand; seeds 0 to 2, which were known then, are
not among them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from protocol import load, mean_and_spread, table, write

import numpy as np

import pushforward as pf
from claim_measurements.shared import KNOWN, floors_of, trained
from pushforward.evaluation import Evaluator

SEEDS = 12
NUMBERS = (50, 200, 600)
SHARE = 0.95
NAMES = ["coverage", "frechet"]


def measure(small: bool = False) -> None:
    steps, seeds = (2, 1) if small else (1000, SEEDS)
    data = load("digits")
    numbers = (50, len(data.train)) if small else (*NUMBERS, len(data.train))
    judge = Evaluator(data, 20 if small else len(data.held_out), 1, NAMES)
    rows = []
    for seed in range(KNOWN, KNOWN + seeds):
        points = [of_subset(judge, n, seed, steps) for n in numbers]
        needs = {
            f"needed_{name}": needed(numbers, [point[name] for point in points])
            for name in ("accuracy", "coverage")
        }
        rows.append({"seed": seed, "points": points, **needs})
        print(rows[-1], flush=True)
    body = []
    for at, n in enumerate(numbers):
        cells = [
            mean_and_spread([row["points"][at][name] for row in rows])
            for name in ("accuracy", *NAMES)
        ]
        body.append([f"{n:,}", *cells])
    body.append(
        [
            "95 % of the last from",
            *(
                mean_and_spread([row[f"needed_{name}"] for row in rows])
                for name in ("accuracy", "coverage")
            ),
            "",
        ]
    )
    floor = floors_of(judge, NAMES)
    body.append(
        [
            "real data",
            "",
            *(f"{floor[name]['value']:.4g} ± {floor[name]['spread'] or 0:.2g}" for name in NAMES),
        ]
    )
    text = table(
        ["digits", "classifier: accuracy", "flow: coverage", "flow: Fréchet distance"], body
    )
    text += (
        f"\n\nLogistic regression; a tiny flow, {steps} steps with batch size 128; {seeds} seeds, "
    )
    text += f"evaluated on {judge.n} held-out digits."
    write(
        "claim_labels",
        "Number of examples needed",
        text,
        rows,
        steps=steps,
        seeds=seeds,
        n=judge.n,
        floor=floor,
    )


def of_subset(judge: Evaluator, n: int, seed: int, steps: int) -> dict[str, Any]:
    """Accuracy of the classifier and scores of the flow that learned from n training digits."""
    from sklearn.linear_model import LogisticRegression

    data = judge.data
    index = np.random.default_rng(seed).permutation(len(data.train))[:n]
    part = data.train.take(index)
    flat = lambda split: split.data_units().flatten(1).numpy()  # noqa: E731
    classifier = LogisticRegression(max_iter=300).fit(flat(part), part.labels)
    accuracy = float(classifier.score(flat(data.held_out), data.held_out.labels))
    run = trained(
        lambda: pf.recipes.flow(data.space, "tiny"),
        dataclasses.replace(data, train=part),
        seed,
        steps,
    )
    assert run is not None, "this flow does not diverge"
    scores = judge.scores(run.transport)[0]
    return {"n": n, "accuracy": accuracy, **{name: scores[name].value for name in NAMES}}


def needed(numbers: tuple[int, ...], qualities: list[float]) -> float:
    """Where the quality first passes its share of the last one, by a straight line in log n between
    two numbers.
    """
    bar = SHARE * qualities[-1]
    at = next(i for i, quality in enumerate(qualities) if quality >= bar)
    if at == 0:
        return float(numbers[0])
    (a, b) = np.log(numbers[at - 1 : at + 1])
    (low, high) = qualities[at - 1 : at + 1]
    return float(np.exp(a + (b - a) * (bar - low) / (high - low)))
