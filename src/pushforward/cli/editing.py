"""The verbs that go backwards and in between with a run: interpolate, vary, inpaint, upscale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.coding import coder_of, looked
from pushforward.cli.latents import between, found
from pushforward.cli.sampling import (
    AS_IT_IS,
    NEWEST,
    UNGUIDED,
    Guiding,
    Loading,
    Solving,
    free_name,
    image_of,
    loaded_run,
    precision_of,
    transport_of,
)
from pushforward.cli.terminal import Flag, app, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.training import Run
    from pushforward.transports import Transport

__all__ = ["inpaint", "interpolate", "upscale", "vary"]

_FILLED_FROM = 128


@app.command
def interpolate(
    run: str,
    *,
    start: Annotated[str | None, Parameter(name="--from")] = None,
    end: Annotated[str | None, Parameter(name="--to")] = None,
    seeds: str | None = None,
    way: Literal["spherical", "linear"] = "spherical",
    frames: int = 9,
    show_: Annotated[Literal["between", "reconstructions", "arithmetic", "map"], Parameter(name="--show")] = "between",
    groups: str | None = None,
    resize: Flag = False,
    label: str | None = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Go from one image or sample to another: `pushforward interpolate runs/digits-flow --seeds 3,8 --out strip.png`.

    Between images an iterative model encodes them into noise, and a model with an encoder into codes; for a GAN, or a VAE that is
    told labels where none is named, the z of the nearest samples is searched for, as `pushforward project` does.

    Args:
        run: The run's folder.
        start: The first image, a file.
        end: The last image, a file.
        seeds: Two seeds in place of images; default 0,1.
        way: spherical keeps z as long as noise is; linear leads through shorter z, which no model was trained on.
        frames: How many, both ends included.
        show_: Of a model with codes (autoencoder, vae, hvae, vqvae, or a model in a latent space): held-out images over their
            reconstructions; images of one group moved towards another in code (--groups); or a map of the codes by class.
        groups: Two classes by number or name, such as 4,9.
        resize: Scale and crop images of another size than the model's.
        label: A class by number or name, for all frames. Default: the first seed's; between images none, or for a one-call model
            the one that fits the first image best.
        solving: Steps, solver and grid of an iterative model, or the truncation of a one-call one.
        guiding: Guidance of an iterative model.
        out: .png (a strip), .gif (there and back), no ending (folder of PNGs), .npz, or .csv for vectors.
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels, but not a single image or
            the files of a folder, which are kept as data.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward import editing
    from pushforward.outputs import check_target
    from pushforward.transports import Flow, inner_of

    if (start is None) != (end is None) or (start is not None and seeds is not None):
        raise UsageError("Give two images, --from A.png --to B.png, or two seeds, --seeds 0,1.")
    if frames < 2:
        raise UsageError(f"--frames must be at least 2, got {frames}.")
    pair = _pair("0,1" if seeds is None else seeds)
    _check_shown(show_, groups, {"--from": start, "--to": end, "--seeds": seeds, "--label": label})
    loaded = loaded_run(run, loading)
    if show_ != "between":
        looked(loaded, show_, groups, frames, out, zoom, overwrite, json)
        return
    transport = transport_of(loaded, solving, guiding, loading)
    if start is not None:
        _check_images(loaded)
    stem = f"seeds{pair[0]}-{pair[1]}" if start is None or end is None else f"{Path(start).stem}-{Path(end).stem}"
    target = Path(out) if out else free_name(loaded, f"interpolate-{stem}")
    check_target(target, loaded.space, frames, overwrite, zoom)
    condition = _condition(loaded, label, guiding, needed=start is not None)
    result: dict[str, Any] = {"out": str(target), "frames": frames, "calls_per_sample": transport.calls}
    with precision_of(loading):
        if start is None or end is None:
            x = editing.interpolate_seeds(transport, *pair, frames, condition, way=way, batch=loading.batch)
            result["seeds"] = list(pair)
        else:
            ends = [image_of(loaded.space, file, resize) for file in (start, end)]
            x = _walked(loaded, transport, ends, frames, condition, way, loading)
            errors = [float((made - image).square().mean().sqrt()) for made, image in zip((x[0], x[-1]), ends, strict=True)]
            result["end_errors"] = errors
            better = "; more --steps help" if isinstance(inner_of(transport), Flow) else ""
            say(f"the ends differ from the images by {errors[0]:.3f} and {errors[1]:.3f} (RMS, range 1){better}")
    _write_frames(target, loaded.space, x, overwrite, zoom)
    show(result, json, lambda r: r["out"])


@app.command
def vary(
    run: str,
    image: str,
    *,
    strength: float = 0.5,
    n: int = 16,
    seed: int = 0,
    resize: Flag = False,
    label: str | None = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Make variations of an image: `pushforward vary runs/mnist-flow seven.png --strength 0.5 --n 16 --out sevens.png`.

    An iterative model noises the image part of the way and solves back (SDEdit). For a GAN or a VAE the z of the nearest sample
    is searched for (`pushforward project`) and mixed with noise.

    Args:
        run: The run's folder.
        image: The image file.
        strength: The share of the solver's steps that are run anew, or of the noise in z: small is nearly the image, 1 a new
            sample.
        n: How many.
        seed: Variation i comes from seed + i alone.
        resize: Scale and crop an image of another size than the model's.
        label: A class by number or name; default: without one, or for a one-call model the one that fits best. A model in the
            latent space of an autoencoder that is told labels needs one.
        solving: Steps, solver and grid, or the truncation of a one-call model.
        guiding: Guidance.
        out: .png (grid), no ending (folder of PNGs), or .npz.
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels, but not a single image or
            the files of a folder, which are kept as data.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward import editing, latents
    from pushforward.transports import Flow, inner_of

    loaded = loaded_run(run, loading)
    made = transport_of(loaded, solving, guiding, loading)
    _check_images(loaded)
    target = _target(loaded, out, f"vary-{Path(image).stem}-seed{seed}-n{n}", n, overwrite, zoom)
    condition = _condition(loaded, label, guiding)
    x = image_of(loaded.space, image, resize)
    if isinstance(inner_of(made), Flow):
        given = editing.asked(editing.iterative(inner_of(made)), condition)
        varied: Transport = editing.variation(made, x, strength, given)
    else:
        latents.Nearby(made, x.new_zeros(made.noise_shape), strength)  # a strength that is none is refused before the search
        nearest, condition = found(made, x, condition, loading)
        varied = latents.Nearby(made, nearest.z[0], strength)
    result = _draw(made, varied, condition, n, seed, loading, target, overwrite, zoom)
    show(result | {"strength": strength}, json, lambda r: r["out"])


@app.command
def inpaint(
    run: str,
    image: str,
    *,
    mask: str | None = None,
    box: str | None = None,
    n: int = 8,
    seed: int = 0,
    rounds: int | None = None,
    resize: Flag = False,
    label: str | None = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Fill part of an image anew: `pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28 --n 8 --out filled.png`.

    All else stays as it is (DDNM); iterative models only. Steps are ancestral unless --solver says otherwise.

    Args:
        run: The run's folder.
        image: The image file.
        mask: An image whose white is filled and whose black is kept; gray counts as white from 128 of 255 on.
        box: What is filled, in place of a mask: top,left,bottom,right in pixels of the model's images, the last two not included.
        n: How many.
        seed: Filling i comes from seed + i alone.
        rounds: How often every step is made: more fit better, and cost more; default 5.
        resize: Scale and crop an image or mask of another size than the model's.
        label: A class by number or name; default: without one.
        solving: Steps, solver and grid.
        guiding: Guidance.
        out: .png (grid), no ending (folder of PNGs), or .npz.
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels, but not a single image or
            the files of a folder, which are kept as data.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward import restoration

    if (mask is None) == (box is None):
        raise UsageError("Say what to fill: --mask MASK.png (white is filled) or --box top,left,bottom,right.")
    loaded = loaded_run(run, loading)
    made = transport_of(loaded, solving, guiding, loading)
    _check_editable(loaded, made)
    target = _target(loaded, out, f"inpaint-{Path(image).stem}-seed{seed}-n{n}", n, overwrite, zoom)
    condition = _condition(loaded, label, guiding)
    x = image_of(loaded.space, image, resize)
    holes = _box(loaded.space, box) if box is not None else _mask(loaded.space, str(mask), resize)
    led = restoration.inpainting(made, x, holes, **_choices(made, solving, rounds))
    result = _draw(made, led, condition, n, seed, loading, target, overwrite, zoom)
    show(result | {"filled": int(holes.sum())}, json, lambda r: r["out"])


@app.command
def upscale(
    run: str,
    image: str,
    *,
    n: int = 4,
    seed: int = 0,
    rounds: int | None = None,
    label: str | None = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: str | None = None,
    zoom: int | None = None,
    overwrite: Flag = False,
    loading: Loading = NEWEST,
    json: Flag = False,
) -> None:
    """Enlarge an image to the model's size: `pushforward upscale runs/mnist-flow small.png --n 4 --out large.png`.

    The image must be smaller by a whole factor; averaged over blocks the results are the image (DDNM). Iterative models only.
    Steps are ancestral unless --solver says otherwise.

    Args:
        run: The run's folder.
        image: The image file.
        n: How many.
        seed: Image i comes from seed + i alone.
        rounds: How often every step is made: more fit better, and cost more; default 5.
        label: A class by number or name; default: without one.
        solving: Steps, solver and grid.
        guiding: Guidance.
        out: .png (grid), no ending (folder of PNGs), or .npz.
        zoom: Enlarge every pixel of a picture so many times; default: small images to about 64 pixels, but not a single image or
            the files of a folder, which are kept as data.
        overwrite: Replace what is there.
        loading: Which weights are used, and how.
        json: Print the result as JSON.
    """
    from pushforward import restoration

    loaded = loaded_run(run, loading)
    made = transport_of(loaded, solving, guiding, loading)
    _check_editable(loaded, made)
    target = _target(loaded, out, f"upscale-{Path(image).stem}-seed{seed}-n{n}", n, overwrite, zoom)
    condition = _condition(loaded, label, guiding)
    low = _small(loaded.space, image)
    led = restoration.super_resolution(made, low, **_choices(made, solving, rounds))
    result = _draw(made, led, condition, n, seed, loading, target, overwrite, zoom)
    show(result | {"factor": loaded.space.shape[1] // low.shape[1]}, json, lambda r: r["out"])


def _check_shown(what: str, groups: str | None, others: dict[str, str | None]) -> None:
    """Refuse options that what is drawn has no use for."""
    if groups is not None and what != "arithmetic":
        raise UsageError(f"--groups are those of --show arithmetic; --show {what} has none.")
    given = [name for name, value in others.items() if value is not None]
    if what != "between" and given:
        raise UsageError(f"--show {what} draws held-out rows: leave {', '.join(given)} out.")


def _walked(
    run: Run, transport: Transport, ends: list[Tensor], frames: int, condition: dict[str, int] | None, way: str, loading: Loading
) -> Tensor:
    """Frames from one image to another: through codes where the model has an encoder that can be asked, else through noise."""
    import torch

    from pushforward.evaluation.latent_pictures import walk
    from pushforward.transports import Flow, inner_of

    coder = coder_of(run)
    if coder is None or isinstance(inner_of(transport), Flow) or (condition is None and coder.space.classes):
        return between(transport, ends, frames, condition, way, loading)
    if condition is not None and not coder.space.classes:
        raise UsageError("Between images this model goes through codes, which were told no labels: leave --label out.")
    told = None if condition is None else {name: torch.tensor([value]) for name, value in condition.items()}
    return walk(coder, ends[0], ends[1], frames, told, way=way)


def _pair(text: str) -> tuple[int, int]:
    try:
        first, second = (int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f'--seeds takes two whole numbers, such as 0,1; got "{text}".') from None
    return first, second


def _condition(run: Run, label: str | None, guiding: Guiding, needed: bool = True) -> dict[str, int] | None:
    if label is None and guiding.scale is not None and needed:
        raise UsageError("--scale guides towards a label: give --label as well.")
    return None if label is None else {"label": run.space.label_index(label)}


def _target(run: Run, out: str | None, stem: str, n: int, overwrite: bool, zoom: int | None) -> Path:
    from pushforward.outputs import check_target

    target = Path(out) if out else free_name(run, stem)
    if target.suffix.lower() == ".gif":
        raise UsageError("This verb writes .png (a grid), .npz or a folder of PNGs, no .gif; choose another --out.")
    check_target(target, run.space, n, overwrite, zoom)
    return target


def _choices(made: Transport, solving: Solving, rounds: int | None) -> dict[str, Any]:
    """The solver, where one was asked for, and the rounds."""
    from pushforward.transports import Flow

    if rounds is not None and rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {rounds}.")
    asked = made.solver if isinstance(made, Flow) and solving.solver is not None else None
    return {"solver": asked} | ({} if rounds is None else {"rounds": rounds})


def _check_editable(run: Run, transport: Transport) -> None:
    from pushforward.transports import Flow, Latent

    if isinstance(transport, Latent):
        raise UsageError(
            f"{run.folder} holds a model in a latent space, whose noise levels are of codes and not of pixels: it cannot keep "
            "part of an image as it is. Use a model of pixels; `pushforward vary` and `interpolate` take every model."
        )
    if not isinstance(transport, Flow):
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


def _draw(
    made: Any,
    edited: Transport,
    condition: dict[str, int] | None,
    n: int,
    seed: int,
    loading: Loading,
    target: Path,
    overwrite: bool,
    zoom: int | None,
) -> dict[str, Any]:
    """Write the samples of a transport that edits, and say what was done."""
    from pushforward import editing
    from pushforward.outputs import write_samples
    from pushforward.transports import Flow, inner_of

    flow = inner_of(made)
    given = editing.asked(flow, condition) if isinstance(flow, Flow) else condition
    with precision_of(loading):
        parts = edited.stream(n, given, seed=seed, batch=loading.batch)
        write_samples(target, edited.space, n, parts, overwrite, zoom)
    return {"out": str(target), "n": n, "seed": seed, "calls_per_sample": edited.calls}


def _write_frames(path: Path, space: Space, x: Tensor, overwrite: bool, zoom: int | None) -> None:
    """A strip, an animation (images there and back, points one after another), or what `write_samples` makes of the frames."""
    from pushforward.outputs import replacing, write_samples
    from pushforward.pictures import grid_picture, legible, write_gif

    ending, rows = path.suffix.lower(), space.quantise(x)
    if ending == ".gif":
        back = [rows[i : i + 1] for i in (*range(len(rows)), *range(len(rows) - 2, 0, -1))]
        shown = back if space.kind == "image" else [rows[: i + 1] for i in range(len(rows))]
        with replacing(path) as temporary:
            write_gif(temporary, shown, 120, scale=zoom)
    elif ending == ".png" and space.kind == "image":
        with replacing(path) as temporary:
            grid_picture(rows, columns=len(rows), scale=zoom or legible(rows)).save(temporary, format="PNG")
    else:
        write_samples(path, space, len(rows), [(x, None)], overwrite, zoom)
