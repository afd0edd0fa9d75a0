"""A schema decides what columns hold, says so, and says what it changes."""

import pytest

from pushforward.data import load
from pushforward.data.tables.faults import Faults
from pushforward.data.tables.raw import MISSING, RawColumn
from pushforward.data.tables.schema import decide


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
