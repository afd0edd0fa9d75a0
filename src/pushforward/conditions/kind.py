"""The base of kinds of condition, the masks that hide them from a network, and requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from pushforward.errors import UsageError, did_you_mean, quoted
from pushforward.numbers import some
from pushforward.registries import PARTS, concrete

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


_NULL = "_null"
Shape = tuple[int, ...]
Cells = list[dict[str, Any]]  # text and numbers of each example by column


class ConditionKind(ABC):
    """Base class of kinds of condition, which read requests, and draw and embed values.

    A space stores its kinds as class name and arguments, so attributes keep the arguments' names,
    and equal arguments make equal kinds.
    """

    # Whether methods compute its values from the examples, so that data sets do not hold them
    learned: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one example's value: () for a label, (k,) for k numbers."""

    @abstractmethod
    def read(self, request: Any) -> Tensor:
        """Convert a request (number, name, list, array or tensor) to (*shape) or (n, *shape).

        Raises:
            UsageError: If a value is invalid for this kind.
        """

    @abstractmethod
    def draw(self, u: Tensor, bounds: Tensor) -> Tensor:
        """Draw values with the frequencies of the training data, (n, *shape).

        All conditions of a sample are drawn at the same place of the training examples, which are
        in the order of their labels.

        Args:
            u: Places from 0 (first training example) to 1 (last), uniform within the bounds, (n,)
                float64.
            bounds: Begin and end of the training examples with the sample's label, (n, 2) float64;
                0 and 1 without a label.
        """

    def bounds(self, values: Tensor) -> Tensor:
        """Return begin and end of the training examples of values, (n, 2); 0 and 1 by default."""
        import torch

        return torch.tensor([0.0, 1.0], dtype=torch.float64).expand(len(values), 2)

    @abstractmethod
    def embedding(self, width: int) -> nn.Module:
        """Build a module from values (n, *shape) and a mask to vectors (n, width) of unit length.

        Where the mask, bool (n,) or None, is True, the vector is a learned null vector.
        """

    @abstractmethod
    def describe(self) -> str:
        """Describe the condition in a few words, such as "10 classes"."""

    def check(self, values: Tensor, n: int) -> None:
        """Raise a `UsageError` if a network cannot take the values."""
        check_tensor(", ".join(self.entries), values, (n, *self.shape), "floats")

    def blank(self, n: int, device: Any) -> Tensor:
        """Return values (n, *shape) for unconditional examples, whose values are masked."""
        import torch

        return torch.zeros(n, *self.shape, device=device)

    @classmethod
    def measure(
        cls,
        values: NDArray[np.float32],
        columns: Sequence[str],
        chosen: NDArray[np.int64] | None = None,
    ) -> ConditionKind:
        """Build the kind of condition for training values: columns (n, k) with their names.

        ``chosen`` are indices of examples that values are drawn from.
        """
        raise UsageError(f"A {cls.__name__} condition cannot be built from numeric columns.")

    @property
    def entries(self) -> tuple[str, ...]:
        """Return the names of the entries of a value, for requests; empty if there are none."""
        return ()

    @property
    def channels(self) -> int:
        """Return the number of channels of a value in `as_channels`; 0 if there are none."""
        return 0

    @property
    def continuous(self) -> bool:
        """Whether nearby values of `as_channels` have similar meanings, so an MLP can use them."""
        return False

    def fits(self, other: ConditionKind) -> bool:
        """Return whether a network built for this kind can take values of another kind."""
        return self.for_networks() == other.for_networks()

    def for_networks(self) -> ConditionKind:
        """Return this kind without the data for drawing values, as stored in networks."""
        return self

    def as_channels(self, values: Tensor) -> Tensor:
        """Convert values to plain numbers, (n, channels), for appending to data."""
        raise UsageError(
            f"A {type(self).__name__} condition has no numeric form to append to data."
        )

    def entered(self, values: Tensor, entry: str, request: Any, n: int) -> Tensor:
        """Set one entry in the values of n samples, to one number or one for each."""
        numbers = as_numbers(request)
        if numbers is None or numbers.shape not in ((), (1,), (n,)):
            raise UsageError(
                f'"{entry}" must be a number, or a list or tensor of {n} numbers, all finite; got '
                f"{request!r}."
            )
        values[:, self.entries.index(entry)] = numbers.expand(n)
        return values

    def held(self, entry: str, request: Any) -> tuple[Any, list[str]]:
        """Return the value used for an entry, and warnings about a replaced value."""
        return request, []

    def cells(self, values: Tensor) -> Cells:
        """Convert values to text and numbers: one dict by column per example, for files."""
        if not self.entries:
            return [{} for _ in values]
        return [dict(zip(self.entries, row.flatten().tolist(), strict=True)) for row in values]


Kinds = Mapping[str, ConditionKind]  # kinds of condition by name


def as_numbers(request: Any) -> Tensor | None:
    """Convert to finite float32 numbers; None if this is not possible."""
    import torch

    try:
        numbers = torch.as_tensor(request)
    except (TypeError, ValueError, RuntimeError):
        return None
    if numbers.is_complex() or numbers.dtype == torch.bool or not bool(numbers.isfinite().all()):
        return None
    return numbers.to(torch.float32)


def check_tensor(name: str, values: Tensor, shape: Shape, kind: str) -> None:
    """Raise a `UsageError` if a tensor has another shape, or is not of "floats" or "integers"."""
    import torch

    fits = values.is_floating_point() == (kind == "floats") and values.dtype != torch.bool
    if not fits or tuple(values.shape) != shape:
        raise UsageError(
            f"Got {name or 'values'} of shape {tuple(values.shape)} and {values.dtype}; expected "
            f"{kind} of shape {shape}."
        )


def mask_of(name: str) -> str:
    """Return the name of a condition's mask: bool (n,), True for unconditional examples."""
    return f"{name}{_NULL}"


def hidden(condition: Mapping[str, Tensor], hide: Tensor) -> dict[str, Tensor]:
    """Mask the values of a condition where ``hide``, bool (n,), is True."""
    masked = dict(condition)
    for name in condition:
        if not name.endswith(_NULL):
            mask = mask_of(name)
            masked[mask] = hide | condition[mask] if mask in condition else hide
    return masked


def known_to(conditions: Kinds, condition: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
    """Return the declared values and masks of a condition; None if there are none."""
    given = (condition or {}).items()
    known = {name: value for name, value in given if name.removesuffix(_NULL) in conditions}
    return known or None


def met(wanted: Kinds, offered: Kinds) -> bool:
    """Return whether data has all requested conditions."""
    for name, kind in wanted.items():
        if not kind.learned and (name not in offered or not kind.fits(offered[name])):
            return False
    return True


def described(conditions: Kinds) -> str:
    """Describe conditions in a few words, such as "10 classes, given age"."""
    words = [kind.describe() for kind in conditions.values()]
    return ", ".join(words) or "no labels or other conditions"


def request_names(name: str, kind: ConditionKind) -> tuple[str, ...]:
    """Return the names for requests of a condition: its columns, or its own name without them."""
    return kind.entries or (name,)


def names_of(conditions: Kinds) -> tuple[str, ...]:
    """Return the sorted names for requests of all conditions."""
    names = [request_names(name, kind) for name, kind in conditions.items()]
    return tuple(sorted(chain(*names)))


def cells_of(conditions: Kinds, condition: Mapping[str, Tensor] | None, n: int) -> Cells:
    """Return the values of n examples as text and numbers by column."""
    cells: Cells = [{} for _ in range(n)]
    given = condition or {}
    for name, kind in conditions.items():
        if name in given:
            for row, more in zip(cells, kind.cells(given[name].cpu()), strict=True):
                row |= more
    return cells


def checked(conditions: Kinds) -> dict[str, ConditionKind]:
    """Validate kinds of condition by name."""
    taken = {"label", *conditions, *map(mask_of, conditions)}
    for name, kind in conditions.items():
        if not name.isidentifier() or name.endswith(_NULL) or name in ("x", "part"):
            raise UsageError(
                f'A condition cannot be named "{name}". Use a word other than x and part, without '
                f"{_NULL}."
            )
        if not isinstance(kind, ConditionKind):
            raise UsageError(
                f'The condition "{name}" is a {type(kind).__name__}; expected a kind of condition, '
                "such as Label."
            )
        own = {name} - {"label"} if kind.entries == (name,) else set()
        if kind.learned:
            own = {"label"} - conditions.keys()
        twice = (taken - own).intersection(kind.entries)
        if twice:
            raise UsageError(
                "Given columns cannot have the same names as conditions. Rename them: "
                f"{', '.join(twice)}."
            )
        taken.update(kind.entries)
    return dict(conditions)


def check_mask(name: str, mask: Tensor | None, n: int) -> None:
    """Raise a `UsageError` if a mask is not bool of shape (n,)."""
    import torch

    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != (n,)):
        raise UsageError(
            f'Got a mask "{mask_of(name)}" of shape {tuple(mask.shape)} and {mask.dtype}; expected '
            f"bool of shape ({n},)."
        )


def registry() -> dict[str, type[ConditionKind]]:
    """Return every kind of condition by class name, including kinds of plugins."""
    own = {name: PARTS[name] for name in ("Known", "Label", "Numbers")}
    return {**own, **concrete(PARTS.added, ConditionKind)}


class Request:
    """Parser of requests for conditions, by the kinds that a space declares.

    The columns ``sampled`` are those that the model generates.
    """

    def __init__(self, kinds: Kinds, sampled: Collection[str] = ()) -> None:
        self.kinds = kinds
        self.sampled = sampled

    def values(self, n: int, requested: Any, seed: int) -> dict[str, Tensor] | None:
        """Return values and masks of n samples on the CPU; sample i depends only on ``seed + i``.

        ``requested`` holds conditions, columns of conditions, and masks; None to draw all. Values
        that are not requested are drawn together, from one training example per sample, which has
        the sample's label. A condition that is hidden for all samples is left out.

        Raises:
            UsageError: If a name, a value or the number of values is wrong.
        """
        if requested is None:
            requested = {}
        self._check(n, requested)
        values: dict[str, Tensor] = {}
        u, bounds = self._places(n, requested, seed)
        for name, kind in self.kinds.items():
            mask = mask_of(name)
            if mask in requested:
                values[mask] = _mask(mask, requested[mask], n)
            if name in requested:
                values[name] = _expanded(name, kind.read(requested[name]), n, len(kind.shape))
                continue
            columns = [column for column in kind.entries if column in requested]
            all_hidden = mask in requested and bool(values[mask].all())
            if columns or not all_hidden:
                values[name] = kind.draw(u, bounds)
            for column in columns:
                values[name] = kind.entered(values[name], column, requested[column], n)
            if columns:
                values[name] = kind.read(values[name])
        return values or None

    def _places(self, n: int, requested: Any, seed: int) -> tuple[Tensor, Tensor]:
        import torch

        from pushforward.draws import ExampleDraws

        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(n, 2)
        label = self.kinds.get("label")
        stream = next(iter(self.kinds), "") if label is None else "label"
        u = ExampleDraws(seed, n, stream).uniform().double()
        if label is None:
            return u, whole
        if "label" in requested:
            bounds = label.bounds(_expanded("label", label.read(requested["label"]), n, 0))
            return bounds[:, 0] + u * (bounds[:, 1] - bounds[:, 0]), bounds
        mask = mask_of("label")
        if mask in requested and bool(_mask(mask, requested[mask], n).all()):
            return u, whole
        return u, label.bounds(label.draw(u, whole))

    def _check(self, n: int, requested: Any) -> None:
        if not isinstance(requested, Mapping):
            raise UsageError(
                f'A condition must be a dict, such as {{"label": 3}}; got {requested!r}. Pass a '
                f"seed by keyword: sample({n}, seed=3)."
            )
        for name, kind in self.kinds.items():
            twice = requested.keys() & set(kind.entries) - {name}
            if name in requested and twice:
                raise UsageError(
                    f'"{name}" already contains {some(map(quoted, twice))}. Specify only one.'
                )
        known = names_of(self.kinds)
        allowed = {*known, *self.kinds, *map(mask_of, self.kinds)}
        for name in requested:
            if name not in allowed:
                raise UsageError(self._unknown(name, requested[name], known))

    def _unknown(self, name: str, value: Any, known: Sequence[str]) -> str:
        if name in self.sampled:
            return (
                f'"{name}" is a column that this model samples, and cannot be given. Train flow, '
                "ddpm or edm on a table (`table=True`), not on latents; then any columns can be "
                "given."
            )
        if name == getattr(self.kinds.get("label"), "target", ""):
            return f'"{name}" is the label of this model. Choose a class with `label={value}`.'
        listed = ", ".join(map(quoted, known)) or "no labels or other conditions"
        hint = did_you_mean(name, known)
        return f"Unknown condition {quoted(name)}; this model supports {listed}.{hint}"


def _mask(name: str, value: Any, n: int) -> Tensor:
    import torch

    mask = torch.as_tensor(value)
    if mask.dtype != torch.bool or mask.dim() > 1:
        raise UsageError(f'The mask "{name}" must be True or False for each sample; got {value!r}.')
    return _expanded(name, mask, n, 0)


def _expanded(name: str, value: Tensor, n: int, dims: int) -> Tensor:
    if value.dim() == dims:
        return value.expand(n, *value.shape)
    if len(value) != n:
        raise UsageError(
            f'The condition "{name}" is a list of {len(value)}; expected a list of {n}, or a '
            "single value without a list."
        )
    return value
