"""Imputation: missing values of a table, drawn from a model given the values that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.data.core.hashes import Floats, Integers, Mask
from pushforward.data.readers.reader import is_frame
from pushforward.data.spaces import TableSpace
from pushforward.draws import ExampleDraws
from pushforward.errors import DataError, UsageError
from pushforward.files import replacing
from pushforward.tables.column import known_in, with_gaps
from pushforward.tables.columns import Category
from pushforward.tables.constraints import beyond_ranges
from pushforward.tables.reading.csv_dialect import (
    chosen_columns,
    filled,
    gappy_values,
    read_known,
)
from pushforward.tables.reading.frames import (
    filled_frame,
    frame_table,
    parquet_frame,
    write_parquet,
)
from pushforward.tables.reading.string_columns import RawTable
from pushforward.transports import BATCH, Transport
from pushforward.transports.redrawing import REDRAWS, Tally
from pushforward.transports.transport import finite

# Seeds from one draw of a row to the next; those of as many rows lie between, and those of the next
# rows far beyond
PERIOD = 1_000_000


@dataclass(frozen=True)
class Imputed:
    """Tables with missing values filled in.

    Args:
        values: Values (draws, n, columns), float64: numbers, dates as seconds since 1970, category
            numbers.
        source: Text of the source file, or source data frame; None for values.
        drawn_again: Fraction of drawn rows that violated a constraint of the table and were drawn
            again.
        unmet: Filled rows, counted from 0, that violate a constraint in some draw: after `REDRAWS`
            further attempts, or because their given values already do.
        absent: Columns of the model that the file or data frame does not have.
    """

    values: Floats
    missing: Mask
    space: TableSpace
    source: Any = None
    drawn_again: float = 0.0
    unmet: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def mean(self) -> Floats:
        """Return the mean over the draws, (n, columns); for a category, the most frequent value."""
        out = self.values.mean(0)
        for place, field in enumerate(self.space.fields):
            if isinstance(field, Category):
                drawn = self.values[:, :, place]
                counts = np.stack([(drawn == number).sum(0) for number in range(len(field.shares))])
                out[:, place] = np.where(np.isnan(drawn[0]), np.nan, counts.argmax(0))
        return np.asarray(out)

    @property
    def spread(self) -> Floats:
        """Return the standard deviation over the draws, (n, columns), 0 for known values.

        For a category, it is the fraction of draws that differ from the most frequent value.
        """
        if len(self.values) > 1:
            out = self.values.std(0, ddof=1)
        else:
            out = np.zeros(self.values.shape[1:])
        for place, field in enumerate(self.space.fields):
            if isinstance(field, Category):
                out[:, place] = (self.values[:, :, place] != self.mean[:, place]).mean(0)
        return np.where(self.missing, out, 0.0)

    def cells(self, draw: int = 0) -> dict[str, dict[int, str]]:
        """Return the filled-in values in the format of the table, by column and row."""
        filled: dict[str, dict[int, str]] = {}
        for place, field, rows in with_gaps(self.space.fields, self.missing):
            texts = field.cells(self.values[draw, rows, place])
            filled[field.name] = dict(zip(rows.tolist(), texts, strict=True))
        return filled

    def text(self, draw: int = 0) -> str:
        """Return the file with missing cells filled in.

        Every other character is unchanged, including a byte order mark.
        """
        if not isinstance(self.source, RawTable):
            raise UsageError(
                "These values do not come from a text file. Use .values, or .frame() for values "
                "from a data frame."
            )
        return filled(self.source, self.cells(draw))

    def write(self, path: str | Path, draw: int = 0) -> None:
        """Write `text` in the encoding of the source file, or `frame` to a Parquet file."""
        target = Path(path)
        if is_frame(self.source) and target.suffix.lower() == ".parquet":
            frame = self.frame(draw)
            with replacing(target) as temporary:
                write_parquet(temporary, [frame])
            return
        text = self.text(draw)
        with replacing(target) as temporary:
            temporary.write_bytes(text.encode(self.source.encoding))

    def frame(self, draw: int = 0) -> Any:
        """Return the pandas or polars data frame with missing values filled in."""
        if not is_frame(self.source):
            raise UsageError(
                "These values do not come from a data frame. Use .values, or .text() for values "
                "from a file."
            )
        return filled_frame(self.source, self.space.fields, self.values[draw], self.missing)


def impute(
    run: Any,
    table: Any,
    *,
    only: Sequence[str] | str | None = None,
    draws: int = 1,
    seed: int = 0,
    batch: int = BATCH,
) -> Imputed:
    """Fill in missing values of a table with draws given the other values of each row.

    All missing values are filled in. If a gap means that a value does not exist, name the columns
    to fill: gaps in other columns stay, and the model takes them as missing, if it has learned such
    gaps. A row that violates a constraint of the table is drawn again, `REDRAWS` times at most.
    For a given number outside the range of the training rows, the model takes the nearest value in
    the range, with a warning.

    Args:
        run: Run of a table model trained with flow, ddpm or edm, or its transport.
        table: Text file, Parquet file, pandas or polars data frame, or values, float64 (n,
            columns), with NaN for missing values and category numbers. A file without a header has
            the model's columns in order.
        only: Columns to fill, or the name of one column; None for all.
        draws: Number of filled tables.
        seed: Seed of the first row.
        batch: Batch size in rows.

    Returns:
        Filled tables, with mean and standard deviation of the draws.

    Raises:
        UsageError: If the model does not support known columns, or columns to fill are missing.
        DataError: If the table has none of the model's columns, or cells are invalid for their
            column.
    """
    transport = getattr(run, "transport", run)
    space = transport.space
    name = known_in(space.conditions)
    if not name:
        raise UsageError(
            "Only table models trained with flow, ddpm or edm can fill in missing cells. Train "
            "one: `pushforward train flow --data FILE` (with `table=True` if the file is read as "
            "vectors)."
        )
    source, raw, values, missing = _read(table, space)
    there = space.names if raw is None else raw.names
    chosen = chosen_columns(space.fields, only, there)
    draws = whole("draws", draws, 1)
    seed = whole("seed", seed)
    batch = whole("batch", batch, 1)
    stay = missing & ~chosen
    missing = missing & chosen
    rows = np.flatnonzero(missing.any(1))
    known_missing = stay[rows] & np.array([field.missing for field in space.fields])
    rare = space.unknown(values[rows])
    marks = np.where(missing[rows] | rare, -1, ~np.isnan(values[rows]) | known_missing)
    condition = space.conditions[name].of(values[rows], marks)
    out = np.repeat(values[None], draws, axis=0)
    possible = space.met(values[rows])
    seeds = seed + rows + (seed + rows) // PERIOD * 2**40
    tally = Tally()
    unmet = np.zeros(len(rows), dtype=bool)
    for draw in range(draws):
        waiting = np.arange(len(rows))
        for turn in range(1 + REDRAWS):
            for start in range(0, len(waiting), batch):
                part = waiting[start : start + batch]
                index = rows[part]
                given = {name: condition[part]}
                drawn = _rows(transport, given, seeds[part] + draw * PERIOD, turn)
                out[draw, index] = np.where(missing[index], drawn, values[index])
            broken = waiting[possible[waiting] & ~space.met(out[draw, rows[waiting]])]
            tally.drawn += len(waiting)
            tally.refused += len(broken)
            waiting = broken
            if not len(waiting):
                break
        unmet |= ~space.met(out[draw, rows])
    beyond = beyond_ranges(space.fields, values[rows], ~np.isnan(values[rows]) & ~missing[rows])
    if beyond:
        warn(beyond, stacklevel=2)
    absent = tuple(name for name in space.names if name not in there)
    met = tuple(rows[unmet].tolist())
    return Imputed(out, missing, space, source, tally.share, met, absent)


def _read(table: Any, space: TableSpace) -> tuple[Any, RawTable | None, Floats, Mask]:
    """Read the source of values, its cells, the values, and which of them are missing."""
    source = table
    raw = None
    where = "The data frame"
    if isinstance(table, (str, Path)):
        where = str(table)
        path = Path(table)
        if path.suffix.lower() == ".parquet":
            source = parquet_frame(path)
        else:
            source = raw = read_known(path, space.names, space.layout)
    if is_frame(source):
        raw = frame_table(source)
    if raw is not None:
        return source, raw, *gappy_values(where, raw, space.fields, space.layout.missing)
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(space.fields):
        raise DataError(
            f"Got values of shape {values.shape}; expected (n, {len(space.fields)}): "
            f"{', '.join(space.names)}."
        )
    return None, None, values, np.isnan(values)


@torch.no_grad()
def _rows(
    transport: Transport, condition: dict[str, torch.Tensor], seeds: Integers, turn: int
) -> Floats:
    name = "sample"
    if turn:
        name = f"sample/again {turn}"
    draws = ExampleDraws(seeds.tolist(), name=name, device=transport.device)
    given = {name: part.to(transport.device) for name, part in condition.items()}
    x = finite(transport(transport.noise(draws), given, draws))
    space = transport.space
    assert isinstance(space, TableSpace)
    x = space.to_data(x).float().cpu()
    return space.values(space.finished(x, condition, draws.stream("digits").normal))
