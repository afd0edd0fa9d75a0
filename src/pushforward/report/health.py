"""The section on how training went: modes and the players of a game over time, alarms, and the critic's landscape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from pushforward.report.captions import HEALTH_CAPTIONS, HEALTH_NOTE, LANDSCAPE_NOTE
from pushforward.report.charts import Series, Span, line_chart, smooth
from pushforward.report.markup import panel, prose, side_by_side, titled
from pushforward.report.numbers import count, finite
from pushforward.report.readings import alarms_of, entrants_of, name_of, unmarked
from pushforward.report.sprites import Look

__all__ = ["section"]

CODED = ("log_likelihood", "kl", "explained", "active_units", "perplexity", "feature_distance")
MEASURES = ("modes_held", "coverage", "bridges", "critic_accuracy", "logit_gap", *CODED)
"""What is drawn, in this order; coverage only where the modes are not known."""
LABELS = {
    "active_units": "active units",
    "bridges": "bridges",
    "coverage": "coverage",
    "critic_accuracy": "critic accuracy",
    "explained": "explained",
    "feature_distance": "feature distance",
    "kl": "KL, nats",
    "log_likelihood": "log-likelihood, nats",
    "logit_gap": "logit gap",
    "perplexity": "perplexity of the codes",
}
ENDS = {"coverage": (0.0, 1.0), "bridges": (0.0, None), "critic_accuracy": (0.0, 1.0)}
"""Of the vertical axes; modes have all of them, gaps their own."""
EACH_STEP = ("critic_accuracy", "logit_gap", *CODED)
"""Measures of single batches, which a running average makes readable."""


def section(content: Mapping[str, Any], look: Look) -> str:
    """Charts, alarms and landscapes of every entrant that has some; empty where none has."""
    shown = [(i, one, _charts(i, one), _landscapes(i, one, look)) for i, one in enumerate(entrants_of(content))]
    made = "".join(
        f"<h3>{titled(one, i)}</h3>{charts}{_listed(one) if charts else ''}{landscapes}"
        for i, one, charts, landscapes in shown
        if charts or landscapes
    )
    return f"<p>{escape(HEALTH_NOTE)}</p>{made}" if made else ""


def _series(entrant: Mapping[str, Any]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    health = entrant.get("health") or {}
    series = health.get("series") or {}
    for name in MEASURES:
        one = series.get(name)
        if isinstance(one, Mapping) and not (name == "coverage" and "modes_held" in series):
            yield name, list(one.get("step") or []), list(one.get("value") or [])


def _charts(index: int, entrant: Mapping[str, Any]) -> str:
    """One small chart for each measure, alarms shaded in all of them; empty where samples and critic were not measured."""
    found = list(_series(entrant))
    last = max((step for _, steps, _ in found for one in steps if (step := finite(one)) is not None), default=0.0)
    first = (entrant.get("trainings") or [{}])[0].get("name")  # whose curves are drawn, where there are several
    spans = [
        Span(float(begin["step"]), last if end is None else float(end["step"]), unmarked(begin.get("sentence") or "alarm"))
        for begin, end in alarms_of(entrant)
        if begin.get("training") in (None, first)
    ]
    modes = finite((entrant.get("health") or {}).get("modes"))
    figures = []
    for name, steps, values in found:
        each = name in EACH_STEP
        lines = [Series(name, index, steps, values, dots=False, style="faint" if each else "solid")]
        lines += [Series(name, index, steps, smooth(values), dots=False, style="solid")] if each else []
        label = f"modes held{'' if modes is None else f', of {count(modes)}'}" if name == "modes_held" else LABELS[name]
        ends = (0.0, modes) if name == "modes_held" else ENDS.get(name, (None, None))
        clip = 0.005 if each else 0.0
        chart = line_chart(lines, "step", label, width=440, height=210, clip=clip, spans=spans, ends=ends)
        if chart:
            figures.append(f"<figure>{chart}<figcaption>{escape(HEALTH_CAPTIONS[name])}</figcaption></figure>")
    return f'<div class="timeline">{"".join(figures)}</div>' if figures else ""


def _listed(entrant: Mapping[str, Any]) -> str:
    items = []
    for begin, end in alarms_of(entrant):
        where = f"{unmarked(begin['training'])}, step" if begin.get("training") else "Step"
        advice = f": {unmarked(begin['advice'])}" if begin.get("advice") else ""
        over = "It lasted to the end." if end is None else f"It was over at step {count(end['step'])}."
        said = f"{where} {count(begin['step'])}: {unmarked(begin.get('sentence') or '')}{advice}. {over}"
        items.append(f"<li>{prose(said)}</li>")
    return f'<ul class="plain note">{"".join(items)}</ul>' if items else '<p class="note">No alarm was raised.</p>'


def _landscapes(index: int, entrant: Mapping[str, Any], look: Look) -> str:
    name = name_of(entrant)
    made = [
        panel(f"step {count(step)}", picture, f"What the critic of {name} says of the plane at step {count(step)}")
        for step, picture in look.landscapes(name, index)
    ]
    return f"<p>{escape(LANDSCAPE_NOTE)}</p>{side_by_side(made)}" if made else ""
