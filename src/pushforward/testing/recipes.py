"""The laws of recipes: train, be killed, resume, be stored, sample, be scored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward import spec
from pushforward.data import Dataset
from pushforward.recipes import RecipeFunction
from pushforward.testing.laws import law
from pushforward.testing.methods import check_method
from pushforward.testing.samples import recipe_for, space_data
from pushforward.training import Run, checkpoint, fit, load
from pushforward.training.digests import MEASURED
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare
from pushforward.transports import Flow, Transport

State = tuple[Mapping[str, Mapping[str, Tensor]], dict[str, Any]]
FEW = 4
"""Steps of a sampler, at most, where a law is not of its steps."""


def final_state(folder: Path) -> State:
    """Every tensor and counter of a run's newest checkpoint, without measurements and settings."""
    newest = checkpoint.latest(folder / "checkpoints")
    assert newest is not None, f"{folder} has no checkpoint."
    stored = checkpoint.load(newest)
    return stored.tensors, {name: value for name, value in stored.state.items() if name not in MEASURED}


def assert_same(a: State, b: State) -> None:
    """Two final states agree to the last bit."""
    assert a[1] == b[1], f"Counters differ: {a[1]} and {b[1]}."
    assert a[0].keys() == b[0].keys() == {"method", "average", "optimizer"}
    for group in a[0]:
        assert a[0][group].keys() == b[0][group].keys(), f"The tensors of {group} have other names."
        for name, tensor in a[0][group].items():
            assert torch.equal(tensor, b[0][group][name]), f"{group}/{name} differs."


@dataclass(frozen=True)
class Trained:
    """One recipe trained twice.

    Args:
        whole: Trained without disturbance.
        run: Killed after its first step, resumed, and loaded from its folder.
        data: Of its training.
    """

    whole: Run
    run: Run
    data: Dataset


def train_twice(recipe: str | RecipeFunction, data: Dataset, folder: Path) -> Trained:
    """Train a recipe for two steps in ``folder / "whole"``, and again in ``folder / "cut"``, killed after one and resumed."""
    whole = fit(recipe_for(recipe, data), data, steps=2, out=folder / "whole")
    trainer = prepare(recipe_for(recipe, data), data, steps=2, out=folder / "cut", checkpoint_every=1)
    trainer.advance(1e-9)
    del trainer  # a kill: nothing is finished or saved beyond the last checkpoint
    reopen(folder / "cut", data=data).advance()
    return Trained(whole, load(folder / "cut"), data)


def in_few_steps(transport: Transport) -> Transport:
    """The same solver in four steps, where it makes more: the checks do not depend on the number of steps."""
    if isinstance(transport, Flow) and transport.steps > FEW:
        return transport.with_solver(transport.solver, FEW)
    return transport


def check_resumed(trained: Trained) -> None:
    """The run that was killed ends where the whole one ends, to the last bit."""
    with law(trained.run.method, "a run that was killed must end where the whole one ends"):
        assert_same(final_state(trained.whole.folder), final_state(trained.run.folder))


def check_stored(trained: Trained) -> None:
    """The run's folder describes the method that was trained."""
    method = trained.run.method
    with law(method, "the run's description must rebuild it"):
        assert spec.describe(spec.build(spec.describe(method))) == trained.run.spec["method"]


def check_sampled(trained: Trained) -> Tensor:
    """Samples have the shape of the data, are finite and within bounds, and are the same after loading; returns five."""
    space = trained.data.space
    x = trained.run.transport.sample(5, seed=7)
    with law(trained.run.method, "a loaded run must draw the samples of the run that was trained"):
        mine, whole = (in_few_steps(run.transport).sample(5, seed=7) for run in (trained.run, trained.whole))
        assert torch.equal(mine, whole)
    with law(trained.run.method, "samples must be finite, of the shape of the data and within its bounds"):
        assert x.shape == (5, *space.shape)
        assert torch.isfinite(x).all()
        assert space.levels is None or (x.min() >= 0 and x.max() <= 1)
    return x


def check_scored(trained: Trained) -> None:
    """Evaluation gives finite scores, among them Fréchet distance, coverage and KID."""
    from pushforward.evaluation import Judge  # scikit-learn, which nothing else here needs

    scores, _ = Judge(trained.data, repeats=1).scores(in_few_steps(trained.run.transport))
    with law(trained.run.method, "evaluation must give finite scores"):
        assert {"frechet", "coverage", "kid"} <= scores.keys()
        assert all(np.isfinite(score.number) for score in scores.values())


def check_recipe(recipe: str | RecipeFunction, data: Dataset | None = None, folder: str | Path | None = None) -> None:
    """Check all laws of a recipe and of its method: build, compute losses, train, be killed, resume, load, sample, be scored.

    It trains twice for two steps at size "tiny", a few seconds in all.

    Args:
        recipe: A name, or a function of a space and a size.
        data: For the method; None makes labelled vectors of 17 columns.
        folder: Where runs are written; None takes a temporary folder.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
    """
    data = data or space_data((17,), labels=True)
    check_method(recipe_for(recipe, data), data)
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            return check_recipe(recipe, data, place)
    trained = train_twice(recipe, data, Path(folder))
    check_resumed(trained)
    check_stored(trained)
    check_sampled(trained)
    check_scored(trained)
