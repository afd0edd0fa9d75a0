"""Tables of mixed types: flow, ddpm, edm, gan and vae against baselines and real rows, on five tables of the literature.

    python benchmarks/tables.py [--tables adult,shoppers] [--recipes flow,gan,vae] [--seconds 180] [--seeds 1]
    python benchmarks/tables.py --tables adult --recipes flow --steps 12000 --seed 1 --runs runs/tables

Each recipe is trained for so many seconds in training steps, or for so many steps, once for each seed. A training that was cut
off goes on where its folder in --runs ended, and one that is there is measured again. Rows join those of earlier calls in
results/tables.json and replace those of the same table, model and seed. A tenth of the rows is held out by content;
as many samples are compared with it, in two samplings. The two-sample score of scikit-learn's boosted trees is 1 where samples
cannot be told from held-out rows (three folds, equally many rows). Published scores compare with the training rows:
`as_published` does so with up to 10,000 rows a side, from which trees learn more. Of Adult, which has a file of test rows,
`test_auc` is the AUC of the learner from samples on these, and `training_recall` the beta-recall of training rows by as many
samples, as published; that of real rows is by as many training rows as there are test rows. Errors of shapes and trends are
against held-out rows; the real rows' own are the floor. Beijing is read without the rows whose pm2.5 is missing, and without
their number.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from protocol import benchmark, commit, mean_and_spread, parsed, results, smoking, table, taken_up, write

import numpy as np

import pushforward as pf
from pushforward.data.source import folder
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.rows import rows_at, table_of
from pushforward.evaluation.sample_files import read_samples
from pushforward.metrics.detection import detected
from pushforward.metrics.fidelity import fidelity
from pushforward.metrics.table import embedded
from pushforward.metrics.trees import ROWS
from pushforward.metrics.utility import utility

FILES = {
    "adult": ("adult.data", "Y"),
    "shoppers": ("shoppers.csv", "Revenue"),
    "magic": ("magic.data", "x10"),
    "default": ("default.csv", "Y"),
    "beijing": ("beijing.csv", "pm2.5"),
}
PUBLISHED = {"adult": 0.80, "shoppers": 0.736, "magic": 0.773, "default": 0.591, "beijing": 0.772}
"""The bar of the two-sample score: on Adult between TabSyn's .794 and TabDiff's .841, on the others TabDiff's."""
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
        rows = [[f"{value:.2f}", "ab"[int(value > 0)], "yes" if value > 1 else "no"] for value in rng.normal(size=400)]
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


def as_published(data: Any, sampler: Any) -> float:
    """The two-sample score against training rows, up to 10,000 on either side."""
    n = min(ROWS, len(data.train))
    order = np.random.default_rng(0).permutation(len(data.train))[:n]
    rows = table_of(data.space, data.space.rounded(sampler.sample(n, seed=7_000_000)), data.train.data_units(order))
    areas, _ = detected(rows, importance=False)
    return float(1 - np.mean([2 * max(above.mean(), 0.5) - 1 for above, _ in areas]))


def test_rows(name: str, data: Any) -> Any:
    """Values of the rows of the table's own test file, (n, columns); None without one. In a smoke run the held-out rows."""
    if smoking():
        return rows_at(data.held_out, slice(None))
    if name != "adult":
        return None
    lines = (folder() / "tables" / "adult.test").read_text().splitlines()
    rows = [[cell.strip() for cell in line.rstrip(".").split(",")] for line in lines]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.csv"
        with path.open("w", newline="") as content:
            csv.writer(content).writerows(row for row in rows if len(row) == len(data.space.names))
        return read_samples(path, data).values


def against_test_rows(name: str, data: Any, sampler: Any | None) -> dict[str, float]:
    """The AUC on test rows, and the beta-recall of training rows, of as many samples; of training rows where no sampler is."""
    test, known = test_rows(name, data), rows_at(data.train, slice(None))
    if test is None:
        return {}
    rows = known if sampler is None else data.space.values(data.space.rounded(sampler.sample(len(known), seed=3_000_000)))
    learned = utility(table_of(data.space, rows, test))
    n = min(len(test), len(known))
    samples, real = (test[:n], known[np.random.default_rng(0).permutation(len(known))[:n]]) if sampler is None else (rows, known)
    recall = fidelity(*embedded(table_of(data.space, samples, real)))[1]
    return {"test_auc": learned[1] if learned else float("nan"), "training_recall": recall}


def trained(name: str, recipe: str, data: Any, seed: int, given: argparse.Namespace) -> pf.training.Run:
    """The run of a recipe on a table, which goes on where it was cut off."""
    folder = Path(given.runs or tempfile.mkdtemp()) / f"{name}-{recipe}-{given.size}-{seed}"
    seconds = None if given.steps else given.seconds
    trainer = taken_up(lambda: pf.recipes.named(recipe)(data.space, given.size), data, seconds, seed, folder, given.steps)
    trainer.advance()
    return pf.load(folder)


def measured(name: str, recipes: list[str], given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for real rows, each baseline and each training."""
    data = read(name)
    judge = Judge(data, repeats=given.repeats)
    rows: list[dict[str, Any]] = []

    def add(model: str, scores: Any, **facts: Any) -> None:
        values = {score: scores[score].value for score in SCORES if score in scores}
        spans = {f"{score} interval": scores[score].interval for score in ("detection", "membership") if score in scores}
        rows.append({"table": name, "model": model, **values, **spans, **facts, "samplings": given.repeats, "commit": commit()})
        print(rows[-1], flush=True)

    for recipe in recipes:
        for seed in range(given.seed, given.seed + given.seeds):
            run = trained(name, recipe, data, seed, given)
            facts = {"size": given.size, "seed": seed, "steps": int(run.state["step"]), "seconds": round(run.state["seconds"], 1)}
            scores = judge.scores(run.transport)[0]
            add(
                recipe,
                scores,
                **facts,
                as_published=as_published(data, run.transport),
                **against_test_rows(name, data, run.transport),
            )
    if given.baselines:
        comparison = judge.comparison([ModelResult("", scores={})], judge.baseline())
        for result in (comparison.baseline, *comparison.further_baselines):
            add(result.name, result.scores)
        add("real rows", judge.floors, n=judge.n, **against_test_rows(name, data, None))
    return rows


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of earlier calls and these, in the order of the tables; of one table, model and seed the newest."""
    path = results() / "tables.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    newest = {(row["table"], row["model"], row.get("seed")): row for row in (*earlier, *rows)}
    models = {model: place for place, model in enumerate(dict.fromkeys(model for _, model, _ in newest))}
    return sorted(newest.values(), key=lambda row: (list(FILES).index(row["table"]), models[row["model"]], row.get("seed") or 0))


def page(rows: list[dict[str, Any]]) -> str:
    """A table for each file, with means over trainings."""
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
        bar = f"bar of the two-sample score {PUBLISHED[name]}" if name in PUBLISHED else ""
        parts.append(f"**{name}**, {bar}\n\n{table(['model', 'trainings', 'seconds', *names], lines)}")
    return "\n\n".join(parts)


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
    parser.add_argument("--runs", help="a folder for the trainings; the default is a temporary one for each")
    parser.add_argument("--repeats", type=int, default=2, help="samplings of each model")
    parser.add_argument("--baselines", type=int, choices=(0, 1), default=1, help="whether real rows and baselines are measured")
    given = parsed(parser, words, tables="adult", recipes="vae", steps=2, size="tiny", repeats=1)
    for name in given.tables.split(","):
        rows = joined(measured(name, given.recipes.split(","), given))
        write("tables", "Tables of mixed types", page(rows), rows)


if __name__ == "__main__":
    main()
