"""Tensors to and from files: the one place that knows that a tensor may be sharded over processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pushforward.errors import CheckpointError
from pushforward.files import check_tensors


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all of its shards; every process must call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor: the same memory, without gradients."""
    tensor = tensor.detach()
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def by_place(numbers: Iterable[int], tensors: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of sharded tensors and those of whole ones, where there are such: no operation takes both together."""
    places: dict[bool, list[int]] = {}
    for number in numbers:
        places.setdefault(hasattr(tensors[number], "device_mesh"), []).append(number)
    return list(places.values())


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of all gradients together, a tensor of no dimension; every process must call this."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    groups = [[gradients[i] for i in numbers] for numbers in by_place(range(len(gradients)), gradients)]
    if not gradients:
        return torch.zeros(())
    norms = [whole(nn.utils.get_total_norm(group, foreach=True)) for group in groups]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A tensor, sharded as another one is."""
    if not hasattr(like, "device_mesh") or hasattr(value, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(like.device), mesh, placements, src_data_rank=None)


def restore(method: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load whole weights into a method, whether its own are sharded or not.

    Raises:
        CheckpointError: If they do not fit, with the mismatch.
    """
    current = method.state_dict()
    try:
        method.load_state_dict({name: placed(v, current[name]) if name in current else v for name, v in tensors.items()})
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"The weights of {where} do not fit the method: {first}") from error


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of whole tensors in the memory of the CPU, each by itself."""
    plain = torch.contiguous_format
    return {name: value.detach().to("cpu", copy=True, memory_format=plain) for name, value in tensors.items()}


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write whole tensors by name to a file (safetensors).

    Raises:
        OSError: If the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode  # by the umask, as that of every file; the library lets nobody else read
    try:
        save_file(_apart({name: value.detach().cpu().contiguous() for name, value in tensors.items()}), path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(mode)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    places = Counter(value.untyped_storage().data_ptr() for value in tensors.values())
    alone = {name: places[value.untyped_storage().data_ptr()] == 1 for name, value in tensors.items()}
    whole_storage = {name: value.untyped_storage().nbytes() == value.nbytes for name, value in tensors.items()}
    return {name: value if alone[name] and whole_storage[name] else value.clone() for name, value in tensors.items()}


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of a file by name, whole.

    Raises:
        OSError: If the file is missing or damaged.
        CheckpointError: If it is no regular file, or its header is damaged (`pushforward.files.check_tensors`).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_tensors(path)
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise OSError(str(error)) from error
