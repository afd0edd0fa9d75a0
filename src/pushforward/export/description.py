"""Description of an exported sampler: inputs, noise, and conversion to rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pushforward.conditions.columns import Numbers
from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.label import Label
from pushforward.denoisers.denoiser import guidance_range
from pushforward.draws import key
from pushforward.export.program import Flows, decoder_draws, noise_count
from pushforward.transports import Flow, Transport, inner_of


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
    known: dict[str, Any] = {
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
