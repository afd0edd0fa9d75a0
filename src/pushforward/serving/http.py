"""The server's HTTP: images as OpenAI's clients ask for them, rows, and what operators ask."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import io
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI
from fastapi import Request as Http
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from torch import Tensor

from pushforward.data.tables.columns import Number
from pushforward.errors import PushforwardError, UsageError
from pushforward.pictures import image
from pushforward.serving.admission import Limits, Model
from pushforward.serving.engine import Busy, Request, working
from pushforward.serving.metrics import Metrics
from pushforward.table_column import Column

IMAGES, ROWS, HEALTH = "/v1/images/generations", "/v1/rows", "/healthz"
PATHS = (IMAGES, ROWS, HEALTH, "/v1/models", "/metrics", "/")
PAGE = """<!doctype html><html lang="en"><title>pushforward</title>
<p>pushforward serves {names}. What they take is listed at <a href="/v1/models">/v1/models</a>.</p></html>"""


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
    user: str | None = None


class _RowBody(_Drawing):
    label: str | None = None
    format: Literal["json", "csv"] | None = None


def application(
    models: Sequence[Model],
    *,
    key: str | None = None,
    page: str | None = None,
    limits: Limits | None = None,
    precision: str = "float32",
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        models: What it serves; their names differ.
        key: What clients must send as a bearer token, to all but ``/healthz``; None lets everybody in.
        page: The HTML of ``/``; None says where models are listed.
        limits: Of a body.
        precision: Of network calls.
    """
    metrics, served = Metrics(models), {model.name: model for model in models}

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        with working([model.engine for model in models], precision):
            yield

    app = FastAPI(lifespan=life, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Gate, key=key, most=(limits or Limits()).body, seconds=metrics.seconds)
    for kind in (RequestValidationError, HTTPException, PushforwardError, Exception):
        app.add_exception_handler(kind, _refused)

    def asked(name: str | None) -> Model:
        if name is None and len(models) == 1:
            return models[0]
        if name is None:
            raise UsageError(f"Name a `model`: {', '.join(served)}.")
        if name not in served:
            raise HTTPException(404, f'There is no model "{name}"; served: {", ".join(served)}.')
        return served[name]

    async def drawn(model: Model, body: _Drawing, label: str | None, http: Http) -> tuple[Request, Tensor]:
        sampler = {"steps": body.steps, "solver": body.solver, "scale": body.scale}
        request = await run_in_threadpool(model.request, body.n, seed=body.seed, label=label, given=body.given, **sampler)
        model.engine.submit(request)
        answer, left = asyncio.wrap_future(request.answer), asyncio.create_task(_left(http))
        try:
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise HTTPException(499, "The client has gone.")
            return request, answer.result()
        finally:
            request.cancel()
            left.cancel()

    @app.post(IMAGES)
    async def images(body: _ImageBody, http: Http) -> Response:
        model = asked(body.model)
        if not model.space.has_pixels:
            raise UsageError(f"{model.name} makes {model.space.noun}s, not images: ask {ROWS}.")
        if body.size not in (None, "auto", model.size):
            raise UsageError(f"{model.name} makes images of the `size` {model.size}, got {body.size}.")
        request, x = await drawn(model, body, body.prompt, http)
        pictures = await run_in_threadpool(_pictures, model, x)
        data = [{"b64_json": text, "seed": seed} for text, seed in zip(pictures, request.seeds, strict=True)]
        return _json({"created": int(time.time()), "data": data})

    @app.post(ROWS)
    async def rows(body: _RowBody, http: Http) -> Response:
        model = asked(body.model)
        if model.space.has_pixels:
            raise UsageError(f"{model.name} makes images, not rows: ask {IMAGES}.")
        wants_csv = "text/csv" in http.headers.get("accept", "") if body.format is None else body.format == "csv"
        request, x = await drawn(model, body, body.label, http)
        return await run_in_threadpool(_csv if wants_csv else _rows, model, x, request.seeds[0])

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
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/")
    async def home() -> Response:
        return HTMLResponse(page or PAGE.format(names=", ".join(served)))

    return app


async def _left(http: Http) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        continue


def _pictures(model: Model, x: Tensor) -> list[str]:
    texts = []
    for picture in model.space.drawing(model.space.quantise(x)):
        file = io.BytesIO()
        image(picture).save(file, format="PNG")
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts


def _rows(model: Model, x: Tensor, seed: int) -> Response:
    records, fields = model.space.records(x), getattr(model.space, "fields", ())
    if fields:
        missing = np.isnan(model.space.values(x))  # type: ignore[attr-defined]
        records = [list(map(_value, row, fields, gaps)) for row, gaps in zip(records, missing, strict=True)]
    return _json({"object": "list", "model": model.name, "seed": seed, "columns": model.columns, "data": records})


def _value(cell: str, field: Column, missing: bool) -> Any:
    if missing or not isinstance(field, Number):
        return None if missing else cell
    try:
        return int(cell) if cell.lstrip("-").isdecimal() else float(cell)
    except ValueError:
        return cell


def _csv(model: Model, x: Tensor, seed: int) -> Response:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([model.columns, *model.space.records(x)])
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers={"X-Seed": str(seed)})


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # ASCII alone: a text of a client may hold half of a pair, which no encoding writes
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = {401: "invalid_api_key", 404: "not_found", 413: "too_large", 429: "busy"}.get(status)
    return _json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)


def _refused(_: Http, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _error(error.status_code, str(error.detail), dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(part for part in first["loc"][1:] if isinstance(part, str))
        return _error(400, f"`{where}`: {first['msg']}" if where else str(first["msg"]))
    if isinstance(error, Busy):
        return _error(429, str(error), {"Retry-After": "1"})
    if isinstance(error, PushforwardError):
        return _error(400 if isinstance(error, UsageError) else 500, str(error))
    return _error(500, f"{type(error).__name__}: the samples could not be made.")


class Gate:
    """What every request passes first: the key, and the limit of its body. It takes the time of answers.

    Args:
        app: What lies behind it.
        key: None lets everybody in.
        most: Bytes of a body at most.
        seconds: Takes the times, by path and status.
    """

    def __init__(self, app: ASGIApp, key: str | None, most: int, seconds: Histogram) -> None:
        self.app, self.key, self.most, self.seconds = app, key, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken, began, path = 0, time.perf_counter(), scope["path"] if scope["path"] in PATHS else "other"

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise HTTPException(413, f"A body is at most {self.most:,} bytes.", {"Connection": "close"})
            return message

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.seconds.labels(path, str(message["status"])).observe(time.perf_counter() - began)
            await send(message)

        given = dict(scope["headers"]).get(b"authorization", b"")
        known = self.key is None or secrets.compare_digest(given, b"Bearer " + self.key.encode())
        refusal = _error(401, "Send the server's key: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        await (self.app if known or path == HEALTH else refusal)(scope, limited, timed)
