"""Tables in text: dialects, headers, targets, and what is refused or left out."""

import warnings

import numpy as np
import pytest
from programs.image_files import rows_of

import pushforward as pf
from pushforward.cli.inputs import source
from pushforward.data import Space, check, load
from pushforward.errors import DataError, UsageError
from pushforward.tables.reading.csv_dialect import has_header


def table(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return tmp_path / "t.csv"


GOOD = "height,count,kind\n" + "".join(f"{i / 4},{i},{'ab'[i % 2]}\n" for i in range(20))


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


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\nabc,3\n4,5\n", r'"a".* 1 cell .*line 3 \("abc"\).*`drop="a"`'),
        ("a,b\n1,2\n3,nan\n4,inf\n5,6\n", r'"b".* 1 cell .*line 4 \("inf"\)'),
        ("a,b\n1,2\n3\n", "line 3 has 1 cell"),
        ("a,b\n1,2,3\n", "line 2 "),
        ("a,a\n1,2\n3,4\n", 'unique.*"a"'),
        (",a\n0,1\n1,2\n", "column 1 .*name|name.*column 1"),
        ("1,2\n3,4\n4,1\n", "names or data"),
        ("", "is empty"),
        ("a,b\n", "no rows"),
        (b"a,b\n\xff\xfe,2\n", "not UTF-8"),
        ("a,b\n1,2\n", "at least 2"),
        ("a\n" + "9" * 200_000 + "\n", "field larger"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, match):
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "target", "kind", "match"),
    [
        (GOOD, "kin", UsageError, '"kin".*Did you mean "kind"'),
        ("a,k\n1,x\n2,\n", "k", DataError, '"k".*missing.*line 3'),
        ("k\nx\ny\n", "k", DataError, "column except the target"),
        ("a,k\n" + "".join(f"{i},{i}\n" for i in range(30)), "k", DataError, "30 distinct values"),
    ],
)
def test_targets_that_are_refused(tmp_path, text, target, kind, match):
    with pytest.raises(kind, match=match):
        load(table(tmp_path, text), target=target, table=False)


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
        (["2010", "2015", "2020"], FLOATS, True),
        (["2010", "2015", "2020"], [["900", "3100", "1200"], ["3000", "700", "2500"]], None),
        (["2010", "2015"], [["900.5", "3100.1"], ["3000.2", "700"]], True),
        (["0", "1", "2"], WHOLE, True),
        (["0", "1", "2"], [["1", "3", "4"], ["2", "5", "6"], ["3", "7", "8"]], None),
        (["height", "width", "depth"], [], True),
        (["1.5", "7", "2"], [], False),
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
        (["a", "fir"], [["4.1", "fir"], ["3.9", "oak"], ["4.4", "fir"]], None),
        (["elm", "7"], [["fir", "3"], ["oak", "9"], ["fir", "1"], ["oak", "4"]], None),
    ],
    ids=lambda value: (
        None if isinstance(value, list) and value and isinstance(value[0], list) else str(value)
    ),
)
def test_the_first_line_is_names_or_data(first, rows, expected):
    assert has_header(zip(first, *rows, strict=True)) is expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [0, 2])
def test_a_row_of_data_is_hardly_ever_taken_as_names(seed, digits):
    """Any row of a table may be its first; the answer may be None, but names would lose the row."""
    values = np.random.default_rng(seed).normal(30, 9, (200, 4))
    rows = [[f"{v:.{digits}f}" for v in row] + ["ab"[i % 2]] for i, row in enumerate(values)]
    answers = [has_header(zip(rows[i], *rows[:i], *rows[i + 1 :], strict=True)) for i in range(200)]
    assert not any(answer is True for answer in answers), "a row of data was taken as names"
    assert answers.count(False) >= 198


def write(folder, first, rows):
    (folder / "t.csv").write_text(
        "\n".join(",".join(row) for row in ([first] if first else []) + rows) + "\n"
    )
    return folder / "t.csv"


def test_no_row_is_lost_where_a_column_holds_text(tmp_path):
    data = load(write(tmp_path, None, KINDS), target="x3")
    assert len(data.train) + len(data.held_out) == 40
    assert data.space.columns == ("x0", "x1", "x2")
    assert data.space.classes == ("fir", "oak", "rust")
    assert data.header is False
    assert check(tmp_path / "t.csv", target="x3")["header"] is False


def test_a_named_target_makes_the_first_line_names(tmp_path):
    columns = load(write(tmp_path, ["4", "5", "6"], WHOLE), target="6").space.columns
    assert columns == ("4", "5")


def test_in_python_columns_that_are_left_out_are_a_warning_and_on_the_command_line_a_line(
    tmp_path, capsys
):
    pd = pytest.importorskip("pandas")
    path = tmp_path / "t.csv"
    frame = pd.DataFrame(
        {"id": range(40), "x": [i % 7 / 8 for i in range(40)], "c": list("abca" * 10)}
    )
    frame.to_csv(path, index=False)
    for place in (frame, path):
        with pytest.warns(UserWarning, match='left out "id"') as warned:
            load(place)
        assert [warning.filename for warning in warned] == [__file__], "at the line of the user"
    with pytest.warns(UserWarning, match="personal data.*identifiers"):
        load(frame, schema={"columns": {"id": {"kind": "whole"}}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(frame, drop=["id"])
        data = source(str(path))
        assert capsys.readouterr().err.count('left out "id"') == 1
        assert data.space.names == ("x", "c")
        pf.resume(pf.fit("flow", data, size="tiny", steps=1, out=tmp_path / "run").folder, steps=2)
