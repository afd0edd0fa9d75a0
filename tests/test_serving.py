"""The server: each request gets what `sample` draws, whatever else is made with it, and none makes
it compute without bound.
"""

import asyncio
import base64
import csv
import dataclasses
import io
import json
import random
import socket
import sys
import threading
import time

import httpx
import numpy as np
import pytest
import torch
from openai import BadRequestError, NotFoundError, OpenAI
from PIL import Image
from programs import fuzzing
from programs.serving import (
    IMAGES,
    LOCAL,
    ROWS,
    SMALL,
    Drawn,
    error,
    free_port,
    run_of,
    speaking,
    until_told,
)
from programs.tables import Noise, mixed_table
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import Diverged, MissingExtra, UsageError
from pushforward.networks import MLP, Reshaped
from pushforward.registries import RECIPES, SOLVERS
from pushforward.serving import Busy, Limits, Model, application, serve, working
from pushforward.solvers import named
from pushforward.tables.constraints import Constraint
from pushforward.testing import IMAGES_ONLY, ring, space_data
from pushforward.training import Run
from pushforward.transports import has_steps, inner_of

LEVEL = 1 / 255
TABLE = "start;end;flag\n" + "".join(
    f"{i % 13};{i % 13 + i % 3};{'ny'[i % 2]}\n" for i in range(300)
)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    (folder / "spec.json").write_text("{}")
    return Run(folder, {"recipe": "flow"}, Drawn(speaking()), {"step": 0}, "")


def made(model, requests):
    """The samples of requests that are made together."""
    for request in requests:
        model.engine.submit(request)
    while model.engine.rows:
        model.engine.tick()
    assert model.engine.active == 0
    return [request.answer.result(timeout=0) for request in requests]


def wanted(run, n, seed, label=None, given=None, **sampler):
    condition = {**({"label": label} if label else {}), **(given or {})}
    return run.configured(**sampler).transport.sample(n, condition or None, seed=seed)


def check(run, asked, within, **engine):
    """Requests alone and together give what `sample` draws."""
    together = made(model := Model(run, **engine), [model.request(**each) for each in asked])
    for each, x in zip(asked, together, strict=True):
        expected = wanted(run, **each)
        assert (x - expected).abs().max() <= within, each
        [alone] = made(model, [model.request(**each)])
        assert (alone - x).abs().max() <= within, each


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_gives_the_samples_of_its_run(recipe, tmp_path):
    run = run_of(recipe, tmp_path, SMALL, labels=recipe not in IMAGES_ONLY)
    if has_steps(inner_of(run.transport)):
        steps = [{"steps": 1}, {"steps": 3}, *([{}] if recipe == "flow" else [])]
    else:
        steps = [{}]
    asked = [{"n": n, "seed": 50 * n, **more} for n, more in enumerate(steps * 2, start=1)]
    check(
        run,
        [{**each, "label": "b"} if run.space.classes else each for each in asked],
        LEVEL / 4,
        batch=4,
    )


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm", "vae", "gan"])
@pytest.mark.parametrize("kind", ["vectors", "tables"])
def test_rows_and_vectors_are_those_of_the_run(recipe, kind, tmp_path):
    data = mixed_table(200) if kind == "tables" else space_data((5,), False)
    run = run_of(recipe, tmp_path, data=data)
    if has_steps(inner_of(run.transport)):
        steps = [{"steps": 2, "solver": "dpmsde"}, {"steps": 3, "solver": "heun"}]
    else:
        steps = [{}]
    asked = [{"n": 9, "seed": 4, **steps[0]}, {"n": 5, "seed": -3, **steps[-1]}]
    model = Model(run, batch=8)
    if kind == "tables" and steps[0]:
        asked.append({"n": 4, "seed": 4, "given": {"whole": 3, "kind": "b"}, **steps[0]})
    for each, x in zip(asked, made(model, [model.request(**each) for each in asked]), strict=True):
        expected = wanted(run, **each)
        assert x.dtype == expected.dtype
        assert (x - expected).abs().max() < 1e-4
        assert (
            run.space.records(x)[0][2:] == run.space.records(expected)[0][2:] or kind == "vectors"
        )


SETTINGS = [{"steps": 4}, {"steps": 7, "scale": 3.0}, {"steps": 2, "scale": 0.0}]


def test_requests_of_all_solvers_share_calls_and_get_their_own_samples(flow):
    solvers = [name for name in SOLVERS if not (named(name).adaptive or named(name).jumps)]
    solvers += ["dpm:3", "eulermaruyama:0.3", "predictorcorrector:2"]
    asked = [
        {
            "n": 1 + number % 2,
            "seed": 17 * number,
            "label": "abc"[number % 3],
            "solver": solver,
            **SETTINGS[number % 3],
        }
        for number, solver in enumerate(solvers)
    ]
    check(flow, asked, LEVEL / 4, batch=64)
    model = Model(flow, batch=64)
    made(model, [model.request(**each) for each in asked])
    assert model.engine.calls < 0.2 * model.engine.moved


def test_maps_between_two_times_jump_and_are_flows_too(tmp_path):
    run = run_of("meanflow", tmp_path)
    solvers = ["jump", "jump:0.5", "jump:1", "euler", "dpm", "ancestral"]
    asked = [
        {"n": 2, "seed": i, "steps": 1 + i % 3, "solver": solver, "label": "a"}
        for i, solver in enumerate(solvers * 2)
    ]
    check(run, asked, LEVEL / 4, batch=8)


def test_a_denoiser_that_only_predicts_is_asked_for_what_each_solver_needs(tmp_path):
    run = Run(
        tmp_path, {"recipe": "ring"}, Drawn(pf.Flow(ring(pf.VP()), "dpm", 5)), {"step": 0}, ""
    )
    solvers = ["heun", "predictorcorrector", "eulermaruyama", "dpm", "ancestral"]
    check(
        run,
        [
            {"n": 3, "seed": 7 * i, "steps": 2 + i, "solver": solver}
            for i, solver in enumerate(solvers)
        ],
        1e-4,
        batch=8,
    )


def test_a_map_that_has_learned_guidance_takes_a_scale_for_each_row(tmp_path):
    space = space_data(SMALL, True).space
    torch.manual_seed(2)
    network = MLP(64, 64, width=32, depth=1, conditions=space.conditions, times=3)
    network.leave.reset_parameters()
    scaling = pf.denoisers.Preconditioning(guidance=(1.0, 4.0))
    learned = pf.FlowMap(
        Reshaped(network, SMALL), pf.Linear(), "velocity", space, preconditioning=scaling
    )
    run = Run(tmp_path, {"recipe": "map"}, Drawn(pf.Flow(learned, "jump", 2)), {"step": 0}, "")
    check(
        run,
        [{"n": 2, "seed": 3, **({"scale": s} if s else {})} for s in (None, 1.0, 2.5, 4.0)],
        LEVEL / 4,
    )
    with pytest.raises(UsageError):
        Model(run).request(scale=5.0)


@pytest.mark.parametrize("interval", [None, (0.5, 1.0)])
def test_a_scale_replaces_the_scale_of_a_guided_run(interval, tmp_path):
    flow = speaking()
    guided = pf.Flow(pf.Guided(flow.denoiser, 2.0, interval), "dpm", 6)
    run = Run(tmp_path, {"recipe": "flow"}, Drawn(guided), {"step": 0}, "")
    asked = {"n": 2, "seed": 3, "label": "a"}
    check(run, [{**asked, **more} for more in ({}, {"scale": 1.5}, {"scale": 1.0})], LEVEL / 4)
    model = Model(run)
    assert model.described()["default"]["scale"] == 2
    expected = pf.Flow(pf.Guided(flow.denoiser, 1.5, interval), "dpm", 6)
    [x] = made(model, [model.request(**asked, scale=1.5)])
    largest = (x - expected.sample(2, {"label": "a"}, seed=3)).abs().max()
    assert largest <= LEVEL / 4


def test_latent_autoguided_and_thresholded_models_and_learned_times(flow, tmp_path):
    coder = pf.Autoencoder(
        pf.networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8),
        pf.networks.Expander((1, 16, 16), inputs=1, factor=2, width=8),
        space_data((1, 16, 16), False).space,
    )
    latent = Run(
        tmp_path, {"recipe": "flow"}, Drawn(pf.Latent(speaking(), coder.eval())), {"step": 0}, ""
    )
    check(
        latent,
        [{"n": 2, "seed": 5, "steps": 3}, {"n": 1, "seed": 9, "solver": "ancestral", "scale": 2.0}],
        LEVEL / 4,
    )
    weaker = speaking().denoiser.on(pf.VP())
    guided = flow.configured(weaker=weaker, weaker_scale=1.7, threshold=0.99)
    check(
        guided,
        [{"n": 2, "seed": 5, "steps": 3}, {"n": 2, "seed": 9, "steps": 5, "scale": 2.0}],
        LEVEL / 4,
    )
    learned = Run(tmp_path, {"recipe": "flow"}, Drawn(speaking()), {"step": 0}, "")
    learned.store_grid(named("heun"), [0.999, 0.6, 0.2, 0.0])
    asked = [
        {"n": 2, "seed": 1, "steps": 3, "solver": "heun", **more} for more in ({}, {"scale": 1.5})
    ]
    check(learned, asked, LEVEL / 4)
    [scaled] = made(model := Model(learned), [model.request(**asked[0])])
    largest = (scaled - wanted(flow, **asked[0])).abs().max()
    assert largest > LEVEL


def constrained(tmp_path, text):
    (tmp_path / "t.csv").write_text(TABLE)
    return pf.data.load(tmp_path / "t.csv", constraints=text)


def test_rows_that_break_a_constraint_are_drawn_again(tmp_path):
    run = run_of("flow", tmp_path, data=constrained(tmp_path, "end >= start"))
    asked = [{"n": 20, "seed": 3, "steps": 2}, {"n": 6, "seed": 90, "steps": 4, "solver": "euler"}]
    model = Model(run)
    for each, x in zip(asked, made(model, [model.request(**each) for each in asked]), strict=True):
        assert run.space.valid(x).all()
        assert run.space.records(x) == run.space.records(wanted(run, **each))
    assert model.engine.made == 26 < model.engine.moved / 2.5


def test_a_request_that_no_draw_meets_ends_with_an_error(tmp_path):
    space = constrained(tmp_path, "end >= start").space
    never = dataclasses.replace(space, constraints=(Constraint("start >= 1000"),))
    run = Run(
        tmp_path, {"recipe": "noise"}, Drawn(pf.Map(Noise(), never, never.shape)), {"step": 0}, ""
    )
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
    largest = (kept.answer.result(timeout=0) - wanted(flow, 3, 8, steps=5)).abs().max()
    assert largest < LEVEL / 4


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


def test_the_error_of_one_request_is_not_that_of_others(flow, tmp_path):
    model = Model(flow)
    bad = model.request(2, seed=1, scale=1e35, steps=3)
    good = model.request(2, seed=1, steps=3, label="a")
    with pytest.raises(Diverged):
        made(model, [bad, good])
    largest = (good.answer.result(timeout=0) - wanted(flow, 2, 1, "a", steps=3)).abs().max()
    assert largest < LEVEL / 4
    space = space_data(SMALL, True).space
    model = Model(
        Run(tmp_path, {"recipe": "map"}, Drawn(pf.Map(Failing(), space, SMALL)), {"step": 0}, "")
    )
    with pytest.raises(RuntimeError, match="no memory"):
        made(model, [model.request(2, label="c")])
    count = len(made(model, [model.request(2, label="a")])[0])
    assert count == 2
    assert model.engine.active == model.engine.rows == 0


# HTTP


@pytest.fixture(scope="module")
def models(flow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "spec.json").write_text("{}")
    return [
        Model(flow, "flow"),
        Model(run_of("flow", folder, data=mixed_table(200)), "rows", batch=64),
    ]


@pytest.fixture(scope="module")
def client(models):
    with TestClient(application(models), raise_server_exceptions=False, base_url=LOCAL) as client:
        yield client


@pytest.fixture(scope="module")
def openai(client):
    return OpenAI(base_url="http://localhost/v1", api_key="none", http_client=client, max_retries=0)


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_the_openai_client_gets_the_pictures_of_sample(openai, flow):
    assert [model.id for model in openai.models.list().data] == ["flow", "rows"]
    assert openai.models.retrieve("flow").steps == 250
    body = {"seed": 7, "steps": 5, "solver": "heun", "scale": 2.0}
    answer = openai.images.generate(
        model="flow", prompt="b", n=3, size="8x8", response_format="b64_json", extra_body=body
    )
    expected = flow.space.quantise(
        flow.sample(3, {"label": "b"}, seed=7, steps=5, solver="heun", scale=2.0)
    )[..., 0]
    for number, image in enumerate(answer.data):
        largest = np.abs(pixels(image.b64_json).astype(int) - expected[number]).max()
        assert largest <= 1
        assert image.seed == 7 + number
    free = openai.images.generate(model="flow", prompt="", n=1)
    again = openai.images.generate(model="flow", prompt="", extra_body={"seed": free.data[0].seed})
    largest = np.abs(
        pixels(free.data[0].b64_json).astype(int) - pixels(again.data[0].b64_json)
    ).max()
    assert largest <= 1


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"size": "1024x1024"}, "8x8"),
        ({"n": 65}, "64"),
        ({"n": 0}, "64"),
        ({"prompt": "dog"}, "dog"),
        ({"response_format": "url"}, "b64_json"),
        ({"extra_body": {"steps": 251}}, "250"),
        ({"extra_body": {"steps": 0}}, "250"),
        ({"extra_body": {"solver": "adaptive"}}, "Adaptive"),
        ({"extra_body": {"solver": "jump"}}, "Jump"),
        ({"extra_body": {"scale": 1e6}}, "scale"),
        ({"extra_body": {"given": {"label_null": 1}}}, "label_null"),
        ({"extra_body": {"output_format": "webp"}}, "output_format"),
        ({"model": "rows"}, ROWS),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(openai, models, body, names):
    before = models[0].engine.calls
    with pytest.raises(BadRequestError, match=names):
        openai.images.generate(**{"model": "flow", "prompt": "a", **body})
    assert models[0].engine.calls == before


def test_models_pages_and_paths_that_are_not_there(client, openai, models):
    with pytest.raises(NotFoundError, match="flow, rows"):
        openai.images.generate(model="dall-e-3", prompt="a")
    for path in ("/docs", "/redoc", "/openapi.json", "/v1/nothing"):
        assert client.get(path).status_code == 404
        error(client.get(path))
    assert client.put("/healthz").status_code == 405
    assert client.get("/healthz").json() == {"status": "ok"}
    assert "flow, rows" in client.get("/").text
    assert "http" not in client.get("/").text.replace("/v1/models", "")
    actual = TestClient(application(models, page="<p>mine"), base_url=LOCAL).get("/").text
    assert actual == "<p>mine"
    assert "model" in error(client.post(ROWS, json={}))


def test_rows_are_those_of_sample_as_json_and_csv(client, models):
    body = {"model": "rows", "n": 30, "seed": 5, "steps": 2, "given": {"kind": "b"}}
    run = models[1].run
    answer = client.post(ROWS, json=body).json()
    x = run.configured(steps=2).transport.sample(30, {"kind": "b"}, seed=5)
    frame = run.space.values(x)
    cells = run.space.records(x)
    assert answer["columns"] == list(run.space.names)
    for row, values, texts in zip(answer["data"], frame, cells, strict=True):
        assert row[0] == pytest.approx(values[0], abs=1e-3)
        assert row[1:3] == pytest.approx(values[1:3], abs=0.011)
        assert row[3:] == ["b", texts[4]]
    plain = client.post(ROWS, json={**body, "format": "csv"})
    assert plain.headers["content-type"].startswith("text/csv")
    actual = next(csv.reader(io.StringIO(plain.text)))
    assert actual == list(run.space.names)
    actual = client.post(ROWS, json=body, headers={"accept": "text/csv"}).text
    assert actual == plain.text
    actual = json.dumps(answer["data"][0][3:])
    expected = json.dumps([row[3:] for row in csv.reader(io.StringIO(plain.text))])
    assert actual in expected
    missing = client.post(ROWS, json={**body, "given": {"kind": None}}).json()
    assert {row[3] for row in missing["data"]} == {None}


def test_without_the_key_nobody_gets_in(flow):
    with TestClient(application([Model(flow)], key="sesame"), base_url=LOCAL) as client:
        right = {"authorization": "Bearer sesame"}
        for path in ("/v1/models", "/metrics", "/", "/v1/nothing"):
            for header in (
                {},
                {"authorization": "Bearer sesam"},
                {"authorization": "Basic sesame"},
                {"authorization": "é"},
            ):
                headers = {name: value.encode() for name, value in header.items()}
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                error(answer)
            assert client.get(path, headers=right).status_code in (200, 404)
        assert client.get("/healthz").status_code == 200


def test_a_body_has_a_limit_however_it_is_sent(flow):
    with TestClient(application([Model(flow)], limits=Limits(body=1000)), base_url=LOCAL) as client:
        large = json.dumps({"model": "flow", "prompt": "x" * 2000}).encode()
        for content in (large, iter([large[:600], large[600:]])):
            answer = client.post(
                IMAGES, content=content, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 413
            error(answer)


def damaged(chance):
    """A body that is wrong at a place, as bytes; now and then it is right all the same."""
    body = {
        "model": "flow",
        "prompt": "a",
        "n": 1,
        "steps": 1,
        "solver": "euler",
        "scale": 1.0,
        "seed": 0,
        "given": {},
    }
    way = chance.randrange(4)
    if way == 0:
        body[chance.choice(list(body))] = chance.choice(
            [v for v in (*fuzzing.VALUES, "\ud800", float("nan")) if v is not None]
        )
    elif way == 1:
        body[chance.choice(["colour", "steps ", "N", "\ud800"])] = chance.choice(fuzzing.VALUES)
    elif way == 2:
        body = chance.choice(
            [
                [body],
                json.dumps(body),
                None,
                3,
                {"given": {"label": body}},
                {**body, "solver": "dpm:" + "9" * 99},
            ]
        )
    text = json.dumps(body).encode()
    if way == 3:
        at = chance.randrange(len(text))
        text = (
            text[:at]
            + bytes(chance.randrange(256) for _ in range(chance.randrange(5)))
            + text[at + chance.randrange(1, 9) :]
        )
    return text


def test_damaged_bodies_are_refused_without_a_network_call(client, models):
    chance = random.Random(0)
    refused = 0
    bodies = [damaged(chance) for _ in range(200)] + [
        b"[" * 30000,
        b'{"n": ' + b"9" * 6000 + b"}",
        b"",
        b"\xff\xfe",
    ]
    for number, body in enumerate(bodies):
        before = models[0].engine.calls
        path = IMAGES if number % 4 else ROWS
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, (body, answer.text)
        if answer.status_code != 200:
            refused += bool(error(answer))
            assert models[0].engine.calls == before
    assert refused > 150


def test_a_flood_is_answered_or_told_to_come_again(flow):
    model = Model(flow, "flow", batch=4, queue=20, begun=8)
    answers = []
    gate = threading.Event()
    tick = model.engine.tick
    model.engine.tick = lambda: gate.wait(60) and tick()
    with TestClient(application([model]), base_url=LOCAL) as client:

        def ask():
            answers.append(client.post(IMAGES, json={"prompt": "a", "n": 4, "steps": 2}))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        while len(answers) < 7:
            time.sleep(0.01)
        gate.set()
        for thread in threads:
            thread.join()
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 5 + [429] * 7
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {
        "1"
    }


def test_rows_of_a_client_that_goes_are_dropped(flow):
    model = Model(flow, "flow", batch=4)
    body = json.dumps({"prompt": "a", "n": 64, "steps": 250}).encode()
    sent = []

    async def ask():
        going = asyncio.Event()

        async def receive():
            if body in received:
                await going.wait()
                return {"type": "http.disconnect"}
            received.append(body)
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        received = []
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": IMAGES,
            "headers": headers,
            "query_string": b"",
            "http_version": "1.1",
        }
        asking = asyncio.create_task(application([model])(scope, receive, send))
        while not model.engine.active:
            await asyncio.sleep(0.01)
        going.set()
        await asking

    with working([model.engine]):
        asyncio.run(ask())
        for _ in range(500):
            if not model.engine.rows:
                break
            time.sleep(0.01)
    assert model.engine.rows == model.engine.active == 0
    assert model.engine.made == 0
    assert sent[0]["status"] == 499


def test_figures_for_operators(client, models):
    def figures():
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {
            (s.name, *s.labels.values()): s.value for family in families for s in family.samples
        }

    before = figures()
    status_code = client.post(IMAGES, json={"model": "flow", "n": 3, "steps": 2}).status_code
    assert status_code == 200
    status_code = client.post(IMAGES, json={"model": "flow", "n": -3}).status_code
    assert status_code == 400
    assert client.get("/v1/" + "x" * 99).status_code == 404
    after = figures()
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    assert grown["pushforward_samples_total", "flow"] == 3
    assert grown["pushforward_network_calls_total", "flow"] == 2
    assert grown["pushforward_moved_rows_total", "flow"] == 6
    assert [grown["pushforward_seconds_count", IMAGES, status] for status in ("200", "400")] == [
        1,
        1,
    ]
    assert after["pushforward_rows", "flow"] == after["pushforward_active_rows", "flow"] == 0
    assert not any("xxx" in word for name in after for word in name)


# The verb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "points"
    pf.fit("flow", space_data((2,), False), size="tiny", steps=1, out=folder)
    return folder


def test_a_server_that_is_told_to_end_answers_what_it_has_accepted(folder, capsys):
    port = free_port()
    answers = []

    def ask():
        url = f"http://127.0.0.1:{port}{ROWS}"
        body = {"n": 100, "steps": 60, "seed": 1}
        answers.append(httpx.post(url, json=body, timeout=120))

    def work(client):
        asking.start()
        while 'active_rows{model="points"} 0.0' in client.get("/metrics").text:
            time.sleep(0.01)

    asking = threading.Thread(target=ask)
    actual = until_told(["serve", str(folder), "--port", str(port), "--no-page"], port, work)
    assert actual == 0
    asking.join()
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().err
    assert [answer.status_code for answer in answers] == [200]
    expected = pf.load(folder).configured(steps=60).transport.sample(100, seed=1)
    assert np.allclose(answers[0].json()["data"], expected, atol=1e-3)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_the_root_of_a_server_runs_the_model_where_it_can(tmp_path, monkeypatch):
    pf.fit("gan", space_data((2,), False), size="tiny", steps=1, out=tmp_path / "gan")
    port = free_port()
    homes = []
    words = ["serve", str(tmp_path / "gan"), "--port", str(port)]
    for more in ([], ["--no-page"]):
        actual = until_told(words + more, port, lambda client: homes.append(client.get("/").text))
        assert actual == 0
    monkeypatch.setitem(sys.modules, "onnx", None)
    actual = until_told(words, port, lambda client: homes.append(client.get("/").text))
    assert actual == 0
    assert ["<canvas" in home for home in homes] == [True, False, False]
    assert ["/v1/models" in home for home in homes] == [False, True, True]


def test_the_verb_refuses_before_it_listens(folder, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = main(["serve", str(folder), "--port", str(taken.getsockname()[1])])
        assert code == 2
        assert "--port" in capsys.readouterr().err
    code = main(["serve", str(folder), str(folder), "--port", "0"])
    assert code == 2
    assert "points" in capsys.readouterr().err
    for module in ("uvicorn", "fastapi", "prometheus_client"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert main(["serve", str(folder), "--port", "0"]) == 7
            with pytest.raises(MissingExtra):
                serve({}, port=0)
            assert "pip install 'pushforward[serve]'" in capsys.readouterr().err
