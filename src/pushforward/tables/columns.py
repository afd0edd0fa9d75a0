"""Columns of tables.

Categories, numbers and dates, with their encoding as coordinates and the format of their cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from pushforward.data.core.hashes import Array, Floats, Integers, Mask
from pushforward.errors import DataError, quoted
from pushforward.numbers import some
from pushforward.tables.column import Column, check_shares, indicators, looked_up
from pushforward.tables.reading.rows import between
from pushforward.tables.reading.string_columns import Format, iso_date

# Texts of two values, in lower case, that mean no and yes.
TWO = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"), ("0", "1"))
# A value that holds more than this share of a column's values, and `ATOM_RATIO` times the mean
# share, is an atom.
ATOM_SHARE = 0.02
ATOM_RATIO = 3.0
RARE_TEXT = "(rare)"  # stands for texts that are not learned
CLOSED = 1024  # a column of at most so many different values takes no others
FARTHEST = 30.0  # no score is farther from 0
# The part of its share that a knot's interval takes: between two knots there is a score for each
# value that may be given.
WITHIN = 0.999
# How many of the smallest and of the largest values are knots by themselves, where a column takes
# other values as well.
TAIL = 24


@dataclass(frozen=True)
class Category(Column):
    """Column with a fixed set of texts; a value is the index of its text in ``names``.

    Args:
        name: Column name.
        names: Texts as written in the file.
        shares: Fraction of each text in the training split, followed by the fraction of missing
            values if there are any.
        missing: Whether values may be missing; a missing value has an indicator of its own.
        kind: Kind of the column: "category", "boolean" or "ordinal"; the names of ordinals are in
            order.
        rare: Number of further texts, which are not learned because at most one training row has
            each. Their value is the number after the last category.

    Raises:
        DataError: If the shares do not fit the names, or do not sum to 1.
    """

    name: str
    names: tuple[str, ...]
    shares: tuple[float, ...]
    missing: bool = False
    kind: str = "category"
    rare: int = 0

    scores = 0

    def __post_init__(self) -> None:
        fits = len(self.shares) == len(self.names) + self.missing
        if not fits or not self.shares or len(set(self.names)) < len(self.names):
            raise DataError(
                f'"{self.name}" has {len(self.names)} categories and {len(self.shares)} fractions, '
                "which do not match."
            )
        check_shares(self.name, self.shares)

    @classmethod
    def measured(
        cls,
        name: str,
        values: Floats,
        names: Sequence[str],
        kind: str = "category",
        missing: bool = False,
    ) -> Self:
        """Fit a column to training values.

        Args:
            values: Category indices (n,), NaN if missing.
        """
        absent = np.isnan(values)
        counts = np.bincount(values[~absent].astype(np.int64), minlength=len(names))
        missing = missing or bool(absent.any()) or not names
        if missing:
            counts = np.append(counts, absent.sum())
        shares = counts / max(1, len(values))
        return cls(name, tuple(names), tuple(shares.tolist()), missing, kind)

    @property
    def levels(self) -> tuple[str, ...]:
        return self.names

    @property
    def coordinates(self) -> tuple[str, ...]:
        texts = self.exported("missing")["texts"]
        return tuple(f"{self.name} = {text}" for text in texts)

    def encode(self, values: Floats) -> Array:
        absent = len(self.names)
        if not self.missing:  # takes the most frequent category
            absent = int(np.argmax(self.shares))
        chosen = np.where(np.isnan(values), absent, values).astype(np.int64)
        return indicators(np.minimum(chosen, len(self.shares) - 1), len(self.shares))

    def decode(self, coordinates: Array) -> Floats:
        chosen = np.argmax(coordinates, axis=1).astype(np.float64)
        return np.where(chosen == len(self.names), np.nan, chosen)

    def cells(self, values: Floats, missing: str = "") -> list[str]:
        texts = (*self.names, RARE_TEXT, missing)
        places = np.where(np.isnan(values), len(texts) - 1, values).astype(np.int64)
        return list(map(texts.__getitem__, places))

    def exported(self, missing: str) -> dict[str, Any]:
        """Return the texts of the indicators."""
        texts = list(self.names)
        if self.missing:
            texts.append(missing)
        return {"texts": texts}

    def unknown(self, values: Floats) -> Mask:
        return values == len(self.names)

    def numbers(self, values: Floats) -> Floats:
        try:
            return looked_up(list(map(float, self.names)), values)
        except ValueError:
            return values

    def read(self, cells: Sequence[str]) -> Floats:
        places = {text: float(place) for place, text in enumerate(self.names)}
        if self.kind == "category":
            found = list(map(places.get, cells))
        else:
            # 3.0 is read as 3, and True as TRUE, since other programs write them so
            plain = {_plain(text): place for text, place in places.items()}
            found = [places.get(cell, plain.get(_plain(cell))) for cell in cells]
        return np.array(found, dtype=np.float64)


def _plain(cell: str) -> str:
    head, point, fraction = cell.lower().partition(".")
    if point and not fraction.strip("0"):
        return head
    return cell.lower()


def renumbered(values: Floats, own: Sequence[Column], other: Sequence[Column]) -> Floats:
    """Renumber the categories in values of one table to match another table.

    Args:
        values: Values (n, columns), NaN if missing.

    Returns:
        (n, columns); the values themselves if no number changes.
    """
    for place, (here, there) in enumerate(zip(own, other, strict=True)):
        if here.levels == there.levels:
            continue
        if not (here.levels and there.levels):
            raise DataError(
                f'The kind of "{here.name}" is {here.kind}, but {there.kind} in the other table. '
                "Both tables must have the same kind."
            )
        column = values[:, place]
        new = looked_up(there.read(here.levels), column)
        lost = np.unique(column[np.isnan(new) & ~np.isnan(column)]).astype(int)
        if len(lost):
            hint = " It was read without rare texts: use `rare=keep`." if there.rare else ""
            raise DataError(
                f'"{here.name}" has values that the other table does not have: '
                f"{some(quoted(here.levels[number]) for number in lost)}.{hint} Both tables must "
                "have the same categories."
            )
        values = values.copy()
        values[:, place] = new
    return values


@dataclass(frozen=True)
class Number(Column):
    """Column of numbers or dates, encoded as normal scores of ranks and indicators of atoms.

    A score is the standard normal quantile of the fraction of values up to a value, without atoms.
    In a closed column, which has few distinct values, each covers an interval of scores and is
    encoded as its middle rank. In an open column, a repeated knot covers an interval of ranks, and
    values between knots are linear in scores, in float64. If float64 rounds the score of an integer
    or date, the value is a knot, so that `decode` inverts `encode` on the training values.

    Args:
        name: Column name.
        knots: Increasing values: all values of a closed column, quantiles of an open column.
        ranks: Fraction of values up to each knot, increasing, above 0 and at most 1; below 1 in an
            open column.
        closed: Whether no other values occur.
        kind: Kind of the column: "number", "whole" or "date".
        form: Format of the cells.
        atoms: Frequent values, each with an indicator of its own.
        shares: Fraction of values that are not atoms, of each atom, and of missing values if there
            are any; empty without atoms and missing values.
        missing: Whether values may be missing.
        spans: Width of each knot's interval of ranks in an open column, about its fraction of
            values, 0 for unique values; empty if all are 0.
    """

    name: str
    knots: tuple[float, ...]
    ranks: tuple[float, ...]
    closed: bool
    kind: str = "number"
    form: Format = field(default_factory=Format)
    atoms: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    missing: bool = False
    spans: tuple[float, ...] = ()

    scores = 1

    def __post_init__(self) -> None:
        special = len(self.atoms) + self.missing
        top = 1.0 if self.closed else math.nextafter(1.0, 0.0)
        if not (
            len(self.knots) == len(self.ranks)
            and len(self.spans) in (0, len(self.knots))
            and len(self.shares) == (1 + special if special else 0)
            and self.form.holds(np.array([*self.knots, *self.atoms]))
            and (np.diff(self.knots) > 0).all()
            and (np.diff(self.ranks, prepend=0.0) > 0).all()
            and (np.array(self.ranks) <= top).all()
            and np.array_equal(np.clip(self.spans, 0.0, 1.0), self.spans)
        ):
            raise DataError(
                f'"{self.name}": knots and ranks must increase, ranks and spans must be fractions, '
                "values must fit the format, and there must be a fraction for each atom."
            )
        if self.shares:
            check_shares(self.name, self.shares)

    @classmethod
    def measured(
        cls,
        name: str,
        values: Floats,
        kind: str = "number",
        form: Format | None = None,
        missing: bool = False,
    ) -> Self:
        """Fit a column to training values.

        Args:
            values: Values (n,), NaN if missing.
        """
        absent = np.isnan(values)
        form = form or Format()
        different, counts = np.unique(values[~absent], return_counts=True)
        share = counts / max(1, len(values))
        atomic = share > max(ATOM_SHARE, ATOM_RATIO / max(1, len(different)))
        atoms = different[atomic]
        shares = share[atomic]
        rest = 1.0 - shares.sum() - absent.mean() if len(values) else 0.0
        missing = missing or bool(absent.any())
        block = [max(0.0, float(rest)), *shares.tolist()]
        if missing:
            block.append(float(absent.mean()))
        if len(block) == 1:
            block = []
        different = different[~atomic]
        counts = counts[~atomic]
        more = kind, form, tuple(atoms.tolist()), tuple(block), missing
        if len(different) <= CLOSED:
            ranks = _upper(counts)
            return cls(name, tuple(different.tolist()), tuple(ranks.tolist()), True, *more)
        share = counts / counts.sum()
        # middles and widths of intervals
        ranks = _upper(counts) - share / 2
        spans = np.where(counts > 1, WITHIN * share, 0.0)
        inner = np.searchsorted(ranks, np.linspace(0, 1, CLOSED)[1:-1])
        ends = np.r_[np.arange(TAIL), np.arange(len(counts) - TAIL, len(counts))]
        places = np.unique(np.clip(np.r_[inner, ends], 0, len(counts) - 1))
        exact = kind in ("whole", "date") and different == form.rounded(different)
        while True:
            knots = tuple(different[places].tolist())
            widths = tuple(spans[places].tolist())
            column = cls(name, knots, tuple(ranks[places].tolist()), False, *more, widths)
            rounded = exact & (column._values(column._scores(different)) != different)
            rounded[places] = False
            if not rounded.any():
                return column
            places = np.union1d(places, np.flatnonzero(rounded))

    @property
    def range(self) -> tuple[float, float] | None:
        values = [*self.knots[:1], *self.knots[-1:], *self.atoms]
        if values:
            return (min(values), max(values))
        return None

    @property
    def open(self) -> bool:
        return not self.closed and bool(self.knots)

    @property
    def coordinates(self) -> tuple[str, ...]:
        names = [self.name]
        if self.shares:
            names.append(f"{self.name} is not an atom")
        for cell in self.cells(np.array(self.atoms)):
            names.append(f"{self.name} = {cell}")
        if self.missing:
            names.append(f"{self.name} = missing")
        return tuple(names)

    def encode(self, values: Floats) -> Floats:
        chosen = np.zeros(len(values), dtype=np.int64)
        for place, atom in enumerate(self.atoms):
            chosen[values == atom] = 1 + place
        if self.missing:
            chosen[np.isnan(values)] = len(self.shares) - 1
        scores = np.where(chosen == 0, self._scores(values), 0.0)
        if self.shares:
            return np.column_stack([scores, indicators(chosen, len(self.shares))])
        return scores[:, None]

    def decode(self, coordinates: Array) -> Floats:
        ordinary = self._values(np.asarray(coordinates[:, 0], dtype=np.float64))
        if not self.shares:
            return ordinary
        block = np.array(coordinates[:, 1:], dtype=np.float64)
        if not self.knots:
            block[:, 0] = -np.inf  # every value is an atom or missing
        chosen = np.argmax(block, axis=1)
        special = np.array([math.nan, *self.atoms, math.nan])[chosen]
        return np.where(chosen == 0, ordinary, special)

    def cells(self, values: Floats, missing: str = "") -> list[str]:
        cell = self.form.cell
        return [missing if math.isnan(value) else cell(value) for value in values.tolist()]

    def exported(self, missing: str) -> dict[str, Any]:
        """Return the texts of the indicators, and how the score becomes a cell.

        A closed column's score has the text of its interval between ``edges`` among ``cells``. An
        open column's ``numbers`` belong to its ``edges``; between them numbers are linear, and
        written as ``form`` says.
        """
        texts = self.cells(np.array(self.atoms))
        if self.missing:
            texts.append(missing)
        edges = self.edges.tolist()
        if self.closed:
            return {"texts": texts, "edges": edges, "cells": self.cells(np.array(self.knots))}
        ends = zip(edges, np.repeat(self.knots, 2).tolist(), strict=True)
        edges, numbers = map(list, zip(*dict.fromkeys(ends), strict=True))
        # most numbers have one edge
        return {"texts": texts, "edges": edges, "numbers": numbers, "form": vars(self.form)}

    def read(self, cells: Sequence[str]) -> Floats:
        values = np.array(list(map(self.form.value, cells)), dtype=np.float64)
        if self.kind == "date":
            for place in np.flatnonzero(np.isnan(values)):
                values[place] = iso_date(cells[int(place)])
        return values

    def nearest(self, values: Floats) -> Floats:
        held = np.full(len(values), np.inf)
        if self.knots:
            if self.closed:
                held = np.array(self.knots)[self._nearest(values)]
            else:
                held = np.clip(values, self.knots[0], self.knots[-1])
        for atom in self.atoms:
            away = np.abs(values - atom)
            held = np.where(away <= np.abs(values - held), atom, held)
        return np.where(np.isnan(values) | np.isinf(held), values, held)

    @cached_property
    def bounds(self) -> Floats:
        """Increasing ranks between the values of a closed column, or of both ends of each knot."""
        ranks = np.array(self.ranks)
        if self.closed:
            return ranks[:-1]
        half = np.array(self.spans or (0.0,)) / 2
        ends = np.column_stack([ranks - half, ranks + half]).ravel()
        return np.maximum.accumulate(np.clip(ends, 0.0, 1.0))

    @cached_property
    def edges(self) -> Floats:
        """Scores of `bounds`."""
        return np.clip(_normal_quantile(self.bounds), -FARTHEST, FARTHEST)

    @cached_property
    def _middles(self) -> Floats:
        return _normal_quantile(np.array(self.ranks))

    def _nearest(self, values: Floats) -> Integers:
        knots = np.array(self.knots)
        return np.searchsorted((knots[1:] + knots[:-1]) / 2, np.nan_to_num(values))

    def _scores(self, values: Floats) -> Floats:
        if not self.knots:
            return np.zeros(len(values))
        if self.closed:
            upper = np.array([0.0, *self.ranks])
            return _normal_quantile((upper[:-1] + upper[1:]) / 2)[self._nearest(values)]
        knots = np.array(self.knots)
        edges = self.edges
        values = np.clip(np.nan_to_num(values), knots[0], knots[-1])
        place = np.searchsorted(knots, values, "right") - 1
        after = np.minimum(place + 1, len(knots) - 1)
        share = (values - knots[place]) / np.where(after > place, knots[after] - knots[place], 1.0)
        between = edges[2 * place + 1] + share * (edges[2 * after] - edges[2 * place + 1])
        return np.where(values == knots[place], self._middles[place], between)

    def _values(self, scores: Floats) -> Floats:
        if not self.knots:
            return np.full(len(scores), self.atoms[0] if self.atoms else math.nan)
        if self.closed:
            return np.array(self.knots)[np.searchsorted(self.edges, scores)]
        return between(scores, self.edges, np.repeat(self.knots, 2), vars(self.form))


def _normal_quantile(share: Floats) -> Floats:
    from scipy.special import ndtri

    return np.asarray(ndtri(share))


def _upper(counts: Integers) -> Floats:
    return np.cumsum(counts) / max(1, counts.sum())
