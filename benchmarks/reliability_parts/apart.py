"""Work in processes that may die: forked from one that has loaded the package and trained
nothing.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any

from programs.interruptions import Apart, Killed, forked

__all__ = ["apart", "warmed"]


def apart(smoke: bool) -> Apart:
    """What runs work that may die: a forked process, or in a smoke run this one, in which an
    exception stands for the signal.
    """
    if smoke:
        return _here
    return forked


def _here(work: Callable[[], Any]) -> tuple[int, Any]:
    try:
        return 0, work()
    except Killed:
        return -signal.SIGKILL, None


@functools.cache
def warmed() -> None:
    """Load what trainings import, so that processes are forked with it."""
    import safetensors.torch  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.neighbors  # noqa: F401
    import torch
    import torch._dynamo

    from pushforward import spec

    torch.set_num_threads(1)
    spec.registered()
