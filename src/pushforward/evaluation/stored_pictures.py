"""The pictures of a stored comparison, as far as the folders of its runs hold them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

from pushforward.errors import PushforwardError
from pushforward.evaluation.drawing import history_of, real_pictures
from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.evaluation.run_results import landscapes_of
from pushforward.training import Run, load
from pushforward.training.run_data import data_of_run

__all__ = ["with_pictures"]


def with_pictures(comparison: Comparison, folder: Path) -> Comparison:
    """A comparison with the samples that its runs stored while they were trained, and with real data.

    A model has no pictures where its run is neither at the place that the comparison names nor in ``folder``, cannot be read,
    has been trained further since, or stored no samples of its last step.

    Args:
        comparison: As read from its file.
        folder: Where the file lies.
    """
    pictures: dict[str, Pictures] = {}
    for model in comparison.models:
        run = _run_of(model, comparison, folder)
        shown = None if run is None else _drawn(run)
        if run is None or shown is None:
            continue
        pictures[model.name] = shown
        if "real" not in pictures:
            with suppress(PushforwardError):
                pictures["real"] = real_pictures(data_of_run(run.folder, run.spec, None, absent="", changed=""))
    return replace(comparison, pictures=pictures)


def _drawn(run: Run) -> Pictures | None:
    """What a run stored of its samples; None without those of its last step, or where a file is damaged."""
    with suppress(OSError, ValueError, KeyError, BadZipFile):
        frames = history_of(run)
        if frames and frames[-1][0] == run.state["step"]:
            return Pictures(frames[-1][1], training=frames, landscapes=landscapes_of(run))
    return None


def _run_of(model: ModelResult, comparison: Comparison, folder: Path) -> Run | None:
    """The run of a model, of several trainings that of the first; None where it is not there as it was compared."""
    first = model.trainings[0] if model.trainings else model
    for place in [] if first.run is None else [Path(first.run), folder / Path(first.run).name]:
        with suppress(PushforwardError):
            run = load(place)
            known = run.state["step"], run.spec["seed"], run.spec["fingerprint"]
            if known == (first.training.steps, first.seed, comparison.data.fingerprint):
                return run
    return None
