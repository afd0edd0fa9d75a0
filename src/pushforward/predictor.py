"""The interface of solvers: an estimate of data, noise, score or velocity at x_t and t.

The estimate is affine in x_t and in a network's output, with coefficients that depend on the times alone. So a predictor
does its work in two halves: `Predicting.columns` computes the coefficients, for many times at once and before a solve begins,
and `Predicting.evaluate` uses them at a state. `predict` is both in one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.errors import UsageError
from pushforward.paths import Coefficients, Path
from pushforward.predictions import affine, check

Condition = dict[str, Tensor] | None
TimeColumns = dict[str, Any]
"""Coefficients by name: numbers or tensors that broadcast over a batch; a dict for those of a wrapped predictor."""
SCALE = "guidance scale"
"""The entry of a condition that holds each example's scale of guidance, (n,); it is no condition of the data."""


def condition_at(condition: Condition, index: Tensor | NDArray[np.int64] | slice) -> Condition:
    """A condition of some examples, by their numbers, a mask or a slice."""
    return None if condition is None else {name: part[index] for name, part in condition.items()}


def without_scale(condition: Condition) -> tuple[Condition, Tensor | None]:
    """A condition as networks take it, and apart from it the scales of guidance that it held."""
    if condition is None or SCALE not in condition:
        return condition, None
    return {name: part for name, part in condition.items() if name != SCALE} or None, condition[SCALE]


@runtime_checkable
class Predictor(Protocol):
    """The protocol that solvers need: estimates of data, noise, score or velocity at x_t. Denoisers and guided ones follow it."""

    path: Path
    space: Space

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` at x_t (n, *shape) and times t (n,), model units."""
        ...

    def calls(self, t: float = 0.5) -> int:
        """Network evaluations of one example that one prediction at time t costs."""
        ...


@runtime_checkable
class Jumping(Protocol):
    """A predictor that also maps a state at t to the state at s in one evaluation (`pushforward.denoiser.FlowMap`)."""

    path: Path
    space: Space

    def jump(self, x_t: Tensor, t: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """The state at times s (n,) on the trajectory through x_t (n, *shape) at times t (n,), model units."""
        ...


def check_predictor(denoiser: object) -> None:
    """Refuse anything but a predictor.

    Raises:
        UsageError: Saying how to get a denoiser from a run.
    """
    if not callable(getattr(denoiser, "predict", None)):
        kind = type(denoiser).__name__
        raise UsageError(f"Expected a denoiser, got a {kind}. That of a run is run.denoiser, that of a flow is flow.denoiser.")


class Predicting(nn.Module, ABC):
    """The base of denoisers and their wrappers."""

    path: Path
    space: Space

    @property
    def jumps(self) -> bool:
        """Whether an estimate may know a second time, so that `jump` is a map between two times."""
        return False

    @abstractmethod
    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        """The coefficients for `evaluate` that depend on the times, each of the shape of t.

        Args:
            kind: The estimate, a name in `pushforward.predictions.ROWS`.
            t: Where the state is, any shape.
            to: The time up to which the estimate is to hold, of the shape of t; None for t itself.
        """

    @abstractmethod
    def evaluate(self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` at x_t (n, *shape) with given `columns`, which broadcast over x_t; model units."""

    @abstractmethod
    def calls(self, t: float = 0.5) -> int:
        """Network evaluations of one example that one prediction at time t costs."""

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` (see `pushforward.predictions.ROWS`) at x_t (n, *shape) and t (n,), model units."""
        return self.evaluate(check(kind), x_t, over(self.columns(kind, t), x_t), condition)

    def jump(self, x_t: Tensor, t: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """The state at s (n,) on the trajectory through x_t (n, *shape) at t (n,), model units.

        It is alpha_s x + sigma_s z, with the data x and the noise z of one estimate made for the way from t to s.
        """
        return self.evaluate_jump(x_t, over(self.jump_columns(t, s), x_t), condition)

    def jump_columns(self, t: Tensor, s: Tensor) -> TimeColumns:
        """The coefficients for `evaluate_jump` that depend on t and s, each of their shape."""
        here, there = self.path.at(t), self.path.at(s)
        state = there.sigma / here.sigma
        return {"state": state, "output": there.alpha - state * here.alpha, "inner": self.columns("data", t, s)}

    def evaluate_jump(self, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        """The state at the later time, from x_t (n, *shape) and `jump_columns`."""
        return blend(columns, x_t, self.evaluate("data", x_t, columns["inner"], condition))


def has_jump(denoiser: object) -> bool:
    """Whether a predictor is a map between two times."""
    return denoiser.jumps if isinstance(denoiser, Predicting) else isinstance(denoiser, Jumping)


def _own(denoiser: object) -> bool:
    """Whether a prediction can be computed in two halves: not where a subclass or a caller has replaced `predict`."""
    return (
        isinstance(denoiser, Predicting)
        and type(denoiser).predict is Predicting.predict
        and type(denoiser).jump is Predicting.jump
        and "predict" not in vars(denoiser)
    )


def columns_of(denoiser: Predictor, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
    """The columns of any predictor, each of the shape of t; ``kind`` "jump" gives those of a jump from t to ``to``.

    Of a predictor that knows only `predict` they are the times themselves.
    """
    if not _own(denoiser):
        return {"t": t} if to is None else {"t": t, "to": to}
    assert isinstance(denoiser, Predicting)
    if kind == "jump":
        assert to is not None
        return denoiser.jump_columns(t, to)
    return denoiser.columns(check(kind), t, to)


def evaluate(denoiser: Predictor, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
    """The estimate of ``kind``, or the state after a "jump", with the columns of `columns_of`."""
    if _own(denoiser):
        assert isinstance(denoiser, Predicting)
        if kind == "jump":
            return denoiser.evaluate_jump(x_t, columns, condition)
        return denoiser.evaluate(kind, x_t, columns, condition)
    t = times_for(columns["t"], x_t)
    if kind == "jump":
        assert isinstance(denoiser, Jumping)
        return denoiser.jump(x_t, t, times_for(columns["to"], x_t), condition)
    return denoiser.predict(kind, x_t, t, condition)


def affine_columns(kind: str, to: str, k: Coefficients) -> TimeColumns:
    """How an output of one kind is read as another: ``state`` x_t + ``output`` y; empty where they are the same kind."""
    if kind == to:
        return {}
    state, output = affine(kind, to, k)
    return {"state": state, "output": output}


def blend(columns: TimeColumns, x_t: Tensor, y: Tensor) -> Tensor:
    """``state`` x_t + ``output`` y; y itself where the columns name neither."""
    if "state" not in columns:
        return y
    state, output = columns["state"], columns["output"]
    if isinstance(state, float):
        return (y * output).add(x_t, alpha=state)
    return state * x_t + output * y


def times_for(t: Any, x: Tensor) -> Tensor:
    """A column of times as a network takes it, (n,), of the type of x."""
    if isinstance(t, Tensor):
        return t.to(x).reshape(-1).expand(x.shape[0])
    return x.new_full((x.shape[0],), t)


def mapped(columns: TimeColumns, change: Any) -> TimeColumns:
    """The columns with ``change`` made to each of them, inside as well."""
    return {name: mapped(part, change) if isinstance(part, dict) else change(part) for name, part in columns.items()}


def over(columns: TimeColumns, x: Tensor) -> TimeColumns:
    """Columns of shape (n,), shaped to multiply a batch of the shape of x and of its type."""
    return mapped(columns, lambda part: shaped(part.to(x.dtype), x))


def shaped(values: Tensor, x: Tensor) -> Tensor:
    """Values of shape (n,), shaped to multiply a batch of the shape of x."""
    return values.reshape(-1, *(1,) * (x.dim() - 1))


class Wrapped(Predicting):
    """A predictor around another one, with its path, space and number of calls by default.

    Args:
        denoiser: The wrapped predictor.

    Raises:
        UsageError: For anything but a predictor.
    """

    denoiser: Any

    def __init__(self, denoiser: Predictor) -> None:
        super().__init__()
        check_predictor(denoiser)
        self.denoiser, self.path, self.space = denoiser, denoiser.path, denoiser.space

    @property
    def jumps(self) -> bool:
        return isinstance(self.denoiser, Predicting) and has_jump(self.denoiser)

    def calls(self, t: float = 0.5) -> int:
        return self.denoiser.calls(t)
