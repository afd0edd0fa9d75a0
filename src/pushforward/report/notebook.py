"""The short form of a report that a notebook shows: verdict and tables of scores."""

from __future__ import annotations

from html import escape

from pushforward.evaluation.results import Comparison
from pushforward.report.facts import subtitle, title
from pushforward.report.markup import prose, scrolled
from pushforward.report.tables import scorecards
from pushforward.report.verdict import verdict

__all__ = ["notebook"]


def notebook(comparison: Comparison) -> str:
    """HTML without styles, scripts or pictures; `Report.save` writes the whole page."""
    items = "".join(f"<li>{prose(sentence.marked)}</li>" for sentence in verdict(comparison))
    cards = "".join(f"<h4>{escape(heading)}</h4>{scrolled(table, heading)}" for heading, table in scorecards(comparison))
    return f"<h3>{escape(title(comparison))}</h3><p>{escape(subtitle(comparison))}</p><ul>{items}</ul>{cards}"
