"""The verb impute."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pushforward.cli.groups import (
    AS_IT_IS,
    DATA,
    NEWEST,
    OUTPUT,
    SAMPLES,
    UNGUIDED,
    USE,
    Flag,
    Guiding,
    Json,
    Loading,
    RunFolder,
    Seed,
    Solving,
)
from pushforward.cli.reading import column_names
from pushforward.cli.sampling import configured_run, precision_of
from pushforward.cli.terminal import app, say, show
from pushforward.errors import UsageError, quoted

if TYPE_CHECKING:
    from pushforward.editing.imputation import Imputed

__all__ = ["impute"]


@app.command(group=USE, sort_key=4)
def impute(
    run: RunFolder,
    table: Annotated[str, Parameter(group=DATA)],
    *,
    out: Annotated[str, Parameter(group=OUTPUT)],
    only: Annotated[str | None, Parameter(group=DATA)] = None,
    draws: Annotated[int, Parameter(group=SAMPLES)] = 1,
    seed: Seed = 0,
    solving: Solving = AS_IT_IS,
    guiding: Guiding = UNGUIDED,
    overwrite: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    json: Json = False,
    loading: Loading = NEWEST,
) -> None:
    """Fill in the missing cells of a table.

    Each row's missing cells are drawn from the model, given its other cells, again where they break a constraint of the table.
    All other cells stay byte for byte. Every gap is filled; where a gap of a column means that there is no such value, name the
    columns to fill by --only: gaps of others stay, and the model is given that these values are missing. Example:
    `pushforward impute runs/people-flow people.csv --out full.csv`

    Args:
        table: A file as training reads it, with the model's columns in any order; other columns are left alone. Without a line
            of names it has the model's columns in their order.
        only: The columns to fill, such as age,income; default all.
        out: The file to write; with several draws full-1.csv, full-2.csv, ...
        draws: How many files are drawn; how they differ shows how certain the values are.
        overwrite: Replace what is there.
    """
    loaded = configured_run(run, loading, solving, guiding)
    from pushforward.editing import impute as filled_in

    targets = _targets(Path(out), draws)
    _check(targets, Path(table), overwrite)
    with precision_of(loading), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* outside of the training rows' range")  # it is said as a note
        chosen = None if only is None else column_names(only, "--only")
        imputed = filled_in(loaded, table, only=chosen, draws=draws, seed=seed, batch=loading.batch)
    for draw, target in enumerate(targets):
        imputed.write(target, draw)
    report = _reported(imputed, chosen or ())
    show({"out": [str(target) for target in targets], "seed": seed, **report}, json, lambda r: "\n".join(r["out"]))


def _check(targets: list[Path], table: Path, overwrite: bool) -> None:
    """Refuse files that cannot be written, before anything is drawn.

    Raises:
        UsageError: Naming them.
    """
    if (table.suffix.lower() == ".parquet") != (targets[0].suffix.lower() == ".parquet"):
        raise UsageError(f"{table} and --out {targets[0]}: expected both to be Parquet files, or both files of text.")
    taken = [str(target) for target in targets if target.exists()]
    if taken and not overwrite:
        raise UsageError(f"{', '.join(taken)}: there is such a file already. Choose another --out, or add --overwrite.")


def _reported(imputed: Imputed, chosen: Sequence[str]) -> dict[str, Any]:
    """What was filled in, and which rows break constraints; said on the terminal as well.

    Args:
        imputed: The filled tables.
        chosen: The columns that were named to be filled; none where all are.
    """
    from pushforward.data.tables.imputation_io import GappyFile
    from pushforward.data.tables.parse_errors import some
    from pushforward.numbers import counted, listing
    from pushforward.transports.rejection import TURNS, named_constraints

    cells, rows = int(imputed.missing.sum()), int(imputed.missing.any(1).sum())
    columns = {f.name: int(n) for f, n in zip(imputed.space.fields, imputed.missing.sum(0), strict=True) if n}
    listed = some(f"{n:,} of {name}" for name, n in columns.items())
    say(f"filled {counted(cells, 'cell')} in {rows:,} of {counted(len(imputed.missing), 'row')}{': ' * bool(columns)}{listed}")
    if whole := [name for name in dict.fromkeys(chosen) if name not in columns]:
        say(f"note: no cell of {listing(whole)} is missing")
    if imputed.absent:
        nouns = ("columns", "their") if len(imputed.absent) > 1 else ("column", "its")
        names = some(map(quoted, imputed.absent))
        say(f"note: the table lacks the model's {nouns[0]} {names}: all {nouns[1]} cells count as missing, and none is written")
    if imputed.beyond:
        say(f"note: {imputed.beyond}")
    report: dict[str, Any] = {"cells": cells, "rows": rows, "columns": columns}
    file = imputed.source if isinstance(imputed.source, GappyFile) else None
    lines = file.numbers if file else range(len(imputed.missing))
    noun = "lines of the file" if file else "rows, counted from 0,"
    if imputed.space.constraints:
        report["drawn_again"] = imputed.drawn_again
        report |= {name: [lines[row] for row in getattr(imputed, name)] for name in ("unmet", "given_unmet")}
        say(f"{imputed.drawn_again:.1%} of the drawn rows broke {named_constraints(imputed.space)} and were drawn again")
    for broken, words in ((imputed.unmet, f"still, after {TURNS} further draws"), (imputed.given_unmet, "by the cells they had")):
        if broken:
            constraints = listing(map(quoted, imputed.broken(broken)))
            say(f"{noun} that break {constraints} {words}: {some(lines[row] for row in broken)}")
    return report


def _targets(out: Path, draws: int) -> list[Path]:
    if draws < 1:
        raise UsageError(f"--draws must be at least 1, got {draws}.")
    return [out] if draws == 1 else [out.with_name(f"{out.stem}-{draw}{out.suffix}") for draw in range(1, draws + 1)]
