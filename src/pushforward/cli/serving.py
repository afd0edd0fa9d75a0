"""The verb that answers requests for samples over HTTP: serve."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Annotated

from cyclopts import Parameter

from pushforward.cli.inputs import device_of
from pushforward.cli.options import AT_LEAST_1, COMPUTE, MODEL, OUTPUT, USE, Device, Flag, Loading, Plugins, Precision, app, say
from pushforward.errors import UsageError

KEY = "PUSHFORWARD_API_KEY"
Listed = Annotated[tuple[str, ...], Parameter(group=OUTPUT, negative_iterable=(), consume_multiple=False, show_default=False)]
Count = Annotated[int, Parameter(group=OUTPUT, validator=AT_LEAST_1)]


@app.command(group=USE, sort_key=8)
def serve(
    runs: Annotated[
        list[str],
        Parameter(group=MODEL, negative_iterable=(), help="Folders of runs, RUN@CHECKPOINT where it is not the newest."),
    ],
    *,
    host: Annotated[str, Parameter(group=OUTPUT)] = "127.0.0.1",
    port: Annotated[int, Parameter(group=OUTPUT)] = 8000,
    page: Annotated[bool, Parameter(group=OUTPUT, show_default=False)] = True,
    api_key: Annotated[str | None, Parameter(group=OUTPUT, env_var=KEY, show_env_var=False)] = None,
    allow_origin: Listed = (),
    allow_host: Listed = (),
    max_connections: Count = 1000,
    request_timeout: Count = 30,
    shutdown_timeout: Count = 30,
    raw: Annotated[Flag, Parameter(group=COMPUTE)] = False,
    plugin: Plugins = (),
    device: Device = "auto",
    precision: Annotated[Precision, Parameter(group=COMPUTE)] = "float32",
) -> None:
    """Answer requests for samples over HTTP, as OpenAI's clients make them.

    Requests of all clients share network calls, whatever their steps, solvers, conditions and seeds; a seed gives the sample that
    `sample` gives. Paths: /v1/models, /v1/images/generations, /v1/rows, /healthz and /metrics. SIGTERM ends it once
    open requests are answered, within --shutdown-timeout. Example:
    `pushforward serve runs/digits-flow --port 8000`

    Args:
        host: The address to listen on; the default reaches this machine alone.
        port: The port; 0 takes a free one.
        page: Whether / is a page that runs the models in a browser, with the extra [onnx]; building it takes some seconds for
            each model at start.
        api_key: What clients must send; rather than here, where others can read it, set it as PUSHFORWARD_API_KEY.
        allow_origin: A web application that may call the server, such as https://app.example; may be repeated. * allows all.
        allow_host: A host name under which the server answers without a key, besides localhost, --host and IP addresses; may
            be repeated.
        max_connections: Open connections at most; above it the one that has kept the server waiting longest is closed.
        request_timeout: Seconds until a request must have arrived, headers and body.
        shutdown_timeout: Seconds that open requests have left after SIGTERM.
        raw: Use the last weights in place of their average.
        precision: Precision of the network calls.
    """
    from pushforward.serving.server import LOCAL, check_installed
    from pushforward.serving.server import serve as answer

    check_installed()
    from pushforward.cli.sampling import loaded_run
    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.serving.connections import Connections
    from pushforward.training.runs.folder import checkpoint_in

    loading, served = Loading(raw=raw, plugin=plugin, device=device), {}
    for text in runs:
        folder, checkpoint = checkpoint_in(text)
        run = loaded_run(folder, dataclasses.replace(loading, checkpoint=checkpoint))
        name = f"{run.name}@{checkpoint}" if checkpoint else run.name
        if name in served:
            raise UsageError(f"Two of the runs are called {name}: rename the folder of one, or serve it by itself.")
        served[name] = run
    if host not in LOCAL and not api_key:
        say(f"note: everybody who reaches {host} can use this server: set {KEY} to a secret")

    if page:
        say("making the page that runs in browsers")
    names, chosen = ", ".join(served), resolve_precision(precision, device_of(device))
    with contextlib.suppress(SystemExit):  # SIGTERM, which uvicorn raises again once it has answered all
        answer(
            served,
            host=host,
            port=port,
            key=api_key or None,
            origins=allow_origin,
            hosts=allow_host,
            connections=Connections(max_connections, request_timeout, shutdown_timeout),
            page=page,
            precision=chosen,
            ready=lambda url: say(f"{names}: {url}"),
            tell=say,
        )
