"""Features: the space in which generated and real examples are compared.

Labelled data: the last hidden layer of a small classifier. Unlabelled data: the rows themselves, in model units. Both are
centred, scaled to unit total variance and turned onto principal axes, of which min(64, n / 10) are kept. Toys (at most three
columns, or a known truth) are compared as they are, centred and scaled. The classes in the channels of stacked images are
read by the classifier of the images stacked.

Classifier, centre, scale and axes are fitted once, on one half of the training examples (`halves`); floors are drawn from the
other, so that real data is as new to the features as samples of a model are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.data.stacked import numbered
from pushforward.data.truth import Composed
from pushforward.devices import laid_out
from pushforward.errors import DataError
from pushforward.evaluation.cache import Cache, cache_folder, write_whole
from pushforward.evaluation.classifier import ROWS, Classifier, accuracy, apart, train_classifier
from pushforward.evaluation.halves import Halves, Kind, halves, kind_of, labelled
from pushforward.metrics.score import check_finite

__all__ = ["Features", "fit_features", "quantised", "strongest"]

VERSION = 3
"""Part of every cache key: raise it when the same data would give other features."""
MOST = 64
"""Dimensions that are kept at most."""
STATISTICS = 20_000
"""Rows from which mean, variance and axes are measured at most."""


def quantised(x: Tensor | np.ndarray, space: Space) -> Tensor:
    """Rows as a file would give them back: images rounded to 256 levels, whole columns to whole numbers; float32.

    Args:
        x: (n, *shape), data units; or uint8 images.
        space: The data's shape and units.

    Raises:
        Diverged: If rows hold NaN or infinity.
        DataError: If their shape is not the data's.
    """
    rows = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x.detach().cpu()
    if tuple(rows.shape[1:]) != tuple(space.shape) or len(rows) == 0:
        raise DataError(f"Expected at least one row of shape {tuple(space.shape)}, got {tuple(rows.shape)}.")
    if rows.dtype == torch.uint8 and space.levels is not None:
        return rows.float() / (space.levels - 1)
    rows = rows.float()
    check_finite("generated", rows.numpy())
    return space.rounded(rows)


class Features:
    """From rows in data units to the numbers that metrics compare. Made by `fit_features`.

    Attributes:
        kind: "raw" (toys), "classifier" or "pca".
        halves: The training examples on which they are fitted, and those from which floors are drawn.
        accuracy: The classifier's accuracy on the held-out split, or None without labels.
        key: Names data, seed and version; equal keys give equal features.
        channels: For stacked images, the features of the images stacked, whose classifier reads one channel; else None.
    """

    channels: Features | None = None

    def __init__(self, space: Space, kind: str, key: str, tensors: Mapping[str, Tensor], accuracy: float | None = None) -> None:
        self.space, self.kind, self.key, self.accuracy = space, kind, key, accuracy
        self.tensors = dict(tensors)
        self.halves = Halves(self.tensors["fitted"].numpy(), self.tensors["drawn"].numpy())
        self._mean, self._axes = self.tensors["mean"].numpy(), self.tensors["axes"].numpy()
        self._network: Classifier | None = None
        weights = {name.removeprefix("net."): tensor for name, tensor in self.tensors.items() if name.startswith("net.")}
        if weights:
            with torch.device("meta"):  # draws no random numbers
                self._network = Classifier(space.shape, len(space.classes))
            self._network.load_state_dict(weights, assign=True)
            self._network.eval().requires_grad_(False)
            laid_out(self._network, space.memory_format)

    @property
    def classifies(self) -> bool:
        """Whether there is a classifier: labelled data with two classes or more."""
        return self._network is not None

    def dims(self, n: int) -> int:
        """Dimensions at n compared rows: min(64, n / 10), at least 1; all columns for raw toys."""
        most = int(self._axes.shape[1])
        return most if self.kind == "raw" else max(1, min(MOST, n // 10, most))

    def __call__(self, x: Tensor | np.ndarray, n: int) -> np.ndarray:
        """Features of rows.

        Args:
            x: (m, *shape) in data units; images may be uint8. They are rounded as `quantised` does.
            n: How many examples either side of the comparison has; it sets the number of dimensions.

        Returns:
            float64, (m, dims(n)), with unit total variance over the rows of the fit before the reduction.

        Raises:
            Diverged: If rows hold NaN or infinity.
        """
        axes = self._axes[:, : self.dims(n)]
        parts = [x[start : start + ROWS] for start in range(0, len(x), ROWS)] or [x]
        return np.concatenate([(_base(part, self.space, self._hidden) - self._mean) @ axes for part in parts])

    @property
    def _hidden(self) -> Classifier | None:
        return self._network if self.kind == "classifier" else None

    def classify(self, x: Tensor | np.ndarray) -> np.ndarray:
        """The class of each row, int64 (m,), by the classifier.

        Of stacked images it is the mode, the classes of the channels read as the digits of a number.

        Raises:
            DataError: If the data has no labels.
        """
        if self.channels is not None:
            parts = [self.channels.classify(x[:, channel : channel + 1]) for channel in range(self.space.shape[0])]
            return numbered(np.stack(parts, axis=1), len(self.channels.space.classes))
        if self._network is None:
            raise DataError("There is no classifier: the data has no labels, or a single class.")
        labels = []
        with torch.no_grad():
            for start in range(0, len(x), ROWS):
                rows = self.space.to_model(quantised(x[start : start + ROWS], self.space))
                labels.append(self._network(rows).argmax(1).numpy())
        return np.concatenate(labels)

    def describe(self, n: int) -> str:
        """The features in words, for a report."""
        reduced = f"{self.dims(n)} dimension{'' if self.dims(n) == 1 else 's'}"
        if self.kind == "raw":
            return f"the columns themselves, {reduced}"
        if self.kind == "pca":
            read = "" if self.channels is None else f"; channels read by a classifier{self.channels._sure}"
            return f"principal components of one half of the training data, {reduced}{read}"
        return f"last hidden layer of a classifier{self._sure}, trained on one half of the training data, {reduced}"

    @property
    def _sure(self) -> str:
        return f" (held-out accuracy {self.accuracy:.1%})" if self.accuracy is not None else ""


def _base(x: Tensor | np.ndarray, space: Space, network: Classifier | None) -> np.ndarray:
    rows = space.to_model(quantised(x, space))
    if network is not None:
        with torch.no_grad():
            rows = network.hidden(rows)
    return rows.flatten(1).double().numpy()


def fit_features(dataset: Dataset, *, seed: int = 0, cache: Cache = None) -> Features:
    """Features for a data set, from the cache where they were fitted before.

    Args:
        dataset: Only one half of its training split is used (`halves`), save for the accuracy, which is of held-out examples.
        seed: Of the classifier.
        cache: A folder; None means `cache_folder`, False none. A damaged entry is made again.
    """
    kind = kind_of(dataset)
    channels = fit_features(dataset.truth.base, seed=seed, cache=cache) if isinstance(dataset.truth, Composed) else None
    named = (VERSION, dataset.fingerprint, seed, kind, dataset.space.shape, dataset.space.classes)
    key = hashlib.sha256(repr(named if channels is None else (*named, channels.key)).encode()).hexdigest()[:32]
    folder = None if cache is False else (cache_folder() if cache is None else Path(cache)) / "features"
    features = None if folder is None else _read(folder, key, dataset.space, kind)
    if features is None:
        features = fit_on(dataset, halves(dataset), kind, key, seed)
        if folder is not None:
            _write(folder, features)
    features.channels = channels
    return features


def fit_on(dataset: Dataset, rows: Halves, kind: Kind, key: str, seed: int = 0) -> Features:
    """Features of given rows, without a cache: see `fit_features`."""
    space = dataset.space
    network = train_classifier(dataset, rows.fitted, seed) if labelled(dataset) else None
    tensors = {} if network is None else {f"net.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    with apart():
        base = _statistics(dataset, rows, network if kind == "classifier" else None)
    mean, total = base.mean(0), float(base.var(0).sum())
    axes = np.eye(base.shape[1]) if kind == "raw" else _principal(base - mean)
    scale = np.sqrt(total) if total > 0 else 1.0
    tensors |= {"mean": torch.from_numpy(mean), "axes": torch.from_numpy(np.ascontiguousarray(axes / scale))}
    tensors |= {"fitted": torch.from_numpy(rows.fitted), "drawn": torch.tensor(rows.drawn)}
    judged = network is not None and dataset.held_out.labels is not None and len(dataset.held_out) > 0
    right = accuracy(network, space, dataset.held_out) if network is not None and judged else None
    return Features(space, kind, key, tensors, right)


def _statistics(dataset: Dataset, rows: Halves, network: Classifier | None) -> np.ndarray:
    """The rows that mean, scale and axes are measured on, before any of it."""
    split, index = dataset.train, rows.fitted
    if isinstance(dataset.truth, Composed):
        split = dataset.truth.composed(rows.fitted, STATISTICS, 0)
        index = np.arange(len(split))
    if len(index) > STATISTICS:
        index = index[np.linspace(0, len(index) - 1, STATISTICS).astype(int)]
    parts = [index[start : start + ROWS] for start in range(0, len(index), ROWS)]
    return np.concatenate([_base(split.data_units(part), dataset.space, network) for part in parts])


def _principal(centred: np.ndarray) -> np.ndarray:
    """The principal axes (d, at most 64) of centred rows, by falling variance; approximate above 1024 columns."""
    rows, d = centred.shape
    if d <= 1024:
        _, vectors = np.linalg.eigh(centred.T @ centred / rows)
        axes = vectors[:, ::-1][:, :MOST]
    else:
        most = min(MOST, rows)
        axes = strongest(centred, most + 16)[1][:, :most]
    return axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)


def strongest(centred: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The strongest directions of many columns, by four rounds of subspace iteration from a fixed start.

    Args:
        centred: (n, d), float; the directions come in its precision.
        most: How many; fewer where there are fewer rows.

    Returns:
        Falling singular values (k,) and orthonormal axes (d, k). The last ones are rough: ask for some more than needed.
    """
    n, d = centred.shape
    axes = np.random.Generator(np.random.Philox(0)).standard_normal((d, min(most, n, d)), dtype=centred.dtype.type)
    for _ in range(4):
        axes = np.linalg.qr(centred.T @ (centred @ axes))[0]
    _, values, turned = np.linalg.svd(centred @ axes, full_matrices=False)
    return values, axes @ turned.T


def _write(folder: Path, features: Features) -> None:
    from safetensors.torch import save

    content = save(features.tensors)
    description = {
        "format_version": 1,
        "key": features.key,
        "kind": features.kind,
        "accuracy": features.accuracy,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_whole(folder / f"{features.key}.safetensors", content)
    write_whole(folder / f"{features.key}.json", json.dumps(description, indent=1).encode())


def _read(folder: Path, key: str, space: Space, kind: str) -> Features | None:
    """The cached features, or None where there are none or they are damaged."""
    from safetensors.torch import load

    try:
        description: dict[str, Any] = json.loads((folder / f"{key}.json").read_text())
        content = (folder / f"{key}.safetensors").read_bytes()
        if description["key"] != key or description["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        return Features(space, kind, key, load(content), description["accuracy"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
