"""Few calls on MNIST or other images: a flow, its student, the student finished by a critic, and a
mean flow without a teacher.

    PUSHFORWARD_DATA=FOLDER python benchmarks/few_steps.py [--data mnist] [--teacher 5000]
    [--student 4000] [--finish 1000]

Trainings are measured in steps, so that other programs on the machine do not cut them; the seconds
that they took are reported, those of the trajectories included. All networks have the teacher's
size. Judged against the held-out examples: the teacher at --long calls, all --models at 1, 2, 4, 8
and 16; samples of equal seeds. The bars are ratios to the teacher at --long calls. The
classification accuracy score is as in mnist.py. Finished runs in --runs are judged, not trained
again, and rows that have been judged are there too (judged.json), so that a second call goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    results,
    seconds_of,
    table,
    train,
    write,
)

import numpy as np
import torch
from mnist import Kept

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.evaluation import Evaluator
from pushforward.evaluation.model_metrics import classification_accuracy, real_accuracy
from pushforward.pictures import grid_picture
from pushforward.training.api import student
from pushforward.training.recipe_argument import with_frozen

NAMES = ["frechet", "kid", "coverage", "recall", "near_copies"]
MODELS = ["teacher", "student", "finished", "meanflow"]
BARS = {
    ("student", 1): 1.15,
    ("student", 2): 1.05,
    ("student", 4): 1.02,
    ("finished", 1): 1.0,
    ("meanflow", 1): 1.25,
}
"""The greatest ratio of the Fréchet distance to the teacher's at many calls."""
COVERAGE = 0.97
RECALL = 0.95
CLASSIFIER = 0.005
"""Bars of coverage and recall, as shares of the teacher's, and of the classifier's accuracy, as a
difference.
"""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--teacher", type=int, default=5000, help="steps of the flow")
    parser.add_argument("--student", type=int, default=4000)
    parser.add_argument("--finish", type=int, default=1000)
    parser.add_argument("--meanflow", type=int, default=5000)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument(
        "--settings", nargs="*", default=[], help="of the student: trajectories=16384"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument(
        "--long", type=int, default=50, help="calls of the teacher that the bars refer to"
    )
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1, help="samplings of each model")
    parser.add_argument("--runs", default="runs/few-steps")
    small = {
        "teacher": 2,
        "student": 1,
        "finish": 2,
        "meanflow": 1,
        "calls": [1, 2],
        "long": 3,
        "n": 20,
    }
    given = parsed(parser, words, **small, settings=["trajectories=64", "teacher_steps=2"])
    torch.set_num_threads(1)
    data = load(given.data)
    runs = trained(data, given)
    judge = Evaluator(data, given.n, given.repeats)
    row = partial(stored_row, Path(given.runs) / "judged.json", data, judge)
    rows = [row("teacher", runs["teacher"], given.long, True)]
    for name, run in ((name, run) for name, run in runs.items() if name in given.models):
        rows += [row(name, run, calls, calls == 1 and name != "teacher") for calls in given.calls]
    report(rows, judge, real_accuracy(data, min(given.n, len(data.train))), given)


def trained(data: Any, given: argparse.Namespace) -> dict[str, pf.Run]:
    """The runs by name, each trained unless it is there."""
    folder = Path(given.runs)
    runs = {}
    settings = {
        name: int(value) if value.isdigit() else float(value)
        for name, value in (s.split("=") for s in given.settings)
    }

    def once(name: str, steps: int, make: Callable[[Path], Any]) -> None:
        out = folder / name
        if not (out / "checkpoints").exists():
            make(out)
        runs[name] = pf.load(out)
        if runs[name].state["step"] < steps:
            raise SystemExit(
                f"{out} has made {runs[name].state['step']} of {steps} steps: go on with "
                f"pushforward resume {out}"
            )

    watch = pf.Progress(60)
    once(
        "teacher",
        given.teacher,
        lambda out: train(
            lambda: pf.recipes.flow(data.space), data, given.seed, out, steps=given.teacher
        ),
    )
    if {"student", "finished"} & set(given.models):
        once(
            "student",
            given.student,
            lambda out: student(
                runs["teacher"],
                data=data,
                settings=settings,
                steps=given.student,
                seed=given.seed,
                out=out,
                progress=watch,
            ).advance(),
        )
    if "finished" in given.models:
        finish = with_frozen("finish", {"teacher": runs["student"]})
        once(
            "finished",
            0,
            lambda out: train(
                lambda: finish(data.space), data, given.seed, out, steps=given.finish
            ),
        )
    if "meanflow" in given.models:
        once(
            "meanflow",
            given.meanflow,
            lambda out: train(
                lambda: pf.recipes.meanflow(data.space), data, given.seed, out, steps=given.meanflow
            ),
        )
    return runs


def stored_row(
    file: Path, data: Any, judge: Evaluator, name: str, run: pf.Run, calls: int, classify: bool
) -> dict[str, Any]:
    """A row of `judged` from a file of earlier ones, or a new one that is added to it."""
    rows = json.loads(file.read_text()) if file.exists() else {}
    key = (
        f"{name} in {calls}, step {run.state['step']}, {judge.n} x {judge.repeats}, classifier "
        f"{classify}"
    )
    if key not in rows:
        row = judged(name, run, calls, data, judge, classify)
        # another process may have added some
        if file.exists():
            rows = json.loads(file.read_text())
        else:
            rows = {}
        rows[key] = row
        file.write_text(json.dumps(rows))
    return dict(rows[key])


def judged(
    name: str, run: pf.Run, calls: int, data: Any, judge: Evaluator, classify: bool
) -> dict[str, Any]:
    """One model at so many calls; with ``classify`` also a classifier that is trained on its
    samples.
    """
    recorded = Kept(run.configured(steps=calls).transport)
    with network_precision(resolve_precision("auto", "cpu")):
        scores, agreement = judge.scores(recorded)
    row: dict[str, Any] = {
        "model": name,
        "calls": calls,
        "step": run.state["step"],
        "seconds": seconds_of(run),
    }
    row |= {
        "values": {metric: list(scores[metric].values) for metric in NAMES if metric in scores},
        "agreement": agreement,
    }
    if classify:
        x = torch.cat([part for part, _ in recorded.parts])
        labels = torch.cat(
            [condition["label"] for _, condition in recorded.parts if condition]
        ).numpy()
        row["cas"] = classification_accuracy(x, labels, data)
        grid_picture(data.space.quantise(x[:64])).save(results() / f"few_steps-{name}.png")
    print(row, flush=True)
    return row


def report(
    rows: list[dict[str, Any]], judge: Evaluator, real: float, given: argparse.Namespace
) -> None:
    """The table of all models and calls, and which bars they reach."""
    best = {metric: float(np.mean(values)) for metric, values in rows[0]["values"].items()}
    scored = [metric for metric in NAMES if metric in best]
    body = []
    for row in rows:
        ratio = float(np.mean(row["values"]["frechet"])) / best["frechet"]
        cells = [mean_and_spread(row["values"][metric]) for metric in scored]
        cas = f"{row['cas']:.2%}" if "cas" in row else ""
        body.append(
            [
                row["model"],
                str(row["calls"]),
                *cells,
                f"{row['agreement']:.2%}",
                cas,
                f"{ratio:.2f}",
                passes(row, ratio, rows[0]),
            ]
        )
    floor = real_data_scores(judge, NAMES)
    body.append(
        ["real data", "", *(floor.get(metric, "") for metric in scored), "", f"{real:.2%}", "", ""]
    )
    head = ["model", "calls", *scored, "label agreement"]
    text = table(
        [*head, "classifier trained on samples", "ratio of Fréchet distances", "target"], body
    )
    runs = {row["model"]: row for row in rows}
    taken = "; ".join(
        f"{name} {row['step']:,} steps, {row['seconds']:,.0f} s" for name, row in runs.items()
    )
    bars = ", ".join(f"{value} ({name}, {calls})" for (name, calls), value in BARS.items())
    text += (
        f"\n\nOne training run each: {taken}. {given.n:,} samples, {given.repeats} sampling(s). "
    )
    text += f"Ratios are relative to the teacher in {given.long} calls. "
    text += (
        f"Targets: Fréchet distance at most {bars} times the teacher's; in one call also "
        "coverage "
        f"{COVERAGE} of the "
    )
    text += (
        f"teacher's, classifier accuracy within {CLASSIFIER:.1%}, and recall {RECALL} for the "
        "fine-tuned student (finished)."
    )
    values = [float(np.mean(row["values"]["frechet"])) for row in rows if row["model"] == "student"]
    rise = max((b - a for a, b in itertools.pairwise(values)), default=0.0)
    text += (
        "\n\nLargest increase of the student's Fréchet distance with the number of calls: "
        f"{rise:.2g}."
    )
    name = f"few_steps_{given.data}" if given.seed == 0 else f"few_steps_{given.data}_{given.seed}"
    write(
        name,
        f"{given.data}: few network calls",
        text,
        rows,
        **{k: v for k, v in vars(given).items() if k != "runs"},
    )


def passes(row: dict[str, Any], ratio: float, teacher: dict[str, Any]) -> str:
    """Whether a row reaches its bar; empty where it has none."""
    bar = BARS.get((row["model"], row["calls"]))
    if bar is None:
        return ""
    share = {
        metric: np.mean(row["values"][metric]) / np.mean(teacher["values"][metric])
        for metric in ("coverage", "recall")
    }
    ok = ratio <= bar
    if row["calls"] == 1 and row["model"] != "meanflow":
        ok = ok and share["coverage"] >= COVERAGE and row["cas"] >= teacher["cas"] - CLASSIFIER
        ok = ok and (row["model"] != "finished" or share["recall"] >= RECALL)
    if ok:
        return "yes"
    return "no"


if __name__ == "__main__":
    main()
