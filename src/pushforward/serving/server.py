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
    """Raise an error if packages for the server are missing."""
    for module in NEEDED:
        imported(module, "A server needs fastapi, uvicorn, pydantic and prometheus-client", "serve")


def bound(host: str, port: int) -> socket.socket:
    """Open a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"The server cannot listen on `host={host}`, `port={port}`: {error}. Choose another "
            "host or port."
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
    """Serve runs until SIGTERM or SIGINT; active requests get some time to finish.

    Args:
        runs: Runs by model name.
        host: Address to listen on; by default, only reachable from this machine.
        port: Port; 0 for any free port.
        key: Secret that clients must send; None for no authentication.
        origins: Origins of web applications that may call the server; "*" for all.
        hosts: Additional host names under which the server answers without a key.
        connections: Limits of connections.
        page: Whether ``/`` runs the models in a browser, if possible.
        precision: Precision of network calls.
        ready: Callback with the address once the server listens.
        tell: Callback with lines about the page.

    Raises:
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
        home = None
        if page:
            shown = showable({name: run.transport for name, run in runs.items()}, tell)
            if shown:
                home = build(shown, some(about["name"] for about, _ in shown))
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
