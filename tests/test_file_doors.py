"""Files that are not what they seem or whose rights are missing, and users without a home."""

import contextlib
import csv
import io
import json
import os
import pwd
import signal
from urllib.parse import unquote

import numpy as np
import pytest
from programs.command_line import run as command

import pushforward as pf
from pushforward.cli import main
from pushforward.data.tables.imputation_io import GappyFile
from pushforward.errors import CheckpointError, DataError
from pushforward.evaluation.features import cache_folder
from pushforward.report import Report
from pushforward.testing import recipe_for, space_data

HANGING = 20
"""Seconds after which a reader counts as hanging."""


@pytest.fixture
def homeless(monkeypatch):
    """The user of a container: no home, no entry in the list of users, no folders of caches and data."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "PUSHFORWARD_CACHE", "PUSHFORWARD_DATA"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_user_without_a_home_evaluates_without_a_cache(here, homeless, capsys, monkeypatch, tmp_path):
    code, out, err = command(capsys, "evaluate", "rows", "--metrics", "energy", "--n", "5", "--repeats", "1")
    assert code == 0, err
    assert "nergy" in out
    assert not (here / "~").exists(), "a cache lies in a folder whose name is a tilde"
    with pytest.raises(DataError, match="PUSHFORWARD_DATA"):
        pf.data.load("mnist")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PUSHFORWARD_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept"


@contextlib.contextmanager
def interrupted():
    def hang(*_):
        raise AssertionError("the reader hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANGING)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


PIPED = {
    "data": lambda path: pf.data.load(path),
    "samples": lambda path: pf.evaluate(path, "moons"),
    "a table with gaps": GappyFile.read,
    "what was known of data": lambda path: main(["data", "check", "table.csv", "--target", "kind", "--against", str(path)]),
}


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        *(("data", f"x{ending}") for ending in (".csv", ".npy", ".npz", ".tar", ".parquet")),
        *(("data", "folder/x.tar"), ("samples", "x.csv"), ("a table with gaps", "x.csv"), ("what was known of data", "x.json")),
    ],
)
def test_a_pipe_is_refused_at_once(reader, name, here, tmp_path, capsys):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with interrupted():
        try:
            code = PIPED[reader](path.parent if "/" in name else path)
            words = capsys.readouterr().err
        except DataError as error:
            code, words = error.exit_code, str(error)
    assert code == DataError.exit_code
    assert path.name in words


def test_the_umask_decides_who_may_read_a_file(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    before = os.umask(0o027)
    try:
        run = pf.fit(recipe_for("flow", data), data, steps=1, out=tmp_path / "run", progress=False)
        pf.evaluate(run, data, repeats=1, metrics=["energy"])
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: mode for path, mode in modes.items() if mode != 0o640} == {}
    assert any(path.suffix == ".safetensors" for path in modes)
    assert any(path.parts[0] == "cache" for path in modes)


@pytest.mark.parametrize("name", ["average.safetensors", "MANIFEST.json"])
def test_a_file_that_may_not_be_read_is_not_damaged(name, tmp_path, monkeypatch):
    data, opened = space_data((2,), labels=False), os.open
    run = pf.fit(recipe_for("flow", data), data, steps=2, checkpoint_every=1, out=tmp_path / "run", progress=False)

    def refused(path, *given, **options):
        if str(path).endswith(f"step_000002/{name}"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **options)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(CheckpointError, match="permission") as caught:
        pf.load(run.folder)
    assert caught.value.before is None, "an older checkpoint is recommended"


def test_a_name_in_the_scores_is_no_formula(content):
    model = content["models"][0]
    model["name"], old = '=HYPERLINK("x")', model["name"]
    text = json.dumps(content).replace(json.dumps(old), json.dumps(model["name"]))
    page = Report(pf.Comparison.from_json(text)).to_html()
    file = unquote(page[page.index("data:text/csv") :].split('"')[0].partition(",")[2])
    rows = list(csv.DictReader(io.StringIO(file)))
    assert "'" + model["name"] in {row["model"] for row in rows}
    assert not [row["model"] for row in rows if row["model"][0] in "=+-@"]
    assert np.isfinite([float(row["value"]) for row in rows]).all(), "numbers stay numbers"
