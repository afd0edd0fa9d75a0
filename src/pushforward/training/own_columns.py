"""A table's rows in the coordinates that a run has learned: those of the columns in its spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pushforward import spec
from pushforward.data import Dataset, TableSpace
from pushforward.data.core.dataset import Split
from pushforward.data.tables.category import renumbered
from pushforward.errors import DataError, PushforwardError

__all__ = ["as_learned", "is_data_of"]


def as_learned(content: Mapping[str, Any], data: Dataset) -> Dataset | None:
    """The data as a run learned it; None for other data.

    Versions differ in how they measure the columns of a table. Where the data's coordinates are others than the run's, its values
    are encoded again with the columns that the run's spec holds.
    """
    was = content["fingerprint"]
    known = (*_encoded_again(content, data), data)
    return next((again for again in known if was in (again.fingerprint, again.stored_fingerprints[0])), None)


def is_data_of(content: Mapping[str, Any], data: Dataset) -> bool:
    """Whether a run learned from these examples, with their labels or without, in any coordinates."""
    was, known = content["examples_fingerprint"], (data, *_encoded_again(content, data))
    return any(was in (again.examples_fingerprint, again.stored_fingerprints[1]) for again in known)


def _encoded_again(content: Mapping[str, Any], data: Dataset) -> Iterator[Dataset]:
    """The data in the coordinates of each table of the spec that has the data's columns."""
    if not isinstance(data.space, TableSpace):
        return
    for described in _tables(content.get("method")):
        try:
            own = spec.build(described)
            if own.names == data.space.names:
                yield _in_columns_of(own, data)
        except (PushforwardError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # of a damaged spec
            continue


def _tables(described: Any) -> Iterator[Mapping[str, Any]]:
    """The tables of a described method."""
    if isinstance(described, Mapping):
        if described.get("part") == TableSpace.__name__:
            yield described
        else:
            described = list(described.values())
    if isinstance(described, list):
        for inner in described:
            yield from _tables(inner)


def _in_columns_of(own: TableSpace, data: Dataset) -> Dataset:
    """The data with the coordinates of other columns."""
    assert isinstance(data.space, TableSpace)
    if own.fields == data.space.fields:
        return data
    space = dataclasses.replace(data.space, shape=own.shape, mean=own.mean, std=own.std, fields=own.fields)
    here, there = (_encoded(space, data.space, split) for split in (data.train, data.held_out))
    return dataclasses.replace(data, space=space, train=here, held_out=there)


def _encoded(space: TableSpace, known: TableSpace, split: Split) -> Split:
    if split.table_values is None:
        raise DataError("rows without their values cannot be encoded again.")
    values = renumbered(split.table_values, known.fields, space.fields)
    return dataclasses.replace(split, x=space.encoded(values), table_values=values)
