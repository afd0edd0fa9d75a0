"""Samples as a person takes them: drawn by options that are chosen by name, as tensors that can be looked at, and as files.

Files are a PNG grid, a folder of PNGs, .npz, .csv or .gif, drawn and written in parts, so that memory stays bounded. Nothing
appears under its name before it is whole.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from pushforward import solvers
from pushforward.arguments import whole
from pushforward.conditions.kind import cells_of, names_of
from pushforward.data import Space, TableSpace
from pushforward.data.tables.frames import for_parquet, write_parquet
from pushforward.denoisers import AtScale, Autoguided, Guided, Thresholded
from pushforward.denoisers.denoiser import Predictor, trained
from pushforward.editing.given_data import Truncated
from pushforward.errors import UsageError, suggestion
from pushforward.files import check_replaceable, replacing
from pushforward.numbers import some
from pushforward.pictures import columns_picture, grid_picture, legible, write_gif
from pushforward.runtime import display, in_notebook
from pushforward.solvers import Solver
from pushforward.solvers.table import LearnedTable
from pushforward.transports import BATCH, ConditionLike, Flow, Transport, has_steps, inner_of, with_inner
from pushforward.transports.transport import Chunk, counted, shared_stream, warn_between, writes_samples

if TYPE_CHECKING:
    from PIL import Image


SEQUENCE = "sequence"  # What fills a column with consecutive numbers
MOST_SHOWN = 256  # The most images of one picture; the rest is left out


class Samples(Tensor):
    """Samples (n, *shape) in data units. Arithmetic returns plain tensors; a slice of whole samples stays `Samples`."""

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
        whole = tuple(part.shape[1:]) == tuple(self.space.shape) and part.dim() == self.dim()
        return Samples.of(part, self.space) if whole else part

    def to_pil(self, columns: int | None = None, *, zoom: int | None = None) -> Image.Image:
        """Draw a picture: a grid of images, or a scatter plot of vectors of two numbers, with axes.

        Args:
            columns: Number of images per row; None for an approximately square grid.
            zoom: Integer factor for enlarging pixels; None enlarges small images to about 64
                pixels.

        Raises:
            UsageError: If there are no samples, or they are vectors of another length.
        """
        if not len(self):
            raise UsageError("There are no samples to plot: n is 0.")
        values = self.space.quantise(self.as_subclass(Tensor)[:MOST_SHOWN])
        if not self.space.as_points:
            pictures = self.space.drawing(values)
            return grid_picture(pictures, columns, scale=zoom or legible(pictures))
        if tuple(self.space.shape) != (2,):
            raise UsageError(
                f"Vectors of {self.space.shape[0]} numbers cannot be plotted; only images and vectors of 2 numbers can."
            )
        return columns_picture(self.numpy(), self.space)

    def save(self, path: str | Path, *, overwrite: bool = False, zoom: int | None = None) -> None:
        """Write the samples to a file.

        Args:
            path: A .png (one picture), .npz, or .csv (vectors) file, or a new folder of images, as `write_samples` takes it.
            overwrite: Replace an existing file.
            zoom: How many times every pixel of a picture is enlarged.

        Raises:
            UsageError: For an existing file, or an ending that does not suit the data.
        """
        write_samples(Path(path), self.space, len(self), [(self.as_subclass(Tensor), None)], overwrite, zoom)

    def show(self) -> None:
        """Show the picture of `to_pil`: below the cell in a notebook, otherwise in the system's image viewer."""
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
        if not len(self) or (self.space.as_points and tuple(self.space.shape) != (2,)):
            return None
        file = io.BytesIO()
        self.to_pil().save(file, format="PNG")
        return file.getvalue()


def drawn_from(transport: Transport, n: int, condition: ConditionLike, *, seed: int, batch: int) -> Any:
    """Draw new samples: `Samples`, or a data frame for a table if pandas is installed.

    A model trained on a polars frame returns polars frames. ``attrs["drawn_again"]`` of a pandas
    frame is the fraction of draws that violated a constraint and were drawn again.

    Args:
        transport: Model.
        n: Number of samples.
        condition: Conditions, as in `Transport.sample`.
        seed: Seed of the first sample.
        batch: Batch size.

    Raises:
        Diverged: If samples still violate a constraint of the data.
    """
    with counted() as tally:
        x = transport.sample(n, condition, seed=seed, batch=batch)
    frame = transport.space.frame(x)
    if frame is None:
        return Samples.of(x, transport.space)
    if hasattr(frame, "attrs"):
        frame.attrs["drawn_again"] = tally.share
    return frame


Parts = Iterable[Chunk]
MOST_DRAWN, LARGEST_ZOOM = 4096, 64
PICTURES = (".png", ".gif")


def check_target(path: Path, space: Space, n: int, overwrite: bool = False, zoom: int | None = None) -> None:
    """Raise an error, before any work, if the output exists, or extension or zoom do not suit the data.

    With ``overwrite``, a file may replace a file, and a folder may replace a folder that contains
    only earlier samples.

    Raises:
        UsageError: With alternatives.
    """
    known, ending = space.endings, path.suffix.lower()
    if path.name.lower() in known:
        raise UsageError(f'"{path}" has no file name before its extension. Write samples.png, or ./samples for a new folder.')
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists. Choose another `out`, or add `overwrite=True`.")
    if path.is_dir():
        check_replaceable(path)
    if ending not in known:
        raise UsageError(
            f'Cannot write {space.noun}s to "{path}". Use one of the extensions {", ".join(known.values())}. Only '
            "images and data with 2 columns can be drawn."
        )
    if ending == ".parquet":
        for_parquet(path)
    if ending in PICTURES and n > MOST_DRAWN:
        raise UsageError(f"A picture shows at most {MOST_DRAWN:,} samples. Write {n:,} samples to an .npz file instead.")
    whole("n", n, 1)
    if zoom is not None and (space.as_points or ending == ".npz" or not 1 <= zoom <= LARGEST_ZOOM):
        raise UsageError(
            f'`zoom={zoom}` is not supported for "{path}": zoom enlarges pictures of images, at most {LARGEST_ZOOM} times.'
        )


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
    """Draw the samples of `Transport.sample` and write them in batches, so that memory stays bounded.

    Args:
        path: Output path, as for `write_samples`, or .gif: from noise to data step by step.
        transport: Transport to sample.
        n: Number of samples.
        condition: Conditions, as in `Transport.sample`.
        seed: Seed of the first sample.
        batch: Batch size.
        overwrite: Whether to replace an existing file.
        zoom: Integer factor for enlarging pixels of a picture.
        fill: Values of columns that the model does not learn, as for `write_samples`.

    Raises:
        UsageError: If the output exists, the extension does not suit the data, or a .gif is
            requested for a one-call model.
        CheckpointError: If writing fails; an existing file is kept.
        Diverged: If a sample is not finite, or violates a constraint of the data after all
            attempts; an existing file is kept.
    """
    path, space = Path(path), transport.space
    if path.suffix.lower() != ".gif":
        check_target(path, space, n, overwrite, zoom)
        parts = shared_stream(transport, n, condition, seed=seed, batch=batch)
        if writes_samples():
            write_samples(path, space, n, parts, overwrite, zoom, fill)
        deque(parts, 0)
        return
    if not writes_samples():
        return
    check_target(path, space, n, overwrite, zoom)
    if has_steps(inner_of(transport)):
        frames = [space.drawing(space.quantise(x)) for _, x in transport.trajectory(n, condition, seed=seed)]  # type: ignore[operator]
        with replacing(path) as temporary:
            write_gif(temporary, [*frames, *[frames[-1]] * 8], 80, scale=zoom)
        return
    raise UsageError("A .gif shows how samples form step by step, but this model samples in one call. Write a .png.")


def frames_to(path: str | Path, space: Space, x: Tensor, *, overwrite: bool = False, zoom: int | None = None) -> None:
    """Write the frames (n, *shape) of an interpolation: a strip (.png), an animation (.gif), or a file of `write_samples`.

    An animation of images goes there and back; points appear one after another. Rows of a table that break a constraint are
    written, with a warning.
    """
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

    Args:
        path: Output path: .png, .npz, .csv, or no extension for a folder of PNGs; for tables also
            .tsv and .parquet.
        space: Shape and names of the data.
        n: Total number of samples in all parts.
        parts: Pairs (samples in data units, condition), as yielded by `Transport.stream`.
        overwrite: Whether to replace an existing file.
        zoom: Whole factor by which images are enlarged in a .png or a folder. None makes the small images of a grid `legible`; a
            single image and the files of a folder, which may be read again as data, keep their size.
        fill: Values of a table's columns that the model does not learn, by name: "sequence" for 1, 2, 3, ..., or a text that is
            written in every row of a .csv or .tsv file.

    Raises:
        UsageError: As for `check_target`, and for a column that cannot be filled.
        CheckpointError: If writing fails; nothing is left behind and an existing file is kept.
    """
    check_target(path, space, n, overwrite, zoom)
    check_fill(path, space, fill or {})
    writers: dict[str, Callable[..., None]] = {
        ".npz": _npz,
        ".csv": partial(_csv, fill=fill or {}),
        ".tsv": partial(_csv, fill=fill or {}, separator="\t"),
        ".parquet": lambda path, space, n, parts: write_parquet(path, [space.frame(x) for x, _ in parts]),
        ".png": partial(_picture, zoom=zoom),
        "": partial(_folder, zoom=zoom or 1),
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


def check_fill(path: Path, space: Space, fill: Mapping[str, str]) -> None:
    """Refuse columns that are not left out of a table, and files that cannot hold them.

    Raises:
        UsageError: Naming the columns that can be filled.
    """
    is_text = path.suffix.lower() in (".csv", ".tsv")
    known = space.left_out if isinstance(space, TableSpace) and is_text else ()
    for name in fill:
        if name not in known:
            raise UsageError(
                f'`fill`: "{name}" cannot be written into {path}. The columns that the model leaves out '
                f"({some(known) or 'none here'}) are written into .csv and .tsv files."
            )


def _csv(path: Path, space: Space, n: int, parts: Parts, fill: Mapping[str, str], separator: str | None = None) -> None:
    layout = space.layout if isinstance(space, TableSpace) else None
    own = list(space.names or space.columns) or [f"x{i}" for i in range(space.shape[0])]
    names = [name for name in layout.columns if name in own or name in fill] if layout and fill else own
    count = itertools.count(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        usual = separator or (layout.separator if layout else ",")
        writer = csv.writer(file, delimiter=usual, lineterminator="\n" if layout else "\r\n")
        for number, (x, condition) in enumerate(parts):
            known = [{}] * len(x) if layout else cells_of(space.conditions, condition, len(x))
            if number == 0 and (layout is None or layout.header):
                writer.writerow([*names, *(name if name not in names else f"{name}_" for name in known[0])])
            for cells, more in zip(space.records(x), known, strict=True):
                place = str(next(count))
                row = dict(zip(own, cells, strict=True))
                row |= {name: place if value == SEQUENCE else value for name, value in fill.items()}
                writer.writerow([*map(row.__getitem__, names), *more.values()])


def _folder(path: Path, space: Space, n: int, parts: Parts, zoom: int) -> None:
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
    drawn = [(space.quantise(x), (condition or {}).get("label")) for x, condition in parts]
    images, labels = space.drawing(np.concatenate([x for x, _ in drawn])), [label for _, label in drawn if label is not None]
    if space.as_points:
        picture = columns_picture(images, space, np.concatenate([label.numpy() for label in labels]) if labels else None)
    else:
        picture = grid_picture(images, scale=zoom or (legible(images) if n > 1 else 1))
    picture.save(path, format="PNG")


# From a number of steps and a solver to the N + 1 times that were learned for them; None where there are none
Grids = Callable[[int, Solver], Sequence[float] | None]
# From a number of steps, a solver and the options of guidance to the table that was learned for them; None where none was
Tables = Callable[[int, Solver, Mapping[str, Any]], LearnedTable | None]


class Sampling(TypedDict, total=False):
    """Sampling options; a missing option or None leaves the transport unchanged.

    Args:
        steps: Number of solver steps of an iterative model.
        solver: Solver, or its name, such as "heun", "dpm:3" or "ddim:0.5".
        grid: Time grid: a name in `pushforward.solvers.solver.GRIDS`, "learned", or N + 1 falling
            times. "table" also uses learned coefficients.
        truncation: Largest absolute value of entries of a one-call model's z
            (`pushforward.editing.Truncated`).
        scale: Classifier-free guidance scale: 1 is the conditional model. A student distilled with
            a range of scales supports scales in this range without additional calls.
        interval: Noise levels sigma / alpha between which guidance acts, the lower first; None for
            all.
        weaker: Weaker predictor for autoguidance. `Run.sample` also takes a run or its folder.
        weaker_scale: Autoguidance scale: 1 is the model itself; 2 by default.
        threshold: Quantile of pixels for keeping predicted images in range
            (`pushforward.denoisers.Thresholded`).
    """

    steps: int | None
    solver: Solver | str | None
    grid: str | Sequence[float] | None
    truncation: float | None
    scale: float | None
    interval: tuple[float, float] | None
    weaker: Any
    weaker_scale: float | None
    threshold: float | None


GUIDANCE = ("scale", "interval", "weaker", "weaker_scale", "threshold")  # The options of guidance


def given_options(options: Sampling, also: Sequence[str] = ()) -> dict[str, Any]:
    """Return the options that change something, by name.

    Args:
        options: The options of a function.
        also: The function's other arguments, for the message.

    Raises:
        UsageError: If `Sampling` does not have an option.
    """
    known = (*also, *Sampling.__annotations__)
    for name in options:
        if name not in known:
            hint = suggestion(name, known)
            raise UsageError(f'Unexpected sampling option "{name}"; expected {", ".join(known)}.{hint}')
    return {name: value for name, value in options.items() if value is not None}


def with_conditions(condition: ConditionLike, options: Mapping[str, Any], space: Space) -> tuple[ConditionLike, Any]:
    """Move keyword arguments that are conditions, or columns of the data, to a condition.

    Returns:
        The condition, and the arguments that are left.

    Raises:
        UsageError: For an argument that is neither a condition nor an option of `Sampling`.
    """
    names = {*space.conditions, *names_of(space.conditions), *space.names, *space.columns}
    names |= {str(getattr(kind, "target", "")) for kind in space.conditions.values()}
    named = names & options.keys() - Sampling.__annotations__.keys()
    for name in named:
        value = options[name]
        if value is not None:
            condition = {**(condition or {}), **(value if isinstance(value, Mapping) else {name: value})}
    sampling = {name: value for name, value in options.items() if name not in named}
    return condition, given_options(sampling, ("n", "condition", "seed", "batch", *names_of(space.conditions)))  # type: ignore[arg-type]


def seed_of(generator: torch.Generator, seed: int) -> int:
    """Return the seed that a generator was made with, and warn that it is used.

    Raises:
        UsageError: For anything but one generator, or a seed as well.
    """
    if not isinstance(generator, torch.Generator):
        raise UsageError(f"`generator` must be a torch.Generator, got a {type(generator).__name__}. Give `seed=0` instead.")
    if seed:
        raise UsageError("Give either `seed` or `generator`.")
    seed = generator.initial_seed()
    warn(f"Sample i depends on seed + i alone. The generator's initial seed is used, as with seed={seed}.", stacklevel=3)
    return seed


def configure(
    transport: Transport,
    *,
    grids: Grids | None = None,
    tables: Tables | None = None,
    name: str = "the transport",
    **options: Unpack[Sampling],
) -> Transport:
    """Return the transport with other sampling options and shared weights.

    A table that was learned for the number of steps and the guidance is used where ``steps`` is given without a grid. Where there
    is none, times that were learned for the steps are used, without guidance, which would invalidate them.

    Args:
        transport: A `Flow`, a `Map`, or a `Latent` of one of them.
        grids: Function that looks up learned times, such as `Run.learned_grid`.
        tables: Function that looks up learned tables, such as `Run.learned_table`.
        name: Name of the transport in error messages.
        options: See `Sampling`.

    Raises:
        UsageError: If this kind of transport does not support an option, or a value is out of
            range.
    """
    given = given_options(options)
    if "truncation" in given:
        inner = inner_of(transport)
        if has_steps(inner):
            raise UsageError(
                f"`truncation` supports one-call models, and {name} is an iterative model ({type(inner).__name__}). Use "
                "guidance instead, which makes samples closer to their label and less diverse: give `scale=2` and a "
                "`label`."
            )
        transport = Truncated(transport, given.pop("truncation"))
    if not given:
        return transport
    flow = inner_of(transport)
    if not has_steps(flow):
        listed = ", ".join(f"`{option}`" for option in given)
        raise UsageError(
            f"{listed}: {name} samples in one call (like a VAE or a GAN), so steps, solvers, grids and guidance do "
            "not apply. Leave these options out."
        )
    steps = whole("steps", given.get("steps", flow.steps), 1)
    solver = solvers.as_solver(given["solver"]) if "solver" in given else flow.solver
    denoiser, table = _guided(flow.denoiser, given), _learned_table(given, solver, steps, tables, name)
    if table is not None:
        return with_inner(transport, Flow(denoiser, solver, steps, table.grid, table))
    return with_inner(transport, Flow(denoiser, solver, steps, _grid(flow, given, solver, steps, grids, name)))


def guidance_notes(transport: Transport) -> tuple[str, ...]:
    """Return a warning if a map between two times is guided without having learned guidance."""
    flow = inner_of(transport)
    denoiser = flow.denoiser if isinstance(flow, Flow) and flow.solver.jumps else None
    while denoiser is not None and not isinstance(denoiser, Guided):
        denoiser = getattr(denoiser, "denoiser", None)
    if denoiser is None or denoiser.scale == 1:
        return ()
    return (
        f"this map was distilled without guidance: scale {denoiser.scale:g} combines its jumps with and without "
        "conditions, in two calls each, and does not match its teacher at that scale. To learn guidance, train "
        "it with a range of guidance scales.",
    )


def _learned_table(given: dict[str, Any], solver: Solver, steps: int, tables: Tables | None, name: str) -> LearnedTable | None:
    by_name = given.get("grid") == "table"
    if not by_name and ("grid" in given or "steps" not in given):
        return None
    guidance = {option: given[option] for option in GUIDANCE if option in given}
    if "weaker" not in guidance and tables is not None:
        table = tables(steps, solver, guidance)
        if table is not None:
            return table
    if not by_name:
        return None
    if "weaker" in guidance:
        raise UsageError("Learned tables do not support guidance by a weaker model. Leave `weaker` out, or use another `grid`.")
    raise _unlearned("table", name, steps, given, solver, guidance)


def _grid(
    flow: Flow, given: dict[str, Any], solver: Solver, steps: int, grids: Grids | None, name: str
) -> str | Sequence[float] | None:
    """The given grid; else the times learned for these steps; else the transport's own where it still fits."""
    grid = given.get("grid")
    unguided = not any(option in given for option in GUIDANCE)
    if grid == "learned" or (grid is None and "steps" in given and unguided):
        times = None if grids is None else grids(steps, solver)
        if times is not None:
            return times
        if grid == "learned":
            raise _unlearned("grid", name, steps, given, solver)
    return flow.grid_for(solver, steps) if grid is None else grid


def _unlearned(
    what: str, name: str, steps: int, given: Mapping[str, Any], solver: Solver, guidance: Mapping[str, Any] | None = None
) -> UsageError:
    learn = tuning(name, steps, "dpm" if solver.stochastic else given.get("solver"), guidance)
    return UsageError(f"{name} has no {what} learned for {steps} steps of {type(solver).__name__}. Learn it: {learn}")


def tuning(name: str, steps: int, solver: Solver | str | None, guidance: Mapping[str, Any] | None = None) -> str:
    """Return the command that learns a grid or, with guidance (even an empty one), a table."""
    chosen = solver if isinstance(solver, str) or solver is None else type(solver).__name__.lower()
    words = [f"pushforward tune {name}", *([] if guidance is None else ["--what table"]), f"--steps {steps}"]
    words += [] if chosen is None else [f"--solver {chosen}"]
    for option, value in (guidance or {}).items():
        words.append(f"--{option} {value[0]:g}:{value[1]:g}" if option == "interval" else f"--{option} {value:g}")
    return " ".join(words)


def _guided(denoiser: Predictor, given: dict[str, Any]) -> Predictor:
    if "interval" in given and "scale" not in given and "weaker" not in given:
        raise UsageError("`interval` limits where guidance acts. Give `scale` or `weaker` as well.")
    if "weaker_scale" in given and "weaker" not in given:
        raise UsageError("`weaker_scale` needs a weaker run for guidance: `weaker=RUN`.")
    interval = given.get("interval")
    if "scale" in given:
        inner = trained(denoiser)
        learned = inner is not None and inner.preconditioning.guidance is not None
        if learned and interval is not None:
            raise UsageError("This map was distilled with guidance at all noise levels. Leave `interval` out.")
        denoiser = AtScale(denoiser, given["scale"]) if learned else Guided(denoiser, given["scale"], interval)
    if "weaker" in given:
        denoiser = Autoguided(denoiser, given["weaker"], given.get("weaker_scale", 2.0), interval)
    return Thresholded(denoiser, given["threshold"]) if "threshold" in given else denoiser
