"""The verb report: the page of a single run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pushforward.cli.groups import EVALUATION, INSPECT, MODEL, OUTPUT, Device, Json, Plugins, RunFolder
from pushforward.cli.terminal import app
from pushforward.errors import CheckpointError

__all__ = ["report"]


@app.command(group=INSPECT, sort_key=1)
def report(
    run: RunFolder,
    *,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 3,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    json: Json = False,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    device: Device = "auto",
) -> None:
    """Write the report of one run: an HTML page, Markdown and JSON.

    It shows what compare shows, for a single model. Example: `pushforward report runs/digits-flow`

    Args:
        n: Samples on either side; default as many as the held-out data allows.
        repeats: Samplings.
        out: The folder for the report; default that of the run with "-report" at its end.
    """
    from pushforward.cli.comparing import compare
    from pushforward.training.folders import free_folder

    folder = Path(run)
    if not folder.is_dir():
        raise CheckpointError(f"There is no run {run}. List runs: pushforward list runs")
    where = out or str(free_folder(None, folder.name, "report", under=folder.parent))
    compare((str(folder.resolve()),), plugin=plugin, repeats=repeats, n=n, out=where, json=json, device=device)
