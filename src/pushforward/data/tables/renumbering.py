"""Values of a table as other columns of the same names number them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.faults import some
from pushforward.errors import DataError
from pushforward.table_column import Column

__all__ = ["renumbered"]


def renumbered(values: NDArray[np.float64], own: Sequence[Column], other: Sequence[Column]) -> NDArray[np.float64]:
    """Values whose categories have the numbers that other columns give to the same texts.

    Args:
        values: (n, columns), NaN where missing.
        own: The columns that the values are of.
        other: As many columns, in the same order.

    Returns:
        (n, columns); the values themselves where no number changes.

    Raises:
        DataError: For values of a category that the other column does not have, which are counted, or where only one of two
            columns has categories.
    """
    for place, (here, there) in enumerate(zip(own, other, strict=True)):
        if here.levels == there.levels:
            continue
        if not (here.levels and there.levels):
            raise DataError(f'"{here.name}" is a {here.kind} and, in the other table, a {there.kind}: expected one kind.')
        places = {text: float(number) for number, text in enumerate(there.levels)}
        numbers = np.array([*(places.get(text, np.nan) for text in here.levels), np.nan])
        column = values[:, place]
        new = numbers[np.where(np.isnan(column), len(here.levels), column).astype(np.int64)]
        lost = np.isnan(new) & ~np.isnan(column)
        if lost.any():
            texts = some(f'"{here.levels[number]}"' for number in np.unique(column[lost]).astype(int))
            raise DataError(
                f'{int(lost.sum()):,} values of "{here.name}" are {texts}, which the other table does not have. '
                "Expected categories of the same texts."
            )
        values = values.copy()
        values[:, place] = new
    return values
