"""The command lines that train a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushforward.files import read_object
from pushforward.training import Run

__all__ = ["commands", "commands_of", "reading_options"]

LISTS = ("given", "columns", "drop", "missing")
"""Options of `pushforward.data.load` that are lists; words between commas on the command line."""


def commands(run: Run) -> list[str]:
    """The command lines that train this run again, one more for each extension of its budget.

    Where no command line can, because the recipe or the data came from Python, a comment says where the settings are.
    """
    return commands_of(run.folder, run.spec, _out(run)) or [
        f"# {run.folder} was trained from Python; its settings are in {run.folder}/spec.json"
    ]


def _out(run: Run) -> Path | None:
    """The run's folder, for the option --out; None where training makes that folder by itself, or a comparison did."""
    source, trained_by = run.spec.get("data") or {}, str(read_object(run.folder / "manifest.json").get("command"))
    usual = Path("runs") / f"{Path(str(source.get('name_or_path'))).stem or 'data'}-{run.spec['recipe']}"
    return None if run.folder.resolve() == usual.resolve() or trained_by.startswith("pushforward compare ") else run.folder


def commands_of(folder: Path, spec: Mapping[str, Any], out: Path | None = None) -> list[str]:
    """The command lines that train a run of this specification; none where the recipe or the data came from Python.

    Args:
        folder: The run's.
        spec: Its specification (`pushforward.training.Run.spec`).
        out: The folder for the new run; None for the default. Ignored where the budget was extended: then FOLDER-again.
    """
    source = spec.get("data") or {}
    if spec.get("asked") is None or not _readable(source):
        return []
    files = [plugin["file"] for plugin in spec.get("plugins") or ()]
    others = {Path(path) for path in spec["asked"].get("plugin") or ()}
    own = next((file for file in files if Path(file) not in others), None)
    budgets = [*(extension["budget"] for extension in spec.get("extended", [])), spec["budget"]]
    words = ["pushforward train", shlex.quote(own or spec["recipe"]), "--data", shlex.quote(source["name_or_path"])]
    schema = shlex.quote(f"{folder}-schema.json") if source.get("schema") else ""
    out = Path(f"{folder}-again") if len(budgets) > 1 else out
    again = shlex.quote(str(out))
    words += [_amount(budgets[0]), *reading_options(source), *([f"--schema {schema}"] if schema else [])]
    words += [*_options(spec["asked"]), *_options(_settings(spec)), *_options({"out": out})]
    named = "".join(f" --plugin {shlex.quote(file)}" for file in files)
    before = [f"printf %s {shlex.quote(_on_one_line(source['schema']))} > {schema}"] if schema else []
    return [*before, " ".join(words), *(f"pushforward resume {again} {_amount(budget)}{named}" for budget in budgets[1:])]


def _readable(source: Mapping[str, Any]) -> bool:
    """Whether the command line can read the same examples: it makes squares, limits by seed 0, and parts lists at commas."""
    height, width = source.get("resize") or (0, 0)
    listed = [word for name in LISTS for word in source.get(name) or ()]
    return "name_or_path" in source and height == width and not source.get("seed") and not any("," in word for word in listed)


def _on_one_line(schema: Mapping[str, Any]) -> str:
    """A schema as JSON without two blanks in a row, since a report joins the words of a command by single blanks."""
    return json.dumps(schema).replace("  ", r" \u0020")


def reading_options(source: Mapping[str, Any]) -> list[str]:
    """The options that say how a run's data was read, as words of a command line; a schema, which is a file, is none of them.

    Args:
        source: The arguments of `pushforward.data.load`.
    """
    condition = {True: "label", False: "none", None: None}[source.get("labelled")]
    resize = source["resize"][0] if "resize" in source else None
    yes = {True: "yes", False: "no", None: None}
    reading = {"target": source.get("target"), **{name: ",".join(source[name]) for name in LISTS if source.get(name)}}
    reading |= {"header": yes[source.get("header")], "resize": resize, "limit": source.get("limit"), "condition": condition}
    return _options({**reading, "constraint": source.get("constraints"), "table": yes[source.get("table")]})


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    augment, every = ",".join(spec["augment"]) or None, spec["checkpoint_every"]
    return {"augment": augment, "checkpoint-every": every, "init": spec.get("init"), "seed": spec["seed"]}


def _options(given: Mapping[str, Any]) -> list[str]:
    each = ((name, element) for name, value in given.items() for element in (value if isinstance(value, list) else [value]))
    return [f"--{name} {shlex.quote(str(value))}" for name, value in each if value is not None]


def _amount(budget: Mapping[str, Any]) -> str:
    """A budget as an option, with all of its digits."""
    options = {"steps": "--steps {}", "samples": "--samples {}", "seconds": "--budget {}s"}
    name = next(name for name in options if budget.get(name) is not None)
    return options[name].format(repr(budget[name]).removesuffix(".0"))
