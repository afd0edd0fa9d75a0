"""Help pages, and streams that nobody reads or that are closed."""

import json
import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import pytest
from programs import forking

import pushforward as pf
from pushforward import errors, recipes
from pushforward.cli import app, main
from pushforward.recipes.recipe import GROUPS, LOSS, settings
from pushforward.registries import RECIPES
from pushforward.testing import recipe_for, space_data


def page(capsys, *words):
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def panels(text):
    """The lines of each box, by its title."""
    found = {}
    for line in text.splitlines():
        title = re.match(r"╭─ (.*?) ─*╮$", line)
        if title:
            lines = found[title[1]] = []
        elif line.startswith("│"):
            lines.append(line.strip("│ "))
    return found


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_exit_codes_are_listed(capsys):
    codes = {0, 75, 130}
    for kind in vars(errors).values():
        if hasattr(kind, "exit_code"):
            codes.add(kind.exit_code)
    assert codes == {0, 1, 2, 3, 4, 5, 6, 7, 75, 130}
    text = " ".join(page(capsys).split())
    _, _, printed = text.partition("Exit codes: ")
    assert codes == set(map(int, re.findall(r"\b(\d+) \w", printed)))
    listed = (Path(__file__).parents[1] / "docs" / "exit-codes.md").read_text()
    cells = re.findall(r"^\| ([\d, ]+) \|", listed, re.M)
    assert codes <= set(map(int, re.findall(r"\d+", " ".join(cells))))


VERBS = {name for name in app if not name.startswith("-")} - {"data", "list"}


def shown_options(verb):
    for argument in app[verb].assemble_argument_collection():
        hidden = argument.parameter.show is False or argument.parameter.parse is False
        if argument.name.startswith("--") and not hidden:
            yield argument.name


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_of_a_verb_is_in_a_group_and_explained(capsys, verb):
    printed = panels(page(capsys, verb))
    assert "Parameters" not in printed
    assert "Arguments" not in printed
    text = "\n".join(chain(*printed.values()))
    assert not re.search(r"default: (None|False|\(\)|\"\")", text)
    for name in shown_options(verb):
        assert re.search(rf"{name}\b.*\w", text), name


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_of_a_recipe_shows_its_options_in_groups(capsys, name):
    printed = page(capsys, "train", name)
    assert {"Data", "Budget", "Training", "Output"} < panels(printed).keys()
    own = printed[printed.rindex("╯") :]
    titles = re.findall(rf"^{name}: ([\w ]+)$", own, flags=re.M)
    assert titles == [group for group in GROUPS if group in titles], "in their order, none without"
    options = recipes.settings(recipes.named(name))
    names = set(re.findall(r"^--([\w-]+)", own, flags=re.M))
    expected = {option.replace("_", "-") for option in options}
    assert names == expected
    assert all(option.help and option.group in GROUPS for option in options.values())
    assert "None" not in own


def test_options_are_read_from_a_signature():
    def recipe(
        space,
        size="small",
        *,
        module: pf.networks.MLP | None = None,
        width: int = 3,
        level: int | str = 3,
        rate: Annotated[float | None, LOSS] = None,
        many: list | None = None,
    ) -> pf.Recipe:
        """A recipe.

        Args:
            width: How wide,
                in numbers.
            rate: How fast.

        References:
            rate: None of these.
        """

    found = {}
    for name, option in settings(recipe).items():
        found[name] = (option.kind, option.group, option.default, option.help)
    assert found == {
        "width": (int, "", 3, "How wide, in numbers."),
        "level": (str, "", 3, ""),
        "rate": (float, "loss", None, "How fast."),
    }


TRAIN = "train flow --data moons --size tiny --steps 3 --batch 32 --out run"
LOST = """
import os, sys
from pathlib import Path
from pushforward.cli import main
reading, writing = os.pipe()
os.close(reading)
for number in {broken}:
    os.dup2(writing, number)
for number in {closed}:
    os.close(number)
sys.stdout = None if 1 in {closed} else open(1, "w", closefd=False)
sys.stderr = None if 2 in {closed} else open(2, "w", closefd=False)
code = main("{words}".split())
for number in {closed}:
    assert os.path.samestat(os.fstat(number), os.stat(os.devnull)), "another file took the number"
Path("code").write_text(str(code))
"""


@pytest.mark.parametrize(("broken", "closed"), [((1, 2), ()), ((2,), (1,)), ((), (1, 2))])
def test_a_training_is_finished_whether_anybody_reads_of_it(broken, closed, tmp_path):
    program = LOST.format(broken=broken, closed=closed, words=TRAIN)
    done = forking.run(program, cwd=tmp_path)
    assert (tmp_path / "code").read_text() == "0", done.stderr
    latest = json.loads((tmp_path / "run/checkpoints/latest.json").read_text())
    assert latest["checkpoint"] == "step_000003"


@pytest.mark.parametrize("words", [["data", "list"], ["--help"]])
def test_a_list_that_is_read_in_part_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    call = [sys.executable, "-m", "pushforward", *words]
    done = subprocess.run(call, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_bug(closed):
    command = f'"{sys.executable}" -m pushforward data list {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class Broken:
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError

    def isatty(self):
        return False


@pytest.mark.parametrize("stream", [None, Broken()])
def test_progress_that_nobody_reads_does_not_stop_a_training(stream, monkeypatch, tmp_path, capsys):
    data = space_data((2,), labels=False)
    monkeypatch.setattr(sys, "stderr", stream)
    recipe = recipe_for("flow", data)
    run = pf.fit(recipe, data, steps=2, out=tmp_path / "run", progress=pf.Progress(interval=0.0))
    assert run.state["step"] == 2
    run = pf.resume(run.folder, data=data, steps=3)
    assert run.state["step"] == 3
    assert capsys.readouterr().out == ""
