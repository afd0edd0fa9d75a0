"""How a table is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TableReading"]


@dataclass(frozen=True)
class TableReading:
    """The options of tables.

    Args:
        columns: the columns to keep; the names of all columns where the file has none.
        drop: columns to leave out.
        missing: texts that mean that there is no value; None for `pushforward.data.tables.raw.MISSING`.
        schema: the content of a schema file, see `pushforward.data.tables.schema`; empty for none.
        constraints: conditions that every row meets, as `pushforward.data.tables.constraints.Constraint` takes them.
        table: whether the data is read as a table of columns of their own kinds; False: as vectors; None: where it must be.
    """

    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    schema: Mapping[str, Any] = field(default_factory=dict, hash=False)
    constraints: tuple[str, ...] = ()
    table: bool | None = None

    @property
    def stated(self) -> dict[str, Any]:
        """The options that were given, as plain values."""
        options = {
            "columns": list(self.columns) or None,
            "drop": list(self.drop) or None,
            "missing": None if self.missing is None else list(self.missing),
            "schema": dict(self.schema) or None,
            "constraints": list(self.constraints) or None,
            "table": self.table,
        }
        return {name: value for name, value in options.items() if value is not None}
