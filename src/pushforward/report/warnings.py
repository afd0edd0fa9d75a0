"""What a report warns of, by rules: comparisons with no network, alarms, sizes, too few samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from pushforward.evaluation.measurements import Alarm
from pushforward.evaluation.results import Comparison
from pushforward.metrics.selection import MODEL_SCORES
from pushforward.numbers import count, counted, listing, plain
from pushforward.report.alarms import alarm_periods, unused_code
from pushforward.report.bias import bias_text, biases
from pushforward.report.feature_spaces import disagreements, taught_judges
from pushforward.report.ladder import rises
from pushforward.report.learned_warnings import LEARNED_RULES
from pushforward.report.sample_warnings import DETAIL_RULES, SAMPLE_RULES
from pushforward.report.sentences import Sentence, inside, named, unmarked, verb, warning
from pushforward.report.speeds import sessions
from pushforward.report.statistics import (
    THRESHOLDS,
    Statistic,
    blind,
    guess_statistics,
    lacking,
    main_metrics,
    statistic,
    statistics,
    values_of,
)
from pushforward.report.table_warnings import TABLE_RULES

__all__ = ["unbeaten", "warnings"]


def warnings(comparison: Comparison) -> Iterator[Sentence]:
    """Every warning, rule by rule, then those of the models themselves."""
    for rule in RULES:
        yield from rule(comparison)
    for model in comparison.models:
        for text in model.warnings:
            yield warning(f"{named([model.name])}: {unmarked(text)}", "cost")


def _few_dimensions(comparison: Comparison) -> Iterator[Sentence]:
    """Features that were reduced so far, for want of examples, that most differences are lost."""
    settings, shape = comparison.settings, comparison.data.shape
    if settings.dimensions is not None and settings.dimensions < min(THRESHOLDS["dimensions"], math.prod(shape)):
        some = counted(settings.dimensions, "dimension")
        size = "" if settings.n is None else f" (n = {count(settings.n)})"
        yield Sentence(
            "measure",
            f"These features have {some}{size} and cannot see most differences: do not rely on these scores.",
            "reproduce",
        )


def _unscored(comparison: Comparison) -> Iterator[Sentence]:
    metrics = main_metrics(comparison)
    lost = [
        model.name
        for model in comparison.models
        if metrics and all(statistic(comparison, model, metric) is None for metric in metrics)
    ]
    if lost:
        yield warning(
            f"{named(lost)} {verb(lost, 'has', 'have')} no finite score, so nothing is said about {verb(lost, 'it', 'them')}."
        )


def _missing(comparison: Comparison) -> Iterator[Sentence]:
    """Why a metric has no score."""
    for why in comparison.unscored.values():
        yield warning(unmarked(why))


def _against_no_network(comparison: Comparison) -> Iterator[Sentence]:
    """A model that does not beat a Gaussian has learned nothing; a score at its floor cannot tell, and is passed over.

    Models that are measurably worse and models within noise of the row get a clause each.
    """
    for metric in main_metrics(comparison):
        short = lacking(comparison, metric)
        worse = [own for own, base in short.values() if base.better_than(own)]
        level = [own for own, _ in short.values() if own not in worse]
        label, base = inside(comparison.info(metric).label), next((base for _, base in short.values()), None)
        if base is not None and unbeaten(comparison, metric):
            parts = ((level, "within noise of it"), (worse, "measurably worse"))
            clauses = "; ".join(_clause(scores, how) for scores, how in parts if scores)
            beats = "measurably beats" if level else "beats"
            what = f" ({kind}" if (kind := base.name.partition(" (")[2]) else ""
            text = f"No model {beats} the no-network row{what} in {label} ({base.text}): {clauses}."
            yield Sentence("baseline", text, "scorecard")
        elif base is not None:
            yield from _single_models(level, worse, base, label)


def unbeaten(comparison: Comparison, metric: str) -> bool:
    """Whether there are several models, and none of them beats the no-network row, which a sentence of its own says."""
    return len(lacking(comparison, metric)) == len(statistics(comparison, metric)) > 1


def _single_models(level: Sequence[Statistic], worse: Sequence[Statistic], base: Statistic, label: str) -> Iterator[Sentence]:
    if level:
        who = f"{named([score.name for score in level])} {verb(level, 'does', 'do')} not measurably beat"
        yield warning(f"{who} the no-network row in {label}: {values_of(level)} against {base.text}, within noise of it.")
    if worse:
        who = f"{named([score.name for score in worse])} {verb(worse, 'is', 'are')} measurably worse than"
        yield warning(f"{who} the no-network row in {label}: {values_of(worse)} against {base.text}.")


def _clause(scores: Sequence[Statistic], how: str) -> str:
    return f"{named([score.name for score in scores])} {verb(scores, 'is', 'are')} {how} ({values_of(scores)})"


def _against_guess(comparison: Comparison) -> Iterator[Sentence]:
    """Models that a guess without any model beats or equals, in metrics that have such a baseline."""
    for metric, base in guess_statistics(comparison).items():
        for score in statistics(comparison, metric):
            if not score.better_than(base):
                how = "measurably worse than" if base.better_than(score) else "not measurably better than"
                label = inside(comparison.info(metric).label)
                yield warning(f"{named([score.name])} is {how} {base.name} in {label}: {score.text} against {base.text}.")


def _alarms(comparison: Comparison) -> Iterator[Sentence]:
    """One sentence for each kind of alarm of a model: the last that stands at the end, else the first that is over."""
    for model in comparison.models:
        kinds: dict[str, list[tuple[Alarm, Alarm | None]]] = {}
        for period in alarm_periods(model):
            kinds.setdefault(period[0].kind, []).append(period)
        for kind, periods in kinds.items():
            if kind == "divergence" and any("broke off" in text for text in model.warnings):
                continue  # its warning says it
            standing = [period for period in periods if period[1] is None]
            begin, end = standing[-1] if standing else periods[0]
            advice = f": {unmarked(begin.advice)}" if begin.advice else ""
            times = f"was raised {count(len(periods))} times" if len(periods) > 1 else ""
            still = "ended the training" if kind == "variety" else "still held at the end of training"
            ends = still if end is None else f"was over at step {count(end.step)}"
            parts = [times, ends] if end is None else [ends, times]
            yield warning(
                f"Alarm while {named([begin.training or model.name])} was trained, at step {count(begin.step)}: "
                f"{unmarked(begin.sentence)}{advice}. It {' and '.join(filter(None, parts))}.",
                "health",
            )


def _unused_codes(comparison: Comparison) -> Iterator[Sentence]:
    """Codes that nothing uses, where no alarm that stands to the end says so."""
    for model in comparison.models:
        standing = any(begin.kind == "posterior" and end is None for begin, end in alarm_periods(model))
        text = "" if standing else unused_code(model, len(comparison.data.shape) == 1)
        if text:
            yield warning(f"Of {named([model.name])}, {text}", "codes")


def _sizes(comparison: Comparison) -> Iterator[Sentence]:
    sizes = {model.name: model.parameters for model in comparison.models if model.parameters}
    if len(sizes) < 2:
        return
    least, most = min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name])
    if sizes[most] > THRESHOLDS["unequal_size"] * sizes[least]:
        times = plain(sizes[most] / sizes[least], 2)
        text = f"The models differ in size: {named([most])} has {times} times the parameters of {named([least])}."
        yield warning(text, "cost")


def _timed_apart(comparison: Comparison) -> Iterator[Sentence]:
    """Joined reports whose models were not timed in turns with each other."""
    groups = sessions(comparison)
    if len(groups) > 1:
        text = (
            f"Times do not compare: {' – '.join(map(named, groups))} were timed in different sessions, maybe on other machines."
        )
        yield warning(f"{text} Compare the runs themselves to time all of them in turns.", "cost")


def _small(comparison: Comparison) -> Iterator[Sentence]:
    n = comparison.settings.n
    compared = any(metric not in MODEL_SCORES for model in comparison.models for metric in model.scores)
    if compared and n is not None and n < THRESHOLDS["small"]:
        text = f"Only {count(n)} samples are compared with {count(n)} real ones: take every score with care."
        yield Sentence("measure", text, "reproduce")


def _blind(comparison: Comparison) -> Iterator[Sentence]:
    labels = [inside(comparison.info(metric).label) for metric in main_metrics(comparison) if blind(comparison, metric)]
    base = comparison.baseline
    if labels and base is not None:
        fitted = "mixtures" if "mixture" in base.name else "Gaussians"
        yield Sentence(
            "measure",
            f"On this data {listing(labels)} cannot show that a model is good: even {fitted} fitted to the training data, "
            "without any network, are not measurably worse than real data. A model that scores measurably worse is bad.",
            "scorecard",
        )


def _biased(comparison: Comparison) -> Iterator[Sentence]:
    """Scores of quality that at a small n consist of bias in good part."""
    n = comparison.settings.n
    if n is None or n >= THRESHOLDS["few"]:
        return
    for name, bias in biases(comparison).items():
        values = {model.name: model.scores[name].value for model in comparison.models if name in model.scores}
        most = [model for model, value in values.items() if value is not None and bias > THRESHOLDS["biased"] * value]
        if most and comparison.info(name).role is not None:
            part = f"about {bias_text(comparison, name, bias)} of every {inside(comparison.info(name).label)}"
            text = (
                f"At n = {count(n)} {part} is bias that more samples "
                f"would remove, more than {THRESHOLDS['biased']:.0%} of that of {named(most)}: compare at equal n only."
            )
            yield warning(text.replace("%", " %"))


RULES: tuple[Callable[[Comparison], Iterator[Sentence]], ...] = (
    _few_dimensions,
    taught_judges,
    _unscored,
    _against_no_network,
    _missing,
    _against_guess,
    *SAMPLE_RULES,
    *LEARNED_RULES,
    *TABLE_RULES,
    disagreements,
    rises,
    _alarms,
    _unused_codes,
    *DETAIL_RULES,
    _sizes,
    _timed_apart,
    _blind,
    _small,
    _biased,
)
"""What a report warns of, in this order."""
