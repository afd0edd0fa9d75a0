"""Tables of mixed types are read as they are written: separators, kinds, missing values, schemas,
frames, all faults at once.
"""

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
from programs.table_files import mixed_columns

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
    writer.writerows([list(columns)] * header + rows_of(columns))
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def assert_rows(data, rows):
    """The training rows are rows of the file, cell by cell, and together with the held-out ones
    they are as many.
    """
    left = Counter(map(tuple, rows))
    left.subtract(map(tuple, data.space.cells(data.train.x)))
    assert min(left.values()) >= 0, [row for row, count in left.items() if count < 0][:3]
    assert len(data.train) + len(data.held_out) + data.removed == len(rows)


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), ("|", "utf-8")],
)
def test_every_cell_comes_back(tmp_path, separator, encoding):
    columns = mixed_columns(150, seed=ord(separator))
    data = load(write(tmp_path / "t.csv", columns, separator, encoding=encoding))
    assert isinstance(data.space, TableSpace)
    assert data.space.names == tuple(columns)
    assert_rows(data, rows_of(columns))
    assert data.space.layout.separator == separator
    kinds = {field.name: field.kind for field in data.space.fields}
    assert kinds == {
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
        ("a b  c\n1 x   2.5\n2 y 3.5\n", ["a b c", "1 x 2.5", "2 y 3.5"]),
        ("a\tb\n1\tx y\n2\tz, w\n", ["a b", "1 x y", "2 z, w"]),
        ('a;b\n1,5;"x;1"\n2,5; y \n', ["a b", "1,5 x;1", "2,5 y"]),
        ("a;b,c\n1,5;x\n2,5;y\n", ["a b,c", "1,5 x", "2,5 y"]),
        ('|1x3 comment\na, b\n1.5, "x, ""1"""\n2.5, y\n', ["a b", '1.5 x, "1"', "2.5 y"]),
        ('a,b\n1.5,"two\nlines"\n2.5,y\n', ["a b", "1.5 two\nlines", "2.5 y"]),
        ("# note\n\na|b\n1.5|x\n% note\n2.5|y\n", ["a b", "1.5 x", "2.5 y"]),
        ("a,b\r\n1.5,?\r\n2.5,y\r\n", ["a b", "1.5 ?", "2.5 y"]),
    ],
)
def test_dialects_of_tables(text, rows):
    faults = Faults()
    table = with_names("t.txt", text_table(text.encode(), faults), faults, None, ())
    assert not faults.sentences
    cells = [
        [column.texts[column.codes[i]] for column in table.columns] for i in range(len(table.lines))
    ]
    assert [" ".join(row) for row in (table.names, *cells)] == rows


def test_all_faults_are_listed_at_once(tmp_path):
    good = [f"{i}.5,{i % 3},word {i // 2},9" for i in range(4000)]
    lines = ["a,,b,b", *good]
    lines[5] = "1,2,3"
    lines[9] = "oops,1,w,9"
    lines[20] = "1,2,3,4,5"
    lines[33] = "x\u00e9,1,w,9"
    (tmp_path / "t.csv").write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "t.csv")
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
    (tmp_path / "q.csv").write_text('a,b\n1,x\n2,"y\n3,x\n')
    with pytest.raises(DataError, match=r"quote .*line 2 "):
        load(tmp_path / "q.csv")


def test_a_schema_is_written_of_what_could_be_read(tmp_path):
    """It drops the columns that could not be, so that it can be used as it is."""
    columns = {
        "price": [f"{v / 8} {'kg' if v % 2 else 'g'}" for v in range(60)],
        "cost": [f"{v / 4} EUR" for v in range(60)],
    }
    path = write(tmp_path / "t.csv", columns)
    schema = tmp_path / "schema.json"
    with pytest.raises(DataError, match=r"price.*\n.*schema\.json"):
        check(path, write_schema=schema)
    data = load(path, schema=str(schema))
    assert data.space.names == ("cost",)
    assert data.space.fields[0].form.suffix == " EUR"
    columns = {
        "id": "ab" * 30,
        "cost": [f"{v / 7:.3f} EUR" if v % 9 else "n/a EUR" for v in range(60)],
    }
    with pytest.raises(
        DataError, match=r'"cost" contains numbers and 7 cells with other text.*n/a EUR'
    ):
        load(write(tmp_path / "gaps.csv", columns))
    (tmp_path / "forced.json").write_text(
        '{"columns": {"cost": {"kind": "number", "suffix": " USD"}, "price": {"kind": "drop"}}}'
    )
    with pytest.raises(DataError, match=r"cost.*60 cells cannot be"):
        load(path, schema=str(tmp_path / "forced.json"))


def test_a_check_shows_everything_in_full(tmp_path, capsys):
    names = [f"a rather long category {letter}" for letter in "abcdefghij"]
    path = str(write(tmp_path / "t.csv", {"size": names * 9, "x": [f"{v}.5" for v in range(90)]}))
    assert main(["data", "check", path]) == 0
    short = capsys.readouterr().out
    assert main(["data", "check", path, "--full"]) == 0
    full = capsys.readouterr().out
    assert "--full" in short
    assert "--full" not in full
    assert all(name in full for name in names)
    assert not all(name in short for name in names)


def test_columns_are_chosen_and_named(tmp_path):
    columns = mixed_columns(60)
    path = write(tmp_path / "t.csv", columns)
    data = load(path, columns="height, colour,member", drop=["height"], target="member")
    assert (data.space.names, data.space.target) == (("colour", "member"), "member")
    assert load(**data.origin).fingerprint == data.fingerprint
    bare = write(tmp_path / "u.csv", columns, header=False)
    data = load(bare, columns=list("abcdefg"), header=False)
    assert data.space.names == tuple("abcdefg")
    assert not data.space.layout.header
    for options, says in (
        ({"columns": "a,b", "header": False}, "columns.* 7 "),
        ({"drop": "hight"}, 'no column "hight".* Did you mean "height"'),
        ({"target": "colr"}, 'column "colr"'),
        ({"drop": "member", "target": "member"}, "left out"),
    ):
        with pytest.raises((UsageError, DataError), match=says):
            load(bare if "header" in options else path, **options)
    with pytest.raises(UsageError, match="`drop`"):
        load("digits", drop="x")


def test_a_new_category_moves_no_row_to_the_other_side(tmp_path):
    columns = mixed_columns(200)
    before = load(write(tmp_path / "t.csv", columns))
    more = {
        name: [*cells, *cell]
        for (name, cells), cell in zip(columns.items(), mixed_columns(1, 9).values(), strict=True)
    }
    more["colour"][-1] = "amber"
    after = load(write(tmp_path / "t.csv", more), rare="keep")
    assert len(after.space.fields[3].names) == 4
    sides = [
        {*map(tuple, data.space.cells(split.x))}
        for data in (before, after)
        for split in (data.train, data.held_out)
    ]
    count = len(np.setxor1d(before.held_out.hashes, after.held_out.hashes))
    assert count <= 1
    assert sides[0] <= sides[2]


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_value_that_is_missing_in_held_out_rows_alone_stays_missing(tmp_path, name):
    columns = {
        "a": [f"{i}.5" for i in range(30)],
        "b": ["u", "v", "w"] * 10,
        "c": [f"{i}.25" for i in range(30)],
    }
    sides = set()
    for row in range(20):
        cells = [*columns[name][:row], "", *columns[name][row + 1 :]]
        data = load(write(tmp_path / "t.csv", columns | {name: cells}))
        missing = [
            int(np.isnan(data.space.values(split.x)).sum()) for split in (data.train, data.held_out)
        ]
        assert sum(missing) == 1
        sides.add(missing[1])
    assert sides == {0, 1}
    with pytest.raises(DataError, match=r"missing: .*c"):
        data.space.encoded(np.full((1, 3), np.nan))


def test_a_schema_is_written_edited_and_read(tmp_path, capsys):
    path = write(tmp_path / "t.csv", mixed_columns(90))
    file = tmp_path / "t.json"
    code = main(["data", "check", str(path), "--write-schema", str(file), "--target", "member"])
    assert code == 0
    out, said = capsys.readouterr()
    assert f"{file} contains the kind of each column" in said
    assert all(
        word in out
        for word in ("net gain", "0.00 0.3", "2020-", "ordered categories", "comma", "blue, dark")
    )
    first = load(path, target="member")
    schema = json.loads(file.read_text())
    assert load(path, schema=file).space == first.space
    assert load(path, schema=schema).fingerprint == first.fingerprint
    schema["columns"] |= {
        "since": {"kind": "drop"},
        "count": {"kind": "ordinal"},
        "colour": {"kind": "category"},
    }
    schema["columns"]["stars"] = {"kind": "whole"}
    file.write_text(json.dumps(schema))
    data = load(path, schema=str(file))
    assert {field.name: field.kind for field in data.space.fields}["count"] == "ordinal"
    assert "since" not in data.space.names
    assert load(**data.origin).fingerprint == data.fingerprint
    code = main(["data", "check", str(path), "--write-schema", str(file)])
    assert code == 2
    for entry, says in (
        ({"kind": "nubmer"}, "kind.*number, whole"),
        ({"kind": "number", "decimal": 2}, 'Did you mean "decimals"'),
        ({"kind": "number", "group": ".", "point": "."}, '"point"'),
        ({"kind": "number"}, r'number.* 90 cells .*line 2 \("'),
        ({"kind": "category", "names": ["red"]}, "category.* cells .*line "),
    ):
        with pytest.raises(DataError, match=says):
            load(path, schema={"columns": {"colour": entry}})
    with pytest.raises(DataError, match="write-schema"):
        load(path, schema=tmp_path / "none.json")


def test_frames_are_read_as_files_are(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = write(tmp_path / "t.csv", mixed_columns(80))
    frame = pandas.read_csv(path, parse_dates=["since"])
    data = load(frame, target="member")
    other = load(path, target="member")
    assert [field.kind for field in data.space.fields] == [
        field.kind for field in other.space.fields
    ]
    assert np.array_equal(data.train.x, other.train.x)
    assert check(frame)["table"]["rows"] == 80
    back = data.space.frame(data.train.x)
    assert back.dtypes.to_dict() == frame.dtypes.to_dict() | {"since": back["since"].dtype}
    assert str(back["since"].dtype).startswith("datetime64")
    counts = load(pandas.DataFrame({"n": [5, None, 7, 6] * 9, "x": [i / 4 for i in range(36)]}))
    assert (counts.space.fields[0].kind, counts.space.fields[0].names) == (
        "ordinal",
        ("5", "6", "7"),
    )
    with pytest.raises(DataError, match="once"):
        load(pandas.concat([frame, frame], axis=1))
    with pytest.raises(DataError, match="inf: expected finite"):
        load(pandas.DataFrame({"a": [1.0, float("inf"), None], "b": [1.5, 2.5, 3.5]}))


def test_a_table_of_very_many_columns_is_refused_at_once(tmp_path):
    (tmp_path / "t.csv").write_text(
        "\n".join([",".join(f"c{i}" for i in range(100_000)), ",".join("1" * 100_000)])
    )
    with pytest.raises(DataError, match=r"more than 10,000 cells\. Save such a table as \.npy"):
        load(tmp_path / "t.csv")


def decided(cells, entry):
    column = RawColumn.of("c", cells)
    faults = Faults()
    finding = decide(column.without(MISSING), entry, range(2, len(cells) + 2), faults)
    return finding, column, faults.sentences


def test_a_schema_rounds_numbers_and_says_how_many(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "1,25;a\n2;b\n2,5;a\n" * 9)
    data = load(path, schema={"columns": {"x": {"kind": "number", "decimals": 1}}})
    assert {
        value for split in (data.train, data.held_out) for value in split.table_values[:, 0]
    } == {1.2, 2.0, 2.5}
    assert {row[0] for row in data.space.cells(data.train.x)} <= {"1,2", "2,0", "2,5"}


def test_a_schema_says_which_sign_separates_thousands():
    cells = ["1.234", "999", "12.345"] * 9
    finding, column, faults = decided(cells, {"kind": "whole", "group": "."})
    assert not faults
    values = finding.values(column.without(MISSING))
    assert values.tolist()[:3] == [1234, 999, 12345]
    assert finding.measured(values).cells(values) == cells


def test_a_written_schema_has_a_line_for_each_column_below_what_is_edited_most(tmp_path):
    path = tmp_path / "t.csv"
    file = tmp_path / "t.json"
    path.write_text("x;y\n" + "".join(f"{i % 7},25;t{i % 30}\n" for i in range(300)))
    check(path, target="y", constraints="x >= 0", write_schema=file)
    lines = file.read_text().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [
        "{", '"target"', '"missing"', '"constraints"', '"columns"', '"x"', '"y"', "}", "}",
    ]  # fmt: skip
    assert load(path, schema=file).space == load(path, target="y", constraints="x >= 0").space


def test_a_frame_of_samples_has_the_types_of_the_training_frame():
    pd = pytest.importorskip("pandas")
    n = 60
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90 * 24, n), unit="h")
    frame = pd.DataFrame(
        {
            "plain": rng.integers(0, 500, n).astype(np.int16),
            "gaps": pd.array([None if i % 9 == 0 else i * 7 % 97 for i in range(n)], dtype="Int64"),
            "floats": np.where(np.arange(n) % 7, np.arange(n) * 3 % 41.0, np.nan),
            "half": (rng.integers(0, 99, n) / 4).astype(np.float32),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), ["S", "M", "L"], ordered=True),
            "code": pd.Categorical(rng.integers(1, 4, n)),
            "flag": pd.array(
                [None if i % 8 == 0 else i % 3 == 0 for i in range(n)], dtype="boolean"
            ),
            "never": np.zeros(n, dtype=bool),
            "text": pd.array(
                [None if i % 5 == 0 else "ab"[i % 2] for i in range(n)], dtype="string"
            ),
            "object": pd.Series(["xyz"[i % 3] for i in range(n)], dtype=object),
            "day": days.astype("datetime64[ns]"),
            "here": days.tz_localize("Europe/Berlin"),
        }
    )
    data = load(frame)
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes)
    actual = build(json.loads(json.dumps(describe(data.space))))
    assert actual == data.space, "a run holds the types"
    rows = {tuple(row) for row in frame.astype(str).to_numpy().tolist()}
    assert {tuple(row) for row in back.astype(str).to_numpy().tolist()} <= rows


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ("01" * 30, "boolean"),
        ("123" * 20, "ordinal"),
        ([f"{i / 8:.4f}" for i in range(60)], "number"),
    ],
)
def test_a_column_of_few_decimals_makes_numbers_a_table(tmp_path, cells, kind):
    noise = [f"{v:.6f}" for v in np.random.default_rng(0).normal(size=60)]
    path = write(tmp_path / "t.csv", {"noise": noise, "c": list(cells)})
    assert [field.kind for field in load(path).space.fields] == ["number", kind]
    assert not isinstance(load(path, table=False).space, TableSpace)


def test_columns_left_out_for_one_reason_are_one_sentence(tmp_path):
    columns = {name: [f"{i}.5" for i in range(30)] for name in "ab"} | {
        name: list(map(str, range(30))) for name in ("i", "j")
    }
    (sentence,) = [
        text
        for text in load(write(tmp_path / "t.csv", columns), table=True).table.sentences
        if "left out" in text
    ]
    assert '"i" and "j": an identifier' in sentence or '"i", "j": an identifier' in sentence


def test_the_target_of_a_schema_is_a_name_or_null(tmp_path):
    path = write(tmp_path / "t.csv", mixed_columns(60))
    assert not load(path, schema={"columns": {}, "target": None}).space.target
    for target in (0, [], False):
        with pytest.raises(DataError, match='"target": NAME or null'):
            load(path, schema={"columns": {}, "target": target})


def test_what_is_said_of_names_and_cells():
    known = ["SEX", "net price (with tax)", "net price"]
    assert did_you_mean("sx", known) == ' Did you mean "SEX"?'
    assert did_you_mean("NET PRICES", known) == ' Did you mean "net price"?'
    assert did_you_mean("tax", known) == ' Did you mean "net price (with tax)"?'
    assert did_you_mean("ax", known) == did_you_mean("weight of it", known) == ""
    assert clipped("one\r\ntwo", 20) == "one\\ntwo", "a cell stays on its line"
    actual = RawColumn.of("a", ["", "-", "3", "-"]).missing_text(["", "-", "?"])
    assert actual == "-"


def test_what_vectors_and_tables_cannot_do_is_said_with_what_can(tmp_path):
    path = tmp_path / "iris.csv"
    path.write_text(
        "width,length,species\n" + "".join(f"{i}.5,{i * i}.25,{'ab'[i % 2]}\n" for i in range(60))
    )
    vectors = load(path, target="species")
    table = load(path, table=True)
    with pytest.raises(UsageError, match=r'^"width" is a column that .*`table=True`'):
        pf.recipes.flow(vectors.space, "tiny").method.transport().sample(2, {"width": 1})
    with pytest.raises(UsageError, match="does not support tables"):
        check_bits(pf.recipes.flow(table.space, "tiny").method.transport(), table, None)
