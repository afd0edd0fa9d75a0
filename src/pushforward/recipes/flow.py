"""Flow matching on the straight path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from torch import nn

from pushforward.arguments import one_of
from pushforward.data import Space, TableSpace
from pushforward.denoisers import Denoiser
from pushforward.errors import UsageError
from pushforward.methods import Denoising, TeacherPairs, Trajectories
from pushforward.paths import Coupling, Independent, Linear, OptimalTransport, Source
from pushforward.recipes.choice import batch_size, denoising_network, denoising_training, flat, table_denoising, table_training
from pushforward.recipes.recipe import NETWORK, PATH, Recipe, on_space
from pushforward.recipes.students import times_for, trajectories_for
from pushforward.solvers import DPM, DPMSDE, UniPC
from pushforward.transports import Flow

COUPLINGS = ("independent", "ot", "reflow")


@on_space
def flow(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    coupling: Annotated[str, PATH] = "independent",
    reuse: Annotated[int, PATH] = 1,
    source: Annotated[str | Path | Source | None, PATH] = None,
    teacher: Flow | None = None,
    pairs: Annotated[int | None, PATH] = None,
    teacher_steps: Annotated[int | None, PATH] = None,
) -> Recipe:
    """Flow matching: regress the velocity z - x of the straight path; 25 steps of DPM-Solver++(2M), for tables 50 of its SDE.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module ``network(x, t, condition)``.
        coupling: independent; ot for minibatch optimal transport; or reflow, for noise with the sample that a teacher makes of
            it.
        reuse: Steps for which one batch and its transport plan are kept.
        source: A data set to start from instead of noise, by name or path; the flow then moves one set onto the other.
            Training starts from its training split, sampling from its held-out split.
        teacher: With the coupling reflow: a flow, ddpm or edm of the same data; the new flow starts from what its teacher starts
            from.
        pairs: How many pairs the teacher makes; the default is 16,384, or fewer where they would take more than 512 MB.
        teacher_steps: The steps of each; the default is 16, or 32 of a teacher that starts from other data than noise.

    References:
        Lipman et al., Flow Matching for Generative Modeling (2023); Tong et al. (2024) for the coupling; Esser et al., Stable
        Diffusion 3 (2024), section 3.1, for logit-normal times; Liu et al., Rectified Flow (2023), for reflow.
    """
    if one_of("coupling", coupling, COUPLINGS) == "ot" and any(name != "label" for name in space.conditions):
        raise UsageError(
            "The coupling ot pairs noise with data within classes; with other conditions it would tie noise to their values. "
            "Leave coupling out."
        )
    if isinstance(space, TableSpace):
        if coupling != "independent" or source is not None or teacher is not None:
            raise UsageError("A flow of a table of mixed types pairs rows with noise: leave coupling, source and teacher out.")
        # factors below 1, which columns that follow from others get, leave little of training to low noise
        rows = table_denoising(space, size, network, Linear(), "velocity", rate=0.0, solver=DPMSDE())
        return Recipe(rows, table_training(size, space, network), "flow", "flow matching")
    if source is not None and not isinstance(source, (str, Path, Source)):
        raise UsageError(
            f"source is a data set's name or path, or a pushforward.paths.couplings.Source, got a {type(source).__name__}. "
            "Save arrays as a .npy file."
        )
    start = Source(str(source), space) if isinstance(source, (str, Path)) else source
    if start is not None and start.space.shape != space.shape:
        raise UsageError(
            f"The source is made for data of shape {start.space.shape}, the flow for {space.shape}; they must agree."
        )
    couple: Coupling = OptimalTransport(batch_size(space), reuse, start) if coupling == "ot" else Independent(start)
    if coupling == "reflow" or teacher is not None:
        couple = _reflow(coupling, teacher, start, pairs, teacher_steps)
    net = denoising_network(space, size, network)
    # from other data than noise ways bend at both ends: UniPC at equal times errs less there
    solver, grid = (DPM(order=2), "shifted:0.3" if flat(space) else "time") if couple.source is None else (UniPC(), "time")
    method = Denoising(
        Denoiser(net, Linear(), "velocity", space, source=couple.source),
        couple=couple,
        # images lose their shape late, and it is their shape that is hard to learn: more of the training goes there
        times=times_for(space),
        solver=solver,
        steps=25,
        # the last step goes to the mean of the data: it must be short where structure is finer than pixels
        grid=grid,
    )
    return Recipe(method, denoising_training(space, net), "flow", "flow matching")


def _reflow(coupling: str, teacher: Flow | None, source: Source | None, pairs: int | None, steps: int | None) -> TeacherPairs:
    if teacher is None:
        raise UsageError("The coupling reflow pairs noise with samples of a trained flow, ddpm or edm: name it as `teacher`.")
    if coupling != "reflow":
        raise UsageError('Only the coupling reflow learns from a teacher: add `coupling="reflow"`, or leave `teacher` out.')
    if source is not None:
        raise UsageError("A reflow starts where its teacher starts: leave `source` out.")
    if not isinstance(teacher, Flow):
        raise UsageError(f"A reflow learns from a model that samples in steps, and this teacher is a {type(teacher).__name__}.")
    usual, grid = (16, None) if teacher.source is None else (32, "time")
    guide = teacher if teacher.solver.jumps else teacher.with_solver("unipc", usual if steps is None else steps, grid)
    number = pairs or trajectories_for(2, guide.space.size)
    return TeacherPairs(Trajectories(guide, number, ends=True))
