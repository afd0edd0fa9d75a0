"""Tables of mixed types are read as they are written: separators, kinds, missing values, schemas,
frames, all faults at once.
"""

import csv
import io
import json
import shlex
from collections import Counter

import numpy as np
import pytest
from programs.table_files import mixed_columns
from programs.text_tables import read_cases

import pushforward as pf
from pushforward.cli import main
from pushforward.data import TableSpace, check, load
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.evaluation.model_metrics import check_bits
from pushforward.numbers import clipped
from pushforward.spec import build, describe
from pushforward.tables.reading.csv_dialect import text_table, with_names
from pushforward.tables.reading.schema import decide
from pushforward.tables.reading.string_columns import MISSING, Faults, RawColumn


def rows_of(columns):
    return [list(row) for row in zip(*columns.values(), strict=True)]


def write(path, columns, separator=",", header=True, encoding="utf-8"):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator)
    if header:
        writer.writerow(columns)
    writer.writerows(rows_of(columns))
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def shell(command):
    return main(shlex.split(command))


def kinds_of(data):
    return {field.name: field.kind for field in data.space.fields}


def assert_rows(data, rows):
    """The training rows are rows of the file, cell by cell, and together with the held-out ones
    they are as many.
    """
    left = Counter(map(tuple, rows))
    left.subtract(map(tuple, data.space.cells(data.train.x)))
    for row, count in left.items():
        assert count >= 0, row
    assert len(data.train) + len(data.held_out) + data.removed == len(rows)


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), ("|", "utf-8")],
)
def test_every_cell_comes_back(tmp_path, separator, encoding):
    columns = mixed_columns(150, seed=ord(separator))
    path = write(tmp_path / "t.csv", columns, separator, encoding=encoding)
    data = load(path)
    assert isinstance(data.space, TableSpace)
    assert data.space.names == tuple(columns)
    assert_rows(data, rows_of(columns))
    assert data.space.layout.separator == separator
    assert kinds_of(data) == {
        "height": "number",
        "net gain": "number",
        "count": "whole",
        "colour": "category",
        "stars": "ordinal",
        "member": "boolean",
        "since": "date",
    }


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a b  c\n1 x   2.5\n2 y 3.5\n", "a b c / 1 x 2.5 / 2 y 3.5"),
        ("a\tb\n1\tx y\n2\tz, w\n", "a b / 1 x y / 2 z, w"),
        ('a;b\n1,5;"x;1"\n2,5; y \n', "a b / 1,5 x;1 / 2,5 y"),
        ("a;b,c\n1,5;x\n2,5;y\n", "a b,c / 1,5 x / 2,5 y"),
        ('|1x3 comment\na, b\n1.5, "x, ""1"""\n2.5, y\n', 'a b / 1.5 x, "1" / 2.5 y'),
        ('a,b\n1.5,"two\nlines"\n2.5,y\n', "a b / 1.5 two\nlines / 2.5 y"),
        ("# note\n\na|b\n1.5|x\n% note\n2.5|y\n", "a b / 1.5 x / 2.5 y"),
        ("a,b\r\n1.5,?\r\n2.5,y\r\n", "a b / 1.5 ? / 2.5 y"),
    ],
)
def test_dialects_of_tables(text, rows):
    faults = Faults()
    raw = text_table(text.encode(), faults)
    table = with_names("t.txt", raw, faults, None, ())
    assert not faults.sentences
    found = [" ".join(table.names)]
    for i in range(len(table.lines)):
        cells = [column.texts[column.codes[i]] for column in table.columns]
        found.append(" ".join(cells))
    assert found == rows.split(" / ")


def test_all_faults_are_listed_at_once(tmp_path):
    good = [f"{i}.5,{i % 3},word {i // 2},9" for i in range(4000)]
    lines = ["a,,b,b", *good]
    lines[5] = "1,2,3"
    lines[9] = "oops,1,w,9"
    lines[20] = "1,2,3,4,5"
    lines[33] = "x\u00e9,1,w,9"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines), encoding="latin-1")
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    for expected in (
        "invalid line is 34.",
        "line 6 has 3 cells, line 21 has 5 cells",
        "column 2 has",
        'once: "b"',
        '2 cells with other text: line 10 ("oops"), line 34',
        "too many categories",
    ):
        assert expected in message, message


def test_an_open_quote_is_an_error(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text('a,b\n1,x\n2,"y\n3,x\n')
    with pytest.raises(DataError, match=r"quote .*line 2 "):
        load(path)


def test_a_schema_is_written_of_what_could_be_read(tmp_path):
    """It drops the columns that could not be, so that it can be used as it is."""
    prices = []
    for v in range(60):
        unit = ("g", "kg")[v % 2]
        prices.append(f"{v / 8} {unit}")
    costs = [f"{v / 4} EUR" for v in range(60)]
    path = write(tmp_path / "t.csv", {"price": prices, "cost": costs})
    schema = tmp_path / "schema.json"
    with pytest.raises(DataError, match=r"price.*\n.*schema\.json"):
        check(path, write_schema=schema)
    data = load(path, schema=str(schema))
    assert data.space.names == ("cost",)
    assert data.space.fields[0].form.suffix == " EUR"
    forced = {"cost": {"kind": "number", "suffix": " USD"}, "price": {"kind": "drop"}}
    schema.write_text(json.dumps({"columns": forced}))
    with pytest.raises(DataError, match=r"cost.*60 cells cannot be"):
        load(path, schema=str(schema))


def test_cells_with_a_unit_but_no_number_are_listed(tmp_path):
    costs = [f"{v / 7:.3f} EUR" for v in range(60)]
    costs[::9] = ["n/a EUR"] * 7
    path = write(tmp_path / "gaps.csv", {"id": "ab" * 30, "cost": costs})
    says = r'"cost" contains numbers and 7 cells with other text.*n/a EUR'
    with pytest.raises(DataError, match=says):
        load(path)


def test_a_check_shows_everything_in_full(tmp_path, capsys):
    names = [f"a rather long category {letter}" for letter in "abcdefghij"]
    numbers = [f"{v}.5" for v in range(90)]
    path = write(tmp_path / "t.csv", {"size": names * 9, "x": numbers})
    assert shell(f"data check {path}") == 0
    short = capsys.readouterr().out
    assert shell(f"data check {path} --full") == 0
    full = capsys.readouterr().out
    assert "--full" in short
    assert "--full" not in full
    assert all(name in full for name in names)
    assert not all(name in short for name in names)


def test_columns_are_chosen(tmp_path):
    path = write(tmp_path / "t.csv", mixed_columns(60))
    data = load(path, columns="height, colour,member", drop=["height"], target="member")
    assert data.space.names == ("colour", "member")
    assert data.space.target == "member"
    assert load(**data.origin).fingerprint == data.fingerprint
    for options, says in (
        ({"drop": "hight"}, 'no column "hight".* Did you mean "height"'),
        ({"target": "colr"}, 'column "colr"'),
        ({"drop": "member", "target": "member"}, "left out"),
    ):
        with pytest.raises((UsageError, DataError), match=says):
            load(path, **options)
    with pytest.raises(UsageError, match="`drop`"):
        load("digits", drop="x")


def test_columns_are_named(tmp_path):
    path = write(tmp_path / "u.csv", mixed_columns(60), header=False)
    data = load(path, columns=list("abcdefg"), header=False)
    assert data.space.names == tuple("abcdefg")
    assert not data.space.layout.header
    with pytest.raises((UsageError, DataError), match=r"columns.* 7 "):
        load(path, columns="a,b", header=False)


def test_a_new_category_moves_no_row_to_the_other_side(tmp_path):
    columns = mixed_columns(200)
    before = load(write(tmp_path / "t.csv", columns))
    more = mixed_columns(1, 9)
    more["colour"] = ["amber"]
    longer = {name: cells + more[name] for name, cells in columns.items()}
    after = load(write(tmp_path / "t.csv", longer), rare="keep")
    assert len(after.space.fields[3].names) == 4
    moved = np.setxor1d(before.held_out.hashes, after.held_out.hashes)
    assert len(moved) <= 1
    rows_before = set(map(tuple, before.space.cells(before.train.x)))
    rows_after = set(map(tuple, after.space.cells(after.train.x)))
    assert rows_before <= rows_after


def missing_values(data, split):
    return int(np.isnan(data.space.values(split.x)).sum())


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_value_that_is_missing_in_held_out_rows_alone_stays_missing(tmp_path, name):
    columns = {
        "a": [f"{i}.5" for i in range(30)],
        "b": ["u", "v", "w"] * 10,
        "c": [f"{i}.25" for i in range(30)],
    }
    sides = set()
    for row in range(20):
        cells = list(columns[name])
        cells[row] = ""
        data = load(write(tmp_path / "t.csv", columns | {name: cells}))
        held_out = missing_values(data, data.held_out)
        assert missing_values(data, data.train) + held_out == 1
        sides.add(held_out)
    assert sides == {0, 1}
    with pytest.raises(DataError, match=r"missing: .*c"):
        data.space.encoded(np.full((1, 3), np.nan))


@pytest.fixture
def mixed(tmp_path):
    """A file of 90 rows with a column of each kind."""
    return write(tmp_path / "t.csv", mixed_columns(90))


@pytest.fixture
def schema(tmp_path):
    """The file of a schema, which is not there yet."""
    return tmp_path / "t.json"


def test_a_schema_is_written_and_read(mixed, schema, capsys):
    assert shell(f"data check {mixed} --write-schema {schema} --target member") == 0
    out, said = capsys.readouterr()
    assert f"{schema} contains the kind of each column" in said
    for word in ("net gain", "0.00 0.3", "2020-", "ordered categories", "comma", "blue, dark"):
        assert word in out
    first = load(mixed, target="member")
    assert load(mixed, schema=schema).space == first.space
    as_mapping = json.loads(schema.read_text())
    assert load(mixed, schema=as_mapping).fingerprint == first.fingerprint
    assert shell(f"data check {mixed} --write-schema {schema}") == 2


def test_a_schema_is_edited_and_read(mixed, schema):
    check(mixed, write_schema=schema)
    edited = json.loads(schema.read_text())
    edited["columns"] |= {
        "since": {"kind": "drop"},
        "count": {"kind": "ordinal"},
        "colour": {"kind": "category"},
        "stars": {"kind": "whole"},
    }
    schema.write_text(json.dumps(edited))
    data = load(mixed, schema=str(schema))
    kinds = kinds_of(data)
    assert kinds["count"] == "ordinal"
    assert "since" not in kinds
    assert load(**data.origin).fingerprint == data.fingerprint


WRONG_ENTRIES = r"""
{"kind": "nubmer"}                             | kind.*number, whole
{"kind": "number", "decimal": 2}               | Did you mean "decimals"
{"kind": "number", "group": ".", "point": "."} | .*"point"
{"kind": "number"}                             | number.* 90 cells .*line 2 \("
{"kind": "category", "names": ["red"]}         | category.* cells .*line \d
"""


@pytest.mark.parametrize(("entry", "says"), read_cases(WRONG_ENTRIES))
def test_a_wrong_entry_of_a_schema_is_an_error(mixed, entry, says):
    with pytest.raises(DataError, match=says):
        load(mixed, schema={"columns": {"colour": entry}})


def test_the_error_of_a_missing_schema_says_how_to_write_one(mixed, schema):
    with pytest.raises(DataError, match="write-schema"):
        load(mixed, schema=schema)


def test_frames_are_read_as_files_are(mixed):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(mixed, parse_dates=["since"])
    data = load(frame, target="member")
    other = load(mixed, target="member")
    assert kinds_of(data) == kinds_of(other)
    assert np.array_equal(data.train.x, other.train.x)
    assert check(frame)["table"]["rows"] == 90
    back = data.space.frame(data.train.x)
    since = back["since"].dtype
    assert str(since).startswith("datetime64")
    assert back.dtypes.to_dict() == frame.dtypes.to_dict() | {"since": since}
    with pytest.raises(DataError, match="once"):
        load(pandas.concat([frame, frame], axis=1))


def test_numbers_of_frames_are_whole_where_some_are_missing_and_finite():
    pandas = pytest.importorskip("pandas")
    numbers = [i / 4 for i in range(36)]
    counts = load(pandas.DataFrame({"n": [5, None, 7, 6] * 9, "x": numbers}))
    field = counts.space.fields[0]
    assert field.kind == "ordinal"
    assert field.names == ("5", "6", "7")
    infinite = pandas.DataFrame({"a": [1.0, float("inf"), None], "b": [1.5, 2.5, 3.5]})
    with pytest.raises(DataError, match="inf: expected finite"):
        load(infinite)


def test_a_table_of_very_many_columns_is_refused_at_once(tmp_path):
    names = ",".join(f"c{i}" for i in range(100_000))
    row = ",".join("1" * 100_000)
    path = tmp_path / "t.csv"
    path.write_text(f"{names}\n{row}")
    with pytest.raises(DataError, match=r"more than 10,000 cells\. Save such a table as \.npy"):
        load(path)


def test_a_schema_rounds_numbers_and_says_how_many(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "1,25;a\n2;b\n2,5;a\n" * 9)
    data = load(path, schema={"columns": {"x": {"kind": "number", "decimals": 1}}})
    values = set()
    for split in (data.train, data.held_out):
        values |= set(split.table_values[:, 0])
    assert values == {1.2, 2.0, 2.5}
    cells = {number for number, _ in data.space.cells(data.train.x)}
    assert cells <= {"1,2", "2,0", "2,5"}


def test_a_schema_says_which_sign_separates_thousands():
    cells = ["1.234", "999", "12.345"] * 9
    column = RawColumn.of("c", cells).without(MISSING)
    faults = Faults()
    lines = range(2, len(cells) + 2)
    finding = decide(column, {"kind": "whole", "group": "."}, lines, faults)
    assert not faults.sentences
    values = finding.values(column)
    assert values.tolist()[:3] == [1234, 999, 12345]
    assert finding.measured(values).cells(values) == cells


def test_a_written_schema_has_a_line_for_each_column_below_what_is_edited_most(tmp_path):
    path = tmp_path / "t.csv"
    file = tmp_path / "t.json"
    rows = [f"{i % 7},25;t{i % 30}\n" for i in range(300)]
    path.write_text("x;y\n" + "".join(rows))
    check(path, target="y", constraints="x >= 0", write_schema=file)
    starts = []
    for line in file.read_text().splitlines():
        name, _, _ = line.partition(":")
        starts.append(name.strip())
    assert " ".join(starts) == '{ "target" "missing" "constraints" "columns" "x" "y" } }'
    expected = load(path, target="y", constraints="x >= 0")
    assert load(path, schema=file).space == expected.space


def test_a_frame_of_samples_has_the_types_of_the_training_frame():
    pd = pytest.importorskip("pandas")
    n = 60
    rng = np.random.default_rng(0)
    i = np.arange(n)
    frame = pd.DataFrame({"plain": rng.integers(0, 500, n).astype(np.int16)})
    frame["gaps"] = pd.array(i * 7 % 97, dtype="Int64")
    frame.loc[i % 9 == 0, "gaps"] = None
    frame["floats"] = np.where(i % 7, i * 3 % 41.0, np.nan)
    frame["half"] = (rng.integers(0, 99, n) / 4).astype(np.float32)
    sizes = ["S", "M", "L"]
    frame["size"] = pd.Categorical(rng.choice(sizes, n), sizes, ordered=True)
    frame["code"] = pd.Categorical(rng.integers(1, 4, n))
    frame["flag"] = pd.array(i % 3 == 0, dtype="boolean")
    frame.loc[i % 8 == 0, "flag"] = None
    frame["never"] = np.zeros(n, dtype=bool)
    frame["text"] = pd.array(["a", "b"] * 30, dtype="string")
    frame.loc[i % 5 == 0, "text"] = None
    frame["object"] = pd.Series(["x", "y", "z"] * 20, dtype=object)
    hours = rng.integers(0, 90 * 24, n)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h")
    frame["day"] = days.astype("datetime64[ns]")
    frame["here"] = days.tz_localize("Europe/Berlin")
    data = load(frame)
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes)
    stored = json.loads(json.dumps(describe(data.space)))
    assert build(stored) == data.space, "a run holds the types"
    assert texts_of(back) <= texts_of(frame)


def texts_of(frame):
    """The rows of a frame as text."""
    return set(map(tuple, frame.astype(str).to_numpy().tolist()))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ("01" * 30, "boolean"),
        ("123" * 20, "ordinal"),
        ([f"{i / 8:.4f}" for i in range(60)], "number"),
    ],
)
def test_a_column_of_few_decimals_makes_numbers_a_table(tmp_path, cells, kind):
    noise = np.random.default_rng(0).normal(size=60)
    columns = {"noise": [f"{v:.6f}" for v in noise], "c": list(cells)}
    path = write(tmp_path / "t.csv", columns)
    assert kinds_of(load(path)) == {"noise": "number", "c": kind}
    assert not isinstance(load(path, table=False).space, TableSpace)


def test_columns_left_out_for_one_reason_are_one_sentence(tmp_path):
    numbers = [f"{i}.5" for i in range(30)]
    identifiers = [str(i) for i in range(30)]
    columns = {"a": numbers, "b": numbers, "i": identifiers, "j": identifiers}
    data = load(write(tmp_path / "t.csv", columns), table=True)
    (sentence,) = [text for text in data.table.sentences if "left out" in text]
    assert '"i" and "j": an identifier' in sentence or '"i", "j": an identifier' in sentence


def test_the_target_of_a_schema_is_a_name_or_null(mixed):
    data = load(mixed, schema={"columns": {}, "target": None})
    assert not data.space.target
    for target in (0, [], False):
        with pytest.raises(DataError, match='"target": NAME or null'):
            load(mixed, schema={"columns": {}, "target": target})


def test_what_is_said_of_names_and_cells():
    known = ["SEX", "net price (with tax)", "net price"]
    assert did_you_mean("sx", known) == ' Did you mean "SEX"?'
    assert did_you_mean("NET PRICES", known) == ' Did you mean "net price"?'
    assert did_you_mean("tax", known) == ' Did you mean "net price (with tax)"?'
    assert did_you_mean("ax", known) == ""
    assert did_you_mean("weight of it", known) == ""
    assert clipped("one\r\ntwo", 20) == "one\\ntwo", "a cell stays on its line"
    column = RawColumn.of("a", ["", "-", "3", "-"])
    assert column.missing_text(["", "-", "?"]) == "-"


def test_what_vectors_and_tables_cannot_do_is_said_with_what_can(tmp_path):
    rows = []
    for i in range(60):
        species = "ab"[i % 2]
        rows.append(f"{i}.5,{i * i}.25,{species}\n")
    path = tmp_path / "iris.csv"
    path.write_text("width,length,species\n" + "".join(rows))
    vectors = load(path, target="species").space
    flow = pf.recipes.flow(vectors, "tiny").method.transport()
    with pytest.raises(UsageError, match=r'^"width" is a column that .*`table=True`'):
        flow.sample(2, {"width": 1})
    table = load(path, table=True)
    flow = pf.recipes.flow(table.space, "tiny").method.transport()
    with pytest.raises(UsageError, match="does not support tables"):
        check_bits(flow, table, None)
