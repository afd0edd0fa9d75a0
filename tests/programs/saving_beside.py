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

import pushforward as pf
from pushforward.errors import PushforwardError
from pushforward.testing import recipe_for, space_data
from pushforward.testing.interruptions import together
from pushforward.training import Trainer
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint import tensors as shards
from pushforward.training.checkpoint.contents import Saver

WAIT = 20.0
"""Seconds that a write waits for a step that should come at once."""


REFUSALS = (
    ("reduced", 0, storage, "fill"),
    ("sharded", 0, shards, "check_space"),
    ("sharded", 1, shards, "flush"),
    ("sharded", 0, shards, "commit"),
)
"""Kind of training, process, module and function in which the disk refuses."""


def after_three_steps(act):
    """Call `act(trainer)` in this process once three steps are computed; the list of all steps that
    are.
    """
    computed = []
    usual = Trainer.step

    def step(trainer):
        result = usual(trainer)
        trainers.append(trainer)
        computed.append(trainer.clock.step + 1)
        if len(computed) == 3:
            act(trainer)
        return result

    Trainer.step = step
    return computed


def beside():
    return threading.current_thread() is not threading.main_thread()


def writes(module, name, act):
    """Call `act()` before a process calls a function of a module in the background."""
    usual = getattr(module, name)

    def watched(*arguments, **options):
        if beside():
            act()
        return usual(*arguments, **options)

    setattr(module, name, watched)


def full():
    raise OSError(28, "No space left on device")


trainers = []
"""That of each step of this process."""
FILLS = {"reduced": (storage, "fill"), "sharded": (shards, "_write")}
"""The module whose `fill` writes a process's tensors."""


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
        writes(*FILLS[kind], lambda: written.append(reached.wait(WAIT)))
        code = fitted(kind, folder / f"later-{kind}")
        (folder / f"later-{kind}-{rank}.json").write_text(json.dumps(written))
        return code

    return work


def waiting(kind, folder):
    """The same training, which waits for every checkpoint."""

    def work(rank):
        save = Saver.save
        Saver.save = lambda saver, trainer, beside=False: save(saver, trainer)
        return fitted(kind, folder / f"waiting-{kind}")

    return work


def refused(kind, folder, rank, module, name):
    """The disk of one process refuses in a function while the checkpoint of step 2 is written
    beside training.
    """

    def work(own):
        if own == rank:
            writes(module, name, full)
        computed = after_three_steps(lambda trainer: trainer.saver.join())
        code = fitted(kind, folder / f"refused-{kind}-{rank}-{name}")
        print(f"{len(computed)} steps, saved {trainers[-1].saver.step}")
        return code

    return work


def killed(kind, folder):
    """One process is killed while the checkpoint of step 2 is written beside training."""

    def work(rank):
        if rank == 0:
            writes(*FILLS[kind], lambda: os.kill(os.getpid(), signal.SIGKILL))
        return fitted(kind, folder / f"killed-{kind}")

    return work


def broken(folder):
    """The first process fails in its third step, while the second one is late with its part of a
    checkpoint.
    """

    def work(rank):
        def fail(trainer):
            raise PushforwardError("broken")

        if rank:
            writes(*FILLS["sharded"], lambda: time.sleep(1.0))
        else:
            after_three_steps(fail)
        return fitted("sharded", folder / "broken")

    return work


def main(folder):
    torch.set_num_threads(1)
    works = {}
    for kind in FILLS:
        works[f"later-{kind}"] = later(kind, folder)
        works[f"waiting-{kind}"] = waiting(kind, folder)
        works[f"killed-{kind}"] = killed(kind, folder)
    works["broken"] = broken(folder)
    for kind, *where in REFUSALS:
        works["-".join(["refused", kind, str(where[0]), where[2]])] = refused(kind, folder, *where)
    results = {name: together(2, work, folder / f"{name}-printed") for name, work in works.items()}
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
