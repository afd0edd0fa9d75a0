"""A comparison of models whose scores are written down, for tests of what a report says."""

from __future__ import annotations

from pushforward.evaluation.measurements import SampleTime, SamplingCost
from pushforward.evaluation.results import Comparison, ModelResult, Settings
from pushforward.metrics import MetricInfo, Score

INFO = {
    "frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality"),
    "coverage": MetricInfo("Coverage", "higher", "A share.", role="diversity"),
}


def compared(values, scores=("frechet",), **more):
    """Models by name with their scores, and where they are given seconds and network calls of a
    sample.
    """
    models = []
    for name, numbers in values.items():
        known = {score: Score(value, 0.01) for score, value in zip(scores, numbers, strict=False)}
        sampling = SamplingCost()
        if len(numbers) > len(scores):
            seconds, calls = numbers[len(scores) :]
            timing = SampleTime(low=seconds, high=1.01 * seconds)
            sampling = SamplingCost(calls=calls, seconds_per_sample=seconds, timing=timing)
        models.append(ModelResult(name, scores=known, sampling=sampling))
    base = ModelResult(
        "no network", scores={"frechet": Score(2.0, 0.01), "coverage": Score(0.5, 0.01)}
    )
    given = {
        "real_data_scores": {"frechet": Score(0.1, 0.01), "coverage": Score(0.96, 0.01)},
        "baseline": base,
        "settings": Settings(n=360),
    }
    return Comparison("it", metrics=INFO, models=tuple(models), **(given | more))
