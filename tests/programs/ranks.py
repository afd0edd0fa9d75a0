"""Trainings in several processes that fail, are stopped, killed and resumed: run by
``test_launched.py``.

python tests/programs/ranks.py FOLDER
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from programs.interruptions import together
from programs.photos import photos
from programs.sockets import overheard

import pushforward as pf
from pushforward.cli import main as command_line
from pushforward.cli.entry import start
from pushforward.data import Sampler
from pushforward.data.images.image_store import Streamed
from pushforward.errors import DataError, PushforwardError
from pushforward.testing import recipe_for, space_data
from pushforward.training.distributed import processes
from pushforward.training.distributed.processes import leave

TRAIN = [
    "train",
    "flow",
    "--data",
    "moons",
    "--limit",
    "200",
    "--size",
    "tiny",
    "--batch",
    "128",
    "--checkpoint-every",
    "2",
]


def commanded(words, before=lambda rank: None):
    """The work of a command line, after something is done to a process."""

    def work(rank):
        before(rank)
        return command_line(words)

    return work


def at_step(rank, step, act):
    """Let a process do something once it has computed so many steps."""

    def before(own):
        from pushforward.training.loop.trainer import Trainer

        usual = Trainer.train_step

        def computed(trainer, batch):
            result = usual(trainer, batch)
            if own == rank and trainer.clock.step + 1 == step:
                act(trainer)
            return result

        Trainer.train_step = computed

    return before


def killed(trainer):
    os.kill(os.getpid(), signal.SIGKILL)


def stopped(trainer):
    os.kill(os.getpid(), signal.SIGTERM)


def lacking(rank):
    """One process has no memory for its part of the third batch, when the others wait for
    its gradients.
    """
    from pushforward.training.loop.step import Rounds

    usual = Rounds.backward

    def backward(rounds):
        if rank == 1 and rounds._micro[0].now.step == 2:
            raise MemoryError("out of memory")
        return usual(rounds)

    Rounds.backward = backward


def hanging(trainer):
    time.sleep(6)


def threads():
    """The names of the threads of this process, as the system has them."""
    return [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").glob("*")]


def unreadable(trainer):
    """The images that this process reads next are gone."""

    def gone(*_):
        raise DataError("cats/001.png is gone.")

    Streamed.decoded = gone


def vanishing(folder):
    """The work of a training on images that stay on disk, which one process cannot read after its
    third step.
    """
    files = photos(folder / "photos", 12)

    def work(rank):
        data = pf.data.load(files, stream=True, resize=4)
        at_step(1, 3, unreadable)(rank)
        try:
            pf.fit(
                recipe_for("flow", data, batch=128),
                data,
                steps=6,
                out=folder / "vanished",
                progress=False,
            )
        except PushforwardError as error:
            print(error)
            return error.exit_code

    return work


def noted(folder):
    """Note which process writes samples."""

    def before(rank):
        from pushforward import samples

        usual = samples.write_samples

        def written(*arguments, **options):
            (folder / f"writes-{rank}").touch()
            return usual(*arguments, **options)

        samples.write_samples = written

    return before


def full_disk(rank):
    """From the second checkpoint on, the first process has no space left."""
    from pushforward.training.checkpoint import storage

    usual = storage.fill
    saved = []

    def fill(*arguments):
        saved.append(1)
        if rank == 0 and len(saved) > 1:
            raise OSError(28, "No space left on device")
        return usual(*arguments)

    storage.fill = fill


def no_data(rank):
    """One process cannot read the data."""
    from pushforward.data.core import load as sources

    def read(*_, **__):
        raise DataError("moons cannot be read here.")

    if rank == 1:
        sources.read = read


def other_data(rank):
    """One process has other examples under the same name."""
    from pushforward.data.core import load as sources

    usual = sources.read
    if rank == 1:
        sources.read = lambda name, options, **more: usual(name, options | {"limit": 199}, **more)


def handed_on(folder, shard):
    """Train 2 steps in 2 processes, go on in 4 for 2, and alone for 2; note which examples each has
    computed in each step.
    """
    data = space_data((17,), labels=True, n=300)
    out = folder / "run"

    def work(count, until):
        def inner(rank):
            noted = []
            usual = Sampler.positions

            def positions(sampler, start, stop):
                epochs, index = usual(sampler, start, stop)
                noted.append([start // 256, (epochs * len(data.train) + index).tolist()])
                return epochs, index

            Sampler.positions = positions
            at_step(0, until, lambda trainer: setattr(trainer, "stop", 15))(rank)
            options = {"shard": shard and count > 1, "progress": False}
            if out.exists():
                pf.resume(out, data=data, **options)
            else:
                pf.fit(
                    recipe_for("flow", data, batch=256, precision="float32"),
                    data,
                    out=out,
                    seed=4,
                    steps=6,
                    **options,
                )
            (folder / f"{count}-{rank}.json").write_text(json.dumps(noted))
            leave()
            (folder / f"threads-{count}-{rank}.json").write_text(json.dumps(threads()))

        return inner

    return [
        together(count, work(count, until), folder / str(count))[:2]
        for count, until in ((2, 2), (4, 4), (1, 6))
    ]


def started(folder):
    """The launcher of ``--devices``: the second process cannot read the data after it has met the
    first; the exit code.
    """

    def entry(words):
        rank = int(os.environ["RANK"])
        processes.LINGER = 20.0
        os.environ["GLOO_SOCKET_IFNAME"] = "none"  # of a cluster that this machine belongs to
        at_step(rank, 2, overheard(folder))(rank)
        if rank:
            at_step(rank, 3, unread)(rank)
        with (
            open(folder.with_name(f"started-{rank}.txt"), "a") as file,
            contextlib.redirect_stderr(file),
        ):
            sys.exit(command_line(words))

    return start([*TRAIN, "--steps", "6", "--devices", "2", "--out", str(folder)], 2, entry)


def unread(trainer):
    raise DataError("moons cannot be read any more.")


def main(folder):
    torch.set_num_threads(1)
    processes.LINGER = 0.0  # no launcher looks
    train = [*TRAIN, "--steps", "6", "--out"]
    cases = {
        "whole": (lambda rank: None),
        "full": full_disk,
        "unread": no_data,
        "unlike": other_data,
        "stopped": at_step(1, 3, stopped),
        "lacking": lacking,
        "hanging": at_step(1, 3, hanging),
        "killed": at_step(1, 5, killed),
    }
    results = {}
    for name, before in cases.items():
        limit = {"PUSHFORWARD_TIMEOUT": "4"} if name == "hanging" else {}
        results[name] = together(
            2, commanded([*train, str(folder / name)], before), folder / f"{name}-printed", **limit
        )
    results["resumed"] = together(
        2, commanded(["resume", str(folder / "killed")]), folder / "resumed-printed"
    )
    results["vanished"] = together(2, vanishing(folder), folder / "vanished-printed")
    draw = ["sample", str(folder / "whole"), "--n", "11", "--batch", "4", "--out"]
    results["drawn"] = together(
        2, commanded([*draw, str(folder / "drawn.npz")], noted(folder)), folder / "drawn-printed"
    )
    seconds = [*TRAIN, "--budget", "0.1s", "--out", str(folder / "timed")]
    results["timed"] = together(2, commanded(seconds), folder / "timed-printed")
    results["started"] = started(folder / "started")
    for kind in ("plain", "sharded"):
        results[kind] = handed_on(folder / kind, kind == "sharded")
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
