"""Recipes accepted by `fit`, and recipes that build on trained runs."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import recipes, spec
from pushforward.conditions.kind import met
from pushforward.data import Dataset, ImageSpace, Space, VectorSpace, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.data.core.load import DataLike
from pushforward.errors import CheckpointError, UsageError, did_you_mean
from pushforward.methods.method import HasAutoencoder, LatentMethod, Method
from pushforward.recipes.recipe import Recipe
from pushforward.registries import RECIPES
from pushforward.runtime import device_named
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.loop.machine import seeded
from pushforward.training.loop.model_setup import (
    differing_units,
    examples_of,
    prepare_inputs,
    trainings,
)
from pushforward.training.runs.provenance import seen_by
from pushforward.training.runs.run import Run, described_sampler, load
from pushforward.transports import Autoencoder, Latent, inner_of

RecipeLike = Recipe | Method | str | Callable[..., Recipe | Method]
"""A recipe, a method, a recipe's name, or a function that takes a space or nothing."""


def recipe_from(
    given: Any, data: Dataset, size: str, settings: Mapping[str, Any] | None = None
) -> Recipe | Method:
    """Return a recipe for the data, or a method unchanged."""
    if isinstance(given, (Recipe, Method)):
        return given
    function = recipes.named(given)
    if not callable(function) or isinstance(function, (type, nn.Module)):
        raise UsageError(
            'Expected a recipe: its name (such as "flow"), a recipe function, a Recipe or a '
            f"Method; got {given!r:.200}. Pass the recipe first: pf.fit(recipe, data). A network "
            'is trained inside a recipe: pf.fit("flow", data, network=...). Continue a run with '
            "pf.resume, or reuse its weights with init=run."
        )
    missing = recipes.missing_parts(function)
    if missing:
        raise UsageError(
            f"The recipe {getattr(function, '__name__', function)} needs a trained run as "
            f"{' and '.join(missing)}: pf.fit(pf.training.with_frozen(recipe, "
            f'{{"{missing[0]}": run}}), data).'
        )
    if name_of(given) is not None:
        return function(data.space, size, **(settings or {}))
    if _takes_space(function):
        recipe = function(data.space)
    else:
        recipe = function()
    if not isinstance(recipe, (Recipe, Method)):
        raise UsageError(
            "A recipe function takes a space or nothing, and returns a Recipe or a Method; got "
            f"{recipe!r:.200}."
        )
    return recipe


def _takes_space(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    return False


def name_of(given: Any) -> str | None:
    """Return the name of a built-in recipe, given by name or as a function."""
    if isinstance(given, str):
        return given
    for name, function in RECIPES.items():
        if function is given:
            return name
    return None


def settings_in(given: Any, options: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return the options that are settings of a built-in recipe."""
    name = name_of(given)
    if name is not None and name in RECIPES:
        settings = recipes.settings(RECIPES[name]).keys() - set(known)
        return {option: value for option, value in options.items() if option in settings}
    for option in ("size", "network"):
        if options.get(option) is not None and not isinstance(given, (Dataset, Run)):
            raise UsageError(
                f"`{option}` is part of this recipe. Pass it there: pf.recipes.flow(data.space, "
                f"{option}=...)."
            )
    return {}


def initialise(
    make: Callable[[], Recipe | Method], given: Any, rebuildable: bool, seed: int
) -> tuple[Recipe, bool]:
    """Build a recipe, and return it and whether its weights can be redrawn from the seed."""
    built = seeded(make, seed)
    if isinstance(built, Recipe):
        recipe = built
    else:
        recipe = Recipe(built, name=type(built).__name__.lower())
    if built is given and isinstance(built, Method):
        builds_on = tuple((folder, seen_by(folder)) for folder in trainings(built))
        return replace(recipe, builds_on=builds_on), False
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
            f"This {type(recipe.method).__name__} holds modules that were already used in "
            "training, and cannot be rebuilt from its constructor arguments. Pass a function that "
            "builds it: pf.fit(lambda: pf.recipes.flow(data.space, network=Own()), data, seed=1). "
            "To continue from these weights, pass the method itself: pf.fit(recipe.method, data)."
        )
    return recipe, False


def as_run(run: str | Path | Run, plugins: str | Path | Sequence[str | Path]) -> Run:
    """Return the run, loading it first if a folder is given."""
    if isinstance(run, Run):
        return run
    return load(run, plugins=plugins)


def from_run(init: str | Path | Run, recipe: Recipe) -> tuple[Recipe, Run]:
    """Return the recipe with the averaged weights of a run, and the run."""
    run = as_run(init, ())
    there = _identity(run.spec["recipe"], run.method)
    here = _identity(recipe.name, recipe.method)
    for name, value in there.items():
        if value != here[name]:
            raise UsageError(
                f"`init={run.folder}` was trained with other settings: {name} {value} there and "
                f"{here[name]} here."
            )
    try:
        restore(recipe.method, run.method.state_dict(), run.folder)
    except CheckpointError as error:
        raise UsageError(
            f"The weights of `init={run.folder}` do not fit this {recipe.name}: {error}. Expected "
            "a run with the same recipe, size, settings, classes and data shape."
        ) from error
    builds_on = (*recipe.builds_on, (str(run.folder), run.seen))
    return replace(recipe, builds_on=builds_on), run


def _identity(name: str, method: Method) -> dict[str, Any]:
    content = spec.describe(method)
    denoiser = content.get("denoiser") or {}
    path = denoiser.get("path") or {}
    kinds = method.space.conditions.items()
    return {
        "recipe": name if name in RECIPES else None,
        "method": content["part"],
        "prediction": denoiser.get("prediction"),
        "path": path.get("part"),
        "conditions": [name if name == "label" else kind.describe() for name, kind in kinds],
    }


KINDS = {
    "Autoencoder": "an autoencoder (autoencoder, vae, hvae or vqvae)",
    "Denoiser": "a model that samples in steps (flow, ddpm or edm)",
    "Flow": "a model that samples in steps (flow, ddpm or edm)",
    "FlowMap": "a map between two times (distil, meanflow, shortcut, consistency, dmd or finish)",
    "Latent": "a model in a latent space",
    "Map": "a model that samples in one call (gan or vae)",
    "Transport": "a model",
}
"""What the classes of frozen parts are, with recipes that train them."""


def with_frozen(
    recipe: str | Callable[..., Recipe],
    parts: Mapping[str, str | Path | Run],
    plugins: str | Path | Sequence[str | Path] = (),
) -> Callable[..., Recipe]:
    """Fill the frozen parts of a recipe with networks of trained runs.

    The annotation in the recipe determines the type of a part: an `Autoencoder`, a `Denoiser`, a
    `FlowMap`, or a `Transport`, each with averaged weights. The method freezes it
    (`pushforward.Method.freeze`), and the new run stores it.

    Args:
        recipe: Name of a recipe, or recipe.
        parts: Runs, or their folders, by recipe argument: ``{"teacher": "runs/flow"}``.
        plugins: Python files, or a single file, that these runs were trained with.

    Returns:
        A recipe: ``with_frozen("distil", {"teacher": run})(data.space, "tiny")``.

    Raises:
        UsageError: If the recipe or a run has no such part, or the run has other data.
        CheckpointError: If a run cannot be read.
    """
    function = recipes.named(recipe)
    known = recipes.frozen_parts(function)
    for name in parts:
        if name not in known:
            raise UsageError(
                f'The recipe {function.__name__} has no frozen part "{name}"; frozen parts: '
                f"{', '.join(known) or 'none'}.{did_you_mean(name, known)} A frozen part is a "
                "recipe argument annotated as a Transport, a Denoiser or an Autoencoder."
            )
    runs = {name: as_run(run, plugins) for name, run in parts.items()}

    @functools.wraps(function)
    def bound(space: Space, *arguments: Any, **options: Any) -> Recipe:
        given = {}
        ancestors = []
        samplers = {}
        for name, run in runs.items():
            given[name] = _part(name, run, known[name].annotation, space)
            ancestors.append((str(run.folder), run.seen))
            sampler = described_sampler(run.transport)
            if sampler is not None:
                samplers[name] = sampler
        recipe = function(space, *arguments, **options, **given)
        return replace(
            recipe,
            builds_on=(*recipe.builds_on, *ancestors),
            samplers={**recipe.samplers, **samplers},
        )

    signature = inspect.signature(function)
    remaining = [parameter for name, parameter in signature.parameters.items() if name not in parts]
    bound.__signature__ = signature.replace(parameters=remaining)  # type: ignore[attr-defined]
    return bound


def _part(name: str, run: Run, annotation: Any, space: Space) -> nn.Module:
    kinds = recipes.words_of(annotation)
    if "Autoencoder" in kinds:
        part: Any = None
        if isinstance(run.method, HasAutoencoder):
            part = run.method.autoencoder()
        trained = run.method.space
    else:
        transport = run.transport
        units = run.space
        if differing_units(units, space):  # codes may have the shape of data
            transport = inner_of(transport)
            units = transport.space
        trained = transport.space
        if trained.names and "FlowMap" in kinds:
            raise UsageError(
                f"finish does not support tables. Sample {run.folder} in two or four calls."
            )
        part = transport
        latent = "Latent" in kinds and isinstance(transport, Latent)
        if kinds & {"Denoiser", "FlowMap"} and not latent:
            part = getattr(transport, "denoiser", None)
    same = trained.shape == space.shape
    if "Autoencoder" not in kinds:
        same = not differing_units(units, space)
    expected = sorted(kinds & recipes.MODELS)
    suits = any(base.__name__ in expected for base in type(part).__mro__)
    if not (same and suits and met(trained.conditions, space.conditions)):
        wanted = " or ".join(dict.fromkeys(KINDS[kind] for kind in expected))
        advice = ""
        if "FlowMap" in expected and not suits:
            advice = f" Distil it first: `pushforward distil {shlex.quote(str(run.folder))}`."
        raise UsageError(
            f"The frozen part {name} must be {wanted} that was trained on the same training split, "
            f"of {examples_of(space)}; {run.folder} is a run of {run.spec['recipe']} on data of "
            f"{examples_of(trained)}.{advice}"
        )
    return part  # type: ignore[no-any-return]


def pairs_of(given: Sequence[str]) -> dict[str, str]:
    """Parse names and runs from words such as "teacher=runs/flow"."""
    pairs = {}
    for word in given:
        name, _, run = word.partition("=")
        if not name or not run or name in pairs:
            raise UsageError(
                f'Expected NAME=RUN with each name once, such as teacher=runs/flow; got "{word}".'
            )
        pairs[name] = run
    return pairs


def autoencoder_of(
    run: str | Path | Run, space: Space, plugins: Sequence[str | Path] = ()
) -> Autoencoder:
    """Load the autoencoder of a run (vae, hvae, autoencoder, vqvae), or from a diffusers folder.

    Args:
        run: Run, its folder, or the folder of an AutoencoderKL.
        space: Space of the data.
        plugins: Python files that the run was trained with.

    Raises:
        UsageError: If the run has no autoencoder.
        CheckpointError: If the run cannot be read.
    """
    if not isinstance(run, Run) and (Path(run) / "config.json").is_file():
        from pushforward.interop import autoencoder_from_diffusers

        return Autoencoder(*autoencoder_from_diffusers(run, space), standard=False)
    loaded = as_run(run, plugins)
    if not isinstance(loaded.method, HasAutoencoder):
        raise UsageError(
            f"{loaded.folder} is a {loaded.spec['recipe']}, which has no latent space. Use a run "
            "of autoencoder, vae, hvae or vqvae, or a folder of diffusers' AutoencoderKL."
        )
    return loaded.method.autoencoder()


def code_space(moments: Tensor, data: Space) -> Space:
    """Measure the space of latents drawn from means and log-variances (n, 2 c, ...)."""
    mean, log_variance = moments.double().chunk(2, dim=1)
    axes = [axis for axis in range(mean.dim()) if axis != 1]
    centre = mean.mean(axes)
    variance = mean.var(axes, correction=0) + log_variance.exp().mean(axes)
    std = torch.where(variance > 0, variance.sqrt(), 1.0)
    kind = VectorSpace if mean.dim() == 2 else ImageSpace
    return kind(
        shape=tuple(mean.shape[1:]),
        mean=tuple(centre.tolist()),
        std=tuple(std.tolist()),
        conditions=data.conditions,
    )


def in_latent(
    recipe: str | Callable[..., Recipe],
    data: DataLike,
    run: str | Path | Run | Autoencoder,
    size: str = "small",
    *,
    device: torch.device | str = "cpu",
    plugins: Sequence[str | Path] = (),
    **options: Any,
) -> Recipe:
    """Build a recipe that trains in the latent space of an autoencoder.

    Args:
        recipe: Name of a recipe, or recipe.
        data: Data set to encode, or its name or path.
        run: Run or folder with an autoencoder, a folder of diffusers' AutoencoderKL, or an
            `Autoencoder`.
        size: Size of the recipe's networks.
        device: Device for encoding.
        plugins: Python files that the run was trained with; pass them to `pushforward.fit` as well.
        options: Settings of the recipe.

    Returns:
        A recipe that `pushforward.fit` trains on ``data``, with a transport that decodes.

    Raises:
        UsageError: If the autoencoder takes other examples, or conditions that the data lacks.
        CheckpointError: If the run cannot be read.
    """
    data = dataset_of(data)
    device = device_named(device)
    autoencoder = run if isinstance(run, Autoencoder) else autoencoder_of(run, data.space, plugins)
    there = autoencoder.space
    here = data.space
    if there.shape != here.shape or not met(there.conditions, here.conditions):
        raise UsageError(
            f"The autoencoder takes examples of {examples_of(there)}; {data.name} has "
            f"{examples_of(here)}. Train an autoencoder on this data, resize the images "
            "(`resize=N`), or train one without labels (`labelled=False`)."
        )
    codes = prepare_inputs(_Alone(autoencoder.to(device)), data, device)["x"]
    space = code_space(codes, data.space)
    inner = recipes.named(recipe)(space, size, **options)
    if isinstance(run, Run):
        ancestor = (str(run.folder), run.seen)
    elif isinstance(run, (str, Path)):
        ancestor = (str(run), seen_by(run))
    else:
        ancestor = ("an autoencoder passed in Python", Seen())
    method = LatentMethod(inner.method, autoencoder)
    family = f"{inner.family} in a latent space"
    return Recipe(method, inner.training, inner.name, family, (*inner.builds_on, ancestor))


class _Alone:
    prepared = LatentMethod.prepared

    def __init__(self, frozen: Autoencoder) -> None:
        self.frozen = frozen.eval()
        self.space = frozen.space

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self.frozen}
