"""One thread a test process, since several run beside each other, and threads that do not spin; before torch is imported."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import pushforward  # noqa: F401

REGISTRIES = {"spec": "_PLUGINS", **dict.fromkeys(("solvers", "metrics", "data.sets", "data.readers", "recipes"), "_ADDED")}
"""Where the parts of plug-ins are kept, by module."""


def _registered():
    loaded = {name: sys.modules.get(f"pushforward.{name}") for name in REGISTRIES}
    return {name: getattr(module, REGISTRIES[name]) for name, module in loaded.items() if module is not None}


@pytest.fixture(scope="session")
def forget():
    """Forgets all plug-ins, as a new process does."""
    return lambda: [parts.clear() for parts in _registered().values()]


@pytest.fixture(scope="module", autouse=True)
def _own_plugins():
    """What a module registers is forgotten after it."""
    before = {name: dict(parts) for name, parts in _registered().items()}
    yield
    for name, parts in _registered().items():
        parts.clear()
        parts.update(before.get(name, {}))
