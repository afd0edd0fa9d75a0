"""Disks that fail: one that stops in the middle of a save, and damage to the files of a checkpoint."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import safetensors.torch

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
"""The functions of `os` after each of which a disk can stop."""
DEATH = 9
"""The exit status of a process that dies with its disk."""
PAGE = 4096
"""Bytes that are lost together."""


def train_on(folder: Path, disk: Any, steps: int, every: int, beside: bool = True) -> None:
    """Train a small flow, or go on with it; its first checkpoint after a step is saved on a disk that stops.

    Args:
        folder: The run's, taken up where it is there.
        disk: A context such as `Disk`, within which that checkpoint is saved.
        steps: Of the training.
        every: Steps between checkpoints.
        beside: Whether checkpoints are written beside the next steps, or while training waits.
    """
    from pushforward.testing.samples import recipe_for, space_data
    from pushforward.training import checkpoint
    from pushforward.training.resuming import reopen
    from pushforward.training.start import prepare

    data, save = space_data((2,), labels=False), checkpoint.save

    def saved(where: Path, step: int, *given: Any, **options: Any) -> None:
        with disk if step == every else contextlib.nullcontext():
            save(where, step, *given, **options)

    if folder.exists():
        trainer = reopen(folder, data=data)
    else:
        trainer = prepare(recipe_for("flow", data), data, steps=steps, checkpoint_every=every, out=folder)
    trainer.saver.beside = beside
    with patch.object(checkpoint, "save", saved):
        trainer.advance()


class Stopped(BaseException):
    """The disk has stopped."""


class Disk:
    """Within this context the disk stops after so many changes of it; from then on nothing changes any more.

    A change is a call of the system by `os`, or a part of a file that `Path.write_text` or safetensors writes. Flushing is
    counted and does nothing. What is added to a file that `Path.open` opens is no change, and is lost where it was not flushed.

    Args:
        last: After how many changes; None counts them.
        exits: Whether the process dies there, with the status `DEATH`, as by SIGKILL; otherwise `Stopped` is raised.
        power: Whether what was not flushed is lost, as where the power fails.

    Attributes:
        changes: How many there were.
        stopped: Whether the disk has stopped.
    """

    def __init__(self, last: int | None = None, exits: bool = False, power: bool = False) -> None:
        self.last, self.exits, self.power = last, exits, power
        self.changes, self.stopped = 0, False
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
                self._flushed(given[0])
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

    def _flushed(self, handle: int) -> None:
        waiting = self._unflushed.pop(os.fstat(handle).st_ino, None)
        if waiting is not None:
            os.close(waiting[0])

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
        folder: The checkpoint's.
        number: Which damage; of numbers that follow each other, 5 are of every kind, and 25 of every kind to every file.

    Returns:
        The names of the files that differ now, and what was done to the first.
    """
    kind, rng = number % 5, random.Random(number)
    names = sorted(path.name for path in folder.iterdir())
    name, other = names[number // 5 % len(names)], names[(number // 5 + 1) % len(names)]
    path, content = folder / name, bytearray((folder / name).read_bytes())
    if kind == 0:
        end = rng.randrange(len(content))
        path.write_bytes(content[:end])
        return (name,), f"cut at byte {end:,}"
    if kind == 1:
        at, bit = rng.randrange(len(content)), rng.randrange(8)
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
