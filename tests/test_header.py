"""What is taken as the header of a table."""

import numpy as np
import pytest

from pushforward.data import check, load
from pushforward.data.tables.csv_dialect import has_header

rng = np.random.default_rng(0)
FLOATS = [[f"{a:.4f}" for a in row] for row in rng.normal(40, 3, (40, 3))]
WHOLE = [[str(a) for a in row] for row in rng.integers(0, 17, (40, 3))]
KINDS = [[*row, ["rust", "fir", "oak"][i % 3]] for i, row in enumerate(FLOATS)]
NAMED = [[f"row{i}", *row] for i, row in enumerate(FLOATS)]


@pytest.mark.parametrize(
    ("first", "rows", "expected"),
    [
        (["height", "width", "depth"], FLOATS, True),
        (["a", "b", "c"], [["", "1", "2"], ["3", "NA", "nan"], ["5", "6", ""]], True),
        (["height", "width", "depth", "kind"], KINDS, True),
        (["kind"], [["fir"], ["oak"], ["fir"], ["oak"]], True),
        (["2019", "2020", "2021"], FLOATS, True),
        (["id", "2019", "2020", "2021"], NAMED, True),
        (["height", "width", "depth"], [], True),
        (["43.0084", "41.1", "39"], FLOATS, False),
        (["43.0084", "41.1", "39", "fir"], KINDS, False),
        (["43.0084", "NA", "nan"], FLOATS, False),
        (["row99", "43.0084", "41.1", "39.2"], NAMED, False),
        (["7", "3", "12"], WHOLE, False),
        (["1e3", "300", "12"], WHOLE, False),
        (["fir"], [["fir"], ["oak"], ["fir"], ["oak"]], False),
        (["4", "5", "6"], WHOLE, None),
        (["height", "41.1", "39"], FLOATS, None),
        (["a", "b", "c", "fir"], KINDS, True),
        (["a", "41.1", "39", "fir"], KINDS, None),
        (["elm", "7"], [["fir", "3"], ["oak", "9"], ["fir", "1"], ["oak", "4"]], None),
    ],
    ids=lambda value: None if isinstance(value, list) and value and isinstance(value[0], list) else str(value),
)
def test_the_first_line_is_names_or_data(first, rows, expected):
    assert has_header(first, rows) is expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [0, 2])
def test_a_row_of_data_is_hardly_ever_taken_as_names(seed, digits):
    """Any row of a table may be its first; the answer may be None, but names would lose the row."""
    values = np.random.default_rng(seed).normal(30, 9, (200, 4))
    rows = [[f"{v:.{digits}f}" for v in row] + ["ab"[i % 2]] for i, row in enumerate(values)]
    answers = [has_header(rows[i], rows[:i] + rows[i + 1 :]) for i in range(200)]
    assert not any(answer is True for answer in answers), "a row of data was taken as names"
    assert answers.count(False) >= 198


def write(folder, first, rows):
    (folder / "t.csv").write_text("\n".join(",".join(row) for row in ([first] if first else []) + rows) + "\n")
    return folder / "t.csv"


def test_no_row_is_lost_where_a_column_holds_text(tmp_path):
    data = load(write(tmp_path, None, KINDS), target="x3")
    assert len(data.train) + len(data.held_out) == 40
    assert data.space.columns == ("x0", "x1", "x2")
    assert data.space.classes == ("fir", "oak", "rust")
    assert data.header is False
    assert check(tmp_path / "t.csv", target="x3")["header"] is False


def test_a_named_target_makes_the_first_line_names(tmp_path):
    assert load(write(tmp_path, ["4", "5", "6"], WHOLE), target="6").space.columns == ("4", "5")


@pytest.mark.parametrize("first", [(1, 5), (0, 1), (2019, 2020), (7, 8)])
def test_the_first_row_of_a_sorted_table_is_not_taken_for_names(first):
    """Counters, indices of time and running totals: two rising numbers are their first row as likely as names."""
    rows = [[str(first[0] + i), str(first[1] + 3 * i)] for i in range(1, 200)]
    assert has_header([str(value) for value in first], rows) is None
    assert has_header(["0", "1", "2"], [[str(i), str(i + 1), str(i + 2)] for i in range(1, 50)]) is None
    assert has_header(["1", "5", "9"], [[str(i), str(i + 7), f"{i / 7:.3f}"] for i in range(2, 50)]) is None
