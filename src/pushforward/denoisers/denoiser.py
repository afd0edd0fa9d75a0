"""Denoisers: estimates of data, noise, score or velocity at x_t and t, and their networks.

An estimate is affine in x_t and in a network's output. `Predicting.columns` computes the
coefficients, which depend only on times, before a solve begins; `Predicting.evaluate` uses them.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pushforward.arguments import one_of
from pushforward.data.core.sampler import Condition
from pushforward.data.spaces import Space
from pushforward.errors import UsageError
from pushforward.paths import Coefficients, Narrowed, Path, Source, affine, check, convert

# The time input of networks: t itself, or log(sigma / alpha) / 4, EDM's c_noise on any path
CLOCKS = {
    "t": lambda path, t: t,
    "log_snr": lambda path, t: -path.log_snr(t) / 8,
}


@dataclass(frozen=True)
class Preconditioning:
    """Scaling of a denoiser's network: input, time and output.

    Args:
        scale_input: Whether to divide x_t by hypot(alpha, sigma) (EDM's c_in).
        clock: Time input of the network, a name in `CLOCKS`.
        output: Prediction of the network, if it is not the denoiser's, such as "v".
        guidance: Guidance scales between which the network of a `FlowMap` takes a scale after its
            times, rescaled to 0 to 1.

    Raises:
        UsageError: If the clock or output is unknown, or the range is not finite and rising.

    References:
        Karras et al., EDM (2022), section 5; for data of unit variance its output is -v.
    """

    scale_input: bool = True
    clock: str = "t"
    output: str | None = None
    guidance: Sequence[float] | None = None

    def __post_init__(self) -> None:
        one_of("clock", self.clock, CLOCKS)
        if self.output is not None:
            check(self.output)
        if self.guidance is not None:
            object.__setattr__(self, "guidance", rising("A guidance range", self.guidance))


def rising(name: str, pair: Sequence[float]) -> tuple[float, float]:
    """Return two finite numbers, the lower first, or raise a `UsageError`."""
    low, high = map(float, pair)
    if not -math.inf < low < high < math.inf:
        raise UsageError(f"{name} needs two numbers, the lower first; got {low:g} and {high:g}.")
    return low, high


def neutral(scales: Sequence[float]) -> float:
    """Return the guidance scale 1 if it is within a range, else the lowest of the range."""
    low, high = scales
    return 1.0 if low <= 1 <= high else float(low)


# Coefficients by name: numbers or tensors; a dict for those of a wrapped predictor
TimeColumns = dict[str, Any]
# The entry of a condition that holds each example's guidance scale, (n,)
SCALE = "guidance scale"


def condition_at(condition: Condition, index: Tensor | NDArray[np.int64] | slice) -> Condition:
    """Select the conditions of some examples by indices, a mask or a slice."""
    if condition is None:
        return None
    return {name: part[index] for name, part in condition.items()}


def condition_on(condition: Condition, device: torch.device | str) -> Condition:
    """Return a condition on a device."""
    if condition is None:
        return None
    return {name: part.to(device) for name, part in condition.items()}


def without_scale(condition: Condition) -> tuple[Condition, Tensor | None]:
    """Split a condition into the part for networks and its guidance scales."""
    if condition is None or SCALE not in condition:
        return condition, None
    rest = dict(condition)
    scale = rest.pop(SCALE)
    return rest or None, scale


@runtime_checkable
class Predictor(Protocol):
    """Protocol for solvers: estimates of data, noise, score or velocity at x_t."""

    path: Path

    @property
    def space(self) -> Space:
        """Return the shape and units of the data."""

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """Predict ``kind`` at x_t (n, *shape) and times t (n,), in model units."""

    def calls(self, t: float = 0.5) -> int:
        """Return the number of network evaluations per example for one prediction at time t."""


def check_predictor(denoiser: object) -> None:
    """Raise a `UsageError` if the object is not a predictor."""
    if not callable(getattr(denoiser, "predict", None)):
        raise UsageError(f"Expected a denoiser (run.denoiser), got a {type(denoiser).__name__}.")


class Predicting(nn.Module, ABC):
    """Base class of denoisers and their wrappers."""

    path: Path
    space: Space

    @property
    def jumps(self) -> bool:
        return False

    @abstractmethod
    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        """Compute the coefficients for `evaluate` from t, up to ``to``, of the shape of t."""

    @abstractmethod
    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        """Evaluate an estimate at x_t (n, *shape) with `columns` that broadcast over x_t."""

    @abstractmethod
    def calls(self, t: float = 0.5) -> int:
        """Return the number of network evaluations per example for one prediction at time t."""

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """Predict ``kind``, a name in `pushforward.paths.ROWS`, at x_t (n, *shape) and t (n,)."""
        return self.evaluate(check(kind), x_t, over(self.columns(kind, t), x_t), condition)

    def jump(self, x_t: Tensor, t: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        return self.evaluate_jump(x_t, over(self.jump_columns(t, s), x_t), condition)

    def jump_columns(self, t: Tensor, s: Tensor) -> TimeColumns:
        here = self.path.at(t)
        there = self.path.at(s)
        state = there.sigma / here.sigma
        output = there.alpha - state * here.alpha
        return {"state": state, "output": output, "inner": self.columns("data", t, s)}

    def evaluate_jump(
        self, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        """Compute the state after a jump from x_t (n, *shape) and `jump_columns`."""
        data = self.evaluate("data", x_t, columns["inner"], condition)
        return blend(columns, x_t, data)


def has_jump(denoiser: object) -> bool:
    """Return whether a predictor is a map between two times."""
    if isinstance(denoiser, Predicting):
        return denoiser.jumps
    return hasattr(denoiser, "jump")


def _own(denoiser: object) -> bool:
    return (
        isinstance(denoiser, Predicting)
        and type(denoiser).predict is Predicting.predict
        and type(denoiser).jump is Predicting.jump
        and "predict" not in vars(denoiser)
    )


def columns_of(denoiser: Predictor, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
    """Compute the columns of any predictor; those of one with only `predict` are times."""
    predictor: Any = denoiser
    if not _own(denoiser):
        if to is None:
            return {"t": t}
        return {"t": t, "to": to}
    if kind == "jump":
        return predictor.jump_columns(t, to)
    return predictor.columns(check(kind), t, to)


def evaluate(
    denoiser: Predictor, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
) -> Tensor:
    """Evaluate an estimate, or the state after a "jump", with the columns of `columns_of`."""
    predictor: Any = denoiser
    if _own(denoiser):
        if kind == "jump":
            return predictor.evaluate_jump(x_t, columns, condition)
        return predictor.evaluate(kind, x_t, columns, condition)
    t = times_for(columns["t"], x_t)
    if kind == "jump":
        return predictor.jump(x_t, t, times_for(columns["to"], x_t), condition)
    return denoiser.predict(kind, x_t, t, condition)


def affine_columns(kind: str, to: str, k: Coefficients) -> TimeColumns:
    """Return the coefficients that convert an output to another kind."""
    if kind == to:
        return {}
    state, output = affine(kind, to, k)
    return {"state": state, "output": output}


def blend(columns: TimeColumns, x_t: Tensor, y: Tensor) -> Tensor:
    """Compute ``state`` x_t + ``output`` y, if the columns contain them."""
    if "state" not in columns:
        return y
    state = columns["state"]
    output = columns["output"]
    if isinstance(state, float):
        return (y * output).add(x_t, alpha=state)
    return state * x_t + output * y


def times_for(t: Any, x: Tensor) -> Tensor:
    """Convert a column of times for a network, (n,), in the dtype of x."""
    if isinstance(t, Tensor):
        return t.to(x).reshape(-1).expand(x.shape[0])
    return x.new_full((x.shape[0],), t)


def mapped(columns: TimeColumns, change: Any) -> TimeColumns:
    """Apply ``change`` to each column, including nested ones."""
    changed = {}
    for name, part in columns.items():
        changed[name] = mapped(part, change) if isinstance(part, dict) else change(part)
    return changed


def over(columns: TimeColumns, x: Tensor) -> TimeColumns:
    """Reshape columns (n,) to multiply a batch of the shape of x, in its dtype."""
    return mapped(columns, lambda part: shaped(part.to(x.dtype), x))


def shaped(values: Tensor, x: Tensor) -> Tensor:
    """Reshape values (n,) to multiply a batch of the shape of x."""
    return values.reshape(-1, *(1,) * (x.dim() - 1))


class Wrapped(Predicting):
    """Wrapper of a predictor."""

    denoiser: Any

    def __init__(self, denoiser: Predictor) -> None:
        super().__init__()
        check_predictor(denoiser)
        self.denoiser = denoiser
        self.path = denoiser.path

    @property
    def space(self) -> Space:  # type: ignore[override]
        return self.denoiser.space  # type: ignore[no-any-return]

    @property
    def jumps(self) -> bool:
        return isinstance(self.denoiser, Predicting) and has_jump(self.denoiser)

    def calls(self, t: float = 0.5) -> int:
        return self.denoiser.calls(t)


class ChangesData(Wrapped):
    """Wrapper that changes the predicted data of another predictor."""

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        columns = affine_columns("data", kind, self.path.at(t))
        return {"inner": columns_of(self.denoiser, "data", t, to), **columns}


@dataclass(frozen=True)
class MapSampling:
    """Settings for sampling a map between two times in several jumps.

    Args:
        grid: Time grid on which the map has learned to jump.
        only_to_data: Whether the map has only learned jumps to s = 0, like a consistency model.
    """

    grid: str | None = None
    only_to_data: bool = False


class Denoiser(Predicting):
    """Denoiser of a network, a path and a prediction; predicts data, noise, score, velocity or v.

    Args:
        network: ``network(x, t, condition) -> tensor`` with the shape of x.
        path: Path of the training.
        prediction: Prediction of the denoiser: data, noise, velocity, v or score.
        space: Shape and units of the data.
        preconditioning: Scaling of network input and output.
        unconditional: Whether the model is also trained without labels, as guidance needs.
        source: Noise source of the training, with which only data and velocity can be predicted.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        prediction: str,
        space: Space,
        *,
        preconditioning: Preconditioning | None = None,
        unconditional: bool = True,
        source: Source | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.path = path
        self.prediction = check(prediction)
        self.space = space
        self.preconditioning = preconditioning or Preconditioning()
        self.unconditional = unconditional
        self.source = source

    @property
    def output(self) -> str:
        """Return the prediction of the network itself."""
        return self.preconditioning.output or self.prediction

    def time(self, t: Tensor) -> Tensor:
        """Return the time input of the network."""
        return CLOCKS[self.preconditioning.clock](self.path, t)

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        k = self.coefficients(x_t, t)
        scaled = x_t
        if self.preconditioning.scale_input:
            scaled = x_t / k.r
        output = call(self.network, scaled, self.time(t), condition)
        if output.shape != x_t.shape:
            raise UsageError(
                f"{type(self.network).__name__} returned shape {tuple(output.shape)} for x of "
                f"shape {tuple(x_t.shape)}. A denoiser's network must return the shape of x."
            )
        return convert(self.output, self.prediction, output, x_t, k)

    def coefficients(self, x_t: Tensor, t: Tensor) -> Coefficients:
        """Return the path's coefficients at t, reshaped to multiply x_t."""
        return self.path.at(t).over(x_t)

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        if self.source is not None and kind in ("noise", "score"):
            raise UsageError(
                f"This model was trained from {self.source.data} instead of noise, so it has no "
                f'"{kind}". Sample it with heun or rk4.'
            )
        k = self.path.at(t)
        columns = {"time": self.time(t)}
        if self.preconditioning.scale_input:
            columns["scale"] = 1 / k.r
        return columns | affine_columns(self.output, kind, k)

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        output = call(self.network, *self._inputs(columns, x_t), condition)
        return blend(columns, x_t, output)

    def network_features(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> list[Tensor]:
        """Compute the features (`UNet.features`) of the network for x_t (n, *shape) at t (n,)."""
        columns = over(self.columns(self.output, t), x_t)
        condition, _ = without_scale(condition)
        features: Any = self.network.features
        return call(features, *self._inputs(columns, x_t), condition)

    def _inputs(self, columns: TimeColumns, x_t: Tensor) -> tuple[Tensor, Tensor]:
        if "scale" in columns:
            x_t = x_t * columns["scale"]
        return x_t, self._times(columns, x_t)

    def _times(self, columns: TimeColumns, x_t: Tensor) -> Tensor:
        return times_for(columns["time"], x_t)

    def calls(self, t: float = 0.5) -> int:
        return 1

    def on(self, path: Path) -> Rescheduled:
        """Return the same model on another path (`Rescheduled`)."""
        return Rescheduled(self, path)


class FlowMap(Denoiser):
    """Denoiser with a second time s, a map between two times: the estimate holds from t to s.

    ``network(x, t, condition)`` takes the times t and s, (n, 2). At s = t it is an ordinary
    denoiser; at another s, `jump` maps x_t to the state at s in one evaluation, on the straight
    path by the mean velocity. ``sampling`` holds settings for several jumps.

    References:
        Song et al., Consistency Models (2023); Kim et al., Consistency Trajectory Models (2024),
        eq. 9; Boffi et al., Flow Map Matching (2024); Geng et al., Mean Flows for One-step
        Generative Modeling (2025), for the mean velocity.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        prediction: str,
        space: Space,
        *,
        preconditioning: Preconditioning | None = None,
        unconditional: bool = True,
        source: Source | None = None,
        sampling: MapSampling | None = None,
    ) -> None:
        super().__init__(
            network,
            path,
            prediction,
            space,
            preconditioning=preconditioning,
            unconditional=unconditional,
            source=source,
        )
        self.sampling = sampling or MapSampling()

    @property
    def jumps(self) -> bool:
        return True

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        second = t if to is None else to
        if to is not None and self.preconditioning.clock == "log_snr":  # infinite at 0
            second = to.clamp(min=self.path.ends[0])
        return {**super().columns(kind, t), "until": self.time(second)}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        if self.preconditioning.guidance is not None:
            low, high = self.preconditioning.guidance
            condition, given = without_scale(condition)
            scale = neutral((low, high)) if given is None else given
            columns = {**columns, "guidance": (scale - low) / (high - low)}
        return super().evaluate(kind, x_t, columns, condition)

    def _times(self, columns: TimeColumns, x_t: Tensor) -> Tensor:
        names = [name for name in ("time", "until", "guidance") if name in columns]
        return torch.stack([times_for(columns[name], x_t) for name in names], dim=1)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Condition = None, to: Tensor | None = None
    ) -> Tensor:
        """Predict at x_t (n, *shape) and t (n,), valid up to ``to`` (n,), None for t itself."""
        columns = over(self.columns(self.prediction, t, to), x_t)
        return self.evaluate(self.prediction, x_t, columns, condition)


def trained_denoiser(denoiser: Predictor) -> Denoiser | None:
    """Return the trained denoiser inside guidance and path wrappers; None for other predictors."""
    inner: object = denoiser
    while inner is not None and not isinstance(inner, Denoiser):
        inner = getattr(inner, "denoiser", None)
    return inner


def guidance_range(denoiser: Predictor) -> Sequence[float] | None:
    """Return the guidance scales for which a map was distilled, if any."""
    inner = trained_denoiser(denoiser)
    if inner is None:
        return None
    return inner.preconditioning.guidance


class Rescheduled(Wrapped):
    """Denoiser on another path than in training: its input is matched in log-SNR and scale.

    The new path's ends are narrowed to the noise levels of the denoiser.

    References:
        Karras et al., EDM (2022), section 2; Kingma et al., Variational Diffusion Models (2021),
        section 5.1.
    """

    def __init__(self, denoiser: Predictor, path: Path) -> None:
        super().__init__(denoiser)
        log_snr = torch.tensor(denoiser.path.log_snr_ends(), dtype=torch.float64)
        low, high = path.time_within(log_snr).tolist()
        self.path = path
        if not np.allclose((low, high), path.ends, rtol=1e-9, atol=0):
            self.path = Narrowed(path, low, high)

    def _matched(self, t: Tensor) -> Tensor:
        return self.denoiser.path.time_within(self.path.log_snr(t))

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        here = self.path.at(t)
        then = self._matched(t)
        if to is not None:
            to = self._matched(to)
        scale = self.denoiser.path.at(then).r / here.r
        inner = columns_of(self.denoiser, "v", then, to)
        return {"scale": scale, "inner": inner, **affine_columns("v", kind, here)}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        scaled = x_t * columns["scale"]
        v = evaluate(self.denoiser, "v", scaled, columns["inner"], condition)
        return blend(columns, x_t, v)

    def calls(self, t: float = 0.5) -> int:
        then = self._matched(torch.tensor(t, dtype=torch.float64))
        return self.denoiser.calls(float(then))

    def on(self, path: Path) -> Rescheduled:
        """Return the model on another path."""
        return Rescheduled(self.denoiser, path)


_ACTIVE: ContextVar[torch.dtype | None] = ContextVar("precision", default=None)
_TYPES = {"float32": None, "bfloat16": torch.bfloat16}


@contextlib.contextmanager
def network_precision(name: str) -> Iterator[None]:
    """Context in which networks run in "float32" or "bfloat16" (autocast)."""
    if name not in _TYPES:
        raise UsageError(f'Unknown precision "{name}". Use auto, float32 or bfloat16.')
    token = _ACTIVE.set(_TYPES[name])
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def call(network: Callable[..., Any], *inputs: Any) -> Any:
    """Call ``network(*inputs)`` in the active precision; results have the dtype of the first."""
    # exported programs are float32; code that reads the context variable cannot be exported
    if torch.compiler.is_exporting() or _ACTIVE.get() is None:
        return network(*inputs)
    first = inputs[0]
    with torch.autocast(first.device.type, dtype=_ACTIVE.get()):
        output = network(*inputs)
        if isinstance(output, list):
            return [part.to(first.dtype) for part in output]
        return output.to(first.dtype)


def check_network(network: nn.Module) -> None:
    """Raise a `UsageError` if a network cannot be called as ``network(x, t, condition)``."""
    try:
        signature = inspect.signature(network.forward)
    except ValueError:  # compiled code may have none
        return
    try:
        signature.bind("x", "t", "condition")
    except TypeError as error:
        raise UsageError(
            "A denoiser calls its network as network(x, t, condition), but the signature of "
            f"{type(network).__name__}.forward is {signature}: {error}. Write: "
            "def forward(self, x, t, condition=None)."
        ) from None


def resolve_precision(name: str, device: torch.device | str) -> str:
    """Resolve "auto" to bfloat16 if the device supports it natively, otherwise to float32."""
    if name != "auto":
        with network_precision(name):
            return name
    cuda = torch.device(device).type == "cuda"
    fast = torch.cuda.is_bf16_supported() if cuda else has_bfloat16()
    return "bfloat16" if fast else "float32"


def has_bfloat16() -> bool:
    """Return whether this CPU supports bfloat16 natively; emulation is very slow."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
