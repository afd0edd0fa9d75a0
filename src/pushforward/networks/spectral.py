"""Spectral normalisation: a network whose layers cannot stretch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

from pushforward.networks.embedding import Condition

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class UnitVectors(nn.Module):
    """The spectral norm of the library, as if its two singular vectors had length 1.

    They have in training. In an average of a network (EMA) they are averaged too and become shorter, down to a third, where
    the leading direction turns; the norm u W v would be too small by both lengths and the network too steep.

    Args:
        norm: The library's parametrisation of the same weight.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = (norm,)  # in a tuple, since the layer already owns it as a module

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` times both lengths."""
        return weight * (self.norm[0].get_buffer("_u").norm() * self.norm[0].get_buffer("_v").norm())


class Spectral(nn.Module):
    """A network whose linear layers and convolutions have a largest singular value of about 1, so that its slope is bounded.

    Every weight of a Linear, Conv2d or ConvTranspose2d is divided by its norm as a matrix (outputs, everything else), which
    each call in training mode follows by one step of the power iteration, kept in buffers; a call in evaluation mode changes
    nothing. `torch.func.jvp` and `torch.export` work in both modes. Biases, embeddings, a learned basis and normalisation layers
    stay as they are; leave batch normalisation out.

    A weight that starts at zero, as the last one of a residual block does, has no direction to keep: dividing by its norm
    gives no number, and no later step would correct it. Such weights are drawn again, normal with variance 1 / fan-in, so the
    branch starts at norm 1 like all others.

    Args:
        network: The network, changed in place.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for layer in [module for module in network.modules() if isinstance(module, LAYERS)]:
            if not layer.weight.any():
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            spectral_norm(layer)
            norm = list(layer.get_submodule("parametrizations.weight").children())[-1]
            register_parametrization(layer, "weight", UnitVectors(norm))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network(x, t, condition)`` with normalised weights."""
        return self.network(x, t, condition)
