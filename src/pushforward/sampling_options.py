"""How a trained transport is sampled: its solver, steps and grid, guidance, thresholding and truncation, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from pushforward import solvers
from pushforward.arguments import whole
from pushforward.denoisers import AtScale, Autoguided, Guided, Predictor, Thresholded, trained
from pushforward.editing.interpolation import Truncated
from pushforward.errors import UsageError, did_you_mean
from pushforward.solvers import Solver
from pushforward.solvers.learned import LearnedTable
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner

Grids = Callable[[int, Solver], Sequence[float] | None]
"""From a number of steps and a solver to the N + 1 times that were learned for them; None where there are none."""
Tables = Callable[[int, Solver, Mapping[str, Any]], LearnedTable | None]
"""From a number of steps, a solver and the options of guidance to the table that was learned for them; None where none was."""


class Sampling(TypedDict, total=False):
    """The options of `configure`; an option that is absent or None leaves the transport unchanged.

    Args:
        steps: Solver steps of an iterative model.
        solver: A solver, or its name, such as "heun", "dpm:3" or "ddim:0.5".
        grid: Where the steps fall: a name of `pushforward.solvers.grids.GRIDS`, "learned", or the N + 1 falling times. "table"
            takes learned coefficients as well.
        truncation: The largest size of any number of a one-call model's z (`pushforward.editing.Truncated`).
        scale: The scale of classifier-free guidance: 1 is the conditional model. A student that was distilled with a range of
            scales takes one of them, and no more calls.
        interval: The noise levels sigma / alpha between which guidance acts, the lower first; None is everywhere.
        weaker: The predictor that autoguidance leads away from. `Run.sample` also takes a run or its folder.
        weaker_scale: The scale of autoguidance: 1 is the model itself; 2 where it is absent.
        threshold: The quantile of pixels by which predicted images are kept in range (`pushforward.denoisers.Thresholded`).
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


GUIDANCE = ("scale", "interval", "weaker", "weaker_scale", "threshold")
"""The options of guidance."""


def given_options(options: Sampling) -> dict[str, Any]:
    """The options that change something, by name.

    Raises:
        UsageError: For an option that `Sampling` does not have.
    """
    known = Sampling.__annotations__
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or ' Conditions are the second argument: run.sample(8, {"label": 3}).'
            raise UsageError(f'There is no option "{name}" of sampling; known: {", ".join(known)}.{hint}')
    return {name: value for name, value in options.items() if value is not None}


def configure(
    transport: Transport,
    *,
    grids: Grids | None = None,
    tables: Tables | None = None,
    name: str = "the transport",
    **options: Unpack[Sampling],
) -> Transport:
    """The transport with other sampling options; its weights are shared.

    A table that was learned for the number of steps and the guidance is used where ``steps`` is given without a grid. Where there
    is none, times that were learned for the steps are used, without guidance, which would invalidate them.

    Args:
        transport: A `Flow`, a `Map`, or a `Latent` of one of them.
        grids: Where learned times are looked up, such as `Run.learned_grid`.
        tables: Where learned tables are looked up, such as `Run.learned_table`.
        name: Of the transport in error messages.
        options: See `Sampling`.

    Raises:
        UsageError: For an option that this kind of transport does not have, or a value out of range.
    """
    given = given_options(options)
    if "truncation" in given:
        transport = _truncated(transport, given.pop("truncation"), name)
    if not given:
        return transport
    flow = inner_of(transport)
    if not has_steps(flow):
        listed = ", ".join(f"`{option}`" for option in given)
        raise UsageError(
            f"{listed}: {name} holds a model that makes a sample in one call, such as a VAE or a GAN. It takes no steps, so "
            "solvers, grids and guidance do not apply: leave these options out."
        )
    steps = whole("steps", given.get("steps", flow.steps), 1)
    solver = solvers.as_solver(given["solver"]) if "solver" in given else flow.solver
    denoiser, table = _guided(flow.denoiser, given), _table(given, solver, steps, tables, name)
    if table is not None:
        return with_inner(transport, Flow(denoiser, solver, steps, table.grid, table))
    return with_inner(transport, Flow(denoiser, solver, steps, _grid(flow, given, solver, steps, grids, name)))


def guidance_notes(transport: Transport) -> tuple[str, ...]:
    """What a reader of samples must know: a map between two times that has learned no guidance is guided nevertheless."""
    flow = inner_of(transport)
    denoiser = flow.denoiser if isinstance(flow, Flow) and flow.solver.jumps else None
    while denoiser is not None and not isinstance(denoiser, Guided):
        denoiser = getattr(denoiser, "denoiser", None)
    if denoiser is None or denoiser.scale == 1:
        return ()
    return (
        f"this map between two times has learned no guidance: a scale of {denoiser.scale:g} combines its jumps with and without "
        "conditions, at two calls each, and is not what its teacher does at that scale. Train it with a range of guidance to "
        "learn that.",
    )


def _truncated(transport: Transport, limit: float, name: str) -> Truncated:
    inner = inner_of(transport)
    if has_steps(inner):
        raise UsageError(
            f"`truncation`: {name} holds an iterative model ({type(inner).__name__}), and truncation is for one-call models. "
            "Guidance makes samples closer to their label and less varied: give `scale=2` and a `label`."
        )
    return Truncated(transport, limit)


def _table(given: dict[str, Any], solver: Solver, steps: int, tables: Tables | None, name: str) -> LearnedTable | None:
    by_name = given.get("grid") == "table"
    if not by_name and ("grid" in given or "steps" not in given):
        return None
    guidance = {option: given[option] for option in GUIDANCE if option in given}
    if "weaker" not in guidance and tables is not None:
        table = tables(steps, solver, guidance)
        if table is not None:
            return table
    if not by_name:
        return None
    if "weaker" in guidance:
        raise UsageError("A table is learned without guidance by a weaker model: leave out `weaker`, or take another `grid`.")
    raise _unlearned("table", name, steps, given, solver, guidance)


def _grid(
    flow: Flow, given: dict[str, Any], solver: Solver, steps: int, grids: Grids | None, name: str
) -> str | Sequence[float] | None:
    """The given grid; else the times learned for these steps; else the transport's own where it still fits."""
    grid = given.get("grid")
    unguided = not any(option in given for option in GUIDANCE)
    if grid == "learned" or (grid is None and "steps" in given and unguided):
        times = None if grids is None else grids(steps, solver)
        if times is not None:
            return times
        if grid == "learned":
            raise _unlearned("grid", name, steps, given, solver)
    if grid is not None:
        return grid
    fits = isinstance(flow.grid, str) or steps == flow.steps
    return flow.grid if fits and "solver" not in given else None


def _unlearned(
    what: str, name: str, steps: int, given: Mapping[str, Any], solver: Solver, guidance: Mapping[str, Any] | None = None
) -> UsageError:
    learn = tuning(name, steps, "dpm" if solver.stochastic else given.get("solver"), guidance)
    return UsageError(f"{name} has no {what} learned for {steps} steps of {type(solver).__name__}. Learn it: {learn}")


def tuning(name: str, steps: int, solver: Solver | str | None, guidance: Mapping[str, Any] | None = None) -> str:
    """The command that learns a grid or, where guidance is given, if only an empty one, a table."""
    chosen = solver if isinstance(solver, str) or solver is None else type(solver).__name__.lower()
    words = [f"pushforward tune {name}", *([] if guidance is None else ["--what table"]), f"--steps {steps}"]
    words += [] if chosen is None else [f"--solver {chosen}"]
    for option, value in (guidance or {}).items():
        words.append(f"--{option} {value[0]:g}:{value[1]:g}" if option == "interval" else f"--{option} {value:g}")
    return " ".join(words)


def _guided(denoiser: Predictor, given: dict[str, Any]) -> Predictor:
    if "interval" in given and "scale" not in given and "weaker" not in given:
        raise UsageError("`interval` limits where guidance acts: give `scale` or `weaker` as well.")
    if "weaker_scale" in given and "weaker" not in given:
        raise UsageError("`weaker_scale` needs the run that guidance leads away from: `weaker=RUN`.")
    interval = given.get("interval")
    if "scale" in given:
        denoiser = _scaled(denoiser, given["scale"], interval)
    if "weaker" in given:
        denoiser = Autoguided(denoiser, given["weaker"], given.get("weaker_scale", 2.0), interval)
    return Thresholded(denoiser, given["threshold"]) if "threshold" in given else denoiser


def _scaled(denoiser: Predictor, scale: float, interval: tuple[float, float] | None) -> Predictor:
    inner = trained(denoiser)
    if inner is None or inner.preconditioning.guidance is None:
        return Guided(denoiser, scale, interval)
    if interval is not None:
        raise UsageError("This map has learned guidance at all noise levels: leave `interval` out.")
    return AtScale(denoiser, scale)
