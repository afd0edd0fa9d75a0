"""A comparison as one self-contained HTML page, as Markdown and as JSON.

Format of report.json, ``format_version`` 1
-------------------------------------------
Plain JSON. Every field may be missing or null, and then the page leaves out what it cannot say. Numbers that are not
finite are null. Unknown fields are kept and not shown.

* ``format_version``: 1.
* ``title``: heading of the page. ``created``: ISO date.
* ``data``: name; shape (list); kind ("image" or "vector"); classes (names); columns (names of a vector's numbers);
  train, held_out (counts); fingerprint (sha256 hex).
* ``settings``: n (samples on either side); repeats (samplings); seeds (trainings); budget (words); k (neighbours);
  features (words); shared: groups of entrants' names (a list of lists) whose sample grids start from the same noise;
  or "noise" where all do, "seeds" where none does.
* ``machine``: any names and values, shown as they are.
* ``metrics``, by name: label; better ("lower", "higher", "target"); target (number; null means the floor); what (one
  sentence); floor {mean, spread}: what real data scores against real data; baseline {name, mean, spread}: what a guess without
  a model scores, for bits per dimension.
* ``unscored``, by metric: the sentence that says why nobody has this score.
* ``entrants``: list, in the order of the page; see below.
* ``baseline``: name and scores of the no-network row.
* ``commands``: command lines that make the comparison.

An entrant has

* ``name`` (unique); ``family`` and ``method`` (words; they choose the caption of the losses); ``conditioned`` (bool);
  ``run`` (folder); ``seed``;
* ``parameters`` (of what samples); ``other_parameters`` (by name, such as a critic);
* ``training``: seconds, steps, samples, precision, batch, samples_per_second, memory_mb (the most that a step holds in tensors,
  weights, their average and optimiser states included; null where it cannot be measured);
* ``sampling``: solver, steps, calls, seconds_per_sample (lower quartile over turns), timing {batch, low (fastest turn), high
  (median), values (each turn)}, flops_per_sample, memory {mb (the most held in tensors, weights included), batch};
* ``scores``, by metric: mean, spread (over repeats, or null), values (list), ratio (mean over the floor, or null where
  the floor is too near zero to divide by);
* ``curve``: list of {calls, steps, frechet, coverage};
* ``trajectory``, null for models of one call (`pushforward.evaluation.trajectories`): rows (trajectories measured);
  straightness; npe (null for images and vectors of many columns); loss_by_level: list of {log_snr, error, spread}, from data
  to noise;
* ``losses``, by player: step (list), value (list);
* ``health``, where something was measured while it trained: modes (how many there are, null where that is not known) and
  series, by measure (modes_held, bridges, spread, coverage, frechet, critic_accuracy, logit_gap, ...): step (list), value (list);
* ``alarms``: list of {kind, step, value, threshold, sentence, advice, over}, the last true where an alarm ends; and training,
  its name, where several are one entrant;
* ``coding``, of a model with codes (`pushforward.evaluation.codes`): reconstruction {n, explained, feature_distance, psnr, ssim}
  and code {n, units, active, kl, mismatch, by_unit}, the last null for codes without variances;
* ``label_agreement``: share of samples that a classifier recognises as the class they were asked to be; the settings'
  classifier_accuracy is the same of held-out data;
* ``modes``: mass (list, one share of all samples for each mode);
* ``warnings`` (sentences) and ``commands`` (command lines);
* ``trainings``, where several trainings of one recipe are one entrant (`pushforward.report.pool`): each of them, with
  name, seed, run, scores, training, sampling. Scores are then means over trainings, spread is that over trainings or over
  samplings, the greater; numbers of the trajectory are means as well; pictures, losses over training, health and curve are
  those of the first training; alarms are those of all.

Pictures are arrays and not part of the JSON: by entrant name, and under "real", a dict with ``grid`` (uint8 (n, height,
width, channels), or float (n, d)), ``training``: list of (step, grid), ``formation``: list of (t, grid) from noise
to data, or None for models that need one call, ``paths``: trajectories of points in the plane, float (n, steps + 1, 2)
from noise to data in data units, or None, ``landscapes``: list of (step, the arrays of
`pushforward.training.landscape`), and ``codes``: the arrays of `pushforward.evaluation.coded`, or None.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError, UsageError

__all__ = ["FORMAT", "Report", "strict"]

FORMAT = 1


class Report:
    """What a comparison found, and the pictures that go with it.

    Args:
        content: Plain data in the format that this module describes.
        pictures: Arrays by entrant name, and under "real".
    """

    def __init__(self, content: Mapping[str, Any], pictures: Mapping[str, Any] | None = None) -> None:
        self.content: dict[str, Any] = strict(content)
        self.pictures: dict[str, Any] = dict(pictures or {})

    def __str__(self) -> str:
        """The text for a terminal."""
        return self.to_text()

    def __repr__(self) -> str:
        """The title."""
        return f"Report({str(self.content.get('title') or '')!r})"

    @property
    def verdict(self) -> list[str]:
        """The findings in words."""
        from pushforward.report.words import verdict

        return [one.text for one in verdict(self.content)]

    def to_json(self) -> str:
        """The content as strict JSON."""
        return json.dumps(self.content, allow_nan=False, ensure_ascii=False, indent=1) + "\n"

    def to_markdown(self) -> str:
        """Verdict, scores, cost, limits and commands."""
        from pushforward.report.markdown import markdown

        return markdown(self.content)

    def to_text(self) -> str:
        """Verdict and scores as plain text for a terminal."""
        from pushforward.report.text import text

        return text(self.content)

    def to_html(self) -> str:
        """The whole page; it loads nothing from anywhere."""
        from pushforward.report.page import page

        return page(self.content, self.pictures)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one file, whole or not at all.

        Args:
            path: Ends in .html, .json or .md.

        Raises:
            UsageError: For another ending.
            CheckpointError: If the disk refuses; what was there stays.
        """
        target = Path(path)
        makers = {".html": self.to_html, ".json": self.to_json, ".md": self.to_markdown}
        if target.suffix.lower() not in makers:
            raise UsageError(f'A report is written as .html, .json or .md; "{target.name}" has another ending.')
        _write({target: makers[target.suffix.lower()]()})
        return target

    def save_all(self, folder: str | os.PathLike[str]) -> Path:
        """Write report.html, report.json and report.md into a folder, and return it.

        Raises:
            CheckpointError: If the disk refuses; what was there stays.
        """
        where = Path(folder)
        made = {"report.json": self.to_json(), "report.md": self.to_markdown(), "report.html": self.to_html()}
        _write({where / name: text for name, text in made.items()})
        return where


def _write(files: Mapping[Path, str]) -> None:
    """All files under temporary names first, then one rename each."""
    temporary = {target: target.with_name(f".tmp-{os.getpid()}-{target.name}") for target in files}
    try:
        for target, text in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary[target].open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for target in files:
            os.replace(temporary[target], target)
    except OSError as error:
        name = listing_of(files)
        raise CheckpointError(
            f"{name} could not be written: {error.strerror or error}. Free some space or choose another folder."
        ) from error
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def listing_of(files: Mapping[Path, str]) -> str:
    """The files of a message."""
    return ", ".join(str(one) for one in files)


def strict(value: Any) -> Any:
    """Plain JSON data: numpy numbers and arrays become Python's, tuples lists, what is not finite null.

    Raises:
        TypeError: For objects that JSON has no word for.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # file names may hold half a surrogate pair
    if isinstance(value, Mapping):
        return {str(key): strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"A report holds plain data; {type(value).__name__} is not.")
