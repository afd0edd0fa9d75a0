"""Whether the held-out examples are new to a model that is judged on them, and how many different samples it can make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from pushforward.data import Dataset
from pushforward.data.core.train_hashes import shared_examples
from pushforward.errors import UsageError
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.scoring import compared
from pushforward.training import Run
from pushforward.training.runs.provenance import leaks
from pushforward.transports import Transport, has_steps, inner_of

if TYPE_CHECKING:
    from pushforward.paths import Source

__all__ = ["check_unseen", "fitting", "source_of", "starts", "starts_warnings", "unseen_warnings"]


def check_unseen(name: str, run: Run, data: Dataset) -> None:
    """Refuse a run that was trained on held-out examples of the data.

    Raises:
        UsageError: Saying how many.
        CheckpointError: If the run's record of its training examples is damaged.
    """
    own, _ = run.seen.overlaps(data)
    if None not in (run.seen.apart, data.apart) and run.seen.apart != data.apart:
        rule = "apart" if run.seen.apart else "together"
        raise UsageError(
            f"{name} was trained on data whose equal rows are split {rule}, and those of {data.name} are not, so that its "
            f'held-out rows may be training rows: read it with copies="{rule}".'
        )
    if own:
        raise UsageError(
            f"{name} was trained on {own:,} of the {len(data.held_out):,} held-out examples of {data.name}, so its scores there "
            "would mean nothing. Judge it on the data that it was trained on, or on other examples, or train a new run."
        )


def unseen_warnings(model: Run | Transport, data: Dataset) -> tuple[str, ...]:
    """What a report must say of a model that may have seen held-out examples: from ancestors, or because the data repeats them.

    A transport does not know its training examples; those of a `GaussianBaseline` are taken to be the data's.
    """
    if isinstance(model, GaussianBaseline):
        return ()
    warnings = leaks(model.seen, data) if isinstance(model, Run) else ()
    known = isinstance(model, Run) and model.spec["examples_fingerprint"] == data.examples_fingerprint
    if not isinstance(model, Run) or (
        not known and (model.seen.own is None or (model.seen.apart is None) != (data.apart is None))
    ):
        warnings += (
            f"it is unknown on which examples it was trained. If held-out examples of {data.name} were among them, these scores "
            "are too good." + ("" if isinstance(model, Run) else " Pass the run instead of its transport: it holds a record."),
        )
    return warnings + shared_examples(data) + _unscored_conditions(model)


def _unscored_conditions(model: Run | Transport) -> tuple[str, ...]:
    """What a report says of conditions that no score looks at."""
    others = [(name, kind) for name, kind in model.space.conditions.items() if name != "label" and not kind.learned]
    entries = [entry for name, kind in others for entry in kind.entries or (name,)]
    if not entries:
        return ()
    return (f"scores do not look at {', '.join(entries)}: they do not find out a model that ignores what it is given.",)


def source_of(model: Run | Transport) -> Source | None:
    """The data set that a flow starts from instead of noise; None for models that start from noise."""
    flow = inner_of(model.transport if isinstance(model, Run) else model)
    return flow.source if has_steps(flow) else None


def starts(model: Run | Transport) -> int | None:
    """The different held-out examples that a flow starts from instead of noise; None for models that start from noise."""
    source = source_of(model)
    return None if source is None else len(torch.unique(source.held_out, dim=0))


def fitting(models: Iterable[Run | Transport], data: Dataset, n: int | None) -> int:
    """How many samples are compared: ``n`` where given, else as many as the data allows and every model can make.

    Raises:
        UsageError: If the data does not allow ``n``; see `compared`.
        DataError: If the data set is too small for any comparison.
    """
    if n:
        return compared(data, n)
    counts = [count for model in models if (count := starts(model)) is not None]
    return max(2, min([compared(data), *counts]))


def starts_warnings(model: Run | Transport, n: int) -> tuple[str, ...]:
    """What a report must say of a model that starts from other data than noise, also where fewer than ``n`` samples differ."""
    source, count = source_of(model), starts(model)
    if source is None or count is None:
        return ()
    moved = f"it does not start from noise: its samples are held-out examples of {source.data}, moved. So it is sampled once."
    if count >= n:
        return (moved,)
    return (
        moved,
        f"it starts from {count:,} different held-out examples of its source, so its {n:,} samples repeat, and its scores are "
        f"worse than those of different samples. Compare at most {count:,}: n={count}.",
    )
