"""What is left of a comparison that was interrupted: which trainings are finished, where they lie, and which command goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pushforward.cli.terminal import command, say, typed
from pushforward.numbers import listing

__all__ = ["Unfinished"]

SCORING = ("--n", "--repeats", "--features", "--device")
"""Options that the command that scores finished runs takes over, with their values."""
FLAGS = ("--json",)
"""Those without a value that it takes over."""


@dataclass(frozen=True)
class Unfinished:
    """A comparison that may be interrupted.

    Args:
        folder: Where its report and its new runs go.
        others: The models that were there before, as they were typed.
        runs: The folders of the new runs.
        plugins: The options that name the plug-ins of these.
    """

    folder: Path
    others: Sequence[str]
    runs: Sequence[Path]
    plugins: Sequence[str] = ()

    @property
    def scoring(self) -> str:
        """The command that scores all models without training again."""
        words = ["pushforward", "compare", *self.others, *map(str, self.runs), *_typed_options()]
        return shlex.join([*words, "--out", str(self.folder / "report")]) + "".join(dict.fromkeys(self.plugins))

    @contextmanager
    def trained(self) -> Iterator[None]:
        """Where training is interrupted, say what makes the report later; that each run was saved is said elsewhere."""
        try:
            yield
        except KeyboardInterrupt:
            saved = [run for run in self.runs if any(run.glob("checkpoints/step_*"))]
            say("interrupted before this step was saved")
            for run in saved:
                say(f"next: pushforward resume {shlex.quote(str(run))}")
            if len(saved) == len(self.runs):
                say(f"when all are finished, for the report: {self.scoring}")
            raise SystemExit(130) from None
        except SystemExit:
            say(f"when all are finished, for the report: {self.scoring}")
            raise

    @contextmanager
    def scored(self) -> Iterator[None]:
        """Where scoring is interrupted, say that the trainings are finished, and what scores them."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            if self.runs:
                say(f"interrupted while models were scored. {_finished(self.folder, self.runs)}")
                say(f"next, without training again: {self.scoring}")
            else:
                say(f"interrupted while models were scored; no report was written. Start again: {command()}")
            raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None


def _finished(folder: Path, runs: Sequence[Path]) -> str:
    names = listing(run.name for run in runs)
    return f"The training of {names} is finished, and the run{'s lie' if len(runs) > 1 else ' lies'} in {folder}."


def _typed_options() -> list[str]:
    """The options of `SCORING` and `FLAGS` as they were typed; models may follow them."""
    words, is_value = [], False
    for word in typed:
        option, equals, _ = word.partition("=")
        words += [word] if is_value or option in (*SCORING, *FLAGS) else []
        is_value = option in SCORING and not equals
    return words
