"""The scores of one model for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.evaluation.results import Comparison, Score
from pushforward.numbers import count
from pushforward.report import ladder
from pushforward.report.bias import bias_note
from pushforward.report.latent import table
from pushforward.report.warnings import warnings

__all__ = ["scores_text"]


def scores_text(comparison: Comparison) -> str:
    """An aligned table of the only model's scores, beside real data's and those without a network; then the warnings."""
    (model,), baseline = comparison.models, comparison.baseline
    others = [row.scores for row in ([baseline] if baseline else []) + list(comparison.guesses)]
    rows = [["", "model", "ratio", "real data", "no network"]]
    for name, score in model.scores.items():
        other = next((scores[name] for scores in others if name in scores), None)
        ratio = "" if score.ratio is None else f"{score.ratio:.2f}"
        floor = comparison.floors.get(name)
        rows.append([comparison.info(name).label, _with_spread(score), ratio, _with_spread(floor), _with_spread(other)])
    sentences = [f"- {sentence.text}" for sentence in warnings(comparison)]
    keep = ["", "what to keep in mind:", *sentences] if sentences else []
    return "\n".join([*_aligned(rows), *_codes(comparison), "", *_footing(comparison), *_ladder(comparison), *keep])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _ladder(comparison: Comparison) -> list[str]:
    """A map in few calls beside its teacher; nothing for any other model."""
    (model,), scores = comparison.models, ladder.table(comparison, comparison.models[0])
    if scores is None or model.ladder is None:
        return []
    rows = [["calls", *(column.label for column in scores.columns)]]
    rows += [[row.name, *(cell.flat.replace("–", "") for cell in row.cells)] for row in scores.rows]
    n, repeats = count(model.ladder.n), count(model.ladder.repeats)
    how = f"few calls, n = {n}, {repeats} sampling{'' if repeats == '1' else 's'} of each:"
    return ["", how, *_aligned(rows), *(sentence.text for sentence in ladder.claims(comparison))]


def _with_spread(score: Score | None) -> str:
    """Such as ``1.02 ± 0.05``; nothing where there is no score."""
    if score is None or score.value is None:
        return ""
    return f"{score.value:.4g}" + ("" if score.spread is None else f" ± {score.spread:.2g}")


def _codes(comparison: Comparison) -> list[str]:
    """What a model's codes hold, in a line or two; nothing for a model without any."""
    statistics = table(comparison)
    if statistics is None:
        return []
    cells = [f"{column.label} {cell.value}" for column, cell in zip(statistics.columns, statistics.rows[0].cells, strict=True)]
    return ["", "codes of held-out examples: " + ", ".join(cell for cell in cells if not cell.endswith("–"))]


def _footing(comparison: Comparison) -> list[str]:
    """How the numbers of the table were computed."""
    settings, bits = comparison.settings, comparison.models[0].scores.get("bpd")
    lines = []
    if settings.features:
        times = f"{settings.repeats} sampling{'' if settings.repeats == 1 else 's'}"
        lines.append(f"n = {settings.n} on either side, {times}; features: {settings.features}")
        lines.append(
            "± is the standard deviation of one sampling; ratio is the model's value over real data's, and empty where that is "
            "below 0 or within two of its deviations of 0. KID and energy distance are unbiased: for real data about 0, and they "
            "may be negative."
        )
    if note := bias_note(comparison):
        lines.append(note)
    if bits is not None:
        beside = "".join(f"; no network: {guess.name}" for guess in comparison.guesses)
        lines.append(f"bits per dimension: {bits.extra['how']}, ± standard error over {bits.n:,} held-out examples{beside}")
    return lines
