"""The verb that shows samples beside the training data nearest to them: nearest."""

from __future__ import annotations

import shutil
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    AS_IT_IS,
    INSPECT,
    NEWEST,
    OUTPUT,
    PLACED,
    SAMPLES,
    UNGUIDED,
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
from pushforward.cli.sampling import condition_of, configured_run, enlarged, precision_of, save_picture, target_of
from pushforward.cli.terminal import app, columns, show
from pushforward.errors import UsageError
from pushforward.numbers import clipped, shortened

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data import Dataset
    from pushforward.evaluation.pictures import Nearest
    from pushforward.training import Run

__all__ = ["nearest"]

LISTED, CELL = 8, 20
"""Samples of a table on the terminal, and characters of a cell there, at most."""


@app.command(group=INSPECT, sort_key=2)
def nearest(
    run: RunFolder,
    *,
    n: N = 16,
    k: Annotated[int, Parameter(group=SAMPLES)] = 3,
    seed: Seed = 0,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Show samples beside the nearest training data.

    A sample no farther from a training example than a quarter of the usual distance of new data is called a near-copy. Examples
    are numbered from 0 within the training split, so not as in a file, of which some examples are held out. Example:
    `pushforward nearest runs/digits-gan --n 16 --out nearest.png`

    Args:
        k: Training examples beside each sample.
        label: A class by number or name; default: drawn as often as in the training data.
        out: .png (each sample on the left, the nearest to its right), or .csv for vectors and tables; of tables each sample as
            the file writes it, of rank 0, and below it its training rows. Default: a new file in RUN/samples.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import nearest as search

    loaded = configured_run(run, loading, solving, guiding)
    target = _nearest_target(loaded, out, n, k, seed, placing)
    condition, data = condition_of(loaded, label), data_of(loaded)
    with precision_of(loading):
        x = loaded.transport.sample(n, condition, seed=seed, batch=loading.batch)
    near = search(x, data, k)
    _write_nearest(target, data, near, seed, placing.zoom)
    result = {"out": str(target), "n": n, "k": k, "seed": seed, "threshold": near.threshold}
    samples = _samples(near, seed)
    result |= {"near_copies": int(near.copies.sum()), "samples": samples}
    if data.space.names:
        result |= {"columns": list(data.space.names), "samples": _with_rows(samples, data, near)}
    show(result, json, _nearest_table)


def _nearest_target(run: Run, out: str | None, n: int, k: int, seed: int, placing: Placing) -> Path:
    """Where the picture or table goes, with the numbers of samples and neighbours checked."""
    from pushforward.outputs import LARGEST_GRID, usual_ending

    ending = usual_ending(run.space)
    if n < 1 or k < 1:
        raise UsageError(f"--n and --k must be at least 1, got {n} and {k}.")
    if ending == ".png" and n * (k + 1) > LARGEST_GRID:
        raise UsageError(f"A picture holds at most {LARGEST_GRID:,} images; --n {n} and --k {k} ask for {n * (k + 1):,}.")
    return target_of(run, out, f"nearest-seed{seed}-n{n}", n, placing, (ending,))


def _write_nearest(path: Path, data: Dataset, near: Nearest, seed: int, zoom: int | None) -> None:
    from pushforward.replacing import replacing

    if path.suffix.lower() == ".png":
        save_picture(_nearest_picture(data, near, zoom), path)
        return
    with replacing(path) as temporary:
        (_nearest_rows if data.space.names else _nearest_csv)(temporary, data, near, seed)


def _nearest_picture(data: Dataset, near: Nearest, zoom: int | None) -> Image.Image:
    """A row for each sample: the sample, and after a wider gap its nearest training examples."""
    from PIL import Image

    k = near.examples.shape[1]
    left = enlarged(data.space.drawing(data.space.quantise(near.x)), 1, zoom)
    neighbours = data.space.quantise(data.train.data_units(near.examples.ravel()))
    right = enlarged(data.space.drawing(neighbours), k, zoom)
    sheet = Image.new(left.mode, (left.width + left.width // 4 + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + left.width // 4, 0))
    return sheet


def _nearest_csv(path: Path, data: Dataset, near: Nearest, seed: int) -> None:
    """A line for each sample and each of its neighbours: who, how far, the sample's columns, the neighbour's."""
    import csv

    names = list(data.space.columns) or [f"x{i}" for i in range(data.space.shape[0])]
    samples = data.space.quantise(near.x)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["seed", "rank", "training_example", "distance", "near_copy", *names, *(f"nearest_{name}" for name in names)]
        )
        for i, (sample, where, distances) in enumerate(zip(samples, near.examples, near.distances, strict=True)):
            others = data.space.quantise(data.train.data_units(where))
            for rank, (number, distance, other) in enumerate(zip(where, distances, others, strict=True), start=1):
                place = [seed + i, rank, int(number), float(distance), int(distance <= near.threshold)]
                writer.writerow([*place, *sample.tolist(), *other.tolist()])


def _nearest_rows(path: Path, data: Dataset, near: Nearest, seed: int) -> None:
    """Rows of a table as its file writes them: each sample, of rank 0, and below it its nearest training rows."""
    import csv

    space: Any = data.space
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=space.layout.separator, lineterminator="\n")
        writer.writerow(["seed", "rank", "distance", "near_copy", *space.names])
        for i, (sample, where, distances) in enumerate(zip(space.records(near.x), near.examples, near.distances, strict=True)):
            writer.writerow([seed + i, 0, "", int(near.copies[i]), *sample])
            others = space.records(data.train.data_units(where))
            for rank, (distance, other) in enumerate(zip(distances, others, strict=True), start=1):
                writer.writerow([seed + i, rank, float(distance), int(distance <= near.threshold), *other])


def _samples(near: Nearest, seed: int) -> list[dict[str, Any]]:
    neighbours = zip(near.examples.tolist(), near.distances.tolist(), near.copies.tolist(), strict=True)
    return [
        {"seed": seed + i, "examples": examples, "distances": distances, "near_copy": copy}
        for i, (examples, distances, copy) in enumerate(neighbours)
    ]


def _with_rows(samples: list[dict[str, Any]], data: Dataset, near: Nearest) -> list[dict[str, Any]]:
    """Samples of a table with their cells, and those of their training rows, as the table's file writes them."""
    space: Any = data.space
    own = space.records(near.x)
    return [
        sample | {"row": list(row), "rows": [list(other) for other in space.records(data.train.data_units(where))]}
        for sample, row, where in zip(samples, own, near.examples, strict=True)
    ]


def _listed_examples(samples: list[dict[str, Any]]) -> str:
    """A line for each sample: its seed, how far the nearest training example is, and the numbers of the nearest ones."""
    rows = [["seed", "distance", "", "nearest training examples"]]
    for sample in samples:
        copy = "near-copy" if sample["near_copy"] else ""
        rows.append([str(sample["seed"]), f"{sample['distances'][0]:.3f}", copy, " ".join(map(str, sample["examples"]))])
    return columns(rows)


def _listed_rows(names: list[str], samples: list[dict[str, Any]], width: int) -> str:
    """The first samples of a table, each above its training rows, in as many columns as a terminal of a width has space for."""
    rows = [["seed", "", "distance", *shortened(names, CELL)]]
    for sample in samples[:LISTED]:
        copy = "near-copy" if sample["near_copy"] else "sample"
        rows.append([str(sample["seed"]), copy, "", *(clipped(cell, CELL) for cell in sample["row"])])
        for distance, row in zip(sample["distances"], sample["rows"], strict=True):
            rows.append(["", "training", f"{distance:.3f}", *(clipped(cell, CELL) for cell in row)])
    ends = list(accumulate(max(map(len, column)) + 2 for column in zip(*rows, strict=True)))
    fitting = max(4, sum(end - 2 <= width for end in ends))
    hidden = [
        f"{left} more {what}{'s' * (left != 1)}"
        for left, what in ((len(names) + 3 - fitting, "column"), (len(samples) - LISTED, "sample"))
        if left > 0
    ]
    more = f"\n... and {' and '.join(hidden)} in the file" if hidden else ""
    return f"{columns([row[:fitting] for row in rows])}{more}"


def _nearest_table(r: dict[str, Any]) -> str:
    width = shutil.get_terminal_size((120, 24)).columns
    listed = _listed_rows(r["columns"], r["samples"], width) if "columns" in r else _listed_examples(r["samples"])
    summary = f"{r['near_copies']} of {r['n']} are near-copies: within {r['threshold']:.3f}, a quarter of the median distance"
    if r["threshold"] == 0:
        summary = f"{r['near_copies']} of {r['n']} are copies, as are more than half"
    return f"{listed}\n\n{summary} of held-out examples\ndistances: in standard deviations of the data\nwritten to {r['out']}"
