"""Five recipes on MNIST, ten minutes of one thread's processor time each.

    PUSHFORWARD_DATA=FOLDER python benchmarks/mnist.py [--seconds 600] [--recipes flow gan] [--jobs
    2] [--repeats 2]

Against the 10,000 test digits, by repeated samplings of 10,000: Fréchet distance, KID, coverage and
    the rest beside floors and
the no-network row; the classification accuracy score (a classifier trained on 10,000 conditional
samples alone, tested on real digits) beside the same classifier trained on 10,000 real ones; images
per second; the time that sampling spends outside its network calls; and a grid for each, in
results/mnist-NAME.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    each,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    results,
    steps_in,
    table,
    train,
    write,
)

import numpy as np
import torch

import pushforward as pf
from pushforward.denoisers.denoiser import call, network_precision, resolve_precision
from pushforward.evaluation import Evaluator, Score
from pushforward.evaluation.model_metrics import classification_accuracy, real_accuracy
from pushforward.pictures import grid_picture

NAMES = ["frechet", "kid", "coverage", "density", "precision", "recall", "near_copies", "sharpness"]
RECIPES = ["flow", "ddpm", "edm", "gan", "vae"]
FACTOR = 1.5
"""How far from the flow the GAN may stay."""
BARS = (
    "Targets: flow, ddpm and edm are better than the baseline in Fréchet distance and coverage, "
    "with a sampling overhead of at "
    "most 10 %. A classifier trained on samples of the flow reaches at least 97 %, and at most 2 "
    "points less than on real "
    f"digits. The Fréchet distance of the GAN is at most {FACTOR} times that of the flow, its "
    "coverage and density at least "
    f"those of the flow divided by {FACTOR}. Images per second are medians of alternate rounds of "
    "64 images."
)


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=2, help="samplings of each model")
    parser.add_argument("--n", type=int, default=10_000, help="samples that are judged")
    parser.add_argument("--turns", type=int, default=5, help="in which speeds are measured")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    parser.add_argument(
        "--runs",
        default="runs/mnist-benchmark",
        help="finished runs found here are judged, not trained again",
    )
    given = parsed(parser, words, seconds=0.01, repeats=1, turns=1, n=20, recipes=["flow"])
    torch.set_num_threads(1)
    data = load("mnist")
    folder = Path(given.runs)
    judge = Evaluator(data, given.n, given.repeats)
    real = real_accuracy(data, min(given.n, len(data.train)))
    missing = [name for name in given.recipes if not (folder / name / "checkpoints").exists()]
    steps = {
        name: steps_in(partial(pf.recipes.named(name), data.space), data, given.seconds)
        for name in missing
    }
    each(trained, [(name, folder / name, steps[name], given.seed) for name in missing], given.jobs)
    rows = each(
        judged,
        [(name, folder / name, given.n, given.repeats) for name in given.recipes],
        given.jobs,
    )
    base = judge.baselines()[0].scores
    runs = {name: pf.load(folder / name) for name in given.recipes}
    speed = images_per_second(
        {name: run.transport for name, run in runs.items()}, repeats=given.turns
    )
    for row in rows:
        row["overhead"] = outside(runs[row["recipe"]].transport, repeats=given.turns)
        row["images_per_second"] = speed[row["recipe"]]
    report(rows, base, real, judge, given)


def report(
    rows: list[dict[str, Any]],
    base: Mapping[str, Score],
    real: float,
    judge: Evaluator,
    given: argparse.Namespace,
) -> None:
    head = [
        "recipe",
        "steps",
        "calls",
        "images/s",
        *NAMES,
        "label agreement",
        "classifier trained on samples",
    ]
    head += ["sampling overhead", "passes"]
    flow = next((row for row in rows if row["recipe"] == "flow"), None)
    body = [
        [
            row["recipe"],
            f"{row['step']:,}",
            str(row["calls"]),
            f"{row['images_per_second']:,.0f}",
            *(mean_and_spread(row["values"][m]) for m in NAMES),
            f"{row['agreement']:.2%}",
            f"{row['cas']:.2%}",
            row["overhead"],
            passes(row, base, real, flow),
        ]
        for row in rows
    ]
    floor = real_data_scores(judge, NAMES)
    body.append(
        ["real data", "", "", "", *(floor.get(m, "") for m in NAMES), "", f"{real:.2%}", "", ""]
    )
    body.append(
        [
            "baseline",
            "",
            "",
            "",
            *(mean_and_spread(list(base[m].values)) for m in NAMES),
            "",
            "",
            "",
            "",
        ]
    )
    text = table(head, body)
    text += (
        f"\n\nOne training run each, with as many steps as {given.seconds:g} s of processor "
        "time "
        "allow on one thread; "
    )
    text += f"{given.n:,} samples in bfloat16, "
    text += (
        f"mean ± standard deviation over {given.repeats} samplings. The classifier is trained "
        "on "
        "one of them."
    )
    text += f"\n\n{BARS}"
    name = "mnist" if given.recipes == RECIPES else "_".join(["mnist", *given.recipes])
    title = f"MNIST: {len(rows)} recipes, {given.seconds:g} s each"
    write(
        name,
        title,
        text,
        rows,
        seconds=given.seconds,
        seed=given.seed,
        repeats=given.repeats,
        jobs=given.jobs,
    )


def passes(
    row: dict[str, Any], base: Mapping[str, Score], real: float, flow: dict[str, Any] | None
) -> str:
    """Whether a recipe reaches its bars; a dash for those that have none."""
    if row["recipe"] == "gan" and flow is not None:
        ok = row["frechet"] <= FACTOR * flow["frechet"]
        if ok and all(row[m] >= flow[m] / FACTOR for m in ("coverage", "density")):
            return "yes"
        return "no"
    if row["recipe"] not in ("flow", "ddpm", "edm"):
        return "-"
    ok = row["frechet"] < base["frechet"].value and row["coverage"] > base["coverage"].value
    ok = ok and float(row["overhead"].rstrip("%")) <= 10
    if row["recipe"] == "flow":
        ok = ok and row["cas"] >= max(0.97, real - 0.02)
    if ok:
        return "yes"
    return "no"


def images_per_second(
    transports: dict[str, Any], rows: int = 64, repeats: int = 5
) -> dict[str, float]:
    """Samples of each transport per second, batches of ``rows`` in turns, by median."""
    taken: dict[str, list[float]] = {name: [] for name in transports}
    with network_precision(resolve_precision("auto", "cpu")):
        for turn in range(repeats + 1):
            for name, transport in transports.items():
                start = time.perf_counter()
                transport.sample(rows, transport.conditions(rows, None, 0), batch=rows)
                if turn:
                    taken[name].append(time.perf_counter() - start)
    return {name: rows / float(np.median(seconds)) for name, seconds in taken.items()}


def trained(name: str, folder: Path, steps: int, seed: int) -> None:
    data = load("mnist")
    train(lambda: pf.recipes.named(name)(data.space), data, seed, folder, steps=steps)


class Kept:
    """A sampler that keeps the samples of its last stream."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.parts = []

    def stream(self, n: int, **how: Any) -> list[Any]:
        self.parts = list(self.transport.stream(n, **how))
        return self.parts


def judged(name: str, folder: Path, n: int, repeats: int) -> dict[str, Any]:
    """Judge one run on conditional samples."""
    data = load("mnist")
    run = pf.load(folder)
    with network_precision(resolve_precision("auto", "cpu")):
        recorded = Kept(run.transport)
        scores, agreement = Evaluator(data, n, repeats).scores(recorded)
    x = torch.cat([part for part, _ in recorded.parts])
    labels = torch.cat([condition["label"] for _, condition in recorded.parts if condition]).numpy()
    cas = classification_accuracy(x, labels, data)
    grid_picture(data.space.quantise(run.transport.sample(64)), scale=2).save(
        results() / f"mnist-{name}.png"
    )
    row = {
        "recipe": name,
        "step": run.state["step"],
        "seconds": run.state["seconds"],
        "calls": run.transport.calls,
    }
    row |= {metric: scores[metric].value for metric in NAMES}
    row |= {
        "values": {metric: list(scores[metric].values) for metric in NAMES},
        "agreement": agreement,
        "cas": cas,
    }
    print(row, flush=True)
    return row


def outside(transport: Any, rows: int = 64, repeats: int = 5) -> str:
    """The share of sampling time spent outside the network: whole solves beside bare calls,
    interleaved, by median.
    """
    if transport.calls == 1:
        return "-"
    network = transport.denoiser.network
    z = torch.randn(rows, *transport.noise_shape)
    t = torch.full((rows,), 0.5)
    condition = transport.conditions(rows, None, 0)
    ratios = []
    with torch.no_grad(), network_precision(resolve_precision("auto", "cpu")):
        for _ in range(repeats):
            start = time.perf_counter()
            transport.sample(rows, condition, batch=rows)
            middle = time.perf_counter()
            for _ in range(transport.calls):
                call(network, z, t, condition)
            ratios.append((middle - start) / (time.perf_counter() - middle) - 1)
    return f"{np.median(ratios):.1%}"


if __name__ == "__main__":
    main()
