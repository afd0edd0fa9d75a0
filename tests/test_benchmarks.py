"""Every benchmark runs as ``--smoke``, leaves nothing behind, and is listed with the time that it takes."""

import importlib
import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "protocol")


def files():
    """When each file was written; folders aside, which change with the bytecode in them."""
    paths = [path for path in BENCHMARKS.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def protocol():
    """The shared module; all smoke runs of this file share one temporary folder, and so features and floors."""
    sys.path.insert(0, str(BENCHMARKS))
    module = importlib.import_module("protocol")
    with module.smoke():
        yield module
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_prints_a_table_and_writes_nowhere(name, protocol, capsys):
    before = files()
    importlib.import_module(name).main(["--smoke"])
    assert files() == before
    assert "| --- |" in capsys.readouterr().out, "it prints its table"


def test_the_table_comes_first_and_lists_every_benchmark():
    text = (BENCHMARKS / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[1].startswith("| file |")
    assert "time" in lines[1]
    listed = re.findall(r"^\| `(\w+)\.py` \|", text, re.M)
    assert sorted(listed) == NAMES
