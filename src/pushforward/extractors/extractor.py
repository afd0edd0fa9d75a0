"""Base class of feature extractors, selection by name, and helpers of extractors of images."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.data.core.dataset import Dataset
from pushforward.data.core.hashes import Integers
from pushforward.data.spaces import Space
from pushforward.errors import DataError, UsageError
from pushforward.registries import EXTRACTORS, from_text
from pushforward.spec import describe

MOST = 1024  # Maximum number of columns of raw features: time grows with their third power


class Extractor(ABC):
    """Base class of feature extractors, which map examples to features for comparisons.

    A subclass keeps its constructor arguments as attributes, which are part of the cache key.

    Attributes:
        learns: Whether the network is fitted on training examples.
        reduces: Whether features are turned onto min(64, n / 10) principal axes.
        slow: Whether features of real data are kept on disk.
        parts: Classes in other files on whose source the features depend.
    """

    learns: bool = False
    reduces: bool = True
    slow: bool = False
    parts: tuple[type, ...] = ()

    def check(self, data: Dataset) -> None:
        """Raise a `DataError` for unsupported data, before anything is computed."""
        return None

    @abstractmethod
    def network(self, space: Space) -> nn.Module:
        """Return the network from examples to features, with new weights if it is trained.

        It takes float32 data units (n, *space.shape) and returns (n, ...), which is flattened. In
        eval mode, features must not depend on the rest of the batch.

        Raises:
            MissingExtra: If a required package is not installed.
            UsageError: If a weights file is missing or cannot be read.
        """

    def preprocessing(self, space: Space) -> str:
        """Describe the preprocessing: size, filter, channels and range of the values."""
        if space.levels is not None:
            return "images in [0, 1]"
        return "data units"

    def fit(self, network: nn.Module, data: Dataset, index: Integers, seed: int) -> None:
        """Train the network in place on the examples at ``index``; nothing by default.

        torch's global generator comes seeded.
        """
        return None

    def reader(self, network: nn.Module) -> nn.Module | None:
        """Return the module from model units to class scores; None if there is none."""
        return None

    @abstractmethod
    def describe(self, sure: str = "") -> str:
        """Describe the features, with the accuracy of a classifier, ``sure``."""

    def settings(self) -> Any:
        """Return the settings as JSON; by default, the constructor arguments."""
        return describe(self)

    def content(self) -> str | None:
        """Hash class, settings and sources; None, without caching, if one is unknown."""
        sources = [source_hash(part) for part in (type(self), *self.parts)]
        if None in sources:
            return None
        settings = json.dumps(self.settings(), sort_keys=True)
        words = (type(self).__qualname__, settings, *sources)
        return hashlib.sha256(repr(words).encode()).hexdigest()


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


class OfModule(Extractor):
    """Features from a copy of the user's own network in eval mode.

    Args:
        module: Module from examples in data units, float32 (n, *shape), to features (n, ...).
    """

    slow = True

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def network(self, space: Space) -> nn.Module:
        return self.module

    def describe(self, sure: str = "") -> str:
        return f"the user's own network {type(self.module).__name__}"

    def settings(self) -> Any:
        """Return the text of the module."""
        return repr(self.module)

    def content(self) -> str | None:
        """Return None: the sources and attributes of all modules cannot be known."""
        return None


def source_hash(part: type) -> str | None:
    """Compute the sha256 of the file that defines a class; None without a file."""
    try:
        return hashlib.sha256(Path(inspect.getfile(part)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def state_hash(network: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> str:
    """Compute the sha256 of parameters, buffers and further tensors, with names and types."""
    digest = hashlib.sha256()
    state = dict(network.named_parameters()) | dict(network.named_buffers()) | dict(tensors or {})
    for name, tensor in sorted(state.items()):
        digest.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def in_model_units(space: Space) -> str:
    """Describe model units."""
    part = "channel" if len(space.shape) > 1 else "column"
    return f"(x - mean) / std for each {part}"


def check_images(name: str, data: Dataset) -> None:
    """Raise a `DataError` if data are not images with one or three channels."""
    shape = tuple(data.space.shape)
    if len(shape) == 3 and shape[0] in (1, 3):
        return
    raise DataError(
        f"The features {name} support images with one or three channels, and {data.name} has "
        f"examples of shape {shape}. Use `features=self-supervised` or `features=pca`."
    )


def check_weights_file(name: str, file: str | Path | None) -> Path:
    """Return the path of a weights file, or raise a `UsageError`."""
    path = Path(file or "").expanduser()
    if not path.is_file():
        raise UsageError(
            f"The features {name} need a weights file, which is never downloaded, got "
            f'"{file or ""}". Specify an existing file: `features={name}:FILE`.'
        )
    return path


def coloured(x: Tensor) -> Tensor:
    """Convert images to three channels by copying a grey channel."""
    if x.shape[1] == 1:
        return x.expand(-1, 3, -1, -1)
    return x


def grey(space: Space) -> str:
    """Describe what `coloured` does, with a comma."""
    if space.shape[0] == 1:
        return "grey copied to three channels, "
    return ""


def resized(x: Tensor, side: int) -> Tensor:
    """Resize images to squares with an antialiased bicubic filter, clamped to [0, 1].

    References:
        Parmar et al., On aliased resizing and surprising subtleties in GAN evaluation, 2022,
        arXiv:2104.11222.
    """
    if tuple(x.shape[2:]) == (side, side):
        return x
    x = functional.interpolate(
        x, size=(side, side), mode="bicubic", antialias=True, align_corners=False
    )
    return x.clamp(0, 1)


# A feature space: a name, an extractor or a network
FeatureSpace = str | Extractor | type[Extractor] | nn.Module
# One or several; None for the one that suits the data
Spaces = FeatureSpace | Sequence[FeatureSpace] | Mapping[str, FeatureSpace] | None


def register(name: str, extractor: type[Extractor]) -> None:
    """Register an extractor for evaluations, comparisons and the command line, or replace it.

    Raises:
        UsageError: If the class is not an extractor, or its name is taken.
    """
    EXTRACTORS.add(name, extractor)


def check_extractor(name: str, extractor: Any) -> None:
    """Raise an error if the class or the name of an extractor is not valid."""
    if not (inspect.isclass(extractor) and issubclass(extractor, Extractor)):
        raise UsageError(
            f"{extractor!r} is not a feature extractor: expected a subclass of "
            "pushforward.extractors.Extractor."
        )
    if set(name) & set(":, ()"):
        raise UsageError(
            f'The name "{name}" contains ":", ",", a space or a parenthesis. Choose another name '
            "for these features."
        )


def named(name: str) -> Extractor:
    """Build an extractor by name, such as ``inception:FILE``, which sets its first argument."""
    extractor: Extractor = from_text(EXTRACTORS, name)
    return extractor


def named_extractors(spaces: Spaces) -> dict[str, Extractor]:
    """Return extractors by their names in reports, in order; empty for None.

    Raises:
        UsageError: If a name is unknown or occurs twice, or an entry has another type.
    """
    if spaces is None:
        return {}
    if isinstance(spaces, Mapping):
        return {name: _named_one(part)[1] for name, part in spaces.items()}
    parts: Sequence[Any] = [spaces]
    if isinstance(spaces, str):
        parts = spaces.split(",")
    elif isinstance(spaces, (list, tuple)):
        parts = spaces
    if not parts:
        raise UsageError(
            "There are no features to compare with. Name some, or leave out `features`."
        )
    extractors: dict[str, Extractor] = {}
    for part in parts:
        name, extractor = _named_one(part)
        if name in extractors:
            raise UsageError(f"The features {name} are named twice. Name each feature space once.")
        extractors[name] = extractor
    return extractors


def check_spaces(spaces: Spaces, data: Dataset) -> None:
    """Raise an error for unknown or unsupported feature spaces."""
    for extractor in named_extractors(spaces).values():
        extractor.check(data)


def _named_one(part: Any) -> tuple[str, Extractor]:
    if isinstance(part, str):
        name, _, _ = part.strip().partition(":")
        return name.lower().replace("_", "-"), named(part)
    if inspect.isclass(part) and issubclass(part, Extractor):
        part = part()
    if isinstance(part, nn.Module):
        return type(part).__name__, OfModule(part)
    if isinstance(part, Extractor):
        names = {kind: name for name, kind in EXTRACTORS.items()}
        return names.get(type(part), type(part).__name__.lower()), part
    raise UsageError(
        'Expected the name of features (such as "pca"), an extractor or a network (nn.Module); '
        f"got {part!r}."
    )
