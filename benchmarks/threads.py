"""How fast does training go on quiet cores and beside other processes, by how threads wait and how
many there are?

    python benchmarks/threads.py [--turns 6] [--steps 2] [--spins 2000,20000] [--only quiet]
    [--write]

The small U-Net as a flow on random 28 x 28 images in float32: batch 128 on quiet cores; batch 64
with one process beside it that computes without pause, and with one more of them than there are
cores. Each way of waiting has a training in a process of its own; they make a few steps each in
turns, so that all meet the same machine. "default" is GNU OpenMP's with all threads, "pushforward"
is what a user gets who sets nothing, after the steps in which it measures. Start it on a quiet
machine; it takes about six minutes on two cores. Without --write it only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, table, write

import torch

import pushforward as pf
from pushforward import runtime
from pushforward.training.api import prepare
from pushforward.training.monitor.threads import ROUNDS

CORES = len(os.sched_getaffinity(0))
MEASURING = (ROUNDS + 1) * len({CORES, max(1, CORES // 2), 1})
"""Steps in which pushforward measures numbers of threads."""
SCENES = {"quiet": (128, 0, 0.95), "one": (64, 1, 1.7), "several": (64, CORES + 1, 4.0)}
"""Batch, processes beside, and the bar: images per second over those of the default."""
WORDS = {
    "quiet": "quiet cores",
    "one": "one process beside",
    "several": f"{CORES + 1} processes beside",
}


def ways(spins: list[str]) -> dict[str, dict[str, str]]:
    """The environment of each way."""
    every = {"OMP_NUM_THREADS": str(CORES)}
    return {
        "default": {**every, "GOMP_SPINCOUNT": "300000"},
        "passive": {**every, "OMP_WAIT_POLICY": "PASSIVE"},
        **{f"{count} spins": {**every, "GOMP_SPINCOUNT": count} for count in spins},
        "one thread": {"OMP_NUM_THREADS": "1"},
        "pushforward": {},
    }


class Inside:
    """A training in this process, which makes steps when it is asked."""

    def __init__(self, environment: Mapping[str, str], batch: int) -> None:
        pixels = torch.rand(
            max(40, 8 * batch), 1, 28, 28, generator=torch.Generator().manual_seed(0)
        )
        data = pf.data.from_arrays((255 * pixels).to(torch.uint8))
        recipe = pf.recipes.flow(data.space, network="unet")
        recipe = replace(
            recipe, training=replace(recipe.training, batch=batch, precision="float32")
        )
        self.folder = tempfile.TemporaryDirectory()
        out = Path(self.folder.name) / "run"
        self.trainer = prepare(recipe, data, steps=10**6, checkpoint_every=10**6, out=out)

    def turn(self, steps: int) -> dict[str, list[float]]:
        """The seconds and threads of so many steps."""
        seconds = []
        threads = []
        for _ in range(steps):
            before = self.trainer.clock.seconds
            threads.append(self.trainer.threads.at(self.trainer.clock.step))
            self.trainer.advance(1e-9)  # one step
            seconds.append(self.trainer.clock.seconds - before)
        return {"seconds": seconds, "threads": threads}

    def end(self) -> None:
        """Leave nothing behind."""
        self.trainer.close()
        self.folder.cleanup()


class Process:
    """The same in a process of its own, whose environment chooses how its threads wait."""

    def __init__(self, environment: Mapping[str, str], batch: int) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", *runtime.THREAD_VARIABLES)
        clean = {name: value for name, value in os.environ.items() if name not in names}
        command = [sys.executable, __file__, "--child", str(batch)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process: Any = subprocess.Popen(command, env={**clean, **environment}, **pipes)

    def turn(self, steps: int) -> dict[str, list[float]]:
        """The seconds and threads of so many steps."""
        print(steps, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def child(batch: int) -> None:
    """Train as many steps as each line of stdin says; print their seconds and numbers of
    threads.
    """
    training = Inside({}, batch)
    for line in sys.stdin:
        print(json.dumps(training.turn(int(line))), flush=True)


@contextlib.contextmanager
def beside(count: int) -> Iterator[None]:
    """So many processes that compute without pause."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(scene: str, given: argparse.Namespace) -> list[dict]:
    """One row for each way: images per second, its ratio to the default turn by turn, and the
    threads at the end.
    """
    batch, others, bar = SCENES[scene]
    batch = given.batch or batch
    spins = list(dict.fromkeys([runtime.SPINS, *filter(None, given.spins.split(","))]))
    start = Inside if given.smoke else Process
    trainings = {
        name: start(environment, batch)
        for name, environment in ways(spins).items()
        if name in given.ways or not given.ways
    }
    try:
        for training in trainings.values():
            training.turn(1)
        with beside(others):
            for name, training in trainings.items():
                training.turn(MEASURING if name == "pushforward" and not given.smoke else 1)
            turns = [
                {name: training.turn(given.steps) for name, training in trainings.items()}
                for _ in range(given.turns)
            ]
    finally:
        for training in trainings.values():
            training.end()
    rows = []
    for name in trainings:
        times = [second for part in turns for second in part[name]["seconds"]]
        ratios = sorted(
            sum(part["default"]["seconds"]) / sum(part[name]["seconds"]) for part in turns
        )
        facts = {
            "scene": scene,
            "way": name,
            "batch": batch,
            "threads": turns[-1][name]["threads"][-1],
            "bar": bar,
        }
        ratio = {"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
        rows.append(
            {
                **facts,
                "images_per_second": batch / statistics.median(times),
                "ratio": ratio,
                "seconds": times,
            }
        )
    return rows


@benchmark
def main(words: list[str]) -> None:
    """Measure and print; with --write also results/threads.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=6, help="turns of each way (default 6)")
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn (default 2)")
    parser.add_argument(
        "--spins",
        default="",
        help="other values of GOMP_SPINCOUNT, with all threads, separated by commas",
    )
    parser.add_argument("--only", choices=SCENES, help="one scene alone")
    parser.add_argument(
        "--ways", nargs="*", default=[], help="these ways alone, default among them"
    )
    parser.add_argument("--batch", type=int, help="images of a step (default: the scene's)")
    parser.add_argument("--write", action="store_true", help="write results/threads.md")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parsed(
        parser, words, turns=1, steps=1, only="quiet", ways=["default", "pushforward"], batch=2
    )
    if given.child:
        return child(given.child)
    rows = [row for scene in SCENES if given.only in (None, scene) for row in measure(scene, given)]
    head = ["cores", "way", "threads", "images/s", "over default", "range", "bar"]
    lines = []
    for row in rows:
        spread = f"{row['ratio']['lowest']:.2f} to {row['ratio']['highest']:.2f}"
        where = f"{WORDS[row['scene']]}, batch {row['batch']}"
        bar = f"{row['bar']:g}" if row["way"] == "pushforward" else ""
        rate = f"{row['images_per_second']:.0f}"
        lines.append(
            [
                where,
                row["way"],
                str(row["threads"]),
                rate,
                f"{row['ratio']['median']:.2f}",
                spread,
                bar,
            ]
        )
    text = table(head, lines)
    text += (
        f"\n\nMedians over {given.turns} turns of {given.steps} steps each, float32; {CORES} "
        "cores. "
    )
    text += (
        f"pushforward sets GOMP_SPINCOUNT={runtime.SPINS} and measures the number of threads "
        "in "
        "its first steps."
    )
    if given.write:
        write("threads", "Threads beside other processes", text, rows)
    else:
        print(text)


if __name__ == "__main__":
    main()
