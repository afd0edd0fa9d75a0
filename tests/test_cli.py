"""The command line as a person meets it: exit codes, messages, help and lists."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from programs.command_line import run

from pushforward.cli import main


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "flow", "--stepz", "5"], 2, "--steps"),
        (["train", "flwo"], 2, 'Did you mean "flow"'),
        (["finish", "run"], 2, "pushforward train finish --help"),
        (["train", "flow", "--data", "digit"], 2, "digits"),
        (["train", "flow", "--data", "moons", "--network", "unet"], 2, "needs images"),
        (["train", "flow", "--steps", "5", "--budget", "5s"], 2, "only one budget"),
        (["train", "gan", "--latent-size", "many"], 2, "needs a number"),
        (["train", "flow", "--data", "table.csv", "--table", "no"], 3, "kind"),
        (["sample", "nothing"], 2, "There is no folder nothing."),
        (["sample", "flow", "--solver", "hein"], 2, "heun"),
        (["sample", "flow", "--out", "x.jpg"], 2, ".png"),
        (["sample", "flow", "--n", "0"], 2, "Must be >= 1"),
        (["sample", "gan", "--steps", "5"], 2, "in one call"),
        (["data", "check", "digits", "--given", ""], 2, "--given names no column"),
        (["sample", "flow", "--out", "gan", "--overwrite"], 2, "not overwritten"),
        (["train", "gan", "--gamma", "nan"], 2, "gamma"),
        (["evaluate", "flow", "--n", "100000"], 2, "held"),
        (["evaluate", "flow", "--metrics", "frechett"], 2, "frechet"),
        (["compare", "gann"], 2, 'Did you mean "gan"'),
        (["compare", "./flow", "./rows"], 2, "examples of shape"),
        (["compare", "flow", "flow"], 2, "named twice"),
        (["compare", "./flow", "--steps", "5", "--size", "tiny"], 2, "--steps, --size cannot be used here"),
        (["train", "flow", "--out", "plain"], 2, "Choose another --out."),
        (["train", "flow", "digits"], 2, "--data digits"),
        (["train"], 2, "needs RECIPE"),
        (["train", "flow", "--data", "none.csv", "--stpes", "5"], 2, 'Did you mean "--steps"'),
        (["train", "gan", "--init", "flow", "--size", "tiny"], 2, "recipe flow there and gan here"),
        (["train", "flow", "--steps", "2m"], 2, '"2m" is no count; write 5000, 200k or 1M'),
        (["evaluate", "flow", "--plugin", "./mnie.py"], 2, "./mnie.py"),
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
    alone([["list", "runs", "."], ["data", "list"]], "torch")
    done = subprocess.run([sys.executable, "-m", "pushforward", "train", "--help"], capture_output=True, text=True)
    for option in ("--data", "--budget", "--size", "--condition", "--augment", "--precision", "--seed"):
        assert option in done.stdout


def test_a_damaged_run_is_a_row_of_the_list(here, capsys):
    for name, text in (("torn", '{"recipe": "fl'), ("odd", "[1, 2]"), ("old", '{"recipe": "flow", "data": 3}')):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "spec.json").write_text(text)
    code, out, _ = run(capsys, "list", "runs", ".")
    assert (code, out.count("cannot be read")) == (0, 3)
    shutil.rmtree("broken")


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
    extras = ["no-such-package>=1; extra == 'other'", "torch>=2 ; extra == 'here'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["torch>=2", *extras])
    facts = json.loads(run(capsys, "doctor", "--json")[1])
    assert facts["threads"] == torch.get_num_threads()
    assert facts["extra other"] == "missing no-such-package: pip install 'pushforward[other]'"
    assert facts["extra here"] == "installed"
