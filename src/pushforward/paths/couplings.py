"""How data meets noise in training: ``couple(x, condition, draws) -> (x, z)``. Couplings permute z, never x.

References:
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport (2024).
    Cheng and Schwing, The Curse of Conditions (C2OT, 2025), for why plans must not cross classes.
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

from pushforward.arguments import whole
from pushforward.data.core.dataset import Seen, seen_in_training
from pushforward.data.core.hashes import permutation
from pushforward.data.core.sampler import Condition
from pushforward.data.spaces import Space
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from pushforward.data import Dataset


PERIOD = 1_000_000  # Seeds between two orders of a source's held-out examples; the samplings of an evaluation start so far apart
_ORDER = 0x50_0C_E5


@functools.lru_cache(maxsize=16)
def _order(n: int, period: int) -> Tensor:
    return torch.from_numpy(permutation(n, _ORDER, period))


class Source:
    """Data set that replaces noise: its training split is used in training, its held-out split in sampling.

    Images are scaled to the size of the flow's data, as in `pushforward.data.load`.

    Args:
        data: Name or path of the data set. Paths are stored in full, so that a run finds the data
            from any folder.
        space: Space of the flow's data; the examples are converted to its model units.
        limit: Maximum number of training examples.
        seed: Seed that selects the examples kept by ``limit``.
        fingerprint: Fingerprint of the examples (`pushforward.data.Dataset.stored_fingerprints`),
            which a run stores; None computes the fingerprint from the data.

    Raises:
        UsageError: If the examples have another shape.
        DataError: On first use, if the examples have changed since the fingerprint was computed.
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
        self.data = str(path.resolve()) if data not in names() and path.exists() else data
        self.space = space
        self.limit = limit
        self.seed = seed
        if fingerprint is None:
            self._dataset = self._read()
            fingerprint = self._dataset.stored_fingerprints[1]
        self.fingerprint = fingerprint

    def _read(self) -> Dataset:
        from pushforward.data import load

        height_width = self.space.shape[1:] if self.space.has_pixels else None
        options = {
            "limit": self.limit,
            "seed": self.seed,
            "labelled": False,
            "resize": height_width,
        }
        dataset = load(self.data, **options)  # type: ignore[arg-type]
        if dataset.space.shape != tuple(self.space.shape):
            raise UsageError(
                f"The source {self.data} has examples of shape {dataset.space.shape}, and the data "
                f"{tuple(self.space.shape)}. Expected equal shapes."
            )
        return dataset

    @functools.cached_property
    def _dataset(self) -> Dataset:
        try:
            dataset = self._read()
        except DataError as error:
            raise DataError(
                f"{error} The model starts from examples of {self.data} instead of noise, so it needs that data. Restore "
                "the data to that place."
            ) from error
        if dataset.stored_fingerprints[1] != self.fingerprint:
            raise DataError(
                f"The source {self.data} has changed since the model was trained (fingerprint "
                f"{dataset.stored_fingerprints[1][:12]}, expected {self.fingerprint[:12]}). Restore the data, or train a "
                "new model."
            )
        return dataset

    @functools.cached_property
    def examples(self) -> Tensor:
        """Return the training examples, (N, *shape), in model units of ``space``."""
        return self.space.to_model(self._dataset.train.data_units())

    @functools.cached_property
    def held_out(self) -> Tensor:
        """Return the held-out examples, (M, *shape), in model units of ``space``."""
        return self.space.to_model(self._dataset.held_out.data_units())

    @property
    def seen(self) -> Seen:
        """Return the training examples as part of a model's training record."""
        return seen_in_training(self._dataset)

    def __call__(self, draws: Draws) -> Tensor:
        """Draw a training example for each example of the draws, with replacement."""
        u = draws.uniform()
        return self._chosen(False, (u.double().cpu() * len(self._dataset.train)).long()).to(
            u.device
        )

    def starts(self, draws: Draws) -> Tensor:
        """Return a held-out example for each example of the draws, as a function of the example's seed.

        M consecutive seeds, for M held-out examples, use each example once; the next M seeds use
        another order.
        """
        n = len(self._dataset.held_out)
        if not isinstance(draws, ExampleDraws):
            u = draws.uniform()
            return self._chosen(True, (u.double().cpu() * n).long()).to(u.device)
        seeds = np.array([seed % 2**62 for seed in draws.seeds], dtype=np.int64)
        index = torch.empty(draws.n, dtype=torch.int64)
        for period in np.unique(seeds // PERIOD):
            within = seeds // PERIOD == period
            index[torch.from_numpy(within)] = _order(n, int(period))[
                torch.from_numpy(seeds[within] % PERIOD % n)
            ]
        return self._chosen(True, index).to(draws.device)

    def fixed(self, n: int, device: torch.device | str) -> Tensor:
        """Return the same n different training examples each time, or all if there are fewer, (at most n, *shape)."""
        index = torch.from_numpy(permutation(len(self._dataset.train), _ORDER, 0)[:n])
        return self._chosen(False, index).to(device)

    def _chosen(self, held_out: bool, index: Tensor) -> Tensor:
        """Examples of either split, (n, *shape), model units; those that stay on disk are decoded each time."""
        split = self._dataset.held_out if held_out else self._dataset.train
        if split.on_disk:
            return self.space.to_model(split.data_units(index.numpy()))
        return (self.held_out if held_out else self.examples)[index]

    def __deepcopy__(self, memo: object) -> Source:
        return self


def same_source(a: Source | None, b: Source | None) -> bool:
    """Return whether two noise sources are the same examples, or both None."""
    if a is None or b is None:
        return a is b
    return (a.data, a.limit, a.seed, a.fingerprint) == (b.data, b.limit, b.seed, b.fingerprint)


def training_noise(source: Source | None, shape: Sequence[int], draws: Draws) -> Tensor:
    """Draw noise for training, (n, *shape): standard normal, or training examples of the source."""
    if source is None:
        return draws.normal(shape)
    return source(draws)


class Coupling(ABC):
    """Pairing of each example with an example of noise."""

    source: Source | None = None
    """The noise source, if it is not standard normal. A denoiser trained with such a source has no noise level and no score."""

    group = 1
    """Number of examples that are paired with each other; micro-batches hold whole groups."""
    reuse = 1
    """Number of steps that reuse one batch and its pairs, with new times in each step."""

    @abstractmethod
    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return the unchanged data and its noise, both (n, *shape)."""

    def examples(
        self, x: Tensor, condition: Condition, draws: Draws
    ) -> tuple[Tensor, Tensor, Condition]:
        """Return the training pairs: data, noise and condition; a coupling with its own data replaces all three."""
        return *self(x, condition, draws), condition


class Independent(Coupling):
    """Coupling that draws noise independently of the data.

    Args:
        source: Noise source; None for standard normal noise.
    """

    def __init__(self, source: Source | None = None) -> None:
        self.source = source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return (x, z) with z standard normal, or from the source."""
        return x, training_noise(self.source, x.shape[1:], draws)


class OptimalTransport(Coupling):
    """Minibatch optimal transport: permutes noise within groups of fixed size to the smallest total squared distance.

    The plan is an exact assignment (a permutation), so every noise example is used once; for
    labelled data it never crosses classes, so the noise stays independent of the label.

    Args:
        group: Number of examples in one assignment.
        reuse: Number of steps that reuse one batch and its plan. The plan depends on ``step

        reuse``, so a resumed run computes the same plan.
        source: Noise source; None for standard normal noise.
    """

    def __init__(self, group: int = 128, reuse: int = 1, source: Source | None = None) -> None:
        self.group, self.reuse, self.source = group, whole("reuse", reuse, 1), source
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return (x, z) with z permuted within each group."""
        z = training_noise(self.source, x.shape[1:], draws.stream("coupling", interval=self.reuse))
        labels = None if condition is None else condition.get("label")
        others = [name for name in condition or () if name != "label"]
        if others:
            raise UsageError(
                f"OptimalTransport pairs examples within classes, and does not support the conditions {', '.join(others)}."
            )
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
        for group in positions.split(self.group):
            if labels is None:
                classes = [group]
            else:
                classes = [group[labels[group].cpu() == c] for c in labels[group].unique().cpu()]
            for members in classes:
                order[members] = members[assign(x[members], z[members])]
        return order.to(x.device)

    def __deepcopy__(self, memo: object) -> OptimalTransport:
        return OptimalTransport(self.group, self.reuse, self.source)


def assign(x: Tensor, z: Tensor) -> Tensor:
    """Find the permutation p that minimises sum |x_i - z_p(i)|^2, int64 (n,); exact (Jonker-Volgenant, by SciPy)."""
    from scipy.optimize import linear_sum_assignment

    flat_x = x.detach().flatten(1).double()
    flat_z = z.detach().flatten(1).double()
    # |x|^2 and |z|^2 are the same for every permutation
    cost = -(flat_x @ flat_z.T).cpu().numpy()
    return torch.from_numpy(np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64))
