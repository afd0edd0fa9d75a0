"""Frozen parts of a run: copied once into its folder, with their hashes, so that the folder is complete by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import CheckpointError
from pushforward.files import disk
from pushforward.methods.method import Method
from pushforward.training.checkpoint import tensors
from pushforward.training.checkpoint.contents import fill, seal
from pushforward.training.checkpoint.disk import sha256

_FILE = "weights.safetensors"


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
            final.mkdir(parents=True, exist_ok=True)
            fill(final, {"weights": module.state_dict()}, {"part": name})
            seal(final)
        written[name] = sha256(final / _FILE)
    return written


def read_parts(folder: Path, content: Mapping[str, Any], method: Method, device: torch.device | str = "cpu") -> None:
    """Load a method's frozen parts from a run's folder, each verified by its hash.

    Raises:
        CheckpointError: If a part is missing, damaged, or another than the run was trained with; the part is named.
    """
    hashes = content.get("parts") or {}
    for name, module in method.parts.items():
        path = folder / "parts" / name / _FILE
        try:
            if sha256(path) != hashes.get(name):
                raise ValueError("it differs from what was written (sha256)")
            module.load_state_dict(tensors.read(path, device))
        except (CheckpointError, OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The part {name} of {folder} is damaged: {path}: {str(error).splitlines()[0]}. Copy it again from where the run "
                "came from; what was trained on top of it cannot be used without it."
            ) from error
