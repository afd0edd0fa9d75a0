"""Help pages: grouped, one line for each verb, one style, defaults as numbers."""

import re
from pathlib import Path
from typing import Annotated

import pytest

import pushforward as pf
from pushforward import errors, recipes
from pushforward.cli import app, main
from pushforward.recipes.recipe import GROUPS, LOSS, options_of
from pushforward.registries import RECIPES


def page(capsys, *words):
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def panels(text):
    """Title -> lines of each panel, in order."""
    parts = re.split(r"^╭─ (.*?) ─*╮$", text, flags=re.M)[1:]
    return {
        title: [line.strip("│ ") for line in body.splitlines() if line.startswith("│")] for title, body in zip(*[iter(parts)] * 2)
    }


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_verbs_are_grouped_and_have_one_line_each(capsys):
    printed = panels(page(capsys))
    assert list(printed) == ["Train", "Use a run", "Inspect", "Other"]
    verbs = [line.split()[0] for title in list(printed)[:3] for line in printed[title]]
    assert sorted(verbs) == sorted(name for name in app if not name.startswith("-"))
    assert [verbs[0], verbs[6], verbs[13]] == ["train", "sample", "evaluate"]
    assert all(re.fullmatch(r"\w+ {2,}[A-Z].*\.", line) for title in list(printed)[:3] for line in printed[title])


def test_exit_codes_are_listed(capsys):
    codes = {str(kind.exit_code) for kind in vars(errors).values() if hasattr(kind, "exit_code")} | {"0", "75", "130"}
    printed = " ".join(page(capsys).split()).partition("Exit codes: ")[2]
    assert codes == set(re.findall(r"\b(\d+) \w", printed)) == {"0", "1", "2", "3", "4", "5", "6", "7", "75", "130"}
    listed = (Path(__file__).parents[1] / "docs" / "exit-codes.md").read_text()
    assert codes <= set(re.findall(r"\d+", " ".join(re.findall(r"^\| ([\d, ]+) \|", listed, re.M))))


@pytest.mark.parametrize("verb", sorted(name for name in app if not name.startswith("-") and name not in ("data", "list")))
def test_every_option_of_a_verb_is_in_a_group_and_explained(capsys, verb):
    printed = panels(page(capsys, verb))
    assert "Parameters" not in printed
    assert "Arguments" not in printed
    text = "\n".join(line for lines in printed.values() for line in lines)
    assert not re.search(r"default: (None|False|\(\)|\"\")", text)
    for argument in app[verb].assemble_argument_collection():
        if argument.parameter.show is not False and argument.parameter.parse is not False and argument.name.startswith("--"):
            assert re.search(rf"{argument.name}\b.*\w", text), argument.name


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_of_a_recipe_shows_its_options_in_groups(capsys, name):
    printed = panels(page(capsys, "train", name))
    own = [title for title in printed if title.startswith(f"{name}: ")]
    assert own == [f"{name}: {group}" for group in GROUPS if f"{name}: {group}" in own], "in the order of GROUPS, none without"
    shown = "\n".join(line for title in own for line in printed[title])
    options = recipes.settings(recipes.named(name))
    assert re.findall(r"^--([\w-]+)", shown, flags=re.M) != []
    assert set(re.findall(r"^--([\w-]+)", shown, flags=re.M)) == {option.replace("_", "-") for option in options}
    assert all(option.help and option.group in GROUPS for option in options.values())
    assert "None" not in shown
    assert {"Data", "Budget", "Training", "Output"} < printed.keys()


def test_options_are_read_from_a_signature():
    def recipe(
        space,
        size="small",
        *,
        module: pf.networks.MLP | None = None,
        width: int = 3,
        mixed: str | list = "a",
        level: int | str = 3,
        rate: Annotated[float | None, LOSS] = None,
        sharp: bool = True,
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

    options = options_of(recipe)
    assert {name: (o.kind, o.group, o.default, o.help) for name, o in options.items()} == {
        "width": (int, "", 3, "How wide, in numbers."),
        "mixed": (str, "", "a", ""),
        "level": (str, "", 3, ""),
        "rate": (float, "loss", None, "How fast."),
        "sharp": (bool, "", True, ""),
    }
