"""The verb export, which writes a sampler for use without this library."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pushforward.cli.options import (
    UNGUIDED,
    USE,
    Flag,
    Guiding,
    Json,
    Loading,
    Out,
    OutputOption,
    Overwrite,
    Plugins,
    Raw,
    RunCheckpoint,
    SolverOption,
    app,
    columns,
    say,
    show,
)
from pushforward.cli.sampling import configured_run
from pushforward.numbers import counted


@app.command(group=USE, sort_key=9)
def export(
    run: RunCheckpoint,
    *,
    out: Out = None,
    overwrite: Overwrite = False,
    format: OutputOption[Literal["onnx", "pt2", "html", "diffusers"]] = "onnx",
    half: OutputOption[Flag] = False,
    json: Json = False,
    solvers: SolverOption[str | None] = None,
    steps_up_to: SolverOption[int | None] = None,
    guiding: Guiding = UNGUIDED,
    raw: Raw = False,
    plugin: Plugins = (),
) -> None:
    """Export the sampler for use without pushforward.

    Nothing is written if the export's samples differ from the run's (not checked for
    diffusers). Examples:
    `pushforward export runs/digits-flow`,
    `pushforward export runs/digits-flow --format html`

    Args:
        out: Output folder. Default: RUN/export.
        format: onnx writes model.onnx and run.py, which samples with numpy and onnxruntime; html
            writes a page that runs the model in a browser; pt2 writes a torch.export program;
            diffusers writes a pipeline folder.
        half: Store weights as float16 (onnx and html).
        solvers: Solvers to choose from, such as dpm,heun (onnx and html). Default: the run's own,
            dpm, heun and euler.
        steps_up_to: Maximum number of steps (onnx and html). Default: 50.
    """
    loaded = configured_run(run, Loading(raw, plugin, device="cpu"), guiding=guiding)
    names = [name.strip() for name in solvers.split(",")] if solvers else []
    compared = "" if format == "diffusers" else " and comparing it with the sampler"
    say(f"writing {loaded.name} as {format}{compared}")
    written = loaded.export(
        out,
        format=format,
        solvers=names,
        steps_up_to=steps_up_to,
        half=half,
        overwrite=overwrite,
    )
    if format in ("onnx", "html") and loaded.space.names:
        say(
            "note: the export contains about 1,050 exact training values per numeric column, "
            "including the extremes."
        )
    files = [{"file": str(file), "bytes": Path(file).stat().st_size} for file in written.files]
    distances = [vars(each) for each in written.distances]
    sampler = "the sampler with rounded weights" if half else "the sampler"
    show({"files": files, "distances": distances}, json, lambda result: _text(result, sampler))


def _text(result: dict[str, Any], sampler: str) -> str:
    lines = [f"{each['file']}  {each['bytes']:,} bytes" for each in result["files"]]
    worst: dict[tuple[str, int], float] = {}
    for each in result["distances"]:
        place = (each["solver"] or "one call", each["steps"])
        worst[place] = max(worst.get(place, 0.0), each["worst"])
    if worst:
        lines += ["", f"largest difference from {sampler}, in standard deviations"]
        rows = [[name, counted(k, "step"), f"{gap:.0e}"] for (name, k), gap in worst.items()]
        lines.append(columns(rows))
    return "\n".join(lines)
