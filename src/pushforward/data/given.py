"""Columns of a table that become conditions: inputs of a model instead of outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pushforward.conditions.columns import Columns
from pushforward.conditions.kind import ConditionKind, registry
from pushforward.conditions.label import Label
from pushforward.conditions.numbers import Numbers
from pushforward.data.dataset import Dataset, Split
from pushforward.data.spaces import measure
from pushforward.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["given_columns"]


def check_names(columns: object) -> None:
    """Refuse what are no names of columns.

    Raises:
        UsageError: For anything but a sequence of texts.
    """
    if not isinstance(columns, Sequence) or not all(isinstance(column, str) for column in columns):
        raise UsageError(f'`given` takes names of columns, such as ["age", "income"]; got {columns!r}.')


def given_columns(data: Dataset, columns: Sequence[str]) -> Dataset:
    """The data set with some of its columns as conditions, which models receive and do not make.

    Columns that are named alone are together one condition, ``given``, of the kind `Numbers`. A column that names a kind, such as
    ``angle:Cyclic``, is a condition of its own, called as the column. The held-out examples stay the same.

    Args:
        data: Vectors whose columns have names.
        columns: Names of columns, each alone or as NAME:KIND.

    Raises:
        UsageError: For data without named columns, a column or kind that does not exist, or where no column would be left.
    """
    check_names(columns)
    present, chosen = data.space.columns, _chosen(columns)
    brought = [column for kind in data.space.conditions.values() if isinstance(kind, Columns) for column in kind.columns]
    if not present and brought:
        raise UsageError(f"{data.name} brings its attributes itself ({', '.join(brought)}): leave `given` out.")
    if not present:
        raise UsageError(f"`given` names columns of a table, and {data.name} has none that are named.")
    wanted = [column for _, names in chosen.values() for column in names]
    for column in wanted:
        if column not in present:
            which = "Columns beside the label" if "label" in data.space.conditions else "Columns"
            raise UsageError(
                f'{data.name} has no column "{column}".{did_you_mean(column, present)} {which}: {", ".join(present)}.'
            )
    remaining = [i for i, column in enumerate(present) if column not in wanted]
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"`given` names a column twice: {', '.join(columns)}.")
    if not remaining:
        raise UsageError(f"`given` names every column of {data.name}, so that nothing is left to make.")
    for name in chosen:
        if name in data.space.conditions:
            raise UsageError(f'{data.name} has a condition "{name}" already: rename the column that is to be given.')
    places = {name: [present.index(column) for column in names] for name, (_, names) in chosen.items()}
    train, held_out = (_moved(split, remaining, places) for split in (data.train, data.held_out))
    parts = {
        name: (type(kind), kind.entries) for name, kind in data.space.conditions.items() if name in data.train.given
    } | chosen
    examples = Columns.evenly(np.concatenate([train.given[name] for name in parts], axis=1), train.labels)
    kinds = {name: kind.measure(train.given[name], names, examples) for name, (kind, names) in parts.items()}
    integer = [remaining.index(i) for i in data.space.integer if i in remaining]
    names = [present[i] for i in remaining]
    space = measure(train.x, {**data.space.conditions, **kinds}, columns=names, integer=integer)
    return dataclasses.replace(data, space=space, train=train, held_out=held_out)


def _chosen(columns: Sequence[str]) -> dict[str, tuple[type[ConditionKind], list[str]]]:
    """The kind and the columns of each condition by its name."""
    plain = [column for column in columns if ":" not in column]
    chosen: dict[str, tuple[type[ConditionKind], list[str]]] = {"given": (Numbers, plain)} if plain else {}
    for column, _, kind in (column.partition(":") for column in columns if ":" in column):
        known = {name: part for name, part in registry().items() if part is not Label and not part.learned}
        if kind not in known:
            hint = "A label is a column too: `target`." if kind == "Label" else did_you_mean(kind, known).strip()
            raise UsageError(
                f'There is no kind of condition "{kind}" that is made of columns; those that are: {", ".join(known)}. '
                f"{hint or 'Your own is a class in a Python file: `plugins=[FILE]`.'}"
            )
        if column == "given" and plain and column not in plain:
            raise UsageError(f'"given" is what {", ".join(plain)} are called together: rename the column.')
        if column in chosen:
            raise UsageError(f"`given` names a column twice: {', '.join(columns)}.")
        chosen[column] = known[kind], [column]
    return chosen


def _moved(split: Split, remaining: list[int], places: Mapping[str, list[int]]) -> Split:
    given = {name: split.x[:, columns].copy() for name, columns in places.items()}
    return Split(split.x[:, remaining].copy(), split.labels, split.hashes, {**split.given, **given})
