"""Losses, gradients and weights that are not finite: skipped steps, when they are too many, and checks of weights.

The rows of ``metrics.jsonl`` have "skipped/PLAYER" in their health where that player's update was left out. A resumed run,
whose log is read again, so stands where the uninterrupted one stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pushforward.numbers import count

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.methods.method import Method

IN_A_ROW = 3
"""Skipped steps in a row after which a training has diverged."""
WINDOW, MOST = 1000, 10
"""More than so many skipped steps among the last ones are too many."""
MARK = "skipped/"
"""The prefix of the measure that marks a skipped update of a player."""


def players_in(health: Mapping[str, Any] | None) -> list[str]:
    """The players whose update was skipped in a step with this health."""
    return [name.removeprefix(MARK) for name in health or {} if name.startswith(MARK)]


class Skips:
    """The skipped steps of a training, and whether they are too many.

    Attributes:
        count: How many.
        last: The newest of them.
    """

    def __init__(self) -> None:
        self.count, self.last, self._read = 0, 0, 0
        self._steps: deque[int] = deque()

    def read(self, row: Mapping[str, Any]) -> str | None:
        """Read a row of the log, in order; why training has diverged, None where it goes on."""
        players, step = players_in(row.get("health")), row["step"]
        self._read += 1
        if not players:
            return None
        self.count, self.last = self.count + 1, step
        self._steps.append(step)
        while self._steps[0] <= step - WINDOW:
            self._steps.popleft()
        what = f"the loss or gradient of the {players[0]} was not finite"
        if len(self._steps) >= IN_A_ROW and self._steps[-IN_A_ROW] == step - IN_A_ROW + 1:
            return f"In {IN_A_ROW} steps in a row, up to step {step:,}, {what}"
        if len(self._steps) > MOST:
            return f"In {len(self._steps)} of the last {WINDOW:,} steps, up to step {step:,}, {what}"
        return None

    @property
    def all(self) -> bool:
        return 0 < self._read == self.count


def in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many steps of a log were skipped, and the first of them; empty where none was."""
    steps = [row["step"] for row in rows if players_in(row.get("health"))]
    return (
        f"steps skipped, as a loss or a gradient was not finite: {count(len(steps))}, the first at step {count(steps[0])}"
        if steps
        else ""
    )


def not_finite(methods: Mapping[str, Method]) -> str | None:
    """The first tensor of a state that is not finite, after the name that its method has here; None where all are finite."""
    import torch

    from pushforward.training.checkpoint.tensors import local

    for kind, method in methods.items():
        for name, tensor in method.state_dict().items():
            if not bool(torch.isfinite(local(tensor)).all()):
                return f"{kind} {name}"
    return None


def seems_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether the norms of tensors are finite, which is fast to see; a tensor of numbers above 1e19 may not seem so."""
    import torch

    return not tensors or bool(torch.isfinite(torch.stack(torch._foreach_norm(list(tensors))).sum()))
