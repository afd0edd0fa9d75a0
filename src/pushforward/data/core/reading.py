"""How data is to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.example_hashes import Hashes, draws_repeat
from pushforward.errors import UsageError


@dataclass(frozen=True)
class TableReading:
    """The options of tables.

    Args:
        columns: the columns to keep; the names of all columns where the file has none.
        drop: columns to leave out.
        missing: texts that mean that there is no value; None for `pushforward.data.tables.string_columns.MISSING`.
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


@dataclass(frozen=True)
class Reading:
    """How data is to be read. Each source and each reader of files refuses options that do not apply to it.

    Args:
        target: the column of a table that becomes the label.
        header: whether the first line of a table holds column names; None decides from its content.
        size: (height, width) that images are scaled to cover (antialiased bicubic) and cropped to in the middle; None leaves
            them as they are, of one size.
        limit: at most so many training examples, chosen by ``seed``.
        seed: chooses the examples that ``limit`` keeps.
        download: fetch a set that is not there.
        given: columns that become conditions once the table is read; errors about one of them mention it.
        stream: whether images stay on disk; None: where they would take more than 4 GB.
        workers: threads that decode batches ahead where images stay on disk.
        progress: called with the number of images that were read, and that of all.
        copies: "together" or "apart": whether equal rows of a table are on one side of the split, or each is split by itself;
            None decides from the rows (`pushforward.data.core.example_hashes.draws_repeat`).
        table: the options of tables alone.
    """

    target: str | None = None
    header: bool | None = None
    size: tuple[int, int] | None = None
    limit: int | None = None
    seed: int = 0
    download: bool = False
    given: tuple[str, ...] = ()
    stream: bool | None = None
    workers: int = 0
    progress: Callable[[int, int], None] | None = None
    copies: str | None = None
    table: TableReading = TableReading()

    def apart(self, hashes: Hashes, numbers: Sequence[NDArray[np.float64]] | None) -> bool:
        """Whether equal rows are split apart; see `draws_repeat`."""
        return draws_repeat(hashes, numbers) if self.copies is None else self.copies == "apart"

    def refuse_stream(self, text: str) -> None:
        """Refuse ``stream`` for data that is read whole.

        Raises:
            UsageError: where it was given.
        """
        if self.stream:
            raise UsageError(
                f"`stream=True` is for folders of images and for packed ones, and {text} is neither: leave it out, or pack its "
                "images first (`pushforward data pack`)."
            )

    def refuse_table(self, text: str) -> None:
        """Refuse the options of tables for data that is none.

        Raises:
            UsageError: where one was given.
        """
        stated = {"target": self.target, "header": self.header, "copies": self.copies, **self.table.stated}
        for name, value in stated.items():
            if value is not None:
                raise UsageError(f"`{name}` is for .csv files and other tables, and {text} is none: leave it out.")
