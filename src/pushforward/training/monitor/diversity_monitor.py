"""Whether a training keeps its variety: coverage and recall of the averaged sampler, beside those of a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.errors import Diverged
from pushforward.methods.method import Guard
from pushforward.metrics.manifold import reached
from pushforward.training.loop.callbacks import Moment, Observer
from pushforward.training.monitor.health import NEIGHBOURS, principal, sampled, starts_of
from pushforward.transports import Transport
from pushforward.transports.rejection import as_drawn
from pushforward.transports.transport import finite

CHANCE = 2.0
"""Standard errors up to which a fall is laid to chance."""


class Variety(Observer):
    """Measures at fixed shares of training, where a method has a `pushforward.methods.Guard`.

    Samples of the average and of the method's reference come from the same noise, and are compared with the same training
    examples, in model units on their first principal axes. Held-out examples are not looked at.

    Args:
        data: The training data.
    """

    decides = True

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._start: dict[str, np.ndarray] = {}

    def due(self, moment: Moment) -> bool:
        """At equal shares of the budget, the last at its end."""
        guard = moment.method.guard
        if guard is None or self._count(guard) <= NEIGHBOURS:
            return False
        before, now = (int(guard.checks * share + 1e-9) for share in (moment.before, moment.progress))
        return now > before

    def look(self, moment: Moment) -> Mapping[str, float]:
        """For coverage and recall, ``NAME_ratio``: the share of the reference's; and ``NAME_limit``: below it training ends.

        A limit is the guard's, or lower where few examples are compared: two standard errors below 1, of the difference between
        two sets of samples that are compared with the same examples. Where a sample is not finite, nothing is reached. What the
        reference reaches nothing of is not measured.

        Raises:
            Diverged: If a sample of the reference is not finite.
        """
        guard = moment.method.guard
        assert guard is not None
        if not self._start:
            self._prepare(guard, moment.method.reference())
        measures = {}
        try:
            now = self._reached(moment.average.transport())
        except Diverged:
            now = {name: np.zeros_like(before) for name, before in self._start.items()}
        for name, least in (("coverage", guard.coverage), ("recall", guard.recall)):
            before, after = self._start[name], now[name]
            if not before.any():
                continue  # no share of nothing can be lost
            error = math.sqrt(float((before != after).sum())) / len(before)
            measures[f"{name}_ratio"] = float(after.mean()) / float(before.mean())
            measures[f"{name}_limit"] = max(0.0, min(least, 1 - CHANCE * error / float(before.mean())))
        return measures

    def _count(self, guard: Guard) -> int:
        return min(guard.samples, len(self.data.train))

    def _prepare(self, guard: Guard, reference: Transport) -> None:
        self._noise = starts_of(reference, self._count(guard))
        train, count = self.data.train, len(self._noise[0])
        examples = self.data.space.to_model(train.data_units(permutation(len(train), 0)[:count])).flatten(1).double().numpy()
        self._centre, self._axes = principal(examples)
        self._real = (examples - self._centre) @ self._axes
        self._start = self._reached(reference)

    def _reached(self, transport: Transport) -> dict[str, np.ndarray]:
        if len(self._real) <= NEIGHBOURS:
            return {name: np.zeros(len(self._real), dtype=bool) for name in ("coverage", "recall")}
        with as_drawn(), torch.no_grad():
            x = finite(sampled(transport, *self._noise))
        examples = self.data.space.to_model(x).flatten(1).double().numpy()
        return reached((examples - self._centre) @ self._axes, self._real, NEIGHBOURS)
