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
    """A data set instead of noise: training starts from its training split, sampling from its held-out split.

    Images are scaled to the size of the data that the flow ends at, as `pushforward.data.load` scales them.

    Args:
        data: The data set's name or path; paths are kept whole, so that a run finds it from another folder.
        space: The units of the data that the flow ends at; the examples are put into its model units.
        limit: At most so many training examples.
        seed: Chooses the examples that ``limit`` keeps.
        fingerprint: That of the data set's examples (`pushforward.data.Dataset.stored_fingerprints`), which a run keeps; None
            reads the data and finds it.

    Raises:
        UsageError: If its examples have another shape.
        DataError: When they are first used, if they have changed since the fingerprint was taken.
    """

    def __init__(self, data: str, space: Space, limit: int | None = None, seed: int = 0, fingerprint: str | None = None) -> None:
        from pushforward.data import names

        path = Path(data).expanduser()
        self.data = str(path.resolve()) if data not in names() and path.exists() else data
        self.space, self.limit, self.seed = space, limit, seed
        if fingerprint is None:
            self._dataset = self._read()
            fingerprint = self._dataset.stored_fingerprints[1]
        self.fingerprint = fingerprint

    def _read(self) -> Dataset:
        from pushforward.data import load

        height_width = self.space.shape[1:] if self.space.has_pixels else None
        options = {"limit": self.limit, "seed": self.seed, "labelled": False, "resize": height_width}
        dataset = load(self.data, **options)  # type: ignore[arg-type]
        if dataset.space.shape != tuple(self.space.shape):
            raise UsageError(
                f"The source {self.data} has examples of shape {dataset.space.shape}, the data {tuple(self.space.shape)}; "
                "they must agree."
            )
        return dataset

    @functools.cached_property
    def _dataset(self) -> Dataset:
        try:
            dataset = self._read()
        except DataError as error:
            raise DataError(
                f"{error} The model starts from examples of {self.data}, not from noise: put it back there."
            ) from error
        if dataset.stored_fingerprints[1] != self.fingerprint:
            raise DataError(
                f"The source {self.data} has changed since the model was trained (fingerprint "
                f"{dataset.stored_fingerprints[1][:12]}, was {self.fingerprint[:12]}). Restore it, or train a new model."
            )
        return dataset

    @functools.cached_property
    def examples(self) -> Tensor:
        """The training examples, (N, *shape), model units of ``space``."""
        return self.space.to_model(self._dataset.train.data_units())

    @functools.cached_property
    def held_out(self) -> Tensor:
        """The held-out examples, (M, *shape), model units of ``space``."""
        return self.space.to_model(self._dataset.held_out.data_units())

    @property
    def seen(self) -> Seen:
        """The training examples, as something that a model learns from."""
        return seen_in_training(self._dataset)

    def __call__(self, draws: Draws) -> Tensor:
        """A training example for each example of the draws, drawn with replacement."""
        u = draws.uniform()
        return self._chosen(False, (u.double().cpu() * len(self._dataset.train)).long()).to(u.device)

    def starts(self, draws: Draws) -> Tensor:
        """A held-out example for each example of the draws, a function of the example's seed.

        As many seeds in an example as there are held-out examples take each of them once; from one period of seeds to the next
        their order changes.
        """
        n = len(self._dataset.held_out)
        if not isinstance(draws, ExampleDraws):
            u = draws.uniform()
            return self._chosen(True, (u.double().cpu() * n).long()).to(u.device)
        seeds = np.array([seed % 2**62 for seed in draws.seeds], dtype=np.int64)
        index = torch.empty(draws.n, dtype=torch.int64)
        for period in np.unique(seeds // PERIOD):
            within = seeds // PERIOD == period
            index[torch.from_numpy(within)] = _order(n, int(period))[torch.from_numpy(seeds[within] % PERIOD % n)]
        return self._chosen(True, index).to(draws.device)

    def fixed(self, n: int, device: torch.device | str) -> Tensor:
        """The same n different training examples each time, or all where there are fewer, (at most n, *shape)."""
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
    """Whether two sources of noise are the same examples, or both are None."""
    if a is None or b is None:
        return a is b
    return (a.data, a.limit, a.seed, a.fingerprint) == (b.data, b.limit, b.seed, b.fingerprint)


def training_noise(source: Source | None, shape: Sequence[int], draws: Draws) -> Tensor:
    """Noise as it is drawn in training, (n, *shape): standard normal, or training examples of the source."""
    return draws.normal(shape) if source is None else source(draws)


class Coupling(ABC):
    """Pairs each example with an example of noise."""

    source: Source | None = None
    """The source of noise other than standard normal; a denoiser trained with it has no noise level and no score."""

    group = 1
    """Examples that are coupled together; parts of a batch hold whole groups."""
    reuse = 1
    """For how many steps one batch and its pairs are kept while times are drawn again."""

    @abstractmethod
    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """The data unchanged and its noise, both (n, *shape)."""

    def examples(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor, Condition]:
        """The training pairs: data, its noise and its condition; a coupling with its own data replaces all three."""
        return *self(x, condition, draws), condition


class Independent(Coupling):
    """Noise drawn without looking at the data.

    Args:
        source: The source of noise; None is standard normal.
    """

    def __init__(self, source: Source | None = None) -> None:
        self.source = source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """(x, z) with z standard normal, or from the source."""
        return x, training_noise(self.source, x.shape[1:], draws)


class OptimalTransport(Coupling):
    """Minibatch optimal transport: within groups of fixed size, noise is permuted to the least total squared distance.

    The plan is an exact assignment (a permutation), so every noise example is used once; within labelled data it never
    crosses a class, so the noise stays independent of the label.

    Args:
        group: Examples in one assignment.
        reuse: Steps for which one batch and its plan are kept; the plan is a function of ``step // reuse``, so a resumed run
            finds the same one.
        source: The source of noise; None is standard normal.
    """

    def __init__(self, group: int = 128, reuse: int = 1, source: Source | None = None) -> None:
        self.group, self.reuse, self.source = group, whole("reuse", reuse, 1), source
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        """(x, z) with z permuted within each group."""
        z = training_noise(self.source, x.shape[1:], draws.stream("coupling", interval=self.reuse))
        labels = None if condition is None else condition.get("label")
        others = [name for name in condition or () if name != "label"]
        if others:
            raise UsageError(f"OptimalTransport pairs within classes, and cannot within values of {', '.join(others)}.")
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
            classes = [group] if labels is None else [group[labels[group].cpu() == c] for c in labels[group].unique().cpu()]
            for members in classes:
                order[members] = members[assign(x[members], z[members])]
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
