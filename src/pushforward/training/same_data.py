"""The data of several processes: that all have the same, without each of them reading it twice from the disk."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from pushforward.data import Dataset
from pushforward.data.images.streamed import content_hashes

if TYPE_CHECKING:
    from pushforward.training.processes import Processes

__all__ = ["share_fingerprints"]

PAUSE = 0.1
"""Seconds between two exchanges of processes that wait for the first one."""


def share_fingerprints(data: Dataset, processes: Processes) -> None:
    """Let the first process alone read images that stay on disk again, for their fingerprints, and give them to the others.

    The others compare the hashes that their own first reading has computed. Other data are in memory, where a fingerprint costs
    little.

    Raises:
        DataError: If the processes have different data, or a file is gone.
    """
    if processes.count == 1 or not data.train.on_disk:
        return
    processes.compare({"data": _hash(data)})
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: data._fingerprints) if processes.rank == 0 else None
        # nobody waits for one exchange longer than processes may take to answer
        while not processes.agreed(reading is not None and reading.done()):
            time.sleep(PAUSE)
        known = processes.first(None if reading is None else reading.result())
    data.__dict__["_fingerprints"] = tuple(known)


def _hash(data: Dataset) -> str:
    """A hash of the examples by their own hashes, and of their conditions."""
    digest = hashlib.sha256()
    for split in (data.train, data.held_out):
        for array in (content_hashes(split.x), *split.values.values()):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
