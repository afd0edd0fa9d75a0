"""Symbolic affine combinations of tensors: a solver's step runs on them once, to read off its coefficients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Number = float | Tensor


class NotAffine(Exception):
    """A step did something else than to add states, estimates and noises, times numbers that depend on the times alone."""


def _number(value: Any) -> Number:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.double().reshape(()) if value.requires_grad else float(value)
    if isinstance(value, (int, float)):
        return float(value)
    what = f"an array of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise NotAffine(f"a state is multiplied by {what}")


class Symbol:
    """A linear combination of registers, instead of a batch of one example.

    Additions, and products with single numbers, give another symbol; anything else raises `NotAffine`. A term stays where its
    coefficient is 0, so that the coefficient keeps its gradient.

    Args:
        terms: Register -> coefficient, a float, or a float64 tensor without dimensions where a gradient goes through it.
        shape: The shape of one example.
    """

    __array_priority__ = 1000
    dtype, device = torch.float64, torch.device("cpu")

    def __init__(self, terms: dict[int, Number], shape: tuple[int, ...]) -> None:
        self.terms, self.shape, self.ndim = terms, torch.Size((1, *shape)), len(shape) + 1
        self.register: int | None = None

    @classmethod
    def of(cls, register: int, shape: tuple[int, ...]) -> Symbol:
        """The register itself."""
        symbol = cls({register: 1.0}, shape)
        symbol.register = register
        return symbol

    def settle(self, register: int) -> None:
        """Become one register, to which this symbol's value has been written."""
        self.terms, self.register = {register: 1.0}, register

    def dim(self) -> int:
        """Dimensions: those of an example, and one for the batch."""
        return self.ndim

    def to(self, *_: Any, **__: Any) -> Symbol:
        """Itself: a symbol has no type and no device."""
        return self

    def _scaled(self, by: Any) -> Symbol:
        factor = _number(by)
        return Symbol({register: weight * factor for register, weight in self.terms.items()}, self.shape[1:])

    def _plus(self, other: Any, sign: float = 1.0) -> Symbol:
        if not isinstance(other, Symbol):
            if isinstance(other, (int, float)) and other == 0:
                return self
            raise NotAffine("something other than a state, an estimate or noise is added to one")
        terms = dict(self.terms)
        for register, weight in other.terms.items():
            coefficient = terms.get(register)
            terms[register] = sign * weight if coefficient is None else coefficient + sign * weight
        return Symbol(terms, self.shape[1:])

    def __add__(self, other: Any) -> Symbol:
        return self._plus(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbol:
        return self._plus(other, -1.0)

    def __rsub__(self, other: Any) -> Symbol:
        return self._scaled(-1.0)._plus(other)

    def __neg__(self) -> Symbol:
        return self._scaled(-1.0)

    def __mul__(self, other: Any) -> Symbol:
        if isinstance(other, Symbol):
            raise NotAffine("two states are multiplied")
        return self._scaled(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Symbol:
        if isinstance(other, Symbol):
            raise NotAffine("something is divided by a state")
        return self._scaled(1 / _number(other))

    def __rtruediv__(self, other: Any) -> Symbol:
        raise NotAffine("something is divided by a state")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotAffine(f"a state is asked for `{name}`")

    def __len__(self) -> int:
        raise NotAffine("a state is asked for its number of examples")

    def __iter__(self) -> Any:
        raise NotAffine("a state is taken apart")

    def __getitem__(self, index: Any) -> Any:
        raise NotAffine("a state is taken apart")

    def __bool__(self) -> bool:
        raise NotAffine("a state decides what is done")

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Symbol:
        name = getattr(func, "__name__", "").strip("_")
        if name in _OPERATIONS and not kwargs:
            return _OPERATIONS[name](*args)
        raise NotAffine(f"a state goes through `{name}`")


def _minus(a: Any, b: Any) -> Symbol:
    return a - b if isinstance(a, Symbol) else b.__rsub__(a)


def _over(a: Any, b: Any) -> Symbol:
    return a / b if isinstance(a, Symbol) else b.__rtruediv__(a)


_OPERATIONS: dict[str, Callable[..., Symbol]] = {
    **dict.fromkeys(("add", "radd"), lambda a, b: a + b if isinstance(a, Symbol) else b + a),
    **dict.fromkeys(("mul", "rmul", "multiply"), lambda a, b: a * b if isinstance(a, Symbol) else b * a),
    **dict.fromkeys(("sub", "subtract"), _minus),
    **dict.fromkeys(("div", "truediv", "true_divide"), _over),
    "rsub": lambda a, b: _minus(b, a),
    "rtruediv": lambda a, b: _over(b, a),
    "neg": lambda a: -a,
}
