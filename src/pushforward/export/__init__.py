"""Samplers for use without this library: as ONNX files, pages and programs of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.export.files import Exported, Graph, Unlike, export, graph, showable
    from pushforward.export.program import exported

__all__ = ["Exported", "Graph", "Unlike", "export", "exported", "graph", "showable"]

__getattr__ = exports(
    __name__,
    {
        "files": ["Exported", "Graph", "Unlike", "export", "graph", "showable"],
        "program": ["exported"],
    },
)
