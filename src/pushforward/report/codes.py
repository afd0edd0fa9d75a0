"""The section on latent spaces: what codes hold, what comes back from them, and how they lie."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from pushforward.pictures import grid_picture, groups_picture
from pushforward.report.captions import CODE_NOTES
from pushforward.report.charts import Series, line_chart
from pushforward.report.markup import panel, scrolled, side_by_side, signs, titled
from pushforward.report.numbers import count, finite, plain
from pushforward.report.readings import entrants_of, name_of
from pushforward.report.sprites import SMALL, Look, data_uri
from pushforward.report.tables import Cell, Column, Row, Table

__all__ = ["section", "table"]

COLUMNS = (
    (
        "reconstruction",
        "psnr",
        Column("PSNR", "Peak signal-to-noise ratio of reconstructions of held-out images.", "dB, higher is nearer"),
    ),
    ("reconstruction", "ssim", Column("SSIM", "Structural similarity of reconstructions to held-out images.", "1 is equal")),
    (
        "reconstruction",
        "explained",
        Column("Explained", "Share of the variance about the mean row that reconstructions explain.", "1 is all"),
    ),
    (
        "reconstruction",
        "feature_distance",
        Column("Feature distance", "Mean squared distance to reconstructions in the features of the scores.", "0 is none"),
    ),
    ("code", "active", Column("Active units", "Numbers of the code whose mean varies over data.")),
    ("code", "kl", Column("KL", "What the code costs, nats a row: the divergence of its distribution from the prior.", "nats")),
    (
        "code",
        "mismatch",
        Column("Mismatch", "How far all codes together lie from the prior, as a Gaussian sees it.", "nats, 0 is none"),
    ),
)


def section(content: Mapping[str, Any], look: Look) -> str:
    """The table, the KL term by unit, and pictures of every entrant that has codes; empty where none has."""
    found = table(content)
    if found is None:
        return ""
    made = f"<p>{escape(CODE_NOTES['table'])}</p>{scrolled(found, 'Codes')}{_units(content)}"
    for index, entrant in enumerate(entrants_of(content)):
        pictures = (look.pictures.get(name_of(entrant)) or {}).get("codes")
        if pictures:
            made += f"<h3>{titled(entrant, index)}</h3>{_pictures(content, entrant, pictures)}"
    return made


def table(content: Mapping[str, Any]) -> Table | None:
    """Reconstruction and code of each entrant that has codes, one row each; None where none has."""
    rows = []
    for index, entrant in enumerate(entrants_of(content)):
        coding = entrant.get("coding")
        if isinstance(coding, Mapping):
            rows.append(Row(name_of(entrant), [_cell(coding, part, name) for part, name, _ in COLUMNS], index=index))
    kept = [at for at in range(len(COLUMNS)) if any(row.cells[at].value != "–" for row in rows)]
    if not kept:
        return None
    return Table(
        [COLUMNS[at][2] for at in kept], [Row(row.name, [row.cells[at] for at in kept], index=row.index) for row in rows]
    )


def _cell(coding: Mapping[str, Any], part: str, name: str) -> Cell:
    found = coding.get(part)
    held: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    value = finite(held.get(name))
    if name == "active":
        units = finite(held.get("units"))
        return Cell("–" if value is None or units is None else f"{count(value)} of {count(units)}")
    return Cell(plain(value))


def _units(content: Mapping[str, Any]) -> str:
    lines = []
    for index, entrant in enumerate(entrants_of(content)):
        code = (entrant.get("coding") or {}).get("code") or {}
        values = [value for one in code.get("by_unit") or [] if (value := finite(one)) is not None]
        if values:
            lines.append(Series(name_of(entrant), index, [float(at) for at in range(1, len(values) + 1)], values))
    if not lines:
        return ""
    chart = line_chart(lines, "unit of the code, by its KL term", "KL, nats", ends=(0.0, None))
    keys = signs(content, {one.index for one in lines})
    note = escape(CODE_NOTES["units"])
    return f'<h3>What each unit carries</h3><p>{note}</p><figure class="wide">{keys}<div class="scroll">{chart}</div></figure>'


def _pictures(content: Mapping[str, Any], entrant: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    panels, name = [], name_of(entrant)
    strip = pictures.get("strip")
    if strip is not None:
        text = f"Held-out images above, their reconstructions by {name} below"
        panels.append(_rows("Reconstructions <span>below held-out images</span>", np.asarray(strip), len(strip) // 2, text))
    for way, frames in (pictures.get("walks") or {}).items():
        panels.append(
            _rows(
                f"A walk <span>{escape(way)}</span>", np.asarray(frames), len(frames), f"A {way} walk between two codes of {name}"
            )
        )
    moved = pictures.get("arithmetic")
    if moved:
        a, b = (str(one) for one in moved["groups"])
        title = f"{escape(a)} + ({escape(b)} − {escape(a)})"
        panels.append(
            _rows(title, np.asarray(moved["x"]), int(moved["frames"]), f"Images of {a} moved towards {b} in the codes of {name}")
        )
    found = pictures.get("map")
    made = "".join(panels)
    if found:
        classes = [str(one) for one in (content.get("data") or {}).get("classes") or []]
        labels = None if found.get("labels") is None else np.asarray(found["labels"])
        names = classes or [str(one) for one in range(1 + int(labels.max()) if labels is not None and len(labels) else 1)]
        picture = groups_picture(np.asarray(found["points"], dtype=float), labels, names, size=420)
        share = finite(found.get("share"))
        aside = "" if share is None or share >= 1 else f" <span>{round(100 * share)} % of the variance</span>"
        shown = panel(
            f"Map of the codes{aside}", (data_uri(picture), picture.width, picture.height), f"Codes of held-out rows of {name}"
        )
        made += side_by_side([shown])
    notes = " ".join(CODE_NOTES[part] for part in ("walks", "arithmetic", "map") if pictures.get(part))
    return f'<div class="coded">{made}</div><p class="note">{escape(notes)}</p>' if made else ""


def _rows(title: str, images: np.ndarray, columns: int, alt: str) -> str:
    side = max(images.shape[1:3])
    picture = grid_picture(images, columns, scale=max(1, -(-SMALL // side)) if side < SMALL else 1, gap=2, paper=None)
    return panel(title, (data_uri(picture, side <= 32), picture.width, picture.height), alt)
