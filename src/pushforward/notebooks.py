"""Notebooks: whether the code runs in one, and tables of facts as HTML."""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from typing import Any


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code; a terminal's IPython is none."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and hasattr(running, "kernel")


def display(value: Any, *, raw: bool = False) -> Any:
    """Show a value below the running cell; returns a handle whose ``update`` replaces it.

    Args:
        value: Anything that a notebook can show.
        raw: Whether the value is a dict from MIME types to texts.
    """
    from IPython.display import display as show

    return show(value, raw=raw, display_id=True)


def facts(title: str, rows: Mapping[str, Any]) -> str:
    """A small HTML table: a title and one row for each fact."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption style='text-align:left'><b>{html.escape(title)}</b></caption>{cells}</table>"
