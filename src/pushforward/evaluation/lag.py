"""Whether a run's averaged weights lag behind its last ones, so that its samples are worse than training has reached."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

from pushforward.metrics import Score, describe
from pushforward.numbers import count, plain
from pushforward.training import Run
from pushforward.training.checkpoint.contents import load
from pushforward.training.checkpoint.integrity import step_name, weights_of
from pushforward.training.checkpoint.tensors import restore
from pushforward.transports import Transport

__all__ = ["lag_warnings"]

LONG = 0.1
"""Share of the training from which half an average's weight is older: below, it can hardly lag, and nothing is measured."""
MOST = 500
"""Samples of either weights, at most."""
WORSE = 1.25
"""How many times the score of the last weights an average that lags has at least."""

Scored = Callable[[Transport, int], Mapping[str, Score]]


def lag_warnings(model: Run | Transport, scored: Scored, n: int) -> tuple[str, ...]:
    """What a report must say of a run whose averaged weights score measurably worse than its last ones, from the same noise.

    Args:
        model: A run with its averaged weights; nothing is said of others.
        scored: Scores of a number of samples of a transport, which start from the same seed each time.
        n: How many samples are compared otherwise.
    """
    if not isinstance(model, Run) or not _long(model):
        return ()
    last, n = _last(model), min(n, MOST)
    if last is None:
        return ()
    by_name = describe()
    averaged, newest = scored(model.method.transport(), n), scored(last, n)
    known = [name for name in averaged if name in newest and name in by_name]
    ranking = [name for name in known if by_name[name].role == "quality" and by_name[name].better == "lower"]
    if not ranking:
        return ()
    name = min(ranking, key=lambda name: by_name[name].priority)
    old, new = averaged[name], newest[name]
    if old.error is None or new.error is None:
        return ()
    noise = math.hypot(old.error, new.error)
    if old.number - new.number <= 2 * noise or old.number <= WORSE * new.number:
        return ()
    return (
        f"its averaged weights lag behind its last ones: their {by_name[name].label} is {plain(old.number, 2)}, that of the last "
        f"weights {plain(new.number, 2)}, of {count(n)} samples each. Train longer, lower ema_share, or take the last weights.",
    )


def _long(run: Run) -> bool:
    """Whether half of an average's weight is older than a tenth of the training."""
    training, samples = run.spec["training"], run.state["samples"]
    return bool(min(training["ema"], training["ema_share"] * samples) > LONG * samples)


def _last(run: Run) -> Transport | None:
    """The sampler with the last weights of a run's checkpoint; None where these are the run's, or the checkpoint is gone."""
    folder = run.folder / "checkpoints" / step_name(run.state["step"])
    if not folder.is_dir() or run.weights != weights_of(folder):
        return None
    method = copy.deepcopy(run.method)
    restore(method, load(folder, run.transport.device).weights(raw=True), folder)
    method.eval()
    return method.transport()
