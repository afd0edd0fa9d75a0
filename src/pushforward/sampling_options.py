"""Sampling options: solver, guidance and conditions of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack
from warnings import warn

import torch

from pushforward import solvers
from pushforward.arguments import given_in, refuse_unknown, whole
from pushforward.conditions.kind import names_of
from pushforward.data import Space
from pushforward.denoisers import AtScale, Autoguided, Guided, Thresholded
from pushforward.denoisers.denoiser import Predictor, trained_denoiser
from pushforward.errors import UsageError
from pushforward.numbers import plural
from pushforward.solvers import Solver
from pushforward.transports import ConditionLike, Flow, Transport, has_steps, inner_of, with_inner

# From a number of steps and a solver to the N + 1 times that were learned for them; None where
# there are none
Grids = Callable[[int, Solver], Sequence[float] | None]


class Sampling(TypedDict, total=False):
    """Sampling options; a missing option or None leaves the transport unchanged.

    Args:
        steps: Number of solver steps of an iterative model.
        solver: Solver, or its name, such as "heun", "dpm:3" or "ddim:0.5".
        grid: Time grid: a name in `pushforward.solvers.solver.GRIDS`, "learned", or N + 1 falling
            times.
        truncation: Largest absolute value of entries of a one-call model's z
            (`pushforward.editing.Truncated`).
        scale: Classifier-free guidance scale: 1 is the conditional model. A student distilled with
            a range of scales supports scales in this range without additional calls.
        interval: Noise levels sigma / alpha between which guidance acts, the lower first; None for
            all.
        weaker: Weaker predictor for autoguidance. `Run.sample` also takes a run or its folder.
        weaker_scale: Autoguidance scale: 1 is the model itself; 2 by default.
        threshold: Quantile of pixels for keeping predicted images in range
            (`pushforward.denoisers.Thresholded`).
    """

    steps: int | None
    solver: Solver | str | None
    grid: str | Sequence[float] | None
    truncation: float | None
    scale: float | None
    interval: tuple[float, float] | None
    weaker: Any
    weaker_scale: float | None
    threshold: float | None


GUIDANCE = ("scale", "interval", "weaker", "weaker_scale", "threshold")  # The options of guidance


def given_options(options: Sampling, also: Sequence[str] = ()) -> dict[str, Any]:
    """Return the options that change something, by name; ``also`` names other known arguments.

    Raises:
        UsageError: If `Sampling` does not have an option.
    """
    refuse_unknown(options, Sampling, "sample", also=also)
    return given_in(options)


def with_conditions(
    condition: ConditionLike, options: Mapping[str, Any], space: Space
) -> tuple[ConditionLike, Any]:
    """Move keyword arguments that are conditions, or columns of the data, to a condition.

    Returns:
        The condition, and the arguments that are left.
    """
    names = {"given", *space.conditions, *names_of(space.conditions), *space.names, *space.columns}
    names |= {str(getattr(kind, "target", "")) for kind in space.conditions.values()}
    named = names & options.keys() - Sampling.__annotations__.keys()
    for name in named:
        value = options[name]
        if value is None and name in space.names:
            value = ""  # a missing cell
        if isinstance(value, Mapping):
            condition = {**(condition or {}), **value}
        elif value is not None:
            condition = {**(condition or {}), name: value}
    sampling = {name: value for name, value in options.items() if name not in named}
    known = ("n", "condition", "seed", "batch", *names_of(space.conditions))
    return condition, given_options(sampling, known)  # type: ignore[arg-type]


def seed_of(generator: torch.Generator, seed: int) -> int:
    """Return the initial seed of a generator, with a warning."""
    if seed or not isinstance(generator, torch.Generator):
        raise UsageError("Pass either `seed` or `generator`, which must be a torch.Generator.")
    seed = generator.initial_seed()
    warn(
        "Sample i depends only on seed + i. The generator's initial seed is used, "
        f"as with seed={seed}.",
        stacklevel=3,
    )
    return seed


def configure(
    transport: Transport,
    *,
    grids: Grids | None = None,
    name: str = "the transport",
    **options: Unpack[Sampling],
) -> Transport:
    """Return the transport with other sampling options and shared weights.

    If ``steps`` is given without a grid and without guidance, learned times are used.

    Args:
        transport: A `Flow`, a `Map`, or a `Latent` of a `Flow` or `Map`.
        grids: Function that looks up learned times, such as `Run.learned_grid`.

    Raises:
        UsageError: If this kind of transport does not support an option, or a value is out of
            range.
    """
    given = given_options(options)
    if "truncation" in given:
        inner = inner_of(transport)
        if has_steps(inner):
            raise UsageError(
                f"Truncation only supports one-call models; {name} is an iterative model "
                f"({type(inner).__name__}). For samples that are closer to their label, use "
                "guidance: `scale=2` with a `label`."
            )
        from pushforward.editing import Truncated

        transport = Truncated(transport, given.pop("truncation"))
    if not given:
        return transport
    flow = inner_of(transport)
    if not has_steps(flow):
        listed = ", ".join(f"`{option}`" for option in given)
        raise UsageError(
            f"{name} samples in one call (like a VAE or GAN) and does not support steps, solvers, "
            f"grids or guidance. Leave out {listed}."
        )
    steps = whole("steps", given.get("steps", flow.steps), 1)
    solver = solvers.as_solver(given["solver"]) if "solver" in given else flow.solver
    if flow.solver.jumps and not solver.jumps and "steps" not in given:
        raise UsageError(
            f"{name} jumps to the data in {plural(flow.steps, 'step')}, but "
            f"`solver={given['solver']}` needs more. Pass `steps` as well, such as `steps=8`."
        )
    denoiser = _guided(flow.denoiser, given)
    grid = _grid(flow, given, solver, steps, grids, name)
    return with_inner(transport, Flow(denoiser, solver, steps, grid))


def _grid(
    flow: Flow, given: dict[str, Any], solver: Solver, steps: int, grids: Grids | None, name: str
) -> str | Sequence[float] | None:
    grid = given.get("grid")
    unguided = not any(option in given for option in GUIDANCE)
    if grid == "learned" or (grid is None and "steps" in given and unguided):
        times = None if grids is None else grids(steps, solver)
        if times is not None:
            return times
        if grid == "learned":
            learned = "dpm" if solver.stochastic else given.get("solver")
            raise UsageError(
                f"{name} has no grid learned for {steps} steps of {type(solver).__name__} with "
                f"these weights. To learn one: {tuning(name, steps, learned)}"
            )
    if grid is None:
        return flow.grid_for(solver, steps)
    return grid


def tuning(name: str, steps: int, solver: Solver | str | None) -> str:
    """Return the command that learns a time grid."""
    command = f"pushforward tune {name} --steps {steps}"
    if solver is None:
        return command
    if not isinstance(solver, str):
        solver = type(solver).__name__.lower()
    return f"{command} --solver {solver}"


def _guided(denoiser: Predictor, given: dict[str, Any]) -> Predictor:
    interval = given.get("interval")
    if interval is not None and "scale" not in given and "weaker" not in given:
        raise UsageError("`interval` limits where guidance acts. Pass `scale` or `weaker` as well.")
    if "weaker_scale" in given and "weaker" not in given:
        raise UsageError("`weaker_scale` needs a weaker run for guidance: `weaker=RUN`.")
    if "scale" in given:
        inner = trained_denoiser(denoiser)
        if inner is None or inner.preconditioning.guidance is None:
            if isinstance(denoiser, Guided):  # its scale is replaced
                interval = interval or denoiser.interval
                denoiser = denoiser.denoiser
            denoiser = Guided(denoiser, given["scale"], interval)
        elif interval is None:
            denoiser = AtScale(denoiser, given["scale"])
        else:
            raise UsageError(
                "This map was distilled with guidance at all noise levels. Leave out `interval`."
            )
    if "weaker" in given:
        denoiser = Autoguided(denoiser, given["weaker"], given.get("weaker_scale", 2.0), interval)
    if "threshold" in given:
        return Thresholded(denoiser, given["threshold"])
    return denoiser
