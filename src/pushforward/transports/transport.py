"""The interface of all transports, and how samples are drawn from one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.conditions.kind import Request
from pushforward.data.spaces import Space
from pushforward.denoisers import Condition
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import Diverged, UsageError
from pushforward.notebooks import facts as facts_table
from pushforward.transports.rejection import Part, Redrawing

BATCH = 256
"""Examples that one call of `Transport.sample` holds at a time."""

ConditionLike = Mapping[str, float | str | Sequence[float] | Sequence[str] | Tensor] | None
"""Conditions as a caller gives them, by name or by a column's name: one value for all samples, or one for each."""


class Transport(nn.Module, ABC):
    """Moves standard normal noise of shape (n, *noise_shape) to data."""

    space: Space
    noise_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Data in model units, (n, *shape), from noise; differentiable.

        Args:
            z: Standard normal noise (n, *noise_shape).
            condition: None or a dict of tensors with n examples.
            draws: Randomness for each sample, for stochastic solvers.
        """

    @property
    @abstractmethod
    def calls(self) -> int:
        """Network evaluations per sample."""

    def noise(self, draws: Draws) -> Tensor:
        """The noise of samples, one for each example of the draws: standard normal, unless the model has another source."""
        return draws.normal(self.noise_shape)

    def facts(self) -> dict[str, str]:
        """Its parts in a few words each, for `repr` and notebooks."""
        kinds = (kind.describe() for kind in self.space.conditions.values())
        data = ", ".join([f"{'x'.join(map(str, self.space.shape))} {self.space.noun}s", *kinds])
        return {"data": data, "parameters": f"{sum(p.numel() for p in self.parameters()):,}"}

    def __repr__(self) -> str:
        facts = self.facts()
        rest = (f"{value} {name}" if name == "parameters" else value for name, value in facts.items())
        return f"{type(self).__name__}({', '.join(rest)})"

    def _repr_html_(self) -> str:
        return facts_table(type(self).__name__, self.facts())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        held = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device

    def conditions(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """The conditions of n samples on the transport's device: values and masks by name; None for a model without any.

        Sample i depends on its request and on ``seed + i`` alone. Conditions that are not given are drawn as they occur in the
        training data; see `pushforward.conditions.Request`.

        Raises:
            UsageError: For names that the model does not know, another number of values than n, or values that do not exist.
        """
        values = self._request().values(n, condition, seed)
        return None if values is None else {name: value.to(self.device) for name, value in values.items()}

    def sample(self, n: int, condition: ConditionLike = None, *, seed: int = 0, batch: int = BATCH) -> Tensor:
        """New samples in data units, on the CPU; sample i comes from ``seed + i`` alone.

        Args:
            n: How many.
            condition: For example ``{"label": 3}``, ``{"label": "cat"}``, ``{"age": 40}``, or n values in a list or tensor.
                Conditions that are not given are drawn as they occur in the training data.
            seed: The seed of the first sample, any whole number.
            batch: Examples that are computed at a time.

        Returns:
            float32, (n, *shape): images in [0, 1], vectors in the data's own units. Coordinates of rows of a table are float64
            where a column has more values than float32 tells apart.

        Raises:
            UsageError: For numbers or conditions that cannot be.
            Diverged: If a sample is not finite, or breaks a constraint of the data after all its draws.
        """
        parts = [x for x, _ in self.stream(n, condition, seed=seed, batch=batch)]
        return torch.cat(parts) if parts else torch.empty(0, *self.space.shape, dtype=self.space.precision)

    def stream(
        self, n: int, condition: ConditionLike = None, *, seed: int = 0, batch: int = BATCH
    ) -> Iterator[tuple[Tensor, Condition]]:
        """The samples of `sample` in parts of ``batch`` examples, each with its condition, so that memory stays bounded.

        Raises:
            UsageError: At once, for numbers or conditions that cannot be.
            Diverged: If a sample is not finite; after the last part if samples break a constraint of the data after all their
                draws (`pushforward.transports.rejection`), and at once if hardly any meets it.
        """
        n, seed, batch = whole("n", n, 0), whole("seed", seed), whole("batch", batch, 1)
        wanted = self.wanted(n, condition, seed)
        redrawing = Redrawing(self.space, n, seed)
        return redrawing.checked(self._parts(n, wanted, seed, batch, redrawing))

    def _parts(
        self, n: int, wanted: Condition, seed: int, batch: int, redrawing: Redrawing
    ) -> Iterator[tuple[Tensor, Condition]]:
        waiting: list[Part] = []
        for start in range(0, n, batch):
            waiting.append(self._begun(start, min(batch, n - start), wanted, seed, redrawing))
            if start + batch < n and redrawing.undecided:
                continue
            self._finish(waiting, redrawing)
            yield from ((part.x, part.condition) for part in waiting)
            waiting = []

    @torch.no_grad()
    def _begun(self, start: int, size: int, wanted: Condition, seed: int, redrawing: Redrawing) -> Part:
        given, draws = self.given(start, size, wanted, seed), ExampleDraws(seed + start, size, device=self.device)
        return redrawing.begun(self._drawn(given, draws), given, draws)

    @torch.no_grad()
    def _finish(self, parts: Sequence[Part], redrawing: Redrawing) -> None:
        redrawing.finish(parts, self._drawn)

    def wanted(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """The values of conditions that were asked for, of n samples; None where nothing was."""
        return None if condition is None else self._request().values(n, condition, seed)

    def read(self, n: int, condition: ConditionLike) -> Condition:
        """Conditions of n examples in data units, where names of classes and texts may stand as in `sample`, as tensors.

        A dict of tensors stays as it is, and None stays None. Conditions that are not named are left out, and not drawn.

        Raises:
            UsageError: As `conditions`.
        """
        if condition is None or all(isinstance(value, Tensor) for value in condition.values()):
            return condition  # type: ignore[return-value]
        values = self.conditions(n, condition, 0) or {}
        named = {name: {name, *kind.entries} for name, kind in self.space.conditions.items()}
        return {name: value for name, value in values.items() if named.get(name, {name}) & set(condition)}

    def _request(self) -> Request:
        space = self.space
        return Request(space.conditions, space.names, () if space.names else space.columns)

    def given(self, start: int, size: int, wanted: Condition, seed: int) -> Condition:
        """The conditions of some of the samples; see `part`."""
        part = None if wanted is None else {name: value[start : start + size] for name, value in wanted.items()}
        return self.conditions(size, part, seed + start)

    def part(
        self, start: int, size: int, wanted: Condition, seed: int, redrawing: Redrawing | None = None
    ) -> tuple[Tensor, Condition]:
        """Some of the samples of `stream`, in data units on the CPU, with their conditions.

        Those that break a constraint of the data are drawn again.

        Args:
            start: The number of the first one.
            size: How many.
            wanted: The conditions of all samples (`wanted`).
            seed: That of sample 0.
            redrawing: Counts the draws of the whole request, which its owner checks; None for a request of this part alone.

        Raises:
            Diverged: If a sample is not finite; without ``redrawing`` if one breaks a constraint after all its draws.
        """
        own = redrawing or Redrawing(self.space, size, seed + start)
        part = self._begun(start, size, wanted, seed, own)
        self._finish([part], own)
        if redrawing is None:
            own.check()
        return part.x, part.condition

    def _drawn(self, condition: Condition, draws: ExampleDraws) -> Tensor:
        x = finite(self(self.noise(draws), condition, draws))
        x = self.space.to_data(x).float().cpu()
        return self.space.finished(x, condition, draws.stream("digits").normal)


def as_examples(space: Space, x: Any) -> Tensor:
    """Examples as a float tensor (n, *shape).

    Raises:
        UsageError: For examples of another shape.
    """
    examples = x if isinstance(x, Tensor) else torch.as_tensor(x).float()
    if tuple(examples.shape[1:]) != tuple(space.shape):
        hint = " Add the leading dimension of one example: x[None]." if tuple(examples.shape) == tuple(space.shape) else ""
        raise UsageError(
            f"Expected examples of shape (n, {', '.join(map(str, space.shape))}); got {tuple(examples.shape)}.{hint}"
        )
    return examples if examples.is_floating_point() else examples.float()


def check_transport(model: Any) -> None:
    """Refuse anything but a transport.

    Raises:
        UsageError: Saying how to get one from a run.
    """
    if not isinstance(model, Transport):
        hint = " A run's is run.transport." if type(model).__name__ == "Run" else ""
        raise UsageError(f"Expected a transport, got a {type(model).__name__}.{hint}")


def finite(x: Tensor) -> Tensor:
    """The samples themselves.

    Raises:
        Diverged: If one is not finite.
    """
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite().flatten(1).all(1)).sum())
        raise Diverged(
            f"{bad} of {len(x)} samples are not finite: the weights have diverged, or the solver overshoots. Use an earlier "
            "checkpoint, more steps, less guidance, or float32.",
            what=f"{bad} of {len(x)} samples are not finite",
        )
    return x
