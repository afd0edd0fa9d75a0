"""A recipe of two networks and a frozen teacher, as a user would write it in a file of
one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from pushforward import Denoiser, Flow, Linear, Map, Method, Recipe, Training
from pushforward.data import Batch, Space
from pushforward.methods import StepContext
from pushforward.networks import MLP, Reshaped


class Matched(Method):
    """A one-step student learns where a frozen teacher and a second network, which follows the
    student, disagree.
    """

    def __init__(self, student: nn.Module, second: Denoiser, teacher: Flow, space: Space) -> None:
        super().__init__()
        self.student = student
        self.second = second
        self.space = space
        self.freeze("teacher", teacher)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"second": self.second, "student": self.student}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.student,)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[tuple[str, Tensor]]:
        x = self.student(now.draws.normal(self.space.shape), None, batch.condition)
        t = now.draws.stream("times").uniform() * 0.8 + 0.1
        z = now.draws.stream("noise").normal(self.space.shape)
        shaped = t.reshape(-1, *(1,) * len(self.space.shape))
        x_t = (1 - shaped) * x + shaped * z
        learned = self.second.predict("data", x_t.detach(), t, batch.condition)
        yield "second", (learned - x.detach()).square().mean()
        taught = self.teacher.denoiser.predict("data", x_t, t, batch.condition)
        toward = (learned - taught).detach()
        yield "student", (toward * x).mean()

    def transport(self) -> Map:
        return Map(self.student, self.space, self.space.shape)


def distilled(space: Space, size: str = "small", *, teacher: Flow, width: int = 32) -> Recipe:
    """A student of one step, matched to a teacher.

    Args:
        space: The data's shape, units and conditions.
        size: tiny, small or base.
        teacher: A flow that has learned the data.
        width: Not used.
    """
    options = {"shape": space.shape, "conditions": space.conditions}
    generator = MLP.sized(size, outputs=space.size, times=0, **options)
    student = Reshaped(generator, space.shape)
    network = MLP.sized(size, **options)
    second = Denoiser(network, Linear(), "velocity", space)
    method = Matched(student, second, teacher, space)
    return Recipe(method, Training(batch=64), "distilled", "distribution matching")
