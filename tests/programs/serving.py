"""Servers that tests start: by the verb, until they are told to end, and beside the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import httpx
import uvicorn

from pushforward.cli import main
from pushforward.serving import Model, application


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_for(client):
    for _ in range(2400):
        with contextlib.suppress(httpx.ConnectError):
            if client.get("/healthz").status_code == 200:
                return
        time.sleep(0.05)
    raise TimeoutError("no server answers")


def until_told(words, port, work=lambda client: None):
    """The exit code of the verb, which a thread ends by SIGTERM once it answers and ``work(client)`` is done."""

    def use():
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                wait_for(client)
                work(client)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=use)
    thread.start()
    code = main(words)
    thread.join()
    return code


@contextlib.contextmanager
def beside(run):
    """A server of a run in a thread; yields its port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application([Model(run)]), port=port, log_level="warning", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(httpx.Client(base_url=f"http://127.0.0.1:{port}"))
        yield port
    finally:
        server.should_exit = True
        thread.join()
