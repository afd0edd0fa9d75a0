"""Self-supervised features: a small network that is trained once, on unlabelled examples of the data itself.

Two random views of an example are to have the same embedding (invariance), while over a batch each number of the embedding
keeps its spread (variance) and no two say the same (covariance). The last two terms keep the network from giving the same for
all examples, without negative pairs, a second network or a stopped gradient.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.extractors.classifier import Classifier, shrunk
from pushforward.extractors.extractor import Extractor, in_model_units
from pushforward.runtime import laid_out

BATCH = 256
EMBEDDED = 256  # Numbers of the embedding, which is used in training alone
# Weights of the three terms, those of the paper
INVARIANCE = 25.0
VARIANCE = 25.0
COVARIANCE = 1.0
# Views of images: the largest shift as a share of the side, change of size, and angle in radians
SHIFT = 0.12
ZOOM = 0.2
TURN = 0.15
# Views: the spread of contrast and brightness, and of noise, in model units
CONTRAST = 0.3
NOISE = 0.15
HIDDEN = (
    0.4  # Views of images: the largest side of the square that is hidden, as a share of the side
)
SWAPPED = 0.3  # Views of vectors: the share of columns that are those of another example


class SelfSupervised(Extractor):
    """The last hidden layer, 128 numbers, of a network trained by VICReg.

    Images are shifted, turned, zoomed, brightened, covered in part and noised; of vectors some columns are exchanged for those
    of other examples.

    Args:
        seen: Number of training examples over all epochs (2 to 60 epochs), with two views each.

    References:
        Bardes et al., VICReg, 2022, arXiv:2105.04906, equations 1 to 6; Bahri et al., SCARF, 2022, arXiv:2106.15147 (columns).
    """

    learns = True
    parts = (Classifier,)

    def __init__(self, seen: int = 40_000) -> None:
        self.seen = whole("seen", seen, 1)

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space) + shrunk(space)

    def network(self, space: Space) -> nn.Module:
        return _Encoder(space)

    def fit(self, network: nn.Module, data: Dataset, index: NDArray[np.int64], seed: int) -> None:
        assert isinstance(network, _Encoder)
        laid_out(network, data.space.memory_format)
        _train(network.train(), data, index, (self.seen, seed))

    def describe(self, sure: str = "") -> str:
        return "last hidden layer of a network trained without labels (VICReg) on one half of the training data"


class _Encoder(nn.Module):
    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space, self.inner = space, Classifier(space.shape, 1)
        self.inner.head.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.hidden(self.space.to_model(x))


def _train(
    network: _Encoder, data: Dataset, index: NDArray[np.int64], how: tuple[int, int]
) -> None:
    seen, seed = how
    width = network.inner.head.in_features
    projector = nn.Sequential(
        nn.Linear(width, EMBEDDED),
        nn.BatchNorm1d(EMBEDDED),
        nn.SiLU(),
        nn.Linear(EMBEDDED, EMBEDDED),
    )
    rows = len(index)
    batch = min(BATCH, len(index))
    epochs = min(60, max(2, round(seen / rows)))
    order = np.random.Generator(np.random.Philox(seed))
    steps = epochs * (rows // batch)
    weights = [
        *network.inner.body.parameters(),
        *network.inner.last.parameters(),
        *projector.parameters(),
    ]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps + 1, pct_start=max(0.1, 1.5 / (steps + 1))
    )
    for _ in range(epochs):
        shuffled = order.permutation(rows)
        for start in range(0, rows - batch + 1, batch):
            x = data.space.to_model(data.train.data_units(index[shuffled[start : start + batch]]))
            first, second = (projector(network.inner.hidden(views(x))) for _ in range(2))
            optimizer.zero_grad(set_to_none=True)
            loss = variance_invariance_covariance(first, second)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()


def variance_invariance_covariance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the VICReg loss of two embeddings of the same examples, (n, d) each.

    ``25 |a - b|^2 / d``, and of each embedding 25 times the mean of what its standard deviations lack to 1, and the sum of its
    squared covariances off the diagonal over d.

    References:
        Bardes et al., VICReg, 2022, arXiv:2105.04906, equations 1 to 6.
    """
    loss = INVARIANCE * functional.mse_loss(first, second)
    for embedding in (first, second):
        centred = embedding - embedding.mean(0)
        spread = (centred.square().sum(0) / max(1, len(centred) - 1) + 1e-4).sqrt()
        covariance = centred.T @ centred / max(1, len(centred) - 1)
        others = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = (
            loss
            + VARIANCE * functional.relu(1 - spread).mean()
            + COVARIANCE * others / centred.shape[1]
        )
    return loss


def views(x: Tensor) -> Tensor:
    """Draw a random view of each example, in model units (n, *shape), with torch's global generator.

    No view is mirrored: a mirrored digit is another one.
    """
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
    rows = [
        torch.stack([cos * zoom[:, 0], -sin, shift[:, 0]], 1),
        torch.stack([sin, cos * zoom[:, 1], shift[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    contrast = 1 + CONTRAST * torch.randn(n, 1, 1, 1)
    brightness = CONTRAST * torch.randn(n, 1, 1, 1)
    return torch.where(_square(x), 0.0, contrast * x + brightness) + NOISE * torch.randn(x.shape)


def _square(x: Tensor) -> Tensor:
    """Where an example is hidden: a square of random size and place, (n, 1, height, width)."""
    n, _, height, width = x.shape
    side = HIDDEN * torch.rand(n, 1)
    top = torch.rand(n, 1) * (1 - side)
    left = torch.rand(n, 1) * (1 - side)
    down = (torch.arange(height) + 0.5) / height
    across = (torch.arange(width) + 0.5) / width
    inside = ((down >= top) & (down < top + side))[:, None, :, None] & (
        (across >= left) & (across < left + side)
    )[:, None, None, :]
    return inside
