"""Columns that a model receives: how they are named and asked for."""

import re
from pathlib import Path

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.conditions import Request
from pushforward.errors import DataError, UsageError

PART = """
from torch import nn


class Unused(nn.Module):
    pass
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{b:.3f},{'uv'[i % 2]}" for i, (a, b) in enumerate(rng.uniform(20, 60, (80, 2)))]
    Path("t.csv").write_text("\n".join(["height,the age,kind", *lines, ""]))
    Path("part.py").write_text(PART)
    return "t.csv"


@pytest.mark.parametrize("given", ["the age", ["height", "the age"], ["the age:Numbers"]])
def test_a_column_is_given_or_the_target(table, given):
    with pytest.raises(UsageError, match='`target` and `given` both name "the age"'):
        pf.data.load(table, target="the age", given=given)


def test_errors_about_given_say_what_to_do(table):
    with pytest.raises(DataError, match=r'column "kind": .*expected numbers'):
        pf.data.load(table, given="the age, kind")
    data = pf.data.load(table, target="kind", given="the age,")
    with pytest.raises(UsageError, match=r'"the aeg"; this model knows "label", "the age"\. Did you mean "the age"'):
        Request(data.space.conditions).values(1, {"the aeg": 3}, 0)
    x, given = np.random.default_rng(0).normal(size=(2, 40, 2))
    np.savez("a.npz", x=x, given=given, given_names=["u", "v"])
    with pytest.raises(UsageError, match='no column "u"'):
        pf.data.load("a.npz", given="u,v")
    given[2, 1] = np.nan
    np.savez("a.npz", x=x, given=given, given_names=["u", "v"])
    with pytest.raises(DataError, match=r'column "v" of example 3 of 40 is missing \(NaN\)\. Fill it in'):
        pf.data.load("a.npz")


def test_a_run_names_a_value_outside_of_its_data_and_one_that_is_no_number(table, capsys):
    words = ["--data", table, "--target", "kind", "--given", "the age", "--size", "tiny", "--steps", "1", "--plugin", "part.py"]
    assert main(["train", "flow", *words, "--condition", "none", "--out", "run"]) == 0
    run = pf.load("run", plugins="part.py")
    assert list(run.space.conditions) == ["given"], "--condition none drops labels only"
    assert pf.resume("run", plugins=Path("part.py")).state == run.state
    assert pf.evaluate("run", n=6, repeats=1, metrics=["frechet"], plugins="part.py").models
    capsys.readouterr()
    assert main(["sample", "run", "--n", "2", "--given", "the age=500", "--plugin", "part.py"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"note: the age=500 lies outside the 2\d\.?\d* to [56]\d\.?\d* of the training data", said)
    assert main(["sample", "run", "--n", "2", "--given", "the age=40", "--plugin", "part.py"]) == 0
    assert "note:" not in capsys.readouterr().err
    for request_ in ({"the age": float("nan")}, {"the age": [30, float("nan"), 40]}, {"given": [float("nan")]}):
        with pytest.raises(UsageError, match=r"finite number.* got "):
            run.sample(3, request_)
