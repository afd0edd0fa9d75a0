"""Generation in a latent space against generation of pixels: how much sooner does it reach the same
quality, at what cost?

    PUSHFORWARD_DATA=FOLDER python benchmarks/latent.py --data emoji [--pixel-seconds 3600]
    [--coder-seconds 120]

A flow of pixels and a flow in the latent space of an autoencoder of one's own (both as their
recipes come), judged on the way: KID and the rest against held-out images, in features of a
classifier of their labels that no model was trained with. The time to the pixel flow's quality is
given with the autoencoder's training and the encoding, and without; beside it sampling time,
memory, and floating point operations of a training example and of a generated one. Runs lie in a
folder: one that was cut off is taken up again. With ``--swap SEED`` other examples are held out
than those by which settings of the autoencoder were chosen.

References:
    Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models (2022).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from pathlib import Path
from typing import Any

from protocol import (
    benchmark,
    load,
    mean_and_spread,
    parsed,
    real_data_scores,
    results,
    table,
    taken_up,
    write,
)

import numpy as np
import torch

import pushforward as pf
from pushforward.data import Batch, Dataset, Split
from pushforward.data.core.dataset import Schema, build
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.draws import BlockDraws
from pushforward.evaluation import Evaluator, costs as cost
from pushforward.evaluation.pictures import reconstruction
from pushforward.methods import StepContext
from pushforward.methods.method import parameters
from pushforward.pictures import grid_picture
from pushforward.training import Trainer
from pushforward.transports import inner_of, with_inner

STEPS = (25, 15, 10, 7)
"""Steps of sampling that are compared; the first is the recipe's own number."""
NAMES = ["kid", "frechet", "coverage", "density", "precision", "recall", "near_copies", "sharpness"]
SETS = {"emoji": None, "mnist": "mnist"}


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="emoji", choices=list(SETS))
    parser.add_argument("--pixel-seconds", type=float, default=3600.0)
    parser.add_argument("--coder-seconds", type=float, default=120.0)
    parser.add_argument("--latent-seconds", type=float, default=600.0)
    parser.add_argument(
        "--n",
        type=int,
        default=2000,
        help="samples that are judged, at most as many as there are held-out examples",
    )
    parser.add_argument(
        "--points", type=int, default=12, help="judgements of each flow, evenly over its training"
    )
    parser.add_argument("--repeats", type=int, default=3, help="samplings of each judgement")
    parser.add_argument(
        "--turns", type=int, default=5, help="in which the time of a sample is measured"
    )
    parser.add_argument(
        "--steps", type=int, nargs="*", default=STEPS, help="steps of sampling that are compared"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--swap",
        type=int,
        help="hold out as many of the training examples in place of the usual ones, drawn by this",
    )
    parser.add_argument("--runs", help="folder of the runs; default runs/latent-DATA")
    small = {
        "pixel_seconds": 0.02,
        "coder_seconds": 0.02,
        "latent_seconds": 0.02,
        "n": 20,
        "points": 1,
        "repeats": 2,
    }
    given = parsed(parser, words, **small, turns=1, steps=[3, 2], swap=1)
    given.name = given.data if given.swap is None else f"{given.data}_swap_{given.swap}"
    folder = Path(given.runs or f"runs/latent-{given.name}")
    data = load(SETS[given.data] or str(pf.data.core.named_set.folder() / "emoji"))
    if given.swap is not None:
        data = swapped(data, given.swap)
    given.n = min(given.n, len(data.held_out))
    judge = Evaluator(data, given.n, given.repeats, NAMES)
    coder = taken_up(
        lambda: pf.recipes.autoencoder(data.space),
        data.without_labels(),
        given.coder_seconds,
        given.seed,
        folder / "coder",
    )
    coder.advance()
    run = pf.load(folder / "coder")
    began = time.perf_counter()
    make = lambda: pf.in_latent("flow", data, run)  # noqa: E731
    latent = taken_up(make, data, given.latent_seconds, given.seed, folder / "latent")
    encoding = cached(folder / "encoding.json", lambda: time.perf_counter() - began)
    pixel = taken_up(
        lambda: pf.recipes.flow(data.space), data, given.pixel_seconds, given.seed, folder / "pixel"
    )
    flows = {}
    for name, trainer, seconds in (
        ("latent", latent, given.latent_seconds),
        ("pixel", pixel, given.pixel_seconds),
    ):
        curve = judged(trainer, judge, seconds / given.points)
        flows[name] = {
            "curve": curve,
            **cached(folder / f"{name}.json", lambda trainer=trainer: costs(trainer, data, given)),
        }
        flows[name]["steps"] = cached(
            folder / f"{name}-steps.json", lambda trainer=trainer: by_steps(trainer, data, given)
        )
        picture = grid_picture(data.space.quantise(trainer.average.method.transport().sample(64)))
        picture.save(results() / f"latent-{given.name.replace('_', '-')}-{name}.png")
    quality = cached(
        folder / "quality.json",
        lambda: reconstruction(run.method.autoencoder().eval(), data, judge.features).to_plain(),
    )
    report(flows, judge, encoding, quality, given)


def swapped(data: Dataset, seed: int) -> Dataset:
    """Training examples held out in place of the usual ones, which join the training: nothing was
    chosen by how they come out.
    """
    order = np.random.default_rng(seed).permutation(len(data.train))
    n = len(data.held_out)
    out, stay = (
        Split(*(part if part is None else part[rows] for part in (data.train.x, data.train.labels)))
        for rows in (np.sort(order[:n]), np.sort(order[n:]))
    )
    labels = None if stay.labels is None else np.concatenate([stay.labels, data.held_out.labels])
    return build(
        data.name,
        Split(np.concatenate([stay.x, data.held_out.x]), labels),
        out,
        schema=Schema(data.space.classes),
    )


def cached(path: Path, work: Any) -> Any:
    """What was found, from its file where it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(work()) + "\n")
    return json.loads(path.read_text())


def judged(trainer: Trainer, judge: Evaluator, every: float) -> list[dict[str, Any]]:
    """Train to the end and judge averaged weights every so many seconds; points are stored in the
    run's folder.

    Each point holds the step, the seconds of training and, for each metric, one value for each
    sampling.
    """
    path = trainer.folder / "curve.json"
    points = json.loads(path.read_text()) if path.exists() else []
    points = [point for point in points if point["step"] <= trainer.clock.step]
    while not trainer.done:
        trainer.advance(every - trainer.clock.seconds % every)
        trainer.save() if not trainer.done else trainer.finish()
        with network_precision(resolve_precision("auto", "cpu")):
            scores = judge.scores(trainer.average.method.transport())[0]
        values = {name: list(scores[name].values) for name in NAMES if name in scores}
        points.append({"step": trainer.clock.step, "seconds": trainer.clock.seconds, **values})
        path.write_text(json.dumps(points, indent=1) + "\n")
        print(trainer.folder.name, points[-1], flush=True)
    return points


def seconds_per_sample(sample: Any, n: int, turns: int) -> float:
    return float(np.quantile(cost.time_in_turns({"": sample}, n, turns)[""].values, 0.25))


def costs(trainer: Trainer, data: Any, given: argparse.Namespace) -> dict[str, Any]:
    transport = trainer.average.method.transport()
    with network_precision(resolve_precision("auto", "cpu")):
        scores = Evaluator(data, given.n, given.repeats, NAMES).scores(transport)[0]
        seconds = seconds_per_sample(lambda n: transport.sample(n, batch=n), 64, given.turns)
    batch = trainer.sampler.batch(0)
    few = batch.take(slice(8))
    now = StepContext(BlockDraws(0, 0, 8), 0, 0.0)
    step = cost.flops(lambda: [loss.backward() for _, loss in trainer.method.turns(few, now)]) / 8
    return {
        "scores": {name: {"mean": row.value, "spread": row.spread} for name, row in scores.items()},
        "seconds_per_sample": seconds,
        "flops_per_sample": cost.flops(lambda: transport.sample(1)),
        "flops_per_training_sample": step,
        "parameters": parameters(transport),
        "steps_per_second": trainer.clock.step / trainer.clock.seconds,
        "samples_per_second": trainer.clock.samples / trainer.clock.seconds,
        "kept_per_training_sample_mb": kept_for_gradients(trainer, few, now) / len(few.x) / 2**20,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def by_steps(trainer: Trainer, data: Any, given: argparse.Namespace) -> list[dict[str, float]]:
    """KID and seconds a sample at fewer and fewer steps."""
    transport = trainer.average.method.transport()
    judge = Evaluator(data, given.n, given.repeats, ["kid"])
    flow = inner_of(transport)
    curve = []
    for steps in given.steps:
        fewer = with_inner(transport, flow.with_solver(flow.solver, steps))
        with network_precision(resolve_precision("auto", "cpu")):
            kid = judge.scores(fewer)[0]["kid"]
            seconds = seconds_per_sample(
                lambda n, fewer=fewer: fewer.sample(n, batch=n), 64, given.turns
            )
        curve.append({"steps": steps, "kid": kid.value, "spread": kid.spread, "seconds": seconds})
    return curve


def kept_for_gradients(trainer: Trainer, batch: Batch, now: StepContext) -> int:
    """Bytes that a training step keeps for its gradients, weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in trainer.method.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = [loss for _, loss in trainer.method.turns(batch, now)]
    del alive
    return sum(size for place, size in storages.items() if place not in weights)


def reached(curve: list[dict[str, Any]], metric: str, sampling: int, target: float) -> float:
    """Seconds of training until one sampling's score is at or below a target for the first time;
    infinity if it never is.
    """
    return next(
        (point["seconds"] for point in curve if point[metric][sampling] <= target), math.inf
    )


def interval(values: list[float], digits: str) -> str:
    """The range of values in words; infinity means "never"."""
    low, high = (
        f"{value:{digits}}" if math.isfinite(value) else "never"
        for value in (min(values), max(values))
    )
    if low == high:
        return low
    return f"{low} to {high}"


def sooner(metric: str, results: dict[str, Any], before: float) -> str:
    """When each flow reaches the score that the pixel flow ends with, as intervals over all pairs
    of samplings.

    Args:
        metric: The score, lower is better.
        results: The curve of each flow.
        before: Seconds of the autoencoder's training and of the encoding.
    """
    pixel = results["pixel"]["curve"]
    latent = results["latent"]["curve"]
    targets = pixel[-1][metric]
    samplings = range(len(targets))
    of_pixel = [
        reached(pixel, metric, sampling, target) for sampling in samplings for target in targets
    ]
    of_latent = [
        reached(latent, metric, sampling, target) for sampling in samplings for target in targets
    ]
    label = "KID" if metric == "kid" else "Fréchet distance"
    text = (
        f"- {label} of the pixel flow at its end, {interval(targets, '.4g')} over "
        f"{len(targets)} "
        "samplings: "
    )
    text += f"the latent flow reaches it after {interval(of_latent, '.0f')} s of its own training"
    if not all(math.isfinite(seconds) for seconds in of_latent + of_pixel):
        return (
            text
            + f", the pixel flow after {interval(of_pixel, '.0f')} s; no ratio is given, since "
            "some pairs never reach it."
        )
    ratios = [a / (b + before) for a, b in zip(of_pixel, of_latent, strict=True)]
    text += (
        f" ({interval([t + before for t in of_latent], '.0f')} s with the autoencoder and the "
        "encoding), the pixel flow "
    )
    return (
        text + f"after {interval(of_pixel, '.0f')} s: {interval(ratios, '.2g')} times as long, all "
        "included."
    )


def at_equal_quality(pixel: dict[str, Any], latent: dict[str, Any], steps: int) -> str:
    """A table of steps, and how much faster each flow's fastest sampler is that keeps the pixel
    flow's quality.
    """
    target = pixel["steps"][0]["kid"] + pixel["steps"][0]["spread"]
    rows = [
        [
            str(p["steps"]),
            *(
                f"{q['kid']:.4g} ± {q['spread']:.2g} | {q['seconds'] * 1e3:.3g}"
                for q in (p, latent_point)
            ),
        ]
        for p, latent_point in zip(pixel["steps"], latent["steps"], strict=True)
    ]
    text = table(["steps", "pixels: KID", "ms / sample", "latent: KID", "ms / sample"], rows)
    best = [
        min(
            (row for row in flow["steps"] if row["kid"] <= target),
            key=lambda row: row["seconds"],
            default=None,
        )
        for flow in (pixel, latent)
    ]
    if best[0] is None or best[1] is None:
        return text + "\n\nThe latent flow does not keep the pixel flow's KID."
    text += (
        f"\n\nA KID of {target:.4g}, the pixel flow's at {steps} steps plus one spread, is "
        "kept by "
        "the pixel flow in "
    )
    text += f"{best[0]['steps']} steps and by the latent flow in {best[1]['steps']}: "
    text += f"{best[0]['seconds'] / best[1]['seconds']:.3g} times "
    own = pixel["steps"][0]["seconds"] / best[1]["seconds"]
    return text + f"as fast; against the pixel flow's own {steps} steps {own:.3g} times."


def report(
    results: dict[str, Any],
    judge: Evaluator,
    encoding: float,
    quality: dict[str, Any],
    given: argparse.Namespace,
) -> None:
    pixel = results["pixel"]
    latent = results["latent"]
    before = given.coder_seconds + encoding
    body = []
    for name, flow in results.items():
        scores = [
            f"{flow['scores'][m]['mean']:.4g} ± {flow['scores'][m]['spread']:.2g}" for m in NAMES
        ]
        numbers = [
            f"{flow['seconds_per_sample'] * 1e3:.3g}",
            f"{flow['flops_per_sample'] / 1e9:.3g}",
        ]
        numbers += [
            f"{flow['flops_per_training_sample'] / 1e9:.3g}",
            f"{flow['samples_per_second']:.0f}",
        ]
        numbers += [
            f"{flow['kept_per_training_sample_mb']:.2g}",
            f"{flow['peak_memory_mb']:.0f}",
            f"{flow['parameters']:,}",
        ]
        body.append([name, *scores, *numbers])
    floor = real_data_scores(judge, NAMES)
    body.append(["real data", *(floor.get(m, "") for m in NAMES), *[""] * 7])
    head = [
        "flow",
        *NAMES,
        "ms / sample",
        "GFLOP / sample",
        "GFLOP / training example",
        "training examples / s",
        "MB kept / training example",
        "peak MB of the process",
        "parameters",
    ]
    text = table(head, body)
    if given.swap is not None:
        text += (
            f"\n\nHeld out are {given.n:,} of the usual training examples, drawn by {given.swap}; "
        )
        text += "the usual held-out examples were trained on."
    text += (
        f"\n\nThe pixel flow trains for {given.pixel_seconds:.0f} s, the autoencoder for "
        f"{given.coder_seconds:.0f} s, the "
    )
    text += (
        f"latent flow for {given.latent_seconds:.0f} s; encoding takes {encoding:.1f} s. When "
        "is a "
        "score reached "
    )
    text += (
        "first? Each interval covers all pairs of a sampling of one flow and a sampling of "
        "the "
        "pixel flow at its end.\n\n"
    )
    text += "\n".join(sooner(metric, results, before) for metric in ("kid", "frechet")) + "\n"
    faster = pixel["seconds_per_sample"] / latent["seconds_per_sample"]
    cheaper = pixel["flops_per_sample"] / latent["flops_per_sample"]
    trained = pixel["flops_per_training_sample"] / latent["flops_per_training_sample"]
    text += (
        f"\nSampling is {faster:.3g} times as fast, by {cheaper:.3g} times fewer floating "
        "point "
        "operations; a training example "
    )
    text += f"takes {trained:.3g} times fewer."
    text += f"\n\n{at_equal_quality(pixel, latent, given.steps[0])}"
    text += (
        "\n\nThe autoencoder's reconstructions: "
        + ", ".join(f"{name} {value:.4g}" for name, value in quality.items())
        + "."
    )
    text += (
        f"\n\nOn the way (means ± standard deviations over {given.repeats} samplings, of the "
        "same "
        "seeds at every point):\n\n"
    )
    rows = [
        [name, f"{p['seconds']:.0f}", *(mean_and_spread(p[m]) for m in NAMES if m in p)]
        for name, flow in results.items()
        for p in flow["curve"]
    ]
    text += table(["flow", "seconds", *NAMES], rows)
    settings = {
        name: value for name, value in vars(given).items() if name not in ("runs", "data", "name")
    }
    content = [{"flow": name, **flow} for name, flow in results.items()]
    write(
        f"latent_{given.name}",
        f"Latent against pixels: {given.data}",
        text,
        content,
        encoding=encoding,
        **settings,
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    np.random.seed(0)
    main()
