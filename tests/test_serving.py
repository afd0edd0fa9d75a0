"""The engine of the server: each request gets what `sample` draws, whatever else is made with it,
and none makes it compute without bound.
"""

import dataclasses

import pytest
import torch
from programs.serving import SMALL, run_of, run_with, speaking
from programs.tables import Noise, mixed_table

import pushforward as pf
from pushforward.errors import Diverged, UsageError
from pushforward.networks import MLP, Reshaped
from pushforward.registries import RECIPES, SOLVERS
from pushforward.serving import Busy, Model
from pushforward.solvers import named
from pushforward.tables.constraints import Constraint
from pushforward.testing import IMAGES_ONLY, ring, space_data
from pushforward.transports import has_steps, inner_of

LEVEL = 1 / 255


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return run_with(tmp_path_factory.mktemp("flow"), speaking())


def made(model, requests):
    """The samples of requests that are made together."""
    for request in requests:
        model.engine.submit(request)
    while model.engine.rows:
        model.engine.tick()
    assert model.engine.active == 0
    return [request.answer.result(timeout=0) for request in requests]


def answers(model, asked):
    """The samples of requests with these options, which are made together."""
    return made(model, [model.request(**options) for options in asked])


def wanted(run, n, seed, label=None, given=None, **sampler):
    condition = dict(given or {})
    if label:
        condition["label"] = label
    transport = run.configured(**sampler).transport
    return transport.sample(n, condition or None, seed=seed)


def apart(x, y):
    """The largest difference of two samples."""
    return float((x - y).abs().max())


def check(run, asked, within=LEVEL / 4, **engine):
    """Requests alone and together give what `sample` draws."""
    model = Model(run, **engine)
    together = answers(model, asked)
    for options, x in zip(asked, together, strict=True):
        assert apart(x, wanted(run, **options)) <= within, options
        [alone] = answers(model, [options])
        assert apart(alone, x) <= within, options


def numbered(several, **common):
    """Options of requests of 1, 2, 3, ... samples, with seeds of their own."""
    asked = []
    for n, options in enumerate(several, start=1):
        asked.append({"n": n, "seed": 50 * n, **common, **options})
    return asked


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_gives_the_samples_of_its_run(recipe, tmp_path):
    run = run_of(recipe, tmp_path, SMALL, labels=recipe not in IMAGES_ONLY)
    several = [{}]
    if has_steps(inner_of(run.transport)):
        several = [{"steps": 1}, {"steps": 3}]
    if recipe == "flow":
        several.append({})
    label = {}
    if run.space.classes:
        label = {"label": "b"}
    check(run, numbered(several * 2, **label), batch=4)


STEPWISE = ["flow", "ddpm", "edm"]
STOCHASTIC = {"n": 9, "seed": 4, "steps": 2, "solver": "dpmsde"}
DETERMINISTIC = {"n": 5, "seed": -3, "steps": 3, "solver": "heun"}
GIVEN = {**STOCHASTIC, "n": 4, "given": {"whole": 3, "kind": "b"}}
IN_ONE_CALL = [{"n": 9, "seed": 4}, {"n": 5, "seed": -3}]


def check_rows(run, asked):
    """Requests together give what `sample` draws; returns the actual and expected samples."""
    pairs = []
    for options, x in zip(asked, answers(Model(run, batch=8), asked), strict=True):
        expected = wanted(run, **options)
        assert x.dtype == expected.dtype
        assert apart(x, expected) < 1e-4
        pairs.append((x, expected))
    return pairs


@pytest.mark.parametrize("recipe", [*STEPWISE, "vae", "gan"])
def test_vectors_are_those_of_the_run(recipe, tmp_path):
    run = run_of(recipe, tmp_path, data=space_data((5,), False))
    asked = IN_ONE_CALL
    if recipe in STEPWISE:
        asked = [STOCHASTIC, DETERMINISTIC]
    check_rows(run, asked)


@pytest.mark.parametrize("recipe", [*STEPWISE, "vae", "gan"])
def test_rows_are_those_of_the_run(recipe, tmp_path):
    run = run_of(recipe, tmp_path, data=mixed_table(200))
    asked = IN_ONE_CALL
    if recipe in STEPWISE:
        asked = [STOCHASTIC, DETERMINISTIC, GIVEN]
    for x, expected in check_rows(run, asked):
        first = run.space.records(x)[0]
        assert first[2:] == run.space.records(expected)[0][2:]


SETTINGS = [
    {"label": "a", "steps": 4},
    {"label": "b", "steps": 7, "scale": 3.0},
    {"label": "c", "steps": 2, "scale": 0.0},
]


def test_requests_of_all_solvers_share_calls_and_get_their_own_samples(flow):
    solvers = ["dpm:3", "eulermaruyama:0.3", "predictorcorrector:2"]
    for name in SOLVERS:
        solver = named(name)
        if not (solver.adaptive or solver.jumps):
            solvers.append(name)
    asked = []
    for i, solver in enumerate(solvers):
        asked.append({"n": 1 + i % 2, "seed": 17 * i, "solver": solver, **SETTINGS[i % 3]})
    check(flow, asked, batch=64)
    model = Model(flow, batch=64)
    answers(model, asked)
    assert model.engine.calls < 0.2 * model.engine.moved


def test_maps_between_two_times_jump_and_are_flows_too(tmp_path):
    run = run_of("meanflow", tmp_path)
    solvers = ["jump", "jump:0.5", "jump:1", "euler", "dpm", "ancestral"]
    asked = []
    for i, solver in enumerate(solvers * 2):
        asked.append({"n": 2, "seed": i, "steps": 1 + i % 3, "solver": solver, "label": "a"})
    check(run, asked, batch=8)


def test_a_denoiser_that_only_predicts_is_asked_for_what_each_solver_needs(tmp_path):
    run = run_with(tmp_path, pf.Flow(ring(pf.VP()), "dpm", 5))
    solvers = ["heun", "predictorcorrector", "eulermaruyama", "dpm", "ancestral"]
    asked = []
    for i, solver in enumerate(solvers):
        asked.append({"n": 3, "seed": 7 * i, "steps": 2 + i, "solver": solver})
    check(run, asked, within=1e-4, batch=8)


def test_a_map_that_has_learned_guidance_takes_a_scale_for_each_row(tmp_path):
    space = space_data(SMALL, True).space
    torch.manual_seed(2)
    network = MLP(64, 64, width=32, depth=1, conditions=space.conditions, times=3)
    network.leave.reset_parameters()
    network = Reshaped(network, SMALL)
    scaling = pf.denoisers.Preconditioning(guidance=(1.0, 4.0))
    learned = pf.FlowMap(network, pf.Linear(), "velocity", space, preconditioning=scaling)
    run = run_with(tmp_path, pf.Flow(learned, "jump", 2))
    check(run, numbered([{}, {"scale": 1.0}, {"scale": 2.5}, {"scale": 4.0}]))
    with pytest.raises(UsageError):
        Model(run).request(scale=5.0)


@pytest.mark.parametrize("interval", [None, (0.5, 1.0)])
def test_a_scale_replaces_the_scale_of_a_guided_run(interval, tmp_path):
    flow = speaking()
    guided = pf.Flow(pf.Guided(flow.denoiser, 2.0, interval), "dpm", 6)
    run = run_with(tmp_path, guided)
    check(run, numbered([{}, {"scale": 1.5}, {"scale": 1.0}], label="a"))
    model = Model(run)
    assert model.described()["default"]["scale"] == 2
    [x] = answers(model, [{"n": 2, "seed": 3, "label": "a", "scale": 1.5}])
    rescaled = pf.Flow(pf.Guided(flow.denoiser, 1.5, interval), "dpm", 6)
    expected = rescaled.sample(2, {"label": "a"}, seed=3)
    assert apart(x, expected) <= LEVEL / 4


def test_latent_models_are_decoded(tmp_path):
    shape = (1, 16, 16)
    encoder = pf.networks.Compressor(shape, outputs=2, factor=2, width=8)
    decoder = pf.networks.Expander(shape, inputs=1, factor=2, width=8)
    coder = pf.Autoencoder(encoder, decoder, space_data(shape, False).space)
    run = run_with(tmp_path, pf.Latent(speaking(), coder.eval()))
    check(run, numbered([{"steps": 3}, {"solver": "ancestral", "scale": 2.0}]))


def test_autoguided_and_thresholded_models_are_those_of_the_run(flow):
    weaker = speaking().denoiser.on(pf.VP())
    guided = flow.configured(weaker=weaker, weaker_scale=1.7, threshold=0.99)
    check(guided, numbered([{"steps": 3}, {"steps": 5, "scale": 2.0}]))


def test_learned_times_are_those_of_the_run(flow, tmp_path):
    learned = run_with(tmp_path, speaking())
    learned.store_grid(named("heun"), [0.999, 0.6, 0.2, 0.0])
    asked = numbered([{}, {"scale": 1.5}], steps=3, solver="heun")
    check(learned, asked)
    [x] = answers(Model(learned), asked[:1])
    assert apart(x, wanted(flow, **asked[0])) > LEVEL


def constrained(tmp_path):
    """A table in which no end is before its start."""
    lines = ["start;end;flag"]
    for i in range(300):
        start = i % 13
        flag = "ny"[i % 2]
        lines.append(f"{start};{start + i % 3};{flag}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    return pf.data.load(path, constraints="end >= start")


def test_rows_that_break_a_constraint_are_drawn_again(tmp_path):
    run = run_of("flow", tmp_path, data=constrained(tmp_path))
    asked = [{"n": 20, "seed": 3, "steps": 2}, {"n": 6, "seed": 90, "steps": 4, "solver": "euler"}]
    model = Model(run)
    for options, x in zip(asked, answers(model, asked), strict=True):
        assert run.space.valid(x).all()
        assert run.space.records(x) == run.space.records(wanted(run, **options))
    assert model.engine.made == 26 < model.engine.moved / 2.5


def run_without_valid_rows(folder):
    space = constrained(folder).space
    never = dataclasses.replace(space, constraints=(Constraint("start >= 1000"),))
    return run_with(folder, pf.Map(Noise(), never, never.shape))


def test_rows_are_drawn_again_after_the_first_draws_of_others(tmp_path):
    model = Model(run_without_valid_rows(tmp_path), batch=2)
    requests = [model.request(4), model.request(2)]
    for request in requests:
        model.engine.submit(request)
    for _ in range(3):
        model.engine.tick()
    for request in requests:
        assert [row.turn for row in request.rows] == [1] * len(request.rows)


def test_a_request_that_no_draw_meets_ends_with_an_error(tmp_path):
    run = run_without_valid_rows(tmp_path)
    for n, draws in ((1, 101), (100, 1100)):
        model = Model(run)
        request = model.request(n)
        with pytest.raises(Diverged, match="start"):
            made(model, [request])
        assert model.engine.moved <= draws


def test_the_fewest_calls_left_go_first_and_one_that_waits_is_not_passed_by_for_ever(flow):
    model = Model(flow, batch=2)
    long = model.request(2, steps=50, solver="euler")
    short = model.request(2, steps=3, solver="euler")
    for request in (long, short):
        model.engine.submit(request)
    for _ in range(3):
        model.engine.tick()
    assert short.answer.done()
    while not long.answer.done():
        model.engine.submit(model.request(2, steps=1))
        model.engine.tick()
        assert model.engine.calls < 1000, "it is passed by for ever"
    assert model.engine.calls > 300


def test_a_request_that_is_cancelled_leaves_within_a_call(flow):
    model = Model(flow, batch=4, begun=8)
    kept = model.request(3, steps=5, seed=8)
    gone = model.request(40, steps=4, seed=0)
    for request in (gone, kept):
        model.engine.submit(request)
    for _ in range(3):
        model.engine.tick()
    assert (model.engine.rows, model.engine.active) == (43, 4)
    gone.cancel()
    model.engine.tick()
    assert (model.engine.rows, model.engine.active) == (3, 3)
    made(model, [])
    x = kept.answer.result(timeout=0)
    assert apart(x, wanted(flow, 3, 8, steps=5)) < LEVEL / 4


def test_no_more_rows_are_held_than_said_and_no_more_begin(flow):
    model = Model(flow, batch=2, begun=4, queue=10)
    requests = [model.request(3, steps=4) for _ in range(4)]
    for request in requests[:3]:
        model.engine.submit(request)
    with pytest.raises(Busy):
        model.engine.submit(requests[3])
    while model.engine.rows:
        model.engine.tick()
        assert model.engine.active <= 4
    model.engine.submit(requests[3])
    many = Model(flow)
    assert many.engine.queue * many.space.size * 4 < 1 << 30
    for wrong in ({"n": 65}, {"given": {"label_null": True}}):
        with pytest.raises(UsageError):
            many.request(**wrong)


class Failing(torch.nn.Module):
    def forward(self, z, t, condition):
        if (condition["label"] == 2).any():
            raise RuntimeError("no memory")
        return z


def test_the_error_of_one_request_is_not_that_of_others(flow):
    model = Model(flow)
    bad = model.request(2, seed=1, scale=1e35, steps=3)
    good = model.request(2, seed=1, steps=3, label="a")
    with pytest.raises(Diverged):
        made(model, [bad, good])
    x = good.answer.result(timeout=0)
    assert apart(x, wanted(flow, 2, 1, "a", steps=3)) < LEVEL / 4


def test_an_error_of_a_network_does_not_stop_the_engine(tmp_path):
    space = space_data(SMALL, True).space
    model = Model(run_with(tmp_path, pf.Map(Failing(), space, SMALL)))
    with pytest.raises(RuntimeError, match="no memory"):
        answers(model, [{"n": 2, "label": "c"}])
    [x] = answers(model, [{"n": 2, "label": "a"}])
    assert len(x) == 2
    assert model.engine.active == model.engine.rows == 0
