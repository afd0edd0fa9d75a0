"""Trainings of every recipe, and of what recipes can be given: tiny networks on random data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from programs.interruptions import Chain, killed_by_signal

import pushforward as pf
from pushforward.pictures import grid_picture
from pushforward.registries import RECIPES
from pushforward.testing import recipe_for, shape_for, space_data
from pushforward.testing.models import teachers_for

__all__ = ["CASES", "Case"]

IMAGES = (1, 8, 8)


@dataclass(frozen=True)
class Case:
    """A training.

    Args:
        recipe: A recipe's name, or a function of a space and a size.
        shape: Of the data; None takes one that suits the recipe.
        fit: Options of `pushforward.fit`.
        latent: Whether the recipe trains on the codes of an autoencoder.
        batch: Examples of a batch, which has two parts.
    """

    recipe: str | Callable[..., pf.Recipe]
    shape: tuple[int, ...] | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    latent: bool = False
    batch: int = 128

    @functools.cached_property
    def data(self) -> Any:
        """The data, with labels: an epoch has two steps."""
        return space_data(self.shape or shape_for(str(self.recipe)), labels=True, n=2 * self.batch)

    @property
    def images(self) -> bool:
        """Whether its data can stay on disk."""
        return bool(self.data.space.has_pixels)

    def streamed(self, folder: Path, workers: int) -> Case:
        """This training on images of a folder, which stay on disk and are read by so many
        workers.
        """
        if not folder.is_dir():
            pictures = space_data(self.data.space.shape, labels=True, n=3 * self.batch).train
            for number, (picture, label) in enumerate(
                zip(pictures.x, pictures.labels, strict=True)
            ):
                (folder / str(label)).mkdir(parents=True, exist_ok=True)
                grid_picture(np.moveaxis(picture, 0, -1)[None]).save(
                    folder / str(label) / f"{number}.png"
                )
        case = replace(self)
        case.__dict__["data"] = pf.data.load(
            folder, stream=True, workers=workers, limit=2 * self.batch
        )
        return case

    def build(self, **training: Any) -> pf.Recipe:
        """The recipe, always of the same first weights."""
        training = {"batch": self.batch, "accumulate": 2, **training}
        if not self.latent:
            return recipe_for(self.recipe, self.data, **training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            coder = pf.recipes.vae(self.data.space, "tiny").method.autoencoder()
            built = pf.in_latent(self.recipe, self.data, coder, "tiny")
        return replace(built, training=replace(built.training, **training))

    def chain(
        self, folder: Path, options: Mapping[str, Any], smoke: bool, keep: int | None = None
    ) -> Chain:
        """The training in a folder, to be killed; in a smoke run an exception stands for the
        signal.
        """
        folder.mkdir(parents=True, exist_ok=True)
        die = (lambda: None) if smoke else killed_by_signal
        return Chain(self.build, self.data, folder, {**options, **self.fit}, keep, die)


def given(recipe: Callable[..., pf.Recipe], **options: Any) -> Callable[..., pf.Recipe]:
    """A recipe with options of its own."""

    def with_options(space: Any, size: str) -> pf.Recipe:
        return recipe(space, size, **options)

    return with_options


def reflow(space: Any, size: str) -> pf.Recipe:
    """A flow that is trained on the noise and the samples of a teacher."""
    teacher = teachers_for(pf.recipes.named("distil"), space)["teacher"]
    return pf.recipes.flow(space, size, coupling="reflow", teacher=teacher, pairs=64)


CASES = {
    **{name: Case(name) for name in RECIPES},
    "flow, optimal transport": Case(given(pf.recipes.flow, coupling="ot"), (17,), batch=256),
    "flow, images, augmented": Case("flow", IMAGES, {"augment": ("flip", "shift", "dequantise")}),
    "flow, latent": Case("flow", IMAGES, latent=True),
    "flow, reflow": Case(reflow, (17,)),
    "gan, images, adaptive": Case(
        given(pf.recipes.gan, augment_critic="color,translation", ada_target=0.6, minibatch_std=4),
        IMAGES,
    ),
    "gan, wasserstein": Case(given(pf.recipes.gan, loss="wasserstein"), (17,)),
    "shortcut, average": Case(given(pf.recipes.shortcut, average=500.0), (17,)),
}
"""By name."""
