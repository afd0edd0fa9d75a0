"""Flow matching on the straight path."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import Space
from pushforward.denoisers import Denoiser
from pushforward.errors import UsageError
from pushforward.methods import Denoising, TeacherPairs, Trajectories
from pushforward.paths import (
    Coupling,
    Independent,
    Linear,
    LogitNormal,
    OptimalTransport,
    Source,
    Stratified,
    Times,
    Uniform,
)
from pushforward.recipes.defaults import batch_size, denoising_network, denoising_training, flat
from pushforward.recipes.recipe import NetworkOption, PathOption, Recipe, on_space
from pushforward.solvers import DPM, Solver, UniPC
from pushforward.transports import Flow

# Maximum memory of stored trajectories by default, in bytes, and their maximum number
MEMORY = 512 * 2**20
MOST = 16_384


def times_for(space: Space) -> Times:
    """Choose the distribution of training times: later for images, whose structure is lost last."""
    if flat(space):
        return Stratified(Uniform())
    return Stratified(LogitNormal(0.8, 1.4))


def trajectories_for(states: int, size: int, given: int | None = None) -> int:
    """Choose the number of stored trajectories; by default limited by memory."""
    most = max(64, min(MOST, MEMORY // (2 * states * size)))
    if given is None:
        return most
    return whole("trajectories", given, 1)


@on_space
def flow(
    space: Space,
    size: str = "small",
    *,
    network: NetworkOption[str | nn.Module] = "auto",
    coupling: PathOption[str] = "independent",
    source: PathOption[str | Path | Source | None] = None,
    teacher: Flow | None = None,
    pairs: PathOption[int | None] = None,
    teacher_steps: PathOption[int | None] = None,
) -> Recipe:
    """Flow matching: regresses the velocity z - x of the straight path; 25 DPM-Solver++(2M) steps.

    Models of tables take 50 SDE steps.

    Args:
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module
            ``network(x, t, condition)``.
        coupling: Pairing of noise and data: independent; ot for minibatch optimal transport; or
            reflow for noise with a teacher's sample from this noise.
        source: Data set to start from instead of noise, by name or path. Training uses its training
            split, sampling its held-out split.
        teacher: Teacher for the coupling reflow: a flow, ddpm or edm of the same data.
        pairs: Number of pairs from the teacher; the default is 16,384, or fewer if they would take
            more than 512 MB.
        teacher_steps: Number of steps per pair; the default is 16, or 32 for a teacher that starts
            from data instead of noise.

    References:
        Lipman et al., Flow Matching for Generative Modeling (2023); Tong et al. (2024) for the
        coupling; Esser et al., Stable Diffusion 3 (2024), section 3.1, for logit-normal times;
        Liu et al., Rectified Flow (2023), for reflow.
    """
    one_of("coupling", coupling, ("independent", "ot", "reflow"))
    if source is not None and not isinstance(source, Source):
        source = Source(str(source), space)
    couple: Coupling
    if coupling == "reflow" or teacher is not None:
        couple = _reflow(coupling, teacher, source, pairs, teacher_steps)
    elif coupling == "ot":
        couple = OptimalTransport(batch_size(space), source)
    else:
        couple = Independent(source)
    net = denoising_network(space, size, network)
    solver: Solver = DPM(order=2)
    grid = "time"
    if couple.source is not None:
        # trajectories from other data bend at both ends, where UniPC errs less
        solver = UniPC()
    elif flat(space):
        # the last step jumps to the mean of the data, which is coarse where structure is fine
        grid = "shifted:0.3"
    method = Denoising(
        Denoiser(net, Linear(), "velocity", space, source=couple.source),
        couple=couple,
        times=times_for(space),
        solver=solver,
        steps=25,
        grid=grid,
    )
    return Recipe(method, denoising_training(space, net), "flow", "flow matching")


def _reflow(
    coupling: str, teacher: Flow | None, source: Source | None, pairs: int | None, steps: int | None
) -> TeacherPairs:
    if teacher is None or coupling != "reflow" or source is not None:
        raise UsageError(
            "The coupling reflow learns from a trained flow, ddpm or edm, and starts like it. "
            'Pass `coupling="reflow"` and `teacher`, without `source`.'
        )
    guide = teacher
    if not teacher.solver.jumps:
        from_data = teacher.source is not None
        usual = 16
        grid = None
        if from_data:
            usual = 32
            grid = "time"
        guide = teacher.with_solver("unipc", steps or usual, grid)
    count = pairs or trajectories_for(2, guide.space.size)
    return TeacherPairs(Trajectories(guide, count, ends=True))
