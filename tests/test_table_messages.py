"""What is said to a user of tables: given values that cannot be, names that are close, lines of the file, columns left out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli.inputs import condition_of
from pushforward.data import load
from pushforward.errors import UsageError
from pushforward.spec import build, describe


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
    with pytest.raises(UsageError, match=r"is a model of vectors: .*`table=True`"):
        pf.editing.impute(run, path)


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
