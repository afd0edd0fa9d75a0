"""The interface of feature extractors, those by name, a user's own network as one, and what extractors of images share."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pushforward.data.core.dataset import Dataset
from pushforward.data.spaces import Space
from pushforward.errors import DataError, UsageError
from pushforward.registries import EXTRACTORS, from_text
from pushforward.spec import describe


class Extractor(ABC):
    """Base class of feature extractors, which map examples to features for comparing generated and real examples.

    A subclass keeps its constructor arguments as attributes, which are part of the cache key of its
    features.

    Attributes:
        learns: Whether the network is fitted on training examples. Floors are then drawn from other examples.
        reduces: Whether features are turned onto principal axes, of which min(64, n / 10) are kept.
        slow: Whether features of real data are kept on disk.
        parts: Classes in other files on whose source the features depend.
    """

    learns: bool = False
    reduces: bool = True
    slow: bool = False
    parts: tuple[type, ...] = ()

    def check(self, data: Dataset) -> None:
        """Raise an error for unsupported data, before anything is computed.

        Raises:
            DataError: With the supported data, and another extractor to use.
        """
        return None

    @abstractmethod
    def network(self, space: Space) -> nn.Module:
        """Return the network from examples to features, with new weights if it is trained, otherwise with its fixed weights.

        It takes float32 data units (n, *space.shape), rounded as files round them, and returns (n, ...), which is flattened.
        In eval mode an example's features must not depend on the others of its batch.

        Args:
            space: Shape and units of the data.

        Raises:
            MissingExtra: If a required package is not installed.
            UsageError: If a weights file is missing or cannot be read.
        """

    def preprocessing(self, space: Space) -> str:
        """Describe the preprocessing of examples: size, filter, channels and range of the values.

        Images are rounded to 256 levels before that, for every extractor.
        """
        if space.levels is not None:
            return "images in [0, 1]"
        return "data units"

    def fit(self, network: nn.Module, data: Dataset, index: NDArray[np.int64], seed: int) -> None:
        """Train the network; nothing by default. torch's global generator comes seeded, and is restored afterwards.

        Args:
            network: Result of `network`, trained in place.
            data: Data set.
            index: Numbers of the training examples that may be used.
            seed: Seed of everything random.
        """
        return None

    def reader(self, network: nn.Module) -> nn.Module | None:
        """Return the module from model units to class scores; None if there is none."""
        return None

    @abstractmethod
    def describe(self, sure: str = "") -> str:
        """Describe the features, for a report.

        Args:
            sure: Accuracy of the classifier in brackets, or an empty string.
        """

    def settings(self) -> Any:
        """Return the settings of the extractor as JSON; by default, its constructor arguments."""
        return describe(self)

    def content(self) -> str | None:
        """Compute the sha256 of class, settings and sources; None, without caching, if a source is unknown."""
        sources = [source_hash(part) for part in (type(self), *self.parts)]
        words = type(self).__qualname__, json.dumps(self.settings(), sort_keys=True), *sources
        if None in sources:
            return None
        return hashlib.sha256(repr(words).encode()).hexdigest()


class OfModule(Extractor):
    """Features from the user's own network.

    Args:
        module: Module from examples in data units, float32 (n, *shape), images in [0, 1], to
            features (n, ...). A copy in eval mode is used, so later changes of the module have no
            effect.
    """

    slow = True

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def network(self, space: Space) -> nn.Module:
        return self.module

    def describe(self, sure: str = "") -> str:
        return f"the user's own network {type(self.module).__name__}"

    def settings(self) -> Any:
        """Return the text of the module, and all numeric and text attributes of its parts."""
        plain = [
            (name, key, value)
            for name, part in self.module.named_modules()
            for key, value in sorted(vars(part).items())
            if key in _own(part) and _plain(value)
        ]
        return [repr(self.module), plain]

    def content(self) -> str | None:
        """Compute the hash as for any extractor, with the sources of all modules outside of torch.

        Returns None, without caching, if a module contains objects that cannot be identified by
        text, such as functions.
        """
        if not all(
            _plain(value) for part in self.module.modules() for value in _own(part).values()
        ):
            return None
        own = sorted(
            {type(part) for part in self.module.modules()}, key=lambda part: part.__qualname__
        )
        sources = [source_hash(part) for part in own if not part.__module__.startswith("torch.")]
        inner = super().content()
        if inner is None or None in sources:
            return None
        return hashlib.sha256(repr((inner, sources)).encode()).hexdigest()


def _own(part: nn.Module) -> dict[str, Any]:
    common = vars(nn.Module())
    return {name: value for name, value in vars(part).items() if name not in common}


def _plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_plain, value))
    return value is None or isinstance(
        value, (bool, int, float, str, torch.dtype, torch.device, torch.Size)
    )


def source_hash(part: type) -> str | None:
    """Compute the sha256 of the file that defines a class; None without a file, as in a notebook."""
    try:
        return hashlib.sha256(Path(inspect.getfile(part)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def state_hash(network: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> str:
    """Compute the sha256 of a network's parameters, buffers and further tensors, with names, shapes and types."""
    digest = hashlib.sha256()
    state = {**dict(network.named_parameters()), **dict(network.named_buffers()), **(tensors or {})}
    for name, tensor in sorted(state.items()):
        digest.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def in_model_units(space: Space) -> str:
    """Describe model units."""
    return f"(x - mean) / std for each {'channel' if len(space.shape) > 1 else 'column'}"


def check_images(name: str, data: Dataset) -> None:
    """Raise an error if data are not images with one or three channels.

    Raises:
        DataError: With a description of the data.
    """
    shape = tuple(data.space.shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        if len(shape) == 3:
            what = f"images with {shape[0]} channels"
        else:
            what = f"examples of shape {shape}"
        raise DataError(
            f"The features {name} support images with one or three channels, and {data.name} has {what}. Use "
            "`features=self-supervised` or `features=pca`."
        )


def check_weights_file(name: str, file: str | Path | None) -> Path:
    """Check the given weights file.

    Raises:
        UsageError: If no file was given, or it does not exist.
    """
    if not file:
        raise UsageError(
            f"The features {name} need a weights file, which is never downloaded. Specify its path: `features={name}:FILE`."
        )
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError(
            f"The file {file} does not exist; expected the weights of the features {name}: `features={name}:FILE`."
        )
    return path


def coloured(x: Tensor) -> Tensor:
    """Convert images to three channels by copying a grey channel."""
    if x.shape[1] == 1:
        return x.expand(-1, 3, -1, -1)
    return x


def grey(space: Space) -> str:
    """Describe what `coloured` does, with a comma; empty for images with three channels."""
    if space.shape[0] == 1:
        return "grey copied to three channels, "
    return ""


def resized(x: Tensor, side: int) -> Tensor:
    """Resize images to squares with an antialiased bicubic filter, clamped to [0, 1].

    References:
        Parmar et al., On aliased resizing and surprising subtleties in GAN evaluation, 2022, arXiv:2104.11222.
    """
    if tuple(x.shape[2:]) == (side, side):
        return x
    return functional.interpolate(
        x, size=(side, side), mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)


# What chooses a feature space: a name, an extractor or a network
FeatureSpace = str | Extractor | type[Extractor] | nn.Module
# One or several, which may be named by the user; None for the one that suits the data
Spaces = FeatureSpace | Sequence[FeatureSpace] | Mapping[str, FeatureSpace] | None


def register(name: str, extractor: type[Extractor]) -> None:
    """Register an extractor for evaluations, comparisons and the command line, replacing an earlier one of the same name.

    Raises:
        UsageError: If the class is not an extractor, or its name belongs to an extractor of the
            package.
    """
    EXTRACTORS.add(name, extractor)


def check_extractor(name: str, extractor: Any) -> None:
    """Raise an error if the class is not an extractor, or the name cannot be used in a list of names."""
    if not (inspect.isclass(extractor) and issubclass(extractor, Extractor)):
        raise UsageError(
            f"{extractor!r} is not a feature extractor: expected a subclass of pushforward.extractors.Extractor."
        )
    if set(name) & set(":, ()"):
        raise UsageError(
            f'The name "{name}" contains ":", ",", a space or a parenthesis. Choose another name for these features.'
        )


def named(name: str) -> Extractor:
    """Build an extractor by name, as on the command line; ``inception:FILE`` and ``efficientnet:224`` set its first argument.

    Raises:
        UsageError: If the name is unknown, or the extractor does not take the argument.
    """
    extractor: Extractor = from_text(EXTRACTORS, name)
    return extractor


def named_extractors(spaces: Spaces) -> dict[str, Extractor]:
    """Return extractors by their names in reports, in order; empty for None.

    Args:
        spaces: One or several, or several by names of the user's own. A text may hold several names, separated by commas.

    Raises:
        UsageError: If a name is unknown or occurs twice, or an entry is not a name, an extractor or
            a network.
    """
    if spaces is None:
        return {}
    if isinstance(spaces, Mapping):
        return {name: _one(part)[1] for name, part in spaces.items()}
    parts: Sequence[Any]
    if isinstance(spaces, str):
        parts = spaces.split(",")
    elif isinstance(spaces, (list, tuple)):
        parts = spaces
    else:
        parts = [spaces]
    if not parts:
        raise UsageError(
            "There are no features to compare with. Name some, or leave out `features`."
        )
    extractors: dict[str, Extractor] = {}
    for part in parts:
        name, extractor = _one(part)
        if name in extractors:
            raise UsageError(f"The features {name} are named twice. Name each feature space once.")
        extractors[name] = extractor
    return extractors


def check_spaces(spaces: Spaces, data: Dataset) -> None:
    """Raise an error for feature spaces that are unknown or do not support this data, before anything is computed.

    Raises:
        UsageError: If a name is unknown, or a weights file does not exist.
        DataError: If an extractor cannot read the data.
        MissingExtra: If a required package is not installed.
    """
    for extractor in named_extractors(spaces).values():
        extractor.check(data)


def _one(part: Any) -> tuple[str, Extractor]:
    if isinstance(part, str):
        return part.strip().partition(":")[0].lower().replace("_", "-"), named(part)
    if inspect.isclass(part) and issubclass(part, Extractor):
        part = part()
    if isinstance(part, nn.Module):
        return type(part).__name__, OfModule(part)
    if isinstance(part, Extractor):
        names = {kind: name for name, kind in EXTRACTORS.items()}
        return names.get(type(part), type(part).__name__.lower()), part
    raise UsageError(
        f'Expected the name of features (such as "pca"), an extractor or a network (nn.Module); got {part!r}.'
    )
