"""Recipes: the one place where methods meet networks; one file each, discovered from this folder.

A recipe is a function ``name(space, size="small", **settings) -> Recipe`` in a file of its own name. A file outside the
package can hold one as well (`load_file`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pushforward import plugins, spec
from pushforward.data import Space, dataset_of
from pushforward.errors import UsageError, unknown
from pushforward.recipes.recipe import Option, Recipe, RecipeFunction, Schedule, Training, options_of

if TYPE_CHECKING:
    from pushforward.recipes.autoencoder import autoencoder
    from pushforward.recipes.consistency import consistency
    from pushforward.recipes.ddpm import ddpm
    from pushforward.recipes.distil import distil
    from pushforward.recipes.dmd import dmd
    from pushforward.recipes.edm import edm
    from pushforward.recipes.finish import finish
    from pushforward.recipes.flow import flow
    from pushforward.recipes.gan import gan
    from pushforward.recipes.hvae import hvae
    from pushforward.recipes.meanflow import meanflow
    from pushforward.recipes.shortcut import shortcut
    from pushforward.recipes.vae import vae
    from pushforward.recipes.vdm import vdm
    from pushforward.recipes.vqvae import vqvae

__all__ = [
    "Recipe",
    "Schedule",
    "Training",
    "adopt",
    "autoencoder",
    "consistency",
    "ddpm",
    "distil",
    "dmd",
    "edm",
    "finish",
    "flow",
    "gan",
    "hvae",
    "load_file",
    "meanflow",
    "named",
    "registry",
    "shortcut",
    "vae",
    "vdm",
    "vqvae",
]


def _on_space(function: RecipeFunction) -> RecipeFunction:

    @functools.wraps(function)
    def recipe(space: Any, *arguments: Any, **settings: Any) -> Recipe:
        return function(space if isinstance(space, Space) else dataset_of(space).space, *arguments, **settings)

    return recipe


_FOUND: dict[str, RecipeFunction] = {}
for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    _function = getattr(_module, _info.name, None)
    if inspect.isfunction(_function):
        _FOUND[_info.name] = _on_space(_function)
globals().update(_FOUND)
_ADDED: dict[str, RecipeFunction] = {}


def registry() -> dict[str, RecipeFunction]:
    """Every recipe by name: those of this folder in alphabetical order, then those that plug-ins added."""
    return dict(sorted(_FOUND.items())) | _ADDED


def named(name: str) -> RecipeFunction:
    """A recipe by name, or the one in a Python file given by its path.

    Raises:
        UsageError: For an unknown name or a file without exactly one recipe.
    """
    known = registry()
    if name in known:
        return known[name]
    if name.endswith(".py"):
        return load_file(name)
    raise unknown("recipe", name, known)


def load_file(path: str | Path) -> RecipeFunction:
    """Run a user's Python file, register its parts (`pushforward.plugins.load`) and return its recipe.

    The recipe is the public function that is annotated to return `Recipe`.

    Raises:
        UsageError: If the file is missing, fails, or holds no or several recipes.
    """
    if not Path(path).is_file():
        raise UsageError(f"There is no file {path}; a recipe is a name ({', '.join(registry())}) or a Python file.")
    return _ADDED[plugins.only(path, "recipe", "a function annotated `-> Recipe`")]


def adopt(module: ModuleType) -> list[str]:
    """Register the recipes that a module defines; their names.

    Raises:
        UsageError: For a name that belongs to one of the package's own, or of another file.
    """
    defined = {name: value for name, value in vars(module).items() if _is_recipe(value, module.__name__) and name[0] != "_"}
    for name in defined:
        if name in _FOUND:
            raise UsageError(f'The name "{name}" belongs to another recipe. Choose another name.')
    spec.check_names("recipe", defined, _ADDED, module)
    _ADDED.update(defined)
    return list(defined)


def _is_recipe(value: Any, module: str) -> bool:
    if not inspect.isfunction(value) or value.__module__ != module:
        return False
    returns = inspect.signature(value).return_annotation
    return returns is Recipe or (isinstance(returns, str) and returns.split(".")[-1] == "Recipe")


def settings(recipe: RecipeFunction) -> dict[str, Option]:
    """The options of a recipe that the command line can give, by name; see `pushforward.recipes.recipe`."""
    frozen = frozen_parts(recipe)
    return {name: option for name, option in options_of(recipe).items() if name not in frozen}


def frozen_parts(recipe: RecipeFunction) -> dict[str, inspect.Parameter]:
    """The frozen parts that a recipe takes, by name: its keyword-only parameters that are annotated as models."""
    options = (p for p in inspect.signature(recipe).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return {p.name: p for p in options if words_of(p.annotation) & MODELS}


def missing_parts(recipe: RecipeFunction, given: Iterable[str] = ()) -> list[str]:
    """The frozen parts that a recipe needs and that are not among those that are given: they have no default."""
    return [name for name, part in frozen_parts(recipe).items() if part.default is part.empty and name not in given]


def words_of(annotation: Any) -> set[str]:
    """The names in an annotation, whether it is text or a type."""
    text = annotation if isinstance(annotation, str) else f"{getattr(annotation, '__name__', '')} {annotation}"
    return set(re.findall(r"\w+", text))


MODELS = {"Autoencoder", "Denoiser", "Flow", "FlowMap", "Latent", "Map", "Transport"}
"""The classes of models that an argument of a recipe can be annotated as, so that it is a frozen part."""
