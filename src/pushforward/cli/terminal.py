"""What every verb shares: the application, and how results, events and errors are printed."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError

from pushforward.cli.options import INSPECT

typed: list[str] = []  # The words of the command line that is running
_ARGUMENT = re.compile(r"`([a-z][a-z_]*)(?:=([^`\n]*))?`")
# Options that are called otherwise than their arguments
_NAMES = {"seconds": "--budget", "plugins": "--plugin", "trackers": "--track", "constraints": "--constraint"}
# Options whose value is said in other words, or not at all
_WHOLE = {
    **{f"{name}=True": f"--{name}" for name in ("download", "fallback", "full", "overwrite", "shard", "stream")},
    **{
        f"{name}={value}": f"--{name} {word}"
        for name in ("header", "table")
        for value, word in (("True", "yes"), ("False", "no"))
    },
    "labelled=False": "--condition none",
    "labelled=True": "--condition label",
    "shard=False": "no --shard",
}


def command() -> str:
    """The command line that is running, quoted so that a shell reads it as it was typed."""
    return shlex.join(["pushforward", *typed])


def as_options(message: str) -> str:
    """A message with options instead of the arguments that stand between backticks; verbs and commands stay.

    Args:
        message: Such as "Choose another `out`, or add `overwrite=True`.".
    """

    def option(match: re.Match[str]) -> str:
        name, value, whole = match[1], match[2], _WHOLE.get(match[0].strip("`"))
        if whole is not None or (value is None and name in app):
            return whole or match[0]
        if name == "checkpoint" and typed[:1] == ["resume"]:
            name = "from"
        word = _NAMES.get(name, f"--{name.replace('_', '-')}")
        return word if value is None else f"{word} {shlex.quote(value.strip('[]').strip(chr(34) + chr(39)))}"

    return _ARGUMENT.sub(option, message)


def _error(error: CycloptsError) -> str:
    verb = " ".join(error.command_chain or ())
    if isinstance(error, UnusedCliTokensError):
        words = shlex.join(error.unused_tokens or ())
        return f"error: {verb}: there is no place for {words}. Everything but the first word is an option, such as --data digits."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"error: {verb} needs {error.argument.name.lstrip('-').upper()}. See: pushforward {verb} --help"
    return f"error: {error}"


app = App(
    name="pushforward",
    help="Train, sample and compare GANs, VAEs, diffusion models and flows behind one interface.",
    help_format="markdown",
    help_epilogue="Exit codes: 0 done, 1 a bug or a lost process, 2 usage, 3 data, 4 checkpoint or disk, 5 diverged, "
    "6 out of memory, 7 a missing extra, 75 stopped after saving, 130 Ctrl-C. What to do then: docs/exit-codes.md.",
    version_flags=["--version"],
    error_formatter=_error,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app["--help"].group = app["--version"].group = ("Other",)
data_app = App(name="data", help="List data sources, or check one before training.", group=INSPECT, sort_key=4)
list_app = App(name="list", help="List recipes, solvers, metrics, features or runs.", group=INSPECT, sort_key=5)
app.command(data_app)
app.command(list_app)


class Lasting:
    """A stream of text; after an error of one kind what is printed goes nowhere, and the work goes on.

    Args:
        stream: The stream that is written to.
        ends: That kind.
    """

    def __init__(self, stream: Any, ends: type[OSError]) -> None:
        self.stream, self.ends = stream, ends

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name) if name in ("write", "flush") else getattr(self.stream, name)

    def _call(self, name: str, *given: str) -> None:
        try:
            getattr(self.stream, name)(*given)
        except self.ends:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def say(line: str = "") -> None:
    """Print an event to stderr."""
    print(line, file=sys.stderr, flush=True)


def show(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result to stdout, as JSON or as text."""
    words = json.dumps(value, indent=1, default=str) if as_json else text(value)
    print(words.encode(errors="backslashreplace").decode())  # names of files may be no text


def first_line(part: Any) -> str:
    """The first line of a docstring."""
    return (part.__doc__ or "").strip().split("\n")[0]


def columns(rows: list[list[str]]) -> str:
    """Rows of text with their columns aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)] if rows else []
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
