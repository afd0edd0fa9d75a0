"""The verb evaluate: scores of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.advice import as_options
from pushforward.cli.early import check_data, check_features, check_metrics, check_numbers
from pushforward.cli.groups import (
    ALL_DATA,
    AS_IT_IS,
    DATA,
    EVALUATION,
    INSPECT,
    MODEL,
    NEWEST,
    UNGUIDED,
    Features,
    Full,
    Guiding,
    Json,
    Loading,
    Reading,
    Solving,
)
from pushforward.cli.launching import check_spread
from pushforward.cli.parsing import check_plugins, data_file, load_plugins, typed_options, words
from pushforward.cli.reading import source
from pushforward.cli.sampling import configured_run, precision_of
from pushforward.cli.sharing import UNSPREAD, Spreading
from pushforward.cli.terminal import app, say, show, typed
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.evaluation.models import StoredSamples
    from pushforward.evaluation.results import Comparison
    from pushforward.training import Run

__all__ = ["evaluate"]


@app.command(group=INSPECT, sort_key=1)
def evaluate(
    run: Annotated[str, Parameter(group=MODEL)],
    *,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    reading: Reading = ALL_DATA,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 5,
    metrics: Annotated[str, Parameter(group=EVALUATION, show_default=False)] = "",
    features: Features = None,
    seed: Annotated[int, Parameter(group=EVALUATION)] = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    json: Json = False,
    full: Full = False,
    loading: Loading = NEWEST,
    spread: Spreading = UNSPREAD,
) -> None:
    """Score a run, or given samples, against held-out data.

    Each score stands beside that of real data, and of a Gaussian in place of a model. Options of solver, guidance and weights,
    such as --steps, --scale and --checkpoint, do not apply to files of samples. Example:
    `pushforward evaluate runs/digits-flow --metrics frechet,kid`

    Args:
        run: The run's folder; or samples of any model: an .npz, .npy or .csv file, or a folder of images.
        data: For samples: what they are compared with, a name, a path, or a run, whose data is taken. A run knows its own.
        n: How many samples are compared with as many held-out examples; default as many as the data allows.
        repeats: How often the model is sampled and scored; a file of samples is divided into as many sets of n, or fewer.
        metrics: Some of `pushforward list metrics`, separated by commas; default all but bpd and cas. Without
            this option a map from distil, finish, meanflow or dmd is also scored in 1 to 16 network calls beside its teacher.
        seed: Added to the seeds of all samplings.
    """
    check_spread(spread)
    check_plugins(loading.plugin)
    check_numbers(n, repeats)
    check_metrics(words(metrics), loading.plugin)
    check_features(features, loading.plugin)
    check_data(data, loading.plugin)
    loaded, compared_with = _loaded(run, data, reading, loading, solving, guiding)
    from pushforward.evaluation.models import is_run
    from pushforward.report.findings import warnings
    from pushforward.report.text import text

    options = {"n": n, "repeats": repeats, "metrics": words(metrics) or None, "features": features, "seed": seed}
    comparison = _scored(loaded, compared_with, loading, options)
    if not is_run(run):
        _say_fewer(run, comparison, repeats)
    result = {**comparison.to_plain(), "warnings": [finding.text for finding in warnings(comparison)]} if json else None
    show(result, json, lambda _: text(comparison, full))


def _scored(model: Any, data: Any, loading: Loading, options: dict[str, Any]) -> Comparison:
    """The comparison that `pushforward.evaluate` returns, computed in the chosen precision."""
    from pushforward.evaluation.comparison import evaluate as judge

    with precision_of(loading):
        return judge(model, data, plugins=loading.plugin, batch=loading.batch, tell=lambda line: say(as_options(line)), **options)


def _say_fewer(path: str, comparison: Comparison, repeats: int) -> None:
    """Say why samples were divided into fewer sets than was asked for."""
    n, sets = comparison.settings.n, comparison.settings.repeats or 1
    if sets < repeats and any(word.split("=")[0] == "--repeats" for word in typed):
        enough = f"{sets} part{'s' * (sets != 1)} of n = {n}"
        say(f"{path} holds enough samples for {enough}, not for --repeats {repeats}; a smaller --n allows more")


def _loaded(
    run: str, data: str | None, reading: Reading, loading: Loading, solving: Solving, guiding: Guiding
) -> tuple[Run | StoredSamples | str, Dataset | str | None]:
    """The run as it is to be sampled, or samples, and what they are compared with; a run's own data is None.

    Raises:
        UsageError: For options that do not apply.
        RunUsageError: For a folder of several runs, which names them, and for a report.
        DataError: For samples that are not there or do not fit the data.
    """
    from pushforward.evaluation.models import is_run
    from pushforward.training.runs.folder import check_run, runs_inside

    if not is_run(run):
        if runs_inside(Path(run)) or (data is None and (Path(run) / "report.html").is_file()):
            check_run(run)
        if (solving, guiding) != (AS_IT_IS, UNGUIDED) or loading.checkpoint or loading.raw:
            raise UsageError(f"{run} holds samples already: leave out the options of solver, guidance and weights.")
        if data is None:
            raise UsageError(f"{run} is no run, but may hold samples: name what they are compared with, such as --data digits.")
        return _samples(run, data, reading, loading.plugin)
    if data is not None and not Path(run).exists():
        raise DataError(f"There is no file or folder {run}: expected samples in .npz, .npy or .csv, or a folder of images.")
    given = ["--data", *typed_options(reading)] if data is not None else typed_options(reading)
    if given:
        raise UsageError(f"{run} is a run, which knows its own data: leave {', '.join(given)} out.")
    return configured_run(run, loading, solving, guiding), None


def _samples(path: str, data: str, reading: Reading, plugins: Sequence[str]) -> tuple[StoredSamples | str, Dataset | str]:
    """Samples and the data that they are compared with, read; of a run that is named as data its folder, which is read later."""
    load_plugins(plugins, [data])
    if (Path(data) / "spec.json").is_file():
        if typed_options(reading):
            raise UsageError(f"{data} is a run, whose data is read as it was: leave {', '.join(typed_options(reading))} out.")
        return path, data
    from pushforward.evaluation.models import read_samples

    loaded = source(data_file(data, plugins)[0], reading)
    return read_samples(path, loaded), loaded
