"""Limits on how much variety a training may lose, relative to a fixed reference sampler."""

from __future__ import annotations

from dataclasses import dataclass

from pushforward.arguments import share, whole


@dataclass(frozen=True)
class Guard:
    """When a training ends by itself: where the averaged sampler covers less of the data than a reference on the same noise.

    A trainer that trains a method with a guard draws samples of both at fixed shares of training and compares the share of
    training examples that each covers, and the share that each recalls (`pushforward.metrics.manifold.prdc`). Where a share has
    fallen below its limit, and by more than chance explains, training ends with the weights of the last check that was passed.

    It looks at variety alone: samples that are as varied but of lower quality end no training. Compare the run with its start.

    Args:
        coverage: The least coverage, as a share of the reference's, in [0, 1]; 0 is no limit.
        recall: The least recall, as a share of the reference's, in [0, 1]; 0 is no limit.
        checks: How often, at equal shares of training.
        samples: Samples and training examples that are compared at most.

    Raises:
        UsageError: For a number out of range.
    """

    coverage: float = 0.97
    recall: float = 0.95
    checks: int = 8
    samples: int = 2000

    def __post_init__(self) -> None:
        for name in ("coverage", "recall"):
            share(f"The least {name}", getattr(self, name), " of the start's")
        for name, least in (("checks", 1), ("samples", 1)):
            whole(name, getattr(self, name), least)
