"""Description of an exported sampler: its inputs, its noise, and how to convert coordinates to rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pushforward.conditions.columns import Numbers
from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.label import Label
from pushforward.denoisers.denoiser import trained
from pushforward.draws import key
from pushforward.export.program import decoder_draws, noise_count
from pushforward.transports import Flow, Transport, inner_of

Flows = Mapping[str, Mapping[int, Flow]]


def describe(
    transport: Transport, flows: Flows, default: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Build the content of ``space.json``, as plain values.

    Args:
        transport: Model.
        flows: Flows of the graph, by solver and number of steps; empty for a one-call model.
        default: Default values of the graph's inputs: solver, steps and scale.
        name: Name of the run.

    Returns:
        ``name``; ``data`` (image, vector or row) and ``shape`` of a sample; for a table its
            ``columns`` and file format, ``table``; ``noise``, the shape of z; ``stream``, the
            second word of the key of NumPy's Philox: the first word is a sample's seed, and the
            last word of the counter is the number of the draw; ``draws``, the number of noise tensors
            besides z for each solver and number of steps; ``most``, the maximum number of steps;
            ``conditions``; and ``default``.
    """
    space = transport.space
    inner = inner_of(transport)
    counts = {
        solver: {str(n): noise_count(flow) for n, flow in by.items()}
        for solver, by in flows.items()
    }
    known = trained(inner.denoiser) if isinstance(inner, Flow) else None
    learned = known.preconditioning.guidance if known is not None else None
    layout = space.export_layout()
    return {
        "name": name,
        "data": space.noun,
        "shape": list(space.shape),
        "noise": list(transport.noise_shape),
        "noise_of_draws": list(inner.space.shape),
        "stream": str(key("rows", "sample")),
        "decoder_stream": str(key("rows", "sample/decoder")) if decoder_draws(transport) else None,
        "draws": counts or noise_count(transport),
        "most": max((max(by) for by in flows.values()), default=None),
        "source": getattr(inner, "source", None) is not None,
        "scales": list(learned) if learned else None,
        "conditions": [_condition(name, kind) for name, kind in space.conditions.items()],
        "default": dict(default),
        "columns": layout["columns"],
        "table": layout["table"],
        "bounds": [space.low, space.high],
        "units": layout["units"],
    }


def _condition(name: str, kind: ConditionKind) -> dict[str, Any]:
    blank = kind.blank(1, "cpu")[0]
    known: dict[str, Any] = {
        "name": name,
        "kind": type(kind).__name__.lower(),
        "type": str(blank.dtype).removeprefix("torch."),
    }
    if isinstance(kind, Label):
        ends = np.cumsum(kind.frequencies).tolist()
        return known | {
            "usual": None,
            "names": list(kind.names),
            "ends": ends,
            "stream": str(key("rows", "label")),
        }
    usual = list(kind.mean) if isinstance(kind, Numbers) else blank.tolist()
    return known | {
        "usual": usual,
        "columns": list(kind.entries),
        "std": list(getattr(kind, "std", ())),
    }
