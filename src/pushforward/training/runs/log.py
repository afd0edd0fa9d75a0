"""The log of a run, ``metrics.jsonl``, with one row for each step."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError, Diverged
from pushforward.files import disk, opened
from pushforward.numbers import count
from pushforward.training.checkpoint.storage import appearing, flush

if TYPE_CHECKING:
    from torch import Tensor

FLUSH = 25  # steps whose losses are held before they are checked and written
IN_A_ROW = 3  # skipped steps in a row after which a training has diverged
ADVICE = "Try a lower `lr` or `precision=float32`, or check the data with `pushforward data check`."
MARK = "skipped/"  # the prefix of the measure that marks a skipped update of a player
Reader = Callable[..., Mapping[str, Any]]
DIGITS = 5  # digits of measures that are logged, and that alarms see
BY = ("frechet", "frechet_2", "frechet_4")
"""The measures that choose the best step, equally weighted: one of them may improve while two get
worse."""
BETTER = 0.99
"""A step is better if its quality is below this fraction of the best one before; a smaller gain is
not worth a checkpoint."""


def read(path: Path) -> list[dict[str, Any]]:
    """Read the complete rows of a log; incomplete or unreadable rows are skipped."""
    return [row for _, row in _rows(_text(path))]


def cut(path: Path, step: int) -> None:
    """Remove incomplete rows and rows after a step, atomically."""
    text = _text(path)
    remaining = "".join(f"{line}\n" for line, row in _rows(text) if row["step"] <= step)
    if remaining != text:
        with appearing(path) as temporary:
            temporary.write_text(remaining, encoding="utf-8")


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to the log."""
    with disk(path), path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def last_step(path: Path) -> int:
    """Return the step of the last complete row; 0 for an empty log."""
    return max((row["step"] for row in read(path)), default=0)


def _text(path: Path) -> str:
    try:
        with opened(path) as file:
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}. Check the disk, or move the file "
            "away."
        ) from error


def _rows(text: str) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(RecursionError, ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and {"step", "loss"} <= row.keys():
                rows.append((line, row))
    return rows


def players_in(health: Mapping[str, Any] | None) -> list[str]:
    """Return the networks whose update was skipped in a step with this health."""
    return [name.removeprefix(MARK) for name in health or {} if name.startswith(MARK)]


class Skips:
    """Skipped steps of a training run, and whether there are too many."""

    count = 0
    last = 0
    _read = 0
    _row = 0  # how many of the latest steps were skipped

    def read(self, row: Mapping[str, Any]) -> str | None:
        """Read a row, and return why training has diverged, or None."""
        players = players_in(row.get("health"))
        step = row["step"]
        self._read += 1
        if not players:
            self._row = 0
            return None
        self.count += 1
        self.last = step
        self._row += 1
        if self._row < IN_A_ROW:
            return None
        what = f"the loss or gradient of the {players[0]} was not finite"
        return f"In {IN_A_ROW} steps in a row, up to step {step:,}, {what}"

    @property
    def all(self) -> bool:
        return 0 < self._read == self.count


def in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """Describe how many steps of a log were skipped."""
    steps = [row["step"] for row in rows if players_in(row.get("health"))]
    if not steps:
        return ""
    return (
        f"steps skipped because a loss or gradient was not finite: {count(len(steps))}, the first "
        f"at step {count(steps[0])}"
    )


@dataclass(frozen=True)
class Best:
    """Best step, and last measured step, with geometric means of Fréchet distances."""

    step: int
    quality: float
    last: int
    last_quality: float

    @property
    def sentence(self) -> str:
        by = "by the geometric mean of the Fréchet distances of samples in 1, 2 and 4 calls"
        if self.quality >= self.last_quality:
            return f"no step is more than 1 % better than step {self.step:,} {by}"
        ratio = self.quality / self.last_quality
        return f"step {self.step:,} is the best {by}: {ratio:.2f} times that of step {self.last:,}"


def quality(health: Mapping[str, Any] | None) -> float | None:
    """Return the geometric mean of the Fréchet distances in 1, 2 and 4 calls, or None."""
    product = 1.0
    for name in BY:
        distance = (health or {}).get(name)
        if distance is None or not math.isfinite(distance):
            return None
        product *= max(float(distance), 1e-12)
    return product ** (1 / len(BY))


def best_of(rows: Iterable[Mapping[str, Any]], best: Best | None = None) -> Best | None:
    """Return the best step in further rows of a log, or None if no step was measured."""
    for row in rows:
        measured = quality(row.get("health"))
        if measured is None:
            continue
        if best is None or measured < BETTER * best.quality:
            best = Best(row["step"], measured, row["step"], measured)
        else:
            best = replace(best, last=row["step"], last_quality=measured)
    return best


def in_numbers(measures: Sequence[dict[str, Any]]) -> None:
    """Convert tensors among the measures to numbers with one device synchronisation."""
    import torch

    places = []
    values = []
    device = torch.device("cpu")
    for held in measures:
        for name, value in held.items():
            if isinstance(value, torch.Tensor):
                places.append((held, name))
                values.append(value.detach().to(torch.float64).reshape(()))
                if value.device.type != "cpu":
                    device = value.device
    if places:
        stacked = torch.stack([value.to(device) for value in values])
        for (held, name), number in zip(places, stacked.tolist(), strict=True):
            held[name] = number
    for held in measures:
        for name, value in held.items():
            if isinstance(value, int):
                continue
            held[name] = None
            if math.isfinite(value):
                held[name] = float(f"{value:.{DIGITS}g}")


@dataclass(eq=False)
class Journal:
    """Log of a training run: rows are held, then checked, passed to readers and written.

    A reader takes a row and returns additions to the row; see `Observer.row`.
    """

    path: Path
    readers: Sequence[Reader]
    writes: bool = True

    def __post_init__(self) -> None:
        self.losses: dict[str, float] = {}
        self.skips = Skips()
        self.held: list[dict[str, Any]] = []

    def add(
        self,
        step: int,
        samples: int,
        seconds: float,
        losses: Mapping[str, Tensor],
        health: Mapping[str, Any],
    ) -> None:
        row = {"step": step, "samples": samples, "seconds": seconds, "loss": losses}
        if health:
            row["health"] = health
        self.held.append(row)

    def flush(self, last: bool = False) -> None:
        """Check and write pending rows; ``last`` if no step follows."""
        rows = self.held
        self.held = []
        for row in rows:
            losses = {player: float(loss) for player, loss in row["loss"].items()}
            row["loss"] = {player: loss for player, loss in losses.items() if math.isfinite(loss)}
        in_numbers([row["health"] for row in rows if "health" in row])
        problem = None
        for number, row in enumerate(rows):
            problem = self._read(row)
            if problem is not None:
                rows = rows[: number + 1]
                break
        if rows and self.writes:
            append(self.path, rows)
        if problem is None and last and self.skips.all:
            problem = _diverged("In every step a loss or gradient was not finite", self.skips.last)
        if problem is not None:
            raise problem

    def _read(self, row: dict[str, Any]) -> Diverged | None:
        self.losses = self.losses | row["loss"]
        for reader in self.readers:
            row |= reader(row)
        why = self.skips.read(row)
        if why is not None:
            return _diverged(why, row["step"])
        for alarm in row.get("alarm", ()):
            if alarm["kind"] == "divergence" and not alarm["over"]:
                what = f"At step {row['step']:,} {alarm['sentence']}"
                return Diverged(f"{what}. To fix it, {alarm['advice']}.", what=what)
        return None

    def cut(self, step: int) -> None:
        """Remove rows after a step, and pass the others to the readers."""
        if self.writes:
            cut(self.path, step)
        rows = [row for row in read(self.path) if row["step"] <= step]
        for row in rows:
            self.skips.read(row)
            for reader in self.readers:
                reader(row, again=True)

    def sync(self) -> None:
        """Flush written rows to disk, so that no checkpoint is ahead of the log."""
        if self.path.is_file():
            with disk(self.path):
                flush(self.path)
                flush(self.path.parent)


def _diverged(what: str, step: int) -> Diverged:
    return Diverged(f"{what}. {ADVICE}", step, what)
