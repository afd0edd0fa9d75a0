"""What every verb shares: the application, option types, and how results and events are printed."""

from __future__ import annotations

import difflib
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from pushforward.cli.groups import INSPECT

__all__ = [
    "Lasting",
    "app",
    "columns",
    "command",
    "data_app",
    "first_line",
    "list_app",
    "say",
    "show",
    "typed",
]

typed: list[str] = []
"""The words of the command line that is running."""
_NEEDED = {
    ("train", "--recipe"): "a recipe, such as: pushforward train flow --data digits (see: pushforward list recipes)",
    ("resume", "--run"): "a run's folder, such as: pushforward resume runs/digits-flow (see: pushforward list runs)",
    ("distil", "--run"): "a run's folder, such as: pushforward distil runs/digits-flow --budget 60s (see: pushforward list runs)",
    ("sample", "--run"): "a run's folder, such as: pushforward sample runs/digits-flow (see: pushforward list runs)",
    ("evaluate", "--run"): "a run's folder, such as: pushforward evaluate runs/digits-flow (see: pushforward list runs)",
    ("interpolate", "--run"): "a run's folder, such as: pushforward interpolate runs/digits-flow --seeds 0,1",
    ("invert", "--run"): "a run's folder and images, such as: pushforward invert runs/digits-gan three.png",
    ("invert", "--images"): "images after the run, such as: pushforward invert runs/digits-gan three.png",
    ("truncation", "--run"): "a run's folder, such as: pushforward truncation runs/digits-gan",
    ("nearest", "--run"): "a run's folder, such as: pushforward nearest runs/digits-gan",
    ("vary", "--run"): "a run's folder and an image, such as: pushforward vary runs/mnist-flow seven.png",
    ("vary", "--image"): "an image after the run, such as: pushforward vary runs/mnist-flow seven.png",
    ("inpaint", "--run"): "a run's folder and an image, such as: pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28",
    ("inpaint", "--image"): "an image after the run, such as: pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28",
    ("upscale", "--run"): "a run's folder and a small image, such as: pushforward upscale runs/mnist-flow small.png",
    ("upscale", "--image"): "a small image after the run, such as: pushforward upscale runs/mnist-flow small.png",
    ("impute", "--run"): "a run's folder and a table, such as: pushforward impute runs/people-flow people.csv --out full.csv",
    ("impute", "--table"): "a table after the run, such as: pushforward impute runs/people-flow people.csv --out full.csv",
    ("impute", "--out"): "a file to write, such as: pushforward impute runs/people-flow people.csv --out full.csv",
    ("data check", "--data"): "a data set, such as: pushforward data check ./photos (see: pushforward data list)",
    ("data pack", "--data"): "images and a new folder, such as: pushforward data pack ./photos --out packed",
    ("data pack", "--out"): "a new folder for the tars, such as: pushforward data pack ./photos --out packed",
}

_NO_IMAGES = (
    "It is for models of images; of a table, pushforward sample RUN --given COLUMN=VALUE draws rows with known values, and "
    "pushforward impute fills in missing cells."
)
RENAMED = {("tune", "--rows"): "--examples"}
"""Options that are called otherwise now, by verb and old name."""


def command() -> str:
    """The command line that is running, quoted so that a shell reads it as it was typed."""
    return shlex.join(["pushforward", *typed])


def _error(error: CycloptsError) -> str:
    verb = " ".join(error.command_chain or ())
    if isinstance(error, UnusedCliTokensError):
        words = shlex.join(error.unused_tokens or ())
        return f"error: {verb}: there is no place for {words}. Everything but the first word is an option, such as --data digits."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name, wrong = error.argument.name, _mistyped(verb)
        if (verb, name) == ("distil", "--run") and any(word.split("=")[0] == "--teacher" for word in typed):
            return "error: distil takes its teacher as the argument: pushforward distil RUN. --teacher belongs to train."
        if wrong:
            return f"error: {wrong}"
        if verb == "distil" and "--dry-run" in typed:
            return "error: distil has no --dry-run: pushforward train distil --teacher RUN --dry-run says what training needs."
        if name in ("--image", "--images"):
            return f"error: {verb} needs {_NEEDED[verb, name]}. {_NO_IMAGES}"
        if (verb, name) in _NEEDED:
            return f"error: {verb} needs {_NEEDED[verb, name]}."
    if isinstance(error, UnknownOptionError):
        option = (error.token.keyword or error.token.value).split("=")[0]
        if (verb, option) in RENAMED:
            return f"error: {_renamed(verb, option)}"
    if isinstance(error, UnknownCommandError):
        return f"error: {error} All of them: {' '.join(['pushforward', *verb.split(), '--help'])}"
    return f"error: {error}"


def _mistyped(verb: str) -> str:
    """A sentence about the first option that no verb of this name has but that is close to one it has."""
    part = functools.reduce(lambda outer, name: outer[name], verb.split(), app)
    known = [name for argument in part.assemble_argument_collection() for name in argument.names]
    for word in typed:
        name = word.split("=")[0]
        if (verb, name) in RENAMED:
            return _renamed(verb, name)
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if name.startswith("--") and name not in known and close:
            return f'Unknown option {name}. Did you mean "{close[0]}"?'
    return ""


def _renamed(verb: str, option: str) -> str:
    return f"Unknown option {option}: {verb} calls it {RENAMED[verb, option]} now."


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
