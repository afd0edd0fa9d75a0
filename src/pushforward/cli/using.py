"""The verbs that use a run: sample, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pushforward.cli.options import words
from pushforward.cli.sampling import (
    AS_IT_IS,
    NEWEST,
    UNGUIDED,
    Guiding,
    Loading,
    Solving,
    free_name,
    loaded_run,
    precision_of,
    transport_of,
    weaker_run,
)
from pushforward.cli.terminal import Flag, app, say, show
from pushforward.errors import UsageError

__all__ = ["evaluate", "sample"]


@app.command
def sample(
    run: str,
    *,
    n: int = 64,
    seed: int = 0,
    solving: Solving = AS_IT_IS,
    label: str | None = None,
    guiding: Guiding = UNGUIDED,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Draw new samples: `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`.

    Args:
        run: The run's folder.
        n: How many.
        seed: Sample i comes from seed + i alone.
        solving: Steps, solver and grid of an iterative model.
        label: A class by number or name; default: drawn as often as in the training data.
        guiding: Guidance of an iterative model.
        out: .png (grid), no ending (folder of PNGs), .npz, .csv for vectors, or .gif (noise to data).
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels, but not a single image or
            the files of a folder, which are kept as data.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward.outputs import check_target, write_samples

    loaded = loaded_run(run, loading)
    transport = transport_of(loaded, solving, guiding, loading)
    target = Path(out) if out else free_name(loaded, f"seed{seed}-n{n}")
    check_target(target, loaded.space, n, overwrite, zoom)
    condition = None if label is None else {"label": loaded.space.label_index(label)}
    with precision_of(loading):
        if target.suffix.lower() == ".gif":
            _gif(target, transport, n, condition, seed, zoom)
        else:
            parts = transport.stream(n, condition, seed=seed, batch=loading.batch)
            write_samples(target, loaded.space, n, parts, overwrite, zoom)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": transport.calls}
    show(result, json, lambda r: r["out"])


def _gif(path: Path, transport: Any, n: int, condition: dict[str, Any] | None, seed: int, zoom: int | None) -> None:
    from pushforward.outputs import replacing
    from pushforward.pictures import write_gif
    from pushforward.transports import Flow, inner_of

    if not isinstance(inner_of(transport), Flow):
        raise UsageError("A .gif shows how samples form step by step; a one-call model has no steps. Write a .png.")
    frames = [transport.space.quantise(x) for _, x in transport.trajectory(n, condition, seed=seed)]
    with replacing(path) as temporary:
        write_gif(temporary, [*frames, *[frames[-1]] * 8], 80, scale=zoom)


@app.command
def evaluate(
    run: str,
    *,
    n: int | None = None,
    repeats: int = 3,
    metrics: str = "",
    seed: int = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Score a run against held-out data, each number beside what real data scores.

    Args:
        run: The run's folder.
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        metrics: Some of `pushforward list metrics`, separated by commas.
        seed: Added to the seeds of all samplings, for others than the usual ones.
        solving: Steps, solver and grid of an iterative model.
        guiding: Guidance of an iterative model.
        loading: Which weights are used, and how.
        json: Print one JSON object and nothing else.
    """
    from pushforward.evaluation import evaluate as judge
    from pushforward.report.single import scores_text
    from pushforward.report.warnings import warnings
    from pushforward.training.lineage import seen_by

    loaded = loaded_run(run, loading)
    loaded.transport = transport_of(loaded, solving, guiding, loading)
    if guiding.weaker is not None:
        folder = weaker_run(guiding.weaker)[0]
        loaded.seen = loaded.seen.joined_by(folder, seen_by(folder))
    if "bpd" in words(metrics):
        say("finding bits per dimension; with many rows this takes minutes (--n takes fewer) ...")
    with precision_of(loading):
        comparison = judge(loaded, n=n, repeats=repeats, metrics=words(metrics) or None, seed=seed, batch=loading.batch)
    shown = {**comparison.to_plain(), "warnings": [sentence.text for sentence in warnings(comparison)]} if json else None
    show(shown, json, lambda _: scores_text(comparison))
