"""A schema decides what columns hold, says so, and says what it changes."""

from pushforward.data import check, load
from pushforward.data.tables.cells import MISSING, Faults, RawColumn
from pushforward.data.tables.schema import decide


def decided(cells, entry):
    column, faults = RawColumn.of("c", cells), Faults()
    finding = decide(column, entry, MISSING, range(2, len(cells) + 2), faults)
    return finding, column, faults.sentences


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
