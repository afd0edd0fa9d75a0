"""Constraints of tables: what they compare, messages, and how models are measured that hardly meet them."""

import numpy as np
import pytest
from programs.tables import Noise

from pushforward import spec
from pushforward.data import TableSpace, load
from pushforward.data.tables.category import Category
from pushforward.data.tables.constraints import Constraint, check_constraints, holds
from pushforward.data.tables.number import Format, Number
from pushforward.errors import DataError, UsageError
from pushforward.transports import Map
from pushforward.transports.rejection import MEASURED, counted, unmet_kept


def whole_numbers(least):
    """A model of one column, 0 to 999, whose constraint asks for at least such a number."""
    field = Number.measured("a", np.arange(1000.0), "whole", Format(0))
    space = TableSpace.of([field], constraints=(Constraint(f"a >= {least}"),))
    return Map(Noise(), space, space.shape)


def test_a_model_that_never_meets_its_constraints_is_measured_in_a_bounded_number_of_draws():
    with counted() as tally, unmet_kept():
        whole_numbers(2000).sample(30, batch=7)
    assert (tally.drawn, tally.refused, tally.unmet) == (30 * (1 + MEASURED), 30 * (1 + MEASURED), 30)


FIELDS = {
    field.name: field
    for field in (
        Number.measured("born", np.array([0.0, 86400.0, 3 * 86400.0]), "date", Format(pattern="%d.%m.%Y")),
        Number.measured("age", np.arange(9.0), "whole", Format(0)),
        Category.measured("home", np.array([0.0, 1.0, 2.0]), ["BE", "LU", "NL"]),
        Category.measured("work", np.array([0.0, 1.0, 1.0]), ["LU", "BE"]),
        Category.measured("size", np.array([0.0, 1.0, 2.0]), ["S", "M", "L"], "ordinal"),
        Category.measured("least", np.array([0.0, 1.0, 1.0]), ["S", "L"], "ordinal"),
        Category.measured("other", np.array([0.0, 1.0, 1.0]), ["L", "S"], "ordinal"),
        Category.measured("code", np.array([0.0, 1.0, np.nan]), ["3", "40"], "category"),
        Category.measured("paid", np.array([0.0, 1.0, 1.0]), ["TRUE", "false"], "boolean"),
        Category.measured("sent", np.array([0.0, 1.0, 1.0]), ["no", "yes"], "boolean"),
        Category.measured("flag", np.array([0.0, 1.0, 1.0]), ["0", "1"], "boolean"),
        Number.measured("seen", np.array([0.0, 86400.0]), "date", Format(pattern="%Y-%m-%dT%H:%M:%SZ")),
    )
}
ROWS = {name: np.array(column) for name, column in {
    "born": [0.0, 86400.0, np.nan], "age": [1.0, 2.0, 3.0], "home": [0.0, 1.0, 2.0], "work": [1.0, 1.0, 0.0],
    "size": [0.0, 1.0, 2.0], "least": [1.0, 0.0, 1.0], "other": [0.0, 1.0, 1.0], "code": [0.0, 1.0, np.nan],
    "paid": [0.0, 1.0, 0.0], "sent": [1.0, 1.0, 0.0], "flag": [1.0, 0.0, np.nan], "seen": [0.0, 18000.0, 86400.0],
}.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("born >= '1970-01-02'", "-++"),
        ("'02.01.1970' > born", "+-+"),
        ("age < '3'", "++-"),
        ("home == 'NL'", "--+"),
        ("home != 'NL'", "++-"),
        ("home != 'DE'", "+++"),
        ("code != '41'", "+++"),
        ("'XL' != size", "+++"),
        ("home == work", "+--"),
        ("work != home", "-++"),
        ("size >= 'M'", "-++"),
        ("size > least", "-+-"),
        ("size == least", "--+"),
        ("least > size", "+--"),
        ("code == '40'", "-++"),
        ("paid == sent", "+--"),
        ("sent != paid", "-++"),
        ("paid == flag", "+++"),
        ("paid == 'TRUE'", "+-+"),
        ("seen >= '1970-01-01T10:00:00+05:00'", "-++"),
        ("seen > '1970-01-01T05:00:00'", "--+"),
        ("born + 86400 * age > 172800", "-++"),
    ],
)
def test_constraints_compare_dates_categories_and_levels_with_texts_and_with_one_another(text, met):
    """By hand; no level or category has the same number in two columns. A missing value meets any."""
    constraint = Constraint(text)
    check_constraints([constraint], FIELDS)
    assert "".join("-+"[int(held)] for held in holds(constraint, FIELDS, ROWS)) == met


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hom == 'LU'", 'Did you mean "home"?'),
        ("home == 'Lu'", 'Did you mean "LU"? Expected BE, LU, NL.'),
        ("home > work", "by == or !="),
        ("home + 1 == work", "by == or !="),
        ("size >= other", "no order in common"),
        ("born >= 'soon'", "such as 2021-03-04"),
    ],
)
def test_what_is_wrong_with_a_constraint_is_said_with_the_nearest_name(text, says):
    with pytest.raises(UsageError) as error:
        check_constraints([Constraint("age >= 0"), Constraint(text)], FIELDS)
    assert f'"{text}"' in str(error.value)
    assert says in str(error.value)


def test_rows_that_break_a_constraint_are_named_and_a_level_that_no_row_has_may_be_forbidden(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("born,home,work\n" + "".join(f"{1 + i % 28}.3.2021,{'ab'[i % 2]},{'bac'[i % 3]}\n" for i in range(60)))
    with pytest.raises(DataError, match=r'break the constraint "home == work": 40, in lines 2'):
        load(path, constraints=["home == work", "born >= '2021-03-01'"])
    data = load(path, constraints=["born >= '2021-03-01'", "home != 'lost'"])
    assert data.space.valid(data.train.x).all()
    assert spec.build(spec.describe(data.space)) == data.space
