"""From a caller's request to the conditions of n samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pushforward.conditions.kind import ConditionKind, mask_of
from pushforward.conditions.label import Label
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError, closest, quoted

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
            UsageError: For names that the model does not know, another number of values than n, or values that do not exist; all
                such names and columns at once.
        """
        requested = {} if requested is None else requested
        unknown = self._check(n, requested)
        try:
            values = self._values(n, requested, seed)
        except UsageError as error:
            if not unknown:
                raise
            raise UsageError(f"{unknown} {error}") from error
        if unknown:
            raise UsageError(unknown)
        return values or None

    def _values(self, n: int, requested: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        faults = []
        u, bounds = self._places(n, requested, seed)
        for name, kind in self.kinds.items():
            mask = mask_of(name)
            if mask in requested:
                values[mask] = self._mask(name, requested[mask], n)
            if name in requested:
                values[name] = self._expanded(name, kind.read(requested[name]), n, len(kind.shape))
                continue
            columns = [column for column in kind.entries if column in requested]
            if columns or mask not in requested or not bool(values[mask].all()):
                values[name] = kind.draw(u, bounds)
            for column in columns:
                try:
                    values[name] = kind.entered(values[name], column, requested[column], n)
                except UsageError as error:
                    faults.append(str(error))
            if columns:
                values[name] = kind.read(values[name])
        if faults:
            raise UsageError(" ".join(faults))
        return values

    def _places(self, n: int, requested: Any, seed: int) -> tuple[Tensor, Tensor]:
        import torch

        name, label = next(iter(self.kinds), ""), self.kinds.get("label")
        name = name if label is None else "label"
        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(n, 2)
        u = ExampleDraws(seed, n, name).uniform().double() if self.kinds else whole[:, 0]
        if not isinstance(label, Label):
            return u, whole
        if "label" in requested:
            bounds = label.bounds(self._expanded("label", label.read(requested["label"]), n, 0))
            return bounds[:, 0] + u * (bounds[:, 1] - bounds[:, 0]), bounds
        hidden = mask_of("label") in requested and bool(self._mask("label", requested[mask_of("label")], n).all())
        return u, whole if hidden or not label.frequencies else label.bounds(label.draw(u, whole))

    def _check(self, n: int, requested: Any) -> str:
        if not isinstance(requested, Mapping):
            raise UsageError(
                f'A condition is a dict, such as {{"label": 3}}; got {requested!r}. A seed is named: sample({n}, seed=3).'
            )
        unknown = []
        names = [name for condition, kind in self.kinds.items() for name in dict.fromkeys((condition, *kind.entries))]
        for name in requested:
            if name in names or name in map(mask_of, self.kinds):
                continue
            if name in self.columns:
                raise UsageError(
                    f'"{name}" is a column of the table, and this model cannot be given columns: it samples whole rows. '
                    "Models of the recipes flow, ddpm and edm can, where they are trained on the table itself and not on codes."
                )
            label = self.kinds.get("label")
            if isinstance(label, Label) and name == label.target != "":
                raise UsageError(f'"{name}" is the label of this model: ask for a class by `label={requested[name]}`.')
            if name in self.numbers:
                raise UsageError(
                    f'"{name}" is one of the numbers that this model samples, and cannot be given: its file was read as vectors. '
                    "Trained again with `table=True`, which reads the file as a table, a model can be given any columns."
                )
            if not self.kinds:
                raise UsageError(
                    f"This model was trained without {'labels' if name == 'label' else 'conditions'}, "
                    f"so none can be given; got {', '.join(map(quoted, requested))}."
                )
            unknown.append(str(name))
        for condition, kind in self.kinds.items():
            twice = [column for column in kind.entries if column in requested and column != condition]
            if condition in requested and twice:
                raise UsageError(f'"{condition}" holds "{twice[0]}": give one of them.')
        if not unknown:
            return ""
        known = [entry for condition, kind in self.kinds.items() for entry in kind.entries or (condition,)]
        listed = ", ".join(map(quoted, known))
        suggestions = [(name, closest(name, known)) for name in unknown]
        wrong = ", ".join(
            quoted(name) + ("" if near is None else f" (did you mean {quoted(near)}?)") for name, near in suggestions
        )
        return f"Unknown condition{'s' if len(unknown) > 1 else ''} {wrong}; this model knows {listed}."

    def _expanded(self, name: str, value: Tensor, n: int, dims: int) -> Tensor:
        if value.dim() == dims:
            return value.expand(n, *value.shape)
        if len(value) != n:
            raise UsageError(f'The condition "{name}" has {len(value)} values: expected one, or one for each of {n} samples.')
        return value

    def _mask(self, name: str, value: Any, n: int) -> Tensor:
        import torch

        mask = torch.as_tensor(value)
        if mask.dtype != torch.bool or mask.dim() > 1:
            raise UsageError(f'The mask "{mask_of(name)}" is True or False for each sample; got {value!r}.')
        return self._expanded(mask_of(name), mask, n, 0)
