"""What is said to a user of tables: given values that cannot be, names that are close, lines of the file, columns left out."""

import itertools

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli.table_check import of_table
from pushforward.data import TableSpace, check, load
from pushforward.data.tables import Number
from pushforward.data.tables.constraints import Constraint
from pushforward.data.tables.gaps import GappyFile
from pushforward.errors import DataError, UsageError, did_you_mean

COLUMNS = ("a", "b", "c")


@pytest.mark.parametrize("text", ["a >= b", "a - 2 * b < c + 1", "a != c", "a == -c", "-1 <= a < b + c", "a * b > 3.5"])
def test_a_constraint_is_possible_where_some_row_between_the_ends_meets_it(text):
    """Never denied where a row of a grid meets it, and decided exactly where all numbers are known."""
    rng, constraint = np.random.default_rng(3), Constraint(text)
    low = rng.integers(-4, 4, (60, 3)).astype(float)
    high = low + rng.integers(0, 3, (60, 3))
    possible = constraint.possible(dict(zip(COLUMNS, low.T, strict=True)), dict(zip(COLUMNS, high.T, strict=True)))
    met = np.zeros(60, dtype=bool)
    for shares in itertools.product((0, 0.5, 1), repeat=3):
        met |= constraint.holds(dict(zip(COLUMNS, (low + shares * (high - low)).T, strict=True)))
    assert (possible | ~met).all()
    single = (low == high).all(1)
    assert single.any()
    assert (possible == met)[single].all()
    assert not possible.all()


def test_given_values_that_contradict_a_constraint_are_named_before_anything_is_drawn():
    fields = [Number.measured(name, np.arange(50.0), "whole") for name in ("start", "end")]
    fields.append(Number.measured("rest", np.array([1.0, 2.0, np.nan]), "whole"))
    space = TableSpace.of(fields, constraints=(Constraint("end >= start + 20"), Constraint("rest <= end")))
    model = pf.recipes.flow(space, "tiny").method.transport()
    with pytest.raises(UsageError, match=r'given values end=20, start=10 break the constraint "end >= start . 20"'):
        model.sample(2, {"start": 10, "end": 20})
    with pytest.raises(UsageError, match=r"given value start=40 leaves no value of end \(0 to 49\) by which a row meets"):
        model.sample(2, {"start": [3, 40]})
    for request in ({"start": 10, "end": 30}, {"start": 29}, {"start": 0, "end": 20, "rest": None}, None):
        model.stream(2, request)


def test_names_are_close_whatever_their_capitals_and_where_they_hold_the_word():
    known = ["sex", "net price (with tax)", "net price"]
    assert did_you_mean("SEX", known) == ' Did you mean "sex"?'
    assert did_you_mean("tax", known) == ' Did you mean "net price (with tax)"?'
    assert did_you_mean("ax", known) == did_you_mean("weight of it", known) == ""


def test_a_file_with_gaps_is_counted_by_its_lines(tmp_path):
    path, data = tmp_path / "gaps.csv", tmp_path / "t.csv"
    path.write_text('kind,whole\n\n"b",4\na,five\n')
    data.write_text("kind,whole\n" + "a,4\nb,40\nb,41\n" * 20)
    space = load(data).space
    file = GappyFile.read(path, space.names)
    assert file.numbers == [3, 4]
    with pytest.raises(DataError, match='whole: "five" in line 4'):
        file.values(space.fields)


def test_columns_that_are_left_out_for_one_reason_are_one_line_and_no_two_names_look_alike(tmp_path):
    path, names = tmp_path / "t.csv", [f"a long name of a column, part {place} of its many words" for place in (1, 2)]
    lines = [f"{i},{i + 5},{i % 7 + 30},{i % 23 / 8}" for i in range(40)]
    path.write_text("id;nr;".replace(";", ",") + ",".join(f'"{name}"' for name in names) + "\n" + "\n".join(lines) + "\n")
    assert load(path).table.sentences == [
        'left out the columns "id", "nr": an identifier: whole numbers that count up from row to row'
    ]
    heads = [line.split("  ")[0] for line in of_table(check(path)["table"]).splitlines()[-2:]]
    assert len(set(heads)) == 2
    assert max(map(len, heads)) < 30
