"""The command line: one verb per library function, thin.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a bug, here or in a plug-in, 2 usage, 3 data,
4 checkpoint or disk, 5 diverged, 6 out of memory, 7 a missing extra, 75 training stopped after saving by SIGTERM, SIGHUP or
SIGUSR1, 130 stopped by Ctrl-C (training after saving), 143, 129 or 138 another verb stopped by these, or training by a second
of them.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from cyclopts import CycloptsError

from pushforward import plugins
from pushforward.cli import (  # noqa: F401 (each registers its verbs)
    checking,
    comparing,
    demonstration,
    distilling,
    editing,
    evaluating,
    imputing,
    latents,
    listing,
    neighbours,
    reporting,
    restoring,
    sampling,
    training,
    tuning,
)
from pushforward.cli.advice import as_options
from pushforward.cli.launching import is_grouped, processes_wanted, run_in_group, speaks, start
from pushforward.cli.parsing import load_plugins
from pushforward.cli.recipe_help import print_recipe_help
from pushforward.cli.terminal import Lasting, app, say, typed
from pushforward.errors import CheckpointError, GroupError, PushforwardError
from pushforward.registries import RECIPES
from pushforward.training.loop.signals import ending_signals

__all__ = ["app", "main"]

EXAMPLES = """pushforward trains, samples and compares generative models.

  pushforward demo                                     four families on points of a circle and on digits
  pushforward train flow --data digits --budget 60s    train one model
  pushforward sample runs/digits-flow --n 64 --out digits.png
  pushforward compare gan vae ddpm flow --data digits --budget 60s
  pushforward train flow --data ./photos --resize 32   your own images (or a .csv, .npy, .npz)

  pushforward --help lists all verbs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no traceback reaches a user.

    Set PUSHFORWARD_TRACEBACK=1 to see where an error came from.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    typed[:] = words
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # no file of a run gets the number of a closed stream
        continue
    os.close(number)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    out, err = Lasting(sys.stdout or io.StringIO(), BrokenPipeError), Lasting(sys.stderr or io.StringIO(), OSError)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _ended_by_sigterm(),
        _warned_in_words(),
    ):
        code = _run(words)
        out.ends = OSError  # the error was said; what is left goes nowhere
        out.flush()
    if arguments is None:
        sys.exit(code)
    return code


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM and the like unwind the stack, so that temporary files go; training has a handler of its own."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _warned_in_words() -> Iterator[None]:
    """Warnings to a user are a sentence; those to programmers keep their file and line."""
    before = warnings.formatwarning

    def worded(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        short = category is UserWarning
        return f"warning: {as_options(str(message))}\n" if short else before(message, category, filename, lineno, line)

    warnings.formatwarning = worded
    try:
        yield
    finally:
        warnings.formatwarning = before


def _run(words: list[str]) -> int:
    try:
        if len(words) > 1 and words[0] == "train" and not words[1].startswith("-") and {"--help", "-h"} & set(words):
            load_plugins([file for option, file in itertools.pairwise(words) if option == "--plugin"])
            print_recipe_help(training.train, words[1])
        elif is_grouped(words):
            run_in_group(words)
        elif (count := processes_wanted(words)) > 1:
            return start(words, count)
        elif words and words[0] not in app and words[0] in RECIPES:
            rest = " --teacher RUN (a run of distil, meanflow or dmd)" if words[0] == "finish" else " --data DATA"
            say(f"error: {words[0]} is a recipe, not a command: pushforward train {words[0]}{rest}")
            return 2
        elif words:
            app(words, exit_on_error=False)
        else:
            print(EXAMPLES)
        sys.stdout.flush()
        return 0
    except CycloptsError:
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt as stop:
        say(f"interrupted: {stop}" if stop.args else "interrupted")
        return 130
    except Exception as error:
        if os.environ.get("PUSHFORWARD_TRACEBACK"):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if not speaks():
        if isinstance(error, GroupError):  # the process that failed has said why
            return error.exit_code
        time.sleep(1.0)  # where the first process fails alike, its launcher ends this one before it repeats that
    if isinstance(error, PushforwardError):
        say(f"error: {as_options(str(error))}{_another_checkpoint(error)}")
        return error.exit_code
    first = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError) or "out of memory" in first.lower() or "can't allocate memory" in str(error):
        say(f"error: out of memory ({first}). Use a smaller --batch, --accumulate 2 or --size tiny.")
        return 6
    if isinstance(error, OSError):
        where = error.filename if error.filename is not None else "the output"
        say(
            f"error: {where} could not be read or written: {error.strerror or error}. "
            "Free space, or check the path and its rights."
        )
        return 4
    where = plugins.line_of(error)
    whose = "This is a bug in pushforward." if where is None else f"It happened in {where}, in a file of your own."
    say(f"error: {type(error).__name__}: {error}\n{whose} PUSHFORWARD_TRACEBACK=1 shows all calls up to it.")
    return 1


def _another_checkpoint(error: PushforwardError) -> str:
    """How the running verb takes the checkpoint before a damaged one."""
    editing_with_it = ("interpolate", "vary", "inpaint", "upscale", "invert")
    using_a_run = ("sample", "evaluate", "tune", "nearest", "truncation", *editing_with_it)
    option = {"resume": "--from", **dict.fromkeys(using_a_run, "--checkpoint")}.get(typed[0]) if typed else None
    if not isinstance(error, CheckpointError) or not error.before or option is None:
        return ""
    return f" {'Or take' if typed[0] == 'resume' else 'Take'} it with {option} {error.before}."
