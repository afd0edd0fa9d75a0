"""Features: the space in which generated and real examples are compared, fitted to a data set.

An extractor (`pushforward.extractors`) turns examples into numbers. These are centred and scaled to unit total variance; all but
raw ones are turned onto principal axes, of which min(64, n / 10) are kept. Unless others are asked for, labelled data has the
last hidden layer of a small classifier, unlabelled data its principal components, and toys (at most three columns, or a known
truth) are compared as they are. The classes in the channels of stacked images are read by the classifier of the images stacked.

Network, centre, scale and axes are fitted once, on one half of the training examples (`halves`); floors are drawn from the
other, so that real data is as new to the features as samples of a model are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.ground_truth import Stack, numbered
from pushforward.data.spaces import Space
from pushforward.devices import laid_out
from pushforward.errors import DataError
from pushforward.evaluation.cache import Cache, array_read, array_written, cache_folder, read_tensors, write_tensors
from pushforward.evaluation.extraction import extracted, quantised
from pushforward.evaluation.halves import Halves, halves, kind_of
from pushforward.evaluation.reduction import principal
from pushforward.extractors import Extractor, Spaces, named_extractors
from pushforward.extractors.classifier import EXAMPLES, Classifier, accuracy, apart, train_classifier
from pushforward.extractors.extractor import state_hash
from pushforward.extractors.labels import labelled
from pushforward.numbers import counted

__all__ = ["Features", "fit_features", "quantised"]

VERSION = 4
"""Part of every cache key: raise it when the same data would give other features."""
MOST = 64
"""Dimensions that are kept at most."""
STATISTICS = 20_000
"""Examples from which mean, variance and axes are measured at most."""


class Features:
    """From examples in data units to the numbers that metrics compare. Made by `fit_features`.

    Attributes:
        name: Of the extractor, such as "classifier", "pca" or "raw".
        extractor: What computes them.
        halves: The training examples on which they are fitted, and those from which floors are drawn.
        accuracy: The classifier's accuracy on the held-out split, or None without labels.
        key: Names data, extractor, seed and version; equal keys give equal features.
        folder: The cache of features of real data, for slow extractors; None for none.
        determined: The hash of what determines them, or nothing where that is unknown (`identity`).
        channels: For stacked images, the features of the images stacked, whose classifier reads one channel; else None.
    """

    determined: str = ""
    channels: Features | None = None
    folder: Path | None = None

    def __init__(
        self,
        space: Space,
        extractor: tuple[str, Extractor, nn.Module],
        key: str,
        tensors: Mapping[str, Tensor],
        accuracy: float | None = None,
    ) -> None:
        self.space, self.key, self.accuracy = space, key, accuracy
        self.name, self.extractor, self._network = extractor
        self.tensors = dict(tensors)
        self.halves = Halves(self.tensors["fitted"].numpy(), self.tensors["drawn"].numpy())
        self._mean, self._axes = self.tensors["mean"].numpy(), self.tensors["axes"].numpy()
        self._load(self._network, "extractor.")
        self._reader = self.extractor.reader(self._network)
        if "net.head.bias" in self.tensors:
            with torch.device("meta"):  # draws no random numbers
                self._reader = Classifier(space.shape, len(space.classes))
            self._load(self._reader, "net.")

    def _load(self, network: nn.Module, prefix: str) -> None:
        weights = {name.removeprefix(prefix): part for name, part in self.tensors.items() if name.startswith(prefix)}
        if weights:
            network.load_state_dict(weights, assign=True)
            laid_out(network, self.space.memory_format)
        network.eval().requires_grad_(False)

    @property
    def classifies(self) -> bool:
        """Whether there is a classifier: labelled data with two classes or more."""
        return self._reader is not None

    @property
    def preprocessing(self) -> str:
        """What happens to an example before the network, in words: levels, channels, size, filter and range."""
        levels = "" if self.space.levels is None else f"rounded to {self.space.levels} levels, "
        return levels + self.extractor.preprocessing(self.space)

    @property
    def identity(self) -> str:
        """16 hexadecimal digits that change with what determines the features.

        That is the data, the extractor with its source and settings, the seed, the preprocessing, torch's version, and the
        weights of a network that is not trained here. Weights that are do not count: another processor rounds otherwise, and
        its features are as good. Where the extractor's source is unknown, `weights` stands for all.
        """
        return self.determined or self.weights

    @cached_property
    def weights(self) -> str:
        """16 hexadecimal digits of the extractor, its settings, weights, preprocessing, centre, scale and axes as they are."""
        state = state_hash(self._network, {name: self.tensors[name] for name in ("mean", "axes")})
        own = type(self.extractor).__qualname__, json.dumps(self.extractor.settings(), sort_keys=True)
        return hashlib.sha256(repr((own, self.preprocessing, state)).encode()).hexdigest()[:16]

    def dims(self, n: int) -> int:
        """Dimensions at n compared examples: min(64, n / 10), at least 1; all columns where the extractor does not reduce."""
        most = int(self._axes.shape[1])
        return max(1, min(MOST, n // 10, most)) if self.extractor.reduces else most

    def __call__(self, x: Tensor | np.ndarray, n: int, real: bool = False) -> np.ndarray:
        """Features of examples.

        Args:
            x: (m, *shape) in data units; images may be uint8. They are rounded as `quantised` does.
            n: How many examples either side of the comparison has; it sets the number of dimensions.
            real: Whether these are examples of the data, whose features a slow extractor keeps on disk.

        Returns:
            float64, (m, dims(n)), with unit total variance over the examples of the fit before the reduction.

        Raises:
            Diverged: If examples hold NaN or infinity.
            UsageError: If the extractor fails, or gives NaN or another number of examples.
        """
        if self.extractor.slow:  # all axes, so that examples from the cache have the same bits
            return self._slow(x, self.folder if real else None)[:, : self.dims(n)]
        return self._projected(x, self._axes[:, : self.dims(n)])

    def _projected(self, x: Tensor | np.ndarray, axes: np.ndarray) -> np.ndarray:
        parts = [x[start : start + EXAMPLES] for start in range(0, len(x), EXAMPLES)] or [x]
        return np.concatenate([(extracted(part, self.space, self._network, self.name) - self._mean) @ axes for part in parts])

    def _slow(self, x: Tensor | np.ndarray, folder: Path | None) -> np.ndarray:
        if folder is None:
            return self._projected(x, self._axes)
        words = hashlib.sha256(self.weights.encode())
        words.update(quantised(x, self.space).numpy().tobytes())
        path = folder / f"{words.hexdigest()[:32]}.npy"
        stored = array_read(path)
        return array_written(path, self._projected(x, self._axes)) if stored is None else stored

    def classify(self, x: Tensor | np.ndarray) -> np.ndarray:
        """The class of each example, int64 (m,), by the classifier.

        Of stacked images it is the mode, the classes of the channels read as the digits of a number.

        Raises:
            DataError: If the data has no labels.
        """
        if self.channels is not None:
            parts = [self.channels.classify(x[:, channel : channel + 1]) for channel in range(self.space.shape[0])]
            return numbered(np.stack(parts, axis=1), len(self.channels.space.classes))
        if self._reader is None:
            raise DataError("There is no classifier: the data has no labels, or a single class.")
        labels = []
        with torch.no_grad():
            for start in range(0, len(x), EXAMPLES):
                examples = self.space.to_model(quantised(x[start : start + EXAMPLES], self.space))
                labels.append(self._reader(examples).argmax(1).numpy())
        return np.concatenate(labels)

    def describe(self, n: int) -> str:
        """The features in words, for a report."""
        read = "" if self.channels is None else f"; channels read by a classifier{self.channels._sure}"
        return f"{self.extractor.describe(self._sure)}, {counted(self.dims(n), 'dimension')}{read}"

    @property
    def _sure(self) -> str:
        return f" (held-out accuracy {self.accuracy:.1%})" if self.accuracy is not None else ""


def fit_features(
    dataset: Dataset, extractor: Spaces = None, *, seed: int = 0, cache: Cache = None, reads: bool = True
) -> Features:
    """Features for a data set, from the cache where they were fitted before.

    Args:
        dataset: Only one half of its training split is used (`halves`), save for the accuracy, which is of held-out examples.
        extractor: A name, an extractor or a network; None takes what suits the data.
        seed: Of what is trained.
        cache: A folder; None means `cache_folder`, False none. A damaged entry is made again.
        reads: Whether labelled data, or the channels of stacked images, get a classifier, whatever the features are.

    Raises:
        DataError: If the extractor cannot read the data.
        UsageError: If it is unknown or fails.
        MissingExtra: Without a package that it needs.
    """
    ((name, chosen),) = named_extractors(kind_of(dataset) if extractor is None else extractor).items()
    chosen.check(dataset)
    composed = reads and isinstance(dataset.truth, Stack)
    channels = fit_features(dataset.truth.base, seed=seed, cache=cache) if composed else None  # type: ignore[union-attr]
    content, space = chosen.content(), dataset.space
    network = _built(chosen, space, seed)
    state = state_hash(network)
    words: Any = (
        VERSION,
        dataset.stored_fingerprints[0],
        seed,
        name,
        content,
        state,
        chosen.preprocessing(space),
        space.shape,
        space.classes,
    )
    words = (*words, reads, None if channels is None else channels.key)
    folder = (place := cache_folder(cache)) and place / "features"
    key = _key(words)
    stored = None if folder is None or content is None else read_tensors(folder, key)
    if stored is not None:
        features = Features(space, (name, chosen, network), key, *stored)
    else:
        features = fit_on(dataset, halves(dataset, chosen.learns), (name, chosen), seed, reads)
        features.key = key if content is not None else _key((*words, features.weights))
        if folder is not None and content is not None:
            write_tensors(folder, key, features.tensors, features.accuracy)
    if content is not None:
        # another processor may round the first weights of our own networks otherwise; what a user's hold is in their state alone
        ours = chosen.learns and type(chosen).__module__.startswith("pushforward.")
        own = content, None if ours else state, chosen.preprocessing(space), space.shape, space.classes
        features.determined = _key((VERSION, dataset.stored_fingerprints[0], seed, torch.__version__.split("+")[0], own))[:16]
    features.channels, features.folder = channels, None if folder is None or content is None else folder / "real"
    return features


def _built(extractor: Extractor, space: Space, seed: int) -> nn.Module:
    """The network before it is fitted; torch's global generator is left as it was."""
    with apart():
        torch.default_generator.manual_seed(seed)
        return extractor.network(space).eval()


def _key(words: Any) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()[:32]


def fit_on(dataset: Dataset, halved: Halves, extractor: tuple[str, Extractor], seed: int = 0, reads: bool = True) -> Features:
    """Features of given examples, without a cache and without a key: see `fit_features`."""
    (name, chosen), space = extractor, dataset.space
    data, index = _source(dataset, halved)
    tensors = {}
    with apart():
        torch.default_generator.manual_seed(seed)
        network = chosen.network(space)
        if chosen.learns:
            chosen.fit(network, data, index, seed)
            tensors = {f"extractor.{part}": tensor.contiguous() for part, tensor in network.state_dict().items()}
        network.eval().requires_grad_(False)
        base = _statistics(data.train, index, space, (network, name))
    reader = chosen.reader(network)
    if reads and reader is None and labelled(dataset):
        reader = train_classifier(dataset, halved.fitted, seed)
        tensors |= {f"net.{part}": tensor.contiguous() for part, tensor in reader.state_dict().items()}
    mean, total = base.mean(0), float(base.var(0).sum())
    axes = principal(base - mean, MOST) if chosen.reduces else np.eye(base.shape[1])
    scale = np.sqrt(total) if total > 0 else 1.0
    tensors |= {"mean": torch.from_numpy(mean), "axes": torch.from_numpy(np.ascontiguousarray(axes / scale))}
    tensors |= {"fitted": torch.from_numpy(halved.fitted), "drawn": torch.tensor(halved.drawn)}
    judged = dataset.held_out.labels is not None and len(dataset.held_out) > 0
    right = accuracy(reader, space, dataset.held_out) if reader is not None and judged else None
    return Features(space, (name, chosen, network), "", tensors, right)


def _source(dataset: Dataset, halved: Halves) -> tuple[Dataset, np.ndarray]:
    """The data set and the numbers of its training examples on which features are fitted; stacked images are stacked again."""
    if not isinstance(dataset.truth, Stack):
        return dataset, halved.fitted
    split = Split(dataset.truth.composed(halved.fitted, STATISTICS, 0))
    return dataclasses.replace(dataset, train=split), np.arange(len(split))


def _statistics(split: Split, index: np.ndarray, space: Space, network: tuple[nn.Module, str]) -> np.ndarray:
    """The examples that mean, scale and axes are measured on, before any of it."""
    if len(index) > STATISTICS:
        index = index[np.linspace(0, len(index) - 1, STATISTICS).astype(int)]
    parts = [index[start : start + EXAMPLES] for start in range(0, len(index), EXAMPLES)]
    return np.concatenate([extracted(split.data_units(part), space, *network) for part in parts])
