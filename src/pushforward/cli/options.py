"""From words on the command line to data, budgets, devices and recipes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.terminal import Condition, Header, say
from pushforward.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pushforward.data import Dataset

__all__ = [
    "amounts",
    "changes_of",
    "check_plugins",
    "device_of",
    "named",
    "plugin_options",
    "recipe_of",
    "settings_of",
    "source",
    "words",
]

YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def source(
    data: str,
    target: str | None,
    header: Header | None,
    resize: int | None,
    limit: int | None,
    download: bool,
    condition: Condition | None,
) -> Dataset:
    """Load the data that was named, and say what was skipped or converted."""
    from pushforward.data import load

    options = {"target": target, "header": named(header), "resize": resize, "limit": limit}
    given = {name: value for name, value in options.items() if value is not None}
    labelled = None if condition is None else condition == "label"
    loaded = load(data, **given, download=download, labelled=labelled)  # type: ignore[arg-type]
    if loaded.header is False and header is None:
        say(f"{data}: the first line is taken as data, and columns are called x0, x1, ... (--header yes: it holds their names)")
    notes = [f"skipped {name}: {why}" for name, why in loaded.skipped]
    if loaded.removed:
        notes.append(f"left out {loaded.removed:,} training examples that are also held-out examples")
    notes += [f"converted {name}: {what}" for name, what in loaded.converted]
    for note in notes[:10]:
        say(note)
    if len(notes) > 10:
        say(f"... and {len(notes) - 10} more; see: pushforward data check {data}")
    return loaded


def named(header: Header | None) -> bool | None:
    """The argument ``header`` of `pushforward.data.load`."""
    return None if header is None else YES_NO[header]


def words(text: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word for word in text.replace(" ", "").split(",") if word)


def changes_of(**given: Any) -> dict[str, Any]:
    """The settings that were given."""
    return {name: value for name, value in given.items() if value is not None}


def check_plugins(plugins: Iterable[str]) -> None:
    """Refuse plugin files that are not there."""
    for path in plugins:
        if not Path(path).is_file():
            raise UsageError(f"There is no file {path}; --plugin takes the Python file that a run was trained with.")


def plugin_options(spec: Mapping[str, Any]) -> str:
    """The options that name a run's plugins, as a command that uses the run needs them."""
    return "".join(f" --plugin {shlex.quote(one['file'])}" for one in spec.get("plugins") or ())


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
        values[key] = _converted(option, text, known[key].annotation)
    return values


def recipe_of(
    name: str,
    data: Dataset,
    size: str,
    values: dict[str, Any],
    changes: dict[str, Any],
    seed: int,
    latent: str | None = None,
    device: str = "cpu",
    plugins: Sequence[str] = (),
    frozen: Mapping[str, str] | None = None,
) -> Any:
    """The recipe with its own settings (`settings_of`), frozen parts, training changes, and the latent space of a run."""
    import dataclasses

    from pushforward import recipes
    from pushforward.training import in_latent, with_frozen
    from pushforward.training.start import seeded

    function = with_frozen(name, frozen, plugins) if frozen else recipes.named(name)
    values = _with_source(function, values, data)
    if latent is None:
        made = seeded(lambda: function(data.space, size, **values), seed)
    else:
        once = "" if data.probabilities is None else ", as they were drawn once,"
        say(f"encoding {len(data.train):,} rows{once} with {latent} ...")
        made = seeded(lambda: in_latent(function, data, latent, size, device=device, plugins=plugins, **values), seed)
    return dataclasses.replace(made, training=made.training.changed(**changes))


def _with_source(function: Any, values: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """A recipe's setting that names a source is read as the data is: with its --limit, and scaled to its size."""
    from pushforward import recipes
    from pushforward.couplings import Source

    source, origin = values.get("source"), data.origin or {}
    if source is None or "Source" not in str(recipes.settings(function)["source"].annotation):
        return values
    return {**values, "source": Source(source, data.space, origin.get("limit"), origin.get("seed", 0))}


def _converted(option: str, text: str, annotation: Any) -> Any:
    kinds = str(annotation).replace("'", "")
    if "bool" in kinds:
        if text.lower() not in YES_NO:
            raise UsageError(f'--{option} is yes or no, got "{text}".')
        return YES_NO[text.lower()]
    for kind, make in (("int", int), ("float", float)):
        if kind in kinds and "str" not in kinds:
            try:
                return make(text)
            except ValueError:
                raise UsageError(f'--{option} needs a number, got "{text}".') from None
    return text


def amounts(steps: str | None, budget: str | None, samples: str | None, default: str | None = None) -> dict[str, Any]:
    """The budget as arguments of `pushforward.fit`; at most one of the three may be given."""
    from pushforward.training import Budget

    given = {
        "steps": None if steps is None else Budget.count(steps),
        "samples": None if samples is None else Budget.count(samples),
        "seconds": None if budget is None else Budget.duration(budget),
    }
    if all(value is None for value in given.values()) and default:
        given["seconds"] = Budget.duration(default)
    if sum(value is not None for value in given.values()) > 1:
        raise UsageError("Give only one budget: --steps, --samples or --budget.")
    return given


def device_of(name: str) -> str:
    """A device's full name, checked."""
    from pushforward.devices import device_named

    return str(device_named(name))
