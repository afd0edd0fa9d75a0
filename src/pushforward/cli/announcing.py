"""What is said before a training, and what is cleared away where it could not begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.advice import as_options
from pushforward.cli.terminal import say

if TYPE_CHECKING:
    from pushforward.training import Trainer

__all__ = ["announce", "critic_name", "nothing_left"]

CRITICS = {
    "FeatureCritic": "features",
    "MLP": "mlp",
    "DCGANCritic": "dcgan",
    "Critic": "residual",
    "TextbookCritic": "textbook",
    "ProjectedCritic": "projected",
}
"""What the setting `network` calls a critic, by its name in a spec."""


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a folder that the caller has just made, and the runs in it, if that fails before anything was saved."""
    from pushforward.training.runs.folder import remove
    from pushforward.training.runs.run_lock import LOCK

    try:
        yield
    except BaseException:
        if not any(folder.glob("**/checkpoints/step_*")):
            for lock in sorted(folder.glob(f"**/{LOCK}"), key=lambda path: -len(path.parts)):
                remove(lock.parent)
        raise


def announce(trainer: Trainer) -> None:
    """Say what is about to be trained: recipe, data, parameters, precision; and on what it cannot be judged."""
    from pushforward.data.core.train_hashes import rare_classes, seen_in_training, shared_examples
    from pushforward.numbers import counted
    from pushforward.training.runs.provenance import leaks, sources_of

    known = ", ".join(kind.describe() for kind in trainer.method.space.conditions.values()) or "no labels"
    space = trainer.data.space
    shape = f"{len(space.names)} columns" if space.names else "x".join(map(str, space.shape))
    shape += " numbers" if len(space.shape) == 1 and not space.names else ""
    name = critic_name(trainer.content["method"])
    critic = f"; critic: {name}" if name else ""
    frozen = (trainer.content["asked"] or {}).get("frozen") or ()
    teacher = "".join(f"; teacher: {part.removeprefix('teacher=')}" for part in frozen if part.startswith("teacher="))
    start = "".join(f"; from {name}, not noise" for name in sorted(sources_of(trainer.method)))
    say(
        f"{trainer.folder}: {trainer.recipe.name} on {trainer.data.name} ({counted(len(trainer.data.train), 'example')} of "
        f"{shape}, {known}); parameters: {_sizes(trainer)}{critic}{teacher}{start}; {trainer.precision}"
        f"{'; ' * bool(trainer.processes.words)}{trainer.processes.words}"
    )
    if trainer.content.get("init") is not None:
        say(f"{trainer.folder}: weights from {trainer.content['init']}, step {trainer.content['init_step']:,}")
    seen = seen_in_training(trainer.data, trainer.recipe.builds_on)
    for warning in (*leaks(seen, trainer.data), *shared_examples(trainer.data), *rare_classes(trainer.data)):
        say(f"{trainer.folder}: warning: {as_options(warning)}")


def critic_name(method: Mapping[str, Any]) -> str:
    """The name by which the setting `network` chooses the critic of a method; empty without a critic, or for one of another kind.

    Args:
        method: The method as a run's spec describes it, also one in a latent space.
    """
    part = (method.get("method") or method).get("critic")
    while isinstance(part, Mapping):
        if part.get("part") in CRITICS:
            return CRITICS[part["part"]]
        part = part.get("network")
    return ""


def _sizes(trainer: Trainer) -> str:
    """The parameters of what samples, then of the parts that only training needs, as a report has them."""
    from pushforward.evaluation.cost import parameters, training_only

    sampler = trainer.method.transport()
    others = ", ".join(f"{name} {count:,}" for name, count in training_only(trainer.method, sampler).items() if count)
    return f"{parameters(sampler):,}" + (f" (and for training only: {others})" if others else "")
