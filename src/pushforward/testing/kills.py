"""Trainings that are killed at a chosen event: a write of a save, or anything else that happens while they train."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from pushforward.data import Dataset
from pushforward.errors import CheckpointError
from pushforward.methods.method import answered
from pushforward.recipes.recipe import Recipe
from pushforward.training import Silent, Trainer, checkpoint
from pushforward.training.digests import state_digest
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare

Apart = Callable[[Callable[[], Any]], tuple[int, Any]]

KINDS = ("save", "step")
"""Within the writes of a checkpoint, and elsewhere: turns of a step, its end, and other writes."""
SHARE = 0.75
"""Of the events that are left, at most so many pass before a kill: a run that is resumed writes a few files less."""
_CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir")


class Killed(BaseException):
    """Stands in for a signal where a process is not to die."""


@dataclass(frozen=True)
class Kill:
    """When a training dies.

    Args:
        kind: Of the events that are counted, one of `KINDS`.
        number: The event before which it dies, from 0; a weights file is then half written.
    """

    kind: str
    number: int


def killed_by_signal() -> None:
    """End this process as SIGKILL ends it: nothing more is run or written."""
    os.kill(os.getpid(), signal.SIGKILL)


class Events:
    """Counts the events of a training within `watching`, and kills it before one of them.

    Args:
        kill: When; None never does.
        die: What kills; `Killed` is raised after it.

    Attributes:
        counts: The events so far, by kind.
    """

    def __init__(self, kill: Kill | None = None, die: Callable[[], None] = killed_by_signal) -> None:
        self.kill, self.die = kill, die
        self.counts = dict.fromkeys(KINDS, 0)

    def note(self, kind: str, half: Callable[[], None] | None = None) -> None:
        """Count an event that is about to happen; ``half`` leaves it half done where the training dies here."""
        self.counts[kind] += 1
        if self.kill is not None and self.kill.kind == kind and self.counts[kind] == self.kill.number + 1:
            if half is not None:
                half()
            self.die()
            raise Killed

    @contextlib.contextmanager
    def watching(self, trainer: Trainer) -> Iterator[None]:
        """Within this context a trainer's events are counted: turns, ends of steps, and what this process writes."""
        losses = trainer.method.losses
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch.object(trainer, "progress", _Steps(self)))
            stack.enter_context(patch.object(trainer.method, "losses", lambda batch, now: self._turns(losses(batch, now))))
            for place, name, call in self._replaced():
                stack.enter_context(patch.object(place, name, call))
            yield

    def _turns(self, game: Iterator[Any]) -> Iterator[Any]:
        reply = None
        while (move := answered(game, reply)) is not None:
            self.note("step")
            reply = yield move

    def _replaced(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        import safetensors.torch

        yield from ((os, name, self._before(getattr(os, name))) for name in _CALLS)
        yield io, "open", self._opened(io.open)
        yield safetensors.torch, "save_file", self._saved(safetensors.torch.save_file)

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Any, *arguments: Any, **named: Any) -> Any:
            self.note(_kind(path, named.get("dir_fd")))
            return call(path, *arguments, **named)

        return noted

    def _opened(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self.note(_kind(path))
            return call(path, mode, *arguments, **named)

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
    return "save" if any("checkpoints" in Path(part).parts for part in parts) else "step"


@dataclass
class Chain:
    """A training that is killed several times, each time resumed by another process, and compared with an undisturbed training.

    Args:
        recipe: Makes its recipe.
        data: Of the training.
        folder: Where both runs are written, as "whole" and "cut".
        options: Those of `pushforward.fit`.
        keep: How many checkpoints stay; None for as many as usual.
        die: What kills; `Killed` is raised after it.
        whole: What `run` returns of the undisturbed training; None trains it first.
    """

    recipe: Callable[[], Recipe]
    data: Dataset
    folder: Path
    options: Mapping[str, Any]
    keep: int | None = None
    die: Callable[[], None] = killed_by_signal
    whole: dict[str, Any] | None = None

    def run(self, name: str, kill: Kill | None = None) -> dict[str, Any]:
        """Start a run, or go on with it, and let it die; of one that ends, its digest and its events.

        A run that was killed before its first checkpoint, and whose first weights came from Python, is started again.
        """
        folder, events, marks = self.folder / name, Events(kill, self.die), {-1: dict.fromkeys(KINDS, 0)}
        trainer = None
        if folder.exists():
            with contextlib.suppress(*(() if newest_step(folder) >= 0 else (CheckpointError,))):
                trainer = reopen(folder, data=self.data)
        if trainer is None:
            trainer = prepare(self.recipe(), self.data, out=folder, overwrite=folder.exists(), **self.options)
        save = checkpoint.save

        def marked(where: Path, step: int, *arguments: Any, **named: Any) -> None:
            save(where, step, *arguments, **named | ({} if self.keep is None else {"keep": self.keep}))
            marks[step] = dict(events.counts)
            self.saved(name, step)

        with events.watching(trainer), patch.object(checkpoint, "save", marked):
            trainer.advance()
        return {"digest": state_digest(folder), "counts": events.counts, "marks": list(marks.items())}

    def saved(self, name: str, step: int | None = None) -> int:
        """The last step whose save has returned; -1 where there is none. With ``step``, it is that from now on."""
        file = self.folder / f"{name}.saved"
        if step is not None:
            with file.open("ab", buffering=0) as handle:  # in one piece, whenever the process dies
                handle.write(f"{step}\n".encode())
        steps = file.read_text(encoding="utf-8").split() if file.exists() else []
        return int(steps[-1]) if steps else -1

    def killed(self, kinds: Sequence[str], seed: str, apart: Apart, name: str = "cut") -> list[dict[str, Any]]:
        """Kill a run once for each of ``kinds``, then let it end.

        Args:
            kinds: Of `KINDS`.
            seed: Chooses the events.
            apart: Runs work that may die; see `forked`.
            name: Of the run.

        Returns:
            A dict for each kill: its kind and number, the step saved before it, the newest step after it, which is verified, and
            what is wrong; the last one is of the end.
        """
        self.whole = self.whole or apart(lambda: self.run("whole"))[1]
        if self.whole is None:
            return [{"kind": "whole", "wrong": ["the undisturbed training failed"]}]
        marks, step, random, kills = {int(at): counts for at, counts in self.whole["marks"]}, -1, Random(seed), []
        for left, kind in zip(range(len(kinds), 0, -1), kinds, strict=True):
            remaining = self.whole["counts"][kind] - marks[step][kind]
            kill = Kill(kind, int(random.uniform(0, SHARE / left) * remaining))
            status, _ = apart(lambda kill=kill: self.run(name, kill))  # type: ignore[misc]
            saved, step = self.saved(name), newest_step(self.folder / name)
            wrong = [] if status == -signal.SIGKILL else [f"it ended with {status}"]
            wrong += ["a checkpoint is lost"] if step < saved else []
            kills.append({**asdict(kill), "saved": saved, "newest": step, "wrong": wrong})
        status, end = apart(lambda: self.run(name))
        same = status == 0 and end["digest"] == self.whole["digest"]
        return [*kills, {"kind": "end", "wrong": [] if same else [f"it ends elsewhere ({status})"]}]


def newest_step(folder: Path) -> int:
    """The step of a run's newest checkpoint, all of whose files are verified; -1 where there is none.

    Raises:
        CheckpointError: If it is damaged: a partial checkpoint was accepted.
    """
    newest = checkpoint.latest(folder / "checkpoints")
    return -1 if newest is None else int(checkpoint.read_state(newest)["step"])


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Work in a process that is forked from this one: its exit status, negative for a signal, and its JSON-ready result.

    This process may not have computed a gradient before, since torch then trains in no process that is forked.
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
