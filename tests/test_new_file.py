"""A part of each kind in a file of its own, outside of the package: named, trained with, killed,
resumed, scored, reported.

The files are those of `docs/one-new-file.md` and `docs/add-a-method.md`. Plug-ins are forgotten
before each command, as in a new process.
"""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import plugins, spec
from pushforward.cli import main
from pushforward.data import Source, Split
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.registries import PARTS
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load
from pushforward.training.loop.trainer import Trainer

PAGES = [
    Path(__file__).parents[1] / "docs" / page for page in ("one-new-file.md", "add-a-method.md")
]
TEXT = "".join(page.read_text() for page in PAGES)
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))
SHORT = ["--size", "tiny", "--batch", "16", "--steps", "3", "--checkpoint-every", "1"]
FEW = ["--n", "40", "--repeats", "1"]


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with the files, in which commands cost little."""
    from pushforward.evaluation import comparison, costs, trajectories

    folder = tmp_path_factory.mktemp("new")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PUSHFORWARD_CACHE", str(folder / "cache"))
        patch.setattr(costs, "TURN_SECONDS", 0.01)
        patch.setattr(comparison, "CURVE_STEPS", (2,))
        patch.setattr(trajectories, "TRACED_SECONDS", 0.01)
        yield folder


@pytest.fixture
def run(here, forget, capsys):
    """Runs a command as a new process does: its exit code, stdout and stderr."""

    def command(*words):
        forget()
        code = main(list(words))
        return code, *capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def corners(here, forget):
    """A run on the data set of a file."""
    forget()
    code = main(["train", "flow", "--data", "./corners.py", *SHORT, "--out", "corners"])
    assert code == 0
    return "corners"


def killed_and_resumed(run, monkeypatch, out, train, plugins):
    """Train to the end, and again with a kill in the third step; both end in the same bits."""
    code, _, err = run(*train, *SHORT, "--out", out)
    assert code == 0, err
    longer = shlex.split(
        re.search("To continue: pushforward (.* --steps )2000(.*)", err).expand(r"\g<1>4\2")
    )
    step = Trainer.train_step

    def deadly(trainer, batch):
        if trainer.clock.step == 2:
            raise Killed
        return step(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", deadly)
        with pytest.raises(Killed):
            run(*train, *SHORT, "--out", f"{out}-cut")
    named = [word for file in plugins for word in ("--plugin", file)]
    code, _, err = run("resume", f"{out}-cut")
    assert code == 2
    assert f"--plugin {Path(plugins[0]).name}" in err
    code, _, err = run("resume", f"{out}-cut", *named)
    assert code == 0, err
    whole, cut = (load(latest(Path(folder) / "checkpoints")) for folder in (out, f"{out}-cut"))
    assert whole.state["step"] == cut.state["step"] == 3
    for group, tensors in whole.tensors.items():
        assert tensors
        assert all(
            torch.equal(tensor, cut.tensors[group][name]) for name, tensor in tensors.items()
        )
    code, _, err = run(*longer)
    assert code == 0, err
    return named


def test_a_data_set_is_one_file(run, corners, monkeypatch):
    listed = json.loads(run("data", "list", "--json", "--plugin", "./corners.py")[1])
    assert [entry["train"] for entry in listed if entry["name"] == "corners"] == [500]
    assert run("data", "check", "./corners.py")[1].startswith("name")
    named = killed_and_resumed(
        run, monkeypatch, "data", ["train", "flow", "--data", "./corners.py"], ["./corners.py"]
    )
    spec = json.loads(Path("data/spec.json").read_text())
    assert spec["data"]["name_or_path"] == "corners", "a name, since no path in a run is executed"
    code = run("sample", "data", "--n", "5", "--out", "data.csv", *named)[0]
    assert code == 0
    content = json.loads(run("evaluate", "data", *FEW, "--json", *named)[1])
    assert {"modes_held", "bridges"} <= content["models"][0]["scores"].keys(), "its truth is known"


def test_a_metric_is_one_file_and_compare_registers_it_by_itself(run, corners):
    scores = json.loads(run("list", "metrics", "--json", "--plugin", "./balance.py")[1])["balance"][
        "scores"
    ]
    assert scores == ["balance"]
    assert "balance" not in json.loads(run("list", "metrics", "--json")[1])
    named = ["--plugin", "./balance.py", "--plugin", "./corners.py"]
    content = json.loads(
        run("evaluate", corners, *FEW, "--metrics", "balance", "--json", *named)[1]
    )
    actual = content["models"][0]["scores"].keys()
    assert actual == {"balance"}
    code, out, err = run("compare", corners, *FEW, "--out", "balance-report", *named)
    assert code == 0, err
    page = Path("balance-report/report.html").read_text()
    report = json.loads(Path("balance-report/report.json").read_text())
    assert ">imbalance" in page
    assert 0 <= report["real_data_scores"]["balance"]["value"] <= 0.5
    assert "imbalance" in out.partition("Baseline")[0], (
        "its role is quality, and its priority comes first"
    )


def test_a_solver_is_one_file(run, monkeypatch):
    calls_per_step = json.loads(run("list", "solvers", "--json", "--plugin", "./ralston.py")[1])[
        "ralston"
    ]["calls_per_step"]
    assert calls_per_step == 2
    train = ["train", "flow", "--data", "ring", "--limit", "80", "--plugin", "./ralston.py"]
    named = killed_and_resumed(run, monkeypatch, "solved", train, ["./ralston.py"])
    code, out, _ = run(
        "sample",
        "solved",
        "--n",
        "5",
        "--solver",
        "ralston",
        "--steps",
        "2",
        "--json",
        "--out",
        "solved.csv",
        *named,
    )
    assert (code, json.loads(out)["calls_per_sample"]) == (0, 3), (
        "two calls a step, and one for the last"
    )
    content = json.loads(
        run("evaluate", "solved", *FEW, "--solver", "ralston", "--steps", "2", "--json", *named)[1]
    )
    assert content["models"][0]["scores"]["frechet"]["value"] is not None


def test_a_method_with_two_networks_and_a_teacher_is_one_file(run, corners, monkeypatch):
    train = [
        "train",
        "follower",
        "--plugin",
        "./follower.py",
        "--data",
        "./corners.py",
        "--teacher",
        corners,
    ]
    named = killed_and_resumed(run, monkeypatch, "taught", train, ["./follower.py", "./corners.py"])
    actual = json.loads(Path("taught/spec.json").read_text())["parts"].keys()
    assert actual == {"teacher"}
    code = run("sample", "taught", "--n", "5", "--out", "taught.csv", *named)[0]
    assert code == 0
    value = json.loads(run("evaluate", "taught", *FEW, "--json", *named)[1])["models"][0]["scores"][
        "frechet"
    ]["value"]
    assert value > 0


def test_a_method_whose_teacher_prepares_pairs_is_one_file(run, corners, monkeypatch):
    train = [
        "train",
        "reflow",
        "--plugin",
        "./reflow.py",
        "--data",
        "./corners.py",
        "--teacher",
        corners,
    ]
    named = killed_and_resumed(run, monkeypatch, "straight", train, ["./reflow.py", "./corners.py"])
    code = run("sample", "straight", "--n", "5", "--out", "straight.csv", *named)[0]
    assert code == 0
    assert (
        "frechet"
        in json.loads(run("evaluate", "straight", *FEW, "--json", *named)[1])["models"][0]["scores"]
    )


def test_a_file_that_has_gone_or_changed_is_not_run(run, corners, here):
    (here / "gone.py").write_text(FILES["corners.py"] + "print('ran')\n")
    code, _, err = run("resume", corners, "--plugin", "./nowhere.py")
    assert code == 2
    assert "./nowhere.py" in err
    code, out, err = run("resume", corners, "--plugin", "./gone.py")
    assert (code, out) == (4, "")
    assert "has changed since" in err


def test_a_format_is_one_file(run, here):
    np.savetxt(here / "some.dat", np.random.RandomState(0).standard_normal((30, 3)))
    code, _, err = run("data", "check", "./some.dat")
    assert code == 3
    assert ".data, .txt or .parquet." in err
    shape = json.loads(run("data", "check", "./some.dat", "--json", "--plugin", "./dat.py")[1])[
        "shape"
    ]
    assert shape == [3]
    shape = pf.data.load("some.dat", limit=7).train.x.shape
    assert shape == (7, 3)


def test_data_in_a_python_file_is_run_only_where_it_is_named(forget, here):
    forget()
    (here / "loud.py").write_text("raise SystemExit(1)\n")
    with pytest.raises(DataError, match="plugins="):
        pf.data.load("./loud.py")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "defines nothing"),
        (
            "from pushforward.data import Source\na = Source(name='digits', what='', shape=(2,), "
            "counts=(1, 1), read=None)\n",
            "digits",
        ),
        ("from pushforward import Recipe\ndef vae(space, size) -> Recipe: ...\n", "vae"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, forget, text, says):
    file = tmp_path / "file.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        plugins.load(file)
    forget()


DOCS = Path(__file__).parents[1] / "docs"
TINY = ["--data", "moons", "--limit", "500", "--size", "tiny", "--batch", "64"]


def test_the_tutorial_shows_the_file_itself():
    text = (DOCS / "examples" / "mine.py").read_text()
    assert text in (DOCS / "add-a-method.md").read_text()


def test_a_file_without_a_recipe_says_so(here, capsys):
    (here / "empty.py").write_text("x = 1\n")
    assert main(["train", "./empty.py"]) == 2
    assert "expected a recipe" in capsys.readouterr().err
    (here / "broken.py").write_text("import nothing_of_that_name\n")
    assert main(["train", "./broken.py"]) == 2
    assert "could not be run" in capsys.readouterr().err


def test_a_class_of_one_name_is_of_one_file(tmp_path, forget):
    forget()
    first = tmp_path / "first.py"
    second = tmp_path / "second.py"
    first.write_text("class OwnNet:\n    tag = 1\n")
    second.write_text("class OwnNet:\n    tag = 2\n")
    plugins.load(first)
    with pytest.raises(
        UsageError, match=r"OwnNet.*a class in .*first\.py\. Rename it in .*second\.py"
    ):
        plugins.load(second)
    assert PARTS["OwnNet"].tag == 1
    first.write_text("class OwnNet:\n    tag = 3\n")
    plugins.load(first)
    assert PARTS["OwnNet"].tag == 3, "a file that has changed replaces its own"
    first.write_text("class MLP:\n    pass\n")
    with pytest.raises(UsageError, match=r"MLP.*already used by a class.*first\.py"):
        plugins.load(first)
    first.write_text("class OwnNet:\n    pass\n")
    plugins.load(first)
    assert PARTS["MLP"].__module__.startswith("pushforward.")
    forget()


def test_a_source_whose_examples_have_another_shape_is_refused():
    source = Source(
        name="odd",
        what="",
        shape=(3,),
        counts=(2, 2),
        read=lambda download: (Split(np.eye(9, 2, dtype=np.float32)), None),
    )
    pf.data.register(source)
    with pytest.raises(DataError, match=r"\(2,\).*\(3,\)"):
        pf.data.load("odd")


def test_a_file_that_stands_for_one_part_holds_one(tmp_path, forget):
    file = tmp_path / "file.py"
    file.write_text(
        "from pushforward import Recipe\n"
        + "".join(f"def {name}(space) -> Recipe: ...\n" for name in ("a1", "a2"))
    )
    for kind, names in (("recipe", "'a1', 'a2'"), ("data set", "")):
        forget()
        with pytest.raises(UsageError, match=rf"must contain exactly one {kind}, .*\[{names}\]"):
            plugins.only(file, kind, "")
    forget()


NETWORK = """import torch


class OwnNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x, t, condition):
        return self.inner(torch.cat([x, t[:, None]], 1))
"""


def test_an_imported_class_is_that_of_its_plugin(here, forget, recwarn, monkeypatch):
    """Named for the run, or once for the process; another class of this name stays another one."""
    (here / "own_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(here)
    network = importlib.import_module("own_network").OwnNetwork
    points = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    options = {
        "steps": 1,
        "network": network(),
        "progress": False,
        "overwrite": True,
        "out": "own-network",
    }
    for named in (["own_network.py"], []):
        forget()
        if not named:
            plugins.load("own_network.py")
        recwarn.clear()
        run = pf.fit("flow", points, plugins=named, **options)
        assert not recwarn.list
        actual = pf.load("own-network").sample(3)
        assert torch.equal(actual, run.sample(3)), "the file was named before"
        forget()
        with pytest.raises(CheckpointError, match=r"own_network\.py"):
            pf.load("own-network")
        actual = pf.load("own-network", plugins=named or "own_network.py").sample(3)
        assert torch.equal(actual, run.sample(3))
    spec.register(type("OwnNetwork", (torch.nn.Module,), {}))
    assert spec.describe(network())["part"] == "your own OwnNetwork"
    forget()


def test_a_run_on_data_of_a_loaded_file_stores_the_file(here, forget):
    forget()
    plugins.load("corners.py")
    plugins.load("balance.py")
    run = pf.fit("flow", "corners", size="tiny", steps=1, out="loaded", overwrite=True)
    assert [plugin["file"] for plugin in run.spec["plugins"]] == ["corners.py"]
    forget()
