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

from pushforward.data import Dataset, Space, Split, TableSpace
from pushforward.data.core.ground_truth import Stack, numbered
from pushforward.data.core.hashes import mix
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.extractors import Extractor, Spaces, named_extractors
from pushforward.extractors.classifier import EXAMPLES, Classifier, accuracy, apart, labelled, train_classifier
from pushforward.extractors.extractor import state_hash
from pushforward.files import replacing
from pushforward.metrics.score import check_finite
from pushforward.numbers import counted
from pushforward.runtime import laid_out

Cache = str | Path | None | Literal[False]  # A folder, None for the default one (`cache_folder`), or False for none

_log = logging.getLogger("pushforward")


_KEY = 0xF1_7ED
COLUMNS = 1024  # Coordinates of a table that are compared as they are, at most: as many as the features "raw" take
VERSION = 4  # Part of every cache key: raise it when the same data would give other features
MOST = 64  # Dimensions that are kept at most
STATISTICS = 20_000  # Examples from which mean, variance and axes are measured at most


def cache_folder(cache: Cache = None) -> Path | None:
    """The folder given, else ``PUSHFORWARD_CACHE`` or ``~/.cache/pushforward``; None for no cache, and without a home."""
    given = os.path.expanduser(cache or os.environ.get("PUSHFORWARD_CACHE") or "~/.cache/pushforward")
    return None if cache is False or given.startswith("~") else Path(given)


def write_cached(path: Path, content: bytes) -> None:
    """Write a cache file with its sha256 in front; a disk that refuses costs only the cache."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except CheckpointError as error:
        _log.warning("The cache %s cannot be written (%s); the next evaluation computes it again.", path, error.__cause__)


def read_cached(path: Path | None) -> bytes | None:
    """What `write_cached` wrote, or None where there is nothing or it is damaged."""
    if path is None or not path.is_file():
        return None
    content = path.read_bytes()
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None


def quantised(x: Tensor | np.ndarray, space: Space) -> Tensor:
    """Examples as a file would give them back: images rounded to 256 levels, whole columns to whole numbers; float32.

    Args:
        x: (n, *shape), data units; or uint8 images.
        space: The data's shape and units.

    Raises:
        Diverged: If examples hold NaN or infinity.
        DataError: If their shape is not the data's.
    """
    examples = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x.detach().cpu()
    if tuple(examples.shape[1:]) != tuple(space.shape) or len(examples) == 0:
        raise DataError(f"Expected at least one example of shape {tuple(space.shape)}, got {tuple(examples.shape)}.")
    if examples.dtype == torch.uint8 and space.levels is not None:
        return examples.float() / (space.levels - 1)
    examples = examples.float()
    check_finite("generated", examples.numpy())
    return space.rounded(examples)


def extracted(x: Tensor | np.ndarray, space: Space, network: nn.Module, name: str) -> np.ndarray:
    """Features before centre, scale and axes, float64 (m, f)."""
    examples = quantised(x, space)
    device = next(network.parameters(), examples).device
    with torch.no_grad():
        out = network(examples.to(device))
    if not isinstance(out, Tensor) or out.dim() < 2 or len(out) != len(examples):
        what = f"a tensor {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise UsageError(
            f"The features {name} gave {what} for {len(examples)} examples: expected a tensor ({len(examples)}, features)."
        )
    features: np.ndarray = out.flatten(1).double().cpu().numpy()
    wrong = int((~np.isfinite(features)).any(1).sum())
    if wrong:
        raise UsageError(
            f"The features {name} are NaN or infinite for {wrong} of {len(examples)} examples, whose values are finite."
        )
    return features


@dataclass(frozen=True)
class Halves:
    """Examples of a training split, by number; of stacked images, examples of the images that are stacked.

    Args:
        fitted: What features are fitted on, int64, sorted.
        drawn: What floors are drawn from, int64, sorted; it shares no example with ``fitted``, except where ``halves`` says so.
    """

    fitted: NDArray[np.int64]
    drawn: NDArray[np.int64]


def halves(dataset: Dataset, learned: bool = False) -> Halves:
    """Split the training examples in two halves by a hash of their content; copies that are kept together fall on one side.

    The half for the features holds at least one example of each class, as far as there is room. Raw features (toys) have nothing
    to overfit: only their centre and one scale are measured. There both parts are all examples.

    Args:
        dataset: The data.
        learned: Whether features are learned that suit it less than raw ones would: a toy is then split as well.
    """
    if kind_of(dataset) == "raw" and not learned:
        examples = np.arange(len(dataset.train))
        return Halves(examples, examples)
    split = dataset.truth.base.train if isinstance(dataset.truth, Stack) else dataset.train
    keys = mix(_KEY, split.hashes)
    order = np.argsort(keys, kind="stable")
    count, ordered = max(1, len(split) // 2), keys[order]
    if count < len(keys):  # the place next to the middle that lies between copies of two examples, unless an eighth away
        ends = (int(np.searchsorted(ordered, ordered[count], side)) for side in ("left", "right"))
        near = min((end for end in ends if 0 < end < len(keys)), key=lambda end: abs(end - count), default=count)
        count = near if abs(near - count) <= len(keys) // 8 else count
    first, rest = order[:count], order[count:]
    if split.labels is not None:  # some give way to one example of each class that only the rest has, and to its copies
        labels = split.labels
        classes, at = np.unique(labels[rest], return_index=True)
        lost = rest[at[~np.isin(classes, labels[first])]]
        needed = first[np.unique(labels[first], return_index=True)[1]]
        spare = first[~np.isin(keys[first], keys[needed])]
        swaps = min(len(lost), len(spare))
        moved, gone = keys[lost[:swaps]], keys[spare[len(spare) - swaps :]]
        first = np.concatenate([first[~np.isin(keys[first], gone)], rest[np.isin(keys[rest], moved)]])
    return Halves(np.sort(first), np.setdiff1d(order, first))


def kind_of(dataset: Dataset) -> str:
    """Which features a data set has: "raw" for toys and tables, "classifier" where there are labels, "pca" for the rest."""
    space = dataset.space
    if isinstance(space, TableSpace):
        return "raw" if space.size <= COLUMNS else "pca"
    if space.as_points and (space.size <= 3 or dataset.truth is not None):
        return "raw"
    return "classifier" if labelled(dataset) else "pca"


def principal(centred: np.ndarray, most: int) -> np.ndarray:
    """The principal axes (d, at most ``most``) of centred examples, by falling variance; approximate above 1024 columns."""
    n, d = centred.shape
    if d <= 1024:
        _, vectors = np.linalg.eigh(centred.T @ centred / n)
        axes = vectors[:, ::-1][:, :most]
    else:
        most = min(most, n)
        axes = strongest(centred, most + 16)[1][:, :most]
    return axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)


def strongest(centred: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The strongest directions of many columns, by four rounds of subspace iteration from a fixed start.

    Args:
        centred: (n, d), float; the directions come in its precision.
        most: How many; fewer where there are fewer examples.

    Returns:
        Falling singular values (k,) and orthonormal axes (d, k). The last ones are rough: ask for some more than needed.
    """
    n, d = centred.shape
    axes = np.random.Generator(np.random.Philox(0)).standard_normal((d, min(most, n, d)), dtype=centred.dtype.type)
    for _ in range(4):
        axes = np.linalg.qr(centred.T @ (centred @ axes))[0]
    _, values, turned = np.linalg.svd(centred @ axes, full_matrices=False)
    return values, axes @ turned.T


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
        classifies: Whether there is a classifier: labelled data with two classes or more.
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
        self.classifies = self._reader is not None

    def _load(self, network: nn.Module, prefix: str) -> None:
        weights = {name.removeprefix(prefix): part for name, part in self.tensors.items() if name.startswith(prefix)}
        if weights:
            network.load_state_dict(weights, assign=True)
            laid_out(network, self.space.memory_format)
        network.eval().requires_grad_(False)

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
        if not self.extractor.slow:
            return self._projected(x, self._axes[:, : self.dims(n)])
        path = None  # of all axes, so that examples from the cache have the same bits
        if real and self.folder is not None:
            words = hashlib.sha256(self.weights.encode())
            words.update(quantised(x, self.space).numpy().tobytes())
            path = self.folder / f"{words.hexdigest()[:32]}.real"
        content = read_cached(path)
        features = self._projected(x, self._axes) if content is None else load(content)["features"].numpy()
        if path is not None and content is None:
            write_cached(path, save({"features": torch.from_numpy(features)}))
        return features[:, : self.dims(n)]

    def _projected(self, x: Tensor | np.ndarray, axes: np.ndarray) -> np.ndarray:
        parts = [x[start : start + EXAMPLES] for start in range(0, len(x), EXAMPLES)] or [x]
        return np.concatenate([(extracted(part, self.space, self._network, self.name) - self._mean) @ axes for part in parts])

    def classify(self, x: Tensor | np.ndarray) -> np.ndarray:
        """The class of each example, int64 (m,), by the classifier.

        Of stacked images it is the mode, the classes of the channels read as the digits of a number.
        """
        if self.channels is not None:
            parts = [self.channels.classify(x[:, channel : channel + 1]) for channel in range(self.space.shape[0])]
            return numbered(np.stack(parts, axis=1), len(self.channels.space.classes))
        assert self._reader is not None
        labels = []
        with torch.no_grad():
            for start in range(0, len(x), EXAMPLES):
                examples = self.space.to_model(quantised(x[start : start + EXAMPLES], self.space))
                labels.append(self._reader(examples).argmax(1).numpy())
        return np.concatenate(labels)

    def describe(self, n: int) -> str:
        """The features in words, for a report."""
        sure, *read = (
            "" if each is None or each.accuracy is None else f" (held-out accuracy {each.accuracy:.1%})"
            for each in (self, self.channels)
        )
        channels = "" if self.channels is None else f"; channels read by a classifier{read[0]}"
        return f"{self.extractor.describe(sure)}, {counted(self.dims(n), 'dimension')}{channels}"


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
    channels = None
    if reads and isinstance(dataset.truth, Stack):
        channels = fit_features(dataset.truth.base, seed=seed, cache=cache)
    content, space, place = chosen.content(), dataset.space, cache_folder(cache)
    with apart():  # torch's global generator is left as it was
        torch.default_generator.manual_seed(seed)
        network = chosen.network(space).eval()
    state = state_hash(network)
    seen = chosen.preprocessing(space), space.shape, space.classes
    words: Any = VERSION, dataset.stored_fingerprints[0], seed, name, content, state, *seen
    words = (*words, reads, None if channels is None else channels.key)
    folder = None if place is None or content is None else place / "features"
    path = None if folder is None else folder / f"{_key(words)}.fitted"
    stored = read_cached(path)
    if stored is not None:
        tensors = load(stored)
        known = tensors.pop("accuracy", None)
        features = Features(space, (name, chosen, network), _key(words), tensors, None if known is None else float(known))
    else:
        features = fit_on(dataset, halves(dataset, chosen.learns), (name, chosen), seed, reads)
        features.key = _key(words) if content is not None else _key((*words, features.weights))
        if path is not None:
            right = {} if features.accuracy is None else {"accuracy": torch.tensor(features.accuracy, dtype=torch.float64)}
            write_cached(path, save({**features.tensors, **right}))
    if content is not None:
        # another processor may round the first weights of our own networks otherwise; what a user's hold is in their state alone
        ours = chosen.learns and type(chosen).__module__.startswith("pushforward.")
        own = content, None if ours else state, *seen
        features.determined = _key((VERSION, dataset.stored_fingerprints[0], seed, torch.__version__.split("+")[0], own))[:16]
    features.channels, features.folder = channels, None if folder is None else folder / "real"
    return features


def _key(words: Any) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()[:32]


def fit_on(dataset: Dataset, halved: Halves, extractor: tuple[str, Extractor], seed: int = 0, reads: bool = True) -> Features:
    """Features of given examples, without a cache and without a key: see `fit_features`."""
    (name, chosen), space, index = extractor, dataset.space, halved.fitted
    data, tensors = dataset, {}
    if isinstance(dataset.truth, Stack):  # stacked again
        data = dataclasses.replace(dataset, train=Split(dataset.truth.composed(halved.fitted, STATISTICS, 0)))
        index = np.arange(len(data.train))
    few = index if len(index) <= STATISTICS else index[np.linspace(0, len(index) - 1, STATISTICS).astype(int)]
    with apart():
        torch.default_generator.manual_seed(seed)
        network = chosen.network(space)
        if chosen.learns:
            chosen.fit(network, data, index, seed)
            tensors = {f"extractor.{part}": tensor.contiguous() for part, tensor in network.state_dict().items()}
        network.eval().requires_grad_(False)
        parts = [few[start : start + EXAMPLES] for start in range(0, len(few), EXAMPLES)]
        base = np.concatenate([extracted(data.train.data_units(part), space, network, name) for part in parts])
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
