"""Features in which generated and real examples are compared, fitted to a data set.

An extractor (`pushforward.extractors`) converts examples to numbers, which are centred and scaled
to unit total variance. All features except raw ones are projected onto min(64, n / 10) principal
components. By default, labelled data uses the last hidden layer of a small classifier, unlabelled
data its principal components, and toys (at most three columns, or a known truth) their raw columns.

Network, centre, scale and components are fitted once, on one half of the training examples
(`halves`). Real-data scores use the other half, so that real examples are as new to the features as
samples of a model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn

from pushforward.data import Dataset, Space, Split
from pushforward.data.core.hashes import mix
from pushforward.data.sets.derived import Stack, numbered
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.extractors import Extractor, Spaces, named_extractors
from pushforward.extractors.classifier import (
    EXAMPLES,
    Classifier,
    accuracy,
    apart,
    labelled,
    train_classifier,
)
from pushforward.extractors.extractor import state_hash
from pushforward.files import replacing
from pushforward.metrics.score import check_finite
from pushforward.metrics.subsets import blocks, principal_axes
from pushforward.numbers import plural
from pushforward.runtime import laid_out

Cache = (
    str | Path | None | Literal[False]
)  # A folder, None for the default one (`cache_folder`), or False for none

_log = logging.getLogger("pushforward")


_KEY = 0xF1_7ED
VERSION = 5  # Part of every cache key: raise it when the same data would give other features
MOST = 64  # Dimensions that are kept at most
STATISTICS = 20_000  # Examples from which mean, variance and axes are measured at most


def cache_folder(cache: Cache = None) -> Path | None:
    """Return the cache folder: the argument, ``PUSHFORWARD_CACHE`` or ``~/.cache/pushforward``.

    None for no cache.
    """
    given = os.path.expanduser(
        cache or os.environ.get("PUSHFORWARD_CACHE") or "~/.cache/pushforward"
    )
    if cache is False or given.startswith("~"):
        return None
    return Path(given)


def write_cached(path: Path, content: bytes) -> None:
    """Write a cache file with its SHA-256; if this fails, log a warning."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except CheckpointError as error:
        _log.warning(
            "Could not write the cache file %s (%s). The next evaluation computes it again.",
            path,
            error.__cause__,
        )


def read_cached(path: Path | None) -> bytes | None:
    """Read a file of `write_cached`; None if it is missing or damaged."""
    if path is None or not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() == content[:32]:
        return content[32:]
    return None


def quantised(x: Tensor | np.ndarray, space: Space) -> Tensor:
    """Round examples as a file would: images to 256 levels, integer columns to integers.

    Returns float32.

    Args:
        x: Examples in data units, (n, *shape), or uint8 images.
    """
    if isinstance(x, np.ndarray):
        examples = torch.from_numpy(np.ascontiguousarray(x))
    else:
        examples = x.detach().cpu()
    if examples.shape[1:] != space.shape or len(examples) == 0:
        raise DataError(
            f"Expected at least one example of shape {space.shape}, got {tuple(examples.shape)}."
        )
    if examples.dtype == torch.uint8 and space.levels is not None:
        return examples.float() / (space.levels - 1)
    examples = examples.float()
    check_finite("generated", examples.numpy())
    return space.rounded(examples)


def extracted(x: Tensor | np.ndarray, space: Space, network: nn.Module, name: str) -> np.ndarray:
    """Compute features without centring, scaling and projection, float64 (m, f)."""
    examples = quantised(x, space)
    device = next(network.parameters(), examples).device
    with torch.no_grad():
        out = network(examples.to(device))
    if not isinstance(out, Tensor) or out.dim() < 2 or len(out) != len(examples):
        got = f"{type(out).__name__} {tuple(getattr(out, 'shape', ()))}"
        raise UsageError(
            f"The features {name} returned a {got} for {len(examples)} examples; expected a tensor "
            f"({len(examples)}, features)."
        )
    features = out.flatten(1).double().cpu().numpy()
    wrong = int((~np.isfinite(features)).any(1).sum())
    if wrong:
        raise UsageError(
            f"The features {name} are NaN or infinite for {wrong} of {len(examples)} examples with "
            "finite values."
        )
    return features


@dataclass(frozen=True)
class Halves:
    """Indices of the training examples used for features and for real-data scores.

    For stacked images, they are indices of single images.

    Args:
        fitted: Sorted indices of the examples that features are fitted on, int64.
        drawn: Sorted indices of the examples that real-data scores are drawn from, int64.
    """

    fitted: NDArray[np.int64]
    drawn: NDArray[np.int64]


def halves(dataset: Dataset, learned: bool = False) -> Halves:
    """Split the training examples into two halves by content, so that copies stay together.

    For raw features, which cannot overfit, both parts contain all examples.
    """
    raw = kind_of(dataset) == "raw" and not learned
    if raw or not len(dataset.train):
        examples = np.arange(len(dataset.train))
        return Halves(examples, examples)
    split = dataset.truth.base.train if isinstance(dataset.truth, Stack) else dataset.train
    keys = mix(_KEY, split.hashes)
    order = np.argsort(keys, kind="stable")
    middle = len(order) // 2
    rising = keys[order]
    before = int(np.searchsorted(rising, rising[middle]))
    count = before or max(1, middle)  # if half of the examples are copies, they are divided
    return Halves(np.sort(order[:count]), np.sort(order[count:]))


def kind_of(dataset: Dataset) -> str:
    """Return the default features of a data set.

    "raw" for toys and tables, "classifier" for labelled data, else "pca".
    """
    return dataset.space.features(labelled(dataset), dataset.truth is not None)


class Features:
    """Map from examples in data units to the numbers that metrics compare.

    Created by `fit_features`.

    Attributes:
        name: Name of the extractor, such as "classifier", "pca" or "raw".
        extractor: Extractor.
        halves: Indices of training examples for fitting and for real-data scores.
        accuracy: Held-out accuracy of the classifier; None without labels.
        key: Hash of data, extractor, seed and version; equal keys give equal features.
        folder: Cache folder for features of real data; None for no cache.
        determined: Hash of everything that determines the features; empty if unknown (`identity`).
        classifies: Whether there is a classifier, for data with two or more classes.
        channels: Features of single images, for stacked images; else None.
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
    ) -> None:
        self.space = space
        self.key = key
        self.name, self.extractor, self._network = extractor
        self.tensors = dict(tensors)
        self.halves = Halves(self.tensors["fitted"].numpy(), self.tensors["drawn"].numpy())
        self.accuracy: float | None = None
        if "accuracy" in self.tensors:
            self.accuracy = float(self.tensors["accuracy"])
        self._mean = self.tensors["mean"].numpy()
        self._axes = self.tensors["axes"].numpy()
        self._load(self._network, "extractor.")
        self._reader = self.extractor.reader(self._network)
        if "net.head.bias" in self.tensors:
            with torch.device("meta"):  # draws no random numbers
                self._reader = Classifier(space.shape, len(space.classes))
            self._load(self._reader, "net.")
        self.classifies = self._reader is not None

    def _load(self, network: nn.Module, prefix: str) -> None:
        weights = {}
        for name, part in self.tensors.items():
            if name.startswith(prefix):
                weights[name.removeprefix(prefix)] = part
        if weights:
            network.load_state_dict(weights, assign=True)
            laid_out(network, self.space.memory_format)
        network.eval().requires_grad_(False)

    @property
    def preprocessing(self) -> str:
        """Describe the preprocessing of examples: levels, channels, size, filter and range."""
        levels = "" if self.space.levels is None else f"rounded to {self.space.levels} levels, "
        return levels + self.extractor.preprocessing(self.space)

    @property
    def identity(self) -> str:
        """Return a hash of everything that determines the features, 16 hexadecimal digits.

        It includes data, extractor, seed, preprocessing, the version of torch and pretrained
        weights. It does not include trained weights, whose last digits depend on the processor. If
        the source of the extractor is unknown, it is `weights`.
        """
        return self.determined or self.weights

    @cached_property
    def weights(self) -> str:
        """Return a hash (16 hexadecimal digits) of what determines the features.

        It covers the extractor, its settings and weights, the preprocessing, the centre, the scale
        and the axes.
        """
        state = state_hash(self._network, {name: self.tensors[name] for name in ("mean", "axes")})
        own = (
            type(self.extractor).__qualname__,
            json.dumps(self.extractor.settings(), sort_keys=True),
        )
        return hashlib.sha256(repr((own, self.preprocessing, state)).encode()).hexdigest()[:16]

    def dims(self, n: int) -> int:
        """Return the number of dimensions for n compared examples.

        Min(64, n / 10), or all columns of raw features.
        """
        most = int(self._axes.shape[1])
        if self.extractor.reduces:
            return max(1, min(MOST, n // 10, most))
        return most

    def __call__(self, x: Tensor | np.ndarray, n: int, real: bool = False) -> np.ndarray:
        """Compute features of examples.

        Args:
            x: Examples in data units, (m, *shape), which are rounded by `quantised`; images may be
                uint8.

        Returns:
            Features, float64 (m, dims(n)).
        """
        if not self.extractor.slow:
            return self._projected(x, self._axes[:, : self.dims(n)])
        path = None  # of all axes, so that examples from the cache have the same bits
        if real and self.folder is not None:
            words = hashlib.sha256(self.weights.encode())
            words.update(quantised(x, self.space).numpy().tobytes())
            path = self.folder / f"{words.hexdigest()[:32]}.real"
        content = read_cached(path)
        if content is None:
            features = self._projected(x, self._axes)
        else:
            features = load(content)["features"].numpy()
        if path is not None and content is None:
            write_cached(path, save({"features": torch.from_numpy(features)}))
        return features[:, : self.dims(n)]

    def _projected(self, x: Tensor | np.ndarray, axes: np.ndarray) -> np.ndarray:
        parts = []
        for part in blocks(max(1, len(x)), EXAMPLES):
            features = extracted(x[part], self.space, self._network, self.name)
            parts.append((features - self._mean) @ axes)
        return np.concatenate(parts)

    def classify(self, x: Tensor | np.ndarray) -> np.ndarray:
        """Classify examples, int64 (m,).

        The class of a stacked image is its mode: a number whose digits are the classes of the
            channels.
        """
        if self.channels is not None:
            classes = []
            for channel in range(self.space.shape[0]):
                classes.append(self.channels.classify(x[:, channel : channel + 1]))
            return numbered(np.stack(classes, axis=1), len(self.channels.space.classes))
        assert self._reader is not None
        labels = []
        with torch.no_grad():
            for part in blocks(len(x), EXAMPLES):
                examples = self.space.to_model(quantised(x[part], self.space))
                labels.append(self._reader(examples).argmax(1).numpy())
        return np.concatenate(labels)

    def describe(self, n: int) -> str:
        """Describe the features for a report."""
        kept = plural(self.dims(n), "dimension")
        text = f"{self.extractor.describe(self._certainty)}, {kept}, scaled to unit total variance"
        if self.channels is None:
            return text
        return f"{text}; channels recognised by a classifier{self.channels._certainty}"

    @property
    def _certainty(self) -> str:
        if self.accuracy is None:
            return ""
        return f" (held-out accuracy {self.accuracy:.1%})"


def fit_features(
    dataset: Dataset,
    extractor: Spaces = None,
    *,
    seed: int = 0,
    cache: Cache = None,
    reads: bool = True,
) -> Features:
    """Fit features to a data set, or load them from the cache.

    Args:
        dataset: Data set; features are fitted on half of its training split (`halves`).
        extractor: Name, extractor or network; None for the default of the data.
        cache: Folder; None for `cache_folder`, False for no cache.
    """
    if extractor is None:
        extractor = kind_of(dataset)
    ((name, chosen),) = named_extractors(extractor).items()
    chosen.check(dataset)
    channels = None
    if reads and isinstance(dataset.truth, Stack):
        channels = fit_features(dataset.truth.base, seed=seed, cache=cache)
    content = chosen.content()
    space = dataset.space
    place = cache_folder(cache)
    with apart():  # torch's global generator is left as it was
        torch.default_generator.manual_seed(seed)
        network = chosen.network(space).eval()
    state = state_hash(network)
    seen = chosen.preprocessing(space), space.shape, space.classes
    of_channels = getattr(channels, "key", None)
    words = (VERSION, dataset.fingerprint, seed, name, content, state, *seen, reads, of_channels)
    key = _key(words)
    path = None
    of_real = None
    if place is not None:
        of_real = place / "features" / "real"
    if place is not None and content is not None:
        path = place / "features" / f"{key}.fitted"
    stored = read_cached(path)
    if stored is not None:
        features = Features(space, (name, chosen, network), key, load(stored))
    else:
        features = fit_on(dataset, halves(dataset, chosen.learns), (name, chosen), seed, reads)
        features.key = key
        if path is not None:
            write_cached(path, save(features.tensors))
    if content is None:
        features.key = _key((*words, features.weights))
    else:
        # another processor may round the first weights of our own networks otherwise; what a user's
        # hold is in their state alone
        if chosen.learns and type(chosen).__module__.startswith("pushforward."):
            state = ""
        release = torch.__version__.split("+")[0]
        known_inputs = (VERSION, dataset.fingerprint, seed, release, content, state, *seen)
        features.determined = _key(known_inputs)[:16]
    features.channels = channels
    features.folder = of_real
    return features


def _key(words: Any) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()[:32]


def _prefixed(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: part.contiguous() for name, part in network.state_dict().items()}


def fit_on(
    dataset: Dataset,
    halved: Halves,
    extractor: tuple[str, Extractor],
    seed: int = 0,
    reads: bool = True,
) -> Features:
    """Fit features to some of the training examples, without a cache and without a key."""
    name, chosen = extractor
    space = dataset.space
    index = halved.fitted
    data = dataset
    tensors = {}
    if isinstance(dataset.truth, Stack):  # stacked again
        stacked = dataset.truth.composed(halved.fitted, STATISTICS, 0)
        data = dataclasses.replace(dataset, train=Split(stacked))
        index = np.arange(len(data.train))
    few = index
    if len(index) > STATISTICS:
        few = index[np.linspace(0, len(index) - 1, STATISTICS).astype(int)]
    with apart():
        torch.default_generator.manual_seed(seed)
        network = chosen.network(space)
        if chosen.learns:
            chosen.fit(network, data, index, seed)
            tensors = _prefixed("extractor.", network)
        network.eval().requires_grad_(False)
        parts = []
        for part in blocks(len(few), EXAMPLES):
            examples = data.train.data_units(few[part])
            parts.append(extracted(examples, space, network, name))
        base = np.concatenate(parts)
    reader = chosen.reader(network)
    if reads and reader is None and labelled(dataset):
        reader = train_classifier(dataset, halved.fitted, seed)
        tensors |= _prefixed("net.", reader)
    mean = base.mean(0)
    total = float(base.var(0).sum())
    axes = np.eye(base.shape[1])
    if chosen.reduces:
        _, axes = principal_axes(base - mean, MOST)
    scale = 1.0
    if total > 0:
        scale = np.sqrt(total)
    tensors |= {
        "mean": torch.from_numpy(mean),
        "axes": torch.from_numpy(np.ascontiguousarray(axes / scale)),
        "fitted": torch.from_numpy(halved.fitted),
        "drawn": torch.tensor(halved.drawn),
    }
    if reader is not None and dataset.held_out.labels is not None and len(dataset.held_out):
        right = accuracy(reader, space, dataset.held_out)
        tensors["accuracy"] = torch.tensor(right, dtype=torch.float64)
    return Features(space, (name, chosen, network), "", tensors)
