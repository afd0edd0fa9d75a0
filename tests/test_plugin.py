"""The documentation's tutorial is one file; here it goes through everything the tutorial says."""

import json
import shutil
from pathlib import Path

import pytest

import pushforward as pf
from pushforward import plugins
from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.evaluation.models import commands
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


def test_its_settings_are_options(here):
    content = json.loads((here / "run" / "spec.json").read_text())
    assert content["method"]["latent"] == 8
    assert len(content["plugins"][0]["sha256"]) == 64


@pytest.mark.parametrize(
    "words",
    [
        ["resume", "run", "--steps", "6"],
        ["sample", "run", "--n", "5", "--out", "x.csv"],
        ["evaluate", "run", "--n", "100", "--repeats", "1"],
    ],
)
def test_a_run_of_a_file_needs_that_file_named(here, capsys, words):
    assert main(words) == 2
    assert "--plugin" in capsys.readouterr().err
    assert main([*words, "--plugin", "./mine.py"]) == 0


def test_what_to_do_next_names_the_file(here, capsys):
    assert main(["resume", "run", "--plugin", "./mine.py"]) == 0
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("next: pushforward sample run")
    assert line.endswith("--plugin ./mine.py") or line.endswith("--plugin mine.py")


def test_a_run_of_a_file_is_a_start_for_another(here, capsys):
    words = ["train", "./mine.py", *TINY, "--steps", "2", "--latent-size", "8", "--init", "run"]
    assert main([*words, "--out", "next"]) == 0
    newer = here / "newer.py"
    newer.write_text((here / "mine.py").read_text() + "\n# changed\n")
    words[1] = "./newer.py"
    assert main([*words, "--out", "newer"]) == 4
    assert main([*words, "--out", "newer", "--plugin", "./mine.py"]) == 2
    assert "belongs to a recipe of" in capsys.readouterr().err


def test_a_run_that_starts_from_another_stores_every_file_that_was_named(here):
    (here / "beside.py").write_text("class BesideNet:\n    pass\n")
    words = ["train", "flow", *TINY, "--steps", "1", "--plugin", "./beside.py"]
    assert main([*words, "--out", "before"]) == 0
    assert main([*words, "--init", "before", "--out", "after"]) == 0
    stored = json.loads((here / "after" / "spec.json").read_text())["plugins"]
    assert [Path(plugin["file"]).name for plugin in stored] == ["beside.py"]


def test_a_changed_file_is_refused(here, capsys):
    changed = here / "changed.py"
    changed.write_text((here / "mine.py").read_text() + "\nprint('ran')\n")
    assert main(["sample", "run", "--out", "y.csv", "--plugin", str(changed)]) == 4
    said = capsys.readouterr()
    assert "changed" in said.err
    assert "ran" not in said.out, "a file that does not match is not run"


def test_it_is_compared_with_the_built_in_ones(here, capsys):
    words = ["compare", "./mine.py", "flow", *TINY, "--steps", "4", "--repeats", "1", "--n", "100", "--out", "both", "--json"]
    assert main(words) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["models"]] == ["mine", "flow"]


def test_a_file_without_a_recipe_says_so(here, capsys):
    (here / "empty.py").write_text("x = 1\n")
    assert main(["train", "./empty.py"]) == 2
    assert "expected a recipe" in capsys.readouterr().err
    (here / "broken.py").write_text("import nothing_of_that_name\n")
    assert main(["train", "./broken.py"]) == 2
    assert "could not be run" in capsys.readouterr().err


OWN = '''
"""A VAE of one's own."""

import dataclasses

from pushforward import VAE, recipes


class OwnVAE(VAE):
    """The same under another name."""


def own(space, size="small") -> recipes.Recipe:
    """Its recipe."""
    made = recipes.vae(space, size)
    method = OwnVAE(made.method.encoder, made.method.decoder, space, latent=made.method.latent)
    return dataclasses.replace(made, method=method, name="own")
'''


def test_a_run_of_a_file_has_a_latent_space(here, capsys):
    (here / "own.py").write_text(OWN)
    assert main(["train", "./own.py", *TINY, "--steps", "2", "--out", "own"]) == 0
    words = ["train", "flow", *TINY, "--steps", "2", "--latent", "own", "--out", "latent"]
    assert main(words) == 2
    assert "--plugin" in capsys.readouterr().err
    assert main([*words, "--plugin", "./own.py"]) == 0
    again = commands(pf.load("latent", plugins=["./own.py"]))
    assert again[0].startswith("pushforward train flow ")
    assert again[0].count("--plugin") == 1
    assert main(["train", "./own.py", *TINY, "--steps", "2", "--latent", "own", "--out", "own-in-own"]) == 0
    assert commands(pf.load("own-in-own", plugins=["./own.py"]))[0].startswith("pushforward train ./own.py ")
    assert main(["sample", "latent", "--n", "3", "--out", "latent.csv", "--plugin", "./own.py"]) == 0


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
