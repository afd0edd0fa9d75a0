"""Convert command-line arguments to data, conditions, budgets, devices and recipes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.options import (
    ALL_DATA,
    Budgeting,
    Changes,
    Reading,
    Sharing,
    app,
    as_options,
    say,
    unknown_option,
)
from pushforward.errors import UsageError
from pushforward.registries import EXTRACTORS, RECIPES
from pushforward.runtime import launched

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.training import Run

YES_NO = {"yes": True, "true": True, "no": False, "false": False}
_SHOWN = 10


def typed_options(group: Any) -> dict[str, Any]:
    """Return the given options of a group with their values, named as on the command line."""
    return {
        f"--{name.replace('_', '-')}": value
        for name, value in asdict(group).items()
        if value not in (None, "", False, ())
    }


def words(text: str) -> tuple[str, ...]:
    """Split a text at commas, without spaces."""
    return tuple(word for word in text.replace(" ", "").split(",") if word)


def numbers(option: str, text: str, count: int, kind: type = int, separator: str = ",") -> Any:
    """Parse the numbers of an option.

    Raises:
        UsageError: If the text does not contain ``count`` numbers.
    """
    try:
        values = [kind(word) for word in text.split(separator)]
    except ValueError:
        values = []
    if len(values) != count:
        raise UsageError(
            f'{option} takes {count} numbers separated by "{separator}", got "{text}".'
        )
    return tuple(values)


def options_of(verb: str) -> set[str]:
    """Return the names of a verb's options as Python arguments, such as latent_size for --latent-size."""
    names = (
        name for argument in app[verb].assemble_argument_collection() for name in argument.names
    )
    return {name.lstrip("-").replace("-", "_") for name in names}


def check_names(
    plugins: Sequence[str],
    *,
    recipe: str | None = None,
    data: str | None = None,
    metrics: Sequence[str] = (),
    features: str | None = None,
) -> None:
    """Check names before torch is imported, which takes seconds.

    If plug-ins are given, names are checked later by the library, because a plug-in can register
    new ones.

    Raises:
        UsageError: If a name is unknown, with the known names.
        DataError: If the data does not exist.
    """
    if plugins:
        return
    if recipe is not None and not recipe.endswith(".py"):
        RECIPES.check(recipe)
    if data is not None:
        from pushforward.data.core.load import check_there

        check_there(data)
    if metrics:
        from pushforward.metrics.names import check_metrics

        check_metrics(list(metrics))
    for word in [] if features is None else features.split(","):
        EXTRACTORS.check(word.strip().partition(":")[0].lower().replace("_", "-"))


def python_files(*names: str) -> list[str]:
    """Select the names of Python files."""
    return [name for name in names if name.endswith(".py")]


def load_plugins(
    files: Sequence[str], runs: Iterable[str | None] = (), others: Sequence[str] = ()
) -> None:
    """Register the parts that plug-ins define.

    Args:
        files: Plug-ins. None is executed before all runs can be read with them.
        runs: Run folders to read; None and other folders are ignored.
        others: Further Python files that runs may need, such as the file of the recipe.
    """
    from pushforward import plugins

    for run in runs:
        if run is not None and (Path(run) / "spec.json").is_file():
            from pushforward.training.runs.spec_file import read_spec

            read_spec(run, [*others, *files])
    for file in files:
        plugins.load(file)


def data_file(data: str, files: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the name of the data and the plug-ins; a Python file stands for the data set that it defines."""
    from pushforward import plugins

    if not data.endswith(".py") or not Path(data).is_file():
        return data, tuple(files)
    known = any(Path(file) == Path(data) for file in files)
    return plugins.only(data, "data set", "a Source"), (*files, *([] if known else [data]))


def settings_of(name: str, settings: dict[str, str], options: Iterable[str] = ()) -> dict[str, Any]:
    """Convert a recipe's own settings, checking names and types before any data is read."""
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
        try:
            values[key] = YES_NO[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise UsageError(
                f'--{option} needs {"yes or no" if kind is bool else "a number"}, got "{text}".'
            ) from None
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

    Args:
        name: Name of the recipe.
        data: Training data.
        size: Network size.
        values: The recipe's own settings (`settings_of`); a source is read like the data.
        changes: Training settings.
        seed: Seed of the initial weights.
        runs: Runs that become frozen networks, by name; "latent" is the run of the latent space.
        **latent: ``device`` for computing latents.
    """
    from pushforward import recipes
    from pushforward.paths import Source
    from pushforward.training import in_latent, with_frozen
    from pushforward.training.loop.machine import seeded

    parts = dict(runs or {})
    origin = data.origin or {}
    function = recipes.named(name)
    own_name = (
        function.__name__
    )  # a recipe of a file may build on one of the package, and have its name
    coder = parts.pop("latent", None)
    if missing := recipes.missing_parts(function, parts):
        how = f"train {name} {'--teacher RUN' if missing[0] == 'teacher' else f'--frozen {missing[0]}=RUN'}"
        raise UsageError(
            f"The recipe {function.__name__} needs a trained run: pushforward {how}. Then pass its run to compare."
        )
    if parts:
        function = with_frozen(name, parts)
    if values.get("source") is not None and Source in recipes.settings(function)["source"].types:
        source = Source(values["source"], data.space, origin.get("limit"), origin.get("seed", 0))
        values = {**values, "source": source}
    if coder is None:
        recipe = seeded(lambda: function(data.space, size, **values), seed)
    else:
        say(f"encoding {len(data.train):,} examples with {coder} ...")
        recipe = seeded(lambda: in_latent(function, data, coder, size, **latent, **values), seed)
    return replace(recipe, name=own_name, training=recipe.training.changed(**changes.of_training()))


def amounts(
    budgeting: Budgeting, default: str | None = None, flops: float | None = None
) -> dict[str, Any]:
    """Return the budget as arguments of `pushforward.fit`; at most one may be given."""
    from pushforward.training import Budget

    read = {"steps": Budget.count, "samples": Budget.count, "seconds": Budget.duration}
    texts = {"steps": budgeting.steps, "samples": budgeting.samples, "seconds": budgeting.budget}
    given: dict[str, Any] = {
        name: read[name](text) for name, text in texts.items() if text is not None
    }
    further = {"flops": flops, "epochs": budgeting.epochs}
    given |= {name: amount for name, amount in further.items() if amount is not None}
    if len(given) > 1:
        raise UsageError(
            "Specify only one budget: --steps, --samples, --epochs, --budget or --flops."
        )
    if given or default is None:
        return given
    return {"seconds": Budget.duration(default)}


def check_free(out: str | None) -> None:
    """Raise an error if a folder exists, before any data is read; None and "" are accepted."""
    from pushforward.training.runs.folder import free_folder

    if out:
        free_folder(out, "", "")


def device_of(name: str) -> str:
    """Return the full name of an available device."""
    from pushforward.runtime import device_named

    return str(device_named(name))


def asked_for(size: str, changes: Changes, values: dict[str, Any]) -> dict[str, Any]:
    """Return the given options by name, except those for the data."""
    given = {**changes.of_training(), **values}
    return {"size": size, **{name.replace("_", "-"): value for name, value in given.items()}}


def source(
    data: str,
    reading: Reading = ALL_DATA,
    condition: str | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Dataset:
    """Load data, and print what was skipped or converted.

    Args:
        data: Name or path.
        reading: Options for reading.
        condition: Name of the condition, or None.
        recorded: Default options of `pushforward.data.load`.
    """
    from pushforward.data.core.load import read

    options: Any = {**(recorded or {}), **options_of_reading(reading)}
    if condition is not None:
        options["labelled"] = condition == "label"
    with counting(data) as progress:
        loaded = read(data, {**options, "progress": progress})
    _tell(data, loaded, reading)
    return loaded


def real_source(real: str, train: str | None, reading: Reading) -> Dataset:
    """Load real data for a comparison with another program's samples, and print what was skipped or converted.

    Args:
        real: Path of the data.
        train: Path of the program's training data, or None.
        reading: Options for reading both data sets.
    """
    from pushforward.data import real_data

    with counting(real) as progress:
        options: Any = {**options_of_reading(reading), "progress": progress}
        loaded = real_data(real, train, **options)
    _tell(real, loaded, reading)
    return loaded


def _tell(data: str, loaded: Dataset, reading: Reading) -> None:
    notes = [loaded.read_as] if loaded.read_as else []
    if loaded.header is False and reading.header is None:
        notes.append(
            "no header found, so columns are named x0, x1, ... If the first line contains names, use `header=True`"
        )
    notes += [f"skipped {name}: {why}" for name, why in loaded.skipped]
    notes += [] if loaded.table is None else loaded.table.sentences
    if loaded.removed:
        notes.append(f"left out {loaded.removed:,} training examples that equal held-out examples")
    notes += [f"converted {name}: {what}" for name, what in loaded.converted]
    for note in notes[:_SHOWN]:
        say(f"{data}: {as_options(note)}")
    if len(notes) > _SHOWN:
        say(f"... and {len(notes) - _SHOWN} more. See: pushforward data check {data} --full")


def options_of_reading(reading: Reading) -> dict[str, Any]:
    """Return the given options as arguments of `pushforward.data.load`."""
    options = {
        **asdict(reading),
        "given": column_names(reading.given) or None,
        "stream": reading.stream or None,
    }
    options["constraints"] = options.pop("constraint") or None
    options |= {
        name: None if options[name] is None else options[name] == "yes"
        for name in ("header", "table")
    }
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def counting(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback for reading, which takes the number of files or lines that were read, and the total."""
    from pushforward.training.loop.display import Progress, duration

    progress = Progress()
    since = time.monotonic()

    def count(done: int, total: int) -> None:
        progress.preparing(
            name, done / total, f"{done:,} of {total:,}  {duration(time.monotonic() - since)}"
        )

    try:
        yield count
    finally:
        progress.close()


def column_names(given: str | None, option: str = "--given") -> tuple[str, ...]:
    """Split the column names of an option at commas; names may contain spaces."""
    names = tuple(name.strip() for name in (given or "").split(",") if name.strip())
    if given is not None and not names:
        raise UsageError(
            f"{option} is empty. Name columns, such as {option} age,income, or leave it out."
        )
    return names


def examples(
    data: str | None, runs: Mapping[str, str], reading: Reading, condition: str | None = None
) -> Dataset:
    """Load the named data, by default the data of a given run, or digits without runs.

    If several runs are given, the data of the teacher takes precedence, then that of the other runs
    in order, and that of the autoencoder last.

    Args:
        data: Value of ``--data``, or None.
        runs: Run folders by the name of the frozen network; other folders are ignored.
        reading: Options for reading, which replace the run's own.
        condition: Name of the condition, or None.

    Raises:
        UsageError: If a run's data was passed from Python.
        DataError: If the data cannot be read, or has changed.
    """
    from pushforward.training.runs.provenance import data_of_run
    from pushforward.training.runs.spec_file import read_spec

    ordered = sorted(runs, key=lambda name: {"teacher": 0, "latent": 2}.get(name, 1))
    folder = next(
        (Path(runs[name]) for name in ordered if (Path(runs[name]) / "spec.json").is_file()), None
    )
    if data is not None or folder is None:
        return source(data or "digits", reading, condition)
    spec = read_spec(folder)
    recorded = {
        "rare": "keep",
        **(spec.get("data") or {}),
    }  # earlier versions stored no such option
    place = recorded.pop("name_or_path", None)
    if isinstance(place, str) and (reading != ALL_DATA or condition is not None):
        return source(place, reading, condition, recorded)
    return data_of_run(folder, spec)


def condition_of(run: Run, label: str | None, given: str | None = None) -> dict[str, Any] | None:
    """Parse a condition: a label by number or name, and columns such as age=40,income=2.

    Values of table columns are texts, in quotes if they contain commas. Prints a note on numbers outside the training range.

    Raises:
        UsageError: If a class is unknown, several classes are given, or a column has no value.
    """
    from pushforward.conditions import Numbers
    from pushforward.data.spaces import TableSpace

    if label is not None and "," in label and run.space.classes and label not in run.space.classes:
        raise UsageError(f'--label takes one class, got "{label}". Run the command once per class.')
    requested: dict[str, Any] = {} if label is None else {"label": run.space.label_index(label)}
    fields = {
        field.name: field
        for kind in run.space.conditions.values()
        for field in getattr(kind, "fields", ())
    }
    if isinstance(run.space, TableSpace):
        absent = dict(zip(fields, run.space.layout.missing, strict=False))
    else:
        absent = {}
    for name, value in pairs_of("--given", given).items():
        requested[name] = value
        if not fields:
            with suppress(ValueError):  # other texts are reported when sampling
                requested[name] = float(value)
        if (
            name in fields
            and value == absent.get(name)
            and value not in getattr(fields[name], "names", ())
        ):
            requested[name] = ""  # the text for a missing value
    for kind in run.space.conditions.values():
        if isinstance(kind, Numbers) and kind.examples:
            for name, column in zip(kind.columns, zip(*kind.examples, strict=True), strict=True):
                number = requested.get(name)
                if isinstance(number, float) and not min(column) <= number <= max(column):
                    ends = f"{min(column):g} to {max(column):g}"
                    say(
                        f"note: {name}={number:g} is outside the range of the training data, {ends}"
                    )
    return requested or None


def pairs_of(option: str, text: str | None) -> dict[str, str]:
    """Parse values of columns, such as age=40,income=2; values with commas need quotes.

    Raises:
        UsageError: If a column has no value, or several.
    """
    pairs: dict[str, str] = {}
    for word in _between_commas(option, text or ""):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or name in pairs:
            raise UsageError(
                f'{option} takes one value per column, such as age=40,income=2; got "{word}" in "{text}".'
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


def of_processes(sharing: Sharing) -> dict[str, Any]:
    """Return the arguments of `pushforward.fit` for several processes.

    Raises:
        UsageError: If weights are split but there is only one process.
    """
    if sharing.shard and sharing.devices in (None, 1) and launched().count == 1:
        raise UsageError(
            "--shard needs several processes. Add --devices 2 or more, or use torchrun."
        )
    return {"shard": sharing.shard, "devices": sharing.devices}
