"""The verbs that make data from a part of itself: inpaint, upscale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

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
from pushforward.cli.sampling import (
    check_images,
    configured_run,
    draw_edited,
    edit_target,
    editing_condition,
    image_of,
    precision_of,
)
from pushforward.cli.terminal import app, show
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data import Space
    from pushforward.training import Run
    from pushforward.transports import Transport

__all__ = ["inpaint", "upscale"]

_FILLED_FROM = 128
_OUT = Parameter(group=OUTPUT, help=".png (grid), no ending (folder of PNGs), or .npz.")
Rounds = Annotated[int | None, Parameter(group=SAMPLES, help="Repeats of every step: more fit better and cost more; default 5.")]


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
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, _OUT] = None,
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
        box: What is filled, in place of a mask: top,left,bottom,right in pixels of the model's images, the last two not included.
        label: A class by number or name; default: without one.
    """
    from pushforward.editing import edited_condition, inpainting

    if (mask is None) == (box is None):
        raise UsageError("Say what to fill: --mask MASK.png (white is filled) or --box top,left,bottom,right.")
    loaded = configured_run(run, loading, solving, guiding)
    _check_editable(loaded)
    target = edit_target(loaded, out, f"inpaint-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = edited_condition(loaded.transport, editing_condition(loaded, label, given, guiding))
    x = image_of(loaded.space, image, resize)
    holes = _box(loaded.space, box) if box is not None else _mask(loaded.space, str(mask), resize)
    filling = inpainting(loaded.transport, x, holes, **_choices(loaded.transport, solving, rounds))
    with precision_of(loading):
        result = draw_edited(filling, condition, n, seed, loading.batch, target, placing)
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
    given: Given = None,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    out: Annotated[str | None, _OUT] = None,
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
    from pushforward.editing import edited_condition, super_resolution

    loaded = configured_run(run, loading, solving, guiding)
    _check_editable(loaded)
    target = edit_target(loaded, out, f"upscale-{Path(image).stem}-seed{seed}-n{n}", n, placing)
    condition = edited_condition(loaded.transport, editing_condition(loaded, label, given, guiding))
    low = _small(loaded.space, image)
    enlarging = super_resolution(loaded.transport, low, **_choices(loaded.transport, solving, rounds))
    with precision_of(loading):
        result = draw_edited(enlarging, condition, n, seed, loading.batch, target, placing)
    show(result | {"factor": loaded.space.shape[1] // low.shape[1]}, json, lambda r: r["out"])


def _choices(transport: Transport, solving: Solving, rounds: int | None) -> dict[str, Any]:
    """The solver, where one was asked for, and the rounds."""
    from pushforward.transports import has_steps

    if rounds is not None and rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {rounds}.")
    solver = transport.solver if has_steps(transport) and solving.solver is not None else None
    return {"solver": solver} | ({} if rounds is None else {"rounds": rounds})


def _check_editable(run: Run) -> None:
    from pushforward.transports import Latent, has_steps

    if isinstance(run.transport, Latent):
        raise UsageError(
            f"{run.folder} holds a model in a latent space, whose noise levels are of codes and not of pixels: it cannot keep "
            "part of an image as it is. Use a model of pixels; `pushforward vary` and `interpolate` take every model."
        )
    if not has_steps(run.transport):
        raise UsageError(
            f"{run.folder} holds a one-call model ({run.spec['family']}): it has no noise levels, so it cannot fill or enlarge "
            "an image. Use a diffusion or flow model; `pushforward vary` and `interpolate` take every model."
        )
    check_images(run)


def _small(space: Space, file: str) -> Tensor:
    """An image file smaller than the model's images by a whole factor, (C, H / f, W / f) in [0, 1]."""
    import torch

    from pushforward.data.images.image_set import read_image

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
