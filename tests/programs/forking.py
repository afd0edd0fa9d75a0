"""Code in a process of its own that costs no imports: it is forked from one that has loaded the
tests and run nothing.

That one, the source, is forked when the tests are collected: once a gradient has been computed,
    torch trains in no process that
is forked. It holds no file of the tests, and ends when they end.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

LIMIT = 600
"""Seconds that code may take."""
LOADED = (
    "safetensors.torch",
    "scipy.optimize",
    "sklearn.neighbors",
    "torch._dynamo",
    "torch.distributed.checkpoint",
)
"""What trainings import when they first need it; the source does so once, before its first process
is forked.
"""
_sources: dict[int, tuple[int, socket.socket]] = {}
"""The source and the way to it, by the process that may use it."""


def start(prepare: Callable[[], object] = lambda: None):
    """Fork the source; before any test runs. It does what ``prepare`` does once code is to
    be run.
    """
    if os.getpid() in _sources:
        return
    ours, theirs = socket.socketpair()
    source = os.fork()
    if source == 0:
        try:
            ours.close()
            _serve(theirs, prepare)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(LIMIT)
    _sources[os.getpid()] = source, ours


def stop():
    """End the source."""
    source, channel = _sources.pop(os.getpid(), (None, None))
    if source is not None:
        channel.close()
        os.waitpid(source, 0)


def run(code, *, given="", cwd=None):
    """Run code as ``python -c`` does, in this environment; what is given is its input. The result
    is that of `subprocess.run`.
    """
    _, channel = _sources[os.getpid()]
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "code": code,
            "given": given,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ),
            "folder": folder,
        }
        channel.sendall(json.dumps(request).encode() + b"\n")
        with channel.makefile() as answers:
            status = int(answers.readline())
        out, err = (Path(folder, name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(["forked"], status, out, err)


def _serve(channel, prepare):
    """Fork a process for each request, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _let_go(channel.fileno())
    with channel.makefile() as requests:
        for number, line in enumerate(requests):
            if number == 0:
                prepare()
                _load()
            child = os.fork()
            if child == 0:
                os._exit(_status(**json.loads(line)))
            channel.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())


def _load():
    from pushforward import spec

    for name in LOADED:
        importlib.import_module(name)
    spec.registered()


def _let_go(but):
    """Point every open file to nowhere: none is held open, and no number is given to another while
    an object has it.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/dev/fd")):
        if number not in (but, nowhere):
            with contextlib.suppress(OSError):  # the listing itself is closed by now
                os.fstat(number)
                os.dup2(nowhere, number)


def _status(code, given, cwd, env, folder):
    """The exit status of the code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    sys.stdin = io.StringIO(given)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))
    try:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        if isinstance(error.code, int):
            return error.code
        return int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
