"""What `data check` says of a table: a line for each column."""

from __future__ import annotations

from typing import Any

from pushforward.cli.advice import as_options
from pushforward.cli.terminal import columns
from pushforward.data.tables.parse_errors import some
from pushforward.numbers import clipped, percent, shortened

__all__ = ["of_table"]

_SHOWN, _WIDE, _NAME, _TEXT = 4, 44, 28, 16


def of_table(table: dict[str, Any]) -> str:
    """A table in words: how it was read, then each column with kind, content, missing share, examples, and why.

    The content is that of the training rows, as the model is given it; the missing share is that of all rows.

    Args:
        table: The entry "table" of `pushforward.data.check`.
    """
    missing = ", ".join(f'"{text}"' for text in table["missing_texts"])
    facts = [["separator", table["separator"]], ["missing values", missing], ["target", table["target"]]]
    facts += [["constraint", text] for text in table["constraints"]] + [["note", as_options(text)] for text in table["notes"]]
    head = ["column", "kind", "training rows: values (share) or range", "all rows: missing", "examples", "why"]
    names = shortened([field["name"] for field in table["fields"]], _NAME)
    rows = [head, *([name, *_row(field)] for name, field in zip(names, table["fields"], strict=True))]
    return f"{columns([fact for fact in facts if fact[1]])}\n\n{columns(rows)}"


def _row(field: dict[str, Any]) -> list[str]:
    missing = percent(field["missing"]) if field["missing"] else ""
    return [field["kind"], _content(field), missing, clipped(", ".join(field["examples"]), _WIDE), field["why"]]


def _content(field: dict[str, Any]) -> str:
    if "shares" in field:
        first = list(field["shares"])[:_SHOWN]
        texts = [f"{name} ({percent(field['shares'][text])})" for name, text in zip(shortened(first, _TEXT), first, strict=True)]
        more = f" and {field['categories'] - _SHOWN} more" if field["categories"] > _SHOWN else ""
        return clipped(", ".join(texts) + more, _WIDE)
    if not field.get("range"):
        return ""
    atoms = some((f"{name} ({percent(share)})" for name, share in field["atoms"].items()), _SHOWN)
    return " to ".join(field["range"]) + (f"; often {atoms}" if atoms else "")
