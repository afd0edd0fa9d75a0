"""The loop around every training of the command line: interruptible, tidy at its end."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pushforward.cli.terminal import say
from pushforward.plugins import plugin_options

if TYPE_CHECKING:
    from pushforward.training import Run, Trainer

__all__ = ["starting", "train_all"]


def train_all(trainers: Sequence[Trainer], turn: float | None = None, after: Callable[[int], None] | None = None) -> list[Run]:
    """Train until done or interrupted, one after the other or in turns; a signal to end saves and exits 130 or 75.

    Args:
        trainers: One for each model.
        turn: Seconds of a turn; None trains one after the other.
        after: See `train_in_turns`.
    """
    from pushforward.evaluation.cost import train_in_turns
    from pushforward.training.loop.finalize import finished
    from pushforward.training.loop.signals import interruptible

    with interruptible(trainers), _tidy_terminal(trainers):
        if turn:
            if (count := sum(not trainer.done for trainer in trainers)) > 1:
                say(f"{count} models train in turns of {turn:g} s; the time left of each is that of its own training")
            runs = train_in_turns(trainers, turn, after)
        else:
            for trainer in trainers:
                trainer.advance()
            runs = [finished(trainer) for trainer in trainers]
    # of several processes one was given the signal, and all have stopped
    if (number := max((trainer.stop for trainer in trainers), default=0)) and not all(trainer.done for trainer in trainers):
        for trainer in trainers:
            if trainer.done:
                say(f"{trainer.folder} is finished, at step {trainer.clock.step:,}")
                continue
            again = f"{shlex.quote(str(trainer.folder))}{plugin_options(trainer.content)}"
            say(f"stopped and saved at step {trainer.clock.step:,}\nnext: pushforward resume {again}")
        raise SystemExit(130 if number == signal.SIGINT else 75)
    return runs


@contextmanager
def starting(trainer: Trainer, advice: str = "Start again with --overwrite") -> Iterator[None]:
    """Within this context an interruption before the first step of a new run says so, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        if trainer.clock.step:
            raise
        raise KeyboardInterrupt(f"no step of {trainer.folder} was done. {advice}") from None


@contextmanager
def _tidy_terminal(trainers: Sequence[Trainer]) -> Iterator[None]:
    """Close the bars and show the cursor again, however training ends."""
    try:
        yield
    finally:
        for trainer in trainers:
            trainer.progress.close()
