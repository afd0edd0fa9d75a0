"""The verb sample, and what it shares with other verbs that draw from a run: loading, configuring, where samples go."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.given import condition_of
from pushforward.cli.groups import (
    AS_IT_IS,
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
from pushforward.cli.launching import check_spread
from pushforward.cli.parsing import check_plugins, device_of
from pushforward.cli.sharing import UNSPREAD, Spreading
from pushforward.cli.terminal import app, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.training import Run
    from pushforward.transports import Transport

__all__ = [
    "check_images",
    "condition_of",
    "configured_run",
    "draw_edited",
    "edit_target",
    "editing_condition",
    "enlarged",
    "free_name",
    "image_of",
    "interval_of",
    "loaded_run",
    "precision_of",
    "sample",
    "save_picture",
    "say_if_unfinished",
    "target_of",
]


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
    spread: Spreading = UNSPREAD,
) -> None:
    """Draw new samples from a run.

    Images of a VAE are the means of its decoder. Points and rows of a table are draws from it, with the learned noise around
    the means. Example:
    `pushforward sample runs/digits-flow --n 64 --label 3 --out threes.png`

    Args:
        label: A class by number or name; default: drawn as often as in the training data.
        out: .png (grid), no ending (folder of PNGs), .npz, .gif (noise to data), .csv for vectors and tables; of tables also .tsv
            and .parquet. Default: a new file in RUN/samples.
    """
    check_spread(spread)
    loaded = configured_run(run, loading, solving, guiding)
    say_if_unfinished(loaded)
    from pushforward.outputs import draw_to
    from pushforward.transports.rejection import counted, named_constraints

    say_if_starts_repeat(loaded, n)
    target = target_of(loaded, out, f"seed{seed}-n{n}", n, placing)
    condition = condition_of(loaded, label, given)
    to: dict[str, Any] = {"overwrite": placing.overwrite, "zoom": placing.zoom}
    with precision_of(loading), counted() as tally:
        draw_to(target, loaded.transport, n, condition, seed=seed, batch=loading.batch, **to)
    result = {"out": str(target), "n": n, "seed": seed, "calls_per_sample": loaded.transport.calls, "condition": condition}
    if tally.drawn:
        result["drawn_again"] = tally.share
    if tally.share:
        share = f"{tally.refused:,} of {tally.drawn:,} draws ({tally.share:.1%})"
        say(f"{share} broke {named_constraints(loaded.space)} and were drawn again")
    show(result, json, lambda r: r["out"])


def say_if_starts_repeat(run: Run, n: int) -> None:
    """Say of a flow that starts from other data than noise when there are fewer held-out examples to start from than samples."""
    from pushforward.evaluation.models import source_of, starts

    source, count = source_of(run), starts(run)
    if source is not None and count is not None and n > count:
        say(f"{run.folder} starts from {count:,} different held-out examples of {source.data}: {n:,} samples repeat")


def say_if_unfinished(run: Run) -> None:
    """Say of which step the weights are where a run's training has not ended."""
    from pushforward.evaluation.run_results import unfinished_warnings

    for sentence in unfinished_warnings(run):
        say(f"{run.folder}, step {run.state['step']:,}: {sentence}")


def loaded_run(run: str, loading: Loading = NEWEST) -> Run:
    """The run with the weights that were asked for, on its device."""
    from pushforward.training.runs.folder import check_run

    check_plugins(loading.plugin)
    check_run(run)
    from pushforward.training import load  # imports torch

    where = device_of(loading.device)
    return load(run, raw=loading.raw, checkpoint=loading.checkpoint, plugins=loading.plugin, device=where)


def configured_run(run: str, loading: Loading, solving: Solving = AS_IT_IS, guiding: Guiding = UNGUIDED) -> Run:
    """The run with the solver, guidance or truncation that the command line asks for; see `Run.configured`."""
    loaded = loaded_run(run, loading)
    from pushforward.training.runs.folder import checkpoint_in

    options: dict[str, Any] = {**dataclasses.asdict(solving), **dataclasses.asdict(guiding)}
    options["interval"] = interval_of(guiding.interval)
    if guiding.weaker is not None:
        folder, checkpoint = checkpoint_in(guiding.weaker)
        options["weaker"] = loaded_run(folder, dataclasses.replace(loading, checkpoint=checkpoint))
    configured = loaded.configured(**options)
    for note in configured.warnings[len(loaded.warnings) :]:
        say(f"note: {note}")
    _report_what_was_learned(configured, solving)
    return configured


def _report_what_was_learned(run: Run, solving: Solving) -> None:
    from pushforward.transports import has_steps, inner_of

    flow = inner_of(run.transport)
    if not has_steps(flow) or solving.grid not in (None, "learned", "table") or (solving.grid, solving.steps) == (None, None):
        return
    steps = f"{flow.steps} steps of {type(flow.solver).__name__}"
    if getattr(flow, "learned", None) is not None:
        say(f"steps have the times and coefficients that `pushforward tune --what table` learned for {steps}")
    elif flow.grid is not None and flow.grid == run.learned_grid(flow.steps, flow.solver):
        say(f"steps fall where `pushforward tune` learned them for {steps}")


def interval_of(text: str | None) -> tuple[float, float] | None:
    """Two noise levels, such as 0.2:5, as numbers."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise UsageError(f'--interval takes two noise levels sigma/alpha, such as 0.2:5; got "{text}".') from None


def precision_of(loading: Loading) -> AbstractContextManager[Any]:
    """The precision of network calls, as a context."""
    from pushforward.denoisers.precision import network_precision, resolve_precision

    return network_precision(resolve_precision(loading.precision, device_of(loading.device)))


def free_name(run: Run, stem: str, ending: str | None = None) -> Path:
    """A file in the run's ``samples`` folder whose name is not taken."""
    from pushforward.outputs import usual_ending

    ending, number = ending or usual_ending(run.space)[1:], 1
    path = run.folder / "samples" / f"{stem}.{ending}"
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}-{number}.{ending}")
    return path


def target_of(run: Run, out: str | None, stem: str, tiles: int, placing: Placing, endings: Sequence[str] | None = None) -> Path:
    """Where a result goes, refused before any work where it is taken or cannot be.

    Args:
        run: The run that it comes from, in whose folder the default lies.
        out: What was asked for.
        stem: The default's name.
        tiles: Images of the picture.
        placing: How it is written.
        endings: The endings that the verb writes; None for all of the space's.
    """
    from pushforward.outputs import check_target

    target = Path(out) if out else free_name(run, stem)
    if endings is not None and target.suffix.lower() not in endings:
        raise UsageError(f'This verb writes {" or ".join(endings)} for {run.space.noun}s, not "{target}"; choose another --out.')
    check_target(target, run.space, tiles, placing.overwrite, placing.zoom)
    return target


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture to a PNG file, which appears whole."""
    from pushforward.replacing import replacing

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


def editing_condition(
    run: Run, label: str | None, given: str | None, guiding: Guiding, needed: bool = True
) -> dict[str, Any] | None:
    """The condition for editing, where guidance needs one."""
    if label is None and given is None and guiding.scale is not None and needed:
        raise UsageError("--scale guides towards a label: give --label as well (or --given).")
    return condition_of(run, label, given)


def edit_target(run: Run, out: str | None, stem: str, n: int, placing: Placing) -> Path:
    """Where edited images go; no .gif."""
    if out and Path(out).suffix.lower() == ".gif":
        raise UsageError("This verb writes .png (a grid), .npz or a folder of PNGs, no .gif; choose another --out.")
    return target_of(run, out, stem, n, placing)


def check_images(run: Run) -> None:
    """Refuse a model of other data where image files are given."""
    if not run.space.has_pixels:
        raise UsageError(
            f"{run.folder} holds a model of {run.space.noun}s; image files are for models of images. "
            f"{instead_of_images(run.space)}"
        )


def instead_of_images(space: Space) -> str:
    """What a model of rows or vectors does in place of editing images."""
    between = "`interpolate --seeds 0,1` goes from one sample to another"
    if not space.names:
        return f"{between}, `sample --seed` draws others."
    name = space.names[0]
    return f"`sample --given {name}=VALUE` draws rows with known values, `impute` fills in missing cells, and {between}."


def draw_edited(
    edited: Transport, condition: Any, n: int, seed: int, batch: int, target: Path, placing: Placing
) -> dict[str, Any]:
    """Write the samples of a transport that edits, and what is reported of them."""
    from pushforward.outputs import draw_to

    draw_to(target, edited, n, condition, seed=seed, batch=batch, overwrite=placing.overwrite, zoom=placing.zoom)
    return {"out": str(target), "n": n, "seed": seed, "calls_per_sample": edited.calls}


def enlarged(images: np.ndarray, columns: int, zoom: int | None = None) -> Image.Image:
    """A grid of images (n, H, W, C), enlarged so many times; by default small ones are made large enough to be looked at."""
    from pushforward.pictures import grid_picture, legible

    return grid_picture(images, columns, scale=zoom or legible(images))
