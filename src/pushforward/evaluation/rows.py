"""Rows of a table of mixed types, as metrics see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pushforward.data.spaces import Space, TableSpace
from pushforward.data.tables import Category, Number
from pushforward.metrics.table import Table

__all__ = ["is_table", "table_of"]


def is_table(space: Space) -> bool:
    """Whether examples are rows of a table of mixed types, whose features are their coordinates."""
    return isinstance(space, TableSpace)


def table_of(space: Space, generated: Tensor | np.ndarray, reference: Tensor | np.ndarray) -> Table | None:
    """The values of generated and held-out rows; None for data that is no table of mixed types.

    Args:
        space: Of the data.
        generated: (n, d) coordinates in data units.
        reference: (m, d).
    """
    if not isinstance(space, TableSpace):
        return None
    return Table(
        generated=space.values(generated),
        reference=space.values(reference),
        names=space.names,
        kinds=tuple(field.kind for field in space.fields),
        labels=tuple(_labels(field) for field in space.fields),
        target=space.target,
    )


def _labels(field: Any) -> tuple[str, ...]:
    if isinstance(field, Category):
        return field.names
    return field.form.levels if isinstance(field, Number) else ()
