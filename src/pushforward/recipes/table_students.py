"""A flow of a table, distilled to one call or a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward.arguments import whole
from pushforward.errors import UsageError
from pushforward.methods import Trajectories
from pushforward.methods.distillation import TableDistillation
from pushforward.networks import ColumnTransformer
from pushforward.recipes.recipe import Recipe
from pushforward.recipes.students import student_of_table, times_of_jumps, trajectories_for
from pushforward.recipes.tables import table_training
from pushforward.table_denoiser import TableDenoiser
from pushforward.transports import Flow

STEPS = 24
"""Of a trajectory, by DPM-Solver++(2M): a multiple of the jumps of samplings in 1, 2, 4 and 8 calls."""


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
    training = table_training("small", denoiser.table, _network_of(denoiser.network))
    return Recipe(method, training, "distil", "flow map", first_weights=_start_as_teacher)


def _network_of(network: nn.Module) -> str:
    return "columns" if isinstance(network, ColumnTransformer) else "mlp"


def _start_as_teacher(method: Any) -> None:
    method.start_from(student_of_table(method.teacher.denoiser).state_dict())
