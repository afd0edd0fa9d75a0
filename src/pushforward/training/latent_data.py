"""Training in a latent space: data encoded once, the codes' own units measured, any recipe on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import recipes
from pushforward.conditions.kind import described, met
from pushforward.data import Dataset, ImageSpace, Space, VectorSpace, dataset_of
from pushforward.data.core.train_hashes import Seen
from pushforward.devices import device_named
from pushforward.errors import UsageError
from pushforward.methods.latent_method import LatentMethod
from pushforward.methods.method import HasAutoencoder
from pushforward.recipes.recipe import Recipe
from pushforward.training.lineage import seen_by
from pushforward.training.preparing import prepared
from pushforward.training.run import Run, load
from pushforward.transports import Autoencoder

__all__ = ["autoencoder_of", "code_space", "in_latent"]


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
    _check(autoencoder.space, data)
    codes = prepared(_Alone(autoencoder.to(device)), data, device)["x"]
    space = code_space(codes, data.space)
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    inner = function(space, size, **options)
    builds_on = (*inner.builds_on, _ancestor(run))
    return Recipe(
        LatentMethod(inner.method, autoencoder), inner.training, inner.name, f"{inner.family} in a latent space", builds_on
    )


def _ancestor(run: str | Path | Run | Autoencoder) -> tuple[str, Seen]:
    """The name of the autoencoder, and its training examples."""
    if isinstance(run, Autoencoder):
        return "an autoencoder handed over in Python", Seen()
    return (str(run.folder), run.seen) if isinstance(run, Run) else (str(run), seen_by(run))


class _Alone:
    """An autoencoder without a method on top, which prepares the same inputs as `LatentMethod`."""

    prepared = LatentMethod.prepared

    def __init__(self, frozen: Autoencoder) -> None:
        self.frozen, self.space = frozen.eval(), frozen.space

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self.frozen}


def _check(space: Space, data: Dataset) -> None:
    if tuple(space.shape) != tuple(data.space.shape):
        raise UsageError(
            f"The autoencoder takes examples of shape {tuple(space.shape)}; {data.name} has {tuple(data.space.shape)}. Train one "
            "on this data, or bring the images to its size: `resize=N`."
        )
    if not met(space.conditions, data.space.conditions):
        raise UsageError(
            f"The autoencoder receives {described(space.conditions)}; {data.name} has {described(data.space.conditions)}. Train "
            "one without labels: `labelled=False`."
        )
