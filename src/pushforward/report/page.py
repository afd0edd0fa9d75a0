"""The HTML page, put together section by section; every text of the user passes `escape`."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

from pushforward.report import codes, health, tables
from pushforward.report.captions import (
    COST_NOTES,
    CURVE_NOTES,
    LEVEL_NOTE,
    PATHS_NOTE,
    TRAJECTORY_NOTE,
    cost_note,
    curve_notes,
    curve_points,
    limits,
    loss_caption,
    shared_noise,
)
from pushforward.report.charts import (
    Interval,
    Series,
    histogram_chart,
    interval_chart,
    line_chart,
    path_chart,
    smooth,
)
from pushforward.report.markup import bullets, panel, prose, scrolled, side_by_side, sign, signs, titled
from pushforward.report.numbers import count, finite
from pushforward.report.readings import (
    Sentence,
    entrants_of,
    floor_of,
    floor_reading,
    label_of,
    metric_of,
    name_of,
    reading,
    readings,
)
from pushforward.report.sprites import Look, Sprite
from pushforward.report.words import verdict

__all__ = ["LARGEST", "page"]

LARGEST = 7_500_000
"""Bytes; a page that comes out larger is drawn again with less detail, then without animations, then without pictures."""
SHOWN_BEHIND = 400
"""Rows of real data behind trajectories."""
DETAILS = (1.0, 0.7, 0.5, 0.35, 0.22)
LEFT_OUT = "With this many models, {} would make this page larger than 8 MB, so they are left out; the runs' folders hold them."


def page(content: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """The page as text, of at most `LARGEST` bytes as far as pictures are to blame.

    Args:
        content: As `pushforward.report.report` describes.
        pictures: Arrays, as described there.
    """
    made = ""
    for look, note in _looks(pictures):
        made = _page(content, look, note)
        if len(made.encode()) <= LARGEST:
            break
    return made


def _looks(pictures: Mapping[str, Any]) -> Iterator[tuple[Look, str]]:
    """Ways to draw the pictures, from the finest to none at all, and what is to be said of it."""
    for detail in DETAILS:
        yield Look(pictures, detail), ""
    if pictures:
        still = {name: {"grid": (found or {}).get("grid")} for name, found in pictures.items()}
        yield Look(still, DETAILS[-1]), LEFT_OUT.format("animations")
        yield Look({}), LEFT_OUT.format("pictures")


def _page(content: Mapping[str, Any], look: Look, note: str) -> str:
    rules: list[str] = []
    sections = [
        ("scorecard", "Scores", _scores(content)),
        ("samples", "Samples", _samples(content, look) + (f'<p class="note">{escape(note)}</p>' if note else "")),
        ("forming", "How samples form", _forming(content, look, rules)),
        ("training", "Over training", _history(content, look, rules)),
        ("calls", "Quality against calls", _curve(content)),
        ("trajectories", "Trajectories", _trajectories(content, look)),
        ("losses", "Losses", _losses(content) + _levels(content)),
        ("codes", "Codes", codes.section(content, look)),
        ("health", "Health", health.section(content, look)),
        ("cost", "Cost", _costs(content)),
        ("reproduce", "Reproduce", _reproduce(content)),
    ]
    kept = [(key, title, body) for key, title, body in sections if body]
    kept = [("verdict", "Verdict", _verdict(content, {key for key, _, _ in kept})), *kept]
    body = "\n".join(f'<section id="{key}"><h2>{HEADINGS.get(key, title)}</h2>{inner}</section>' for key, title, inner in kept)
    created = str(content.get("created") or "")
    return Template(_file("page.html")).substitute(
        title=escape(tables.title(content)),
        subtitle=escape(tables.subtitle(content)),
        style=_file("style.css"),
        sprites="\n".join(rules),
        legend=_legend(content),
        nav="".join(f'<a href="#{key}">{title}</a>' for key, title, _ in kept),
        body=body,
        made=f"Made by pushforward{escape(f' on {created}') if created else ''}.",
        csv=_csv(content),
        data=_json(content),
        script=_file("player.js"),
    )


HEADINGS = {
    "codes": "What the codes hold",
    "calls": "Quality against network calls",
    "health": "How training went",
    "losses": "What the losses say",
    "trajectories": "How straight the way is",
    "training": "How samples changed over training",
}


def _file(name: str) -> str:
    return importlib.resources.files("pushforward.report").joinpath(name).read_text(encoding="utf-8").strip()


def _json(content: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _csv(content: Mapping[str, Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["entrant", "metric", "mean", "spread", "floor_mean", "floor_spread"])
    rows = [*entrants_of(content), *([content["baseline"]] if content.get("baseline") else [])]
    for row in rows:
        for metric in row.get("scores") or {}:
            one = reading(content, row, metric)
            if one is not None:
                floor, spread = floor_of(content, metric)
                writer.writerow([one.name, metric, one.mean, one.spread, floor, spread or None])
    return "data:text/csv;charset=utf-8," + quote(buffer.getvalue(), safe="")


def _legend(content: Mapping[str, Any]) -> str:
    items = [f"<li>{titled(one, i)}</li>" for i, one in enumerate(entrants_of(content))]
    return "".join(items)


# Verdict and scores -----------------------------------------------------------------------------------------


def _verdict(content: Mapping[str, Any], shown: Collection[str]) -> str:
    found = verdict(content)
    if not found:
        return "<p>Nothing was scored, so nothing can be said.</p>"
    claims = [one for one in found if one.kind != "worry"]
    worries = [one for one in found if one.kind == "worry"]
    made = ""
    if claims:
        made += f'<ul class="findings">{"".join(_finding(one, shown) for one in claims)}</ul>'
    if worries:
        items = "".join(_finding(one, shown) for one in worries)
        made += f'<div class="worries"><h3>What to keep in mind</h3><ul class="findings">{items}</ul></div>'
    return made


def _finding(one: Sentence, shown: Collection[str]) -> str:
    text = prose(one.marked)
    return f'<li><a href="#{one.link}">{text}</a></li>' if one.link in shown else f"<li>{text}</li>"


def _scores(content: Mapping[str, Any]) -> str:
    cards = tables.scorecards(content)
    if not cards:
        return ""
    made = _intervals(content)
    for heading, table in cards:
        made += f"<h3>{escape(heading)}</h3>" if len(cards) > 1 else ""
        made += scrolled(table, f"Scores: {heading}")
    return made + f'<p class="note">{escape(tables.score_note(content, "beneath"))}</p>'


def _intervals(content: Mapping[str, Any]) -> str:
    charts = []
    for metric in ("frechet", "coverage"):
        if not readings(content, metric):
            continue
        rows = [(i, one) for i, entrant in enumerate(entrants_of(content)) if (one := reading(content, entrant, metric))]
        found = [Interval(one.name, i, one.mean, one.half, one.text) for i, one in rows]
        base = reading(content, content.get("baseline"), metric)
        if base is not None:
            found.append(Interval("no network", None, base.mean, base.half, base.text))
        means = [one.mean for one in found]
        better = {"lower": "lower is better", "higher": "higher is better"}.get(str(metric_of(content, metric).get("better")), "")
        label = f"{label_of(content, metric)}{f', {better}' if better else ''}"
        band = _band(content, metric)
        if band is not None and band[0] > 0:
            means.append(band[0])
        wide = metric == "frechet" and min(means) > 0 and max(means) > 8 * min(means)
        charts.append(f"<figure>{interval_chart(found, label, band, log=wide)}</figure>")
    return f'<div class="pair">{"".join(charts)}</div>' if charts else ""


def _band(content: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    floor = floor_reading(content, metric)
    return None if floor is None else (floor.mean, floor.half)


# Pictures ---------------------------------------------------------------------------------------------------


def _samples(content: Mapping[str, Any], look: Look) -> str:
    panels = []
    real = look.grid("real", None)
    if real is not None:
        panels.append(panel("Real data <span>held out</span>", real, "Held-out samples of the real data"))
    for i, entrant in enumerate(entrants_of(content)):
        made = look.grid(name_of(entrant), i)
        if made is not None:
            panels.append(panel(titled(entrant, i), made, f"Samples of {name_of(entrant)}"))
    if not panels:
        return ""
    return f"<p>{escape(_shared(content, look))}</p>{side_by_side(panels)}{_columns(content, look)}"


def _shared(content: Mapping[str, Any], look: Look) -> str:
    said = shared_noise(content, places=not look.columns())
    drawn = ""
    if look.columns() == 2 or look.columns() == 1:
        drawn = "Gray dots are held-out data."
    elif look.columns() > 2:
        drawn = "Vectors are drawn on the first two principal axes of the real data; gray dots are held-out data."
    return f"{said} Nothing was picked by hand. {drawn}".strip()


def _columns(content: Mapping[str, Any], look: Look) -> str:
    if look.columns() < 3 and look.columns() != 1:
        return ""
    names = list((content.get("data") or {}).get("columns") or [])
    charts = []
    clouds = [(name_of(one), i, look.samples(name_of(one))) for i, one in enumerate(entrants_of(content))]
    for column in range(min(look.columns(), 12)):
        label = str(names[column]) if column < len(names) else f"x{column}"
        rows = [(name, i, rows[:, column]) for name, i, rows in clouds if rows is not None]
        charts.append(histogram_chart(label, None if look.real is None else look.real[:, column], rows))
    more = look.columns() - 12
    rest = f" The first 12 of {look.columns()} columns." if more > 0 else ""
    return (
        f'<p class="note">Each column alone: real data as a gray area, models as lines.{rest}</p>'
        f'<div class="columns">{"".join(charts)}</div>'
    )


def _forming(content: Mapping[str, Any], look: Look, rules: list[str]) -> str:
    panels, any_steps = [], False
    for i, entrant in enumerate(entrants_of(content)):
        found = look.pictures.get(name_of(entrant)) or {}
        sprite = look.sprite(found.get("formation"), i, "t")
        any_steps |= sprite is not None and sprite.frames > 1
        jump = sprite is None
        if jump:
            grid = look.samples(name_of(entrant))
            sprite = None if grid is None else look.sprite([(0.0, grid)], i, "t")
        if sprite is not None:
            panels.append((i, entrant, sprite, jump))
    if not any_steps:
        return ""
    text = "From noise (t = 1) to data (t = 0)."
    if any(jump for *_, jump in panels):
        text += " Models that need one network call jump: between noise and sample there is nothing to see."
    return f"<p>{text}</p>" + _player(panels, rules, "f", ("noise", "data"), "Noise to data", 5)


def _history(content: Mapping[str, Any], look: Look, rules: list[str]) -> str:
    panels = []
    for i, entrant in enumerate(entrants_of(content)):
        sprite = look.sprite((look.pictures.get(name_of(entrant)) or {}).get("training"), i, "step")
        if sprite is not None and sprite.frames > 1:
            panels.append((i, entrant, sprite, False))
    if not panels:
        return ""
    return "<p>The same noise, from the first kept step of training to the last.</p>" + _player(
        panels, rules, "t", ("start", "end"), "Start to end of training", 5
    )


def _player(
    panels: Sequence[tuple[int, Mapping[str, Any], Sprite, bool]],
    rules: list[str],
    kind: str,
    ends: tuple[str, str],
    label: str,
    seconds: int,
) -> str:
    shown, strips = [], ""
    for i, entrant, sprite, jump in panels:
        rules.append(
            f".{kind}{i}{{background-image:url({sprite.uri});background-size:100% {100 * sprite.frames}%;"
            f"aspect-ratio:{sprite.width}/{sprite.height}}}"
        )
        labels = escape(json.dumps(list(sprite.labels)))
        alt = escape(f"Samples of {name_of(entrant)}, {ends[0]} to {ends[1]}")
        how = "one call" if jump else _how(entrant) if kind == "f" else ""
        shown.append(
            f'<figure class="panel{" jump" if jump else ""}"><p class="figtitle">{titled(entrant, i)}</p>'
            f'<div class="frame"><div class="sprite {kind}{i}" role="img" aria-label="{alt}" '
            f'data-frames="{sprite.frames}" data-labels="{labels}"></div>'
            f"{'<div class=veil aria-hidden=true>z</div>' if jump else ''}</div>"
            f'<figcaption><span class="at">{escape(sprite.labels[-1])}</span>'
            f"{f' · {escape(how)}' if how else ''}</figcaption></figure>"
        )
        strips += _strip(i, entrant, sprite, jump, kind)
    return (
        f'<div class="player" data-seconds="{seconds}"><div class="controls" hidden><button type="button">Play</button>'
        f'<span aria-hidden="true">{ends[0]}</span>'
        f'<input type="range" min="0" max="1000" value="1000" aria-label="{label}">'
        f'<span aria-hidden="true">{ends[1]}</span></div>{side_by_side(shown)}</div><div class="strips">{strips}</div>'
    )


def _how(entrant: Mapping[str, Any]) -> str:
    sampling = entrant.get("sampling") or {}
    calls = finite(sampling.get("calls"))
    parts = [str(sampling["solver"])] if sampling.get("solver") else []
    return ", ".join([*parts, *([f"{count(calls)} calls"] if calls is not None else [])])


def _strip(index: int, entrant: Mapping[str, Any], sprite: Sprite, jump: bool, kind: str) -> str:
    last = sprite.frames - 1
    chosen = sorted({round(last * share / 5) for share in range(6)})
    at = {i: 100 * i / last if last else 100 for i in chosen}
    stills = "".join(
        f'<li><div class="frame"><div class="sprite {kind}{index}" style="background-position:0 {at[i]:.3f}%">'
        f"</div></div>{escape(sprite.labels[i])}</li>"
        for i in chosen
    )
    if jump:
        stills = '<li><div class="frame unseen">z</div>noise</li>' + stills
    aside = " <span>one call</span>" if jump else ""
    title = f"{sign(index)}{escape(name_of(entrant))}{aside}"
    return f'<div class="strip"><p class="figtitle">{title}</p><ol>{stills}</ol></div>'


# Curves -----------------------------------------------------------------------------------------------------


def _curve(content: Mapping[str, Any]) -> str:
    lines, singles, metric = [], [], "frechet"
    for i, entrant in enumerate(entrants_of(content)):
        points = curve_points(entrant, metric)
        if points:
            lines.append(Series(name_of(entrant), i, [p[0] for p in points], [p[1] for p in points]))
            continue
        calls, one = finite((entrant.get("sampling") or {}).get("calls")), reading(content, entrant, metric)
        if calls is not None and one is not None:
            singles.append(Series(one.name, i, [calls], [one.mean], line=False))
    if not lines:
        return ""
    values = [y for one in [*lines, *singles] for y in one.y if y > 0]
    band = _band(content, metric)
    if band is not None and band[0] > 0:
        values.append(band[0])
    log = bool(values) and max(values) > 8 * min(values)
    chart = line_chart(
        [*lines, *singles],
        "network calls for one sample",
        label_of(content, metric),
        log_x=True,
        log_y=log,
        floor=band,
    )
    notes = "".join(f"<li>{prose(note)}</li>" for note in curve_notes(content, metric))
    return f'<p>{escape(CURVE_NOTES)}</p><figure class="wide">{signs(content)}<div class="scroll">{chart}</div></figure>' + (
        f'<ul class="plain note">{notes}</ul>' if notes else ""
    )


def _trajectories(content: Mapping[str, Any], look: Look) -> str:
    table = tables.trajectories(content)
    if table is None:
        return ""
    made, panels = f"<p>{escape(TRAJECTORY_NOTE)}</p>", []
    for i, entrant in enumerate(entrants_of(content)):
        lines = look.paths(name_of(entrant))
        if lines is not None:
            label = f"Trajectories of {name_of(entrant)}, from noise to data"
            behind = look.behind[:SHOWN_BEHIND] if look.vectors and look.behind is not None else None
            chart = path_chart(lines, behind, look.paths_limits(), i, label)
            panels.append(f'<figure><p class="figtitle">{titled(entrant, i)}</p><div class="frame">{chart}</div></figure>')
    if panels:
        made += f"<p>{escape(PATHS_NOTE)}</p><div class=ways>{side_by_side(panels)}</div>"
    note = cost_note(content)
    return made + scrolled(table, "Trajectories") + (f'<p class="note">{escape(note)}</p>' if note else "")


def _levels(content: Mapping[str, Any]) -> str:
    lines = []
    for i, entrant in enumerate(entrants_of(content)):
        points = tables.level_points(entrant)
        if points:
            lines.append(Series(name_of(entrant), i, [math.exp(-level / 2) for level, _, _ in points], [e for _, e, _ in points]))
    if not lines:
        return ""
    errors = [error for one in lines for error in one.y]
    wide = min(errors) > 0 and max(errors) > 4 * min(errors)
    chart = line_chart(lines, "noise level σ/α, noisier →", "Mean squared error in v", log_x=True, log_y=wide)
    keys = signs(content, {one.index for one in lines})
    return (
        f"<h3>Loss by noise level</h3><p>{escape(LEVEL_NOTE)}</p>"
        f'<figure class="wide">{keys}<div class="scroll">{chart}</div></figure>'
    )


def _losses(content: Mapping[str, Any]) -> str:
    figures = []
    for i, entrant in enumerate(entrants_of(content)):
        series = []
        players = [(name, one) for name, one in (entrant.get("losses") or {}).items() if isinstance(one, dict)]
        for number, (player, one) in enumerate(players):
            steps, values = list(one.get("step") or []), list(one.get("value") or [])
            series.append(Series(player, i, steps, values, dots=False, style="faint"))
            series.append(Series(player, i, steps, smooth(values), dots=False, style="dashed" if number else "solid"))
        chart = line_chart(series, "step", "loss", width=440, height=230, clip=0.01) if series else ""
        if chart:
            signs = [f"{escape(player)}{' (dashed)' if number else ''}" for number, (player, _) in enumerate(players)]
            of = f" <span>{', '.join(signs)}</span>" if len(players) > 1 else ""
            figures.append(
                f'<figure><p class="figtitle">{titled(entrant, i)}{" ·" if of else ""}{of}</p>{chart}'
                f"<figcaption>{escape(loss_caption(entrant))}</figcaption></figure>"
            )
    if not figures:
        return ""
    intro = "Losses of different families measure different things: none of these curves can be compared with another one."
    intro += " Faint lines are single steps, strong ones a running average."
    return f'<p>{intro}</p><div class="losses">{"".join(figures)}</div>'


# Cost and reproduction --------------------------------------------------------------------------------------


def _costs(content: Mapping[str, Any]) -> str:
    made = "".join(f"<h3>{heading}</h3>{scrolled(table, heading)}" for heading, table in tables.costs(content))
    return made + (f'<p class="note">{escape(COST_NOTES)}</p>' if made else "")


def _reproduce(content: Mapping[str, Any]) -> str:
    made = ""
    commands = tables.commands(content)
    if commands:
        made += f'<div class="copyable"><pre>{escape(chr(10).join(commands))}</pre></div>'
    made += bullets("Limits of this comparison", [escape(one) for one in limits(content)])
    meanings = [
        f'<span class="name">{escape(label_of(content, metric))}.</span> {escape(str(metric_of(content, metric)["what"]))}'
        for metric in content.get("metrics") or {}
        if metric_of(content, metric).get("what")
    ]
    made += bullets("What the scores mean", meanings)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in tables.facts(content))
    return made + (f"<h3>Data, settings, machine</h3><dl>{facts}</dl>" if facts else "")
