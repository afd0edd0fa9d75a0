"""Tables at the edges: many binary columns, one kind of column alone, two rows, many columns, columns that never change."""

import warnings

import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import DataError
from pushforward.recipes.flow import flow

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
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return pf.data.load(path, table=True)


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
    ("columns_of", "recipe", "options"), CASES, ids=[f"{case.__name__}-{recipe}" for case, recipe, _ in CASES]
)
def test_a_table_at_the_edge_trains_and_writes_cells_of_its_file(tmp_path, columns_of, recipe, options):
    columns = columns_of(np.random.default_rng(0))
    data = table(tmp_path / "rows.csv", columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = pf.recipes.named(recipe)(data.space, "tiny", **options)
        run = pf.fit(part, data, steps=2, out=tmp_path / "run", progress=False)
    drawn = dict(zip(data.space.names, zip(*data.space.cells(run.transport.sample(9)), strict=True), strict=True))
    for name, cells in drawn.items():
        known = set(map(str, columns[name]))
        if columns_of is wide or (columns_of in (numbers, constant) and name in "xy"):
            assert all(min(map(float, known)) <= float(cell) <= max(map(float, known)) for cell in cells)
        else:
            assert set(cells) <= known


def test_a_table_whose_rows_are_all_equal_is_refused(tmp_path):
    with pytest.raises(DataError, match="the same"):
        table(tmp_path / "rows.csv", {"x": ["1.5"] * 9, "c": ["a"] * 9})


def test_a_transformer_over_many_columns_has_smaller_batches(tmp_path):
    few, many = (table(tmp_path / f"{make.__name__}.csv", make(np.random.default_rng(0))).space for make in (numbers, wide))
    assert [flow(few, "tiny", network=name).training.batch for name in ("mlp", "columns")] == [512, 512]
    assert [flow(many, "tiny", network=name).training.batch for name in ("mlp", "columns")] == [512, 64]
