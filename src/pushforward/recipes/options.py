"""A recipe's options as data: their types, groups, defaults and help, read from its signature and docstring."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.recipes.recipe import RecipeFunction


NETWORK, PATH, LOSS, REGULARISATION, SCHEDULE = "network", "path", "loss", "regularisation", "schedule"
GROUPS = (NETWORK, PATH, LOSS, REGULARISATION, SCHEDULE)
"""The groups of options in the order in which a help page shows them. A recipe names them in its signature:
``gamma: Annotated[float, LOSS] = 1.0``; an option without a group is shown after them."""

_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Option:
    """One option of a recipe that the command line can give.

    Args:
        name: The argument's name.
        kind: bool, int, float or str.
        group: One of `GROUPS`, or "" for none.
        default: Its default; None where it follows from the data or from other options.
        help: From the recipe's docstring.
        types: All types of its annotation, such as str and `pushforward.couplings.Source`.
    """

    name: str
    kind: type
    group: str
    default: Any
    help: str
    types: tuple[Any, ...]


def options_of(recipe: RecipeFunction) -> dict[str, Option]:
    """The options of a recipe by name: its keyword-only parameters whose type is plain, or a union with a plain type."""
    hints = typing.get_type_hints(recipe, include_extras=True)
    described = _described(inspect.getdoc(recipe) or "")
    options = {}
    for name, parameter in inspect.signature(recipe).parameters.items():
        types_, group = _parts(hints.get(name, str))
        plain = [kind for kind in _PLAIN if kind in types_]
        if parameter.kind is parameter.KEYWORD_ONLY and plain:
            kind = str if str in plain else plain[-1]
            options[name] = Option(name, kind, group, parameter.default, described.get(name, ""), types_)
    return options


def _parts(annotation: Any) -> tuple[tuple[Any, ...], str]:
    group = ""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *metadata = typing.get_args(annotation)
        group = next((item for item in metadata if isinstance(item, str)), "")
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,), group


def _described(docstring: str) -> dict[str, str]:
    described: dict[str, str] = {}
    inside, name = False, ""
    for line in docstring.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and not line.startswith("    "):
            break
        elif inside and not line.startswith("        "):
            name, _, text = line.strip().partition(":")
            described[name] = text.strip()
        elif inside:
            described[name] += " " + line.strip()
    return described
