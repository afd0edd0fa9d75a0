"""Recipes on frozen networks of runs: with a teacher or another part that is not trained, or in an autoencoder's latent space."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import recipes
from pushforward.conditions.kind import described, met
from pushforward.data import Dataset, ImageSpace, Space, VectorSpace, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.devices import device_named
from pushforward.errors import UsageError, did_you_mean
from pushforward.methods.latent_method import LatentMethod
from pushforward.methods.method import HasAutoencoder
from pushforward.recipes.recipe import Recipe
from pushforward.training.loop.model_setup import close
from pushforward.training.runs.learned_solvers import described_sampler
from pushforward.training.runs.precompute import prepared
from pushforward.training.runs.provenance import seen_by
from pushforward.training.runs.run import Run, load
from pushforward.transports import Autoencoder, Latent, inner_of

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
            raise UsageError(
                f'The recipe {function.__name__} has no frozen part "{name}"; it takes {", ".join(known) or "none"}.'
                f"{did_you_mean(name, known)} A frozen part is an argument of a recipe that is annotated as a Transport, a "
                "Denoiser or an Autoencoder."
            )
    runs = {name: run if isinstance(run, Run) else load(run, plugins=plugins) for name, run in parts.items()}

    @functools.wraps(function)
    def bound(space: Space, *arguments: Any, **options: Any) -> Recipe:
        given = {name: _part(name, run, known[name].annotation, space) for name, run in runs.items()}
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
        part: Any = run.method.autoencoder() if isinstance(run.method, HasAutoencoder) else None
        trained = run.method.space
    else:
        transport = run.transport
        if tuple(transport.space.shape) != tuple(space.shape) or _other_units(transport.space, space):
            transport = inner_of(transport)  # codes may have the shape of data
        trained = transport.space
        if trained.names and "FlowMap" in kinds:
            raise UsageError(f"No critic finishes maps of tables: take {run.folder} as it is, in two or four calls.")
        whole = not kinds & {"Denoiser", "FlowMap"} or ("Latent" in kinds and isinstance(transport, Latent))
        part = transport if whole else getattr(transport, "denoiser", None)
    if tuple(trained.shape) != tuple(space.shape) or not met(trained.conditions, space.conditions):
        data = (run.spec.get("data") or {}).get("name_or_path")
        raise UsageError(
            f"The frozen part {name} of {run.folder} is for data of shape {tuple(trained.shape)} with "
            f"{described(trained.conditions)}; here the shape is {tuple(space.shape)}, with {described(space.conditions)}. "
            f"Give a run of the same data{'' if data is None else f', or the data of this run: `data={shlex.quote(str(data))}`'}."
        )
    for unit in _other_units(trained, space) if "Autoencoder" not in kinds else ():
        raise UsageError(
            f"The frozen part {name} of {run.folder} learned from data of another {unit}: its samples would be read in the wrong "
            "units. Give a run that was trained on the same training split."
        )
    expected = sorted(kinds & recipes.MODELS)
    if not any(base.__name__ in expected for base in type(part).__mro__):
        wanted = " or ".join(dict.fromkeys(KINDS[kind] for kind in expected))
        first = f" Distil it first: `pushforward distil {shlex.quote(str(run.folder))}`." if "FlowMap" in expected else ""
        raise UsageError(f"{run.folder} is a run of {run.spec['recipe']}; the frozen part {name} must be {wanted}.{first}")
    return part  # type: ignore[no-any-return]


def _other_units(trained: Space, space: Space) -> list[str]:
    units = space.units
    return [name for name, value in units.items() if not close(getattr(trained, name), value, units["std"])]


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


def autoencoder_of(run: str | Path | Run, space: Space, plugins: Sequence[str | Path] = ()) -> Autoencoder:
    """The autoencoder of a run (vae, hvae, autoencoder, vqvae), or of a folder that diffusers wrote.

    Args:
        run: The run, its folder, or the folder of an AutoencoderKL.
        space: Of the data that it is for.
        plugins: Python files that the run was trained with.

    Raises:
        UsageError: For a run without one.
        CheckpointError: If the run cannot be read.
    """
    if not isinstance(run, Run) and (Path(run) / "config.json").is_file():
        from pushforward.interop import autoencoder_from_diffusers

        return Autoencoder(*autoencoder_from_diffusers(run, space), standard=False)
    loaded = run if isinstance(run, Run) else load(run, plugins=plugins)
    if not isinstance(loaded.method, HasAutoencoder):
        raise UsageError(
            f"{loaded.folder} is a {loaded.spec['recipe']}, which has no codes. A latent space comes from a run of autoencoder, "
            "vae, hvae or vqvae, or from a folder of diffusers' AutoencoderKL."
        )
    return loaded.method.autoencoder()


def code_space(moments: Tensor, data: Space) -> Space:
    """The space of codes drawn from means and log-variances, its units measured: E and Var over examples, places and draws.

    Args:
        moments: (n, 2 c, ...).
        data: The data's space; its conditions become the codes'.
    """
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
    data: Dataset | str | Path,
    run: str | Path | Run | Autoencoder,
    size: str = "small",
    *,
    device: torch.device | str = "cpu",
    plugins: Sequence[str | Path] = (),
    **options: Any,
) -> Recipe:
    """A recipe in the latent space of an autoencoder: the data is encoded once, and the recipe trains on its codes.

    Args:
        recipe: A recipe's name, or a recipe.
        data: The data to encode, a data set or its name or path; its examples must have the shape that the autoencoder takes.
        run: The autoencoder: a run or its folder, a folder of diffusers' AutoencoderKL, or an `Autoencoder`.
        size: The size of the recipe's networks.
        device: Where the data is encoded. Examples that are drawn again in every epoch (`binary-mnist`) are encoded as they were
            drawn once.
        plugins: Python files that the run was trained with; the new run needs them too (`pushforward.fit` takes them).
        options: The recipe's own settings.

    Returns:
        A recipe that `pushforward.fit` trains on ``data``; its transport decodes.

    Raises:
        UsageError: If the autoencoder takes other examples, or receives conditions that the data lacks.
        CheckpointError: If the run cannot be read.
    """
    data, device = dataset_of(data), device_named(device)
    autoencoder = run if isinstance(run, Autoencoder) else autoencoder_of(run, data.space, plugins)
    there, here = autoencoder.space, data.space
    if tuple(there.shape) != tuple(here.shape) or not met(there.conditions, here.conditions):
        raise UsageError(
            f"The autoencoder takes examples of shape {tuple(there.shape)} with {described(there.conditions)}; {data.name} has "
            f"{tuple(here.shape)}, with {described(here.conditions)}. Train one on this data, bring the images to its size "
            "(`resize=N`), or train one without labels: `labelled=False`."
        )
    codes = prepared(_Alone(autoencoder.to(device)), data, device)["x"]
    space = code_space(codes, data.space)
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    inner = function(space, size, **options)
    ancestor = (str(run), seen_by(run)) if isinstance(run, (str, Path)) else ("an autoencoder handed over in Python", Seen())
    ancestor = (str(run.folder), run.seen) if isinstance(run, Run) else ancestor
    method, family = LatentMethod(inner.method, autoencoder), f"{inner.family} in a latent space"
    return Recipe(method, inner.training, inner.name, family, (*inner.builds_on, ancestor))


class _Alone:
    """An autoencoder without a method on top, which prepares the same inputs as `LatentMethod`."""

    prepared = LatentMethod.prepared

    def __init__(self, frozen: Autoencoder) -> None:
        self.frozen, self.space = frozen.eval(), frozen.space

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self.frozen}
