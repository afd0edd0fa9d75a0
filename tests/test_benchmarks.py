"""Every benchmark runs as ``--smoke``, leaves nothing behind, and is listed with the time that it takes."""

import importlib
import json
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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


def test_a_smoke_run_removes_its_folder(protocol, monkeypatch, tmp_path):
    monkeypatch.setattr(protocol, "_smoking", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUSHFORWARD_CACHE", "elsewhere")
    with protocol.smoke():
        inside = Path.cwd()
        protocol.write("name", "Title", "text", [])
        assert sorted(path.name for path in (inside / "results").iterdir()) == ["name.json", "name.md"]
        assert tempfile.mkdtemp().startswith(str(inside))
    assert not inside.exists()
    assert Path.cwd() == tmp_path
    assert protocol.results() == protocol.RESULTS
    assert protocol.os.environ["PUSHFORWARD_CACHE"] == "elsewhere"


def test_rows_of_calls_that_run_at_once_are_all_kept(protocol):
    keep = importlib.import_module("tables").keep
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, [{"table": "magic", "model": "flow", "seed": seed, "as_published": 0.5} for seed in range(12)]))
    rows = json.loads((protocol.results() / "tables.json").read_text())["rows"]
    assert [row["seed"] for row in rows if row["table"] == "magic"] == list(range(12))
    page = (protocol.results() / "tables.md").read_text()
    assert re.search(r"\| flow \| 12 \|.* 0.5 ± 0 ", page)
    assert re.search(r"\| TabDiff, as published \| 5 \|.* 0.7732 ± 0.0278 ", page), "published values stand beside them"


def test_several_processes_are_placed_among_the_controls(protocol):
    """A control's distance is its largest one so far, and each control is compared with the others."""
    controls = [[0.001, 0.002], [0.002, 0.001], [0.008, 0.001]]
    beside = importlib.import_module("processes").among({"losses": {"2": [0.002, 0.004], "4": [0.01, 0]}, "controls": controls})
    assert beside["medians"] == pytest.approx({"2": 2, "4": 5})
    assert beside["within"] == {"2": 3, "4": 1}
    assert beside["pairs"] == 4


def test_the_table_comes_first_and_lists_every_benchmark():
    text = (BENCHMARKS / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[1].startswith("| file |")
    assert "time" in lines[1]
    listed = re.findall(r"^\| `(\w+)\.py` \|", text, re.M)
    assert sorted(listed) == NAMES


def test_benchmarks_refer_to_nothing_outside_of_the_repository():
    root = BENCHMARKS.parent
    pages = {path.name for path in [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *BENCHMARKS.rglob("*.md")]}
    for path in [*BENCHMARKS.rglob("*.py"), *BENCHMARKS.rglob("*.md")]:
        named = {name.split("/")[-1] for name in re.findall(r"[\w./-]+\.md\b", path.read_text())}
        assert named <= {"NAME.md", *pages}, path.name
        assert not re.search(r"\bMETHODS\b", path.read_text()), path.name
