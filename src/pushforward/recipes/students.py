"""Maps between two times before their training: new ones, and students of a flow or of a table's denoiser."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data import Space, TableSpace
from pushforward.denoisers import Denoiser, FlowMap, MapSampling, Preconditioning, TableDenoiser
from pushforward.errors import UsageError
from pushforward.methods import Trajectories
from pushforward.methods.distillation import TableDistillation
from pushforward.networks import ColumnTransformer
from pushforward.networks.embedding import with_second_time
from pushforward.paths import Linear, LogitNormal, Stratified, Times, Uniform
from pushforward.recipes.choice import denoising_network, flat, table_training
from pushforward.recipes.recipe import Recipe
from pushforward.solvers import grids
from pushforward.transports import Flow

D = TypeVar("D", bound=Denoiser)

# Bytes that stored trajectories take at most by default, and how many there are at most
MEMORY, MOST = 512 * 2**20, 16_384

NO_JUMPS = (
    "Models of tables cannot be trained as a shortcut, consistency, meanflow or dmd model: such a model learns its jumps by "
    "squared error, and the mean of two categories is no category. Train a flow and distil it: `pushforward train flow --data "
    "FILE`, then `pushforward distil RUN`. Or train a gan or a vae, which take one call."
)


def new_map(space: Space, size: str, network: str | nn.Module) -> FlowMap:
    """A map on the straight path with random weights, whose network puts out the mean velocity.

    ``network`` is auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape (n, 2).

    Raises:
        UsageError: For tables.
    """
    if isinstance(space, TableSpace):
        raise UsageError(NO_JUMPS)
    return FlowMap(denoising_network(space, size, network, times=2), Linear(), "velocity", space)


def times_for(space: Space) -> Times:
    """The law of training times that suits data: later for images, whose shape is hard to learn and is lost late."""
    return Stratified(Uniform() if flat(space) else LogitNormal(0.8, 1.4))


def student_of(teacher: Denoiser, unconditional: bool | None = None, guidance: Sequence[float] | None = None) -> FlowMap:
    """A map between two times on the straight path that starts as a denoiser, whatever its path.

    Its network is the teacher's with a second time. At a time of the straight path it receives what the teacher's network
    receives at the same log-SNR: the input is scaled to the same size, and the new embedding of time absorbs the difference
    of the two times. A student of a flow from a source of data starts from the same source.

    Args:
        teacher: A trained denoiser, without guidance.
        unconditional: Whether the student has an unconditional branch; None for the teacher's.
        guidance: The range of scales of guidance that it receives as a third time, which has no effect at first.

    Raises:
        UsageError: For a denoiser whose network takes no second time, or whose network's input or output depends on its path.
    """
    if isinstance(teacher, TableDenoiser):
        raise UsageError(NO_JUMPS)
    path = teacher.path
    straight = path if isinstance(path, Linear) else teacher.on(Linear()).path
    moved = not isinstance(path, Linear)
    if moved and (teacher.output in ("velocity", "score") or not teacher.preconditioning.scale_input):
        raise UsageError(
            f"The network of this model puts out the {teacher.output} of its own path ({type(path).__name__}). Distillation "
            "needs one that puts out data, noise or v from an input of unit variance, or one on the straight path."
        )

    def received(t: Tensor) -> Tensor:
        there = path.time(straight.log_snr(t)).clamp(*path.ends) if moved else t
        return teacher.time(there)

    network = with_second_time(teacher.network, straight.ends, received, 2 if guidance is None else 3)
    pre = Preconditioning(teacher.preconditioning.scale_input, "t", teacher.output, guidance)
    known = teacher.unconditional if unconditional is None else unconditional
    options: Any = {"preconditioning": pre, "unconditional": known, "sampling": MapSampling(jump_grid(teacher.space))}
    return FlowMap(network, straight, "velocity", teacher.space, source=teacher.source, **options)


def student_of_table(teacher: TableDenoiser) -> TableDenoiser:
    """A map between two times on the straight path that starts as a denoiser of a table, whatever its path; see `student_of`.

    Raises:
        UsageError: For a denoiser whose network takes no second time.
    """
    path = teacher.path
    straight = path if isinstance(path, Linear) else teacher.on(Linear()).path

    def received(t: Tensor) -> Tensor:
        moved = t if isinstance(path, Linear) else path.time(straight.log_snr(t)).clamp(*path.ends)
        return teacher.time(moved)

    network = with_second_time(teacher.network, straight.ends, received)
    options: Any = {"unconditional": teacher.unconditional, "waves": teacher.waves}
    sampling = MapSampling(jump_grid(teacher.table))
    student = TableDenoiser(network, straight, "velocity", teacher.table, clock="t", sampling=sampling, **options)
    student.shift.copy_(teacher.shift)
    return student


def jump_grid(space: Space) -> str:
    """The grid of a teacher's trajectories and of its student's jumps.

    For larger images it is shifted towards noise: UniPC errs half as much there as at equal times.
    """
    return "time" if flat(space) else "shifted:2"


def times_of_jumps(teacher: Denoiser, steps: int) -> str | list[float]:
    """The grid on which a teacher has the log-SNRs where its student's jumps in so many steps begin: a name, or falling times."""
    if isinstance(teacher.path, Linear):
        return jump_grid(teacher.space)
    straight = teacher.on(Linear()).path
    jumps = torch.from_numpy(grids.times(jump_grid(teacher.space), straight, steps)[:-1])
    return [*teacher.path.time(straight.log_snr(jumps)).clamp(*teacher.path.ends).tolist(), 0.0]


def trajectories_for(states: int, size: int) -> int:
    """How many trajectories are stored by default, each of so many states of so many numbers."""
    return max(64, min(MOST, MEMORY // (2 * states * size)))


def copy_of(denoiser: D) -> D:
    """A copy of a denoiser, or of a map between two times, whose weights can be trained."""
    return copy.deepcopy(denoiser).requires_grad_(True).train()


# Of a trajectory, by DPM-Solver++(2M): a multiple of the jumps of samplings in 1, 2, 4 and 8 calls
STEPS = 24


def distil_table(
    flow: Flow,
    denoiser: TableDenoiser,
    size: str,
    calls: int,
    to_data: float,
    trajectories: int | None,
    teacher_steps: int | None,
    others: Sequence[str],
) -> Recipe:
    """The recipe of a student of a table; ``others`` are further settings of `pushforward.recipes.distil` that were given.

    Raises:
        UsageError: For a setting that does not apply, a denoiser with guidance, or no trajectories or steps.
    """
    if named := [*others, *["size"] * (size != "small")]:
        raise UsageError(
            f"A student of a table learns from stored trajectories, with its teacher's network: leave {', '.join(named)} out."
        )
    steps = STEPS if teacher_steps is None else whole("teacher_steps", teacher_steps, 1)
    guide = Flow(denoiser, "dpm", steps, times_of_jumps(denoiser, steps))
    most = trajectories_for(steps + 1, denoiser.table.size)
    number = most if trajectories is None else whole("trajectories", trajectories, 1)
    store = Trajectories(guide, number, to_data=to_data)
    method = TableDistillation(student_of_table(denoiser), store, steps=calls)
    network = "columns" if isinstance(denoiser.network, ColumnTransformer) else "mlp"
    training = table_training("small", denoiser.table, network)
    return Recipe(method, training, "distil", "flow map", first_weights=_start_as_teacher)


def _start_as_teacher(method: Any) -> None:
    method.start_from(student_of_table(method.teacher.denoiser).state_dict())
