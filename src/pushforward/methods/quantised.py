"""An autoencoder whose codes are taken from a finite book."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.errors import UsageError
from pushforward.methods.importance_weighting import explained
from pushforward.methods.likelihoods import Gaussian, Likelihood, drawn_from, mean_of
from pushforward.methods.method import Method, Now, Sums
from pushforward.methods.vae import Deterministic
from pushforward.precision import call
from pushforward.predictor import Condition
from pushforward.transports import Autoencoder, Map

MEMORY = 0.99
"""The decay of the running use of codes, for each step."""


@runtime_checkable
class Following(Protocol):
    """A codebook that follows the vectors assigned to it."""

    def assigned(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Sums over the vectors of h (n, dim, ...), which got the codes ``index``: ``counts`` and ``sums``."""
        ...

    def candidates(self, h: Tensor, place: Tensor) -> Tensor:
        """A vector of each example, (n, dim), where codes without use can go; ``place`` (n,) is random."""
        ...

    def follow(self, counts: Tensor, sums: Tensor, candidates: Tensor, choice: Tensor, places: int = 1) -> None:
        """Move towards the vectors of the whole batch; ``choice`` (n,) is random."""
        ...


class Snapped(nn.Module):
    """A decoder of numbers that are quantised first.

    Args:
        network: ``network(q, None, condition) -> x``.
        codebook: The quantiser.
    """

    def __init__(self, network: nn.Module, codebook: nn.Module) -> None:
        super().__init__()
        self.network, self.codebook = network, codebook

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.network(self.codebook(z)[0], t, condition)


class Drawn(nn.Module):
    """Noise to data through codes that are drawn at each place by how often they occur there.

    A number z of standard normal noise takes the code at which the measured distribution reaches the normal one's Phi(z).

    Args:
        network: ``network(q, None, condition) -> x``.
        codebook: The quantiser.
        use: How often each code occurs at each place, (*places, size), not negative.
    """

    use: Tensor

    def __init__(self, network: nn.Module, codebook: Any, use: Tensor) -> None:
        super().__init__()
        self.network, self.codebook = network, codebook
        self.register_buffer("use", use)

    def codes(self, z: Tensor) -> Tensor:
        """Numbers of codes, int64 (n, *places), from noise (n, *places)."""
        steps = self.use.double().cumsum(-1)
        edges = (steps / steps[..., -1:])[..., :-1].flatten(0, -2).contiguous()
        reached = torch.special.ndtr(z.double()).flatten(1).T.contiguous()
        return torch.searchsorted(edges, reached, right=True).T.reshape(z.shape)

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.network(self.codebook.look_up(self.codes(z)).to(z), t, condition)


class QuantisedAutoencoder(Method):
    """-log p(x | q(h)) + commitment |h - q(h)|^2 with h = encoder(x) and q the nearest code of a finite book.

    Gradients pass the quantisation as if it were not there. A `Codebook` follows the vectors of the whole batch after each
    update. It notes the log-likelihood (nats an example), the share of variance explained, and the perplexity of the codes in the
    batch: e to their entropy, at most the book's size.

    On its own it draws each place's code by how often it occurs there; a model in its latent space (``--latent``) learns which
    codes go together.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, codebook.dim, *places)``.
        decoder: ``decoder(q, None, condition) -> (n, *likelihood.outputs)``.
        codebook: A quantiser: ``codebook(h) -> (quantised, numbers)``, with ``size``, ``dim`` and ``look_up``.
        space: The data's shape and units.
        places: The shape of the map of codes, such as (7, 7).
        likelihood: How data lies around the decoder's output; the default is `Gaussian`.
        commitment: The weight of |h - q(h)|^2, a mean over numbers.

    Raises:
        UsageError: For a weight out of range.

    References:
        van den Oord et al., VQ-VAE (2017), eq. 3; Mentzer et al., FSQ (2023).
    """

    use: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        codebook: Any,
        space: Space,
        *,
        places: Sequence[int],
        likelihood: Likelihood | None = None,
        commitment: float = 0.25,
    ) -> None:
        super().__init__()
        if not 0 <= commitment < math.inf:
            raise UsageError(f"commitment is a weight, 0 or more and finite; got {commitment}.")
        self.encoder, self.decoder, self.space = encoder, decoder, space
        self.codebook = codebook
        self.places, self.commitment = tuple(int(side) for side in places), commitment
        self.likelihood = Gaussian(space) if likelihood is None else likelihood
        size = int(codebook.size)
        self.register_buffer("use", torch.full((*self.places, size), 1 / size))

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self}

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        h = call(self.encoder, batch.x, None, batch.condition)
        quantised, index = self.codebook(h)
        decoded = call(self.decoder, quantised, None, batch.condition)
        log_likelihood = self.likelihood.log_prob(batch.x, decoded)
        apart = (h - quantised.detach()).square().flatten(1).mean(1)
        with torch.no_grad():
            often = torch.bincount(index.flatten(), minlength=self.codebook.size) / index.numel()
            now.notes["perplexity"] = torch.exp(-torch.xlogy(often, often).sum())
            now.notes["book"] = often.new_tensor(min(self.codebook.size, index.numel()))
            now.notes["log_likelihood"] = log_likelihood.detach().mean()
            if len(batch.x) > 1:
                now.notes["explained"] = explained(batch.x, self.likelihood.mean(decoded.detach()))
        yield "autoencoder", -log_likelihood.mean() / math.prod(self.space.shape) + self.commitment * apart.mean()
        yield self._use(h, index, now)

    def _use(self, h: Tensor, index: Tensor, now: Now) -> Sums:
        use = {"use": _counts(index, self.codebook.size)}
        if not isinstance(self.codebook, Following):
            return Sums(len(index), use, then=self._followed)
        restart = now.draws.stream("restart")
        choice, place = restart.uniform(), restart.uniform()
        examples = {"candidates": self.codebook.candidates(h, place), "choice": choice}
        return Sums(len(index), use | self.codebook.assigned(h, index), examples, then=self._followed)

    def _followed(self, total: Sums) -> None:
        if isinstance(self.codebook, Following):
            moved = {name: total.values[name] for name in ("counts", "sums")}
            self.codebook.follow(**moved, **total.examples, places=math.prod(self.places))
        self.use.lerp_(total.values["use"] / total.count, 1 - MEMORY)

    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder, for latents: codes are quantised as they are decoded."""
        return Autoencoder(
            Deterministic(self.encoder, halved=False), Snapped(mean_of(self.decoder, self.likelihood), self.codebook), self.space
        )

    def transport(self) -> Map:
        """Codes drawn place by place, decoded: draws from p(x | q), or its means for pictures (`drawn_from`)."""
        network = Drawn(mean_of(self.decoder, self.likelihood), self.codebook, self.use)
        return Map(network, self.space, self.places, drawn_from(self.likelihood))


def _counts(index: Tensor, size: int) -> Tensor:
    """How many examples have each code at each place, (*places, size), from numbers (n, *places)."""
    flat = index.flatten(1)
    at = flat + size * torch.arange(flat.shape[1], device=index.device)
    counts = torch.bincount(at.flatten(), minlength=size * flat.shape[1])
    return counts.reshape(*index.shape[1:], size)
