"""The run that a trainer returns, with its averaged weights."""

from __future__ import annotations

from pushforward.errors import Diverged
from pushforward.files import read_json
from pushforward.training.checkpoint.integrity import step_name, weights_of
from pushforward.training.checkpoint.stored import load
from pushforward.training.checkpoint.tensors import restore
from pushforward.training.loop.signals import interruptible
from pushforward.training.loop.trainer import Trainer
from pushforward.training.runs.run import Run, pick


def trained(trainer: Trainer) -> Run:
    """Train to the end of the budget; progress is closed however training ends.

    Raises:
        KeyboardInterrupt: If SIGINT arrives, after the present step, which may be the last, has been saved; at once if it
            arrives again.
    """
    if trainer.processes.words:
        trainer.progress.say(f"{trainer.folder.name}: {trainer.processes.words}")
    try:
        with interruptible([trainer], ending=False) as got:
            trainer.advance()
    finally:
        trainer.progress.close()
    if got:
        how = "read the finished run with pf.load" if trainer.done else "go on with pf.resume"
        raise KeyboardInterrupt(f"saved at step {trainer.clock.step:,}; {how}({str(trainer.folder)!r})")
    return finished(trainer)


def finished(trainer: Trainer) -> Run:
    """The run of a trainer that has ended, with the averaged weights in memory."""
    trainer.progress.close()
    trainer.close()
    where = pick(trainer.folder, step_name(trainer.clock.step))
    state = read_json(where / "state.json")
    return Run(trainer.folder, trainer.content, trainer.average.method, state, weights_of(where))


def salvaged(trainer: Trainer, error: Diverged) -> Run:
    """The run of a trainer that has diverged, at its last checkpoint and with a warning that gives the reason."""
    trainer.progress.close()
    trainer.close()
    stored = load(pick(trainer.folder, None), trainer.device)
    restore(trainer.average.method, stored.weights(), stored.folder)
    warning = f"its training broke off, and it is evaluated with the weights of step {stored.state['step']:,}. {error}"
    how = stored.state, weights_of(stored.folder), (warning,)
    return Run(trainer.folder, trainer.content, trainer.average.method, *how)
