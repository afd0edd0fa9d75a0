"""All findings in their order, and those about scores or several models."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.metrics.score import MODEL_SCORES
from pushforward.numbers import count, duration, listing, plain
from pushforward.report import model_findings, steps_curves
from pushforward.report.model_findings import Finding, FindingFunction, Findings, listed
from pushforward.report.statistics import (
    Statistic,
    blind,
    guess_statistics,
    label_in_sentence,
    main_metrics,
    real_data_score_of,
    real_data_text,
    standing,
    statistic,
    statistics,
    value_text,
)


def findings(comparison: Comparison) -> list[Finding]:
    """Return all findings in the order of a report."""
    found: list[Finding] = []
    for finding in FINDINGS:
        found.extend(finding(comparison))
    for model in comparison.models:
        for text in model.warnings:
            found.append(Finding("warning", f"{model.name}: {text}"))
    return found


def warnings(comparison: Comparison) -> list[Finding]:
    """Return all findings except the verdict."""
    return [finding for finding in findings(comparison) if finding.kind != "verdict"]


# Who is ahead -----------------------------------------------------------------------------------


def diversity(comparison: Comparison) -> Findings:
    """Report the scores in diversity, best first, and how they compare."""
    metric = comparison.ranking_metric("diversity")
    if metric is None:
        return
    best, *others = statistics(comparison, metric)
    texts = [f"{best.name} scores {value_text(comparison, metric, best)}"]
    for score in others:
        texts.append(f"{score.name} {value_text(comparison, metric, score)}")
    text = f"In {label_in_sentence(comparison, metric)}, {listing(texts)}."
    real_data_score = real_data_text(comparison, metric)
    if real_data_score:
        text += f" Real data scores {real_data_score}."
    yield Finding("verdict", f"{text} {standing(comparison, metric)}")


UNEQUAL_TIME = 1.15  # ratio of training times that counts as unequal


def training_times(comparison: Comparison) -> Findings:
    """Report the shortest and the longest training time."""
    seconds = {}
    for model in comparison.models:
        if model.training.total:
            seconds[model.name] = model.training.total
    names = sorted(seconds, key=lambda name: seconds[name])
    if len(names) < 2:
        return
    shortest = names[0]
    longest = names[-1]
    if seconds[longest] <= UNEQUAL_TIME * seconds[shortest]:
        return
    least = f"{duration(seconds[shortest])} ({shortest})"
    most = f"{duration(seconds[longest])} ({longest})"
    text = f"Training took from {least} to {most}, so the models did not have equal budgets."
    yield Finding("verdict", text)


# Whether scores can be trusted ------------------------------------------------------------------

# Parts of a method, and feature extractors, that use ImageNet features
# (Kynkäänniemi et al. 2023, arXiv:2203.06026)
TRAINED_WITH_IMAGENET = frozenset({"ProjectedCritic", "PretrainedFeatures"})
IMAGENET_EXTRACTORS = ("efficientnet", "inception")


def trained_with_features(comparison: Comparison) -> Findings:
    """Report ImageNet features that score models trained with ImageNet features."""
    trained = [model for model in comparison.models if _uses_imagenet(model.config.get("method"))]
    names = [model.name for model in trained]
    for space in comparison.settings.spaces:
        if names and space.partition(":")[0] in IMAGENET_EXTRACTORS:
            text = (
                f"{listing(names)} used ImageNet features in training, so scores in {space} "
                "features are too optimistic. Compare the models in features that no model was "
                "trained on."
            )
            problem = "scores in features that it was trained on"
            yield Finding("measure", text, dict.fromkeys(names, problem))


def _uses_imagenet(settings: object) -> bool:
    if isinstance(settings, Mapping):
        named = settings.get("part") in TRAINED_WITH_IMAGENET
        return named or any(map(_uses_imagenet, settings.values()))
    return isinstance(settings, (list, tuple)) and any(map(_uses_imagenet, settings))


def blind_scores(comparison: Comparison) -> Findings:
    """Report scores in which the baseline equals real data."""
    metrics = [metric for metric in main_metrics(comparison) if blind(comparison, metric)]
    if metrics:
        labels = [label_in_sentence(comparison, metric) for metric in metrics]
        text = (
            f"The {listing(labels)} cannot show whether a model is good, because the baseline is "
            "not significantly worse than real data."
        )
        yield Finding("warning", text)


SMALL = 200  # samples: below, scores are unreliable


def few_samples(comparison: Comparison) -> Findings:
    """Report a number of samples that is too small."""
    n = comparison.settings.n
    measured: set[str] = set()
    for model in comparison.models:
        measured |= model.scores.keys()
    if n is None or n >= SMALL or measured <= set(MODEL_SCORES):
        return
    if (comparison.data.held_out or 0) >= SMALL:
        advice = f"Use at least {SMALL}"
    else:
        advice = f"Use a larger data set, so that at least {SMALL} examples are held out"
    few = f"they are based on only {count(n)} samples"
    yield Finding("measure", f"The scores are unreliable, because {few}. {advice}.")


FEW = 2000  # samples: below, the bias of a score is reported
BIASED = 0.25  # fraction of a score that is bias


def biased_scores(comparison: Comparison) -> Findings:
    """Report scores of quality and diversity that consist largely of bias."""
    n = comparison.settings.n
    if n is None or n >= FEW:
        return
    for metric, info in comparison.metrics.items():
        bias = real_data_score_of(comparison, metric)[0]
        names = []
        for model in comparison.models:
            score = model.scores.get(metric, Score())
            if info.role is None or score.bias is None or not score.value:
                continue
            if bias is None:
                bias = score.bias
            if bias > BIASED * score.value:
                names.append(model.name)
        if names:
            label = label_in_sentence(comparison, metric)
            fraction = f"about {plain(bias, 2)} of the {label} of {listing(names)}"
            text = f"At n = {count(n)}, {fraction} is bias, which more samples would reduce."
            yield Finding("warning", text)


def unscored(comparison: Comparison) -> Findings:
    """Report models without a finite score."""
    metrics = main_metrics(comparison)
    names = []
    for model in comparison.models:
        if not any(statistic(comparison, model, metric) for metric in metrics):
            names.append(model.name)
    if metrics and names:
        text = f"Models without a finite score were not ranked: {listing(names)}."
        yield Finding("warning", text)


def missing_scores(comparison: Comparison) -> Findings:
    """Report why scores are missing."""
    for reason in comparison.unscored.values():
        yield Finding("warning", reason)


def no_better_than_a_guess(comparison: Comparison) -> Findings:
    """Report models that are not significantly better than a guess."""
    for metric, guess in guess_statistics(comparison).items():
        scores = statistics(comparison, metric)
        low = [score for score in scores if not score.better_than(guess)]
        if not low:
            continue
        label = label_in_sentence(comparison, metric)
        models = _texts(comparison, metric, low)
        guessed = listed(_texts(comparison, metric, [guess]))
        text = f"In {label}, {listed(models)} did not significantly outperform {guessed}."
        yield Finding("warning", text, dict.fromkeys(models, "scores no better than a guess"))


def disagreements(comparison: Comparison) -> Findings:
    """Report models whose order differs between two feature spaces."""
    first, *others = comparison.settings.spaces or ("",)
    for space in others:
        suffix = f" ({space})"
        metrics = [name for name in comparison.metrics if name.endswith(suffix)]
        for model, other in permutations(comparison.models, 2):
            for metric in metrics:
                in_first = metric.removesuffix(suffix)
                ahead = _ahead(comparison, in_first, model, other)
                if ahead and _ahead(comparison, metric, other, model):
                    label = label_in_sentence(comparison, in_first)
                    text = (
                        f"The {label} cannot rank {model.name} and {other.name}. {model.name} is "
                        f"ahead in {first} features and behind in {space} features."
                    )
                    yield Finding("warning", text)


def _ahead(comparison: Comparison, metric: str, model: ModelResult, other: ModelResult) -> bool:
    score = statistic(comparison, model, metric)
    rival = statistic(comparison, other, metric)
    return score is not None and rival is not None and score.better_than(rival)


# Unlike models ----------------------------------------------------------------------------------


def unlike_conditions(comparison: Comparison) -> Findings:
    """Report what models were given, if it differs."""
    models = {}
    for model in comparison.models:
        if model.conditioned is not None:
            models[model.name] = ", ".join(model.conditioned) or "nothing"
    if len(set(models.values())) > 1:
        reason = f"they were given different conditions: {listed(models)}"
        text = f"The models are not directly comparable, because {reason}."
        yield Finding("warning", text)


def _texts(comparison: Comparison, metric: str, scores: list[Statistic]) -> dict[str, str]:
    return {score.name: value_text(comparison, metric, score) for score in scores}


# All findings in the order of a report
FINDINGS: tuple[FindingFunction, ...] = (
    trained_with_features,
    blind_scores,
    few_samples,
    diversity,
    training_times,
    steps_curves.few_calls,
    steps_curves.nothing_gained,
    model_findings.mode_collapse,
    unscored,
    missing_scores,
    no_better_than_a_guess,
    model_findings.near_copies,
    model_findings.lost_modes,
    model_findings.lack_of_diversity,
    model_findings.low_recall,
    model_findings.unrealistic,
    model_findings.missing_classes,
    model_findings.closer_to_training,
    model_findings.held_out_seen,
    model_findings.membership_attacks,
    model_findings.given_away,
    disagreements,
    steps_curves.more_calls_worse,
    steps_curves.low_coverage,
    model_findings.alarms,
    model_findings.unused_latents,
    model_findings.blurred,
    model_findings.grainy,
    model_findings.misread_classes,
    unlike_conditions,
    biased_scores,
)
