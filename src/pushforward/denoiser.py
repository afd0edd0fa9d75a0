"""A denoiser: a network, the path it lives on, and the meaning of its output."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pushforward.couplings import Source
from pushforward.data.space import Space
from pushforward.errors import UsageError, did_you_mean
from pushforward.paths import Coefficients, Narrowed, Path
from pushforward.precision import call
from pushforward.predictions import check, convert, solve

__all__ = ["CLOCKS", "Condition", "Denoiser", "Predictor", "Repathed", "check_predictor", "rows_of", "trained"]

Condition = dict[str, Tensor] | None


def rows_of(condition: Condition, index: Tensor | slice) -> Condition:
    """Some rows of a condition."""
    return None if condition is None else {name: part[index] for name, part in condition.items()}


CLOCKS = {
    "t": lambda path, t: t,
    "log_snr": lambda path, t: -path.log_snr(t) / 8,
}
"""What a network is told of time: t itself, or log(sigma / alpha) / 4, which is EDM's c_noise on any path."""


@runtime_checkable
class Predictor(Protocol):
    """What solvers need: anything that reads x_t as data, noise, score or velocity. Denoisers and guided ones are."""

    path: Path
    space: Space

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` at x_t (n, *shape) and times t (n,), model units."""
        ...

    def calls(self, t: float = 0.5) -> int:
        """Network evaluations of one row that one prediction at time t costs."""
        ...


def check_predictor(denoiser: object) -> None:
    """Refuse what predicts nothing.

    Raises:
        UsageError: Saying how to get a denoiser from a run.
    """
    if not callable(getattr(denoiser, "predict", None)):
        kind = type(denoiser).__name__
        raise UsageError(f"Expected a denoiser, got a {kind}. That of a run is run.denoiser, that of a flow is flow.denoiser.")


class Denoiser(nn.Module):
    """network + path + prediction; any denoiser can be read as data, noise, score, velocity or v.

    Args:
        network: ``network(x, t, condition) -> tensor`` of the shape of x; any module with that signature.
        path: The path it is trained on.
        prediction: What its output means: data, noise, velocity, v or score.
        space: The data's shape and units.
        scale_input: Divide x_t by hypot(alpha, sigma), so that the network sees unit variance at all times (EDM's c_in).
        clock: What the network is told of time, a name in `CLOCKS`.
        preconditioned: Let the network put out v, from which the prediction is computed. A noise prediction on a path that
            preserves variance is then sigma x_t + alpha network(x_t, t): the network need not copy x_t, and what it gets wrong
            at high noise counts alpha times.

    References:
        Karras et al., EDM (2022), section 5: with data of unit variance its preconditioned output is -v.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        prediction: str,
        space: Space,
        *,
        scale_input: bool = True,
        clock: str = "t",
        preconditioned: bool = False,
    ) -> None:
        super().__init__()
        if clock not in CLOCKS:
            raise UsageError(f'Unknown clock "{clock}"; known: {", ".join(CLOCKS)}.{did_you_mean(clock, CLOCKS)}')
        self.network, self.path, self.prediction, self.space = network, path, check(prediction), space
        self.scale_input, self.clock, self.preconditioned = scale_input, clock, preconditioned
        self.unconditional = True
        """Whether it has been trained without labels as well, which classifier-free guidance needs."""
        self.source: Source | None = None
        """What it was trained from in the place of standard normal noise; it then reads as data or velocity only."""

    @property
    def output(self) -> str:
        """What the network itself puts out: v where it is preconditioned, else the prediction."""
        return "v" if self.preconditioned else self.prediction

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The prediction at x_t (n, *shape) and t (n,), in model units."""
        k = self.coefficients(x_t, t)
        return convert(self.output, self.prediction, self._output(x_t, t, condition, k), x_t, k)

    def _output(self, x_t: Tensor, t: Tensor, condition: Condition, k: Coefficients) -> Tensor:
        scaled = x_t / k.r if self.scale_input else x_t
        return call(self.network, scaled, CLOCKS[self.clock](self.path, t), condition)

    def coefficients(self, x_t: Tensor, t: Tensor) -> Coefficients:
        """The path's coefficients at t, shaped to multiply x_t."""
        return self.path.at(t).over(x_t)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The output read as ``kind`` (see `pushforward.predictions.ROWS`), of the shape of x_t, model units."""
        if self.source is not None and kind in ("noise", "score"):
            raise UsageError(
                f'This model was trained from {self.source.data}, not from noise, so it has no "{kind}". Sample it with euler, '
                "heun, midpoint or rk4."
            )
        k = self.coefficients(x_t, t)
        return convert(self.output, check(kind), self._output(x_t, t, condition, k), x_t, k)

    def pair(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """The estimates of data and noise from one network call."""
        k = self.coefficients(x_t, t)
        return solve(self.output, self._output(x_t, t, condition, k), x_t, k)

    def calls(self, t: float = 0.5) -> int:
        """One."""
        return 1

    def on(self, path: Path) -> Repathed:
        """The same model read on another path (`Repathed`)."""
        return Repathed(self, path)


def trained(denoiser: Predictor) -> Denoiser | None:
    """The denoiser that was trained, inside whatever guidance and changes of path were put around it; None for others."""
    inner: object = denoiser
    while inner is not None and not isinstance(inner, Denoiser):
        inner = getattr(inner, "denoiser", None)
    return inner


class Repathed(nn.Module):
    """A denoiser read on another path than it was trained on: what it sees is matched in log-SNR and scale.

    At time t of the new path the old time is the one of equal log-SNR, and x_t is scaled by the ratio of the two standard
    deviations; v is the same on both. The new path's ends are narrowed to the noise levels that the denoiser knows.

    Args:
        denoiser: What predicts on its own path.
        path: The path to sample on.

    References:
        Karras et al., EDM (2022), section 2; Kingma et al., Variational Diffusion Models (2021), section 5.1.
    """

    def __init__(self, denoiser: Predictor, path: Path) -> None:
        super().__init__()
        self.denoiser, self.space = denoiser, denoiser.space
        known = path.time(torch.tensor(denoiser.path.log_snr_ends(), dtype=torch.float64)).clamp(*path.ends).tolist()
        whole = all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(known, path.ends, strict=True))
        self.path: Path = path if whole else Narrowed(path, *known)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` at x_t (n, *shape) and times t (n,) of the new path, model units."""
        here, known = self.path.at(t).over(x_t), self.denoiser.path
        then = known.time(self.path.log_snr(t)).clamp(*known.ends)
        v = self.denoiser.predict("v", x_t * (known.at(then).over(x_t).r / here.r), then, condition)
        return convert("v", check(kind), v, x_t, here)

    def calls(self, t: float = 0.5) -> int:
        """The denoiser's, at the matched time."""
        log_snr = self.path.log_snr(torch.tensor(float(t), dtype=torch.float64))
        return self.denoiser.calls(float(self.denoiser.path.time(log_snr).clamp(*self.denoiser.path.ends)))

    def on(self, path: Path) -> Repathed:
        """The model on yet another path."""
        return Repathed(self.denoiser, path)
