"""torch's own generators, which dropout and new weights draw from: seeded for a moment, then left as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pushforward.draws import key


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Within this context torch's generators may be seeded: those of the CPU and of ``device`` are put back at its end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of ``device``, and no other."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def seeded(build: Callable[[], Any], seed: int) -> Any:
    """The result of ``build`` with torch's generator seeded for it; the generator's state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key(seed, "weights") >> 1)
        return build()


def generator_state(device: torch.device) -> tuple[torch.Tensor, ...]:
    """The states of the generators of the CPU and of ``device``."""
    cpu_state = (torch.default_generator.get_state(),)
    return (*cpu_state, torch.cuda.get_rng_state(device)) if device.type == "cuda" else cpu_state


def set_generator_state(state: tuple[torch.Tensor, ...], device: torch.device) -> None:
    """Take up states that `generator_state` gave."""
    torch.default_generator.set_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)
