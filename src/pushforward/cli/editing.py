"""The verbs that edit with a model of any kind: interpolate, vary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.advice import as_options
from pushforward.cli.groups import (
    AS_IT_IS,
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
    N,
    Placing,
    Resize,
    RunFolder,
    Seed,
    Solving,
)
from pushforward.cli.latent_space import coder_of, show_latent_space
from pushforward.cli.sampling import (
    check_images,
    configured_run,
    draw_edited,
    edit_target,
    editing_condition,
    image_of,
    precision_of,
    target_of,
)
from pushforward.cli.terminal import app, say, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.training import Run

__all__ = ["interpolate", "vary"]

_OUT = Parameter(group=OUTPUT, help=".png (grid), no ending (folder of PNGs), or .npz.")


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
    given: Given = None,
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
    from pushforward.outputs import frames_to

    files, pair = _ends(start, end, seeds, frames)
    _check_shown(show_, groups, {"--from": start, "--to": end, "--seeds": seeds, "--label": label, "--given": given})
    loaded = configured_run(run, loading, solving, guiding)
    if show_ != "between":
        show_latent_space(loaded, show_, groups, frames, out, placing, json)
        return
    stem = f"seeds{pair[0]}-{pair[1]}" if files is None else f"{Path(files[0]).stem}-{Path(files[1]).stem}"
    target = target_of(loaded, out, f"interpolate-{stem}", frames, placing)
    condition = editing_condition(loaded, label, given, guiding, needed=files is not None)
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
    given: Given = None,
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
        strength: Share of the solver's steps that are run again, or of the noise in z: small is nearly the image, 1 a new sample.
        label: A class by number or name; default: without one, or for a one-call model the one that fits best. A model in the
            latent space of an autoencoder that receives labels needs one.
    """
    from pushforward.editing import variations

    loaded = configured_run(run, loading, solving, guiding)
    check_images(loaded)
    target = edit_target(loaded, out, f"vary-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = editing_condition(loaded, label, given, guiding)
    x = image_of(loaded.space, image, resize)
    with precision_of(loading):
        varied, used = variations(loaded.transport, x, strength, condition, batch=loading.batch, events=_event)
        result = draw_edited(varied, used, n, seed, loading.batch, target, placing)
    show(result | {"strength": strength}, json, lambda r: r["out"])


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
        raise UsageError(f"--show {what} draws held-out examples: leave {', '.join(given)} out.")


def _frames(
    run: Run,
    files: tuple[str, str] | None,
    pair: tuple[int, int],
    resize: bool,
    frames: int,
    condition: dict[str, float] | None,
    options: dict[str, Any],
) -> tuple[Tensor, dict[str, Any]]:
    """The frames between two images or two seeds, and what is reported of them."""
    from pushforward import editing
    from pushforward.transports import has_steps, inner_of

    transport = run.transport
    if files is None:
        return editing.interpolate_seeds(transport, *pair, frames, condition, **options), {"seeds": list(pair)}
    check_images(run)
    first, last = (image_of(run.space, file, resize) for file in files)
    x = editing.between(transport, (first, last), frames, condition, autoencoder=coder_of(run), events=_event, **options)
    errors = [float((frame - image).square().mean().sqrt()) for frame, image in ((x[0], first), (x[-1], last))]
    better = "; more --steps help" if has_steps(inner_of(transport)) else ""
    say(f"the ends differ from the images by {errors[0]:.3f} and {errors[1]:.3f} (RMS, range 1){better}")
    return x, {"end_errors": errors}


def _pair(text: str) -> tuple[int, int]:
    try:
        first, second = (int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f'--seeds takes two whole numbers, such as 0,1; got "{text}".') from None
    return first, second
