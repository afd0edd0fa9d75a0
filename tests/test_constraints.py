"""Constraints on rows of tables: what they mean, and which are refused."""

import re

import numpy as np
import pytest
from programs.text_tables import cases, read_cases

from pushforward.data import TableSpace
from pushforward.errors import UsageError
from pushforward.tables.columns import Category, Format, Number
from pushforward.tables.constraints import Constraint, check_constraints, holds


def met(text, values):
    columns = {name: np.asarray(column, float) for name, column in values.items()}
    fields = {name: Number.measured(name, column) for name, column in columns.items()}
    return holds(Constraint(text), fields, columns)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "text",
    ["a >= b", "a - 2 * b < c + 1", "a != c", "a == -c", "-1 <= a < b + c", "a * b <= 3.5"],
)
def test_constraints_are_what_python_says(text, seed):
    values = np.random.default_rng(seed).integers(-3, 4, (50, 3)).astype(float)
    values[:5, 1] = np.nan
    actual = met(text, dict(zip("abc", values.T, strict=True)))
    code = compile(text, "", "eval")
    for number, (a, b, c) in enumerate(values):
        expected = eval(code, {"a": a, "b": b, "c": c})
        if "b" in text and number < 5:
            expected = True  # a missing value meets any constraint
        assert actual[number] == expected


def test_names_of_columns_may_be_quoted():
    quoted = Constraint("`a b` >= `c-d`")
    assert quoted.names == ("a b", "c-d")
    actual = met(quoted.text, {"a b": [1, 2], "c-d": [2, 1]})
    assert actual.tolist() == [False, True]


def test_constraints_allow_for_rounding():
    assert met("a + b == c", {"a": [0.1], "b": [0.2], "c": [0.3]}).all()
    assert not met("a < b", {"a": [0.3], "b": [0.1 + 0.2]}).any()


def test_a_row_with_any_missing_value_meets_a_chain():
    values = np.where(np.eye(3, dtype=bool), np.nan, [3.0, 2.0, 1.0])
    assert met("a <= b <= c", dict(zip("abc", values.T, strict=True))).all()
    assert not met("a <= b <= c", {"a": [3], "b": [2], "c": [1]}).any()


MANY_TERMS = "a" + " + a" * 300 + " > 0"


@pytest.mark.parametrize(
    "text",
    ["a", "a >= __import__('os')", "a.b > 1", "a > 'x' > b", "a ** 9 > 1", "a >", MANY_TERMS],
)
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(UsageError, match="constraint"):
        Constraint(text)


CELLS = {}


FIELDS = {}


for name, kind, cells, form in read_cases("""
    born   date      0 86400 nan    %d.%m.%Y
    seen   date      0 18000 86400  %Y-%m-%dT%H:%M:%SZ
    age    whole     1 2 3          ''
    home   category  0 1 2          BE LU NL
    work   category  1 1 0          LU BE
    size   ordinal   0 1 2          S M L
    least  ordinal   1 0 1          S L
    other  ordinal   0 1 1          L S
    code   category  0 1 nan        3 40
    paid   boolean   0 1 0          TRUE false
"""):
    values = np.array(cells.split(), float)
    if kind in ("date", "whole"):
        field = Number.measured(name, values, kind, Format(0, pattern=form))
    else:
        field = Category.measured(name, values, form.split(), kind)
    CELLS[name] = values
    FIELDS[name] = field


@cases("""
    text                                 met
    born >= '1970-01-02'                 -++
    '02.01.1970' > born                  +-+
    age < '3'                            ++-
    home == 'NL'                         --+
    home != 'NL'                         ++-
    home != 'DE'                         +++
    code != '41'                         +++
    'XL' != size                         +++
    home == work                         +--
    work != home                         -++
    size >= 'M'                          -++
    size > least                         -+-
    size == least                        --+
    least > size                         +--
    code == '40'                         -++
    paid == 'TRUE'                       +-+
    seen >= '1970-01-01T10:00:00+05:00'  -++
    seen > '1970-01-01T05:00:00'         --+
    born + 86400 * age > 172800          -++
""")
def test_constraints_compare_dates_categories_and_levels_with_texts_and_with_one_another(text, met):
    """By hand; no level or category has the same number in two columns. A missing value
    meets any.
    """
    constraint = Constraint(text)
    check_constraints([constraint], FIELDS)
    held = holds(constraint, FIELDS, CELLS)
    assert "".join(np.where(held, "+", "-")) == met


@cases("""
    text             says
    hom == 'LU'      Did you mean "home"?
    home == 'Lu'     Did you mean "LU"? Expected BE, LU, NL.
    home > work      by == or !=
    home + 1 == work  by == or !=
    size >= other    no common order
    born >= 'soon'   such as 2021-03-04
""")
def test_what_is_wrong_with_a_constraint_is_said_with_the_nearest_name(text, says):
    with pytest.raises(UsageError) as error:
        check_constraints([Constraint("age >= 0"), Constraint(text)], FIELDS)
    said = str(error.value)
    assert f'"{text}"' in said
    assert says in said
    fields = list(FIELDS.values())
    with pytest.raises(UsageError, match=re.escape(says)):
        TableSpace.of(fields, constraints=(Constraint(text),))
