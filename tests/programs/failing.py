"""Methods that fail at some steps, for tests of what a training does then."""

from __future__ import annotations

import math

from pushforward.data import Batch


def nan_loss(batch, now, play):
    """The loss is not finite, nor is any gradient."""
    return ((player, loss * math.nan) for player, loss in play(batch, now))


def nan_gradient(batch, now, play):
    """The loss is finite and its gradient is not: sqrt at 0."""
    return (
        (player, loss + (loss - loss.detach()).abs().sqrt()) for player, loss in play(batch, now)
    )


def infinite_constant(batch, now, play):
    """The loss is not finite, and its gradient is."""
    return ((player, loss + math.inf) for player, loss in play(batch, now))


def nan_data(batch, now, play):
    """Everything that is computed of the batch is not finite, statistics that a method keeps
    included.
    """
    return play(Batch(batch.x * math.nan, batch.condition), now)


def second_part(batch, now, play):
    """Only the second part of the batch is spoiled."""
    if now.draws.start:
        return nan_loss(batch, now, play)
    return play(batch, now)


def only_critic(batch, now, play):
    """One player of a game is spoiled."""
    return (
        (player, loss * math.nan if player == "critic" else loss)
        for player, loss in play(batch, now)
    )


def spoiled(trainer, steps, how, times=math.inf):
    """A trainer whose method is spoiled at some steps, counted from 0, so many times at most."""
    play = trainer.method.losses
    left = [times]

    def losses(batch, now):
        if now.step not in steps or left[0] <= 0:
            return play(batch, now)
        left[0] -= 1
        return how(batch, now, play)

    trainer.method.losses = losses
    return trainer


def lacking(trainer, most, error=None, after=0):
    """A trainer whose memory suffices for parts of so many examples, after some steps."""
    play = trainer.method.losses

    def losses(batch, now):
        for name, loss in play(batch, now):
            if len(batch) > most and now.step >= after:
                raise error or RuntimeError(
                    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to "
                    "allocate 9"
                )
            yield name, loss

    trainer.method.losses = losses
    return trainer
