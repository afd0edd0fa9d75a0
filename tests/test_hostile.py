"""Runs that somebody else has sent, files that are not what they seem, and users without a home."""

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
from programs import forking
from programs.command_line import run as command

import pushforward as pf
from pushforward import files
from pushforward.cli import main
from pushforward.data.core import named_set
from pushforward.errors import CheckpointError, DataError
from pushforward.evaluation.features import cache_folder
from pushforward.report import Report
from pushforward.tables.reading.csv_dialect import read_known
from pushforward.testing import recipe_for, space_data
from pushforward.training.runs import folder as folders, provenance
from pushforward.training.runs.provenance import data_of_run

ATTACKS = """
import json, os
from pathlib import Path
os.environ["PUSHFORWARD_DATA"] = os.devnull
from programs import hostile, hostile_specs
from programs.hostile_cases import CASES, HARMLESS
base = Path({folder!r})
hostile.small_run(base / "run")
chosen, words = [], set()
for name in CASES:  # every kind of damage and every file, if not each with each
    new = set(name.split(": ")) - words
    if new and not (name in HARMLESS and name.split(": ")[0] in words):
        chosen.append(name)
        words |= new
result = {{name: hostile.outcome(base / "run", base / "case", CASES[name]) for name in chosen}}
print(json.dumps({{"harmless": sorted(HARMLESS), "result": result}}))
"""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    done = forking.run(ATTACKS.format(folder=str(tmp_path_factory.mktemp("hostile"))))
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout.splitlines()[-1])
    return content["result"], set(content["harmless"])


def test_hostile_runs_are_refused_and_nothing_else_is_raised(attacked):
    outcomes, harmless = attacked
    assert len(outcomes) > 50
    assert {name: outcome["fault"] for name, outcome in outcomes.items() if outcome["fault"]} == {}
    assert [
        name
        for name, outcome in outcomes.items()
        if not outcome["messages"] and name not in harmless
    ] == []


def test_hostile_runs_execute_nothing_and_touch_nothing_outside(attacked):
    outcomes, _ = attacked
    assert {
        name: outcome["touched"] for name, outcome in outcomes.items() if outcome["touched"]
    } == {}


def test_hostile_runs_cost_little(attacked):
    """A reader that waits for ever is interrupted after a minute, and raises."""
    outcomes, _ = attacked
    assert {
        name: outcome["peak"] for name, outcome in outcomes.items() if outcome["peak"] > 400
    } == {}


OFFLINE = """
import socket, tempfile
def refused(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refused
import pushforward as pf
from pushforward.testing import recipe_for, space_data
data = space_data((2,), labels=False)
recipe, out = recipe_for("flow", data), tempfile.mkdtemp() + "/run"
run = pf.fit(recipe, data, steps=2, out=out, progress=False)
run.sample(2)
pf.evaluate(run, data, repeats=1, metrics=["energy"])
"""


def test_training_sampling_and_evaluating_open_no_socket():
    done = forking.run(OFFLINE)
    assert done.returncode == 0, done.stderr


def test_json_is_strict():
    for text in ("[" * 100_000 + "]" * 100_000, "NaN", '{"a": 1, "a": 2}'):
        with pytest.raises(ValueError, match=r"nested|finite|twice"):
            files.parse_json(text)


def test_a_folder_starts_no_download(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        provenance,
        "read_data",
        lambda place, options: asked.append(options) or space_data((2,), labels=False),
    )
    with pytest.raises(DataError, match="changed"):
        data_of_run(
            tmp_path,
            {"data": {"name_or_path": "mnist", "download": True, "limit": 3}, "fingerprint": ""},
        )
    assert asked == [{"name_or_path": "mnist", "limit": 3, "rare": "keep"}]


def test_a_run_may_be_reached_through_a_link_and_hold_links_of_the_user(tmp_path):
    run = tmp_path / "run"
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, steps=1, out=tmp_path / "disk", progress=False)
    assert {path.name for path in (tmp_path / "disk").iterdir()} <= set(folders.ENTRIES)
    run.symlink_to(tmp_path / "disk")
    (run / "notes").symlink_to("nowhere")
    step = pf.resume(run, data=data, steps=2, progress=False).state["step"]
    assert step == 2
    (tmp_path / "disk" / "checkpoints" / "inner").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="inner cannot be read"):
        pf.load(run)


HANGING = 20
"""Seconds after which a reader counts as hanging."""


@pytest.fixture
def homeless(monkeypatch):
    """The user of a container: no home, no entry in the list of users, no folders of caches and
    data.
    """
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "PUSHFORWARD_CACHE", "PUSHFORWARD_DATA"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_user_without_a_home_evaluates_without_a_cache(
    here, homeless, capsys, monkeypatch, tmp_path
):
    code, out, err = command(
        capsys, "evaluate", "rows", "--metrics", "energy", "--n", "5", "--repeats", "1"
    )
    assert code == 0, err
    assert "nergy" in out
    assert not (here / "~").exists(), "a cache lies in a folder whose name is a tilde"
    with pytest.raises(DataError, match="PUSHFORWARD_DATA"):
        pf.data.load("mnist")
    with pytest.raises(DataError, match="no home"):
        named_set.folder()
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
    "a table with gaps": read_known,
    "what was known of data": lambda path: main(
        ["data", "check", "table.csv", "--target", "kind", "--against", str(path)]
    ),
}


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        *(("data", f"x{ending}") for ending in (".csv", ".npy", ".npz", ".tar", ".parquet")),
        *(
            ("data", "folder/x.tar"),
            ("samples", "x.csv"),
            ("a table with gaps", "x.csv"),
            ("what was known of data", "x.json"),
        ),
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
            code = error.exit_code
            words = str(error)
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
    modes = {
        path.relative_to(tmp_path): path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert {path: mode for path, mode in modes.items() if mode != 0o640} == {}
    assert any(path.suffix == ".safetensors" for path in modes)
    assert any(path.parts[0] == "cache" for path in modes)


@pytest.mark.parametrize("name", ["average.safetensors", "MANIFEST.json"])
def test_a_file_that_may_not_be_read_is_not_damaged(name, tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    opened = os.open
    run = pf.fit(
        recipe_for("flow", data),
        data,
        steps=2,
        checkpoint_every=1,
        out=tmp_path / "run",
        progress=False,
    )

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
