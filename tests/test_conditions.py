"""Conditions by kind: requests, draws, embeddings and masks; models of continuous attributes; a kind that a file adds."""

import csv
import json
import os

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.conditions import Label, Numbers, Request, hidden
from pushforward.data import Sampler
from pushforward.draws import RowDraws
from pushforward.errors import DataError, UsageError
from pushforward.networks import Packed
from pushforward.recipes.choice import critic, decoder, denoising_network, encoder, generator
from pushforward.testing import assert_same, final_state

NUMBERS = Numbers(("age", "income"), (40.0, 3.0), (10.0, 1.0), ((20.0, 1.0), (40.0, 3.0), (60.0, 5.0)))
LABEL = Label(("a", "b", "c"), (0.2, 0.3, 0.5))
BOTH = {"label": LABEL, "given": NUMBERS}
PAIRED, CODING = ("mlp", "dcgan", "residual", "textbook"), ("mlp", "convolutional", "textbook")


def line(n=4000, seed=0, noise=0.3):
    """x = (s + age / 10, ...) with s = +-1 at random: two Gaussians whose means move with the attribute."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(-1, 1, n)
    side = rng.choice([-1.0, 1.0], n)
    x = np.stack([2 * age + noise * rng.normal(size=n), side + age + noise * rng.normal(size=n)], 1)
    return pf.data.from_arrays(x, given={"age": age}, name="line")


# Requests


def test_one_value_stands_for_all_samples_and_names_may_be_mixed():
    rows = Request(BOTH).rows(3, {"label": "b", "age": 50, "income": [1, 2, 3]}, 7)
    assert rows["label"].tolist() == [1, 1, 1]
    assert rows["given"].tolist() == [[50, 1], [50, 2], [50, 3]]
    whole = Request(BOTH).rows(2, {"label": [2, 0], "given": [30, 4]}, 0)
    assert whole["given"].tolist() == [[30, 4], [30, 4]]
    assert whole["label"].tolist() == [2, 0]


def test_what_is_not_asked_for_is_drawn_for_each_seed_alone():
    request = Request(BOTH)
    rows = request.rows(6, None, 10)
    assert {tuple(row) for row in rows["given"].tolist()} <= set(NUMBERS.examples)
    for i in range(6):
        single = request.rows(1, None, 10 + i)
        assert all(torch.equal(single[name][0], rows[name][i]) for name in BOTH)
    some = request.rows(6, {"age": 33}, 10)
    assert torch.equal(some["given"][:, 1], rows["given"][:, 1])
    assert some["given"][:, 0].tolist() == [33] * 6


def test_labels_are_drawn_as_before_there_were_kinds():
    edges = torch.tensor(np.cumsum(LABEL.frequencies)[:-1], dtype=torch.float32)
    wanted = torch.bucketize(RowDraws(5, 50, "label").uniform(), edges, right=True)
    assert torch.equal(Request(BOTH).rows(50, None, 5)["label"], wanted)


def test_masks_are_named_after_their_condition():
    rows = Request(BOTH).rows(2, {"label_null": True, "given_null": [True, False]}, 0)
    assert "label" not in rows, "what is hidden everywhere is not drawn"
    assert rows["given_null"].tolist() == [True, False]
    mask = torch.tensor([False, True])
    both = hidden(rows, mask)
    assert both["given_null"].tolist() == [True, True]
    assert both["label_null"].tolist() == [True, True]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"agee": 3}, 'Did you mean "age"'),
        ({"age": "old"}, "must be a number"),
        ({"age": [1, 2]}, "has 2 rows"),
        ({"age": [[1]]}, "one number, or one for each"),
        ({"age": 3, "given": [1, 2]}, 'holds "age"'),
        ({"given": [1, 2, 3]}, r"expected \(2,\)"),
        ({"given": [1, float("nan")]}, "finite"),
        ({"age": float("inf")}, "finite"),
        ({"label": 3}, "run from 0 to 2"),
        ({"label_null": 1}, "True or False"),
        (3, "is a dict"),
    ],
)
def test_requests_that_cannot_be_are_refused(asked, says):
    with pytest.raises(UsageError, match=says):
        Request(BOTH).rows(3, asked, 0)


def test_a_model_without_conditions_takes_none():
    assert Request({}).rows(2, None, 0) is None
    with pytest.raises(UsageError, match="without labels"):
        Request({}).rows(2, {"label": 1}, 0)


def test_kinds_are_stored_as_any_part():
    for kind in BOTH.values():
        again = spec.build(json.loads(json.dumps(spec.describe(kind))))
        assert again == kind
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions=BOTH)
    assert spec.build(json.loads(json.dumps(spec.describe(space)))) == space
    for name in ("x", "a_null", "a b"):
        with pytest.raises(UsageError, match="cannot be called"):
            pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions={name: LABEL})


def test_numbers_keep_evenly_spaced_examples():
    values = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    kind = Numbers.measure(values, ("a", "b"))
    drawn = np.array(kind.examples)
    assert len(drawn) == 1024
    assert set(map(tuple, drawn.astype(np.float32).tolist())) <= set(map(tuple, values.tolist()))
    assert abs(np.sort(drawn[:, 0]) - np.quantile(values[:, 0], (np.arange(1024) + 0.5) / 1024)).mean() < 2e-3
    assert kind.mean == pytest.approx(values.mean(0), abs=1e-5)


# Networks


TABLE = pf.data.VectorSpace((5,), (0,) * 5, (1,) * 5, conditions=BOTH)
IMAGE = pf.data.ImageSpace((2, 6, 7), (0,) * 2, (1,) * 2, (0,) * 2, (1,) * 2, conditions=BOTH)
NETWORKS = {
    "denoiser mlp": (lambda: denoising_network(TABLE, "tiny"), (5,)),
    **{f"denoiser {kind}": (lambda kind=kind: denoising_network(IMAGE, "tiny", kind), IMAGE.shape) for kind in ("unet", "dit")},
    **{f"generator {kind}": (lambda kind=kind: generator(IMAGE, "tiny", 4, kind), (4,)) for kind in PAIRED},
    **{f"critic {kind}": (lambda kind=kind: critic(IMAGE, "tiny", kind), IMAGE.shape) for kind in PAIRED},
    **{f"encoder {kind}": (lambda kind=kind: encoder(IMAGE, "tiny", 4, kind), IMAGE.shape) for kind in CODING},
    **{f"decoder {kind}": (lambda kind=kind: decoder(IMAGE, "tiny", 4, kind), (4,)) for kind in CODING},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_receives_numbers_and_their_null(name):
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    network = build().double().eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    x = torch.randn(1, *shape, dtype=torch.float64).expand(4, *shape)
    t = torch.full((4,), 0.4).double() if name.startswith("denoiser") else None
    given = torch.tensor([[20.0, 1.0], [20.0, 1.0], [60.0, 1.0], [20.0, 5.0]]).double()
    label, mask = torch.zeros(4, dtype=torch.int64), torch.tensor([True, False, False, False])
    y = network(x, t, {"label": label, "given": given, "given_null": mask}).reshape(4, -1)
    for a in range(4):
        for b in range(a):
            assert (y[a] - y[b]).abs().max() > 1e-6, "null, values and columns differ"
    torch.testing.assert_close(network(x, t, {"label": label}).reshape(4, -1)[0], y[0])
    with pytest.raises(UsageError, match="float32 of shape"):
        network(x, t, {"label": label, "given": given[:, :1]})


def test_a_packed_critic_joins_numbers_to_their_rows():
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions={"given": NUMBERS})
    packed = critic(space, "tiny", pack=2).double()
    assert isinstance(packed, Packed)
    x = torch.randn(4, 2).double()
    given = torch.tensor([[40.0, 3.0], [60.0, 3.0], [40.0, 3.0], [40.0, 4.0]]).double()
    mean = given.new_tensor([40.0, 3.0]).expand(4, 2)
    hide = torch.tensor([False, True, False, True])
    torch.testing.assert_close(packed(x, None, {"given": given, "given_null": hide}), packed(x, None, {"given": mean}))
    assert (packed(x, None, {"given": given}) - packed(x, None, {"given": mean})).abs().min() > 1e-6


def test_optimal_transport_refuses_numbers():
    space = pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions={"given": NUMBERS})
    with pytest.raises(UsageError, match="Leave coupling out"):
        pf.recipes.flow(space, "tiny", coupling="ot")


# Data


def write_table(path, n=120, seed=0):
    rng = np.random.default_rng(seed)
    angle, age = rng.uniform(0, 360, n), rng.uniform(20, 60, n)
    x = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], 1) + 0.05 * rng.normal(size=(n, 2))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "angle", "age"])
        writer.writerows(np.column_stack([x, angle, age]).round(4).tolist())
    return path


def test_columns_of_a_table_are_given(tmp_path):
    path = write_table(tmp_path / "t.csv")
    whole, data = pf.data.load(path), pf.data.load(path, given=["age", "angle"])
    assert data.space.columns == ("a", "b")
    assert data.space.conditions["given"].columns == ("age", "angle")
    np.testing.assert_array_equal(data.held_out.given["given"], whole.held_out.x[:, [3, 2]])
    np.testing.assert_array_equal(data.held_out.hashes, whole.held_out.hashes)
    assert data.origin["given"] == ["age", "angle"]
    assert pf.data.load(**data.origin).fingerprint == data.fingerprint
    batch = Sampler(data, 50).batch(3)
    row = int((torch.from_numpy(data.train.given["given"]) == batch.condition["given"][7]).all(1).nonzero())
    torch.testing.assert_close(data.space.to_data(batch.x[7]), torch.from_numpy(data.train.x[row]))
    for given, says in ((["agee"], "Did you mean"), (["a", "b", "age", "angle"], "nothing is left"), (["age", "age"], "twice")):
        with pytest.raises(UsageError, match=says):
            pf.data.load(path, given=given)
    with pytest.raises(UsageError, match="none that are named"):
        pf.data.load("moons", given=["x0"])


def test_an_array_given_in_a_file(tmp_path):
    rng = np.random.default_rng(0)
    x, given = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    np.savez(tmp_path / "a.npz", x=x, given=given, given_names=["u", "v"])
    data = pf.data.load(tmp_path / "a.npz")
    assert data.space.conditions["given"].columns == ("u", "v")
    assert data.train.given["given"].shape == (len(data.train), 2)
    np.savez(tmp_path / "b.npz", x=x, given=given[:-1])
    with pytest.raises(DataError, match=r"expected numbers \(40,\)"):
        pf.data.load(tmp_path / "b.npz")


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
    assert np.corrcoef(x[:, 0], ages)[0, 1] > 0.93
    for age in (-0.5, 0.5):
        x = transport.with_solver("dpm:2", 12).sample(400, {"age": age})
        assert float(x[:, 0].mean()) == pytest.approx(2 * age, abs=0.2)
        assert float(x[:, 0].std()) < 0.6, "0.3 is the truth, 1.2 without the attribute"
    guided = pf.Guided(transport.denoiser, 1.5)
    assert torch.isfinite(pf.Flow(guided, "dpm:2", 4).sample(3, {"age": 0.5})).all()
    free = pf.Guided(transport.denoiser, 0.0)
    wide = pf.Flow(free, "dpm:2", 12).sample(400, {"age": 0.5})
    assert float(wide[:, 0].std()) > 0.8, "the unconditional branch has all ages"
    assert torch.isfinite(transport.sample(2, {"given_null": True})).all()


def test_samples_are_written_with_what_was_given(flow, tmp_path):
    transport = flow[1].with_solver("dpm:2", 3)
    pf.samples.draw_to(tmp_path / "s.csv", transport, 3, {"age": [0.25, -0.5, 0.1]})
    with open(tmp_path / "s.csv") as file:
        assert [row["age"] for row in csv.DictReader(file)] == ["0.25", "-0.5", "0.1"]
    pf.samples.draw_to(tmp_path / "s.npz", transport, 3, {"age": 0.25})
    stored = np.load(tmp_path / "s.npz")
    assert stored["given"].tolist() == [[0.25]] * 3
    assert stored["given_names"].tolist() == ["age"]


def test_a_sampler_with_numbers_is_exported(flow):
    from pushforward.export import exported

    transport = flow[1].with_solver("dpm:2", 3)
    z, given = torch.randn(5, 2), torch.linspace(-1, 1, 5)[:, None]
    with torch.no_grad():
        wanted = transport.space.to_data(transport(z, {"given": given}))
        torch.testing.assert_close(exported(transport).module()(z, {"given": given}, None), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("recipe", ["gan", "vae"])
def test_one_call_models_receive_numbers(recipe, tmp_path):
    data = line(n=300)
    run = pf.fit(recipe, data, size="tiny", steps=3, seed=0, out=tmp_path / "run")
    z = torch.randn(1, *run.transport.noise_shape).expand(2, -1)
    low, high = run.transport(z, {"given": torch.tensor([[-1.0], [1.0]])})
    assert not torch.equal(low, high)
    again = pf.load(tmp_path / "run").transport
    assert torch.equal(again.sample(4, {"age": 0.3}), run.transport.sample(4, {"age": 0.3}))


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
        self._tidy(self.columns, self.examples)

    @classmethod
    def measure(cls, values, columns):
        return cls(tuple(columns), cls.examples_of(values % 360))

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
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    write_table(tmp_path / "t.csv")
    (tmp_path / "cyclic.py").write_text(FILE)
    words = ["train", "./cyclic.py", "--data", "t.csv", "--given", "angle:Cyclic,age", "--size", "tiny", "--batch", "64"]
    assert main([*words, "--steps", "6", "--out", "whole"]) == 0
    assert main([*words, "--steps", "3", "--out", "parts"]) == 0
    assert "the angle angle" in capsys.readouterr().err
    plugin = ["--plugin", "./cyclic.py"]
    assert main(["resume", "parts", "--steps", "6", *plugin]) == 0
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    run = pf.load("whole", plugins=["cyclic.py"])
    x = run.transport.sample(2, {"angle": [0, 360], "age": 30}, seed=0)
    z = run.transport.noise(RowDraws(3, 1)).expand(2, -1)
    turned = {"angle": torch.tensor([[0.0], [360.0]]), "given": torch.tensor([[30.0], [30.0]])}
    first, last = run.transport(z, turned)
    torch.testing.assert_close(first, last)
    assert torch.isfinite(x).all()
    assert main(["sample", "whole", "--n", "3", "--given", "angle=90,age=30", "--out", "x.csv", "--json", *plugin]) == 0
    assert json.loads(capsys.readouterr().out)["condition"] == {"angle": 90.0, "age": 30.0}
    with open("x.csv") as file:
        assert [(row["angle"], row["age"]) for row in csv.DictReader(file)] == [("90.0", "30.0")] * 3
    assert main(["evaluate", "whole", "--n", "10", "--repeats", "1", *plugin]) == 0
    assert os.path.exists("whole/spec.json")
