"""Values that are given to models of tables, and tables at the edges."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from programs.tables import mixed_space, mixed_values

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


@pytest.fixture(scope="module")
def transport():
    qty = Number.measured(
        "qty", np.repeat([1.0, 2, 3, *range(4, 30)], [100, 50, 30, *[1] * 26]), "whole", Format(0)
    )
    fields = [
        qty,
        Number.measured("price", np.arange(100.0), form=Format(1)),
        Category("b", ("no", "yes"), (0.5, 0.5)),
    ]
    return (
        pf.recipes.flow(TableSpace.of(fields), "tiny")
        .method.transport()
        .with_solver(pf.solvers.Euler(), steps=1)
    )


def said(known, name, value, n=1):
    """The ends of the warnings on a value that is used."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        known.entered(known.blank(n, "cpu"), name, value, n)
    return [str(warning.message).rpartition(", so ")[2] for warning in caught]


def test_a_number_that_a_column_does_not_hold_is_replaced_with_a_warning():
    mixed = mixed_space(mixed_values())
    known = Known(mixed.fields)
    for given, held in {
        ("whole", 99): f"{mixed.fields[2].knots[-1]:.0f}",
        ("whole", 4.4): "4",
        ("whole", 5): None,
        ("kind", "b"): None,
    }.items():
        actual = said(known, *given, 2)
        assert actual == ([f"{held} is used."] if held else [])
    few = Known((Number.measured("x", np.arange(0.0, 600, 10), form=Format(1)),))
    assert [said(few, "x", x) for x in (34, 20.04)] == [["30.0 is used."], ["20.0 is used."]]
    assert said(few, "x", np.float32(20.0)) == said(few, "x", 20 * (1 + 1e-9)) == []
    many = Known((Number.measured("x", np.arange(3000.0), "whole", Format(0)),))
    assert said(many, "x", 7.5) == ["8 is used."]
    wide = Known((Number.measured("x", np.arange(3000.0), form=Format(1)),))
    assert said(wide, "x", 2999.2) == [], "the range is 0 to 2999"


def test_given_values_are_replaced_by_the_nearest_of_atoms_and_other_values():
    closed = Number.measured(
        "qty", np.repeat([1.0, 2, 3, *range(4, 30)], [100, 50, 30, *[1] * 26]), "whole", Format(0)
    )
    spread = Number.measured(
        "price", np.r_[np.zeros(900), 5 + np.arange(2000) / 100], form=Format(2)
    )
    alone = Number("two", (), (), True, atoms=(0.0, 5.0), shares=(0.0, 0.5, 0.5))
    assert (closed.atoms, spread.atoms) == ((1.0, 2.0, 3.0), (0.0,))
    values = np.array([2.4, 3.5, 3.6, 0.2, 99, np.nan, 3])
    assert_array_equal(closed.nearest(values), [2, 3, 4, 1, 29, np.nan, 3])
    actual = spread.nearest(np.array([-1, 2.4, 2.6, 7.777, 99]))
    assert_array_equal(actual, [0, 0, 5, 7.777, 24.99])
    actual = alone.nearest(np.array([4.0, 1.0]))
    assert_array_equal(actual, [5.0, 0.0])
    known = Known((closed, spread))
    rows = known.of(np.array([[2.4, 2.4], [2.6, 2.6]]), np.ones((2, 2), dtype=np.int64)).numpy()
    decoded = closed.decode(rows[:, : closed.width]).tolist()
    assert decoded == [2.0, 3.0]
    decoded = spread.decode(rows[:, closed.width : -2]).tolist()
    assert decoded == [0.0, 5.0]
    with pytest.warns(UserWarning, match="2 is used"):
        entered = known.entered(known.blank(1, "cpu"), "qty", 2.4, 1).numpy()
    decoded = closed.decode(entered[:, : closed.width]).tolist()
    assert decoded == [2.0]
    assert [said(known, name, 2.4) for name in ("qty", "price")] == [
        ["2 is used."],
        ["0.00 is used."],
    ]


def test_imputation_says_once_which_cells_lie_outside_of_the_training_rows_range(
    transport, tmp_path
):
    (tmp_path / "t.csv").write_text("qty,price,b\n2,5,?\n99,-4,?\n70,5,?\n3,9,no\n-5,9,no\n")
    words = r"2 of qty, such as 99 \(the range is 1 to 29\), 1 of price, such as -4\.0 \(the"
    with pytest.warns(UserWarning, match=words) as caught:
        imputed = pf.impute(transport, tmp_path / "t.csv")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = pf.impute(transport, np.array([[2, 5, np.nan], [29, 0, np.nan], [29, 5, np.nan]]))
    assert_array_equal(imputed.values[0, :3, 2], near.values[0, :, 2])
    with pytest.warns(UserWarning, match=r"price, such as 100\.5 \(the range is 0\.0 to 99\.0\)"):
        pf.impute(transport, np.array([[2, 100.5, np.nan]]))


@pytest.fixture(scope="module")
def shop():
    """A run of a table of texts with commas, numbers that may be missing, and dates."""
    product = Category("product", ("book, used", "None", "pen", '"q"'), (0.4, 0.2, 0.2, 0.2))
    rating = Number.measured("rating", np.r_[np.arange(60.0), np.nan], form=Format(1))
    day = Number.measured("day", np.array([1.0, 3.0]) * 86400, "date", Format(pattern="%Y-%m-%d"))
    layout = Layout(missing=("None", "NA", "NA"))
    space = TableSpace.of([product, rating, day], layout=layout)
    transport = pf.recipes.flow(space, "tiny").method.transport()
    return SimpleNamespace(space=transport.space, transport=transport)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("rating=NA,product=pen", {"rating": "", "product": "pen"}),
        ("rating=", {"rating": ""}),
        ('product="book, used", rating=3', {"product": "book, used", "rating": "3"}),
        ('product="a, b=c, rating",rating=3', {"product": "a, b=c, rating", "rating": "3"}),
        ("product=None", {"product": "None"}),
        ("product=it's, rating=3", {"product": "it's", "rating": "3"}),
    ],
)
def test_given_texts_may_be_quoted_or_say_that_a_value_is_missing(shop, given, wanted, monkeypatch):
    monkeypatch.setattr("pushforward.transports.Transport.wanted", lambda *_: None)
    assert condition_of(shop, None, given) == wanted


def test_messages_on_given_values_say_what_is_expected(shop, tmp_path):
    for given, words in {
        "product=pen,rating": 'one value per column, such as age=40,income=2; got "rating"',
        "day=soon": r"\"day\" takes a date, such as 1970-01-02; got 'soon'\.",
    }.items():
        with pytest.raises(UsageError, match=words):
            shop.transport.wanted(1, condition_of(shop, None, given), 0)
    (known,) = (kind for kind in shop.space.conditions.values() if isinstance(kind, Known))
    with pytest.raises(UsageError, match=r'Expected one of: "book, used", "None", "pen", ..q..\.$'):
        known.entered(known.blank(1, "cpu"), "product", "bok", 1)
    pd = pytest.importorskip("pandas")
    start = known.fields[0].width
    for value in (pd.NA, pd.NaT, None, float("nan")):
        values = known.entered(known.blank(1, "cpu"), "rating", value, 1).numpy()[
            :, start : start + known.fields[1].width
        ]
        assert np.isnan(known.fields[1].decode(values)).all()
    actual = with_conditions(None, {"rating": None}, shop.space)
    assert actual == ({"rating": ""}, {})
    start += known.fields[1].width
    days = [
        known.entered(known.blank(1, "cpu"), "day", value, 1)[:, start]
        for value in ("1970-01-02", pd.Timestamp("1970-01-02"))
    ]
    assert days[0] == days[1]
    with pytest.raises(UsageError, match=r'There is no class "7"\. Expected .*: 0, 1, 2\.$'):
        Label(("0", "1", "2")).index("7")
    (tmp_path / "s.csv").write_text("product,x\npen,1\npen,2\n")
    with pytest.raises(DataError, match=r"columns rating, day.* product, x\.$"):
        read_rows(tmp_path / "s.csv", shop.space)


def test_a_hyphen_may_be_the_text_of_missing_values():
    _, bound, _ = app.parse_args(["data", "check", "t.csv", "--missing", "-"], exit_on_error=False)
    assert bound.arguments["reading"].missing == "-"


LETTERS = np.array(["a", "b", "c"])


def binary(r, n=60):
    return {f"b{j}": r.integers(0, 2, n).tolist() for j in range(100)}


def categories(r, n=60):
    return {name: LETTERS[r.integers(0, 3, n)].tolist() for name in ("x", "y")}


def numbers(r, n=60):
    return {name: [f"{value:.2f}" for value in r.normal(size=n)] for name in ("x", "y")}


def wide(r, n=40):
    return {f"n{j}": [f"{value:.1f}" for value in r.normal(size=n)] for j in range(300)}


def constant(r, n=60):
    return {"always": ["7"] * n, "text": ["same"] * n, "empty": [""] * n, **numbers(r, n)}


def unchanging(r, n=60):
    return {"always": ["7"] * n, "y": [*["1.5"] * (n - 1), "2.5"]}


def two(r):
    return {"x": ["1.5", "2.5"], "c": ["a", "b"]}


def table(path, columns):
    rows = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    path.write_text("\n".join(rows) + "\n")
    return pf.data.load(path, table=True, rare="keep")


CASES = [
    (binary, "flow", {}),
    (categories, "vae", {}),
    (numbers, "flow", {}),
    (wide, "flow", {}),
    (constant, "flow", {"network": "columns"}),
    (unchanging, "vae", {}),
    (two, "flow", {}),
]


@pytest.mark.parametrize(
    ("columns_of", "recipe", "options"),
    CASES,
    ids=[f"{case.__name__}-{recipe}" for case, recipe, _ in CASES],
)
def test_a_table_at_the_edge_trains_and_writes_cells_of_its_file(
    tmp_path, columns_of, recipe, options
):
    columns = columns_of(np.random.default_rng(0))
    data = table(tmp_path / "rows.csv", columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = pf.recipes.named(recipe)(data.space, "tiny", **options)
        run = pf.fit(part, data, steps=2, out=tmp_path / "run", progress=False)
    drawn = dict(
        zip(
            data.space.names,
            zip(*data.space.cells(run.transport.sample(9)), strict=True),
            strict=True,
        )
    )
    for name, cells in drawn.items():
        known = set(map(str, columns[name]))
        if columns_of is wide or (columns_of in (numbers, constant) and name in "xy"):
            assert all(
                min(map(float, known)) <= float(cell) <= max(map(float, known)) for cell in cells
            )
        else:
            assert set(cells) <= known


def test_a_transformer_over_many_columns_has_smaller_batches(tmp_path):
    few, many = (
        table(tmp_path / f"{make.__name__}.csv", make(np.random.default_rng(0))).space
        for make in (numbers, wide)
    )
    assert [flow(few, "tiny", network=name).training.batch for name in ("mlp", "columns")] == [
        512,
        512,
    ]
    assert [flow(many, "tiny", network=name).training.batch for name in ("mlp", "columns")] == [
        512,
        64,
    ]


def test_a_date_or_a_large_integer_is_replaced_with_a_warning_however_small_its_share():
    numbers = 1_973_001.0 + 7 * np.arange(300)
    known = Known((Number.measured("x", numbers, "whole", Format(0)),))
    assert said(known, "x", 1_973_002) == ["1973001 is used."]
