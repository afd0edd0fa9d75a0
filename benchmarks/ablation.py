"""What keeps the modes? One factor at a time, from the default game and from the original one.

    python benchmarks/ablation.py [--data ring stacked-digits] [--seconds 60] [--seeds 3]

All rows have the recipe's networks, noise and rates; a row changes the options that it names.
Averaged and raw weights of the same training stand side by side, which is the factor of averaging.
What is finished lies in a folder and is not trained again, so a command that was cut off goes on
where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    remembered,
    table,
    watched,
    write,
)

from ring import N, floor, measured

import pushforward as pf
from pushforward.evaluation import Evaluator
from pushforward.training.loop.machine import seeded

ORIGINAL: dict[str, Any] = {
    "loss": "non_saturating",
    "penalty": "none",
    "sign_codes": 0,
    "fourier_features": 0,
}
ROWS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, hinge": {"loss": "hinge", "penalty": "r1+r2"},
    "default, non-saturating": {"loss": "non_saturating", "penalty": "r1+r2"},
    "default, R1 alone": {"penalty": "r1"},
    "default, no penalty": {"penalty": "none"},
    "default, pack 2": {"pack": 2},
    "default, no signs": {"sign_codes": 0},
    "default, no waves": {"fourier_features": 0},
    "original": ORIGINAL,
    "original, relativistic": {**ORIGINAL, "loss": "relativistic"},
    "original, least squares": {**ORIGINAL, "loss": "least_squares"},
    "original, R1": {**ORIGINAL, "penalty": "r1"},
    "original, R1 + R2": {**ORIGINAL, "penalty": "r1+r2"},
    "original, WGAN-GP": {**ORIGINAL, "loss": "wasserstein", "penalty": "gradient", "gamma": 10.0},
    "original, spectral norms": {**ORIGINAL, "spectral": True},
    "original, pack 4": {**ORIGINAL, "pack": 4},
}
NAMES = {
    "ring": ["modes_kept", "bridges", "spread", "kl"],
    "stacked-digits": ["stacked_modes", "stacked_kl"],
}
WEIGHTS = ("averaged", "raw")


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument(
        "--n",
        type=int,
        default=N,
        help="samples of the ring that are judged; of stacked digits 26,000 or fewer",
    )
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--runs", default="runs/ablation", help="folder of what is finished")
    given = parsed(parser, words, seconds=0.02, seeds=1, rows=["default"], n=40)
    if "stacked-digits" in given.data:
        judges = {"stacked-digits": judge_of("stacked-digits", given.n)}
    else:
        judges = {}
    cases = [
        (data, name, seed, given.seconds, given.n, given.runs)
        for seed in range(given.seeds)
        for data in given.data
        for name in rows_of(data, given.rows)
    ]
    rows = each(run_case, cases, given.jobs)
    for data in given.data:
        report(data, [row for row in rows if row["data"] == data], given, judges.get(data))


def rows_of(data: str, names: Sequence[str]) -> list[str]:
    """The rows that differ on this data: images are shown no waves."""
    return [name for name in names if not ROWS[name] or options_of(data, name)]


def options_of(data: str, name: str) -> dict[str, Any]:
    """What a row changes, as far as it applies to this data."""
    return {
        key: value
        for key, value in ROWS[name].items()
        if data == "ring" or key != "fourier_features"
    }


def judge_of(name: str, n: int) -> Evaluator:
    """What reads the stacked digits."""
    return Evaluator(load(name), 26_000 if n == N else n, 1, NAMES[name])


def run_case(data: str, name: str, seed: int, seconds: float, n: int, runs: str) -> dict[str, Any]:
    """Train one row and judge both kinds of weights; or read what was found before."""
    loaded = load(data)
    options = options_of(data, name)
    recipe = seeded(lambda: pf.recipes.gan(loaded.space, **options), seed)
    facts = {"data": data, "row": name, "seed": seed, "options": options}
    scores = remembered(
        runs,
        f"{data}-{name.replace(', ', '-').replace(' ', '_')}-{seed}",
        recipe,
        {**facts, "budget_seconds": seconds, "n": n},
        lambda: judged(recipe, loaded, seconds, seed, n),
    )
    print(facts, scores, sep="\n", flush=True)
    return {**facts, **scores}


def judged(recipe: pf.Recipe, data: Any, seconds: float, seed: int, n: int) -> dict[str, Any]:
    """Train, and measure both kinds of weights."""
    trainer, facts = watched(recipe, data, seconds, seed)
    both = zip(WEIGHTS, (trainer.average.method, trainer.method.eval()), strict=True)
    if data.name == "ring":
        return {
            **facts,
            **{
                weights: measured(m.transport().sample(n, seed=seed).numpy(), data.truth)
                for weights, m in both
            },
        }
    judge = judge_of(data.name, n)
    scores = {weights: judge.scores(method.transport())[0] for weights, method in both}
    return {
        **facts,
        **{
            weights: {name: row.value for name, row in scores.items()}
            for weights, scores in scores.items()
        },
    }


def report(
    data: str, rows: list[dict[str, Any]], given: argparse.Namespace, judge: Evaluator | None
) -> None:
    body = []
    for name in rows_of(data, given.rows):
        mine = [row for row in rows if row["row"] == name]
        steps, seconds = (
            f"{sum(row[what] for row in mine) / len(mine):,.0f}" for what in ("steps", "seconds")
        )
        values = [
            mean_and_spread([row[weights][m] for row in mine])
            for m in NAMES[data]
            for weights in WEIGHTS
        ]
        ended = sum(row["diverged"] is not None for row in mine)
        alarmed = f"{sum(bool(row['alarms']) for row in mine)}" + (
            f", {ended} diverged" if ended else ""
        )
        body.append([name, seconds, steps, *values, alarmed])
    if judge is None:
        real = floor(load(data).truth, given.n)
        floor_values = [mean_and_spread([row[m] for row in real]) for m in NAMES[data]]
    else:
        floor_values = list(real_data_scores(judge, NAMES[data]).values())
    body.append(
        [
            "real data",
            "",
            "",
            *(value for each_value in floor_values for value in (each_value, "")),
            "",
        ]
    )
    columns = [
        f"{m.removeprefix('stacked_')}, {weights}" for m in NAMES[data] for weights in WEIGHTS
    ]
    text = table(["row", "seconds", "steps", *columns, "with alarms"], body)
    text += (
        f"\n\n{given.seconds:g} s of training on one thread each, {given.seeds} seeds; mean "
        "and "
        "standard deviation over them."
    )
    title = "Ablation on the ring of eight modes" if judge is None else "Ablation on Stacked digits"
    write(
        f"ablation_{data.replace('-', '_')}",
        title,
        text,
        rows,
        seconds=given.seconds,
        seeds=given.seeds,
    )


if __name__ == "__main__":
    main()
