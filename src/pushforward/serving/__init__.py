"""A server of trained runs: requests of many clients share network calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.serving.admission import Limits, Model
    from pushforward.serving.connections import Connections
    from pushforward.serving.engine import Busy, Engine, Request, working
    from pushforward.serving.http import application
    from pushforward.serving.server import check_installed, serve

__all__ = [
    "Busy",
    "Connections",
    "Engine",
    "Limits",
    "Model",
    "Request",
    "application",
    "check_installed",
    "serve",
    "working",
]

__getattr__ = exports(
    __name__,
    {
        "admission": ("Limits", "Model"),
        "connections": ("Connections",),
        "engine": ("Busy", "Engine", "Request", "working"),
        "http": ("application",),
        "server": ("check_installed", "serve"),
    },
)
