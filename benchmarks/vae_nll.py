"""How probable do variational autoencoders find the binarised test digits of MNIST?

    PUSHFORWARD_DATA=FOLDER python benchmarks/vae_nll.py [--models NAME ...] [--seconds 3600]
    [--every 600] [--codes 5000]

Training digits are drawn as zeros and ones again in every epoch, the 10,000 test digits once, by
seed. Nats by importance sampling with 5,000 codes a digit, averaged weights. On the way, every so
many seconds, the same with 200 codes on 2,000 training digits that are drawn once: a curve that no
test digit has a part in. Runs lie in a folder: one that was cut off is taken up again, a finished
one is only scored. Rows of models that are not asked for stay in the results.

References:
    Burda et al., Importance Weighted Autoencoders (2016), table 1: networks of two layers of 200
    tanh, 3,280 epochs; Tucker et al. (2019) for the gradient.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol import benchmark, commit, each, load, parsed, results, table, taken_up, write

import numpy as np

import pushforward as pf
from pushforward.data import Split
from pushforward.denoisers.denoiser import network_precision
from pushforward.evaluation.model_metrics import coded_bits
from pushforward.networks import Decoder, Encoder
from pushforward.training import Trainer
from pushforward.training.loop.machine import machine

WATCHED = 2_000
FEW = 200
"""Training digits and codes of the curve."""
PART = 1_000
"""Test digits that are scored between two savings."""


def textbook(layers: int, importance: int) -> Callable[[pf.data.Space], pf.Recipe]:
    """Burda et al.'s networks: 200 tanh twice, a code of 50; or of 100 below and 50 above."""
    settings: dict[str, Any] = {
        "network": "textbook",
        "importance_samples": importance,
        "dreg": importance > 1,
    }
    if layers == 1:
        return lambda space: pf.recipes.vae(space, latent_size=50, **settings)
    return lambda space: pf.recipes.hvae(space, latent_size=100, upper_size=50, **settings)


def convolutional(layers: int) -> Callable[[pf.data.Space], pf.Recipe]:
    """Residual convolutions of 16 channels at 14 x 14, then 32; a code of 32 (after Kingma et al.,
    IAF, 2016); or 64 and 32.
    """

    def recipe(space: pf.data.Space) -> pf.Recipe:
        latent = 32 if layers == 1 else 64
        encoder = Encoder(space.shape, latent=latent, width=16, stem=2)
        decoder = Decoder(space.shape, latent=latent, width=16, stem=2)
        if layers == 1:
            return pf.recipes.vae(space, encoder=encoder, decoder=decoder, latent_size=latent)
        return pf.recipes.hvae(
            space, encoder=encoder, decoder=decoder, latent_size=latent, upper_size=32, dreg=False
        )

    return recipe


MODELS: dict[str, Callable[[pf.data.Space], pf.Recipe]] = {
    "textbook-1": textbook(1, 1),
    "textbook-1-k50": textbook(1, 50),
    "textbook-2-k50": textbook(2, 50),
    "convolutional-1": convolutional(1),
    "convolutional-2": convolutional(2),
}
PUBLISHED = [
    ("IWAE paper, 1 layer, k = 1 / 5 / 50", "86.76 / 85.54 / 84.78"),
    ("IWAE paper, 2 layers, k = 1 / 5 / 50", "85.33 / 83.89 / 82.90"),
]
BARS = {"1": 84.8, "2": 83.5}
"""Of any network with so many layers of codes, in at most three hours on two cores."""


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seconds", type=float, default=3600.0, help="of training, each")
    parser.add_argument(
        "--every", type=float, default=600.0, help="seconds of training between points of the curve"
    )
    parser.add_argument("--codes", type=int, default=5000, help="for each test digit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        help="trainings at a time, one thread each; 1: one with all threads",
    )
    parser.add_argument("--runs", default="runs/nll-benchmark", help="folder of the runs")
    given = parsed(
        parser,
        words,
        models=["textbook-1-k50", "convolutional-2"],
        seconds=0.02,
        every=0.01,
        codes=2,
        jobs=1,
    )
    cases = [(name, given) for name in given.models]
    if given.jobs > 1:
        rows = each(run_case, cases, given.jobs)
    else:
        rows = [run_case(*case) for case in cases]
    report(measured(rows), given)


def run_case(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train one model to its end, or take it up again, and score the test digits."""
    data = load("binary-mnist", labelled=False)
    folder = Path(given.runs) / name
    trainer = taken_up(lambda: MODELS[name](data.space), data, given.seconds, given.seed, folder)
    while not trainer.done:
        trainer.advance(given.every - trainer.clock.seconds % given.every)
        if not trainer.done:
            trainer.save()
        watched(trainer, data, min(FEW, given.codes))
    nats, error = scored(trainer, data, given.codes)
    row = {
        "model": name,
        "step": trainer.clock.step,
        "seconds": trainer.clock.seconds,
        "epochs": trainer.clock.samples / len(data.train),
        "nats": nats,
        "error": error,
        "codes": given.codes,
        "precision": trainer.precision,
        "processor": machine()["processor"],
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }
    print(row, flush=True)
    return {**row, "curve": json.loads((folder / "curve.json").read_text())}


def scored(trainer: Trainer, data: pf.data.Dataset, codes: int) -> tuple[float, float]:
    """Nats of a test digit and their standard error, networks in the precision that they were
    trained in; parts are kept.
    """
    parts = []
    for start in range(0, len(data.held_out), PART):
        path = trainer.folder / f"nll-{codes}-{start}.json"
        if not path.exists():
            rows = dataclasses.replace(data, held_out=Split(data.held_out.x[start : start + PART]))
            with network_precision(trainer.precision):
                score = coded_bits(trainer.average.method, rows, codes=codes, seed=start)
            part = {
                "n": score.n,
                **score.extra,
                "error": score.error * data.space.size * math.log(2),
            }
            path.write_text(json.dumps(part) + "\n")
            print(
                trainer.folder.name,
                f"digits from {start:,}: {part['nats']:.2f} ± {part['error']:.2f}",
                flush=True,
            )
        parts.append(json.loads(path.read_text()))
    counts, means, errors = (
        np.array([part[key] for part in parts]) for key in ("n", "nats", "error")
    )
    mean = np.average(means, weights=counts)
    total = counts.sum()
    squares = (counts * (counts - 1) * errors**2 + counts * (means - mean) ** 2).sum()
    return float(mean), float(np.sqrt(squares / (total - 1) / total))


def measured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows and those of other models from before, in the models' order."""
    path = results() / "vae_nll.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {row["model"]: row for row in (*before, *rows)}
    return [known[name] for name in MODELS if name in known]


def watched(trainer: Trainer, data: Any, few_codes: int = FEW) -> None:
    """One more point of the curve, kept in the run's folder."""
    path = trainer.folder / "curve.json"
    step = trainer.clock.step
    points = [
        point
        for point in (json.loads(path.read_text()) if path.exists() else [])
        if point["step"] < step
    ]
    few = dataclasses.replace(data, held_out=Split(data.train.x[:WATCHED]))
    with network_precision(trainer.precision):
        score = coded_bits(
            trainer.average.method, few, min(WATCHED, len(data.train)), codes=few_codes
        )
    points.append({"step": step, "seconds": trainer.clock.seconds, "nats": score.extra["nats"]})
    path.write_text(json.dumps(points) + "\n")
    print(trainer.folder.name, points[-1], flush=True)


def report(rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    body = []
    for row in rows:
        bar = BARS[row["model"].split("-")[1]]
        reached = "yes" if row["nats"] <= bar else "no"
        cells = [row["model"], f"{row['seconds']:,.0f}", f"{row['step']:,}", f"{row['epochs']:.0f}"]
        origin = [row.get("precision", "float32"), row["processor"], row["commit"], row["date"]]
        body.append([*cells, f"{row['nats']:.2f} ± {row['error']:.2f}", f"{bar}", reached, *origin])
    body += [[f"{name}, published", "", "", "3,280", nats, *[""] * 6] for name, nats in PUBLISHED]
    head = [
        "model",
        "seconds",
        "steps",
        "epochs",
        "nats of a test digit",
        "bar of its layers",
        "reached",
        "scored in",
    ]
    text = table([*head, "processor", "commit", "date"], body)
    text += (
        f"\n\n10,000 test digits binarised once, {given.codes:,} codes each; ± is the "
        "standard "
        "error over digits."
    )
    text += (
        f"\n\nWhile training ({WATCHED:,} training digits drawn once, {FEW} codes, averaged "
        "weights):\n\n"
    )
    points = [(row["model"], point) for row in rows for point in row["curve"]]
    text += table(
        ["model", "seconds", "steps", "nats"],
        [
            [name, f"{point['seconds']:.0f}", f"{point['step']:,}", f"{point['nats']:.2f}"]
            for name, point in points
        ],
    )
    write(
        "vae_nll",
        "MNIST, dynamically binarised: nats",
        text,
        rows,
        seconds=given.seconds,
        codes=given.codes,
        jobs=given.jobs,
    )


if __name__ == "__main__":
    main()
