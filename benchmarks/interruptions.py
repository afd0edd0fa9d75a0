"""Trainings that a signal stops: are they saved within the time of a step, and resumed bit for bit?

    python benchmarks/interruptions.py [--trials 50] [--steps 40] [--seed 0]

Each trial trains a tiny model in a process of its own, which gets one of SIGINT, SIGTERM, SIGHUP
and SIGUSR1 at a random time.
Bars: every one exits with 130 or 75, in at most ten seconds, with a checkpoint of a step that its
    log has; every resumed run
ends in the state of the run that nothing stopped; in every fourth trial a second signal ends it at
once, and it is resumed too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from protocol import benchmark, parsed, table, write

import torch
import torch._dynamo  # which optimisers import

import pushforward as pf
from pushforward import spec
from pushforward.cli import main as command_line
from pushforward.testing import assert_same, final_state
from pushforward.training import Trainer
from pushforward.training.loop.signals import TOGETHER
from pushforward.training.runs import log

SIGNALS = {"SIGINT": 130, "SIGTERM": 75, "SIGHUP": 75, "SIGUSR1": 75}
LONGEST = 10.0
"""Seconds in which a training has ended after its signal."""
SLOW = 0.03
"""Seconds that are added to each step, so that signals fall everywhere."""
RECIPES = ("flow", "vae", "gan", "ddpm")


@benchmark
def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parsed(parser, words, trials=1, steps=4)
    torch.set_num_threads(1)
    # before any gradient is computed: torch trains in no process that is forked after that
    spec.registered()
    folder = Path(tempfile.mkdtemp())
    numbers = random.Random(given.seed)
    names = RECIPES[: given.trials]
    for name in names:
        alone(partial(train, name, given.steps, folder / name), given.smoke)
    rows = []
    for number in range(given.trials):
        stop = Stop(
            numbers.choice(list(SIGNALS)),
            numbers.choice(list(SIGNALS)) if number % 4 == 3 else None,
            numbers.random(),
        )
        rows.append(
            {
                "trial": number,
                **trial(names[number % len(names)], given, stop, folder / f"{number}", folder),
            }
        )
        print(rows[-1], flush=True)
    report(rows, given)


@dataclass(frozen=True)
class Stop:
    """How a training is stopped: a signal, perhaps a second one, and the share of training
    before.
    """

    signal: str
    second: str | None
    share: float

    def code(self, sent: int) -> int:
        """The exit code that is due after so many signals; a training may have ended before a
        second one.
        """
        if self.second is None or sent == 1:
            return SIGNALS[self.signal]
        if self.second == "SIGINT":
            return 130
        return 128 + getattr(signal, self.second)


def alone(work: Callable[[], int], smoke: bool) -> int:
    """The exit code of work in a process of its own, silent; a smoke run has one process."""
    if smoke:
        return work()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(name: str, steps: int, out: Path) -> int:
    """The exit code of a training of the command line."""
    words = [
        "--data",
        "moons",
        "--size",
        "tiny",
        "--steps",
        str(steps),
        "--batch",
        "64",
        "--checkpoint-every",
        "10",
    ]
    return command_line(["train", name, *words, "--out", str(out)])


def stopped(name: str, steps: int, out: Path, stop: Stop) -> int:
    """The exit code of a training that gets signals; how long it took to end is written
    beside it.
    """
    step = Trainer.train_step
    sent = []

    def send() -> None:
        time.sleep(0.9 * stop.share * steps * SLOW)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), getattr(signal, stop.signal))
        if stop.second is not None:
            time.sleep(TOGETHER + 0.1)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), getattr(signal, stop.second))

    def slow(trainer: Trainer, batch: Any) -> Any:
        if trainer.clock.step == 1:  # the first one imports
            threading.Thread(target=send, daemon=True).start()
        done = step(trainer, batch)
        time.sleep(SLOW)
        if stop.second is not None and trainer.stop:
            time.sleep(10)  # a long step, in which the second signal comes
        return done

    with patch.object(Trainer, "train_step", slow):
        code = train(name, steps, out)
    out.with_suffix(".json").write_text(
        json.dumps({"sent": len(sent), "seconds": time.perf_counter() - sent[-1]})
    )
    return code


def trial(
    name: str, given: argparse.Namespace, stop: Stop, out: Path, folder: Path
) -> dict[str, Any]:
    """One training that is stopped and resumed."""
    code = alone(partial(stopped, name, given.steps, out, stop), given.smoke)
    step = pf.load(out).state["step"]
    logged = log.last_step(out / "metrics.jsonl")
    again = alone(lambda: command_line(["resume", str(out)]), given.smoke)
    try:
        assert_same(final_state(out), final_state(folder / name))
        same = again == 0
    except AssertionError:
        same = False
    end = json.loads(out.with_suffix(".json").read_text())
    second = stop.second if end["sent"] == 2 else None
    row = {
        "recipe": name,
        "signal": stop.signal,
        "second": second,
        "code": code,
        "expected": stop.code(end["sent"]),
    }
    return row | {"seconds": end["seconds"], "saved": step, "logged": logged, "same": same}


def report(rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    """The table, and which bars hold."""
    lines = []
    for name in SIGNALS:
        own = [row for row in rows if (row["second"] or row["signal"]) == name]
        first = [row for row in own if row["second"] is None]
        slowest = f"{max(row['seconds'] for row in own):.2f}" if own else ""
        tests = ((ends, own), (saved, first), (same, own))
        good = [f"{sum(test(row) for row in those)} of {len(those)}" for test, those in tests]
        lines.append([name, *good, slowest])
    head = [
        "signal",
        "exit code",
        "saved where it stood",
        "resumed bit for bit",
        "longest time to end, s",
    ]
    bad = [
        row
        for row in rows
        if not (
            ends(row) and same(row) and row["seconds"] <= LONGEST and (row["second"] or saved(row))
        )
    ]
    text = f"{table(head, lines)}\n\nTargets missed in {len(bad)} of {len(rows)} trials."
    write(
        "interruptions",
        "Training runs stopped by a signal",
        text,
        rows,
        trials=given.trials,
        steps=given.steps,
        seed=given.seed,
    )


def ends(row: dict[str, Any]) -> bool:
    """Whether it ended as it should."""
    return bool(row["code"] == row["expected"])


def saved(row: dict[str, Any]) -> bool:
    """Whether the last step of the log was saved."""
    return bool(row["saved"] == row["logged"])


def same(row: dict[str, Any]) -> bool:
    """Whether the resumed run ended where the undisturbed one did."""
    return bool(row["same"])


if __name__ == "__main__":
    main()
