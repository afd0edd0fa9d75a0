"""The verbs serve and export, which make a run usable outside of this library."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pushforward.cli.options import (
    MODEL,
    OUTPUT,
    UNGUIDED,
    USE,
    ComputeOption,
    Device,
    Flag,
    Guiding,
    Json,
    Loading,
    Out,
    OutputOption,
    Overwrite,
    Plugins,
    Positive,
    Precision,
    Raw,
    Repeated,
    RunCheckpoint,
    SolverOption,
    app,
    say,
    show,
    table,
)
from pushforward.cli.sampling import configured_run, loaded_run
from pushforward.errors import UsageError
from pushforward.runtime import device_named

KEY = "PUSHFORWARD_API_KEY"


@app.command(group=USE, sort_key=8)
def serve(
    runs: Annotated[
        list[str],
        Parameter(
            group=MODEL,
            negative_iterable=(),
            help="Run folders; RUN@CHECKPOINT serves an older checkpoint.",
        ),
    ],
    *,
    host: OutputOption[str] = "127.0.0.1",
    port: OutputOption[int] = 8000,
    page: Annotated[bool, Parameter(group=OUTPUT, show_default=False)] = True,
    api_key: Annotated[str | None, Parameter(group=OUTPUT, env_var=KEY, show_env_var=False)] = None,
    allow_origin: OutputOption[Repeated] = (),
    allow_host: OutputOption[Repeated] = (),
    max_connections: OutputOption[Positive] = 1000,
    request_timeout: OutputOption[Positive] = 30,
    shutdown_timeout: OutputOption[Positive] = 30,
    raw: Raw = False,
    plugin: Plugins = (),
    device: Device = "auto",
    precision: ComputeOption[Precision] = "float32",
) -> None:
    """Serve runs over HTTP, for OpenAI clients and others.

    The paths are /v1/models, /v1/images/generations, /v1/rows, /healthz and /metrics. Requests of
    all clients share network calls, and a seed gives the same sample as `sample`. SIGTERM stops the
    server after open requests are answered. Example:
    `pushforward serve runs/digits-flow --port 8000`

    Args:
        host: Address to listen on. The default is only reachable from this machine.
        port: Port; 0 chooses a free one.
        page: Serve a page at / that runs the models in a browser. Needs the extra onnx, and some
            seconds per model at start.
        api_key: Secret that clients must send. To hide it from other users of this machine, set
            PUSHFORWARD_API_KEY instead.
        allow_origin: Web application that may call the server, such as https://app.example, or *
            for all. Can be repeated.
        allow_host: Additional host name under which the server answers without a key. Can be
            repeated.
        max_connections: Maximum number of open connections. Above it, the connection that has been
            idle longest is closed.
        request_timeout: Seconds within which a request must arrive completely.
        shutdown_timeout: Seconds to wait for open requests after SIGTERM.
        precision: Precision of network calls.
    """
    from pushforward.serving.server import LOCAL, check_installed, serve as answer

    check_installed()
    from pushforward.denoisers.denoiser import resolve_precision
    from pushforward.serving.connections import Connections
    from pushforward.training.runs.folder import checkpoint_in

    loading = Loading(raw=raw, plugin=plugin, device=device)
    served = {}
    for text in runs:
        run = loaded_run(text, loading)
        _, checkpoint = checkpoint_in(text)
        name = f"{run.name}@{checkpoint}" if checkpoint else run.name
        if name in served:
            raise UsageError(
                f"Two runs are named {name}. Rename one folder, or serve the runs separately."
            )
        served[name] = run
    if host not in LOCAL and not api_key:
        say(f"note: anyone who can reach {host} can use this server. To require a key, set {KEY}")
    if page:
        say("building the page that runs models in a browser")
    names = ", ".join(served)
    chosen = resolve_precision(precision, device_named(device))
    with contextlib.suppress(SystemExit):  # SIGTERM, which uvicorn raises again after all answers
        answer(
            served,
            host=host,
            port=port,
            key=api_key or None,
            origins=allow_origin,
            hosts=allow_host,
            connections=Connections(max_connections, request_timeout, shutdown_timeout),
            page=page,
            precision=chosen,
            ready=lambda url: say(f"{names}: {url}"),
            tell=say,
        )


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
        place = (each["solver"], each["steps"])
        worst[place] = max(worst.get(place, 0.0), each["worst"])
    if worst:
        rows = [{"solver": name, "steps": k, "difference": gap} for (name, k), gap in worst.items()]
        lines += ["", table(rows), f"largest differences from {sampler}, in standard deviations"]
    return "\n".join(lines)
