"""A transport to the codes of an autoencoder, and how it is taken apart."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.predictor import Condition
from pushforward.transports.autoencoder import Autoencoder
from pushforward.transports.protocols import Invertible, has_steps
from pushforward.transports.transport import ConditionLike, Transport, as_examples, finite


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


def with_inner(transport: Transport, inner: Transport) -> Transport:
    """The transport with ``inner`` in place of the one that moves the noise; see `inner_of`."""
    return transport.on(inner) if isinstance(transport, Latent) else inner
