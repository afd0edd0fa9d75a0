"""Transports: z -> x, all that sampling, evaluation, comparison and export ever see."""

from __future__ import annotations

import dataclasses
import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from pushforward import spec
from pushforward.arguments import whole
from pushforward.couplings import Source
from pushforward.data.spaces import Space
from pushforward.denoiser import trained
from pushforward.draws import Draws, RowDraws
from pushforward.errors import Diverged, UsageError, did_you_mean
from pushforward.notebooks import facts as facts_table
from pushforward.paths import Coefficients
from pushforward.precision import call
from pushforward.predictor import Condition, Predictor, check_predictor, has_jump
from pushforward.solvers import Solver, as_solver, grids
from pushforward.solvers.symbols import NotAffine
from pushforward.solvers.table import Table
from pushforward.solvers.walking import Walks, stepped

__all__ = [
    "Autoencoder",
    "Flow",
    "Invertible",
    "Latent",
    "Map",
    "Stepped",
    "Transport",
    "check_transport",
    "has_levels",
    "has_steps",
    "inner_of",
    "rows_in",
    "with_inner",
]

BATCH = 256
"""Rows that one call of `Transport.sample` holds at a time."""

Asked = Mapping[str, int | str | Sequence[int] | Sequence[str] | Tensor] | None
"""A condition as a caller gives it: a number or a class's name for all samples, or one for each."""


@runtime_checkable
class Invertible(Protocol):
    """A transport that can be run from data to noise."""

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The noise (n, *noise_shape) that is moved to the data x (n, *shape), x in data units."""
        ...


@runtime_checkable
class Stepped(Protocol):
    """A transport in steps: a solver takes a denoiser along falling times, and both can be exchanged."""

    denoiser: Predictor
    solver: Solver
    steps: int
    grid: str | list[float] | None

    @property
    def times(self) -> np.ndarray:
        """The N + 1 falling times, the last 0."""
        ...

    @property
    def source(self) -> Source | None:
        """What it starts from in the place of standard normal noise; without one, its times are noise levels."""
        ...

    def with_solver(self, solver: Solver | str, steps: int, grid: str | Sequence[float] | None = None) -> Any:
        """The same model under another solver."""
        ...

    def walk(
        self, x: Tensor, times: np.ndarray | Tensor, condition: Condition = None, draws: Draws | None = None
    ) -> Iterator[tuple[float, Tensor]]:
        """(time, state) after each step."""
        ...


def has_steps(transport: object) -> TypeGuard[Flow]:
    """Whether a transport is made of steps (`Stepped`): a `Flow`, or what can stand for one."""
    return isinstance(transport, Stepped)


def has_levels(transport: object) -> TypeGuard[Flow]:
    """Whether a transport's states are data with standard normal noise, so that they have noise levels and densities."""
    return isinstance(transport, Stepped) and transport.source is None


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
        data = f"{shape} {self.space.noun}s" + (f", {classes} classes" if classes else "")
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
                x = _finite(self(self.noise(draws), given, draws))
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


def _finite(x: Tensor) -> Tensor:
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite().flatten(1).all(1)).sum())
        raise Diverged(
            f"{bad} of {len(x)} samples are not finite: the weights have diverged, or the solver overshoots. Use an earlier "
            "checkpoint, more steps, less guidance, or float32."
        )
    return x


class Map(Transport):
    """One network call: a GAN's generator, a VAE's decoder, a distilled student.

    Args:
        network: ``network(z, None, condition) -> x`` in model units.
        space: The data's shape and units.
        noise_shape: The shape of one row of noise.
    """

    def __init__(self, network: nn.Module, space: Space, noise_shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.space, self.noise_shape = network, space, tuple(noise_shape)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """The network's output."""
        return call(self.network, z, None, condition)

    @property
    def calls(self) -> int:
        """One."""
        return 1


class Flow(Transport):
    """A denoiser, moved from noise to data by a solver in a fixed number of steps.

    It starts at sigma(t_max) z; the last step goes to t = 0 by the data prediction, so N steps of a one-call solver cost N
    calls.

    Args:
        denoiser: A `Denoiser` or what guidance makes of one.
        solver: How a step is made, or the name of a solver, such as "heun" or "dpm:3".
        steps: How many.
        grid: Where they fall: a name of `pushforward.solvers.grids.GRIDS`, None for the one that suits the solver, or the
            N + 1 falling times themselves, the last of them 0 (a learned grid).

    Raises:
        UsageError: For a grid that cannot be, or an adaptive solver in one step.
    """

    def __init__(self, denoiser: Predictor, solver: Solver | str, steps: int, grid: str | Sequence[float] | None = None) -> None:
        super().__init__()
        check_predictor(denoiser)
        solver = as_solver(solver)
        self.denoiser, self.solver, self.steps = denoiser, solver, whole("steps", steps)
        self.grid = grid if grid is None or isinstance(grid, str) else [float(t) for t in grid]
        self.space, self.noise_shape = denoiser.space, tuple(denoiser.space.shape)
        self._times = grids.times(self.grid or solver.grid, denoiser.path, self.steps)
        self._walks = Walks(solver)
        self._width_at_start = float(self._edge().sigma)
        if self.source is not None and (solver.stochastic or (self.grid or solver.grid) in ("log_snr", "karras")):
            raise UsageError(
                f"This model was trained from {self.source.data}, not from noise: it has no noise levels. Sample it with "
                "euler, heun, midpoint or rk4 on the grid time."
            )
        if solver.jumps and not has_jump(denoiser):
            raise UsageError(
                f"{type(solver).__name__} needs a map between two times (pf.FlowMap), and this model predicts at one time. "
                "Sample it with dpm, heun or another solver."
            )
        if solver.adaptive and self.steps < 2:
            raise UsageError("An adaptive solver needs at least 2 steps: one that it divides itself, and the one to t = 0.")

    def facts(self) -> dict[str, str]:
        """Data, parameters, prediction and path, solver, steps and grid."""
        arguments = {name: value for name, value in spec.describe(self.solver).items() if name not in ("part", "opaque")}
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        grid = self.grid or self.solver.grid
        where = grid if isinstance(grid, str) else "given times"
        inner = trained(self.denoiser)
        model = type(self.denoiser).__name__ if inner is None else f"{inner.prediction} on {type(inner.path).__name__}"
        guided = "" if inner is None or inner is self.denoiser else f", {type(self.denoiser).__name__}"
        solver = f"{self.steps} steps of {type(self.solver).__name__}({given}) on {where}"
        return super().facts() | {"model": model + guided, "solver": solver}

    @property
    def source(self) -> Source | None:
        """What it starts from in the place of standard normal noise."""
        inner = trained(self.denoiser)
        return None if inner is None else inner.source

    def noise(self, draws: Draws) -> Tensor:
        """Standard normal noise, or held-out examples of the model's source."""
        return super().noise(draws) if self.source is None else self.source.starts(draws)

    @property
    def times(self) -> np.ndarray:
        """The N + 1 falling times of the solve, float64; the last is 0."""
        return self._times

    @property
    def calls(self) -> int:
        """Network evaluations per sample, guidance included; of an adaptive solver, those of the sample of seed 0."""
        table = self._walks.table(self.denoiser, self._times)
        return self._counted() if isinstance(table, NotAffine) else table.calls(self.denoiser)

    def _counted(self) -> int:
        counted = _Counted(self.denoiser, dry=not self.solver.adaptive)
        shape = self.noise_shape if self.solver.adaptive else (1,)
        with torch.no_grad():
            draws = RowDraws(0, 1, device=self.device)
            state = self._at_start(draws.normal(shape))
            self._last(stepped(self.solver, counted, state, self._times, self.conditions(1, None, 0), draws))
        return counted.count

    def with_solver(self, solver: Solver | str, steps: int, grid: str | Sequence[float] | None = None) -> Flow:
        """The same denoiser under another solver."""
        return Flow(self.denoiser, solver, steps, grid)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Solve from noise to data."""
        return self._last(self.walk(self._at_start(z), self._times, condition, draws))

    @staticmethod
    def _last(states: Iterator[tuple[float, Tensor]]) -> Tensor:
        return deque(states, maxlen=1).pop()[1]

    def _at_start(self, z: Tensor) -> Tensor:
        return z * self._width_at_start

    def _edge(self, t: float | None = None) -> Coefficients:
        return self.denoiser.path.at(torch.tensor(float(self._times[0]) if t is None else t, dtype=torch.float64))

    def _beyond(self, t: float) -> bool:
        """Whether there is only noise at a time, so that its log-SNR is infinite.

        Raises:
            UsageError: If the path does not reach so far.
        """
        path = self.denoiser.path
        log_snr = float(path.log_snr(torch.tensor(t, dtype=torch.float64)))
        if t <= path.ends[1] or math.isfinite(log_snr):
            return False
        if log_snr != -math.inf:
            raise UsageError(f"The path {type(path).__name__} ends at t = 1, where there is only noise; got {t}.")
        return True

    def _width(self, t: float, s: float) -> float:
        return float(self._edge(t).sigma / self._edge(s).sigma)

    def walk(
        self, x: Tensor, times: np.ndarray | Tensor, condition: Condition = None, draws: Draws | None = None
    ) -> Iterator[tuple[float, Tensor]]:
        """Solve along ``times`` from the state x at the first of them; yields (time, state) after each step, model units.

        Times given as a tensor are differentiated through.
        """
        yield from self._walks.along(self.denoiser, x, times, condition, draws)

    @property
    def table(self) -> Table:
        """What the solver does on the flow's times, as numbers.

        Raises:
            UsageError: For a solver that chooses its own steps, or whose step is not affine.
        """
        table = self._walks.table(self.denoiser, self._times)
        if isinstance(table, NotAffine):
            raise UsageError(f"The steps of {type(self.solver).__name__} are no table: {table}. Choose another solver.")
        return table

    def solve(self, x: Tensor, start: float, stop: float, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Solve from one time to another, on the flow's number of steps, at equal steps in log-SNR.

        At t = 0 the log-SNR is infinite. A solve to 0 goes to t_min and from there to 0 in its last step, by the data
        prediction, as sampling does; a solve from 0 starts at alpha x at t_min, as `encode` does. Where the log-SNR is
        infinite at t = 1, the state there is noise, whose width alone changes on the way to t_max.

        Args:
            x: The state at ``start``, (n, *shape), model units.
            start: A time, 0 at data and 1 at noise.
            stop: Another one; it may be the later one, towards noise.
            condition: None or a dict of tensors with n rows.
            draws: One row of randomness per sample, for stochastic solvers.

        Returns:
            The state at ``stop``.

        Raises:
            UsageError: For a time below 0, or beyond the end of the path.
        """
        path = self.denoiser.path
        low, high = path.ends
        if not (start >= 0 and stop >= 0):
            raise UsageError(f"The times of a solve must be at least 0, where data is; got {start} and {stop}.")
        if start == stop:
            return x
        if self._beyond(start):
            return self.solve(x * self._width(high, start), high, stop, condition, draws)
        if self._beyond(stop):
            return self.solve(x, start, high, condition, draws) * self._width(stop, high)
        if start == 0:
            x, start = x * float(self._edge(low).alpha), low
        if stop == 0 and (start <= low or self.steps == 1):
            return self._last(self.walk(x, np.array([start, 0.0]), condition, draws))
        end, last, steps = (stop, [], self.steps) if stop else (low, [0.0], self.steps - 1)
        ends = path.log_snr(torch.tensor([start, end], dtype=torch.float64))
        times = path.time(torch.linspace(float(ends[0]), float(ends[1]), steps + 1, dtype=torch.float64)).numpy()
        times[0], times[-1] = start, end
        return self._last(self.walk(x, np.append(times, last), condition, draws))

    def trajectory(self, n: int, condition: Asked = None, *, seed: int = 0) -> Iterator[tuple[float, Tensor]]:
        """(t, x_t) from t_max to 0 for the samples that `sample` draws, in data units (images clamped to [0, 1])."""
        n, seed = whole("n", n, 1), whole("seed", seed)
        with torch.no_grad():
            given = self.conditions(n, condition, seed)
            draws = RowDraws(seed, n, device=self.device)
            x = self._at_start(self.noise(draws))
            yield float(self._times[0]), self.space.to_data(x).cpu()
        steps = self.walk(x, self._times, given, draws)
        while True:
            with torch.no_grad():
                following = next(steps, None)
            if following is None:
                return
            yield following[0], self.space.to_data(_finite(following[1])).cpu()

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The noise that this flow moves to x: the ODE solved from t_min to t_max.

        Args:
            x: Data units, (n, *shape).
            condition: None or a dict of tensors with n rows.

        Raises:
            UsageError: For a stochastic solver, which has no inverse.
        """
        if self.solver.stochastic:
            raise UsageError("A stochastic solver has no inverse; encode with Heun, DDIM or another deterministic one.")
        with torch.no_grad():
            low = self.denoiser.path.ends[0]
            times = np.append(self._times[self._times > low], low)
            start = self.space.to_model(rows_in(self.space, x).to(self.device)) * float(self._edge(low).alpha)
            state = self._last(self.walk(start, times[::-1], condition))
            return state / self._width_at_start


class _Counted:
    """A denoiser that counts network evaluations of one row; a dry one asks no network."""

    def __init__(self, denoiser: Predictor, dry: bool) -> None:
        self.denoiser, self.path, self.space, self.dry, self.count = denoiser, denoiser.path, denoiser.space, dry, 0

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        self.count += self.denoiser.calls(float(t[0]))
        return torch.zeros_like(x_t) if self.dry else self.denoiser.predict(kind, x_t, t, condition)

    def calls(self, t: float = 0.5) -> int:
        return self.denoiser.calls(t)


class Autoencoder(nn.Module):
    """An encoder and a decoder, between data in model units and a latent.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances along the first axis.
        decoder: ``decoder(latent, None, condition) -> x``.
        space: The data's shape and units, with classes where both are told labels.
        standard: Whether codes of all rows together are meant to lie as N(0, 1) does, as those of a VAE are.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, space: Space, standard: bool = True) -> None:
        super().__init__()
        self.encoder, self.decoder, self.space, self.standard = encoder, decoder, space, standard

    def moments(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Means and log-variances of the codes (n, 2 c, ...) of data in model units."""
        return call(self.encoder, x, None, self._told(condition))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        held = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The mean code (n, c, ...) of data in model units."""
        return self.moments(x, condition).chunk(2, dim=1)[0]

    def decode(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Data in model units from codes."""
        return call(self.decoder, latent, None, self._told(condition))

    def _told(self, condition: Condition) -> Condition:
        """Labels, for an autoencoder that knows any; the models in its latent space may know more than it."""
        if not self.space.classes:
            return None
        if condition is None or "label" not in condition:
            raise UsageError("This autoencoder was told labels, so data has a code only together with its label: name one.")
        return {"label": condition["label"]}


class Latent(Transport):
    """A transport to codes, followed by a decoder.

    Args:
        inner: A transport whose space is the codes'.
        autoencoder: What turns codes into data.
    """

    def __init__(self, inner: Transport, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.inner, self.autoencoder = inner, autoencoder
        own = inner.space
        labels: dict[str, Any] = {"classes": own.classes, "frequencies": own.frequencies, "target": own.target}
        self.space = dataclasses.replace(autoencoder.space, **labels)  # type: ignore[type-var]
        self.noise_shape, self.conditioned_on = inner.noise_shape, inner.conditioned_on

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """decode(inner(z))."""
        return self.decode(self.inner(z, condition, draws), condition)

    def decode(self, codes: Tensor, condition: Condition = None) -> Tensor:
        """Data in model units from codes in their own model units."""
        return self.autoencoder.decode(self.inner.space.to_data(codes), condition)

    def noise(self, draws: Draws) -> Tensor:
        """The inner transport's."""
        return self.inner.noise(draws)

    def on(self, inner: Transport) -> Latent:
        """The same decoder after another transport to its codes, such as one of other steps."""
        return Latent(inner, self.autoencoder)

    def codes(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The mean codes of data, in the codes' data units.

        Args:
            x: Data units, (n, *shape).
            condition: None or a dict of tensors with n rows.
        """
        with torch.no_grad():
            return self.autoencoder.encode(self.space.to_model(rows_in(self.space, x).to(self.device)), condition)

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The noise that is moved to x, through its mean code.

        Args:
            x: Data units, (n, *shape).
            condition: None or a dict of tensors with n rows.

        Raises:
            UsageError: For an inner transport that cannot be inverted.
        """
        if not isinstance(self.inner, Invertible):
            raise UsageError(
                f"The model in this latent space ({type(self.inner).__name__}) moves noise in one call and has no inverse."
            )
        return self.inner.encode(self.codes(x, condition), condition)

    def trajectory(self, n: int, condition: Asked = None, *, seed: int = 0) -> Iterator[tuple[float, Tensor]]:
        """(t, decoded x_t) from t_max to 0 for the samples that `sample` draws, in data units.

        Raises:
            UsageError: For an inner transport without steps.
        """
        if not has_steps(self.inner):
            raise UsageError("A one-call model has no steps to show.")
        with torch.no_grad():
            given = self.conditions(n, condition, seed)
        for t, codes in self.inner.trajectory(n, given, seed=seed):
            with torch.no_grad():
                x = self.autoencoder.decode(codes.to(self.device), given)
                made = self.space.to_data(_finite(x)).cpu()
            yield t, made

    @property
    def calls(self) -> int:
        """The inner transport's and one of the decoder."""
        return self.inner.calls + 1


def inner_of(transport: Transport) -> Transport:
    """What moves the noise: the transport itself, or the one in the latent space of a `Latent`."""
    return transport.inner if isinstance(transport, Latent) else transport


def with_inner(transport: Transport, inner: Transport) -> Transport:
    """``inner`` in the place of what moves the noise; see `inner_of`."""
    return transport.on(inner) if isinstance(transport, Latent) else inner
