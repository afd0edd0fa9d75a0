"""The verb report: the page of a single run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pushforward.cli.early import check_features, check_numbers
from pushforward.cli.groups import EVALUATION, INSPECT, MODEL, OUTPUT, Device, Features, Full, Json, Plugins, RunFolder
from pushforward.cli.parsing import device_of, load_plugins
from pushforward.cli.terminal import app, command, say, show
from pushforward.errors import RunUsageError

__all__ = ["report"]


@app.command(group=INSPECT, sort_key=1)
def report(
    run: RunFolder,
    *,
    n: Annotated[int | None, Parameter(group=EVALUATION)] = None,
    repeats: Annotated[int, Parameter(group=EVALUATION)] = 5,
    features: Features = None,
    out: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    json: Json = False,
    full: Full = False,
    plugin: Annotated[Plugins, Parameter(group=MODEL)] = (),
    device: Device = "auto",
) -> None:
    """Write the report of one run: an HTML page, Markdown and JSON.

    It shows what `compare` shows, for a single model. Example: `pushforward report runs/digits-flow`

    Args:
        n: How many samples are compared with as many held-out examples; default as many as the data allows.
        repeats: How often the model is sampled and scored.
        out: The folder for the report; default that of the run with "-report" at its end.
    """
    folder = Path(run)
    if not folder.is_dir():
        from pushforward.training.runs.folder import run_suggestion

        raise RunUsageError(f"There is no run {run}.{run_suggestion(folder)} List runs: pushforward list runs")
    check_numbers(n, repeats)
    check_features(features, plugin)
    from pushforward.evaluation.comparison import compare
    from pushforward.report import Report
    from pushforward.training import load
    from pushforward.training.runs.folder import free_folder

    where = free_folder(out, folder.name, "report", under=folder.parent)
    load_plugins(plugin, [run])
    model = load(folder, plugins=plugin, device=device_of(device))
    say("measuring: features, floors, scores, cost")
    page = Report(compare([model], n=n, repeats=repeats, features=features, commands=[command()], tell=say))
    page.save_all(where)
    show(page.comparison.to_plain() if json else None, json, lambda _: f"{page.to_text(full)}\n\n{where}/report.html")
