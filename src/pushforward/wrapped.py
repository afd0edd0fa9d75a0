"""The base of wrappers of denoisers: guidance, another path, an observation."""

from __future__ import annotations

from typing import Any

from pushforward.predictor import Predicting, Predictor, check_predictor, has_jump

__all__ = ["Wrapped"]


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
        """Whether the wrapped predictor is a map between two times, whose estimates take a second time."""
        return isinstance(self.denoiser, Predicting) and has_jump(self.denoiser)

    def calls(self, t: float = 0.5) -> int:
        """The calls of the wrapped predictor."""
        return self.denoiser.calls(t)
