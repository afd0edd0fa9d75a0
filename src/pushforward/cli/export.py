"""The verb that writes a sampler for use elsewhere: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.options import (
    COMPUTE,
    OUTPUT,
    SOLVER,
    UNGUIDED,
    USE,
    Flag,
    Guiding,
    Json,
    Loading,
    Out,
    Overwrite,
    Plugins,
    RunFolder,
    app,
    columns,
    say,
    show,
)
from pushforward.cli.sampling import configured_run


@app.command(group=USE, sort_key=9)
def export(
    run: RunFolder,
    *,
    out: Out = None,
    overwrite: Overwrite = False,
    format: Annotated[Literal["onnx", "pt2", "html", "diffusers"], Parameter(group=OUTPUT)] = "onnx",
    half: Annotated[Flag, Parameter(group=OUTPUT)] = False,
    json: Json = False,
    solvers: Annotated[str | None, Parameter(group=SOLVER)] = None,
    steps_up_to: Annotated[int | None, Parameter(group=SOLVER)] = None,
    guiding: Guiding = UNGUIDED,
    raw: Annotated[Flag, Parameter(group=COMPUTE)] = False,
    checkpoint: Annotated[str | None, Parameter(group=COMPUTE)] = None,
    plugin: Plugins = (),
) -> None:
    """Write the sampler for use without pushforward.

    The export is compared with the sampler first (except diffusers); if they differ, nothing is written. Examples:
    `pushforward export runs/digits-flow`,
    `pushforward export runs/digits-flow --format html`

    Args:
        out: The folder to write into; default RUN/export.
        format: onnx: model.onnx, and run.py, which draws from it with numpy and onnxruntime. html: a page that runs the model.
            pt2: a program of torch.export. diffusers: a folder of diffusers.
        half: Store weights as float16 (onnx and html).
        solvers: Solvers that a user can choose, such as dpm,heun (onnx and html); default the run's own, dpm, heun and euler.
        steps_up_to: The most steps that a user can choose (onnx and html); default 50.
        raw: Use the last weights in place of their average.
        checkpoint: A checkpoint's name; default the newest.
    """
    loaded = configured_run(run, Loading(raw, checkpoint, plugin, device="cpu"), guiding=guiding)
    names = [name.strip() for name in solvers.split(",")] if solvers else []
    options = {"format": format, "solvers": names, "steps_up_to": steps_up_to, "half": half, "overwrite": overwrite}
    say(f"writing {loaded.name} as {format}{'' if format == 'diffusers' else ' and comparing it with the sampler'}")
    written = loaded.export(out, **options)
    if format in ("onnx", "html") and loaded.space.names:
        say("The export holds exact values of training rows, about 1,050 of each numeric column, the extremes among them.")
    files = [{"file": str(file), "bytes": Path(file).stat().st_size} for file in written.files]
    of = "the sampler with weights rounded" if half else "the sampler"
    show({"files": files, "distances": [vars(each) for each in written.distances]}, json, lambda result: _text(result, of))


def _text(result: dict[str, Any], of: str) -> str:
    lines = [f"{each['file']}  {each['bytes']:,} bytes" for each in result["files"]]
    worst: dict[str, dict[int, float]] = {}
    for each in result["distances"]:
        row = worst.setdefault(each["solver"] or "one call", {})
        row[each["steps"]] = max(row.get(each["steps"], 0.0), each["worst"])
    if worst:
        steps = sorted({k for row in worst.values() for k in row})
        rows = [[name, *(f"{row[k]:.0e}" if k in row else "" for k in steps)] for name, row in worst.items()]
        head = [f"difference from {of}, in standard deviations", *(f"{k} steps" if k > 1 else "1 step" for k in steps)]
        lines += ["", columns([head, *rows])]
    return "\n".join(lines)
