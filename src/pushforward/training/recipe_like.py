"""Arguments of `fit` in place of a recipe, and checks of its other arguments."""

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
from pushforward.training.run import Run
from pushforward.transports import Transport

__all__ = ["RecipeLike", "check_size", "folder_of", "name_of", "names_of", "recipe_from", "refuse_settings"]

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
    if isinstance(given, str):
        _check_parts(recipes.named(given), f'"{given}"')
        return recipes.named(given)(data.space, size)
    if callable(given) and not isinstance(given, (type, nn.Module)):
        _check_parts(given, getattr(given, "__name__", "recipe"))
        if name_of(given) is not None:
            return given(data.space, size)
        recipe = given(data.space) if _takes_a_space(given) else given()
        if isinstance(recipe, (Recipe, Method)):
            return recipe
        raise UsageError(
            f"A recipe function takes a space, or nothing, and returns a Recipe or a Method; {given!r} returned {_kind(recipe)}."
        )
    raise UsageError(
        f'Expected a recipe: its name (such as "flow"), a recipe function, a Recipe or a Method; got {_kind(given)}.'
        f"{_hint(given)}"
    )


def _check_parts(function: Callable[..., Any], written: str) -> None:
    """Refuse a recipe that needs frozen parts, which `fit` cannot give it."""
    missing = recipes.missing_parts(function)
    if missing:
        parts = ", ".join(f'"{name}": run' for name in missing)
        raise UsageError(
            f"The recipe {getattr(function, '__name__', function)} learns from a run: "
            f"pf.fit(pf.training.with_frozen({written}, {{{parts}}}), data)."
        )


def _takes_a_space(function: Callable[..., Any]) -> bool:
    """Whether a function has to be given an argument; one whose arguments all have defaults is called without any."""
    parameters = inspect.signature(function).parameters.values()
    return any(
        parameter.default is parameter.empty and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )


def name_of(given: Any) -> str | None:
    """The name under which a recipe of this package was given, by name or as its function."""
    if isinstance(given, str):
        return given
    return next((name for name, function in RECIPES.items() if function is given), None)


def refuse_settings(given: Any, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse options of a recipe among those of `fit`, which are ``known``.

    Raises:
        UsageError: With the call that was meant.
    """
    name = name_of(given)
    function = RECIPES.get(name or "")
    known_settings = {} if function is None else recipes.settings(function)
    settings = {option: value for option, value in options.items() if option in known_settings and option not in known}
    if settings:
        size = [repr(options["size"])] if options.get("size") else []
        values = [f'"{value}"' if isinstance(value, str) else repr(value) for value in settings.values()]
        written = [f"{option}={value}" for option, value in zip(settings, values, strict=True)]
        call = f'pf.recipes.named("{name}")({", ".join(["data.space", *size, *written])})'
        call = call.replace(f'named("{name}")', str(name)) if hasattr(recipes, str(name)) else call
        are = "is an option" if len(settings) == 1 else "are options"
        raise UsageError(f"{', '.join(settings)} {are} of the recipe: pf.fit({call}, data).")


def _kind(given: Any) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    name = type(given).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _hint(given: Any) -> str:
    if isinstance(given, (Dataset, Space)):
        return " The recipe comes first and the data second: pf.fit(recipe, data)."
    if isinstance(given, Run):
        return (
            " A run goes on with pf.resume(run.folder, steps=...), or lends its weights: pf.fit(recipe, data, init=run.folder)."
        )
    if isinstance(given, type):
        return " Make an object of it first."
    if isinstance(given, Transport):
        return " A transport is what training results in."
    network = " A network is trained inside of a recipe: pf.recipes.flow(data.space, network=...)."
    return network if isinstance(given, nn.Module) else ""


def check_size(recipe: Any, size: str | None) -> None:
    """Refuse a size beside a recipe that has one already.

    Raises:
        UsageError: Saying where the size belongs.
    """
    if size is not None and name_of(recipe) is None and not isinstance(recipe, (Dataset, Run)):
        raise UsageError(
            'The argument size= is for a recipe given by its name, such as pf.fit("flow", data, size="tiny"); here it is part of '
            f'the recipe: pf.recipes.flow(data, "{size}").'
        )


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names, of which a single one may stand alone; commas separate several in one text."""
    return tuple(word for word in given.replace(" ", "").split(",") if word) if isinstance(given, str) else tuple(given)


def folder_of(run: str | Path | Run) -> Path:
    """The folder of a run, or of the run that is there already.

    Raises:
        UsageError: For anything else.
    """
    if isinstance(run, Run):
        return run.folder
    if not isinstance(run, (str, Path)):
        raise UsageError(f'Expected a run\'s folder, such as "runs/digits-flow"; got a {type(run).__name__}.')
    return Path(run)
