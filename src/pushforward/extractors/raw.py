"""Linear features: the columns or pixels themselves, or their principal components."""

from __future__ import annotations

from torch import Tensor, nn

from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.errors import DataError
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


MOST = 1024  # Maximum number of columns: time grows with their third power


class Raw(Extractor):
    """Raw examples, suitable for points and very small images."""

    reduces = False

    def preprocessing(self, space: Space) -> str:
        return in_model_units(space)

    def check(self, data: Dataset) -> None:
        if data.space.size > MOST:
            raise DataError(
                f"The features raw support at most {MOST:,} columns, and {data.name} has "
                f"{data.space.size:,}. Use their principal components: `features=pca`."
            )

    def network(self, space: Space) -> nn.Module:
        return ModelUnits(space)

    def describe(self, sure: str = "") -> str:
        return "the columns themselves"
