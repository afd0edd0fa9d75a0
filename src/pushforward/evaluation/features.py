"""Features: the space in which generated and real rows are compared.

Labelled data: the last hidden layer of a small classifier, trained once on the training split. Unlabelled data: the
rows themselves, in model units. Both are centred, scaled to unit total variance and turned onto the principal axes of
the training split, of which min(64, n / 10) are kept. Toys (at most three columns, or a known truth) are compared as
they are, centred and scaled. The classes in the channels of stacked images are read by the classifier of the images stacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.data.dataset import Dataset
from pushforward.data.space import Space
from pushforward.data.stacked import Stack, numbered
from pushforward.errors import DataError
from pushforward.metrics.score import check_finite

__all__ = ["Cache", "Features", "cache_folder", "fit_features", "quantised", "strongest", "write_whole"]

Cache = str | Path | None | Literal[False]
"""A folder, None for the default one (`cache_folder`), or False for none."""

VERSION = 1
"""Part of every cache key: raise it when the same data would give other features."""
MOST = 64
"""Dimensions that are kept at most."""
STATISTICS = 20_000
"""Training rows from which mean, variance and axes are measured at most."""
ROWS = 1000
"""Rows that go through the classifier at a time."""
SIDE = 32
"""Larger images are shrunk to this for the classifier."""
SEEN = 120_000
"""Images that the classifier is trained on, counted over all epochs (2 epochs at least, 40 at most)."""

_log = logging.getLogger("pushforward")


class _Classifier(nn.Module):
    """A small network from rows in model units to class scores; ``hidden`` is its last hidden layer."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 128) -> None:
        super().__init__()
        self.image = len(shape) == 3
        if self.image:
            sides = [min(side, SIDE) for side in shape[1:]]
            coarse = [(side + 3) // 4 for side in sides]
            self.sides = tuple(sides)
            self.body = nn.Sequential(
                *_convolution(shape[0], 16, 1), *_convolution(16, 32, 2), *_convolution(32, 64, 2), nn.Flatten()
            )
            inside = 64 * coarse[0] * coarse[1]
        else:
            self.body = nn.Sequential(nn.Linear(shape[0], width), nn.BatchNorm1d(width), nn.SiLU())
            inside = width
        self.last = nn.Linear(inside, width)
        self.head = nn.Linear(width, classes)

    def hidden(self, x: Tensor) -> Tensor:
        """(n, width) activations."""
        if self.image:
            if x.shape[2:] != self.sides:
                x = functional.interpolate(x, size=self.sides, mode="bilinear", antialias=True, align_corners=False)
            x = x.contiguous(memory_format=torch.channels_last)
        return functional.silu(self.last(functional.dropout(self.body(x), 0.2, self.training)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes) scores."""
        return self.head(self.hidden(x))


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()]


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """One thread, so that the result does not depend on how many there are, and a random state of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def _train(dataset: Dataset, seed: int) -> _Classifier:
    """A classifier of the training split; torch's global generator is left as it was."""
    labels = _labels(dataset.train.labels)
    with _apart():
        torch.default_generator.manual_seed(seed)
        network = _Classifier(dataset.space.shape, len(dataset.space.classes))
        network = network.to(memory_format=torch.channels_last) if network.image else network  # type: ignore[call-overload]
        rows, batch = len(labels), min(128, len(labels))
        epochs = min(40, max(2, round(SEEN / rows)))
        order = np.random.Generator(np.random.Philox(seed))
        steps = epochs * (rows // batch)
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1, pct_start=0.2)
        for _ in range(epochs):
            shuffled = order.permutation(rows)
            for start in range(0, rows - batch + 1, batch):
                picked = shuffled[start : start + batch]
                scores = network(dataset.space.to_model(dataset.train.data_units(picked)))
                optimizer.zero_grad(set_to_none=True)
                functional.cross_entropy(scores, labels[picked], label_smoothing=0.05).backward()
                optimizer.step()
                rate.step()
    return network.eval().requires_grad_(False)


def _labels(labels: np.ndarray | None) -> Tensor:
    assert labels is not None, "a classifier needs labels"
    return torch.from_numpy(np.asarray(labels, dtype=np.int64))


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
    if rows.dtype == torch.uint8 and space.kind == "image":
        return rows.float() / 255
    rows = rows.float()
    check_finite("generated", rows.numpy())
    if space.kind == "image":
        return (rows.clamp(0, 1) * 255).round() / 255
    return torch.from_numpy(space.quantise(rows)) if space.integer else rows


class Features:
    """From rows in data units to the numbers that metrics compare. Made by `fit_features`.

    Attributes:
        kind: "raw" (toys), "classifier" or "pca".
        accuracy: The classifier's accuracy on the held-out split, or None without labels.
        key: Names data, seed and version; equal keys give equal features.
        channels: For stacked images, the features of the images stacked, whose classifier reads one channel; else None.
    """

    channels: Features | None = None

    def __init__(self, space: Space, kind: str, key: str, tensors: Mapping[str, Tensor], accuracy: float | None = None) -> None:
        self.space, self.kind, self.key, self.accuracy = space, kind, key, accuracy
        self.tensors = dict(tensors)
        self._mean, self._axes = self.tensors["mean"].numpy(), self.tensors["axes"].numpy()
        self._network: _Classifier | None = None
        weights = {name.removeprefix("net."): one for name, one in self.tensors.items() if name.startswith("net.")}
        if weights:
            with torch.device("meta"):  # draws no random numbers
                self._network = _Classifier(space.shape, len(space.classes))
            self._network.load_state_dict(weights, assign=True)
            self._network.eval().requires_grad_(False)
            if self._network.image:
                self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def classifies(self) -> bool:
        """Whether there is a classifier: labelled data with two classes or more."""
        return self._network is not None

    def dims(self, n: int) -> int:
        """Dimensions at n compared rows: min(64, n / 10), at least 1; all columns for raw toys."""
        most = self._axes.shape[1]
        return most if self.kind == "raw" else max(1, min(MOST, n // 10, most))

    def __call__(self, x: Tensor | np.ndarray, n: int) -> np.ndarray:
        """Features of rows.

        Args:
            x: (m, *shape) in data units; images may be uint8. They are rounded as `quantised` does.
            n: How many rows either side of the comparison has; it sets the number of dimensions.

        Returns:
            float64, (m, dims(n)), with unit total variance over the training split before the reduction.

        Raises:
            Diverged: If rows hold NaN or infinity.
        """
        axes = self._axes[:, : self.dims(n)]
        parts = [x[start : start + ROWS] for start in range(0, len(x), ROWS)] or [x]
        return np.concatenate([(_base(part, self.space, self._hidden) - self._mean) @ axes for part in parts])

    @property
    def _hidden(self) -> _Classifier | None:
        return self._network if self.kind == "classifier" else None

    def classify(self, x: Tensor | np.ndarray) -> np.ndarray:
        """The class of each row, int64 (m,), by the classifier that was trained on the training split.

        Of stacked images it is the mode, the classes of the channels read as the digits of a number.

        Raises:
            DataError: If the data has no labels.
        """
        if self.channels is not None:
            parts = [self.channels.classify(x[:, one : one + 1]) for one in range(self.space.shape[0])]
            return numbered(np.stack(parts, axis=1), len(self.channels.space.classes))
        if self._network is None:
            raise DataError("There is no classifier: the data has no labels, or a single class.")
        found = []
        with torch.no_grad():
            for start in range(0, len(x), ROWS):
                rows = self.space.to_model(quantised(x[start : start + ROWS], self.space))
                found.append(self._network(rows).argmax(1).numpy())
        return np.concatenate(found)

    def describe(self, n: int) -> str:
        """The features in words, for a report."""
        reduced = f"{self.dims(n)} dimensions"
        if self.kind == "raw":
            return f"the columns themselves, {reduced}"
        if self.kind == "pca":
            read = "" if self.channels is None else f"; channels read by a classifier{self.channels._sure}"
            return f"principal components of the training data, {reduced}{read}"
        return f"last hidden layer of a classifier{self._sure}, {reduced}"

    @property
    def _sure(self) -> str:
        return f" (held-out accuracy {self.accuracy:.1%})" if self.accuracy is not None else ""


def _base(x: Tensor | np.ndarray, space: Space, network: _Classifier | None) -> np.ndarray:
    rows = space.to_model(quantised(x, space))
    if network is not None:
        with torch.no_grad():
            rows = network.hidden(rows)
    return rows.flatten(1).double().numpy()


def fit_features(dataset: Dataset, *, seed: int = 0, cache: Cache = None) -> Features:
    """Features for a data set, from the cache where they were fitted before.

    Args:
        dataset: Only its training split is used, save for the accuracy that is reported.
        seed: Of the classifier.
        cache: A folder; None means `cache_folder`, False none. A damaged entry is made anew.
    """
    kind = _kind(dataset)
    channels = fit_features(dataset.truth.base, seed=seed, cache=cache) if isinstance(dataset.truth, Stack) else None
    named = (VERSION, dataset.fingerprint, seed, kind, dataset.space.shape, dataset.space.classes)
    key = hashlib.sha256(repr(named if channels is None else (*named, channels.key)).encode()).hexdigest()[:32]
    folder = None if cache is False else (cache_folder() if cache is None else Path(cache)) / "features"
    features = None if folder is None else _read(folder, key, dataset.space, kind)
    if features is None:
        features = _fit(dataset, kind, key, seed)
        if folder is not None:
            _write(folder, features)
    features.channels = channels
    return features


def _kind(dataset: Dataset) -> str:
    space = dataset.space
    if space.kind == "vector" and (space.size <= 3 or dataset.truth is not None):
        return "raw"
    return "classifier" if _labelled(dataset) else "pca"


def _labelled(dataset: Dataset) -> bool:
    return dataset.train.labels is not None and len(dataset.space.classes) > 1 and len(dataset.train) > 1


def _fit(dataset: Dataset, kind: str, key: str, seed: int) -> Features:
    space = dataset.space
    tensors: dict[str, Tensor] = {}
    network = _train(dataset, seed) if _labelled(dataset) else None
    if network is not None:
        tensors |= {f"net.{name}": one.contiguous() for name, one in network.state_dict().items()}
    rows = len(dataset.train)
    picked = np.arange(rows) if rows <= STATISTICS else np.linspace(0, rows - 1, STATISTICS).astype(int)
    hidden = network if kind == "classifier" else None
    parts = [picked[start : start + ROWS] for start in range(0, len(picked), ROWS)]
    with _apart():
        base = np.concatenate([_base(dataset.train.data_units(part), space, hidden) for part in parts])
    mean, total = base.mean(0), float(base.var(0).sum())
    axes = np.eye(base.shape[1]) if kind == "raw" else _principal(base - mean)
    scale = np.sqrt(total) if total > 0 else 1.0
    tensors |= {"mean": torch.from_numpy(mean), "axes": torch.from_numpy(np.ascontiguousarray(axes / scale))}
    features = Features(space, kind, key, tensors)
    held_out = dataset.held_out
    if network is not None and held_out.labels is not None and len(held_out):
        parts = [np.arange(start, min(start + ROWS, len(held_out))) for start in range(0, len(held_out), ROWS)]
        right = [features.classify(held_out.data_units(part)) == held_out.labels[part] for part in parts]
        features.accuracy = float(np.concatenate(right).mean())
    return features


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


def cache_folder() -> Path:
    """Where fitted features and floors are kept: ``PUSHFORWARD_CACHE``, or ``~/.cache/pushforward``."""
    given = os.environ.get("PUSHFORWARD_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "pushforward"


def write_whole(path: Path, content: bytes) -> None:
    """Write a cache file so that a reader sees all of it or nothing; a disk that refuses costs only the cache."""
    held: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            held = file.name
            file.write(content)
        os.replace(held, path)
    except OSError as error:
        _log.warning("The cache %s cannot be written (%s); the next evaluation computes it again.", path, error)
        if held is not None and os.path.exists(held):
            os.unlink(held)


def _write(folder: Path, features: Features) -> None:
    from safetensors.torch import save

    content = save(features.tensors)
    about = {
        "format_version": 1,
        "key": features.key,
        "kind": features.kind,
        "accuracy": features.accuracy,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_whole(folder / f"{features.key}.safetensors", content)
    write_whole(folder / f"{features.key}.json", json.dumps(about, indent=1).encode())


def _read(folder: Path, key: str, space: Space, kind: str) -> Features | None:
    """The cached features, or None where there are none or they are damaged."""
    from safetensors.torch import load

    try:
        about: dict[str, Any] = json.loads((folder / f"{key}.json").read_text())
        content = (folder / f"{key}.safetensors").read_bytes()
        if about["key"] != key or about["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        return Features(space, kind, key, load(content), about["accuracy"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
