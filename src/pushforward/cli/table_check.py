"""What `data check` says of a table: a line for each column."""

from __future__ import annotations

from typing import Any

from pushforward.cli.terminal import columns
from pushforward.numbers import shortened

__all__ = ["of_table"]

_SHOWN, _WIDE, _NAME, _TEXT = 4, 44, 28, 16


def of_table(table: dict[str, Any]) -> str:
    """A table in words: how it was read, then each column with kind, content, missing share, examples, and why.

    Args:
        table: The entry "table" of `pushforward.data.check`.
    """
    missing = ", ".join(f'"{text}"' for text in table["missing_texts"])
    facts = [["separator", table["separator"]], ["missing values", missing], ["target", table["target"]]]
    facts += [["constraint", text] for text in table["constraints"]] + [["note", text] for text in table["notes"]]
    head = ["column", "kind", "holds", "missing", "examples", "why"]
    names = shortened([field["name"] for field in table["fields"]], _NAME)
    rows = [head, *([name, *_row(field)] for name, field in zip(names, table["fields"], strict=True))]
    return f"{columns([fact for fact in facts if fact[1]])}\n\n{columns(rows)}"


def _row(field: dict[str, Any]) -> list[str]:
    missing = f"{field['missing']:.1%}" if field["missing"] else ""
    return [field["kind"], _content(field), missing, _cut(", ".join(field["examples"])), field["why"]]


def _content(field: dict[str, Any]) -> str:
    if "shares" in field:
        first = list(field["shares"])[:_SHOWN]
        some = [f"{name} {field['shares'][text]:.0%}" for name, text in zip(shortened(first, _TEXT), first, strict=True)]
        return _cut(", ".join(some) + (f" and {field['categories'] - _SHOWN} more" if field["categories"] > _SHOWN else ""))
    if not field.get("range"):
        return ""
    atoms = [f"{name} {share:.0%}" for name, share in list(field["atoms"].items())[:_SHOWN]]
    more = f" and {len(field['atoms']) - _SHOWN} more" if len(field["atoms"]) > _SHOWN else ""
    return " to ".join(field["range"]) + (f"; atoms {', '.join(atoms)}{more}" if atoms else "")


def _cut(text: str) -> str:
    text = text.replace("\r", "").replace("\n", "\\n")  # cells may hold line ends
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"
