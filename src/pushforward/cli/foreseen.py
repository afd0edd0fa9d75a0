"""What ``train --dry-run`` says of a training that is not started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pushforward.cli.sharing import Sharing
from pushforward.cli.terminal import columns, show

if TYPE_CHECKING:
    from pushforward.data import Dataset
    from pushforward.recipes import Recipe
    from pushforward.training.estimates import Plan

__all__ = ["report_needs"]

STEPS = 5000
"""The budget of a training that is given none."""
_WORDS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizers": "optimisers",
    "average": "averaged weights",
    "frozen": "frozen parts",
    "gathered": "whole weights and gradients while they are used",
    "activations": "activations of a part",
    "data": "training examples",
}


def report_needs(recipe: Recipe, data: Dataset, ends: Mapping[str, Any], sharing: Sharing, json: bool) -> None:
    """Print what a training will need.

    Args:
        recipe: The recipe.
        data: Of the training.
        ends: Its budget, as arguments of `pushforward.fit`.
        sharing: The processes that will train it.
        json: Whether as JSON.
    """
    from pushforward.training import Budget
    from pushforward.training.estimates import plan

    given = {name: value for name, value in ends.items() if value is not None}
    budget = Budget(**given) if given else Budget(steps=STEPS)
    needs = plan(recipe, data, budget, processes=sharing.devices or 1, sharded=sharing.shard)
    head = f"{recipe.name} on {data.name}: nothing was started or written"
    show({"recipe": recipe.name, "data": data.name, **needs.to_plain()}, json, lambda _: f"{head}\n\n{_text(needs)}")


def _text(needs: Plan) -> str:
    count = needs.processes
    held = "" if count == 1 else ", each with a share of the weights" if needs.sharded else ", each with all weights"
    parts = "at once" if needs.part == needs.share else f"{needs.part:,} at a time"
    steps = "as many as the budget of seconds allows" if needs.steps is None else f"{needs.steps:,}"
    rows = [
        ["processes", f"{count}{held}"],
        ["parameters", f"{needs.parameters:,}"],
        ["batch", f"{needs.batch:,} examples; {needs.share:,} in each process, {parts}; {needs.precision}"],
        ["steps", f"{steps}; an epoch takes {needs.steps_per_epoch:,.1f}"],
        [
            "checkpoint",
            f"{_size(needs.checkpoint)}" + (f", {_size(needs.checkpoint / count)} of each process" if needs.sharded else ""),
        ],
    ]
    memory = {name: getattr(needs.memory, name) for name in _WORDS}
    table = [[f"  {_WORDS[name]}", "unknown" if value is None else _size(value)] for name, value in memory.items() if value != 0]
    total = [["  in all", _size(needs.memory.total)]]
    return f"{columns(rows)}\n\nmemory of a process\n{columns(table + total)}"


def _size(size: float) -> str:
    """Bytes in words: 12,738 as "12.4 KiB"."""
    return f"{size / 2**10:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"
