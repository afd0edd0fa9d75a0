"""A disk that stops in the middle of a save, after any call of the system that changes it or within a write; trainings on it."""

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from unittest.mock import patch

import safetensors.torch

from pushforward import spec
from pushforward.testing import recipe_for, space_data
from pushforward.training import checkpoint, observers
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
DEATH = 9
"""The exit status of a process that dies with its disk."""


class Stopped(BaseException):
    """The disk has stopped."""


class Disk:
    """Within this context the disk stops after so many changes, and nothing changes any more.

    Args:
        last: How many; None counts them.
        exits: Whether the process dies there, as by SIGKILL.
        power: Whether what was not flushed is lost.
    """

    def __init__(self, last=None, exits=False, power=False):
        self.last, self.exits, self.power = last, exits, power
        self.changes, self.stopped, self._unflushed = 0, False, {}

    def __enter__(self):
        self._patches = contextlib.ExitStack()
        for name in CALLS:
            self._patches.enter_context(patch.object(os, name, self._call(name, getattr(os, name))))
        self._patches.enter_context(patch.object(Path, "write_text", self._text(Path.write_text)))
        self._patches.enter_context(patch.object(safetensors.torch, "save_file", self._file(safetensors.torch.save_file)))
        return self

    def __exit__(self, *_):
        self._patches.close()
        for handle in self._unflushed.values():
            os.close(handle)

    def _call(self, name, function):
        def call(*args, **options):
            self._alive()
            if name == "fsync":
                self._flushed(args[0])
            else:
                function(*args, **options)
            self._changed()

        return call

    def _text(self, function):
        def write_text(path, text, *args, **options):
            for end in (len(text) // 2, len(text)):
                self._alive()
                function(path, text[:end], *args, **options)
                self._written(path)
                self._changed()

        return write_text

    def _file(self, function):
        def save_file(tensors, path, *args, **options):
            self._alive()
            function(tensors, path, *args, **options)
            content = path.read_bytes()
            for end in (8, len(content) - 1, len(content)):
                self._alive()
                path.write_bytes(content[:end])
                self._written(path)
                self._changed()

        return save_file

    def _written(self, path):
        number = path.stat().st_ino
        if number not in self._unflushed:
            self._unflushed[number] = os.open(path, os.O_RDWR)

    def _flushed(self, handle):
        if (waiting := self._unflushed.pop(os.fstat(handle).st_ino, None)) is not None:
            os.close(waiting)

    def _alive(self):
        if self.stopped:
            raise Stopped

    def _changed(self):
        self.changes += 1
        if self.changes != self.last:
            return
        self.stopped = True
        for handle in self._unflushed.values() if self.power else ():
            os.ftruncate(handle, 0)
        if self.exits:
            os._exit(DEATH)
        raise Stopped


AT, STEPS = 2, 4
"""The step whose save is interrupted, and the steps of a training."""


def train(folder, last=None, beside=True):
    """Train, or go on; the process dies after so many changes of the disk in the save of one step."""
    data, save = space_data((2,), labels=False), checkpoint.save

    def dying(where, step, *args, **options):
        if last is None or step != AT:
            return save(where, step, *args, **options)
        if beside is (threading.current_thread() is threading.main_thread()):
            os._exit(1)
        with Disk(last, exits=True):
            return save(where, step, *args, **options)

    if os.path.exists(folder):
        trainer = reopen(folder, data=data)
    else:
        trainer = prepare(recipe_for("flow", data), data, steps=STEPS, out=folder, checkpoint_every=AT)
    trainer.saver.beside = beside
    with patch.object(checkpoint, "save", dying):
        trainer.advance()


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
    """Train each case, a (folder, last, beside), until it dies, and go on; prints the exit statuses of both."""
    import scipy.optimize  # noqa: F401 - what every training imports, once
    import sklearn.neighbors  # noqa: F401
    import torch._dynamo  # noqa: F401

    spec.registered()
    observers.PICTURES = ()
    print(json.dumps([(forked(*case), forked(case[0])) for case in cases]))
