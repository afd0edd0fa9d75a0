"""The documentation's tutorial is one file; here it goes through everything the tutorial says."""

import shutil
from pathlib import Path

import pytest

from pushforward import plugins
from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.registries import PARTS

DOCS = Path(__file__).parents[1] / "docs"
TINY = ["--data", "moons", "--limit", "500", "--size", "tiny", "--batch", "64"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    import os

    folder, before = tmp_path_factory.mktemp("plugin"), os.getcwd()
    shutil.copy(DOCS / "examples" / "mine.py", folder / "mine.py")
    os.chdir(folder)
    os.environ["PUSHFORWARD_CACHE"] = str(folder / "cache")
    assert main(["train", "./mine.py", *TINY, "--steps", "4", "--latent-size", "8", "--out", "run"]) == 0
    yield folder
    os.chdir(before)


def test_the_tutorial_shows_the_file_itself():
    assert (DOCS / "examples" / "mine.py").read_text() in (DOCS / "add-a-method.md").read_text()


def test_a_file_without_a_recipe_says_so(here, capsys):
    (here / "empty.py").write_text("x = 1\n")
    assert main(["train", "./empty.py"]) == 2
    assert "exactly one recipe" in capsys.readouterr().err
    (here / "broken.py").write_text("import nothing_of_that_name\n")
    assert main(["train", "./broken.py"]) == 2
    assert "could not be run" in capsys.readouterr().err


def test_a_class_of_one_name_is_of_one_file(tmp_path, forget):
    forget()
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("class OwnNet:\n    tag = 1\n")
    second.write_text("class OwnNet:\n    tag = 2\n")
    plugins.load(first)
    with pytest.raises(UsageError, match=r"OwnNet.*belongs to a class of .*first\.py\. Rename it in .*second\.py"):
        plugins.load(second)
    assert PARTS["OwnNet"].tag == 1
    first.write_text("class OwnNet:\n    tag = 3\n")
    plugins.load(first)
    assert PARTS["OwnNet"].tag == 3, "a file that has changed replaces its own"
    first.write_text("class MLP:\n    pass\n")
    with pytest.raises(UsageError, match=r"MLP.*belongs to another class.*first\.py"):
        plugins.load(first)
    first.write_text("class OwnNet:\n    pass\n")
    plugins.load(first)
    assert PARTS["MLP"].__module__.startswith("pushforward.")
    forget()
