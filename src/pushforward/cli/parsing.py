"""From words on the command line to data, budgets, devices and recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.groups import Budgeting, Changes
from pushforward.cli.terminal import app, say, typed
from pushforward.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pushforward.data import Dataset

__all__ = [
    "FrozenRuns",
    "amounts",
    "asked_for",
    "check_free",
    "check_plugins",
    "data_file",
    "device_of",
    "load_plugins",
    "options_of",
    "python_files",
    "recipe_of",
    "settings_of",
    "typed_options",
    "words",
]

YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def typed_options(group: Any) -> dict[str, Any]:
    """The options of a group that were given, as they are typed, with their values."""
    return {f"--{name.replace('_', '-')}": value for name, value in asdict(group).items() if value not in (None, "", False, ())}


def words(text: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word for word in text.replace(" ", "").split(",") if word)


def options_of(verb: str) -> set[str]:
    """The names of a verb's options as Python arguments: --latent-size is latent_size."""
    names = (name for argument in app[verb].assemble_argument_collection() for name in argument.names)
    return {name.lstrip("-").replace("-", "_") for name in names}


def check_plugins(files: Iterable[str]) -> None:
    """Refuse plug-ins that are not there."""
    for path in files:
        if not Path(path).is_file():
            raise UsageError(
                f"There is no file {path}; --plugin takes a Python file with parts of your own, or one that a run needs."
            )


def python_files(*names: str) -> list[str]:
    """The names that stand for Python files."""
    return [name for name in names if name.endswith(".py")]


def load_plugins(files: Sequence[str], runs: Iterable[str | None] = (), others: Sequence[str] = ()) -> None:
    """Register the parts that plug-ins define.

    Args:
        files: The plug-ins. None is run before the runs are known to be read with them.
        runs: Folders of runs that are to be read; None and what is no run are passed over.
        others: Further Python files that are named, such as that of the recipe, which runs may need.
    """
    from pushforward import plugins

    check_plugins(files)
    for run in runs:
        if run is not None and (Path(run) / "spec.json").is_file():
            from pushforward.training.runs.spec import read_spec

            read_spec(run, [*others, *files])
    for file in files:
        plugins.load(file)


def data_file(data: str, files: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The name of the data, and the plug-ins: a Python file that defines one data set stands for it."""
    from pushforward import plugins

    if not data.endswith(".py") or not Path(data).is_file():
        return data, tuple(files)
    same = any(Path(file) == Path(data) for file in files)
    return plugins.only(data, "data set", "a Source"), (*files, *(() if same else (data,)))


def settings_of(name: str, settings: dict[str, str], options: Iterable[str] = ()) -> dict[str, Any]:
    """A recipe's own settings from the command line, checked by name and type before any data is read."""
    from pushforward import recipes

    known = recipes.settings(recipes.named(name))
    taken = [key for key in known if key in options]
    if taken:
        raise UsageError(
            f'The recipe {name} has a setting "{taken[0]}", but train has an option of that name: give it another one.'
        )
    values = {}
    for option, text in settings.items():
        key = option.replace("-", "_")
        if key not in known:
            hint = did_you_mean(f"--{option}", [f"--{known_name.replace('_', '-')}" for known_name in (*options, *known)])
            raise UsageError(f"Unknown option --{option}.{hint} See: pushforward train {name} --help")
        values[key] = _converted(option, text, known[key].kind)
    return values


@dataclass(frozen=True)
class FrozenRuns:
    """The runs that become frozen parts of a new model.

    Args:
        runs: By the name of the part; "latent" is the run in whose latent space the model is trained.
        device: Where the codes of data are computed.
        plugins: The Python files that the runs need.
    """

    runs: Mapping[str, str]
    device: str = "cpu"
    plugins: Sequence[str] = ()


def recipe_of(
    name: str,
    data: Dataset,
    size: str,
    values: dict[str, Any],
    changes: Changes,
    seed: int,
    frozen: FrozenRuns | None = None,
) -> Any:
    """The recipe with its own settings (`settings_of`), frozen parts, training changes, and the latent space of a run."""
    import dataclasses

    from pushforward import recipes
    from pushforward.training import in_latent, with_frozen
    from pushforward.training.loop.torch_generators import seeded

    frozen = FrozenRuns({}) if frozen is None else frozen
    latent, parts = frozen.runs.get("latent"), {part: run for part, run in frozen.runs.items() if part != "latent"}
    _check_parts(name, parts)
    function = with_frozen(name, parts, frozen.plugins) if parts else recipes.named(name)
    values = _with_source(function, values, data)
    if latent is None:
        recipe = seeded(lambda: function(data.space, size, **values), seed)
    else:
        once = "" if data.probabilities is None else ", as they were drawn once,"
        say(f"encoding {len(data.train):,} examples{once} with {latent} ...")
        recipe = seeded(
            lambda: in_latent(function, data, latent, size, device=frozen.device, plugins=frozen.plugins, **values), seed
        )
    return dataclasses.replace(recipe, training=recipe.training.changed(**changes.of_training()))


def _check_parts(name: str, given: Iterable[str]) -> None:
    """Refuse a recipe that learns from a run where none is named; compare has no option for one."""
    from pushforward import recipes

    function = recipes.named(name)
    missing = recipes.missing_parts(function, given)
    if missing:
        option = "--teacher RUN" if missing[0] == "teacher" else f"--frozen {missing[0]}=RUN"
        trained = f"train it first, with pushforward train {name} {option}, then compare its run"
        how = f"add {option}" if typed[:1] == ["train"] else trained
        raise UsageError(f"The recipe {function.__name__} learns from a run: {how}.")


def _with_source(function: Any, values: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """A recipe's setting that names a source is read as the data is: with its --limit, and scaled to its size."""
    from pushforward import recipes
    from pushforward.paths import Source

    source, origin = values.get("source"), data.origin or {}
    if source is None or Source not in recipes.settings(function)["source"].types:
        return values
    return {**values, "source": Source(source, data.space, origin.get("limit"), origin.get("seed", 0))}


def _converted(option: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in YES_NO:
            raise UsageError(f'--{option} is yes or no, got "{text}".')
        return YES_NO[text.lower()]
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f'--{option} needs a number, got "{text}".') from None


def amounts(budgeting: Budgeting, default: str | None = None, flops: str | None = None) -> dict[str, Any]:
    """The budget as arguments of `pushforward.fit`; at most one may be given."""
    from pushforward.training import Budget

    given = {
        "steps": None if budgeting.steps is None else Budget.count(budgeting.steps),
        "samples": None if budgeting.samples is None else Budget.count(budgeting.samples),
        "seconds": None if budgeting.budget is None else Budget.duration(budgeting.budget),
    }
    if flops is not None:
        given["flops"] = _operations(flops)
    if all(value is None for value in given.values()) and default:
        given["seconds"] = Budget.duration(default)
    if sum(value is not None for value in given.values()) > 1:
        others = "--steps, --samples or --budget" if flops is None else "--steps, --samples, --budget or --flops"
        raise UsageError(f"Give only one budget: {others}.")
    return given


def _operations(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f'--flops is a number of floating point operations, such as 1e15; got "{text}".')
    return value


def check_free(out: str | None) -> None:
    """Refuse a folder that is taken before any data is read; None and "" are free."""
    from pushforward.training.runs.folder import free_folder

    if out:
        free_folder(out, "", "")


def device_of(name: str) -> str:
    """A device's full name, checked."""
    from pushforward.devices import device_named

    return str(device_named(name))


def asked_for(size: str, changes: Changes, values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for beside the data, by option."""
    given = {**changes.of_training(), **values}
    return {"size": size, **{name.replace("_", "-"): value for name, value in given.items()}}
