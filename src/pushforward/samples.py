"""Samples as tensors that can be shown, and as files, drawn and written in batches."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.kind import cells_of
from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.files import check_absent, check_replaceable, replacing
from pushforward.numbers import some
from pushforward.pictures import columns_picture, grid_picture, write_gif
from pushforward.registries import at
from pushforward.runtime import display, in_notebook
from pushforward.transports import BATCH, ConditionLike, Transport, has_steps, inner_of
from pushforward.transports.redrawing import Chunk, counting_draws, warn_unmet
from pushforward.transports.transport import shared_stream, writes_samples

if TYPE_CHECKING:
    from PIL import Image


MOST_SHOWN = 256  # The most images of one picture; the rest is left out


class Samples(Tensor):
    """Samples (n, *shape) in data units, also a slice of them; arithmetic returns plain tensors."""

    space: Space
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def of(x: Tensor, space: Space) -> Samples:
        """Convert a tensor to samples of a space, without copying."""
        samples = x.as_subclass(Samples)
        samples.space = space
        return samples

    def __getitem__(self, where: Any) -> Tensor:
        part = super().__getitem__(where)
        whole = part.dim() == self.dim() and part.shape[1:] == self.shape[1:]
        if whole:
            return Samples.of(part, self.space)
        return part

    def to_pil(self, columns: int | None = None, *, zoom: int | None = None) -> Image.Image:
        """Draw a grid of images, or a scatter plot of 2-dimensional vectors.

        Args:
            columns: Number of images per row; None for an approximately square grid.
            zoom: Integer factor for enlarging pixels; None enlarges small images.
        """
        if not len(self):
            raise UsageError("There are no samples to plot: n is 0.")
        values = self.space.quantise(self.as_subclass(Tensor)[:MOST_SHOWN])
        if not self.space.as_points:
            pictures = self.space.drawing(values)
            return grid_picture(pictures, columns, scale=zoom)
        if self.space.shape != (2,):
            raise UsageError(
                f"Cannot plot vectors with {self.space.shape[0]} dimensions; expected images or "
                "2-dimensional vectors."
            )
        return columns_picture(self.numpy(), self.space)

    def save(self, path: str | Path, *, overwrite: bool = False, zoom: int | None = None) -> None:
        """Write the samples to a file.

        Args:
            path: Output file: .png (one picture), .npz or .csv (vectors and tables), or a new
                folder of images.
            overwrite: Replace an existing file.
            zoom: Integer factor for enlarging pixels of a picture.
        """
        parts = [(self.as_subclass(Tensor), None)]
        write_samples(Path(path), self.space, len(self), parts, overwrite, zoom)

    def show(self) -> None:
        """Show the picture of `to_pil` below the cell, or in the system's image viewer."""
        picture = self.to_pil()
        if in_notebook():
            display(picture)
        else:
            picture.show()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        shape = "x".join(map(str, self.space.shape))
        return f"Samples({len(self)} of {shape}, {self.space.noun}s in data units)"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Samples.of, (self.as_subclass(Tensor), self.space)

    def _repr_png_(self) -> bytes | None:
        try:
            picture = self.to_pil()
        except UsageError:  # samples that cannot be drawn
            return None
        file = io.BytesIO()
        picture.save(file, format="PNG")
        return file.getvalue()


def drawn_from(
    transport: Transport,
    n: int,
    condition: ConditionLike,
    *,
    seed: int,
    batch: int,
    fill: Mapping[str, str] | None = None,
) -> Any:
    """Draw new samples: `Samples`, or a data frame for a table if pandas is installed.

    ``attrs["drawn_again"]`` of a pandas frame is the fraction of draws that violated a constraint.
    """
    check_fill(transport.space, fill or {})
    with counting_draws() as tally:
        x = transport.sample(n, condition, seed=seed, batch=batch)
    frame = transport.space.frame(x, fill)
    if frame is None:
        return Samples.of(x, transport.space)
    if hasattr(frame, "attrs"):
        frame.attrs["drawn_again"] = tally.share
    return frame


Parts = Iterable[Chunk]
MOST_DRAWN = 4096
LARGEST_ZOOM = 64
PICTURES = (".png", ".gif")


def check_target(
    path: Path, space: Space, n: int, overwrite: bool = False, zoom: int | None = None
) -> None:
    """Raise an error if the output exists or does not suit the data."""
    known = space.endings
    ending = path.suffix.lower()
    if path.name.lower() in known:
        raise UsageError(
            f'"{path}" has no file name before its extension. '
            "Write samples.png, or ./samples for a new folder."
        )
    check_absent(path, overwrite)
    if path.is_dir():
        check_replaceable(path)
    if ending not in known:
        listed = ", ".join(known.values())
        raise UsageError(
            f'Cannot write {space.noun}s to "{path}". Use one of these extensions: {listed}.'
        )
    space.check_file(path)
    if ending in PICTURES and n > MOST_DRAWN:
        raise UsageError(
            f"A picture shows at most {MOST_DRAWN:,} samples. "
            f"Write {n:,} samples to an .npz file instead."
        )
    whole("n", n, 1)
    if zoom is not None and (space.as_points or ending == ".npz" or not 1 <= zoom <= LARGEST_ZOOM):
        raise UsageError(
            f'`zoom={zoom}` is not supported for "{path}": zoom applies only to image files '
            f"and must be from 1 to {LARGEST_ZOOM}."
        )


def columns_of(space: Space) -> list[str]:
    """Return the column names of a table or of vectors, by default x0, x1, ..."""
    return list(space.names or space.columns) or [f"x{i}" for i in range(space.size)]


def usual_ending(space: Space) -> str:
    """Return the default file extension: a table if samples are points."""
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
    fill: Mapping[str, str] | None = None,
) -> None:
    """Draw the samples of `Transport.sample` in batches, and write them.

    The path is that of `write_samples`, or .gif: from noise to data step by step.
    """
    path = Path(path)
    space = transport.space
    animated = path.suffix.lower() == ".gif"
    if writes_samples() or not animated:
        check_target(path, space, n, overwrite, zoom)
    if not animated:
        parts = shared_stream(transport, n, condition, seed=seed, batch=batch)
        if writes_samples():
            write_samples(path, space, n, parts, overwrite, zoom, fill)
        deque(parts, 0)
        return
    if not writes_samples():
        return
    if not has_steps(inner_of(transport)):
        raise UsageError(
            "A .gif shows how samples form step by step, but this model samples in one call. "
            "Write a .png."
        )
    states = transport.trajectory(n, condition, seed=seed)  # type: ignore[operator]
    frames = [space.drawing(space.quantise(x)) for _, x in states]
    frames += [frames[-1]] * 8
    with replacing(path) as temporary:
        write_gif(temporary, frames, 80, scale=zoom)


def frames_to(
    path: str | Path, space: Space, x: Tensor, *, overwrite: bool = False, zoom: int | None = None
) -> None:
    """Write an interpolation: a strip (.png), an animation (.gif), or a file of `write_samples`."""
    path = Path(path)
    advice = "Points between two seeds cannot be drawn again, so they are written unchanged."
    warn_unmet(space, x, advice)
    n = len(x)
    ending = path.suffix.lower()
    images = space.drawing(space.quantise(x))
    check_target(path, space, n, overwrite, zoom)
    if ending == ".gif":
        if space.as_points:
            frames = [images[: i + 1] for i in range(n)]
        else:
            frames = [images[i : i + 1] for i in range(n)]
            frames += frames[-2:0:-1]
        with replacing(path) as temporary:
            write_gif(temporary, frames, 120, scale=zoom)
    elif ending == ".png" and not space.as_points:
        with replacing(path) as temporary:
            grid_picture(images, columns=n, scale=zoom).save(temporary, format="PNG")
    else:
        write_samples(path, space, n, [(x, None)], overwrite, zoom)


def write_samples(
    path: Path,
    space: Space,
    n: int,
    parts: Parts,
    overwrite: bool = False,
    zoom: int | None = None,
    fill: Mapping[str, str] | None = None,
) -> None:
    """Write n samples in the format given by the extension of ``path``.

    Formats are .png, .npz, .csv, and no extension for a folder of PNGs; for tables also .tsv and
    .parquet.

    Args:
        n: Total number of samples in all parts.
        parts: Pairs (samples in data units, condition), as yielded by `Transport.stream`.
        zoom: Integer factor for enlarging images; None enlarges only the small images of a grid.
        fill: Values of columns that the model does not learn, or "sequence" for 1, 2, 3, ....
    """
    check_target(path, space, n, overwrite, zoom)
    fill = fill or {}
    check_fill(space, fill)
    ending = path.suffix.lower()
    if fill and ending not in (".csv", ".tsv"):
        raise UsageError(f"`fill` supports only .csv and .tsv files, got {path}.")
    with replacing(path) as temporary:
        if ending in space.writers:
            at(space.writers[ending])(temporary, space, parts, fill)
        else:
            WRITERS[ending](temporary, space, n, parts, zoom)


def _npz(path: Path, space: Space, n: int, parts: Parts, zoom: int | None) -> None:
    values = []
    conditions: dict[str, list[np.ndarray]] = {}
    for x, condition in parts:
        values.append(space.quantise(x))
        for name, value in (condition or {}).items():
            if name in space.conditions:
                conditions.setdefault(name, []).append(value.cpu().numpy())
    arrays = {"x": np.concatenate(values)}
    for name, given in conditions.items():
        kind = np.int64 if name == "label" else np.float32
        arrays[name] = np.concatenate(given).astype(kind)
        entries = space.conditions[name].entries
        if entries:
            arrays[f"{name}_names"] = np.array(entries)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def check_fill(space: Space, fill: Mapping[str, str]) -> None:
    """Check that the columns to fill were left out of training."""
    known = space.left_out
    for name in fill:
        if name not in known:
            raise UsageError(
                f'`fill` does not support the column "{name}". It supports columns that were left '
                f"out of training: {some(known) or 'none'}."
            )


def _csv(path: Path, space: Space, n: int, parts: Parts, zoom: int | None) -> None:
    names = columns_of(space)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (x, condition) in enumerate(parts):
            known = cells_of(space.conditions, condition, len(x))
            if number == 0:
                extra = [f"{name}_" if name in names else name for name in known[0]]
                writer.writerow([*names, *extra])
            for cells, more in zip(space.records(x), known, strict=True):
                writer.writerow([*cells, *more.values()])


def _folder(path: Path, space: Space, n: int, parts: Parts, zoom: int | None) -> None:
    path.mkdir()
    width = len(str(n - 1))
    at = 0
    for x, condition in parts:
        known = cells_of(space.conditions, condition, len(x))
        images = space.drawing(space.quantise(x))
        for i, cells in enumerate(known):
            tail = ""
            for name, value in cells.items():
                tail += f"-{name} {value:g}" if isinstance(value, float) else f"-{value}"
            tail = re.sub(r"[^\w -]", "_", tail)
            picture = grid_picture(images[i : i + 1], scale=zoom or 1)
            picture.save(path / f"{at + i:0{width}d}{tail}.png")
        at += len(x)


def _picture(path: Path, space: Space, n: int, parts: Parts, zoom: int | None) -> None:
    values = []
    labels = []
    for x, condition in parts:
        values.append(space.quantise(x))
        if condition is not None and condition.get("label") is not None:
            labels.append(condition["label"].numpy())
    images = space.drawing(np.concatenate(values))
    if space.as_points:
        picture = columns_picture(images, space, np.concatenate(labels) if labels else None)
    else:
        if n == 1:
            zoom = zoom or 1
        picture = grid_picture(images, scale=zoom)
    picture.save(path, format="PNG")


WRITERS: Mapping[str, Callable[[Path, Space, int, Parts, int | None], None]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".png": _picture,
    "": _folder,
}
