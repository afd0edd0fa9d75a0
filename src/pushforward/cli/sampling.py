"""The verbs sample and impute, and functions that verbs share."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.inputs import column_names, column_values, condition_of, numbers
from pushforward.cli.options import (
    AS_IT_IS,
    NEWEST,
    PLACED,
    UNGUIDED,
    USE,
    DataOption,
    Devices,
    Guiding,
    Json,
    Label,
    Loading,
    N,
    Out,
    OutputOption,
    Overwrite,
    Placing,
    Positive,
    RunCheckpoint,
    SampleOption,
    Seed,
    Solving,
    app,
    say,
    show,
    written,
)
from pushforward.errors import UsageError
from pushforward.files import check_absent, unused
from pushforward.numbers import some
from pushforward.runtime import device_named

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.tables.imputation import Imputed
    from pushforward.training import Run


@app.command(group=USE, sort_key=1)
def sample(
    run: RunCheckpoint,
    *,
    n: N = 64,
    seed: Seed = 0,
    label: Label = None,
    given: SampleOption[str | None] = None,
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

    VAE images are decoder means; VAE points and table rows also include the learned noise. Example:
    `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`

    Args:
        label: Class, by number or name. Default: random, with the frequencies of the training data.
        given: Values of conditioning columns, such as age=40,income=2. The other conditioning
            columns are drawn together from the training examples, independently of these values.
        fill: Values for columns that were left out of training: id=sequence writes 1, 2, 3, ...;
            any other text fills all rows.
        out: Output file: .png (grid), .npz, .gif (from noise to data), .csv (vectors and tables),
            .tsv or .parquet (tables), or a folder of PNGs if there is no extension. Default: a new
            file in RUN/samples.
    """
    loaded = configured_run(run, loading, solving, guiding)
    from pushforward.samples import draw_to
    from pushforward.transports.redrawing import counting_draws, named_constraints

    for sentence in loaded.unfinished:
        say(f"{loaded.folder}, step {loaded.state['step']:,}: {sentence}")
    target = target_of(loaded, out, f"seed{seed}-n{n}", n, placing)
    filled = column_values("--fill", fill)
    _say_left_out(loaded.space, filled)
    condition = condition_of(loaded, label, given)
    with precision_of(loading), counting_draws() as tally:
        draw_to(
            target,
            loaded.transport,
            n,
            condition,
            seed=seed,
            batch=loading.batch,
            overwrite=placing.overwrite,
            zoom=placing.zoom,
            fill=filled,
        )
    result = {
        "out": str(target),
        "n": n,
        "seed": seed,
        "calls_per_sample": loaded.transport.calls,
        "condition": condition,
    }
    if tally.drawn:
        result["drawn_again"] = tally.share
    if tally.share:
        draws = f"{tally.refused:,} of {tally.drawn:,} draws ({tally.share:.1%})"
        say(f"{draws} violated {named_constraints(loaded.space)} and were drawn again")
    show(result, json, written)


def _say_left_out(space: Space, filled: Mapping[str, str]) -> None:
    lacking = [name for name in space.left_out if name not in filled]
    if lacking:
        say(
            f"columns left out of training are not written: {some(lacking)}. To number the rows in "
            f"one of them: --fill {shlex.quote(lacking[0])}=sequence"
        )


def loaded_run(run: str, loading: Loading = NEWEST) -> Run:
    """Load RUN or RUN@CHECKPOINT with the given weights and device."""
    from pushforward.training.runs.folder import check_run, checkpoint_in

    folder, checkpoint = checkpoint_in(run)
    check_run(folder)
    from pushforward.training import load  # imports torch

    return load(
        folder,
        raw=loading.raw,
        checkpoint=checkpoint,
        plugins=loading.plugin,
        device=loading.device,
    )


def configured_run(
    run: str, loading: Loading, solving: Solving = AS_IT_IS, guiding: Guiding = UNGUIDED
) -> Run:
    """Load a run with the given solver, guidance or truncation; see `Run.configured`."""
    loaded = loaded_run(run, loading)
    from pushforward.transports import has_steps, inner_of

    options = {**dataclasses.asdict(solving), **dataclasses.asdict(guiding)}
    if guiding.interval is not None:
        options["interval"] = numbers("--interval", guiding.interval, 2, float, ":")
    if guiding.weaker is not None:
        options["weaker"] = loaded_run(guiding.weaker, loading)
    configured = loaded.configured(**options)
    flow = inner_of(configured.transport)
    if has_steps(flow) and (solving.steps is not None or solving.grid is not None):
        steps = f"{flow.steps} steps of {type(flow.solver).__name__}"
        if flow.grid is not None and flow.grid == configured.learned_grid(flow.steps, flow.solver):
            say(f"using the times that pushforward tune learned for {steps}")
    return configured


def precision_of(loading: Loading) -> AbstractContextManager[Any]:
    """Return a context that sets the precision of network calls."""
    from pushforward.denoisers.denoiser import network_precision, resolve_precision

    return network_precision(resolve_precision(loading.precision, device_named(loading.device)))


def target_of(
    run: Run,
    out: str | None,
    stem: str,
    tiles: int,
    placing: Placing,
    endings: Sequence[str] | None = None,
) -> Path:
    """Return the output path, by default a new one in the run's folder, after checking it.

    Args:
        stem: Default name without extension.
        tiles: Number of images in the picture.
        endings: Extensions that the verb supports, the default first; None for all of the data.
    """
    from pushforward.samples import check_target, usual_ending

    if out:
        target = Path(out)
    else:
        ending = usual_ending(run.space) if endings is None else endings[0]
        target = unused(run.folder / "samples", stem, ending)
    if endings is not None and target.suffix.lower() not in endings:
        known = " or ".join(filter(None, endings))
        raise UsageError(
            f'Cannot write {run.space.noun}s to "{target}". Use an --out that ends in {known}.'
        )
    check_target(target, run.space, tiles, placing.overwrite, placing.zoom)
    return target


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture to a PNG file."""
    from pushforward.files import replacing

    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def image_of(space: Space, file: str, resize: bool, channels: int | None = None) -> Tensor:
    """Read an image of the model's size, (channels, H, W) in [0, 1]."""
    import torch

    from pushforward.data.images.image_set import read_image

    height, width = space.shape[1:]
    pixels = read_image(Path(file), channels or space.shape[0], (height, width) if resize else None)
    if pixels.shape[1:] != (height, width):
        raise UsageError(
            f"{file} has {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width); the model "
            f"expects {height} x {width}. Add --resize to scale and crop the image."
        )
    return torch.from_numpy(pixels).float() / 255


def check_images(run: Run) -> None:
    """Raise an error if the model does not generate images."""
    if not run.space.has_pixels:
        raise UsageError(
            f"{run.folder} generates {run.space.noun}s, not images, so it cannot edit image files. "
            "Use interpolate --seeds 0,1."
        )


@app.command(group=USE, sort_key=4)
def impute(
    run: RunCheckpoint,
    table: DataOption[str],
    *,
    out: OutputOption[str],
    only: DataOption[str | None] = None,
    draws: SampleOption[Positive] = 1,
    seed: Seed = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    overwrite: Overwrite = False,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Fill in the missing cells of a table.

    Missing cells are drawn from the model, conditioned on the other cells of the row; all other
    cells stay unchanged. If an empty cell of some column means that there is no value, name only
    the other columns with --only. Example:
    `pushforward impute runs/people-flow people.csv --out full.csv`

    Args:
        table: Table with the model's columns in any order, or in the model's order without a
            header. Other columns stay unchanged.
        only: Columns to fill, such as age,income. Default: all.
        out: Output file; with several draws, full-1.csv, full-2.csv, ...
        draws: Number of completed files to write. The differences between them show the uncertainty
            of the filled-in values.
    """
    loaded = configured_run(run, loading, solving, guiding)
    path = Path(out)
    from pushforward.tables.imputation import impute as filled_in

    targets = [path]
    if draws > 1:
        targets = [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(1, draws + 1)]
    if (Path(table).suffix.lower() == ".parquet") != (path.suffix.lower() == ".parquet"):
        raise UsageError(
            f"Cannot fill {table} into --out {path}: expected two text files or two Parquet files."
        )
    for target in targets:
        check_absent(target, overwrite)
    chosen = None if only is None else column_names(only, "--only")
    with precision_of(loading):
        imputed = filled_in(loaded, table, only=chosen, draws=draws, seed=seed, batch=loading.batch)
    for draw, target in enumerate(targets):
        imputed.write(target, draw)
    report = {"out": [str(target) for target in targets], "seed": seed, **_imputed(imputed)}
    show(report, json, lambda r: "\n".join(r["out"]))


def _imputed(imputed: Imputed) -> dict[str, Any]:
    from pushforward.tables.reading.string_columns import RawTable
    from pushforward.transports.redrawing import named_constraints

    missing = imputed.missing
    columns = {}
    for field, count in zip(imputed.space.fields, missing.sum(0).tolist(), strict=True):
        if count:
            columns[field.name] = count
    report: dict[str, Any] = {
        "cells": int(missing.sum()),
        "rows": int(missing.any(1).sum()),
        "columns": columns,
    }
    say(f"filled {report['cells']:,} cells in {report['rows']:,} of {len(missing):,} rows")
    if imputed.absent:
        absent = some(imputed.absent)
        say(f"note: columns of the model that the table lacks are not written: {absent}")
    if not imputed.space.constraints:
        return report
    lines: Sequence[int] = range(len(missing))
    if isinstance(imputed.source, RawTable):
        lines = imputed.source.lines
    report["unmet"] = [lines[row] for row in imputed.unmet]
    report["drawn_again"] = imputed.drawn_again
    names = named_constraints(imputed.space)
    say(f"{imputed.drawn_again:.1%} of the drawn rows violated {names} and were drawn again")
    if imputed.unmet:
        say(f"{len(imputed.unmet):,} rows still violate {names}: lines {some(report['unmet'])}")
    return report
