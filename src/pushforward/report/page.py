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

from pushforward.evaluation.measurements import Pictures, TrainingCost
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import facts, health, ladder, latent, tables
from pushforward.report.axes import far_apart
from pushforward.report.bars import SPREAD, bars_note, bars_of, has_intervals, sampled
from pushforward.report.captions import cost_notes
from pushforward.report.charts import Interval
from pushforward.report.choosing import choices
from pushforward.report.class_chart import class_section
from pushforward.report.columns import columns_section
from pushforward.report.costs import costs
from pushforward.report.curves import curve, floor_band, frontier, levels, losses, trajectories
from pushforward.report.distributions import interval_chart
from pushforward.report.limits import noise_limits
from pushforward.report.markup import prose, scrolled, sign, split, unbroken, whole_options
from pushforward.report.reproducing import limits_section, reproduce
from pushforward.report.samples import samples
from pushforward.report.score_notes import score_note
from pushforward.report.sentences import Sentence
from pushforward.report.sprites import Look
from pushforward.report.statistics import floor_of, main_metrics, metric_for, rows_of, statistic
from pushforward.report.story import story
from pushforward.report.sweep import HEADING, sweep
from pushforward.report.verdict import claims, remarks

__all__ = ["LARGEST", "page"]

LARGEST = 7_500_000
"""Bytes; a page that comes out larger is drawn again with less detail, then without animations, then without pictures."""
DETAILS = (1.0, 0.7, 0.5, 0.35, 0.22)
LEFT_OUT = "With this many models, {} would make this page larger than 8 MB, so they are left out; the runs' folders hold them."
LONG = 5
"""Sentences of a verdict beside which charts stand below each other."""
SIGNS = 3
"""Models whose signs stand before a line about them; with more the line has no room."""
SCRIPTS = ("player.js", "nearest.js", "planes.js")


def page(comparison: Comparison, opening: Comparison | None = None) -> str:
    """The page as text, of at most `LARGEST` bytes as far as pictures are to blame.

    Args:
        comparison: What is reported.
        opening: Models in two dimensions that stand before it.
    """
    text = ""
    for look, note in _looks(comparison.pictures):
        text = _page(comparison, opening, look, note)
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


def _page(comparison: Comparison, opening: Comparison | None, look: Look, note: str) -> str:
    rules: list[str] = []
    sections = [
        ("samples", "Samples", samples(comparison, look, rules) + (f'<p class="note">{escape(note)}</p>' if note else "")),
        ("sweep", "Quality against training", sweep(comparison)),
        ("remarks", facts.KEEP_IN_MIND, ""),
        ("choose", "Which of these models to choose", _choose(comparison)),
        ("scorecard", "Scores", _scores(comparison)),
        ("columns", "Columns", columns_section(comparison)),
        ("calls", "Quality against calls", curve(comparison)),
        ("ladder", "Few calls", ladder.section(comparison, look)),
        ("trajectories", "Trajectories", trajectories(comparison, look)),
        ("losses", "Losses", losses(comparison) + levels(comparison)),
        ("codes", "Codes", latent.section(comparison, look)),
        ("health", "Health", health.section(comparison, look)),
        ("cost", "Cost", _costs(comparison)),
        ("limits", "Limits", limits_section(comparison)),
        ("reproduce", "Reproduce", reproduce(comparison)),
    ]
    charts = {key for key, _, body in sections if body}
    drawn = {"remarks": _remarks(comparison, charts)}
    filled = [(key, title, body or drawn.get(key, "")) for key, title, body in sections]
    filled = [("verdict", facts.VERDICT, _verdict(comparison, charts)), *(part for part in filled if part[2])]
    if opening is not None:
        small = Look(opening.pictures if look.pictures else {}, look.detail, "s", _numbers(comparison, opening))
        filled = [("story", "Four ways", story(opening, small, rules)), *filled]
    body = "\n".join(f'<section id="{key}"><h2>{HEADINGS.get(key, title)}</h2>{inner}</section>' for key, title, inner in filled)
    return Template(_file("page.html")).substitute(
        kicker="Generative models compared" if len(comparison.models) > 1 else "A generative model",
        title=escape(facts.title(comparison)),
        subtitle=whole_options(escape(unbroken(facts.subtitle(comparison)))),
        style=_file("style.css"),
        sprites="\n".join(rules),
        nav="".join(f'<a href="#{key}">{title}</a>' for key, title, _ in filled),
        body=whole_options(body),
        made=f"Made by pushforward{escape(f' on {comparison.created}') if comparison.created else ''}.",
        csv=_csv(comparison),
        data=_json(comparison),
        script="\n".join(_file(name) for name in SCRIPTS),
    )


def _numbers(comparison: Comparison, opening: Comparison) -> dict[str, int]:
    """The numbers of both parts' models: a model of one name has one colour, those of the opening alone the colours after."""
    return {
        name: number for number, name in enumerate(dict.fromkeys(model.name for model in (*comparison.models, *opening.models)))
    }


HEADINGS = {
    "limits": facts.LIMITS,
    "sweep": HEADING,
    "story": "Four ways to move noise onto data",
    "codes": facts.CODES,
    "columns": "Columns and pairs of columns",
    "calls": "Quality against network calls",
    "health": "How training went",
    "ladder": "Few calls, beside the teacher",
    "losses": "What the losses say",
    "trajectories": "How straight the way is",
}


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that other programs compute; of a name they are quoted."""


def _file(name: str) -> str:
    return importlib.resources.files("pushforward.report").joinpath(name).read_text(encoding="utf-8").strip()


def _json(comparison: Comparison) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(comparison.to_plain(), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _csv(comparison: Comparison) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = ["model", "metric", "value", "spread", "interval_low", "interval_high", "floor_value", "floor_spread"]
    writer.writerow([*names, "budget_seconds", "trained_seconds"])
    longest = {name: points[-1].budget for name, points in comparison.sweep.items() if points}
    for row, budget in [*((row, longest.get(row.name)) for row in rows_of(comparison)), *_shorter(comparison)]:
        for metric in row.scores:
            score = statistic(comparison, row, metric)
            if score is not None:
                floor, spread = floor_of(comparison, metric)
                ends = score.interval or (None, None)
                name = "'" * score.name.startswith(FORMULA) + score.name
                cells = [name, metric, score.value, score.spread, *ends, floor, spread or None]
                writer.writerow([*cells, budget, row.training.seconds])
    return "data:text/csv;charset=utf-8," + quote(buffer.getvalue(), safe="")


def _shorter(comparison: Comparison) -> Iterator[tuple[ModelResult, float | None]]:
    """The points of a sweep before the last, which are the models themselves, as rows, with their budgets."""
    for name, points in comparison.sweep.items():
        for point in points[:-1]:
            yield ModelResult(name, scores=point.scores, training=TrainingCost(seconds=point.seconds)), point.budget


# Verdict, warnings, choice ------------------------------------------------------------------------------------------


def _verdict(comparison: Comparison, charts: Collection[str]) -> str:
    sentences = claims(comparison)
    if not sentences:
        return "<p>Nothing was scored, so nothing can be said.</p>"
    words = f'<ul class="findings">{"".join(_finding(claim, charts) for claim in sentences)}</ul>'
    picture = _intervals(comparison, stacked=len(sentences) >= LONG)
    main = main_metrics(comparison)
    drawn = [row.scores[metric] for row in rows_of(comparison) for metric in main if metric in row.scores]
    note = f"{bars_note(comparison, drawn)} {noise_limits(comparison)}".strip()
    return split(words, picture + (f'<p class="note">{escape(note)}</p>' if note and picture else ""))


def _remarks(comparison: Comparison, charts: Collection[str]) -> str:
    """What to keep in mind; empty where nothing is."""
    items = "".join(_finding(remark, charts) for remark in remarks(comparison))
    return f'<div class="warnings"><ul class="findings">{items}</ul></div>' if items else ""


def _finding(sentence: Sentence, charts: Collection[str]) -> str:
    text = prose(sentence.marked)
    return f'<li><a href="#{sentence.link}">{text}</a></li>' if sentence.link in charts else f"<li>{text}</li>"


def _choose(comparison: Comparison) -> str:
    """For whom which model is the right one, beside quality against the time of a sample."""
    numbers = {model.name: number for number, model in enumerate(comparison.models)}
    lines = ""
    for choice in choices(comparison):
        signed = choice.names if len(choice.names) <= SIGNS else ()
        lines += f"<li>{''.join(sign(numbers[name]) for name in signed)}<span>{prose(choice.text)}</span></li>"
    return split(f'<ul class="choices">{lines}</ul>' if lines else "", frontier(comparison))


# Scores and cost ----------------------------------------------------------------------------------------------------


def _scores(comparison: Comparison) -> str:
    cards = tables.scorecards(comparison)
    if not cards:
        return ""
    parts = [
        f'<div class="card{" broad" if len(table.columns) > 3 else ""}">'
        f"{f'<h3>{escape(heading)}</h3>' if len(cards) > 1 else ''}{scrolled(table, f'Scores: {heading}')}</div>"
        for heading, table in cards
    ]
    note = escape(score_note(comparison, "beneath"))
    return (
        f'{_key(comparison)}<div class="cards">{"".join(parts)}</div><p class="note wider">{note}</p>{class_section(comparison)}'
    )


def _key(comparison: Comparison) -> str:
    """What the signs in the tables mean."""
    rows = rows_of(comparison)
    ratio = any(score.ratio for row in rows for score in row.scores.values())
    items = ["<strong>↓ ↑</strong> which way is better", f"<strong>→</strong> {tables.ARROWS['→']}"]
    if has_intervals(comparison):
        items += [f"<strong>[ , ]</strong> 95 % interval, {escape(sampled(comparison))}"]
    items += [f"<strong>±</strong> {SPREAD}, no interval" if has_intervals(comparison) else f"<strong>±</strong> {SPREAD}"]
    items += ["<strong>1.3×</strong> times what real data scores, so 1× is real data"] if ratio else []
    return f'<ul class="key">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _intervals(comparison: Comparison, stacked: bool) -> str:
    """A chart of the intervals of quality, and one of diversity, below each other or side by side."""
    main = [(metric_for(comparison, "quality"), True), (metric_for(comparison, "diversity"), False)]
    charts = [_interval_figure(comparison, metric, is_distance) for metric, is_distance in main if metric is not None]
    return f'<div class="intervals{" stacked" if stacked else ""}">{"".join(charts)}</div>' if charts else ""


def _interval_figure(comparison: Comparison, metric: str, is_distance: bool) -> str:
    every = [*enumerate(comparison.models), (None, comparison.baseline)]
    known = [(number, score) for number, row in every if (score := statistic(comparison, row, metric)) is not None]
    bars = bars_of([score for _, score in known])
    rows = [
        Interval("no network" if number is None else score.name, number, score.value, bar, score.text)
        for (number, score), bar in zip(known, bars, strict=True)
    ]
    info = comparison.info(metric)
    band = floor_band(comparison, metric)
    values = [row.mean for row in rows] + ([band[0]] if band is not None and band[0] > 0 else [])
    wide = is_distance and info.better == "lower" and far_apart(values)
    arrow = tables.DIRECTIONS.get(info.better, "")
    return f"<figure>{interval_chart(rows, f'{info.label} {arrow}'.strip(), band, log=wide)}</figure>"


def _costs(comparison: Comparison) -> str:
    body = "".join(f"<h3>{heading}</h3>{scrolled(table, heading)}" for heading, table in costs(comparison))
    return body + (f'<p class="note wider">{escape(cost_notes(comparison))}</p>' if body else "")
