"""The HTML page, put together section by section; every text of the user passes `escape`."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
from collections.abc import Collection, Iterator, Mapping
from html import escape
from string import Template
from urllib.parse import quote

from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.results import Comparison
from pushforward.report import facts, health, ladder, latent, tables
from pushforward.report.captions import COST_NOTES, limits
from pushforward.report.charts import Interval
from pushforward.report.costs import costs
from pushforward.report.curves import curve, floor_band, levels, losses, trajectories
from pushforward.report.distributions import interval_chart
from pushforward.report.markup import bullets, prose, scrolled, titled
from pushforward.report.samples import forming, history, samples
from pushforward.report.sentences import Sentence
from pushforward.report.sprites import Look
from pushforward.report.statistics import floor_of, metric_for, rows_of, statistic
from pushforward.report.sweep import sweep
from pushforward.report.verdict import verdict

__all__ = ["LARGEST", "page"]

LARGEST = 7_500_000
"""Bytes; a page that comes out larger is drawn again with less detail, then without animations, then without pictures."""
DETAILS = (1.0, 0.7, 0.5, 0.35, 0.22)
LEFT_OUT = "With this many models, {} would make this page larger than 8 MB, so they are left out; the runs' folders hold them."


def page(comparison: Comparison) -> str:
    """The page as text, of at most `LARGEST` bytes as far as pictures are to blame."""
    text = ""
    for look, note in _looks(comparison.pictures):
        text = _page(comparison, look, note)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _looks(pictures: Mapping[str, Pictures]) -> Iterator[tuple[Look, str]]:
    """Ways to draw the pictures, from the finest to none at all, and the note that says what is left out."""
    for detail in DETAILS:
        yield Look(pictures, detail), ""
    if pictures:
        still = {name: Pictures(drawn.grid, pair=drawn.pair) for name, drawn in pictures.items()}
        yield Look(still, DETAILS[-1]), LEFT_OUT.format("animations")
        yield Look({}), LEFT_OUT.format("pictures")


def _page(comparison: Comparison, look: Look, note: str) -> str:
    rules: list[str] = []
    sections = [
        ("samples", "Samples", samples(comparison, look) + (f'<p class="note">{escape(note)}</p>' if note else "")),
        ("forming", "How samples form", forming(comparison, look, rules)),
        ("scorecard", "Scores", _scores(comparison)),
        ("training", "Over training", history(comparison, look, rules)),
        ("sweep", "Quality against training", sweep(comparison)),
        ("calls", "Quality against calls", curve(comparison)),
        ("ladder", "Few calls", ladder.section(comparison, look)),
        ("trajectories", "Trajectories", trajectories(comparison, look)),
        ("losses", "Losses", losses(comparison) + levels(comparison)),
        ("codes", "Codes", latent.section(comparison, look)),
        ("health", "Health", health.section(comparison, look)),
        ("cost", "Cost", _costs(comparison)),
        ("reproduce", "Reproduce", _reproduce(comparison)),
    ]
    filled = [(key, title, body) for key, title, body in sections if body]
    filled = [("verdict", "Verdict", _verdict(comparison, {key for key, _, _ in filled})), *filled]
    body = "\n".join(f'<section id="{key}"><h2>{HEADINGS.get(key, title)}</h2>{inner}</section>' for key, title, inner in filled)
    return Template(_file("page.html")).substitute(
        kicker="Generative models compared" if len(comparison.models) > 1 else "A generative model",
        title=escape(facts.title(comparison)),
        subtitle=escape(facts.subtitle(comparison)),
        style=_file("style.css"),
        sprites="\n".join(rules),
        legend="".join(f"<li>{titled(model, number)}</li>" for number, model in enumerate(comparison.models)),
        nav="".join(f'<a href="#{key}">{title}</a>' for key, title, _ in filled),
        body=body,
        made=f"Made by pushforward{escape(f' on {comparison.created}') if comparison.created else ''}.",
        csv=_csv(comparison),
        data=_json(comparison),
        script=_file("player.js"),
    )


HEADINGS = {
    "codes": "What the codes hold",
    "calls": "Quality against network calls",
    "health": "How training went",
    "ladder": "Few calls, beside the teacher",
    "losses": "What the losses say",
    "trajectories": "How straight the way is",
    "training": "How samples changed over training",
}


def _file(name: str) -> str:
    return importlib.resources.files("pushforward.report").joinpath(name).read_text(encoding="utf-8").strip()


def _json(comparison: Comparison) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(comparison.to_plain(), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _csv(comparison: Comparison) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "metric", "value", "spread", "floor_value", "floor_spread"])
    for row in rows_of(comparison):
        for metric in row.scores:
            score = statistic(comparison, row, metric)
            if score is not None:
                floor, spread = floor_of(comparison, metric)
                writer.writerow([score.name, metric, score.value, score.spread, floor, spread or None])
    return "data:text/csv;charset=utf-8," + quote(buffer.getvalue(), safe="")


# Verdict and scores -----------------------------------------------------------------------------------------


def _verdict(comparison: Comparison, charts: Collection[str]) -> str:
    sentences = verdict(comparison)
    if not sentences:
        return "<p>Nothing was scored, so nothing can be said.</p>"
    claims = [sentence for sentence in sentences if sentence.kind != "warning"]
    warnings = [sentence for sentence in sentences if sentence.kind == "warning"]
    body = ""
    if claims:
        body += f'<ul class="findings">{"".join(_finding(claim, charts) for claim in claims)}</ul>'
    if warnings:
        items = "".join(_finding(warning, charts) for warning in warnings)
        body += f'<div class="warnings"><h3>What to keep in mind</h3><ul class="findings">{items}</ul></div>'
    return body


def _finding(sentence: Sentence, charts: Collection[str]) -> str:
    text = prose(sentence.marked)
    return f'<li><a href="#{sentence.link}">{text}</a></li>' if sentence.link in charts else f"<li>{text}</li>"


def _scores(comparison: Comparison) -> str:
    cards = tables.scorecards(comparison)
    if not cards:
        return ""
    body = _intervals(comparison)
    for heading, table in cards:
        body += f"<h3>{escape(heading)}</h3>" if len(cards) > 1 else ""
        body += scrolled(table, f"Scores: {heading}")
    return body + f'<p class="note">{escape(tables.score_note(comparison, "beneath"))}</p>'


def _intervals(comparison: Comparison) -> str:
    """A chart of the intervals of quality, and one of diversity."""
    main = [(metric_for(comparison, "quality"), True), (metric_for(comparison, "diversity"), False)]
    charts = [_interval_figure(comparison, metric, is_distance) for metric, is_distance in main if metric is not None]
    return f'<div class="pair">{"".join(charts)}</div>' if charts else ""


def _interval_figure(comparison: Comparison, metric: str, is_distance: bool) -> str:
    scores = [(number, statistic(comparison, model, metric)) for number, model in enumerate(comparison.models)]
    rows = [Interval(score.name, number, score.value, score.half, score.text) for number, score in scores if score is not None]
    base = statistic(comparison, comparison.baseline, metric)
    if base is not None:
        rows.append(Interval("no network", None, base.value, base.half, base.text))
    info = comparison.info(metric)
    better = {"lower": ", lower is better", "higher": ", higher is better"}.get(info.better, "")
    band = floor_band(comparison, metric)
    values = [row.mean for row in rows] + ([band[0]] if band is not None and band[0] > 0 else [])
    wide = is_distance and min(values) > 0 and max(values) > 8 * min(values)
    return f"<figure>{interval_chart(rows, f'{info.label}{better}', band, log=wide)}</figure>"


# Cost and reproduction --------------------------------------------------------------------------------------


def _costs(comparison: Comparison) -> str:
    body = "".join(f"<h3>{heading}</h3>{scrolled(table, heading)}" for heading, table in costs(comparison))
    return body + (f'<p class="note">{escape(COST_NOTES)}</p>' if body else "")


def _reproduce(comparison: Comparison) -> str:
    body = ""
    commands = facts.commands(comparison)
    if commands:
        body += f'<div class="copyable"><pre>{escape(chr(10).join(commands))}</pre></div>'
    body += bullets("Limits of this comparison", [escape(limit) for limit in limits(comparison)])
    meanings = [
        f'<span class="name">{escape(comparison.info(metric).label)}.</span> {escape(info.what)}'
        for metric, info in comparison.metrics.items()
        if info.what
    ]
    body += bullets("What the scores mean", meanings)
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.facts(comparison))
    return body + (f"<h3>Data, settings, machine</h3><dl>{entries}</dl>" if entries else "")
