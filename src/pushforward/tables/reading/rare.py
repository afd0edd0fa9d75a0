"""Texts of categories that at most one training row has, and that a model does not learn."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pushforward.errors import quoted
from pushforward.numbers import some
from pushforward.tables.column import Column
from pushforward.tables.reading.inference import Finding

MOST = 0.5  # The fraction of rows with such a value above which a column says little without them

Floats = NDArray[np.float64]


def pooled(
    findings: Sequence[Finding], splits: Sequence[Floats], kept: Set[str], seed: int
) -> tuple[list[Finding], list[Floats], list[Floats]]:
    """Replace texts that at most one training row has by draws from the rest of their column.

    Args:
        findings: Detected types of the columns.
        splits: The values of each split, (n, columns); the training rows come first.
        kept: Names of columns that are not changed.
        seed: The seed of the draws. If no text of a column occurs twice, its values become missing.

    Returns:
        What the columns hold, without the texts of rare values; the values of each split, a rare
        one as the number after the last category; and the same with rare values replaced.
    """
    found = list(findings)
    known = [split.copy() for split in splits]
    learned = [split.copy() for split in splits]
    for place, finding in enumerate(findings):
        if finding.kind != "category" or finding.name in kept:
            continue
        count = len(finding.names)
        codes = [np.nan_to_num(split[:, place], nan=count).astype(np.int64) for split in splits]
        common = np.flatnonzero(np.bincount(codes[0], minlength=count)[:count] > 1)
        names = tuple(finding.names[number] for number in common)
        rare = float(len(names))
        found[place] = replace(finding, names=names, rare=count - len(names))
        numbers = np.full(count + 1, rare)
        numbers[common] = np.arange(len(names))
        numbers[count] = np.nan  # of missing values
        train = numbers[codes[0]]
        others = train[train < rare] if names else np.array([np.nan])
        random = np.random.Generator(np.random.Philox(key=[seed, place]))
        for split, code in enumerate(codes):
            column = numbers[code]
            known[split][:, place] = column
            drawn = random.choice(others, len(code))
            learned[split][:, place] = np.where(column == rare, drawn, column)
    return found, known, learned


def rare_notes(fields: Sequence[Column], known: Floats) -> tuple[str, ...]:
    """Write which texts are not learned, in sentences.

    Args:
        fields: The columns of the table.
        known: The values of the training rows, (n, columns), as `pooled` returns them.
    """
    replaced = []
    most = []
    for field, column in zip(fields, known.T, strict=True):
        if field.rare:
            texts = len(field.levels) + field.rare
            replaced.append(f'"{field.name}" ({field.rare:,} of {texts:,} texts)')
            if (column == len(field.levels)).mean() > MOST:
                most.append(field.name)
    notes = []
    if replaced:
        notes.append(
            "texts that at most one training row has are replaced by random other texts of their "
            f"column: {some(replaced)}. Use `rare=keep` to learn them"
        )
    if most:
        notes.append(
            f"more than half of the training rows have such a text: {some(map(quoted, most))}. "
            f'Little is left of these columns; leave them out: `drop="{",".join(most)}"`'
        )
    return tuple(notes)
