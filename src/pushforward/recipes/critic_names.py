"""What the critic of a method is called."""

from __future__ import annotations

from torch import nn

from pushforward.methods import LatentMethod
from pushforward.methods.feature_critic import FeatureCritic
from pushforward.networks import MLP
from pushforward.recipes.choice import PAIRS

__all__ = ["critic_name"]


def critic_name(method: nn.Module) -> str:
    """The name by which the setting ``network`` chooses the critic that a method has.

    Args:
        method: The method, also one in a latent space.

    Returns:
        A name of `pushforward.recipes.choice.PAIRS`, "mlp" or "features"; empty without a critic, or for one of another kind.
    """
    part = getattr(method.method if isinstance(method, LatentMethod) else method, "critic", None)
    kinds = {"features": FeatureCritic, "mlp": MLP, **{name: critic for name, (_, critic) in PAIRS.items()}}
    while part is not None:
        name = next((name for name, kind in kinds.items() if isinstance(part, kind)), "")
        if name:
            return name
        part = getattr(part, "network", None)
    return ""
