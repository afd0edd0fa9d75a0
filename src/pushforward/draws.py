"""Keyed randomness: every number drawn is a function of names and counts, never of what was drawn before elsewhere.

Sampling gives each row a stream of its own (`ExampleDraws`): row i depends on ``seed + i`` alone, so a batch of eight and eight
batches of one agree. Training draws in fixed blocks of rows (`BlockDraws`), each keyed by seed, stream, step, call and block, so
neither micro-batches nor several processes change what is drawn, and a resumed run replays exactly.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["BLOCK", "BlockDraws", "Draws", "ExampleDraws", "key"]

BLOCK = 64
"""Rows that share a key in training; micro-batches and processes own whole blocks."""


def key(*names: int | str) -> int:
    """A 64-bit number from a sequence of names and counts, the same on every machine."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class _Philox:
    """NumPy's Philox, set to a key and a counter again and again: several times cheaper than a new generator a row."""

    def __init__(self) -> None:
        self._bits = np.random.Philox(0)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = self._bits.state

    def at(self, first: int, second: int, call: int) -> np.random.Generator:
        inner = self._state["state"]
        inner["key"][:] = first & 0xFFFFFFFFFFFFFFFF, second
        inner["counter"][:] = 0, 0, 0, call
        self._state |= {"buffer_pos": 4, "has_uint32": 0, "uinteger": 0}
        self._bits.state = self._state
        return self._generator


class Draws(ABC):
    """A source of random examples; each call gives fresh numbers, and two sources with the same key give the same ones."""

    rows: int
    """How many rows one call draws."""

    @abstractmethod
    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of shape (rows, *shape), float32."""

    @abstractmethod
    def uniform(self) -> Tensor:
        """Numbers in [0, 1) of shape (rows,), float32."""

    @abstractmethod
    def stream(self, name: str, every: int = 1) -> Draws:
        """An independent source for another purpose; in training it changes only once in ``every`` steps."""


class ExampleDraws(Draws):
    """Draws for sampling: each row comes from its own seed alone, made on the CPU in float32 and then moved.

    Args:
        seed: The seed of the first row, whose followers have the next ones; or the seeds of all rows.
        rows: The number of rows; for seeds of all rows it may be left out.
        name: The stream; different names give independent numbers.
        device: Where the numbers are needed. It does not change them.
    """

    def __init__(
        self,
        seed: int | Iterable[int],
        rows: int | None = None,
        name: str = "sample",
        device: torch.device | str = "cpu",
    ) -> None:
        self.seeds: Sequence[int] = _consecutive(int(seed), rows) if isinstance(seed, (int, np.integer)) else [*map(int, seed)]
        assert rows in (None, len(self.seeds)), "one seed for each row"
        self.rows, self.name, self.device = len(self.seeds), name, device
        self._stream, self._calls, self._philox = key("rows", name), 0, _Philox()

    def _each(self) -> Iterator[np.random.Generator]:
        call, self._calls = self._calls, self._calls + 1
        return (self._philox.at(seed, self._stream, call) for seed in self.seeds)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of shape (rows, *shape), float32."""
        out = np.empty((self.rows, *shape), dtype=np.float32)
        flat = out.reshape(self.rows, int(np.prod(shape)))
        for row, generator in zip(flat, self._each(), strict=True):
            generator.standard_normal(out=row, dtype=np.float32)
        return torch.from_numpy(out).to(self.device)

    def uniform(self) -> Tensor:
        """Numbers in [0, 1) of shape (rows,), float32."""
        numbers = [generator.random(dtype=np.float32) for generator in self._each()]
        return torch.from_numpy(np.array(numbers, dtype=np.float32)).to(self.device)

    def stream(self, name: str, every: int = 1) -> ExampleDraws:
        """The same rows under another name; ``every`` has no meaning where there are no steps."""
        return ExampleDraws(self.seeds, name=f"{self.name}/{name}", device=self.device)


def _consecutive(seed: int, rows: int | None) -> range:
    return range(seed, seed + (1 if rows is None else rows))


class BlockDraws(Draws):
    """Draws for one training step, in blocks of `BLOCK` rows of the whole batch.

    Args:
        seed: The run's seed.
        step: The training step.
        rows: How many rows this part of the batch has.
        start: The position of its first row in the whole batch; a multiple of `BLOCK`.
        name: The stream.
        device: Where the numbers are drawn (CUDA has a generator of its own, so devices differ from each other).
    """

    def __init__(
        self, seed: int, step: int, rows: int, start: int = 0, name: str = "train", device: torch.device | str = "cpu"
    ) -> None:
        assert start % BLOCK == 0, "a part of a batch starts at a whole block"
        self.seed, self.step, self.rows, self.start, self.name, self.device = seed, step, rows, start, name, device
        self._calls, self._philox = 0, _Philox()

    def _blocks(self) -> list[tuple[slice, int]]:
        call, self._calls = self._calls, self._calls + 1
        first = self.start // BLOCK
        return [
            (slice(at, min(at + BLOCK, self.rows)), key(self.seed, self.name, self.step, call, first + at // BLOCK))
            for at in range(0, self.rows, BLOCK)
        ]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of shape (rows, *shape), float32."""
        if torch.device(self.device).type != "cpu":
            return self._on_device(torch.randn, shape)
        out = np.empty((self.rows, *shape), dtype=np.float32)
        for rows, word in self._blocks():
            self._philox.at(word, 0, 0).standard_normal(out=out[rows], dtype=np.float32)
        return torch.from_numpy(out)

    def uniform(self) -> Tensor:
        """Numbers in [0, 1) of shape (rows,), float32."""
        if torch.device(self.device).type != "cpu":
            return self._on_device(torch.rand, ())
        out = np.empty(self.rows, dtype=np.float32)
        for rows, word in self._blocks():
            self._philox.at(word, 0, 0).random(out=out[rows], dtype=np.float32)
        return torch.from_numpy(out)

    def _on_device(self, draw: object, shape: Sequence[int]) -> Tensor:
        parts = []
        for rows, word in self._blocks():
            generator = torch.Generator(self.device).manual_seed(word >> 1)
            parts.append(draw((rows.stop - rows.start, *shape), generator=generator, device=self.device))  # type: ignore[operator]
        return torch.cat(parts)

    def stream(self, name: str, every: int = 1) -> BlockDraws:
        """The same part of the batch under another name, constant over runs of ``every`` steps."""
        step = self.step // every
        return BlockDraws(self.seed, step, self.rows, self.start, f"{self.name}/{name}", self.device)
