"""Comparisons that were made apart, joined without scoring anything again."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.protocol import check_same
from pushforward.evaluation.results import Comparison, ModelResult, Settings
from pushforward.evaluation.stored_pictures import with_pictures
from pushforward.files import read_whole
from pushforward.records import Damaged

__all__ = ["joined", "stored", "stored_file", "taken_apart"]

MOST = 64 << 20
"""Bytes of a file of results."""


def stored_file(path: str | Path) -> Path | None:
    """The file of stored results that a path means: a .json file, or report.json in a folder that is no run; else None."""
    place = Path(path)
    if place.is_dir():
        inside = place / "report.json"
        return inside if inside.is_file() and not (place / "spec.json").exists() else None
    return place if place.suffix.lower() == ".json" and place.is_file() else None


def stored(path: str | Path) -> Comparison:
    """Results from a file that `pushforward.Report.save` or ``--json`` wrote, with the pictures that its runs hold.

    Raises:
        CheckpointError: If it cannot be read, or holds something else.
    """
    try:
        return with_pictures(Comparison.from_json(read_whole(Path(os.path.realpath(path)), MOST)), Path(path).parent)
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}.") from error
    except Damaged as error:
        raise CheckpointError(f"{path} is damaged ({error.fault}); {_anew(Path(path))}.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _anew(path: Path) -> str:
    """How to make results again; the Markdown beside them holds the command."""
    beside = path.with_name("report.md")
    command = f", the command of which is in {beside}" if beside.is_file() else " RUN RUN, with the runs that it was about"
    return f"make it anew by pushforward compare{command}"


def taken_apart(models: Any) -> tuple[dict[str, Comparison], Any]:
    """The stored results among what is to be compared, by name, and the other models, as they were given."""
    if isinstance(models, Mapping):
        read = {str(name): result for name, model in models.items() if (result := _result(model)) is not None}
        return read, {name: model for name, model in models.items() if str(name) not in read}
    if not isinstance(models, Sequence) or isinstance(models, str):
        return {}, models
    results = [_result(model) for model in models]
    names = [f"comparison {n}" if isinstance(model, Comparison) else str(model) for n, model in enumerate(models, start=1)]
    read = {name: result for name, result in zip(names, results, strict=True) if result is not None}
    return read, [model for model, result in zip(models, results, strict=True) if result is None]


def _result(model: Any) -> Comparison | None:
    if isinstance(model, Comparison):
        return model
    file = stored_file(model) if isinstance(model, (str, Path)) else None
    return None if file is None else stored(file)


def joined(comparisons: Mapping[str, Comparison]) -> Comparison:
    """One comparison of all models of several, where all scores share a protocol.

    Models keep their scores. Models of one name are told apart by where they come from. Pictures, floors and the no-network row
    are those of the first comparison that has them.

    Args:
        comparisons: By the name that messages use, such as their file.

    Raises:
        UsageError: If protocols differ, naming the fields and both values, or there is nothing to join.
    """
    if not comparisons:
        raise UsageError("There is nothing to join: name at least one report, such as runs/a-report/report.json.")
    parts = list(comparisons.values())
    check_same([(name, part.protocol) for name, part in comparisons.items()], [part.data.name for part in parts])
    if len(parts) == 1:
        return parts[0]
    renamed = _named(comparisons)
    models = tuple(replace(model, name=name) for _, name, model in renamed)
    pictures = {name: parts[at].pictures[model.name] for at, name, model in renamed if model.name in parts[at].pictures}
    real = next((part.pictures["real"] for part in parts if "real" in part.pictures), None)
    return replace(
        parts[0],
        title=f"{', '.join(model.name for model in models)} on {parts[0].data.name}",
        created=datetime.date.today().isoformat(),
        settings=_settings(parts, renamed),
        machine={key: value for key, value in parts[0].machine.items() if all(part.machine.get(key) == value for part in parts)},
        metrics=_union([part.metrics for part in parts]),
        floors=_union([part.floors for part in parts]),
        unscored=_union([part.unscored for part in parts]),
        models=models,
        sweep={name: parts[at].sweep[model.name] for at, name, model in renamed if model.name in parts[at].sweep},
        baseline=next((part.baseline for part in parts if part.baseline is not None), None),
        further_baselines=tuple({row.name: row for part in reversed(parts) for row in part.further_baselines}.values()),
        guesses=tuple({guess.name: guess for part in parts for guess in part.guesses}.values()),
        commands=tuple(dict.fromkeys(command for part in parts for command in part.commands)),
        pictures=pictures | ({} if real is None else {"real": real}),
    )


Renamed = list[tuple[int, str, ModelResult]]
"""The number of the comparison, the new name, and the model."""


def _named(comparisons: Mapping[str, Comparison]) -> Renamed:
    every = [model.name for comparison in comparisons.values() for model in comparison.models]
    renamed: Renamed = []
    taken: set[str] = set()
    for at, (source, comparison) in enumerate(comparisons.items()):
        for model in comparison.models:
            name = model.name if every.count(model.name) == 1 else f"{model.name} ({_short(source, comparisons)})"
            if name in taken:
                raise UsageError(f'{source} holds "{model.name}" twice: name every report once.')
            taken.add(name)
            renamed.append((at, name, model))
    return renamed


def _short(source: str, sources: Iterable[str]) -> str:
    """The folder of a report.json, or the name of another file, where no other source has the same; else the source."""

    def short(path: str) -> str:
        place = Path(path)
        return place.parent.name if place.name == "report.json" else place.name.removesuffix(".json")

    return short(source) if short(source) and [short(other) for other in sources].count(short(source)) == 1 else source


def _union(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All entries; of one name the first."""
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _settings(parts: Sequence[Comparison], renamed: Renamed) -> Settings:
    """Settings with what is not the same in all parts left out; models share noise and turns of timing as each part says."""
    every = [part.settings.to_plain() for part in parts]
    same = {key: value for key, value in every[0].items() if all(other[key] == value for other in every)}
    names = {(at, model.name): name for at, name, model in renamed}

    def groups(at: int, stated: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
        for group in stated:
            yield tuple(names.get((at, name), name) for name in group)

    shared = tuple(group for at, part in enumerate(parts) for group in groups(at, part.settings.shared or ()))
    alone = [part.settings.timed or [[model.name for model in part.models]] for part in parts]
    timed = tuple(group for at, stated in enumerate(alone) for group in groups(at, stated))
    known = all(part.settings.shared is not None for part in parts)
    return replace(Settings.from_plain(same), shared=shared if known else None, timed=timed)
