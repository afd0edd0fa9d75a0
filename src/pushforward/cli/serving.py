"""The verb serve, which answers requests for samples over HTTP."""

from __future__ import annotations

import contextlib
from typing import Annotated

from cyclopts import Parameter

from pushforward.cli.inputs import device_of
from pushforward.cli.options import (
    MODEL,
    OUTPUT,
    USE,
    ComputeOption,
    Device,
    Loading,
    OutputOption,
    Plugins,
    Positive,
    Precision,
    Raw,
    Repeated,
    app,
    say,
)
from pushforward.errors import UsageError

KEY = "PUSHFORWARD_API_KEY"


@app.command(group=USE, sort_key=8)
def serve(
    runs: Annotated[
        list[str],
        Parameter(
            group=MODEL,
            negative_iterable=(),
            help="Run folders; RUN@CHECKPOINT serves an older checkpoint.",
        ),
    ],
    *,
    host: OutputOption[str] = "127.0.0.1",
    port: OutputOption[int] = 8000,
    page: Annotated[bool, Parameter(group=OUTPUT, show_default=False)] = True,
    api_key: Annotated[str | None, Parameter(group=OUTPUT, env_var=KEY, show_env_var=False)] = None,
    allow_origin: OutputOption[Repeated] = (),
    allow_host: OutputOption[Repeated] = (),
    max_connections: OutputOption[Positive] = 1000,
    request_timeout: OutputOption[Positive] = 30,
    shutdown_timeout: OutputOption[Positive] = 30,
    raw: Raw = False,
    plugin: Plugins = (),
    device: Device = "auto",
    precision: ComputeOption[Precision] = "float32",
) -> None:
    """Serve runs over HTTP, for OpenAI clients and others.

    The paths are /v1/models, /v1/images/generations, /v1/rows, /healthz and /metrics. Requests of
    all clients share network calls, and a seed gives the same sample as `sample`. SIGTERM stops the
    server after open requests are answered. Example:
    `pushforward serve runs/digits-flow --port 8000`

    Args:
        host: Address to listen on. The default is only reachable from this machine.
        port: Port; 0 chooses a free one.
        page: Serve a page at / that runs the models in a browser. Needs the extra onnx, and some
            seconds per model at start.
        api_key: Secret that clients must send. To hide it from other users of this machine, set
            PUSHFORWARD_API_KEY instead.
        allow_origin: Web application that may call the server, such as https://app.example, or *
            for all. Can be repeated.
        allow_host: Additional host name under which the server answers without a key. Can be
            repeated.
        max_connections: Maximum number of open connections. Above it, the connection that has been
            idle longest is closed.
        request_timeout: Seconds within which a request must arrive completely.
        shutdown_timeout: Seconds to wait for open requests after SIGTERM.
        precision: Precision of network calls.
    """
    from pushforward.serving.server import LOCAL, check_installed
    from pushforward.serving.server import serve as answer

    check_installed()
    from pushforward.cli.sampling import loaded_run
    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.serving.connections import Connections
    from pushforward.training.runs.folder import checkpoint_in

    loading = Loading(raw=raw, plugin=plugin, device=device)
    served = {}
    for text in runs:
        run = loaded_run(text, loading)
        _, checkpoint = checkpoint_in(text)
        name = f"{run.name}@{checkpoint}" if checkpoint else run.name
        if name in served:
            raise UsageError(
                f"Two runs are named {name}. Rename one folder, or serve the runs separately."
            )
        served[name] = run
    if host not in LOCAL and not api_key:
        say(f"note: anyone who can reach {host} can use this server. To require a key, set {KEY}")
    if page:
        say("building the page that runs models in a browser")
    names = ", ".join(served)
    chosen = resolve_precision(precision, device_of(device))
    with contextlib.suppress(SystemExit):  # SIGTERM, which uvicorn raises again after all answers
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
