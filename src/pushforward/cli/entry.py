"""From the words of a command to its exit code."""

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
from pushforward.cli import comparison, demo, editing, evaluation, inventory, sampling, training, tuning  # noqa: F401 (verbs)
from pushforward.cli.inputs import load_plugins
from pushforward.cli.processes import is_grouped, processes_wanted, run_in_group, speaks, start
from pushforward.cli.terminal import Lasting, app, as_options, say, typed
from pushforward.errors import CheckpointError, GroupError, PushforwardError
from pushforward.registries import RECIPES
from pushforward.training.loop.signals import ending_signals

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
        _signals_and_warnings(),
    ):
        code = _run(words)
        out.ends = OSError  # the error was said; what is left goes nowhere
        out.flush()
    if arguments is None:
        sys.exit(code)
    return code


@contextlib.contextmanager
def _signals_and_warnings() -> Iterator[None]:
    """SIGTERM and the like unwind the stack, so that temporary files go; warnings to a user are a sentence."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    def worded(message: Any, category: Any, *place: Any, **line: Any) -> str:
        return (
            f"warning: {as_options(str(message))}\n" if category is UserWarning else formatted(message, category, *place, **line)
        )

    formatted, warnings.formatwarning = warnings.formatwarning, worded
    alone = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, end) for number in ending_signals()} if alone else {}
    try:
        yield
    finally:
        warnings.formatwarning = formatted
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(words: list[str]) -> int:
    try:
        if len(words) > 1 and words[0] == "train" and not words[1].startswith("-") and {"--help", "-h"} & set(words):
            load_plugins([file for option, file in itertools.pairwise(words) if option == "--plugin"])
            training.print_recipe_help(words[1])
        elif is_grouped(words):
            run_in_group(words)
        elif (count := processes_wanted(words)) > 1:
            return start(words, count)
        elif words and words[0] not in app and words[0] in RECIPES:
            say(f"error: {words[0]} is a recipe, not a command. See: pushforward train {words[0]} --help")
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
        before = error.before if isinstance(error, CheckpointError) else None
        option = "from" if typed[0] == "resume" else "checkpoint"
        say(f"error: {as_options(str(error))}" + (f" Take it with --{option} {before}." if before else ""))
        return error.exit_code
    first = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError) or "out of memory" in first.lower() or "can't allocate memory" in str(error):
        say(f"error: out of memory ({first}). Use a smaller --batch, --accumulate 2 or --size tiny.")
        return 6
    if isinstance(error, OSError):
        where, why = error.filename or "the output", error.strerror or error
        say(f"error: {where} could not be read or written: {why}. Free space, or check the path and its rights.")
        return 4
    where = plugins.line_of(error)
    whose = "This is a bug in pushforward." if where is None else f"It happened in {where}, in a file of your own."
    say(f"error: {type(error).__name__}: {error}\n{whose} PUSHFORWARD_TRACEBACK=1 shows all calls up to it.")
    return 1
