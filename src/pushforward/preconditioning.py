"""The scaling of a denoiser's network: its input, time and output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pushforward.arguments import number
from pushforward.errors import UsageError, unknown
from pushforward.predictions import check

CLOCKS = {
    "t": lambda path, t: t,
    "log_snr": lambda path, t: -path.log_snr(t) / 8,
}
"""The network's input for time: t itself, or log(sigma / alpha) / 4, which is EDM's c_noise on any path."""


@dataclass(frozen=True)
class Preconditioning:
    """The scaling of a denoiser's network: its input, time and output.

    Args:
        scale_input: Divide x_t by hypot(alpha, sigma), so that the network's input has unit variance at all times (EDM's c_in).
        clock: The network's input for time, a name in `CLOCKS`.
        output: The prediction of the network itself, from which the denoiser's is computed; None is the prediction itself. With
            "v", a noise prediction on a path that preserves variance is sigma x_t + alpha network(x_t, t): the network need not
            copy x_t, and errors at high noise are scaled by alpha.
        guidance: The least and the greatest of the scales of guidance of which a `FlowMap`'s network receives one after its
            times, counted from 0 to 1 between them; None where it receives none.

    Raises:
        UsageError: For an unknown clock or output, or a range whose ends are not finite and rising.

    References:
        Karras et al., EDM (2022), section 5: with data of unit variance its preconditioned output is -v.
    """

    scale_input: bool = True
    clock: str = "t"
    output: str | None = None
    guidance: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise unknown("clock", self.clock, CLOCKS)
        if self.output is not None:
            check(self.output)
        if self.guidance is not None:
            low, high = (number("guidance", scale) for scale in self.guidance)
            if not -math.inf < low < high < math.inf:
                raise UsageError(f"A range of guidance is two finite scales, the lower first; got {low:g} and {high:g}.")
            object.__setattr__(self, "guidance", (low, high))
