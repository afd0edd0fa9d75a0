"""Recipes as data: a method with its training, and the options of the command line."""

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

from pushforward import plugins
from pushforward.arguments import number, one_of, weight, whole
from pushforward.data import Space, dataset_of
from pushforward.data.core.dataset import Seen
from pushforward.errors import UsageError
from pushforward.methods.method import Method
from pushforward.recipes.learning_rate import Schedule
from pushforward.registries import RECIPES, at

OPTIMIZERS = ("adamw", "muon")
# The settings that a player may have of its own
PER_PLAYER = ("lr", "betas", "weight_decay", "clip", "optimizer")


@dataclass(frozen=True)
class Training:
    """Training settings of a method. Lengths are in steps or training examples, not epochs, so that budgets are comparable.

    Args:
        batch: Batch size.
        accumulate: Number of micro-batches per batch, to save memory. Steps are equal up to
            rounding, except for estimates of spectral norms, which are updated once per
            micro-batch. Batch normalisation is not supported: micro-batches have other statistics.
        lr: Learning rate on the plateau.
        schedule: Schedule of the learning rate and other settings.
        betas: Betas of AdamW.
        weight_decay: Weight decay of AdamW.
        clip: Maximum gradient norm per network; None for no clipping.
        ema: Half-life of the averaged weights, in training examples.
        ema_share: Maximum half-life as a fraction of the training examples so far, so that early
            averages follow quickly.
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
        for name in ("batch", "accumulate"):
            whole(name, getattr(self, name), 1)
        if isinstance(self.schedule, Mapping):  # as a run's spec holds it
            object.__setattr__(self, "schedule", Schedule(**self.schedule))
        for name in ("ema", "ema_share"):
            weight(name, getattr(self, name))
        for player, own in {"": {}, **self.players}.items():
            self._check_player(player, own)

    def _check_player(self, player: str, settings: Mapping[str, Any]) -> None:
        of = f" of the network {player}" if player else ""
        for name in settings:
            one_of("setting", name, PER_PLAYER, of)
        lr, clip, betas = (self.of(player, name) for name in ("lr", "clip", "betas"))
        one_of("optimizer", self.of(player, "optimizer"), OPTIMIZERS, of)
        weight(f"weight_decay{of}", self.of(player, "weight_decay"))
        if not 0 < number("lr", lr) < math.inf:
            raise UsageError(f"The learning rate{of} must be positive, got {lr}.")
        if len(betas) != 2 or not all(0 <= number("betas", beta) < 1 for beta in betas):
            raise UsageError(f"betas{of} must be two numbers from 0 to below 1, got {betas}.")
        if clip is not None and not clip > 0:
            raise UsageError(f"clip{of} must be positive, or None for no clipping; got {clip}.")

    def changed(self, **changes: Any) -> Training:
        """Return a copy with changed settings, which apply to every network.

        Learning rates of single networks keep their ratio to the common rate, as lazy
        regularisation and two time scales require.
        """
        players = {
            player: {k: v for k, v in settings.items() if k not in changes}
            for player, settings in self.players.items()
        }
        if "lr" in changes:
            for player, settings in self.players.items():
                if "lr" in settings:
                    players[player]["lr"] = settings["lr"] * (changes["lr"] / self.lr)
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
            examples of each. A trainer adds the data sets that the method starts from
            (`pushforward.training.runs.provenance.with_ancestors`).
        first_weights: Function that sets the initial weights of the method, for example a student's
            from its teacher. Not called if training starts from a run's weights or is resumed.
        samplers: Default samplers of the runs of frozen parts, by part
            (`pushforward.training.samplers`).

    Raises:
        UsageError: If ``training`` has settings for a network that the method does not have.
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
# The groups of options in the order in which a help page shows them. A recipe names them in its signature:
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
    """Option of a recipe on the command line.

    Args:
        name: Name of the argument.
        kind: Type: bool, int, float or str.
        group: Group in `GROUPS`, or "" for none.
        default: Default value; None if it depends on the data or on other options.
        help: Help text from the docstring of the recipe.
        types: All types of the annotation, such as str and `pushforward.paths.Source`.
    """

    name: str
    kind: type
    group: str
    default: Any
    help: str
    types: tuple[Any, ...]


def options_of(recipe: RecipeFunction) -> dict[str, Option]:
    """Return the options of a recipe by name: keyword-only parameters with a plain type, or a union with a plain type."""
    hints = typing.get_type_hints(recipe, include_extras=True)
    described = _described(inspect.getdoc(recipe) or "")
    options = {}
    for name, parameter in inspect.signature(recipe).parameters.items():
        types_, group = _parts(hints.get(name, str))
        plain = [kind for kind in _PLAIN if kind in types_]
        if parameter.kind is parameter.KEYWORD_ONLY and plain:
            kind = str if str in plain else plain[-1]
            options[name] = Option(
                name, kind, group, parameter.default, described.get(name, ""), types_
            )
    return options


def _parts(annotation: Any) -> tuple[tuple[Any, ...], str]:
    group = ""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *metadata = typing.get_args(annotation)
        group = next((item for item in metadata if isinstance(item, str)), "")
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,), group


def _described(docstring: str) -> dict[str, str]:
    """The texts of a docstring's arguments, by name."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.M | re.S)
    arguments = re.findall(
        r"^ {4}(\w+): (.*?)(?=^ {4}\S|\Z)", section[1] if section else "", re.M | re.S
    )
    return {name: " ".join(text.split()) for name, text in arguments}


def on_space(function: RecipeFunction) -> RecipeFunction:
    """Extend a recipe to take a data set, or its name or path, and to use the recipe of the kind of data, if it has one."""

    @functools.wraps(function)
    def recipe(space: Any, *arguments: Any, **settings: Any) -> Recipe:
        if not isinstance(space, Space):
            space = dataset_of(space).space
        home = space.recipes.get(function.__name__)
        if home is None:
            return function(space, *arguments, **settings)
        inspect.signature(function).bind(space, *arguments, **settings)  # refuses unknown settings
        own: Recipe = at(home)(space, *arguments, **settings)
        return own

    return recipe


def named(name: str) -> RecipeFunction:
    """Return a recipe by name, or the recipe in a Python file.

    Raises:
        UsageError: If the name is unknown, or the file does not contain exactly one recipe.
    """
    if name.endswith(".py") and name not in RECIPES:
        return load_file(name)
    return RECIPES.find(name)


def load_file(path: str | Path) -> RecipeFunction:
    """Run a user's Python file, register its parts (`pushforward.plugins.load`) and return its recipe.

    The recipe is the public function annotated to return `Recipe`.

    Raises:
        UsageError: If the file is missing, fails, or contains no or several recipes.
    """
    if not Path(path).is_file():
        raise UsageError(
            f"The file {path} does not exist. Specify the name of a recipe ({', '.join(RECIPES)}) or a Python file."
        )
    return RECIPES[plugins.only(path, "recipe", "a function annotated `-> Recipe`")]


def settings(recipe: RecipeFunction) -> dict[str, Option]:
    """Return the options of a recipe on the command line, by name; see `Option`."""
    frozen = frozen_parts(recipe)
    return {name: option for name, option in options_of(recipe).items() if name not in frozen}


def frozen_parts(recipe: RecipeFunction) -> dict[str, inspect.Parameter]:
    """Return the frozen parts of a recipe, by name: keyword-only parameters annotated as models."""
    options = (p for p in inspect.signature(recipe).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return {p.name: p for p in options if words_of(p.annotation) & MODELS}


def missing_parts(recipe: RecipeFunction, given: Iterable[str] = ()) -> list[str]:
    """Return the missing frozen parts of a recipe, which have no default."""
    return [
        name
        for name, part in frozen_parts(recipe).items()
        if part.default is part.empty and name not in given
    ]


def words_of(annotation: Any) -> set[str]:
    """Return the names in an annotation, given as text or as a type."""
    if isinstance(annotation, str):
        text = annotation
    else:
        text = f"{getattr(annotation, '__name__', '')} {annotation}"
    return set(re.findall(r"\w+", text))


# The classes of models that an argument of a recipe can be annotated as, so that it is a frozen part
MODELS = {"Autoencoder", "Denoiser", "Flow", "FlowMap", "Latent", "Map", "Transport"}
