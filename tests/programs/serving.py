"""Servers that tests start: by the verb, until they are told to end, and beside the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import httpx
import torch
import uvicorn

import pushforward as pf
from pushforward.cli import main
from pushforward.networks import MLP, Reshaped
from pushforward.serving import Model, application
from pushforward.testing import recipe_for, space_data, stirred
from pushforward.training import Run

IMAGES = "/v1/images/generations"
ROWS = "/v1/rows"
LOCAL = "http://localhost"
SMALL = (1, 8, 8)


class Drawn(pf.Method):
    """A method that is nothing but its transport."""

    def __init__(self, transport):
        super().__init__()
        self.model = transport
        self.space = transport.space

    players = averaged = property(lambda self: {})

    def losses(self, batch, now):
        return iter(())

    def transport(self):
        return self.model


def run_of(recipe, folder, shape=SMALL, labels=True, data=None):
    """An untrained run of a recipe whose samples depend on all of its weights."""
    if data is None:
        data = space_data(shape, labels)
    return Run(
        folder, {"recipe": str(recipe)}, stirred(recipe_for(recipe, data).method), {"step": 0}, ""
    )


def run_with(folder, transport, recipe="flow"):
    """A run of this transport."""
    return Run(folder, {"recipe": recipe}, Drawn(transport), {"step": 0}, "")


def speaking(shape=SMALL):
    """A flow of images whose network is an MLP that puts out no zeros."""
    space = space_data(shape, True).space
    torch.manual_seed(1)
    network = MLP(64, 64, width=32, depth=1, conditions=space.conditions)
    network.leave.reset_parameters()
    return pf.Flow(pf.Denoiser(Reshaped(network, shape), pf.Linear(), "velocity", space), "dpm", 6)


def error(answer):
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.json()["error"]["message"]


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
    """The exit code of the verb, which a thread ends by SIGTERM once it answers and
    ``work(client)`` is done; raises what this raised.
    """
    raised = []

    def use():
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                wait_for(client)
                work(client)
        except Exception as error:
            raised.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=use)
    thread.start()
    code = main(words)
    thread.join()
    if raised:
        raise raised[0]
    return code


@contextlib.contextmanager
def beside(run):
    """A server of a run in a thread; yields its port."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(application([Model(run)]), port=port, log_level="warning", log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(httpx.Client(base_url=f"http://127.0.0.1:{port}"))
        yield port
    finally:
        server.should_exit = True
        thread.join()
