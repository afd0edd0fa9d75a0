"""Columns of a table as the numbers that its constraints compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.column import Column
from pushforward.data.tables.constraints import TEXT, Constraint
from pushforward.data.tables.faults import some
from pushforward.errors import UsageError, did_you_mean

__all__ = ["check_constraints", "constraints_of", "holds", "iso_date", "numbers"]

UNORDERED = ("category", "boolean")
Fields = Mapping[str, Column]
Values = Mapping[str, NDArray[np.float64]]


def constraints_of(texts: Sequence[str]) -> tuple[tuple[Constraint, ...], tuple[str, ...]]:
    """Constraints of their texts, and a sentence on each text that is none."""
    known, refused = [], []
    for text in texts:
        try:
            known.append(Constraint(text))
        except UsageError as error:
            refused.append(str(error))
    return tuple(known), tuple(refused)


def check_constraints(constraints: Sequence[Constraint], fields: Fields, refused: Sequence[str] = ()) -> None:
    """Refuse constraints of columns that there are not, or that cannot be compared so.

    Args:
        constraints: The constraints.
        fields: The columns of the table by name.
        refused: Sentences on texts that are no constraints.

    Raises:
        UsageError: With all that is wrong.
    """
    _refuse([*refused, *(sentence for constraint in constraints for sentence in _faults(constraint, fields))])


def holds(constraint: Constraint, fields: Fields, values: Values) -> NDArray[np.bool_]:
    """Whether each row meets a constraint, (n,).

    Args:
        constraint: The constraint.
        fields: The columns of the table by name.
        values: Their values, (n,), NaN where missing.
    """
    return constraint.holds(numbers(constraint, fields, values))


def numbers(constraint: Constraint, fields: Fields, values: Values) -> dict[str, NDArray[np.float64]]:
    """The numbers that a constraint compares, by column, and under `TEXT` that of its text.

    Categories and levels are their places in one list of the texts of all columns that are compared; where all these texts are
    numbers, they count themselves.

    Args:
        constraint: The constraint.
        fields: The columns of the table by name.
        values: Of each column that it names, float64, NaN where missing.
    """
    levels = _shared(constraint, fields)
    compared = {name: _numbered(fields[name], values[name], levels) for name in constraint.names}
    if constraint.quoted is not None:
        (name,) = constraint.names
        compared[TEXT] = _numbered(fields[name], _read(fields[name], constraint.quoted), levels)[0]
    return compared


def iso_date(text: str) -> float:
    """The seconds since 1970 of a date as ISO 8601 writes it; NaN for another text."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return math.nan


def _numbered(field: Column, values: NDArray[np.float64], levels: Sequence[str]) -> NDArray[np.float64]:
    if not levels:
        return field.numbers(values)
    places = np.array([*(float(levels.index(text)) for text in field.levels), math.nan])
    return places[np.where(np.isnan(values), len(field.levels), values).astype(np.int64)]


def _read(field: Column, text: str) -> NDArray[np.float64]:
    """The value of a text in a column, (1,); dates may be written as ISO 8601 has them."""
    value = field.read([text])
    return np.array([iso_date(text)]) if np.isnan(value[0]) and field.kind == "date" else value


def _shared(constraint: Constraint, fields: Fields) -> tuple[str, ...]:
    """The texts of all columns that a constraint compares, in one order; empty for numbers, dates and texts that are numbers."""
    named = [fields[name].levels for name in constraint.names]
    if not all(named) or all(_is_number(text) for levels in named for text in levels):
        return ()
    longest = max(named, key=len)
    return (*longest, *dict.fromkeys(text for levels in named for text in levels if text not in longest))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _faults(constraint: Constraint, fields: Fields) -> list[str]:
    """What is wrong with a constraint, in sentences."""
    unknown = [name for name in constraint.names if name not in fields]
    if unknown:
        return [
            f'The constraint "{constraint.text}" names "{name}", which is no column.{_hint(name, fields)} '
            f"Columns: {some(fields, 30)}."
            for name in unknown
        ]
    kinds = {name: fields[name].kind for name in constraint.names}
    unordered = [name for name, kind in kinds.items() if kind in UNORDERED]
    if unordered and not (constraint.plain and all(fields[name].levels for name in kinds)):
        level = next(iter(fields[unordered[0]].levels), "a")
        return [
            f'The constraint "{constraint.text}" compares "{unordered[0]}", which is a {kinds[unordered[0]]}: expected numbers '
            f'or dates; categories are compared by == and != with a text, such as {_name(unordered[0])} == "{level}", or with '
            "another column of categories."
        ]
    if constraint.quoted is not None:
        return _unread(constraint, fields[next(iter(kinds))])
    return [] if unordered else _disorder(constraint, fields)


def _unread(constraint: Constraint, field: Column) -> list[str]:
    """The sentence on a text that a column cannot hold."""
    text = str(constraint.quoted)
    if not np.isnan(_read(field, text)[0]):
        return []
    close = did_you_mean(text, field.levels)
    expected = f"{some(field.levels)}" if field.levels else "such as 2021-03-04" if field.kind == "date" else "a number"
    return [
        f'The constraint "{constraint.text}" compares "{field.name}" with "{text}", which is no value of this {field.kind}.'
        f"{close} Expected {expected}."
    ]


def _disorder(constraint: Constraint, fields: Fields) -> list[str]:
    """The sentence on ordered texts of several columns that have no order in common."""
    shared = _shared(constraint, fields)
    own = [fields[name].levels for name in constraint.names if shared]
    longest = max(map(len, own), default=0)
    if all(sorted(levels, key=shared.index) == list(levels) for levels in own) and len(shared) == longest:
        return []
    return [
        f'The constraint "{constraint.text}" compares ordered texts of {some(constraint.names)}, which are no levels of one '
        'order. Expected the same "names" in the schema, in the same order.'
    ]


def _hint(name: str, known: Fields) -> str:
    longer = [other for other in known if other.startswith(name) and not other.isidentifier()]
    return f" Put backquotes around such names: `{longer[0]}`." if longer else did_you_mean(name, known)


def _name(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def _refuse(sentences: Sequence[str]) -> None:
    if len(sentences) == 1:
        raise UsageError(sentences[0])
    if sentences:
        listed = "".join(f"\n  {number}. {sentence}" for number, sentence in enumerate(sentences, 1))
        raise UsageError(f"Constraints cannot be used, for {len(sentences)} reasons:{listed}")
