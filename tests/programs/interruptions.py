"""Kills, power cuts and full disks at every point of a training; and processes that are forked
together.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import safetensors.torch
import torch
from programs.digest import state_digest

from pushforward.data import Dataset
from pushforward.errors import CheckpointError
from pushforward.methods.method import answered
from pushforward.recipes.recipe import Recipe
from pushforward.training import Silent, Trainer
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import storage

# The functions of `os` after each of which a disk can stop
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir")
DEATH = 9  # The exit status of a process that dies with its disk
PAGE = 4096  # Bytes that are lost together


def train_on(folder: Path, disk: Any, steps: int, every: int, beside: bool = True) -> None:
    """Train a small flow, or go on with it; its first checkpoint after a step is saved on a disk
    that stops.

    Args:
        folder: Run folder, resumed if it exists.
        disk: A context such as `Disk`, within which that checkpoint is saved.
        steps: Number of training steps.
        every: Steps between checkpoints.
        beside: Whether checkpoints are written during the next steps, or while training waits.
    """
    from pushforward.testing.models import recipe_for, space_data

    data = space_data((2,), labels=False)
    save = storage.save

    def saved(where: Path, step: int, *given: Any, **options: Any) -> None:
        with disk if step == every else contextlib.nullcontext():
            save(where, step, *given, **options)

    if folder.exists():
        trainer = reopen(folder, data=data)
    else:
        trainer = prepare(
            recipe_for("flow", data), data, steps=steps, checkpoint_every=every, out=folder
        )
    trainer.checkpointer.background = beside
    with patch.object(storage, "save", saved):
        trainer.advance()


class Stopped(BaseException):
    """The disk has stopped."""


class Disk:
    """Context in which the disk stops after a number of changes; afterwards nothing changes any
    more.

    A change is a call of the system by `os`, or a part of a file that `Path.write_text` or
    safetensors writes. Flushing is counted and does nothing. What is added to a file that
    `Path.open` opens is not a change, and is lost if it was not flushed.

    Args:
        last: After how many changes; None counts them.
        exits: Whether the process dies there, with the status `DEATH`, as by SIGKILL; otherwise
            `Stopped` is raised.
        power: Whether unflushed data is lost, as after a power failure.

    Attributes:
        changes: Number of changes.
        stopped: Whether the disk has stopped.
    """

    def __init__(self, last: int | None = None, exits: bool = False, power: bool = False) -> None:
        self.last = last
        self.exits = exits
        self.power = power
        self.changes = 0
        self.stopped = False
        self._unflushed: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> Disk:
        self._patches = contextlib.ExitStack()
        for name in CALLS:
            self._patches.enter_context(patch.object(os, name, self._call(name, getattr(os, name))))
        self._patches.enter_context(patch.object(Path, "write_text", self._text(Path.write_text)))
        self._patches.enter_context(patch.object(Path, "open", self._open(Path.open)))
        whole = self._file(safetensors.torch.save_file)
        self._patches.enter_context(patch.object(safetensors.torch, "save_file", whole))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()
        for handle, _size in self._unflushed.values():
            os.close(handle)

    def _call(self, name: str, function: Callable[..., Any]) -> Callable[..., None]:
        def call(*given: Any, **options: Any) -> None:
            self._alive()
            if name == "fsync":
                waiting = self._unflushed.pop(os.fstat(given[0]).st_ino, None)
                if waiting is not None:
                    os.close(waiting[0])
            else:
                function(*given, **options)
            self._changed()

        return call

    def _open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Path, mode: str = "r", *given: Any, **options: Any) -> Any:
            if "a" in mode:
                self._alive()
                path.touch()
                self._wait(path, path.stat().st_size)
            return function(path, mode, *given, **options)

        return opened

    def _text(self, function: Callable[..., int]) -> Callable[..., None]:
        def write_text(path: Path, text: str, *given: Any, **options: Any) -> None:
            for end in (len(text) // 2, len(text)):
                self._alive()
                function(path, text[:end], *given, **options)
                self._written(path)

        return write_text

    def _file(self, function: Callable[..., None]) -> Callable[..., None]:
        def save_file(tensors: Any, path: Path, *given: Any, **options: Any) -> None:
            self._alive()
            function(tensors, path, *given, **options)
            content = path.read_bytes()
            for end in (8, len(content) - 1, len(content)):
                self._alive()
                path.write_bytes(content[:end])
                self._written(path)

        return save_file

    def _written(self, path: Path) -> None:
        self._wait(path, 0)
        self._changed()

    def _wait(self, path: Path, size: int) -> None:
        """From now on a file has so many bytes where the power fails, until it is flushed."""
        number = path.stat().st_ino
        if number not in self._unflushed:
            self._unflushed[number] = os.open(path, os.O_RDWR), size

    def _alive(self) -> None:
        if self.stopped:
            raise Stopped

    def _changed(self) -> None:
        self.changes += 1
        if self.changes == self.last:
            self.stop()

    def stop(self) -> None:
        """Let the disk stop now."""
        self.stopped = True
        for handle, size in self._unflushed.values() if self.power else ():
            os.ftruncate(handle, size)
        if self.exits:
            os._exit(DEATH)
        raise Stopped


def damage(folder: Path, number: int) -> tuple[tuple[str, ...], str]:
    """Damage a checkpoint: cut a file, flip one bit, zero a page, swap two files or delete one.

    Args:
        folder: Folder of the checkpoint.
        number: Number of the damage. 5 consecutive numbers include every kind of damage, and 25
            every kind to every file.

    Returns:
        The names of the files that differ now, and what was done to the first.
    """
    kind = number % 5
    rng = random.Random(number)
    names = sorted(path.name for path in folder.iterdir())
    name = names[number // 5 % len(names)]
    other = names[(number // 5 + 1) % len(names)]
    path = folder / name
    content = bytearray((folder / name).read_bytes())
    if kind == 0:
        end = rng.randrange(len(content))
        path.write_bytes(content[:end])
        return (name,), f"cut off at byte {end:,}"
    if kind == 1:
        at = rng.randrange(len(content))
        bit = rng.randrange(8)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        return (name,), f"bit {bit} of byte {at:,} flipped"
    if kind == 2:
        pages = [at for at in range(0, len(content), PAGE) if any(content[at : at + PAGE])]
        at = rng.choice(pages)
        content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))
        path.write_bytes(content)
        return (name,), f"the page at byte {at:,} zeroed"
    path.unlink()
    if kind == 4:
        return (name,), "deleted"
    (folder / other).rename(path)
    (folder / other).write_bytes(content)
    return (name, other), f"swapped with {other}"


Apart = Callable[[Callable[[], Any]], tuple[int, Any]]

# Within the writes of a checkpoint, and elsewhere: turns of a step, its end, and other writes
KINDS = ("save", "step")
# The largest fraction of the events left that pass before a kill: a resumed run writes fewer files
SHARE = 0.75


class Killed(BaseException):
    """Exception that replaces a signal if a process should not die."""


@dataclass(frozen=True)
class Kill:
    """When a training dies.

    Args:
        kind: Kind of event, one of `KINDS`.
        number: The event before which it dies, from 0; a weights file is then half written.
    """

    kind: str
    number: int


def killed_by_signal() -> None:
    """End this process as SIGKILL ends it: nothing more is run or written."""
    os.kill(os.getpid(), signal.SIGKILL)


class Events:
    """Counter of the events of a training run within `watching`, which kills the run before a
    chosen event.

    Args:
        kill: Event before which the run is killed; None for no kill.
        die: Function that kills; `Killed` is raised afterwards.

    Attributes:
        counts: The events so far, by kind.
    """

    def __init__(
        self, kill: Kill | None = None, die: Callable[[], None] = killed_by_signal
    ) -> None:
        self.kill = kill
        self.die = die
        self.counts = dict.fromkeys(KINDS, 0)

    def note(self, kind: str, half: Callable[[], None] | None = None) -> None:
        """Count an event that is about to happen; ``half`` leaves it half done if training dies
        here.
        """
        self.counts[kind] += 1
        if (
            self.kill is not None
            and self.kill.kind == kind
            and self.counts[kind] == self.kill.number + 1
        ):
            if half is not None:
                half()
            self.die()
            raise Killed

    @contextlib.contextmanager
    def watching(self, trainer: Trainer) -> Iterator[None]:
        """Context in which a trainer's events are counted: rounds, ends of steps, and writes of
        this process.
        """
        losses = trainer.method.losses
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch.object(trainer.callbacks, "watcher", _Steps(self)))
            stack.enter_context(
                patch.object(
                    trainer.method, "losses", lambda batch, now: self._turns(losses(batch, now))
                )
            )
            for place, name, call in self._replaced():
                stack.enter_context(patch.object(place, name, call))
            yield

    def _turns(self, game: Iterator[Any]) -> Iterator[Any]:
        reply = None
        while (move := answered(game, reply)) is not None:
            self.note("step")
            reply = yield move

    def _replaced(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        yield from ((os, name, self._noted(getattr(os, name))) for name in CALLS)
        yield (
            io,
            "open",
            self._noted(io.open, lambda mode="r", *_, **__: bool(set(mode) & set("wax+"))),
        )
        yield safetensors.torch, "save_file", self._saved(safetensors.torch.save_file)

    def _noted(
        self, call: Callable[..., Any], counts: Callable[..., bool] = lambda *_, **__: True
    ) -> Callable[..., Any]:
        def noted(path: Any, *arguments: Any, **named: Any) -> Any:
            if counts(*arguments, **named):
                self.note(_kind(path, named.get("dir_fd")))
            return call(path, *arguments, **named)

        return noted

    def _saved(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(tensors: Any, path: Any, *arguments: Any, **named: Any) -> Any:
            def half() -> None:
                call(tensors, path, *arguments, **named)
                os.truncate(path, Path(path).stat().st_size // 2)

            self.note(_kind(path), half)
            return call(tensors, path, *arguments, **named)

        return noted


class _Steps(Silent):
    """The end of each step is an event."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def __call__(self, name: str, clock: Any, samples: int, losses: Any) -> None:
        self.events.note("step")


def _kind(path: Any, within: int | None = None) -> str:
    """Whether a path, or a file that is open, is part of a checkpoint."""
    opened = path if isinstance(path, int) else within
    parts = [] if isinstance(path, int) else [str(path)]
    if opened is not None:
        with contextlib.suppress(OSError):
            parts.append(os.readlink(f"/proc/self/fd/{opened}"))
    if any("checkpoints" in Path(part).parts for part in parts):
        return "save"
    return "step"


@dataclass
class Chain:
    """A training that is killed several times, each time resumed by another process, and compared
    with an undisturbed training.

    Args:
        recipe: Makes its recipe.
        data: Training data.
        folder: Folder for both runs, "whole" and "cut".
        options: Options of `pushforward.fit`.
        keep: Number of checkpoints to keep; None for the default.
        die: Function that kills; `Killed` is raised afterwards.
        whole: Result of `run` for uninterrupted training; None to train first.
    """

    recipe: Callable[[], Recipe]
    data: Dataset
    folder: Path
    options: Mapping[str, Any]
    keep: int | None = None
    die: Callable[[], None] = killed_by_signal
    whole: dict[str, Any] | None = None

    def run(self, name: str, kill: Kill | None = None) -> dict[str, Any]:
        """Start a run, or go on with it, and let it die; of one that ends, its digest and its
        events.

        A run that was killed before its first checkpoint, and whose first weights came from Python,
        is started again.
        """
        folder = self.folder / name
        events = Events(kill, self.die)
        marks = {-1: dict.fromkeys(KINDS, 0)}
        trainer = None
        if folder.exists():
            with contextlib.suppress(*(() if newest_step(folder) >= 0 else (CheckpointError,))):
                trainer = reopen(folder, data=self.data)
        if trainer is None:
            trainer = prepare(
                self.recipe(), self.data, out=folder, overwrite=folder.exists(), **self.options
            )
        save = storage.save

        def marked(where: Path, step: int, *arguments: Any, **named: Any) -> None:
            save(
                where,
                step,
                *arguments,
                **named | ({} if self.keep is None else {"keep": self.keep}),
            )
            marks[step] = dict(events.counts)
            self.saved(name, step)

        with events.watching(trainer), patch.object(storage, "save", marked):
            trainer.advance()
        return {
            "digest": state_digest(folder),
            "counts": events.counts,
            "marks": list(marks.items()),
        }

    def saved(self, name: str, step: int | None = None) -> int:
        """Return the last saved step, -1 if there is none; ``step`` sets it."""
        file = self.folder / f"{name}.saved"
        if step is not None:
            with file.open("ab", buffering=0) as handle:  # in one piece, whenever the process dies
                handle.write(f"{step}\n".encode())
        steps = file.read_text(encoding="utf-8").split() if file.exists() else []
        if steps:
            return int(steps[-1])
        return -1

    def killed(
        self, kinds: Sequence[str], seed: str, apart: Apart, name: str = "cut"
    ) -> list[dict[str, Any]]:
        """Kill a run once for each of ``kinds``, then let it end.

        Args:
            kinds: Kinds of events, from `KINDS`.
            seed: Chooses the events.
            apart: Runs work that may die; see `forked`.
            name: Name of the run.

        Returns:
            A dict for each kill: its kind and number, the step saved before it, the newest step
                after it, which is verified, and
            what is wrong; the last one is of the end.
        """
        self.whole = self.whole or apart(lambda: self.run("whole"))[1]
        if self.whole is None:
            return [{"kind": "whole", "wrong": ["the uninterrupted training run failed"]}]
        marks = {int(at): counts for at, counts in self.whole["marks"]}
        step = -1
        random = Random(seed)
        kills = []
        for left, kind in zip(range(len(kinds), 0, -1), kinds, strict=True):
            remaining = self.whole["counts"][kind] - marks[step][kind]
            kill = Kill(kind, int(random.uniform(0, SHARE / left) * remaining))
            status, _ = apart(lambda kill=kill: self.run(name, kill))  # type: ignore[misc]
            saved = self.saved(name)
            step = newest_step(self.folder / name)
            wrong = [] if status == -signal.SIGKILL else [f"the process exited with {status}"]
            wrong += ["a checkpoint was lost"] if step < saved else []
            kills.append({**asdict(kill), "saved": saved, "newest": step, "wrong": wrong})
        status, end = apart(lambda: self.run(name))
        same = status == 0 and end["digest"] == self.whole["digest"]
        return [
            *kills,
            {
                "kind": "end",
                "wrong": []
                if same
                else [f"the resumed run ends differently (exit status {status})"],
            },
        ]


def newest_step(folder: Path) -> int:
    """Return the step of a run's newest checkpoint, after verifying its files; -1 if there is none.

    Raises:
        CheckpointError: If it is damaged: a partial checkpoint was accepted.
    """
    newest = storage.latest(folder / "checkpoints")
    if newest is None:
        return -1
    return int(storage.read_state(newest)["step"])


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Work in a process that is forked from this one: its exit status, negative for a signal, and
    its JSON-ready result.

    This process may not have computed a gradient before, since torch then trains in no process that
    is forked.
    """
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                file.write(json.dumps(work()).encode())
                file.flush()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        return status, json.loads(file.read() or b"null")


LIMIT = 120.0  # Seconds that processes may take together
# The exit code and the printed text of each process, and the seconds of all
Outcome = tuple[list[int], list[str], float]


def together(
    count: int, work: Callable[[int], int | None], folder: str | Path, **environment: str
) -> Outcome:
    """Fork processes that each do ``work(rank)``, which returns an exit code or None for 0.

    The process that calls this has computed no gradient, after which torch trains in no process
    that is forked.

    Args:
        count: Number of processes.
        work: Function that each process runs.
        folder: Folder for the output of each process.
        environment: Environment variables for all processes, in addition to those of torchrun.

    Returns:
        Exit codes; 124 means that a process was ended after two minutes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared = {
        "MASTER_ADDR": str(folder.resolve() / "store"),
        "MASTER_PORT": "0",
        "WORLD_SIZE": str(count),
        **environment,
    }
    began = time.monotonic()
    children = [_forked(rank, work, folder, shared) for rank in range(count)]
    codes = dict[int, int]()
    while len(codes) < count and time.monotonic() - began < LIMIT:
        for rank, child in enumerate(children):
            if rank not in codes and (done := os.waitpid(child, os.WNOHANG))[0]:
                codes[rank] = os.waitstatus_to_exitcode(done[1])
        time.sleep(0.02)
    for rank in set(range(count)) - codes.keys():
        os.kill(children[rank], signal.SIGKILL)
        os.waitpid(children[rank], 0)
        codes[rank] = 124
    printed = [(folder / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(count)]
    return [codes[rank] for rank in range(count)], printed, time.monotonic() - began


def _forked(
    rank: int, work: Callable[[int], int | None], folder: Path, shared: dict[str, str]
) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        # renews the pool before backward passes race for it
        torch.set_num_threads(torch.get_num_threads())
        os.environ.update(
            shared, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=shared["WORLD_SIZE"]
        )
        with (
            (folder / f"{rank}.txt").open("w", buffering=1, encoding="utf-8") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            try:
                code = work(rank) or 0
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)
