"""Processes that are started together, as torchrun starts them, by forking: for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

LIMIT = 120.0
"""Seconds that processes may take together."""
Outcome = tuple[list[int], list[str], float]
"""The exit code and the printed text of each process, and the seconds of all."""


def together(count: int, work: Callable[[int], int | None], folder: str | Path, **environment: str) -> Outcome:
    """Fork processes that each do ``work(rank)``, which returns an exit code or None for 0.

    The process that calls this has computed no gradient, after which torch trains in no process that is forked.

    Args:
        count: How many.
        work: What each does.
        folder: Where each writes what it prints.
        environment: Variables for all of them, besides those of torchrun.

    Returns:
        A code of 124 is that of a process which has not ended within two minutes, and was ended.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared = {"MASTER_ADDR": str(folder.resolve() / "store"), "MASTER_PORT": "0", "WORLD_SIZE": str(count), **environment}
    began, children, codes = time.monotonic(), [_forked(rank, work, folder, shared) for rank in range(count)], dict[int, int]()
    while len(codes) < count and time.monotonic() - began < LIMIT:
        for rank, child in enumerate(children):
            if rank not in codes and (done := os.waitpid(child, os.WNOHANG))[0]:
                codes[rank] = os.waitstatus_to_exitcode(done[1])
        time.sleep(0.02)
    for rank in set(range(count)) - codes.keys():
        os.kill(children[rank], signal.SIGKILL)
        os.waitpid(children[rank], 0)
        codes[rank] = 124
    printed = [(folder / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(count)]
    return [codes[rank] for rank in range(count)], printed, time.monotonic() - began


def _forked(rank: int, work: Callable[[int], int | None], folder: Path, shared: dict[str, str]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(torch.get_num_threads())  # renews the pool before backward passes race for it
        os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=shared["WORLD_SIZE"])
        with (
            (folder / f"{rank}.txt").open("w", buffering=1, encoding="utf-8") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            try:
                code = work(rank) or 0
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)
