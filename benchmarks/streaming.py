"""Does memory grow with a set that stays on disk, and what does reading it cost the training of the
small U-Net?

    python benchmarks/streaming.py [--images 200000] [--few 2000] [--kinds folder,png,npy] [--turns
    6] [--steps 8] [--write]

Makes images of 64 x 64 as a folder of PNG files and as packed tars of PNG and of plain pixels (17
GB of disk for 200,000). Each training has a process of its own: its resident memory is that after
its steps, with all images and with few of them, and its speed is compared with that of a training
whose images are in memory, a few steps each in turns. Before, the first batches, and those at the
end of the first epoch, are compared bit for bit for 0, 1 and 2 workers with those from memory.
Start it on a quiet machine. Without --write it only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, table, write

import numpy as np
from PIL import Image

import pushforward as pf
from pushforward.data import Sampler
from pushforward.training.api import prepare

SIDE = 64
BATCH = 64
MEMORY_BAR = 300
SPEED_BAR = 0.9
"""Megabytes that all images may add to a few, and the share of the images per second from memory.
"""
KINDS = {"folder": "folder of PNG", "png": "packed PNG", "npy": "packed pixels"}


def make(folder: Path, images: int, side: int) -> Path:
    """Smooth random images in colour, 100 folders of them that are no classes; those of an earlier
    run are taken.
    """
    if folder.is_dir():
        return folder
    random = np.random.default_rng(0)
    for number in range(images):
        place = folder / "all" / f"{number % 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        few = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        few.resize((side, side), Image.Resampling.BICUBIC).save(
            place / f"{number:07}.png", compress_level=1
        )
    return folder


def sources(place: Path, kinds: list[str], images: int, side: int) -> dict[str, Path]:
    """The same images in each form."""
    folder = make(place / f"folder-{images}", images, side)
    paths = {"folder": folder} | {
        kind: place / f"{kind}-{images}" for kind in kinds if kind != "folder"
    }
    for kind, path in paths.items():
        if kind != "folder" and not (path / "manifest.json").is_file():
            pf.data.pack(folder, path, encoding=kind, stream=True)
    return {kind: paths[kind] for kind in kinds}


def memory() -> dict[str, float]:
    """Resident memory of this process now, and its peak, in MB."""
    lines = [
        line.split()
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("VmRSS", "VmHWM"))
    ]
    return {name.rstrip(":"): int(value) / 1024 for name, value, _ in lines}


class Inside:
    """A training in this process, which makes steps when it is asked."""

    def __init__(self, source: str, batch: int, stream: bool) -> None:
        began = time.perf_counter()
        data = pf.data.load(source, stream=stream)
        recipe = pf.recipes.flow(data.space, network="unet")
        recipe = replace(recipe, training=replace(recipe.training, batch=batch))
        self.folder = tempfile.TemporaryDirectory()
        self.trainer = prepare(
            recipe, data, steps=10**6, checkpoint_every=10**6, out=Path(self.folder.name) / "run"
        )
        self.loading = time.perf_counter() - began

    def turn(self, steps: int) -> dict[str, Any]:
        """The seconds of so many steps, and the memory after them."""
        before = self.trainer.clock.seconds
        for _ in range(steps):
            self.trainer.advance(1e-9)  # one step
        return {"seconds": self.trainer.clock.seconds - before, "loading": self.loading, **memory()}

    def end(self) -> None:
        """Leave nothing behind."""
        self.trainer.close()
        self.folder.cleanup()


class Process:
    """The same in a process of its own."""

    def __init__(self, source: str, batch: int, stream: bool) -> None:
        command = [
            sys.executable,
            __file__,
            "--child",
            source,
            "--batch",
            str(batch),
            *(["--streamed"] if stream else []),
        ]
        self.process: Any = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self, steps: int) -> dict[str, Any]:
        """As `Inside`."""
        print(steps, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()


def child(given: argparse.Namespace) -> None:
    """Train as many steps as each line of stdin says."""
    training = Inside(given.child, given.batch, given.streamed)
    for line in sys.stdin:
        print(json.dumps(training.turn(int(line))), flush=True)
    training.end()


def batches(source: Path, batch: int, stream: bool) -> set[str]:
    """sha256 of some batches, for 0, 1 and 2 workers: the first ten, and four around the end of the
    first epoch.
    """
    data = pf.data.load(source, stream=stream)
    hashes = set()
    for workers in (0, 1, 2) if stream else (0,):
        x: Any = replace(data.train.x, workers=workers) if stream else data.train.x
        sampler = Sampler(
            replace(data, train=replace(data.train, x=x)), batch, seed=1, augment=("flip", "shift")
        )
        last = len(data.train) // batch
        digest = hashlib.sha256()
        for number in (*range(10), *range(last - 2, last + 2)):
            digest.update(sampler.batch(number).x.numpy().tobytes())
        hashes.add(digest.hexdigest())
    return hashes


def speeds(kinds: dict[str, Path], given: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second of each turn: from memory, and of each kind."""
    start = Inside if given.smoke else Process
    first = next(iter(kinds.values()))
    ways = {"memory": (str(first), False)} | {
        kind: (str(path), True) for kind, path in kinds.items()
    }
    trainings = {
        name: start(source, given.batch, stream) for name, (source, stream) in ways.items()
    }
    try:
        for training in trainings.values():
            training.turn(given.warm)  # numbers of threads are measured in the first steps
        turns = [
            {name: training.turn(given.steps)["seconds"] for name, training in trainings.items()}
            for _ in range(given.turns)
        ]
    finally:
        for training in trainings.values():
            training.end()
    return {name: [given.batch * given.steps / turn[name] for turn in turns] for name in trainings}


def resident(source: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Memory of a training after some steps, and the seconds until its first."""
    training = (Inside if given.smoke else Process)(str(source), given.batch, True)
    try:
        return training.turn(given.steps)
    finally:
        training.end()


def measured(place: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each kind of source."""
    kinds = given.kinds.split(",")
    few, many = (sources(place, kinds, count, given.side) for count in (given.few, given.images))
    known = batches(next(iter(few.values())), given.batch, False)
    rates = speeds(few, given)
    rows = []
    for kind in kinds:
        low = resident(few[kind], given)
        high = resident(many[kind], given)
        same = batches(few[kind], given.batch, True) == known
        whole = batches(many[kind], given.batch, True)
        ratios = sorted(
            rate / base for rate, base in zip(rates[kind], rates["memory"], strict=True)
        )
        row = {
            "kind": kind,
            "images": given.images,
            "few": given.few,
            "few_mb": low,
            "many_mb": high,
            "same_batches": same,
        }
        row |= {
            "same_for_any_workers": len(whole) == 1,
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
        rows.append(row | {"images_per_second": rates[kind], "from_memory": rates["memory"]})
    return rows


@benchmark
def main(words: list[str]) -> None:
    """Measure and print; with --write also results/streaming.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, default=200_000, help="images of the large set (default 200,000)"
    )
    parser.add_argument(
        "--few", type=int, default=2000, help="images of the small one (default 2,000)"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="folder, png, npy")
    parser.add_argument("--turns", type=int, default=6, help="turns of each training (default 6)")
    parser.add_argument("--steps", type=int, default=8, help="steps in a turn (default 8)")
    parser.add_argument(
        "--warm", type=int, default=24, help="steps before the first turn (default 24)"
    )
    parser.add_argument("--batch", type=int, default=BATCH, help="images of a step")
    parser.add_argument("--side", type=int, default=SIDE, help="height and width")
    parser.add_argument(
        "--place", help="a folder that keeps the images for other runs (default: a temporary one)"
    )
    parser.add_argument("--write", action="store_true", help="write results/streaming.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--streamed", action="store_true", help=argparse.SUPPRESS)
    given = parsed(
        parser,
        words,
        images=60,
        few=48,
        kinds="folder,npy",
        warm=1,
        turns=1,
        steps=1,
        batch=4,
        side=16,
    )
    if given.child:
        return child(given)
    with contextlib.ExitStack() as stack:
        rows = measured(
            Path(given.place or stack.enter_context(tempfile.TemporaryDirectory())), given
        )
    head = [
        "source",
        "MB, few",
        "MB, many",
        "more",
        "bar",
        "images/s",
        "from memory",
        "ratio",
        "bar",
        "same batches",
        "load, s",
    ]
    lines = []
    for row in rows:
        low = row["few_mb"]["VmRSS"]
        high = row["many_mb"]["VmRSS"]
        rate, base = (statistics.median(row[name]) for name in ("images_per_second", "from_memory"))
        facts = [
            KINDS[row["kind"]],
            f"{low:.0f}",
            f"{high:.0f}",
            f"{high - low:.0f}",
            str(MEMORY_BAR),
            f"{rate:.1f}",
            f"{base:.1f}",
        ]
        facts += [
            f"{row['ratio']:.3f}",
            f"{SPEED_BAR}",
            "yes" if row["same_batches"] and row["same_for_any_workers"] else "NO",
        ]
        lines.append([*facts, f"{row['many_mb']['loading']:.0f}"])
    text = table(head, lines)
    text += (
        f"\n\n{given.few:,} and {given.images:,} images of {given.side} x {given.side}, batch "
        f"{given.batch}, 1 worker; medians "
    )
    text += (
        f"over {given.turns} turns of {given.steps} steps. {len(os.sched_getaffinity(0))} cores."
    )
    if given.write:
        write("streaming", "Images that stay on disk", text, rows)
    else:
        print(text)


if __name__ == "__main__":
    main()
