"""Several models trained in turns under one budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from pushforward.errors import CheckpointError, DataError, Diverged
from pushforward.training import Run, Trainer
from pushforward.training.loop.finalize import finished, salvaged

__all__ = ["train_in_turns"]

TURN = 5.0
"""Seconds of training that a model has before the next one's turn."""


def train_in_turns(trainers: Sequence[Trainer], turn: float = TURN, after: Callable[[int], None] | None = None) -> list[Run]:
    """Train several models side by side, so that a machine whose speed drifts treats all alike.

    A training that diverges is left at its last checkpoint, and its run says so in ``warnings``; the others go on.

    Args:
        trainers: One for each model; a trainer whose ``stop`` is set is left where it is.
        turn: Seconds of training in one turn.
        after: Called when all have had a turn, with how many turns each had.

    Returns:
        The runs, in the order of ``trainers``.

    Raises:
        Diverged: If all of them diverge.
        CheckpointError: If the disk refuses; the other trainings are saved where they are, as far as it lets them.
        DataError: If data cannot be read any more; all trainings are saved where they are.
    """
    try:
        return _trained_in_turns(trainers, turn, after)
    except (CheckpointError, DataError):
        for trainer in trainers:
            with suppress(CheckpointError, Diverged):
                trainer.finish()
        raise
    finally:
        for trainer in trainers:
            trainer.close()


def _trained_in_turns(trainers: Sequence[Trainer], turn: float, after: Callable[[int], None] | None) -> list[Run]:
    fallen: dict[int, Diverged] = {}
    turns = 0

    def attempt(number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Diverged as error:
            fallen[number] = error
            trainers[number].progress.say(f"{trainers[number].folder.name}: {error}")

    waiting = [number for number, trainer in enumerate(trainers) if not trainer.done]
    while waiting and not any(trainer.stop for trainer in trainers):
        for number in waiting:
            attempt(number, partial(trainers[number].advance, turn))
        waiting = [number for number in waiting if number not in fallen and not trainers[number].done]
        turns += 1
        if after is not None:
            after(turns)
    for number, trainer in enumerate(trainers):
        if number not in fallen:
            attempt(number, trainer.finish)
    if fallen and len(fallen) == len(trainers):
        raise next(iter(fallen.values()))
    return [
        salvaged(trainer, fallen[number]) if number in fallen else finished(trainer) for number, trainer in enumerate(trainers)
    ]
