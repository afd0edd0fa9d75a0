"""How OpenMP's threads wait for each other: chosen when pushforward is imported, which must come before torch.

Between two parallel parts of a computation GNU OpenMP's threads spin, by default for some milliseconds, so that the next part
starts at once. Where other processes want the same cores, threads that spin hold the cores for which other threads wait.
"""

from __future__ import annotations

import os
import sys

__all__ = ["SPINS", "choose", "report"]

SPINS = "2000"
"""Rounds of spinning before a thread sleeps, GOMP_SPINCOUNT; the library's own default is 300,000 (benchmarks/threads.py)."""
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""With any of them set, the user has chosen."""

_too_late = _chosen = False


def choose() -> None:
    """Set GOMP_SPINCOUNT where the user has set none of `VARIABLES` and torch, which reads it once, has not been imported.

    Child processes inherit it. Other OpenMP libraries, such as macOS's, do not read it.
    """
    global _too_late, _chosen
    if any(name in os.environ for name in VARIABLES):
        return
    _too_late = "torch" in sys.modules
    if not _too_late:
        os.environ["GOMP_SPINCOUNT"] = SPINS
        _chosen = True


def report() -> str:
    """The choice and its origin, in words."""
    if _too_late:
        return (
            "OpenMP's default, which is slow beside other processes: torch was imported before pushforward. "
            f"Import pushforward first, or set GOMP_SPINCOUNT={SPINS} before Python starts."
        )
    present = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    return f"{present} ({'set by pushforward' if _chosen else 'from the environment'})" if present else "OpenMP's default"
