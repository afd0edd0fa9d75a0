"""One self-contained HTML file that runs exported models offline."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pushforward.errors import UsageError
from pushforward.files import replacing
from pushforward.pictures import PALETTE, colour, sign

Models = Sequence[tuple[Mapping[str, Any], bytes]]  # descriptions and ONNX files

SHOWN = {"images": 16, "points": 400, "rows": 8}  # samples on a page, by how they are drawn
RUNTIME = "ort.wasm.bundle.min.mjs"
BINARY = "ort-wasm-simd-threaded.wasm"
_EXPORTS = re.compile(r"export\s*\{([^}]*)\};?\s*(//#.*)?\s*$")


def write(
    path: Path, models: Models, title: str, report: str | None = None, left_out: Sequence[str] = ()
) -> None:
    """Write a page (see `build`), whole or not at all.

    Raises:
        CheckpointError: If writing fails.
    """
    text = build(models, title, report, left_out)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def build(
    models: Models, title: str, report: str | None = None, left_out: Sequence[str] = ()
) -> str:
    """Build a page as text.

    Args:
        models: Descriptions and bytes of ONNX files. Those with the input ``way`` also show how
            noise becomes data; a ``number`` in the description sets the colour and sign of a model.
        title: Title of the page.
        report: Address of the report that the page links to.
        left_out: Lines about missing models.
    """
    if not models:
        raise UsageError("A page requires at least one model; got none.")
    for about, _ in models:
        check(about)
    abouts = []
    for place, (about, _) in enumerate(models):
        drawn = _drawn(about)
        abouts.append({"number": place, **about, "drawn": drawn, "shown": SHOWN[drawn]})
    style, script = _inline()
    asked = _asked(abouts)
    blocks = {
        "wasm": base64.b64encode(_file("web", f"{BINARY}.gz")).decode(),
        "worker": _packed(_worker().encode()),
    }
    for place, (_, content) in enumerate(models):
        blocks[f"model-{place}"] = _packed(content)
    environment = Environment(
        loader=PackageLoader("pushforward", "export/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        models=abouts,
        report=report,
        left_out=left_out,
        colour=colour,
        sign=sign,
        asked=asked,
        policy=policy(),
        style=Markup(style),
        script=Markup(script),
        descriptions=Markup(json.dumps(abouts).replace("<", "\\u003c")),
        blocks=blocks,
    )


def check(about: Mapping[str, Any]) -> None:
    """Raise an error if a model starts from data, which a page does not contain."""
    if about["source"]:
        raise UsageError(
            f"{about['name']} starts from data examples, which a page does not contain. Export it "
            "to ONNX."
        )


def _drawn(about: Mapping[str, Any]) -> str:
    if about["data"] == "image":
        return "images"
    if about["shape"] == [2] and about["units"] is not None:
        return "points"
    return "rows"


def _asked(abouts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    asked: dict[str, dict[str, Any]] = {}
    for about in abouts:
        about["conditions"] = [dict(kind) for kind in about["conditions"]]
        for kind in about["conditions"]:
            if kind["kind"] in ("label", "numbers"):
                known = json.dumps([kind["name"], kind.get("names"), kind.get("columns")])
                kind["control"] = len(asked)
                first = asked.setdefault(known, kind)
                kind["control"] = first["control"]
    return list(asked.values())


def _inline() -> tuple[str, str]:
    return PALETTE + _text("page.css"), _text("cells.js") + _text("page.js")


def policy() -> str:
    """Return the Content-Security-Policy of pages."""
    style, script = (_sha256(text) for text in _inline())
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"worker-src blob:; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}' 'wasm-unsafe-eval'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _worker() -> str:
    source = gzip.decompress(_file("web", f"{RUNTIME}.gz")).decode()
    source = source.replace("import.meta.url", "self.location.href")
    exports = _EXPORTS.search(source)
    assert exports is not None
    members = []
    for part in exports[1].split(","):
        inner, outer = part.split(" as ")
        members.append(f"{json.dumps(outer.strip())}: {inner.strip()}")
    runtime = f"{source[: exports.start()]}\nreturn {{{', '.join(members)}}};"
    return f"const ort = (() => {{\n{runtime}\n}})();\n{_text('worker.js')}"


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _text(name: str) -> str:
    return _file("templates", name).decode()


def _file(*names: str) -> bytes:
    return importlib.resources.files("pushforward").joinpath("export", *names).read_bytes()
