"""Whether a run's weights can start another training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pushforward import spec
from pushforward.errors import UsageError
from pushforward.recipes.recipe import Recipe
from pushforward.registries import RECIPES
from pushforward.training.run import Run

__all__ = ["check_initial"]

_OF_TRAINING = {"batch", "accumulate", "lr", "ema", "precision", "plugin"}
"""Options of the training that do not change the weights' shapes."""


def check_initial(run: Run, recipe: Recipe, options: Mapping[str, Any] | None) -> None:
    """Refuse a run of another method, or one whose weights do not fit; ``options`` are the recipe's settings, where known.

    Raises:
        UsageError: Naming the difference.
    """
    there, here = _method(run.spec["recipe"], run.spec["method"]), _method(recipe.name, spec.describe(recipe.method))
    differing = [name for name in there if name in here and there[name] != here[name]]
    if differing:
        raise UsageError(
            f"`init={run.folder}` was trained by another method: {_differences(differing, there, here)}. Expected a run of "
            "the same recipe, prediction and path."
        )
    _check_conditions(run, recipe)
    shapes, needed = ({name: part.shape for name, part in method.state_dict().items()} for method in (run.method, recipe.method))
    if shapes != needed:
        there = {**_settings(run.spec.get("asked")), **_data(run.method.space)}
        here = {**_settings(options), **_data(recipe.method.space)}
        names = [name for name in there.keys() & here.keys() if there[name] != here[name]]
        why = f": {_differences(sorted(names), there, here)}" if names else ""
        raise UsageError(
            f"The weights of `init={run.folder}` ({run.spec['recipe']} on {_data(run.space)['shape']}) do not fit this "
            f"{recipe.name}{why}. Expected a run of the same recipe, size, settings, classes and shape of data."
        )


def _check_conditions(run: Run, recipe: Recipe) -> None:
    there, here = run.method.space.conditions, recipe.method.space.conditions
    for name in there.keys() & here.keys():
        if name != "label" and not there[name].fits(here[name]):
            raise UsageError(
                f"`init={run.folder}` was trained with {there[name].describe()}, and this data has {here[name].describe()}. "
                "Expected the same given columns in the same order."
            )


def _method(name: str, method: Any) -> dict[str, Any]:
    """The identity of a method, by name; the recipe's name counts only for the recipes of this package."""
    facts = {"recipe": name} if name in RECIPES else {}
    facts["method"] = method["part"]
    denoiser = method.get("denoiser")
    if isinstance(denoiser, Mapping) and {"prediction", "path"} <= denoiser.keys():
        facts |= {"prediction": denoiser["prediction"], "path": denoiser["path"]["part"]}
    return facts


def _settings(options: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if name not in _OF_TRAINING and value is not None}


def _data(space: Any) -> dict[str, Any]:
    return {"shape": "x".join(map(str, space.shape)), "classes": len(space.classes)}


def _differences(names: list[str], there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {there[name]} there and {here[name]} here" for name in names)
