"""Any method in the latent space of a frozen autoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Guard, Method, Modules, Move, PrecomputesInputs, StepContext
from pushforward.methods.vae import reparameterised
from pushforward.transports import Autoencoder, Latent


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

    @property
    def reuse(self) -> int:
        return self.method.reuse

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
