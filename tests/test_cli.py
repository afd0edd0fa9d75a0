"""The command line as a person meets it: exit codes, messages, help and lists."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from programs.command_line import run

from pushforward.cli import main
from pushforward.evaluation.results import Comparison, ModelResult, Settings
from pushforward.metrics import Score, describe
from pushforward.report.text import text as as_text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "flow", "--stepz", "5"], 2, "--steps"),
        (["train", "flwo"], 2, 'Did you mean "flow"'),
        (["finish", "run"], 2, "pushforward train finish --help"),
        (["train", "flow", "--data", "digit"], 2, "digits"),
        (["train", "flow", "--data", "./none.csv"], 3, "none.csv"),
        (["train", "./none.py"], 2, "none.py"),
        (["train", "flow", "--size", "smal"], 2, "small"),
        (["train", "flow", "--network", "dti"], 2, "dit"),
        (["train", "flow", "--data", "moons", "--network", "unet"], 2, "needs images"),
        (["train", "flow", "--data", "moons", "--condition", "label", "--target", "x"], 2, "target"),
        (["train", "flow", "--data", "moons", "--augment", "flip"], 2, "for images"),
        (["train", "flow", "--steps", "many"], 2, "no count"),
        (["train", "flow", "--steps", "5", "--budget", "5s"], 2, "only one budget"),
        (["train", "gan", "--latent-size", "many"], 2, "needs a number"),
        (["train", "flow", "--device", "tpu"], 2, "device"),
        (["train", "flow", "--data", "table.csv", "--table", "no"], 3, "kind"),
        (["sample", "nothing"], 2, "There is no folder nothing."),
        (["sample", "flow", "--solver", "hein"], 2, "heun"),
        (["sample", "flow", "--steps", "0"], 2, "at least 1"),
        (["sample", "flow", "--out", "x.jpg"], 2, ".png"),
        (["sample", "flow", "--n", "0"], 2, "Must be >= 1"),
        (["sample", "flow", "--label", "eleven"], 2, "eleven"),
        (["sample", "flow", "--grid", "karas"], 2, "karras"),
        (["sample", "gan", "--steps", "5"], 2, "in one call"),
        (["data", "check", "digits", "--given", ""], 2, "--given names no column"),
        (["sample", "gan", "--out", "x.gif"], 2, "no steps"),
        (["sample", "flow", "--checkpoint", "step_9"], 2, "step_9"),
        (["sample", "flow", "--batch", "0"], 2, "batch must be at least 1"),
        (["sample", "flow", "--out", ".png"], 2, "no name"),
        (["sample", "flow", "--out", "gan", "--overwrite"], 2, "not overwritten"),
        (["sample", "flow", "--grid", "shifted:nan"], 2, "between 0.001 and"),
        (["sample", "flow", "--scale", "nan"], 2, "finite"),
        (["train", "gan", "--gamma", "nan"], 2, "gamma"),
        (["evaluate", "flow", "--n", "100000"], 2, "held"),
        (["evaluate", "flow", "--metrics", "frechett"], 2, "frechet"),
        (["compare"], 2, ""),
        (["compare", "gann"], 2, 'Did you mean "gan"'),
        (["compare", "./flow", "./rows"], 2, "examples of shape"),
        (["compare", "flow", "flow"], 2, "named twice"),
        (["compare", "vae", "--n", "100000"], 2, "held-out examples"),
        (["compare", "vae", "--repeats", "0"], 2, "--repeats"),
        (["compare", "./flow", "--steps", "5", "--size", "tiny"], 2, "--steps, --size cannot be used here"),
        (["compare", "./flow", "--limit", "50"], 2, "--limit cannot be used here"),
        (["compare", "./flow", "--out", "flow"], 2, "Choose another --out for the report"),
        (["train", "flow", "--out", "plain"], 2, "Choose another --out."),
        (["train", "flow", "digits"], 2, "--data digits"),
        (["train", "flow", "--budget", "3s,6s"], 2, "is no duration"),
        (["compare", "flow", "--budget", "3s,", "6s"], 2, "no space after a comma"),
        (["compare", "vae", "--budget", "3s", ",1.5h"], 2, "no space after a comma"),
        (["train"], 2, "needs RECIPE"),
        (["sample"], 2, "needs RUN"),
        (["train", "flow", "--data", "none.csv", "--stpes", "5"], 2, 'Did you mean "--steps"'),
        (["train", "flow", "--lr", "inf"], 2, "learning rate"),
        (["train", "gan", "--init", "flow", "--size", "tiny"], 2, "recipe flow there and gan here"),
        (["train", "flow", "--steps", "2m"], 2, '"2m" is no count; write 5000, 200k or 1M'),
        (["train", "flow", "--init", "flow", "--plugin", "./mnie.py"], 2, "./mnie.py"),
        (["evaluate", "flow", "--plugin", "./mnie.py"], 2, "./mnie.py"),
        (["evaluate", "gan", "--steps", "3"], 2, "in one call"),
        (["nonsense"], 2, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_message(here, capsys, words, code, says):
    before = sorted(os.listdir(here))
    exit_code, out, err = run(capsys, *words)
    assert (exit_code, out) == (code, ""), err
    assert says in err
    assert sorted(os.listdir(here)) == before, "a refused command leaves nothing behind"


def alone(commands, *absent):
    """Run commands in a process of their own, none of which imports these modules."""
    lines = ["import sys", "from pushforward.cli import main"]
    for words in commands:
        lines += [f"main({words})", f"assert not {set(absent)} & set(sys.modules), {words}"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_fast_to_import_and_complete(here):
    alone([["--help"], ["train", "--help"], [], ["list", "--help"]], "torch", "numpy")
    done = subprocess.run([sys.executable, "-m", "pushforward", "train", "--help"], capture_output=True, text=True)
    for option in ("--data", "--budget", "--size", "--condition", "--augment", "--precision", "--seed"):
        assert option in done.stdout
    assert len(done.stdout.splitlines()) <= 87


def test_bare_call_shows_five_examples(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert out.count("\n  pushforward") >= 5


def test_recipe_help_adds_its_settings(capsys):
    code, out, _ = run(capsys, "train", "gan", "--help")
    assert code == 0
    for option in ("--latent-size", "--loss", "--gamma"):
        assert option in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_comparison_is_readable_at_any_width(width):
    names = {"frechet": "Fréchet distance", "kid": "KID", "coverage": "Coverage", "sharpness": "Sharpness"}
    rows = [
        ModelResult(name, scores=dict.fromkeys(names, Score(value, 0.001)))
        for name, value in (("flow", 0.2), ("a run with a name that is far too long for any line of a terminal", 0.4))
    ]
    metrics = {metric: replace(describe()[metric], label=label) for metric, label in names.items()}
    floors = dict.fromkeys(names, Score(0.1, 0.001))
    text = as_text(Comparison(models=rows, metrics=metrics, floors=floors, settings=Settings(500)), True, width)
    assert max(map(len, text.splitlines())) <= width
    assert "best in Fréchet distance" in text
    for label in names.values():
        assert label in text
    assert re.search(r"flow +0.2000 ± 0.0010 [*]", text)


def test_listings_do_not_import_torch(here):
    alone([["list", "runs", "."], ["data", "list"], ["--help"]], "torch")


def test_a_damaged_run_is_a_row_of_the_list(here, capsys):
    for name, text in (("torn", '{"recipe": "fl'), ("odd", "[1, 2]"), ("old", '{"recipe": "flow", "data": 3}')):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "spec.json").write_text(text)
    code, out, _ = run(capsys, "list", "runs", ".")
    assert code == 0
    assert out.count("cannot be read") == 3
    assert re.match(r"run +recipe +data +checkpoint +unfinished\nbroken", out)
    assert "gan" in out
    assert len(json.loads(run(capsys, "list", "runs", "broken", "--json")[1])) == 3
    code, _, err = run(capsys, "list", "runs", "nowhere")
    assert (code, err) == (2, "error: There is no folder nowhere: name the one that holds runs.\n")
    shutil.rmtree("broken")


def test_data_check_lists_every_skipped_file(here, capsys):
    folder = here / "photos"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(folder / f"{i}.png")
    for i in range(9):
        (folder / f"bad{i}.png").write_bytes(b"no image")
    for more in ([], ["--json"]):
        code, out, err = run(capsys, "data", "check", "photos", *more)
        assert code == 3
        assert "9 of 29" in err
        assert all(f"bad{i}.png" in out for i in range(9))
    content = json.loads(out)
    assert [row["file"] for row in content["skipped"]] == [f"bad{i}.png" for i in range(9)]
    assert all(row["reason"] for row in content["skipped"])
    code, out, _ = run(capsys, "data", "check", "none.csv", "--json")
    assert code == 3
    assert "none.csv" in json.loads(out)["error"]


def test_help_is_a_verb(capsys):
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "sample") == run(capsys, "sample", "--help")


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), 6), (RuntimeError(), 1), (OSError(28, "No space"), 4)])
def test_every_error_has_a_line_and_a_code(here, capsys, monkeypatch, error, code):
    def fail(*args):
        raise error

    monkeypatch.setattr("pushforward.training.load", fail)
    monkeypatch.setattr("pushforward.data.listing", fail)
    exit_code, _, err = run(capsys, "data", "list")
    assert exit_code == code
    assert err.startswith("error: ")


def test_output_that_cannot_be_written_or_spelled(here, monkeypatch):
    call = [sys.executable, "-m", "pushforward"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*call, "data", "list"], stdout=full, stderr=subprocess.PIPE, text=True)  # imports no torch
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["list", "metrics"]) == 0
    assert b"Fr?chet" in written.getvalue()


def test_lists(here, capsys, monkeypatch):
    for words, name in (
        (["list", "recipes"], "edm"),
        (["list", "solvers"], "heun"),
        (["list", "metrics"], "frechet"),
        (["list", "runs", "."], "flow"),
        (["data", "list"], "swissroll"),
    ):
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert name in out
        assert json.loads(run(capsys, *words, "--json")[1])
    assert run(capsys, "data", "check", "table.csv", "--target", "kind")[0] == 0
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cores"] == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [f'{package} ; extra == "{name}"' for name, packages in extras.items() for package in packages]
    others = ["no-such-package>=1; extra == 'other'", "torch>=2 ; extra == 'here'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["torch>=2", *others, *wanted])
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert {name for name in facts if name.startswith("extra ")} == {f"extra {name}" for name in [*extras, "other", "here"]}
    assert facts["extra other"] == "missing no-such-package: pip install 'pushforward[other]'"
    assert facts["extra here"] == "installed"
    assert re.search(r"^cores: \d+\n+threads: \d+$", run(capsys, "doctor")[1], re.MULTILINE)


def test_data_check_counts_copies_of_rows(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(40)) * 3)
    assert json.loads(run(capsys, "data", "check", str(tmp_path / "rows.csv"), "--json")[1])["repeats"] == 80
    assert re.search(r"^repeats +80$", run(capsys, "data", "check", str(tmp_path / "rows.csv"))[1], re.MULTILINE)


def test_names_of_given_columns_hold_spaces(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,net income,b\n" + "".join(f"{i},{i % 7},{i % 9}\n" for i in range(40)))
    words = ["data", "check", str(tmp_path / "t.csv"), "--given", " net income, b ", "--json"]
    assert len(json.loads(run(capsys, *words)[1])["mean"]) == 1
    words[-2] = "net incom"
    assert run(capsys, *words)[0] != 0
