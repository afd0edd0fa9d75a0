"""Columns of a table as the numbers that its constraints compare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.category import TRUTH
from pushforward.data.tables.constraints import TEXT, Constraint
from pushforward.data.tables.faults import some
from pushforward.data.tables.number import Number
from pushforward.errors import UsageError, did_you_mean, quoted
from pushforward.table_column import Column

__all__ = [
    "check_constraints",
    "constraint_faults",
    "constraint_notes",
    "constraints_of",
    "holds",
    "iso_date",
    "numbers",
    "refuse_constraints",
    "strangers",
]

UNORDERED = ("category", "boolean")
LEVELLED = ("category", "ordinal")
NEAR = 0.75
"""The least similarity of a level that a message takes for the one that was meant."""
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


def check_constraints(constraints: Sequence[Constraint], fields: Fields) -> None:
    """Refuse constraints of columns that there are not, or that cannot be compared so.

    Args:
        constraints: The constraints.
        fields: The columns of the table by name.

    Raises:
        UsageError: With all that is wrong.
    """
    refuse_constraints([sentence for constraint in constraints for sentence in constraint_faults(constraint, fields)])


def constraint_notes(constraints: Sequence[Constraint], fields: Fields) -> list[str]:
    """A sentence on each constraint that forbids a value which no row has, so that all rows and all samples meet it."""
    notes = []
    for constraint in constraints:
        field = fields[constraint.names[0]]
        if not _forbids_unknown(constraint, field):
            continue
        text = str(constraint.quoted)
        notes.append(
            f"every row and every sample meets the constraint {quoted(constraint.text)}: no row has {quoted(text)} in the column "
            f'"{field.name}" ({some(field.levels)}){did_you_mean(text, field.levels, NEAR).replace(" Did", ". Did")}'
        )
    return notes


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
    numbers, they count themselves. Booleans are compared by what they mean: true is yes.

    Args:
        constraint: The constraint.
        fields: The columns of the table by name.
        values: Of each column that it names, float64, NaN where missing.
    """
    texts = _texts(constraint, fields)
    levels = _shared(list(texts.values()))
    compared = {name: _numbered(fields[name], values[name], texts[name], levels) for name in constraint.names}
    if constraint.quoted is not None:
        (name,) = constraint.names
        place = _read(fields[name], constraint.quoted)
        unknown = _forbids_unknown(constraint, fields[name])
        compared[TEXT] = _unlike(fields[name], levels) if unknown else _numbered(fields[name], place, texts[name], levels)[0]
    return compared


def _forbids_unknown(constraint: Constraint, field: Column) -> bool:
    """Whether a constraint is of the form ``column != text``, of a category or ordinal column that has no such level."""
    text = constraint.quoted
    return text is not None and constraint.unequal and field.kind in LEVELLED and bool(np.isnan(_read(field, text)[0]))


def _unlike(field: Column, levels: Sequence[str]) -> Any:
    """A number that no level of a column has."""
    places = np.arange(float(len(field.levels)))
    return np.float64(len(levels) if levels else 1 + np.max(np.abs(field.numbers(places)), initial=0.0))


def iso_date(text: str, field: Column) -> float:
    """The seconds since 1970 of a date as ISO 8601 writes it, in a column of dates; NaN for another text.

    A date with an offset from UTC is one where the column's dates are in UTC, as their Z says. Elsewhere it is NaN, since the
    zone of the column's dates is unknown.
    """
    moment = _moment(text)
    if moment is None:
        return math.nan
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC).timestamp()
    return moment.timestamp() if isinstance(field, Number) and field.form.pattern.endswith("Z") else math.nan


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _numbered(field: Column, values: NDArray[np.float64], texts: Sequence[str], levels: Sequence[str]) -> NDArray[np.float64]:
    if not levels:
        return field.numbers(values)
    places = np.array([*(float(levels.index(text)) for text in texts), math.nan])
    return places[np.where(np.isnan(values), len(texts), values).astype(np.int64)]


def _read(field: Column, text: str) -> NDArray[np.float64]:
    """The value of a text in a column, (1,); dates may be written as ISO 8601 has them."""
    value = field.read([text])
    return np.array([iso_date(text, field)]) if np.isnan(value[0]) and field.kind == "date" else value


def _texts(constraint: Constraint, fields: Fields) -> dict[str, tuple[str, ...]]:
    """The levels of each column that a constraint compares; where all are booleans, what these mean."""
    texts = {name: fields[name].levels for name in constraint.names}
    truths = {name: tuple(TRUTH.get(text.lower(), "") for text in levels) for name, levels in texts.items()}
    booleans = all(fields[name].kind == "boolean" and all(truths[name]) for name in texts)
    return truths if booleans else texts


def _shared(named: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The texts of several columns, in one order; empty for numbers, dates and texts that are numbers."""
    if not all(named) or all(_is_number(text) for levels in named for text in levels):
        return ()
    longest = max(named, key=len)
    return (*longest, *dict.fromkeys(text for levels in named for text in levels if text not in longest))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def constraint_faults(constraint: Constraint, fields: Fields) -> list[str]:
    """What is wrong with a constraint of these columns, in sentences."""
    if unknown := strangers(constraint, fields):
        return unknown
    kinds = {name: fields[name].kind for name in constraint.names}
    unordered = [name for name, kind in kinds.items() if kind in UNORDERED]
    if unordered and not (constraint.plain and all(fields[name].levels for name in kinds)):
        level = next(iter(fields[unordered[0]].levels), "a")
        return [
            f'The constraint {quoted(constraint.text)} compares "{unordered[0]}", which is a {kinds[unordered[0]]}: expected '
            f'numbers or dates; categories are compared by == and != with a text, such as {_name(unordered[0])} == "{level}", or '
            'with another column of categories. For an order of levels, a schema gives the column "kind": "ordinal" and its '
            '"names".'
        ]
    if constraint.quoted is not None:
        return _unread(constraint, fields[next(iter(kinds))])
    return _disjoint(constraint, fields) if unordered else _disorder(constraint, fields)


def strangers(constraint: Constraint, fields: Fields) -> list[str]:
    """A sentence for each name in a constraint that is no column."""
    levels = {level for name in constraint.names if name in fields for level in fields[name].levels}
    return [
        f'The constraint {quoted(constraint.text)} names "{name}", which is no column.'
        f"{f' A text stands in quotes: {quoted(name)}.' if name in levels else _hint(name, fields)} Columns: {some(fields, 30)}."
        for name in constraint.names
        if name not in fields
    ]


def _unread(constraint: Constraint, field: Column) -> list[str]:
    """The sentence on a text that a column cannot hold."""
    text = str(constraint.quoted)
    if not np.isnan(_read(field, text)[0]) or _forbids_unknown(constraint, field):
        return []
    close = did_you_mean(text, field.levels, NEAR)
    moment = _moment(text) if field.kind == "date" else None
    expected = f"{some(field.levels)}" if field.levels else "such as 2021-03-04" if field.kind == "date" else "a number"
    zoned = moment is not None and moment.tzinfo is not None
    why = "has an offset from UTC, as the column's dates do not" if zoned else f"is no value of this {field.kind}"
    who = f'The constraint {quoted(constraint.text)} compares "{field.name}"'
    return [f"{who} with {quoted(text)}, which {why}.{close} Expected {expected}."]


def _disorder(constraint: Constraint, fields: Fields) -> list[str]:
    """The sentence on ordered texts of several columns that have no order in common."""
    shared = _shared(list(_texts(constraint, fields).values()))
    own = [fields[name].levels for name in constraint.names if shared]
    longest = max(map(len, own), default=0)
    if all(sorted(levels, key=shared.index) == list(levels) for levels in own) and len(shared) == longest:
        return []
    return [
        f"The constraint {quoted(constraint.text)} compares ordered texts of {some(constraint.names)}, which are no levels of "
        'one order. Expected the same "names" in the schema, in the same order.'
    ]


def _disjoint(constraint: Constraint, fields: Fields) -> list[str]:
    """A sentence for two columns of categories that no row has the same value in, so that == never holds and != always does."""
    every = numbers(constraint, fields, {name: np.arange(float(len(fields[name].levels))) for name in constraint.names})
    return [
        f'The constraint {quoted(constraint.text)} compares "{left}" ({some(fields[left].levels)}) with "{right}" '
        f"({some(fields[right].levels)}), which have no value in common. Write their values alike, or leave the constraint out."
        for left, right in itertools.pairwise(constraint.names)
        if not np.isin(every[left], every[right]).any()
    ]


def _hint(name: str, known: Fields) -> str:
    longer = [other for other in known if other.startswith(name) and not other.isidentifier()]
    return f" Put backquotes around such names: `{longer[0]}`." if longer else did_you_mean(name, known)


def _name(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def refuse_constraints(sentences: Sequence[str]) -> None:
    """Refuse constraints where there are sentences on what is wrong with them.

    Raises:
        UsageError: With all sentences.
    """
    if len(sentences) == 1:
        raise UsageError(sentences[0])
    if sentences:
        listed = "".join(f"\n  {number}. {sentence}" for number, sentence in enumerate(sentences, 1))
        raise UsageError(f"Constraints cannot be used, for {len(sentences)} reasons:{listed}")
