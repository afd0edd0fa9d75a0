"""Texts of categories that at most one training row has, and that a model does not learn."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.csv_dialect import Layout
from pushforward.data.tables.inference import Finding
from pushforward.numbers import some
from pushforward.table_column import Column

MOST = 0.5  # The fraction of rows with such a value above which a column says little without them

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """A table in which the rare values of each column are one.

    Args:
        findings: What the columns hold, without the texts of rare values.
        known: The values of each split, (n, columns); a rare one has the number after the last
            category.
        learned: The same with rare values replaced.
    """

    findings: Sequence[Finding]
    known: Sequence[Floats]
    learned: Sequence[Floats]


def pooled(findings: Sequence[Finding], splits: Sequence[Floats], kept: Set[str], seed: int) -> Pooled:
    """Replace texts that at most one training row has by draws from the rest of their column.

    Args:
        findings: What the columns hold.
        splits: The values of each split, (n, columns); the training rows come first.
        kept: The names of columns that stay as they are.
        seed: The seed of the draws. If no text of a column occurs twice, its values become missing.
    """
    found = list(findings)
    known = [split.copy() for split in splits]
    learned = [split.copy() for split in splits]
    for place, finding in enumerate(findings):
        if finding.kind != "category" or finding.name in kept:
            continue
        counts = _counts(splits[0][:, place], len(finding.names))[: len(finding.names)]
        common = np.flatnonzero(counts > 1)
        if len(common) == len(counts):
            continue
        names = tuple(finding.names[number] for number in common)
        found[place] = replace(finding, names=names, rare=len(counts) - len(common))
        numbers = np.full(len(counts), float(len(names)))
        numbers[common] = np.arange(len(names))
        for split in known:
            split[:, place] = _renumbered(split[:, place], numbers)
        column = known[0][:, place]
        others = column[column < len(names)]
        random = np.random.Generator(np.random.Philox(key=[seed, place]))
        for split, original in zip(learned, known, strict=True):
            split[:, place] = _replaced(original[:, place], len(names), others, random)
    return Pooled(found, known, learned)


def without_rare(layout: Layout, findings: Sequence[Finding], fields: Sequence[Column]) -> Layout:
    """Leave the texts that columns do not learn out of the levels of a data frame."""
    levels = []
    for texts, finding, field in zip(layout.levels, findings, fields, strict=False):
        lost = set(finding.names) - set(field.levels)
        levels.append(tuple(text for text in texts if text not in lost))
    return replace(layout, levels=tuple(levels))


def _counts(column: Floats, categories: int) -> NDArray[np.int64]:
    """Count the values of each category, and rare ones after them."""
    present = column[~np.isnan(column)].astype(np.int64)
    return np.bincount(present, minlength=categories + 1)


def _renumbered(column: Floats, numbers: Floats) -> Floats:
    present = ~np.isnan(column)
    renumbered = column.copy()
    renumbered[present] = numbers[column[present].astype(np.int64)]
    return renumbered


def _replaced(column: Floats, rare: int, others: Floats, random: np.random.Generator) -> Floats:
    places = column == rare
    replaced = column.copy()
    replaced[places] = random.choice(others, int(places.sum())) if len(others) else np.nan
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
        counts = _counts(column, len(field.levels))
        once, rows = int((counts == 1).sum()), int(counts[-1])
        if field.rare and rows > MOST * len(column):
            instead = "replaced by another one by chance" if field.levels else "left empty"
            notes.append(
                f'"{field.name}": {rows:,} of {len(column):,} training rows have a text that no '
                f"other training row has, which is not learned, but {instead}. Leave this column "
                f'out: `drop="{field.name}"`; `rare=keep` learns its texts'
            )
        elif field.rare:
            texts = len(field.levels) + field.rare
            drawn.append(f'"{field.name}" ({field.rare:,} of {texts:,} texts)')
        elif once:
            kept.append(f'"{field.name}" ({once:,} of {len(field.levels):,} texts)')
    if drawn:
        notes.append(
            "texts that at most one training row has are not learned, but replaced by other texts "
            f"of their column, drawn by chance: {some(drawn)}. `rare=keep` learns them"
        )
    if kept:
        notes.append(f"samples can repeat texts that only one training row has: {some(kept)}")
    return tuple(notes)
