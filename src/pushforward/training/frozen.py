"""Recipes with frozen parts: a teacher, or any other network of a run that is read and not trained."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pushforward import recipes
from pushforward.conditions.kind import described, met
from pushforward.data import Space
from pushforward.errors import UsageError, did_you_mean
from pushforward.methods.method import HasAutoencoder
from pushforward.recipes.recipe import Recipe
from pushforward.training.checks import close
from pushforward.training.run import Run, load
from pushforward.training.samplers import described_sampler
from pushforward.transports import Latent, inner_of

__all__ = ["pairs_of", "with_frozen"]

KINDS = {
    "Autoencoder": "an autoencoder (autoencoder, vae, hvae or vqvae)",
    "Denoiser": "a model that samples in steps (flow, ddpm or edm)",
    "Flow": "a model that samples in steps (flow, ddpm or edm)",
    "FlowMap": "a map between two times (distil, meanflow, shortcut, consistency, dmd or finish)",
    "Latent": "a model in a latent space",
    "Map": "a model that samples in one call (gan or vae)",
    "Transport": "a model",
}
"""What the classes of frozen parts are, with recipes that make them."""


def with_frozen(
    recipe: str | Callable[..., Recipe], parts: Mapping[str, str | Path | Run], plugins: str | Path | Sequence[str | Path] = ()
) -> Callable[..., Recipe]:
    """A recipe that takes frozen parts, with networks of runs in their places.

    The type of a part follows from its annotation in the recipe: an `Autoencoder`, a `Denoiser`, a `FlowMap`, or a
    `Transport`, each with the run's averaged weights. The recipe passes it to its method, which freezes it
    (`pushforward.Method.freeze`): the new run stores it, and then needs the other run no more. In a latent space a part may be a
    model of the data that lives in the same latent space.

    Args:
        recipe: A recipe's name, or a recipe.
        parts: A run, or its folder, by the name of the recipe's argument: ``{"teacher": "runs/flow"}``.
        plugins: Python files, or a single one, that these runs were trained with.

    Returns:
        A recipe: ``with_frozen("distil", {"teacher": run})(data.space, "tiny")``.

    Raises:
        UsageError: If the recipe takes no such part, or a run has none, or it is a model of other data.
        CheckpointError: If a run cannot be read.
    """
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    known = recipes.frozen_parts(function)
    for name in parts:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise UsageError(
                f'The recipe {function.__name__} has no frozen part "{name}"; {takes}.{did_you_mean(name, known)} A frozen part '
                "is an argument of a recipe that is annotated as a Transport, a Denoiser or an Autoencoder."
            )
    runs = {name: run if isinstance(run, Run) else load(run, plugins=plugins) for name, run in parts.items()}

    @functools.wraps(function)
    def bound(space: Space, *arguments: Any, **options: Any) -> Recipe:
        given = {name: _part(name, run, known[name].annotation, space) for name, run in runs.items()}
        for name, part in given.items():
            _check_kind(part, known[name].annotation, f"the {name} of {function.__name__}", runs[name])
        recipe = function(space, *arguments, **options, **given)
        ancestors = tuple((str(run.folder), run.seen) for run in runs.values())
        described = {name: described_sampler(run.transport) for name, run in runs.items()}
        samplers = {**recipe.samplers, **{name: sampler for name, sampler in described.items() if sampler is not None}}
        return dataclasses.replace(recipe, builds_on=(*recipe.builds_on, *ancestors), samplers=samplers)

    signature = inspect.signature(function)
    remaining = [parameter for name, parameter in signature.parameters.items() if name not in parts]
    bound.__signature__ = signature.replace(parameters=remaining)  # type: ignore[attr-defined]
    return bound


def _part(name: str, run: Run, annotation: Any, space: Space) -> nn.Module:
    """The part of a run that an argument is annotated as.

    Raises:
        UsageError: If the run has none, or it is for other data.
    """
    kinds = recipes.words_of(annotation)
    if "Autoencoder" in kinds:
        if not isinstance(run.method, HasAutoencoder):
            raise UsageError(f"{run.folder} is a {run.spec['recipe']}, which has no autoencoder to be the frozen part {name}.")
        part: nn.Module = run.method.autoencoder()
        trained = run.method.space
    else:
        transport = run.transport
        if tuple(transport.space.shape) != tuple(space.shape) or other_units(transport.space, space):
            transport = inner_of(transport)  # codes may have the shape of data
        trained = transport.space
        if trained.names and "FlowMap" in kinds:
            raise UsageError(f"No critic finishes maps of tables: take {run.folder} as it is, in two or four calls.")
        inside = kinds & {"Denoiser", "FlowMap"}
        whole = not inside or ("Latent" in kinds and isinstance(transport, Latent))
        part = transport if whole else getattr(transport, "denoiser", None)  # type: ignore[assignment]
        if part is None:
            raise UsageError(f"{run.folder} is a one-call model: it has no denoiser to be the frozen part {name}.")
    if tuple(trained.shape) != tuple(space.shape) or not met(trained.conditions, space.conditions):
        raise UsageError(
            f"The frozen part {name} of {run.folder} is for data of shape {tuple(trained.shape)} with "
            f"{described(trained.conditions)}; here the shape is {tuple(space.shape)}, with {described(space.conditions)}. "
            f"Give a run of the same data{_or_data(run)}."
        )
    if "Autoencoder" not in kinds:
        _check_units(name, run, trained, space)
    return part


def _or_data(run: Run) -> str:
    """The advice to take a run's own data instead; empty where it came from Python."""
    name = (run.spec.get("data") or {}).get("name_or_path")
    return "" if name is None else f", or the data of this run: `data={shlex.quote(str(name))}`"


def _check_units(name: str, run: Run, trained: Space, space: Space) -> None:
    """Refuse a model of data in other units: its samples would be read in the wrong ones."""
    for unit in other_units(trained, space):
        raise UsageError(
            f"The frozen part {name} of {run.folder} learned from data whose {unit} is {_shortened(getattr(trained, unit))}; "
            f"that of this data is {_shortened(space.units[unit])}. Give a run that was trained on the same training split."
        )


def other_units(trained: Space, space: Space) -> list[str]:
    """The names of the units in which two spaces of one shape differ."""
    units = space.units
    return [name for name, value in units.items() if not close(getattr(trained, name), value, units["std"])]


def _shortened(values: Sequence[float]) -> str:
    text = ", ".join(f"{value:.4g}" for value in values[:3])
    return f"({text}{', ...' if len(values) > 3 else ''})"


def _check_kind(part: nn.Module, annotation: Any, role: str, run: Run) -> None:
    """Refuse a part of another class than its annotation names."""
    expected = sorted(recipes.words_of(annotation) & recipes.MODELS)
    if not any(base.__name__ in expected for base in type(part).__mro__):
        kinds = " or ".join(dict.fromkeys(KINDS[name] for name in expected))
        first = f" Distil it first: `pushforward distil {shlex.quote(str(run.folder))}`." if "FlowMap" in expected else ""
        raise UsageError(f"{run.folder} is a run of {run.spec['recipe']}; {role} must be {kinds}.{first}")


def pairs_of(given: Sequence[str]) -> dict[str, str]:
    """Names and runs from words such as "teacher=runs/flow".

    Raises:
        UsageError: For a word without a name or a run, or a name that stands twice.
    """
    pairs: dict[str, str] = {}
    for word in given:
        name, _, run = word.partition("=")
        if not name or not run or name in pairs:
            raise UsageError(f'"{word}" is no frozen part: write NAME=RUN, such as teacher=runs/flow, each name once.')
        pairs[name] = run
    return pairs
