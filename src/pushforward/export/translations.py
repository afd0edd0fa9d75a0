"""Operations that torch's exporter to ONNX does not translate."""

from __future__ import annotations

from typing import Any

import onnxscript
import torch

op: Any = onnxscript.opset20


def _hypot(a: Any, b: Any) -> Any:
    return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b)))


def _searchsorted(
    edges: Any, values: Any, out_int32: bool = False, right: bool = False, side: str | None = None, sorter: Any = None
) -> Any:
    """How many of the edges lie below each value."""
    last, before_last = op.Constant(value_ints=[-1]), op.Constant(value_ints=[-2])
    compare = op.LessOrEqual if right or side == "right" else op.Less
    below = compare(op.Unsqueeze(edges, before_last), op.Unsqueeze(values, last))
    return op.ReduceSum(op.Cast(below, to=7), last, keepdims=0)


TRANSLATIONS = {
    torch.ops.prims.hypot.default: _hypot,
    torch.ops.aten.hypot.default: _hypot,
    torch.ops.aten.searchsorted.Tensor: _searchsorted,
}
