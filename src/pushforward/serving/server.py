"""The process of a server: runs are read, a socket is bound, and requests are answered until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pushforward.errors import UsageError, imported

if TYPE_CHECKING:
    from pushforward.serving.connections import Connections
    from pushforward.training import Run

NEEDED = ("fastapi", "uvicorn", "pydantic", "prometheus_client")
LOCAL = ("127.0.0.1", "::1", "localhost")


def check_installed() -> None:
    """Refuse to go on without the packages of a server.

    Raises:
        MissingExtra: With the command that installs them.
    """
    for module in NEEDED:
        imported(module, "A server needs fastapi, uvicorn, pydantic and prometheus-client, of which one", "serve")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: If the host is none of this machine, or the port is taken.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
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
    """Serve runs until SIGTERM or SIGINT; requests that have begun get some time to end (``connections.ending``).

    Args:
        runs: By the names that requests use.
        host: The address to listen on; the default reaches this machine alone.
        port: Which; 0 takes a free one.
        key: The secret that clients must send; None lets everybody in who reaches the host.
        origins: Origins of web applications that may call it, such as "https://app.example"; "*" allows all.
        hosts: Further host names under which it answers without a key.
        connections: Limits of connections; None is `Connections()`.
        page: Whether ``/`` runs one or two of the runs in a browser, where the extra ``onnx`` is installed and they can be shown;
            the page takes some seconds to make.
        precision: Of network calls.
        ready: Is called with the address once it listens.
        tell: Is called with lines about the page; silent by default.

    Raises:
        MissingExtra: Without the extra ``serve``.
        UsageError: If it cannot listen there, or a run has a sampler that cannot be served.
    """
    check_installed()
    import uvicorn

    from pushforward.export.files import showable
    from pushforward.export.page import build
    from pushforward.serving.admission import Model
    from pushforward.serving.connections import BACKLOG, RESERVED, Connection, Connections, descriptors
    from pushforward.serving.http import application

    kept = connections or Connections()
    kept.most = max(1, descriptors(kept.most + RESERVED) - RESERVED)

    class Limited(Connection):
        limits = kept

    with bound(host, port) as listening:
        models = [Model(run, name) for name, run in runs.items()]
        page_models = showable({name: run.transport for name, run in runs.items()}, tell) if page else []
        home = build(page_models, " and ".join(about["name"] for about, _ in page_models)) if page_models else None
        app = application(models, key=key, origins=origins, hosts=[host, *hosts], page=home, precision=precision)
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
