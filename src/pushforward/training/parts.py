"""Frozen parts of a run: copied once into its folder, with their hashes, so that the folder is complete by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import CheckpointError
from pushforward.methods.method import Method
from pushforward.safe_files import check_tensors
from pushforward.training import checkpoint as checkpoints
from pushforward.training import tensors
from pushforward.training.claiming import note
from pushforward.training.disk import disk

__all__ = ["adopt", "read_parts", "write_parts"]

_FILE = "weights.safetensors"
_FILES = (_FILE, "state.json", "MANIFEST.json")


def write_parts(folder: Path, method: Method) -> dict[str, str]:
    """Copy a method's frozen parts to ``folder/parts/NAME/``.

    Returns:
        The sha256 of each part's weights, by name.

    Raises:
        CheckpointError: If the disk refuses.
    """
    written = {}
    for name, module in method.parts.items():
        final = folder / "parts" / name
        with disk(final):
            note(folder, *(f"parts/{name}/{file}" for file in _FILES))
            final.mkdir(parents=True)
            checkpoints.fill(final, {"weights": module.state_dict()}, {"part": name})
            checkpoints.seal(final)
        written[name] = checkpoints.sha256(final / _FILE)
    return written


def read_parts(folder: Path, content: Mapping[str, Any], method: Method, device: torch.device | str = "cpu") -> None:
    """Load a method's frozen parts from a run's folder, each verified by its hash.

    Raises:
        CheckpointError: If a part is missing, damaged, or another than the run was trained with; the part is named.
    """
    hashes = content.get("parts") or {}
    for name, module in method.parts.items():
        path = folder / "parts" / name / _FILE
        if name not in hashes:
            raise CheckpointError(
                f"{folder}/spec.json is damaged: it does not say the hash of the part {name}. Restore the file."
            )
        if not path.is_file():
            raise _damaged(folder, name, f"{path} is missing")
        try:
            check_tensors(path)
        except CheckpointError as error:
            raise _damaged(folder, name, str(error)) from error
        if checkpoints.sha256(path) != hashes[name]:
            raise _damaged(folder, name, f"{path} differs from what was written (sha256)")
        try:
            module.load_state_dict(tensors.read(path, device))
        except (OSError, RuntimeError) as error:
            raise _damaged(folder, name, f"{path} does not fit ({str(error).splitlines()[0]})") from error


def _damaged(folder: Path, name: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"The part {name} of {folder} is damaged: {why}. Copy {folder}/parts/{name} again from where the run came from; what was "
        "trained on top of it cannot be used without it."
    )


def adopt(method: Method, parts: Mapping[str, torch.nn.Module]) -> None:
    """Give a method that was built again the weights of another one's frozen parts."""
    for name, module in method.parts.items():
        module.load_state_dict(parts[name].state_dict())
