"""Convert command-line arguments to data, conditions, budgets, devices and recipes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.arguments import given_in
from pushforward.cli.options import (
    ALL_DATA,
    Budgeting,
    Changes,
    Reading,
    app,
    as_options,
    say,
    unknown_option,
)
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.training import Run

YES_NO = {"yes": True, "true": True, "no": False, "false": False}
_SHOWN = 10


def typed_options(group: Any) -> dict[str, Any]:
    """Return the given options of a group by their names on the command line."""
    return {
        f"--{name.replace('_', '-')}": value
        for name, value in asdict(group).items()
        if value not in (None, "", False, ())
    }


def numbers(option: str, text: str, count: int, kind: type = int, separator: str = ",") -> Any:
    """Parse a number of numbers of an option."""
    try:
        values = tuple(map(kind, text.split(separator)))
    except ValueError:
        values = ()
    if len(values) != count:
        raise UsageError(
            f'{option} takes {count} numbers separated by "{separator}", got "{text}".'
        )
    return values


def options_of(verb: str) -> set[str]:
    """Return a verb's options as Python arguments, such as latent_size for --latent-size."""
    names = set()
    for argument in app[verb].assemble_argument_collection():
        for name in argument.names:
            names.add(name.lstrip("-").replace("-", "_"))
    return names


def python_files(*names: str) -> list[str]:
    """Select the names of Python files."""
    return [name for name in names if name.endswith(".py")]


def load_plugins(files: Iterable[str]) -> None:
    """Register the parts of plug-ins."""
    from pushforward import plugins

    for file in files:
        plugins.load(file)


def data_file(data: str, files: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the data's name and the plug-ins; a Python file stands for its data set."""
    from pushforward import plugins

    if not data.endswith(".py") or not Path(data).is_file():
        return data, tuple(files)
    name = plugins.only(data, "data set", "a Source")
    if any(Path(file) == Path(data) for file in files):
        return name, tuple(files)
    return name, (*files, data)


def settings_of(name: str, settings: dict[str, str], options: Iterable[str] = ()) -> dict[str, Any]:
    """Convert a recipe's own settings, before any data is read."""
    from pushforward import recipes

    known = recipes.settings(recipes.named(name))
    values = {}
    for option, text in settings.items():
        key = option.replace("-", "_")
        if key not in known:
            raise UsageError(unknown_option(option, (*options, *known), f"train {name}"))
        if not text:
            raise UsageError(f"--{option} needs a value. See: pushforward train {name} --help")
        kind = known[key].kind
        wanted = "yes or no" if kind is bool else "a number"
        try:
            values[key] = YES_NO[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise UsageError(f'--{option} needs {wanted}, got "{text}".') from None
    return values


def recipe_of(
    name: str,
    data: Dataset,
    size: str,
    values: dict[str, Any],
    changes: Changes,
    seed: int,
    runs: Mapping[str, str] | None = None,
    **latent: Any,
) -> Any:
    """Build a recipe with its own settings, frozen networks, training settings and latent space.

    The run named "latent" provides the latent space.
    """
    from pushforward import recipes
    from pushforward.paths import Source
    from pushforward.training import in_latent, with_frozen
    from pushforward.training.loop.machine import seeded

    parts = dict(runs or {})
    coder = parts.pop("latent", None)
    function = recipes.named(name)
    own_name = function.__name__  # a file's recipe may build on one with another name
    missing = recipes.missing_parts(function, parts)
    if missing:
        how = "--teacher RUN" if missing[0] == "teacher" else f"--frozen {missing[0]}=RUN"
        raise UsageError(
            f"The recipe {own_name} needs a trained run: pushforward train {name} {how}. "
            "Then pass its run to compare."
        )
    if parts:
        function = with_frozen(name, parts)
    if values.get("source") is not None and Source in recipes.settings(function)["source"].types:
        origin = data.origin or {}
        source = Source(values["source"], data.space, origin.get("limit"), origin.get("seed", 0))
        values = {**values, "source": source}

    def build() -> Any:
        if coder is None:
            return function(data.space, size, **values)
        say(f"encoding {len(data.train):,} examples with {coder} ...")
        return in_latent(function, data, coder, size, **latent, **values)

    recipe = seeded(build, seed)
    return replace(recipe, name=own_name, training=recipe.training.changed(**changes.of_training()))


def training_options(
    recipe: str, size: str, changes: Changes, files: Sequence[str]
) -> dict[str, Any]:
    """Return arguments of `pushforward.training.api.prepare` by given options and plug-ins."""
    others = [file for file in files if Path(file) != Path(recipe)]
    asked = {"size": size, **changes.of_training()}
    if others:
        asked["plugin"] = others
    plugins = [*python_files(recipe), *others]
    return {"plugins": plugins, "augment": changes.augment, "asked": asked}


def amounts(budgeting: Budgeting, flops: float | None = None) -> dict[str, Any]:
    """Return the given budget as arguments of `pushforward.fit`."""
    from pushforward.training import Budget

    given = {"epochs": budgeting.epochs, "flops": flops}
    if budgeting.steps is not None:
        given["steps"] = Budget.count(budgeting.steps)
    if budgeting.samples is not None:
        given["samples"] = Budget.count(budgeting.samples)
    if budgeting.budget is not None:
        given["seconds"] = Budget.duration(budgeting.budget)
    return given_in(given)


def source(
    data: str,
    reading: Reading = ALL_DATA,
    condition: str | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Dataset:
    """Load data, and print what was skipped or converted; ``recorded`` are default options."""
    from pushforward.data.core.load import read

    options = {**(recorded or {}), **options_of_reading(reading)}
    if condition is not None:
        options["labelled"] = condition == "label"
    with counting(data) as progress:
        loaded = read(data, {**options, "progress": progress})  # type: ignore[typeddict-item]
    _tell(data, loaded, reading)
    return loaded


def real_source(real: str, train: str | None, reading: Reading) -> Dataset:
    """Load data to compare samples with, and print what was skipped or converted."""
    from pushforward.data import real_data

    with counting(real) as progress:
        loaded = real_data(real, train, **options_of_reading(reading), progress=progress)
    _tell(real, loaded, reading)
    return loaded


def _tell(data: str, loaded: Dataset, reading: Reading) -> None:
    notes = [loaded.read_as] if loaded.read_as else []
    if loaded.header is False and reading.header is None:
        notes.append(
            "no header found, so columns are named x0, x1, ... "
            "If the first line contains names, use `header=True`"
        )
    notes += [f"skipped {name}: {why}" for name, why in loaded.skipped]
    if loaded.table is not None:
        notes += loaded.table.sentences
    if loaded.removed:
        notes.append(f"left out {loaded.removed:,} training examples that equal held-out examples")
    notes += [f"converted {name}: {what}" for name, what in loaded.converted]
    for note in notes[:_SHOWN]:
        say(f"{data}: {as_options(note)}")
    more = len(notes) - _SHOWN
    if more > 0:
        say(f"... and {more} more. See: pushforward data check {data} --full")


def options_of_reading(reading: Reading) -> dict[str, Any]:
    """Return the given options as arguments of `pushforward.data.load`."""
    options = asdict(reading)
    options["given"] = column_names(reading.given) or None
    options["stream"] = reading.stream or None
    options["constraints"] = options.pop("constraint") or None
    for name in ("header", "table"):
        if options[name] is not None:
            options[name] = options[name] == "yes"
    return given_in(options)


@contextmanager
def counting(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback for the number of files or lines read, and the total."""
    from pushforward.training.loop.display import Progress

    progress = Progress()

    def count(done: int, total: int) -> None:
        progress.preparing(name, done / total, f"{done:,} of {total:,}")

    with closing(progress):
        yield count


def column_names(given: str | None, option: str = "--given") -> tuple[str, ...]:
    """Split the column names of an option at commas; names may contain spaces."""
    if given is None:
        return ()
    names = tuple(filter(None, map(str.strip, given.split(","))))
    if not names:
        raise UsageError(
            f"{option} is empty. Name columns, such as {option} age,income, or leave it out."
        )
    return names


def examples(
    data: str | None, runs: Mapping[str, str], reading: Reading, condition: str | None = None
) -> Dataset:
    """Load the named data, by default the data of a given run, or digits without runs.

    The teacher's data takes precedence, then that of other runs, then that of the autoencoder.
    """
    from pushforward.training.runs.provenance import data_of_run
    from pushforward.training.runs.spec_file import read_spec

    ordered = sorted(runs, key=lambda name: {"teacher": 0, "latent": 2}.get(name, 1))
    folders = [Path(runs[name]) for name in ordered if (Path(runs[name]) / "spec.json").is_file()]
    if data is not None or not folders:
        return source(data or "digits", reading, condition)
    spec = read_spec(folders[0])
    recorded = {"rare": "keep", **(spec.get("data") or {})}  # earlier versions did not store it
    place = recorded.pop("name_or_path", None)
    if isinstance(place, str) and (reading != ALL_DATA or condition is not None):
        return source(place, reading, condition, recorded)
    return data_of_run(folders[0], spec)


def condition_of(run: Run, label: str | None, given: str | None = None) -> dict[str, Any] | None:
    """Parse a label by number or name, and columns such as age=40,income=2."""
    space = run.space
    requested: dict[str, Any] = {}
    if label is not None:
        requested["label"] = space.label_index(label)
    fields = {}
    for kind in space.conditions.values():
        for field in getattr(kind, "fields", ()):
            fields[field.name] = field
    missing = dict(zip(fields, space.missing_texts, strict=False))
    for name, value in column_values("--given", given).items():
        requested[name] = value
        if not fields:
            with suppress(ValueError):  # other texts are reported when sampling
                requested[name] = float(value)
        elif name in fields and value == missing.get(name):
            texts = getattr(fields[name], "names", ())
            if value not in texts:
                requested[name] = ""
    return requested or None


def column_values(option: str, text: str | None) -> dict[str, str]:
    """Parse values of columns, such as age=40,income=2; values with commas need quotes."""
    pairs = {}
    for word in _between_commas(option, text or ""):
        name, equals, value = map(str.strip, word.partition("="))
        if not equals or name in pairs:
            raise UsageError(
                f"{option} takes one value per column, such as age=40,income=2; "
                f'got "{word}" in "{text}".'
            )
        pairs[name] = value
    return pairs


def _between_commas(option: str, text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace = ","
    lexer.quotes = '"'
    lexer.escape = ""
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        raise UsageError(f"{option} {text}: a closing quotation mark is missing.") from None
