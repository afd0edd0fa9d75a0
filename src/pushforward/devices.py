"""Where tensors are computed, by name, and how they lie there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pushforward.environment import launched
from pushforward.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

_Module = TypeVar("_Module", bound="nn.Module")


def device_named(name: torch.device | str) -> torch.device:
    """A device that can be computed on.

    Args:
        name: "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda", "cuda:1", or a device. Of several processes
            on a machine, each has the CUDA device of its number there.

    Raises:
        UsageError: For a name that is no device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("There is no CUDA device here; use `device=cpu`.")
    if str(name) == "cuda" and (launch := launched()).count > 1:
        name = f"cuda:{launch.local_rank}"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, NotImplementedError, AssertionError, TypeError):  # the type of torch's error depends on the device
        raise UsageError(f'There is no device "{name}" to compute on here; use auto, cpu, cuda or cuda:1.') from None


def laid_out(module: _Module, memory_format: torch.memory_format) -> _Module:
    """The module, with those of its parameters and buffers that have as many sides as the memory format needs brought to it.

    `torch.nn.Module.to` refuses channels_last for a module that has kernels of a three-dimensional convolution as well.

    Args:
        module: Changed in place.
        memory_format: ``torch.contiguous_format`` changes nothing.
    """
    import torch

    sides = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format)
    if sides is None:
        return module
    return module._apply(lambda tensor: tensor.to(memory_format=memory_format) if tensor.dim() == sides else tensor)
