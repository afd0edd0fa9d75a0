"""Files with missing cells, which are filled in while all else stays byte for byte."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.column import Column
from pushforward.data.tables.raw import MISSING
from pushforward.errors import DataError

__all__ = ["GappyFile"]

SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class GappyFile:
    """A table's file with a header, cell by cell as it is written.

    Args:
        path: The file.
        separator: Between cells.
        header: The names of the columns.
        rows: The cells of each row, blanks included.
        texts: The text of each row, line ends included.
        head: The text before the first row.
    """

    path: Path
    separator: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]
    head: str

    @classmethod
    def read(cls, path: Path) -> GappyFile:
        """Read a file.

        Raises:
            DataError: For a file that is no table in UTF-8 with a header, or has lines of another length.
        """
        try:
            content = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise DataError(f"{path} is no text in UTF-8; convert it: iconv -t utf-8.") from None
        separator = max(SEPARATORS, key=content.partition("\n")[0].count)
        taken: list[str] = []

        def lines() -> Iterable[str]:
            for line in io.StringIO(content, newline=""):
                taken.append(line)
                yield line

        parsed: list[tuple[tuple[str, ...], str]] = []
        for cells in csv.reader(lines(), delimiter=separator):
            parsed.append((tuple(cells), "".join(taken)))
            taken.clear()
        if not parsed:
            raise DataError(f"{path} is empty.")
        (header, head), *rest = parsed
        ragged = [number for number, (cells, _) in enumerate(rest, start=2) if cells and len(cells) != len(header)]
        if ragged:
            listed = ", ".join(map(str, ragged[:5])) + (f" and {len(ragged) - 5} more" if len(ragged) > 5 else "")
            raise DataError(f"{path} has {len(header)} columns, but another number of cells in the rows {listed}.")
        filled = [(cells, text) for cells, text in rest if cells]
        names = tuple(name.strip() for name in header)
        return cls(path, separator, names, tuple(cells for cells, _ in filled), tuple(text for _, text in filled), head)

    def values(self, fields: Sequence[Column], absent: Iterable[str] = ()) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The values of a table's columns, and which cells are missing in the file, (n, columns) each.

        A column that the file does not have is NaN, and no cell of it is missing. A text that a column has as a category is a
        value, whatever it means elsewhere.

        Args:
            fields: The table's columns.
            absent: Texts that mean that there is no value, beside `MISSING`.

        Raises:
            DataError: For a file without any of the columns, or cells that a column does not have, all of them listed.
        """
        places, texts = {name: place for place, name in enumerate(self.header)}, {*MISSING, *absent}
        values = np.full((len(self.rows), len(fields)), np.nan)
        missing, faults = np.zeros(values.shape, dtype=bool), []
        for number, field in enumerate(fields):
            if field.name in places:
                cells = [row[places[field.name]].strip() for row in self.rows]
                missing[:, number] = [cell in texts and cell not in getattr(field, "names", ()) for cell in cells]
                values[:, number] = np.where(missing[:, number], np.nan, field.read(cells))
                faults += self._strange(field.name, cells, np.isnan(values[:, number]) & ~missing[:, number])
        if not any(field.name in places for field in fields):
            raise DataError(f"{self.path} has the columns {', '.join(self.header)}: none is one of the model's.")
        if faults:
            raise DataError(f"{self.path} has cells that the model's columns do not have: {'; '.join(faults)}.")
        return values, missing

    def _strange(self, name: str, cells: Sequence[str], strange: NDArray[np.bool_]) -> list[str]:
        rows = np.flatnonzero(strange)
        listed = ", ".join(f'"{cells[row]}" in row {row + 1}' for row in rows[:5])
        return [f"{name}: {listed}" + (f" and {len(rows) - 5:,} more" if len(rows) > 5 else "")] if len(rows) else []

    def filled(self, cells: Mapping[str, Mapping[int, str]]) -> str:
        """The file's text with other cells in some rows, by column and row; every other cell stays as it is written."""
        places = {name: place for place, name in enumerate(self.header)}
        rows: dict[int, list[str]] = {}
        for name, column in cells.items():
            for number, cell in column.items():
                row = rows.setdefault(number, list(self.rows[number]))
                old = row[places[name]]
                row[places[name]] = old[: len(old) - len(old.lstrip())] + cell
        return self.head + "".join(
            self._line(rows[number], text) if number in rows else text for number, text in enumerate(self.texts)
        )

    def _line(self, row: Sequence[str], text: str) -> str:
        ending = text[len(text.rstrip("\r\n")) :]
        out = io.StringIO()
        csv.writer(out, delimiter=self.separator, lineterminator=ending).writerow(row)
        return out.getvalue()
