"""How fast does the default small U-Net train, against diffusers' UNet2DModel of equal parameter count?

Protocol: 28 x 28 images with one channel, batch 128, one step = forward, mean squared error, backward, fused AdamW.
Ours runs as `pushforward` trains it on this machine: channels_last, bfloat16 autocast where the processor has it.
diffusers' runs as its documentation shows it: default layout, float32 (its fastest of the configurations that we
tried within 5 % of our parameter count). Both run in turns, one step each, in one process, so that a machine whose
speed drifts treats them alike; medians over all steps after warm-up, and the median of the per-turn ratios.

    pip install diffusers
    python benchmarks/unet_speed.py [--steps 20] [--batch 128] [--threads N] [--json]
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pushforward.networks import UNet, parameter_count

SHAPE = (1, 28, 28)


def processor() -> str:
    """Name of the processor, with the instructions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    wanted = ("avx512f", "avx512_bf16", "amx_bf16")
    return f"{name} ({', '.join(flag for flag in wanted if flag in text.split()) or 'no AVX512'})"


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    return bool(torch.backends.cpu.get_cpu_capability().startswith("AVX512")) and "_bf16" in processor()


def training_step(network: nn.Module, call: Callable[[Tensor, Tensor], Tensor], batch: int, bf16: bool) -> Callable:
    """One training step of a network as a function without arguments."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x, t = torch.randn(batch, *SHAPE), torch.rand(batch)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            y = call(x, t)
        (y.float() - x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def entrants(batch: int) -> tuple[dict[str, Callable], dict[str, int]]:
    """Training steps and parameter counts by name."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    ours = UNet.sized("small", shape=SHAPE).to(memory_format=torch.channels_last)
    plain = UNet.sized("small", shape=SHAPE).to(memory_format=torch.channels_last)
    theirs = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    steps = {"diffusers": training_step(theirs, lambda x, t: theirs(x, 1000 * t).sample, batch, False)}
    steps["ours, float32"] = training_step(plain, plain, batch, False)
    if has_bfloat16():
        steps["ours, bfloat16"] = training_step(ours, ours, batch, True)
    return steps, {"ours": parameter_count(ours), "diffusers": parameter_count(theirs)}


def measure(turns: int, batch: int) -> dict:
    """Run all entrants in turns.

    Args:
        turns: Steps of each entrant after two for warming up.
        batch: Images per step.

    Returns:
        A plain dict with machine, versions, counts, seconds and ratios.
    """
    steps, counts = entrants(batch)
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
        ratios[name] = {"median": statistics.median(pairs), "lowest": pairs[0], "highest": pairs[-1]}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "batch": batch,
        "turns": turns,
        "parameters": counts,
        "images_per_second": {name: batch / statistics.median(times) for name, times in seconds.items()},
        "ratio_to_diffusers": ratios,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Training speed of the small U-Net against diffusers' UNet2DModel.")
    parser.add_argument("--steps", type=int, default=20, help="training steps of each (default 20)")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default 128)")
    parser.add_argument("--threads", type=int, default=0, help="threads (default: torch's choice)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    result = measure(options.steps, options.batch)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['date']}  {result['processor']}, {result['threads']} threads, torch {result['torch']}")
    ours, theirs = result["parameters"]["ours"], result["parameters"]["diffusers"]
    print(f"parameters: ours {ours:,}, diffusers {theirs:,} ({theirs / ours - 1:+.1%})")
    print(f"images/s, training, batch {result['batch']}, median of {result['turns']} steps in turns; target ratio 2.5")
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_diffusers"][name]
        spread = f"{ratio['lowest']:.2f} to {ratio['highest']:.2f}"
        print(f"  {name:16s} {rate:7.0f}   ratio {ratio['median']:.2f} ({spread})")


if __name__ == "__main__":
    main()
