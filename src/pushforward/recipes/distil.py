"""A flow, distilled to one call or a few."""

from __future__ import annotations

from typing import Annotated, Any

from pushforward.data import Space
from pushforward.denoiser import trained
from pushforward.errors import UsageError
from pushforward.methods import Distillation, Trajectories
from pushforward.methods.pairs import Sorted
from pushforward.methods.rules import Start
from pushforward.recipes.choice import denoising_training
from pushforward.recipes.options import LOSS, PATH
from pushforward.recipes.recipe import Recipe
from pushforward.recipes.students import student_of, times_for
from pushforward.transports import Flow

__all__ = ["distil"]

MEMORY = 512 * 2**20
"""Bytes that stored trajectories take at most by default."""


def distil(
    space: Space,
    size: str = "small",
    *,
    teacher: Flow,
    calls: Annotated[int, PATH] = 1,
    first: Annotated[float, LOSS] = 0.1,
    last: Annotated[float, LOSS] = 0.005,
    over: Annotated[float, LOSS] = 0.8,
    diagonal: Annotated[float, PATH] = 0.25,
    to_data: Annotated[float, PATH] = 0.5,
    power: Annotated[float, LOSS] = 0.5,
    stored: Annotated[float, LOSS] = 1.0,
    trajectories: Annotated[int | None, LOSS] = None,
    teacher_steps: Annotated[int, LOSS] = 16,
) -> Recipe:
    """A student of a flow, ddpm or edm: a map between two times that starts as its teacher and learns to jump.

    Args:
        space: The data's shape, units and conditions; the teacher's.
        size: Not used: the student's network is the teacher's, with a second time.
        teacher: What has learned the data in many steps.
        calls: The default number of network calls per sample; any number can be asked for later.
        first: After the stored part, the share of the way between two times that the teacher's velocity covers, as it would be at
            the start of training.
        last: The same at the end; it falls geometrically.
        over: The share of training over which it falls.
        diagonal: The share of examples at which the student is held to the teacher's velocity.
        to_data: The share of the other examples that are mapped to data.
        power: How much less examples of large error count; 0 counts all equally.
        stored: The share of training on stored trajectories of the teacher, before its velocity takes over.
        trajectories: How many trajectories are stored; the default is 8,192, or fewer where they would take more than 512 MB.
        teacher_steps: The steps of each.

    References:
        Song et al., Consistency Models (2023); Luo et al., SoFlow (2025); Zhang et al., AlphaFlow (2025).
    """
    denoiser = trained(teacher.denoiser) if isinstance(teacher, Flow) else None
    if denoiser is None:
        raise UsageError(
            "Only a model that samples in steps can be distilled (flow, ddpm, edm), and this teacher is a "
            f"{type(teacher).__name__}."
        )
    if denoiser.jumps:
        raise UsageError("The teacher is a map between two times already: sample it in 1, 2 or 4 `steps`.")
    guide = teacher.with_solver("unipc", teacher_steps)
    method = Distillation(
        student_of(denoiser),
        Start(first, last, over=over),
        Sorted(times_for(space), diagonal=diagonal, to_data=to_data),
        teacher=guide,
        trajectories=Trajectories.of(guide, trajectories or _number(guide), to_data=to_data),
        stored=stored,
        power=power,
        steps=calls,
    )
    training = denoising_training(space, denoiser.network)
    return Recipe(method, training, "distil", "flow map", first_weights=_start_as_teacher)


def _number(teacher: Flow) -> int:
    """As many trajectories as fit into the memory that they may take, and no more than are useful."""
    each = 2 * (teacher.steps + 1) * teacher.space.size
    return max(64, min(8192, MEMORY // each))


def _start_as_teacher(method: Any) -> None:
    denoiser = trained(method.teacher.denoiser)
    assert denoiser is not None
    method.start_from(student_of(denoiser).state_dict())
    method.trajectories.fill(method.teacher)
