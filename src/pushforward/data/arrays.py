"""Files of numbers: ``.npz`` and ``.npy`` (never pickled objects) and ``.csv``."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.numbers import Numbers
from pushforward.data.dataset import Split
from pushforward.data.header import has_header
from pushforward.data.spaces.registry import kinds
from pushforward.errors import DataError, UsageError, did_you_mean

__all__ = ["Arrays", "attributes", "label_numbers", "read_csv", "read_numpy", "rows_of"]

MAX_BYTES = 8 * 2**30
MAX_RATIO = 200
SMALL_BYTES = 64 * 2**20
MAX_CHANNELS = 4
_NAMES = {"x": ("x",), "label": ("label", "y"), "x_test": ("x_test",), "label_test": ("label_test", "y_test")}
_NAMES |= {name: (name,) for name in ("given", "given_test", "given_names")}


@dataclass(frozen=True)
class Arrays:
    """What a file holds.

    Args:
        train: all rows, or the training rows where the file has held-out ones.
        held_out: the file's own held-out rows, or None.
        classes: class names, empty without labels.
        columns: column names of a table.
        integer: numbers of its whole-number columns.
        header: whether the first line of a table was taken as column names; None for other files.
        kinds: what makes the kind of each further condition of its training values.
        unused: (array, reason) of each array that is not read.
    """

    train: Split
    held_out: Split | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    integer: tuple[int, ...] = ()
    header: bool | None = None
    kinds: Mapping[str, Callable[[NDArray[Any]], ConditionKind]] | None = None
    unused: tuple[tuple[str, str], ...] = ()


def read_numpy(path: Path) -> Arrays:
    """Read a ``.npy`` (one array) or a ``.npz`` (``x``; optionally ``label`` or ``y``, ``given``, ``x_test``, ...).

    ``given`` holds continuous attributes (n, k) that models receive as conditions, and ``given_names`` their names; the arrays of
    held-out rows are called ``x_test``, ``label_test`` and ``given_test``.

    ``x`` is one of: uint8 images (n, H, W, C), (n, C, H, W) or (n, H, W), 0 to 255 (0 and 1 alone are read as black
    and white); float images in [0, 1], which are rounded to 256 levels; vectors (n, d) of any numbers. Where both
    layouts are possible, channels are last.

    Args:
        path: the file.

    Returns:
        Its rows.

    Raises:
        DataError: pickled objects, arrays that are empty, of the wrong shape, not finite, out of range, damaged, or
            far too large.
    """
    found, unused = _members(path)
    train, integer = rows_of(found["x"], f"{path.name}: x")
    test = found.get("x_test")
    held = None if test is None else rows_of(test, f"{path.name}: x_test")[0]
    if held is not None and held.shape[1:] != train.shape[1:]:
        raise DataError(f"{path}: x_test has rows of shape {held.shape[1:]}, x of shape {train.shape[1:]}: expected the same.")
    label, label_test = found.get("label"), found.get("label_test")
    _check_label_arrays(path, found)
    given, given_test, kinds = _given_arrays(path, found, len(train), None if held is None else len(held))
    if label is None:
        splits = Split(train, given=given), None if held is None else Split(held, given=given_test)
        return Arrays(*splits, integer=integer, kinds=kinds, unused=unused)
    both = [_label_values(label, len(train), f"{path.name}: label")]
    if held is not None and label_test is not None:
        both.append(_label_values(label_test, len(held), f"{path.name}: label_test"))
    numbers, classes = _numbered(np.concatenate(both), str(path), "label")
    n = len(train)
    splits = Split(train, numbers[:n], given=given), None if held is None else Split(held, numbers[n:], given=given_test)
    return Arrays(*splits, classes, integer=integer, kinds=kinds, unused=unused)


def _given_arrays(
    path: Path, found: dict[str, NDArray[Any]], n: int, held: int | None
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, Callable[[NDArray[Any]], ConditionKind]]]:
    """The condition ``given`` of the training and the held-out rows, and what makes its kind."""
    if "given" not in found:
        if "given_test" in found or "given_names" in found:
            raise DataError(f"{path} has names or held-out values of given attributes but no array given: add it.")
        return {}, {}, {}
    if (held is None) == ("given_test" in found):
        raise DataError(f"{path}: expected both x_test and given_test beside given, or neither.")
    values = attributes(found["given"], n, f"{path.name}: given")
    names = [str(name) for name in found.get("given_names", [f"given_{i}" for i in range(values.shape[1])])]
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        raise DataError(f"{path}: given_names holds {', '.join(names)}; expected {values.shape[1]} different names.")
    test = {} if held is None else {"given": attributes(found["given_test"], held, f"{path.name}: given_test")}
    if test and test["given"].shape[1] != values.shape[1]:
        raise DataError(f"{path}: given_test has {test['given'].shape[1]} columns, given {values.shape[1]}: expected as many.")
    return {"given": values}, test, {"given": partial(Numbers.measure, columns=names)}


def attributes(values: NDArray[Any], n: int, name: str) -> NDArray[np.float32]:
    """Continuous attributes of n rows as float32 (n, k).

    Raises:
        DataError: arrays of another shape or type, or that are not finite in float32.
    """
    table = values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or len(table) != n or not table.shape[1] or table.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {values.dtype} of shape {values.shape}: expected numbers ({n},) or ({n}, k).")
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(table, dtype=np.float32)
    if not np.isfinite(table).all():
        raise DataError(f"{name} is not finite in row {np.flatnonzero(~np.isfinite(table).all(1))[0]}: fill it in.")
    return table


def _check_label_arrays(path: Path, found: dict[str, NDArray[Any]]) -> None:
    """Labels come for all rows or for none."""
    needed = {"label": ("label_test",) if "x_test" in found else (), "label_test": ("label", "x_test")}
    for name, others in needed.items():
        for other in others:
            if name in found and other not in found:
                raise DataError(f"{path} has {name} but no {other}: expected both or neither. Add {other}, or leave {name} out.")


def read_csv(path: Path, target: str | None = None, header: bool | None = None) -> Arrays:
    """Read a table: rows of numbers, separated by commas, semicolons or tabs, below a line of column names or without one.

    Args:
        path: the file, UTF-8.
        target: the column that becomes the label; it may hold text or whole numbers.
        header: whether the first line holds column names; None decides as `pushforward.data.header` describes. Columns without
            names are called x0, x1, ...

    Returns:
        Its rows, with column names and the whole-number columns.

    Raises:
        UsageError: no column is called ``target``.
        DataError: a first line that may be names or data, repeated names, ragged rows, no rows, or a cell that is not a finite
            number.
    """
    names, rows, lines, named = _table(path, target, header)
    labels = None
    classes: tuple[str, ...] = ()
    keep = list(range(len(names)))
    if target is not None:
        if target not in names:
            raise UsageError(f'{path} has no column "{target}".{did_you_mean(target, names)} Columns: {", ".join(names)}.')
        keep.remove(names.index(target))
        cells = np.array([row[names.index(target)].strip() for row in rows])
        if (cells == "").any():
            row = int(np.flatnonzero(cells == "")[0])
            raise DataError(f'{path}, column "{target}", line {lines[row]}: the label is missing. Fill it in or remove the row.')
        labels, classes = _numbered(_as_numbers(cells), str(path), f'column "{target}"')
    if not keep:
        raise DataError(f"{path} has no column beside the target: expected at least one column of numbers.")
    columns = [[row[i] for row in rows] for i in keep]
    kept = tuple(names[i] for i in keep)
    table = dict(zip(kept, columns, strict=True))
    try:
        x = np.stack([_column(path, name, cells, lines) for name, cells in table.items()], axis=1)
    except _TextColumn as error:
        raise DataError(f"{error} {_without_text(table, target)}") from None
    integer = tuple(i for i, cells in enumerate(columns) if _whole(x[:, i], cells))
    for i in integer:
        _refuse_rounding(x[:, i], f'{path}, column "{kept[i]}"')
    return Arrays(Split(x.astype(np.float32), labels), classes=classes, columns=kept, integer=integer, header=named)


def _members(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[tuple[str, str], ...]]:
    """The arrays of a file under the names of this module, sizes checked before anything is unpacked, and those not used."""
    try:
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as file:
                return {"x": _array(file, path.stat().st_size, path.name)}, ()
        with zipfile.ZipFile(path) as archive:
            inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if "x" not in inside and list(inside) == ["arr_0"]:
                inside = {"x": inside["arr_0"]}
            if "x" not in inside:
                raise DataError(
                    f'{path} has no array "x"; it holds: {", ".join(_shapes(archive, inside)) or "nothing"}. Rename the array of '
                    f"examples to x, and labels to label: np.savez(file, x={next(iter(inside), '...')}, label=...)."
                )
            found = {}
            for name, spellings in _NAMES.items():
                for info in (inside[s] for s in spellings if s in inside):
                    _refuse_bomb(path, info)
                    with archive.open(info) as member:
                        found[name] = _array(member, info.file_size, f"{path.name}: {info.filename}")
                    break
            return found, _unused(archive, inside, found)
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile file may raise anything
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}."
        ) from error


def _unused(
    archive: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo], found: dict[str, NDArray[Any]]
) -> tuple[tuple[str, str], ...]:
    """The arrays of other names, and a second one of the same meaning, with what they may have been meant to be."""
    read = {next(s for s in _NAMES[name] if s in inside) for name in found}
    others = {name: info for name, info in inside.items() if name not in read}
    label = "" if "label" in found else "; if it holds the labels, rename it to label"
    known = "x, label (or y), given, given_names, x_test, label_test (or y_test) and given_test"
    reason = f"not used: the arrays that are read are {known}{label}"
    return tuple((shown, reason) for shown in _shapes(archive, others))


def _shapes(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> list[str]:
    """Such as ``images (100, 8, 8)``, from headers alone, of at most 12 arrays."""
    shown = []
    for name, info in list(members.items())[:12]:
        try:
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shown.append(f"{name} {header(member)[0]}")
        except Exception:  # an array that is not read may be anything
            shown.append(name)
    return shown


def _refuse_bomb(path: Path, info: zipfile.ZipInfo) -> None:
    ratio = info.file_size / max(1, info.compress_size)
    if info.file_size > SMALL_BYTES and ratio > MAX_RATIO:
        raise DataError(
            f"{path}: {info.filename} unpacks to {info.file_size / 2**20:,.0f} MB, {ratio:,.0f} times its packed size: "
            f"taken for a decompression bomb. If the data is real, use np.savez, not np.savez_compressed."
        )


def _array(file: Any, size: int, name: str) -> NDArray[Any]:
    """One array in numpy's format; refused unread if its header promises objects or too much."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise DataError(f"{name} is in version {version} of numpy's format: expected an array of plain numbers.")
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (pickled), which are never unpacked: save plain numbers.")
    needed = math.prod(shape) * dtype.itemsize
    if needed > MAX_BYTES:
        raise DataError(
            f"{name} says it holds {shape} of {dtype}, {needed / 2**30:,.1f} GB: expected at most {MAX_BYTES >> 30} GB."
        )
    if needed > size:
        raise DataError(f"{name} says it holds {shape} of {dtype}, {needed:,} bytes, but has {size:,}: it is cut off or damaged.")
    content = np.empty(needed, dtype=np.uint8)
    view, filled = memoryview(content.data), 0
    while filled < needed and (got := file.readinto(view[filled:])):
        filled += got
    if filled < needed:
        raise DataError(f"{name} ends after {filled:,} of {needed:,} bytes: it is cut off.")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")


def label_numbers(
    given: Sequence[NDArray[Any]], sizes: Sequence[int], classes: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of several parts as numbers, one part after the other, and the names of the classes.

    Args:
        given: the labels of each part, whole numbers or text.
        sizes: how many rows each part has.
        classes: names of the classes where labels are numbers from 0; else every different value is a class.

    Raises:
        DataError: labels of another shape or type, or numbers without a name.
    """
    values = np.concatenate([_label_values(one, n, "labels") for one, n in zip(given, sizes, strict=True)])
    if not classes:
        return _numbered(values, "the arrays", "labels")
    if values.dtype.kind not in "biu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(f"labels must be whole numbers from 0 to {len(classes) - 1} where {len(classes)} classes are named.")
    return values.astype(np.int64), classes


def rows_of(x: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Images to uint8 NCHW, vectors to float32, what the space of a plug-in accepts unchanged, and the whole-number columns.

    Raises:
        DataError: arrays of another shape, type or range.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {x.dtype}: expected numbers.")
    if x.ndim not in (2, 3, 4) and not any(kind.accepts(x) for kind in kinds()):
        others = "".join(f", or {kind.stores()}" for kind in kinds()[2:])
        raise DataError(
            f"{name} has shape {x.shape}: expected vectors (n, d) or images (n, H, W), (n, H, W, C) or (n, C, H, W){others}."
        )
    if not x.size:
        raise DataError(f"{name} is empty: its shape is {x.shape}.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(x.astype(np.float32)) if x.dtype.kind == "f" else np.ones(1, dtype=bool)
    if not finite.all():
        bad = np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))
        raise DataError(
            f"{name} has {len(bad)} row{'s' * (len(bad) != 1)} of {len(x)} that are not finite in float32 "
            f"(NaN or infinite); the first is row {bad[0]}. Remove or fill them."
        )
    if x.ndim == 2:
        integer = tuple(range(x.shape[1])) if x.dtype.kind in "iu" else ()
        for column in integer:
            _refuse_rounding(x[:, column], f"{name}, column {column}")
        return np.ascontiguousarray(x, dtype=np.float32), integer
    return (_pixels(_channels_first(x, name), name) if x.ndim < 5 else np.ascontiguousarray(x)), ()


def _refuse_rounding(values: NDArray[Any], place: str) -> None:
    """Whole numbers beyond 2^24 have no float32 of their own, so that samples would be of other numbers."""
    exact = values.astype(np.float64)
    lost = np.flatnonzero((exact.astype(np.float32) != exact) | (np.abs(exact) >= 2.0**53))
    if len(lost):
        raise DataError(
            f"{place}, row {lost[0] + 1}: {values[lost[0]]:.0f} is a whole number that float32 rounds; it holds all up to "
            "16,777,216. Subtract the smallest value from the column, or give it in a larger unit (thousands, days for seconds)."
        )


def _channels_first(x: NDArray[Any], name: str) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.shape[3] <= MAX_CHANNELS:
        return x.transpose(0, 3, 1, 2)
    if x.shape[1] <= MAX_CHANNELS:
        return x
    raise DataError(f"{name} has shape {x.shape}: neither the second nor the last axis has 1 to {MAX_CHANNELS} channels.")


def _pixels(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "f":
        if low < -1e-4 or high > 1 + 1e-4:
            hint = " Use (x + 1) / 2." if low >= -1.0001 and high <= 1.0001 else " Save 0 to 255 as uint8." if low >= 0 else ""
            raise DataError(f"{name}: float images from {low:g} to {high:g}: expected 0 to 1.{hint}")
        scaled = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(scaled)
    if low < 0 or high > 255:
        raise DataError(f"{name}: whole-number images from {low:g} to {high:g}: expected 0 to 255.")
    pixels = np.ascontiguousarray(x).astype(np.uint8)
    return pixels * np.uint8(255) if high <= 1 else pixels


def _label_values(label: NDArray[Any], n: int, name: str) -> NDArray[Any]:
    if label.shape != (n,):
        raise DataError(f"{name} has shape {label.shape}: expected ({n},), one label per row.")
    if label.dtype.kind not in "biufUS":
        raise DataError(f"{name} holds {label.dtype}: expected whole numbers or text.")
    return np.char.decode(label, "utf-8") if label.dtype.kind == "S" else label


def _as_numbers(cells: NDArray[np.str_]) -> NDArray[Any]:
    """Text cells as numbers if all are, so that labels sort as numbers."""
    try:
        return cells.astype(np.float64)
    except ValueError:
        return cells


def _numbered(values: NDArray[Any], place: str, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of any kind to 0 .. k-1 and their names, sorted."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            row = np.flatnonzero(~np.isfinite(values))[0]
            raise DataError(f"{place}: {name} is not finite in row {row}. Fill it in or remove the row.")
        if (values != np.rint(values)).any() or np.abs(values).max() >= 2**53:
            raise DataError(f"{place}: {name} holds numbers with fractions. A label is a class: expected whole numbers or text.")
        values = values.astype(np.int64)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > max(10, len(values) // 2) or len(kinds) > 10_000:
        raise DataError(f"{place}: {name} has {len(kinds)} different values in {len(values)} rows: too many to be classes.")
    return numbers.astype(np.int64).reshape(-1), tuple(str(kind) for kind in kinds)


def _table(path: Path, target: str | None, header: bool | None) -> tuple[list[str], list[list[str]], list[int], bool]:
    """Column names, rows, the line each row ends on, and whether the names are the file's own."""
    rows, lines = _cells(path)
    first = [name.strip() for name in rows[0]] if rows else []
    if not any(first):
        raise DataError(f"{path} is empty: expected rows of numbers, below a line of column names or without one.")
    if header is None:
        header = target in first or has_header(first, rows[1:])
    if header is None:
        raise DataError(
            f"{path}: the first line ({', '.join(first[:4])}{', ...' if len(first) > 4 else ''}) may hold column names or data. "
            "Say which: `header=True` for names, `header=False` for data."
        )
    if not header:
        return [f"x{i}" for i in range(len(first))], rows, lines, False
    _check_names(path, first)
    if len(rows) == 1:
        raise DataError(f"{path} has a header but no rows.")
    return first, rows[1:], lines[1:], True


def _cells(path: Path) -> tuple[list[list[str]], list[int]]:
    """The cells of every line that holds any, and the line each row ends on."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GB: save it as .npy.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}): save the table as .csv in UTF-8.") from error
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            width = len(rows[0]) if rows else len(row)
            if not row or (len(row) == 1 and not row[0].strip() and width > 1):
                continue
            if len(row) != width:
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} cells, but the first line has {width}.")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    return rows, lines


def _check_names(path: Path, names: list[str]) -> None:
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name. (pandas: save with index=False.)")
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise DataError(f'{path}: the name "{repeated[0]}" stands over more than one column.')


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(path: Path, name: str, cells: list[str], lines: list[int]) -> NDArray[np.float64]:
    try:
        values = np.array(cells).astype(np.float64)
    except ValueError:
        values = np.array([math.nan if (v := _number(cell)) is None else v for cell in cells])
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if not len(bad):
        return values
    row = int(bad[0])
    cell = cells[row].strip()
    what = "is missing" if not cell else "is not finite in float32" if _number(cell) is not None else "is not a number"
    many = f" ({len(bad)} such cells in this column)" if len(bad) > 1 else ""
    where = f'{path}, column "{name}", row {row + 1} (line {lines[row]}): "{cell[:40]}" {what}{many}.'
    if what == "is not a number":
        raise _TextColumn(where)
    raise DataError(f"{where} Fill it in or remove the row.")


class _TextColumn(DataError):
    """A column that holds text where numbers were expected."""


def _without_text(table: dict[str, list[str]], target: str | None) -> str:
    """What to do about the columns that hold text: all at once, and the label only where none is given."""
    texts = [name for name, cells in table.items() if any(cell.strip() and _number(cell) is None for cell in cells)]
    labels = [name for name in texts if len({cell.strip() for cell in table[name]}) <= max(10, len(table[name]) // 2)]
    several = f"Columns with text: {', '.join(texts)}. " if len(texts) > 1 else ""
    drop = f"{several}Drop {'them' if several else 'the column'}"
    if target or not labels:
        return f"{drop}."
    return f'{drop}, or make {"one" if several else "it"} the label: `target="{labels[0]}"`.'


def _whole(values: NDArray[np.float64], cells: list[str]) -> bool:
    """Whether a column holds whole numbers, written as such."""
    return bool((values == np.rint(values)).all()) and not any(set(cell) & set(".eE") for cell in cells)
