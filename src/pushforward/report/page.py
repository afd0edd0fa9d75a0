"""The HTML page of a comparison."""

from __future__ import annotations

import functools
import importlib.resources
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.numbers import duration, plain, shortened
from pushforward.pictures import PALETTE, colour, sign
from pushforward.report import curves, distributions, samples, steps_curves, tables
from pushforward.report.answers import answers
from pushforward.report.findings import findings
from pushforward.report.model_findings import texts
from pushforward.report.papers import csv_text
from pushforward.report.plain_text import commands, facts, limits, subtitle, title
from pushforward.report.sprites import Look
from pushforward.report.statistics import sampled

# Bytes; a larger page is drawn again without animations, then without pictures
LARGEST = 7_500_000
SMALL = 0.22  # size of pictures on a page without animations, relative to the usual size
LEFT_OUT = (
    "The {} were left out, because they would make this page larger than 8 MB. "
    "The run folders contain them."
)
SCRIPTS = ("player.js", "planes.js")


@functools.cache
def environment() -> Environment:
    """Return the templates, with autoescape; a missing value is an error."""
    templates = Environment(
        loader=PackageLoader("pushforward.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(
        sign=sign,
        colour=colour,
        plain=plain,
        duration=duration,
        shortened=shortened,
        curves=curves,
        steps_curves=steps_curves,
        tables=tables,
    )
    return templates


def _file(name: str) -> Markup:
    path = importlib.resources.files("pushforward.report").joinpath("templates", name)
    return Markup(path.read_text(encoding="utf-8").strip())


def notebook(comparison: Comparison) -> str:
    """Return the answers and scores as HTML without scripts or pictures."""
    comparison = comparison.best_first()
    template = environment().get_template("notebook.html.j2")
    return template.render(
        title=title(comparison),
        subtitle=subtitle(comparison),
        answers=answers(comparison),
        cards=tables.scorecards(comparison),
    )


def page(comparison: Comparison, opening: Comparison | None = None, live: str | None = None) -> str:
    """Return the page, without animations or pictures if it would exceed `LARGEST` bytes."""
    pictures = comparison.pictures
    text = _page(comparison, opening, live, Look(pictures), "")
    if len(text.encode()) > LARGEST:
        still = {name: Pictures(drawn.grid, pair=drawn.pair) for name, drawn in pictures.items()}
        note = LEFT_OUT.format("animations")
        text = _page(comparison, opening, live, Look(still, SMALL), note)
    if len(text.encode()) > LARGEST:
        note = LEFT_OUT.format("pictures")
        text = _page(comparison, opening, live, Look({}), note)
    return text


def _page(
    comparison: Comparison, opening: Comparison | None, live: str | None, look: Look, note: str
) -> str:
    story = None
    if opening is not None:
        pictures = opening.pictures if look.pictures else {}
        small = Look(pictures, look.detail, "s", numbers(comparison, opening))
        story = {
            "cards": small.numbered(opening.models),
            "player": samples.player(opening, small),
            "problems": answers(opening)["Problems"],
        }
    found = findings(comparison)
    columns = distributions.column_charts(comparison)
    pairs = distributions.pair_charts(comparison)
    told = distributions.told_chart(comparison)
    histograms = []
    if not (columns or pairs[0] or told):
        histograms = samples.histograms(comparison, look)
    template = environment().get_template("page.html.j2")
    return template.render(
        comparison=comparison,
        models=list(enumerate(comparison.models)),
        title=title(comparison),
        subtitle=subtitle(comparison),
        live=live,
        answers=answers(comparison),
        look=look,
        player=samples.player(comparison, look),
        note=note,
        story=story,
        histograms=histograms,
        verdict=texts(found, "verdict"),
        remarks=texts(found, "measure", "copies", "warning"),
        summary=tables.summary(comparison),
        intervals=curves.interval_charts(comparison),
        cards=tables.scorecards(comparison),
        sampled=sampled(comparison),
        classes=distributions.class_chart(comparison),
        columns=columns,
        pairs=pairs,
        told=told,
        sweep=curves.sweep(comparison),
        sweep_table=tables.sweep_table(comparison),
        seconds=curves.against_seconds(comparison),
        calls=curves.against_calls(comparison),
        trajectories=tables.trajectories(comparison),
        losses=curves.losses(comparison),
        levels=curves.levels(comparison),
        codes=tables.codes(comparison),
        latent=samples.latent_pictures(comparison, look),
        costs=tables.costs(comparison),
        limits=limits(comparison),
        commands="\n".join(commands(comparison)),
        differences=tables.differences(comparison),
        origins=tables.origins(comparison),
        facts=facts(comparison),
        csv=Markup("data:text/csv;charset=utf-8," + quote(csv_text(comparison), safe="")),
        data=htmlsafe_json_dumps(
            comparison.to_plain(), allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ),
        style=Markup(PALETTE) + _file("style.css"),
        scripts=[*map(_file, SCRIPTS)],
    )


def numbers(comparison: Comparison, opening: Comparison | None) -> dict[str, int]:
    """Return the numbers of models by name, which set colours and signs."""
    models = [*comparison.models]
    if opening is not None:
        models += opening.models
    known: dict[str, int] = {}
    for model in models:
        known.setdefault(model.name, len(known))
    return known
