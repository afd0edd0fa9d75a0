import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

import pushforward as pf
from pushforward.cli import main
from pushforward.couplings import Coupling, Independent, OptimalTransport, Source, assign
from pushforward.data import Split
from pushforward.data.dataset import build as split
from pushforward.draws import BLOCK, BlockDraws, RowDraws
from pushforward.errors import DataError, UsageError
from pushforward.evaluation import Judge
from pushforward.grid_learning import _Pairs
from pushforward.likelihood import log_prob
from pushforward.paths import VE, VP, Linear, Tabulated, linear_betas
from pushforward.predictions import convert, target
from pushforward.solvers import DEIS, Ancestral, Euler
from pushforward.spec import build, classes, describe
from pushforward.times import (
    SNR,
    EDMWeight,
    Flat,
    Levels,
    LogitNormal,
    LogNormal,
    LogSNR,
    MinSNR,
    Stratified,
    Times,
    Uniform,
    Weight,
)


def test_assignment_is_the_best_of_all_permutations():
    torch.manual_seed(0)
    x, z = torch.randn(6, 3), torch.randn(6, 3)
    best = min(itertools.permutations(range(6)), key=lambda p: float((x - z[list(p)]).square().sum()))
    assert assign(x, z).tolist() == list(best)


@pytest.mark.parametrize("n", [64, 150])
def test_transport_permutes_the_noise_within_groups(n):
    x, draws = torch.randn(n, 2), BlockDraws(0, 3, n)
    same, z = OptimalTransport(group=64)(x, None, draws)
    plain = BlockDraws(0, 3, n).stream("coupling").normal((2,))
    assert torch.equal(same, x)
    for mine, all_ in zip(z.split(64), plain.split(64), strict=True):
        assert torch.equal(mine.sort(0).values, all_.sort(0).values)
    assert (x - z).square().sum() < (x - plain).square().sum()


def test_plans_never_cross_a_class():
    n = 128
    x, label = torch.randn(n, 2), torch.arange(n) % 3
    _, z = OptimalTransport(group=64)(x, {"label": label}, BlockDraws(0, 0, n))
    plain = BlockDraws(0, 0, n).stream("coupling").normal((2,))
    for start in (0, 64):
        for c in range(3):
            mine = (torch.arange(n) // 64 * 64 == start) & (label == c)
            assert torch.equal(z[mine].sort(0).values, plain[mine].sort(0).values)


def test_parts_are_coupled_as_the_whole():
    x = torch.randn(4 * BLOCK, 2)
    couple = OptimalTransport(group=2 * BLOCK)
    whole = couple(x, None, BlockDraws(0, 7, 4 * BLOCK))[1]
    halves = [couple(x[i : i + 2 * BLOCK], None, BlockDraws(0, 7, 2 * BLOCK, i))[1] for i in (0, 2 * BLOCK)]
    assert torch.equal(whole, torch.cat(halves))


def test_a_reused_plan_is_that_of_its_first_step():
    x = torch.randn(64, 2)
    kept, fresh = OptimalTransport(64, reuse=4), OptimalTransport(64, reuse=4)
    first = [kept(x, None, BlockDraws(0, step, 64))[1] for step in range(8)]
    assert torch.equal(first[0], first[3])
    assert not torch.equal(first[3], first[4])
    assert torch.equal(fresh(x, None, BlockDraws(0, 6, 64))[1], first[6]), "a resumed run finds the plan again"


def test_noise_stays_standard_normal_under_transport():
    x = torch.randn(4096, 2) * 3 + 5
    z = OptimalTransport(256)(x, None, BlockDraws(1, 0, 4096))[1]
    assert kstest(z.numpy().ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("name", classes("pushforward.couplings", Coupling))
def test_every_coupling_leaves_the_data_alone(name):
    x = torch.randn(32, 3, 2)
    same, z = classes("pushforward.couplings", Coupling)[name]()(x, None, BlockDraws(0, 0, 32))
    assert same is x
    assert z.shape == x.shape


LAWS = {
    "uniform": (Uniform(), lambda t: t),
    "logit": (LogitNormal(0.3, 0.8), lambda t: norm(0.3, 0.8).cdf(torch.logit(t))),
    "lognormal": (LogNormal(-0.4, 1.1), lambda t: norm(-0.4, 1.1).cdf(-Linear().log_snr(t) / 2)),
}


@pytest.mark.parametrize(("times", "cdf"), LAWS.values(), ids=LAWS)
def test_times_follow_their_law(times, cdf):
    t = times(BlockDraws(0, 0, 4000), Linear()).double()
    assert kstest(torch.as_tensor(cdf(t)).numpy(), "uniform").pvalue > 1e-3


def test_levels_are_the_integers_of_the_table():
    t = Levels(10)(BlockDraws(0, 0, 5000), Tabulated(linear_betas(10, 0.01, 0.5)))
    values, counts = (t * 10).unique(return_counts=True)
    torch.testing.assert_close(values, torch.arange(1.0, 11))
    assert (counts - 500).abs().max() < 100


def test_strata_hold_one_draw_each():
    u = Stratified(Uniform(), 16).numbers(BlockDraws(0, 0, 48))
    assert torch.equal((u * 16).floor().long(), torch.arange(16).repeat(3))


def test_stratified_keeps_the_law():
    t = Stratified(LogitNormal(), 64)(BlockDraws(0, 0, 64 * 40), Linear()).double()
    assert kstest(norm.cdf(torch.logit(t).numpy()), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", classes("pushforward.times", Times))
@pytest.mark.parametrize("path", [Linear(), VP(), VE(), Tabulated(linear_betas())])
def test_times_stay_inside_the_ends(name, path):
    part = classes("pushforward.times", Times)[name]
    times = part(LogNormal(0, 9.0)) if name == "Stratified" else part()
    t = times(BlockDraws(0, 0, 3000), path)
    assert t.min() >= path.ends[0] * (1 - 1e-6)
    assert t.max() <= path.ends[1] * (1 + 1e-6)
    assert describe(build(describe(times))) == describe(times)


@pytest.mark.parametrize("weight", [Flat(), Flat("noise"), SNR(), MinSNR(5), EDMWeight()], ids=lambda w: str(describe(w)))
@pytest.mark.parametrize("path", [Linear(), VP(), VE()])
def test_a_weight_values_an_error_the_same_in_every_prediction(weight, path):
    """The weighted squared error of one wrong estimate must not depend on the prediction in which it is written."""
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x, z, fault = torch.randn(3, 9, 4, dtype=torch.float64)
    k, flat = path.at(t).over(x), path.at(t)
    x_t = k.alpha * x + k.sigma * z
    found = {}
    for kind in ("data", "noise", "velocity", "v", "score"):
        wrong = convert("data", kind, x + fault, x_t, k)
        error = (wrong - target(kind, x, z, k)).square().mean(1)
        found[kind] = weight(kind, flat) * error
    kinds = ("noise",) if isinstance(weight, Flat) and weight.kind is None else found
    if kinds is found:
        for kind in kinds:
            torch.testing.assert_close(found[kind], found["data"], rtol=1e-8, atol=1e-10)


def test_published_weights():
    k = VP().at(torch.linspace(0.05, 0.95, 7, dtype=torch.float64))
    snr = (k.alpha / k.sigma) ** 2
    torch.testing.assert_close(SNR()("noise", k), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(MinSNR(5)("noise", k), snr.clamp(max=5) / snr)
    torch.testing.assert_close(MinSNR(5)("v", k), snr.clamp(max=5) / (snr + 1))
    torch.testing.assert_close(
        EDMWeight()("v", VE().at(torch.linspace(0.01, 1, 7, dtype=torch.float64))), torch.ones(7, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", classes("pushforward.times", Weight))
def test_weights_are_positive_and_have_a_spec(name):
    weight = classes("pushforward.times", Weight)[name]()
    assert (weight("velocity", Linear().at(torch.linspace(0.1, 0.9, 5))) > 0).all()
    assert describe(build(describe(weight))) == describe(weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimalTransport(1),
        lambda: OptimalTransport(8, 0),
        lambda: LogNormal(0, 0),
        lambda: MinSNR(0),
        lambda: Stratified(Uniform(), 0),
        lambda: LogitNormal(0, -1),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_independent_noise_is_the_draws():
    x = torch.zeros(5, 2)
    assert torch.equal(Independent()(x, None, BlockDraws(0, 1, 5))[1], BlockDraws(0, 1, 5).normal((2,)))


@pytest.mark.parametrize("coupling", [Independent, OptimalTransport])
def test_a_source_takes_the_place_of_noise(coupling):
    """Every row is one of the source's, in the model units of the data; plans permute them."""
    space = pf.data.load("moons-c2ot", limit=100).space
    source = Source("8gaussians-c2ot", space)
    couple = coupling(source=source) if coupling is Independent else coupling(64, 1, source)
    x, z = couple(torch.randn(128, 2), None, BlockDraws(0, 3, 128))
    rows = {tuple(row) for row in source.rows.tolist()}
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
    z = flow.noise(RowDraws(3, 4))
    assert torch.isin(z, flow.source.held_out).all()
    assert not torch.isin(z, flow.source.rows).all(1).any(), "samples start from what training has not seen"
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


def test_a_flow_from_a_source_is_reported_without_noise_levels(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    data = pf.data.load("moons", limit=300)
    run = pf.fit(pf.recipes.flow(data.space, "tiny", source="8gaussians-c2ot"), data, steps=3, out=tmp_path / "run")
    result, pictures = Judge(data, n=100, repeats=1).judge("moved", run, curve=True)
    assert result.trajectory is None
    assert pictures.paths is None
    assert result.scores["frechet"].value > 0


def test_a_flow_from_a_small_source_is_sampled_once_and_no_more_than_it_can(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "source.npy", rng.normal(size=(60, 2)))
    data = pf.data.from_arrays(rng.normal(size=(400, 2)))
    run = pf.fit(pf.recipes.flow(data.space, "tiny", source=str(tmp_path / "source.npy")), data, steps=1, out=tmp_path / "run")
    starts = len(run.transport.source.held_out)
    assert starts < len(data.held_out)
    comparison = pf.evaluate(run, data, repeats=3)
    (result,) = comparison.models
    assert (comparison.settings.n, result.warnings) == (starts, ())
    assert all(len(score.values) == 1 and score.spread is None for score in result.scores.values())
    assert len(comparison.baseline.scores["frechet"].values) == 3
    (said,) = pf.compare({"moved": run}, data, n=2 * starts, repeats=1, curve=False)["moved"].warnings
    assert said.startswith(
        f"it starts from {starts} different held-out examples of its source, so its {2 * starts} samples repeat"
    )


def test_samples_take_each_held_out_example_of_the_source_once():
    space = pf.data.load("moons", limit=100).space
    source = Source("8gaussians-c2ot", space)
    held_out = {tuple(row) for row in source.held_out.tolist()}
    n = len(held_out)
    starts = [[tuple(row) for row in source.starts(RowDraws(seed, n)).tolist()] for seed in (1_000_000, 2_000_000, 2_000_007)]
    assert all(set(rows) == held_out for rows in starts)
    assert starts[0] != starts[1]
    assert starts[1][7:] == starts[2][:-7], "a function of the seed alone"
    edge = source.starts(RowDraws(999_998, 4))
    torch.testing.assert_close(edge[2:], source.starts(RowDraws(1_000_000, 2)), rtol=0, atol=0)


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
    assert source.rows.shape == (50, 1, 6, 6)
    limited = pf.data.load(tmp_path / "source.npy", resize=6, limit=50)
    torch.testing.assert_close(source.rows, source.space.to_model(limited.train.data_units()), rtol=0, atol=0)
    torch.testing.assert_close(source.held_out, source.space.to_model(limited.held_out.data_units()), rtol=0, atol=0)
    assert source.fingerprint == limited.rows_fingerprint
    assert pf.load(tmp_path / "run").spec["asked"]["source"] == "source.npy"


def test_a_source_that_holds_the_datas_held_out_examples_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    x = np.random.default_rng(0).standard_normal((600, 2)).astype(np.float32)
    held = split("x", Split(x)).held_out.x
    np.savez(tmp_path / "source.npz", x=x, x_test=np.random.default_rng(1).standard_normal((50, 2)).astype(np.float32))
    np.save(tmp_path / "data.npy", x)
    data = pf.data.load(tmp_path / "data.npy")
    run = pf.fit(pf.recipes.flow(data.space, "tiny", source=str(tmp_path / "source.npz")), data, steps=1, out=tmp_path / "run")
    (said,) = pf.evaluate(run, data, repeats=1).models[0].warnings
    assert said.startswith(f"{len(held)} of the {len(held)} held-out examples of data were training examples")
    assert "the source" in said


def test_times_are_learned_from_the_training_examples_of_the_source():
    data = pf.data.load("moons", limit=300)
    flow = pf.recipes.flow(data.space, "tiny", source="8gaussians-c2ot").method.transport()
    assert torch.isin(_Pairs.of(flow, flow, 16, 3).noise, flow.source.rows).all()


def test_a_source_of_another_shape_is_refused():
    space = pf.data.load("moons", limit=100).space
    with pytest.raises(UsageError, match="must agree"):
        Source("digits", space)(RowDraws(0, 3))
    with pytest.raises(UsageError, match="Did you mean"):
        Source("moon", space)


def test_uniform_log_snr_is_uniform_there():
    path = VP()
    t = LogSNR(-5.0, 6.0).quantile(torch.linspace(0, 1, 12, dtype=torch.float64), path)
    torch.testing.assert_close(path.log_snr(t), torch.linspace(6, -5, 12, dtype=torch.float64))
    with pytest.raises(UsageError, match="lower first"):
        LogSNR(3.0, 1.0)
