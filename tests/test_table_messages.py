"""What is said to a user of tables: given values that cannot be, names that are close, lines of the file, columns left out."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from programs.tables import mixed_table

import pushforward as pf
from pushforward.cli.entry import _signals_and_warnings
from pushforward.cli.evaluation import _rows, _samples_beside, _write
from pushforward.cli.inputs import condition_of
from pushforward.data import load
from pushforward.errors import UsageError, did_you_mean
from pushforward.evaluation.pictures import nearest
from pushforward.spec import build, describe

COLUMNS = ("a", "b", "c")


def test_names_are_close_whatever_their_capitals_and_where_they_hold_the_word():
    known = ["sex", "net price (with tax)", "net price"]
    assert did_you_mean("SXE", known) == ' Did you mean "sex"?'
    assert did_you_mean("net prices", known) == ' Did you mean "net price"?'
    assert did_you_mean("tax", known) == ' Did you mean "net price (with tax)"?'
    assert did_you_mean("ax", known) == did_you_mean("weight of it", known) == ""


def test_a_model_of_vectors_from_a_csv_says_how_its_columns_can_be_given(tmp_path):
    path = tmp_path / "iris.csv"
    path.write_text("width,length,species\n" + "".join(f"{i}.5,{i * i}.25,{'ab'[i % 2]}\n" for i in range(60)))
    space = load(path, target="species").space
    assert (space.names, space.columns) == ((), ("width", "length"))
    run = SimpleNamespace(space=space, transport=pf.recipes.flow(space, "tiny").method.transport())
    for given, says in (("species=b", "`label=b`"), ("width=1", "`table=True`"), ("length=long", "`table=True`")):
        with pytest.raises(UsageError, match=f'^"{given.partition("=")[0]}" is .*{says}'):
            run.transport.sample(2, condition_of(run, None, given))
    with pytest.raises(UsageError, match="there were no labels in training"):
        space.with_conditions().label_index("b")
    with pytest.raises(UsageError, match=r"`table=True` where the file is read as vectors"):
        pf.editing.impute(run, path)


def test_nearest_rows_of_a_table_are_written_as_its_file_writes_them(tmp_path):
    data = mixed_table(300)
    near = nearest(data.train.data_units(np.array([4, 9])), data, 2)
    _write(tmp_path / "n.csv", data, near, _samples_beside(data, near, 7))
    head, *rows = [line.split(",") for line in (tmp_path / "n.csv").read_text().splitlines()]
    assert head == ["seed", "rank", "distance", "near_copy", "number", "gain", "whole", "kind", "member"]
    assert [row[:2] for row in rows] == [["7", "0"], ["7", "1"], ["7", "2"], ["8", "0"], ["8", "1"], ["8", "2"]]
    assert rows[0][2] == ""
    assert [float(row[2]) for row in rows[1:3]] == near.distances[0].tolist()
    assert [rows[0][4:], rows[1][4:], rows[3][4:]] == data.space.cells(data.train.data_units(np.array([4, 4, 9])))


def test_the_terminal_lists_nearest_rows_as_the_file_writes_them_in_the_columns_that_fit(monkeypatch):
    data = mixed_table(300)
    near = nearest(data.train.data_units(np.arange(4, 14)), data, 2)
    samples = _samples_beside(data, near, 7)
    cells = data.space.cells(data.train.data_units(np.array([4])))[0]
    assert (samples[0]["row"], samples[0]["rows"][0]) == (cells, cells)
    for width, names in ((200, data.space.names), (60, data.space.names[:2])):
        monkeypatch.setenv("COLUMNS", str(width))
        head, first, second, *rest = _rows(list(data.space.names), samples).splitlines()
        assert head.split()[:4] == ["seed", "distance", *names[:2]]
        assert first.split()[:3] == ["7", "near-copy", cells[0]]
        assert second.split()[:2] == ["training", "0.000"]
        assert rest[-1] == "... all samples and columns are in the file"
        assert max(map(len, [head, first, second, *rest])) <= width


def test_a_frame_of_samples_has_the_types_of_the_training_frame():
    pd = pytest.importorskip("pandas")
    n, rng = 60, np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90 * 24, n), unit="h")
    frame = pd.DataFrame(
        {
            "plain": rng.integers(0, 500, n).astype(np.int16),
            "gaps": pd.array([None if i % 9 == 0 else i * 7 % 97 for i in range(n)], dtype="Int64"),
            "floats": np.where(np.arange(n) % 7, np.arange(n) * 3 % 41.0, np.nan),
            "half": (rng.integers(0, 99, n) / 4).astype(np.float32),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), ["S", "M", "L", "XL"], ordered=True),
            "code": pd.Categorical(rng.integers(1, 4, n)),
            "flag": pd.array([None if i % 8 == 0 else i % 3 == 0 for i in range(n)], dtype="boolean"),
            "never": np.zeros(n, dtype=bool),
            "text": pd.array([None if i % 5 == 0 else "ab"[i % 2] for i in range(n)], dtype="string"),
            "object": pd.Series(["xyz"[i % 3] for i in range(n)], dtype=object),
            "day": days.astype("datetime64[ns]"),
            "here": days.tz_localize("Europe/Berlin"),
        }
    )
    data = load(frame)
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes)
    assert build(json.loads(json.dumps(describe(data.space)))) == data.space, "a run holds the types"
    rows = {tuple(row) for row in frame.astype(str).to_numpy().tolist()}
    assert {tuple(row) for row in back.astype(str).to_numpy().tolist()} <= rows


def test_categories_of_a_frame_come_back_as_they_were():
    pd = pytest.importorskip("pandas")
    n, rng = 1200, np.random.default_rng(0)
    gaps = np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 4, n).astype(float))
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9, n), unit="D")
    frame = pd.DataFrame(
        {
            "floats": pd.Categorical(gaps, [3.0, 1.0, 2.0, 0.5]),
            "tiny": pd.Categorical(rng.choice([1e-7, 2.5, 1e5], n)),
            "zip": pd.Categorical(rng.integers(10, 60, n) * 1000),
            "rank": pd.Categorical(rng.integers(0, 30, n), ordered=True),
            "here": pd.Categorical(days.tz_localize("Europe/Berlin")),
            "many": pd.Categorical(rng.permutation(n) * 3),
        }
    )
    data = load(frame)
    assert [field.kind for field in data.space.fields[2:4]] == ["category", "ordinal"]
    back = data.space.frame(data.train.x)
    assert dict(back.dtypes) == dict(frame.dtypes)
    assert data.space.fields[-1].kind == "whole", "more than 1,000 levels are numbers"
    rows = {tuple(row) for row in frame.astype(str).to_numpy().tolist()}
    assert {tuple(row) for row in back.astype(str).to_numpy().tolist()} <= rows


def test_a_warning_of_the_library_is_a_sentence_on_the_command_line():
    plain = warnings.formatwarning
    with _signals_and_warnings():
        assert warnings.formatwarning("Add `table=True`.", UserWarning, "f.py", 3) == "warning: Add --table yes.\n"
        assert "f.py:3: DeprecationWarning" in warnings.formatwarning("Old.", DeprecationWarning, "f.py", 3, "")
    assert warnings.formatwarning is plain
