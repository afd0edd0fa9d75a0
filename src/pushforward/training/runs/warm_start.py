"""The weights that a training starts from: drawn from its seed, as they were given, or those of another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pushforward import spec
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Method
from pushforward.recipes.recipe import Recipe
from pushforward.registries import RECIPES
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.loop.torch_generators import seeded
from pushforward.training.runs.provenance import seen_by
from pushforward.training.runs.run import Run, load

_TRAINED_IN = "_trained_in"
"""The attribute of a module that a trainer has been given: the run's folder. Neither it nor a copy is taken for a new one."""


def mark(folder: Path, *methods: Method) -> None:
    """Remember in the modules of methods that they are trained in a run's folder."""
    for method in methods:
        for module in method.modules():
            setattr(module, _TRAINED_IN, str(folder.absolute()))


def trainings(method: Method) -> tuple[str, ...]:
    """The folders of the runs that have trained modules of a method."""
    marked = [part for part in method.modules() if hasattr(part, _TRAINED_IN) and any(p.requires_grad for p in part.parameters())]
    return tuple(dict.fromkeys(str(getattr(part, _TRAINED_IN)) for part in marked))


def started(make: Callable[[], Recipe | Method], given: Any, rebuildable: bool, seed: int) -> tuple[Recipe, bool]:
    """A recipe with its first weights, and whether these can be drawn from the seed again from its spec alone.

    Args:
        make: Makes the recipe or the method, called under the seed.
        given: What the caller gave; a method of it keeps its weights.
        rebuildable: Whether the weights are drawn again from the seed, as those of a `Recipe` are.
        seed: Of the training.

    Raises:
        UsageError: If a method that cannot be rebuilt has been trained already.
    """
    built = seeded(make, seed)
    recipe = built if isinstance(built, Recipe) else Recipe(built, name=type(built).__name__.lower())
    if built is given and isinstance(built, Method):
        return replace(recipe, builds_on=tuple((folder, seen_by(folder)) for folder in trainings(built))), False
    if rebuildable:
        content = spec.describe(recipe.method)
        try:
            method = seeded(lambda: spec.build(content), seed)
        except CheckpointError:
            pass  # it cannot be rebuilt, and keeps its weights
        else:
            for name, module in method.parts.items():
                module.load_state_dict(recipe.method.parts[name].state_dict())
            return replace(recipe, method=method), True
    if trainings(recipe.method):
        raise UsageError(
            f"This {type(recipe.method).__name__} holds modules that have been given to a training before, and cannot be built "
            "again from its constructor's arguments. Give a function that makes it: pf.fit(lambda: pf.recipes.flow(data.space, "
            "network=Own()), data, seed=1). To go on from these weights, give the method itself: pf.fit(recipe.method, data)."
        )
    return recipe, False


def from_run(init: str | Path | Run, recipe: Recipe, plugins: Sequence[str | Path] = ()) -> tuple[Recipe, Run]:
    """The recipe with the averaged weights of a run, and the run.

    Raises:
        UsageError: For a run of another method, or one whose weights do not fit.
    """
    run = init if isinstance(init, Run) else load(init, plugins=plugins)
    there, here = _identity(run.spec["recipe"], run.spec["method"]), _identity(recipe.name, spec.describe(recipe.method))
    conditions = run.method.space.conditions, recipe.method.space.conditions
    for name in conditions[0].keys() & conditions[1].keys() - {"label"}:
        if not conditions[0][name].fits(conditions[1][name]):
            there[name], here[name] = (kinds[name].describe() for kinds in conditions)
    if differing := [name for name in there if name in here and there[name] != here[name]]:
        what = ", ".join(f"{name} {there[name]} there and {here[name]} here" for name in differing)
        raise UsageError(f"`init={run.folder}` was trained by another method: {what}.")
    try:
        restore(recipe.method, run.method.state_dict(), run.folder)
    except CheckpointError as error:
        raise UsageError(
            f"The weights of `init={run.folder}` do not fit this {recipe.name}: {error}. Expected a run of the same recipe, "
            "size, settings, classes and shape of data."
        ) from error
    return replace(recipe, builds_on=(*recipe.builds_on, (str(run.folder), run.seen))), run


def _identity(name: str, method: Any) -> dict[str, Any]:
    facts = {"recipe": name} if name in RECIPES else {}
    facts["method"] = method["part"]
    denoiser = method.get("denoiser")
    if isinstance(denoiser, Mapping) and {"prediction", "path"} <= denoiser.keys():
        facts |= {"prediction": denoiser["prediction"], "path": denoiser["path"]["part"]}
    return facts
