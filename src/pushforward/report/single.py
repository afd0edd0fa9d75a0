"""The scores of one model for a terminal."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.report import ladder
from pushforward.report.bars import samplings
from pushforward.report.latent import table
from pushforward.report.text import bullets, line_width, score_parts, wrapped
from pushforward.report.warnings import warnings

__all__ = ["scores_text"]


def scores_text(comparison: Comparison, width: int | None = None) -> str:
    """The tables of the only model's scores, as a report's text has them, what its codes hold, then the warnings.

    Args:
        comparison: Of one model.
        width: Characters in a line; None takes the terminal's, 80 where there is none, at most 120.
    """
    width = line_width(width)
    paragraphs = [_codes(comparison), *_footing(comparison), *(claim.text for claim in ladder.claims(comparison))]
    parts = [*score_parts(comparison, width), *(wrapped(paragraph, width) for paragraph in paragraphs)]
    keep = bullets((sentence.text for sentence in warnings(comparison)), width)
    return "\n\n".join(part for part in [*parts, f"what to keep in mind:\n{keep}" if keep else ""] if part)


def _codes(comparison: Comparison) -> str:
    """What a model's codes hold; nothing for a model without any."""
    statistics = table(comparison)
    if statistics is None:
        return ""
    cells = [f"{column.label} {cell.value}" for column, cell in zip(statistics.columns, statistics.rows[0].cells, strict=True)]
    return "codes of held-out examples: " + ", ".join(cell for cell in cells if not cell.endswith("–"))


def _footing(comparison: Comparison) -> list[str]:
    """How the numbers of the table were computed."""
    settings, bits = comparison.settings, comparison.models[0].scores.get("bpd")
    lines = []
    if settings.features:
        lines.append(
            f"n = {settings.n} on either side, {samplings(comparison)}; features: {settings.features}. There is no ratio where "
            "real data's score is below 0 or within two of its spreads of 0."
        )
    if bits is not None:
        beside = "".join(f"; no network: {guess.name}" for guess in comparison.guesses)
        lines.append(f"bits per dimension: {bits.extra['how']}, over {bits.n:,} held-out examples{beside}")
    return lines
