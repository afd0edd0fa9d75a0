"""Adversarial losses as functions of the critic's scores: one pair for critic and generator each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(NamedTuple):
    """The losses of both players, example by example.

    Attributes:
        critic: ``critic(on_real, on_fake) -> (n,)`` from the critic's scores of real and of generated examples, each (n,).
        generator: ``generator(on_real, on_fake) -> (n,)``.
        paired: Whether the generator's loss looks at the real examples' scores.
        penalty: The penalty that the game was published with, as `GAN` names it; "none" for the games without.
    """

    critic: Loss
    generator: Loss
    paired: bool = False
    penalty: str = "none"


def _cross_entropy(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real) + F.softplus(on_fake)


OBJECTIVES = {
    "relativistic": Objective(
        lambda on_real, on_fake: F.softplus(on_fake - on_real),
        lambda on_real, on_fake: F.softplus(on_real - on_fake),
        paired=True,
        penalty="r1+r2",
    ),
    "non_saturating": Objective(_cross_entropy, lambda on_real, on_fake: F.softplus(-on_fake)),
    "minimax": Objective(_cross_entropy, lambda on_real, on_fake: -F.softplus(on_fake)),
    "hinge": Objective(lambda on_real, on_fake: F.relu(1 - on_real) + F.relu(1 + on_fake), lambda on_real, on_fake: -on_fake),
    "least_squares": Objective(
        lambda on_real, on_fake: ((on_real - 1).square() + on_fake.square()) / 2,
        lambda on_real, on_fake: (on_fake - 1).square() / 2,
    ),
    "wasserstein": Objective(lambda on_real, on_fake: on_fake - on_real, lambda on_real, on_fake: -on_fake, penalty="gradient"),
}
"""Every game by name, with D the critic's score of real x and generated G:

* relativistic: L_D = softplus(D(G) - D(x)), L_G = softplus(D(x) - D(G)) (Jolicoeur-Martineau 2019; Huang et al. 2024, eq. 2).
* non_saturating: L_D = softplus(-D(x)) + softplus(D(G)), L_G = softplus(-D(G)) (Goodfellow et al. 2014, section 3).
* minimax: the same critic, L_G = -softplus(D(G)) = log(1 - sigmoid(D(G))) (Goodfellow et al. 2014, eq. 1).
* hinge: L_D = max(0, 1 - D(x)) + max(0, 1 + D(G)), L_G = -D(G) (Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17).
* least_squares: L_D = ((D(x) - 1)^2 + D(G)^2) / 2, L_G = (D(G) - 1)^2 / 2 (Mao et al. 2017, eq. 9).
* wasserstein: L_D = D(G) - D(x), L_G = -D(G) (Arjovsky et al. 2017), the critic's slope held near 1 (Gulrajani et al. 2017).
"""
