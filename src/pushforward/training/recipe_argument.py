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
from pushforward.conditions.kind import described, met
from pushforward.data import Dataset, ImageSpace, Space, VectorSpace, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.data.core.load import DataLike
from pushforward.errors import CheckpointError, UsageError, did_you_mean
from pushforward.methods.latent_method import LatentMethod
from pushforward.methods.method import HasAutoencoder, Method
from pushforward.recipes.recipe import Recipe
from pushforward.registries import RECIPES
from pushforward.runtime import device_named
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.loop.machine import seeded
from pushforward.training.loop.model_setup import close, prepared, trainings
from pushforward.training.runs.learned_solvers import described_sampler
from pushforward.training.runs.provenance import seen_by
from pushforward.training.runs.run import Run, load
from pushforward.transports import Autoencoder, Latent, inner_of

RecipeLike = Recipe | Method | str | Callable[..., Recipe | Method]
"""A recipe, a method, a recipe's name, or a recipe function, called with the data's space unless it
takes no arguments."""


def recipe_from(
    given: Any, data: Dataset, size: str, settings: Mapping[str, Any] | None = None
) -> Recipe | Method:
    """Return a recipe for the data, or a method unchanged."""
    if isinstance(given, (Recipe, Method)):
        return given
    function = recipes.named(given) if isinstance(given, str) else given
    if not callable(function) or isinstance(function, (type, nn.Module)):
        hint = ' A network is trained inside a recipe: pf.fit("flow", data, network=...).'
        if isinstance(given, (Dataset, Space)):
            hint = " Pass the recipe first, then the data: pf.fit(recipe, data)."
        if isinstance(given, Run):
            hint = " Continue a run with pf.resume(run.folder, steps=...), or reuse its weights: pf.fit(recipe, data, init=...)."
        raise UsageError(
            'Expected a recipe: its name (such as "flow"), a recipe function, a Recipe or a '
            f"Method; got {given!r:.200}.{hint}"
        )
    if missing := recipes.missing_parts(function):
        parts = ", ".join(f'"{name}": run' for name in missing)
        name = getattr(function, "__name__", function)
        written = f'"{given}"' if isinstance(given, str) else name
        raise UsageError(
            f"The recipe {name} needs a trained run: pf.fit(pf.training.with_frozen({written}, "
            f"{{{parts}}}), data)."
        )
    if name_of(given) is not None:
        return function(data.space, size, **(settings or {}))
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(function).parameters.values()
    takes_space = any(
        parameter.default is parameter.empty and parameter.kind in kinds for parameter in parameters
    )
    recipe = function(data.space) if takes_space else function()
    if not isinstance(recipe, (Recipe, Method)):
        raise UsageError(
            "A recipe function takes a space or nothing, and returns a Recipe or a Method; got "
            f"{recipe!r:.200}."
        )
    return recipe


def name_of(given: Any) -> str | None:
    """Return the name of a built-in recipe, given by name or as a function."""
    if isinstance(given, str):
        return given
    return next((name for name, function in RECIPES.items() if function is given), None)


def settings_in(given: Any, options: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return the options that are settings of a built-in recipe."""
    name = name_of(given)
    if name is not None and name in RECIPES:
        settings = recipes.settings(RECIPES[name])
        return {
            option: options[option]
            for option in options
            if option in settings and option not in known
        }
    for option in ("size", "network"):
        if options.get(option) is not None and not isinstance(given, (Dataset, Run)):
            raise UsageError(
                f'The argument {option}= is for a recipe given by its name, such as pf.fit("flow", '
                f"data, {option}=...); here it "
                f"is part of the recipe: pf.recipes.flow(data.space, {option}=...)."
            )
    return {}


def started(
    make: Callable[[], Recipe | Method], given: Any, rebuildable: bool, seed: int
) -> tuple[Recipe, bool]:
    """Build a recipe, and return it and whether its weights can be redrawn from the seed."""
    built = seeded(make, seed)
    if isinstance(built, Recipe):
        recipe = built
    else:
        recipe = Recipe(built, name=type(built).__name__.lower())
    if built is given and isinstance(built, Method):
        return replace(
            recipe, builds_on=tuple((folder, seen_by(folder)) for folder in trainings(built))
        ), False
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
            "training, and cannot be "
            "rebuilt from its constructor arguments. Pass a function that builds it: "
            "pf.fit(lambda: "
            "pf.recipes.flow(data.space, network=Own()), data, seed=1). To continue from these "
            "weights, pass the "
            "method itself: pf.fit(recipe.method, data)."
        )
    return recipe, False


def opened(run: str | Path | Run, plugins: str | Path | Sequence[str | Path]) -> Run:
    """Return the run, loading it first if a folder is given."""
    if isinstance(run, Run):
        return run
    return load(run, plugins=plugins)


def from_run(init: str | Path | Run, recipe: Recipe) -> tuple[Recipe, Run]:
    """Return the recipe with the averaged weights of a run, and the run."""
    run = opened(init, ())
    there = _identity(run.spec["recipe"], run.spec["method"])
    here = _identity(recipe.name, spec.describe(recipe.method))
    conditions = run.method.space.conditions, recipe.method.space.conditions
    there["conditions"], here["conditions"] = (", ".join(kinds) or "none" for kinds in conditions)
    for name in conditions[0].keys() & conditions[1].keys() - {"label"}:
        if not conditions[0][name].fits(conditions[1][name]):
            there[name], here[name] = (kinds[name].describe() for kinds in conditions)
    if differing := [name for name in there if name in here and there[name] != here[name]]:
        what = ", ".join(f"{name} {there[name]} there and {here[name]} here" for name in differing)
        raise UsageError(f"`init={run.folder}` was trained with other settings: {what}.")
    try:
        restore(recipe.method, run.method.state_dict(), run.folder)
    except CheckpointError as error:
        raise UsageError(
            f"The weights of `init={run.folder}` do not fit this {recipe.name}: {error}. Expected "
            "a run with the same "
            "recipe, size, settings, classes and data shape."
        ) from error
    return replace(recipe, builds_on=(*recipe.builds_on, (str(run.folder), run.seen))), run


def _identity(name: str, method: Any) -> dict[str, Any]:
    facts = {"recipe": name} if name in RECIPES else {}
    facts["method"] = method["part"]
    denoiser = method.get("denoiser")
    if isinstance(denoiser, Mapping) and {"prediction", "path"} <= denoiser.keys():
        facts |= {"prediction": denoiser["prediction"], "path": denoiser["path"]["part"]}
    return facts


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
    `FlowMap`, or a `Transport`, each with the run's averaged weights. The recipe passes the part to
    its method, which freezes it (`pushforward.Method.freeze`). The new run stores the part, so the
    other run is no longer needed. In a latent space, a part may be a model of the data in the same
    latent space.

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
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    known = recipes.frozen_parts(function)
    for name in parts:
        if name not in known:
            raise UsageError(
                f'The recipe {function.__name__} has no frozen part "{name}"; frozen parts: '
                f"{', '.join(known) or 'none'}.{did_you_mean(name, known)} A frozen part is a "
                "recipe argument annotated "
                "as a Transport, a Denoiser or an Autoencoder."
            )
    runs = {name: opened(run, plugins) for name, run in parts.items()}

    @functools.wraps(function)
    def bound(space: Space, *arguments: Any, **options: Any) -> Recipe:
        given = {
            name: _part(name, run, known[name].annotation, space) for name, run in runs.items()
        }
        recipe = function(space, *arguments, **options, **given)
        ancestors = tuple((str(run.folder), run.seen) for run in runs.values())
        described = {name: described_sampler(run.transport) for name, run in runs.items()}
        samplers = {
            **recipe.samplers,
            **{name: sampler for name, sampler in described.items() if sampler is not None},
        }
        return replace(recipe, builds_on=(*recipe.builds_on, *ancestors), samplers=samplers)

    signature = inspect.signature(function)
    remaining = [parameter for name, parameter in signature.parameters.items() if name not in parts]
    bound.__signature__ = signature.replace(parameters=remaining)  # type: ignore[attr-defined]
    return bound


def _part(name: str, run: Run, annotation: Any, space: Space) -> nn.Module:
    kinds = recipes.words_of(annotation)
    if "Autoencoder" in kinds:
        part: Any = run.method.autoencoder() if isinstance(run.method, HasAutoencoder) else None
        trained = run.method.space
    else:
        transport = run.transport
        if tuple(transport.space.shape) != tuple(space.shape) or _other_units(
            transport.space, space
        ):
            transport = inner_of(transport)  # codes may have the shape of data
        trained = transport.space
        if trained.names and "FlowMap" in kinds:
            raise UsageError(
                f"finish does not support tables. Sample {run.folder} in two or four calls."
            )
        whole = not kinds & {"Denoiser", "FlowMap"} or (
            "Latent" in kinds and isinstance(transport, Latent)
        )
        part = transport if whole else getattr(transport, "denoiser", None)
    if tuple(trained.shape) != tuple(space.shape) or not met(trained.conditions, space.conditions):
        data = (run.spec.get("data") or {}).get("name_or_path")
        raise UsageError(
            f"The frozen part {name} of {run.folder} is for data of shape {tuple(trained.shape)} "
            "with "
            f"{described(trained.conditions)}; here the shape is {tuple(space.shape)}, with "
            f"{described(space.conditions)}. "
            "Pass a run of the same "
            f"data{'' if data is None else f', or the data of this run: `data={shlex.quote(str(data))}`'}."
        )
    for unit in _other_units(trained, space) if "Autoencoder" not in kinds else ():
        raise UsageError(
            f"The frozen part {name} of {run.folder} was trained on data with another {unit}, so "
            "its samples would "
            "have the wrong units. Use a run that was trained on the same training split."
        )
    expected = sorted(kinds & recipes.MODELS)
    if not any(base.__name__ in expected for base in type(part).__mro__):
        wanted = " or ".join(dict.fromkeys(KINDS[kind] for kind in expected))
        if "FlowMap" in expected:
            first = f" Distil it first: `pushforward distil {shlex.quote(str(run.folder))}`."
        else:
            first = ""
        raise UsageError(
            f"{run.folder} is a run of {run.spec['recipe']}, but the frozen part {name} must be "
            f"{wanted}.{first}"
        )
    return part  # type: ignore[no-any-return]


def _other_units(trained: Space, space: Space) -> list[str]:
    units = space.units
    return [
        name
        for name, value in units.items()
        if not close(getattr(trained, name), value, units["std"])
    ]


def pairs_of(given: Sequence[str]) -> dict[str, str]:
    """Parse names and runs from words such as "teacher=runs/flow"."""
    pairs: dict[str, str] = {}
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
    loaded = opened(run, plugins)
    if not isinstance(loaded.method, HasAutoencoder):
        raise UsageError(
            f"{loaded.folder} is a {loaded.spec['recipe']}, which has no latent space. Use a run "
            "of autoencoder, vae, "
            "hvae or vqvae, or a folder of diffusers' AutoencoderKL."
        )
    return loaded.method.autoencoder()


def code_space(moments: Tensor, data: Space) -> Space:
    """Measure the space of latents drawn from means and log-variances (n, 2 c, ...)."""
    mean, log_variance = moments.double().chunk(2, dim=1)
    axes = [axis for axis in range(mean.dim()) if axis != 1]
    centre = mean.mean(axes)
    variance = mean.var(axes, correction=0) + log_variance.exp().mean(axes)
    std = torch.where(variance > 0, variance.sqrt(), 1.0)
    return (VectorSpace if mean.dim() == 2 else ImageSpace)(
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
    """Build a recipe in the latent space of an autoencoder: data is encoded once, and the recipe trains on the latents.

    Args:
        recipe: Name of a recipe, or recipe.
        data: Data set to encode, or its name or path, with examples of the shape that the
            autoencoder takes.
        run: Autoencoder: a run or its folder, a folder of diffusers' AutoencoderKL, or an
            `Autoencoder`.
        size: Size of the recipe's networks.
        device: Device for encoding. Examples that are redrawn in every epoch (`binary-mnist`) are
            encoded from one draw.
        plugins: Python files that the run was trained with, which the new run also needs (pass them
            to `pushforward.fit`).
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
    if tuple(there.shape) != tuple(here.shape) or not met(there.conditions, here.conditions):
        raise UsageError(
            f"The autoencoder takes examples of shape {tuple(there.shape)} with "
            f"{described(there.conditions)}; "
            f"{data.name} has {tuple(here.shape)}, with {described(here.conditions)}. Train an "
            "autoencoder on this "
            "data, resize the images (`resize=N`), or train one without labels (`labelled=False`)."
        )
    codes = prepared(_Alone(autoencoder.to(device)), data, device)["x"]
    space = code_space(codes, data.space)
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    inner = function(space, size, **options)
    if isinstance(run, (str, Path)):
        ancestor = (str(run), seen_by(run))
    else:
        ancestor = ("an autoencoder passed in Python", Seen())
    if isinstance(run, Run):
        ancestor = (str(run.folder), run.seen)
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
