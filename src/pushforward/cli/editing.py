"""The verbs that go backwards and in between with a run: interpolate, vary, inpaint, upscale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.advice import as_options
from pushforward.cli.coding import coder_of, looked
from pushforward.cli.groups import (
    AS_IT_IS,
    MODEL,
    NEWEST,
    OUTPUT,
    PLACED,
    SAMPLES,
    UNGUIDED,
    USE,
    Guiding,
    Image,
    Json,
    Label,
    Loading,
    N,
    Placing,
    Resize,
    RunFolder,
    Seed,
    Solving,
)
from pushforward.cli.sampling import condition_of, configured_run, image_of, precision_of, target_of
from pushforward.cli.terminal import app, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.training import Run
    from pushforward.transports import Transport

__all__ = ["inpaint", "interpolate", "upscale", "vary"]

_FILLED_FROM = 128
_OUT = Parameter(group=OUTPUT, help=".png (grid), no ending (folder of PNGs), or .npz.")
Rounds = Annotated[int | None, Parameter(group=SAMPLES, help="Repeats of every step: more fit better and cost more; default 5.")]


@app.command(group=USE, sort_key=2)
def interpolate(
    run: RunFolder,
    *,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    end: Annotated[str | None, Parameter(name="--to", group=MODEL)] = None,
    seeds: Annotated[str | None, Parameter(group=MODEL)] = None,
    resize: Resize = False,
    interpolation: Annotated[Literal["spherical", "linear"], Parameter(group=SAMPLES)] = "spherical",
    frames: Annotated[int, Parameter(group=SAMPLES)] = 9,
    show_: Annotated[
        Literal["between", "reconstructions", "arithmetic", "map"], Parameter(name="--show", group=SAMPLES)
    ] = "between",
    groups: Annotated[str | None, Parameter(group=SAMPLES)] = None,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Interpolate between two images or samples.

    An iterative model encodes images into noise, a model with an encoder into its latent. For a GAN, and for a VAE that receives
    labels where none is named, the z of the nearest samples is searched for, as `pushforward invert` does. Example:
    `pushforward interpolate runs/digits-flow --seeds 3,8 --out strip.png`

    Args:
        start: The first image, a file.
        end: The last image, a file.
        seeds: Two seeds in place of images; default 0,1.
        way: spherical keeps z as long as noise is; linear leads through shorter z, which no model was trained on.
        frames: How many, both ends included.
        show_: Of a model with an encoder (autoencoder, vae, hvae, vqvae, or a model in a latent space): held-out images over
            their reconstructions; images of one group moved towards another in the latent (--groups); or a map of the latent by
            class.
        groups: Two classes by number or name, such as 4,9.
        label: A class by number or name, for all frames. Default: the first seed's; between images none, or for a one-call model
            the one that fits the first image best.
        out: .png (a strip), .gif (there and back), no ending (folder of PNGs), .npz, or .csv for vectors.
    """
    from pushforward.samples import frames_to

    files, pair = _ends(start, end, seeds, frames)
    _check_shown(show_, groups, {"--from": start, "--to": end, "--seeds": seeds, "--label": label})
    loaded = configured_run(run, loading, solving, guiding)
    if show_ != "between":
        looked(loaded, show_, groups, frames, out, placing, json)
        return
    stem = f"seeds{pair[0]}-{pair[1]}" if files is None else f"{Path(files[0]).stem}-{Path(files[1]).stem}"
    target = target_of(loaded, out, f"interpolate-{stem}", frames, placing.overwrite, placing.zoom)
    condition = _condition(loaded, label, guiding, needed=files is not None)
    options: dict[str, Any] = {"interpolation": interpolation, "batch": loading.batch}
    with precision_of(loading):
        x, result = _frames(loaded, files, pair, resize, frames, condition, options)
    frames_to(target, loaded.space, x, overwrite=placing.overwrite, zoom=placing.zoom)
    show({"out": str(target), "frames": frames, "calls_per_sample": loaded.transport.calls} | result, json, lambda r: r["out"])


@app.command(group=USE, sort_key=3)
def vary(
    run: RunFolder,
    image: Image,
    *,
    resize: Resize = False,
    strength: Annotated[float, Parameter(group=SAMPLES)] = 0.5,
    n: N = 16,
    seed: Seed = 0,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, _OUT] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Make variations of an image.

    An iterative model noises the image part of the way and solves back (SDEdit). For a GAN or a VAE the z of the nearest sample
    is searched for (`pushforward invert`) and mixed with noise. Example:
    `pushforward vary runs/mnist-flow seven.png --strength 0.5 --n 16 --out sevens.png`

    Args:
        strength: Share of the solver's steps that are run anew, or of the noise in z: small is nearly the image, 1 a new sample.
        label: A class by number or name; default: without one, or for a one-call model the one that fits best. A model in the
            latent space of an autoencoder that receives labels needs one.
    """
    from pushforward.edits import variations

    loaded = configured_run(run, loading, solving, guiding)
    _check_images(loaded)
    target = _target(loaded, out, f"vary-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = _condition(loaded, label, guiding)
    x = image_of(loaded.space, image, resize)
    with precision_of(loading):
        varied, given = variations(loaded.transport, x, strength, condition, batch=loading.batch, events=_event)
        result = _draw(varied, given, n, seed, loading.batch, target, placing)
    show(result | {"strength": strength}, json, lambda r: r["out"])


@app.command(group=USE, sort_key=4)
def inpaint(
    run: RunFolder,
    image: Image,
    *,
    mask: Annotated[str | None, Parameter(group=MODEL)] = None,
    box: Annotated[str | None, Parameter(group=MODEL)] = None,
    resize: Resize = False,
    n: N = 8,
    seed: Seed = 0,
    rounds: Rounds = None,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, _OUT] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Fill part of an image anew.

    All other pixels stay unchanged (DDNM); iterative models only. Steps are ancestral unless --solver names another solver.
    Example: `pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28 --n 8 --out filled.png`

    Args:
        mask: An image whose white is filled and whose black is kept; gray counts as white from 128 of 255 on.
        box: What is filled, in place of a mask: top,left,bottom,right in pixels of the model's images, the last two not included.
        label: A class by number or name; default: without one.
    """
    from pushforward.edits import edited_condition
    from pushforward.restoration import inpainting

    if (mask is None) == (box is None):
        raise UsageError("Say what to fill: --mask MASK.png (white is filled) or --box top,left,bottom,right.")
    loaded = configured_run(run, loading, solving, guiding)
    _check_editable(loaded)
    target = _target(loaded, out, f"inpaint-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = edited_condition(loaded.transport, _condition(loaded, label, guiding))
    x = image_of(loaded.space, image, resize)
    holes = _box(loaded.space, box) if box is not None else _mask(loaded.space, str(mask), resize)
    filling = inpainting(loaded.transport, x, holes, **_choices(loaded.transport, solving, rounds))
    with precision_of(loading):
        result = _draw(filling, condition, n, seed, loading.batch, target, placing)
    show(result | {"filled": int(holes.sum())}, json, lambda r: r["out"])


@app.command(group=USE, sort_key=5)
def upscale(
    run: RunFolder,
    image: Image,
    *,
    n: N = 4,
    seed: Seed = 0,
    rounds: Rounds = None,
    label: Label = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, _OUT] = None,
    placing: Placing = PLACED,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Enlarge an image to the model's size.

    The image must be smaller by a whole factor; averaged over blocks the results are the image (DDNM). Iterative models only.
    Steps are ancestral unless --solver names another solver. Example:
    `pushforward upscale runs/mnist-flow small.png --n 4 --out large.png`

    Args:
        label: A class by number or name; default: without one.
    """
    from pushforward.edits import edited_condition
    from pushforward.restoration import super_resolution

    loaded = configured_run(run, loading, solving, guiding)
    _check_editable(loaded)
    target = _target(loaded, out, f"upscale-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = edited_condition(loaded.transport, _condition(loaded, label, guiding))
    low = _small(loaded.space, image)
    enlarging = super_resolution(loaded.transport, low, **_choices(loaded.transport, solving, rounds))
    with precision_of(loading):
        result = _draw(enlarging, condition, n, seed, loading.batch, target, placing)
    show(result | {"factor": loaded.space.shape[1] // low.shape[1]}, json, lambda r: r["out"])


def _event(line: str) -> None:
    say(as_options(line))


def _ends(start: str | None, end: str | None, seeds: str | None, frames: int) -> tuple[tuple[str, str] | None, tuple[int, int]]:
    """The two image files, or None, and the two seeds."""
    if (start is None) != (end is None) or (start is not None and seeds is not None):
        raise UsageError("Give two images, --from A.png --to B.png, or two seeds, --seeds 0,1.")
    if frames < 2:
        raise UsageError(f"--frames must be at least 2, got {frames}.")
    return (None if start is None or end is None else (start, end)), _pair("0,1" if seeds is None else seeds)


def _check_shown(what: str, groups: str | None, others: dict[str, str | None]) -> None:
    """Refuse options that what is drawn has no use for."""
    if groups is not None and what != "arithmetic":
        raise UsageError(f"--groups are those of --show arithmetic; --show {what} has none.")
    given = [name for name, value in others.items() if value is not None]
    if what != "between" and given:
        raise UsageError(f"--show {what} draws held-out rows: leave {', '.join(given)} out.")


def _frames(
    run: Run,
    files: tuple[str, str] | None,
    pair: tuple[int, int],
    resize: bool,
    frames: int,
    condition: dict[str, int] | None,
    options: dict[str, Any],
) -> tuple[Tensor, dict[str, Any]]:
    """The frames between two images or two seeds, and what is reported of them."""
    from pushforward import editing, edits
    from pushforward.transports import Flow, inner_of

    transport = run.transport
    if files is None:
        return editing.interpolate_seeds(transport, *pair, frames, condition, **options), {"seeds": list(pair)}
    _check_images(run)
    first, last = (image_of(run.space, file, resize) for file in files)
    x = edits.between(transport, first, last, frames, condition, autoencoder=coder_of(run), events=_event, **options)
    errors = [float((frame - image).square().mean().sqrt()) for frame, image in ((x[0], first), (x[-1], last))]
    better = "; more --steps help" if isinstance(inner_of(transport), Flow) else ""
    say(f"the ends differ from the images by {errors[0]:.3f} and {errors[1]:.3f} (RMS, range 1){better}")
    return x, {"end_errors": errors}


def _pair(text: str) -> tuple[int, int]:
    try:
        first, second = (int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f'--seeds takes two whole numbers, such as 0,1; got "{text}".') from None
    return first, second


def _condition(run: Run, label: str | None, guiding: Guiding, needed: bool = True) -> dict[str, int] | None:
    if label is None and guiding.scale is not None and needed:
        raise UsageError("--scale guides towards a label: give --label as well.")
    return condition_of(run, label)


def _target(run: Run, out: str | None, stem: str, n: int, placing: Placing) -> Path:
    if out and Path(out).suffix.lower() == ".gif":
        raise UsageError("This verb writes .png (a grid), .npz or a folder of PNGs, no .gif; choose another --out.")
    return target_of(run, out, stem, n, placing.overwrite, placing.zoom)


def _choices(made: Transport, solving: Solving, rounds: int | None) -> dict[str, Any]:
    """The solver, where one was asked for, and the rounds."""
    from pushforward.transports import Flow

    if rounds is not None and rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {rounds}.")
    asked = made.solver if isinstance(made, Flow) and solving.solver is not None else None
    return {"solver": asked} | ({} if rounds is None else {"rounds": rounds})


def _check_editable(run: Run) -> None:
    from pushforward.transports import Flow, Latent

    if isinstance(run.transport, Latent):
        raise UsageError(
            f"{run.folder} holds a model in a latent space, whose noise levels are of codes and not of pixels: it cannot keep "
            "part of an image as it is. Use a model of pixels; `pushforward vary` and `interpolate` take every model."
        )
    if not isinstance(run.transport, Flow):
        raise UsageError(
            f"{run.folder} holds a one-call model ({run.spec['family']}): it has no noise levels, so it cannot fill or enlarge "
            "an image. Use a diffusion or flow model; `pushforward vary` and `interpolate` take every model."
        )
    _check_images(run)


def _check_images(run: Run) -> None:
    if run.space.kind != "image":
        raise UsageError(f"{run.folder} holds a model of vectors; image files are for models of images.")


def _small(space: Space, file: str) -> Tensor:
    """An image file smaller than the model's images by a whole factor, (C, H / f, W / f) in [0, 1]."""
    import torch

    from pushforward.data.images import read_image

    channels, height, width = space.shape
    pixels = read_image(Path(file), channels)
    factor = height // pixels.shape[1]
    if factor < 2 or (pixels.shape[1] * factor, pixels.shape[2] * factor) != (height, width):
        sizes = [f"{height // f} x {width // f}" for f in range(2, min(height, width) + 1) if height % f == 0 == width % f]
        raise UsageError(
            f"{file} is {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width), and the model makes {height} x {width}; "
            f"expected an image smaller by a whole factor: {' or '.join(sizes[:4])}."
        )
    return torch.from_numpy(pixels).float() / 255


def _mask(space: Space, file: str, resize: bool) -> Tensor:
    return image_of(space, file, resize, 1)[0] * 255 >= _FILLED_FROM - 0.5


def _box(space: Space, text: str) -> Tensor:
    import torch

    height, width = space.shape[1:]
    try:
        top, left, bottom, right = (int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f'--box takes four whole numbers, top,left,bottom,right; got "{text}".') from None
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise UsageError(
            f"--box {text} is no part of {height} x {width} pixels (height x width): expected 0 <= top < bottom <= {height} and "
            f"0 <= left < right <= {width}."
        )
    holes = torch.zeros(height, width, dtype=torch.bool)
    holes[top:bottom, left:right] = True
    return holes


def _draw(edited: Transport, condition: Any, n: int, seed: int, batch: int, target: Path, placing: Placing) -> dict[str, Any]:
    """Write the samples of a transport that edits, and what is reported of them."""
    from pushforward.samples import draw_to

    draw_to(target, edited, n, condition, seed=seed, batch=batch, overwrite=placing.overwrite, zoom=placing.zoom)
    return {"out": str(target), "n": n, "seed": seed, "calls_per_sample": edited.calls}
