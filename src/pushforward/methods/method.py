"""The interface of methods: a method yields (player, loss) pairs, one for each parameter update, and may hold frozen parts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from pushforward.arguments import share, whole
from pushforward.data import Batch, Space
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.transports import Autoencoder, Transport


Modules = Mapping[str, nn.Module]  # By name


class _Parts(dict[str, nn.Module]):
    """Frozen modules by name. A copy of what holds them holds the same modules, not copies of them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Parts:
        return self


class Freezing(nn.Module):
    """A module that may hold frozen ones beside its own.

    A frozen part belongs to no player. It is in no checkpoint and in no average: a run stores it once, with its hash. It moves
    between devices with the rest.
    """

    _frozen: _Parts

    def __init__(self) -> None:
        super().__init__()
        self._frozen = _Parts()

    def freeze(self, name: str, module: nn.Module) -> None:
        """Keep a module as it is: in evaluation mode and without gradients. It is then read as ``self.NAME``.

        Args:
            name: Of the part, and of the folder that it is stored in. Where it is also an argument of the constructor, a run
                can be rebuilt.
            module: Taken as it is; a copy of this module shares it.

        Raises:
            UsageError: If the name is taken, or is no name.
        """
        if not name.isidentifier() or name in self._frozen or name in self._modules or name in self._parameters:
            raise UsageError(
                f'"{name}" cannot be used as the name of a frozen part. Choose an attribute name that is not in use.'
            )
        self._frozen[name] = module.eval().requires_grad_(False)

    @property
    def parts(self) -> Modules:
        """All frozen parts by name, those of modules inside it too; they belong to no player.

        Raises:
            UsageError: If two different ones share a name.
        """
        parts: dict[str, nn.Module] = {}
        for module in self.modules():
            for name, part in module._frozen.items() if isinstance(module, Freezing) else ():
                if parts.setdefault(name, part) is not part:
                    raise UsageError(f'Two frozen parts are named "{name}". Give each a unique name.')
        return parts

    def __getattr__(self, name: str) -> Any:
        frozen = self.__dict__.get("_frozen", {})
        return frozen[name] if name in frozen else super().__getattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for part in self._frozen.values():
            part._apply(fn, recurse)
        return self


@dataclass(frozen=True)
class Guard:
    """When a training ends by itself: where the averaged sampler covers less of the data than a reference on the same noise.

    A trainer that trains a method with a guard draws samples of both at fixed shares of training and compares the share of
    training examples that each covers, and the share that each recalls (`pushforward.metrics.manifold.prdc`). Where a share has
    fallen below its limit, and by more than chance explains, training ends with the weights of the last check that was passed.

    It looks at variety alone: samples that are as varied but of lower quality end no training. Compare the run with its start.

    Args:
        coverage: The least coverage, as a share of the reference's, in [0, 1]; 0 is no limit.
        recall: The least recall, as a share of the reference's, in [0, 1]; 0 is no limit.
        checks: How often, at equal shares of training.
        samples: Samples and training examples that are compared at most.

    Raises:
        UsageError: For a number out of range.
    """

    coverage: float = 0.97
    recall: float = 0.95
    checks: int = 8
    samples: int = 2000

    def __post_init__(self) -> None:
        for name in ("coverage", "recall"):
            share(f"The least {name}", getattr(self, name), " of the start's")
        for name in ("checks", "samples"):
            whole(name, getattr(self, name), 1)


@dataclass(frozen=True)
class Now:
    """Where training stands: all that a loss may depend on besides its batch and the weights.

    Args:
        draws: Randomness of this step, for each example of the batch.
        samples: Training samples so far.
        progress: The share of the budget that is used, in [0, 1].
        step: The training step, from 0.
        parts: Into how many parts this process splits its examples to save memory. Where it does, a game computes
            a player's output again in that player's own turn, in place of keeping its graph over the turns before.
        notes: Values to be logged as health, by name: detached tensors of no dimension, each a
            mean over the examples of the batch. A loss must not depend on them.
    """

    draws: Draws
    samples: int
    progress: float
    step: int = 0
    parts: int = 1
    notes: dict[str, Tensor] = field(default_factory=dict)

    def along(self, start: float, end: float, ramp: int | None = None, shortest: int | None = None) -> float:
        """A value on its way from start to end on a cosine.

        Args:
            start: The value before training.
            end: The value at the end of the ramp.
            ramp: Training samples that the ramp takes; None is the whole of training.
            shortest: Training samples that it takes at least: a training that ends before stops on the way. None is no limit.
        """
        share = self.progress if ramp is None else min(1.0, self.samples / ramp)
        if shortest is not None:
            share = min(share, self.samples / shortest)
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Sums:
    """Statistics of a part of a batch, which a method yields to receive those of the whole batch.

    A batch may be split into parts and over processes. A statistic (the use of codes, the signs of a critic's scores) must be
    that of the whole batch, so it yields sums: ``total = yield Sums(len(x), {"square": x.square().sum(0)})``, and then
    ``total.values["square"] / total.count`` is the same in every part. Every part goes on with the total, but the method's own
    buffers must move once: that is done by ``then``.

    Args:
        count: The number of examples.
        values: By name, detached tensors that are added up; each has the same shape in every part.
        examples: By name, detached tensors with one entry for each example, which are put together in the batch's order.
        then: Called once in each process with the total, before the parts go on; its effect on the method's buffers is the
            same in all processes.
    """

    count: int
    values: Mapping[str, Tensor] = field(default_factory=dict)
    examples: Mapping[str, Tensor] = field(default_factory=dict)
    then: Callable[[Sums], None] | None = None

    def settled(self) -> Sums:
        """These sums as those of the whole batch, once ``then`` has been called with them."""
        if self.then is not None:
            self.then(self)
        return self


Turn = tuple[str, Tensor]  # A player and its loss
Move = Turn | Sums


@runtime_checkable
class HasCritic(Protocol):
    """A method with a critic, which gives every point a number: the higher, the more like data it takes the point to be."""

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The critic's values (n,) of examples x (n, *shape) in model units, each computed alone and without augmentation.

        Only differences mean something, where the loss compares real and generated samples.
        """


@runtime_checkable
class HasAutoencoder(Protocol):
    """A method that learns codes of data, in whose space other methods can learn."""

    def autoencoder(self) -> Autoencoder:
        """From data to codes and back, with the present weights."""


@runtime_checkable
class PrecomputesInputs(Protocol):
    """A method whose inputs are computed from the data by frozen parts, once before training.

    The inputs may depend on the frozen parts and on the method's settings, not on networks that learn.
    """

    space: Space

    @property
    def parts(self) -> Modules:
        """The frozen parts by name."""

    def prepared(self, x: Tensor, condition: Condition, draws: Draws) -> Tensor | Mapping[str, Tensor]:
        """The inputs that batches hold instead of data in model units.

        Args:
            x: Training examples in model units, (n, *shape).
            condition: None or a dict of tensors with n examples.
            draws: Randomness for each example, keyed by its place in the training split alone: neither the run's
                seed nor how examples are grouped changes it.

        Returns:
            ``batch.x``, (n, ...); or several tensors by name, (n, ...) each: "x" and others, such as a teacher's
            noise "z", which is then ``batch["z"]``.
        """


class Method(Freezing, ABC):
    """A way of learning a transport.

    A method holds its networks, names its players, and yields the losses in the order of the paper's algorithm. It
    knows nothing of optimisers, devices or files, and holds no counters: schedules are functions of `Now`.
    """

    space: Space
    guard: Guard | None = None  # When training ends by itself, beside `reference`; None never ends it
    # What is learned of a frozen teacher: "samples", "velocity", "samples and velocity" or "score"; else empty
    learns: str = ""

    @property
    @abstractmethod
    def players(self) -> Modules:
        """The parameters that each player's turn updates, by the player's name; frozen parts are no players."""

    @property
    def averaged(self) -> Sequence[nn.Module]:
        """The modules whose weights are averaged over training: all by default.

        Others (a distribution matcher's second network, say) are saved with the method alone, and a run has their last weights.
        """
        return (self,)

    @property
    def group(self) -> int:
        """Examples that must stay together when a batch is split (optimal transport, packing)."""
        return 1

    @property
    def reuse(self) -> int:
        """For how many steps one batch is kept."""
        return 1

    @abstractmethod
    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        """The turns of one step: (player, loss), each a mean of per-sample terms.

        The code after a ``yield`` runs after that player's update. Outputs of one player are detached in the loss of another. A
        method that measures something yields it as `Sums` and receives those of the whole batch.

        Args:
            batch: ``x`` in model units (n, *shape) and ``condition``; it may be a part of the whole batch.
            now: Randomness and progress.
        """

    def turns(self, batch: Batch, now: Now) -> Iterator[Turn]:
        """The turns of `losses` on a batch that is not split, whose sums are those of the whole."""
        game = self.losses(batch, now)
        reply: Sums | None = None
        while (move := answered(game, reply)) is not None:
            reply = move.settled() if isinstance(move, Sums) else None
            if not isinstance(move, Sums):
                yield move

    @abstractmethod
    def transport(self) -> Transport:
        """The sampler that the present weights make."""

    def reference(self) -> Transport:
        """The sampler with which a `guard` compares it, such as that of the weights at the start.

        Raises:
            UsageError: For a method that has a guard and no reference.
        """
        raise UsageError(
            f"{type(self).__name__} has a guard, but nothing to compare samples with. Define reference(), which "
            "returns a transport, for example one with the initial weights."
        )


def answered(game: Iterator[Move], reply: Sums | None) -> Move | None:
    """The next move of a game that receives ``reply``; None where it is over."""
    try:
        return next(game) if reply is None else game.send(reply)  # type: ignore[attr-defined, no-any-return]
    except StopIteration:
        return None


def parameters(module: nn.Module) -> int:
    """The numbers that training sets; a tensor that two parts share counts once."""
    return sum(tensor.numel() for tensor in module.parameters())


def training_only(method: nn.Module, sampler: nn.Module) -> dict[str, int]:
    """The numbers in each part of a method that its sampler does not use, such as a critic, by name; no part without numbers."""
    sampled = set(map(id, sampler.parameters()))
    unused = {name: parameters(part) for name, part in method.named_children() if not sampled & set(map(id, part.parameters()))}
    return {name: size for name, size in unused.items() if size}
