"""A sampler as one ONNX graph: a loop over the rows of a solver table, chosen by solver and steps.

Inputs are ``z``, the conditions, ``scale`` (n,), ``steps`` and ``solver`` without axes, ``noise``
(draws, n, *shape) and ``decoder_noise`` (n, *shape); the output is ``x`` in data units.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import SCALE
from pushforward.errors import UsageError, imported
from pushforward.export.dense_program import Dense, RowLayout, dense
from pushforward.export.program import End, Flows, Sampler, TableRow, inputs_of, traced
from pushforward.transports import Flow, Transport, inner_of

OPSET = 20
IR = 10
_DOMAIN = "pushforward"
LARGE = 64  # numbers of a weight from which it can be stored as float16
# An index that Gather refuses. The table of two labels is [0, 1, _MISSING], so the labels 2 and -1
# (the last entry) find it, and the next Gather fails
_MISSING = 1 << 40

_START = """
  solver_number = Max (solver, before_first)
  steps_number = Max (steps, before_first)
  of_solver = Gather (numbers, solver_number)
  number = Gather (of_solver, steps_number)
  start = Gather (starts, number)
  first = Gather (firsts, number)
  count = Gather (counts, number)
"""
_FIRST_NOISE = """
  drawn = Gather (first_draws, number)
  begin_noise = Gather (noise, drawn)
  zs = Unsqueeze (z, zeros)
  drawn_at_first = Concat <axis = 0> (zs, begin_noise)
"""
_NO_FIRST_NOISE = """
  zs = Unsqueeze (z, zeros)
  drawn_at_first = Identity (zs)
"""
_ROW_NOISE = """
    row_drawn = Gather (draws, at)
    row_noise = Gather (noise, row_drawn)
"""
_LAST_STATE = """
  states = Identity (last)
"""
_ALL_STATES = """
  earlier_count = Mul (way, count)
  earlier_end = Reshape (earlier_count, ones)
  earlier = Slice (way_states, zeros, earlier_end, zeros)
  states = Concat <axis = 0> (earlier, last)
"""
_KNOWN_LABEL = """
  label_number = Max (label, before_first)
  label_found = Gather (label_classes, label_number)
  label_known = Gather (label_classes, label_found)
  label_rows = Reshape (label_known, rows_of_z)
"""


def library() -> Any:
    """Import the module onnx.

    Raises:
        MissingExtra: If onnx, onnxscript or onnxruntime is not installed.
    """
    module = None
    for name in ("onnxscript", "onnxruntime", "onnx.inliner", "onnx.parser", "onnx"):
        module = imported(name, "ONNX files need onnx, onnxscript and onnxruntime", "onnx")
    return module


def one_call_graph(transport: Transport, *, half: bool = False) -> Any:
    """Build the graph of a one-call model, as a ModelProto."""
    inputs = inputs_of(transport)
    sampler = _convert("Sampler", Sampler(transport), inputs, {"noise": ("", "n")}, ["x"], half)
    names = _names(inputs)
    lines, tables, arguments = _checked_conditions(transport.space, names)
    lines += f"  x = {_DOMAIN}.Sampler ({', '.join(arguments)})\n"
    return _assemble([sampler], names, lines, tables, {"x": ["n", *transport.space.shape]})


def stepwise_graph(
    transport: Transport,
    flows: Flows,
    *,
    scale: bool = False,
    way: bool = False,
    half: bool = False,
) -> Any:
    """Build the graph of a flow, possibly in a latent space, as a ModelProto.

    Args:
        transport: Model; its flow has the denoiser of all flows.
        flows: Flows by solver and number of steps.
        scale: Whether there is an input for guidance scales.
        way: Whether there is an input ``way``; with 1, x also contains the state at each network
            call.
        half: Whether to store weights as float16 if that is exact.
    """
    tables = [dense(flow.program) for several in flows.values() for flow in several.values()]
    kind = tables[0].kind
    if any((table.kind == "jump") != (kind == "jump") for table in tables):
        raise UsageError(
            f"The solvers {', '.join(flows)} call a flow map in two ways. Export jump separately."
        )
    layout = RowLayout.of(tables)
    flow = inner_of(transport)
    assert isinstance(flow, Flow)
    inputs = inputs_of(transport, noises=layout.noises, scale=scale)
    condition = {"condition": inputs["condition"]}
    noise = {"noise": inputs["noise"]}
    decoder_noise = {"decoder_noise": inputs["decoder_noise"]}
    state_shape = inputs["z"].shape
    slots = torch.randn(layout.slots, *state_shape)
    states = torch.randn(2 if way else 1, *state_shape)
    axes: dict[str, Sequence[str]] = {
        "noise": ("", "n"),
        "slots": ("", "n"),
        "row": (),
        "states": ("k" if way else "", "n"),
    }
    step = {"slots": slots, "row": layout.rows(tables[0])[0].float()} | condition | noise
    end = {"states": states} | condition | decoder_noise
    row = TableRow(flow, layout, kind)
    parts = [
        _convert("TableRow", row, step, axes, ["after", "state"], half),
        _convert("End", End(transport), end, axes, ["all"], half),
    ]
    shape = state_shape[1:]
    lines, checks, conditions = _checked_conditions(transport.space, _names(condition))
    lines += _loop(
        conditions,
        end=["states", *conditions, *_names(decoder_noise)],
        state=",".join(map(str, ["n", *shape])),
        noise=inputs["noise"] is not None,
        way=way,
    )
    arrays = _tables(flows, tables, layout) | checks
    arrays["flat_shape"] = np.array([1 + layout.noises, -1])
    arrays["slots_shape"] = np.array([layout.slots, -1, *shape])
    names = [*_names(inputs), "steps", "solver"]
    output = ["n", *transport.space.shape]
    if way:
        names.append("way")
        output = ["k", *output]
    shapes = {"z": ["n", *shape], "noise": ["draws", "n", *shape], "x": output}
    return _assemble(parts, names, lines, arrays, shapes)


def _loop(conditions: Sequence[str], end: Sequence[str], state: str, noise: bool, way: bool) -> str:
    row = ["before", "row", *conditions]
    first_noise = _NO_FIRST_NOISE
    row_noise = ""
    if noise:
        row.append("row_noise")
        first_noise = _FIRST_NOISE
        row_noise = _ROW_NOISE
    results = "slots_end"
    outputs = f"float[w,{state}] after"
    states = _LAST_STATE
    last = "Squeeze (all, zeros)"
    if way:
        results = "slots_end, way_states"
        outputs = f"float[w,{state}] after, float[{state}] state"
        states = _ALL_STATES
        last = "Identity (all)"
    return f"""{_START}{first_noise}
  flat = Reshape (drawn_at_first, flat_shape)
  mixed = MatMul (start, flat)
  slots = Reshape (mixed, slots_shape)
  {results} = Loop (count, true, slots) <
      body = rows (int64 i, bool going, float[w,{state}] before) => (bool on, {outputs}) {{
    at = Add (first, i)
    row = Gather (rows, at)
    {row_noise}
    after, state = {_DOMAIN}.TableRow ({", ".join(row)})
    on = Identity (going)
  }}>
  last = Slice (slots_end, zeros, ones, zeros)
  {states}
  all = {_DOMAIN}.End ({", ".join(end)})
  x = {last}
"""


def _checked_conditions(
    space: Space, inputs: Sequence[str]
) -> tuple[str, dict[str, np.ndarray], list[str]]:
    """Write lines that refuse unknown labels, and labels and scales not one per row of z."""
    lines = "\n  rows_of_z = Shape <start = 0, end = 1> (z)\n"
    tables = {}
    names = dict(zip(inputs, inputs, strict=True))
    if space.label is not None:
        tables["before_first"] = np.array(-1)
        tables["label_classes"] = np.array([*range(len(space.classes)), _MISSING])
        lines += _KNOWN_LABEL
        names["label"] = "label_rows"
    if "scale" in names:
        lines += "\n  scale_rows = Reshape (scale, rows_of_z)\n"
        names["scale"] = "scale_rows"
    return lines, tables, list(names.values())


def _tables(flows: Flows, tables: Sequence[Dense], layout: RowLayout) -> dict[str, np.ndarray]:
    most = max(max(several) for several in flows.values())
    numbers = np.full((len(flows) + 1, most + 2), _MISSING)
    starts: list[torch.Tensor] = []
    rows = []
    lengths = []
    for solver, several in enumerate(flows.values()):
        for steps, flow in several.items():
            table = tables[len(starts)]
            numbers[solver, steps] = len(starts)
            starts.append(layout.start(table, flow.width))
            rows.append(layout.rows(table))
            lengths.append(len(table.point))
    counts = np.array(lengths)
    arrays = {
        "numbers": numbers,
        "counts": counts,
        "firsts": np.cumsum(counts) - counts,
        "starts": torch.stack(starts).float().numpy(),
        "rows": torch.cat(rows).float().numpy(),
        "zeros": np.zeros(1, dtype=np.int64),
        "ones": np.ones(1, dtype=np.int64),
        "true": np.array(True),
        "before_first": np.array(-1),
    }
    if layout.noises:
        first_draws = []
        draws = []
        for table in tables:
            places = _places_of_noise(table.noises, layout.noises)
            first_draws.append(places[0])
            draws.append(places[1:])
        arrays["first_draws"] = np.stack(first_draws)
        arrays["draws"] = np.concatenate(draws)
    return arrays


def _places_of_noise(drawn: Sequence[int], most: int) -> np.ndarray:
    counts = np.array(drawn)[:, None]
    firsts = np.cumsum(counts)[:, None] - counts
    numbers = np.arange(most)
    return np.where(numbers < counts, firsts + numbers, 0)


def _names(inputs: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for name, part in inputs.items():
        if isinstance(part, dict):
            names += part
        elif part is not None:
            names.append(name)
    return ["scale" if name == SCALE else name for name in names]


def _convert(
    name: str,
    module: nn.Module,
    inputs: Mapping[str, Any],
    axes: dict[str, Sequence[str]],
    outputs: list[str],
    half: bool,
) -> Any:
    onnx = library()
    program = traced(module, dict(inputs), axes)
    names = _names(inputs)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program,
            input_names=names,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.aten.searchsorted.Tensor: _searchsorted},
        )
    graph = onnx.inliner.inline_local_functions(exported.model_proto).graph
    nodes = []
    for weight in graph.initializer:
        nodes += _constant(onnx, weight, half)
    nodes += graph.node
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    function = onnx.helper.make_function(_DOMAIN, name, names, outputs, nodes, opsets)
    for node in _every_node(function.node):
        node.ClearField("metadata_props")  # stacks, with paths of this machine
        node.ClearField("doc_string")
    return function, list(graph.input)


def _searchsorted(edges: Any, values: Any, right: bool = False) -> Any:
    op = imported("onnxscript", "ONNX files need onnxscript", "onnx").opset20
    before_last = op.Constant(value_ints=[-2])
    last = op.Constant(value_ints=[len(values.shape)])  # not -1: onnxruntime 1.22 adds up wrongly
    compare = op.LessOrEqual if right else op.Less
    below = compare(op.Unsqueeze(edges, before_last), op.Unsqueeze(values, last))
    return op.ReduceSum(op.Cast(below, to=7), last, keepdims=0)


def _constant(onnx: Any, weight: Any, half: bool) -> list[Any]:
    make = onnx.helper.make_node
    numbers = onnx.numpy_helper
    values = numbers.to_array(weight)
    if half and values.dtype == np.float32 and values.size >= LARGE:
        small = numbers.from_array(values.astype(np.float16), f"{weight.name}_half")
        if (numbers.to_array(small) == values).all():
            return [
                make("Constant", [], [small.name], value=small),
                make("Cast", [small.name], [weight.name], to=onnx.TensorProto.FLOAT),
            ]
    return [make("Constant", [], [weight.name], value=weight)]


def _every_node(nodes: Iterable[Any]) -> Iterable[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [*attribute.graphs, attribute.g]:
                yield from _every_node(graph.node)


def _assemble(
    functions: Sequence[Any],
    inputs: Sequence[str],
    lines: str,
    tables: Mapping[str, np.ndarray],
    shapes: Mapping[str, Sequence[str | int]],
) -> Any:
    # The parser needs a signature with types, here of z alone; afterwards the declared inputs and
    # output take its place, such as z: float[n, 3, 32, 32], steps: int64
    onnx = library()
    declare = onnx.helper.make_tensor_value_info
    types = onnx.TensorProto
    values = {}
    for name in ("steps", "solver", "way"):
        values[name] = declare(name, types.INT64, [])
    for _, arguments in functions:
        for argument in arguments:
            values[argument.name] = argument
    for name, shape in shapes.items():
        values[name] = declare(name, types.FLOAT, shape)
    model = onnx.parser.parse_model(
        f'<ir_version: {IR}, opset_import: ["" : {OPSET}, "{_DOMAIN}" : 1]>\n'
        f"sampler (float[n] z) => (float[n] x) {{{lines}}}"
    )
    model.functions.extend([function for function, _ in functions])
    model.graph.ClearField("input")
    model.graph.output[0].CopyFrom(values["x"])
    for name in inputs:
        value = model.graph.input.add()
        value.CopyFrom(values[name])
        axis = 1 if name == "noise" else 0
        for size in value.type.tensor_type.shape.dim[axis : axis + 1]:
            size.dim_param = "n"
    for name, array in tables.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    model = onnx.inliner.inline_local_functions(model)
    model.graph.ClearField("value_info")
    del model.opset_import[1:]
    return model
