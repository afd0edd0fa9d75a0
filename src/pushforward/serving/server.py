"""Server process: bind a socket, and answer requests until the server is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pushforward.errors import UsageError, imported
from pushforward.numbers import some

if TYPE_CHECKING:
    from pushforward.serving.connections import Connections
    from pushforward.training import Run

NEEDED = ("fastapi", "uvicorn", "pydantic", "prometheus_client")
LOCAL = ("127.0.0.1", "::1", "localhost")


def check_installed() -> None:
    """Raise an error if packages for the server are missing.

    Raises:
        MissingExtra: With the command that installs them.
    """
    for module in NEEDED:
        imported(module, "A server needs fastapi, uvicorn, pydantic and prometheus-client", "serve")


def bound(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        UsageError: If the host does not belong to this machine, or the port is in use.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"The server cannot listen on `host={host}`, `port={port}`: {error}. Choose another host or port."
        ) from error


def serve(
    runs: Mapping[str, Run],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    key: str | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    connections: Connections | None = None,
    page: bool = True,
    precision: str = "float32",
    ready: Callable[[str], None] = print,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Serve runs until SIGTERM or SIGINT; active requests get some time to finish (``connections.ending``).

    Args:
        runs: Runs by model name.
        host: Address to listen on; by default, only reachable from this machine.
        port: Port; 0 for any free port.
        key: Secret that clients must send; None for no authentication.
        origins: Origins of web applications that may call the server, such as
            "https://app.example"; "*" for all.
        hosts: Additional host names under which the server answers without a key.
        connections: Limits of connections; None for `Connections()`.
        page: Whether ``/`` runs the models in a browser, if the extra ``onnx`` is installed and
            the models are supported; building the page takes some seconds for each.
        precision: Precision of network calls.
        ready: Callback with the address once the server listens.
        tell: Callback with lines about the page; silent by default.

    Raises:
        MissingExtra: If the extra ``serve`` is not installed.
        UsageError: If the server cannot listen there, or a run's sampler cannot be served.
    """
    check_installed()
    import uvicorn

    from pushforward.export.files import showable
    from pushforward.export.page import build
    from pushforward.serving.admission import Model
    from pushforward.serving.connections import (
        BACKLOG,
        RESERVED,
        Connection,
        Connections,
        descriptors,
    )
    from pushforward.serving.http import application

    kept = connections or Connections()
    kept.most = max(1, descriptors(kept.most + RESERVED) - RESERVED)

    class Limited(Connection):
        limits = kept

    with bound(host, port) as listening:
        models = [Model(run, name) for name, run in runs.items()]
        if page:
            page_models = showable({name: run.transport for name, run in runs.items()}, tell)
        else:
            page_models = []
        title = some(about["name"] for about, _ in page_models)
        home = build(page_models, title) if page_models else None
        app = application(
            models, key=key, origins=origins, hosts=[host, *hosts], page=home, precision=precision
        )
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            http=Limited,
            ws="none",
            callback_notify=kept.sweep,
            timeout_notify=1,
            backlog=BACKLOG,
            timeout_graceful_shutdown=kept.ending,
            log_level="error",  # a line for each damaged request would let clients fill the disk
            log_config=None,
            access_log=False,
        )
        uvicorn.Server(config).run(sockets=[listening])
