"""What `data check` says of a table: a line for each column."""

from __future__ import annotations

from typing import Any

from pushforward.cli.terminal import columns

__all__ = ["of_table"]

_SHOWN, _WIDE = 4, 44


def of_table(table: dict[str, Any]) -> str:
    """A table in words: how it was read, then each column with kind, content, missing share, examples, and why.

    Args:
        table: The entry "table" of `pushforward.data.check`.
    """
    missing = ", ".join(f'"{text}"' for text in table["missing_texts"])
    facts = [["separator", table["separator"]], ["missing values", missing], ["target", table["target"]]]
    facts += [["constraint", text] for text in table["constraints"]] + [["note", text] for text in table["notes"]]
    head = ["column", "kind", "holds", "missing", "examples", "why"]
    rows = [head, *(_row(field) for field in table["fields"])]
    return f"{columns([fact for fact in facts if fact[1]])}\n\n{columns(rows)}"


def _row(field: dict[str, Any]) -> list[str]:
    missing = f"{field['missing']:.1%}" if field["missing"] else ""
    return [field["name"], field["kind"], _content(field), missing, _cut(", ".join(field["examples"])), field["why"]]


def _content(field: dict[str, Any]) -> str:
    if "shares" in field:
        some = [f"{name} {share:.0%}" for name, share in list(field["shares"].items())[:_SHOWN]]
        return _cut(", ".join(some) + (f" and {field['categories'] - _SHOWN} more" if field["categories"] > _SHOWN else ""))
    if not field.get("range"):
        return ""
    atoms = [f"{name} {share:.0%}" for name, share in list(field["atoms"].items())[:_SHOWN]]
    more = f" and {len(field['atoms']) - _SHOWN} more" if len(field["atoms"]) > _SHOWN else ""
    return " to ".join(field["range"]) + (f"; atoms {', '.join(atoms)}{more}" if atoms else "")


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"
