"""The plain perceptron of the textbook: linear layers with a tanh between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.networks.checks import check_input, positive, size_choice, vector_shape
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of


class Perceptron(nn.Module):
    """``depth`` hidden layers with tanh, without residual ways or normalisation.

    With width 200 and depth 2 it is either half of the variational autoencoder that likelihoods of MNIST are compared with.

    Args:
        inputs: Length of x.
        outputs: Length of the result.
        width: Hidden units of each layer.
        depth: Hidden layers.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, of length ``width``, joins the
            first layer's sum.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, section 5.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 200, depth: int = 2, conditions: Kinds = None) -> None:
        super().__init__()
        positive(inputs=inputs, outputs=outputs, width=width, depth=depth)
        self.inputs, self.outputs, self.width, self.depth = inputs, outputs, width, depth
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(a, width) for a in sizes[:-1]])
        self.leave = nn.Linear(width, outputs)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], outputs: int | None = None, conditions: Kinds = None) -> Perceptron:
        """Build one of three sizes: width 64, 200 or 512, and two hidden layers.

        ``outputs`` is the length of the result, None for that of x.
        """
        inputs = vector_shape(shape)
        width = size_choice(size, {"tiny": 64, "small": 200, "base": 512})
        return cls(inputs, inputs if outputs is None else outputs, width=width, conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Vectors (n, outputs) from x (n, inputs)."""
        check_input(x, (self.inputs,), "Perceptron")
        label = self.conditioning(x.shape[0], x.device, t, condition)
        h = x
        for number, layer in enumerate(self.hidden):
            h = layer(h)
            if number == 0 and label is not None:
                h = h + label.to(h.dtype)
            h = torch.tanh(h)
        return self.leave(h).to(x.dtype)
