"""Continuous attributes: read from files, received by models, written with samples; and a kind of
condition that a file adds.
"""

import csv
import json
import math

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.cli import main
from pushforward.conditions import Request
from pushforward.data import Sampler
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.evaluation.models import unseen_warnings
from pushforward.testing import assert_same, final_state


def line(n=4000, seed=0, noise=0.3):
    """x = (s + age / 10, ...) with s = +-1 at random: two Gaussians whose means move with the
    attribute.
    """
    rng = np.random.default_rng(seed)
    age = rng.uniform(-1, 1, n)
    side = rng.choice([-1.0, 1.0], n)
    means = np.stack([2 * age, side + age])
    x = means + noise * rng.normal(size=(2, n))
    return pf.data.from_arrays(x.T, given={"age": age}, name="line")


# Data


def write_table(path, n=120, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 360, n)
    age = rng.uniform(20, 60, n)
    turn = np.radians(angle)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    x = circle + 0.05 * rng.normal(size=(n, 2))
    rows = np.column_stack([x, angle, age])
    np.savetxt(path, rows, "%.4f", delimiter=",", header="a,b,angle,age", comments="")
    return path


def test_columns_of_a_table_are_given(tmp_path):
    path = write_table(tmp_path / "t.csv")
    whole = pf.data.load(path, table=False)
    data = pf.data.load(path, given=["age", "angle"])
    assert data.space.columns == ("a", "b")
    assert data.space.conditions["given"].columns == ("age", "angle")
    age, angle = data.held_out.given["given"].T
    np.testing.assert_array_equal(age, whole.held_out.x[:, 3])
    np.testing.assert_array_equal(angle, whole.held_out.x[:, 2])
    np.testing.assert_array_equal(data.held_out.hashes, whole.held_out.hashes)
    assert data.origin["given"] == ["age", "angle"]
    assert pf.data.load(**data.origin).fingerprint == data.fingerprint
    batch = Sampler(data, 50).batch(3)
    given = batch.condition["given"][7].numpy()
    same = (data.train.given["given"] == given).all(1)
    (row,) = np.flatnonzero(same)
    x = data.space.to_data(batch.x)
    np.testing.assert_allclose(x[7], data.train.x[row], rtol=1e-6, atol=1e-6)
    for names, says in (
        ("agee", "Did you mean"),
        ("a b age angle", "all columns"),
        ("age age", "twice"),
    ):
        with pytest.raises(UsageError, match=says):
            pf.data.load(path, given=names.split())
    with pytest.raises(UsageError, match='column "x0"'):
        pf.data.load("moons", given=["x0"])


def test_conditions_are_drawn_together():
    """Labels and attributes of a sample are those of one training example, also where the label is
    asked for.
    """
    rng = np.random.default_rng(0)
    side = rng.choice(3, 3000, p=[0.25, 0.6, 0.15])
    age = 10 * side + rng.normal(size=3000)
    x = rng.normal(size=(3000, 2))
    data = pf.data.from_arrays(x, side, given={"age": age})
    request = Request(data.space.conditions)
    rows = request.values(2000, None, 0)
    drawn = rows["given"][:, 0]
    assert_of_label(drawn, rows["label"])
    train = correlation(data.train.labels, data.train.given["given"][:, 0])
    error = (1 - train**2) / math.sqrt(2000)
    assert correlation(rows["label"], drawn) == pytest.approx(train, abs=3 * error)
    error = age.std() / math.sqrt(2000)
    assert float(drawn.mean()) == pytest.approx(age.mean(), abs=3 * error)
    for label in range(3):
        rows = request.values(1000, {"label": label}, 5)
        ages = rows["given"]
        assert float(ages.mean()) == pytest.approx(10 * label, abs=3 * math.sqrt(2 / 300))
        assert_of_label(ages, label)
    several = request.values(3, {"label": 1}, 5)
    single = request.values(1, {"label": 1}, 7)
    assert torch.equal(several["given"][2], single["given"][0])


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


def assert_of_label(ages, label):
    """Each label has ages around ten times its number."""
    gaps = ages / 10 - label
    assert gaps.abs().max() < 0.5


def test_columns_of_two_kinds_are_drawn_together(tmp_path):
    path = tmp_path / "t.csv"
    high = np.random.default_rng(0).normal(size=3000)
    rows = np.arange(3000)
    table = np.column_stack([rows / 7, rows / 9, -high, high])
    np.savetxt(path, table, "%.9f", delimiter=",", header="x,y,low,high", comments="")
    data = pf.data.load(path, given=["low:Numbers", "high"])
    request = Request(data.space.conditions)
    drawn = request.values(500, None, 0)
    torch.testing.assert_close(drawn["low"], -drawn["given"])


# Models


@pytest.fixture(scope="module")
def flow():
    """A flow that has learned the line a little."""
    data = line()
    return data, pf.fit("flow", data, size="tiny", steps=400, seed=0).transport


def test_a_flow_follows_what_is_given(flow):
    _, transport = flow
    sampler = transport.with_solver("dpm:2", 12)
    ages = torch.linspace(-0.9, 0.9, 400)
    x = sampler.sample(400, {"age": ages})
    assert correlation(x[:, 0], ages) > 0.93
    for age in (-0.5, 0.5):
        x = sampler.sample(400, {"age": age})[:, 0]
        assert float(x.mean()) == pytest.approx(2 * age, abs=0.2)
        assert x.std() < 0.6, "0.3 is the truth, 1.2 without the attribute"
    condition = {"age": 0.5}
    guided = pf.Guided(transport.denoiser, 1.5)
    x = pf.Flow(guided, "dpm:2", 4).sample(3, condition)
    assert x.isfinite().all()
    free = pf.Guided(transport.denoiser, 0.0)
    x = pf.Flow(free, "dpm:2", 12).sample(400, condition)[:, 0]
    assert x.std() > 0.8, "the unconditional branch has all ages"
    x = transport.sample(2, {"given_null": True})
    assert x.isfinite().all()


def test_a_report_says_that_no_score_looks_at_what_is_given(flow):
    data, transport = flow
    warnings = " ".join(unseen_warnings(transport, data))
    assert "do not use age" in warnings


# A kind of one's own

FILE = '''
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

import pushforward as pf
from pushforward.conditions import Columns


class Turned(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.null = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, values, null=None):
        angle = torch.deg2rad(values)
        vector = self.linear(torch.cat([angle.cos(), angle.sin()], dim=1))
        return vector if null is None else torch.where(null[:, None], self.null, vector)


@dataclass(frozen=True)
class Cyclic(Columns):
    """An angle in degrees: 359 and 1 are near."""

    columns: tuple[str, ...]
    examples: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self):
        self._check()

    @classmethod
    def measure(cls, values, columns, chosen=None):
        return cls(tuple(columns), cls.examples_of(values % 360, chosen))

    def embedding(self, width):
        return Turned(width)

    def describe(self):
        return f"the angle {self.columns[0]}"

    def for_networks(self):
        return replace(self, examples=())


def mine(space: pf.data.Space, size: str = "small") -> pf.Recipe:
    """A flow."""
    return pf.recipes.flow(space, size)
'''


def test_a_file_adds_a_kind_of_condition(tmp_path, monkeypatch, capsys):
    """It is found by the command line, trains, resumes bit for bit, samples, is evaluated."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv")
    (tmp_path / "cyclic.py").write_text(FILE)
    train = "train ./cyclic.py --data t.csv --given angle:Cyclic,age --size tiny --batch 64"
    assert code_of(f"{train} --steps 6 --out whole") == 0
    assert code_of(f"{train} --steps 3 --out parts") == 0
    plugin = "--plugin ./cyclic.py"
    assert code_of(f"resume parts --steps 6 {plugin}") == 0
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    transport = pf.load("whole", plugins=["cyclic.py"]).transport
    x = transport.sample(2, {"angle": [0, 360], "age": 30}, seed=0)
    assert x.isfinite().all()
    z = transport.noise(ExampleDraws(3, 1)).expand(2, -1)
    angle = torch.tensor([[0.0], [360.0]])
    age = torch.full((2, 1), 30.0)
    first, last = transport(z, {"angle": angle, "given": age})
    torch.testing.assert_close(first, last)
    capsys.readouterr()
    sample = f"sample whole --n 3 {plugin}"
    assert code_of(f"{sample} --given angle=90,age=30 --out x.csv --json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["condition"] == {"angle": 90.0, "age": 30.0}
    with open("x.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        assert row["angle"] == "90.0"
        assert row["age"] == "30.0"
    assert code_of(f"{sample} --given age=40,age=41 --out y.csv") == 2
    assert "--given" in capsys.readouterr().err
    assert code_of(f"evaluate whole --n 10 --repeats 1 {plugin}") == 0


def code_of(command):
    """The exit code of a command."""
    return main(command.split())
