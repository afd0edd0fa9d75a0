"""Keyed randomness: every number drawn is a function of names and counts, never of earlier draws.

In sampling, sample i depends only on ``seed + i``. In training, neither micro-batches nor several
processes change the draws of a block of examples, and a resumed run replays exactly.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 64  # Examples that share a key in training; micro-batches and processes own whole blocks


def key(*names: int | str) -> int:
    """Compute a 64-bit number from names and counts, the same on every machine."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class _Philox:
    def __init__(self) -> None:
        self._bits = np.random.Philox(0)
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state

    def at(self, first: int, second: int, call: int) -> np.random.Generator:
        inner = self._state["state"]
        inner["key"][:] = first & 0xFFFFFFFFFFFFFFFF, second
        inner["counter"][:] = 0, 0, 0, call
        self._state |= {"buffer_pos": 4, "has_uint32": 0, "uinteger": 0}
        self._bits.state = self._state
        return self._generator


class Draws(ABC):
    """Source of random numbers: each call returns new numbers, the same for the same key."""

    n: int
    """Number of examples that one call draws for."""

    @abstractmethod
    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw standard normal numbers of shape (n, *shape), float32."""

    @abstractmethod
    def uniform(self) -> Tensor:
        """Draw uniform numbers in [0, 1) of shape (n,), float32."""

    @abstractmethod
    def stream(self, name: str) -> Draws:
        """Return an independent source for another purpose."""


class ExampleDraws(Draws):
    """Random numbers for sampling, with one seed per sample; drawn on the CPU in float32.

    Args:
        seed: Seed of the first sample, with consecutive seeds for the next; or all seeds.
        n: Number of samples; may be left out if all seeds are given.
        name: Name of the stream; different names give independent numbers.
        device: Device of the numbers, which does not affect their values.
    """

    def __init__(
        self,
        seed: int | Iterable[int],
        n: int | None = None,
        name: str = "sample",
        device: torch.device | str = "cpu",
    ) -> None:
        self.seeds: Sequence[int]
        if isinstance(seed, (int, np.integer)):
            first = int(seed)
            self.seeds = range(first, first + (1 if n is None else n))
        else:
            self.seeds = list(map(int, seed))
        assert n in (None, len(self.seeds)), "one seed per sample"
        self.n = len(self.seeds)
        self.name = name
        self.device = device
        self._stream = key("rows", name)
        self._calls = 0
        self._philox = _Philox()

    def _each(self) -> Iterator[np.random.Generator]:
        call = self._calls
        self._calls += 1
        return (self._philox.at(seed, self._stream, call) for seed in self.seeds)

    def normal(self, shape: Sequence[int]) -> Tensor:
        out = np.empty((self.n, *shape), dtype=np.float32)
        flat = out.reshape(self.n, int(np.prod(shape)))
        for sample, generator in zip(flat, self._each(), strict=True):
            generator.standard_normal(out=sample, dtype=np.float32)
        return torch.from_numpy(out).to(self.device)

    def uniform(self) -> Tensor:
        numbers = [generator.random(dtype=np.float32) for generator in self._each()]
        return torch.from_numpy(np.array(numbers, dtype=np.float32)).to(self.device)

    def stream(self, name: str) -> ExampleDraws:
        """Return a source for the same samples under another name."""
        return ExampleDraws(self.seeds, name=f"{self.name}/{name}", device=self.device)


@dataclass(eq=False)
class BlockDraws(Draws):
    """Random numbers for one training step, in blocks of `BLOCK` examples of the whole batch.

    Args:
        seed: Seed of the run.
        step: Training step.
        n: Number of examples in this micro-batch.
        start: Position of the first example in the whole batch, a multiple of `BLOCK`.
        name: Name of the stream.
        device: Device for drawing; CUDA has its own generator, so numbers differ.
    """

    seed: int
    step: int
    n: int
    start: int = 0
    name: str = "train"
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        assert self.start % BLOCK == 0, "a micro-batch must start at a multiple of the block size"
        self._calls = 0
        self._philox = _Philox()

    def _blocks(self) -> list[tuple[slice, int]]:
        call = self._calls
        self._calls += 1
        first = self.start // BLOCK
        blocks = []
        for at in range(0, self.n, BLOCK):
            word = key(self.seed, self.name, self.step, call, first + at // BLOCK)
            blocks.append((slice(at, min(at + BLOCK, self.n)), word))
        return blocks

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self._drawn(shape, "standard_normal", torch.randn)

    def uniform(self) -> Tensor:
        return self._drawn((), "random", torch.rand)

    def _drawn(self, shape: Sequence[int], distribution: str, on_device: Any) -> Tensor:
        if torch.device(self.device).type != "cpu":
            return self._on_device(on_device, shape)
        out = np.empty((self.n, *shape), dtype=np.float32)
        for block, word in self._blocks():
            draw = getattr(self._philox.at(word, 0, 0), distribution)
            draw(out=out[block], dtype=np.float32)
        return torch.from_numpy(out)

    def _on_device(self, draw: Any, shape: Sequence[int]) -> Tensor:
        parts = []
        for block, word in self._blocks():
            generator = torch.Generator(self.device).manual_seed(word >> 1)
            size = (block.stop - block.start, *shape)
            parts.append(draw(size, generator=generator, device=self.device))
        return torch.cat(parts)

    def stream(self, name: str) -> BlockDraws:
        """Return a source for the same micro-batch."""
        name = f"{self.name}/{name}"
        return BlockDraws(self.seed, self.step, self.n, self.start, name, self.device)
