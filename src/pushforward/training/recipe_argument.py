"""What `fit` takes in place of a recipe, and whether its other arguments fit that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pushforward import recipes
from pushforward.data import Dataset, Space
from pushforward.errors import UsageError
from pushforward.methods.method import Method
from pushforward.recipes.recipe import Recipe
from pushforward.registries import RECIPES
from pushforward.training.runs.run import Run

RecipeLike = Recipe | Method | str | Callable[..., Recipe | Method]
"""A recipe, a method, a recipe's name, or a recipe function, called with the data's space unless it takes no arguments."""


def recipe_from(given: Any, data: Dataset, size: str) -> Recipe | Method:
    """A recipe for the data, or a method as it is.

    A recipe of this package, given by name or as its function, has this size.

    Raises:
        UsageError: For anything else.
    """
    if isinstance(given, (Recipe, Method)):
        return given
    function = recipes.named(given) if isinstance(given, str) else given
    if not callable(function) or isinstance(function, (type, nn.Module)):
        hint = " A network is trained inside of a recipe: pf.recipes.flow(data.space, network=...)."
        if isinstance(given, (Dataset, Space)):
            hint = " The recipe comes first and the data second: pf.fit(recipe, data)."
        if isinstance(given, Run):
            hint = " A run goes on with pf.resume(run.folder, steps=...), or lends its weights: pf.fit(recipe, data, init=...)."
        raise UsageError(
            f'Expected a recipe: its name (such as "flow"), a recipe function, a Recipe or a Method; got {given!r:.200}.{hint}'
        )
    if missing := recipes.missing_parts(function):
        parts, name = ", ".join(f'"{name}": run' for name in missing), getattr(function, "__name__", function)
        written = f'"{given}"' if isinstance(given, str) else name
        raise UsageError(f"The recipe {name} learns from a run: pf.fit(pf.training.with_frozen({written}, {{{parts}}}), data).")
    if name_of(given) is not None:
        return function(data.space, size)
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(function).parameters.values()
    takes_space = any(parameter.default is parameter.empty and parameter.kind in kinds for parameter in parameters)
    recipe = function(data.space) if takes_space else function()
    if not isinstance(recipe, (Recipe, Method)):
        raise UsageError(f"A recipe function takes a space, or nothing, and returns a Recipe or a Method; got {recipe!r:.200}.")
    return recipe


def name_of(given: Any) -> str | None:
    """The name under which a recipe of this package was given, by name or as its function."""
    if isinstance(given, str):
        return given
    return next((name for name, function in RECIPES.items() if function is given), None)


def check_arguments(given: Any, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse options of a recipe among those of `fit`, which are ``known``, and a size beside a recipe that has one.

    Raises:
        UsageError: With the call that was meant.
    """
    name = name_of(given)
    function = RECIPES.get(name or "")
    settings = set(options) & set({} if function is None else recipes.settings(function)) - set(known)
    if settings:
        written = ", ".join(f"{option}={options[option]!r}" for option in sorted(settings))
        raise UsageError(
            f'{", ".join(sorted(settings))}: of the recipe, not of the training: pf.fit(pf.recipes.named("{name}")(data.space, '
            f"{written}), data)."
        )
    if options.get("size") is not None and name is None and not isinstance(given, (Dataset, Run)):
        raise UsageError(
            'The argument size= is for a recipe given by its name, such as pf.fit("flow", data, size="tiny"); here it is part of '
            f'the recipe: pf.recipes.flow(data.space, "{options["size"]}").'
        )


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names, of which a single one may stand alone; commas separate several in one text."""
    return tuple(word for word in given.replace(" ", "").split(",") if word) if isinstance(given, str) else tuple(given)


def folder_of(run: str | Path | Run) -> Path:
    """The folder of a run, or of the run that is there already.

    Raises:
        UsageError: For anything else.
    """
    if isinstance(run, (str, Path)):
        return Path(run)
    if not isinstance(run, Run):
        raise UsageError(f'Expected a run\'s folder, such as "runs/digits-flow"; got a {type(run).__name__}.')
    return run.folder
