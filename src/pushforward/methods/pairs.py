"""Laws of two times: from which time to which a map is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pushforward.arguments import share
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.paths import Path
from pushforward.times import Stratified, Times, Uniform


class Pairs(ABC):
    """A law of pairs of times t >= s.

    Args:
        diagonal: The share of pairs with s = t, where a map is an ordinary flow, in [0, 1].
    """

    group = 1
    """Examples that are drawn together."""
    only_to_data = False
    """Whether every s is 0, so that the map learns no other end."""

    def __init__(self, diagonal: float) -> None:
        self.diagonal = share("diagonal", diagonal)

    @abstractmethod
    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        """Times t and s (n,), float32; t lies inside the path's ends, s may be 0.

        Args:
            draws: Randomness.
            path: On which the times are.
            progress: The share of training that is done, in [0, 1].
        """

    def equal(self, draws: Draws, path: Path) -> Tensor:
        """Times t (n,) of pairs with s = t."""
        return draws.uniform().clamp(*path.ends)


class Sorted(Pairs):
    """Two draws of one law, the greater first.

    Args:
        times: The law; the default is uniform.
        diagonal: See `Pairs`; these times t are single draws of the law.
        to_data: The share of the other pairs that have s = 0, in [0, 1].
        until: The law of the second draw; None for the same.

    References:
        Geng et al., Mean Flows for One-step Generative Modeling (2025), section 4.3; Luo et al., SoFlow (2025), for two laws.
    """

    def __init__(
        self, times: Times | None = None, *, diagonal: float = 0.25, to_data: float = 0.0, until: Times | None = None
    ) -> None:
        super().__init__(diagonal)
        self.times, self.to_data, self.until = times or Uniform(), share("to_data", to_data), until
        self.group = self.times.group
        self.only_to_data = to_data == 1 and diagonal == 0

    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        """The pairs."""
        first = self.equal(draws, path)
        # strata go by the place in the batch: two stratified draws of one example would always be neighbours
        second = plain(self.until or self.times)(draws.stream("second time"), path)
        t, s = torch.maximum(first, second), torch.minimum(first, second)
        whole = draws.stream("to data").uniform() < self.to_data
        t, s = torch.where(whole, first, t), torch.where(whole, 0.0, s)
        equal = draws.stream("diagonal").uniform() < self.diagonal
        return torch.where(equal, first, t), torch.where(equal, first, s)

    def equal(self, draws: Draws, path: Path) -> Tensor:
        return self.times(draws, path)


def plain(times: Times) -> Times:
    """The law without its strata."""
    return plain(times.times) if isinstance(times, Stratified) else times


class Dyadic(Pairs):
    """Steps of length 1, 1/2, ..., 2^-levels on their own grids, each length equally often.

    Args:
        levels: How often the whole is halved, at least 0.
        diagonal: See `Pairs`; its times are uniform.
        staged: Begin with the shortest steps; after each of levels + 1 equal parts of training go on with those of twice the
            length, and all between.

    References:
        Frans et al., One Step Diffusion via Shortcut Models (2025), section 4.
    """

    def __init__(self, levels: int = 7, *, diagonal: float = 0.75, staged: bool = False) -> None:
        super().__init__(diagonal)
        if levels < 0:
            raise UsageError(f"levels cannot be negative, got {levels}.")
        self.levels, self.staged = levels, staged

    def __call__(self, draws: Draws, path: Path, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        """The pairs; a step that begins beyond the path's end begins there."""
        u = draws.uniform()
        longest = self.levels - int(progress * (self.levels + 1)) if self.staged else 0
        longest, u_length = max(0, longest), draws.stream("length").uniform()
        # the shortest steps are learned in the first stage alone: no stage trains their halves
        lengths = max(1, self.levels - longest) if self.staged else self.levels + 1
        steps = 2.0 ** (longest + torch.floor(u_length * lengths))
        end = torch.floor(u * steps) / steps
        equal = draws.stream("diagonal").uniform() < self.diagonal
        t = torch.where(equal, u, end + 1 / steps).clamp(*path.ends)
        return t, torch.where(equal, t, end)
