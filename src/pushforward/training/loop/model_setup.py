"""Whether a method fits the data and the settings that it is to be trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward.conditions.kind import described, met
from pushforward.data import Dataset
from pushforward.errors import UsageError
from pushforward.methods.distillation import Trajectories
from pushforward.methods.latent_method import LatentMethod
from pushforward.recipes.recipe import Recipe
from pushforward.training.loop.budget import Budget


def check_fit(recipe: Recipe, data: Dataset, budget: Budget, checkpoint_every: int | None, processes: int = 1) -> None:
    """Refuse a method that was made for another space than the data's, or settings that cannot be.

    Raises:
        UsageError: Naming the mismatch.
    """
    trained = recipe.method.space
    space = data.space
    if not met(trained.conditions, space.conditions):
        expected, got = described(trained.conditions), described(space.conditions)
        raise UsageError(
            f"The method is made for data with {expected}; {data.name} has {got}{', but other ones' * (expected == got)}. "
            "Make the recipe from data.space."
        )
    # codes are computed in the units of the frozen autoencoder, which may have learned from other data
    units = {} if isinstance(recipe.method, LatentMethod) else space.units
    for name in ("shape", "columns", *units, "low", "high"):
        expected, got = getattr(trained, name), getattr(space, name)
        if not (close(expected, got, units["std"]) if name in ("mean", "std") else expected == got):
            what = "examples of shape" if name == "shape" else f"data whose {name} is"
            raise UsageError(
                f"The method is made for {what} {_shortened(expected)}; {data.name} has {_shortened(got)}. "
                "Make the recipe from data.space."
            )
    for name, player in recipe.method.players.items():
        if not any(parameter.requires_grad for parameter in player.parameters()):
            raise UsageError(
                f'Nothing in the player "{name}" can be trained: its weights are frozen, as those of a loaded run are. To go on '
                'from a run\'s weights, give them as a start: `pf.fit("flow", data, init=run)`.'
            )
    if checkpoint_every is not None and checkpoint_every < 1:
        raise UsageError(f"`checkpoint_every` must be at least 1 step, got {checkpoint_every}.")
    if processes > 1 and budget.seconds is not None and any(isinstance(part, Trajectories) for part in recipe.method.modules()):
        raise UsageError(
            "Several processes that compute a teacher's trajectories would end at different ones: give a budget in `steps` or "
            "`samples`."
        )


def close(values: Sequence[float], others: Sequence[float], std: Sequence[float]) -> bool:
    """Equal to the rounding of another machine's sums."""
    return all(abs(a - b) <= 1e-6 * (unit + abs(b)) for a, b, unit in zip(values, others, std, strict=True))


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
