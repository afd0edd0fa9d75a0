"""A denoiser: a network, the path it lives on, and the meaning of its output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.couplings import Source
from pushforward.data.spaces import Space
from pushforward.errors import UsageError
from pushforward.networks.precision import call
from pushforward.paths import Coefficients, Narrowed, Path
from pushforward.preconditioning import CLOCKS, Preconditioning
from pushforward.predictions import check, convert, solve
from pushforward.predictor import (
    Condition,
    Predicting,
    Predictor,
    TimeColumns,
    Wrapped,
    affine_columns,
    blend,
    columns_of,
    evaluate,
    over,
    times_for,
    without_scale,
)


@dataclass(frozen=True)
class MapSampling:
    """How a map between two times is sampled in several jumps.

    Args:
        grid: The grid of times on which it has learned to jump, a name of `pushforward.solvers.grids.GRIDS`; None for
            the solver's.
        only_to_data: Whether it has learned no jump but that to s = 0, as a consistency model: in several jumps it is sampled
            with new noise between them, and it is no denoiser.
    """

    grid: str | None = None
    only_to_data: bool = False


class Denoiser(Predicting):
    """network + path + prediction; any denoiser can be read as data, noise, score, velocity or v.

    Args:
        network: ``network(x, t, condition) -> tensor`` of the shape of x; any module with that signature.
        path: The path it is trained on.
        prediction: The meaning of its output: data, noise, velocity, v or score.
        space: The data's shape and units.
        preconditioning: The scaling of the network's input and output; the default is ``Preconditioning()``.
        unconditional: Whether it has been trained without labels as well, which classifier-free guidance needs.
        source: The source of noise that it was trained with; None is standard normal. With one it reads as data or velocity only.
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
        self.network, self.path, self.prediction, self.space = network, path, check(prediction), space
        self.preconditioning = preconditioning or Preconditioning()
        self.unconditional, self.source = unconditional, source

    @property
    def output(self) -> str:
        """The prediction of the network itself."""
        return self.preconditioning.output or self.prediction

    def time(self, t: Tensor) -> Tensor:
        """The network's input for time."""
        clock: Tensor = CLOCKS[self.preconditioning.clock](self.path, t)
        return clock

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        k = self.coefficients(x_t, t)
        return convert(self.output, self.prediction, self._output(x_t, t, condition, k), x_t, k)

    def _output(self, x_t: Tensor, t: Tensor, condition: Condition, k: Coefficients) -> Tensor:
        scaled = x_t / k.r if self.preconditioning.scale_input else x_t
        return call(self.network, scaled, self.time(t), condition)

    def coefficients(self, x_t: Tensor, t: Tensor) -> Coefficients:
        """The path's coefficients at t, shaped to multiply x_t."""
        return self.path.at(t).over(x_t)

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        if self.source is not None and kind in ("noise", "score"):
            raise UsageError(
                f'This model was trained from {self.source.data}, not from noise, so it has no "{kind}". Sample it with euler, '
                "heun, midpoint or rk4."
            )
        k = self.path.at(t)
        scale = {"scale": 1 / k.r} if self.preconditioning.scale_input else {}
        return {"time": self.time(t), **scale, **affine_columns(self.output, kind, k)}

    def evaluate(self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        scaled = x_t * columns["scale"] if "scale" in columns else x_t
        return blend(columns, x_t, call(self.network, scaled, self._times(columns, x_t), condition))

    def network_features(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> list[Tensor]:
        """What a network that shows its features (`UNet.features`) makes of x_t (n, *shape) at t (n,)."""
        columns = over(self.columns(self.output, t), x_t)
        scaled = x_t * columns["scale"] if "scale" in columns else x_t
        features: Any = self.network.features
        maps: list[Tensor] = call(features, scaled, self._times(columns, x_t), without_scale(condition)[0])
        return maps

    def _times(self, columns: TimeColumns, x_t: Tensor) -> Tensor:
        return times_for(columns["time"], x_t)

    def pair(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """The estimates of data and noise from one network call."""
        k = self.coefficients(x_t, t)
        return solve(self.output, self._output(x_t, t, condition, k), x_t, k)

    def calls(self, t: float = 0.5) -> int:
        return 1

    def on(self, path: Path) -> Repathed:
        """The same model read on another path (`Repathed`)."""
        return Repathed(self, path)


class FlowMap(Denoiser):
    """A denoiser with a second time s: its estimate at x_t and t holds on the way from t to s.

    ``network(x, t, condition)`` takes t of shape (n, 2), the times t and s (networks are built for it with ``times=2``). Read at
    s = t it is an ordinary denoiser, for every solver; read at another s, `jump` maps x_t to the state at s in one evaluation:
    alpha_s x + sigma_s z, with the data x and the noise z of the output. On the straight path that is
    x_t + (s - t) u with u the mean velocity between s and t; a map to s = 0 is the data.

    Its arguments are a `Denoiser`'s, and:

    Args:
        sampling: How it is sampled in several jumps; None for the solver's grid.

    References:
        Song et al., Consistency Models (2023); Kim et al., Consistency Trajectory Models (2024), eq. 9; Boffi et al., Flow Map
        Matching (2024); Geng et al., Mean Flows for One-step Generative Modeling (2025), for the mean velocity.
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
        options: Any = {"preconditioning": preconditioning, "unconditional": unconditional, "source": source}
        super().__init__(network, path, prediction, space, **options)
        self.sampling = sampling or MapSampling()

    @property
    def grid(self) -> str | None:
        """The grid on which it has learned to jump."""
        return self.sampling.grid

    @property
    def only_to_data(self) -> bool:
        """Whether it jumps to data alone."""
        return self.sampling.only_to_data

    @property
    def jumps(self) -> bool:
        return True

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        """As a denoiser's, with the second time; a clock of log-SNR, which has no end at 0, stops at t_min."""
        second = t if to is None else (to if self.preconditioning.clock == "t" else to.clamp(min=self.path.ends[0]))
        return {**super().columns(kind, t), "until": self.time(second)}

    def evaluate(self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        """As a denoiser's; a network that knows guidance reads the scales in the condition, else 1, or the least."""
        if self.preconditioning.guidance is not None:
            low, high = self.preconditioning.guidance
            condition, scale = without_scale(condition)
            known: Any = 1.0 if low <= 1 <= high else low
            columns = {**columns, "guidance": ((known if scale is None else scale) - low) / (high - low)}
        return super().evaluate(kind, x_t, columns, condition)

    def _times(self, columns: TimeColumns, x_t: Tensor) -> Tensor:
        names = (name for name in ("time", "until", "guidance") if name in columns)
        return torch.stack([times_for(columns[name], x_t) for name in names], dim=1)

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None, to: Tensor | None = None) -> Tensor:
        """The prediction at x_t (n, *shape) and t (n,) that is to hold up to ``to`` (n,), None for t itself; model units."""
        return self.evaluate(self.prediction, x_t, over(self.columns(self.prediction, t, to), x_t), condition)

    def _output(self, x_t: Tensor, t: Tensor, condition: Condition, k: Coefficients) -> Tensor:
        return self.evaluate(self.output, x_t, over(self.columns(self.output, t), x_t), condition)


def trained(denoiser: Predictor) -> Denoiser | None:
    """The denoiser that was trained, inside whatever guidance and changes of path were put around it; None for others."""
    inner: object = denoiser
    while inner is not None and not isinstance(inner, Denoiser):
        inner = getattr(inner, "denoiser", None)
    return inner


class Repathed(Wrapped):
    """A denoiser read on another path than it was trained on: its input is matched in log-SNR and scale.

    At time t of the new path the old time is the one of equal log-SNR, and x_t is scaled by the ratio of the two standard
    deviations; v is the same on both. The new path's ends are narrowed to the noise levels that the denoiser knows.

    Args:
        denoiser: A denoiser on its own path.
        path: The path to sample on.

    References:
        Karras et al., EDM (2022), section 2; Kingma et al., Variational Diffusion Models (2021), section 5.1.
    """

    def __init__(self, denoiser: Predictor, path: Path) -> None:
        super().__init__(denoiser)
        known = path.time(torch.tensor(denoiser.path.log_snr_ends(), dtype=torch.float64)).clamp(*path.ends).tolist()
        whole = all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(known, path.ends, strict=True))
        self.path: Path = path if whole else Narrowed(path, *known)

    def _matched(self, t: Tensor) -> Tensor:
        known = self.denoiser.path
        return known.time(self.path.log_snr(t)).clamp(*known.ends)

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        """The ratio of the standard deviations, the denoiser's columns at the matched times, and how v is read as ``kind``."""
        here, then = self.path.at(t), self._matched(t)
        scale = self.denoiser.path.at(then).r / here.r
        inner = columns_of(self.denoiser, "v", then, None if to is None else self._matched(to))
        return {"scale": scale, "inner": inner, **affine_columns("v", kind, here)}

    def evaluate(self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        return blend(columns, x_t, evaluate(self.denoiser, "v", x_t * columns["scale"], columns["inner"], condition))

    def calls(self, t: float = 0.5) -> int:
        return self.denoiser.calls(float(self._matched(torch.tensor(float(t), dtype=torch.float64))))

    def on(self, path: Path) -> Repathed:
        """The model on yet another path."""
        return Repathed(self.denoiser, path)
