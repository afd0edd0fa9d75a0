"""Principal components of the examples: linear features, which see second moments and no more."""

from __future__ import annotations

from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.extractors.extractor import Extractor, in_model_units


class ModelUnits(nn.Module):
    """The examples themselves in model units, (n, *shape) to (n, d)."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def forward(self, x: Tensor) -> Tensor:
        return self.space.to_model(x).flatten(1)


class PrincipalComponents(Extractor):
    """The axes along which training examples vary most."""

    learns = True

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space)

    def network(self, space: Space) -> nn.Module:
        return ModelUnits(space)

    def describe(self, sure: str = "") -> str:
        return "principal components of one half of the training data"
