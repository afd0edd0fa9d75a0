"""Values that are given to models of tables, and tables at the edges."""

import functools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from programs.tables import mixed_space, mixed_values
from programs.text_tables import read_cases

import pushforward as pf
from pushforward.cli.inputs import condition_of
from pushforward.cli.options import app
from pushforward.conditions import Label
from pushforward.data import TableSpace
from pushforward.errors import DataError, UsageError
from pushforward.recipes.flow_matching import flow
from pushforward.sampling_options import with_conditions
from pushforward.tables import Category, Number
from pushforward.tables.column import Known
from pushforward.tables.columns import Format
from pushforward.tables.reading.csv_dialect import Layout
from pushforward.tables.reading.reader import read_rows

FEW_VALUES = np.repeat([1.0, 2, 3, *range(4, 30)], [100, 50, 30, *[1] * 26])
"""Integers from 1 to 29, of which the first three are frequent."""
CLOSED = Number.measured("qty", FEW_VALUES, "whole", Format(0))
PRICES = np.r_[np.zeros(900), 5 + np.arange(2000) / 100]
SPREAD = Number.measured("price", PRICES, form=Format(2))
ALONE = Number("two", (), (), True, atoms=(0.0, 5.0), shares=(0.0, 0.5, 0.5))
"""A column with few values, one with an atom at 0, and one with two atoms and nothing else."""


@pytest.fixture(scope="module")
def transport():
    price = Number.measured("price", np.arange(100.0), form=Format(1))
    b = Category("b", ("no", "yes"), (0.5, 0.5))
    space = TableSpace.of([CLOSED, price, b])
    flow = pf.recipes.flow(space, "tiny").method.transport()
    return flow.with_solver(pf.solvers.Euler(), steps=1)


def entered(known, name, value, n=1):
    """Rows in which nothing but one value is given."""
    blank = known.blank(n, "cpu")
    return known.entered(blank, name, value, n)


def said(known, name, value, n=1):
    """The ends of the warnings on a value that is used."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entered(known, name, value, n)
    ends = []
    for warning in caught:
        _, _, end = str(warning.message).rpartition(", so ")
        ends.append(end)
    return ends


def known_column(values, *kind):
    """A single column x whose values may be given."""
    return Known((Number.measured("x", values, *kind),))


def test_a_number_that_a_column_does_not_hold_is_replaced_with_a_warning():
    mixed = mixed_space(mixed_values())
    largest = mixed.fields[2].knots[-1]
    known = Known(mixed.fields)
    assert said(known, "whole", 99, 2) == [f"{largest:.0f} is used."]
    assert said(known, "whole", 4.4, 2) == ["4 is used."]
    assert said(known, "whole", 5, 2) == []
    assert said(known, "kind", "b", 2) == []


NEAREST = {
    "closed": (CLOSED, [2.4, 3.5, 3.6, 0.2, 99, np.nan, 3], [2, 3, 4, 1, 29, np.nan, 3]),
    "spread": (SPREAD, [-1, 2.4, 2.6, 7.777, 99], [0, 0, 5, 7.777, 24.99]),
    "atoms alone": (ALONE, [4.0, 1.0], [5.0, 0.0]),
}


@pytest.mark.parametrize(("column", "given", "nearest"), NEAREST.values(), ids=NEAREST)
def test_the_nearest_value_is_an_atom_or_another_value(column, given, nearest):
    assert_array_equal(column.nearest(np.array(given)), nearest)


def test_given_values_are_replaced_by_the_nearest_of_atoms_and_other_values():
    assert CLOSED.atoms == (1.0, 2.0, 3.0)
    assert SPREAD.atoms == (0.0,)
    known = Known((CLOSED, SPREAD))
    width = CLOSED.width
    given = np.array([[2.4, 2.4], [2.6, 2.6]])
    everything = np.ones((2, 2), dtype=np.int64)
    rows = known.of(given, everything).numpy()
    assert CLOSED.decode(rows[:, :width]).tolist() == [2.0, 3.0]
    assert SPREAD.decode(rows[:, width:-2]).tolist() == [0.0, 5.0]
    with pytest.warns(UserWarning, match="2 is used"):
        row = entered(known, "qty", 2.4).numpy()
    assert CLOSED.decode(row[:, :width]).tolist() == [2.0]
    assert said(known, "qty", 2.4) == ["2 is used."]
    assert said(known, "price", 2.4) == ["0.00 is used."]


def test_imputation_says_once_which_cells_lie_outside_of_the_training_rows_range(
    transport, tmp_path
):
    table = tmp_path / "t.csv"
    table.write_text("qty,price,b\n2,5,?\n99,-4,?\n70,5,?\n3,9,no\n-5,9,no\n")
    words = r"2 of qty, such as 99 \(the range is 1 to 29\), 1 of price, such as -4\.0 \(the"
    with pytest.warns(UserWarning, match=words) as caught:
        imputed = pf.impute(transport, table)
    assert len(caught) == 1
    within = np.array([[2, 5, np.nan], [29, 0, np.nan], [29, 5, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = pf.impute(transport, within)
    assert_array_equal(imputed.values[0, :3, 2], near.values[0, :, 2])
    beyond = np.array([[2, 100.5, np.nan]])
    with pytest.warns(UserWarning, match=r"price, such as 100\.5 \(the range is 0\.0 to 99\.0\)"):
        pf.impute(transport, beyond)


def test_only_columns_with_few_values_replace_numbers():
    few = known_column(np.arange(0.0, 600, 10), "number", Format(1))
    assert said(few, "x", 34) == ["30.0 is used."]
    assert said(few, "x", 20.04) == ["20.0 is used."]
    for same in (np.float32(20.0), 20 * (1 + 1e-9)):
        assert said(few, "x", same) == []
    many = known_column(np.arange(3000.0), "whole", Format(0))
    assert said(many, "x", 7.5) == ["8 is used."]
    wide = known_column(np.arange(3000.0), "number", Format(1))
    assert said(wide, "x", 2999.2) == [], "the range is 0 to 2999"


@pytest.fixture(scope="module")
def shop():
    """A run of a table of texts with commas, numbers that may be missing, and dates."""
    product = Category("product", ("book, used", "None", "pen", '"q"'), (0.4, 0.2, 0.2, 0.2))
    ratings = np.arange(61.0)
    ratings[60] = np.nan
    rating = Number.measured("rating", ratings, form=Format(1))
    days = np.array([1.0, 3.0])
    day = Number.measured("day", days * 86400, "date", Format(pattern="%Y-%m-%d"))
    layout = Layout(missing=("None", "NA", "NA"))
    space = TableSpace.of([product, rating, day], layout=layout)
    transport = pf.recipes.flow(space, "tiny").method.transport()
    return SimpleNamespace(space=transport.space, transport=transport)


GIVEN = """
rating=NA,product=pen                  | {"rating": "", "product": "pen"}
rating=                                | {"rating": ""}
product="book, used", rating=3         | {"product": "book, used", "rating": "3"}
product="a, b=c, rating",rating=3      | {"product": "a, b=c, rating", "rating": "3"}
product=None                           | {"product": "None"}
product=it's, rating=3                 | {"product": "it's", "rating": "3"}
"""


@pytest.mark.parametrize(("given", "wanted"), read_cases(GIVEN))
def test_given_texts_may_be_quoted_or_say_that_a_value_is_missing(shop, given, wanted, monkeypatch):
    monkeypatch.setattr("pushforward.transports.Transport.wanted", lambda *_: None)
    assert condition_of(shop, None, given) == wanted


@pytest.fixture(scope="module")
def known(shop):
    """What may be given of the shop's columns."""
    (kind,) = (kind for kind in shop.space.conditions.values() if isinstance(kind, Known))
    return kind


UNEXPECTED = r"""
product=pen,rating | one value per column, such as age=40,income=2; got "rating"
day=soon           | \"day\" takes a date, such as 1970-01-02; got 'soon'\.
"""


@pytest.mark.parametrize(("given", "words"), read_cases(UNEXPECTED))
def test_messages_on_given_values_say_what_is_expected(shop, given, words):
    with pytest.raises(UsageError, match=words):
        shop.transport.wanted(1, condition_of(shop, None, given), 0)


def test_a_hyphen_may_be_the_text_of_missing_values():
    _, bound, _ = app.parse_args(["data", "check", "t.csv", "--missing", "-"], exit_on_error=False)
    assert bound.arguments["reading"].missing == "-"


LETTERS = np.array(["a", "b", "c"])


def test_messages_name_the_categories_and_columns_that_are_expected(shop, known, tmp_path):
    with pytest.raises(UsageError, match=r'Expected one of: "book, used", "None", "pen", ..q..\.$'):
        entered(known, "product", "bok")
    digits = Label(("0", "1", "2"))
    with pytest.raises(UsageError, match=r'There is no class "7"\. Expected .*: 0, 1, 2\.$'):
        digits.index("7")
    table = tmp_path / "s.csv"
    table.write_text("product,x\npen,1\npen,2\n")
    with pytest.raises(DataError, match=r"columns rating, day.* product, x\.$"):
        read_rows(table, shop.space)


def test_missing_values_and_dates_of_pandas_are_given_as_their_texts_are(shop, known):
    pd = pytest.importorskip("pandas")
    product, rating, _ = known.fields
    start = product.width
    end = start + rating.width
    for missing in (pd.NA, pd.NaT, None, float("nan")):
        row = entered(known, "rating", missing).numpy()
        decoded = rating.decode(row[:, start:end])
        assert np.isnan(decoded).all()
    assert with_conditions(None, {"rating": None}, shop.space) == ({"rating": ""}, {})
    from_text = entered(known, "day", "1970-01-02")
    from_stamp = entered(known, "day", pd.Timestamp("1970-01-02"))
    assert from_text[0, end] == from_stamp[0, end]


def named_columns(prefix, n, column):
    """Columns prefix0, prefix1, ... that a function draws."""
    columns = {}
    for number in range(n):
        columns[f"{prefix}{number}"] = column()
    return columns


def binary(r):
    return named_columns("b", 100, lambda: r.integers(0, 2, 60).tolist())


def categories(r):
    return named_columns("c", 2, lambda: LETTERS[r.integers(0, 3, 60)].tolist())


def numbers(r):
    return named_columns("x", 2, lambda: [f"{value:.2f}" for value in r.normal(size=60)])


def wide(r):
    return named_columns("x", 300, lambda: [f"{value:.1f}" for value in r.normal(size=40)])


def constant(r):
    return {"always": ["7"] * 60, "text": ["same"] * 60, "empty": [""] * 60, **numbers(r)}


def unchanging(r):
    return {"always": ["7"] * 60, "y": ["1.5"] * 59 + ["2.5"]}


def two(r):
    return {"x": ["1.5", "2.5"], "c": ["a", "b"]}


def table(path, columns):
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join(map(str, row)))
    path.write_text("\n".join(lines) + "\n")
    return pf.data.load(path, table=True, rare="keep")


EDGES = {
    "binary": (binary, pf.recipes.flow),
    "categories": (categories, pf.recipes.vae),
    "numbers": (numbers, pf.recipes.flow),
    "wide": (wide, pf.recipes.flow),
    "constant": (constant, functools.partial(pf.recipes.flow, network="columns")),
    "unchanging": (unchanging, pf.recipes.vae),
    "two rows": (two, pf.recipes.flow),
}


@pytest.mark.parametrize(("columns_of", "recipe"), EDGES.values(), ids=EDGES)
def test_a_table_at_the_edge_trains_and_writes_cells_of_its_file(tmp_path, columns_of, recipe):
    columns = columns_of(np.random.default_rng(0))
    data = table(tmp_path / "rows.csv", columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = recipe(data.space, "tiny")
        run = pf.fit(part, data, steps=2, out=tmp_path / "run", progress=False)
    rows = data.space.cells(run.transport.sample(9))
    for name, cells in zip(data.space.names, zip(*rows, strict=True), strict=True):
        known = set(map(str, columns[name]))
        if name.startswith("x") and columns_of is not two:
            given = list(map(float, known))
            drawn = list(map(float, cells))
            assert min(given) <= min(drawn)
            assert max(drawn) <= max(given)
        else:
            assert set(cells) <= known


def test_a_transformer_over_many_columns_has_smaller_batches(tmp_path):
    def batch(make, network):
        columns = make(np.random.default_rng(0))
        space = table(tmp_path / "rows.csv", columns).space
        return flow(space, "tiny", network=network).training.batch

    assert batch(numbers, "mlp") == 512
    assert batch(numbers, "columns") == 512
    assert batch(wide, "mlp") == 512
    assert batch(wide, "columns") == 64


def test_a_date_or_a_large_integer_is_replaced_with_a_warning_however_small_its_share():
    known = known_column(1_973_001.0 + 7 * np.arange(300), "whole", Format(0))
    assert said(known, "x", 1_973_002) == ["1973001 is used."]
