"""A thousand modes: three digits stacked in three channels. Which family reaches all of them, how
evenly, how soon?

    python benchmarks/stacked.py [--data stacked-digits] [--models gan flow ddpm vae] [--seconds
    120] [--seeds 3] [--every 30] PUSHFORWARD_DATA=FOLDER python benchmarks/stacked.py --data
    stacked-mnist --seconds 3600 --seeds 1 --jobs 1

A classifier of single digits, trained on the training digits, reads each channel of 26,000 samples.
A mode is reached with one sample; KL is that of the histogram of samples to the uniform
distribution over the 1000 modes. Averaged weights, each recipe's own sampler. Runs lie in a folder:
one that was cut off is taken up again, a finished one is only judged.

References: Metz et al., Unrolled GANs (2017); Srivastava et al., VEEGAN (2017); Lin et al., PacGAN
    (2018); Xiao et al.,
Denoising Diffusion GANs (2022), for StyleGAN2; Huang et al., The GAN is dead; long live the GAN!
(2024).
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    table,
    taken_up,
    write,
)

import pushforward as pf
from pushforward.errors import Diverged
from pushforward.evaluation import Evaluator
from pushforward.training import Trainer
from pushforward.training.loop.trainer import salvage

NAMES = ["stacked_modes", "stacked_kl"]
PUBLISHED = [
    ("DCGAN", "99", "3.40"),
    ("PacDCGAN2", "1000", "0.06"),
    ("StyleGAN2", "940", "0.42"),
    ("RpGAN + R1 + R2", "1000", "0.078"),
    ("real data", "1000", "0.0238 ± 0.0012"),
]
SLACK = 0.02
"""How far above the floor KL may lie on Stacked digits."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default="stacked-digits", choices=["stacked-digits", "stacked-mnist"]
    )
    parser.add_argument("--models", nargs="*", default=["gan", "flow", "ddpm", "vae"])
    parser.add_argument("--seconds", type=float, default=120, help="of training, each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=26_000, help="samples that are judged")
    parser.add_argument(
        "--every", type=float, help="seconds of training between judgements, for a curve"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        help="trainings at a time, one thread each; 1: one with all threads",
    )
    parser.add_argument("--runs", help="folder of the runs; default runs/DATA-benchmark")
    given = parsed(parser, words, models=["gan"], seconds=0.02, seeds=1, n=60, every=0.01, jobs=1)
    given.runs = given.runs or f"runs/{given.data}-benchmark"
    # finds the classifier and the real-data scores, which each training uses
    judge = Evaluator(load(given.data), given.n, 1, NAMES)
    cases = [(name, seed, given) for name in given.models for seed in range(given.seeds)]
    if given.jobs > 1:
        rows = each(run_case, cases, given.jobs)
    else:
        rows = [run_case(*case) for case in cases]
    report(rows, judge, given)


def run_case(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train one model to its end, or take it up again, and judge it on the way and at the end."""
    data = load(given.data)
    judge = Evaluator(data, given.n, 1, NAMES)
    folder = Path(given.runs) / f"{name}-{seed}"
    trainer = taken_up(
        lambda: pf.recipes.named(name)(data.space), data, given.seconds, seed, folder
    )
    diverged = None
    turn = given.every or math.inf
    try:
        while not trainer.done:
            trainer.advance(turn - trainer.clock.seconds % turn)
            if not trainer.done:
                trainer.save()
                judged(trainer, judge)
    except Diverged as error:
        run = salvage(trainer, error)
        diverged = str(error)
        trainer.state.step = run.state["step"]
        trainer.state.seconds = run.state["seconds"]
    points = judged(trainer, judge)
    row = {
        "model": name,
        "seed": seed,
        **points[-1],
        "calls": trainer.average.method.transport().calls,
        "curve": points,
    }
    print({key: value for key, value in row.items() if key != "curve"}, flush=True)
    return {**row, "diverged": diverged}


def judged(trainer: Trainer, judge: Evaluator) -> list[dict[str, Any]]:
    """The run's points so far, the present step among them; they lie in its folder, so that none is
    measured twice.
    """
    path = trainer.folder / "stacked.json"
    step = trainer.clock.step
    same = {"n": judge.n, "features": judge.features.key}
    rows = json.loads(path.read_text()) if path.exists() else []
    points = [row for row in rows if row["step"] <= step and same.items() <= row.items()]
    if not points or points[-1]["step"] != step:
        scores, _ = judge.scores(trainer.average.method.transport())
        values = {metric: scores[metric].value for metric in NAMES}
        points.append({"step": step, "seconds": trainer.clock.seconds, **values, **same})
        path.write_text(json.dumps(points, indent=1) + "\n")
    return points


def report(rows: list[dict[str, Any]], judge: Evaluator, given: argparse.Namespace) -> None:
    """Write the table of models beside floor, no-network row and published numbers, and the curve
    where there is one.
    """
    floor = real_data_scores(judge, NAMES)
    base = judge.baselines()[0].scores
    accuracy = judge.features.channels.accuracy
    body = []
    for name in given.models:
        mine = [row for row in rows if row["model"] == name]
        steps = sum(row["step"] for row in mine) / len(mine)
        modes = "/".join(f"{row['stacked_modes']:g}" for row in mine)
        kl = mean_and_spread([row["stacked_kl"] for row in mine])
        body.append(
            [
                name,
                f"{steps:,.0f}",
                str(mine[0]["calls"]),
                modes,
                kl,
                passes(name, mine, judge, given),
            ]
        )
    body.append(["real data", "", "", floor["stacked_modes"], floor["stacked_kl"], ""])
    body.append(["baseline", "", "", *(f"{base[metric].value:.4g}" for metric in NAMES), ""])
    body += [
        [f"{name}, published for Stacked MNIST", "", "", modes, kl, ""]
        for name, modes, kl in PUBLISHED
    ]
    text = table(["model", "steps", "calls", "modes of 1000, each seed", "KL", "passes"], body)
    text += (
        f"\n\n{given.seconds:g} s of training each, {given.seeds} seeds, {given.n:,} samples, "
        "one "
        "sampling each. "
    )
    text += f"Digits are read by a classifier of held-out accuracy {accuracy:.2%}."
    text += "".join(
        f"\n\n{row['model']}, seed {row['seed']}, broke off: {row['diverged']}"
        for row in rows
        if row["diverged"]
    )
    if given.every:
        text += (
            "\n\nModes and KL while training (averaged weights, one line for each training):\n\n"
            + curve(rows)
        )
    title = "Stacked digits" if given.data == "stacked-digits" else "Stacked MNIST"
    settings = {"seconds": given.seconds, "seeds": given.seeds, "n": given.n, "jobs": given.jobs}
    settings |= {"classifier_accuracy": accuracy, "floor": floor}
    write(given.data.replace("-", "_"), f"{title}: a thousand modes", text, rows, **settings)


def passes(
    name: str, rows: list[dict[str, Any]], judge: Evaluator, given: argparse.Namespace
) -> str:
    """Whether a model reaches its bar in every training; a dash for those that have none."""
    most = (
        0.06
        if given.data == "stacked-mnist"
        else judge.real_data_scores["stacked_kl"].value + SLACK
    )
    least, barred = (
        (1000, ("gan",)) if given.data == "stacked-mnist" else (999, ("gan", "flow", "ddpm"))
    )
    if name not in barred or given.n != 26_000:
        return "-"
    if all(row["stacked_modes"] >= least and row["stacked_kl"] <= most for row in rows):
        return "yes"
    return "no"


def curve(rows: list[dict[str, Any]]) -> str:
    """Modes and KL of each training at each time."""
    body = []
    for row in rows:
        for point in row["curve"]:
            cells = [
                f"{point['seconds']:.0f}",
                f"{point['step']:,}",
                *(f"{point[metric]:.4g}" for metric in NAMES),
            ]
            body.append([f"{row['model']}, seed {row['seed']}", *cells])
    return table(["model", "seconds", "steps", "modes", "KL"], body)


if __name__ == "__main__":
    main()
