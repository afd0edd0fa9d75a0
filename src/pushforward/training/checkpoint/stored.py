"""A checkpoint that is stored: verified and read, whole or from its shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.files import read_json
from pushforward.training.checkpoint.integrity import MANIFEST, damaged, read_state
from pushforward.training.checkpoint.shards import has_shards
from pushforward.training.checkpoint.shards import read as read_shards
from pushforward.training.checkpoint.tensors import read


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, verified and read.

    Args:
        folder: Where it lies.
        tensors: Per file, the tensors by name; of a sharded one that each process reads for itself, none.
        state: The counters.
    """

    folder: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """The method's tensors by name: averaged where the method has an average of them, or the last ones."""
        return self.tensors["method"] if raw else self.tensors["method"] | self.tensors["average"]


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Verify and read a checkpoint.

    Raises:
        CheckpointError: If anything is missing or differs from its hash.
    """
    state = read_state(folder)
    try:
        listed = sorted(name for name in read_json(folder / MANIFEST)["files"] if name.endswith(".safetensors"))
        if has_shards(folder):
            return Checkpoint(folder, read_shards(folder, listed, device), state)
        return Checkpoint(folder, {Path(name).stem: read(folder / name, device) for name in listed}, state)
    except OSError as error:
        raise damaged(folder, "a weights file", f"cannot be read ({error})") from error
