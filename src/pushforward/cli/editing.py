"""The verbs interpolate, vary, inpaint, upscale, invert and truncation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from pushforward.cli.inputs import condition_of, numbers
from pushforward.cli.options import (
    AS_IT_IS,
    AT_LEAST_1,
    MODEL,
    NEWEST,
    OUTPUT,
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
    Resize,
    RunCheckpoint,
    SampleOption,
    Seed,
    Solving,
    app,
    columns,
    say,
    show,
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
from pushforward.numbers import counted

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward import Run, Transport
    from pushforward.data import Space
    from pushforward.editing import Inversion

_FILLED_FROM = 128
_SIDES = ("top", "left", "bottom", "right")
Grid = Annotated[
    str | None,
    Parameter(
        group=OUTPUT,
        help="Output: a .png (grid) or .npz file, or a folder of PNGs. Default: a new file in "
        "RUN/samples.",
    ),
]
Rounds = Annotated[
    int | None,
    Parameter(
        group=SAMPLES,
        validator=AT_LEAST_1,
        help="Repetitions of each step; more are slower and fit better. Default: 5.",
    ),
]


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
    show_: Annotated[
        Literal["between", "reconstructions", "arithmetic", "map"],
        Parameter(name="--show", group=SAMPLES),
    ] = "between",
    groups: SampleOption[str | None] = None,
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
        show_: between shows the frames from the first image to the last. Models with an encoder
            (autoencoder, vae, hvae, vqvae, latent models) also support reconstructions of held-out
            images, arithmetic (images of one class moved towards another, see --groups), and map
            (latents in the plane, by class).
        groups: Two classes for --show arithmetic, by number or name, such as 4,9.
        label: Class for all frames, by number or name. Default: the first seed's class; with
            images, no class, or the best fit to the first image for a one-call model.
        out: Output: a .png (strip), .gif (forward and back), .npz or .csv (vectors and tables)
            file, or a folder of PNGs. Default: a new file in RUN/samples.
    """
    if (start is None) != (end is None) or (start is not None and seeds is not None):
        raise UsageError("Specify two images, --from A.png --to B.png, or two seeds, --seeds 0,1.")
    first, last = numbers("--seeds", seeds or "0,1", 2)
    loaded = configured_run(run, loading, solving, guiding)
    if show_ != "between":
        return _show_latent_space(loaded, show_, groups, frames, out, placing, json)
    from pushforward import editing
    from pushforward.samples import frames_to

    options: dict[str, Any] = {"interpolation": interpolation, "batch": loading.batch}
    transport = loaded.transport
    result: dict[str, Any] = {"frames": frames, "calls_per_sample": transport.calls}
    with precision_of(loading):
        if start is None or end is None:
            target = target_of(loaded, out, f"interpolate-seeds{first}-{last}", frames, placing)
            condition = condition_of(loaded, label, given)
            x = editing.interpolate_seeds(transport, first, last, frames, condition, **options)
            result["seeds"] = [first, last]
        else:
            stem = f"interpolate-{Path(start).stem}-{Path(end).stem}"
            target = target_of(loaded, out, stem, frames, placing)
            check_images(loaded)
            condition = _condition(loaded, label, given, guiding)
            ends = image_of(loaded.space, start, resize), image_of(loaded.space, end, resize)
            coder = _coder(loaded)
            x = editing.between(
                transport, ends, frames, condition, autoencoder=coder, events=tell, **options
            )
            result["end_errors"] = _end_errors(loaded, x, ends)
    result["out"] = str(target)
    frames_to(target, loaded.space, x, overwrite=placing.overwrite, zoom=placing.zoom)
    show(result, json, written)


def _end_errors(run: Run, x: Tensor, ends: tuple[Tensor, Tensor]) -> list[float]:
    from pushforward.transports import has_steps, inner_of

    first = float((x[0] - ends[0]).square().mean().sqrt())
    last = float((x[-1] - ends[1]).square().mean().sqrt())
    better = "; more --steps reduce this" if has_steps(inner_of(run.transport)) else ""
    say(f"the ends differ from the images by {first:.3f} and {last:.3f} (RMS, range 1){better}")
    return [first, last]


def _coder(run: Run) -> Any:
    from pushforward.methods.method import HasAutoencoder

    if isinstance(run.method, HasAutoencoder):
        return run.method.autoencoder().eval()
    return None


def _show_latent_space(
    run: Run,
    what: str,
    groups: str | None,
    frames: int,
    out: str | None,
    placing: Placing,
    as_json: bool,
) -> None:
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import arithmetic, code_map, labelled, strip
    from pushforward.pictures import grid_picture, groups_picture

    coder = _coder(run)
    pair = (groups or "").split(",")
    if coder is None:
        raise UsageError(
            f"--show {what} needs a model with an encoder, such as vae or vqvae; "
            f"{run.folder} is a run of {run.spec['recipe']}."
        )
    if what != "map" and not run.space.has_pixels:
        raise UsageError(
            f"--show {what} needs a model of images; this model generates {run.space.noun}s. "
            "Use --show map."
        )
    if what == "arithmetic" and len(pair) != 2:
        raise UsageError("--show arithmetic needs two classes, such as --groups 4,9.")
    data = labelled(data_of(run))
    space = data.space
    target = target_of(run, out, "-".join([what, *pair]).strip("-"), 1, placing, (".png",))
    facts: dict[str, Any] = {"out": str(target), "show": what}
    if what == "map":
        plane = code_map(coder, data)
        if plane is None:
            raise UsageError(
                "--show map needs latents with at least two dimensions; "
                "the latents of this model have one."
            )
        facts["share"] = plane.share
        say(f"the plane explains {plane.share:.0%} of the variance of the latents")
        picture = groups_picture(plane.points, plane.labels, space.classes)
    else:
        if what == "arithmetic":
            first, last = (space.label_index(name.strip()) for name in pair)
            facts["groups"] = [space.classes[first], space.classes[last]]
            images = arithmetic(coder, data, first, last, frames=frames)
        else:
            images = strip(coder, data, frames)
        pixels = space.quantise(images.flatten(0, 1))
        picture = grid_picture(pixels, images.shape[1], scale=placing.zoom)
    save_picture(picture, target)
    show(facts, as_json, written)


@app.command(group=USE, sort_key=3)
def vary(
    run: RunCheckpoint,
    image: Image,
    *,
    resize: Resize = False,
    strength: SampleOption[float] = 0.5,
    n: N = 16,
    seed: Seed = 0,
    label: Label = None,
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Grid = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Make variations of an image.

    Iterative models add noise to the image and solve back (SDEdit). For a GAN or VAE, noise is
    mixed into the z of the closest sample (`pushforward invert`). Example:
    `pushforward vary runs/mnist-flow seven.png --strength 0.5 --n 16 --out sevens.png`

    Args:
        strength: Strength of the variations: small values stay close to the image, 1 gives new
            samples.
        label: Class, by number or name. Default: none, or the best fit for a one-call model.
            Required if the model's autoencoder takes labels.
    """
    from pushforward.editing import variations

    loaded = configured_run(run, loading, solving, guiding)
    check_images(loaded)
    target = _edit_target(loaded, out, "vary", image, seed, n, placing)
    condition = _condition(loaded, label, given, guiding)
    x = image_of(loaded.space, image, resize)
    with precision_of(loading):
        varied, used = variations(
            loaded.transport, x, strength, condition, batch=loading.batch, events=tell
        )
    result = _drawn(varied, used, n, seed, target, placing, loading)
    show(result | {"strength": strength}, json, written)


def _condition(
    run: Run, label: str | None, given: str | None, guiding: Guiding
) -> dict[str, Any] | None:
    if label is None and given is None and guiding.scale is not None:
        raise UsageError("--scale needs --label or --given to guide towards.")
    return condition_of(run, label, given)


def _edit_target(
    run: Run, out: str | None, verb: str, image: str, seed: int, n: int, placing: Placing
) -> Path:
    stem = f"{verb}-{Path(image).stem}-seed{seed}-n{n}"
    return target_of(run, out, stem, n, placing, (".png", ".npz", ""))


def _drawn(
    edited: Transport,
    condition: Any,
    n: int,
    seed: int,
    target: Path,
    placing: Placing,
    loading: Loading,
) -> dict[str, Any]:
    from pushforward.samples import draw_to

    with precision_of(loading):
        draw_to(
            target,
            edited,
            n,
            condition,
            seed=seed,
            batch=loading.batch,
            **dataclasses.asdict(placing),
        )
    return {"out": str(target), "n": n, "seed": seed, "calls_per_sample": edited.calls}


@app.command(group=USE, sort_key=4)
def inpaint(
    run: RunCheckpoint,
    image: Image,
    *,
    mask: ModelOption[str | None] = None,
    box: ModelOption[str | None] = None,
    resize: Resize = False,
    n: N = 8,
    seed: Seed = 0,
    rounds: Rounds = None,
    label: Label = None,
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Grid = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Fill in part of an image.

    All other pixels stay unchanged (DDNM). Only for iterative models (diffusion, flow matching),
    with the ancestral solver unless --solver is given. Example:
    `pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28 --n 8 --out filled.png`

    Args:
        mask: Image file: white pixels (128 or above) are filled in, black pixels are kept.
        box: Pixels to fill in, instead of a mask: top,left,bottom,right, without the last row and
            column. Also by name, in any order: left=0,top=14,right=28,bottom=28.
        label: Class, by number or name. Default: none.
    """
    from pushforward.editing import edited_condition, inpainting

    if (mask is None) == (box is None):
        raise UsageError(
            "Specify either --mask MASK.png (white is filled in) or --box top,left,bottom,right."
        )
    loaded = configured_run(run, loading, solving, guiding)
    options = _choices(loaded, solving, rounds)
    target = _edit_target(loaded, out, "inpaint", image, seed, n, placing)
    condition = edited_condition(loaded.transport, _condition(loaded, label, given, guiding))
    x = image_of(loaded.space, image, resize)
    if box is not None:
        holes = _box(loaded.space, box)
    else:
        holes = image_of(loaded.space, str(mask), resize, 1)[0] * 255 >= _FILLED_FROM - 0.5
    filling = inpainting(loaded.transport, x, holes, **options)
    result = _drawn(filling, condition, n, seed, target, placing, loading)
    show(result | {"filled": int(holes.sum())}, json, written)


def _box(space: Space, text: str) -> Tensor:
    import torch

    height, width = space.shape[1:]
    top, left, bottom, right = _sides(text)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise UsageError(
            f"--box {text} does not fit an image of {height} x {width} pixels: expected "
            f"0 <= top < bottom <= {height} and 0 <= left < right <= {width}; "
            f"got top={top}, left={left}, bottom={bottom}, right={right}."
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
                f"--box takes {', '.join(_SIDES)} once each, such as "
                f'left=0,top=14,right=28,bottom=28; got "{text}".'
            )
        words = [named[side] for side in _SIDES]
    return numbers("--box", ",".join(words), len(_SIDES))  # type: ignore[no-any-return]


@app.command(group=USE, sort_key=5)
def upscale(
    run: RunCheckpoint,
    image: Image,
    *,
    n: N = 4,
    seed: Seed = 0,
    rounds: Rounds = None,
    label: Label = None,
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Grid = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Enlarge an image to the model's size.

    The image must be smaller by an integer factor. Averaged over blocks of pixels, each result
    equals the image (DDNM). Only for iterative models, with the ancestral solver unless --solver is
    given. Example:
    `pushforward upscale runs/mnist-flow small.png --n 4 --out large.png`

    Args:
        label: Class, by number or name. Default: none.
    """
    import torch

    from pushforward.data.images.image_set import read_image
    from pushforward.editing import edited_condition, super_resolution

    loaded = configured_run(run, loading, solving, guiding)
    options = _choices(loaded, solving, rounds)
    target = _edit_target(loaded, out, "upscale", image, seed, n, placing)
    condition = edited_condition(loaded.transport, _condition(loaded, label, given, guiding))
    channels, height, width = loaded.space.shape
    pixels = read_image(Path(image), channels)
    factor = height // pixels.shape[1]
    if factor < 2 or (pixels.shape[1] * factor, pixels.shape[2] * factor) != (height, width):
        sizes = []
        for divisor in range(2, min(height, width) + 1):
            if height % divisor == 0 and width % divisor == 0:
                sizes.append(f"{height // divisor} x {width // divisor}")
        raise UsageError(
            f"{image} has {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width). The model "
            f"generates {height} x {width} and can only enlarge by an integer factor: "
            f"expected {' or '.join(sizes[:4])}."
        )
    small = torch.from_numpy(pixels).float() / 255
    enlarging = super_resolution(loaded.transport, small, **options)
    result = _drawn(enlarging, condition, n, seed, target, placing, loading)
    show(result | {"factor": factor}, json, written)


def _choices(run: Run, solving: Solving, rounds: int | None) -> dict[str, Any]:
    from pushforward.transports import has_steps

    transport = run.transport
    if not has_steps(transport):
        raise UsageError(
            f"{run.folder} is a one-call or latent model ({run.spec['family']}), which does not "
            "support this. Use a diffusion or flow model of pixels; `pushforward vary` and "
            "`interpolate` support any model."
        )
    check_images(run)
    options: dict[str, Any] = {}
    if solving.solver is not None:
        options["solver"] = transport.solver
    if rounds is not None:
        options["rounds"] = rounds
    return options


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
    _check_one_call(loaded)
    check_images(loaded)
    count = len(images)
    stem = f"invert-{Path(images[0]).stem}"
    target = target_of(loaded, out, stem, 3 * count, placing, (".png", ".npz"))
    x = torch.stack([image_of(loaded.space, file, resize) for file in images])
    condition = condition_of(loaded, label, given)
    search = editing.Search(steps, starts)
    batch = max(starts, loading.batch)
    say(f"searching for the z of {counted(count, 'image')} ...")
    with precision_of(loading):
        found = editing.invert(loaded.transport, x, condition, search, seed=seed, batch=batch)
    _write_inversion(target, loaded.space, images, x, found, placing.zoom)
    rows = []
    cells = cells_of(loaded.space.conditions, found.condition, count)
    for i, file in enumerate(images):
        row = {"file": file, "error": float(found.error[i])}
        row |= {"error_of_random_z": float(found.first[i]), "condition": cells[i]}
        rows.append(row)
    result = {"out": str(target), "steps": steps, "starts": starts, "seed": seed, "images": rows}
    show(result, json, _inversion_table)


def _check_one_call(run: Run) -> None:
    from pushforward.transports import has_steps, inner_of

    if has_steps(inner_of(run.transport)):
        raise UsageError(
            f"{run.folder} is an iterative model ({run.spec['family']}); expected a GAN or VAE. "
            "Use `interpolate` or `vary`, which invert it without a search."
        )


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
        "z": inversion.z.numpy(),
        "x": inverted,
        "error": inversion.error.numpy(),
        "files": np.array(files),
    }
    for name, part in (inversion.condition or {}).items():
        arrays[name] = part.numpy()
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _inversion_table(result: dict[str, Any]) -> str:
    images = result["images"]
    rows = [["image", "difference", "best random z", *images[0]["condition"]]]
    for image in images:
        errors = [f"{image['error']:.3f}", f"{image['error_of_random_z']:.3f}"]
        rows.append([image["file"], *errors, *map(str, image["condition"].values())])
    scale = "differences: RMS, in standard deviations of the data"
    return f"{columns(rows)}\n{scale}\n{result['out']}"
