"""The interface of methods: a method yields a (network, loss) pair for each parameter update."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from pushforward.arguments import share, whole
from pushforward.data import Batch, Space
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.transports import Autoencoder, Latent

if TYPE_CHECKING:
    from pushforward.transports import Transport


Modules = Mapping[str, nn.Module]  # By name


class _Parts(dict[str, nn.Module]):
    def __deepcopy__(self, memo: dict[int, Any]) -> _Parts:
        return self


class Freezing(nn.Module):
    """Module that may contain frozen modules, which move between devices with it.

    A frozen part is not trained, and is excluded from checkpoints and weight averages: a run stores
    it once, with its hash.
    """

    _frozen: _Parts

    def __init__(self) -> None:
        super().__init__()
        self._frozen = _Parts()

    def freeze(self, name: str, module: nn.Module) -> None:
        """Freeze a module in evaluation mode, and store it as ``self.NAME``; copies share it.

        A run can be rebuilt if the name is also a constructor argument.
        """
        self._frozen[name] = module.eval().requires_grad_(False)

    @property
    def parts(self) -> Modules:
        """Return all frozen parts by name, including those of inner modules."""
        parts: dict[str, nn.Module] = {}
        for module in self.modules():
            if not isinstance(module, Freezing):
                continue
            for name, part in module._frozen.items():
                if parts.setdefault(name, part) is not part:
                    raise UsageError(f'Two frozen parts are named "{name}". Use unique names.')
        return parts

    def __getattr__(self, name: str) -> Any:
        frozen = self.__dict__.get("_frozen", {})
        if name in frozen:
            return frozen[name]
        return super().__getattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for part in self._frozen.values():
            part._apply(fn, recurse)
        return self


@dataclass(frozen=True)
class Guard:
    """Early stopping if the averaged sampler covers less of the data than a reference sampler.

    Training ends with the weights of the last passed check if coverage or recall
    (`pushforward.metrics.manifold.prdc`) falls significantly below its limit, a fraction of the
    reference; 0 for no limit.
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
class StepContext:
    """State of training: everything that a loss may depend on besides batch and weights.

    Args:
        draws: Random numbers of this step for each example of the batch.
        samples: Number of training samples so far.
        progress: Fraction of the budget used, in [0, 1].
        step: Training step, from 0.
        parts: Number of micro-batches of this process.
        notes: Values to log, by name: detached scalars, each a mean over the batch.
    """

    draws: Draws
    samples: int
    progress: float
    step: int = 0
    parts: int = 1
    notes: dict[str, Tensor] = field(default_factory=dict)

    def along(self, start: float, end: float, shortest: int | None = None) -> float:
        """Compute a value on a cosine schedule from start to end over training.

        Training runs of fewer than ``shortest`` samples do not complete it.
        """
        share = self.progress
        if shortest is not None:
            share = min(share, self.samples / shortest)
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Sums:
    """Statistics of a micro-batch, which a method yields to receive those of the whole batch.

    Args:
        count: Number of examples.
        values: Detached tensors to add up over micro-batches and processes, by name.
        examples: Detached tensors with one entry per example, by name, which are concatenated.
        then: Function called once per process with the total, to update the method's buffers.
    """

    count: int
    values: Mapping[str, Tensor] = field(default_factory=dict)
    examples: Mapping[str, Tensor] = field(default_factory=dict)
    then: Callable[[Sums], None] | None = None

    def settled(self) -> Sums:
        """Call ``then`` with these sums as those of the whole batch, and return them."""
        if self.then is not None:
            self.then(self)
        return self


Turn = tuple[str, Tensor]  # A player and its loss
Move = Turn | Sums


@runtime_checkable
class HasCritic(Protocol):
    """Method with a critic that scores examples: higher scores mean closer to data."""

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Compute scores (n,) of examples in model units, without augmentation.

        If the loss compares real and generated samples, only score differences are meaningful.
        """


@runtime_checkable
class HasAutoencoder(Protocol):
    """Method that learns a latent space in which other methods can be trained."""

    def autoencoder(self) -> Autoencoder:
        """Return the autoencoder between data and latents, with the current weights."""


@runtime_checkable
class PrecomputesInputs(Protocol):
    """Method whose inputs frozen parts compute from the data once, before training."""

    space: Space

    @property
    def parts(self) -> Modules:
        """Return the frozen parts by name."""

    def prepared(
        self, x: Tensor, condition: Condition, draws: Draws
    ) -> Tensor | Mapping[str, Tensor]:
        """Compute the inputs (n, ...) that batches hold instead of data x in model units.

        Several tensors have names: "x" and others, such as a teacher's noise "z", available as
        ``batch["z"]``. Draws depend only on the position in the training split.
        """


class Method(Freezing, ABC):
    """Base class of training methods: a method trains a transport.

    A method holds its networks, names those that are trained (``players``), and yields the losses.
    It has no counters: schedules are functions of `StepContext`.
    """

    space: Space
    # Criterion that ends training early, compared with `reference`; None for none
    guard: Guard | None = None
    # What is learned of a teacher: "samples", "velocity", "samples and velocity", "score" or ""
    learns: str = ""

    @property
    @abstractmethod
    def players(self) -> Modules:
        """Return the parameters that each loss updates, by network name, without frozen parts."""

    @property
    def averaged(self) -> Sequence[nn.Module]:
        """Return the modules whose weights are averaged over training."""
        return (self,)

    @property
    def group(self) -> int:
        """Return the number of examples that must stay together when a batch is split."""
        return 1

    @abstractmethod
    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        """Yield (network name, loss) for each update of one step; losses are means over samples.

        The code after a ``yield`` runs after that network's update. `Sums` are answered by the sums
        of the whole batch; the given batch, in model units, may be a micro-batch.
        """

    def turns(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        """Yield the losses of `losses` on a batch that is not split."""
        game = self.losses(batch, now)
        move = answered(game, None)
        while move is not None:
            reply = None
            if isinstance(move, Sums):
                reply = move.settled()
            else:
                yield move
            move = answered(game, reply)

    @abstractmethod
    def transport(self) -> Transport:
        """Return the sampler with the current weights."""

    def reference(self) -> Transport:
        """Return the sampler that a `guard` compares with."""
        raise UsageError(
            f"{type(self).__name__} has a guard, but nothing to compare samples with. Define "
            "reference(), which returns a transport, for example one with the initial weights."
        )


def answered(game: Iterator[Move], reply: Sums | None) -> Move | None:
    """Send ``reply`` to a generator of losses and return its next item; None at the end."""
    if reply is None:
        return next(game, None)
    try:
        return game.send(reply)  # type: ignore[attr-defined, no-any-return]
    except StopIteration:
        return None


def parameters(module: nn.Module) -> int:
    """Count the trainable parameters; a tensor shared by two parts counts once."""
    return sum(tensor.numel() for tensor in module.parameters())


def training_only(method: nn.Module, sampler: nn.Module) -> dict[str, int]:
    """Count the parameters of parts that the sampler does not use, by name."""
    sampled = set(map(id, sampler.parameters()))
    unused = {}
    for name, part in method.named_children():
        size = parameters(part)
        if size and sampled.isdisjoint(map(id, part.parameters())):
            unused[name] = size
    return unused


def reparameterised(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Compute samples of a Gaussian from standard normal noise."""
    return mean + torch.exp(log_variance / 2) * noise


class LatentMethod(Method):
    """Method trained on latents: an encoder's means and log-variances replace the data.

    These inputs are computed once; each step draws latents from them, and samples are decoded.

    Raises:
        UsageError: If the method prepares its inputs itself, or lacks conditions that the decoder
            needs.
    """

    def __init__(self, method: Method, frozen: Autoencoder) -> None:
        super().__init__()
        if isinstance(method, PrecomputesInputs):
            raise UsageError(
                f"{type(method).__name__} prepares its inputs from the data itself, so it cannot "
                "be trained on an autoencoder's latents. Train it on the data."
            )
        self.method = method
        self.learns = method.learns
        self.freeze("autoencoder", frozen)
        missing = [name for name in frozen.space.conditions if name not in method.space.conditions]
        if missing:
            raise UsageError(
                f"This autoencoder takes {' and '.join(missing)}, so the model in its latent space "
                "must take them too. Train the model with `labelled=True`, or an autoencoder "
                "without labels with `labelled=False`."
            )
        self.space = Latent(method.transport(), frozen).space

    @property
    def frozen(self) -> Autoencoder:
        return self._frozen["autoencoder"]  # type: ignore[return-value]

    def autoencoder(self) -> Autoencoder:
        return self.frozen

    @property
    def players(self) -> Modules:
        return self.method.players

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return self.method.averaged

    @property
    def guard(self) -> Guard | None:  # type: ignore[override]
        return self.method.guard

    def reference(self) -> Latent:
        return Latent(self.method.reference(), self.frozen)

    @property
    def group(self) -> int:
        return self.method.group

    def prepared(
        self, x: Tensor, condition: Condition = None, draws: Draws | None = None
    ) -> Tensor:
        """Compute means and log-variances of latents, (n, 2 c, ...)."""
        with torch.no_grad():
            return self.frozen.moments(x, condition)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        mean, log_variance = batch.x.chunk(2, dim=1)
        noise = now.draws.stream("posterior").normal(mean.shape[1:])
        codes = reparameterised(mean, log_variance, noise)
        inner = Batch(self.method.space.to_model(codes), batch.condition)
        yield from self.method.losses(inner, now)

    def transport(self) -> Latent:
        return Latent(self.method.transport(), self.frozen)
