"""What is said to a user of tables: given values that cannot be, names that are close, lines of the file, columns left out."""

import json

import numpy as np
import pytest

from pushforward.data import load
from pushforward.spec import build, describe


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
