"""The verbs sample and impute, and what other verbs that draw from a run share: loading, configuring, where samples go."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.inputs import column_names, condition_of, device_of, numbers, pairs_of
from pushforward.cli.options import (
    AS_IT_IS,
    AT_LEAST_1,
    NEWEST,
    PLACED,
    SAMPLES,
    UNGUIDED,
    USE,
    DataOption,
    Devices,
    Given,
    Guiding,
    Json,
    Label,
    Loading,
    N,
    Out,
    OutputOption,
    Overwrite,
    Placing,
    RunFolder,
    SampleOption,
    Seed,
    Solving,
    app,
    say,
    show,
    written,
)
from pushforward.errors import UsageError
from pushforward.numbers import some

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.editing.imputation import Imputed
    from pushforward.training import Run


@app.command(group=USE, sort_key=1)
def sample(
    run: RunFolder,
    *,
    n: N = 64,
    seed: Seed = 0,
    label: Label = None,
    given: Given = None,
    fill: SampleOption[str | None] = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Out = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
    devices: Devices = None,
) -> None:
    """Draw new samples from a run.

    Images of a VAE are the means of its decoder. Points and rows of a table are draws from it, with the learned noise around
    the means. Example:
    `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`

    Args:
        label: A class by number or name; default: drawn as often as in the training data.
        fill: Columns that the model leaves out: id=sequence writes 1, 2, 3, ...; any other text is written in every row.
        out: .png (grid), no ending (folder of PNGs), .npz, .gif (noise to data), .csv for vectors and tables; of tables also .tsv
            and .parquet. Default: a new file in RUN/samples.
    """
    loaded = configured_run(run, loading, solving, guiding)
    from pushforward.data import TableSpace
    from pushforward.samples import draw_to
    from pushforward.transports.flow import starts
    from pushforward.transports.transport import counted, named_constraints

    for sentence in loaded.unfinished:
        say(f"{loaded.folder}, step {loaded.state['step']:,}: {sentence}")
    origin = starts(loaded.transport)
    if origin is not None and n > origin[1]:
        say(f"{loaded.folder} starts from {origin[1]:,} different held-out examples of {origin[0].data}: {n:,} samples repeat")
    target = target_of(loaded, out, f"seed{seed}-n{n}", n, placing)
    filled = pairs_of("--fill", fill)
    left_out = loaded.space.left_out if isinstance(loaded.space, TableSpace) else ()
    if lacking := [name for name in left_out if name not in filled]:
        say(f"left out of training, so not written: {some(lacking)} (--fill {shlex.quote(lacking[0])}=sequence numbers the rows)")
    condition = condition_of(loaded, label, given)
    to: dict[str, Any] = {"overwrite": placing.overwrite, "zoom": placing.zoom, "fill": filled}
    with precision_of(loading), counted() as tally:
        draw_to(target, loaded.transport, n, condition, seed=seed, batch=loading.batch, **to)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": loaded.transport.calls, "condition": condition}
    if tally.drawn:
        result["drawn_again"] = tally.share
    if tally.share:
        share = f"{tally.refused:,} of {tally.drawn:,} draws ({tally.share:.1%})"
        say(f"{share} broke {named_constraints(loaded.space)} and were drawn again")
    show(result, json, written)


def loaded_run(run: str, loading: Loading = NEWEST) -> Run:
    """The run with the weights that were asked for, on its device."""
    from pushforward.training.runs.folder import check_run

    check_run(run)
    from pushforward.training import load  # imports torch

    where = device_of(loading.device)
    return load(run, raw=loading.raw, checkpoint=loading.checkpoint, plugins=loading.plugin, device=where)


def configured_run(run: str, loading: Loading, solving: Solving = AS_IT_IS, guiding: Guiding = UNGUIDED) -> Run:
    """The run with the solver, guidance or truncation that the command line asks for; see `Run.configured`."""
    loaded = loaded_run(run, loading)
    from pushforward.training.runs.folder import checkpoint_in
    from pushforward.transports import has_steps, inner_of

    options: dict[str, Any] = {**dataclasses.asdict(solving), **guidance_of(guiding)}
    if guiding.weaker is not None:
        folder, checkpoint = checkpoint_in(guiding.weaker)
        options["weaker"] = loaded_run(folder, dataclasses.replace(loading, checkpoint=checkpoint))
    configured = loaded.configured(**options)
    for note in configured.warnings[len(loaded.warnings) :]:
        say(f"note: {note}")
    flow = inner_of(configured.transport)
    if has_steps(flow) and (solving.steps is not None or solving.grid is not None):
        steps = f"{flow.steps} steps of {type(flow.solver).__name__}"
        if getattr(flow, "learned", None) is not None:
            say(f"{steps} have the times and coefficients that `pushforward tune --what table` learned")
        elif flow.grid is not None and flow.grid == configured.learned_grid(flow.steps, flow.solver):
            say(f"{steps} fall where `pushforward tune` learned them")
    return configured


def guidance_of(guiding: Guiding) -> dict[str, Any]:
    """The options of guidance, with the two noise levels of an interval such as 0.2:5 as numbers."""
    interval = None if guiding.interval is None else numbers("--interval", guiding.interval, 2, float, ":")
    return {**dataclasses.asdict(guiding), "interval": interval}


def precision_of(loading: Loading) -> AbstractContextManager[Any]:
    """The precision of network calls, as a context."""
    from pushforward.denoisers.denoiser import network_precision, resolve_precision

    return network_precision(resolve_precision(loading.precision, device_of(loading.device)))


def target_of(run: Run, out: str | None, stem: str, tiles: int, placing: Placing, endings: Sequence[str] | None = None) -> Path:
    """Where a result goes, refused before any work where it is taken or cannot be.

    Args:
        run: The run that it comes from, in whose folder the default lies: a file whose name is not taken.
        out: What was asked for.
        stem: The default's name.
        tiles: Images of the picture.
        placing: How it is written.
        endings: The endings that the verb writes, the default's first; None for all of the space's.
    """
    from pushforward.samples import check_target, usual_ending

    ending, number = usual_ending(run.space) if endings is None else endings[0], 1
    target = Path(out) if out else run.folder / "samples" / f"{stem}{ending}"
    while out is None and target.exists():
        number += 1
        target = target.with_name(f"{stem}-{number}{ending}")
    if endings is not None and target.suffix.lower() not in endings:
        raise UsageError(f'This verb writes {" or ".join(endings)} for {run.space.noun}s, not "{target}"; choose another --out.')
    check_target(target, run.space, tiles, placing.overwrite, placing.zoom)
    return target


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture to a PNG file, which appears whole."""
    from pushforward.files import replacing

    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def image_of(space: Space, file: str, resize: bool, channels: int | None = None) -> Tensor:
    """An image file of the model's size, (channels, H, W) in [0, 1]; with the model's channels unless others are named."""
    import torch

    from pushforward.data.images.image_set import read_image

    height, width = space.shape[1:]
    pixels = read_image(Path(file), channels or space.shape[0], (height, width) if resize else None)
    if pixels.shape[1:] != (height, width):
        raise UsageError(
            f"{file} is {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width), and the model makes {height} x {width}. "
            "Add --resize to scale and crop it."
        )
    return torch.from_numpy(pixels).float() / 255


def check_images(run: Run) -> None:
    """Refuse a model of other data where image files are given."""
    if not run.space.has_pixels:
        others = "`sample --given` draws rows with known values, `impute` fills in missing cells, " if run.space.names else ""
        between = f"{others}`interpolate --seeds 0,1` goes from one sample to another"
        raise UsageError(f"{run.folder} holds a model of {run.space.noun}s; image files are for models of images. {between}.")


def enlarged(images: np.ndarray, columns: int, zoom: int | None = None) -> Image.Image:
    """A grid of images (n, H, W, C), enlarged so many times; by default small ones are made large enough to be looked at."""
    from pushforward.pictures import grid_picture, legible

    return grid_picture(images, columns, scale=zoom or legible(images))


@app.command(group=USE, sort_key=4)
def impute(
    run: RunFolder,
    table: DataOption[str],
    *,
    out: OutputOption[str],
    only: DataOption[str | None] = None,
    draws: Annotated[int, Parameter(group=SAMPLES, validator=AT_LEAST_1)] = 1,
    seed: Seed = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    overwrite: Overwrite = False,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Fill in the missing cells of a table.

    Each row's missing cells are drawn from the model, given its other cells, again where they break a constraint of the table.
    All other cells stay byte for byte. Every gap is filled; where a gap of a column means that there is no such value, name the
    columns to fill by --only: gaps of others stay, and the model is given that these values are missing. Example:
    `pushforward impute runs/people-flow people.csv --out full.csv`

    Args:
        table: A file as training reads it, with the model's columns in any order; other columns are left alone. Without a line
            of names it has the model's columns in their order.
        only: The columns to fill, such as age,income; default all.
        out: The file to write; with several draws full-1.csv, full-2.csv, ...
        draws: How many files are drawn; how they differ shows how certain the values are.
    """
    loaded, path = configured_run(run, loading, solving, guiding), Path(out)
    from pushforward.editing import impute as filled_in

    targets = [path] if draws == 1 else [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(1, draws + 1)]
    if (Path(table).suffix.lower() == ".parquet") != (path.suffix.lower() == ".parquet"):
        raise UsageError(f"{table} and --out {path}: expected both to be Parquet files, or both files of text.")
    taken = [str(target) for target in targets if target.exists()]
    if taken and not overwrite:
        raise UsageError(f"{', '.join(taken)}: there is such a file already. Choose another --out, or add --overwrite.")
    chosen = None if only is None else column_names(only, "--only")
    with precision_of(loading):
        imputed = filled_in(loaded, table, only=chosen, draws=draws, seed=seed, batch=loading.batch)
    for draw, target in enumerate(targets):
        imputed.write(target, draw)
    report = {"out": [str(target) for target in targets], "seed": seed, **_imputed(imputed)}
    show(report, json, lambda r: "\n".join(r["out"]))


def _imputed(imputed: Imputed) -> dict[str, Any]:
    from pushforward.data.tables.csv_dialect import GappyFile
    from pushforward.numbers import some
    from pushforward.transports.transport import named_constraints

    cells, rows = int(imputed.missing.sum()), int(imputed.missing.any(1).sum())
    columns = {f.name: int(n) for f, n in zip(imputed.space.fields, imputed.missing.sum(0), strict=True) if n}
    say(
        f"filled cells: {cells:,} in {rows:,} of {len(imputed.missing):,} rows; "
        + some(f"{n:,} of {f}" for f, n in columns.items())
    )
    if imputed.absent:
        say(f"note: columns of the model that the table lacks count as missing, and are not written: {some(imputed.absent)}")
    report: dict[str, Any] = {"cells": cells, "rows": rows, "columns": columns}
    of_file = isinstance(imputed.source, GappyFile)
    lines = imputed.source.numbers if of_file else range(len(imputed.missing))  # type: ignore[union-attr]
    if imputed.space.constraints:
        report["drawn_again"] = imputed.drawn_again
        say(f"{imputed.drawn_again:.1%} of the drawn rows broke {named_constraints(imputed.space)} and were drawn again")
        for name, why in (("unmet", "after all draws"), ("given_unmet", "by the cells they had")):
            report[name] = [lines[row] for row in getattr(imputed, name)]
            if report[name]:
                broken = some(imputed.broken(getattr(imputed, name)))
                say(f"{'lines' if of_file else 'rows, from 0,'} that break {broken} {why}: {some(report[name])}")
    return report
