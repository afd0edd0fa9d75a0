"""A data set from examples: hold some out, drop others, measure the space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.columns import Columns
from pushforward.conditions.kind import ConditionKind, registry
from pushforward.conditions.label import Label
from pushforward.conditions.numbers import Numbers
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.example_hashes import ATOM, among, held_out_indices, repeated
from pushforward.data.core.keys import permutation
from pushforward.data.images.streamed import content_hashes
from pushforward.data.spaces import TableSpace
from pushforward.data.spaces.registry import measure
from pushforward.errors import DataError, UsageError, did_you_mean

_LIMIT_KEY = 0x5EED_0F_5711


@dataclass(frozen=True)
class Schema:
    """The description of a source's examples, beside their numbers.

    Args:
        classes: class names; labels are dropped when empty.
        columns: column names of a table.
        integer: numbers of its whole-number columns.
        target: name of the column that became the label.
        fit: a function that makes the space of a table from the values of its training rows, float64 (n, columns); None for
            examples that are stored as they are.
        kinds: functions that make the kind of each further condition (``given`` of the examples) from its training values, and as
            ``chosen`` of those to draw from; see `ConditionKind.measure`.
        apart: whether equal rows of a table are draws of their own, whose hashes are numbered; None for other data.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()
    target: str = ""
    fit: Callable[[NDArray[np.float64]], TableSpace] | None = None
    kinds: Mapping[str, Callable[..., ConditionKind]] = field(default_factory=dict)
    apart: bool | None = None


def build(
    name: str,
    train: Split,
    held_out: Split | int | None = None,
    *,
    schema: Schema = Schema(),
    limit: int | None = None,
    seed: int = 0,
    **extra: Any,
) -> Dataset:
    """Make a dataset: hold examples out where the source has no split of its own, shorten, measure the space.

    Training examples that equal a held-out example are left out, but atoms (more than `ATOM` copies) and draws of their own.

    Args:
        name: the dataset's name.
        train: training examples, or all examples where the source has no held-out examples of its own.
        held_out: the source's own held-out examples; or exactly how many of its examples to hold out; or None for about a tenth,
            see `held_out_indices`.
        schema: classes, columns and conditions of the examples.
        limit: at most so many training examples, chosen by ``seed``.
        seed: chooses the examples that ``limit`` keeps; the held-out examples never depend on it.
        extra: truth, skipped, converted, ignored, header and files of `Dataset`.

    Returns:
        The dataset.

    Raises:
        DataError: fewer than two examples.
        UsageError: a limit below 1.
    """
    scaled, extra["apart"] = train.source_hashes is not None, schema.apart
    if not isinstance(held_out, Split):
        held = held_out_indices(train.hashes, train.labels, held_out)
        keep = np.ones(len(train), dtype=bool)
        keep[held] = False
        train, held_out = train.take(keep), train.take(held)
    if not len(train) or not len(held_out):
        raise DataError(f"{len(train)} training and {len(held_out)} held-out examples: both splits need at least one.")
    train, removed = (train, 0) if schema.apart else _without_copies(train, held_out, scaled)
    if limit is not None:
        if limit < 1:
            raise UsageError(f"`limit={limit}` leaves nothing to train on: give at least 1.")
        if limit < len(train):
            train = train.take(np.sort(permutation(len(train), _LIMIT_KEY, seed)[:limit]))
    if schema.fit is not None:
        return _table(name, train, held_out, schema.fit(train.x), removed=removed, **extra)
    if not schema.classes:
        train, held_out = train.without_labels(), held_out.without_labels()
    values = [train.given[name] for name in schema.kinds]
    chosen = Columns.evenly(np.concatenate(values, axis=1), train.labels) if values else None
    conditions: dict[str, ConditionKind] = {name: kind(train.given[name], chosen=chosen) for name, kind in schema.kinds.items()}
    if train.labels is not None:
        conditions = {"label": Label.of(train.labels, schema.classes, schema.target), **conditions}
    space = measure(train.x, conditions, columns=schema.columns, integer=schema.integer)
    return Dataset(name, space, train, held_out, removed=removed, **extra)


def _table(name: str, train: Split, held_out: Split, space: TableSpace, **extra: Any) -> Dataset:
    """The rows of a table as coordinates, which keep their values and the hashes of these."""
    here, there = (Split(space.encoded(split.x), source_hashes=split.hashes, table_values=split.x) for split in (train, held_out))
    return Dataset(name, space, here, there, **extra)


def _without_copies(train: Split, held_out: Split, scaled: bool) -> tuple[Split, int]:
    """The training examples that equal no held-out example, and how many did; atoms of the distribution stay.

    Scaled examples are compared as they are now, others by the hashes that are known.

    Raises:
        DataError: none is left.
    """
    here, there = (content_hashes(split.x) if scaled else split.hashes for split in (train, held_out))
    copies = among(here, np.sort(there))
    if not copies.any():
        return train, 0
    copies &= repeated(np.concatenate([here, there]))[: len(here)] <= ATOM
    if copies.all():
        raise DataError(
            f"All {len(train)} training examples are also held-out examples: give other held-out examples, or a single set, of "
            "which a tenth is then held out."
        )
    return (train.take(~copies), int(copies.sum())) if copies.any() else (train, 0)


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
    present, chosen = data.space.columns, _chosen(columns)
    wanted = [column for _, names in chosen.values() for column in names]
    for column in wanted:
        if column not in present:
            named = ", ".join(present) or "none: `given` names columns of a table of numbers"
            raise UsageError(
                f'{data.name} has no column "{column}".{did_you_mean(column, present)} Columns beside a label: {named}.'
            )
    remaining = [i for i, column in enumerate(present) if column not in wanted]
    if len(set(wanted)) < len(wanted) or not remaining:
        raise UsageError(f"`given` names a column twice, or every column of {data.name}: {', '.join(columns)}.")
    if taken := data.space.conditions.keys() & chosen.keys():
        raise UsageError(f"{data.name} has a condition {', '.join(taken)} already: rename the column that is to be given.")
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
    plain = [column for column in columns if ":" not in column]
    chosen: dict[str, tuple[type[ConditionKind], list[str]]] = {"given": (Numbers, plain)} if plain else {}
    for column, _, kind in (column.partition(":") for column in columns if ":" in column):
        known = {name: part for name, part in registry().items() if part is not Label and not part.learned}
        if kind not in known:
            raise UsageError(
                f'There is no kind of condition "{kind}" that is made of columns; those that are: {", ".join(known)}.'
                f"{did_you_mean(kind, known)} A label is a column too: `target`. Your own is in a plug-in: `plugins=[FILE]`."
            )
        if column in chosen:
            raise UsageError(f'`given` names "{column}" twice ("given" is what columns without a kind are called together).')
        chosen[column] = known[kind], [column]
    return chosen


def _moved(split: Split, remaining: list[int], places: Mapping[str, list[int]]) -> Split:
    given = {name: split.x[:, columns].copy() for name, columns in places.items()}
    return Split(split.x[:, remaining].copy(), split.labels, split.hashes, {**split.given, **given})
