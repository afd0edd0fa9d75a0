"""Values of categories that at most one training row has, which a model does not learn by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.inference import Finding
from pushforward.numbers import some
from pushforward.table_column import Column

RARE = ("replace", "keep")
MOST = 0.5  # The fraction of rows with such a value above which a column says little without them

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """A column whose rare values are one.

    Args:
        finding: What the column holds, without the texts of rare values.
        known: Its values in each split, (n,); a rare value has the number after the last category.
        learned: The same with rare values replaced.
    """

    finding: Finding
    known: Sequence[Floats]
    learned: Sequence[Floats]


def pooled(finding: Finding, columns: Sequence[Floats], random: np.random.Generator) -> Pooled:
    """Replace the values of a category that at most one training row has by draws from the others.

    Args:
        finding: What the column holds.
        columns: Its values in each split, numbers of categories, (n,); the training rows come first.
        random: The generator of the draws. If no value occurs twice, values become missing instead.
    """
    if finding.kind != "category":
        return Pooled(finding, columns, columns)
    train = columns[0]
    counts = np.bincount(train[~np.isnan(train)].astype(np.int64), minlength=len(finding.names))
    kept = counts > 1
    if kept.all():
        return Pooled(finding, columns, columns)
    names = tuple(name for name, keep in zip(finding.names, kept.tolist(), strict=True) if keep)
    other = float(len(names))
    numbers = np.where(kept, np.cumsum(kept) - 1.0, other)
    known = [_renumbered(column, numbers) for column in columns]
    common = known[0][known[0] < other]
    learned = [_replaced(column, other, common, random) for column in known]
    return Pooled(replace(finding, names=names, rare=len(finding.names) - len(names)), known, learned)


def _renumbered(column: Floats, numbers: Floats) -> Floats:
    present = ~np.isnan(column)
    renumbered = column.copy()
    renumbered[present] = numbers[column[present].astype(np.int64)]
    return renumbered


def _replaced(column: Floats, other: float, common: Floats, random: np.random.Generator) -> Floats:
    rare = column == other
    replaced = column.copy()
    replaced[rare] = random.choice(common, int(rare.sum())) if len(common) else np.nan
    return replaced


def rare_notes(fields: Sequence[Column], known: Floats) -> tuple[str, ...]:
    """Write what becomes of values that at most one training row has, in sentences.

    Args:
        fields: The columns of the table.
        known: The values of the training rows, (n, columns), as `Pooled.known`.
    """
    drawn, kept, notes = [], [], []
    for field, column in zip(fields, known.T, strict=True):
        if field.kind != "category":
            continue
        counts = np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=len(field.levels) + 1)
        once, rows = int((counts == 1).sum()), int(counts[-1])
        if field.rare and rows > MOST * len(column):
            instead = "get another one by chance" if field.levels else "get none"
            notes.append(
                f'"{field.name}": {rows:,} of {len(column):,} training rows have a text that no other training row has, which is '
                f'not learned; they {instead}. Leave this column out: `drop="{field.name}"`; `rare=keep` learns its texts'
            )
        elif field.rare:
            drawn.append(f'"{field.name}" ({field.rare:,} of {len(field.levels) + field.rare:,} texts)')
        elif once:
            kept.append(f'"{field.name}" ({once:,} of {len(field.levels):,} texts)')
    if drawn:
        notes.append(
            "texts that at most one training row has are not learned, but replaced by other texts of their column, drawn by "
            f"chance: {some(drawn)}. `rare=keep` learns them"
        )
    if kept:
        notes.append(f"samples can repeat texts that only one training row has: {some(kept)}")
    return tuple(notes)
