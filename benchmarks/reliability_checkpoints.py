"""Do checkpoints survive crashes and damage, how fast are they verified, and what do they cost a
training?

    python benchmarks/reliability_checkpoints.py [--only crashes,damage,speed,cost] [--cases 200]
    [--gigabytes 1.5] [--cycles 12]

crashes: the process of a training dies (os._exit) after every change of the disk in one save, which
    is written while training
waits or beside the next steps; then the training is resumed and compared, bit for bit, with one
that was not disturbed.
damage: cut, flip one bit, zero a page, swap, delete, in every file of the newest checkpoint of a
    run; every case must be refused
with the name of the file and of the next good checkpoint, and `resume(fallback=True)` must end as
the undisturbed run.
speed: verification of a large checkpoint, with and without the disk's cache.
cost: the small U-Net trains; blocks of steps begin with no checkpoint, one beside the steps, or one
    that training waits for, in
turns; medians over the blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, table, write

import torch

import pushforward as pf
from pushforward import spec
from pushforward.errors import CheckpointError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Silent
from pushforward.training.api import prepare
from pushforward.training.checkpoint.storage import latest, read_state, save
from pushforward.training.checkpoint.tensors import load

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from programs.interruptions import DEATH, Disk, Stopped, damage, train_on

STEPS = 4
EVERY = 2
Row = dict[str, Any]


def died(work: Callable[[], None], here: bool = False) -> bool:
    """Whether work, in a process of its own that ends without cleaning up, or here in a smoke run,
    has met the disk's end.
    """
    if here:
        try:
            work()
        except Stopped:
            return True
        return False
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, DEATH):
        raise SystemExit(f"A training in a process of its own failed with status {status}.")
    return status == DEATH


def training(folder: Path, disk: Disk | None = None, beside: bool = True) -> None:
    """Train, or resume; the save of step 2 is on a disk that stops."""
    train_on(folder, disk or contextlib.nullcontext(), STEPS, EVERY, beside)


def same(a: Path, b: Path) -> bool:
    """Whether two runs end in the same state, and nothing temporary is left in the second."""
    try:
        assert_same(final_state(a), final_state(b))
    except (AssertionError, CheckpointError):
        return False
    return not list(b.rglob(".tmp*"))


def crashes(folder: Path, every: int, here: bool) -> Iterator[Row]:
    """After every change of the disk, or every n-th."""
    import scipy.optimize  # noqa: F401 - what every training imports, once for all processes
    import sklearn.neighbors  # noqa: F401
    import torch._dynamo  # noqa: F401

    spec.registered()
    whole = folder / "whole"
    died(lambda: training(whole), here)
    for beside, power in itertools.product((False, True), (False, True)):
        points = states = equal = 0
        for last in itertools.count(1, every):
            run = folder / "run"
            disk = Disk(last, exits=not here, power=power)
            if not died(
                lambda run=run, disk=disk, beside=beside: training(run, disk, beside), here
            ):
                break
            points += 1
            newest = latest(run / "checkpoints")
            states += newest is not None and read_state(newest)["step"] in (0, EVERY)
            died(lambda run=run: training(run), here)
            equal += same(whole, run)
            shutil.rmtree(run)
        shutil.rmtree(run, ignore_errors=True)
        how = (
            f"{'beside the next steps' if beside else 'while training waits'}, "
            f"{'power fails' if power else 'killed'}"
        )
        yield {
            "what": f"crash in a save {how}",
            "cases": points,
            "old or new": states,
            "resumed bit for bit": equal,
        }


def damages(folder: Path, cases: int) -> Iterator[Row]:
    """So many kinds of damage to the newest checkpoint of a run."""
    data = space_data((2,), labels=False)
    whole = pf.fit(
        recipe_for("flow", data), data, steps=STEPS, checkpoint_every=EVERY, out=folder / "whole"
    ).folder
    noticed = named = equal = 0
    for number in range(cases):
        run = Path(shutil.copytree(whole, folder / "run"))
        names, _ = damage(run / "checkpoints" / f"step_{STEPS:06d}", number)
        try:
            pf.load(run)
        except CheckpointError as error:
            noticed += 1
            named += (
                any(f"is damaged: {name}" in str(error) for name in names)
                and error.before == f"step_{EVERY:06d}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pf.resume(run, data=data, fallback=True)
        equal += same(whole, run)
        shutil.rmtree(run)
    yield {
        "what": "damage",
        "cases": cases,
        "noticed": noticed,
        "file and next good named": named,
        "resumed bit for bit": equal,
    }


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of the processor."""
    began = time.perf_counter()
    before = time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - before


def forget(folder: Path) -> None:
    """Let the system drop what it holds of files in memory."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def speed(folder: Path, gigabytes: float) -> Iterator[Row]:
    """A checkpoint of so many gigabytes, half of it the optimiser's."""
    each = int(gigabytes * 1e9 / 4 / 4)
    parts = {"method": 8, "average": 8, "optimizer": 16}
    groups = {
        name: {f"{i}": torch.randn(each // 8) for i in range(count)}
        for name, count in parts.items()
    }
    state = {"step": 1, "samples": 1, "seconds": 1.0, "total": None}
    inside = folder / "checkpoints"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    works: dict[str, Callable[[], Any]] = {
        "saved": lambda: save(inside, 1, groups, state),
        "copied": lambda: {
            name: {key: value.clone() for key, value in group.items()}
            for name, group in groups.items()
        },
        "verified, in the cache": lambda: read_state(inside / "step_000001"),
        "verified, from the disk": lambda: read_state(inside / "step_000001"),
        "verified and read, from the disk": lambda: [
            value.sum()
            for group in load(inside / "step_000001").tensors.values()
            for value in group.values()
        ],
    }
    for what, work in works.items():
        if "disk" in what:
            forget(inside / "step_000001")
        seconds, processor = timed(work)
        row = {
            "what": f"{gigabytes:g} GB {what}",
            "seconds": seconds,
            "of the processor": processor,
            "GB/s": gigabytes / seconds,
        }
        yield row | {"GB/s of one core": gigabytes / processor}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    yield {"what": "peak memory above the tensors", "GB": grown * 1024 / 1e9}


class Blocks(Silent):
    """Saves at the beginning of blocks, in one way after the other, and takes the times of all
    steps.
    """

    WAYS = (None, True, False)
    """No checkpoint, one beside the steps, one that training waits for."""

    def __init__(self, steps: int, warm: int) -> None:
        self.steps = steps
        self.warm = warm
        self.times: list[float] = []
        self.trainer: Any = None

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Called after every step."""
        self.times.append(time.perf_counter())
        past = clock.step - self.warm
        beside = self.WAYS[past // self.steps % len(self.WAYS)]
        if past >= 0 and past % self.steps == 0 and beside is not None:
            self.trainer.save(background=beside)

    def seconds(self, way: int) -> list[float]:
        """Of every block of a way."""
        ends = self.times[self.warm - 1 :: self.steps]
        return [b - a for a, b in itertools.pairwise(ends)][way :: len(self.WAYS)]


def cost(folder: Path, cycles: int, steps: int, small: bool) -> Iterator[Row]:
    """What a checkpoint adds to the time of 100 steps of the small U-Net on images of 28 x 28."""
    data = space_data((1, 8, 8) if small else (1, 28, 28), labels=False, n=256)
    warm = 2 * steps
    watch = Blocks(steps, warm)
    total = warm + steps * len(Blocks.WAYS) * cycles
    if small:
        recipe = recipe_for("flow", data)
    else:
        recipe = pf.recipes.flow(data.space, "small", network="unet")
    options: dict[str, Any] = {
        "steps": total,
        "checkpoint_every": 10 * total,
        "out": folder / "run",
        "progress": watch,
    }
    watch.trainer = prepare(recipe, data, **options)
    watch.trainer.advance()
    none = statistics.median(watch.seconds(0)) / steps
    newest = latest(folder / "run" / "checkpoints")
    megabytes = sum(path.stat().st_size for path in newest.iterdir()) / 1e6 if newest else 0.0
    for way, what in ((1, "beside the next steps"), (2, "while training waits")):
        added = statistics.median(
            b - a for a, b in zip(watch.seconds(0), watch.seconds(way), strict=False)
        )
        row = {
            "what": f"checkpoint {what}",
            "MB": megabytes,
            "seconds of a step": none,
            "seconds added": added,
        }
        yield row | {"% of 100 steps": added / none, "blocks": len(watch.seconds(way))}


def numbers(row: Row) -> str:
    """What was measured, in words."""
    values = {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in row.items()
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if name != "what")


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="crashes,damage,speed,cost", help="parts")
    parser.add_argument("--cases", type=int, default=200, help="damages")
    parser.add_argument("--gigabytes", type=float, default=1.5, help="of the large checkpoint")
    parser.add_argument("--cycles", type=int, default=12, help="blocks of each way")
    parser.add_argument("--steps", type=int, default=20, help="steps of a block")
    parser.add_argument("--every", type=int, default=1, help="crash after every n-th change only")
    options = parsed(parser, words, cases=3, gigabytes=0.01, cycles=1, steps=1, every=30)
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "crashes": lambda folder: crashes(folder, options.every, options.smoke),
        "damage": lambda folder: damages(folder, options.cases),
        "speed": lambda folder: speed(folder, options.gigabytes),
        "cost": lambda folder: cost(folder, options.cycles, options.steps, options.smoke),
    }
    rows = []
    for part in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for row in parts[part](Path(folder)):
                rows.append(row)
                print(json.dumps(row, default=float), flush=True)
    text = table(["what", "measured"], [[row["what"], numbers(row)] for row in rows])
    write("reliability_checkpoints", "Checkpoints: crashes, damage, speed and cost", text, rows)


if __name__ == "__main__":
    main()
