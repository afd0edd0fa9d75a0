"""What a column of a table holds is decided from its cells, and every cell comes back as it was."""

import numpy as np
import pytest
from programs.text_tables import read_texts

from pushforward.data import load
from pushforward.data.spaces import TableSpace
from pushforward.errors import DataError, UsageError
from pushforward.tables.columns import Category, Format, Number
from pushforward.tables.constraints import Constraint
from pushforward.tables.reading.csv_dialect import Layout
from pushforward.tables.reading.inference import infer
from pushforward.tables.reading.string_columns import MISSING, Faults, RawColumn


def finding(cells, missing=MISSING):
    faults = Faults()
    column = RawColumn.of("c", cells).without(missing)
    lines = range(2, len(cells) + 2)
    decided = infer(column, lines, faults)
    return decided, faults.sentences


def open_columns(random):
    """Cells with more different values than there are knots, and whether float32 holds each."""
    yield [str(v) for v in random.integers(-(10**6), 10**6, 4000)], True
    yield [f"{v:.4f}" for v in random.normal(0, 90, 4000)], False
    seconds = random.permutation(10**5)[:2000]
    moments = np.datetime64("2021-02-27 00:00:00") + seconds
    yield [str(moment).replace("T", " ") for moment in moments], False
    yield [f"{v:.9f}".rstrip("0").rstrip(".") for v in random.exponential(900, 4000)], False


def test_open_columns_come_back_too():
    """In float64 always, in float32 if they are integers."""
    for column, whole in open_columns(np.random.default_rng(0)):
        cells = list(column)
        decided, _ = finding(cells)
        values = decided.values(RawColumn.of("c", cells).without(MISSING))
        field = decided.measured(values)
        assert not field.closed
        encoded = field.encode(values)
        assert field.cells(field.decode(encoded)) == cells
        stored = field.decode(encoded.astype(np.float32))
        if whole:
            assert field.cells(stored) == cells
        exact = np.isin(values, field.knots)
        assert (stored == values)[exact].all(), "a knot was rounded"


KINDS = read_texts(
    """
    number   | 1.50; 2.25; 10.00
    number   | 1.5; 2; 10
    number   | 1.0; 2.25; -3.5
    number   | 1,5; 2,25; 3
    ordinal  | 3; 1; 2
    ordinal  | -1; 10; 2
    category | 007; 010; 123
    category | +49; +33; +1
    category | 99999999999999999; 88888888888888888; 7
    boolean  | TRUE; FALSE
    boolean  | Yes; No; N/A
    category | yes; no; maybe
    date     | 2021-03-04; 1969-12-31
    date     | 2021-03-04 05:06:07; 2021-12-31 23:59:59
    date     | 31.12.2020; 01.02.2021
    date     | 12/31/2020; 01/02/2021
    date     | 12/31/2020; 1/2/2021
    date     | 03 Feb 2020; 29 Feb 2020
    category | 2021-03-04; 2021-02-30
    category | ; NA
    ordinal  | 7
    whole    | 1,234; 999; -12,345,678
    number   | 1,234.50; 2,000,000.25; -3.00
    number   | 1,234; 0,999; 12,345
    whole    | 1.234.567; 999; -12.345
    number   | 1.234,50; -2.000.000,25; 3,00
    number   | 1.234,50; 20,00
    number   | 1'234.50; 20.00
    number   | 1 234,5; 20
    whole    | 1\u202f234; 20; 7
    number   | 1,234.50; 20.00
    number   | $1,234.50; -$99.00; $3.25
    number   | 1.234,56 EUR; 99,00 EUR; -3,25 EUR
    number   | CHF 1'234.50; CHF 99.00
    ordinal  | 12 doors; 2 doors; 4 doors
    category | A12; A2; A4
    category | $12; 12 EUR; 4
    category | 1st; 2nd; 11th
    """
)
REWRITTEN = read_texts(
    """
    number  | 1e-5; 0.25; 3     | 0.00001; 0.25; 3
    number  | 1e-20; 2.5e-7; 3  | 1e-20; 2.5e-07; 3
    boolean | 1; 0; ?           | 1; 0; ?
    """
)


def nine_times(text):
    """The cells of a column that repeats those of a text."""
    return [cell.strip() for cell in text.split(";")] * 9


def usual(cells):
    """The cells as they are written: one text stands for all missing values."""
    missing = RawColumn.of("c", cells).missing_text(MISSING)
    return [missing if cell in MISSING else cell for cell in cells]


def check_column(cells, kind, written):
    """Check the kind of a column, and that its values are written as expected."""
    decided, faults = finding(cells)
    assert faults == []
    assert decided.kind == kind
    column = RawColumn.of("c", cells)
    values = decided.values(column.without(MISSING))
    field = decided.measured(values)
    stored = field.encode(values).astype(np.float32)
    actual = field.cells(field.decode(stored), column.missing_text(MISSING))
    assert actual == written


@pytest.mark.parametrize(("kind", "text"), KINDS)
def test_kinds(kind, text):
    cells = nine_times(text)
    check_column(cells, kind, usual(cells))


@pytest.mark.parametrize(("kind", "text", "written"), REWRITTEN)
def test_kinds_of_cells_that_are_written_in_another_way(kind, text, written):
    check_column(nine_times(text), kind, nine_times(written))


def test_numbers_that_a_schema_names_categories_are_in_order(tmp_path):
    path = tmp_path / "sizes.csv"
    sizes = ["10", "9", "100"] * 20
    rows = [f"{size},{number}.5" for number, size in enumerate(sizes)]
    path.write_text("\n".join(["size,weight", *rows]))
    data = load(path, schema={"columns": {"size": {"kind": "category"}}})
    assert data.space.fields[0].names == ("9", "10", "100")


def generated_columns():
    """The kind and the cells of longer columns."""
    yield "whole", [str(v) for v in range(3, 90, 3)]
    yield "whole", [f"{v} kg" for v in range(-60, 60, 2)]
    yield "number", [f"{v / 8}%" for v in range(-20, 20)]
    codes = [str(v) for v in range(100, 160)]
    yield "category", [*codes, "0199", "0200"] * 2
    yield "category", [f"user {i}" for i in range(9)]


def test_kinds_of_generated_columns():
    for kind, cells in generated_columns():
        check_column(cells, kind, cells)


def test_identifiers_are_left_out():
    numbers = [str(v) for v in range(1, 90)]
    users = [f"user {i}" for i in range(40)]
    for cells in (numbers, users):
        decided, faults = finding(cells)
        assert faults == []
        assert decided.kind == "drop"
        assert "identifier" in decided.why


def ambiguous_columns():
    """Cells that cannot be decided, and words of the refusal."""
    yield [f"{v} kg" if v % 2 else f"{v} g" for v in range(60)], "too many categories"
    yield [f"${v / 8}" if v % 2 else f"€{v / 8}" for v in range(60)], "too many categories"
    yield nine_times("1,234; 2000; 12,345"), "commas may separate thousands or decimals"
    codes = [str(v) for v in range(100, 300)]
    yield [*codes, *codes, "007"], "1 cell "
    decimals = [f"{v // 10},{v % 10}" for v in range(100, 300)]
    yield [*decimals, "k.A."], "1 cell "


def test_columns_that_are_refused_rather_than_left_out():
    for cells, says in ambiguous_columns():
        _, faults = finding(cells)
        assert len(faults) == 1
        assert says in faults[0]


def refused(build, *arguments, **options):
    with pytest.raises((DataError, UsageError)):
        build(*arguments, **options)


@pytest.mark.parametrize("count", [-1, 18, 2.0])
@pytest.mark.parametrize("name", ["decimals", "least", "digits"])
def test_formats_with_impossible_counts_of_digits_are_refused(name, count):
    refused(Format, **{name: count})


@pytest.mark.parametrize("pattern", ["%9999Y", "%Y" * 51, "%Y-%", "%_10d"])
def test_formats_of_dates_that_cannot_be_written_are_refused(pattern):
    refused(Format, pattern=pattern)


NAN = float("nan")


def floats(text):
    return tuple(float(cell) for cell in text.split())


KNOTS_AND_RANKS = read_texts(
    """
    0 nan | 0.5 1
    0 inf | 0.5 1
    0 1   | 0 1
    0 1   | 0.5 1.5
    0 1   | 0.5 nan
    """
)


@pytest.mark.parametrize(("knots", "ranks"), KNOTS_AND_RANKS)
def test_numbers_with_impossible_knots_or_ranks_are_refused(knots, ranks):
    refused(Number, "x", floats(knots), floats(ranks), True)


@pytest.mark.parametrize("shares", ["-1 2", "0.5 nan", "0.5 inf", "0.5 0.1"])
def test_categories_with_impossible_shares_are_refused(shares):
    refused(Category, "x", ("a", "b"), floats(shares))


def test_columns_and_files_that_cannot_be_written_are_refused():
    ranks = (0.5, 1.0)
    refused(Format, point="")
    refused(Number, "x", (0.0,), (1.0,), True, atoms=floats("inf"), shares=(0.5, 0.5))
    refused(Number, "x", (), (), True, atoms=(1.0,), shares=(-1.0, 2.0))
    years = Format(pattern="%Y")
    refused(Number, "x", (1e15,), (1.0,), True, "date", years)
    refused(Number, "x", (0.0, 1.0), ranks, False)
    refused(Layout, "ab")
    refused(Layout, missing=("x" * 1001,))
    fields = [Category("x", ("a",), (1.0,))]
    refused(TableSpace.of, fields, layout=Layout(missing=("", "")))
    refused(TableSpace.of, fields, constraints=(Constraint("y >= 1"),))


def test_intervals_of_an_open_column_hold_the_ranks_of_its_values():
    values = np.sort(np.r_[np.arange(3000.0), np.full(40, 700.0), np.full(25, 2200.0)])
    field = Number.measured("n", values, "whole", Format(0))
    knots = np.array(field.knots)
    low, high = field.bounds.reshape(-1, 2).T
    first = np.searchsorted(values, knots)
    last = np.searchsorted(values, knots, "right")
    ranks = (first + last) / 2 / len(values)
    np.testing.assert_allclose((low + high) / 2, ranks, atol=1e-12)
    np.testing.assert_allclose(high - low, field.spans, atol=1e-12)


def texts(form, values):
    return [form.cell(value) for value in values]


def test_a_number_with_thousands_that_are_not_three_digits_is_none():
    form = Format(0, group=",", plus=True)
    numbers = [form.value(cell) for cell in ("+1,234", "-1,234,567", "12")]
    assert numbers == [1234, -1234567, 12]
    others = [form.value(cell) for cell in ("1,5", "1,2345", "1,,234")]
    assert np.isnan(others).all()
    assert texts(form, [1234.4, -0.2, -1234567.0]) == ["+1,234", "0", "-1,234,567"]


FORMATS = read_texts(
    """
    10; 10.95; 1200.25 | 10.9; 12; 1234.5
    10.00; 10.95       | 10.90; 12.00; 1234.50
    10.0; 10.95        | 10.9; 12.0; 1234.5
    10; 10,95          | 10,9; 12; 1234,5
    10; 1.210,95       | 10,9; 12; 1.234,5
    """
)


@pytest.mark.parametrize(("cells", "written"), FORMATS)
def test_other_numbers_are_written_as_those_of_the_file(cells, written):
    decided, _ = finding(nine_times(cells))
    actual = texts(decided.form, [10.9, 12.0, 1234.5])
    assert actual == written.split("; ")


GAPS = [3 * i + i % 2 for i in range(30)]
ROTATED = [*GAPS[9:], *GAPS[:9]]
REPEATED = [*GAPS[:-1], GAPS[0]]


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("key", GAPS, True),
        ("key", GAPS[::-1], True),
        ("customerId", ROTATED, True),
        ("income", ROTATED, False),
        ("id", REPEATED, True),
        ("income", REPEATED, False),
    ],
)
def test_whole_numbers_that_may_be_an_identifier_are_named_and_stay(tmp_path, name, cells, words):
    lines = [f"{name},kind\n"]
    for i, cell in enumerate(cells):
        lines.append(f"{cell},{'ab'[i % 2]}\n")
    path = tmp_path / "t.csv"
    path.write_text("".join(lines))
    data = load(path)
    assert data.space.names == (name, "kind")
    named = any("identifier" in note for note in data.table.sentences)
    assert named == words
