"""The rounds of a training step: a method's losses on all micro-batches, which run in lockstep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.draws import BLOCK, BlockDraws, key
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Move, StepContext, Sums, answered
from pushforward.recipes.recipe import Training
from pushforward.training.checkpoint.tensors import local
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.machine import (
    generator_state,
    seed_generators,
    set_generator_state,
)


class StepResult(NamedTuple):
    """Losses by network, and measurements, as means over the whole batch."""

    losses: dict[str, Tensor]
    health: dict[str, Any]


@dataclass
class _MicroBatch:
    index: slice
    game: Iterator[Move]
    now: StepContext
    count: int
    generator: Any = None


class Rounds:
    """Computes the losses of a method on micro-batches, round by round.

    The micro-batches of this process run in lockstep: gradients add up, and the graph of one is
    freed before the next computes its own. `Sums` are added up over micro-batches and processes.
    Dropout is drawn by torch's generator, seeded for each micro-batch.
    """

    def __init__(
        self,
        method: Method,
        parameters: Mapping[str, Sequence[nn.Parameter]],
        training: Training,
        *,
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.method = method
        self.training = training
        self.seed = seed
        self.device = device
        self.processes = processes
        slices = parts_of(training, method, processes.count)
        if len(slices) > 1:
            _refuse_batch_norm(method)
        first = processes.rank * training.accumulate
        self.slices = slices[first : first + training.accumulate]
        self._others = {}
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        for name, own in parameters.items():
            known = {id(parameter) for parameter in own}
            self._others[name] = [each for each in trained if id(each) not in known]

    @property
    def index(self) -> slice:
        """Return the examples of the batch that this process computes."""
        return slice(self.slices[0].start, self.slices[-1].stop)

    def begin(self, batch: Batch, step: int, progress: float) -> StepContext:
        """Start the rounds on the examples at `index`, and return the method's argument."""
        self._micro = [self._micro_batch(index, batch, step, progress) for index in self.slices]
        return self._micro[0].now

    def backward(self) -> Iterator[tuple[str, Tensor]]:
        """Compute gradients round by round, and yield each network and its loss."""
        reply = None
        while (move := self._together(reply)) is not None:
            reply = None
            if isinstance(move, Sums):
                reply = move
            else:
                yield move

    def notes(self) -> dict[str, Any]:
        """Return the method's measurements, as means over the whole batch."""
        counts = [micro.count for micro in self._micro]
        notes = batch_means([micro.now.notes for micro in self._micro], counts)
        if self.processes.count == 1:
            return notes
        share = (self.index.stop - self.index.start) / self.training.batch
        totals = self.processes.sum([note * share for note in notes.values()])
        return dict(zip(notes, totals, strict=True))

    def _micro_batch(self, index: slice, batch: Batch, step: int, progress: float) -> _MicroBatch:
        start = index.start - self.index.start
        count = index.stop - index.start
        examples = batch
        if count != len(batch.x):
            examples = batch.take(slice(start, start + count))
        draws = BlockDraws(self.seed, step, count, index.start, device=self.device)
        samples = step * self.training.batch
        now = StepContext(draws, samples, progress, step, parts=len(self.slices))
        return _MicroBatch(index, self.method.losses(examples, now), now, count)

    def _together(self, reply: Sums | None) -> Move | None:
        losses = []
        sums = []
        for micro in self._micro:
            self._set_generator(micro)
            move = answered(micro.game, reply)
            if len(self._micro) > 1:
                micro.generator = generator_state(self.device)
            else:
                micro.generator = ()
            if isinstance(move, Sums):
                sums.append(move)
            elif move is not None:
                losses.append(self._backward(micro, *move))
        names = {name for name, _ in losses}
        same = max(len(losses), len(sums)) in (0, len(self._micro)) and len(names) <= 1
        assert same, "every micro-batch must have the same rounds"
        if losses:
            return losses[0][0], _total([loss for _, loss in losses])
        if sums:
            return self._combine(sums)
        return None

    def _set_generator(self, micro: _MicroBatch) -> None:
        if micro.generator is None:
            block = micro.index.start // BLOCK
            blocks = [block] if block else []
            seed_generators(key(self.seed, "dropout", micro.now.step, *blocks) >> 1, self.device)
        elif len(self._micro) > 1:
            set_generator_state(micro.generator, self.device)

    def _backward(self, micro: _MicroBatch, network: str, loss: Tensor) -> tuple[str, Tensor]:
        share = loss * (micro.count / self.training.batch)
        others = self._others[network]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            share.backward()
        finally:
            for parameter in others:
                parameter.requires_grad_(True)
                parameter.grad = None  # sharded weights take gradients whatever they require
        return network, share.detach()

    def _combine(self, sums: Sequence[Sums]) -> Sums:
        values = {}
        for name in sums[0].values:
            values[name] = _total([part.values[name] for part in sums])
        examples = {}
        for name in sums[0].examples:
            examples[name] = torch.cat([part.examples[name] for part in sums])
        if self.processes.count == 1:
            count = sum(part.count for part in sums)
            return Sums(count, values, examples, sums[0].then).settled()
        for name, own in examples.items():
            everything = own.new_zeros(self.training.batch, *own.shape[1:])
            everything[self.index] = own
            examples[name] = everything
        totals = iter(self.processes.sum([*values.values(), *examples.values()]))
        values = {name: next(totals) for name in values}
        examples = {name: next(totals) for name in examples}
        return Sums(self.training.batch, values, examples, sums[0].then).settled()


def _refuse_batch_norm(method: Method) -> None:
    for name, module in method.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise UsageError(
                f"This network does not support micro-batches: {name} ({type(module).__name__}) "
                "normalises over the batch, so its statistics would differ. Use `accumulate=1`, or "
                "a network without batch normalisation."
            )


class Statistics:
    """State of a method besides trained weights, such as running statistics."""

    def __init__(self, method: Method, parameters: Sequence[nn.Parameter]) -> None:
        trained = {id(parameter) for parameter in parameters}
        named = {**dict(method.named_parameters()), **dict(method.named_buffers())}
        self._present = []
        for name in method.state_dict():
            if name in named and id(named[name]) not in trained:
                self._present.append(local(named[name]))
        self._before = [tensor.clone() for tensor in self._present]

    def remember(self) -> None:
        if self._present:
            torch._foreach_copy_(self._before, self._present)

    @torch.no_grad()
    def restore(self) -> None:
        if self._present:
            torch._foreach_copy_(self._present, self._before)


def _total(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.stack(list(parts)).sum(0)


def batch_means(notes: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Combine the notes of micro-batches to means over the batch, weighted by examples."""
    if len(notes) == 1:
        return dict(notes[0])
    means = {}
    for name in dict.fromkeys(name for part in notes for name in part):
        total = 0.0
        examples = 0
        for part, count in zip(notes, counts, strict=True):
            if name in part:
                total = total + part[name] * count
                examples += count
        means[name] = total / examples
    return means


def parts_of(training: Training, method: Method, processes: int = 1) -> list[slice]:
    """Split a batch into micro-batches of whole blocks and groups, for all processes."""
    unit = math.lcm(BLOCK, method.group)
    size = training.batch
    count = training.accumulate * processes
    share = math.ceil(size / count)
    if count > 1 and (share % unit or size < count * unit):
        least = unit * count
        raise UsageError(
            f"A batch of {size} cannot be split into {count} micro-batches (`accumulate` of each "
            f"process) whose sizes are multiples of {unit}. Use "
            f"`batch={least * math.ceil(size / least)}`, or fewer micro-batches."
        )
    return [slice(at, min(at + share, size)) for at in range(0, size, share)]
