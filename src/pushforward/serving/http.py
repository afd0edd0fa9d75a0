"""HTTP interface of the server: images (as for OpenAI), rows, health and metrics."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import functools
import html
import io
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, Request as Http
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from torch import Tensor

from pushforward.errors import Diverged, UsageError
from pushforward.export.page import policy
from pushforward.pictures import image
from pushforward.serving.admission import LIMITS, Limits, Model
from pushforward.serving.engine import Busy, Request, working

IMAGES = "/v1/images/generations"
ROWS = "/v1/rows"
HEALTH = "/healthz"
PATHS = (IMAGES, ROWS, HEALTH, "/v1/models", "/metrics", "/")
PAGE = """<!doctype html><html lang="en"><title>pushforward</title>
<p>pushforward serves {names}. Their parameters are listed at
<a href="/v1/models">/v1/models</a>.</p></html>"""

TYPES = {401: "authentication_error", 429: "rate_limit_error"}
CODES = {401: "invalid_api_key", 404: "not_found", 413: "too_large", 429: "busy"}
NO_HOST = (
    "Without a key, the server only accepts requests to localhost, an IP address or an "
    "--allow-host."
)
NO_KEY = "Send the server key: Authorization: Bearer KEY."
ASKED = {"n", "seed", "steps", "solver", "scale", "given"}  # words of `Model.request`
COMPUTED = 32  # requests that may wait for a new step table
CHUNK = 1 << 16  # bytes of an answer sent at a time, so that a slow client is noticed


SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
# Meaning of a figure, and its attribute of an engine
FIGURES = {
    "network_calls_total": ("Network calls; each serves rows of several requests.", "calls"),
    "moved_rows_total": ("Rows processed by network calls, summed over calls.", "moved"),
    "samples_total": ("Samples generated.", "made"),
    "rows": ("Rows in memory, including waiting rows.", "rows"),
    "active_rows": ("Rows being generated.", "active"),
}


def measured(models: Sequence[Model]) -> tuple[CollectorRegistry, Histogram]:
    """Return the metrics of a server, and response times by path and status among them."""
    registry = CollectorRegistry()
    for name, (meaning, attribute) in FIGURES.items():
        gauge = Gauge(f"pushforward_{name}", meaning, ["model"], registry=registry)
        for model in models:
            read = functools.partial(getattr, model.engine, attribute)
            gauge.labels(model.name).set_function(read)
    seconds = Histogram(
        "pushforward_seconds",
        "Seconds until an answer begins.",
        ["path", "status"],
        buckets=SECONDS,
        registry=registry,
    )
    return registry, seconds


class _Drawing(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str | None = None
    n: int = 1
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    steps: int | None = None
    solver: str | None = Field(None, max_length=100)
    scale: float | None = Field(None, allow_inf_nan=False, ge=-1000, le=1000)
    given: dict[str, float | int | str | None] | None = None


class _ImageBody(_Drawing):
    prompt: str | None = None
    size: str | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    # sent by OpenAI's clients, without effect
    background: Any = None
    moderation: Any = None
    quality: Any = None
    style: Any = None
    user: Any = None


class _RowBody(_Drawing):
    label: str | None = None
    format: Literal["json", "csv"] | None = None


def application(
    models: Sequence[Model],
    *,
    key: str | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    page: str | None = None,
    limits: Limits = LIMITS,
    precision: str = "float32",
) -> ASGIApp:
    """Return the server as an ASGI application.

    Args:
        models: Models to serve, with different names.
        key: Bearer token that clients must send; None for no authentication.
        origins: Origins of web applications that may call the server; "*" for all.
        hosts: Host names without a key, besides localhost and IP addresses. Others are refused,
            because their names may point to this machine.
        page: HTML of ``/``, which may only run scripts of `pushforward.export.page`.
    """
    registry, seconds = measured(models)
    served = {model.name: model for model in models}

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        with working([model.engine for model in models], precision):
            yield

    app = FastAPI(
        lifespan=life, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for kind in (RequestValidationError, HTTPException, Busy, Diverged, UsageError, Exception):
        app.add_exception_handler(kind, _refused)

    def asked(name: str | None) -> Model:
        if name is None and len(models) == 1:
            return models[0]
        if name is None:
            raise UsageError(f"Choose a `model`: {', '.join(served)}.")
        if name not in served:
            raise HTTPException(404, f'Unknown model "{name}"; available: {", ".join(served)}.')
        return served[name]

    places = asyncio.Semaphore(COMPUTED)
    turn = asyncio.Lock()

    async def drawn(
        model: Model, body: _Drawing, label: str | None, http: Http
    ) -> tuple[Request, Tensor]:
        request = await run_in_threadpool(
            model.request, label=label, **body.model_dump(include=ASKED)
        )
        model.engine.check_room(body.n)
        if request.schedule and not request.schedule.ready:
            if places.locked():
                raise Busy(
                    f"{COMPUTED} requests with a new solver or number of steps are already "
                    "waiting. Try again later, or use a solver and a number of steps that have "
                    "been used before."
                )
            async with places, turn:  # one table at a time is computed, so that the engine goes on
                await run_in_threadpool(request.schedule.compute)
        model.engine.submit(request)
        answer = asyncio.wrap_future(request.answer)
        left = asyncio.create_task(_left(http))
        try:
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise HTTPException(499, "The client has closed the connection.")
            return request, answer.result()
        finally:
            request.cancel()
            left.cancel()

    @app.post(IMAGES)
    async def images(body: _ImageBody, http: Http) -> Response:
        model = asked(body.model)
        if not model.space.has_pixels:
            raise UsageError(f"{model.name} makes {model.space.noun}s, not images. Use {ROWS}.")
        if body.size not in (None, "auto", model.size):
            raise UsageError(f"{model.name} makes images of `size` {model.size}, got {body.size}.")
        request, x = await drawn(model, body, body.prompt, http)
        pictures = await run_in_threadpool(_pictures, model, x)
        data = []
        for text, seed in zip(pictures, request.seeds, strict=True):
            data.append({"b64_json": text, "seed": seed})
        return _json({"created": int(time.time()), "data": data})

    @app.post(ROWS)
    async def rows(body: _RowBody, http: Http) -> Response:
        model = asked(body.model)
        if model.space.has_pixels:
            raise UsageError(f"{model.name} makes images, not rows. Use {IMAGES}.")
        written = _rows
        if body.format == "csv" or (
            body.format is None and "text/csv" in http.headers.get("accept", "")
        ):
            written = _csv
        request, x = await drawn(model, body, body.label, http)
        return await run_in_threadpool(written, model, x, request)

    @app.get("/v1/models")
    async def listed() -> Response:
        return _json({"object": "list", "data": [model.described() for model in models]})

    @app.get("/v1/models/{name}")
    async def one(name: str) -> Response:
        return _json(asked(name).described())

    @app.get(HEALTH)
    async def health() -> Response:
        return _json({"status": "ok"})

    @app.get("/metrics")
    async def figures() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    text = page or PAGE.format(names=html.escape(", ".join(served)))
    content = text.encode()  # once: a page has megabytes
    security = f"{policy()}; frame-ancestors 'none'"

    @app.get("/")
    async def home() -> Response:
        return HTMLResponse(content, headers={"Content-Security-Policy": security})

    gate = Gate(app, key, hosts, limits.body, seconds)
    exposed = ["Retry-After", "X-Seed", "X-Warnings"]
    # outermost, so that every answer has the headers, and preflights need no key
    return CORSMiddleware(
        gate,
        [origin.rstrip("/") for origin in origins],
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=exposed,
    )


async def _left(http: Http) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await http.receive()


def _pictures(model: Model, x: Tensor) -> list[str]:
    texts = []
    for picture in model.space.drawing(model.space.quantise(x)):
        file = io.BytesIO()
        image(picture).save(file, format="PNG")
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts


def _rows(model: Model, x: Tensor, request: Request) -> Response:
    space: Any = model.space
    records = space.records(x)
    fields = getattr(space, "fields", ())
    if fields:
        missing = np.isnan(space.values(x))
        rows = zip(records, missing, strict=True)
        records = [list(map(_value, row, fields, gaps)) for row, gaps in rows]
    return _json(
        {
            "object": "list",
            "model": model.name,
            "seed": request.seeds[0],
            "columns": model.columns,
            "data": records,
            "warnings": request.warnings,
        }
    )


def _value(cell: str, field: Any, missing: bool) -> Any:
    if missing:
        return None
    if field.kind not in ("number", "whole"):
        return cell
    number = field.form.value(cell)
    if field.kind == "whole":
        return int(number)
    return number


def _csv(model: Model, x: Tensor, request: Request) -> Response:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([model.columns, *model.space.records(x)])
    headers = {"X-Seed": str(request.seeds[0]), "X-Warnings": json.dumps(request.warnings)}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # in ASCII: a text of a client may hold half of a surrogate pair, which no encoding writes
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    usual = "invalid_request_error" if status < 500 else "server_error"
    error = {
        "message": message,
        "type": TYPES.get(status, usual),
        "param": None,
        "code": CODES.get(status),
    }
    return _json({"error": error}, status, headers)


def _refused(_: Http, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _error(error.status_code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        message = str(first["msg"])
        place = ".".join(part for part in first["loc"][1:] if isinstance(part, str))
        if place:
            message = f"`{place}`: {message}"
        return _error(400, message)
    if isinstance(error, Busy):
        return _error(429, str(error), {"Retry-After": "1"})
    if isinstance(error, (UsageError, Diverged)):  # repeating a diverged request does not help
        return _error(400, str(error))
    return _error(500, f"{type(error).__name__}: the samples could not be generated.")


class Gate:
    """Middleware that checks key or host name and body size, and measures response times."""

    def __init__(
        self, app: ASGIApp, key: str | None, hosts: Iterable[str], most: int, seconds: Histogram
    ) -> None:
        self.app = app
        self.most = most
        self.seconds = seconds
        self.token = None
        if key is not None:
            self.token = f"Bearer {key}".encode(errors="surrogateescape")
        names = "|".join(map(re.escape, ["localhost", *hosts]))
        # no name ends in a number, so that digits and points are an address
        self.hosts = re.compile(rf"(?i)({names}|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]+)?".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = 0
        began = time.perf_counter()
        path = scope["path"] if scope["path"] in PATHS else "other"

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise HTTPException(
                    413,
                    f"A request body may have at most {self.most:,} bytes.",
                    {"Connection": "close"},
                )
            return message

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                self.seconds.labels(path, str(message["status"])).observe(seconds)
            body = memoryview(message.get("body", b""))
            while len(body) > CHUNK:
                await send({**message, "body": body[:CHUNK], "more_body": True})
                body = message["body"] = body[CHUNK:]
                await asyncio.sleep(0)  # else nobody notices that the client has gone
            await send(message)

        refusal = None if path == HEALTH else self._refusal(dict(scope["headers"]))
        try:
            await (refusal or self.app)(scope, limited, timed)
        except asyncio.CancelledError:
            stopped = _error(503, "The server stopped before it answered this request.")
            await stopped(scope, receive, timed)

    def _refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        if self.token is None:
            if not self.hosts.fullmatch(headers.get(b"host", b"")):
                return _error(403, NO_HOST)
        elif not secrets.compare_digest(headers.get(b"authorization", b""), self.token):
            return _error(401, NO_KEY, {"WWW-Authenticate": "Bearer"})
        return None
