"""The interface of all transports, and how samples are drawn from one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data.space import Space
from pushforward.draws import Draws, RowDraws
from pushforward.errors import Diverged, UsageError, did_you_mean
from pushforward.notebooks import facts as facts_table
from pushforward.predictor import Condition

__all__ = ["BATCH", "Asked", "Transport", "check_transport", "finite", "rows_in"]

BATCH = 256
"""Rows that one call of `Transport.sample` holds at a time."""

Asked = Mapping[str, int | str | Sequence[int] | Sequence[str] | Tensor] | None
"""A condition as a caller gives it: a number or a class's name for all samples, or one for each."""


class Transport(nn.Module, ABC):
    """Moves standard normal noise of shape (n, *noise_shape) to data."""

    space: Space
    noise_shape: tuple[int, ...]
    conditioned_on: tuple[str, ...] = ("label", "null")
    """The names that a condition may hold; a model of other conditions names its own."""

    @abstractmethod
    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Data in model units, (n, *shape), from noise; differentiable.

        Args:
            z: Standard normal noise (n, *noise_shape).
            condition: None or a dict of tensors with n rows.
            draws: One row of randomness per sample, for stochastic solvers.
        """

    @property
    @abstractmethod
    def calls(self) -> int:
        """Network evaluations per sample."""

    def noise(self, draws: Draws) -> Tensor:
        """What samples start from, one row for each of the draws' rows: standard normal, unless the model has another source."""
        return draws.normal(self.noise_shape)

    def facts(self) -> dict[str, str]:
        """What it makes and how, in a few words each, for `repr` and notebooks."""
        shape, classes = "x".join(map(str, self.space.shape)), len(self.space.classes)
        data = f"{shape} {self.space.kind}s" + (f", {classes} classes" if classes else "")
        return {"data": data, "parameters": f"{sum(p.numel() for p in self.parameters()):,}"}

    def __repr__(self) -> str:
        facts = self.facts()
        rest = (f"{value} {name}" if name == "parameters" else value for name, value in facts.items())
        return f"{type(self).__name__}({', '.join(rest)})"

    def _repr_html_(self) -> str:
        """What a notebook shows below a cell."""
        return facts_table(type(self).__name__, self.facts())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        held = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device

    def labels(self, n: int, seed: int) -> Condition:
        """Labels drawn with the training data's frequencies, row i from ``seed + i`` alone; None for unlabelled data."""
        if not self.space.classes:
            return None
        edges = torch.tensor(np.cumsum(self.space.frequencies)[:-1], dtype=torch.float32)
        return {"label": torch.bucketize(RowDraws(seed, n, "label").uniform(), edges, right=True)}

    def conditions(self, n: int, condition: Asked, seed: int) -> Condition:
        """A condition with n rows on the transport's device: a number stands for n equal rows, None for `labels`.

        Raises:
            UsageError: For names that the model does not know, a number of rows other than n, or labels that do not exist.
        """
        rows = self.labels(n, seed) if condition is None else self._rows(n, condition)
        return None if rows is None else {name: value.to(self.device) for name, value in rows.items()}

    def _rows(self, n: int, condition: Mapping[str, Any]) -> dict[str, Tensor]:
        if not isinstance(condition, Mapping):
            raise UsageError(
                f'A condition is a dict, such as {{"label": 3}}; got {condition!r}. A seed is named: sample({n}, seed=3).'
            )
        for name in condition:
            if name not in self.conditioned_on:
                known = ", ".join(f'"{one}"' for one in self.conditioned_on if one != "null")
                hint = did_you_mean(str(name), self.conditioned_on)
                raise UsageError(f'Unknown condition "{name}"; this model knows {known}.{hint}')
        rows = {name: _tensor(name, self._numbered(value) if name == "label" else value) for name, value in condition.items()}
        for name, value in rows.items():
            if value.dim() and len(value) != n:
                raise UsageError(
                    f'The condition "{name}" has {len(value)} rows: expected one number, or a row for each of {n} samples.'
                )
        if "label" in rows:
            self._check_labels(rows["label"])
        return {name: value.expand(n) if value.dim() == 0 else value for name, value in rows.items()}

    def _numbered(self, label: Any) -> Any:
        """Labels with class names replaced by their numbers, as `Space.label_index` finds them."""
        if isinstance(label, str):
            return self.space.label_index(label)
        if isinstance(label, (list, tuple, np.ndarray)) and any(isinstance(one, str) for one in label):
            return [self.space.label_index(one) for one in label]
        return label

    def _check_labels(self, label: Tensor) -> None:
        if not self.space.classes:
            raise UsageError("This model was trained without labels, so none can be asked for.")
        if label.dim() > 1 or label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
            raise UsageError(f"Labels are whole numbers, one for each sample; got {label.dtype} of shape {tuple(label.shape)}.")
        if not bool(((label >= 0) & (label < len(self.space.classes))).all()):
            raise UsageError(f"Labels run from 0 to {len(self.space.classes) - 1}; got {label.unique().tolist()}.")

    def sample(self, n: int, condition: Asked = None, *, seed: int = 0, batch: int = BATCH) -> Tensor:
        """New samples in data units, on the CPU; sample i comes from ``seed + i`` alone.

        Args:
            n: How many.
            condition: For example ``{"label": 3}``, ``{"label": "cat"}``, or n labels in a list or tensor; None draws labels with
                the training data's frequencies where the model was trained with labels.
            seed: The seed of the first sample, any whole number.
            batch: Rows that are computed at a time.

        Returns:
            float32, (n, *shape): images in [0, 1], vectors in the data's own units.

        Raises:
            UsageError: For numbers or conditions that cannot be.
            Diverged: If a sample is not finite.
        """
        parts = [x for x, _ in self.stream(n, condition, seed=seed, batch=batch)]
        return torch.cat(parts) if parts else torch.empty(0, *self.space.shape)

    def stream(self, n: int, condition: Asked = None, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[Tensor, Condition]]:
        """The samples of `sample` in parts of ``batch`` rows, each with its condition, so that memory stays bounded.

        Raises:
            UsageError: At once, for numbers or conditions that cannot be.
            Diverged: If a sample is not finite.
        """
        n, seed, batch = whole("n", n, 0), whole("seed", seed), whole("batch", batch, 1)
        asked = None if condition is None else self._rows(n, condition)
        return self._stream(n, asked, seed, batch)

    def _stream(self, n: int, asked: Condition, seed: int, batch: int) -> Iterator[tuple[Tensor, Condition]]:
        for start in range(0, n, batch):
            rows = min(batch, n - start)
            mine = None if asked is None else {name: value[start : start + rows] for name, value in asked.items()}
            with torch.no_grad():
                given = self.conditions(rows, mine, seed + start)
                draws = RowDraws(seed + start, rows, device=self.device)
                x = finite(self(self.noise(draws), given, draws))
                made = self.space.to_data(x).float().cpu()
            yield made, given


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f'The condition "{name}" must be a number, or a list or tensor of numbers; got {value!r}.') from None


def rows_in(space: Space, x: Any) -> Tensor:
    """Rows of data as a float tensor (n, *shape).

    Raises:
        UsageError: For rows of another shape.
    """
    rows = x if isinstance(x, Tensor) else torch.as_tensor(x).float()
    if tuple(rows.shape[1:]) != tuple(space.shape):
        one = " Add the leading dimension of one row: x[None]." if tuple(rows.shape) == tuple(space.shape) else ""
        raise UsageError(f"Expected rows of shape (n, {', '.join(map(str, space.shape))}); got {tuple(rows.shape)}.{one}")
    return rows if rows.is_floating_point() else rows.float()


def check_transport(model: Any) -> None:
    """Refuse what is no transport.

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
            "checkpoint, more steps, less guidance, or float32."
        )
    return x
