"""The state of a training run, and its position in the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pushforward.errors import Diverged
from pushforward.methods.method import Method
from pushforward.training.checkpoint.tensors import load_weights, local
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.optimizers import Average, PlayerOptimizer
from pushforward.training.runs.log import ADVICE

WARMUP = 0.1  # fraction of a budget in seconds after which the learning rate has risen


@dataclass(eq=False)
class TrainState:
    """Everything that a training step changes.

    Random numbers are keyed by seed and step, so there is no random state.

    Args:
        method: Method with the current weights.
        optimizers: Optimisers by network.
        average: Average of the weights.
        step: Training steps done.
        seconds: Seconds spent in training steps.
    """

    method: Method
    optimizers: Mapping[str, PlayerOptimizer]
    average: Average
    step: int = 0
    seconds: float = 0.0

    def advance(self, seconds: float) -> None:
        """Count one training step with its duration."""
        self.step += 1
        self.seconds += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return tensors by name in three groups, step and seconds."""
        optimizer: dict[str, torch.Tensor] = {}
        for player in self.optimizers.values():
            optimizer |= player.state()
        return {
            "method": self.method.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer,
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`, with whole tensors even if weights are sharded."""
        load_weights(self.method, state["method"])
        load_weights(self.average.method, state["method"] | state["average"])
        for player in self.optimizers.values():
            player.restore(state["optimizer"])
        self.step = state["step"]
        self.seconds = state["seconds"]

    def not_finite(self) -> str | None:
        """Return the name of a tensor that is not finite, or None."""
        kinds = {"weights": self.method, "averaged weights": self.average.method}
        for kind, method in kinds.items():
            for name, tensor in method.state_dict().items():
                if not torch.isfinite(local(tensor)).all():
                    return f"{kind} {name}"
        return None


def check_weights(state: TrainState, processes: Processes, step: int) -> None:
    """Raise `Diverged` if weights or averages are not finite in any process."""
    name = state.not_finite()
    if processes.any(name is not None):
        what = f"The {name or 'weights'} are not finite after step {step}"
        raise Diverged(f"{what}. {ADVICE}", step, what)


@dataclass(eq=False)
class Clock:
    """Position in the budget: the fraction of its steps, or of its seconds."""

    state: TrainState
    budget: Budget
    batch: int

    def __post_init__(self) -> None:
        self.total = self.budget.total_steps(self.batch)  # None for a budget in seconds

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def seconds(self) -> float:
        return self.state.seconds

    @property
    def samples(self) -> int:
        return self.state.step * self.batch

    @property
    def progress(self) -> float:
        """Return the fraction of the budget used, in [0, 1]."""
        if self.total is not None:
            return min(1.0, self.step / self.total)
        assert self.budget.seconds is not None
        return min(1.0, self.seconds / self.budget.seconds)

    @property
    def risen(self) -> float:
        """Return the fraction of the warm-up that is done by time; 0 if steps are counted."""
        if self.total is not None:
            return 0.0
        return self.progress / WARMUP

    @property
    def done(self) -> bool:
        return self.progress >= 1
