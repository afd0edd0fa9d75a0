"""The samples that a run stored while it was trained, read only where they are such by their headers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np

from pushforward.data import Space
from pushforward.data.core.array_headers import array_header
from pushforward.errors import CheckpointError
from pushforward.safe_files import opened
from pushforward.training import Run
from pushforward.training.monitor.critic_landscape import SIDE

__all__ = ["MOST", "moments_of"]

MOST = 1000
"""Samples of one moment that are read at most; a run stores no more."""
_FAULTS = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def moments_of(run: Run) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Step and arrays of every ``samples/step_NNNNNN.npz`` of a run, in the order of steps.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples, or cannot be read.
    """
    named = {path: path.stem.removeprefix("step_") for path in sorted((run.folder / "samples").glob("step_*.npz"))}
    for path, number in named.items():
        if number.isascii() and number.isdecimal():
            yield int(number), _arrays(path, run.space)


def _arrays(path: Path, space: Space) -> dict[str, np.ndarray]:
    try:
        with opened(path) as file:
            _check(path, file, space)
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
    except CheckpointError:
        raise
    except _FAULTS as error:
        raise CheckpointError(f"{path} holds no samples: {error}. Delete the file; a training writes it again.") from error


def _check(path: Path, content: IO[bytes], space: Space) -> None:
    """Refuse a file of samples whose arrays are of another kind or larger, by their headers alone."""
    example = space.quantise(np.zeros((1, *space.shape), dtype=np.float32))
    expected = {"x.npy": (MOST, *example.shape[1:]), "scores.npy": (SIDE, SIDE), "limits.npy": (4,), "raw.npy": (MOST, 2)}
    with ZipFile(content) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, _, dtype = array_header(file)
            most = expected.get(member.filename, ())
            known = dtype == example.dtype if member.filename == "x.npy" else dtype.kind == "f"
            if len(shape) != len(most) or shape[1:] != most[1:] or not known or not 0 < shape[0] <= most[0]:
                raise CheckpointError(f"{path} holds {member.filename} of shape {shape} and {dtype}: expected samples.")
