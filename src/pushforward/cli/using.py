"""The verbs that use a run: sample, evaluate."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    AS_IT_IS,
    EVALUATION,
    INSPECT,
    NEWEST,
    OUTPUT,
    PLACED,
    UNGUIDED,
    USE,
    Given,
    Guiding,
    Json,
    Label,
    Loading,
    N,
    Placing,
    RunFolder,
    Seed,
    Solving,
)
from pushforward.cli.options import words
from pushforward.cli.sampling import condition_of, configured_run, precision_of, target_of
from pushforward.cli.terminal import app, say, show

__all__ = ["evaluate", "sample"]


@app.command(group=USE, sort_key=1)
def sample(
    run: RunFolder,
    *,
    n: N = 64,
    seed: Seed = 0,
    label: Label = None,
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Draw new samples from a run.

    A VAE gives the means of its decoder, without the noise that it has learned around them. Example:
    `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`

    Args:
        label: A class by number or name; default: drawn as often as in the training data.
        out: .png (grid), no ending (folder of PNGs), .npz, .csv for vectors, or .gif (noise to data).
    """
    from pushforward.samples import draw_to

    loaded = configured_run(run, loading, solving, guiding)
    target = target_of(loaded, out, f"seed{seed}-n{n}", n, placing.overwrite, placing.zoom)
    asked = condition_of(loaded, label, given)
    to: dict[str, Any] = {"overwrite": placing.overwrite, "zoom": placing.zoom}
    with precision_of(loading):
        draw_to(target, loaded.transport, n, asked, seed=seed, batch=loading.batch, **to)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": loaded.transport.calls, "condition": asked}
    show(result, json, lambda r: r["out"])


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
        metrics: Some of `pushforward list metrics`, separated by commas; default all but bpd.
        seed: Added to the seeds of all samplings.
    """
    from pushforward.evaluation.judge import evaluate as judge
    from pushforward.report.single import scores_text
    from pushforward.report.warnings import warnings

    loaded = configured_run(run, loading, solving, guiding)
    if "bpd" in words(metrics):
        say("finding bits per dimension; with many rows this takes minutes (--n takes fewer) ...")
    with precision_of(loading):
        comparison = judge(loaded, n=n, repeats=repeats, metrics=words(metrics) or None, seed=seed, batch=loading.batch)
    shown = {**comparison.to_plain(), "warnings": [sentence.text for sentence in warnings(comparison)]} if json else None
    show(shown, json, lambda _: scores_text(comparison))
