"""Continuous attributes: read from files, received by models, written with samples; and a kind of
condition that a file adds.
"""

import csv
import json
import os

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
    x = np.stack([2 * age + noise * rng.normal(size=n), side + age + noise * rng.normal(size=n)], 1)
    return pf.data.from_arrays(x, given={"age": age}, name="line")


# Data


def write_table(path, n=120, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 360, n)
    age = rng.uniform(20, 60, n)
    x = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], 1) + 0.05 * rng.normal(
        size=(n, 2)
    )
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "angle", "age"])
        writer.writerows(np.column_stack([x, angle, age]).round(4).tolist())
    return path


def test_columns_of_a_table_are_given(tmp_path):
    path = write_table(tmp_path / "t.csv")
    whole = pf.data.load(path, table=False)
    data = pf.data.load(path, given=["age", "angle"])
    assert data.space.columns == ("a", "b")
    assert data.space.conditions["given"].columns == ("age", "angle")
    np.testing.assert_array_equal(data.held_out.given["given"], whole.held_out.x[:, [3, 2]])
    np.testing.assert_array_equal(data.held_out.hashes, whole.held_out.hashes)
    assert data.origin["given"] == ["age", "angle"]
    assert pf.data.load(**data.origin).fingerprint == data.fingerprint
    batch = Sampler(data, 50).batch(3)
    row = int(
        (torch.from_numpy(data.train.given["given"]) == batch.condition["given"][7])
        .all(1)
        .nonzero()
    )
    actual = data.space.to_data(batch.x[7:8])
    expected = torch.from_numpy(data.train.x[row : row + 1])
    torch.testing.assert_close(actual, expected)
    for given, says in (
        (["agee"], "Did you mean"),
        (["a", "b", "age", "angle"], "all columns"),
        (["age", "age"], "twice"),
    ):
        with pytest.raises(UsageError, match=says):
            pf.data.load(path, given=given)
    with pytest.raises(UsageError, match='column "x0"'):
        pf.data.load("moons", given=["x0"])


def test_conditions_are_drawn_together(tmp_path):
    """Labels and attributes of a sample are those of one training example, also where the label is
    asked for.
    """
    rng = np.random.default_rng(0)
    side = rng.choice(3, 3000, p=[0.25, 0.6, 0.15])
    age = 10 * side + rng.normal(size=3000)
    data = pf.data.from_arrays(rng.normal(size=(3000, 2)), side, given={"age": age})
    request = Request(data.space.conditions)
    rows = request.values(2000, None, 0)
    drawn = rows["given"][:, 0]
    assert ((drawn / 10 - rows["label"]).abs() < 0.5).all()
    train = np.corrcoef(data.train.labels, data.train.given["given"][:, 0])[0, 1]
    actual = np.corrcoef(rows["label"], drawn)[0, 1]
    assert actual == pytest.approx(train, abs=3 * (1 - train**2) / 2000**0.5)
    assert float(drawn.mean()) == pytest.approx(age.mean(), abs=3 * age.std() / 2000**0.5)
    for label in range(3):
        ages = request.values(1000, {"label": label}, 5)["given"]
        assert float(ages.mean()) == pytest.approx(10 * label, abs=3 * 2**0.5 / 300**0.5)
        assert (ages / 10 - label).abs().max() < 0.5
    actual = request.values(3, {"label": 1}, 5)["given"][2]
    expected = request.values(1, {"label": 1}, 7)["given"][0]
    assert torch.equal(actual, expected)
    rows = [f"{i / 7},{i / 9},{a},{-a}" for i, a in enumerate(age)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,low,high", *rows]))
    drawn = Request(
        pf.data.load(tmp_path / "t.csv", given=["low:Numbers", "high"]).space.conditions
    ).values(500, None, 0)
    torch.testing.assert_close(drawn["low"], -drawn["given"])


# Models


@pytest.fixture(scope="module")
def flow():
    """A flow that has learned the line a little."""
    data = line()
    return data, pf.fit("flow", data, size="tiny", steps=400, seed=0).transport


def test_a_flow_follows_what_is_given(flow):
    transport = flow[1]
    ages = torch.linspace(-0.9, 0.9, 400)
    x = transport.with_solver("dpm:2", 12).sample(400, {"age": ages})
    actual = np.corrcoef(x[:, 0], ages)[0, 1]
    assert actual > 0.93
    for age in (-0.5, 0.5):
        x = transport.with_solver("dpm:2", 12).sample(400, {"age": age})
        mean = float(x[:, 0].mean())
        assert mean == pytest.approx(2 * age, abs=0.2)
        std = float(x[:, 0].std())
        assert std < 0.6, "0.3 is the truth, 1.2 without the attribute"
    guided = pf.Guided(transport.denoiser, 1.5)
    assert torch.isfinite(pf.Flow(guided, "dpm:2", 4).sample(3, {"age": 0.5})).all()
    free = pf.Guided(transport.denoiser, 0.0)
    wide = pf.Flow(free, "dpm:2", 12).sample(400, {"age": 0.5})
    std = float(wide[:, 0].std())
    assert std > 0.8, "the unconditional branch has all ages"
    assert torch.isfinite(transport.sample(2, {"given_null": True})).all()


def test_a_report_says_that_no_score_looks_at_what_is_given(flow):
    assert any("do not use age" in warning for warning in unseen_warnings(flow[1], flow[0]))


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
    words = [
        "train",
        "./cyclic.py",
        "--data",
        "t.csv",
        "--given",
        "angle:Cyclic,age",
        "--size",
        "tiny",
        "--batch",
        "64",
    ]
    assert main([*words, "--steps", "6", "--out", "whole"]) == 0
    assert main([*words, "--steps", "3", "--out", "parts"]) == 0
    plugin = ["--plugin", "./cyclic.py"]
    assert main(["resume", "parts", "--steps", "6", *plugin]) == 0
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    run = pf.load("whole", plugins=["cyclic.py"])
    x = run.transport.sample(2, {"angle": [0, 360], "age": 30}, seed=0)
    z = run.transport.noise(ExampleDraws(3, 1)).expand(2, -1)
    turned = {"angle": torch.tensor([[0.0], [360.0]]), "given": torch.tensor([[30.0], [30.0]])}
    first, last = run.transport(z, turned)
    torch.testing.assert_close(first, last)
    assert torch.isfinite(x).all()
    capsys.readouterr()
    code = main(
        [
            "sample",
            "whole",
            "--n",
            "3",
            "--given",
            "angle=90,age=30",
            "--out",
            "x.csv",
            "--json",
            *plugin,
        ]
    )
    assert code == 0
    condition = json.loads(capsys.readouterr().out)["condition"]
    assert condition == {"angle": 90.0, "age": 30.0}
    code = main(
        ["sample", "whole", "--n", "3", "--given", "age=40,age=41", "--out", "y.csv", *plugin]
    )
    assert code == 2
    assert "--given" in capsys.readouterr().err
    with open("x.csv") as file:
        assert [(row["angle"], row["age"]) for row in csv.DictReader(file)] == [
            ("90.0", "30.0")
        ] * 3
    code = main(["evaluate", "whole", "--n", "10", "--repeats", "1", *plugin])
    assert code == 0
    assert os.path.exists("whole/spec.json")
