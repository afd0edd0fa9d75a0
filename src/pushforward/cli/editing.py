"""The verbs that edit with a run: interpolate, vary, inpaint, upscale, invert; and truncation, which scores it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from pushforward.cli.inputs import condition_of, numbers
from pushforward.cli.options import (
    AS_IT_IS,
    AT_LEAST_1,
    INSPECT,
    MODEL,
    NEWEST,
    OUTPUT,
    PLACED,
    SAMPLES,
    UNGUIDED,
    USE,
    Compared,
    EvaluationOption,
    Given,
    Guiding,
    Image,
    Json,
    Label,
    Loading,
    ModelOption,
    N,
    Out,
    Overwrite,
    Placing,
    Repeats,
    Resize,
    RunFolder,
    SampleOption,
    Seed,
    Solving,
    app,
    as_options,
    columns,
    say,
    show,
    written,
)
from pushforward.cli.sampling import (
    check_images,
    configured_run,
    enlarged,
    image_of,
    loaded_run,
    precision_of,
    save_picture,
    target_of,
)
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward import Run, Transport
    from pushforward.data import Space
    from pushforward.editing import Inversion
    from pushforward.evaluation.curves import TruncationCurve

_FILLED_FROM = 128
_SIDES = ("top", "left", "bottom", "right")
Grid = Annotated[str | None, Parameter(group=OUTPUT, help=".png (grid), no ending (folder of PNGs), or .npz.")]
Rounds = Annotated[
    int | None,
    Parameter(group=SAMPLES, validator=AT_LEAST_1, help="Repeats of every step: more fit better and cost more; default 5."),
]


@app.command(group=USE, sort_key=2)
def interpolate(
    run: RunFolder,
    *,
    start: Annotated[str | None, Parameter(name="--from", group=MODEL)] = None,
    end: Annotated[str | None, Parameter(name="--to", group=MODEL)] = None,
    seeds: ModelOption[str | None] = None,
    resize: Resize = False,
    interpolation: SampleOption[Literal["spherical", "linear"]] = "spherical",
    frames: Annotated[int, Parameter(group=SAMPLES, validator=Number(gte=2))] = 9,
    show_: Annotated[
        Literal["between", "reconstructions", "arithmetic", "map"], Parameter(name="--show", group=SAMPLES)
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

    An iterative model encodes images into noise, a model with an encoder into its latent. For a GAN, and for a VAE that receives
    labels where none is named, the z of the nearest samples is searched for, as `pushforward invert` does. Example:
    `pushforward interpolate runs/digits-flow --seeds 3,8 --out strip.png`

    Args:
        start: The first image, a file.
        end: The last image, a file.
        seeds: Two seeds in place of images; default 0,1.
        interpolation: spherical: the noise z keeps its length; linear: z is shorter in between, as in no training.
        frames: How many, both ends included.
        show_: between: from the first image to the last. Of a model with an encoder (autoencoder, vae, hvae, vqvae, or a model
            in a latent space) also reconstructions: held-out images above theirs; arithmetic: images of one class moved
            towards another (--groups); map: the latent codes in the plane, by class.
        groups: Two classes by number or name, such as 4,9.
        label: A class by number or name, for all frames. Default: the first seed's; between images none, or for a one-call model
            the one that fits the first image best.
        out: .png (a strip), .gif (there and back), no ending (folder of PNGs), .npz, or .csv for vectors and
            tables. Default: a new file in RUN/samples.
    """
    from pushforward import editing
    from pushforward.samples import frames_to
    from pushforward.transports import has_steps, inner_of

    if (start is None) != (end is None) or (start is not None and seeds is not None):
        raise UsageError("Give two images, --from A.png --to B.png, or two seeds, --seeds 0,1.")
    first, last = numbers("--seeds", seeds or "0,1", 2)
    loaded = configured_run(run, loading, solving, guiding)
    if show_ != "between":
        return _show_latent_space(loaded, show_, groups, frames, out, placing, json)
    stem = f"seeds{first}-{last}" if start is None or end is None else f"{Path(start).stem}-{Path(end).stem}"
    target = target_of(loaded, out, f"interpolate-{stem}", frames, placing)
    condition = condition_of(loaded, label, given)
    options: dict[str, Any] = {"interpolation": interpolation, "batch": loading.batch}
    transport, result = loaded.transport, {"out": str(target), "frames": frames, "calls_per_sample": loaded.transport.calls}
    with precision_of(loading):
        if start is None or end is None:
            x, result["seeds"] = editing.interpolate_seeds(transport, first, last, frames, condition, **options), [first, last]
        else:
            check_images(loaded)
            _check_guided(label, given, guiding)
            ends = image_of(loaded.space, start, resize), image_of(loaded.space, end, resize)
            x = editing.between(
                transport,
                ends,
                frames,
                condition,
                autoencoder=_coder(loaded),
                events=lambda line: say(as_options(line)),
                **options,
            )
            errors = [float((frame - image).square().mean().sqrt()) for frame, image in ((x[0], ends[0]), (x[-1], ends[1]))]
            better, result["end_errors"] = "; more --steps help" if has_steps(inner_of(transport)) else "", errors
            say(f"the ends differ from the images by {errors[0]:.3f} and {errors[1]:.3f} (RMS, range 1){better}")
    frames_to(target, loaded.space, x, overwrite=placing.overwrite, zoom=placing.zoom)
    show(result, json, written)


def _coder(run: Run) -> Any:
    from pushforward.methods.method import HasAutoencoder

    return run.method.autoencoder().eval() if isinstance(run.method, HasAutoencoder) else None


def _show_latent_space(
    run: Run, what: str, groups: str | None, frames: int, out: str | None, placing: Placing, as_json: bool
) -> None:
    from pushforward.evaluation.models import data_of
    from pushforward.evaluation.pictures import arithmetic, code_map, labelled, strip
    from pushforward.pictures import groups_picture

    coder, pair = _coder(run), (groups or "").split(",")
    if coder is None:
        raise UsageError(
            f"--show {what}: {run.folder} holds a {run.spec['recipe']}, which has no codes; vae and vqvae have some."
        )
    if what != "map" and not run.space.has_pixels:
        raise UsageError(f"--show {what} draws images; this is a model of {run.space.noun}s. Its codes are drawn by --show map.")
    if what == "arithmetic" and len(pair) != 2:
        raise UsageError("--show arithmetic moves images of one class towards another: name both, --groups 4,9.")
    data = labelled(data_of(run))
    target = target_of(run, out, "-".join([what, *pair]).strip("-"), 1, placing, (".png",))
    facts: dict[str, Any] = {"out": str(target), "show": what}
    if what == "map":
        plane = code_map(coder, data)
        if plane is None:
            raise UsageError("These codes are single numbers: there is no plane to draw them on.")
        facts["share"] = plane.share
        say(f"the plane holds {plane.share:.0%} of the codes' variance")
        picture = groups_picture(plane.points, plane.labels, data.space.classes, size=720)
    else:
        labels = [data.space.label_index(name.strip()) for name in pair] if what == "arithmetic" else []
        facts |= {"groups": [data.space.classes[label] for label in labels]} if labels else {}
        images = arithmetic(coder, data, labels[0], labels[1], frames=frames) if labels else strip(coder, data, frames)
        picture = enlarged(data.space.quantise(images.flatten(0, 1)), images.shape[1], placing.zoom)
    save_picture(picture, target)
    show(facts, as_json, written)


@app.command(group=USE, sort_key=3)
def vary(
    run: RunFolder,
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

    An iterative model noises the image part of the way and solves back (SDEdit). For a GAN or a VAE the z of the nearest sample
    is searched for (`pushforward invert`) and mixed with noise. Example:
    `pushforward vary runs/mnist-flow seven.png --strength 0.5 --n 16 --out sevens.png`

    Args:
        strength: Share of the solver's steps that are run again, or of the noise in z: small is nearly the image, 1 a new sample.
        label: A class by number or name; default: without one, or for a one-call model the one that fits best. A model in the
            latent space of an autoencoder that receives labels needs one.
    """
    from pushforward.editing import variations

    loaded = configured_run(run, loading, solving, guiding)
    check_images(loaded)
    target = _edit_target(loaded, out, "vary", image, seed, n, placing)
    _check_guided(label, given, guiding)
    condition, x = condition_of(loaded, label, given), image_of(loaded.space, image, resize)
    with precision_of(loading):
        varied, used = variations(
            loaded.transport, x, strength, condition, batch=loading.batch, events=lambda line: say(as_options(line))
        )
        result = _drawn(varied, used, n, seed, loading.batch, target, placing)
    show(result | {"strength": strength}, json, written)


def _check_guided(label: str | None, given: str | None, guiding: Guiding) -> None:
    if label is None and given is None and guiding.scale is not None:
        raise UsageError("--scale guides towards a label: give --label as well (or --given).")


def _edit_target(run: Run, out: str | None, verb: str, image: str, seed: int, n: int, placing: Placing) -> Path:
    stem = f"{verb}-{Path(image).stem}-seed{seed}-n{n}"
    return target_of(run, out, stem, n, placing, (".png", ".npz", ""))


def _drawn(edited: Transport, condition: Any, n: int, seed: int, batch: int, target: Path, placing: Placing) -> dict[str, Any]:
    from pushforward.samples import draw_to

    draw_to(target, edited, n, condition, seed=seed, batch=batch, overwrite=placing.overwrite, zoom=placing.zoom)
    return {"out": str(target), "n": n, "seed": seed, "calls_per_sample": edited.calls}


@app.command(group=USE, sort_key=4)
def inpaint(
    run: RunFolder,
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
    """Fill part of an image again.

    All other pixels stay unchanged (DDNM). For iterative models only (diffusion, flow matching). Steps are
    ancestral unless --solver names another solver.
    Example: `pushforward inpaint runs/mnist-flow seven.png --box 14,0,28,28 --n 8 --out filled.png`

    Args:
        mask: An image whose white is filled and whose black is kept; gray counts as white from 128 of 255 on.
        box: The pixels to fill, instead of a mask: top,left,bottom,right, the last two not included; or by name in any order:
            left=0,top=14,right=28,bottom=28.
        label: A class by number or name; default: without one.
    """
    from pushforward.editing import edited_condition, inpainting

    if (mask is None) == (box is None):
        raise UsageError("Give what to fill: --mask MASK.png (white is filled) or --box top,left,bottom,right.")
    loaded = configured_run(run, loading, solving, guiding)
    options = _choices(loaded, solving, rounds)
    target = _edit_target(loaded, out, "inpaint", image, seed, n, placing)
    _check_guided(label, given, guiding)
    condition = edited_condition(loaded.transport, condition_of(loaded, label, given))
    x = image_of(loaded.space, image, resize)
    if box is not None:
        holes = _box(loaded.space, box)
    else:
        holes = image_of(loaded.space, str(mask), resize, 1)[0] * 255 >= _FILLED_FROM - 0.5
    filling = inpainting(loaded.transport, x, holes, **options)
    with precision_of(loading):
        result = _drawn(filling, condition, n, seed, loading.batch, target, placing)
    show(result | {"filled": int(holes.sum())}, json, written)


def _box(space: Space, text: str) -> Tensor:
    import torch

    height, width = space.shape[1:]
    top, left, bottom, right = _sides(text)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        limits = f"0 <= top < bottom <= {height} and 0 <= left < right <= {width}"
        got = f"top={top}, left={left}, bottom={bottom}, right={right}"
        raise UsageError(f"--box {text} is not in an image of {height} x {width} pixels: expected {limits}; got {got}.")
    say(f"filling rows {top} to {bottom - 1} and columns {left} to {right - 1} of {height} x {width} pixels (height x width)")
    holes = torch.zeros(height, width, dtype=torch.bool)
    holes[top:bottom, left:right] = True
    return holes


def _sides(text: str) -> tuple[int, ...]:
    """Return the four sides of a box in the order of `_SIDES`, given in this order or by name."""
    words = text.replace(" ", "").split(",")
    if "=" in text:
        named = dict(word.partition("=")[::2] for word in words)
        if len(words) != len(_SIDES) or named.keys() != set(_SIDES):
            raise UsageError(f'--box takes {", ".join(_SIDES)}, each once: left=0,top=14,right=28,bottom=28; got "{text}".')
        words = [named[side] for side in _SIDES]
    return numbers("--box", ",".join(words), len(_SIDES))  # type: ignore[no-any-return]


@app.command(group=USE, sort_key=5)
def upscale(
    run: RunFolder,
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

    The image must be smaller by a whole factor; averaged over blocks of pixels, each result is that image (DDNM).
    Iterative models only. Steps are ancestral unless --solver names another solver. Example:
    `pushforward upscale runs/mnist-flow small.png --n 4 --out large.png`

    Args:
        label: A class by number or name; default: without one.
    """
    import torch

    from pushforward.data.images.image_set import read_image
    from pushforward.editing import edited_condition, super_resolution

    loaded = configured_run(run, loading, solving, guiding)
    options = _choices(loaded, solving, rounds)
    target = _edit_target(loaded, out, "upscale", image, seed, n, placing)
    _check_guided(label, given, guiding)
    condition = edited_condition(loaded.transport, condition_of(loaded, label, given))
    channels, height, width = loaded.space.shape
    pixels = read_image(Path(image), channels)
    factor = height // pixels.shape[1]
    if factor < 2 or (pixels.shape[1] * factor, pixels.shape[2] * factor) != (height, width):
        sizes = [f"{height // f} x {width // f}" for f in range(2, min(height, width) + 1) if height % f == 0 == width % f]
        raise UsageError(
            f"{image} is {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width), and the model makes {height} x {width}; "
            f"expected an image smaller by a whole factor: {' or '.join(sizes[:4])}."
        )
    enlarging = super_resolution(loaded.transport, torch.from_numpy(pixels).float() / 255, **options)
    with precision_of(loading):
        result = _drawn(enlarging, condition, n, seed, loading.batch, target, placing)
    show(result | {"factor": factor}, json, written)


def _choices(run: Run, solving: Solving, rounds: int | None) -> dict[str, Any]:
    from pushforward.transports import has_steps

    transport = run.transport
    if not has_steps(transport):
        raise UsageError(
            f"{run.folder} holds a one-call model ({run.spec['family']}) or one in a latent space, which has no noise levels of "
            "pixels to keep part of an image. Use a diffusion or flow model; `pushforward vary` and `interpolate` take any model."
        )
    check_images(run)
    return {"solver": transport.solver if solving.solver is not None else None} | ({} if rounds is None else {"rounds": rounds})


@app.command(group=USE, sort_key=6)
def invert(
    run: RunFolder,
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
    import torch

    from pushforward import editing
    from pushforward.conditions.kind import cells_of

    loaded = loaded_run(run, loading)
    _check_one_call(loaded, "`interpolate` and `vary` solve from an image to its noise, which needs no search")
    check_images(loaded)
    target = target_of(loaded, out, f"invert-{Path(images[0]).stem}", 3 * len(images), placing, (".png", ".npz"))
    x = torch.stack([image_of(loaded.space, file, resize) for file in images])
    condition, search = condition_of(loaded, label, given), editing.Search(steps, starts)
    say(f"images whose z is searched for: {len(images)} ...")
    with precision_of(loading):
        nearest = editing.invert(loaded.transport, x, condition, search, seed=seed, batch=max(starts, loading.batch))
    _write_inversion(target, loaded.space, images, x, nearest, placing.zoom)
    cells = cells_of(loaded.space.conditions, nearest.condition, len(images))
    errors = zip(images, nearest.error.tolist(), nearest.first.tolist(), cells, strict=True)
    rows = [dict(zip(("file", "error", "error_of_random_z", "condition"), row, strict=True)) for row in errors]
    show({"out": str(target), "steps": steps, "starts": starts, "seed": seed, "images": rows}, json, _inversion_table)


def _check_one_call(run: Run, advice: str) -> None:
    from pushforward.transports import has_steps, inner_of

    if has_steps(inner_of(run.transport)):
        raise UsageError(f"{run.folder} holds an iterative model ({run.spec['family']}); this is for GANs and VAEs: {advice}.")


def _write_inversion(path: Path, space: Space, files: tuple[str, ...], x: Tensor, inversion: Inversion, zoom: int | None) -> None:
    import numpy as np

    from pushforward.files import replacing

    given, inverted = space.quantise(x), space.quantise(inversion.x)
    if path.suffix.lower() == ".png":
        gap = np.abs(given.astype(np.int16) - inverted).astype(np.uint8)
        return save_picture(enlarged(np.stack([given, inverted, gap], 1).reshape(-1, *given.shape[1:]), 3, zoom), path)
    arrays: dict[str, Any] = {"z": inversion.z.numpy(), "x": inverted, "error": inversion.error.numpy()}
    arrays |= {"files": np.array(files), **{name: part.numpy() for name, part in (inversion.condition or {}).items()}}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _inversion_table(r: dict[str, Any]) -> str:
    rows = [["image", "difference", "best random z", *r["images"][0]["condition"]]]
    for image in r["images"]:
        numbers = [f"{image['error']:.3f}", f"{image['error_of_random_z']:.3f}"]
        rows.append([image["file"], *numbers, *map(str, image["condition"].values())])
    return f"{columns(rows)}\ndifferences: RMS, in standard deviations of the data\n{r['out']}"


@app.command(group=INSPECT, sort_key=3)
def truncation(
    run: RunFolder,
    *,
    limits: EvaluationOption[str] = "0.25,0.5,0.75,1,1.5,2",
    n: Compared = None,
    repeats: Repeats = 3,
    seed: EvaluationOption[int] = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Score a GAN or VAE at several truncations of its noise.

    Truncation limits the size of every number of the noise z. Smaller limits give less varied samples, which look better down to
    a limit that depends on the model; `sample --truncation` draws at one. Example:
    `pushforward truncation runs/digits-gan --out curve.png`

    Args:
        limits: Largest sizes of any number of z, separated by commas.
        seed: Added to the seeds of all samplings.
        out: A .png of the curve; default: none is drawn.
    """
    from pushforward.data import ImageSpace
    from pushforward.evaluation.curves import truncation_curve, truncation_picture
    from pushforward.evaluation.models import data_of
    from pushforward.samples import check_target

    wanted = numbers("--limits", limits, limits.count(",") + 1, float)
    loaded, target = loaded_run(run, loading), None if out is None else Path(out)
    _check_one_call(loaded, "guidance makes its samples closer to a label: `sample --scale 2 --label LABEL`")
    if target is not None:
        if target.suffix.lower() != ".png":
            raise UsageError(f'The curve is drawn as a .png, not "{target}"; choose another --out. --json prints its numbers.')
        check_target(target, ImageSpace((1, 1, 1), (0.0,), (1.0,)), 1, overwrite)
    options: dict[str, Any] = {"repeats": repeats, "seed": seed, "batch": loading.batch, "tell": say}
    with precision_of(loading):
        curve = truncation_curve(loaded.transport, data_of(loaded), wanted, n, **options)
    if target is not None:
        save_picture(truncation_picture(curve), target)
    show({"out": out, **curve.to_plain()} if json else None, json, lambda _: _curve_table(curve, out))


def _curve_table(curve: TruncationCurve, out: str | None) -> str:
    names = [name for name in ("precision", "recall", "density", "coverage", "frechet") if name in curve.points[0].scores]
    rows = [["limit", *(curve.metrics[name].label for name in names)]]
    scored = [("none" if point.limit is None else f"{point.limit:g}", point.scores) for point in curve.points]
    for title, scores in [*scored, ("real data", curve.floors)]:
        spreads = [scores[name].spread for name in names]
        ends = ["" if spread is None else f" ± {spread:.2g}" for spread in spreads]
        rows.append([title, *(f"{scores[name].number:.3f}{end}" for name, end in zip(names, ends, strict=True))])
    settings = curve.settings
    footing = f"n = {settings.n} on either side, {settings.repeats} samplings; features: {settings.features}"
    return "\n".join([columns(rows), "", footing, *([out] if out else [])])
