"""What does sampling cost above the network calls, and is it as fast as diffusers' pipelines around
the same network?

Protocol, on untrained networks, whose calls cost as much as trained ones:

(a) Overhead. The default small U-Net on 1 x 28 x 28, batch 64, 20 steps: `Flow` against as many
bare calls of the network on the same batch. The bar is at most 3 % for every solver.

(b) Images per second. diffusers' UNet2DModel of about a million parameters on 1 x 32 x 32, written
to a folder: `Flow` around what `from_diffusers` reads from it (it lays weights out channels_last)
against diffusers' own pipelines around what they read from it, from a seed to images in memory, at
equal steps. The bar is a ratio of at least 1.

Everything runs in one process in turns, so that a machine whose speed drifts treats all alike; one
turn warms up. Reported are the medians over turns of the seconds and of the per-turn ratios.

    pip install 'pushforward[diffusers]'
    python benchmarks/sampling_speed.py [--repeats 5] [--steps 20] [--batch 64] [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

from protocol import benchmark, parsed, table, write

import torch
from torch import nn

import pushforward as pf
from pushforward.interop import from_diffusers
from pushforward.methods.method import parameters
from pushforward.networks import UNet

SOLVERS = ("dpm", "unipc", "ddim", "heun", "deis")
Work = Callable[[], object]


def space(side: int) -> pf.data.Space:
    """Images of one channel in diffusers' units."""
    return pf.data.ImageSpace((1, side, side), (0.5,), (0.5,), (0.0,), (1.0,))


def overhead_pairs(steps: int, batch: int) -> dict[str, tuple[Work, Work]]:
    """Per solver: a solve, and its network calls alone."""
    torch.manual_seed(0)
    network = UNet.sized("small", shape=(1, 28, 28)).to(memory_format=torch.channels_last).eval()
    denoiser = pf.Denoiser(network, pf.Linear(), "velocity", space(28))
    z = torch.randn(batch, 1, 28, 28)
    t = torch.full((batch,), 0.5)

    def bare(calls: int) -> Work:
        return lambda: [network(z, t, None) for _ in range(calls)]

    flows = {name: pf.Flow(denoiser, pf.solvers.named(name), steps) for name in SOLVERS}
    return {name: (partial(flow, z), bare(flow.calls)) for name, flow in flows.items()}


def diffusers_unet() -> nn.Module:
    """UNet2DModel of about a million parameters."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=32,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    ).eval()


def pipeline_pairs(steps: int, batch: int) -> tuple[dict[str, tuple[Work, Work]], int]:
    """Per sampler: a solve of ours and one of diffusers', from a seed to images; and the network's
    parameter count.
    """
    import diffusers

    torch.manual_seed(0)
    v = {"prediction_type": "v_prediction"}
    with tempfile.TemporaryDirectory() as folder:
        diffusers.DDPMPipeline(diffusers_unet(), diffusers.DDPMScheduler(**v)).save_pretrained(
            folder
        )
        denoiser = from_diffusers(folder)
        unet = diffusers.DDPMPipeline.from_pretrained(folder).unet
    theirs = {
        "dpm": diffusers.DDPMPipeline(unet, diffusers.DPMSolverMultistepScheduler(**v)),
        "ddim": diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(**v)),
    }

    def ours(name: str) -> Work:
        flow = pf.Flow(denoiser, pf.solvers.named(name), steps)
        return lambda: flow.sample(batch, batch=batch).numpy()

    def of(pipeline: Callable) -> Work:
        generator = torch.Generator().manual_seed(0)
        return lambda: (
            pipeline(batch, generator=generator, num_inference_steps=steps, output_type="np").images
        )

    for pipeline in theirs.values():
        pipeline.set_progress_bar_config(disable=True)
    return {name: (ours(name), of(pipeline)) for name, pipeline in theirs.items()}, parameters(unet)


def measure(pairs: dict[str, tuple[Work, Work]], repeats: int) -> dict[str, dict[str, float]]:
    """Run all pairs in turns, each turn in the other order.

    Args:
        pairs: Two pieces of work by name, ours first.
        repeats: Turns after one for warming up.

    Returns:
        By name: the median seconds of both, and the median, least and greatest ratio of the first's
            to the second's.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    with torch.no_grad():
        for turn in range(repeats + 1):
            for name, pair in pairs.items():
                order = (0, 1) if turn % 2 else (1, 0)
                took = {i: timed(pair[i]) for i in order}
                if turn:
                    seconds[name].append((took[0], took[1]))
    return {name: summary(taken) for name, taken in seconds.items()}


def timed(work: Work) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summary(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of both and of their ratio, with its range."""
    ratios = sorted(ours / other for ours, other in taken)
    return {
        "ours": statistics.median(ours for ours, _ in taken),
        "other": statistics.median(other for _, other in taken),
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }


def overhead_table(measured: dict[str, dict[str, float]]) -> str:
    """What each solver costs above its network calls."""
    rows = [
        [
            name,
            f"{row['ours']:.3f}",
            f"{row['other']:.3f}",
            f"{100 * (row['ratio'] - 1):+.1f} %",
            f"{100 * (row['lowest'] - 1):+.1f} to {100 * (row['highest'] - 1):+.1f} %",
        ]
        for name, row in measured.items()
    ]
    return table(["solver", "solve, s", "bare calls, s", "overhead, median", "range"], rows)


def pipeline_table(measured: dict[str, dict[str, float]], batch: int) -> str:
    """Images per second of both, and how many times as fast ours is."""
    rows = [
        [
            name,
            f"{batch / row['ours']:.1f}",
            f"{batch / row['other']:.1f}",
            f"{1 / row['ratio']:.3f}",
            f"{1 / row['highest']:.3f} to {1 / row['lowest']:.3f}",
        ]
        for name, row in measured.items()
    ]
    return table(
        ["sampler", "ours, images/s", "diffusers, images/s", "ratio, median", "range"], rows
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write results/sampling_speed.md and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default 5)")
    parser.add_argument("--steps", type=int, default=20, help="steps of a solve (default 20)")
    parser.add_argument("--batch", type=int, default=64, help="images per solve (default 64)")
    parser.add_argument("--threads", type=int, default=0, help="threads (default: torch's choice)")
    given = parsed(parser, words, repeats=1, steps=2, batch=1)
    if given.repeats < 1 or given.steps < 2 or given.batch < 1:
        parser.error("expected at least 1 repeat, 2 steps and a batch of 1")
    if given.threads:
        torch.set_num_threads(given.threads)
    own = overhead_pairs(given.steps, given.batch)
    read, count = pipeline_pairs(given.steps, given.batch)
    # one run over both questions, so that both see the same machine
    pairs = {f"a {name}": pair for name, pair in own.items()} | {
        f"b {name}": pair for name, pair in read.items()
    }
    measured = measure(pairs, given.repeats)
    parts = {
        "overhead": {name: measured[f"a {name}"] for name in own},
        "pipelines": {name: measured[f"b {name}"] for name in read},
    }
    report(parts, given, count)


def report(
    parts: dict[str, dict[str, dict[str, float]]], given: argparse.Namespace, count: int
) -> None:
    """Write and print both tables."""
    import diffusers

    text = (
        f"{given.steps} steps, batch {given.batch}, medians of {given.repeats} turns, float32.\n\n"
        "Overhead of `Flow` above the bare calls of the small U-Net on 1x28x28; the bar is at most "
        "3 %.\n\n"
        f"{overhead_table(parts['overhead'])}\n\n"
        f"One UNet2DModel ({count:,} parameters, 1x32x32) under `Flow` and under diffusers' "
        "pipelines, each as its library reads "
        "it; the bar is a ratio of at least "
        f"1.\n\n{pipeline_table(parts['pipelines'], given.batch)}"
    )
    rows = [
        {"part": part, "name": name, **row}
        for part, measured in parts.items()
        for name, row in measured.items()
    ]
    settings = {
        "repeats": given.repeats,
        "steps": given.steps,
        "batch": given.batch,
        "diffusers": diffusers.__version__,
    }
    write("sampling_speed", "Speed of sampling", text, rows, **settings)


if __name__ == "__main__":
    main()
