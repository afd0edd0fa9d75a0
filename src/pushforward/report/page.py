"""The HTML page of a comparison: values for the templates in `templates/`, which escape all texts."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import counted, duration, plain, shortened
from pushforward.pictures import PALETTE, colour, sign
from pushforward.report import curves, distributions, ladders, samples, tables
from pushforward.report.answers import answers
from pushforward.report.findings import findings
from pushforward.report.papers import csv_text
from pushforward.report.plain_text import commands, facts, limits, subtitle, title
from pushforward.report.sprites import Look
from pushforward.report.statistics import sampled

# Bytes; a larger page is drawn again with less detail, then without animations, then without pictures
LARGEST = 7_500_000
DETAILS = (1.0, 0.7, 0.5, 0.35, 0.22)
LEFT_OUT = "The {} were left out, because they would make this page larger than 8 MB. The run folders contain them."
SCRIPTS = ("player.js", "nearest.js", "planes.js")


@functools.cache
def environment() -> Environment:
    """Return the templates, with autoescape; a missing value is an error."""
    made = Environment(
        loader=PackageLoader("pushforward.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "sign": sign,
        "colour": colour,
        "curves": curves,
        "ladders": ladders,
        "tables": tables,
    }
    made.globals |= {
        "counted": counted,
        "plain": plain,
        "duration": duration,
        "shortened": shortened,
    }
    return made


def _file(name: str) -> Markup:
    return Markup(
        importlib.resources.files("pushforward.report")
        .joinpath("templates", name)
        .read_text(encoding="utf-8")
        .strip()
    )


def notebook(comparison: Comparison) -> str:
    """Return the answers and scores as HTML without scripts or pictures; `Report.save` writes the whole page."""
    comparison = comparison.best_first()
    values = {
        "title": title(comparison),
        "subtitle": subtitle(comparison),
        "answers": answers(comparison),
    }
    return (
        environment()
        .get_template("notebook.html.j2")
        .render(values, cards=tables.scorecards(comparison))
    )


def page(comparison: Comparison, opening: Comparison | None = None, live: str | None = None) -> str:
    """Return the page as text, with pictures reduced until it has at most `LARGEST` bytes.

    Args:
        comparison: The comparison.
        opening: A comparison of models in two dimensions that the page shows first.
        live: The address of a page that runs the models.
    """
    text = ""
    for look, note in _looks(comparison.pictures):
        text = _page(comparison, opening, live, look, note)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _looks(pictures: Mapping[str, Pictures]) -> Iterator[tuple[Look, str]]:
    """Yield ways to draw the pictures, from full detail to no pictures, with a note about what is left out."""
    yield from ((Look(pictures, detail), "") for detail in DETAILS)
    if pictures:
        still = {name: Pictures(drawn.grid, pair=drawn.pair) for name, drawn in pictures.items()}
        yield Look(still, DETAILS[-1]), LEFT_OUT.format("animations")
        yield Look({}), LEFT_OUT.format("pictures")


def _page(
    comparison: Comparison, opening: Comparison | None, live: str | None, look: Look, note: str
) -> str:
    rules: list[str] = []
    found = findings(comparison)
    columns = (
        distributions.column_charts(comparison),
        distributions.pair_charts(comparison),
        distributions.told_chart(comparison),
    )
    values: dict[str, Any] = {
        "comparison": comparison,
        "models": list(enumerate(comparison.models)),
        "title": title(comparison),
        "subtitle": subtitle(comparison),
        "answers": answers(comparison),
        "verdict": [finding for finding in found if finding.kind == "verdict"],
        "remarks": [finding for finding in found if finding.kind != "verdict"],
        "summary": tables.summary(comparison),
        "intervals": curves.interval_charts(comparison),
        "cards": tables.scorecards(comparison),
        "sampled": sampled(comparison),
        "player": samples.player(comparison, look, rules),
        "note": note,
        "histograms": []
        if columns[0] or columns[1][0] or columns[2][0]
        else samples.histograms(comparison, look),
        "columns": columns[0],
        "pairs": columns[1],
        "told": columns[2],
        "classes": distributions.class_chart(comparison),
        "sweep": curves.sweep(comparison),
        "sweep_table": tables.sweep_table(comparison),
        "calls": curves.against(comparison, curves.by_calls, "network calls per sample"),
        "seconds": curves.against(comparison, curves.by_seconds, "seconds per sample"),
        "trajectories": tables.trajectories(comparison),
        "paths": curves.trajectories(comparison, look),
        "losses": curves.losses(comparison),
        "levels": curves.levels(comparison),
        "codes": tables.codes(comparison),
        "latent": [
            (i, model, drawn)
            for i, model in enumerate(comparison.models)
            if (drawn := samples.latent_pictures(comparison, look, model))
        ],
        "look": look,
        "costs": tables.costs(comparison),
        "limits": limits(comparison),
        "commands": "\n".join(commands(comparison)),
        "differences": tables.differences(comparison),
        "origins": tables.origins(comparison),
        "facts": facts(comparison),
        "story": None,
        "live": live,
        "csv": Markup("data:text/csv;charset=utf-8," + quote(csv_text(comparison), safe="")),
        "data": _json(comparison),
        "style": Markup(PALETTE) + _file("style.css"),
        "scripts": [_file(name) for name in SCRIPTS],
    }
    if opening is not None:
        small = Look(
            opening.pictures if look.pictures else {},
            look.detail,
            "s",
            numbers(comparison, opening),
        )
        values["story"] = {
            "cards": small.numbered(opening.models),
            "player": samples.player(opening, small, rules),
            "problems": answers(opening)["Problems"],
        }
    return environment().get_template("page.html.j2").render(values, rules=Markup("\n".join(rules)))


def numbers(comparison: Comparison, opening: Comparison | None) -> dict[str, int]:
    """Return the numbers of models by name, which set their colours and signs on every page."""
    models = (*comparison.models, *(opening.models if opening is not None else ()))
    names = dict.fromkeys(model.name for model in models)
    return {name: number for number, name in enumerate(names)}


def _json(comparison: Comparison) -> Markup:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(
        comparison.to_plain(), allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    return Markup(
        text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )
