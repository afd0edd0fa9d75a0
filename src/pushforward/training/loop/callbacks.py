"""Observers: the interface of parts that read a training without changing it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pushforward.data import Dataset
from pushforward.methods.method import Method
from pushforward.training.loop.torch_generators import generators_kept

if TYPE_CHECKING:
    from pushforward.training.distributed.processes import Processes


@dataclass(frozen=True)
class Moment:
    """A training after a step, to be read.

    Args:
        folder: The run's folder.
        step: Steps done.
        before: The share of the budget that was used before this step.
        progress: The share that is used now.
        method: The present weights; an observer leaves them as they are, as it does torch's generators.
        average: Their average, as it is sampled.
        data: The training data.
        writes: Whether files may be written: of several processes, one writes.
    """

    folder: Path
    step: int
    before: float
    progress: float
    method: Method
    average: Method
    data: Dataset
    writes: bool = True


class Observer:
    """Looks at a training. Whatever it does, the training goes on as it would without it."""

    late: bool = False
    """Whether it is called once the step is logged and all weights are known to be finite; its measures are then not logged."""
    suspect: bool = False
    """Whether the present weights should not take the place of earlier ones in a checkpoint."""
    decides: bool = False
    """Whether its measures may end training, so that the log is read at once."""
    passed: int | None = None
    """The last step at which the weights were found good, whose checkpoint stays; None where nobody looks for it."""
    best: int | None = None
    """The step whose samples are the best so far, whose checkpoint stays; None where nobody compares them."""
    ended: str | None = None
    """Why training ends here, with the weights of the step that `passed`; None where it goes on."""

    def due(self, moment: Moment) -> bool:
        """Whether it looks after this step; it goes by the step and the budget, so that a resumed run looks at the same ones."""
        return False

    def look(self, moment: Moment) -> Mapping[str, Any]:
        """Its measures by name, to be logged as health. Called after the steps that are `due`."""
        return {}

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        """Read a row of the log, in order and with all measures; returns additions to the row.

        Args:
            row: The row.
            again: Whether it is read from the file as a run is taken up.
        """
        return {}

    def close(self, status: str) -> None:
        """Called when the trainer gives its folder back, perhaps several times.

        Args:
            status: "finished", "stopped" (training can go on) or "failed".
        """
        return None


def measures(observers: Sequence[Observer], moment: Moment, processes: Processes | None = None) -> dict[str, Any]:
    """What observers measure at a step, by name; they change nothing (`observing`).

    What the first of several ``processes`` measures decides in all of them; None does not ask.
    """
    if not observers:
        return {}
    with observing(moment.method, moment.average):
        measured = {name: value for observer in observers for name, value in observer.look(moment).items()}
    return measured if processes is None else dict(processes.first(measured))


def ended(observers: Sequence[Observer]) -> str | None:
    """Why training ends, by the first observer that ends it."""
    return next((observer.ended for observer in observers if observer.ended is not None), None)


def passed(observers: Sequence[Observer]) -> int | None:
    """The last step whose weights were found good; None where nobody looks for it."""
    return next((observer.passed for observer in observers if observer.passed is not None), None)


def held(observers: Sequence[Observer], method: Method) -> frozenset[int]:
    """The steps whose checkpoints stay: the best one, and the last good one of a method that has a guard."""
    steps = [observer.best for observer in observers] + ([] if method.guard is None else [passed(observers)])
    return frozenset(step for step in steps if step is not None)


@contextlib.contextmanager
def observing(method: Method, average: Method) -> Iterator[None]:
    """Within this context nobody changes a training: torch's generators are put back, and written weights are an error.

    Raises:
        RuntimeError: If a tensor of the method or its average was written to, or a module's mode changed.
    """
    before = _versions(method, average)
    device = next((tensor.device for tensor in method.state_dict().values()), torch.device("cpu"))
    with generators_kept(device), torch.no_grad():
        yield
    if _versions(method, average) != before:
        raise RuntimeError("An observer has changed what it looks at; it may only read. Use a copy of the method.")


def _versions(*methods: Method) -> list[tuple[int, int | bool]]:
    tensors = [(id(t), t._version) for method in methods for t in (*method.parameters(), *method.buffers())]
    return [*tensors, *((id(module), module.training) for method in methods for module in method.modules())]
