"""The verbs that use a run: sample, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Draw new samples from a run.

    Example: `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`

    Args:
        label: A class by number or name; default: drawn as often as in the training data.
        out: .png (grid), no ending (folder of PNGs), .npz, .csv for vectors, or .gif (noise to data).
    """
    from pushforward.samples import draw_to

    loaded = configured_run(run, loading, solving, guiding)
    target = target_of(loaded, out, f"seed{seed}-n{n}", n, placing.overwrite, placing.zoom)
    asked = condition_of(loaded, label)
    to: dict[str, Any] = {"overwrite": placing.overwrite, "zoom": placing.zoom}
    with precision_of(loading):
        draw_to(target, loaded.transport, n, asked, seed=seed, batch=loading.batch, **to)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": loaded.transport.calls}
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
    from pushforward.evaluation import evaluate as judge

    loaded = configured_run(run, loading, solving, guiding)
    if "bpd" in words(metrics):
        say("finding bits per dimension; with many rows this takes minutes (--n takes fewer) ...")
    with precision_of(loading):
        content = judge(loaded, n=n, repeats=repeats, metrics=words(metrics) or None, seed=seed, batch=loading.batch)
    show(content | {"worries": _worries(content)}, json, _table)


def _worries(content: dict[str, Any]) -> list[str]:
    """What a report would warn of."""
    from pushforward.report.worries import worries

    return [one.text for one in worries(content)]


def _table(content: dict[str, Any]) -> str:
    """The scores as an aligned table: the model, the floor, the no-network row."""
    entrant, baseline = content["entrants"][0]["scores"], content["baseline"]["scores"]
    rows = [("", "model", "ratio", "real data", "no network")]
    for name, row in entrant.items():
        about = content["metrics"].get(name, {})
        floor = about.get("floor") or {}
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        other = baseline.get(name) or about.get("baseline") or {}
        rows.append(
            (
                about.get("label", name),
                _with_spread(row),
                ratio,
                _with_spread(floor),
                _with_spread(other),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    footing = _footing(content["settings"], entrant.get("bpd"), (content["metrics"].get("bpd") or {}).get("baseline"))
    return "\n".join([*lines, *_codes(content["entrants"][0]), "", *footing, *_in_mind(content["worries"])])


def _with_spread(row: Mapping[str, Any]) -> str:
    """Such as ``1.02 ± 0.05``; nothing where there is no mean."""
    if row.get("mean") is None:
        return ""
    return f"{row['mean']:.4g}" + ("" if row.get("spread") is None else f" ± {row['spread']:.2g}")


def _in_mind(found: Sequence[str]) -> list[str]:
    return ["", "what to keep in mind:", *(f"- {one}" for one in found)] if found else []


def _codes(entrant: dict[str, Any]) -> list[str]:
    """What a model's codes hold, in a line or two; nothing for a model without any."""
    from pushforward.report.codes import table

    found = table({"entrants": [entrant]})
    if found is None:
        return []
    cells = [f"{column.label} {cell.value}" for column, cell in zip(found.columns, found.rows[0].cells, strict=True)]
    return ["", "codes of held-out rows: " + ", ".join(cell for cell in cells if not cell.endswith("–"))]


def _footing(settings: dict[str, Any], bits: dict[str, Any] | None, guess: dict[str, Any] | None) -> list[str]:
    """How the numbers of the table came about."""
    found = []
    if "features" in settings:
        found.append(f"n = {settings['n']} on either side, {settings['repeats']} samplings; features: {settings['features']}")
    if bits is not None:
        beside = "" if guess is None else f"; no network: {guess['name']}"
        found.append(f"bits per dimension: {bits['how']}, ± standard error over {bits['n']:,} held-out rows{beside}")
    return found
