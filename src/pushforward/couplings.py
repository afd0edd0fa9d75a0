"""How data meets noise in training: ``couple(x, condition, draws) -> (x, z)``. Couplings permute z, never x.

References:
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport (2024).
    Cheng and Schwing, The Curse of Conditions (C2OT, 2025), for why plans must not cross classes.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from pushforward.data.space import Space
from pushforward.draws import Draws
from pushforward.errors import UsageError

__all__ = ["Coupling", "Independent", "OptimalTransport", "Source"]

Condition = dict[str, Tensor] | None


class Source:
    """The training rows of a data set in the place of noise, drawn with replacement.

    Args:
        data: The data set's name or path.
        space: The units of the data that the flow ends at; the rows are put into its model units.

    Raises:
        UsageError: If its rows have another shape.
    """

    def __init__(self, data: str, space: Space) -> None:
        self.data, self.space = data, space

    @functools.cached_property
    def rows(self) -> Tensor:
        """All of them, (N, *shape), model units of ``space``."""
        from pushforward.data import load

        train = load(self.data).train
        x = train.data_units(np.arange(len(train)))
        if tuple(x.shape[1:]) != tuple(self.space.shape):
            raise UsageError(
                f"The source {self.data} has rows of shape {tuple(x.shape[1:])}, the data {tuple(self.space.shape)}; "
                "they must agree."
            )
        return self.space.to_model(x)

    def __call__(self, draws: Draws) -> Tensor:
        """One row for each of the draws' rows."""
        u = draws.uniform()
        return self.rows[(u.double().cpu() * len(self.rows)).long()].to(u.device)

    def __deepcopy__(self, memo: object) -> Source:
        return self


def _drawn(source: Source | None, x: Tensor, draws: Draws) -> Tensor:
    return draws.normal(x.shape[1:]) if source is None else source(draws)


class Coupling(ABC):
    """Pairs each row of data with a row of noise."""

    source: Source | None = None
    """What takes the place of standard normal noise; a denoiser trained from it knows no noise level and no score."""

    group = 1
    """Rows that are coupled together; parts of a batch hold whole groups."""
    reuse = 1
    """For how many steps one batch and its pairs are kept while times are drawn anew."""

    @abstractmethod
    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """The data unchanged and its noise, both (n, *shape)."""


class Independent(Coupling):
    """Noise drawn without looking at the data.

    Args:
        source: What takes the place of standard normal noise.
    """

    def __init__(self, source: Source | None = None) -> None:
        self.source = source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """(x, z) with z standard normal, or from the source."""
        return x, _drawn(self.source, x, draws)


class OptimalTransport(Coupling):
    """Minibatch optimal transport: within groups of fixed size, noise is permuted to the least total squared distance.

    The plan is an exact assignment (a permutation), so every noise row is used once; within labelled data it never
    crosses a class, so the noise stays independent of the label.

    Args:
        group: Rows in one assignment.
        reuse: Steps for which one batch and its plan are kept; the plan is a function of ``step // reuse``, so a resumed run
            finds the same one.
        source: What takes the place of standard normal noise.
    """

    def __init__(self, group: int = 128, reuse: int = 1, source: Source | None = None) -> None:
        if group < 2 or reuse < 1:
            raise UsageError(f"OptimalTransport needs group >= 2 and reuse >= 1, got {group} and {reuse}.")
        self.group, self.reuse, self.source = group, reuse, source
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """(x, z) with z permuted within each group."""
        z = _drawn(self.source, x, draws.stream("coupling", every=self.reuse))
        labels = None if condition is None else condition.get("label")
        if self.reuse == 1:
            return x, z[self._plan(x, z, labels)]
        # a memory of a pure function of the pairs: losing it changes nothing but the time it takes
        name = (x.shape, float(x.double().sum()), float(z.double().sum()))
        if name not in self._kept:
            if len(self._kept) >= 64:
                self._kept.clear()
            self._kept[name] = self._plan(x, z, labels)
        return x, z[self._kept[name]]

    def _plan(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        positions = torch.arange(len(x))
        order = positions.clone()
        for rows in positions.split(self.group):
            classes = [rows] if labels is None else [rows[labels[rows].cpu() == c] for c in labels[rows].unique().cpu()]
            for mine in classes:
                order[mine] = mine[assign(x[mine], z[mine])]
        return order.to(x.device)

    def __deepcopy__(self, memo: object) -> OptimalTransport:
        return OptimalTransport(self.group, self.reuse, self.source)


def assign(x: Tensor, z: Tensor) -> Tensor:
    """The permutation p that makes sum |x_i - z_p(i)|^2 least, int64 (n,); exact (Jonker-Volgenant, by SciPy)."""
    from scipy.optimize import linear_sum_assignment

    flat_x, flat_z = x.detach().flatten(1).double(), z.detach().flatten(1).double()
    # |x|^2 and |z|^2 are the same for every permutation
    cost = -(flat_x @ flat_z.T).cpu().numpy()
    return torch.from_numpy(np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64))
