"""What a column of a table holds is decided from its cells, and every cell comes back as it was."""

import numpy as np
import pytest

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
    decided = infer(RawColumn.of("c", cells).without(missing), range(2, len(cells) + 2), faults)
    return decided, faults.sentences


def test_open_columns_come_back_too():
    """Of more different values than there are knots: in float64 always, in float32 where they are
    whole numbers.
    """
    rng = np.random.default_rng(0)
    for cells, whole in (
        ([str(v) for v in rng.integers(-(10**6), 10**6, 4000)], True),
        ([f"{v:.4f}" for v in rng.normal(0, 90, 4000)], False),
        (
            [
                str(np.datetime64("2021-02-27 00:00:00") + int(v)).replace("T", " ")
                for v in rng.permutation(10**5)[:2000]
            ],
            False,
        ),
        ([f"{v:.9f}".rstrip("0").rstrip(".") for v in rng.exponential(900, 4000)], False),
    ):
        decided, _ = finding(cells)
        values = decided.values(RawColumn.of("c", cells).without(MISSING))
        field = decided.measured(values)
        assert not field.closed
        actual = field.cells(field.decode(field.encode(values)))
        assert actual == cells
        if whole:
            actual = field.cells(field.decode(field.encode(values).astype(np.float32)))
            assert actual == cells
        exact = np.isin(values, field.knots)
        stored = field.decode(field.encode(values).astype(np.float32))
        assert (stored == values)[exact].all(), "a knot was rounded"


@pytest.mark.parametrize(
    ("cells", "kind", "written"),
    [
        (["1.50", "2.25", "10.00"] * 9, "number", None),
        (["1.5", "2", "10"] * 9, "number", None),
        (["1.0", "2.25", "-3.5"] * 9, "number", None),
        (["1e-5", "0.25", "3"] * 9, "number", ["0.00001", "0.25", "3"] * 9),
        (["1e-20", "2.5e-7", "3"] * 9, "number", ["1e-20", "2.5e-07", "3"] * 9),
        (["1,5", "2,25", "3"] * 9, "number", None),
        ([str(v) for v in range(3, 90, 3)], "whole", None),
        ([str(v) for v in range(1, 90)], "drop", None),
        (["3", "1", "2"] * 9, "ordinal", None),
        (["-1", "10", "2"] * 9, "ordinal", None),
        (["007", "010", "123"] * 9, "category", None),
        (["+49", "+33", "+1"] * 9, "category", None),
        (["9" * 17, "8" * 17, "7"] * 9, "category", None),
        (["TRUE", "FALSE"] * 9, "boolean", None),
        (["1", "0", "?"] * 9, "boolean", ["1", "0", "?"] * 9),
        (["Yes", "No", "N/A"] * 9, "boolean", None),
        (["yes", "no", "maybe"] * 9, "category", None),
        (["2021-03-04", "1969-12-31"] * 9, "date", None),
        (["2021-03-04 05:06:07", "2021-12-31 23:59:59"] * 9, "date", None),
        (["31.12.2020", "01.02.2021"] * 9, "date", None),
        (["12/31/2020", "01/02/2021"] * 9, "date", None),
        (["12/31/2020", "1/2/2021"] * 9, "date", None),
        (["03 Feb 2020", "29 Feb 2020"] * 9, "date", None),
        (["2021-03-04", "2021-02-30"] * 9, "category", None),
        (["", "NA"] * 9, "category", None),
        (["7"] * 9, "ordinal", None),
        (["1,234", "999", "-12,345,678"] * 9, "whole", None),
        (["1,234.50", "2,000,000.25", "-3.00"] * 9, "number", None),
        (["1,234", "0,999", "12,345"] * 9, "number", None),
        (["1.234.567", "999", "-12.345"] * 9, "whole", None),
        (["1.234,50", "-2.000.000,25", "3,00"] * 9, "number", None),
        (["1.234,50", "20,00"] * 9, "number", None),
        (["1'234.50", "20.00"] * 9, "number", None),
        (["1 234,5", "20"] * 9, "number", None),
        (["1\u202f234", "20", "7"] * 9, "whole", None),
        (["1,234.50", "20.00"] * 9, "number", None),
        ([*map(str, range(100, 160)), *["0199", "0200"]] * 2, "category", None),
        (["$1,234.50", "-$99.00", "$3.25"] * 9, "number", None),
        (["1.234,56 EUR", "99,00 EUR", "-3,25 EUR"] * 9, "number", None),
        (["CHF 1'234.50", "CHF 99.00"] * 9, "number", None),
        ([f"{v / 8}%" for v in range(-20, 20)], "number", None),
        ([f"{v} kg" for v in range(-60, 60, 2)], "whole", ""),
        (["12 doors", "2 doors", "4 doors"] * 9, "ordinal", None),
        (["A12", "A2", "A4"] * 9, "category", None),
        (["$12", "12 EUR", "4"] * 9, "category", None),
        (["1st", "2nd", "11th"] * 9, "category", None),
        ([f"user {i}" for i in range(40)], "drop", None),
        ([f"user {i}" for i in range(9)], "category", None),
    ],
)
def test_kinds(cells, kind, written):
    decided, faults = finding(cells)
    assert (decided.kind, faults) == (kind, [])
    if kind == "drop":
        assert "identifier" in decided.why
        return
    column = RawColumn.of("c", cells)
    values = decided.values(column.without(MISSING))
    field = decided.measured(values)
    missing = column.missing_text(MISSING)
    usual = written or [missing if cell in MISSING else cell for cell in cells]
    actual = field.cells(field.decode(field.encode(values).astype(np.float32)), missing)
    assert actual == usual


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([f"{v} {'kg' if v % 2 else 'g'}" for v in range(60)], "too many categories"),
        ([f"{'$' if v % 2 else '€'}{v / 8}" for v in range(60)], "too many categories"),
        (["1,234", "2000", "12,345"] * 9, "commas may separate thousands or decimals"),
        ([*map(str, range(100, 300)), *map(str, range(100, 300)), "007"], "1 cell "),
        ([*(f"{v // 10},{v % 10}" for v in range(100, 300)), "k.A."], "1 cell "),
    ],
)
def test_columns_that_are_refused_rather_than_left_out(cells, says):
    _, faults = finding(cells)
    assert len(faults) == 1
    assert says in faults[0]


NAN = float("nan")
INF = float("inf")


@pytest.mark.parametrize(
    "build",
    [
        *(
            lambda name=name, count=count: Format(**{name: count})
            for name in ("decimals", "least", "digits")
            for count in (-1, 18, 2.0)
        ),
        *(
            lambda pattern=pattern: Format(pattern=pattern)
            for pattern in ("%9999Y", "%Y" * 51, "%Y-%", "%_10d")
        ),
        lambda: Format(point=""),
        *(lambda knot=knot: Number("x", (0.0, knot), (0.5, 1.0), True) for knot in (NAN, INF)),
        lambda: Number("x", (0.0,), (1.0,), True, atoms=(INF,), shares=(0.5, 0.5)),
        lambda: Number("x", (1e15,), (1.0,), True, "date", Format(pattern="%Y")),
        *(
            lambda ranks=ranks: Number("x", (0.0, 1.0), ranks, True)
            for ranks in ((0.0, 1.0), (0.5, 1.5), (0.5, NAN))
        ),
        lambda: Number("x", (0.0, 1.0), (0.5, 1.0), False),
        *(
            lambda a=a, b=b: Category("x", ("a", "b"), (a, b))
            for a, b in ((-1.0, 2.0), (0.5, NAN), (0.5, INF), (0.5, 0.1))
        ),
        lambda: Number("x", (), (), True, atoms=(1.0,), shares=(-1.0, 2.0)),
        lambda: Layout("ab"),
        lambda: Layout(missing=("x" * 1001,)),
        lambda: TableSpace.of([Category("x", ("a",), (1.0,))], layout=Layout(missing=("", ""))),
        lambda: TableSpace.of([Category("x", ("a",), (1.0,))], constraints=(Constraint("y >= 1"),)),
    ],
)
def test_columns_and_files_that_cannot_be_written_are_refused(build):
    with pytest.raises((DataError, UsageError)):
        build()


def test_intervals_of_an_open_column_hold_the_ranks_of_its_values():
    values = np.sort(np.r_[np.arange(3000.0), np.full(40, 700.0), np.full(25, 2200.0)])
    field = Number.measured("n", values, "whole", Format(0))
    knots = np.array(field.knots)
    low, high = field.bounds.reshape(-1, 2).T
    ranks = (
        (np.searchsorted(values, knots) + np.searchsorted(values, knots, "right")) / 2 / len(values)
    )
    np.testing.assert_allclose((low + high) / 2, ranks, atol=1e-12)
    expected = np.array(field.spans)
    np.testing.assert_allclose(high - low, expected, atol=1e-12)


def test_a_number_with_thousands_that_are_not_three_digits_is_none():
    form = Format(0, group=",", plus=True)
    assert [form.value(cell) for cell in ("+1,234", "-1,234,567", "12")] == [1234, -1234567, 12]
    assert np.isnan([form.value(cell) for cell in ("1,5", "1,2345", "1,,234")]).all()
    assert [form.cell(value) for value in (1234.4, -0.2, -1234567.0)] == [
        "+1,234",
        "0",
        "-1,234,567",
    ]


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (["10", "10.95", "1200.25"], ["10.9", "12", "1234.5"]),
        (["10.00", "10.95"], ["10.90", "12.00", "1234.50"]),
        (["10.0", "10.95"], ["10.9", "12.0", "1234.5"]),
        (["10", "10,95"], ["10,9", "12", "1234,5"]),
        (["10", "1.210,95"], ["10,9", "12", "1.234,5"]),
    ],
)
def test_other_numbers_are_written_as_those_of_the_file(cells, written):
    decided, _ = finding(cells * 9)
    assert [decided.form.cell(value) for value in (10.9, 12.0, 1234.5)] == written


GAPS = [3 * i + i % 2 for i in range(30)]


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("key", GAPS, True),
        ("key", GAPS[::-1], True),
        ("customerId", [*GAPS[9:], *GAPS[:9]], True),
        ("income", [*GAPS[9:], *GAPS[:9]], False),
        ("id", [*GAPS[:-1], GAPS[0]], True),
        ("income", [*GAPS[:-1], GAPS[0]], False),
    ],
)
def test_whole_numbers_that_may_be_an_identifier_are_named_and_stay(tmp_path, name, cells, words):
    path = tmp_path / "t.csv"
    path.write_text(
        f"{name},kind\n" + "".join(f"{cell},{'ab'[i % 2]}\n" for i, cell in enumerate(cells))
    )
    data = load(path)
    assert data.space.names == (name, "kind")
    actual = any("identifier" in note for note in data.table.sentences)
    assert actual == words
