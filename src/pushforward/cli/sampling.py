"""What the verbs share that draw from a run: how it is loaded, solved and guided, and where its samples go."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from pushforward.cli.options import check_plugins, device_of
from pushforward.cli.terminal import Flag, Plugins, Precision, say
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pushforward.data import Space
    from pushforward.solvers import Solver
    from pushforward.training import Run
    from pushforward.transports import Flow, Transport

__all__ = [
    "AS_IT_IS",
    "NEWEST",
    "UNGUIDED",
    "Guiding",
    "Loading",
    "Solving",
    "free_name",
    "image_of",
    "loaded_run",
    "precision_of",
    "transport_of",
    "weaker_run",
]


@Parameter(name="*")
@dataclass(frozen=True)
class Solving:
    """How z becomes a sample: the solver of an iterative model, the truncation of a one-call one. None leaves it as it is.

    Args:
        steps: Solver steps of an iterative model.
        solver: One of `pushforward list solvers`; dpm:3 and ddim:0.5 set its number.
        grid: Where the steps fall: time, log_snr, karras, shifted, shifted:1.5, or learned (by `pushforward tune`).
        truncation: Keep every number of a one-call model's z within this limit, such as 1.5; see `pushforward truncation`.
    """

    steps: int | None = None
    solver: str | None = None
    grid: str | None = None
    truncation: float | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Guiding:
    """How an iterative model is guided; None is not at all.

    Args:
        scale: Guidance: 1 is the conditional model, more is truer to the label and less varied.
        interval: Noise levels sigma/alpha between which guidance acts, such as 0.2:5; default everywhere.
        weaker: A run to be guided away from, such as runs/earlier or runs/earlier@step_000500.
        weaker_scale: How far: 1 is not at all; default 2.
        threshold: Hold predicted images within their range by this share of pixels, such as 0.995.
    """

    scale: float | None = None
    interval: str | None = None
    weaker: str | None = None
    weaker_scale: float | None = None
    threshold: float | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Loading:
    """Which weights of a run are used, and how they are computed with.

    Args:
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
        plugin: The Python file that the run was trained with.
        batch: Rows computed at a time.
        device: auto, cpu, cuda or cuda:1.
        precision: auto, float32 or bfloat16.
    """

    raw: Flag = False
    checkpoint: str | None = None
    plugin: Plugins = ()
    batch: int = 256
    device: str = "auto"
    precision: Precision = "float32"


AS_IT_IS, UNGUIDED, NEWEST = Solving(), Guiding(), Loading()


def loaded_run(run: str, loading: Loading) -> Run:
    """The run with the weights that were asked for, on its device."""
    from pushforward.training import load

    where = device_of(loading.device)
    check_plugins(loading.plugin)
    return load(run, raw=loading.raw, checkpoint=loading.checkpoint, plugins=loading.plugin, device=where)


def precision_of(loading: Loading) -> AbstractContextManager[Any]:
    """The precision of network calls, as a context."""
    from pushforward.precision import network_precision, resolve_precision

    return network_precision(resolve_precision(loading.precision, device_of(loading.device)))


def transport_of(run: Run, solving: Solving = AS_IT_IS, guiding: Guiding = UNGUIDED, loading: Loading = NEWEST) -> Transport:
    """The run's transport with what the command line changes of its solver, guidance or truncation.

    Raises:
        UsageError: For options that a one-call model does not have, or an iterative one, or that cannot be.
    """
    from pushforward import solvers
    from pushforward.transports import Flow, inner_of, with_inner

    made = run.transport
    if solving.truncation is not None:
        made, solving = _truncated(run, solving.truncation), dataclasses.replace(solving, truncation=None)
    given = [*_given(solving), *_given(guiding)]
    if not given:
        return made
    flow = inner_of(made)
    if not isinstance(flow, Flow):
        raise UsageError(f"{', '.join(given)}: {run.folder} holds a one-call model ({run.spec['family']}), which has no solver.")
    steps = flow.steps if solving.steps is None else solving.steps
    if steps < 1:
        raise UsageError("--steps must be at least 1.")
    chosen = solvers.named(solving.solver) if solving.solver else flow.solver
    grid = _grid(run, flow, solving, chosen, steps, guided=bool(_given(guiding)))
    return with_inner(made, Flow(_guided(flow.denoiser, guiding, loading), chosen, steps, grid))


def _truncated(run: Run, limit: float) -> Transport:
    from pushforward.latents import Truncated
    from pushforward.transports import Flow, inner_of

    if isinstance(inner_of(run.transport), Flow):
        raise UsageError(
            f"--truncation: {run.folder} holds an iterative model ({run.spec['family']}), and truncation is for one-call models. "
            "Guidance makes its samples truer and less varied: --scale 2 --label LABEL."
        )
    return Truncated(run.transport, limit)


def _given(options: Solving | Guiding) -> list[str]:
    """The options that were set, as they are typed."""
    return [f"--{name.replace('_', '-')}" for name, value in dataclasses.asdict(options).items() if value is not None]


def _grid(run: Run, made: Flow, solving: Solving, solver: Solver, steps: int, guided: bool) -> str | Sequence[float] | None:
    """The grid that was asked for; else one learned for these steps, which guidance would invalidate; else the run's own."""
    forced = solving.grid == "learned"
    if forced or (solving.grid is None and solving.steps is not None and not guided):
        times = run.learned_grid(steps, solver)
        if times is not None:
            say(f"steps fall where `pushforward tune` learned them for {steps} steps of {type(solver).__name__}")
            return times
        if forced:
            chosen = f" --solver {solving.solver}" if solving.solver else ""
            raise UsageError(
                f"{run.folder} has no grid learned for {steps} steps of {type(solver).__name__}. Learn one: "
                f"pushforward tune {run.folder} --steps {steps}{chosen}"
            )
    if solving.grid is not None:
        return solving.grid
    kept = isinstance(made.grid, str) or steps == made.steps
    return made.grid if kept and solving.solver is None else None


def _guided(denoiser: Any, guiding: Guiding, loading: Loading) -> Any:
    from pushforward.guidance import Autoguided, Guided, Thresholded

    if guiding.interval is not None and guiding.scale is None and guiding.weaker is None:
        raise UsageError("--interval says where guidance acts: give --scale or --weaker as well.")
    if guiding.weaker_scale is not None and guiding.weaker is None:
        raise UsageError("--weaker-scale needs the run to be guided away from: --weaker RUN.")
    interval = _interval(guiding.interval)
    if guiding.scale is not None:
        denoiser = Guided(denoiser, guiding.scale, interval)
    if guiding.weaker is not None:
        weaker = _weaker(guiding.weaker, loading)
        denoiser = Autoguided(denoiser, weaker, 2.0 if guiding.weaker_scale is None else guiding.weaker_scale, interval)
    return denoiser if guiding.threshold is None else Thresholded(denoiser, guiding.threshold)


def _interval(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise UsageError(f'--interval takes two noise levels sigma/alpha, such as 0.2:5; got "{text}".') from None


def _weaker(text: str, loading: Loading) -> Any:
    """The denoiser of RUN or RUN@CHECKPOINT."""
    folder, checkpoint = weaker_run(text)
    return loaded_run(folder, dataclasses.replace(loading, checkpoint=checkpoint)).denoiser


def weaker_run(text: str) -> tuple[str, str | None]:
    """The folder and the checkpoint of RUN or RUN@CHECKPOINT."""
    folder, _, checkpoint = (text, "", "") if Path(text).is_dir() else text.partition("@")
    return folder, checkpoint or None


def free_name(run: Run, stem: str, ending: str | None = None) -> Path:
    """A file in the run's ``samples`` folder whose name is not taken."""
    ending, number = ending or ("png" if run.space.kind == "image" else "csv"), 1
    path = run.folder / "samples" / f"{stem}.{ending}"
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}-{number}.{ending}")
    return path


def image_of(space: Space, file: str, resize: bool, channels: int | None = None) -> Tensor:
    """An image file of the model's size, (channels, H, W) in [0, 1]; with the model's channels unless others are named."""
    import torch

    from pushforward.data.images import read_image

    height, width = space.shape[1:]
    pixels = read_image(Path(file), channels or space.shape[0], (height, width) if resize else None)
    if pixels.shape[1:] != (height, width):
        raise UsageError(
            f"{file} is {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width), and the model makes {height} x {width}. "
            "Add --resize to scale and crop it."
        )
    return torch.from_numpy(pixels).float() / 255
