"""The server and clients that mean harm, stall or are web pages: real connections, origins, hosts
and refusals.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import re
import select
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch
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
from programs.tables import mixed_table
from starlette.testclient import TestClient

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.export.page import build
from pushforward.serving import Model, application, connections, engine, http as server_http
from pushforward.testing import space_data
from pushforward.training import Run

APP = "https://app.example"


def german(number, decimals):
    return f"{number:,.{decimals}f}".translate(str.maketrans(",.", ".,"))


def number_of(text):
    """The number that a German text stands for."""
    return float(text.replace(".", "").replace(",", "."))


def euro_table(n=300):
    """Amounts and counts in German, and dates."""
    lines = ["betrag;menge;tag"]
    for i in range(n):
        lines.append(f"{german(997.01 * i, 2)};{german(7919 * i, 0)};{2000 + i % 9}-01-05")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "points"
    pf.fit("flow", space_data((2,), False), size="tiny", steps=1, out=folder)
    return folder


@pytest.fixture
def model():
    return Model(
        Run(Path("flow"), {"recipe": "flow"}, Drawn(speaking()), {"step": 0}, ""),
        "flow",
        batch=4,
        queue=20,
        begun=8,
    )


def client_of(*models, **options):
    return TestClient(application(models, **options), base_url=LOCAL, raise_server_exceptions=False)


# Connections


def head(more="Content-Length: 100\r\n", path=ROWS, host="localhost"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}\r\n"
    ).encode()


def opened(port, content=b""):
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(content)
    return client


def received(client):
    """All that a server sends until it closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def trickled(client, piece):
    """Send a piece again and again until the server closes the connection."""
    with contextlib.suppress(ConnectionError):
        for _ in range(600):
            client.sendall(piece)
            if select.select([client], [], [], 0.1)[0] and not client.recv(1 << 16):
                return
        raise TimeoutError("the connection stays open")


def served(folder, work, *words):
    port = free_port()
    actual = until_told(
        ["serve", str(folder), "--port", str(port), "--no-page", *words],
        port,
        lambda client: work(client, port),
    )
    assert actual == 0


@pytest.mark.parametrize("part", ["header", "body"])
def test_half_sent_requests_keep_nobody_out(part, folder, capsys):
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    if part == "body":
        sent = head() + b"{"

    def work(client, port):
        idle = [opened(port, sent) for _ in range(60)]
        for _ in range(20):
            answer = httpx.post(
                f"http://127.0.0.1:{port}{ROWS}", json={"n": 1, "steps": 1}, timeout=60
            )
            assert answer.status_code == 200
        closed = select.select(idle, [], [], 60)[0]
        while len(closed) < 50:
            closed = select.select(idle, [], [], 60)[0]
        assert idle[0] in closed
        for each in idle:
            each.close()

    served(folder, work, "--max-connections", "10", "--request-timeout", "600")
    lines = capsys.readouterr().err.splitlines()
    assert 0 < sum("closed" in line for line in lines) < 10


STALLS = {
    "nothing": b"",
    "half a header": b"POST /v1/rows HT",
    "half a body": head() + b"{",
    "half a chunk": head("Transfer-Encoding: chunked\r\n") + b"5\r\n{",
    "half a body after an answer": head(path="/v1/nothing") + b"{",
    "half a request after "
    "another": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HT",
}


@pytest.mark.parametrize("key", [(), ("--api-key", "sesame")], ids=["open", "key"])
def test_a_request_that_does_not_end_is_closed(folder, key):
    def work(client, port):
        for each in [opened(port, content) for content in STALLS.values()]:
            received(each)
        trickled(opened(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n"), b"a: b\r\n")
        trickled(opened(port, head("Content-Length: 9999999\r\n")), b" ")
        trickled(opened(port, head("Transfer-Encoding: chunked\r\n")), b"1\r\n \r\n")
        trickled(opened(port, head("Content-Length: 9999999\r\n", "/v1/nothing")), b" ")

    served(folder, work, "--request-timeout", "1", *key)


def test_a_request_after_an_idle_time_has_all_its_time(folder):
    def work(client, port):
        for _ in range(4):
            assert client.get("/healthz").status_code == 200
            time.sleep(1)

    served(folder, work, "--request-timeout", "2")


def test_answers_that_nobody_reads_are_dropped(folder):
    def work(client, port):
        for request in (
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", port))
            lazy.settimeout(0.2)
            watch = select.poll()
            watch.register(lazy, select.POLLERR | select.POLLHUP)
            for _ in range(600):
                with contextlib.suppress(TimeoutError, ConnectionError):
                    lazy.send(request * 2000)
                if watch.poll(100):
                    break
            assert watch.poll(0)

    served(folder, work, "--request-timeout", "1")


def test_a_slow_reader_that_goes_on_gets_all(folder):
    def work(client, port):
        body = json.dumps({"n": 1000, "steps": 1, "seed": 0}).encode()
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(head(f"Content-Length: {len(body)}\r\nConnection: close\r\n") + body)
        parts = []
        while part := slow.recv(1 << 14):
            parts.append(part)
            time.sleep(0.3 if len(parts) < 12 else 0)
        count = len(json.loads(b"".join(parts).partition(b"\r\n\r\n")[2])["data"])
        assert count == 1000

    served(folder, work, "--request-timeout", "2")


def test_an_upload_that_stalls_does_not_keep_the_server(folder):
    stalled = []

    def work(client, port):
        stalled.append(opened(port, head() + b"{"))
        while not client.get("/metrics").text:
            pass
        time.sleep(0.5)

    served(folder, work, "--request-timeout", "600", "--shutdown-timeout", "1")
    answer = received(stalled[0])
    assert b" 503 " in answer.partition(b"\r\n")[0]
    actual = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"]
    assert actual == "server_error"


def test_damaged_requests_do_not_fill_the_log(folder, capsys):
    def work(client, port):
        for content in (
            b"\x00\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: " + b"b" * (1 << 20) + b"\r\n\r\n",
        ):
            for _ in range(20):
                with contextlib.suppress(ConnectionError):
                    received(opened(port, content))
        upgrade = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: "
            b"websocket\r\n\r\n"
        )
        for _ in range(20):
            assert b" 200 " in received(opened(port, upgrade)).partition(b"\r\n")[0]

    served(folder, work)
    assert len(capsys.readouterr().err.splitlines()) < 10


def test_between_the_pieces_of_an_answer_the_server_notices_clients_that_go(model):
    app = application([model], page="x" * (1 << 20))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }

    async def turns_of_the_loop():
        turns = itertools.count()
        seen = []

        async def count():
            while True:
                next(turns)
                await asyncio.sleep(0)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            seen.append(repr(turns))

        counting = asyncio.create_task(count())
        await app(scope, receive, send)
        counting.cancel()
        return seen[1:]

    seen = asyncio.run(turns_of_the_loop())
    assert len(seen) > 10
    assert len({*seen}) == len(seen), "something else has run between any two pieces"


@pytest.mark.skipif(os.name == "nt", reason="no limit of descriptors")
def test_the_limit_of_open_files_is_raised_as_far_as_needed():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        assert connections.descriptors(500) == 500
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, hard)
        assert connections.descriptors(700) == min(700, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(700, hard), hard)
        assert connections.descriptors(hard + 1) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Pages of others


def test_the_page_holds_no_script_of_a_name(model):
    model.name = "<script>alert(1)</script>"
    with client_of(model) as client:
        home = client.get("/")
    assert "<script" not in home.text
    assert "&lt;script" in home.text
    assert "default-src 'none'" in home.headers["content-security-policy"]


def test_the_policy_of_the_page_lets_its_own_scripts_run_and_no_others(tmp_path):
    run = pf.fit("gan", space_data((2,), False), size="tiny", steps=1, out=tmp_path / "gan")
    graph = pf.export.graph(run.transport, name="gan", way=True)
    page = build([(graph.description, graph.model.SerializeToString())], "gan")
    with client_of(Model(run), page=page) as client:
        home = client.get("/")
    policy = home.headers["content-security-policy"]
    assert home.text == page
    assert "unsafe-inline" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL) + re.findall(
        r"<style>(.*?)</style>", page, re.DOTALL
    )
    assert len(scripts) == 2
    for text in scripts:
        decoded = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert decoded in policy
    assert not re.search(r"\s(style|on[a-z]+)=", page)


def failing(*_, **__):
    raise RuntimeError("no memory")


def test_web_applications_that_are_allowed_read_every_answer(model, monkeypatch):
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-stainless-os",
    }
    with client_of(model, key="sesame", origins=[APP + "/"]) as client:
        preflight = client.options(IMAGES, headers={"Origin": APP, **asked})
        assert preflight.status_code == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        for origin, allowed in ((APP, APP), ("https://evil.example", None)):
            headers = {"Origin": origin, "Authorization": "Bearer sesame"}
            body = {"prompt": "a", "n": 1, "steps": 1}
            answers = [client.get("/v1/models", headers={"Origin": origin})]
            answers += [
                client.get(path, headers=headers) for path in ("/v1/models", "/v1/nothing", "/")
            ]
            answers.append(client.post(IMAGES, headers=headers, json={"prompt": "x" * 70_000}))
            with monkeypatch.context() as patch:
                patch.setattr(model.engine, "queue", 0)
                answers.append(client.post(IMAGES, headers=headers, json=body))
            with monkeypatch.context() as patch:
                patch.setattr(model, "request", failing)
                answers.append(client.post(IMAGES, headers=headers, json=body))
            assert [answer.status_code for answer in answers] == [401, 200, 404, 200, 413, 429, 500]
            assert {answer.headers.get("access-control-allow-origin") for answer in answers} == {
                allowed
            }


HOSTS = {
    200: [
        "localhost",
        "LocalHost:8000",
        "127.0.0.1",
        "10.1.2.3:80",
        "[::1]:8000",
        "[fe80::1]",
        "mine.example:8000",
    ],
    403: [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "mineXexample",
        "[x]",
        "",
    ],
}


def test_without_a_key_only_known_hosts_are_answered(model):
    with client_of(model, hosts=["mine.example"]) as client:
        for status, hosts in HOSTS.items():
            for host in hosts:
                answer = client.get("/v1/models", headers={"Host": host})
                assert answer.status_code == status, host
                assert client.get("/healthz", headers={"Host": host}).status_code == 200
        error(answer)
    with client_of(model, key="sesame") as client:
        headers = {"Host": "any", "Authorization": "Bearer sesame"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert (
            client.get("/v1/models/", headers=headers, follow_redirects=False).status_code == 404
        ), "no redirect to a Host"


# What is computed, and when


def test_a_table_is_computed_once_for_all_scales_and_after_everything_is_checked(
    model, monkeypatch
):
    assert model.schedule(steps=5, scale=2.0) is model.schedule(steps=5)
    assert model.schedule(steps=5) is not model.schedule(steps=6)
    computed = []
    dense = engine.dense
    monkeypatch.setattr(engine, "dense", lambda table: computed.append(table) or dense(table))
    with client_of(model) as client:
        for scale in (1.0, 1.5, 2.0):
            status_code = client.post(
                IMAGES, json={"prompt": "a", "steps": 7, "scale": scale}
            ).status_code
            assert status_code == 200
        assert len(computed) == 1
        for wrong in (
            {"prompt": "dog"},
            {"given": {"colour": 1}},
            {"n": 21},
            {"solver": "what"},
            {"scale": 999999},
        ):
            status_code = client.post(IMAGES, json={"prompt": "a", "steps": 8, **wrong}).status_code
            assert status_code == 400
        model.engine.queue = 3
        status_code = client.post(IMAGES, json={"prompt": "a", "steps": 8, "n": 4}).status_code
        assert status_code == 429
        assert len(computed) == 1


def test_a_flood_of_new_tables_holds_up_nobody_who_needs_none(model, monkeypatch):
    monkeypatch.setattr(server_http, "COMPUTED", 3)
    gate = threading.Event()
    dense = engine.dense
    answers = []
    monkeypatch.setattr(engine, "dense", lambda table: gate.wait(60) and dense(table))
    with client_of(model) as client:

        def ask(steps):
            answers.append(client.post(IMAGES, json={"prompt": "a", "steps": steps}).status_code)

        threads = [threading.Thread(target=ask, args=(steps,)) for steps in range(7, 17)]
        for thread in threads:
            thread.start()
        while len(answers) < 7:
            time.sleep(0.01)
        assert answers == [429] * 7
        assert client.post(IMAGES, json={"prompt": "a"}).status_code == 200
        gate.set()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [200] * 3 + [429] * 7


@pytest.mark.parametrize("scale", ["NaN", "Infinity", "-Infinity", "1e38", "1e999"])
def test_a_scale_that_is_not_finite_or_too_large_is_refused(model, scale):
    with client_of(model) as client:
        content = f'{{"prompt": "a", "scale": {scale}}}'
        headers = {"Content-Type": "application/json"}
        answer = client.post(IMAGES, content=content, headers=headers)
        assert answer.status_code == 400
        assert "scale" in error(answer)


# Answers


def test_numbers_are_numbers_whatever_the_column_writes(tmp_path):
    file = tmp_path / "euro.csv"
    file.write_text(euro_table())
    run = run_of("flow", tmp_path, data=pf.data.load(file))
    body = {"n": 20, "seed": 3, "steps": 2}
    with client_of(Model(run, "euro")) as client:
        rows = client.post(ROWS, json=body).json()["data"]
        text = client.post(ROWS, json={**body, "format": "csv"}).text
    assert len(text.splitlines()) == 21
    samples = run.configured(steps=2).transport.sample(20, seed=3)
    records = run.space.records(samples)
    for (amount, count, day), texts in zip(rows, records, strict=True):
        assert isinstance(amount, float)
        assert isinstance(count, int)
        assert isinstance(day, str)
        assert amount == pytest.approx(number_of(texts[0]), rel=1e-3)
        assert count == pytest.approx(number_of(texts[1]), rel=1e-3)


def test_a_given_value_that_is_replaced_is_said(tmp_path, recwarn):
    run = run_of("flow", tmp_path, data=mixed_table(200))
    body = {"n": 3, "seed": 1, "steps": 1}
    usual = {**body, "given": {"whole": 3}}
    replaced = {**body, "given": {"whole": 10_000_000}}
    with client_of(Model(run, "rows")) as client:
        plain = client.post(ROWS, json=usual).json()
        answer = client.post(ROWS, json=replaced).json()
        text = client.post(ROWS, json={**replaced, "format": "csv"})
    assert plain["warnings"] == []
    (sentence,) = answer["warnings"]
    assert "whole" in sentence
    assert "10000000" in sentence
    assert json.loads(text.headers["x-warnings"]) == [sentence]
    warned = [str(each.message) for each in recwarn]
    assert not [message for message in warned if "whole" in message]


def test_what_diverges_is_the_request_s_fault(model, tmp_path):
    with client_of(model) as client:
        answer = client.post(
            IMAGES, json={"prompt": "a", "steps": 250, "scale": 1000, "solver": "euler"}
        )
        assert answer.status_code in (200, 400)
        model.engine.transport.denoiser.network.network.leave.bias.data += torch.inf
        answer = client.post(IMAGES, json={"prompt": "a", "steps": 2})
    assert answer.status_code == 400
    assert "finite" in error(answer)


def test_a_label_is_given_once(model):
    with client_of(model) as client:
        answer = client.post(IMAGES, json={"prompt": "a", "given": {"label": 1}})
        assert answer.status_code == 400
        assert "label" in error(answer)
        status_code = client.post(IMAGES, json={"prompt": "", "given": {"label": 1}}).status_code
        assert status_code == 200


def test_the_parameters_of_openai_clients_change_nothing(model):
    more = {
        "quality": "hd",
        "style": "vivid",
        "background": "auto",
        "output_format": "png",
        "moderation": "low",
        "user": "me",
    }
    with client_of(model) as client:
        body = {"prompt": "a", "seed": 1, "steps": 2}
        answers = [
            client.post(IMAGES, json=words).json()["data"] for words in (body, {**body, **more})
        ]
    assert answers[0] == answers[1]


def test_a_run_that_is_moved_is_served_still_and_no_path_is_told(tmp_path, monkeypatch):
    runs = [
        pf.fit("vae", space_data(SMALL, True), size="tiny", steps=1, out=tmp_path / name)
        for name in ("first", "second")
    ]
    with client_of(*map(Model, runs)) as client:
        (tmp_path / "first").rename(tmp_path / "third")
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == [
            "first",
            "second",
        ]
        status_code = client.post(IMAGES, json={"model": "first", "prompt": "a"}).status_code
        assert status_code == 200
        refused = client.post(IMAGES, json={"model": "second", "prompt": "a", "steps": 3})
    assert refused.status_code == 400
    assert str(tmp_path) not in refused.text
    monkeypatch.chdir(tmp_path / "second")
    assert Model(pf.load(".")).name == "second"


def test_a_key_may_be_any_bytes_of_an_environment(folder):
    def work(client, port):
        for key, status in ((b"k\xff", b" 200 "), (b"k", b" 401 "), (b"k\xfe", b" 401 ")):
            asked = (
                b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "
                + key
                + b"\r\n\r\n"
            )
            assert status in received(opened(port, asked)).partition(b"\r\n")[0]

    served(folder, work, "--api-key", "k\udcff")


def test_a_sampler_without_a_table_is_refused_before_anything_is_served(model):
    run = Run(
        Path("flow"),
        {"recipe": "flow"},
        Drawn(pf.Flow(speaking().denoiser, "adaptive", 4)),
        {"step": 0},
        "",
    )
    with pytest.raises(UsageError):
        Model(run)
