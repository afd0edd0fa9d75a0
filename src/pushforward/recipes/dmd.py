"""A flow, distilled to one call by matching the distribution of its samples."""

from __future__ import annotations

from typing import Annotated, Any

from pushforward.data import Space
from pushforward.denoisers import FlowMap, trained
from pushforward.errors import UsageError
from pushforward.methods import DistributionMatching
from pushforward.recipes.choice import batch_size, precision
from pushforward.recipes.recipe import LOSS, PATH, Recipe, Training, on_space
from pushforward.recipes.students import copy_of, student_of
from pushforward.transports import Flow


@on_space
def dmd(
    space: Space,
    size: str = "small",
    *,
    teacher: Flow,
    start: FlowMap | None = None,
    calls: Annotated[int, PATH] = 1,
    inside: Annotated[float, PATH] = 0.0,
    rounds: Annotated[int, LOSS] = 5,
    least: Annotated[float, LOSS] = 0.02,
    greatest: Annotated[float, LOSS] = 0.98,
) -> Recipe:
    """A student of a flow, ddpm or edm in one call, whose samples follow the difference of the teacher's score and their own.

    Both the teacher and the start sample from noise: models that start from other data have no score.

    Args:
        space: The data's shape, units and conditions; the teacher's.
        size: Not used: both networks are the teacher's.
        teacher: A trained model with many steps, or a map between two times that has learned velocities too (meanflow,
            shortcut, distil). A consistency model has no score to match, and may only be the start.
        start: The map to start from, such as a run of distil; the default is the teacher with a second time.
        calls: The default number of network calls per sample; one is trained.
        inside: The share of jumps that start at data mixed with noise, which keeps samples in 2 or 4 calls good.
        rounds: Turns of the denoiser of the student's samples for each of the student's.
        least: The least share of noise at which the distributions are compared.
        greatest: The greatest.

    References:
        Yin et al., One-step Diffusion with Distribution Matching Distillation (2024); Yin et al., Improved Distribution Matching
        Distillation for Fast Image Synthesis (DMD2, 2024).
    """
    denoiser = trained(teacher.denoiser) if isinstance(teacher, Flow) else None
    if denoiser is None:
        raise UsageError(
            "Only the distribution of a model that samples in steps can be matched (flow, ddpm, edm), and this teacher is a "
            f"{type(teacher).__name__}."
        )
    if getattr(denoiser, "only_to_data", False):
        raise UsageError(
            "This teacher only maps to data (a consistency model): it has no score, and cannot be matched. Give a flow, ddpm or "
            "edm as the teacher, and this map as the start."
        )
    source = denoiser.source or (start and start.source)
    if source is not None:
        raise UsageError(
            f"The {'start' if denoiser.source is None else 'teacher'} was trained from {source.data}, not from noise: it has no "
            "score, and cannot be matched. Distil its flow: `pushforward distil RUN`."
        )
    student = copy_of(start) if start is not None else _student(denoiser)
    method = DistributionMatching(
        student, copy_of(denoiser), teacher=teacher, rounds=rounds, ends=(least, greatest), inside=inside, steps=calls
    )

    def first_weights(method: Any) -> None:
        real = trained(method.teacher.denoiser)
        assert real is not None
        method.fake.load_state_dict(real.state_dict())
        method.flow_map.load_state_dict((start if start is not None else _student(real)).state_dict())

    rate = 1e-4 if start is not None or denoiser.jumps else 3e-4  # a map that jumps well already is only moved a little
    training = Training(batch_size(space), lr=rate, betas=(0.0, 0.99), ema=20_000, precision=precision(space))
    return Recipe(method, training, "dmd", "flow map", first_weights=first_weights)


def _student(denoiser: Any) -> Any:
    return copy_of(denoiser) if denoiser.jumps else student_of(denoiser)
