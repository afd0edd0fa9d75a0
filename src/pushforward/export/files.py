"""The files of an export: a graph, and what draws from it without this library."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import lzma
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import one_of, whole
from pushforward.conditions.columns import Numbers
from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.label import Label
from pushforward.denoisers import Autoguided, Guided, Thresholded
from pushforward.denoisers.denoiser import Predictor, guidance_range, neutral, trained_denoiser
from pushforward.denoisers.guidance import AtScale
from pushforward.draws import key
from pushforward.editing.given_data import Truncated
from pushforward.errors import PushforwardError, UsageError
from pushforward.export.onnx_file import LARGE, library, one_call_graph, stepwise_graph
from pushforward.export.parity import (
    BAR,
    LEARNED,
    Distance,
    distances,
    halved,
    program_distances,
    session,
)
from pushforward.export.program import Flows, decoder_draws, exported, noise_count
from pushforward.files import check_absent, replacing, replacing_files
from pushforward.solvers import as_solver, name_of
from pushforward.transports import Flow, Transport, has_steps, inner_of, with_inner

FORMATS = {
    "onnx": ("model.onnx", "space.json", "run.py", "rows.py"),
    "pt2": ("model.pt2",),
    "html": ("page.html",),
    "diffusers": ("model_index.json",),
}
SOLVERS = ("dpm", "heun", "euler")  # besides the model's own
MOST_STEPS = 50
LIVE_STEPS = (30, 50)  # bounds of the most steps on the page of a report or a server
LIVE_WEIGHTS = 50_000_000  # of all models on such a page
LIVE_BYTES = 5  # of such a page for each weight


class Unlike(PushforwardError):
    """Raised if an exported graph differs from its sampler; nothing is written."""

    exit_code = 1


@dataclass(frozen=True)
class Exported:
    """Written files (or the folder), and the differences between graph and sampler."""

    files: tuple[Path, ...]
    distances: tuple[Distance, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A model exported as a graph, with the content of ``space.json`` and its flows."""

    transport: Transport
    model: Any
    description: dict[str, Any]
    flows: Flows

    @property
    def content(self) -> bytes:
        """Content of the ONNX file."""
        return self.model.SerializeToString()


def export(
    transport: Transport,
    out: str | Path,
    *,
    format: str = "onnx",
    solvers: Sequence[str] = (),
    steps_up_to: int | None = None,
    half: bool = False,
    learned: Sequence[Flow] = (),
    name: str = "model",
    overwrite: bool = False,
) -> Exported:
    """Export a sampler for use without this library.

    Args:
        transport: Any model; its solver, steps and guidance are the defaults of the export.
        out: Output folder.
        format: "onnx": ``model.onnx``, the sampler for any number of examples and steps;
            ``run.py``, which needs only numpy and onnxruntime; ``space.json``; and for a table
            ``rows.py``. "html": ``page.html``, which runs the model in a browser. "pt2":
            ``model.pt2``, a program of `torch.export`. "diffusers": a folder of diffusers.
        solvers: Names of solvers to choose from, such as "dpm:3"; by default the model's own, dpm,
            heun and euler.
        steps_up_to: Maximum number of solver steps; 50 by default.
        half: Whether to store weights as float16, rounded; computations use float32.
        learned: Flows with tuned steps, offered as the solver "learned".
        name: Name of the model.
        overwrite: Whether to replace files of an earlier export.

    Raises:
        UsageError: If files exist, or the format does not support the model or an option.
        Unlike: If graph and sampler differ by more than 1e-4 standard deviations.
    """
    one_of("format", format, FORMATS)
    out = Path(out)
    for file in FORMATS[format]:
        check_absent(out / file, overwrite)
    target = out / FORMATS[format][0]
    if format in ("diffusers", "pt2") and (solvers or steps_up_to or half):
        raise UsageError(
            f"The format {format} does not support `solvers`, `steps_up_to` and `half`. Leave them "
            "out, or use onnx or html."
        )
    if format == "diffusers":
        from pushforward.interop.diffusers import to_diffusers

        to_diffusers(inner_of(transport), out)
        return Exported((out,))
    if format == "pt2":
        with replacing(target) as temporary:
            torch.export.save(exported(transport), temporary)
            program = torch.export.load(temporary).module()
            away = close_enough(program_distances(program, transport))
        return Exported((target,), away)
    way = format == "html"
    onnx_graph = graph(
        transport, solvers, steps_up_to, half=half, learned=learned, name=name, way=way
    )
    away = checked(onnx_graph)
    if format == "html":
        from pushforward.export.page import write as write_page

        write_page(target, [(onnx_graph.description, onnx_graph.content)], name)
        return Exported((target,), away)
    return Exported(_written(out, onnx_graph), away)


def graph(
    transport: Transport,
    solvers: Sequence[str] = (),
    steps_up_to: int | None = None,
    *,
    half: bool = False,
    learned: Sequence[Flow] = (),
    name: str = "model",
    way: bool = False,
) -> Graph:
    """Build the graph of a model with its description; see `export`.

    Args:
        way: Whether the graph can also return the states from noise to data.
    """
    library()
    if half:
        transport = halved(transport, LARGE)
    transport = transport.cpu().eval()
    own = inner_of(transport)
    if isinstance(own, Truncated):
        raise UsageError(
            "A truncated model cannot be exported to ONNX. Export it without `truncation`."
        )
    flows = {}
    default = {}
    if has_steps(own):
        denoiser, scale = _at_any_scale(own.denoiser)
        tuned = [*learned]
        if isinstance(own.grid, list):
            tuned.append(own)
        if steps_up_to is None:
            steps_up_to = MOST_STEPS
        flows = _flows(own, denoiser, solvers, whole("steps_up_to", steps_up_to, 1), tuned)
        solver = LEARNED if own in tuned else next(iter(flows))
        steps = min(own.steps, max(flows[solver]))
        if own in tuned:
            steps = own.steps
        default = {"solver": solver, "steps": steps}
        if scale is not None:
            default["scale"] = scale
        transport = with_inner(transport, flows[solver][steps])
        model = stepwise_graph(transport, flows, scale=scale is not None, way=way, half=half)
    elif solvers or steps_up_to is not None:
        raise UsageError(
            "This model samples in one call, without a solver. Leave out `solvers` and "
            "`steps_up_to`."
        )
    else:
        model = one_call_graph(transport, half=half)
    description = describe(transport, flows, default, name)
    model.producer_name = "pushforward"
    content = model.SerializeToString() + _compact(description)
    description["export"] = hashlib.sha256(content).hexdigest()
    facts = dict(description)
    if description["table"]:  # compressed: most of the file but for its tensors
        columns = lzma.compress(_compact(facts.pop("columns")))
        model.metadata_props.add(key="columns", value=base64.b85encode(columns))
    model.metadata_props.add(key="pushforward", value=_compact(facts))
    return Graph(transport, model, description, flows)


def checked(onnx_graph: Graph) -> tuple[Distance, ...]:
    """Measure the differences between a graph and its sampler; see `close_enough`."""
    opened = session(onnx_graph.content)
    return close_enough(distances(opened, onnx_graph.transport, onnx_graph.flows))


def close_enough(measured: Iterable[Distance]) -> tuple[Distance, ...]:
    """Return the distances of an export; raise `Unlike` if one is too large."""
    away = tuple(measured)
    for distance in away:
        if not distance.worst <= BAR:
            raise Unlike(
                f"The export differs from the sampler by {distance.worst:.1e} standard deviations "
                f"({distance.solver or 'one call'}, {distance.steps} steps), above the limit of "
                f"{BAR:g}. Nothing was written. Try other `solvers`, or another `format`."
            )
    return away


def showable(
    models: Mapping[str, Transport], tell: Callable[[str], None] | None = None
) -> list[tuple[dict[str, Any], bytes]]:
    """Export the models that a page can show, as descriptions and ONNX files.

    Args:
        models: Models by name, most important first.
        tell: Callback with a line for each model that is left out.
    """
    shown = []
    free = LIVE_WEIGHTS
    for name, transport in models.items():
        weights = sum(weight.numel() for weight in transport.parameters())
        try:
            if weights > free:
                most = LIVE_BYTES * LIVE_WEIGHTS // 10**6
                raise UsageError(
                    f"Its {weights:,} weights would make the page larger than {most} MB. "
                    "Export its own page with --format html."
                )
            made = _live(name, transport)
        except (PushforwardError, RuntimeError) as error:  # torch's, of an untraceable network
            if tell is not None:
                reason, _, _ = str(error).partition("\n")
                tell(f"{name} is not on the page: {reason}")
            continue
        free -= weights
        shown.append((made.description, made.content))
    return shown


def _live(name: str, transport: Transport) -> Graph:
    from pushforward.export.page import check

    steps = None
    inner = inner_of(transport)
    if isinstance(inner, Flow):
        least, most = LIVE_STEPS
        steps = min(max(least, inner.steps), most)
    onnx_graph = graph(copy.deepcopy(transport), (), steps, name=name, way=True)
    check(onnx_graph.description)
    checked(onnx_graph)
    return onnx_graph


def _at_any_scale(denoiser: Predictor) -> tuple[Predictor, float | None]:
    inner: Any = denoiser
    while inner is not None and not isinstance(inner, (Guided, AtScale)):
        inner = getattr(inner, "denoiser", None)
    if inner is not None:
        return denoiser, float(inner.scale)
    scales = guidance_range(denoiser)
    if scales is not None:
        return denoiser, neutral(scales)
    known = trained_denoiser(denoiser)
    free = denoiser.space.conditions and (known is None or known.unconditional)
    if free and not isinstance(denoiser, (Autoguided, Thresholded)):
        return Guided(denoiser), 1.0
    return denoiser, None


def _flows(
    own: Flow, denoiser: Predictor, names: Sequence[str], most: int, tuned: Iterable[Flow]
) -> dict[str, dict[int, Flow]]:
    usual = name_of(own.solver)
    if not names:
        names = [usual]
        if not own.solver.jumps:
            names = list(dict.fromkeys([usual, *SOLVERS]))
    flows = {}
    for name in names:
        solver = as_solver(name)
        grid = None
        if name == usual:
            solver = own.solver
            grid = own.grid if isinstance(own.grid, str) else None
        if solver.adaptive:
            raise UsageError(
                f"{name} chooses its own steps, so it cannot be stored as a table. Use other "
                "`solvers`."
            )
        flows[name] = {k: Flow(denoiser, solver, k, grid) for k in range(1, most + 1)}
    learned = {}
    for flow in tuned:
        learned[flow.steps] = Flow(denoiser, flow.solver, flow.steps, flow.grid)
    if learned:
        flows[LEARNED] = learned
    return flows


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _written(out: Path, onnx_graph: Graph) -> tuple[Path, ...]:
    description = onnx_graph.description
    entries = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in description.items()]
    about = ",\n".join(entries)
    contents = {"space.json": f"{{\n{about}\n}}\n".encode(), "model.onnx": onnx_graph.content}
    scripts = []
    if not description["source"]:
        scripts.append(Path(__file__).parent / "templates" / "run.py")
    package = Path(__file__).parents[1]
    scripts += [package / name for name in onnx_graph.transport.space.export_scripts]
    identifier = f'EXPORT = "{description["export"]}"'
    for script in scripts:
        text = script.read_text(encoding="utf-8").replace('EXPORT = ""', identifier)
        contents[script.name] = text.encode()
    with replacing_files(out) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
    return tuple(out / name for name in contents)


def describe(
    transport: Transport, flows: Flows, default: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Build the content of ``space.json``, as plain values.

    ``stream`` is the second word of the key of NumPy's Philox; the first is a sample's seed, and
    the last word of the counter is the number of the draw. ``draws`` are the noise tensors besides
    z by solver and steps.
    """
    space = transport.space
    inner = inner_of(transport)
    draws: Any = {}
    most = None
    for solver, several in flows.items():
        draws[solver] = {str(steps): noise_count(flow) for steps, flow in several.items()}
        most = max(most or 0, *several)
    if not flows:
        draws = noise_count(transport)
    scales = None
    if isinstance(inner, Flow):
        scales = guidance_range(inner.denoiser)
    layout = space.export_layout()
    return {
        "name": name,
        "data": space.noun,
        "shape": list(space.shape),
        "noise": list(transport.noise_shape),
        "noise_of_draws": list(inner.space.shape),
        "stream": str(key("rows", "sample")),
        "decoder_stream": str(key("rows", "sample/decoder")) if decoder_draws(transport) else None,
        "draws": draws,
        "most": most,
        "source": getattr(inner, "source", None) is not None,
        "scales": scales,
        "conditions": [_condition(name, kind) for name, kind in space.conditions.items()],
        "default": dict(default),
        "columns": layout["columns"],
        "table": layout["table"],
        "bounds": [space.low, space.high],
        "units": layout["units"],
    }


def _condition(name: str, kind: ConditionKind) -> dict[str, Any]:
    blank = kind.blank(1, "cpu")[0]
    known = {
        "name": name,
        "kind": type(kind).__name__.lower(),
        "type": str(blank.dtype).removeprefix("torch."),
        "usual": blank.tolist(),
    }
    if isinstance(kind, Label):
        return known | {
            "usual": None,
            "names": list(kind.names),
            "ends": np.cumsum(kind.frequencies).tolist(),
            "stream": str(key("rows", "label")),
        }
    if isinstance(kind, Numbers):
        known["usual"] = list(kind.mean)
    return known | {"columns": list(kind.entries), "std": list(getattr(kind, "std", ()))}
