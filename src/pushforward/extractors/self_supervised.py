"""Self-supervised features: a small network trained by VICReg on unlabelled examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.core.hashes import Integers
from pushforward.data.spaces import Space
from pushforward.extractors.classifier import Classifier, LastLayer, optimise, shrunk
from pushforward.extractors.extractor import Extractor, in_model_units
from pushforward.runtime import laid_out

BATCH = 256
EMBEDDED = 256  # Dimensions of the embedding, which is used only in training
# Weights of the three terms, as in the paper
INVARIANCE = 25.0
VARIANCE = 25.0
COVARIANCE = 1.0
# Views of images: largest shift and hidden square relative to the side, zoom, angle in radians
SHIFT = 0.12
HIDDEN = 0.4
ZOOM = 0.2
TURN = 0.15
# Standard deviations of contrast and brightness, and of noise, in model units
CONTRAST = 0.3
NOISE = 0.15
SWAPPED = 0.3  # Fraction of columns that a view of a vector takes from another example


class SelfSupervised(Extractor):
    """The last hidden layer, 128 numbers, of a network trained by VICReg.

    Args:
        seen: Number of training examples over all epochs (2 to 60 epochs).

    References:
        Bardes et al., VICReg, 2022, arXiv:2105.04906, equations 1 to 6. Bahri et al., SCARF, 2022,
        arXiv:2106.15147, for columns.
    """

    learns = True
    parts = (Classifier,)

    def __init__(self, seen: int = 40_000) -> None:
        self.seen = whole("seen", seen, 1)

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space) + shrunk(space)

    def network(self, space: Space) -> nn.Module:
        classifier = Classifier(space.shape, 1)
        classifier.head.requires_grad_(False)
        return LastLayer(space, classifier)

    def fit(self, network: nn.Module, data: Dataset, index: Integers, seed: int) -> None:
        assert isinstance(network, LastLayer)
        laid_out(network, data.space.memory_format)
        _train(network.train().classifier, data, index, self.seen, seed)

    def describe(self, sure: str = "") -> str:
        return (
            "last hidden layer of a network trained without labels (VICReg) on one half of the "
            "training data"
        )


def _train(inner: Classifier, data: Dataset, index: Integers, seen: int, seed: int) -> None:
    projector = nn.Sequential(
        nn.Linear(inner.head.in_features, EMBEDDED),
        nn.BatchNorm1d(EMBEDDED),
        nn.SiLU(),
        nn.Linear(EMBEDDED, EMBEDDED),
    )

    def loss_of(batch: Integers) -> Tensor:
        x = data.space.to_model(data.train.data_units(index[batch]))
        first = projector(inner.hidden(views(x)))
        second = projector(inner.hidden(views(x)))
        return variance_invariance_covariance(first, second)

    rows = len(index)
    optimise(
        [*inner.body.parameters(), *inner.last.parameters(), *projector.parameters()],
        loss_of,
        rows,
        seed,
        batch=min(BATCH, rows),
        epochs=min(60, max(2, round(seen / rows))),
        peak=3e-3,
        decay=1e-4,
        warmup=0.1,
    )


def variance_invariance_covariance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the VICReg loss of two embeddings of the same examples, (n, d) each.

    References:
        Bardes et al., VICReg, 2022, arXiv:2105.04906, equations 1 to 6.
    """
    loss = INVARIANCE * functional.mse_loss(first, second)
    for embedding in (first, second):
        n, d = embedding.shape
        centred = embedding - embedding.mean(0)
        std = (centred.square().sum(0) / max(1, n - 1) + 1e-4).sqrt()
        covariance = centred.T @ centred / max(1, n - 1)
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + VARIANCE * functional.relu(1 - std).mean() + COVARIANCE * off_diagonal / d
    return loss


def views(x: Tensor) -> Tensor:
    """Draw a random view of each example, (n, *shape) in model units."""
    n = len(x)
    if x.dim() != 4:
        other = x[torch.randperm(n)]
        swapped = torch.rand(x.shape) < SWAPPED
        return torch.where(swapped, other, x) + NOISE * torch.randn(x.shape)
    zoom = torch.exp(ZOOM * (2 * torch.rand(n, 2) - 1))
    angle = TURN * (2 * torch.rand(n) - 1)
    shift = 2 * SHIFT * (2 * torch.rand(n, 2) - 1)
    cos = angle.cos()
    sin = angle.sin()
    across = torch.stack([cos * zoom[:, 0], -sin, shift[:, 0]], 1)
    down = torch.stack([sin, cos * zoom[:, 1], shift[:, 1]], 1)
    affine = torch.stack([across, down], 1)
    grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    contrast = 1 + CONTRAST * torch.randn(n, 1, 1, 1)
    brightness = CONTRAST * torch.randn(n, 1, 1, 1)
    x = torch.where(_hidden_squares(x), 0.0, contrast * x + brightness)
    return x + NOISE * torch.randn(x.shape)


def _hidden_squares(x: Tensor) -> Tensor:
    n, _, height, width = x.shape
    side = HIDDEN * torch.rand(n, 1)
    top = torch.rand(n, 1) * (1 - side)
    left = torch.rand(n, 1) * (1 - side)
    down = (torch.arange(height) + 0.5) / height
    across = (torch.arange(width) + 0.5) / width
    rows = (down >= top) & (down < top + side)
    columns = (across >= left) & (across < left + side)
    return rows[:, None, :, None] & columns[:, None, None, :]
