"""The base of what is put around a denoiser: guidance, another path, an observation."""

from __future__ import annotations

from typing import Any

from pushforward.predictor import Predicting, Predictor, check_predictor, has_jump

__all__ = ["Wrapped"]


class Wrapped(Predicting):
    """A predictor around another one, with its path, space and number of calls unless it says otherwise.

    Args:
        denoiser: What is inside.

    Raises:
        UsageError: For what predicts nothing.
    """

    denoiser: Any

    def __init__(self, denoiser: Predictor) -> None:
        super().__init__()
        check_predictor(denoiser)
        self.denoiser, self.path, self.space = denoiser, denoiser.path, denoiser.space

    @property
    def jumps(self) -> bool:
        """Whether what is inside is a map between two times, of which estimates can be asked with a second time."""
        return isinstance(self.denoiser, Predicting) and has_jump(self.denoiser)

    def calls(self, t: float = 0.5) -> int:
        """What is inside costs."""
        return self.denoiser.calls(t)
