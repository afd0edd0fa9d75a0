"""Couplings of data and noise in training, and sources instead of noise.

References:
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
    Transport (2024); Cheng and Schwing, The Curse of Conditions (C2OT, 2025).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward.data.core.dataset import Seen, seen_in_training
from pushforward.data.core.hashes import permutation
from pushforward.data.core.sampler import Condition
from pushforward.data.spaces import Space
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset, Split


PERIOD = (
    1_000_000  # seeds that use one order of held-out examples, as one sampling of an evaluation
)
_ORDER = 0x50_0C_E5


@functools.lru_cache(maxsize=16)
def _order(n: int, period: int) -> np.ndarray:
    return permutation(n, _ORDER, period)


class Source:
    """Data set that replaces noise: its training split in training, held-out split in sampling.

    Args:
        data: Name or path of the data set.
        space: Space of the flow's data, whose size images are scaled to.
        limit: Maximum number of training examples.
        seed: Seed that selects the examples kept by ``limit``.
        fingerprint: Stored fingerprint of the examples; None computes it from the data.

    Raises:
        UsageError: If the examples have another shape.
        DataError: On first use, if the examples have changed.
    """

    def __init__(
        self,
        data: str,
        space: Space,
        limit: int | None = None,
        seed: int = 0,
        fingerprint: str | None = None,
    ) -> None:
        from pushforward.data import names

        path = Path(data).expanduser()
        if data not in names() and path.exists():
            data = str(path.resolve())
        self.data = data
        self.space = space
        self.limit = limit
        self.seed = seed
        if fingerprint is None:
            self._dataset = self._read()
            fingerprint = self._dataset.examples_fingerprint
        self.fingerprint = fingerprint

    def _read(self) -> Dataset:
        from pushforward.data import load

        height_width = self.space.shape[1:] if self.space.has_pixels else None
        dataset = load(
            self.data, limit=self.limit, seed=self.seed, labelled=False, resize=height_width
        )
        if dataset.space.shape != self.space.shape:
            raise UsageError(
                f"The source {self.data} has examples of shape {dataset.space.shape}, and the data "
                f"{self.space.shape}. Expected equal shapes."
            )
        return dataset

    @functools.cached_property
    def _dataset(self) -> Dataset:
        try:
            dataset = self._read()
        except DataError as error:
            raise DataError(
                f"{error} The model starts from examples of {self.data} instead of noise, so it "
                "needs that data. Restore the data to that place."
            ) from error
        found = dataset.examples_fingerprint
        if found != self.fingerprint:
            raise DataError(
                f"The source {self.data} has changed since the model was trained (fingerprint "
                f"{found[:12]}, expected {self.fingerprint[:12]}). Restore the data, or train a "
                "model."
            )
        return dataset

    @property
    def examples(self) -> Tensor:
        """Return the training examples, (N, *shape), in model units of ``space``."""
        return self.space.to_model(self._dataset.train.data_units())

    @property
    def held_out(self) -> Tensor:
        """Return the held-out examples, (M, *shape), in model units of ``space``."""
        return self.space.to_model(self._dataset.held_out.data_units())

    @property
    def seen(self) -> Seen:
        """Return the training examples as part of a model's training record."""
        return seen_in_training(self._dataset)

    def __call__(self, draws: Draws) -> Tensor:
        return self._drawn(self._dataset.train, draws)

    def starts(self, draws: Draws) -> Tensor:
        """Return a held-out example for each example of the draws, by its seed."""
        split = self._dataset.held_out
        if not isinstance(draws, ExampleDraws):
            return self._drawn(split, draws)
        n = len(split)
        places = []
        for seed in draws.seeds:
            period, place = divmod(seed % 2**62, PERIOD)
            places.append(_order(n, period)[place % n])
        return self._chosen(split, np.array(places)).to(draws.device)

    def fixed(self, n: int, device: torch.device | str) -> Tensor:
        """Return the same n different training examples each time, or all if there are fewer."""
        split = self._dataset.train
        return self._chosen(split, permutation(len(split), _ORDER, 0)[:n]).to(device)

    def _drawn(self, split: Split, draws: Draws) -> Tensor:
        u = draws.uniform()
        index = (u.double().cpu() * len(split)).long()
        return self._chosen(split, index.numpy()).to(u.device)

    def _chosen(self, split: Split, index: np.ndarray) -> Tensor:
        return self.space.to_model(split.data_units(index))

    def __deepcopy__(self, memo: object) -> Source:
        return self


def same_source(a: Source | None, b: Source | None) -> bool:
    """Return whether two noise sources are the same examples, or both None."""
    if a is None or b is None:
        return a is b
    return (a.data, a.limit, a.seed, a.fingerprint) == (b.data, b.limit, b.seed, b.fingerprint)


def training_noise(source: Source | None, shape: Sequence[int], draws: Draws) -> Tensor:
    """Draw noise for training, (n, *shape): standard normal, or examples of the source."""
    if source is None:
        return draws.normal(shape)
    return source(draws)


class Coupling(ABC):
    """Pairing of each example with an example of noise.

    Attributes:
        source: Noise source; None for standard normal noise.
        group: Number of examples that are paired with each other; micro-batches hold whole groups.
    """

    source: Source | None = None
    group = 1

    @abstractmethod
    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return the unchanged data and its noise, both (n, *shape)."""

    def examples(
        self, x: Tensor, condition: Condition, draws: Draws
    ) -> tuple[Tensor, Tensor, Condition]:
        """Return data, noise and condition; a coupling with its own data replaces all three."""
        data, noise = self(x, condition, draws)
        return data, noise, condition


class Independent(Coupling):
    """Coupling that draws noise, or examples of a source, independently of the data."""

    def __init__(self, source: Source | None = None) -> None:
        self.source = source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        return x, training_noise(self.source, x.shape[1:], draws)


class OptimalTransport(Coupling):
    """Minibatch optimal transport: permutes noise within groups to the least squared distance.

    The plan is an exact assignment, and never crosses classes.

    Args:
        group: Number of examples in one assignment.
        source: Noise source; None for standard normal noise.
    """

    def __init__(self, group: int = 128, source: Source | None = None) -> None:
        self.group = group
        self.source = source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        given = dict(condition or {})
        labels = given.pop("label", None)
        if given:
            raise UsageError(
                "OptimalTransport pairs examples within classes, and does not support the "
                f"conditions {', '.join(given)}."
            )
        z = training_noise(self.source, x.shape[1:], draws.stream("coupling"))
        return x, z[self._plan(x, z, labels)]

    def _plan(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        positions = torch.arange(len(x))
        order = positions.clone()
        for group in positions.split(self.group):
            classes = [group]
            if labels is not None:
                own = labels[group].cpu()
                classes = [group[own == label] for label in own.unique()]
            for members in classes:
                order[members] = members[assign(x[members], z[members])]
        return order.to(x.device)


def assign(x: Tensor, z: Tensor) -> Tensor:
    """Find the permutation p that minimises sum |x_i - z_p(i)|^2, int64 (n,)."""
    from scipy.optimize import linear_sum_assignment

    flat_x = x.detach().flatten(1).double()
    flat_z = z.detach().flatten(1).double()
    # |x|^2 and |z|^2 are the same for every permutation
    cost = -(flat_x @ flat_z.T).cpu().numpy()
    _, permuted = linear_sum_assignment(cost)
    return torch.from_numpy(permuted.astype(np.int64))
