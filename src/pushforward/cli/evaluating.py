"""The verb evaluate: scores of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pushforward.cli.groups import (
    AS_IT_IS,
    DATA,
    EVALUATION,
    INSPECT,
    MODEL,
    NEWEST,
    UNGUIDED,
    Features,
    Guiding,
    Json,
    Loading,
    Solving,
)
from pushforward.cli.parsing import words
from pushforward.cli.sampling import configured_run, precision_of
from pushforward.cli.terminal import app, say, show
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from pushforward.training import Run

__all__ = ["evaluate"]


@app.command(group=INSPECT, sort_key=1)
def evaluate(
    run: Annotated[str, Parameter(group=MODEL)],
    *,
    data: Annotated[str | None, Parameter(group=DATA)] = None,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 3,
    metrics: Annotated[str, Parameter(group=EVALUATION, show_default=False)] = "",
    features: Features = None,
    seed: Annotated[int, Parameter(group=EVALUATION)] = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Score a run, or given samples, against held-out data.

    Each score stands beside the score of real data. Example: `pushforward evaluate runs/digits-flow --metrics frechet,kid`

    Args:
        run: The run's folder; or samples of any model: an .npz, .npy or .csv file, or a folder of images.
        data: For samples: what they are compared with, a name, a path, or a run, whose data is taken. A run knows its own.
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        metrics: Some of `pushforward list metrics`, separated by commas; default all but bpd, cas,
            and of a map between two times its quality in 1 to 16 calls beside its teacher's.
        seed: Added to the seeds of all samplings.
    """
    from pushforward.evaluation.evaluating import evaluate as judge
    from pushforward.report.single import scores_text
    from pushforward.report.warnings import warnings

    loaded = _loaded(run, data, loading, solving, guiding)
    _say_what_takes_long(words(metrics))
    with precision_of(loading):
        comparison = judge(
            loaded,
            data,
            n=n,
            repeats=repeats,
            metrics=words(metrics) or None,
            features=features,
            plugins=loading.plugin,
            seed=seed,
            batch=loading.batch,
        )
    result = {**comparison.to_plain(), "warnings": [sentence.text for sentence in warnings(comparison)]} if json else None
    show(result, json, lambda _: scores_text(comparison))


def _say_what_takes_long(metrics: Sequence[str]) -> None:
    say("measuring: features, floors, scores ...")
    if "bpd" in metrics:
        say("finding bits per dimension; with many examples this takes minutes (--n takes fewer) ...")
    if "cas" in metrics:
        say("training classifiers on samples and on real examples; with many of them this takes minutes (--n takes fewer) ...")


def _loaded(run: str, data: str | None, loading: Loading, solving: Solving, guiding: Guiding) -> Run | str:
    """The run as it is to be sampled, or the path of samples.

    Raises:
        UsageError: For options that do not apply.
    """
    from pushforward.evaluation.given import is_run

    if not is_run(run):
        if (solving, guiding) != (AS_IT_IS, UNGUIDED) or loading.checkpoint or loading.raw:
            raise UsageError(f"{run} holds samples already: leave out the options of solver, guidance and weights.")
        if data is None:
            raise UsageError(f"{run} is no run, but may hold samples: name what they are compared with, such as --data digits.")
        return run
    if data is not None and not Path(run).exists():
        raise DataError(f"There is no file or folder {run}: expected samples in .npz, .npy or .csv, or a folder of images.")
    if data is not None:
        raise UsageError(f"{run} is a run, which knows its own data: leave --data out.")
    return configured_run(run, loading, solving, guiding)
