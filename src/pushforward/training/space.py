"""Free space on the disk of a run: asked for before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import CheckpointError
from pushforward.numbers import plain

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["bytes_of", "check_space", "tight"]

COPIES = 3
"""Checkpoints that lie on the disk at once: the two that stay, and a new one until it is verified."""
LEAST = 2
"""Checkpoints for which there should be space where some are there already."""
BESIDE = 1 << 16
"""Bytes of a checkpoint beside its tensors, at most."""


def bytes_of(groups: Iterable[Mapping[str, Tensor]]) -> int:
    """Bytes of a checkpoint with these tensors, whole where they are sharded."""
    return BESIDE + sum(tensor.numel() * tensor.element_size() for group in groups for tensor in group.values())


def check_space(final: Path, needed: int) -> None:
    """Refuse to write where it cannot fit.

    Raises:
        CheckpointError: If fewer bytes are free on its disk.
    """
    free = _free(final)
    if free is not None and free < needed:
        raise CheckpointError(
            f"{final} was not written: it takes {_words(needed)}, and {_words(free)} are free on its disk. "
            "Free space or choose another `out`; what was saved before is intact."
        )


def tight(folder: Path, checkpoint: int, existing: int, samples: int) -> str | None:
    """A warning where the disk of a run may become full before its training ends; None where there is space.

    ``existing`` checkpoints of so many bytes are there, and ``samples`` bytes will be written besides.
    """
    free, needed = _free(folder), max(LEAST, COPIES - existing) * checkpoint + samples
    if free is None or free >= needed:
        return None
    return (
        f"{folder}: {_words(free)} are free on its disk, and this training may need {_words(needed)}: a checkpoint takes "
        f"{_words(checkpoint)}, two of them stay, and a new one is written beside them. Without space it stops, and goes on by "
        f"pushforward resume {folder} once there is some."
    )


def _free(path: Path) -> int | None:
    """Bytes that are free where a path is or will be; None where that is not known."""
    there = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), path)
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def _words(count: int) -> str:
    return f"{plain(count / 1e9)} GB" if count >= 1e9 else f"{plain(count / 1e6)} MB"
