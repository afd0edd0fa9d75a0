"""Planted faults: each is one wrong line in a copy of the package, and the named tests must fail on it.

    python tests/faults.py [PART ...]

They stand in ``tests/planted``, by the file of the package that they change.
Runs all faults, or those of files whose path contains a PART, and prints which were caught. A fault that survives means that
a test is missing or proves nothing. This takes a while (a pytest run for each), so it is no part of `make test`.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
Fault = tuple[str, str, str]
"""What the line says, what it says with the fault, and the test modules that must notice, separated by blanks."""


def collected() -> dict[str, list[Fault]]:
    """All faults, by the file of the package that they change.

    Raises:
        ValueError: If two modules of ``tests/planted`` name one file.
    """
    joined: dict[str, list[Fault]] = {}
    for path in sorted((ROOT / "tests" / "planted").glob("*.py")):
        faults = runpy.run_path(str(path))["FAULTS"]
        if twice := joined.keys() & faults.keys():
            raise ValueError(
                f"{path.name} and another module name {', '.join(sorted(twice))}: keep the faults of a file together."
            )
        joined |= faults
    return joined


FAULTS = collected()


def main(parts: list[str]) -> int:
    """Plant every fault in turn; returns how many survived."""
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=lambda at, names: {*ignored(at, names), *["runs"] * (Path(at) == ROOT)})
        for file, faults in FAULTS.items():
            if not parts or any(part in file for part in parts):
                survived += sum(not planted(copy, file, fault) for fault in faults)
    print(f"{survived} survived")
    return survived


def planted(copy: Path, file: str, fault: Fault) -> bool:
    """Whether the tests fail with one fault in place."""
    right, wrong, modules = fault
    path, started = copy / "src" / "pushforward" / file, time.perf_counter()
    text = path.read_text()
    if right not in text:
        print(f"GONE      {file}: {right!r} is not there any more", flush=True)
        return False
    try:
        compile(text.replace(right, wrong, 1), file, "exec")
    except SyntaxError as error:
        print(f"BROKEN    {file}: {right!r} -> {wrong!r} is no Python: {error}", flush=True)
        return False
    path.write_text(text.replace(right, wrong, 1))
    try:
        caught, how = fails(copy, modules.split())
    finally:
        path.write_text(text)
    seconds = time.perf_counter() - started
    print(f"{'caught' if caught else 'SURVIVED':9} {file}: {right!r} -> {wrong!r} ({seconds:.0f} s) {how}", flush=True)
    return caught


def fails(copy: Path, modules: list[str]) -> tuple[bool, str]:
    """Whether any test of these modules fails, and which did first; a module that cannot be imported proves nothing."""
    tests = [f"tests/test_{module}.py" for module in modules]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "2", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return True, "a test hangs"
    first = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    imported = not any(line.startswith("ERROR") and "::" not in line for line in first)
    return done.returncode == 1 and imported, first[0] if first else ""


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
