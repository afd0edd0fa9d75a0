"""The verb that shows samples beside the training data nearest to them: nearest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.latents import enlarged, target_of
from pushforward.cli.sampling import (
    AS_IT_IS,
    NEWEST,
    UNGUIDED,
    Guiding,
    Loading,
    Solving,
    loaded_run,
    precision_of,
    transport_of,
)
from pushforward.cli.terminal import Flag, app, columns, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data import Dataset
    from pushforward.evaluation.neighbours import Nearest

__all__ = ["nearest"]


@app.command
def nearest(
    run: str,
    *,
    n: int = 16,
    k: int = 3,
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
    """Show samples beside the training data nearest to them: `pushforward nearest runs/digits-gan --n 16 --out nearest.png`.

    A sample no farther from a training example than a quarter of the usual distance of new data is called a near-copy. Rows are
    numbered from 0 within the training split, so not as in a file, of which some rows are held out.

    Args:
        run: The run's folder.
        n: How many samples.
        k: How many training rows beside each.
        seed: Sample i comes from seed + i alone.
        solving: Steps, solver and grid of an iterative model, or the truncation of a one-call one.
        label: A class by number or name; default: drawn as often as in the training data.
        guiding: Guidance of an iterative model.
        out: .png (each sample on the left, the nearest to its right), or .csv for vectors.
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.neighbours import nearest as search
    from pushforward.outputs import LARGEST_GRID

    loaded = loaded_run(run, loading)
    transport = transport_of(loaded, solving, guiding, loading)
    ending = ".png" if loaded.space.kind == "image" else ".csv"
    if n < 1 or k < 1:
        raise UsageError(f"--n and --k must be at least 1, got {n} and {k}.")
    if ending == ".png" and n * (k + 1) > LARGEST_GRID:
        raise UsageError(f"A picture holds at most {LARGEST_GRID:,} images; --n {n} and --k {k} ask for {n * (k + 1):,}.")
    target = target_of(loaded, out, f"nearest-seed{seed}-n{n}", n, overwrite, (ending,), zoom)
    condition = None if label is None else {"label": loaded.space.label_index(label)}
    data = data_of(loaded)
    with precision_of(loading):
        x = transport.sample(n, condition, seed=seed, batch=loading.batch)
    near = search(x, data, k)
    _write_nearest(target, data, near, seed, zoom)
    result = {"out": str(target), "n": n, "k": k, "seed": seed, "threshold": near.threshold}
    result |= {"near_copies": int(near.copies.sum()), "samples": _rows(near, seed)}
    show(result, json, _nearest_table)


def _write_nearest(path: Path, data: Dataset, near: Nearest, seed: int, zoom: int | None) -> None:
    from pushforward.outputs import replacing

    with replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            _nearest_picture(data, near, zoom).save(temporary, format="PNG")
        else:
            _nearest_csv(temporary, data, near, seed)


def _nearest_picture(data: Dataset, near: Nearest, zoom: int | None) -> Image.Image:
    """A row for each sample: the sample, and after a wider gap its nearest training rows."""
    from PIL import Image

    k = near.rows.shape[1]
    left = enlarged(data.space.quantise(near.x), 1, zoom)
    right = enlarged(data.space.quantise(data.train.data_units(near.rows.ravel())), k, zoom)
    sheet = Image.new(left.mode, (left.width + left.width // 4 + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + left.width // 4, 0))
    return sheet


def _nearest_csv(path: Path, data: Dataset, near: Nearest, seed: int) -> None:
    """A line for each sample and each of its neighbours: who, how far, the sample's columns, the neighbour's."""
    import csv

    names = list(data.space.columns) or [f"x{i}" for i in range(data.space.shape[0])]
    samples = data.space.quantise(near.x)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "rank", "training_row", "distance", "near_copy", *names, *(f"nearest_{name}" for name in names)])
        for i, (sample, where, distances) in enumerate(zip(samples, near.rows, near.distances, strict=True)):
            others = data.space.quantise(data.train.data_units(where))
            for rank, (row, distance, other) in enumerate(zip(where, distances, others, strict=True), start=1):
                about = [seed + i, rank, int(row), float(distance), int(distance <= near.threshold)]
                writer.writerow([*about, *sample.tolist(), *other.tolist()])


def _rows(near: Nearest, seed: int) -> list[dict[str, Any]]:
    found = zip(near.rows.tolist(), near.distances.tolist(), near.copies.tolist(), strict=True)
    return [
        {"seed": seed + i, "rows": rows, "distances": distances, "near_copy": copy}
        for i, (rows, distances, copy) in enumerate(found)
    ]


def _nearest_table(r: dict[str, Any]) -> str:
    rows = [["seed", "distance", "", "nearest training rows"]]
    for one in r["samples"]:
        copy = "near-copy" if one["near_copy"] else ""
        rows.append([str(one["seed"]), f"{one['distances'][0]:.3f}", copy, " ".join(map(str, one["rows"]))])
    about = f"{r['near_copies']} of {r['n']} are near-copies: within {r['threshold']:.3f}, a quarter of the median distance"
    if r["threshold"] == 0:
        about = f"{r['near_copies']} of {r['n']} are copies, as are more than half"
    return f"{columns(rows)}\n\n{about} of held-out examples\ndistances: in standard deviations of the data\n{r['out']}"
