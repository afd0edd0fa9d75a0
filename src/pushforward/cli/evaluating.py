"""The verb evaluate: scores of a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pushforward.cli.groups import (
    AS_IT_IS,
    EVALUATION,
    INSPECT,
    NEWEST,
    UNGUIDED,
    Guiding,
    Json,
    Loading,
    RunFolder,
    Solving,
)
from pushforward.cli.parsing import words
from pushforward.cli.sampling import configured_run, precision_of
from pushforward.cli.terminal import app, say, show

__all__ = ["evaluate"]


@app.command(group=INSPECT, sort_key=1)
def evaluate(
    run: RunFolder,
    *,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 3,
    metrics: Annotated[str, Parameter(group=EVALUATION, show_default=False)] = "",
    seed: Annotated[int, Parameter(group=EVALUATION)] = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Score a run against held-out data.

    Each score stands beside the score of real data. Example: `pushforward evaluate runs/digits-flow --metrics frechet,kid`

    Args:
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        metrics: Some of `pushforward list metrics`, separated by commas; default all but bpd,
            and of a map between two times its quality in 1 to 16 calls beside its teacher's.
        seed: Added to the seeds of all samplings.
    """
    from pushforward.evaluation.judge import evaluate as judge
    from pushforward.report.single import scores_text
    from pushforward.report.warnings import warnings

    loaded = configured_run(run, loading, solving, guiding)
    if "bpd" in words(metrics):
        say("finding bits per dimension; with many examples this takes minutes (--n takes fewer) ...")
    with precision_of(loading):
        comparison = judge(loaded, n=n, repeats=repeats, metrics=words(metrics) or None, seed=seed, batch=loading.batch)
    result = {**comparison.to_plain(), "warnings": [sentence.text for sentence in warnings(comparison)]} if json else None
    show(result, json, lambda _: scores_text(comparison))
