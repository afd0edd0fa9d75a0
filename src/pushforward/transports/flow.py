"""Transports in steps, by a denoiser and a solver; in one call; and through latents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import (
    Condition,
    Predictor,
    call,
    check_predictor,
    has_jump,
    trained_denoiser,
)
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import Coefficients, Source, training_noise
from pushforward.solvers import Solver, as_solver, name_of
from pushforward.solvers.solver import State, grid_times, run_steps
from pushforward.solvers.table import NotAffine, ProgramCache, SolverProgram
from pushforward.transports.transport import (
    ConditionLike,
    Transport,
    as_examples,
    device_of,
    finite,
)

MOST_STEPS = 10_000  # ten times those of the longest published samplers


class Flow(Transport):
    """Transport from noise to data by a denoiser and a solver in a fixed number of steps.

    It starts at sigma(t_max) z; the last step goes to t = 0 by the data prediction.

    Attributes:
        times: The N + 1 falling times of the solver, float64; the last is 0.

    Args:
        denoiser: Denoiser, guided or not.
        solver: Solver, or name of a solver, such as "heun" or "dpm:3".
        steps: Number of steps.
        grid: Name in `pushforward.solvers.solver.GRIDS`, None for the default of the
            solver, or N + 1 falling times ending with 0.

    Raises:
        UsageError: If steps, grid or solver do not suit the model.
    """

    def __init__(
        self,
        denoiser: Predictor,
        solver: Solver | str,
        steps: int,
        grid: str | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_predictor(denoiser)
        self.denoiser = denoiser
        self.solver = as_solver(solver)
        self.steps = whole("steps", steps)
        if self.steps > MOST_STEPS:
            raise UsageError(f"`steps` must be at most {MOST_STEPS:,}, got {self.steps:,}.")
        if grid is not None and not isinstance(grid, str):
            grid = [float(t) for t in grid]
        self.grid = grid
        self.noise_shape = denoiser.space.shape
        self._used_grid = self._choose_grid()
        self.times = grid_times(self._used_grid, denoiser.path, self.steps)
        self._programs = ProgramCache(self.solver)
        self.width = float(self._edge(self.times[0]).sigma)
        self._check_solver()

    def _check_solver(self) -> None:
        levels = self.solver.stochastic or self._used_grid in ("log_snr", "karras")
        if self.source is not None and levels:
            raise UsageError(
                f"This model was trained from {self.source.data} instead of noise, so it has no "
                "noise levels. Sample it with unipc, dpm, euler, heun, midpoint or rk4 on the grid "
                "time."
            )
        if self.solver.jumps and not has_jump(self.denoiser):
            raise UsageError(
                f"{type(self.solver).__name__} needs a map between two times (pf.FlowMap), but "
                "this model predicts at one time. Sample it with dpm, heun or another solver."
            )
        if self.solver.adaptive and self.steps < 2:
            raise UsageError("An adaptive solver needs at least 2 steps, got 1.")

    def _choose_grid(self) -> str | Sequence[float]:
        if self.grid:
            return self.grid
        if self.solver.jumps:
            sampling = getattr(trained_denoiser(self.denoiser), "sampling", None)
            learned = getattr(sampling, "grid", None)
            if learned:
                return learned
        # from other data than noise, these solvers need no noise levels, unlike their own grid
        if self.source is not None and getattr(self.solver, "of", None) == "data":
            return "time"
        return self.solver.grid

    @property
    def space(self) -> Space:  # type: ignore[override]
        """Return the space of the denoiser, whose units may be learned."""
        return self.denoiser.space

    def facts(self) -> dict[str, str]:
        grid = self._used_grid if isinstance(self._used_grid, str) else "given times"
        return super().facts() | {
            "model": type(self.denoiser).__name__,
            "solver": f"{self.steps} steps of {name_of(self.solver)} on {grid}",
        }

    @property
    def source(self) -> Source | None:
        """Return the noise source; None for standard normal noise."""
        inner = trained_denoiser(self.denoiser)
        if inner is None:
            return None
        return inner.source

    def noise(self, draws: Draws) -> Tensor:
        """Draw standard normal noise, or held-out examples of the model's source."""
        if self.source is None:
            return super().noise(draws)
        return self.source.starts(draws)

    def training_noise(self, draws: Draws) -> Tensor:
        return training_noise(self.source, self.noise_shape, draws)

    @property
    def calls(self) -> int:
        program = self._programs.program(self.denoiser, self.times)
        if isinstance(program, NotAffine):
            return self._count_calls()
        return program.calls(self.denoiser)

    @torch.no_grad()
    def _count_calls(self) -> int:
        counter = _CallCounter(self.denoiser)
        draws = ExampleDraws(0, 1, device=self.device)
        x = self._at_start(draws.normal(self.noise_shape))
        condition = self.conditions(1, None, 0)
        self._last(run_steps(self.solver, counter, x, self.times, condition, draws))
        return counter.count

    def with_solver(
        self,
        solver: Solver | str,
        steps: int | None = None,
        grid: str | Sequence[float] | None = None,
    ) -> Flow:
        """Return a flow with the same denoiser and another solver.

        ``steps`` is the flow's and ``grid`` that of `grid_for` by default.
        """
        solver = as_solver(solver)
        if steps is None:
            steps = self.steps
        if grid is None:
            grid = self.grid_for(solver, steps)
        return Flow(self.denoiser, solver, steps, grid)

    def with_steps(self, steps: int) -> Flow:
        """Return the same flow with another number of steps."""
        return self.with_solver(self.solver, steps)

    def grid_for(self, solver: Solver, steps: int) -> str | list[float] | None:
        """Return the flow's own grid if it suits a solver and a number of steps, else None."""
        fits = isinstance(self.grid, str) or steps == self.steps
        if fits and name_of(solver) == name_of(self.solver):
            return self.grid
        return None

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self._last(self.walk(self._at_start(z), self.times, condition, draws))

    @staticmethod
    def _last(states: Iterator[State]) -> Tensor:
        return deque(states, maxlen=1).pop()[1]

    def _at_start(self, z: Tensor) -> Tensor:
        return z * self.width

    def _edge(self, t: float) -> Coefficients:
        return self.denoiser.path.at(torch.tensor(t, dtype=torch.float64))

    def walk(
        self,
        x: Tensor,
        times: np.ndarray | Tensor,
        condition: Condition = None,
        draws: Draws | None = None,
    ) -> Iterator[State]:
        """Solve along times from x (model units), and yield (time, state) after each step."""
        program = self._programs.program(self.denoiser, times)
        if isinstance(program, NotAffine):
            yield from run_steps(self.solver, self.denoiser, x, times, condition, draws)
        else:
            yield from program.walk(self.denoiser, x, condition, draws)

    @property
    def program(self) -> SolverProgram:
        """Return the solver's steps on the flow's times as numbers.

        Raises:
            UsageError: If a step is not affine.
        """
        program = self._programs.program(self.denoiser, self.times)
        if isinstance(program, NotAffine):
            raise UsageError(
                f"The steps of {type(self.solver).__name__} cannot be written as a table: "
                f"{program}. Choose another solver."
            )
        return program

    @torch.no_grad()
    def trajectory(
        self, n: int, condition: ConditionLike = None, *, seed: int = 0
    ) -> Iterator[State]:
        """Yield (t, x_t) from t_max to 0 for the samples of `sample`, in data units."""
        n = whole("n", n, 1)
        seed = whole("seed", seed)
        given = self.conditions(n, condition, seed)
        draws = ExampleDraws(seed, n, device=self.device)
        x = self._at_start(self.noise(draws))
        yield float(self.times[0]), self.space.to_data(x).cpu()
        for t, state in self.walk(x, self.times, given, draws):
            yield t, self.space.to_data(finite(state)).cpu()

    @torch.no_grad()
    def encode(self, x: Tensor, condition: ConditionLike = None) -> Tensor:
        """Find the noise that this flow maps to data x (n, *shape), in data units.

        Conditions are those of `sample`; missing conditions are unknown, and not drawn.

        Raises:
            UsageError: If the solver is stochastic, or conditions are invalid.
        """
        if self.solver.stochastic:
            raise UsageError(
                f"{type(self.solver).__name__} is a stochastic solver, which cannot be inverted. "
                'Use a deterministic solver, such as `solver="dpm"`.'
            )
        low = self.denoiser.path.ends[0]
        times = np.append(self.times[self.times > low], low)
        data = self.space.to_model(as_examples(self.space, x).to(self.device))
        start = data * float(self._edge(low).alpha)
        given = self.read(len(start), condition)
        return self._last(self.walk(start, times[::-1], given)) / self.width


class _CallCounter:
    def __init__(self, denoiser: Predictor) -> None:
        self.denoiser = denoiser
        self.path = denoiser.path
        self.space = denoiser.space
        self.count = 0

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        self.count += self.denoiser.calls(float(t[0]))
        return self.denoiser.predict(kind, x_t, t, condition)

    def calls(self, t: float = 0.5) -> int:
        return self.denoiser.calls(t)


def has_steps(transport: object) -> TypeGuard[Flow]:
    """Return whether a transport consists of steps of a solver."""
    return isinstance(transport, Flow)


def has_levels(transport: object) -> TypeGuard[Flow]:
    """Return whether states are data with standard normal noise, so that they have densities."""
    return isinstance(transport, Flow) and transport.source is None


class Map(Transport):
    """Transport with one network call: the generator of a GAN, or the decoder of a VAE.

    Args:
        network: ``network(z, None, condition) -> x`` in model units.
        space: Shape and units of the data.
        noise_shape: Shape of the noise of one sample.
        likelihood: Likelihood from which samples are drawn around the output, if any.
    """

    def __init__(
        self,
        network: nn.Module,
        space: Space,
        noise_shape: Sequence[int],
        likelihood: Any = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self.noise_shape = tuple(noise_shape)
        self.likelihood = likelihood

    def facts(self) -> dict[str, str]:
        facts = super().facts()
        if self.likelihood is not None:
            facts["samples"] = f"drawn from the {type(self.likelihood).__name__} likelihood"
        return facts

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Compute the network output; with draws and a likelihood, draw from the likelihood."""
        x = call(self.network, z, None, condition)
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.normal(self.space.shape))

    @property
    def calls(self) -> int:
        return 1


class Autoencoder(nn.Module):
    """Encoder and decoder between data in model units and latents.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means, then log-variances.
        decoder: ``decoder(latent, None, condition) -> x``.
        space: Shape and units of the data.
        standard: Whether latents should follow N(0, 1), as in a VAE.
        likelihood: Likelihood from which samples are drawn around the output, if any.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        space: Space,
        standard: bool = True,
        likelihood: Any = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.space = space
        self.standard = standard
        self.likelihood = likelihood

    def moments(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Compute means and log-variances of the latents (n, 2 c, ...) of data in model units."""
        return call(self.encoder, x, None, self._own(condition))

    @property
    def device(self) -> torch.device:
        return device_of(self)

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Compute the mean latent (n, c, ...) of data in model units."""
        return self.moments(x, condition).chunk(2, dim=1)[0]

    def decode(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Decode latents to data in model units."""
        return call(self.decoder, latent, None, self._own(condition))

    def drawn(self, x: Tensor, draws: Draws | None) -> Tensor:
        """Draw around decoded data x in model units, if there are draws and a likelihood."""
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.stream("decoder").normal(self.space.shape))

    def _own(self, condition: Condition) -> Condition:
        names = self.space.conditions
        if not names:
            return None
        if condition is None or not condition.keys() >= names.keys():
            raise UsageError(f"This autoencoder needs {', '.join(names)} as a condition.")
        return {name: condition[name] for name in names}


class Latent(Transport):
    """Transport in a latent space, followed by a decoder."""

    def __init__(self, inner: Transport, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.inner = inner
        self.autoencoder = autoencoder
        self.space = autoencoder.space.with_conditions(inner.space.conditions)
        self.noise_shape = inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Compute decode(inner(z)); with draws, draw from the decoder's likelihood, if any."""
        return self.decoded(self.inner(z, condition, draws), condition, draws)

    def decoded(
        self, codes: Tensor, condition: Condition = None, draws: Draws | None = None
    ) -> Tensor:
        """Decode latents in their own model units to data in model units."""
        x = self.autoencoder.decode(self.inner.space.to_data(codes), condition)
        return self.autoencoder.drawn(x, draws)

    def noise(self, draws: Draws) -> Tensor:
        return self.inner.noise(draws)

    @torch.no_grad()
    def codes(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Compute the mean latents of data x (n, *shape); both in data units of their space."""
        data = self.space.to_model(as_examples(self.space, x).to(self.device))
        return self.autoencoder.encode(data, condition)

    def encode(self, x: Tensor, condition: ConditionLike = None) -> Tensor:
        """Find the noise that is mapped to data x (n, *shape) through its mean latent."""
        inner: Any = self.inner
        if not hasattr(inner, "encode"):
            raise UsageError(
                f"The model in this latent space ({type(self.inner).__name__}) maps noise to data "
                "in one call and cannot be inverted."
            )
        given = self.read(len(x), condition)
        return inner.encode(self.codes(x, given), given)

    @torch.no_grad()
    def trajectory(
        self, n: int, condition: ConditionLike = None, *, seed: int = 0
    ) -> Iterator[State]:
        if not has_steps(self.inner):
            raise UsageError("A one-call model has no intermediate steps to show.")
        given = self.conditions(n, condition, seed)
        for t, codes in self.inner.trajectory(n, given, seed=seed):
            x = self.autoencoder.decode(codes.to(self.device), given)
            yield t, self.space.to_data(finite(x)).cpu()

    @property
    def calls(self) -> int:
        return self.inner.calls + 1


def inner_of(transport: Transport) -> Transport:
    """Return the transport that maps the noise: the inner transport of a `Latent`, or itself."""
    if isinstance(transport, Latent):
        return transport.inner
    return transport


def starts(transport: Transport) -> tuple[Source, int] | None:
    """Return a flow's source and its number of different held-out examples."""
    source = getattr(inner_of(transport), "source", None)
    if source is None:
        return None
    return (source, len(torch.unique(source.held_out, dim=0)))


def with_inner(transport: Transport, inner: Transport) -> Transport:
    """Replace the transport that maps the noise by ``inner``; see `inner_of`."""
    if isinstance(transport, Latent):
        return Latent(inner, transport.autoencoder)
    return inner
