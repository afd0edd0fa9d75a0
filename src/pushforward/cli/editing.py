"""The verbs interpolate, vary, inpaint, upscale and invert."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from pushforward.cli.inputs import condition_of, numbers
from pushforward.cli.options import (
    AS_IT_IS,
    MODEL,
    NEWEST,
    PLACED,
    SAMPLES,
    UNGUIDED,
    USE,
    Given,
    Guiding,
    Image,
    Json,
    Label,
    Loading,
    ModelOption,
    N,
    Out,
    Placing,
    Positive,
    Resize,
    RunCheckpoint,
    SampleOption,
    Seed,
    Solving,
    app,
    say,
    show,
    table,
    tell,
    written,
)
from pushforward.cli.sampling import (
    check_images,
    configured_run,
    image_of,
    loaded_run,
    precision_of,
    save_picture,
    target_of,
)
from pushforward.errors import UsageError
from pushforward.numbers import plural

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward import Run, Transport
    from pushforward.data import Space
    from pushforward.editing import Inversion

_FILLED_FROM = 128
_SIDES = ("top", "left", "bottom", "right")
Rounds = Annotated[
    Positive,
    Parameter(group=SAMPLES, help="Repetitions of each step; more are slower and fit better."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Editing:
    """Options of the verbs that edit an image.

    Args:
        label: Class, by number or name. Default: none, or for `vary` with a one-call model the best
            fit.
        out: Output: a .png (grid) or .npz file, or a folder of PNGs. Default: a new file in
            RUN/samples.
    """

    seed: Seed = 0
    label: Label = None
    given: Given = None
    solving: Solving = AS_IT_IS
    guiding: Guiding = UNGUIDED
    out: Out = None
    placing: Placing = PLACED
    json: Json = False
    loading: Loading = NEWEST


EDITED = Editing()


@app.command(group=USE, sort_key=2)
def interpolate(
    run: RunCheckpoint,
    *,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    end: Annotated[str | None, Parameter(name="--to", group=MODEL)] = None,
    seeds: ModelOption[str | None] = None,
    resize: Resize = False,
    interpolation: SampleOption[Literal["spherical", "linear"]] = "spherical",
    frames: Annotated[int, Parameter(group=SAMPLES, validator=Number(gte=2))] = 9,
    label: Label = None,
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Out = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Interpolate between two images or samples.

    Iterative models encode images into noise, and models with an encoder into latents. For other
    models, such as GANs, the closest samples are searched for, as with `pushforward
    invert`. Example:
    `pushforward interpolate runs/digits-flow --seeds 3,8 --out strip.png`

    Args:
        start: First image file.
        end: Last image file.
        seeds: Two seeds, instead of images. Default: 0,1.
        interpolation: spherical keeps the length of the noise z; linear shortens it between the
            ends.
        frames: Number of frames, including both ends.
        label: Class for all frames, by number or name. Default: the first seed's class; with
            images, no class, or the best fit to the first image for a one-call model.
        out: Output: a .png (strip), .gif (forward and back), .npz or .csv (vectors and tables)
            file, or a folder of PNGs. Default: a new file in RUN/samples.
    """
    if (start is None) != (end is None) or (start is not None and seeds is not None):
        raise UsageError("Specify two images, --from A.png --to B.png, or two seeds, --seeds 0,1.")
    first, last = numbers("--seeds", seeds or "0,1", 2)
    loaded = configured_run(run, loading, solving, guiding)
    from pushforward import editing
    from pushforward.methods.method import HasAutoencoder
    from pushforward.samples import frames_to

    options: dict[str, Any] = {"interpolation": interpolation, "batch": loading.batch}
    transport = loaded.transport
    result: dict[str, Any] = {"frames": frames, "calls_per_sample": transport.calls}
    stem = f"interpolate-seeds{first}-{last}"
    if start is not None and end is not None:
        stem = f"interpolate-{Path(start).stem}-{Path(end).stem}"
    target = target_of(loaded, out, stem, frames, placing)
    with precision_of(loading):
        if start is None or end is None:
            condition = condition_of(loaded, label, given)
            x = editing.interpolate_seeds(transport, first, last, frames, condition, **options)
            result["seeds"] = [first, last]
        else:
            check_images(loaded)
            condition = _condition(loaded, label, given, guiding)
            ends = image_of(loaded.space, start, resize), image_of(loaded.space, end, resize)
            coder = None
            if isinstance(loaded.method, HasAutoencoder):
                coder = loaded.method.autoencoder().eval()
            x = editing.between(
                transport, ends, frames, condition, autoencoder=coder, events=tell, **options
            )
    result["out"] = str(target)
    frames_to(target, loaded.space, x, overwrite=placing.overwrite, zoom=placing.zoom)
    show(result, json, written)


def _condition(
    run: Run, label: str | None, given: str | None, guiding: Guiding
) -> dict[str, Any] | None:
    if label is None and given is None and guiding.scale is not None:
        raise UsageError("--scale needs --label or --given to guide towards.")
    return condition_of(run, label, given)


Editor = Callable[["Run", Any], tuple["Transport", Any, dict[str, Any]]]
"""Builds the sampler of edited images, its condition, and facts to print."""


def _edit(verb: str, run: str, image: str, n: int, options: Editing, editor: Editor) -> None:
    loading = options.loading
    placing = options.placing
    loaded = configured_run(run, loading, options.solving, options.guiding)
    check_images(loaded)
    from pushforward.samples import draw_to

    stem = f"{verb}-{Path(image).stem}-seed{options.seed}-n{n}"
    target = target_of(loaded, options.out, stem, n, placing, (".png", ".npz", ""))
    condition = _condition(loaded, options.label, options.given, options.guiding)
    with precision_of(loading):
        sampler, condition, facts = editor(loaded, condition)
        draw_to(
            target,
            sampler,
            n,
            condition,
            seed=options.seed,
            batch=loading.batch,
            **dataclasses.asdict(placing),
        )
    result = {"out": str(target), "n": n, "seed": options.seed, "calls_per_sample": sampler.calls}
    show(result | facts, options.json, written)


@app.command(group=USE, sort_key=3)
def vary(
    run: RunCheckpoint,
    image: Image,
    *,
    resize: Resize = False,
    strength: SampleOption[float] = 0.5,
    n: N = 16,
    options: Editing = EDITED,
) -> None:
    """Make variations of an image.

    Iterative models add noise to the image and solve back (SDEdit). For a GAN or VAE, noise is
    mixed into the z of the closest sample (`pushforward invert`). A label is required if the
    model's autoencoder takes labels. Example:
    `pushforward vary runs/mnist-flow seven.png --strength 0.5 --n 16 --out sevens.png`

    Args:
        strength: Strength of the variations: small values stay close to the image, 1 gives new
            samples.
    """

    def varied(loaded: Run, condition: Any) -> Any:
        from pushforward.editing import variations

        x = image_of(loaded.space, image, resize)
        batch = options.loading.batch
        sampler, condition = variations(
            loaded.transport, x, strength, condition, batch=batch, events=tell
        )
        return sampler, condition, {"strength": strength}

    _edit("vary", run, image, n, options, varied)


@app.command(group=USE, sort_key=4)
def inpaint(
    run: RunCheckpoint,
    image: Image,
    *,
    mask: ModelOption[str | None] = None,
    box: ModelOption[str | None] = None,
    resize: Resize = False,
    n: N = 8,
    rounds: Rounds = 5,
    options: Editing = EDITED,
) -> None:
    """Fill in part of an image.

    All other pixels stay unchanged (DDNM). Only for iterative models (diffusion, flow matching),
    with the ancestral solver unless --solver is given. Example:
    `pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28 --n 8 --out filled.png`

    Args:
        mask: Image file: white pixels (128 or above) are filled in, black pixels are kept.
        box: Pixels to fill in, instead of a mask: top,left,bottom,right, without the last row and
            column; or by name: left=0,top=14,right=28,bottom=28.
    """
    if (mask is None) == (box is None):
        raise UsageError(
            "Specify either --mask MASK.png (white is filled in) or --box top,left,bottom,right."
        )

    def filled(loaded: Run, condition: Any) -> Any:
        from pushforward.editing import edited_condition, inpainting

        x = image_of(loaded.space, image, resize)
        if box is not None:
            holes = _box(loaded.space, box)
        else:
            holes = image_of(loaded.space, str(mask), resize, 1)[0] * 255 >= _FILLED_FROM - 0.5
        solver = _solver(loaded, options)
        sampler = inpainting(loaded.transport, x, holes, solver=solver, rounds=rounds)
        condition = edited_condition(loaded.transport, condition)
        return sampler, condition, {"filled": int(holes.sum())}

    _edit("inpaint", run, image, n, options, filled)


def _box(space: Space, text: str) -> Tensor:
    import torch

    height, width = space.shape[1:]
    top, left, bottom, right = _sides(text)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise UsageError(
            f"--box {text} does not fit an image of {height} x {width} pixels: expected "
            f"0 <= top < bottom <= {height} and 0 <= left < right <= {width}."
        )
    say(
        f"filling rows {top} to {bottom - 1} and columns {left} to {right - 1} "
        f"of {height} x {width} pixels (height x width)"
    )
    holes = torch.zeros(height, width, dtype=torch.bool)
    holes[top:bottom, left:right] = True
    return holes


def _sides(text: str) -> tuple[int, ...]:
    words = text.replace(" ", "").split(",")
    if "=" in text:
        named = dict(word.partition("=")[::2] for word in words)
        if len(words) != len(_SIDES) or named.keys() != set(_SIDES):
            raise UsageError(
                "--box takes each side once, such as left=0,top=14,right=28,bottom=28; "
                f'got "{text}".'
            )
        words = [named[side] for side in _SIDES]
    return numbers("--box top,left,bottom,right", ",".join(words), 4)  # type: ignore[no-any-return]


def _solver(run: Run, options: Editing) -> Any:
    if options.solving.solver is None:
        return None
    return getattr(run.transport, "solver", None)


@app.command(group=USE, sort_key=5)
def upscale(
    run: RunCheckpoint,
    image: Image,
    *,
    n: N = 4,
    rounds: Rounds = 5,
    options: Editing = EDITED,
) -> None:
    """Enlarge an image to the model's size.

    The image must be smaller by an integer factor. Averaged over blocks of pixels, each result
    equals the image (DDNM). Only for iterative models, with the ancestral solver unless --solver is
    given. Example:
    `pushforward upscale runs/mnist-flow small.png --n 4 --out large.png`
    """

    def enlarged(loaded: Run, condition: Any) -> Any:
        import torch

        from pushforward.data.images.image_set import read_image
        from pushforward.editing import edited_condition, super_resolution

        channels, height, _ = loaded.space.shape
        small = torch.from_numpy(read_image(Path(image), channels)).float() / 255
        solver = _solver(loaded, options)
        sampler = super_resolution(loaded.transport, small, solver=solver, rounds=rounds)
        condition = edited_condition(loaded.transport, condition)
        return sampler, condition, {"factor": height // small.shape[1]}

    _edit("upscale", run, image, n, options, enlarged)


@app.command(group=USE, sort_key=6)
def invert(
    run: RunCheckpoint,
    images: Annotated[tuple[str, ...], Parameter(negative=(), group=MODEL)],
    *,
    resize: Resize = False,
    steps: SampleOption[int] = 300,
    starts: SampleOption[int] = 8,
    seed: SampleOption[int] = 0,
    label: Label = None,
    given: Given = None,
    out: Out = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Find the noise whose samples are closest to the given images.

    Improves the best of many random noise vectors z by gradient descent. Only for one-call models
    (GAN, VAE): `interpolate` and `vary` invert diffusion models and flows without a
    search. Example:
    `pushforward invert runs/digits-gan a.png b.png --out found.png`

    Args:
        images: Image files.
        steps: Number of updates of z; 0 returns the best random z.
        starts: Number of z to optimise per image; the best one is kept.
        seed: Seed of the random z.
        label: Class, by number or name. Default: the best fit for each image.
        out: Output file: .png (rows of image, closest sample and difference) or .npz (z, x, error,
            label, files). Default: a new file in RUN/samples.
    """
    import torch

    from pushforward import editing
    from pushforward.conditions.kind import cells_of

    loaded = loaded_run(run, loading)
    check_images(loaded)
    count = len(images)
    stem = f"invert-{Path(images[0]).stem}"
    target = target_of(loaded, out, stem, 3 * count, placing, (".png", ".npz"))
    x = torch.stack([image_of(loaded.space, file, resize) for file in images])
    condition = condition_of(loaded, label, given)
    search = editing.Search(steps, starts)
    batch = max(starts, loading.batch)
    say(f"searching for the z of {plural(count, 'image')} ...")
    with precision_of(loading):
        found = editing.invert(loaded.transport, x, condition, search, seed=seed, batch=batch)
    _write_inversion(target, loaded.space, images, x, found, placing.zoom)
    rows = []
    cells = cells_of(loaded.space.conditions, found.condition, count)
    for i, file in enumerate(images):
        row = {
            "file": file,
            "error": float(found.error[i]),
            "error_of_random_z": float(found.first[i]),
            "condition": cells[i],
        }
        rows.append(row)
    result = {"out": str(target), "steps": steps, "starts": starts, "seed": seed, "images": rows}
    show(result, json, _inversion_text)


def _write_inversion(
    path: Path,
    space: Space,
    files: tuple[str, ...],
    x: Tensor,
    inversion: Inversion,
    zoom: int | None,
) -> None:
    import numpy as np

    from pushforward.files import replacing
    from pushforward.pictures import grid_picture

    given = space.quantise(x)
    inverted = space.quantise(inversion.x)
    if path.suffix.lower() == ".png":
        gap = np.abs(given.astype(np.int16) - inverted).astype(np.uint8)
        rows = np.stack([given, inverted, gap], 1).reshape(-1, *given.shape[1:])
        return save_picture(grid_picture(rows, 3, scale=zoom), path)
    arrays: dict[str, Any] = {
        "z": inversion.z,
        "x": inverted,
        "error": inversion.error,
        "files": np.array(files),
    }
    arrays |= inversion.condition or {}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _inversion_text(result: dict[str, Any]) -> str:
    return (
        f"{table(result['images'])}\n"
        "errors: root mean squared differences, in standard deviations of the data\n"
        f"written to {result['out']}"
    )
