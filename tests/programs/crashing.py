"""Trainings whose disk stops in the middle of a save, and checkpoints of eight numbers."""

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import torch
from programs.interruptions import Disk, train_on

from pushforward.training.checkpoint.storage import latest, save as save_checkpoint
from pushforward.training.checkpoint.tensors import load

AT = 2
STEPS = 4
"""The step whose save is interrupted, and the steps of a training."""


def save(folder, step, value, **options):
    """Save a checkpoint that holds one value everywhere."""
    tensors = {name: {"w": torch.full((8,), value)} for name in ("method", "average", "optimizer")}
    save_checkpoint(
        folder,
        step,
        tensors,
        {"step": step, "samples": 0, "seconds": 0.0, "total": None, "value": value},
        **options,
    )


def value_in(folder):
    """The value of the newest checkpoint, in all of its files."""
    stored = load(latest(folder))
    (value,) = {
        stored.state["value"],
        *(float(x) for group in stored.tensors.values() for x in group["w"]),
    }
    return value


def train(folder, last=None, beside=True):
    """Train, or go on; the process dies after so many changes of the disk in the save of
    one step.
    """

    @contextlib.contextmanager
    def dying():
        if beside is (threading.current_thread() is threading.main_thread()):
            os._exit(1)
        with Disk(last, exits=True):
            yield

    train_on(Path(folder), contextlib.nullcontext() if last is None else dying(), STEPS, AT, beside)


def forked(*case):
    """The exit status of a training in a process of its own."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        with contextlib.suppress(BaseException):
            train(*case)
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(cases):
    """Train each case, a (folder, last, beside), until it dies, and go on; prints the exit statuses
    of both.
    """
    print(json.dumps([(forked(*case), forked(case[0])) for case in cases]))
