"""The section on how training went: modes and the players of a game over time, alarms, and the critic's landscape."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pushforward.evaluation.measurements import Health
from pushforward.evaluation.measurements import Series as Recorded
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count
from pushforward.report.alarms import alarm_periods, unused_code
from pushforward.report.captions import HEALTH_CAPTIONS, HEALTH_NOTE, LANDSCAPE_NOTE
from pushforward.report.charts import Plot, Series, Span, line_chart, smooth
from pushforward.report.map_captions import MAP_CAPTIONS
from pushforward.report.markup import panel, prose, side_by_side, titled
from pushforward.report.sentences import unmarked
from pushforward.report.sprites import Look

__all__ = ["section"]

CAPTIONS = HEALTH_CAPTIONS | MAP_CAPTIONS
Ends = tuple[float | None, float | None]
SHARE, COUNT, OWN = (0.0, 1.0), (0.0, None), (None, None)
"""Ends of the vertical axes: of a share, of a number from 0, and those of the values themselves."""
MEASURES: dict[str, tuple[str, Ends]] = {
    "modes_held": ("modes held", OWN),  # the number of modes is its end, where it is known
    "coverage": ("coverage", SHARE),
    "coverage_1": ("coverage in one call", SHARE),
    "recall": ("recall in one call", SHARE),
    "bridges": ("bridges", COUNT),
    "disagreement": ("disagreement of one jump and two", COUNT),
    "critic_accuracy": ("critic accuracy", SHARE),
    "logit_gap": ("logit gap", OWN),
    "diagonal_loss": ("raw loss at equal times", OWN),
    "off_diagonal_loss": ("raw loss between two times", OWN),
    "stored_loss": ("raw loss on stored trajectories", OWN),
    "target_size_high": ("size of targets near noise", OWN),
    "log_likelihood": ("log-likelihood, nats", OWN),
    "kl": ("KL, nats", OWN),
    "explained": ("explained", OWN),
    "active_units": ("active units", COUNT),
    "perplexity": ("perplexity of the codes", COUNT),
    "feature_distance": ("feature distance", OWN),
}
"""What is drawn, in this order, with label and axis; coverage only for data whose modes are unknown."""
WHOLE = {"modes_held", "coverage", "coverage_1", "recall", "bridges", "disagreement", "target_size_high"}
"""Measures of many samples; the others are of single batches, which a running average makes readable."""


def section(comparison: Comparison, look: Look) -> str:
    """Charts, alarms and landscapes of every model that has some; empty where none has."""
    parts = [
        (number, model, _charts(number, model), _landscapes(number, model, look))
        for number, model in enumerate(comparison.models)
    ]
    body = "".join(
        f"<h3>{titled(model, number)}</h3>{charts}{_skipped(model)}"
        f"{_listed(model, len(comparison.data.shape) == 1) if charts else ''}{landscapes}"
        for number, model, charts, landscapes in parts
        if charts or landscapes or _skipped(model)
    )
    return f'<p class="prose wider">{escape(HEALTH_NOTE)}</p>{body}' if body else ""


def _skipped(model: ModelResult) -> str:
    words = "" if model.health is None else model.health.skipped
    return f'<p class="note">{escape(words)}.</p>' if words else ""


def _drawn(health: Health) -> Iterator[tuple[str, Recorded]]:
    for name in MEASURES:
        series = health.series.get(name)
        measured = 0 if series is None else sum(value is not None for value in series.value)
        if series is not None and measured > 1 and not (name == "coverage" and "modes_held" in health.series):
            yield name, series


def _charts(index: int, model: ModelResult) -> str:
    """One small chart for each measure, alarms shaded in all of them; empty where samples and critic were not measured."""
    if model.health is None:
        return ""
    drawn = list(_drawn(model.health))
    last = max((step for _, series in drawn for step in series.step if step is not None), default=0.0)
    first = model.trainings[0].name if model.trainings else None  # whose curves are drawn, where there are several
    spans = [
        Span(begin.step, last if end is None or end.step is None else end.step, unmarked(begin.sentence or "alarm"))
        for begin, end in alarm_periods(model)
        if begin.training in (None, first) and begin.step is not None
    ]
    figures = []
    for name, series in drawn:
        chart = _chart(name, series, model.health.modes, index, spans)
        if chart:
            figures.append(f"<figure>{chart}<figcaption>{escape(CAPTIONS[name])}</figcaption></figure>")
    return f'<div class="timeline">{"".join(figures)}</div>' if figures else ""


def _chart(name: str, series: Recorded, modes: float | None, index: int, spans: list[Span]) -> str:
    batches, (label, ends) = name not in WHOLE, MEASURES[name]
    lines = [Series(name, index, series.step, series.value, dots=False, style="faint" if batches else "solid")]
    lines += [Series(name, index, series.step, smooth(series.value), dots=False, style="solid")] if batches else []
    if name == "modes_held":
        label, ends = label + ("" if modes is None else f", of {count(modes)}"), (0.0, modes)
    clip = 0.005 if batches else 0.0
    return line_chart(lines, "step", label, Plot(350, 190, clip=clip, ends=ends), spans=spans)


def _listed(model: ModelResult, vectors: bool) -> str:
    items = []
    for begin, end in alarm_periods(model):
        where = f"{unmarked(begin.training)}, step" if begin.training else "Step"
        advice = f": {unmarked(begin.advice)}" if begin.advice else ""
        over = "It lasted to the end." if end is None else f"It was over at step {count(end.step)}."
        text = f"{where} {count(begin.step)}: {unmarked(begin.sentence)}{advice}. {over}"
        items.append(f"<li>{prose(text)}</li>")
    best = model.health.best if model.health is not None else None
    chosen = "" if best is None else f'<p class="note">{prose(f"{best[0].upper()}{best[1:]}.")}</p>'
    if items:
        return f'<ul class="plain note">{"".join(items)}</ul>{chosen}'
    unused = unused_code(model, vectors)
    none = f"No alarm was raised, but {unused}" if unused else "No alarm was raised."
    return f'<p class="note">{escape(none)}</p>{chosen}'


def _landscapes(index: int, model: ModelResult, look: Look) -> str:
    panels = [
        panel(f"step {count(step)}", picture, f"What the critic of {model.name} says of the plane at step {count(step)}")
        for step, picture in look.landscapes(model.name, index)
    ]
    return f"<p>{escape(LANDSCAPE_NOTE)}</p>{side_by_side(panels)}" if panels else ""
