"""The verbs of a one-call model's z: invert, truncation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    EVALUATION,
    INSPECT,
    MODEL,
    NEWEST,
    OUTPUT,
    PLACED,
    SAMPLES,
    USE,
    Flag,
    Given,
    Json,
    Label,
    Loading,
    Placing,
    Resize,
    RunFolder,
)
from pushforward.cli.parsing import words
from pushforward.cli.sampling import (
    check_images,
    condition_of,
    enlarged,
    image_of,
    loaded_run,
    precision_of,
    save_picture,
    target_of,
)
from pushforward.cli.terminal import app, columns, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pushforward.data import Space
    from pushforward.editing import Inversion
    from pushforward.evaluation import Score
    from pushforward.evaluation.curves import TruncationCurve
    from pushforward.training import Run

__all__ = ["invert", "truncation"]


@app.command(group=USE, sort_key=6)
def invert(
    run: RunFolder,
    images: Annotated[tuple[str, ...], Parameter(negative=(), group=MODEL)],
    *,
    resize: Resize = False,
    steps: Annotated[int, Parameter(group=SAMPLES)] = 300,
    starts: Annotated[int, Parameter(group=SAMPLES)] = 8,
    seed: Annotated[int, Parameter(group=SAMPLES)] = 0,
    label: Label = None,
    given: Given = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Find the noise whose samples are nearest to images.

    The search improves the best of many random noise vectors z by gradient descent. For models that sample in one network call:
    GANs and VAEs. A diffusion model or flow needs no search: `interpolate` and `vary` solve from the image to its noise.
    Example: `pushforward invert runs/digits-gan a.png b.png --out found.png`

    Args:
        images: The image files.
        steps: Updates of z; 0 takes the best of the random ones.
        starts: How many z are improved for each image; the best is kept.
        seed: The seed of the random z, which differ from those of `sample`.
        label: A class by number or name; default: for each image the one that fits best.
        out: .png (in a row: image, nearest sample, their difference) or .npz (z, x, error, label, files).
    """
    from pushforward import editing

    loaded = loaded_run(run, loading)
    x, target = _images(loaded, images, resize, out, placing)
    condition = condition_of(loaded, label, given)
    say(f"searching for the z of {len(images)} image{'s' * (len(images) > 1)} ...")
    search = editing.Search(steps, starts)
    with precision_of(loading):
        nearest = editing.invert(loaded.transport, x, condition, search, seed=seed, batch=max(starts, loading.batch))
    _write_inversion(target, loaded.space, images, x, nearest, placing.zoom)
    settings = {"steps": steps, "starts": starts, "seed": seed}
    result = {"out": str(target), **settings, "images": _inverted(loaded.space, images, nearest)}
    show(result, json, _inversion_table)


def _images(run: Run, files: Sequence[str], resize: bool, out: str | None, placing: Placing) -> tuple[Tensor, Path]:
    """The images that a search is for, and where its result goes."""
    import torch

    _check_one_call(run, "its `interpolate` and `vary` solve from an image to its noise, which needs no search")
    check_images(run)
    if not files:
        raise UsageError(f"Name the images: pushforward invert {run.folder} a.png b.png")
    stem, endings = f"invert-{Path(files[0]).stem}", (".png", ".npz")
    target = target_of(run, out, stem, 3 * len(files), placing, endings)
    return torch.stack([image_of(run.space, file, resize) for file in files]), target


@app.command(group=INSPECT, sort_key=3)
def truncation(
    run: RunFolder,
    *,
    limits: Annotated[str, Parameter(group=EVALUATION)] = "0.25,0.5,0.75,1,1.5,2",
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 3,
    seed: Annotated[int, Parameter(group=EVALUATION)] = 0,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    overwrite: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Score a GAN or VAE at several truncations of its noise.

    Truncation limits the size of every number of the noise z. Smaller limits give less varied samples, which look better down to
    a limit that depends on the model; `sample --truncation` draws at one. Example:
    `pushforward truncation runs/digits-gan --out curve.png`

    Args:
        limits: Largest sizes of any number of z, separated by commas.
        n: How many samples are compared with as many held-out examples; default as many as the data allows.
        repeats: How often the model is sampled and scored at each limit.
        seed: Added to the seeds of all samplings.
        out: A .png of the curve; default: none is drawn.
        overwrite: Replace what is there.
    """
    from pushforward.evaluation.curves import truncation_curve, truncation_picture
    from pushforward.evaluation.models import data_of

    wanted, loaded = _limits(limits), loaded_run(run, loading)
    _check_one_call(loaded, "guidance makes its samples closer to a label: `sample --scale 2 --label LABEL`")
    target = None if out is None else _curve_target(Path(out), overwrite)
    options: dict[str, Any] = {"repeats": repeats, "seed": seed, "batch": loading.batch, "watch": _scoring}
    with precision_of(loading):
        curve = truncation_curve(loaded.transport, data_of(loaded), wanted, n, **options)
    if target is not None:
        save_picture(truncation_picture(curve), target)
    written = None if target is None else str(target)
    show({"out": written, **curve.to_plain()} if json else None, json, lambda _: _curve_table(curve, written))


def _check_one_call(run: Run, advice: str) -> None:
    from pushforward.transports import has_steps, inner_of

    if has_steps(inner_of(run.transport)):
        raise UsageError(f"{run.folder} holds an iterative model ({run.spec['family']}); this is for GANs and VAEs: {advice}.")


def _curve_target(path: Path, overwrite: bool) -> Path:
    """The place of a chart, refused by the same rules as that of a picture of samples."""
    from pushforward.data import ImageSpace
    from pushforward.outputs import check_target

    if path.suffix.lower() != ".png":
        raise UsageError(f'The curve is drawn as a .png, not "{path}"; choose another --out. --json prints its numbers.')
    check_target(path, ImageSpace((1, 1, 1), (0.0,), (1.0,)), 1, overwrite)
    return path


def _limits(text: str) -> list[float]:
    try:
        return [float(word) for word in words(text)]
    except ValueError:
        raise UsageError(f'--limits takes numbers above 0 with commas between them, such as 0.5,1,2; got "{text}".') from None


def _scoring(limit: float | None) -> None:
    say("scoring the model as it is ..." if limit is None else f"scoring z truncated to {limit:g} ...")


def _write_inversion(path: Path, space: Space, files: Sequence[str], x: Tensor, inversion: Inversion, zoom: int | None) -> None:
    import numpy as np

    from pushforward.replacing import replacing

    given, inverted = space.quantise(x), space.quantise(inversion.x)
    if path.suffix.lower() == ".png":
        gap = np.abs(given.astype(np.int16) - inverted).astype(np.uint8)
        save_picture(enlarged(np.stack([given, inverted, gap], 1).reshape(-1, *given.shape[1:]), 3, zoom), path)
        return
    arrays: dict[str, Any] = {"z": inversion.z.numpy(), "x": inverted, "error": inversion.error.numpy()}
    arrays |= {"files": np.array(files), **{name: part.numpy() for name, part in (inversion.condition or {}).items()}}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _inverted(space: Space, files: Sequence[str], inversion: Inversion) -> list[dict[str, Any]]:
    from pushforward.conditions.kind import cells_of

    cells = cells_of(space.conditions, inversion.condition, len(files))
    return [
        {
            "file": file,
            "error": float(inversion.error[i]),
            "error_of_random_z": float(inversion.first[i]),
            "condition": cells[i],
        }
        for i, file in enumerate(files)
    ]


def _inversion_table(r: dict[str, Any]) -> str:
    rows = [["image", "difference", "best random z", *r["images"][0]["condition"]]]
    for image in r["images"]:
        numbers = [f"{image['error']:.3f}", f"{image['error_of_random_z']:.3f}"]
        rows.append([image["file"], *numbers, *map(str, image["condition"].values())])
    return f"{columns(rows)}\ndifferences: RMS, in standard deviations of the data\n{r['out']}"


def _curve_table(curve: TruncationCurve, out: str | None) -> str:
    names = [name for name in ("precision", "recall", "density", "coverage", "frechet") if name in curve.points[0].scores]
    rows = [["limit", *(curve.metrics[name].label for name in names)]]
    for point in curve.points:
        limit = "none" if point.limit is None else f"{point.limit:g}"
        rows.append([limit, *(_cell(point.scores[name]) for name in names)])
    rows.append(["real data", *(_cell(curve.floors[name]) for name in names)])
    settings = curve.settings
    footing = f"n = {settings.n} on either side, {settings.repeats} samplings; features: {settings.features}"
    return "\n".join([columns(rows), "", footing, *([out] if out else [])])


def _cell(score: Score) -> str:
    return f"{score.number:.3f}" + ("" if score.spread is None else f" ± {score.spread:.2g}")
