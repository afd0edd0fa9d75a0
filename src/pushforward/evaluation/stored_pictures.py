"""The pictures of a stored comparison, as far as the folders of its runs hold them."""

from __future__ import annotations

import os.path
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from pushforward.errors import CheckpointError
from pushforward.evaluation.cost import solver_title
from pushforward.evaluation.drawing import history_of, real_pictures
from pushforward.evaluation.figures import Absent, Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.evaluation.run_results import config_of, landscapes_of
from pushforward.training import Run, load
from pushforward.training.checkpoint.integrity import weights_of
from pushforward.training.runs.provenance import data_of_run
from pushforward.training.runs.run import pick
from pushforward.transports import has_steps, inner_of

__all__ = ["with_pictures"]


def with_pictures(comparison: Comparison, folder: Path) -> Comparison:
    """A comparison with the samples that its runs stored while they were trained, and with real data.

    A run is looked for at the place that the comparison names and in ``folder``. Its samples are those of the averaged weights
    and of the run's own sampling options. A model without pictures says why (`pushforward.evaluation.figures.Absent`).
    A model named "real", the name of real data among pictures, is renamed.

    Args:
        comparison: As read from its file.
        folder: Where the file lies.
    """
    comparison = _apart_from_real(comparison)
    pictures: dict[str, Pictures] = {}
    for model in comparison.models:
        pictures[model.name], run = _of_model(model, comparison, folder)
        if run is not None and "real" not in pictures:
            with suppress(Exception):  # a damaged spec may name anything as its data
                pictures["real"] = real_pictures(data_of_run(run.folder, run.spec))
    return replace(comparison, pictures=pictures)


def _apart_from_real(comparison: Comparison) -> Comparison:
    names = {model.name for model in comparison.models}
    if "real" not in names:
        return comparison
    new = next(name for number in count(1) if (name := f"real (model{f' {number}' if number > 1 else ''})") not in names)
    shared = comparison.settings.shared
    groups = None if shared is None else tuple(tuple(new if name == "real" else name for name in group) for group in shared)
    return replace(
        comparison,
        models=tuple(replace(model, name=new) if model.name == "real" else model for model in comparison.models),
        sweep={new if name == "real" else name: points for name, points in comparison.sweep.items()},
        settings=replace(comparison.settings, shared=groups),
    )


def _of_model(model: ModelResult, comparison: Comparison, folder: Path) -> tuple[Pictures, Run | None]:
    """What the run of a model stored, of several trainings that of the first, and the run; why not, and None."""
    first = model.trainings[0] if model.trainings else model
    if not first.run:
        return Pictures(absent=Absent.NO_RUN), None
    absent = Absent.GONE
    for place in (Path(first.run), folder / Path(first.run).name):
        if not os.path.isdir(place):  # unlike Path.is_dir, no error for a path that no disk takes
            continue
        try:
            run = load(place)
            differs = _difference(run, model, first, comparison)
            if differs is None:
                return _drawn(run), run
        except Exception:  # a damaged or hostile folder may raise anything
            differs = Absent.UNREADABLE
        absent = differs
    return Pictures(absent=absent), None


def _difference(run: Run, model: ModelResult, first: ModelResult, comparison: Comparison) -> Absent | None:
    """Why a run is not the model as it was scored; None where it is."""
    known = first.seed, comparison.data.fingerprint, tuple(comparison.data.shape)
    weights, (config, own) = model.origin.get("Weights sha256"), (_comparable(model.config), _comparable(config_of(run)))
    if known != (run.spec["seed"], run.spec["fingerprint"], tuple(run.space.shape)) or not (weights or config):
        return Absent.OTHER
    if config and config != own:
        return Absent.OTHER
    if run.state["step"] != first.training.steps:
        return Absent.TRAINED if run.state["step"] > (first.training.steps or 0) else Absent.OTHER
    if weights and weights != run.weights:
        return Absent.SAMPLING if weights == weights_of(pick(run.folder, None), raw=True) else Absent.OTHER
    flow = inner_of(run.transport)
    usual = (solver_title(flow), flow.steps) if has_steps(flow) else (None, None)
    scored = first.sampling.solver, first.sampling.steps
    return Absent.SAMPLING if "Sampling" in model.origin or scored != usual else None


def _comparable(config: object) -> object:
    """Settings as a file holds them, without the budget, which training further changes."""
    stored = ModelResult.from_plain({"config": config}).to_plain()["config"]
    return {name: value for name, value in stored.items() if name != "budget"}


def _drawn(run: Run) -> Pictures:
    """What a run stored of its samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples.
    """
    frames = history_of(run)
    if not frames or frames[-1][0] != run.state["step"]:
        return Pictures(absent=Absent.NOT_STORED)
    if not all(np.isfinite(x).all() for _, x in frames):
        raise CheckpointError(f"Samples in {run.folder} are not finite.")
    landscapes = [
        (step, arrays)
        for step, arrays in landscapes_of(run)
        if all(np.isfinite(array).all() for array in arrays.values()) and (np.diff(arrays["limits"])[::2] > 0).all()
    ]
    return Pictures(frames[-1][1], training=frames, landscapes=landscapes)
