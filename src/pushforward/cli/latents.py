"""The verbs of a one-call model's z: project, truncation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.options import words
from pushforward.cli.sampling import NEWEST, Loading, free_name, image_of, loaded_run, precision_of
from pushforward.cli.terminal import Flag, app, columns, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.evaluation import Score
    from pushforward.evaluation.truncation import TruncationCurve
    from pushforward.latents import Projection
    from pushforward.training import Run
    from pushforward.transports import Transport

__all__ = ["between", "enlarged", "found", "project", "target_of", "truncation"]


@app.command
def project(
    run: str,
    images: Annotated[tuple[str, ...], Parameter(negative=())],
    *,
    steps: int = 300,
    starts: int = 8,
    seed: int = 0,
    resize: Flag = False,
    label: str | None = None,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Find the z of the samples nearest to images: `pushforward project runs/digits-gan a.png b.png --out found.png`.

    The search improves the best of many random z by gradient descent. One-call models only: a flow's `interpolate` and `vary`
    solve from the image to its noise.

    Args:
        run: The run's folder.
        images: The image files.
        steps: Updates of z; 0 takes the best random one.
        starts: How many z are improved for each image; the best is kept.
        seed: Of the random z, which are others than those that `sample` draws.
        resize: Scale and crop images of another size than the model's.
        label: A class by number or name; default: for each image the one that fits best.
        out: .png (in a row: image, nearest sample, their difference) or .npz (z, x, error, label, files).
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    import torch

    from pushforward import latents

    loaded = loaded_run(run, loading)
    _check_one_call(loaded, "its `interpolate` and `vary` solve from an image to its noise, which needs no search")
    if loaded.space.kind != "image":
        raise UsageError(f"{run} holds a model of vectors; image files are for models of images.")
    if not images:
        raise UsageError(f"Name the images: pushforward project {run} a.png b.png")
    target = target_of(loaded, out, f"project-{Path(images[0]).stem}", 3 * len(images), overwrite, (".png", ".npz"), zoom)
    x = torch.stack([image_of(loaded.space, file, resize) for file in images])
    condition = None if label is None else {"label": loaded.space.label_index(label)}
    say(f"searching for the z of {len(images)} image{'s' * (len(images) > 1)} ...")
    with precision_of(loading):
        made = latents.project(
            loaded.transport, x, condition, steps=steps, starts=starts, seed=seed, batch=max(starts, loading.batch)
        )
    _write_projection(target, loaded.space, images, x, made, zoom)
    rows = _projected(loaded.space, images, made)
    show({"out": str(target), "steps": steps, "starts": starts, "seed": seed, "images": rows}, json, _projection_table)


@app.command
def truncation(
    run: str,
    *,
    limits: str = "0.25,0.5,0.75,1,1.5,2",
    n: int | None = None,
    repeats: int = 3,
    seed: int = 0,
    out: str | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Score a one-call model with z truncated to several limits: `pushforward truncation runs/digits-gan --out curve.png`.

    Smaller limits give less varied samples, and truer ones as far down as the model bears it; `sample --truncation` draws at one.

    Args:
        run: The run's folder.
        limits: The largest size of any number of z, several separated by commas.
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings at each limit.
        seed: Added to the seeds of all samplings, for others than the usual ones.
        out: A .png of the curve; default: none is drawn.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print one JSON object and nothing else.
    """
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.truncation import truncation_curve, truncation_picture
    from pushforward.outputs import replacing

    wanted = _limits(limits)
    loaded = loaded_run(run, loading)
    _check_one_call(loaded, "guidance makes its samples truer and less varied: `sample --scale 2 --label LABEL`")
    target = None if out is None else _curve_target(Path(out), overwrite)
    data = data_of(loaded)
    with precision_of(loading):
        curve = truncation_curve(
            loaded.transport, data, wanted, n, repeats=repeats, seed=seed, batch=loading.batch, watch=_scoring
        )
    if target is not None:
        picture = truncation_picture(curve)
        with replacing(target) as temporary:
            picture.save(temporary, format="PNG")
    written = None if target is None else str(target)
    show({"out": written, **curve.to_plain()} if json else None, json, lambda _: _curve_table(curve, written))


def between(
    transport: Transport, ends: list[Tensor], frames: int, condition: dict[str, int] | None, way: str, loading: Loading
) -> Tensor:
    """Frames from one image to another: between their noises, or the z that a search finds for them under one label."""
    from pushforward import editing
    from pushforward.transports import Flow, inner_of

    if isinstance(inner_of(transport), Flow):
        return editing.interpolate(transport, ends[0], ends[1], frames, condition, way=way, batch=loading.batch)
    first, condition = found(transport, ends[0], condition, loading)
    last, condition = found(transport, ends[1], condition, loading)
    return editing.interpolate_noise(transport, first.z[0], last.z[0], frames, condition, way=way, batch=loading.batch)


def found(
    transport: Transport, x: Tensor, condition: dict[str, int] | None, loading: Loading
) -> tuple[Projection, dict[str, int] | None]:
    """The z of the sample that is nearest to an image, and the label that it was found with."""
    from pushforward import latents

    say("searching for the z of the nearest sample ...")
    with precision_of(loading):
        made = latents.project(transport, x[None], condition, batch=loading.batch)
    say(f"it differs from the image by {float(made.error[0]):.3f} (RMS, in standard deviations of the data)")
    if condition is None and made.condition is not None:
        condition = {"label": int(made.condition["label"][0])}
        say(f"label {transport.space.classes[condition['label']]} fits best; --label chooses another")
    return made, condition


def _check_one_call(run: Run, mend: str) -> None:
    from pushforward.transports import Flow, inner_of

    if isinstance(inner_of(run.transport), Flow):
        raise UsageError(f"{run.folder} holds an iterative model ({run.spec['family']}); this is for GANs and VAEs: {mend}.")


def target_of(
    run: Run, out: str | None, stem: str, tiles: int, overwrite: bool, endings: Sequence[str], zoom: int | None = None
) -> Path:
    """Where a result of some endings goes, refused before any work where it is taken or cannot be."""
    from pushforward.outputs import check_target

    target = Path(out) if out else free_name(run, stem)
    if target.suffix.lower() not in endings:
        raise UsageError(f'This verb writes {" or ".join(endings)} for {run.space.kind}s, not "{target}"; choose another --out.')
    check_target(target, run.space, tiles, overwrite, zoom)
    return target


def _curve_target(path: Path, overwrite: bool) -> Path:
    """The place of a chart, refused by the same rules as that of a picture of samples."""
    from pushforward.data import Space
    from pushforward.outputs import check_target

    if path.suffix.lower() != ".png":
        raise UsageError(f'The curve is drawn as a .png, not "{path}"; choose another --out. --json prints its numbers.')
    check_target(path, Space((1, 1, 1), (0.0,), (1.0,)), 1, overwrite)
    return path


def _limits(text: str) -> list[float]:
    try:
        return [float(word) for word in words(text)]
    except ValueError:
        raise UsageError(f'--limits takes numbers above 0 with commas between them, such as 0.5,1,2; got "{text}".') from None


def _scoring(limit: float | None) -> None:
    say("scoring the model as it is ..." if limit is None else f"scoring z truncated to {limit:g} ...")


def enlarged(images: np.ndarray, columns: int, zoom: int | None = None) -> Image.Image:
    """A grid of images (n, H, W, C), enlarged so many times; by default small ones are made large enough to be looked at."""
    from pushforward.pictures import grid_picture, legible

    return grid_picture(images, columns, scale=zoom or legible(images))


def _write_projection(path: Path, space: Space, files: Sequence[str], x: Tensor, made: Projection, zoom: int | None) -> None:
    import numpy as np

    from pushforward.outputs import replacing

    given, found = space.quantise(x), space.quantise(made.x)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            gap = np.abs(given.astype(np.int16) - found).astype(np.uint8)
            tiles = np.stack([given, found, gap], 1).reshape(-1, *given.shape[1:])
            enlarged(tiles, 3, zoom).save(temporary, format="PNG")
            return
        label = {} if made.condition is None else {name: part.numpy() for name, part in made.condition.items()}
        arrays: dict[str, Any] = {"z": made.z.numpy(), "x": found, "error": made.error.numpy(), "files": np.array(files), **label}
        np.savez_compressed(temporary, **arrays)


def _projected(space: Space, files: Sequence[str], made: Projection) -> list[dict[str, Any]]:
    labels = None if made.condition is None else made.condition["label"].tolist()
    return [
        {
            "file": file,
            "error": float(made.error[i]),
            "error_of_random_z": float(made.first[i]),
            "label": None if labels is None else space.classes[labels[i]],
        }
        for i, file in enumerate(files)
    ]


def _projection_table(r: dict[str, Any]) -> str:
    labelled = r["images"][0]["label"] is not None
    rows = [["image", "difference", "best random z", *(["label"] if labelled else [])]]
    for one in r["images"]:
        numbers = [f"{one['error']:.3f}", f"{one['error_of_random_z']:.3f}"]
        rows.append([one["file"], *numbers, *([one["label"]] if labelled else [])])
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
