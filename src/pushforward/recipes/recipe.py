"""Recipes as data: a method with its training settings, and the options of the command line."""

from __future__ import annotations

import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pushforward import plugins, spec
from pushforward.arguments import number, one_of, share, weight, whole
from pushforward.data import Space, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.errors import UsageError
from pushforward.methods.method import Method, StepContext
from pushforward.registries import RECIPES, at


@dataclass(frozen=True)
class Schedule:
    """Schedule of the learning rate: warm-up, plateau and decay, times a cosine ramp.

    Args:
        warmup: Number of steps over which the learning rate rises from zero.
        decay: Fraction of training, at its end, over which the rate falls on a cosine; at most 1/3.
        lr_end: Fraction of the rate at the end of the decay.
        lr_ramp: Fraction of the rate at the end of the ramp, in addition to the decay.
        shortest_ramp: Minimum length of the ramp in samples, which shorter training runs do not
            complete. None for no minimum.

    Raises:
        UsageError: If a value is out of range.
    """

    warmup: int = 100
    decay: float = 1 / 3
    lr_end: float = 0.01
    lr_ramp: float = 1.0
    shortest_ramp: int | None = None

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "lr_end", "lr_ramp"):
            weight(name, getattr(self, name))
        if self.decay > 1 / 3 + 1e-9:
            raise UsageError(f"decay is a fraction of training, at most 1/3, got {self.decay}.")

    def rate(self, clock: Any, now: StepContext) -> float:
        """Return the factor of the learning rate for the next step.

        Args:
            clock: Clock with step, progress and number of steps if fixed; otherwise with the
                warm-up by time, at most a tenth of training.
            now: State of training at this step.
        """
        warmup = self.warmup
        if clock.total is not None:
            warmup = min(warmup, clock.total // 10)
        rise = max((clock.step + 1) / max(1, warmup), clock.risen)
        past = 0.0
        if self.decay > 0:
            past = (clock.progress - (1 - self.decay)) / self.decay
            past = min(1.0, max(0.0, past))
        fall = self.lr_end + (1 - self.lr_end) * (1 + math.cos(math.pi * past)) / 2
        return min(1.0, rise) * fall * now.along(1.0, self.lr_ramp, self.shortest_ramp)


OPTIMIZERS = ("adamw", "muon")
# Settings that a network may have of its own
PER_PLAYER = ("lr", "betas", "weight_decay", "clip", "optimizer")


@dataclass(frozen=True)
class Training:
    """Training settings of a method. Lengths are in steps or training examples, not epochs.

    Args:
        batch: Batch size.
        accumulate: Number of micro-batches per batch; batch normalisation is not supported.
        lr: Learning rate on the plateau.
        schedule: Schedule of the learning rate.
        betas: Betas of AdamW.
        weight_decay: Weight decay of AdamW.
        clip: Maximum gradient norm per network; None for no clipping.
        ema: Half-life of the averaged weights, in training examples.
        ema_share: Maximum half-life as a fraction of the training examples so far.
        precision: Precision of network calls: "auto", "float32" or "bfloat16".
        optimizer: "adamw", or "muon" for Muon on convolution kernels and AdamW on everything else.
        players: Different values of lr, betas, weight_decay, clip or optimizer, by network.

    Raises:
        UsageError: If a value is out of range, or a network has an unknown setting.
    """

    batch: int = 128
    accumulate: int = 1
    lr: float = 1e-3
    schedule: Schedule = field(default_factory=Schedule)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float | None = 1.0
    ema: float = 50_000
    ema_share: float = 0.05
    precision: str = "auto"
    optimizer: str = "adamw"
    players: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        if isinstance(self.schedule, Mapping):  # as stored in a run's spec
            stored = dict(self.schedule)
            spec.drop_retired("Schedule", stored)
            object.__setattr__(self, "schedule", Schedule(**stored))
        whole("batch", self.batch, 1)
        whole("accumulate", self.accumulate, 1)
        weight("ema", self.ema)
        weight("ema_share", self.ema_share)
        for player in ("", *self.players):
            self._check_player(player)

    def _check_player(self, player: str) -> None:
        of = f" of the network {player}" if player else ""
        for name in self.players.get(player, ()):
            one_of("setting", name, PER_PLAYER, of)
        one_of("optimizer", self.of(player, "optimizer"), OPTIMIZERS, of)
        if weight(f"lr{of}", self.of(player, "lr")) == 0:
            raise UsageError(f"`lr{of}` must be positive, got 0.")
        weight(f"weight_decay{of}", self.of(player, "weight_decay"))
        for beta in self.of(player, "betas"):
            share("Each of betas", number("betas", beta), of)
        clip = self.of(player, "clip")
        if clip is not None:
            weight(f"clip{of}", clip)

    def changed(self, **changes: Any) -> Training:
        """Return a copy with changed settings, which apply to every network.

        Learning rates of single networks keep their ratio to the common rate, as lazy
        regularisation and two time scales require.
        """
        players = {}
        for player, settings in self.players.items():
            kept = {name: value for name, value in settings.items() if name not in changes}
            if "lr" in changes and "lr" in settings:
                kept["lr"] = settings["lr"] * (changes["lr"] / self.lr)
            players[player] = kept
        return replace(self, players=players, **changes)

    def of(self, player: str, name: str) -> Any:
        """Return a setting for one network."""
        return self.players.get(player, {}).get(name, getattr(self, name))


@dataclass(frozen=True)
class Recipe:
    """Method with its training settings, for `pushforward.fit`.

    Args:
        method: Method with its networks.
        training: Training settings.
        name: Name of the recipe, for run folders and reports.
        family: Family of models, in words.
        builds_on: Names of the models and data sets that the method builds on, with the training
            examples of each.
        first_weights: Function that sets the initial weights of a training run that starts anew.
        samplers: Default samplers of the runs of frozen parts, by part.
    """

    method: Method
    training: Training = field(default_factory=Training)
    name: str = "method"
    family: str = ""
    builds_on: tuple[tuple[str, Seen], ...] = field(default=(), compare=False, repr=False)
    first_weights: Callable[[Any], None] | None = field(default=None, compare=False, repr=False)
    samplers: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        for player in self.training.players:
            one_of("player", player, self.method.players, " of the method")


RecipeFunction = Callable[..., Recipe]


NETWORK = "network"
PATH = "path"
LOSS = "loss"
REGULARISATION = "regularisation"
SCHEDULE = "schedule"
# Groups of options in the order of a help page. A recipe names them in its signature:
# ``gamma: LossOption[float] = 1.0``; an option without a group is shown after them.
GROUPS = (NETWORK, PATH, LOSS, REGULARISATION, SCHEDULE)

T = TypeVar("T")
NetworkOption = Annotated[T, NETWORK]
PathOption = Annotated[T, PATH]
LossOption = Annotated[T, LOSS]
RegularisationOption = Annotated[T, REGULARISATION]
ScheduleOption = Annotated[T, SCHEDULE]

_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Option:
    """Option of a recipe on the command line: bool, int, float or str.

    A default of None depends on the data or on other options; ``types`` are all types of the
    annotation.
    """

    name: str
    kind: type
    group: str
    default: Any
    help: str
    types: tuple[Any, ...]


def settings(recipe: RecipeFunction) -> dict[str, Option]:
    """Return the options of a recipe by name: keyword-only parameters that allow a plain type.

    Frozen parts are not options.
    """
    hints = typing.get_type_hints(recipe, include_extras=True)
    texts = _argument_texts(inspect.getdoc(recipe) or "")
    options = {}
    for name, parameter in inspect.signature(recipe).parameters.items():
        types_, group = _types_and_group(hints.get(name, str))
        plain = [kind for kind in _PLAIN if kind in types_]
        frozen = words_of(parameter.annotation) & MODELS
        if parameter.kind is parameter.KEYWORD_ONLY and plain and not frozen:
            kind = str if str in plain else plain[-1]
            text = texts.get(name, "")
            options[name] = Option(name, kind, group, parameter.default, text, types_)
    return options


def _types_and_group(annotation: Any) -> tuple[tuple[Any, ...], str]:
    group = ""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, group = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation), group
    return (annotation,), group


def _argument_texts(docstring: str) -> dict[str, str]:
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.M | re.S)
    if section is None:
        return {}
    arguments = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\S|\Z)", section[1], re.M | re.S)
    return {name: " ".join(text.split()) for name, text in arguments}


def on_space(function: RecipeFunction) -> RecipeFunction:
    """Extend a recipe to take data sets, their names and paths, and to use those of a space."""

    @functools.wraps(function)
    def recipe(space: Any, *arguments: Any, **settings: Any) -> Recipe:
        if not isinstance(space, Space):
            space = dataset_of(space).space
        home = space.recipes.get(function.__name__)
        if home is None:
            return function(space, *arguments, **settings)
        inspect.signature(function).bind(space, *arguments, **settings)  # refuses unknown settings
        return at(home)(space, *arguments, **settings)

    return recipe


def named(recipe: str | RecipeFunction) -> RecipeFunction:
    """Return a recipe by name, the recipe in a Python file, or a recipe function unchanged.

    Raises:
        UsageError: If the name is unknown, or the file does not contain exactly one recipe.
    """
    if not isinstance(recipe, str):
        return recipe
    if recipe.endswith(".py") and recipe not in RECIPES:
        return load_file(recipe)
    return RECIPES.find(recipe)


def load_file(path: str | Path) -> RecipeFunction:
    """Run a user's Python file, register its parts and return its recipe.

    Raises:
        UsageError: If the file is missing, fails, or contains no or several recipes.
    """
    return RECIPES[plugins.only(path, "recipe", "a function annotated `-> Recipe`")]


def frozen_parts(recipe: RecipeFunction) -> dict[str, inspect.Parameter]:
    """Return the frozen parts of a recipe: keyword-only parameters annotated as models."""
    parts = {}
    for name, parameter in inspect.signature(recipe).parameters.items():
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        if keyword_only and words_of(parameter.annotation) & MODELS:
            parts[name] = parameter
    return parts


def missing_parts(recipe: RecipeFunction, given: Iterable[str] = ()) -> list[str]:
    """Return the missing frozen parts of a recipe, which have no default."""
    required = [n for n, part in frozen_parts(recipe).items() if part.default is part.empty]
    return [name for name in required if name not in given]


def words_of(annotation: Any) -> set[str]:
    """Return the names in an annotation, given as text or as a type."""
    text = annotation
    if not isinstance(annotation, str):
        text = f"{getattr(annotation, '__name__', '')} {annotation}"
    return set(re.findall(r"\w+", text))


# Classes of models that annotate frozen parts
MODELS = {"Autoencoder", "Denoiser", "Flow", "FlowMap", "Latent", "Map", "Transport"}
