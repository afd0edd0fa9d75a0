"""Tables in text: dialects, headers, targets, and what is refused or left out."""

import warnings

import numpy as np
import pytest
from programs.image_files import rows_of
from programs.text_tables import read_texts

import pushforward as pf
from pushforward.cli.inputs import source
from pushforward.data import Space, check, load
from pushforward.errors import DataError, UsageError
from pushforward.tables.reading.csv_dialect import has_header


def table(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    return path


def csv_text(rows):
    """The text of a table, one line per row."""
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    return "".join(lines)


GOOD = "height,count,kind\n" + csv_text((i / 4, i, "ab"[i % 2]) for i in range(20))
MANY = "a,k\n" + csv_text((i, i) for i in range(30))


def test_table_with_a_text_target(tmp_path):
    data = load(table(tmp_path, GOOD), target="kind")
    assert data.space.columns == ("height", "count")
    assert data.space.integer == (1,)
    assert data.space.classes == ("a", "b")
    rows = rows_of(data)
    assert sorted(rows.tolist()) == [[i / 4, i] for i in range(20)]
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    assert (labels == rows[:, 1] % 2).all()
    assert isinstance(data.space, Space)
    assert data.name == "t"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,b\r\n1,2\r\n3,4\r\n\r\n",
        "a;b\n1;2\n3;4\n",
        "a\tb\n1\t2\n3\t4",
        '"a",b\n"1",2\n 3 , 4 \n',
    ],
)
def test_dialects(tmp_path, text):
    data = load(table(tmp_path, text), table=False)
    assert data.space.columns == ("a", "b")
    values = sorted(rows_of(data).tolist())
    assert values == [[1, 2], [3, 4]]


REFUSED = read_texts(
    r"""
    a,b\n1,2\nabc,3\n4,5\n      | "a".* 1 cell .*line 3 \("abc"\).*`drop="a"`
    a,b\n1,2\n3,nan\n4,inf\n5,6 | "b".* 1 cell .*line 4 \("inf"\)
    a,b\n1,2\n3\n               | line 3 has 1 cell
    a,b\n1,2,3\n                | line 2
    a,a\n1,2\n3,4\n             | unique.*"a"
    ,a\n0,1\n1,2\n              | column 1 
    1,2\n3,4\n4,1\n             | names or data
                                | is empty
    a,b\n                       | no rows
    a,b\n1,2\n                  | at least 2
    """
)


@pytest.mark.parametrize(("text", "match"), REFUSED)
def test_tables_that_are_refused(tmp_path, text, match):
    path = table(tmp_path, text.replace(r"\n", "\n"))
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(path)


def test_bytes_that_are_not_utf_8_and_huge_cells_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(DataError, match="not UTF-8"):
        load(path)
    path.write_text("a\n" + "9" * 200_000 + "\n")
    with pytest.raises(DataError, match="field larger"):
        load(path)


@pytest.mark.parametrize(
    ("text", "target", "match"),
    [
        ("a,k\n1,x\n2,\n", "k", '"k".*missing.*line 3'),
        ("k\nx\ny\n", "k", "column except the target"),
        (MANY, "k", "30 distinct values"),
    ],
)
def test_targets_that_are_refused(tmp_path, text, target, match):
    with pytest.raises(DataError, match=match):
        load(table(tmp_path, text), target=target, table=False)


def test_a_target_that_is_not_a_column_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r'"kin".*Did you mean "kind"'):
        load(table(tmp_path, GOOD), target="kin", table=False)


rng = np.random.default_rng(0)
WOODS = ["rust", "fir", "oak"]


def cells_of(text):
    """The rows of a text: cells between commas, rows between semicolons."""
    return [[cell.strip() for cell in row.split(",")] for row in text.split(";") if text]


FLOATS = [[f"{a:.4f}" for a in row] for row in rng.normal(40, 3, (40, 3))]
WHOLE = [[str(a) for a in row] for row in rng.integers(0, 17, (40, 3))]
KINDS = [[*row, WOODS[i % 3]] for i, row in enumerate(FLOATS)]
NAMED = [[f"row{i}", *row] for i, row in enumerate(FLOATS)]
LONG = {"FLOATS": FLOATS, "WHOLE": WHOLE, "KINDS": KINDS, "NAMED": NAMED}
FIRST_LINES = read_texts(
    """
    names | height, width, depth      | FLOATS
    names | a, b, c                   | , 1, 2; 3, NA, nan; 5, 6,
    names | height, width, depth, kind| KINDS
    names | kind                      | fir; oak; fir; oak
    names | 2019, 2020, 2021          | FLOATS
    names | id, 2019, 2020, 2021      | NAMED
    names | 2010, 2015, 2020          | FLOATS
    ?     | 2010, 2015, 2020          | 900, 3100, 1200; 3000, 700, 2500
    names | 2010, 2015                | 900.5, 3100.1; 3000.2, 700
    names | 0, 1, 2                   | WHOLE
    ?     | 0, 1, 2                   | 1, 3, 4; 2, 5, 6; 3, 7, 8
    names | height, width, depth      |
    data  | 1.5, 7, 2                 |
    data  | 43.0084, 41.1, 39         | FLOATS
    data  | 43.0084, 41.1, 39, fir    | KINDS
    data  | 43.0084, NA, nan          | FLOATS
    data  | row99, 43.0084, 41.1, 39.2| NAMED
    data  | 7, 3, 12                  | WHOLE
    data  | 1e3, 300, 12              | WHOLE
    data  | fir                       | fir; oak; fir; oak
    ?     | 4, 5, 6                   | WHOLE
    ?     | height, 41.1, 39          | FLOATS
    names | a, b, c, fir              | KINDS
    ?     | a, 41.1, 39, fir          | KINDS
    ?     | a, fir                    | 4.1, fir; 3.9, oak; 4.4, fir
    ?     | elm, 7                    | fir, 3; oak, 9; fir, 1; oak, 4
    """
)
ANSWERS = {"names": True, "data": False, "?": None}


@pytest.mark.parametrize(("answer", "first", "text"), FIRST_LINES)
def test_the_first_line_is_names_or_data(answer, first, text):
    rows = LONG.get(text) or cells_of(text)
    columns = zip(*cells_of(first), *rows, strict=True)
    assert has_header(columns) is ANSWERS[answer]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [0, 2])
def test_a_row_of_data_is_hardly_ever_taken_as_names(seed, digits):
    """Any row of a table may be its first; the answer may be None, but names would lose the row."""
    values = np.random.default_rng(seed).normal(30, 9, (200, 4))
    rows = []
    for i, row in enumerate(values):
        cells = [f"{value:.{digits}f}" for value in row]
        rows.append([*cells, "ab"[i % 2]])
    answers = []
    for i, first in enumerate(rows):
        others = rows[:i] + rows[i + 1 :]
        answers.append(has_header(zip(first, *others, strict=True)))
    assert answers.count(True) == 0, "a row of data was taken as names"
    assert answers.count(False) >= 198


def test_no_row_is_lost_where_a_column_holds_text(tmp_path):
    path = table(tmp_path, csv_text(KINDS))
    data = load(path, target="x3")
    assert len(data.train) + len(data.held_out) == 40
    assert data.space.columns == ("x0", "x1", "x2")
    assert data.space.classes == ("fir", "oak", "rust")
    assert data.header is False
    assert check(path, target="x3")["header"] is False


def test_a_named_target_makes_the_first_line_names(tmp_path):
    path = table(tmp_path, csv_text([["4", "5", "6"], *WHOLE]))
    columns = load(path, target="6").space.columns
    assert columns == ("4", "5")


@pytest.fixture
def frame():
    pd = pytest.importorskip("pandas")
    numbers = [i % 7 / 8 for i in range(40)]
    return pd.DataFrame({"id": range(40), "x": numbers, "c": list("abca" * 10)})


def test_in_python_columns_that_are_left_out_are_a_warning_at_the_line_of_the_user(tmp_path, frame):
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    for place in (frame, path):
        with pytest.warns(UserWarning, match='left out "id"') as warned:
            load(place)
        assert [warning.filename for warning in warned] == [__file__]
    with pytest.warns(UserWarning, match="personal data.*identifiers"):
        load(frame, schema={"columns": {"id": {"kind": "whole"}}})


def test_on_the_command_line_columns_that_are_left_out_are_a_line(tmp_path, capsys, frame):
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(frame, drop=["id"])
        data = source(str(path))
        assert capsys.readouterr().err.count('left out "id"') == 1
        assert data.space.names == ("x", "c")
        run = pf.fit("flow", data, size="tiny", steps=1, out=tmp_path / "run")
        pf.resume(run.folder, steps=2)
