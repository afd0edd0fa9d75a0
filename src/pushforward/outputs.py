"""Samples as files: a PNG grid, a folder of PNGs, .npz, .csv, .gif; drawn and written in parts, so that memory stays bounded.

Nothing appears under its name before it is whole.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.kind import cells_of
from pushforward.data import Space, TableSpace
from pushforward.data.tables.frames import for_parquet, write_parquet
from pushforward.errors import UsageError
from pushforward.files import check_replaceable, replacing
from pushforward.transports import BATCH, ConditionLike, Latent, Transport, has_steps
from pushforward.transports.rejection import warn_between
from pushforward.transports.shared_sampling import shared_stream, writes_samples

Parts = Iterable[tuple[Tensor, dict[str, Tensor] | None]]
LARGEST_GRID, LARGEST_ZOOM = 4096, 64
PICTURES = (".png", ".gif")


def check_target(path: Path, space: Space, n: int, overwrite: bool = False, zoom: int | None = None) -> None:
    """Refuse, before any work is done, a place that is taken, or an ending or enlargement that does not suit the data.

    With ``overwrite`` a file gives way to a file, and a folder to a folder if it holds nothing but an earlier sampling.

    Raises:
        UsageError: With the alternatives.
    """
    known, ending = space.endings, path.suffix.lower()
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already. Choose another `out`, or add `overwrite=True`.")
    if path.is_dir():
        check_replaceable(path)
    if ending not in known:
        drawn = " Only data of 2 columns can be drawn." if ending in PICTURES and space.as_points else ""
        raise UsageError(f'Cannot write {space.noun}s to "{path}"; choose an ending of {", ".join(known.values())}.{drawn}')
    if ending == ".parquet":
        for_parquet(path)
    if ending in PICTURES and n > LARGEST_GRID:
        raise UsageError(f"A picture holds at most {LARGEST_GRID:,} samples; write {n:,} to an .npz file instead.")
    whole("n", n, 1)
    if zoom is not None and (space.as_points or ending == ".npz" or not 1 <= zoom <= LARGEST_ZOOM):
        raise UsageError(f'`zoom={zoom}` enlarges pictures of images, {LARGEST_ZOOM} times at most; "{path}" takes no such zoom.')


def usual_ending(space: Space) -> str:
    """The default ending of files: a table where samples are points."""
    return next(ending for ending in (".csv", ".png", ".npz") if ending in space.endings)


def draw_to(
    path: str | Path,
    transport: Transport,
    n: int,
    condition: ConditionLike = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
    overwrite: bool = False,
    zoom: int | None = None,
) -> None:
    """Draw the samples of `Transport.sample` and write them in parts, so that memory stays bounded.

    Args:
        path: As `write_samples` takes it, or .gif: from noise to data step by step.
        transport: The transport to sample.
        n: How many.
        condition: As `Transport.sample` takes it.
        seed: The seed of the first sample.
        batch: Examples computed at a time.
        overwrite: Replace an existing file.
        zoom: How many times every pixel of a picture is enlarged.

    Raises:
        UsageError: For a place that is taken, an ending that does not suit the data, or a .gif of a one-call model.
        CheckpointError: If the disk refuses; an existing file stays.
        Diverged: If a sample is not finite, or breaks a constraint of the data after all its draws; an existing file stays.
    """
    from pushforward.pictures import write_gif

    path, space = Path(path), transport.space
    if path.suffix.lower() != ".gif":
        check_target(path, space, n, overwrite, zoom)
        parts = shared_stream(transport, n, condition, seed=seed, batch=batch)
        if writes_samples():
            write_samples(path, space, n, parts, overwrite, zoom)
        deque(parts, 0)
        return
    if not writes_samples():
        return
    check_target(path, space, n, overwrite, zoom)
    if has_steps(transport) or (isinstance(transport, Latent) and has_steps(transport.inner)):
        frames = [space.drawing(space.quantise(x)) for _, x in transport.trajectory(n, condition, seed=seed)]
        with replacing(path) as temporary:
            write_gif(temporary, [*frames, *[frames[-1]] * 8], 80, scale=zoom)
        return
    raise UsageError("A .gif shows how samples form step by step; a one-call model has no steps. Write a .png.")


def frames_to(path: str | Path, space: Space, x: Tensor, *, overwrite: bool = False, zoom: int | None = None) -> None:
    """Write the frames (n, *shape) of an interpolation: a strip (.png), an animation (.gif), or a file of `write_samples`.

    An animation of images goes there and back; points appear one after another. Rows of a table that break a constraint are
    written, with a warning.
    """
    from pushforward.pictures import grid_picture, legible, write_gif

    path = Path(path)
    warn_between(space, x)
    ending, images = path.suffix.lower(), space.drawing(space.quantise(x))
    check_target(path, space, len(images), overwrite, zoom)
    if ending == ".gif":
        back = [images[i : i + 1] for i in (*range(len(images)), *range(len(images) - 2, 0, -1))]
        frames = [images[: i + 1] for i in range(len(images))] if space.as_points else back
        with replacing(path) as temporary:
            write_gif(temporary, frames, 120, scale=zoom)
    elif ending == ".png" and not space.as_points:
        with replacing(path) as temporary:
            grid_picture(images, columns=len(images), scale=zoom or legible(images)).save(temporary, format="PNG")
    else:
        write_samples(path, space, len(images), [(x, None)], overwrite, zoom)


def write_samples(path: Path, space: Space, n: int, parts: Parts, overwrite: bool = False, zoom: int | None = None) -> None:
    """Write n samples by the ending of ``path``.

    Args:
        path: .png, .npz, .csv, or no ending for a folder of PNGs; of tables .tsv and .parquet too.
        space: The data's shape and names.
        n: How many samples the parts hold in all.
        parts: (samples in data units, condition), as `Transport.stream` yields them.
        overwrite: Replace an existing file.
        zoom: Whole factor by which images are enlarged in a .png or a folder. None makes the small images of a grid `legible`; a
            single image and the files of a folder, which may be read again as data, keep their size.

    Raises:
        UsageError: As `check_target`.
        CheckpointError: If the disk refuses; nothing is left behind and an existing file stays.
    """
    check_target(path, space, n, overwrite, zoom)
    writers: dict[str, Callable[..., None]] = {
        ".npz": _npz,
        ".csv": _csv,
        ".tsv": partial(_csv, separator="\t"),
        ".png": partial(_picture, zoom=zoom),
        "": partial(_folder, zoom=zoom or 1),
    }
    if isinstance(space, TableSpace):
        writers |= {
            ".csv": _table,
            ".tsv": partial(_table, separator="\t"),
            ".parquet": lambda path, _, n, parts: write_parquet(path, [space.frame(x) for x, _ in parts]),
        }
    with replacing(path) as temporary:
        writers[path.suffix.lower()](temporary, space, n, parts)


def _npz(path: Path, space: Space, n: int, parts: Parts) -> None:
    conditions: dict[str, list[np.ndarray]] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            for number, (x, condition) in enumerate(parts):
                array = space.quantise(x)
                if number == 0:
                    header = {"descr": array.dtype.str, "fortran_order": False, "shape": (n, *array.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
                file.write(array.tobytes())
                for name in space.conditions:
                    if condition is not None and name in condition:
                        conditions.setdefault(name, []).append(condition[name].cpu().numpy())
        types = {"label": np.int64}
        arrays = {name: np.concatenate(given).astype(types.get(name, np.float32)) for name, given in conditions.items()}
        names = {f"{name}_names": np.array(space.conditions[name].entries) for name in arrays if space.conditions[name].entries}
        for name, values in (arrays | names).items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def _csv(path: Path, space: Space, n: int, parts: Parts, separator: str = ",") -> None:
    names = list(space.columns) or [f"x{i}" for i in range(space.shape[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        for number, (x, condition) in enumerate(parts):
            known = cells_of(space.conditions, condition, len(x))
            if number == 0:
                writer.writerow([*names, *(name if name not in names else f"{name}_" for name in known[0])])
            writer.writerows([*cells, *more.values()] for cells, more in zip(space.records(x), known, strict=True))


def _table(path: Path, space: TableSpace, n: int, parts: Parts, separator: str | None = None) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator or space.layout.separator, lineterminator="\n")
        if space.layout.header:
            writer.writerow(space.names)
        for x, _ in parts:
            writer.writerows(space.records(x))


def _folder(path: Path, space: Space, n: int, parts: Parts, zoom: int) -> None:
    from pushforward.pictures import grid_picture

    path.mkdir()
    width, at = len(str(n - 1)), 0
    for x, condition in parts:
        known = cells_of(space.conditions, condition, len(x))
        for i, picture in enumerate(space.drawing(space.quantise(x))):
            words = [f"-{name} {value:g}" if isinstance(value, float) else f"-{value}" for name, value in known[i].items()]
            tail = re.sub(r"[^\w -]", "_", "".join(words))
            grid_picture(picture[None], scale=zoom).save(path / f"{at + i:0{width}d}{tail}.png")
        at += len(x)


def _picture(path: Path, space: Space, n: int, parts: Parts, zoom: int | None) -> None:
    from pushforward.pictures import columns_picture, grid_picture, legible

    drawn = [(space.quantise(x), (condition or {}).get("label")) for x, condition in parts]
    images, labels = space.drawing(np.concatenate([x for x, _ in drawn])), [label for _, label in drawn if label is not None]
    if space.as_points:
        picture = columns_picture(images, space, np.concatenate([label.numpy() for label in labels]) if labels else None)
    else:
        picture = grid_picture(images, scale=zoom or (legible(images) if n > 1 else 1))
    picture.save(path, format="PNG")
