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
    """A method trained on codes: an encoder's means and log-variances take the place of data, and samples are decoded.

    Its training inputs are computed once (`prepared`); each step draws codes from them.

    Args:
        method: The method to train, built for the codes' space.
        frozen: Between data and codes.

    Raises:
        UsageError: If the method is made for codes of another shape, prepares its inputs itself, or lacks conditions that the
            decoder needs.
    """

    def __init__(self, method: Method, frozen: Autoencoder) -> None:
        super().__init__()
        if isinstance(method, PrecomputesInputs):
            raise UsageError(
                f"{type(method).__name__} prepares its inputs from the data itself, so it cannot be trained on an "
                "autoencoder's latents. Train it on the data."
            )
        self.method, self.learns = method, method.learns
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
        """The autoencoder, which stays as it is."""
        return self._frozen["autoencoder"]  # type: ignore[return-value]

    def autoencoder(self) -> Autoencoder:
        """The frozen one: other models can be trained in the same latent space."""
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

    def prepared(self, x: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Means and log-variances of the codes of data in model units, (n, 2 c, ...)."""
        with torch.no_grad():
            return self.frozen.moments(x, condition)

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        """The method's turns, on codes drawn from the `prepared` inputs, means and log-variances (n, 2 c, ...)."""
        mean, log_variance = batch.x.chunk(2, dim=1)
        codes = mean + torch.exp(log_variance / 2) * now.draws.stream("posterior").normal(mean.shape[1:])
        yield from self.method.losses(Batch(self.method.space.to_model(codes), batch.condition), now)

    def transport(self) -> Latent:
        return Latent(self.method.transport(), self.frozen)
