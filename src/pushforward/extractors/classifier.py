"""The last hidden layer of a small classifier on the user's labels: what labelled data is compared in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.spaces import Space
from pushforward.errors import DataError
from pushforward.extractors.extractor import Extractor, in_model_units
from pushforward.runtime import laid_out

SIDE = 32  # Larger images are shrunk to this for the classifier
SEEN = 120_000  # Examples that a classifier is trained on at most, counted over all epochs (2 epochs at least, 40 at most)
EXAMPLES = 1000  # Rows that go through the classifier at a time


def labelled(dataset: Dataset) -> bool:
    """Return whether a classifier is possible: at least two classes, and two examples in each half."""
    return (
        dataset.train.labels is not None
        and len(dataset.space.classes) > 1
        and len(dataset.train) > 3
    )


class Classifier(nn.Module):
    """A small network from rows in model units to class scores; ``hidden`` is its last hidden layer."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 128) -> None:
        super().__init__()
        self.image = len(shape) == 3
        if self.image:
            sides = [min(side, SIDE) for side in shape[1:]]
            coarse = [(side + 3) // 4 for side in sides]
            self.sides = tuple(sides)
            self.body = nn.Sequential(
                *_convolution(shape[0], 16, 1),
                *_convolution(16, 32, 2),
                *_convolution(32, 64, 2),
                nn.Flatten(),
            )
            inside = 64 * coarse[0] * coarse[1]
        else:
            self.body = nn.Sequential(
                nn.Linear(math.prod(shape), width), nn.BatchNorm1d(width), nn.SiLU()
            )
            inside = width
        self.last = nn.Linear(inside, width)
        self.head = nn.Linear(width, classes)

    def hidden(self, x: Tensor) -> Tensor:
        """Compute the hidden activations, (n, width)."""
        if self.image:
            if x.shape[2:] != self.sides:
                x = functional.interpolate(
                    x, size=self.sides, mode="bilinear", antialias=True, align_corners=False
                )
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = x.flatten(1)
        return functional.silu(self.last(functional.dropout(self.body(x), 0.2, self.training)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute class scores, (n, classes)."""
        scores: Tensor = self.head(self.hidden(x))
        return scores


class LastHidden(Extractor):
    """The last hidden layer of a `Classifier`, 128 numbers.

    Args:
        seen: Number of training examples over all epochs (2 to 40 epochs), at most 120,000.
    """

    learns = True

    def __init__(self, seen: int = SEEN) -> None:
        self.seen = whole("seen", seen, 1)

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space) + shrunk(space)

    def check(self, data: Dataset) -> None:
        if not labelled(data):
            raise DataError(
                f"The features classifier need labels with at least two classes, and {data.name} has none. Use "
                "`features=self-supervised` or `features=pca`, which need no labels."
            )

    def network(self, space: Space) -> nn.Module:
        return _Hidden(space, Classifier(space.shape, len(space.classes)))

    def fit(self, network: nn.Module, data: Dataset, index: NDArray[np.int64], seed: int) -> None:
        assert isinstance(network, _Hidden)
        network.classifier = train_classifier(data, index, seed, self.seen)

    def reader(self, network: nn.Module) -> nn.Module | None:
        assert isinstance(network, _Hidden)
        return network.classifier

    def describe(self, sure: str = "") -> str:
        return f"last hidden layer of a classifier{sure}, trained on one half of the training data"


class _Hidden(nn.Module):
    def __init__(self, space: Space, classifier: Classifier) -> None:
        super().__init__()
        self.space = space
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.hidden(self.space.to_model(x))


def shrunk(space: Space) -> str:
    """Describe how `Classifier` shrinks large images; empty for others."""
    if len(space.shape) != 3 or max(space.shape[1:]) <= SIDE:
        return ""
    height, width = (min(side, SIDE) for side in space.shape[1:])
    return f", {width} x {height} by antialiased bilinear"


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    ]


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Context with a single thread and a separate random state, for results independent of the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def train_classifier(
    dataset: Dataset, index: NDArray[np.int64] | None = None, seed: int = 0, seen: int = SEEN
) -> Classifier:
    """Train a classifier on labelled training examples, without changing torch's global generator.

    Args:
        dataset: Labelled data set.
        index: Numbers of the training examples, at least two; None for all.
        seed: Seed of weights, order and dropout.
        seen: Number of examples over all epochs (2 to 40 epochs).
    """
    split = dataset.train
    assert split.labels is not None, "a classifier needs labels"
    if index is None:
        index = np.arange(len(split))
    labels = torch.from_numpy(np.asarray(split.labels[index], dtype=np.int64))
    with apart():
        torch.default_generator.manual_seed(seed)
        network = Classifier(dataset.space.shape, len(dataset.space.classes))
        network = laid_out(network, dataset.space.memory_format)
        rows = len(labels)
        batch = min(128, len(labels))
        epochs = min(40, max(2, round(min(seen, SEEN) / rows)))
        order = np.random.Generator(np.random.Philox(seed))
        steps = epochs * (rows // batch)
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
        rate = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 4e-3, total_steps=steps + 1, pct_start=max(0.2, 1.5 / (steps + 1))
        )
        for _ in range(epochs):
            shuffled = order.permutation(rows)
            for start in range(0, rows - batch + 1, batch):
                picked = shuffled[start : start + batch]
                scores = network(dataset.space.to_model(split.data_units(index[picked])))
                optimizer.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(scores, labels[picked], label_smoothing=0.05)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                rate.step()
    return network.eval().requires_grad_(False)


def accuracy(network: nn.Module, space: Space, split: Split) -> float:
    """Compute the accuracy of the network on labelled examples."""
    return int(named(network, space, split).sum()) / len(split)


def named(network: nn.Module, space: Space, split: Split) -> NDArray[np.bool_]:
    """Find which labelled examples the network classifies correctly, (n,)."""
    assert split.labels is not None
    classes = []
    for start in range(0, len(split), EXAMPLES):
        with torch.no_grad():
            classes.append(
                network(space.to_model(split.data_units(slice(start, start + EXAMPLES))))
                .argmax(1)
                .numpy()
            )
    return np.asarray(np.concatenate(classes) == split.labels)
