"""Batches that depend only on their number, so that resuming needs no state except a count.

Batch b covers positions of an endless sequence of epochs, each in an order keyed by seed and epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.core.hashes import Integers, Pixels, bits, mix, permutation
from pushforward.data.images.image_store import Streamed
from pushforward.errors import UsageError

Condition = dict[str, Tensor] | None  # values and masks of conditions by name, each of length n
RESIDENT_BYTES = 256 * 2**20
_ORDER = 1
_FLIP = 2
_DOWN = 3
_RIGHT = 4
_LEVEL = 5
_BITS = 6


@dataclass(frozen=True)
class Batch:
    """The examples of a training step; ``batch["z"]`` returns an additional field.

    Args:
        x: Examples float32 (n, *shape) in model units.
        condition: Values of the conditions by name, such as ``{"label": int64 (n,)}``.
        fields: Additional prepared inputs by name, each of length n.
    """

    x: Tensor
    condition: Condition = None
    fields: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.fields:
            raise UsageError(
                f'This batch has no field "{name}"; it has {", ".join(["x", *self.fields])}. To '
                "add fields, return them by name from the method's `prepared(x, condition, draws)`."
            )
        return self.fields[name]

    def take(self, index: Any) -> Batch:
        fields = {name: value[index] for name, value in self.fields.items()}
        condition = self.condition
        if condition is not None:
            condition = {name: value[index] for name, value in condition.items()}
        return Batch(self.x[index], condition, fields)


class Sampler:
    """Training batches of a data set in model units.

    Args:
        dataset: Data set; only its training split is read.
        batch: Batch size; may exceed the number of examples.
        seed: Seed of order and augmentation.
        augment: Augmentations of images: "flip" flips horizontally with probability 1/2, "shift"
            shifts by up to an eighth of the size (at least 1 pixel) in each direction, repeating
            edge pixels, and "dequantise" adds uniform noise within each of the 256 levels, so that
            the data has a density.
        conditions: Names of conditions in batches; None for all.
        prepared: ``x`` in model units and additional fields by name, (n, ...), in the order of the
            training examples; None for batches of the examples themselves.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        *,
        seed: int = 0,
        augment: Iterable[str] = (),
        conditions: Iterable[str] | None = None,
        prepared: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole("batch", batch, 1)
        self.seed = int(seed)
        self.augment = tuple(augment)
        self.conditions = tuple(dataset.train.values if conditions is None else conditions)
        for name in self.augment:
            if name not in dataset.space.augmentations:
                known = ", ".join(dataset.space.augmentations) or "none"
                raise UsageError(
                    f"{dataset.name} contains {dataset.space.noun}s, which do not support the "
                    f"augmentation {name}. Supported augmentations: {known}."
                )
        self._fields = dict(prepared or {})
        self._drawn = prepared is None and dataset.probabilities is not None
        self._stored: Any = dataset.probabilities if self._drawn else dataset.train.x
        if prepared is not None:
            self._stored = self._fields.pop("x")
        streamed = isinstance(self._stored, Streamed)
        self._small = not streamed and math.prod(self._stored.shape) * 4 <= RESIDENT_BYTES
        self._converted = self._small and not self.augment and not self._drawn
        self._converted |= prepared is not None
        self.order = lru_cache(maxsize=2)(self._order)  # permutation of the examples by epoch
        self._store = cache(self._stored_on)

    def _order(self, epoch: int) -> Integers:
        return permutation(len(self.dataset.train), _ORDER, self.seed, epoch)

    def positions(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Return epochs and indices of the examples at positions start to stop - 1."""
        n = len(self.dataset.train)
        epochs = []
        index = []
        while start < stop:
            epoch, offset = divmod(start, n)
            taken = self.order(epoch)[offset : offset + stop - start]
            epochs.append(np.full(len(taken), epoch, dtype=np.int64))
            index.append(taken)
            start += len(taken)
        return np.concatenate(epochs), np.concatenate(index)

    def batch(
        self, number: int, device: str | torch.device = "cpu", index: slice | None = None
    ) -> Batch:
        """Return batch number 0, 1, 2, ... in model units; the same number gives the same batch.

        Args:
            number: Batch number.
            device: Device of the tensors.
            index: Slice of examples to return; no others are read.
        """
        epochs, numbers = self.positions(*positions_of(number, self.batch_size, index))
        values, conditions = self._store(str(device) if self._small else "cpu")
        if isinstance(values, Prefetch):
            chosen = torch.from_numpy(numbers)
            x = values.batch(number, index)
        else:
            chosen = torch.from_numpy(numbers).to(values.device)
            x = values.index_select(0, chosen)
        if self._drawn:
            pixels = bits(x.cpu().numpy(), _BITS, self.seed, epochs, numbers)
            x = torch.from_numpy(pixels).to(x.device)
        if self.augment:
            x = self._augmented(x, epochs, numbers)
        x = x.to(device)
        if not self._converted:
            x = self._model_units(x)
        if "dequantise" in self.augment:
            x = self._dequantised(x, epochs, numbers)
        fields = _selected(self._fields, torch.from_numpy(numbers), device)
        return Batch(x, _selected(conditions, chosen, device) or None, fields)

    def _stored_on(self, device: str) -> tuple[Tensor | Prefetch, Mapping[str, Tensor]]:
        conditions = self.dataset.train.condition(self.conditions, device=device) or {}
        if isinstance(self._stored, Streamed):
            return Prefetch(self._stored, self), conditions
        if isinstance(self._stored, Tensor):  # prepared
            return self._stored.to(device), conditions
        values = torch.from_numpy(np.ascontiguousarray(self._stored)).to(device)
        if self._converted:
            values = self._model_units(values)
        return values, conditions

    def _model_units(self, x: Tensor) -> Tensor:
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(255)
        return self.dataset.space.to_model(x)

    def _augmented(self, x: Tensor, epochs: Integers, index: Integers) -> Tensor:
        n, channels, height, width = x.shape
        row = np.broadcast_to(np.arange(height), (n, height))
        column = np.broadcast_to(np.arange(width), (n, width))
        if "shift" in self.augment:
            row = np.clip(row - self._shifts(_DOWN, epochs, index, height), 0, height - 1)
            column = np.clip(column - self._shifts(_RIGHT, epochs, index, width), 0, width - 1)
        if "flip" in self.augment:
            flipped = (mix(_FLIP, self.seed, epochs, index) >> np.uint64(63)).astype(bool)
            column = np.where(flipped[:, None], width - 1 - column, column)
        pixels = (row[:, :, None] * width + column[:, None, :]).reshape(n, 1, height * width)
        places = torch.from_numpy(pixels).to(x.device).expand(n, channels, -1)
        return x.flatten(2).gather(2, places).view(x.shape)

    def _shifts(self, purpose: int, epochs: Integers, index: Integers, size: int) -> Integers:
        reach = max(1, size // 8)
        words = mix(purpose, self.seed, epochs, index) % np.uint64(2 * reach + 1)
        return words.astype(np.int64)[:, None] - reach

    def _dequantised(self, u: Tensor, epochs: Integers, index: Integers) -> Tensor:
        words = mix(_LEVEL, self.seed, epochs[:, None], index[:, None], np.arange(u[0].numel()))
        levels = ((words >> np.uint64(40)).astype(np.float32) + 0.5) / 2**24 - 0.5
        uniform = torch.from_numpy(levels).view(u.shape).to(u)
        std = torch.from_numpy(self.dataset.space.scale).to(u).view(self.dataset.space.shape)
        return u + uniform / (255 * std)


def _selected(
    values: Mapping[str, Tensor], index: Tensor, device: str | torch.device
) -> dict[str, Tensor]:
    return {name: value.index_select(0, index).to(device) for name, value in values.items()}


def positions_of(number: int, size: int, index: slice | None) -> tuple[int, int]:
    """Return where the requested examples of a batch begin and end in the sequence of epochs."""
    if index is None:
        index = slice(None)
    start, stop, step = index.indices(size)
    if step != 1:
        raise UsageError(f"The examples of a micro-batch must be consecutive; got {index}.")
    return number * size + start, number * size + max(start, stop)


class Prefetch:
    """Images of batches; ``x.workers`` threads decode twice as many batches ahead."""

    def __init__(self, x: Streamed, sampler: Sampler) -> None:
        self.x = x
        self.sampler = sampler
        self._pool = ThreadPoolExecutor(max(1, x.workers), "pushforward-decoding")
        self._coming: dict[tuple[int, str], Future[Pixels]] = {}

    def batch(self, number: int, part: slice | None) -> Tensor:
        key = (number, repr(part))
        numbers = range(number, number + 1 + 2 * self.x.workers)
        ahead = {(later, repr(part)): later for later in numbers}
        for other in self._coming.keys() - ahead:
            self._coming.pop(other).cancel()
        for other, later in ahead.items():
            if other not in self._coming:  # some methods take a batch several times
                places = positions_of(later, self.sampler.batch_size, part)
                _, index = self.sampler.positions(*places)
                self._coming[other] = self._pool.submit(self.x.decoded, index)
        return torch.from_numpy(self._coming[key].result())
