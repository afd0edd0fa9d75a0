"""Where tensors are computed, by name."""

from __future__ import annotations

import torch

from pushforward.errors import UsageError

__all__ = ["device_named"]


def device_named(name: torch.device | str) -> torch.device:
    """A device that can be computed on.

    Args:
        name: "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda", "cuda:1", or a device.

    Raises:
        UsageError: For a name that stands for no device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("There is no CUDA device here; use `device=cpu`.")
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, NotImplementedError, AssertionError, TypeError):  # what torch raises depends on the device
        raise UsageError(f'There is no device "{name}" to compute on here; use auto, cpu, cuda or cuda:1.') from None
