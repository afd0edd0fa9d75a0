"""A schema decides what columns hold, says so, and says what it changes."""

import json
import re

import pytest

from pushforward.cli import main
from pushforward.data import check, load
from pushforward.data.tables.number_parsing import as_written
from pushforward.data.tables.parse_errors import Faults
from pushforward.data.tables.schema import decide
from pushforward.data.tables.string_columns import MISSING, RawColumn
from pushforward.errors import DataError, UsageError


def decided(cells, entry):
    column, faults = RawColumn.of("c", cells), Faults()
    finding = decide(column, entry, MISSING, range(2, len(cells) + 2), faults)
    return finding, column, faults.sentences


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"kind": "number", "why": "numbers of up to 2 decimals"}, "numbers of up to 2 decimals"),
        ({"kind": "number", "why": "as the schema says"}, "numbers of up to 2 decimals"),
        ({"kind": "number", "decimals": 2, "why": "numbers of up to 2 decimals"}, "as the schema says"),
        (
            {"kind": "category", "why": "numbers of up to 2 decimals"},
            "as the schema says; by its cells alone it would be of the kind",
        ),
        (
            {"kind": "drop", "why": "numbers of up to 2 decimals"},
            "as the schema says; by its cells alone it would be of the kind",
        ),
        ({"kind": "drop", "why": "it repeats x"}, "it repeats x"),
    ],
)
def test_the_reason_of_an_edited_entry_is_the_schema(entry, why):
    assert decided(["1.5", "2.25", "10"] * 9, entry)[0].why.startswith(why)


def test_a_column_that_the_schema_leaves_out_is_left_out_by_it():
    cells = [f"user {number}" for number in range(40)]
    why = decided(cells, None)[0].why
    assert why.startswith("an identifier")
    assert [decided(cells, {"kind": "drop", **said})[0].why for said in ({}, {"why": why})] == ["as the schema says", why]


def test_a_schema_rounds_numbers_and_says_how_many(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "1,25;a\n2;b\n2,5;a\n" * 9)
    data = load(path, schema={"columns": {"x": {"kind": "number", "decimals": 1}}})
    assert data.table.sentences == ['9 cells of the column "x" have more digits than the schema leaves and will be rounded']
    assert {value for split in (data.train, data.held_out) for value in split.table_values[:, 0]} == {1.2, 2.0, 2.5}
    assert {row[0] for row in data.space.cells(data.train.x)} <= {"1,2", "2,0", "2,5"}


def test_a_schema_says_which_sign_separates_thousands():
    cells = ["1.234", "999", "12.345"] * 9
    guessed, *_ = decided(cells, None)
    assert '"group": "."' in guessed.why
    finding, column, faults = decided(cells, {"kind": "whole", "group": "."})
    assert not faults
    values = finding.values(column, MISSING)
    assert values.tolist()[:3] == [1234, 999, 12345]
    assert finding.measured(values).cells(values) == cells


def test_all_that_is_wrong_with_a_schema_is_listed_at_once(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "1,25;a\n2;b\n2,5;a\n" * 9)
    schema = {"columns": {"x": {"kind": "nmber", "decimal": 2}, "y": {"kind": "number", "plus": 3, "point": ""}}, "taget": "y"}
    with pytest.raises(DataError) as error:
        load(path, schema={**schema, "missing": "-"})
    lines = str(error.value).splitlines()
    assert lines[0] == f"{path} cannot be read as a table, for 6 reasons:"
    assert all(line.startswith(f"  {place}. the schema: ") for place, line in enumerate(lines[1:], 1))
    said = [
        'unknown entry "taget". Did you mean "target"?',
        '"missing" is a list of texts',
        'column "x": unknown entry "decimal"',
    ]
    said += ['Did you mean "number"?', 'column "y": "plus" is 3', '"point" is ']
    assert all(text in line for text, line in zip(said, lines[1:], strict=True))
    with pytest.raises(DataError) as both:
        load(path, schema={"columns": {"X": {"kind": "number"}}}, columns="x,yy", target="z", table=True)
    assert str(both.value).count("no column") == 3
    with pytest.raises(UsageError) as wrong:
        load(path, columns="x,yy", target="z", table=True)
    assert str(wrong.value).count("no column") == 2
    assert '"yy", which `columns` names. Did you mean "y"?' in str(wrong.value)


def test_faults_of_a_schema_alone_and_beside_the_table_are_listed_at_once(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y,z\n" + "".join(f"{i}.5,{'ab'[i % 2]},{i % 3}\n" for i in range(40)))
    columns = {"x": {"kind": "nmber"}, "yy": {"kind": "category"}, "y": {"kind": "number"}, "z": ["whole"]}
    with pytest.raises(DataError) as error:
        load(path, schema={"columns": columns, "target": "zz", "constraints": ["w > x", "x > 'a'", "y == z", "x >"]})
    first, *reasons = str(error.value).splitlines()
    assert first == f"{path} cannot be read as a table, for 7 reasons:"
    said = [
        "the schema: column \"x\": the kind is 'nmber'",
        'the schema: column "z": expected {"kind": KIND, ...}.',
        'there is no column "zz", which `schema` names.',
        'there is no column "yy", which `schema` names. Did you mean "y"?',
        '"y" is of the kind number in the schema, and 40 cells cannot be',
        '"x >" is no constraint',
        'The constraint "w > x" names "w", which is no column.',
    ]
    order = sorted(reasons, key=lambda reason: next(place for place, text in enumerate(said) if text in reason))
    assert all(text in reason for text, reason in zip(said, order, strict=True)), reasons
    with pytest.raises(DataError, match=r'for 2 reasons:\n  1\. the schema: .*\n  2\. there is no column "zz", which `target`'):
        load(path, schema={"columns": {"x": {"kind": "nmber"}}}, target="zz")


def test_a_pattern_that_fits_no_cell_is_named_beside_what_is_wrong_with_constraints(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("born,x\n" + "".join(f"{1 + i % 28:02}.03.2021,{i}.5\n" for i in range(40)))
    schema = {"columns": {"born": {"kind": "date", "pattern": "%Y-%m-%d"}}}
    with pytest.raises(DataError) as error:
        load(path, schema={**schema, "constraints": ["born >= '01.03.2021'", "z > 0"]})
    first, *reasons = str(error.value).splitlines()
    assert "for 2 reasons" in first
    assert '"born" is of the kind date in the schema, and 40 cells cannot be' in reasons[0]
    assert 'names "z", which is no column' in reasons[1]


def test_a_written_schema_has_a_line_for_each_column_below_what_is_edited_most(tmp_path):
    path, file = tmp_path / "t.csv", tmp_path / "t.json"
    path.write_text("x;y\n" + "".join(f"{i % 7},25;t{i % 30}\n" for i in range(300)))
    check(path, target="y", constraints="x >= 0", write_schema=file)
    lines = file.read_text().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [
        "{", '"target"', '"missing"', '"constraints"', '"columns"', '"x"', '"y"', "}", "}",
    ]  # fmt: skip
    assert load(path, schema=file).space == load(path, target="y", constraints="x >= 0").space


@pytest.mark.parametrize("options", [{"drop": "id"}, {"columns": "x,y"}])
def test_a_written_schema_leaves_out_the_columns_that_options_left_out(tmp_path, options):
    path, file = tmp_path / "t.csv", tmp_path / "t.json"
    path.write_text("x,id,y\n" + "".join(f"{i % 7},{i % 50},t{i % 30}\n" for i in range(300)))
    check(path, write_schema=file, **options)
    entries = json.loads(file.read_text())["columns"]
    assert list(entries) == ["x", "id", "y"]
    assert entries["id"] == {"kind": "drop"}
    assert load(path, schema=file).space == load(path, **options).space


@pytest.mark.parametrize(
    ("pattern", "cells"),
    [
        ("%d.%m.%Y", ["1.1.2022", "24.12.2022", "3.10.2021"]),
        ("%d.%m.%Y", ["01.01.2022", "24.12.2022"]),
        ("%Y/%m/%d %H:%M", ["2022/1/3 4:05", "2022/12/30 14:00"]),
        ("%-d.%-m.%Y", ["1.1.2022", "24.12.2022"]),
    ],
)
def test_dates_come_back_as_the_file_writes_them_whatever_zeros_the_pattern_of_the_schema_has(pattern, cells):
    finding, column, faults = decided(cells * 9, {"kind": "date", "pattern": pattern})
    values = finding.values(column, MISSING)
    assert not faults
    assert finding.measured(values).cells(values) == cells * 9


def test_the_pattern_of_the_schema_stays_where_it_writes_all_cells():
    assert as_written("%d.%m.%Y", ["24.12.2022"]) == "%d.%m.%Y"


def test_a_table_of_a_few_rows_has_a_note(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    assert load(tmp_path / "t.csv").table.notes == (
        "2 rows can be learned by heart: samples will repeat those of the training split",
    )


def test_a_line_of_names_that_is_read_as_data_is_said_first_of_all(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("age,income\n" + "".join(f"{20 + i % 40},{i * 37 % 900}\n" for i in range(90)))
    assert main(["data", "check", str(path), "--header", "no"]) == 3
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == (
        "First of all: the first line (age, income) looks like column names: leave --header no out if it is none of the data."
    )
    path.write_text("who,what\n" + "".join(f'{"ab"[i % 2]},"x\ny"\n' for i in range(90)))
    assert main(["data", "check", str(path), "--header", "no"]) == 0
    assert "looks like column names" in capsys.readouterr().out
    assert main(["data", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "looks like" not in said
    assert re.search(r"what +category +x.ny \(100 %\) +x.ny +a constant: every value is the same\n", said)


@pytest.mark.parametrize("target", [None, ""])
def test_a_schema_without_a_target_says_nothing_of_it(tmp_path, target):
    path, file = tmp_path / "t.csv", tmp_path / "s.json"
    path.write_text("x,kind\n" + "1,a\n2,b\n" * 30)
    check(path, write_schema=file)
    content = json.loads(file.read_text())
    assert "target" not in content
    assert load(path, schema={**content, "target": target}).space == load(path, schema=content).space == load(path).space


@pytest.mark.parametrize("target", [0, False, [], 1.0])
def test_a_target_that_is_no_text_is_refused(tmp_path, target):
    (tmp_path / "t.csv").write_text("x,kind\n" + "1,a\n2,b\n" * 30)
    with pytest.raises(DataError, match='"target" is the name of a column, or null'):
        load(tmp_path / "t.csv", schema={"target": target})
