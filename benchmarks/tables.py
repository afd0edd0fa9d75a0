"""Tables of mixed types: flow, ddpm, edm, gan and vae against baselines and real rows, on five
tables of the literature.

    python benchmarks/tables.py [--tables adult,shoppers] [--recipes flow,gan,vae] [--seconds 180]
    [--seeds 1] python benchmarks/tables.py --tables adult --recipes flow --steps 12000 --seed 1
    --runs runs/tables

Each recipe is trained for so many seconds in training steps, or for so many steps, once for each
seed. A training that was cut off goes on where its folder in --runs ended, and one that is there is
measured again. Each row joins those of earlier calls in results/tables.json as soon as it is
measured, and replaces that of the same table, model and seed; several calls may do so at once. A
tenth of the rows is held out by content; as many samples are compared with it, in two samplings.
`detection`, the two-sample score of scikit-learn's boosted trees, is 1 where samples cannot be told
from held-out rows (three folds, equally many rows). `as_published` is the two-sample score of
published tables, by their judge: XGBoost tells all training rows from as many samples; of real rows
one half of the training rows from the other. Of Adult, which has a file of test rows, `test_auc` is
the AUC of the learner from samples on these, and `training_recall` the beta-recall of training rows
by as many samples, as published; that of real rows is by as many training rows as there are test
rows. Errors of shapes and trends are against held-out rows; the real rows' own are the floor.
Beijing is read without the rows whose pm2.5 is missing, and without their number.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    commit,
    mean_and_spread,
    parsed,
    results,
    smoking,
    table,
    taken_up,
    write,
)

import numpy as np
from filelock import FileLock
from table_judges.published import as_published

import pushforward as pf
from pushforward.data.core.named_set import folder
from pushforward.evaluation.evaluator import Evaluator
from pushforward.tables.baselines import RowMixture, drawn_rows
from pushforward.tables.metrics.nearest_rows import fidelity
from pushforward.tables.metrics.table import embedded, table_of
from pushforward.tables.metrics.trees import utility
from pushforward.tables.reading.reader import read_rows

FILES = {
    "adult": ("adult.data", "Y"),
    "shoppers": ("shoppers.csv", "Revenue"),
    "magic": ("magic.data", "x10"),
    "default": ("default.csv", "Y"),
    "beijing": ("beijing.csv", "pm2.5"),
}
PUBLISHED = {
    "TabDiff": (
        "0.8409 ± 0.0067",
        "0.7361 ± 0.0162",
        "0.7732 ± 0.0278",
        "0.5914 ± 0.0226",
        "0.7723 ± 0.0138",
    ),
    "TabPC": (
        "0.8554 ± 0.0328",
        "0.8936 ± 0.0100",
        "0.8602 ± 0.0142",
        "0.2617 ± 0.0052",
        "0.5704 ± 0.0262",
    ),
    "shallow mixture": (
        "0.7727 ± 0.0243",
        "0.2901 ± 0.0251",
        "0.6258 ± 0.0228",
        "0.1053 ± 0.0127",
        "0.7332 ± 0.0148",
    ),
}
"""`as_published` of `FILES`, five trainings each, as the authors of TabPC measured it
(arXiv:2603.23016, results of its code).
"""
JUDGE = """\
`as_published` is the two-sample score of sdmetrics' classifier detection with XGBoost in three
folds: all training rows are compared with as many samples, and one half of the training rows with
the other half for real rows. Published values were measured by the authors of TabPC with this
evaluator on five training runs each. They train on the same tables, but on all 32,561 rows of
adult.data, of which a tenth is held out here. `detection` uses other trees and the held-out rows,
which are fewer, so it is not comparable to published scores."""
SCORES = (
    "detection",
    "as_published",
    "column_error",
    "pair_error",
    "alpha_precision",
    "beta_recall",
    "utility_auc",
    "utility_rmse",
    "test_auc",
    "training_recall",
    "nearest_ratio",
    "nearer_training",
    "membership",
)


def read(name: str) -> Any:
    """The table, as `pushforward.data.load` reads it; in a smoke run a few made-up rows."""
    if smoking():
        rng = np.random.default_rng(0)
        rows = [
            [f"{value:.2f}", "ab"[int(value > 0)], "yes" if value > 1 else "no"]
            for value in rng.normal(size=400)
        ]
        return _loaded([["number", "side", "Y"], *rows], "Y")
    file, target = FILES[name]
    path = folder() / "tables" / file
    if name != "beijing":
        return pf.data.load(path, target=target)
    with path.open(newline="") as content:
        rows = [row for row in csv.reader(content) if row[5]]
    return _loaded([row[1:] for row in rows], target)


def _loaded(rows: list[list[str]], target: str) -> Any:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.csv"
        with path.open("w", newline="") as content:
            csv.writer(content).writerows(rows)
        return pf.data.load(path, target=target)


def drawn(judge: Evaluator, sampler: Any) -> np.ndarray:
    """As many samples as training rows, in the table's own values."""
    x, _, values = judge.draw(sampler, 3_000_000, len(judge.data.train))
    if values is None:
        return judge.data.space.values(x)
    return values


def halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of rows, drawn at random."""
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]


def test_rows(name: str, data: Any) -> Any:
    """Values of the rows of the table's own test file, (n, columns); None without one. In a smoke
    run the held-out rows.
    """
    if smoking():
        return data.held_out.table_values
    if name != "adult":
        return None
    lines = (folder() / "tables" / "adult.test").read_text().splitlines()
    rows = [[cell.strip() for cell in line.rstrip(".").split(",")] for line in lines]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.csv"
        with path.open("w", newline="") as content:
            csv.writer(content).writerows(row for row in rows if len(row) == len(data.space.names))
        return read_rows(path, data.space)


def against_training_rows(name: str, data: Any, samples: np.ndarray | None) -> dict[str, Any]:
    """The scores that published tables give samples, as many as training rows; of real rows where
    there are none.

    `as_published`, the AUC on test rows, and the beta-recall of training rows.
    """
    import xgboost

    known = data.train.table_values
    space = data.space
    pair = halves(known) if samples is None else (samples, known)
    facts: dict[str, Any] = {
        "as_published": as_published(table_of(space, *pair)),
        "judge": f"xgboost {xgboost.__version__}",
    }
    test = test_rows(name, data)
    if test is None:
        return facts
    learned = utility(table_of(space, known if samples is None else samples, test))
    n = min(len(test), len(known))
    if samples is None:
        compared = (test[:n], known[np.random.default_rng(0).permutation(len(known))[:n]])
    else:
        compared = pair
    recall = fidelity(*embedded(table_of(space, *compared)))[1]
    return {**facts, "test_auc": learned[1] if learned else float("nan"), "training_recall": recall}


def trained(
    name: str, recipe: str, data: Any, seed: int, given: argparse.Namespace
) -> pf.training.Run:
    """The run of a recipe on a table, which goes on where it was cut off."""
    folder = Path(given.runs or tempfile.mkdtemp()) / f"{name}-{recipe}-{given.size}-{seed}"
    seconds = None if given.steps else given.seconds
    trainer = taken_up(
        lambda: pf.recipes.named(recipe)(data.space, given.size),
        data,
        seconds,
        seed,
        folder,
        given.steps,
    )
    trainer.advance()
    return pf.load(folder)


def measured(name: str, recipes: list[str], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each training, each baseline and real rows, as soon as it is measured."""
    data = read(name)
    judge = Evaluator(data, repeats=given.repeats)

    def row(model: str, sampler: Any, **facts: Any) -> dict[str, Any]:
        scores = judge.real_data_scores if sampler is None else judge.scores(sampler)[0]
        values = {score: scores[score].value for score in SCORES if score in scores}
        spans = {
            f"{score} interval": scores[score].interval
            for score in ("detection", "membership")
            if score in scores
        }
        more = against_training_rows(name, data, None if sampler is None else drawn(judge, sampler))
        return {
            "table": name,
            "model": model,
            **values,
            **spans,
            **facts,
            **more,
            "samplings": given.repeats,
            "commit": commit(),
        }

    if given.baselines:
        mixture = RowMixture.fit(data)
        for model, sampler in {
            f"no network (mixture of {len(mixture.weights)})": mixture,
            **drawn_rows(data),
        }.items():
            yield row(model, sampler)
        yield row("real rows", None, n=judge.n)
    for recipe in recipes:
        for seed in range(given.seed, given.seed + given.seeds):
            run = trained(name, recipe, data, seed, given)
            facts = {
                "size": given.size,
                "seed": seed,
                "steps": int(run.state["step"]),
                "seconds": round(run.state["seconds"], 1),
            }
            yield row(recipe, run.transport, **facts)


def joined(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of earlier calls and this one, in the order of the tables; of one table, model and
    seed the newest.
    """
    path = results() / "tables.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    newest = {(row["table"], row["model"], row.get("seed")): row for row in (*earlier, row)}
    models = {
        model: place for place, model in enumerate(dict.fromkeys(model for _, model, _ in newest))
    }
    return sorted(
        newest.values(),
        key=lambda row: (
            list(FILES).index(row["table"]),
            models[row["model"]],
            row.get("seed") or 0,
        ),
    )


def page(rows: list[dict[str, Any]]) -> str:
    """A table for each file, with means over trainings, and beside them what is published."""
    parts = []
    for name in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == name]
        names = [score for score in SCORES if any(row.get(score) is not None for row in own)]
        lines = []
        for model in dict.fromkeys(row["model"] for row in own):
            same = [row for row in own if row["model"] == model]
            taken = [row["seconds"] for row in same if row.get("seconds")]
            cells = [[row[score] for row in same if row.get(score) is not None] for score in names]
            means = [mean_and_spread(values) if values else "" for values in cells]
            lines.append([model, str(len(same)), f"{np.mean(taken):.0f}" if taken else "", *means])
        for model, values in PUBLISHED.items():
            value = values[list(FILES).index(name)]
            lines.append(
                [
                    f"{model}, published",
                    "5",
                    "",
                    *(value if score == "as_published" else "" for score in names),
                ]
            )
        parts.append(f"**{name}**\n\n{table(['model', 'training runs', 'seconds', *names], lines)}")
    return "\n\n".join([*parts, JUDGE])


def keep(row: dict[str, Any]) -> None:
    """Print and write results/tables.md and tables.json with this row, beside those of other calls,
    even of ones that run now.
    """
    with FileLock(results() / "tables.lock"):
        rows = joined(row)
        write("tables", "Tables of mixed types", page(rows), rows)


@benchmark
def main(words: list[str]) -> None:
    """Measure, print, and write results/tables.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default=",".join(FILES))
    parser.add_argument("--recipes", default="flow,gan,vae")
    parser.add_argument("--seconds", type=float, default=180, help="inside training steps")
    parser.add_argument("--steps", type=int, help="training steps, in place of --seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the first training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each recipe")
    parser.add_argument("--size", default="small")
    parser.add_argument(
        "--runs", help="a folder for the trainings; the default is a temporary one for each"
    )
    parser.add_argument("--repeats", type=int, default=2, help="samplings of each model")
    parser.add_argument(
        "--baselines",
        type=int,
        choices=(0, 1),
        default=1,
        help="whether baselines and real rows are measured, first",
    )
    given = parsed(parser, words, tables="adult", recipes="vae", steps=2, size="tiny", repeats=1)
    for name in given.tables.split(","):
        for row in measured(name, [recipe for recipe in given.recipes.split(",") if recipe], given):
            keep(row)


if __name__ == "__main__":
    main()
