"""Any method in the latent space of a frozen autoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.denoisers import Condition
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Guard, Method, Modules, Move, Now, PrecomputesInputs
from pushforward.transports import Autoencoder, Latent


class LatentMethod(Method):
    """Method trained on latents: means and log-variances of an encoder replace the data, and samples are decoded.

    Training inputs are computed once (`prepared`); each step draws latents from them.

    Args:
        method: Method to train, built for the latent space.
        frozen: Frozen autoencoder between data and latents.

    Raises:
        UsageError: If the method was built for latents of another shape, prepares its inputs
            itself, or lacks conditions that the decoder needs.
    """

    def __init__(self, method: Method, frozen: Autoencoder) -> None:
        super().__init__()
        if isinstance(method, PrecomputesInputs):
            raise UsageError(
                f"{type(method).__name__} prepares its inputs from the data itself, so it cannot be trained on an "
                "autoencoder's latents. Train it on the data."
            )
        self.method = method
        self.learns = method.learns
        self.freeze("autoencoder", frozen)
        missing = [name for name in frozen.space.conditions if name not in method.space.conditions]
        if missing:
            raise UsageError(
                f"This autoencoder takes {' and '.join(missing)}, so the model in its latent space must take them too. "
                "Train the model with `labelled=True`, or an autoencoder without labels with `labelled=False`."
            )
        self.space = Latent(method.transport(), frozen).space

    @property
    def frozen(self) -> Autoencoder:
        """Return the frozen autoencoder."""
        return self._frozen["autoencoder"]  # type: ignore[return-value]

    def autoencoder(self) -> Autoencoder:
        """Return the frozen autoencoder, so that other models can be trained in the same latent space."""
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
        """Compute means and log-variances of the latents of data in model units, (n, 2 c, ...)."""
        with torch.no_grad():
            return self.frozen.moments(x, condition)

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        """Yield the method's losses on latents drawn from the `prepared` inputs, means and log-variances (n, 2 c, ...)."""
        mean, log_variance = batch.x.chunk(2, dim=1)
        codes = mean + torch.exp(log_variance / 2) * now.draws.stream("posterior").normal(
            mean.shape[1:]
        )
        yield from self.method.losses(
            Batch(self.method.space.to_model(codes), batch.condition), now
        )

    def transport(self) -> Latent:
        return Latent(self.method.transport(), self.frozen)
