"""Run a command, in one process or several, and return its exit code."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pushforward import plugins
from pushforward.cli import (  # noqa: F401 (verbs)
    comparison,
    demo,
    deployment,
    distillation,
    editing,
    evaluation,
    inventory,
    sampling,
    training,
)
from pushforward.cli.inputs import load_plugins
from pushforward.cli.options import Lasting, as_options, call, say
from pushforward.errors import CheckpointError, GroupError, PushforwardError, UsageError
from pushforward.runtime import launched
from pushforward.training.loop.signals import ending_signals, handling

HELP = {"--help", "-h"}
TRAINING = ("train", "resume", "distil")
TOGETHER = (*TRAINING, "sample", "evaluate")  # The verbs whose work several processes share
EXAMPLES = """pushforward trains, samples and compares generative models.

  pushforward demo                                    compare four families on 2-D points and digits
  pushforward train flow --data digits --budget 60s   train one model
  pushforward sample runs/digits-flow --n 64 --out digits.png
  pushforward compare gan vae ddpm flow --data digits --budget 60s
  pushforward train flow --data ./photos --resize 32  your own images (or a .csv, .npy, .npz)

  pushforward --help lists all commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code. Errors are printed without a traceback.

    Set PUSHFORWARD_TRACEBACK=1 to get tracebacks.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    before = sys.argv
    sys.argv = ["pushforward", *words]
    _fill_closed_streams()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    out = Lasting(sys.stdout or io.StringIO(), BrokenPipeError)
    err = Lasting(sys.stderr or io.StringIO(), OSError)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        handling(ending_signals(), _end),
        _warnings_as_sentences(),
    ):
        try:
            code = _run(words)
        finally:
            sys.argv = before
        out.ends = OSError  # the error has been printed; discard the rest
        out.flush()
    if arguments is None:
        sys.exit(code)
    return code


def _fill_closed_streams() -> None:
    """Keep files of a run from getting the descriptor of a closed standard stream."""
    number = 0
    while number < 3:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    def sentence(message: Any, category: Any, *place: Any, **line: Any) -> str:
        if category is UserWarning:
            return f"warning: {as_options(str(message))}\n"
        return usual(message, category, *place, **line)

    usual = warnings.formatwarning
    warnings.formatwarning = sentence
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _run(words: list[str]) -> int:
    try:
        if asks_recipe_help(words):
            pairs = itertools.pairwise(words)
            load_plugins([file for option, file in pairs if option == "--plugin"])
            training.print_recipe_help(words[1])
        elif is_grouped(words):
            run_in_group(words)
        elif not words:
            print(EXAMPLES)
        else:
            count = processes_wanted(words)
            if count > 1:
                return start(words, count)
            call(words)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:
        if isinstance(stop.code, int):
            return stop.code
        return 1
    except KeyboardInterrupt as stop:
        say(f"interrupted: {stop}" if stop.args else "interrupted")
        return 130
    except Exception as error:
        if os.environ.get("PUSHFORWARD_TRACEBACK"):
            raise
        return _explain(error)


def asks_recipe_help(words: Sequence[str]) -> bool:
    """Return whether a command asks for the options of a recipe."""
    if len(words) < 2 or words[0] != "train" or words[1].startswith("-"):
        return False
    return not HELP.isdisjoint(words)


def _explain(error: Exception) -> int:
    if not speaks():
        if isinstance(error, GroupError):  # the process that failed has reported the error
            return error.exit_code
        # if the first process fails too, its launcher ends this one before it repeats the message
        time.sleep(1.0)
    if isinstance(error, PushforwardError):
        hint = ""
        if isinstance(error, CheckpointError) and error.before:
            hint = f" To use it: RUN@{error.before}"
        say(f"error: {as_options(str(error))}{hint}")
        return error.exit_code
    if isinstance(error, OSError):
        where = error.filename or "the output"
        why = error.strerror or error
        say(
            f"error: {where} could not be read or written: {why}. "
            "Check the path, its permissions and the free disk space."
        )
        return 4
    from pushforward.training.loop.machine import lacks_memory

    if lacks_memory(error):
        first = str(error).partition("\n")[0] or type(error).__name__
        say(
            f"error: out of memory ({first}). Use a smaller --batch, --accumulate 2 or --size tiny."
        )
        return 6
    where = plugins.line_of(error)
    whose = "This is a bug in pushforward."
    if where is not None:
        whose = f"The error was raised in your file {where}."
    say(f"error: {type(error).__name__}: {error}")
    say(f"{whose} Set PUSHFORWARD_TRACEBACK=1 to see the traceback.")
    return 1


def _option(words: Sequence[str], name: str) -> str | None:
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def processes_wanted(words: Sequence[str]) -> int:
    """Return the number of processes that a command starts, by default 1."""
    text = _option(words, "--devices") or "1"
    if words[0] in TOGETHER and text.isdecimal() and {"--dry-run", *HELP}.isdisjoint(words):
        return int(text)
    return 1


def start(words: Sequence[str], count: int, entry: Any = None) -> int:
    """Run a command in several processes with torch's elastic launcher, and return its exit code.

    Each forked process calls ``entry`` with the words; for None, new interpreters are started.
    """
    import logging
    import uuid

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from pushforward.training.loop.machine import cores

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are reported below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    program = sys.executable
    method = "spawn"
    command: tuple[Any, ...] = ("-m", "pushforward", *words)
    if entry is not None:
        program = entry
        method = "fork"
        command = (list(words),)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend=_rendezvous(),
        max_restarts=0,
        start_method=method,
    )
    try:
        with tempfile.TemporaryDirectory() as folder:  # not accessible to other users
            config.rdzv_endpoint = str(Path(folder, "store").resolve())
            elastic_launch(config, program)(*command)
    except SignalException as stopped:
        if stopped.sigval == signal.SIGINT:
            return 130
        return 75
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        killed = _killed(codes)
        if killed is not None:
            name = signal.Signals(-codes[killed]).name
            say(f"error: process {killed} of {count} was killed ({name}); the others were stopped.")
            if words[0] in TRAINING:
                say("Saved checkpoints are intact.")
            else:
                say("Run the command again.")
        first = codes[error.get_first_failure()[0]]
        if first > 0:
            return first
        return 1
    return 0


@functools.cache
def _rendezvous() -> str:
    """Register a rendezvous by a file; torch's own listens on all interfaces of the machine."""
    from torch.distributed import HashStore
    from torch.distributed.elastic.rendezvous import (
        RendezvousInfo,
        RendezvousStoreInfo,
        rendezvous_handler_registry,
    )
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
    # if a process failed by itself, the launcher has ended the others by SIGTERM
    failed = any(code > 0 for code in codes.values())
    for rank, code in codes.items():
        if code < 0 and not (failed and code == -signal.SIGTERM):
            return rank
    return None


def run_in_group(words: Sequence[str]) -> None:
    """Run a command in this process as one of several; only the first process prints."""
    if words[0] not in TOGETHER:
        raise UsageError(
            f"pushforward {words[0]} runs in one process, but {launched().count} were started. "
            f"Start it without torchrun; only {', '.join(TOGETHER)} support several processes."
        )
    if "--download" in words:
        raise UsageError(
            "--download does not support several processes. "
            "Download first, with one process and --steps 1."
        )
    from pushforward.runtime import device_named
    from pushforward.training.distributed.processes import join_group, leave
    from pushforward.transports.transport import spreading

    processes = join_group(device_named(_option(words, "--device") or "auto"))
    try:
        with silent(unless=speaks()), processes.phase(f"pushforward {words[0]}"), spreading():
            call(words)
    finally:
        leave()


def speaks() -> bool:
    """Return whether this process prints: the first one, or all with PUSHFORWARD_TRACEBACK."""
    try:
        return launched().rank == 0 or bool(os.environ.get("PUSHFORWARD_TRACEBACK"))
    except UsageError:  # reported when the command runs
        return True


@contextlib.contextmanager
def silent(*, unless: bool) -> Iterator[None]:
    """Context that discards all printed text."""
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
    """Return whether a command runs as one of several processes."""
    return bool(words) and launched().count > 1 and {"--version", *HELP}.isdisjoint(words)
