"""Noise coupled with a teacher's samples from it, so that a flow learns straighter paths."""

from __future__ import annotations

from torch import Tensor, nn

from pushforward.couplings import Coupling
from pushforward.draws import Draws
from pushforward.methods.trajectories import Trajectories
from pushforward.predictor import Condition


class TeacherPairs(Coupling, nn.Module):
    """Pairs of a teacher's noise and sample in the place of data and independent noise.

    The ways of a flow do not cross, so the straight ways between these pairs hardly do, and the flow that is trained on them
    needs fewer steps. It is as good as its teacher at best, and data itself is not used.

    Args:
        trajectories: Of the teacher, from its noise, or from training examples of its source; their ends are used.

    References:
        Liu et al., Flow Straight and Fast: Rectified Flow (2023), algorithm 1; Lee et al., Improving the Training of Rectified
        Flows (2024).
    """

    def __init__(self, trajectories: Trajectories) -> None:
        super().__init__()
        self.trajectories, self.source = trajectories, trajectories.teacher.source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """A sample of the teacher and its noise for each example of the draws."""
        x, z, _ = self.examples(x, condition, draws)
        return x, z

    def examples(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor, Condition]:
        pairs = self.trajectories
        which = pairs.choose(draws)
        start, sample = pairs.states[which, 0].float(), pairs.states[which, -1].float()
        return sample, start / pairs.times[0], pairs.condition(which)
