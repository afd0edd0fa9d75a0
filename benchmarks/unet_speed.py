"""How fast does the default small U-Net train, against diffusers' UNet2DModel of equal parameter
count?

Protocol: 28 x 28 images with one channel, batch 128, one step = forward, mean squared error,
    backward, update.
Ours runs as `pushforward` trains it on this machine: channels_last, bfloat16 autocast where the
processor has it, Muon for kernels and fused AdamW for all else. diffusers' runs as its
documentation shows it: default layout, float32, fused AdamW (its fastest of the configurations that
we tried within 5 % of our parameter count). Both run in turns, one step each, in one process, so
that a machine whose speed drifts treats them alike; medians over all steps after warm-up, and the
median of the per-turn ratios.

    pip install diffusers
    python benchmarks/unet_speed.py [--steps 20] [--batch 128] [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from protocol import benchmark, parsed, table, write

import torch
from torch import Tensor, nn

import pushforward as pf
from pushforward.denoisers.denoiser import resolve_precision
from pushforward.methods.method import parameters
from pushforward.networks import UNet
from pushforward.training.loop.optimizers import PlayerOptimizer

SHAPE = (1, 28, 28)


def training_step(
    network: nn.Module,
    call: Callable[[Tensor, Tensor], Tensor],
    batch: int,
    bf16: bool,
    optimizer: str,
) -> Callable:
    """One training step of a network as a function without arguments."""
    player = PlayerOptimizer(
        network, "network", pf.Training(lr=1e-4, optimizer=optimizer, clip=None)
    )
    x = torch.randn(batch, *SHAPE)
    t = torch.rand(batch)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            y = call(x, t)
        (y.float() - x).square().mean().backward()
        player.update(1.0)

    return step


def diffusers_unet() -> nn.Module:
    """UNet2DModel within 2 % of our parameter count; the fastest of three such configurations."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def models(batch: int) -> tuple[dict[str, Callable], dict[str, int]]:
    """Training steps and parameter counts by name."""
    torch.manual_seed(0)
    ours = UNet.sized("small", shape=SHAPE).to(memory_format=torch.channels_last)
    plain = UNet.sized("small", shape=SHAPE).to(memory_format=torch.channels_last)
    theirs = diffusers_unet()
    steps = {
        "diffusers": training_step(
            theirs, lambda x, t: theirs(x, 1000 * t).sample, batch, False, "adamw"
        )
    }
    steps["ours, float32"] = training_step(plain, plain, batch, False, "muon")
    if resolve_precision("auto", "cpu") == "bfloat16":
        steps["ours, bfloat16"] = training_step(ours, ours, batch, True, "muon")
    return steps, {"ours": parameters(ours), "diffusers": parameters(theirs)}


def measure(turns: int, batch: int) -> dict:
    """Run all models in turns.

    Args:
        turns: Steps of each model after two for warming up.
        batch: Images per step.

    Returns:
        A plain dict with counts, rates and ratios.
    """
    steps, counts = models(batch)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    ratios = {}
    for name in steps:
        pairs = sorted(a / b for a, b in zip(seconds["diffusers"], seconds[name], strict=True))
        ratios[name] = {
            "median": statistics.median(pairs),
            "lowest": pairs[0],
            "highest": pairs[-1],
        }
    return {
        "threads": torch.get_num_threads(),
        "batch": batch,
        "turns": turns,
        "parameters": counts,
        "images_per_second": {
            name: batch / statistics.median(times) for name, times in seconds.items()
        },
        "ratio_to_diffusers": ratios,
    }


@benchmark
def main(words: list[str]) -> None:
    """Measure, write results/unet_speed.md and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="training steps of each (default 20)")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default 128)")
    parser.add_argument("--threads", type=int, default=0, help="threads (default: torch's choice)")
    given = parsed(parser, words, steps=1, batch=2)
    if given.threads:
        torch.set_num_threads(given.threads)
    result = measure(given.steps, given.batch)
    rows = []
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_diffusers"][name]
        spread = f"{ratio['lowest']:.2f} to {ratio['highest']:.2f}"
        count = result["parameters"]["diffusers" if name == "diffusers" else "ours"]
        rows.append([name, f"{count:,}", f"{rate:,.0f}", f"{ratio['median']:.2f}", spread])
    text = table(["U-Net", "parameters", "images/s", "ratio, median", "range"], rows)
    text += (
        f"\n\nTraining at batch {given.batch} on 28x28, {given.steps} steps each in turns; "
        "the bar "
        "is a ratio of 2.5."
    )
    write("unet_speed", "Training speed of the small U-Net", text, [result])


if __name__ == "__main__":
    main()
