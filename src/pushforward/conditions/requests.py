"""From a caller's request to the conditions of n samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pushforward.conditions.kind import ConditionKind, mask_of
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError, did_you_mean, quoted

if TYPE_CHECKING:
    from torch import Tensor


class Request:
    """Reads requests by the kinds of condition that a space declares.

    Args:
        kinds: By name.
        columns: Names of a table's columns, which only some models can be given.
        numbers: Names of the numbers of vectors, which no model can be given.
    """

    def __init__(self, kinds: Mapping[str, ConditionKind], columns: Collection[str] = (), numbers: Collection[str] = ()) -> None:
        self.kinds, self.columns, self.numbers = kinds, columns, numbers

    def values(self, n: int, requested: Any, seed: int) -> dict[str, Tensor] | None:
        """Values and masks of n samples on the CPU; sample i depends on its request and on ``seed + i`` alone.

        Conditions that are not requested are drawn together, as they occur in the training data: all those of a sample are of a
        single training example, which has the sample's label. Where some columns of a condition are requested, the others are
        those of this example. One that is hidden for all samples is left out.

        Args:
            n: How many.
            requested: By name: conditions, columns of conditions, and masks; None draws all.
            seed: Of the first sample.

        Raises:
            UsageError: For names that the model does not know, another number of values than n, or values that do not exist.
        """
        requested = {} if requested is None else requested
        self._check(n, requested)
        values: dict[str, Tensor] = {}
        u, bounds = self._places(n, requested, seed)
        for name, kind in self.kinds.items():
            mask = mask_of(name)
            if mask in requested:
                values[mask] = self._mask(name, requested[mask], n)
            if name in requested:
                values[name] = _expanded(name, kind.read(requested[name]), n, len(kind.shape))
                continue
            columns = [column for column in kind.entries if column in requested]
            if columns or mask not in requested or not bool(values[mask].all()):
                values[name] = kind.draw(u, bounds)
            for column in columns:
                values[name] = kind.entered(values[name], column, requested[column], n)
            if columns:
                values[name] = kind.read(values[name])
        return values or None

    def _places(self, n: int, requested: Any, seed: int) -> tuple[Tensor, Tensor]:
        """Places among the training examples that values are drawn at, and the bounds of the samples' labels."""
        import torch

        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(n, 2)
        if not self.kinds:
            return whole[:, 0], whole
        label = self.kinds.get("label")
        u = ExampleDraws(seed, n, next(iter(self.kinds)) if label is None else "label").uniform().double()
        if label is not None and "label" in requested:
            bounds = label.bounds(_expanded("label", label.read(requested["label"]), n, 0))
            return bounds[:, 0] + u * (bounds[:, 1] - bounds[:, 0]), bounds
        mask = mask_of("label")
        if label is None or (mask in requested and bool(self._mask("label", requested[mask], n).all())):
            return u, whole
        return u, label.bounds(label.draw(u, whole))

    def _check(self, n: int, requested: Any) -> None:
        if not isinstance(requested, Mapping):
            raise UsageError(
                f'A condition is a dict, such as {{"label": 3}}; got {requested!r}. A seed is named: sample({n}, seed=3).'
            )
        for condition, kind in self.kinds.items():
            twice = [column for column in kind.entries if column in requested and column != condition]
            if condition in requested and twice:
                raise UsageError(f'"{condition}" holds "{twice[0]}": give one of them.')
        known = [entry for condition, kind in self.kinds.items() for entry in kind.entries or (condition,)]
        for name in requested:
            if name in known or name in self.kinds or name in map(mask_of, self.kinds):
                continue
            if name in self.columns:
                raise UsageError(
                    f'"{name}" is a column of the table, and this model cannot be given columns: it samples whole rows. '
                    "Models of the recipes flow, ddpm and edm can, where they are trained on the table itself and not on codes."
                )
            if name in self.numbers:
                raise UsageError(
                    f'"{name}" is one of the numbers that this model samples, and cannot be given: its file was read as vectors. '
                    "Trained again with `table=True`, which reads the file as a table, a model can be given any columns."
                )
            if not self.kinds:
                raise UsageError(f"This model was trained without labels or other conditions, so none can be given; got {name!r}.")
            raise UsageError(
                f"Unknown condition {quoted(str(name))}; this model knows {', '.join(map(quoted, known))}.{did_you_mean(name, known)}"
            )

    def _mask(self, name: str, value: Any, n: int) -> Tensor:
        import torch

        mask = torch.as_tensor(value)
        if mask.dtype != torch.bool or mask.dim() > 1:
            raise UsageError(f'The mask "{mask_of(name)}" is True or False for each sample; got {value!r}.')
        return _expanded(mask_of(name), mask, n, 0)


def _expanded(name: str, value: Tensor, n: int, dims: int) -> Tensor:
    if value.dim() == dims:
        return value.expand(n, *value.shape)
    if len(value) != n:
        raise UsageError(f'The condition "{name}" has {len(value)} values: expected one, or one for each of {n} samples.')
    return value
