"""Several processes for one command: those that a launcher has started, and those that ``--devices`` starts here."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pushforward.cli.terminal import app, say
from pushforward.environment import launched
from pushforward.errors import UsageError

TRAINING = ("train", "resume", "distil")
TOGETHER = (*TRAINING, "sample", "evaluate")  # The verbs whose work several processes share


def _option(words: Sequence[str], name: str) -> str | None:
    """The value of an option among the words of a command; None where it is not given."""
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def processes_wanted(words: Sequence[str]) -> int:
    """How many processes a command asks to be started in; 1 where it asks for none, or its number is wrong."""
    text = _option(words, "--devices") or "1"
    alone = words[:1] and words[0] in TOGETHER and not {"--dry-run", "--help", "-h"} & set(words)
    return int(text) if alone and text.isdecimal() else 1


def start(words: Sequence[str], count: int, entry: Any = None) -> int:
    """Run a command in several processes on this machine by torch's elastic launcher; returns the exit code.

    Args:
        words: The command's.
        count: How many processes.
        entry: Called in each process, which is then forked, with the words; None starts the command line anew.
    """
    import logging
    import uuid

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what went wrong is said below
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend=_rendezvous(),
        max_restarts=0,
        start_method="spawn" if entry is None else "fork",
    )
    command = ("-m", "pushforward", *words) if entry is None else (list(words),)
    try:
        with tempfile.TemporaryDirectory() as folder:  # which no other user may enter
            config.rdzv_endpoint = str(Path(folder, "store").resolve())
            elastic_launch(config, sys.executable if entry is None else entry)(*command)
    except SignalException as stopped:
        return 130 if stopped.sigval == signal.SIGINT else 75
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if (killed := _killed(codes)) is not None:
            say(f"error: process {killed} of {count} was ended by {signal.Signals(-codes[killed]).name}, and the others with it.")
            say("What was saved is intact." if words[0] in TRAINING else "next: the same command again")
        first = codes[error.get_first_failure()[0]]
        return first if first > 0 else 1
    return 0


@functools.cache
def _rendezvous() -> str:
    """The name of a meeting in a file of this machine; torch's own is a `torch.distributed.TCPStore`, which listens to all."""
    from torch.distributed import HashStore
    from torch.distributed.elastic.rendezvous import RendezvousInfo, RendezvousStoreInfo, rendezvous_handler_registry
    from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

    class OneMachine(StaticTCPRendezvous):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters.endpoint, 0, 0, 1, parameters.run_id, 0)

        def get_backend(self) -> str:
            return "file"

        def next_rendezvous(self) -> RendezvousInfo:
            return RendezvousInfo(HashStore(), 0, 1, RendezvousStoreInfo(self.master_addr, 0))

    rendezvous_handler_registry.register("file", OneMachine)
    return "file"


def _killed(codes: dict[int, int]) -> int | None:
    """The process that was killed, by the exit codes of those that have failed; it could say nothing itself."""
    stopped = any(code > 0 for code in codes.values())  # then the launcher has ended the others by SIGTERM
    return next((rank for rank, code in codes.items() if code < 0 and not (stopped and code == -signal.SIGTERM)), None)


def run_in_group(words: Sequence[str]) -> None:
    """Run a command in this process as one of several, of which the first one speaks.

    Raises:
        UsageError: For a verb whose work is not shared.
        GroupError: If another process is lost.
    """
    if words[0] not in TOGETHER:
        raise UsageError(
            f"pushforward {words[0]} is the work of one process, and {launched().count} were started: start it without "
            f"torchrun. Several processes share {', '.join(TOGETHER)}."
        )
    if "--download" in words:
        raise UsageError("Several processes would fetch the same files: fetch them once, with one process and --steps 1.")
    from pushforward.devices import device_named
    from pushforward.training.distributed.process_group import joined, leave
    from pushforward.transports.shared_sampling import spreading

    processes = joined(device_named(_option(words, "--device") or "auto"))
    try:
        with silent(unless=speaks()), processes.phase(f"pushforward {words[0]}"), spreading():
            app(list(words), exit_on_error=False)
    finally:
        leave()


def speaks() -> bool:
    """Whether this process prints: of several the first one, and all where tracebacks are wanted."""
    try:
        return launched().rank == 0 or bool(os.environ.get("PUSHFORWARD_TRACEBACK"))
    except UsageError:  # it is said when the command runs
        return True


@contextlib.contextmanager
def silent(*, unless: bool) -> Iterator[None]:
    """Within this context nothing is printed by Python."""
    if unless:
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def is_grouped(words: Sequence[str]) -> bool:
    """Whether a command is to run as one of several processes."""
    return bool(words) and launched().count > 1 and not {"--help", "-h", "--version"} & set(words)
