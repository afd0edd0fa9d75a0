"""One-step maps, autoencoders, and models in the latent space of one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.denoisers import Condition
from pushforward.denoisers.precision import call
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.paths import Source
from pushforward.transports.flow import Invertible, has_steps
from pushforward.transports.transport import ConditionLike, Transport, as_examples, finite


class Observed(Protocol):
    """How data lies around a decoder's mean; a likelihood (`pushforward.methods.likelihoods`) is such a module."""

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """A draw from p(x | z) in model units, by standard normal noise, (n, *shape) all."""
        ...


class Map(Transport):
    """One network call: a GAN's generator, a VAE's decoder, a distilled student.

    Args:
        network: ``network(z, None, condition) -> x`` in model units.
        space: The data's shape and units.
        noise_shape: The shape of the noise of one sample.
        likelihood: Of data given a decoder's output. Samples are then draws from it; where no draws are given, as
            in interpolation and inversion, the output is the mean. With None the output is the sample.
    """

    def __init__(self, network: nn.Module, space: Space, noise_shape: Sequence[int], likelihood: Observed | None = None) -> None:
        super().__init__()
        self.network, self.space, self.noise_shape = network, space, tuple(noise_shape)
        self.likelihood = likelihood

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """The network's output; with draws, a draw from the likelihood around it where there is one."""
        x = call(self.network, z, None, condition)
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.normal(self.space.shape))

    def facts(self) -> dict[str, str]:
        drawn = {} if self.likelihood is None else {"samples": f"drawn from the {type(self.likelihood).__name__} likelihood"}
        return super().facts() | drawn

    @property
    def calls(self) -> int:
        return 1


class Autoencoder(nn.Module):
    """An encoder and a decoder, between data in model units and a latent.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances along the first axis.
        decoder: ``decoder(latent, None, condition) -> x``.
        space: The data's shape and units, with the conditions that both receive.
        standard: Whether codes of all examples together are meant to lie as N(0, 1) does, as those of a VAE are.
        likelihood: From which samples are drawn around the decoder's output; with None the output is the sample.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, space: Space, standard: bool = True, likelihood: Observed | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.space, self.standard = encoder, decoder, space, standard
        self.likelihood = likelihood

    def moments(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Means and log-variances of the codes (n, 2 c, ...) of data in model units."""
        return call(self.encoder, x, None, self._own(condition))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        held = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if held is None else held.device

    def encode(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The mean code (n, c, ...) of data in model units."""
        return self.moments(x, condition).chunk(2, dim=1)[0]

    def decode(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Data in model units from codes."""
        return call(self.decoder, latent, None, self._own(condition))

    def drawn(self, x: Tensor, draws: Draws | None) -> Tensor:
        """A draw around decoded data x in model units; x itself without draws, or without a likelihood."""
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.stream("decoder").normal(self.space.shape))

    def _own(self, condition: Condition) -> Condition:
        names = self.space.conditions
        missing = [name for name in names if condition is None or name not in condition]
        if missing:
            what = " and ".join(missing)
            raise UsageError(f"This autoencoder receives {what}, so data has a code only together with its {what}: name it.")
        return {name: condition[name] for name in names} if condition and names else None


class Latent(Transport):
    """A transport to codes, followed by a decoder.

    Args:
        inner: A transport whose space is the codes'.
        autoencoder: From codes to data.
    """

    def __init__(self, inner: Transport, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.inner, self.autoencoder = inner, autoencoder
        self.space = autoencoder.space.with_conditions(inner.space.conditions)
        self.noise_shape = inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """decode(inner(z)); with draws, a draw from the decoder's likelihood where the autoencoder has one."""
        return self.autoencoder.drawn(self.decode(self.inner(z, condition, draws), condition), draws)

    def decode(self, codes: Tensor, condition: Condition = None) -> Tensor:
        """Data in model units from codes in their own model units."""
        return self.autoencoder.decode(self.inner.space.to_data(codes), condition)

    def noise(self, draws: Draws) -> Tensor:
        return self.inner.noise(draws)

    def on(self, inner: Transport) -> Latent:
        """The same decoder after another transport to its codes, such as one of other steps."""
        return Latent(inner, self.autoencoder)

    def codes(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The mean codes of data x (n, *shape), data units, in the codes' data units."""
        with torch.no_grad():
            return self.autoencoder.encode(self.space.to_model(as_examples(self.space, x).to(self.device)), condition)

    def encode(self, x: Tensor, condition: ConditionLike = None) -> Tensor:
        """The noise that is moved to data x (n, *shape), data units, through its mean code.

        Raises:
            UsageError: For an inner transport that cannot be inverted.
        """
        if not isinstance(self.inner, Invertible):
            raise UsageError(
                f"The model in this latent space ({type(self.inner).__name__}) moves noise in one call and has no inverse."
            )
        given = self.read(len(x), condition)
        return self.inner.encode(self.codes(x, given), given)

    def trajectory(self, n: int, condition: ConditionLike = None, *, seed: int = 0) -> Iterator[tuple[float, Tensor]]:
        """(t, decoded x_t) from t_max to 0 for the samples that `sample` draws, in data units.

        Raises:
            UsageError: For an inner transport without steps.
        """
        if not has_steps(self.inner):
            raise UsageError("A one-call model has no steps to show.")
        with torch.no_grad():
            given = self.conditions(n, condition, seed)
        for t, codes in self.inner.trajectory(n, given, seed=seed):
            with torch.no_grad():
                x = self.autoencoder.decode(codes.to(self.device), given)
                decoded = self.space.to_data(finite(x)).cpu()
            yield t, decoded

    @property
    def calls(self) -> int:
        return self.inner.calls + 1


def inner_of(transport: Transport) -> Transport:
    """The transport that moves the noise: itself, or the one in the latent space of a `Latent`."""
    return transport.inner if isinstance(transport, Latent) else transport


def starts(transport: Transport) -> tuple[Source, int] | None:
    """The data set that a flow starts from, with how many of its held-out examples differ; None for noise."""
    source = getattr(inner_of(transport), "source", None)
    return None if source is None else (source, len(torch.unique(source.held_out, dim=0)))


def with_inner(transport: Transport, inner: Transport) -> Transport:
    """The transport with ``inner`` in place of the one that moves the noise; see `inner_of`."""
    return transport.on(inner) if isinstance(transport, Latent) else inner
