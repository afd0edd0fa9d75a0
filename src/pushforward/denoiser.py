"""A denoiser: a network, the path it lives on, and the meaning of its output."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from pushforward.data.space import Space
from pushforward.errors import UsageError, did_you_mean
from pushforward.paths import Coefficients, Path
from pushforward.precision import call
from pushforward.predictions import check, convert, solve

__all__ = ["CLOCKS", "Condition", "Denoiser", "Predictor"]

Condition = dict[str, Tensor] | None

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

    def calls(self) -> int:
        """Network evaluations of one row that one prediction costs."""
        ...


class Denoiser(nn.Module):
    """network + path + prediction; any denoiser can be read as data, noise, score, velocity or v.

    Args:
        network: ``network(x, t, condition) -> tensor`` of the shape of x; any module with that signature.
        path: The path it is trained on.
        prediction: What its output means: data, noise, velocity, v or score.
        space: The data's shape and units.
        scale_input: Divide x_t by hypot(alpha, sigma), so that the network sees unit variance at all times (EDM's c_in).
        clock: What the network is told of time, a name in `CLOCKS`.

    References:
        Karras et al., EDM (2022): with data of unit variance its preconditioned output is -v.
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
    ) -> None:
        super().__init__()
        if clock not in CLOCKS:
            raise UsageError(f'Unknown clock "{clock}"; known: {", ".join(CLOCKS)}.{did_you_mean(clock, CLOCKS)}')
        self.network, self.path, self.prediction, self.space = network, path, check(prediction), space
        self.scale_input, self.clock = scale_input, clock

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The network's own output at x_t (n, *shape) and t (n,), in model units and of its own kind."""
        return self._output(x_t, t, condition, self.coefficients(x_t, t))

    def _output(self, x_t: Tensor, t: Tensor, condition: Condition, k: Coefficients) -> Tensor:
        scaled = x_t / k.r if self.scale_input else x_t
        return call(self.network, scaled, CLOCKS[self.clock](self.path, t), condition)

    def coefficients(self, x_t: Tensor, t: Tensor) -> Coefficients:
        """The path's coefficients at t, shaped to multiply x_t."""
        return self.path.at(t).over(x_t)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The output read as ``kind`` (see `pushforward.predictions.ROWS`), of the shape of x_t, model units."""
        k = self.coefficients(x_t, t)
        return convert(self.prediction, check(kind), self._output(x_t, t, condition, k), x_t, k)

    def pair(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """The estimates of data and noise from one network call."""
        k = self.coefficients(x_t, t)
        return solve(self.prediction, self._output(x_t, t, condition, k), x_t, k)

    def calls(self) -> int:
        """One."""
        return 1
