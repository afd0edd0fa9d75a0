"""Features of labelled data: the last hidden layer of a small classifier."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.arguments import whole
from pushforward.conditions.kind import Shape
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Integers, Mask, blocks
from pushforward.data.spaces import Space
from pushforward.errors import DataError
from pushforward.extractors.extractor import Extractor, in_model_units
from pushforward.runtime import laid_out

SIDE = 32  # Larger images are shrunk to this side
SEEN = 120_000  # Maximum number of training examples over all epochs (2 to 40 epochs)
EXAMPLES = 1000  # Examples that are classified at a time


def labelled(dataset: Dataset) -> bool:
    """Return whether there are at least two classes, and two examples per half."""
    classes = len(dataset.space.classes)
    return dataset.train.labels is not None and classes > 1 and len(dataset.train) > 3


class Classifier(nn.Module):
    """Small network from examples in model units to class scores."""

    def __init__(self, shape: Shape, classes: int, width: int = 128) -> None:
        super().__init__()
        self.image = len(shape) == 3
        if self.image:
            self.sides = _shrunk_sides(shape)
            self.body = nn.Sequential(
                *_convolution(shape[0], 16, 1),
                *_convolution(16, 32, 2),
                *_convolution(32, 64, 2),
                nn.Flatten(),
            )
            inside = 64 * math.prod((side + 3) // 4 for side in self.sides)
        else:
            inputs = nn.Linear(math.prod(shape), width)
            self.body = nn.Sequential(inputs, nn.BatchNorm1d(width), nn.SiLU())
            inside = width
        self.last = nn.Linear(inside, width)
        self.head = nn.Linear(width, classes)

    def hidden(self, x: Tensor) -> Tensor:
        """Compute the last hidden layer, (n, width)."""
        if self.image:
            if x.shape[2:] != self.sides:
                x = functional.interpolate(
                    x, size=self.sides, mode="bilinear", antialias=True, align_corners=False
                )
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = x.flatten(1)
        x = functional.dropout(self.body(x), 0.2, self.training)
        return functional.silu(self.last(x))

    def forward(self, x: Tensor) -> Tensor:
        """Compute class scores, (n, classes)."""
        scores: Tensor = self.head(self.hidden(x))
        return scores


class LastHidden(Extractor):
    """The last hidden layer of a `Classifier`, 128 numbers.

    Args:
        seen: Number of training examples over all epochs, at most 120,000.
    """

    learns = True

    def __init__(self, seen: int = SEEN) -> None:
        self.seen = whole("seen", seen, 1)

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space) + shrunk(space)

    def check(self, data: Dataset) -> None:
        if not labelled(data):
            raise DataError(
                f"The features classifier need labels with at least two classes, and {data.name} "
                "has none. Use `features=self-supervised` or `features=pca`, which need no labels."
            )

    def network(self, space: Space) -> nn.Module:
        return LastLayer(space, Classifier(space.shape, len(space.classes)))

    def fit(self, network: nn.Module, data: Dataset, index: Integers, seed: int) -> None:
        assert isinstance(network, LastLayer)
        network.classifier = train_classifier(data, index, seed, self.seen)

    def reader(self, network: nn.Module) -> nn.Module | None:
        assert isinstance(network, LastLayer)
        return network.classifier

    def describe(self, sure: str = "") -> str:
        return f"last hidden layer of a classifier{sure}, trained on one half of the training data"


class LastLayer(nn.Module):
    """The last hidden layer of a classifier of examples in data units."""

    def __init__(self, space: Space, classifier: Classifier) -> None:
        super().__init__()
        self.space = space
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.hidden(self.space.to_model(x))


def _shrunk_sides(shape: Shape) -> Shape:
    return tuple(min(side, SIDE) for side in shape[1:])


def shrunk(space: Space) -> str:
    """Describe how `Classifier` shrinks large images; empty for others."""
    if len(space.shape) != 3 or max(space.shape[1:]) <= SIDE:
        return ""
    height, width = _shrunk_sides(space.shape)
    return f", {height} x {width} by antialiased bilinear"


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    ]


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Run with one thread, for reproducible results, and a separate random state."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def optimise(
    weights: Iterable[nn.Parameter],
    loss_of: Callable[[Integers], Tensor],
    rows: int,
    seed: int,
    *,
    batch: int,
    epochs: int,
    peak: float,
    decay: float,
    warmup: float,
) -> None:
    """Train weights with AdamW and a one-cycle learning rate.

    ``loss_of`` computes the loss of a batch of indices; ``peak`` is the largest learning rate,
    ``decay`` the weight decay, and ``warmup`` the fraction of steps in which the rate rises.
    """
    steps = epochs * (rows // batch) + 1
    optimizer = torch.optim.AdamW(weights, weight_decay=decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps, pct_start=max(warmup, 1.5 / steps)
    )
    order = np.random.Generator(np.random.Philox(seed))
    for _ in range(epochs):
        shuffled = order.permutation(rows)
        for start in range(0, rows - batch + 1, batch):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(shuffled[start : start + batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()


def train_classifier(
    dataset: Dataset, index: Integers | None = None, seed: int = 0, seen: int = SEEN
) -> Classifier:
    """Train a classifier on labelled examples, without changing torch's global generator.

    ``seen`` is the number of examples over all epochs; ``index`` None stands for all.
    """
    split = dataset.train
    space = dataset.space
    assert split.labels is not None, "a classifier needs labels"
    examples = np.arange(len(split)) if index is None else index
    labels = torch.from_numpy(np.asarray(split.labels[examples], dtype=np.int64))
    rows = len(labels)
    with apart():
        torch.default_generator.manual_seed(seed)
        network = laid_out(Classifier(space.shape, len(space.classes)), space.memory_format)

        def loss_of(batch: Integers) -> Tensor:
            scores = network(space.to_model(split.data_units(examples[batch])))
            return functional.cross_entropy(scores, labels[batch], label_smoothing=0.05)

        optimise(
            network.parameters(),
            loss_of,
            rows,
            seed,
            batch=min(128, rows),
            epochs=min(40, max(2, round(min(seen, SEEN) / rows))),
            peak=4e-3,
            decay=0.02,
            warmup=0.2,
        )
    return network.eval().requires_grad_(False)


def accuracy(network: nn.Module, space: Space, split: Split) -> float:
    """Compute the accuracy of the network on labelled examples."""
    return int(named(network, space, split).sum()) / len(split)


def named(network: nn.Module, space: Space, split: Split) -> Mask:
    """Find which labelled examples the network classifies correctly, (n,)."""
    assert split.labels is not None
    classes = []
    for block in blocks(len(split), EXAMPLES):
        x = space.to_model(split.data_units(block))
        with torch.no_grad():
            classes.append(network(x).argmax(1).numpy())
    return np.asarray(np.concatenate(classes) == split.labels)
