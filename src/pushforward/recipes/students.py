"""The student of a flow: a map between two times that starts as its teacher."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor

from pushforward.denoiser import Denoiser, FlowMap, Preconditioning
from pushforward.errors import UsageError
from pushforward.networks.two_times import with_second_time
from pushforward.paths import Linear

__all__ = ["copy_of", "student_of"]

D = TypeVar("D", bound=Denoiser)


def student_of(teacher: Denoiser) -> FlowMap:
    """A map between two times on the straight path that starts as a denoiser, whatever its path.

    Its network is the teacher's with a second time. At a time of the straight path it receives what the teacher's network
    receives at the same log-SNR: the input is scaled to the same size, and the new embedding of time absorbs the difference
    of the two times.

    Args:
        teacher: What was trained, without guidance.

    Raises:
        UsageError: For a denoiser that was trained from data instead of noise, one whose network takes no second time, or one
            whose network's input or output depends on its path.
    """
    path = teacher.path
    straight = path if isinstance(path, Linear) else teacher.on(Linear()).path
    if teacher.source is not None:
        raise UsageError(f"This model was trained from {teacher.source.data}, not from noise; it has no map to learn from yet.")
    moved = not isinstance(path, Linear)
    if moved and (teacher.output in ("velocity", "score") or not teacher.preconditioning.scale_input):
        raise UsageError(
            f"The network of this model puts out the {teacher.output} of its own path ({type(path).__name__}). Distillation "
            "needs one that puts out data, noise or v from an input of unit variance, or one on the straight path."
        )

    def received(t: Tensor) -> Tensor:
        there = path.time(straight.log_snr(t)).clamp(*path.ends) if moved else t
        return teacher.time(there)

    network = with_second_time(teacher.network, straight.ends, received)
    pre = Preconditioning(teacher.preconditioning.scale_input, "t", teacher.output)
    return FlowMap(network, straight, "velocity", teacher.space, preconditioning=pre, unconditional=teacher.unconditional)


def copy_of(denoiser: D) -> D:
    """A copy of a denoiser, or of a map between two times, whose weights can be trained."""
    return copy.deepcopy(denoiser).requires_grad_(True).train()
