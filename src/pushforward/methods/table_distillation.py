"""Distillation of a denoiser of tables: a map between two times that is trained along its trajectories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Now, Sums
from pushforward.methods.trajectories import Trajectories
from pushforward.predictor import over
from pushforward.solvers import Jump
from pushforward.table_denoiser import TableDenoiser
from pushforward.transports import Flow


class TableDistillation(Method):
    """Learn the jumps of a teacher of tables from stored trajectories.

    Between two states of a trajectory on the straight path, at t and s, the data of the jump is
    x = (x_s - (s / t) x_t) / (1 - s / t): at s = 0 the teacher's row. Of a block of indicators it is a mean of the teacher's
    probabilities, and the target of a cross-entropy; at s = 0 it is the category that decoding takes. Of a score it gives v.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + |p v - target|^2 of its score, where the
    trajectory ends at a number, and not at an atom or a missing value. p is the student's probability of a number, a constant of
    the gradient, by which sampling multiplies v. Columns that are given do not count.

    Args:
        flow_map: The student, a map on the straight path that starts as the teacher.
        trajectories: Of the teacher.
        steps: The default number of jumps of the transport.

    References:
        Hu et al., CMT: Mid-Training for Efficient Learning of Consistency, Mean Flow, and Flow Map Models (2025), for the
        regression along trajectories; Dieleman et al., Continuous Diffusion for Categorical Data (2022), for the cross-entropy.
    """

    def __init__(self, flow_map: TableDenoiser, trajectories: Trajectories, *, steps: int = 1) -> None:
        super().__init__()
        if not isinstance(flow_map, TableDenoiser) or not flow_map.jumps:
            raise UsageError(f"TableDistillation trains a map of a table, a TableDenoiser with sampling; got {flow_map!r:.80}.")
        self.flow_map, self.space, self.trajectories, self.steps = flow_map, flow_map.table, trajectories, steps
        self.freeze("teacher", trajectories.teacher)
        self.learns = "samples"

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Give the map the weights of another one."""
        self.flow_map.load_state_dict(weights)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"map": self.flow_map}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.flow_map,)

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        student, trajectories = self.flow_map, self.trajectories
        which, first, second = trajectories.places(now.draws.stream("trajectories"))
        (x_t, t), (x_s, s) = trajectories.at(which, first), trajectories.at(which, second)
        given, rest = student.given(trajectories.condition(which))
        columns = over(student.columns("v", t, s), x_t)
        with torch.no_grad():
            part = (s / t)[:, None]
            shares, v = student.target((x_s - part * x_t) / (1 - part), x_t, columns)
            last, _ = trajectories.at(which, -1)
            ends = student.layout.chosen(student.target(last, x_t, columns)[0])
            shares = torch.where((s == 0)[:, None], ends, shares)
        errors = student.errors(student.estimate(x_t, columns, given, rest), shares, v, ends)
        total = errors.indicators + errors.scores
        yield "map", (total if given is None else total * ~given.known).mean()

    def transport(self) -> Flow:
        return Flow(self.flow_map, Jump.of(self.flow_map), self.steps)
