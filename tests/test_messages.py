"""Messages of the library name Python arguments; the command line says them as its options."""

import ast
import functools
import re
from pathlib import Path

import pytest

import pushforward
from pushforward import recipes
from pushforward.cli import app
from pushforward.cli.options import _NAMES, as_options
from pushforward.registries import RECIPES

ROOT = Path(pushforward.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent.name not in ("cli", "testing")]
OPTION = re.compile(r'(?<![\w"-])--[a-z]')
COMMANDS = {
    "evaluation/models.py": ("commands",),
    "plugins.py": ("plugin_options",),
    "training/loop/budget.py": ("__str__",),
    "samples.py": ("tuning",),
    "training/tuned.py": ("_which",),
}
"""Functions that write command lines."""


@functools.cache
def texts(path):
    """(line, text) of every string that is no docstring; what an f-string fills in is {}."""
    return list(_texts(path, ast.parse(path.read_text())))


def _texts(path, tree):
    writers = COMMANDS.get(path.relative_to(ROOT).as_posix(), ())
    skipped = {id(part) for node in ast.walk(tree) if getattr(node, "name", None) in writers for part in ast.walk(node)}
    skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_message_of_the_library_names_an_option(path):
    named = [(line, text) for line, text in texts(path) if OPTION.search(re.sub(r"(pushforward \w+|pip install).*", "", text))]
    assert not named, "name the Python argument between backticks, `resize=32`; the command line says --resize 32"


def options():
    settings = {name for recipe in RECIPES.values() for name in recipes.settings(recipe)}
    arguments = {part.name.lstrip("-") for verb in app if not verb.startswith("-") for part in arguments_of(app[verb])}
    return settings | {name.replace("-", "_") for name in arguments} | set(_NAMES) | {"labelled"}


def arguments_of(verb):
    inner = [name for name in verb if not name.startswith("-")]
    return (
        verb.assemble_argument_collection()
        if not inner
        else [argument for name in inner for argument in arguments_of(verb[name])]
    )


def test_every_argument_that_a_message_names_is_an_option():
    known = options()
    for path in FILES:
        for line, text in texts(path):
            for name in re.findall(r"`([a-z][a-z_]*)(?:=[^`\n]*)?`", text):
                assert name in known, f"{path.name}, line {line}: `{name}`"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Choose another `out`, or add `overwrite=True`.", "Choose another --out, or add --overwrite."),
        ("Give `steps`, `samples` or `seconds`.", "Give --steps, --samples or --budget."),
        ('Make it the label: `target="my kind"`.', "Make it the label: --target 'my kind'."),
        ("Name it: `plugins=[./mine.py]`.", "Name it: --plugin ./mine.py."),
        ("Use `checkpoint_every=5` or `header=False`.", "Use --checkpoint-every 5 or --header no."),
        (
            "`pushforward data check` lists them; so does `interpolate`.",
            "`pushforward data check` lists them; so does `interpolate`.",
        ),
    ],
)
def test_arguments_become_options(said, expected):
    assert as_options(said) == expected
