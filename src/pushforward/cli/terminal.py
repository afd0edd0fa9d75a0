"""What every verb shares: the application, option types, and how results and events are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

__all__ = ["Condition", "Flag", "Plugins", "Precision", "app", "columns", "data_app", "first_line", "list_app", "say", "show"]

Condition = Literal["label", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
Plugins = Annotated[tuple[str, ...], Parameter(name="--plugin", negative_iterable=(), consume_multiple=False)]
Flag = Annotated[bool, Parameter(negative=())]


def _error(error: CycloptsError) -> str:
    return f"error: {error}"


app = App(
    name="pushforward",
    help="Train, sample and compare GANs, VAEs, diffusion models and flows behind one interface.",
    help_format="markdown",
    version_flags=["--version"],
    error_formatter=_error,
    result_action="return_value",
)
data_app = App(name="data", help="List data sources, or check one before training.")
list_app = App(name="list", help="List recipes, solvers, metrics or runs.")
app.command(data_app)
app.command(list_app)


def say(line: str = "") -> None:
    """Print an event to stderr."""
    print(line, file=sys.stderr, flush=True)


def show(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result to stdout, as JSON or as text."""
    print(json.dumps(value, indent=1, default=str) if as_json else text(value))


def first_line(part: Any) -> str:
    """The first line of a docstring."""
    return (part.__doc__ or "").strip().split("\n")[0]


def columns(rows: list[list[str]]) -> str:
    """Rows of text with their columns aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)] if rows else []
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
