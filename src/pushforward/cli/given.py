"""Conditions as the command line gives them: a label, and columns with their values."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from pushforward.cli.terminal import say
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pushforward.training import Run

__all__ = ["condition_of"]

_QUOTED = re.compile(r'=\s*"(?:[^"]|"")*"\s*(?=,|$)')


def condition_of(run: Run, label: str | None, given: str | None = None) -> dict[str, Any] | None:
    """A label by number or name, and columns by name such as age=40,income=2, as a condition.

    Raises:
        UsageError: For classes, columns and values that the model does not know, several classes, or a value that is no number.
    """
    if label is not None and "," in label and run.space.classes and label not in run.space.classes:
        raise UsageError(f'--label takes one class at a time, got "{label}": run the command once for each class.')
    requested: dict[str, Any] = {} if label is None else {"label": run.space.label_index(label)}
    for name, value in _words(given, run):
        if name in requested:
            raise UsageError(f'--given names "{name}" twice: give one value of each column; got "{given}".')
        requested[name] = value
    if given is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is noted below, once nothing is refused
            run.transport.wanted(1, requested, 0)
    for note in _beyond_data(run, requested):
        say(note)
    return requested or None


def _words(given: str | None, run: Run) -> list[tuple[str, Any]]:
    """Columns and values of age=40,sex=Female: numbers, or of columns of a table texts, which may hold commas.

    Raises:
        UsageError: For a column without a value, or a value that is no number.
    """
    fields = {field.name: field for kind in run.space.conditions.values() for field in getattr(kind, "fields", ())}
    words: list[str] = []
    for word in [] if given is None else _parts(given):
        if fields and words and "=" not in word and word.strip() not in fields:
            words[-1] += f",{word}"
        else:
            words.append(word)
    if bare := [word.strip() for word in words if fields and "=" not in word]:
        name = bare[0] if bare[0] in fields else next(iter(fields))
        raise UsageError(f'--given: "{bare[0]}" has no value: write {name}=VALUE; several are separated by commas.')
    pairs = [(word, *(part.strip() for part in word.split("=", 1)), "")[:3] for word in words]
    if not fields:
        label = run.space.label
        refused = {*run.space.columns, "" if label is None else label.target} - {""}  # by the library, which says what to do
        return [(name, value if name in refused else _number(word, value)) for word, name, value in pairs]
    layout = getattr(run.space, "layout", None)
    absent = dict(zip(fields, layout.missing, strict=False)) if layout else {}
    return [(name, _text(value, fields.get(name), absent.get(name, ""))) for _, name, value in pairs]


def _parts(given: str) -> list[str]:
    """What stands between commas; those of a value in quotes separate nothing."""
    masked = _QUOTED.sub(lambda match: match[0].replace(",", "\0"), given)
    return [part.replace("\0", ",") for part in masked.split(",")]


def _text(value: str, field: Any, absent: str) -> str:
    """The text of a column's value: without quotes, and empty for the column's text of missing values."""
    names = getattr(field, "names", ())
    if value not in names and len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('""', '"')
    return "" if value == absent and value not in names and getattr(field, "missing", False) else value


def _number(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        hint = " A label is given by --label." if word.startswith("label=") else ""
        raise UsageError(f'--given takes columns and numbers, such as age=40,income=2; got "{word}".{hint}') from None


def _beyond_data(run: Run, requested: Mapping[str, Any]) -> list[str]:
    """Notes on numbers that lie outside the range of the training examples that a condition holds."""
    from pushforward.conditions import Known, Numbers

    notes = []
    kinds = [kind for kind in run.space.conditions.values() if isinstance(kind, Numbers) and kind.examples]
    for kind in kinds:
        for name, column in zip(kind.columns, zip(*kind.examples, strict=True), strict=True):
            value, low, high = requested.get(name, column[0]), min(column), max(column)
            if value < low or value > high:
                learned = "the model has not learned what belongs to it"
                notes.append(f"note: {name}={value:g} lies outside the {low:g} to {high:g} of the training data; {learned}.")
    for known in run.space.conditions.values():
        for sentence in known.beyond(requested) if isinstance(known, Known) else []:
            notes.append(f"note: {sentence}")
            warnings.filterwarnings("ignore", message=re.escape(sentence))  # it is said once
    return notes
