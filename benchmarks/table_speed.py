"""What does a solve cost above its network calls, by the solver's table and by its steps?

Protocol, on untrained networks, whose calls cost as much as trained ones, on one thread:

(a) Batch 1, the small MLP of the digits, 25 steps: a solve by the table and one by the steps, each against as many bare calls of
the network. The bar: the table's overhead is at most half of the steps'.

(b) Batch 64, the small U-Net on 1 x 28 x 28, 10 steps, by the table. The bar is an overhead of at most 3 %. Where other work
makes calls differ by more than that, the second number helps: the processor time of a solve around a network that computes
nothing, over that of the network's calls.

Everything runs in one process in turns; one turn warms up. Reported are medians over turns.

    python benchmarks/table_speed.py [--repeats 9] [--smoke]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from protocol import benchmark, parsed, table, write

import torch
from torch import Tensor, nn

import pushforward as pf
from pushforward.networks import MLP, Reshaped, UNet
from pushforward.solvers import walking

SOLVERS = ("dpm", "unipc", "ddim", "heun", "deis")
Work = Callable[[], object]


class Idle(nn.Module):
    """A network that computes nothing."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Any = None) -> Tensor:
        """What it was given."""
        return self.output


def network_of(side: int) -> nn.Module:
    """The small network of the digits or of MNIST."""
    torch.manual_seed(0)
    if side == 8:
        return Reshaped(MLP.sized("small", shape=(64,)), (1, 8, 8)).eval()
    return UNet.sized("small", shape=(1, 28, 28)).to(memory_format=torch.channels_last).eval()


def works(side: int, solver: str, steps: int, z: Tensor) -> dict[str, Work]:
    """A solve by the table, one by the steps, one around an idle network, and the bare calls."""
    network, space = network_of(side), pf.data.ImageSpace((1, side, side), (0.5,), (0.5,), (0.0,), (1.0,))
    flow, idle = (
        pf.Flow(pf.Denoiser(net, pf.Linear(), "velocity", space), solver, steps) for net in (network, Idle(torch.randn_like(z)))
    )
    t, calls = torch.full((len(z),), 0.5), flow.calls
    return {
        "table": lambda: flow(z),
        "steps": lambda: list(walking.stepped(flow.solver, flow.denoiser, flow._at_start(z), flow.times, None, None)),
        "idle": lambda: idle(z),
        "bare": lambda: [network(z, t, None) for _ in range(calls)],
    }


def seconds(parts: dict[str, Work], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median seconds of each piece of work, made in turns."""
    taken: dict[str, list[float]] = {name: [] for name in parts}
    with torch.no_grad():
        for turn in range(repeats + 1):
            for name in sorted(parts, reverse=bool(turn % 2)):
                began = clock()
                parts[name]()
                if turn:
                    taken[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def measured(repeats: int, steps: tuple[int, int], batch: int) -> list[dict[str, Any]]:
    """A row for each solver and network."""
    rows = []
    for side, rows_at_once, count in ((8, 1, steps[0]), (28, batch, steps[1])):
        for solver in SOLVERS:
            z = torch.randn(rows_at_once, 1, side, side)
            parts = works(side, solver, count, z)
            if side == 28:
                del parts["steps"]
            wall, used = seconds(parts, repeats, time.perf_counter), seconds(parts, repeats, time.process_time)
            over = {name: wall[name] / wall["bare"] - 1 for name in parts if name in ("table", "steps")}
            rows.append({"side": side, "batch": rows_at_once, "solver": solver, **over, "idle": used["idle"] / used["bare"]})
    return rows


def text_of(rows: list[dict[str, Any]]) -> str:
    """Both tables."""
    few = [
        [row["solver"], f"{100 * row['steps']:.0f} %", f"{100 * row['table']:.0f} %", f"{row['table'] / row['steps']:.2f}"]
        for row in rows
        if "steps" in row
    ]
    many = [[row["solver"], f"{100 * row['table']:+.1f} %", f"{100 * row['idle']:.2f} %"] for row in rows if "steps" not in row]
    return (
        "Overhead above the bare calls of the small MLP of the digits, batch 1; the bar is half of the steps'.\n\n"
        f"{table(['solver', 'by steps', 'by table', 'ratio'], few)}\n\n"
        "Overhead above the bare calls of the small U-Net; the bar is 3 %.\n\n"
        f"{table(['solver', 'by table', 'around an idle network, processor time'], many)}"
    )


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the table and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="turns that count (default 9)")
    given = parsed(parser, words, repeats=1)
    if given.repeats < 1:
        parser.error("expected at least 1 repeat")
    torch.set_num_threads(1)
    steps, batch = ((2, 2), 1) if given.smoke else ((25, 10), 64)
    rows = measured(given.repeats, steps, batch)
    write("table_speed", "Solves by tables", text_of(rows), rows, repeats=given.repeats)


if __name__ == "__main__":
    main()
