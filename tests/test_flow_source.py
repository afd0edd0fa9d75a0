"""Flows that start from a source of examples instead of noise."""

import math

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Split
from pushforward.data.core.make_dataset import build as split
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import DataError, UsageError
from pushforward.paths import Independent, OptimalTransport, Source
from pushforward.solvers import DEIS, Ancestral, Euler
from pushforward.transports.learned_steps import Pairs
from pushforward.transports.likelihood import log_prob


@pytest.mark.parametrize("coupling", [Independent, OptimalTransport])
def test_a_source_takes_the_place_of_noise(coupling):
    """Every row is one of the source's, in the model units of the data; plans permute them."""
    space = pf.data.load("moons-c2ot", limit=100).space
    source = Source("8gaussians-c2ot", space)
    couple = coupling(source=source) if coupling is Independent else coupling(64, 1, source)
    x, z = couple(torch.randn(128, 2), None, BlockDraws(0, 3, 128))
    rows = {tuple(row) for row in source.examples.tolist()}
    assert all(tuple(row) in rows for row in z.tolist())
    centres = torch.tensor([[5 * math.cos(i * math.pi / 4), 5 * math.sin(i * math.pi / 4)] for i in range(8)])
    assert torch.cdist(space.to_data(z), centres).min(1).values.mean() < 1.5
    if coupling is OptimalTransport:
        for part in (slice(0, 64), slice(64, 128)):
            gaps = (x[part, None] - z[None, part]).square().sum(2)
            assert gaps.diagonal().sum() <= gaps[:, torch.randperm(64)].diagonal().sum()


def test_a_flow_from_a_source_starts_there_and_knows_no_noise(tmp_path):
    data = pf.data.load("moons-c2ot", limit=2_000)
    run = pf.fit(
        pf.recipes.flow(data.space, "tiny", coupling="ot", source="8gaussians-c2ot"), data, steps=5, out=tmp_path / "run"
    )
    again = pf.load(tmp_path / "run")
    flow = again.transport
    assert flow.source.data == "8gaussians-c2ot"
    z = flow.noise(ExampleDraws(3, 4))
    assert torch.isin(z, flow.source.held_out).all()
    assert not torch.isin(z, flow.source.examples).all(1).any(), "samples start from what training has not seen"
    torch.testing.assert_close(flow.sample(4, seed=3), data.space.to_data(flow(z)), rtol=0, atol=1e-5)
    torch.testing.assert_close(flow.sample(6, seed=1)[2:], flow.sample(4, seed=3), rtol=0, atol=1e-5)
    torch.testing.assert_close(run.transport.sample(4), flow.sample(4))
    x, t = torch.zeros(2, 2), torch.full((2,), 0.5)
    for kind in ("noise", "score"):
        with pytest.raises(UsageError, match="not from noise"):
            again.denoiser.predict(kind, x, t)
    assert torch.isfinite(again.denoiser.predict("velocity", x, t)).all()
    for solver, grid in ((Euler(), "log_snr"), (Ancestral(), "time"), (DEIS(), None)):
        with pytest.raises(UsageError, match="not from noise"):
            flow.with_solver(solver, 5, grid)
    with pytest.raises(UsageError, match="standard normal"):
        log_prob(flow, x)


def test_samples_take_each_held_out_example_of_the_source_once():
    space = pf.data.load("moons", limit=100).space
    source = Source("8gaussians-c2ot", space)
    held_out = {tuple(row) for row in source.held_out.tolist()}
    n = len(held_out)
    starts = [[tuple(row) for row in source.starts(ExampleDraws(seed, n)).tolist()] for seed in (1_000_000, 2_000_000, 2_000_007)]
    assert all(set(rows) == held_out for rows in starts)
    assert starts[0] != starts[1]
    assert starts[1][7:] == starts[2][:-7], "a function of the seed alone"
    edge = source.starts(ExampleDraws(999_998, 4))
    torch.testing.assert_close(edge[2:], source.starts(ExampleDraws(1_000_000, 2)), rtol=0, atol=0)


def test_a_source_that_was_replaced_is_noticed_by_resume_and_by_sampling(tmp_path):
    make = lambda seed: np.random.default_rng(seed).standard_normal((300, 2)).astype(np.float32)  # noqa: E731
    np.save(tmp_path / "data.npy", make(0))
    np.save(tmp_path / "source.npy", make(1))
    data = pf.data.load(tmp_path / "data.npy")
    pf.fit(pf.recipes.flow(data.space, "tiny", source=str(tmp_path / "source.npy")), data, steps=2, out=tmp_path / "run")
    assert pf.resume(tmp_path / "run", steps=3).state["step"] == 3
    np.save(tmp_path / "source.npy", make(2))
    for use in (lambda: pf.resume(tmp_path / "run", steps=4), lambda: pf.load(tmp_path / "run").transport.sample(2)):
        with pytest.raises(DataError, match=r"source\.npy has changed since the model was trained"):
            use()
    (tmp_path / "source.npy").unlink()
    with pytest.raises(
        DataError, match=r"no file or folder .* The model starts from examples of .*source\.npy, not from noise: put"
    ):
        pf.load(tmp_path / "run").transport.sample(2)
    np.save(tmp_path / "source.npy", make(1))
    assert pf.resume(tmp_path / "run", steps=4).state["step"] == 4


def test_a_source_is_read_with_the_limit_and_the_size_of_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = lambda seed, side: np.random.default_rng(seed).integers(0, 256, (200, side, side), dtype=np.uint8)  # noqa: E731
    np.save("data.npy", pixels(0, 12))
    np.save("source.npy", pixels(1, 16))
    settings = ["--size", "tiny", "--steps", "1", "--data", "data.npy", "--source", "source.npy"]
    assert main(["train", "flow", *settings, "--resize", "6", "--limit", "50", "--out", "run"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    source = pf.load(tmp_path / "run").transport.source
    assert source.examples.shape == (50, 1, 6, 6)
    limited = pf.data.load(tmp_path / "source.npy", resize=6, limit=50)
    torch.testing.assert_close(source.examples, source.space.to_model(limited.train.data_units()), rtol=0, atol=0)
    torch.testing.assert_close(source.held_out, source.space.to_model(limited.held_out.data_units()), rtol=0, atol=0)
    assert source.fingerprint == limited.examples_fingerprint
    assert pf.load(tmp_path / "run").spec["asked"]["source"] == "source.npy"


def test_a_source_that_holds_the_datas_held_out_examples_is_named(tmp_path):
    x = np.random.default_rng(0).standard_normal((600, 2)).astype(np.float32)
    held = split("x", Split(x)).held_out.x
    np.savez(tmp_path / "source.npz", x=x, x_test=np.random.default_rng(1).standard_normal((50, 2)).astype(np.float32))
    np.save(tmp_path / "data.npy", x)
    data = pf.data.load(tmp_path / "data.npy")
    run = pf.fit(pf.recipes.flow(data.space, "tiny", source=str(tmp_path / "source.npz")), data, steps=1, out=tmp_path / "run")
    said, _ = pf.evaluate(run, data, repeats=1).models[0].warnings
    assert said.startswith(f"{len(held)} of the {len(held)} held-out examples of data were training examples")
    assert "the source" in said


def test_times_are_learned_from_the_training_examples_of_the_source():
    data = pf.data.load("moons", limit=300)
    flow = pf.recipes.flow(data.space, "tiny", source="8gaussians-c2ot").method.transport()
    assert torch.isin(Pairs.of(flow, flow, 16, 3).noise, flow.source.examples).all()
