"""A schema decides what columns hold, says so, and says what it changes."""

import json

import pytest

from pushforward.data import check, load
from pushforward.data.tables.parse_errors import Faults
from pushforward.data.tables.schema import decide
from pushforward.data.tables.string_columns import MISSING, RawColumn
from pushforward.errors import DataError


def decided(cells, entry):
    column, faults = RawColumn.of("c", cells), Faults()
    finding = decide(column, entry, MISSING, range(2, len(cells) + 2), faults)
    return finding, column, faults.sentences


def test_a_column_that_the_schema_leaves_out_is_left_out_by_it():
    cells = [f"user {number}" for number in range(40)]
    why = decided(cells, None)[0].why
    assert why.startswith("an identifier")
    assert [decided(cells, {"kind": "drop", **said})[0].why for said in ({}, {"why": why})] == ["as the schema says", why]


def test_a_schema_rounds_numbers_and_says_how_many(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "1,25;a\n2;b\n2,5;a\n" * 9)
    data = load(path, schema={"columns": {"x": {"kind": "number", "decimals": 1}}})
    assert {value for split in (data.train, data.held_out) for value in split.table_values[:, 0]} == {1.2, 2.0, 2.5}
    assert {row[0] for row in data.space.cells(data.train.x)} <= {"1,2", "2,0", "2,5"}


def test_a_schema_says_which_sign_separates_thousands():
    cells = ["1.234", "999", "12.345"] * 9
    finding, column, faults = decided(cells, {"kind": "whole", "group": "."})
    assert not faults
    values = finding.values(column, MISSING)
    assert values.tolist()[:3] == [1234, 999, 12345]
    assert finding.measured(values).cells(values) == cells


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
