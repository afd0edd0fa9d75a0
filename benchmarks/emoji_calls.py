"""Emoji of 64 x 64 in one network call: students of a flow of pixels and of a flow in a latent
space.

    PUSHFORWARD_DATA=FOLDER python benchmarks/emoji_calls.py [--pixel-seconds 1500]
    [--latent-seconds 600] [--runs FOLDER]

For each space a flow is trained, then its student for as long, its trajectories included. Judged
against the held-out images in features that no model was trained with: the flow in --long calls,
its student in 1, 2 and 4; samples of equal seeds. The time of a sample is the lower quartile over
turns of batches of 64 (`latent.seconds_per_sample`), on --threads threads. Bars for one call: KID
at most the teacher's plus one spread over samplings, near-copies at most the floor, 3 ms a sample.
Runs in --runs are judged, not trained again; one that was cut off is taken up.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    seconds_of,
    table,
    taken_up,
    write,
)

import numpy as np
import torch
from latent import SETS, seconds_per_sample

import pushforward as pf
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.evaluation import Evaluator
from pushforward.methods.method import parameters
from pushforward.training.api import reopen, student

NAMES = ["kid", "frechet", "coverage", "recall", "near_copies"]
MILLISECONDS = 3.0


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--spaces", nargs="+", default=["latent", "pixel"], choices=["latent", "pixel"]
    )
    parser.add_argument("--coder-seconds", type=float, default=120)
    parser.add_argument(
        "--latent-seconds", type=float, default=600, help="of the flow, and of its student"
    )
    parser.add_argument(
        "--pixel-seconds", type=float, default=1500, help="of the flow, and of its student"
    )
    parser.add_argument(
        "--trajectories",
        type=int,
        default=4096,
        help="of the pixel student; the latent one takes its default",
    )
    parser.add_argument(
        "--long", type=int, default=25, help="calls of the teacher that the bar refers to"
    )
    parser.add_argument("--calls", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument(
        "--n", type=int, default=2000, help="samples to judge, at most as many as held-out images"
    )
    parser.add_argument("--repeats", type=int, default=5, help="samplings of each model")
    parser.add_argument(
        "--turns", type=int, default=5, help="in which the time of a sample is measured"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of sampling while it is timed; training takes one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default="runs/emoji-calls")
    small = {
        "coder_seconds": 0.02,
        "latent_seconds": 0.02,
        "pixel_seconds": 0.02,
        "trajectories": 64,
        "turns": 1,
        "n": 20,
    }
    given = parsed(parser, words, **small, long=3, calls=[1], repeats=2)
    if given.repeats < 2:
        parser.error("--repeats must be at least 2: the bar of KID is one spread over samplings.")
    torch.set_num_threads(1)
    data = load(SETS["emoji"] or str(pf.data.core.named_set.folder() / "emoji"))
    judge = Evaluator(data, min(given.n, len(data.held_out)), given.repeats, NAMES)
    rows = []
    for space in given.spaces:
        teacher, learner = runs(space, data, given)
        rows.append(judged(space, "teacher", teacher, given.long, judge, given))
        rows += [judged(space, "student", learner, calls, judge, given) for calls in given.calls]
    report(rows, judge, given)


def runs(space: str, data: Any, given: argparse.Namespace) -> tuple[pf.Run, pf.Run]:
    """The flow of a space and its student, each trained to its budget."""
    folder = Path(given.runs)
    seconds = getattr(given, f"{space}_seconds")
    if space == "latent":
        recipe = partial(pf.recipes.autoencoder, data.space)
        unlabelled = data.without_labels()
        coder = taken_up(recipe, unlabelled, given.coder_seconds, given.seed, folder / "coder")
        make = partial(pf.in_latent, "flow", data, ended(coder))
    else:
        make = partial(pf.recipes.flow, data.space)
    teacher = ended(taken_up(make, data, seconds, given.seed, folder / space))
    out = folder / f"{space}-student"
    watch = pf.Progress(60)
    if (out / "checkpoints").exists():
        return teacher, ended(reopen(out, data=data, progress=watch))
    settings = {"trajectories": given.trajectories} if space == "pixel" else {}
    trainer = student(
        teacher,
        data=data,
        settings=settings,
        seconds=seconds,
        seed=given.seed,
        out=out,
        progress=watch,
    )
    return teacher, ended(trainer)


def ended(trainer: Any) -> pf.Run:
    """The run of a training, brought to its end."""
    if not trainer.done:
        trainer.advance()
    else:
        trainer.close()
    return pf.load(trainer.folder)


def judged(
    space: str, name: str, run: pf.Run, calls: int, judge: Evaluator, given: argparse.Namespace
) -> dict[str, Any]:
    """Scores of one model in so many calls, and the time of a sample."""
    transport = run.configured(steps=calls).transport
    with network_precision(resolve_precision("auto", "cpu")):
        scores, _ = judge.scores(transport)
        torch.set_num_threads(given.threads)
        seconds = seconds_per_sample(lambda n: transport.sample(n, batch=n), 64, given.turns)
        torch.set_num_threads(1)
    row: dict[str, Any] = {
        "space": space,
        "model": name,
        "calls": calls,
        "step": run.state["step"],
        "seconds": seconds_of(run),
    }
    row |= {"milliseconds": 1e3 * seconds, "parameters": parameters(transport)}
    for metric in NAMES:
        if metric in scores:
            score = scores[metric]
            row[metric] = {
                "value": score.value,
                "spread": score.spread,
                "interval": score.interval,
                "values": list(score.values),
            }
    print(row, flush=True)
    return row


def passed(row: dict[str, Any], teacher: dict[str, Any], floor: float) -> dict[str, bool]:
    """Which bars a student in one call reaches."""
    return {
        "KID": row["kid"]["value"] <= teacher["kid"]["value"] + teacher["kid"]["spread"],
        "near-copies": row["near_copies"]["value"] <= floor,
        "time": row["milliseconds"] <= MILLISECONDS,
    }


def report(rows: list[dict[str, Any]], judge: Evaluator, given: argparse.Namespace) -> None:
    """The table, and which bars are reached."""
    scored = [metric for metric in NAMES if metric in rows[0]]
    body = []
    verdicts = []
    teachers = {row["space"]: row for row in rows if row["model"] == "teacher"}
    for row in rows:
        cells = [with_interval(row[metric]) for metric in scored]
        body.append(
            [row["space"], row["model"], str(row["calls"]), *cells, f"{row['milliseconds']:.3g}"]
        )
        if row["model"] == "student" and row["calls"] == 1:
            bars = passed(row, teachers[row["space"]], judge.real_data_scores["near_copies"].value)
            words = ", ".join(
                f"{name} {'reached' if ok else 'missed'}" for name, ok in bars.items()
            )
            verdicts.append(f"- {row['space']}, one call: {words}")
    floor = real_data_scores(judge, scored)
    body.append(["real data", "", "", *(floor.get(metric, "") for metric in scored), ""])
    text = (
        table(["space", "model", "calls", *scored, "ms / sample"], body)
        + "\n\n"
        + "\n".join(verdicts)
    )
    trained = [
        row
        for row in rows
        if row["calls"] == (given.long if row["model"] == "teacher" else given.calls[0])
    ]
    taken = "; ".join(
        f"{row['space']} {row['model']} {row['step']:,} steps, {row['seconds']:,.0f} s"
        for row in trained
    )
    text += (
        f"\n\n95 % intervals in brackets, over {given.repeats} samplings of {judge.n} images. "
        "One "
        "training each, on one "
    )
    text += (
        f"thread: {taken}. Sampling was timed on {given.threads} "
        f"thread{'s' * (given.threads > 1)}. Samplings of equal seeds "
    )
    text += (
        f"start from the same noise; the student's KID in {given.calls[0]} minus its "
        "teacher's: "
        f"{paired(rows, given)}."
    )
    write(
        "emoji_calls",
        "Emoji in one call",
        text,
        rows,
        **{k: v for k, v in vars(given).items() if k != "runs"},
    )


def paired(rows: list[dict[str, Any]], given: argparse.Namespace) -> str:
    """For each space the mean and the standard deviation of the student's KID minus its teacher's,
    sampling by sampling.
    """
    words = []
    for space in given.spaces:
        values = {
            (row["model"], row["calls"]): np.array(row["kid"]["values"])
            for row in rows
            if row["space"] == space
        }
        gaps = values["student", given.calls[0]] - values["teacher", given.long]
        words.append(f"{space} {mean_and_spread(list(gaps))}")
    return ", ".join(words)


def with_interval(score: dict[str, Any]) -> str:
    """A score with its 95 % interval."""
    if score["interval"] is None:
        return f"{score['value']:.4g}"
    low, high = score["interval"]
    return f"{score['value']:.4g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
