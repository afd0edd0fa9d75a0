"""Requests to the server by HTTP: they get what `sample` draws or an error that names the fault,
and the verb starts and ends the server.
"""

import asyncio
import base64
import csv
import io
import json
import random
import shlex
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from PIL import Image
from programs import fuzzing
from programs.serving import (
    IMAGES,
    LOCAL,
    ROWS,
    error,
    free_port,
    run_of,
    run_with,
    speaking,
    until_told,
)
from programs.tables import mixed_table
from programs.text_tables import read_cases
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import MissingExtra
from pushforward.serving import Limits, Model, application, serve, working
from pushforward.testing import space_data


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    (folder / "spec.json").write_text("{}")
    return run_with(folder, speaking())


@pytest.fixture(scope="module")
def models(flow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "spec.json").write_text("{}")
    rows = run_of("flow", folder, data=mixed_table(200))
    return [Model(flow, "flow"), Model(rows, "rows", batch=64)]


@pytest.fixture(scope="module")
def client(models):
    with TestClient(application(models), raise_server_exceptions=False, base_url=LOCAL) as client:
        yield client


@pytest.fixture(scope="module")
def openai(client):
    return OpenAI(base_url="http://localhost/v1", api_key="none", http_client=client, max_retries=0)


def pixels(image):
    """The grey levels of an image in an answer."""
    file = io.BytesIO(base64.b64decode(image.b64_json))
    return np.asarray(Image.open(file)).astype(int)


def test_the_openai_client_gets_the_pictures_of_sample(openai, flow):
    assert [model.id for model in openai.models.list().data] == ["flow", "rows"]
    assert openai.models.retrieve("flow").steps == 250
    body = {"seed": 7, "steps": 5, "solver": "heun", "scale": 2.0}
    answer = openai.images.generate(
        model="flow", prompt="b", n=3, size="8x8", response_format="b64_json", extra_body=body
    )
    x = flow.sample(3, {"label": "b"}, seed=7, steps=5, solver="heun", scale=2.0)
    expected = flow.space.quantise(x)[..., 0]
    for number, image in enumerate(answer.data):
        assert np.abs(pixels(image) - expected[number]).max() <= 1
        assert image.seed == 7 + number


def test_a_picture_can_be_had_again_by_its_seed(openai):
    [free] = openai.images.generate(model="flow", prompt="", n=1).data
    [again] = openai.images.generate(model="flow", prompt="", extra_body={"seed": free.seed}).data
    assert np.abs(pixels(free) - pixels(again)).max() <= 1


WRONG_BODIES = r"""
{"size": "1024x1024"}                            | 8x8
{"n": 65}                                        | \b64\b
{"n": 0}                                         | \b64\b
{"prompt": "dog"}                                | dog
{"response_format": "url"}                       | b64_json
{"extra_body": {"steps": 251}}                   | \b250\b
{"extra_body": {"steps": 0}}                     | \b250\b
{"extra_body": {"solver": "adaptive"}}           | Adaptive
{"extra_body": {"solver": "jump"}}               | Jump
{"extra_body": {"scale": 1e6}}                   | scale
{"extra_body": {"given": {"label_null": 1}}}     | label_null
{"extra_body": {"output_format": "webp"}}        | output_format
{"extra_body": {"colour": "red"}}                | colour
{"model": "rows"}                                | /v1/rows
"""


@pytest.mark.parametrize(("body", "names"), read_cases(WRONG_BODIES))
def test_what_cannot_be_is_refused_by_name(openai, models, body, names):
    before = models[0].engine.calls
    full = {"model": "flow", "prompt": "a", **body}
    with pytest.raises(BadRequestError, match=names):
        openai.images.generate(**full)
    assert models[0].engine.calls == before


def test_models_pages_and_paths_that_are_not_there(client, openai, models):
    with pytest.raises(NotFoundError, match="flow, rows"):
        openai.images.generate(model="dall-e-3", prompt="a")
    for path in ("/docs", "/redoc", "/openapi.json", "/v1/nothing"):
        answer = client.get(path)
        assert answer.status_code == 404
        error(answer)
    assert client.put("/healthz").status_code == 405
    assert client.get("/healthz").json() == {"status": "ok"}
    home = client.get("/").text
    assert "flow, rows" in home
    assert "http" not in home
    with_page = application(models, page="<p>mine")
    answer = TestClient(with_page, base_url=LOCAL).get("/")
    assert answer.text == "<p>mine"
    assert "model" in error(client.post(ROWS, json={}))


def test_rows_are_those_of_sample_as_json_and_csv(client, models):
    body = {"model": "rows", "n": 30, "seed": 5, "steps": 2, "given": {"kind": "b"}}
    run = models[1].run
    names = list(run.space.names)
    answer = client.post(ROWS, json=body).json()
    x = run.configured(steps=2).transport.sample(30, {"kind": "b"}, seed=5)
    assert answer["columns"] == names
    cells = run.space.records(x)
    for row, values, texts in zip(answer["data"], run.space.values(x), cells, strict=True):
        assert row[0] == pytest.approx(values[0], abs=1e-3)
        assert row[1:3] == pytest.approx(values[1:3], abs=0.011)
        assert row[3:] == ["b", texts[4]]
    plain = client.post(ROWS, json={**body, "format": "csv"})
    assert plain.headers["content-type"].startswith("text/csv")
    header, *lines = csv.reader(io.StringIO(plain.text))
    assert header == names
    assert [line[3:] for line in lines] == [row[3:] for row in answer["data"]]
    accepted = client.post(ROWS, json=body, headers={"accept": "text/csv"})
    assert accepted.text == plain.text


def test_a_given_value_may_be_missing(client):
    body = {"model": "rows", "n": 30, "seed": 5, "steps": 2, "given": {"kind": None}}
    rows = client.post(ROWS, json=body).json()["data"]
    assert {row[3] for row in rows} == {None}


def client_of(*models, **options):
    return TestClient(application(models, **options), base_url=LOCAL)


PATHS = ["/v1/models", "/metrics", "/", "/v1/nothing"]


@pytest.fixture(scope="module")
def locked(flow):
    """A client of a server with a key."""
    with client_of(Model(flow), key="sesame") as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", [None, "Bearer sesam", "Basic sesame", "é"])
def test_without_the_key_nobody_gets_in(locked, path, key):
    headers = {}
    if key:
        headers = {"authorization": key.encode()}
    answer = locked.get(path, headers=headers)
    assert answer.status_code == 401
    error(answer)


def test_with_the_key_everybody_gets_in(locked):
    for path in PATHS:
        answer = locked.get(path, headers={"authorization": "Bearer sesame"})
        assert answer.status_code in (200, 404)
    assert locked.get("/healthz").status_code == 200


def post_json(client, path, content):
    return client.post(path, content=content, headers={"content-type": "application/json"})


def test_a_body_has_a_limit_however_it_is_sent(flow):
    large = json.dumps({"model": "flow", "prompt": "x" * 2000}).encode()
    with client_of(Model(flow), limits=Limits(body=1000)) as client:
        for content in (large, iter([large[:600], large[600:]])):
            answer = post_json(client, IMAGES, content)
            assert answer.status_code == 413
            error(answer)


BODY = json.loads(
    """{"model": "flow", "prompt": "a", "n": 1, "steps": 1, "solver": "euler", "scale": 1.0,
    "seed": 0, "given": {}}"""
)
WRONG_VALUES = [value for value in fuzzing.VALUES if value is not None]
WRONG_VALUES += ["\ud800", float("nan")]
OF_ANOTHER_KIND = [
    [BODY],
    json.dumps(BODY),
    None,
    3,
    {"given": {"label": BODY}},
    {**BODY, "solver": "dpm:" + "9" * 99},
]


def wrong_value(chance):
    name = chance.choice(list(BODY))
    return {**BODY, name: chance.choice(WRONG_VALUES)}


def wrong_name(chance):
    name = chance.choice(["colour", "steps ", "N", "\ud800"])
    return {**BODY, name: chance.choice(fuzzing.VALUES)}


def wrong_bytes(chance):
    """A body of which a few bytes are exchanged; now and then it is right all the same."""
    text = json.dumps(BODY).encode()
    start = chance.randrange(len(text))
    stop = start + chance.randrange(1, 9)
    new = chance.randbytes(chance.randrange(5))
    return text[:start] + new + text[stop:]


def damaged_bodies(n):
    """Bodies with a fault, as bytes."""
    chance = random.Random(0)
    bodies = []
    for _ in range(n // 4):
        bodies.append(wrong_bytes(chance))
        for body in (wrong_value(chance), wrong_name(chance), chance.choice(OF_ANOTHER_KIND)):
            bodies.append(json.dumps(body).encode())
    return bodies


def test_damaged_bodies_are_refused_without_a_network_call(client, models):
    engine = models[0].engine
    bodies = damaged_bodies(200)
    bodies += [b"[" * 30000, b'{"n": ' + b"9" * 6000 + b"}", b"", b"\xff\xfe"]
    refused = 0
    for body in bodies:
        for path in (IMAGES, ROWS):
            before = engine.calls
            answer = post_json(client, path, body)
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, (body, answer.text)
            if answer.status_code != 200:
                assert error(answer)
                assert engine.calls == before
                refused += 1
    assert refused > 300


def test_a_flood_is_answered_or_told_to_come_again(flow):
    model = Model(flow, "flow", batch=4, queue=20, begun=8)
    answers = []
    gate = threading.Event()
    tick = model.engine.tick
    model.engine.tick = lambda: gate.wait(60) and tick()
    with client_of(model) as client, ThreadPoolExecutor(12) as pool:

        def ask():
            answer = client.post(IMAGES, json={"prompt": "a", "n": 4, "steps": 2})
            answers.append(answer)

        for _ in range(12):
            pool.submit(ask)
        while len(answers) < 7:
            time.sleep(0.01)
        gate.set()
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 5 + [429] * 7
    for answer in answers:
        if answer.status_code == 429:
            assert answer.headers["retry-after"] == "1"


SCOPE = {
    "type": "http",
    "method": "POST",
    "path": IMAGES,
    "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    "query_string": b"",
    "http_version": "1.1",
}


async def asked_until_active(model, body, sent):
    """Ask for samples, and disconnect when the first rows move."""
    going = asyncio.Event()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await going.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    answering = application([model])(SCOPE, receive, send)
    task = asyncio.create_task(answering)
    while not model.engine.active:
        await asyncio.sleep(0.01)
    going.set()
    await task


def test_rows_of_a_client_that_goes_are_dropped(flow):
    model = Model(flow, "flow", batch=4)
    body = json.dumps({"prompt": "a", "n": 64, "steps": 250}).encode()
    sent = []
    with working([model.engine]):
        asyncio.run(asked_until_active(model, body, sent))
        for _ in range(500):
            if not model.engine.rows:
                break
            time.sleep(0.01)
    assert model.engine.rows == model.engine.active == 0
    assert model.engine.made == 0
    assert sent[0]["status"] == 499


def figures_of(client):
    """The figures for operators, by name and labels."""
    text = client.get("/metrics").text
    figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            words = [sample.name, *sample.labels.values()]
            figures[" ".join(words)] = sample.value
    return figures


def test_figures_for_operators(client):
    before = figures_of(client)
    answer = client.post(IMAGES, json={"model": "flow", "n": 3, "steps": 2})
    assert answer.status_code == 200
    answer = client.post(IMAGES, json={"model": "flow", "n": -3})
    assert answer.status_code == 400
    answer = client.get("/v1/" + "x" * 99)
    assert answer.status_code == 404
    after = figures_of(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    assert grown["pushforward_samples_total flow"] == 3
    assert grown["pushforward_network_calls_total flow"] == 2
    assert grown["pushforward_moved_rows_total flow"] == 6
    assert grown[f"pushforward_seconds_count {IMAGES} 200"] == 1
    assert grown[f"pushforward_seconds_count {IMAGES} 400"] == 1
    assert after["pushforward_rows flow"] == 0
    assert after["pushforward_active_rows flow"] == 0
    assert "xxx" not in " ".join(after)


# The verb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "points"
    pf.fit("flow", space_data((2,), False), size="tiny", steps=1, out=folder)
    return folder


def test_a_server_that_is_told_to_end_answers_what_it_has_accepted(folder, capsys):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    body = {"n": 100, "steps": 60, "seed": 1}
    asked = []

    def work(client):
        future = pool.submit(httpx.post, f"{address}{ROWS}", json=body, timeout=120)
        asked.append(future)
        while 'active_rows{model="points"} 0.0' in client.get("/metrics").text:
            time.sleep(0.01)

    command = f"serve {folder} --port {port} --no-page"
    with ThreadPoolExecutor(1) as pool:
        assert until_told(shlex.split(command), port, work) == 0
        answer = asked[0].result()
    assert address in capsys.readouterr().err
    assert answer.status_code == 200
    expected = pf.load(folder).configured(steps=60).transport.sample(100, seed=1)
    assert np.allclose(answer.json()["data"], expected, atol=1e-3)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")


def test_the_root_of_a_server_runs_the_model_where_it_can(tmp_path, monkeypatch):
    out = tmp_path / "gan"
    pf.fit("gan", space_data((2,), False), size="tiny", steps=1, out=out)

    def home(options=""):
        """The page at the root of the verb's server."""
        port = free_port()
        pages = []

        def work(client):
            pages.append(client.get("/").text)

        command = f"serve {out} --port {port} {options}"
        assert until_told(shlex.split(command), port, work) == 0
        return pages[0]

    page = home()
    assert "<canvas" in page
    assert "/v1/models" not in page
    without = home("--no-page")
    assert "<canvas" not in without
    assert "/v1/models" in without
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert home() == without


def shell(command):
    return main(shlex.split(command))


def test_the_verb_refuses_before_it_listens(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, port = taken.getsockname()
        assert shell(f"serve {folder} --port {port}") == 2
    assert "--port" in capsys.readouterr().err
    assert shell(f"serve {folder} {folder} --port 0") == 2
    assert "points" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["uvicorn", "fastapi", "prometheus_client"])
def test_the_verb_says_how_to_install_what_it_lacks(module, folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert shell(f"serve {folder} --port 0") == 7
    assert "pip install 'pushforward[serve]'" in capsys.readouterr().err
    with pytest.raises(MissingExtra):
        serve({}, port=0)
