"""Five recipes on the 8x8 digits, three trainings each, against held-out data.

    python benchmarks/digits.py [--seconds 60] [--seeds 3] [--repeats 10]

Coverage stands beside its floor, near-copies beside real data's, and the labels of conditional
samples are checked by a classifier trained on real digits. Every model is judged on 360 samples
against the 360 held-out digits, with k = 5.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    steps_in,
    table,
    train,
    write,
)

import numpy as np

import pushforward as pf
from pushforward.evaluation import Evaluator, ModelResult

BARS = {
    "flow": (0.95, 0.9),
    "ddpm": (0.97, 0.9),
    "edm": (0.95, None),
    "gan": (0.85, 0.9),
    "vae": (0.7, 0.8),
}
NAMES = ["frechet", "kid", "coverage", "density", "precision", "recall", "near_copies", "sharpness"]


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--n", type=int, default=360, help="samples that are judged")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--recipes", nargs="*", default=list(BARS))
    given = parsed(parser, words, seconds=0.01, seeds=1, repeats=1, n=20, recipes=["flow", "gan"])
    data = load("digits")
    judge = Evaluator(data, given.n, given.repeats)
    steps = {
        name: steps_in(partial(pf.recipes.named(name), data.space), data, given.seconds)
        for name in given.recipes
    }
    cases = [
        (name, seed, steps[name], given.n, given.repeats)
        for name in given.recipes
        for seed in range(given.seeds)
    ]
    report(each(run_case, cases, given.jobs), judge.baselines()[0], judge, given)


def run_case(name: str, seed: int, steps: int, n: int, repeats: int) -> dict[str, Any]:
    """Train a recipe and judge it."""
    data = load("digits")
    run = train(lambda: pf.recipes.named(name)(data.space), data, seed, steps=steps)
    scores, agreement = Evaluator(data, n, repeats).scores(run.transport)
    values = {metric: scores[metric].value for metric in NAMES}
    row = {"recipe": name, "seed": seed, "step": run.state["step"], **values}
    row |= {"coverage_ratio": scores["coverage"].ratio, "agreement": agreement}
    print(row, flush=True)
    return row


def report(
    rows: list[dict[str, Any]], base: ModelResult, judge: Evaluator, given: argparse.Namespace
) -> None:
    head = [
        "recipe",
        "steps",
        "coverage / floor",
        "bar",
        *NAMES,
        "label agreement",
        "bar",
        "passes",
    ]
    body = []
    for name in given.recipes:
        mine = [row for row in rows if row["recipe"] == name]
        bar, labels = BARS[name]
        ratio = [row["coverage_ratio"] for row in mine]
        agreement = [row["agreement"] for row in mine]
        ok = np.mean(ratio) >= bar and np.mean([r["near_copies"] for r in mine]) <= 0.01
        ok = ok and (labels is None or np.mean(agreement) >= labels)
        ok = ok and np.mean([row["frechet"] for row in mine]) < base.scores["frechet"].value
        values = [mean_and_spread([row[metric] for row in mine]) for metric in NAMES]
        steps = f"{np.mean([row['step'] for row in mine]):,.0f}"
        cells = [
            name,
            steps,
            mean_and_spread(ratio),
            str(bar),
            *values,
            mean_and_spread(agreement),
            str(labels or "-"),
        ]
        body.append([*cells, "yes" if ok else "no"])
    floor = real_data_scores(judge, NAMES)
    body.append(
        ["real data", "", "1", "", *(floor.get(metric, "") for metric in NAMES), "", "", ""]
    )
    none = [f"{base.scores[metric].value:.4g}" for metric in NAMES]
    body.append(
        [
            "baseline",
            "",
            f"{base.scores['coverage'].ratio:.4g}",
            "",
            *none,
            f"{base.label_agreement:.4g}",
            "",
            "",
        ]
    )
    text = table(head, body)
    text += "\n\n"
    text += (
        f"Means ± standard deviation over {given.seeds} training runs with as many steps as "
        f"{given.seconds:g} s of "
    )
    text += "processor time allow on one thread; "
    text += (
        f"{given.repeats} samplings each, n = {given.n}, k = 5. To pass, a recipe must also "
        "be "
        "better than the baseline "
    )
    text += (
        "in Fréchet distance, because one Gaussian per class meets most targets for coverage "
        "and "
        "label agreement."
    )
    write(
        "digits",
        "Digits: five recipes",
        text,
        rows,
        seconds=given.seconds,
        seeds=given.seeds,
        features=judge.features.describe(given.n),
    )


if __name__ == "__main__":
    main()
