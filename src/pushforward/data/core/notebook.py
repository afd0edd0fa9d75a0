"""The HTML of a data set for notebooks: its sizes, and some training examples."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from pushforward.conditions.kind import cells_of

IMAGES = 16
EXAMPLES = 5
COLUMNS = 12


def notebook(data: Any) -> str:
    """A line of text over the first training examples: images as one picture, vectors as a table."""
    body = _table(data) if data.space.as_points else _images(data)
    return f"<p>{escape(repr(data))}</p>{body}"


def _images(data: Any) -> str:
    from pushforward.pictures import grid_picture

    x = data.space.drawing(data.space.quantise(data.train.data_units(slice(IMAGES))))
    buffer = io.BytesIO()
    grid_picture(x, IMAGES // 2, scale=max(1, 64 // max(x.shape[1:3])), gap=2).save(buffer, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" alt="Training examples">'


def _table(data: Any) -> str:
    count, split = data.train.x.shape[1], data.train
    names = list(data.space.columns or [f"x{number}" for number in range(count)])[:COLUMNS]
    known = cells_of(data.space.conditions, split.condition(data.space.conditions, slice(EXAMPLES)), len(split.x[:EXAMPLES]))
    names += known[0] if known else []
    rows = [
        [*(f"{value:.4g}" for value in row[:COLUMNS]), *map(str, more.values())]
        for row, more in zip(split.x[:EXAMPLES].tolist(), known, strict=True)
    ]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
