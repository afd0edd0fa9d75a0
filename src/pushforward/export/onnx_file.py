"""A sampler as one ONNX graph: a loop over the rows of a table, which inputs choose by solver and number of steps.

Inputs are ``z``, the conditions by name, ``scale`` (n,), ``steps`` and ``solver`` without axes, and where it is drawn ``noise``
(draws, n, *shape) and ``decoder_noise`` (n, *shape); the output is ``x`` in data units. A one-call model has no loop.
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

from pushforward.conditions.label import Label
from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import SCALE
from pushforward.errors import UsageError, imported
from pushforward.export.program import End, Sampler, TableRow, inputs_of, traced
from pushforward.export.tables import Dense, RowLayout, dense
from pushforward.transports import Flow, Transport, inner_of

OPSET = 20
IR = 10
_DOMAIN = "pushforward"
LARGE = 64  # Weights of at least so many numbers are stored as float16 where that is asked for
_MISSING = 1 << 40  # An index that Gather refuses; where tables end with it, -1 finds it


def library() -> Any:
    """Import the module onnx.

    Raises:
        MissingExtra: If onnx, onnxscript or onnxruntime is not installed.
    """
    names = ("onnxscript", "onnxruntime", "onnx.inliner", "onnx.parser", "onnx")
    return [
        imported(name, "ONNX files need onnx, onnxscript and onnxruntime", "onnx") for name in names
    ][-1]


def one_call(transport: Transport, *, half: bool = False) -> Any:
    """Build the graph of a one-call model, as a ModelProto."""
    inputs = inputs_of(transport)
    part = _converted("Sampler", Sampler(transport), inputs, {"noise": ("", "n")}, ["x"], half)
    given = _names(inputs)
    checks, tables, names = _checked_conditions(transport.space, given)
    lines = f"{checks}\n  x = {_DOMAIN}.Sampler ({', '.join(names)})\n"
    return _joined([part], given, lines, tables, {"x": ["n", *transport.space.shape]})


def stepped(
    transport: Transport,
    flows: Mapping[str, Mapping[int, Flow]],
    *,
    scale: bool = False,
    way: bool = False,
    half: bool = False,
) -> Any:
    """Build the graph of a flow, possibly in a latent space, as a ModelProto.

    Args:
        transport: Model; its flow has the denoiser of all flows.
        flows: Flows by solver and number of steps, chosen by the inputs ``solver``, an index, and
            ``steps``.
        scale: Whether there is an input for guidance scales.
        way: Whether there is an input ``way``: with 1, x also contains the state at each network
            call, (calls + 1, n, *shape); with 0, it is (1, n, *shape).
        half: Whether to store weights as float16 if that is exact; computations use float32.

    Raises:
        UsageError: If a solver has no table, or solvers call the network in two ways.
    """
    arrays = {
        (name, steps): dense(flow.table)
        for name, several in flows.items()
        for steps, flow in several.items()
    }
    if len({table.kind == "jump" for table in arrays.values()}) > 1:
        raise UsageError(
            f"The solvers {', '.join(flows)} call a flow map in two ways. Export jump separately."
        )
    layout = RowLayout.of(arrays.values())
    example = next(iter(arrays.values()))
    flow = inner_of(transport)
    assert isinstance(flow, Flow)
    inputs = inputs_of(transport, noises=layout.noises, scale=scale)
    z, condition, noise, decoder_noise = (
        inputs[name] for name in ("z", "condition", "noise", "decoder_noise")
    )
    axes: dict[str, Sequence[str]] = {
        "noise": ("", "n"),
        "slots": ("", "n"),
        "row": (),
        "states": ("k" if way else "", "n"),
    }
    row = layout.rows(example)[0].float()
    slots = torch.randn(layout.slots, *z.shape)
    states = torch.randn(2 if way else 1, *z.shape)
    end = {"states": states, "condition": condition, "decoder_noise": decoder_noise}
    step = {"slots": slots, "row": row, "condition": condition, "noise": noise}
    parts = [
        _converted(
            "TableRow", TableRow(flow, layout, example.kind), step, axes, ["after", "state"], half
        ),
        _converted("End", End(transport), end, axes, ["all"], half),
    ]
    given = _names(inputs)
    checks, checking, conditions = _checked_conditions(
        transport.space, _names({"condition": condition})
    )
    at_end = [*conditions, *_names({"decoder_noise": decoder_noise})]
    state = ",".join(map(str, ("n", *z.shape[1:])))
    lines = checks + _lines(conditions, at_end, noise is not None, way, state)
    tables = _tables(flows, arrays, layout) | checking
    tables |= {
        "flat_shape": np.array([1 + layout.noises, -1]),
        "slots_shape": np.array([layout.slots, -1, *z.shape[1:]]),
    }
    shapes: dict[str, Sequence[str | int]] = {
        "z": ["n", *z.shape[1:]],
        "noise": ["draws", "n", *z.shape[1:]],
    }
    shapes["x"] = [*(["k"] if way else []), "n", *transport.space.shape]
    return _joined(
        parts, [*given, "steps", "solver", *(["way"] if way else [])], lines, tables, shapes
    )


def _lines(given: Sequence[str], at_end: Sequence[str], noise: bool, way: bool, state: str) -> str:
    """The graph in ONNX's text form.

    Args:
        given: The conditions.
        at_end: Inputs of the end.
        noise: Whether noise is drawn.
        way: Whether the way is returned; see `stepped`.
        state: The axes of a state.
    """
    conditions, end = ("".join(f", {name}" for name in names) for names in (given, at_end))
    return f"""
  solver_number = Max (solver, before_first)
  steps_number = Max (steps, before_first)
  of_solver = Gather (numbers, solver_number)
  number = Gather (of_solver, steps_number)
  start = Gather (starts, number)
  first = Gather (firsts, number)
  count = Gather (counts, number)
  {"drawn = Gather (first_draws, number)" if noise else ""}
  {"begin_noise = Gather (noise, drawn)" if noise else ""}
  zs = Unsqueeze (z, zeros)
  {"drawn_at_first = Concat <axis = 0> (zs, begin_noise)" if noise else "drawn_at_first = Identity (zs)"}
  flat = Reshape (drawn_at_first, flat_shape)
  mixed = MatMul (start, flat)
  slots = Reshape (mixed, slots_shape)
  slots_end{", way_states" if way else ""} = Loop (count, true, slots) <body = rows (int64 i, bool going, float[w,{state}] before)
      => (bool on, float[w,{state}] after{f", float[{state}] state" if way else ""}) {{
    at = Add (first, i)
    row = Gather (rows, at)
    {"row_drawn = Gather (draws, at)" if noise else ""}
    {"row_noise = Gather (noise, row_drawn)" if noise else ""}
    after, state = {_DOMAIN}.TableRow (before, row{conditions}{", row_noise" if noise else ""})
    on = Identity (going)
  }}>
  last = Slice (slots_end, zeros, ones, zeros)
  {"earlier_count = Mul (way, count)" if way else ""}
  {"earlier_end = Reshape (earlier_count, ones)" if way else ""}
  {"earlier = Slice (way_states, zeros, earlier_end, zeros)" if way else ""}
  {"states = Concat <axis = 0> (earlier, last)" if way else "states = Identity (last)"}
  all = {_DOMAIN}.End (states{end})
  {"x = Identity (all)" if way else "x = Squeeze (all, zeros)"}
"""


def _checked_conditions(
    space: Space, inputs: Sequence[str]
) -> tuple[str, dict[str, np.ndarray], list[str]]:
    """The lines that refuse labels outside of the classes, and labels and scales that are not one for each row of z.

    Returns:
        The lines, their tables, and the inputs' names after them.
    """
    lines = "\n  rows_of_z = Shape <start = 0, end = 1> (z)\n"
    tables: dict[str, np.ndarray] = {}
    names = dict(zip(inputs, inputs, strict=True))
    for name, kind in space.conditions.items():
        if isinstance(kind, Label):
            tables["before_first"] = np.array(-1)
            tables[f"{name}_classes"] = np.array([*range(len(kind.names)), _MISSING])
            lines += f"""
  {name}_number = Max ({name}, before_first)
  {name}_found = Gather ({name}_classes, {name}_number)
  {name}_known = Gather ({name}_classes, {name}_found)
  {name}_rows = Reshape ({name}_known, rows_of_z)
"""
            names[name] = f"{name}_rows"
    if "scale" in names:
        lines += "\n  scale_rows = Reshape (scale, rows_of_z)\n"
        names["scale"] = "scale_rows"
    return lines, tables, list(names.values())


def _tables(
    flows: Mapping[str, Mapping[int, Flow]],
    arrays: Mapping[tuple[str, int], Dense],
    layout: RowLayout,
) -> dict[str, np.ndarray]:
    """The tables one after the other, and where each begins."""
    most = max(steps for _, steps in arrays)
    numbers = np.full((len(flows) + 1, most + 2), _MISSING)
    for number, (name, steps) in enumerate(arrays):
        numbers[list(flows).index(name), steps] = number
    counts = np.array([len(table.point) for table in arrays.values()])
    starts = [
        layout.start(table, flows[name][steps].width) for (name, steps), table in arrays.items()
    ]
    tables = {
        "numbers": numbers,
        "counts": counts,
        "firsts": np.cumsum(counts) - counts,
        "starts": torch.stack(starts).float().numpy(),
        "rows": torch.cat([layout.rows(table) for table in arrays.values()]).float().numpy(),
        "zeros": np.zeros(1, dtype=np.int64),
        "ones": np.ones(1, dtype=np.int64),
        "true": np.array(True),
        "before_first": np.array(-1),
    }
    if layout.noises:
        places = [_places_of_noise(table.noises, layout.noises) for table in arrays.values()]
        tables |= {
            "first_draws": np.stack([each[0] for each in places]),
            "draws": np.concatenate([each[1:] for each in places]),
        }
    return tables


def _places_of_noise(drawn: Sequence[int], most: int) -> np.ndarray:
    """Which of the noises each block takes, (blocks, M); 0 beyond those that it draws."""
    firsts = np.cumsum(drawn) - drawn
    counts = np.array(drawn)
    places = firsts[:, None] + np.arange(most)
    return np.where(np.arange(most) < counts[:, None], places, 0)


def _names(inputs: Mapping[str, Any]) -> list[str]:
    """The names of inputs in a graph, in the order in which a program takes them."""
    named = {
        name: list(part) if isinstance(part, dict) else [name]
        for name, part in inputs.items()
        if part is not None
    }
    return ["scale" if name == SCALE else name for names in named.values() for name in names]


def _converted(
    name: str,
    module: nn.Module,
    inputs: Mapping[str, Any],
    axes: dict[str, Sequence[str]],
    outputs: list[str],
    half: bool,
) -> Any:
    """A module as a function of ONNX, with its weights as constants inside, and the types of its inputs."""
    onnx = library()
    program = traced(module, dict(inputs), axes)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        model = torch.onnx.export(
            program,
            input_names=_names(inputs),
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.aten.searchsorted.Tensor: _searchsorted},
        ).model_proto
    graph = onnx.inliner.inline_local_functions(model).graph
    constants = [node for weight in graph.initializer for node in _constant(onnx, weight, half)]
    nodes = [*constants, *graph.node]
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    function = onnx.helper.make_function(_DOMAIN, name, _names(inputs), outputs, nodes, opsets)
    for node in _every_node(function.node):
        node.ClearField("metadata_props")  # stacks, with paths of this machine
        node.ClearField("doc_string")
    return function, list(graph.input)


def _searchsorted(edges: Any, values: Any, right: bool = False) -> Any:
    """How many of the edges lie below each value."""
    op = imported("onnxscript", "ONNX files need onnxscript", "onnx").opset20
    before_last = op.Constant(value_ints=[-2])
    last = op.Constant(
        value_ints=[len(values.shape)]
    )  # onnxruntime 1.22 adds up no edges wrongly along axis -1
    below = (op.LessOrEqual if right else op.Less)(
        op.Unsqueeze(edges, before_last), op.Unsqueeze(values, last)
    )
    return op.ReduceSum(op.Cast(below, to=7), last, keepdims=0)


def _constant(onnx: Any, weight: Any, half: bool) -> list[Any]:
    make = onnx.helper.make_node
    numbers = onnx.numpy_helper
    values = numbers.to_array(weight)
    if half and values.dtype == np.float32:
        small = numbers.from_array(values.astype(np.float16), f"{weight.name}_half")
    else:
        small = None
    if small is None or values.size < LARGE or (numbers.to_array(small) != values).any():
        return [make("Constant", [], [weight.name], value=weight)]
    return [
        make("Constant", [], [small.name], value=small),
        make("Cast", [small.name], [weight.name], to=onnx.TensorProto.FLOAT),
    ]


def _every_node(nodes: Iterable[Any]) -> Iterable[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [*attribute.graphs, attribute.g]:
                yield from _every_node(graph.node)


def _joined(
    parts: Sequence[Any],
    inputs: Sequence[str],
    lines: str,
    tables: Mapping[str, np.ndarray],
    shapes: Mapping[str, Sequence[str | int]],
) -> Any:
    """A model of functions that are called by lines of ONNX's text form; the functions are put in their places."""
    onnx = library()
    declared = onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    types = {value.name: value for _, values in parts for value in values}
    types |= {name: declared(name, kinds.INT64, []) for name in ("steps", "solver", "way")}
    types |= {name: declared(name, kinds.FLOAT, shape) for name, shape in shapes.items()}
    text = f'<ir_version: {IR}, opset_import: ["" : {OPSET}, "{_DOMAIN}" : 1]>\nsampler (float[n] z) => (float[n] x) {{{lines}}}'
    model = onnx.parser.parse_model(text)
    model.functions.extend(function for function, _ in parts)
    model.graph.ClearField("input")
    model.graph.output[0].CopyFrom(types["x"])
    model.graph.input.extend(types[name] for name in inputs)
    for given in model.graph.input:
        axis = 1 if given.name == "noise" else 0
        for size in given.type.tensor_type.shape.dim[axis : axis + 1]:
            size.dim_param = "n"
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in tables.items()
    )
    model = onnx.inliner.inline_local_functions(model)
    model.graph.ClearField("value_info")
    del model.opset_import[1:]
    return model
