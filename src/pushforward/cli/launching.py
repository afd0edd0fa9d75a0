"""Several processes for one command: those that a launcher has started, and those that ``--devices`` starts here."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pushforward.cli.sharing import Sharing, Spreading
from pushforward.cli.terminal import app, say
from pushforward.errors import UsageError
from pushforward.launched import launched

__all__ = [
    "TOGETHER",
    "check_sharing",
    "check_spread",
    "is_first_start",
    "is_grouped",
    "of_processes",
    "processes_wanted",
    "run_in_group",
    "silent",
    "speaks",
    "start",
    "stop_launcher",
]

TRAINING = ("train", "resume", "distil")
TOGETHER = (*TRAINING, "sample", "evaluate")
"""The verbs whose work several processes share."""
FINAL = (2, 3, 5, 7, 75, 130)
"""Exit codes after which no restart is of use: the same command would end in the same way, or a signal has stopped it."""
_LAUNCHER, _CODE = "PUSHFORWARD_LAUNCHER", "PUSHFORWARD_LAUNCHER_CODE"
"""The number of the process that ``--devices`` has started the others from, and the file into which they write its exit code."""
_ENDED = 5.0
"""Seconds in which a launcher ends its processes after SIGTERM."""


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

    from pushforward.cli.meeting import BACKEND

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what went wrong is said below
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    os.environ[_LAUNCHER] = str(os.getpid())
    restarts = _option(words, "--max-restarts") or "0"
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend=BACKEND,
        max_restarts=int(restarts) if restarts.isdecimal() else 0,
        start_method="spawn" if entry is None else "fork",
    )
    command = ("-m", "pushforward", *words) if entry is None else (list(words),)
    try:
        with tempfile.TemporaryDirectory() as folder:  # which no other user may enter
            os.environ[_CODE], config.rdzv_endpoint = f"{folder}/code", str(Path(folder, "store").resolve())
            try:
                elastic_launch(config, sys.executable if entry is None else entry)(*command)
            except SignalException as stopped:
                return int(_text(Path(folder, "code")) or (130 if stopped.sigval == signal.SIGINT else 75))
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if (killed := _killed(codes)) is not None:
            say(f"error: process {killed} of {count} was ended by {signal.Signals(-codes[killed]).name}, and the others with it.")
            say(_next(words, config.run_id, count))
        first = codes[error.get_first_failure()[0]]
        return first if first > 0 else 1
    return 0


def _killed(codes: dict[int, int]) -> int | None:
    """The process that was killed, by the exit codes of those that have failed; it could say nothing itself."""
    stopped = any(code > 0 for code in codes.values())  # then the launcher has ended the others by SIGTERM
    return next((rank for rank, code in codes.items() if code < 0 and not (stopped and code == -signal.SIGTERM)), None)


def _next(words: Sequence[str], launch: str, count: int) -> str:
    """The command that goes on after a process was killed: with the run that the launch has begun or taken up, if any."""
    out = _option(words, "--out")
    folders = [Path(word) for word in ([out] if out else words[1:])] + list(Path("runs").glob("*"))
    begun = [folder for folder in folders if words[0] == "resume" or _is_of(launch, folder)]
    run = next((folder for folder in begun if (folder / "spec.json").is_file()), None)
    if run is None or words[0] not in TRAINING:
        return "next: the same command again"
    own = [file for file in words[1:2] if file.endswith(".py")] if words[0] == "train" else []
    own += [file for option, file in itertools.pairwise(words) if option == "--plugin"]
    options = "".join(f" --plugin {shlex.quote(file)}" for file in own) + " --shard" * ("--shard" in words)
    return f"What was saved is intact.\nnext: pushforward resume {shlex.quote(str(run))} --devices {count}{options}"


def _is_of(launch: str, folder: Path) -> bool:
    """Whether a launch has begun the run in a folder, by its manifest."""
    from pushforward.strict_json import parse_json

    try:
        manifest = parse_json(_text(folder / "manifest.json"))
    except ValueError:
        return False
    return isinstance(manifest, dict) and manifest.get("launch") == launch


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def of_processes(sharing: Sharing) -> dict[str, Any]:
    """The arguments of `pushforward.fit` for several processes.

    Raises:
        UsageError: For numbers that cannot be.
    """
    check_sharing(sharing)
    return {"shard": sharing.shard, "devices": sharing.devices}


def check_sharing(sharing: Sharing) -> None:
    """Refuse numbers of processes and restarts that cannot be.

    Raises:
        UsageError: Naming the option.
    """
    _check_devices(sharing.devices)
    if sharing.shard and sharing.devices in (None, 1) and launched().count == 1:
        raise UsageError("--shard divides the weights among several processes: give --devices 2 or more, or use torchrun.")
    if sharing.max_restarts < 0:
        raise UsageError(f"--max-restarts {sharing.max_restarts} is no number of restarts: give 0 or more.")
    if sharing.max_restarts and sharing.devices is None and launched().count == 1:
        raise UsageError("--max-restarts is for the processes that --devices starts: give both, or leave it out.")


def _check_devices(devices: int | None) -> None:
    if devices is not None and devices < 1:
        raise UsageError(f"--devices {devices} is no number of processes: give 1 or more.")


def check_spread(spread: Spreading) -> None:
    """Refuse a number of processes that is not the present one.

    Raises:
        UsageError: Where a launcher has started another number.
    """
    _check_devices(spread.devices)
    if spread.devices not in (None, 1, launched().count):
        raise UsageError(f"--devices {spread.devices} was given to one of {launched().count} processes: leave it out.")


def is_first_start(folder: str | Path | None = None) -> bool:
    """Whether this process looks after the run's folder and has not been started again to go on with what is there.

    Args:
        folder: That of the run, if it is named: its launch may have begun it in an earlier start that another launcher counted.
    """
    launch = launched()
    begun = folder is not None and launch.name is not None and _is_of(launch.name, Path(folder))
    return launch.rank == 0 and not launch.restarts and not begun


def stop_launcher(code: int) -> None:
    """Let the launcher that would start this process again end all of them, after an exit code for which that is of no use.

    On each machine the first process does so, once it has said why; the others wait for the end, since a process that has ended
    before would be a reason to start all again. torchrun itself then ends with 1, whatever the code.

    Args:
        code: With which this process is about to end.
    """
    launcher = _launcher()
    if code not in FINAL or launcher is None:
        return
    if launched().local_rank:
        ends = time.monotonic() + _ENDED
        while os.getppid() == launcher and time.monotonic() < ends:
            time.sleep(0.05)
        return
    if os.environ.get(_LAUNCHER) == str(launcher):
        Path(os.environ[_CODE]).write_text(str(code), encoding="utf-8")
    os.kill(launcher, signal.SIGTERM)


def _launcher() -> int | None:
    """The process that would start this one again: that of ``--devices``, or torchrun's on this machine; None if none would."""
    parent = os.getppid()
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0":
        return None
    words = _text(Path(f"/proc/{parent}/cmdline")).replace("/", ".")
    known = os.environ.get(_LAUNCHER) == str(parent) or "torchrun" in words or "torch.distributed.run" in words
    return parent if known else None


def run_in_group(words: Sequence[str]) -> None:
    """Run a command in this process as one of several: the first one speaks, and an error of one is that of all.

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
    from pushforward.training.launching import joined, leave
    from pushforward.transports.shared_sampling import spreading

    processes = joined(device_named(_option(words, "--device") or "auto"))
    try:
        with processes.phase(f"pushforward {words[0]}", ends_together=True), spreading():
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
