"""Trainings in two processes whose checkpoints are written beside the next steps: run by
``test_saving_beside.py``.

python tests/programs/saving_beside.py FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from programs.interruptions import together

import pushforward as pf
from pushforward.errors import PushforwardError
from pushforward.testing import recipe_for, space_data
from pushforward.training import Trainer
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint.checkpointer import Checkpointer

WAIT = 20.0
"""Seconds that a write waits for a step that should come at once."""


KINDS = ("reduced", "sharded")
REFUSALS = [(kind, name) for kind in KINDS for name in ("check_space", "fill", "commit")]
"""Kind of training, and function in which the disk refuses; the first process alone writes."""


def after_three_steps(act):
    """Call `act(trainer)` in this process once three steps are computed; the list of all steps that
    are.
    """
    computed = []
    usual = Trainer.train_step

    def step(trainer, batch):
        result = usual(trainer, batch)
        trainers.append(trainer)
        computed.append(trainer.clock.step + 1)
        if len(computed) == 3:
            act(trainer)
        return result

    Trainer.train_step = step
    return computed


def beside():
    return threading.current_thread() is not threading.main_thread()


def writes(name, act):
    """Call `act()` before a process calls a function of `storage` in the background."""
    usual = getattr(storage, name)

    def watched(*arguments, **options):
        if beside():
            act()
        return usual(*arguments, **options)

    setattr(storage, name, watched)


def full():
    raise OSError(28, "No space left on device")


trainers = []
"""That of each step of this process."""


def fitted(kind, out):
    data = space_data((17,), labels=True, n=300)
    recipe = recipe_for("flow", data, batch=128, precision="float32")
    options = {"shard": kind == "sharded", "progress": False, "checkpoint_every": 2, "seed": 4}
    try:
        pf.fit(recipe, data, steps=6, out=out, **options)
    except (PushforwardError, OSError) as error:
        print(f"{type(error).__name__}: {error}")
        return getattr(error, "exit_code", 1)
    return 0


def later(kind, folder):
    """The checkpoint of step 2 is written after step 3, by every process that writes; which wrote
    beside training is noted.
    """

    def work(rank):
        reached = threading.Event()
        written = []
        after_three_steps(lambda trainer: reached.set())
        writes("fill", lambda: written.append(reached.wait(WAIT)))
        code = fitted(kind, folder / f"later-{kind}")
        (folder / f"later-{kind}-{rank}.json").write_text(json.dumps(written))
        return code

    return work


def waiting(kind, folder):
    """The same training, which waits for every checkpoint."""

    def work(rank):
        save = Checkpointer.save
        Checkpointer.save = lambda own, state, requests=(), background=False: save(
            own, state, requests
        )
        return fitted(kind, folder / f"waiting-{kind}")

    return work


def refused(kind, folder, name):
    """The disk refuses in a function while the checkpoint of step 2 is written beside training."""

    def work(rank):
        writes(name, full)
        computed = after_three_steps(lambda trainer: trainer.checkpointer.finish_write())
        code = fitted(kind, folder / f"refused-{kind}-{name}")
        print(f"{len(computed)} steps, saved {trainers[-1].checkpointer.step}")
        return code

    return work


def killed(kind, folder):
    """One process is killed while the checkpoint of step 2 is written beside training."""

    def work(rank):
        if rank == 0:
            writes("fill", lambda: os.kill(os.getpid(), signal.SIGKILL))
        return fitted(kind, folder / f"killed-{kind}")

    return work


def broken(folder):
    """The second process fails in its third step, while the first one writes a checkpoint."""

    def work(rank):
        def fail(trainer):
            raise PushforwardError("broken")

        if rank == 0:
            writes("fill", lambda: time.sleep(1.0))
        else:
            after_three_steps(fail)
        return fitted("sharded", folder / "broken")

    return work


def main(folder):
    torch.set_num_threads(1)
    works = {}
    for kind in KINDS:
        works[f"later-{kind}"] = later(kind, folder)
        works[f"waiting-{kind}"] = waiting(kind, folder)
        works[f"killed-{kind}"] = killed(kind, folder)
    works["broken"] = broken(folder)
    for kind, name in REFUSALS:
        works[f"refused-{kind}-{name}"] = refused(kind, folder, name)
    results = {name: together(2, work, folder / f"{name}-printed") for name, work in works.items()}
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
