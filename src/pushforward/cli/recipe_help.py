"""The help of `train RECIPE`: the verb's options and the recipe's own, in one style."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from pushforward.cli.terminal import first_line

__all__ = ["print_recipe_help"]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def print_recipe_help(verb: Callable[..., Any], name: str) -> None:
    """Print the help of a verb with a recipe's options as panels of their own.

    Args:
        verb: The function of the verb that trains.
        name: A recipe, or a Python file that holds one.

    Raises:
        UsageError: For an unknown recipe.
    """
    from pushforward import recipes

    recipe = recipes.named(name)
    hints = typing.get_type_hints(verb, include_extras=True)
    shared = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    app = App(name=f"pushforward train {name}", help=first_line(recipe), help_format="markdown", help_flags=[], version_flags=[])
    app.default(_with_signature([*shared, *_own_parameters(recipe)], verb.__doc__ or ""))
    app.help_print([])


def _own_parameters(recipe: Any) -> list[inspect.Parameter]:
    from pushforward import recipes
    from pushforward.recipes.recipe import GROUPS

    parameters = []
    for option in recipes.settings(recipe).values():
        title = f"{recipe.__name__}: {option.group or 'other options'}"
        place = GROUPS.index(option.group) if option.group in GROUPS else len(GROUPS)
        kind: Any = option.kind
        default = option.default
        if kind is bool:
            kind, default = Literal["yes", "no"], "yes" if default else "no"
        group = Group(title, sort_key=11 + place)
        parameter = Parameter(group=group, help=option.help, negative=(), show_default=default is not None)
        annotation = Annotated[kind, parameter]
        parameters.append(inspect.Parameter(option.name, _KEYWORD, default=default, annotation=annotation))
    return parameters


def _with_signature(parameters: list[inspect.Parameter], docstring: str) -> Callable[..., None]:
    def function(**options: Any) -> None:
        return None

    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    function.__doc__ = docstring
    return function
