"""One step of training: the turns of a method's players, on all parts of a batch and in all processes together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.draws import BLOCK, BlockDraws, key
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Now, Sums, answered
from pushforward.recipes.recipe import Training
from pushforward.training.checkpoint.tensors import local
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.machine import generator_state, seed_generators, set_generator_state
from pushforward.training.loop.optimizers import Player
from pushforward.training.runs.log import MARK

NORMS = 10
"""Steps between gradient norms."""
Move = tuple[str, Tensor] | Sums | None
"""A player's turn, sums to be added up, or the end of a game."""


@dataclass
class _Part:
    """A part of a batch and the method's losses on it.

    Args:
        index: Where its examples are in the whole batch.
        game: The turns of the method on it.
        now: The method's argument.
        count: How many examples.
        generator: The state in which it left torch's generators, from which dropout draws.
    """

    index: slice
    game: Iterator[tuple[str, Tensor] | Sums]
    now: Now
    count: int
    generator: Any = None


class Step:
    """Computes steps: runs a method's turns on a batch, in each of which one player's weights are updated.

    The parts of a batch run in lock step: gradients add up, and each part's graph is freed before the next part computes its
    own. `Sums` that the method yields come back added up over all parts and processes. Dropout is drawn by torch's
    generator, seeded for each part by its first block of examples.

    Args:
        method: The method, its weights where the processes keep them.
        players: Its players with their optimisers.
        training: The settings.
        seed: The run's.
        device: Where it is trained.
        processes: The processes that share each batch.

    A player whose loss or gradient is not finite is not updated; state of the method besides its players' weights, such as
    running statistics, is then as it was before the step.

    Attributes:
        moved: Whether the last step has updated any player.

    Raises:
        UsageError: If the batch cannot be split so.
    """

    def __init__(
        self,
        method: Method,
        players: dict[str, Player],
        training: Training,
        *,
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.method, self.players, self.training = method, players, training
        self.seed, self.device, self.processes = seed, device, processes
        all_parts = parts_of(training, method, processes.count)
        for name, module in method.named_modules() if len(all_parts) > 1 else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                raise UsageError(
                    f"A batch cannot be split into parts here: {name} ({type(module).__name__}) normalises over the batch, and "
                    "a part has other statistics. Leave `accumulate` at 1, or choose a network without batch normalisation."
                )
        self.parts = all_parts[processes.rank * training.accumulate :][: training.accumulate]
        self.moved = True
        self._beside = _Beside(method, players)
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        own = {name: {id(parameter) for parameter in player.parameters} for name, player in players.items()}
        self._others = {name: [parameter for parameter in trained if id(parameter) not in own[name]] for name in own}

    @property
    def index(self) -> slice:
        """The examples of each batch that this process computes."""
        return slice(self.parts[0].start, self.parts[-1].stop)

    def __call__(self, batch: Batch, clock: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """One step on the examples of the batch at `index`.

        Returns:
            The loss of each player, and the method's notes, with the norms of gradients on the steps that have them, all as
            means over the whole batch; and "skipped/PLAYER" where a player was not updated.
        """
        self._beside.hold()
        parts = [self._part(index, batch, clock) for index in self.parts]
        now, schedule = parts[0].now, self.training.schedule
        rate, losses, norms, updated = schedule.rate(clock, now), {}, {}, []
        reply: Sums | None = None
        while (move := self._together(parts, reply)) is not None:
            reply = move if isinstance(move, Sums) else None
            if isinstance(move, Sums):
                continue
            name, player = move[0], self.players[move[0]]
            losses[name] = self.processes.added([move[1]])[0]
            self.processes.add_gradients(player.parameters)
            norm, finite = player.update(rate, schedule.beta2(self.training.of(name, "betas")[1], now), losses[name])
            updated.append((name, finite))
            if clock.step % NORMS == 0:
                norms[f"gradient_norm/{name}"] = norm
        notes = joined([part.now.notes for part in parts], [part.count for part in parts])
        if self.processes.count > 1:
            share = (self.index.stop - self.index.start) / self.training.batch
            notes = dict(zip(notes, self.processes.added([note * share for note in notes.values()]), strict=True))
        finite = torch.stack([flag for _, flag in updated]).tolist()
        self.moved = any(finite)
        if not all(finite):
            self._beside.put_back()
        marks = {f"{MARK}{name}": 1 for (name, _), done in zip(updated, finite, strict=True) if not done}
        return losses, notes | norms | marks

    def _part(self, index: slice, batch: Batch, clock: Any) -> _Part:
        start, count = index.start - self.index.start, index.stop - index.start
        examples = batch if count == len(batch.x) else batch.take(slice(start, start + count))
        draws = BlockDraws(self.seed, clock.step, count, index.start, device=self.device)
        now = Now(draws, clock.step * self.training.batch, clock.progress, clock.step, parts=len(self.parts))
        return _Part(index, self.method.losses(examples, now), now, count)

    def _together(self, parts: Sequence[_Part], reply: Sums | None) -> Move:
        moves: list[Move] = []
        for part in parts:
            move = self._resumed(part, reply)
            moves.append(self._backward(part, *move) if isinstance(move, tuple) else move)
        kinds = {move[0] if isinstance(move, tuple) else type(move) for move in moves}
        assert len(kinds) == 1, "every part of a batch plays the same turns"
        if isinstance(moves[0], tuple):
            return moves[0][0], _total([move[1] for move in moves if isinstance(move, tuple)])
        sums = [move for move in moves if isinstance(move, Sums)]
        return self._added(sums) if sums else None

    def _resumed(self, part: _Part, reply: Sums | None) -> Move:
        if part.generator is None:
            block = part.index.start // BLOCK
            seed_generators(key(self.seed, "dropout", part.now.step, *([block] if block else [])) >> 1, self.device)
        elif len(self.parts) > 1:
            set_generator_state(part.generator, self.device)
        move = answered(part.game, reply)
        part.generator = generator_state(self.device) if len(self.parts) > 1 else ()
        return move

    def _backward(self, part: _Part, player: str, loss: Tensor) -> tuple[str, Tensor]:
        share = loss * (part.count / self.training.batch)
        others = self._others[player]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            share.backward()
        finally:
            for parameter in others:
                parameter.requires_grad_(True)
                parameter.grad = None  # sharded weights take gradients whatever they require
        return player, share.detach()

    def _added(self, sums: Sequence[Sums]) -> Sums:
        values = {name: _total([part.values[name] for part in sums]) for name in sums[0].values}
        examples = {name: torch.cat([part.examples[name] for part in sums]) for name in sums[0].examples}
        if self.processes.count == 1:
            return Sums(sum(part.count for part in sums), values, examples, sums[0].then).settled()
        spread = {name: held.new_zeros(self.training.batch, *held.shape[1:]) for name, held in examples.items()}
        for name, everything in spread.items():
            everything[self.index] = examples[name]
        totals = iter(self.processes.added([*values.values(), *spread.values()]))
        values, examples = ({name: next(totals) for name in group} for group in (values, spread))
        return Sums(self.training.batch, values, examples, sums[0].then).settled()


class _Beside:
    """A method's state besides the weights of its players: running statistics, averages, counts."""

    def __init__(self, method: Method, players: dict[str, Player]) -> None:
        moved = {id(parameter) for player in players.values() for parameter in player.parameters}
        named = {**dict(method.named_parameters()), **dict(method.named_buffers())}
        self._present = [local(named[n]) for n in method.state_dict() if n in named and id(named[n]) not in moved]
        self._before = [tensor.clone() for tensor in self._present]

    def hold(self) -> None:
        if self._present:
            torch._foreach_copy_(self._before, self._present)

    def put_back(self) -> None:
        with torch.no_grad():
            for present, before in zip(self._present, self._before, strict=True):
                present.copy_(before)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)


def joined(notes: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """The notes of the parts of a batch as those of the whole: means, weighted by the parts' examples."""
    if len(notes) == 1:
        return dict(notes[0])
    means = {}
    for name in dict.fromkeys(name for part in notes for name in part):
        held = [(part[name], count) for part, count in zip(notes, counts, strict=True) if name in part]
        means[name] = sum(note * count for note, count in held) / sum(count for _, count in held)
    return means


def parts_of(training: Training, method: Method, processes: int = 1) -> list[slice]:
    """The parts of a batch that are computed at a time, of all processes in turn: whole blocks of draws and whole groups.

    Raises:
        UsageError: For a batch that cannot be split so.
    """
    unit, size, count = math.lcm(BLOCK, method.group), training.batch, training.accumulate * processes
    share = math.ceil(size / count)
    if count > 1 and (share % unit or size < count * unit):
        each = f"each of {processes} processes computes" if processes > 1 else "it is computed"
        raise UsageError(
            f"A batch of {size} does not divide into {count} parts ({each} in accumulate={training.accumulate}): a part is a "
            f"multiple of {unit} examples. Choose `batch={unit * count * math.ceil(size / (unit * count))}`, or fewer parts."
        )
    return [slice(at, min(at + share, size)) for at in range(0, size, share)]
