"""Planted faults: each is one wrong line in a copy of the package, and the named tests must fail on
it.

    python tests/faults.py [PART ...]

They stand in ``tests/planted``, by the file of the package that they change.
Runs all faults, or those of files whose path contains a PART, and prints which were caught. A fault
that survives means that a test is missing or proves nothing. This takes a while (a run of these
tests for each), so it is no part of `make test`.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
Fault = tuple[str, str, str]
"""What the line says, what it says with the fault, and the test modules that must notice, separated
by blanks.
"""


def collected() -> dict[str, list[Fault]]:
    """All faults, by the file of the package that they change.

    Raises:
        ValueError: If two modules of ``tests/planted`` name one file.
    """
    joined: dict[str, list[Fault]] = {}
    for path in sorted((ROOT / "tests" / "planted").glob("*.toml")):
        faults = tomllib.loads(path.read_text())
        if twice := joined.keys() & faults.keys():
            raise ValueError(
                f"{path.name} and another module name {', '.join(sorted(twice))}: keep the faults "
                "of a file together."
            )
        joined |= faults
    return joined


FAULTS = collected()


def main(parts: list[str]) -> int:
    """Plant every fault in turn, in two copies side by side; returns how many survived."""
    import pytest  # imported once, and torch: each fault is tested in a fork of this process
    import torch  # noqa: F401

    faults = [(file, fault) for file, several in FAULTS.items() for fault in several]
    faults = [
        (file, fault) for file, fault in faults if not parts or any(part in file for part in parts)
    ]
    waiting = iter(faults)
    survived = []
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / name for name in "ab"]
        for copy, part in itertools.product(copies, ("src", "tests", "benchmarks", "docs")):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for copy, file in itertools.product(copies, filter(Path.is_file, ROOT.iterdir())):
            shutil.copy(file, copy)

        def work(copy: Path) -> None:
            for file, fault in waiting:
                if not planted(copy, file, fault, pytest.main):
                    survived.append(fault)

        threads = [threading.Thread(target=work, args=(copy,)) for copy in copies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{len(survived)} of {len(faults)} survived")
    return len(survived)


def planted(copy: Path, file: str, fault: Fault, pytest_main: Callable[[list[str]], int]) -> bool:
    """Whether the tests fail with one fault in place."""
    right, wrong, modules = fault
    path = copy / "src" / "pushforward" / file
    started = time.perf_counter()
    text = path.read_text()
    if right not in text:
        print(f"GONE      {file}: {right!r} is not there any more", flush=True)
        return False
    try:
        if path.suffix == ".py":
            compile(text.replace(right, wrong, 1), file, "exec")
    except SyntaxError as error:
        print(f"BROKEN    {file}: {right!r} -> {wrong!r} is no Python: {error}", flush=True)
        return False
    path.write_text(text.replace(right, wrong, 1))
    try:
        caught, how = fails(copy, modules.split(), pytest_main)
    finally:
        path.write_text(text)
    seconds = time.perf_counter() - started
    print(
        f"{'caught' if caught else 'SURVIVED':9} {file}: {right!r} -> {wrong!r} ({seconds:.0f} s) "
        f"{how}",
        flush=True,
    )
    return caught


def fails(
    copy: Path, modules: list[str], pytest_main: Callable[[list[str]], int]
) -> tuple[bool, str]:
    """Whether any test of these modules fails, and which did first; a module that cannot be
    imported proves nothing.
    """
    words = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *(f"tests/test_{module}.py" for module in modules),
    ]
    output = copy / "output"

    def child() -> None:
        os.setsid()
        os.chdir(copy)
        os.environ |= {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
        sys.path[:0] = [str(copy / "src"), str(copy)]
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = pytest_main(words)
        sys.stdout.flush()
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(600)
    with contextlib.suppress(ProcessLookupError):  # what the tests started goes with them
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode is None or process.exitcode < 0:
        return True, "a test hangs or kills its process"
    first = [
        line
        for line in output.read_text().splitlines()
        if line.startswith(("FAILED tests", "ERROR tests"))
    ]
    imported = not any(line.startswith("ERROR") and "::" not in line for line in first)
    return process.exitcode == 1 and imported, first[0] if first else ""


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
