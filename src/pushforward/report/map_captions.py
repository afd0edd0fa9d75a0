"""What stands beside the charts and pictures of a map between two times."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import listing
from pushforward.report.sentences import inside

__all__ = ["DIFFERENCE_NOTE", "MAP_CAPTIONS", "MOVED_NOTE", "TIME_NOTE", "ladder_note"]

_LADDER_NOTE = (
    "A map between two times can be sampled in any number of calls. It and its teacher start from the same noise with the same "
    "conditions here, in as many calls each. {} Distance to teacher is "
    "the root mean square distance of samples from the teacher's samples of the same noise, in standard deviations of the data. "
    "A map that was finished is compared with its start in as many calls, any other map with the samples of its teacher that it "
    "learned from. A map far from its teacher's samples may still score as well, and a teacher whose solver adds noise is far "
    "from its own."
)
TIME_NOTE = (
    "Measured while training, on averaged weights: up to 500 samples from noise that stays the same, beside as many training "
    "examples. The distance is in other features than that of the scores, so read it over time."
)
DIFFERENCE_NOTE = "The same noise in the same place: where the difference is dark, the map in one call ends as its teacher does."
MOVED_NOTE = "Lines lead from each point of the teacher (crosses) to that of the map in one call from the same start (dots)."
MAP_CAPTIONS = {
    "coverage_1": "Share of training examples that have a sample in one call near them. A map that starts from nothing first "
    "loses it: it begins as a flow, whose single step ends at means.",
    "recall": "Share of training examples that lie among samples in one call. Where it falls while the distance improves, "
    "quality is bought with variety.",
    "disagreement": "How far samples in one jump are from those in two of the same noise, over the spread of samples: 0 for a "
    "map that agrees with itself, about .5 for a velocity taken for a map. It rises where a flow is learned first, and falls as "
    "that becomes a map.",
    "diagonal_loss": "Raw error where both times are equal, before examples are weighted: that of an ordinary flow. Without a "
    "teacher it flattens at what no model can know, and that is normal.",
    "off_diagonal_loss": "Raw error between two different times, before examples are weighted. Targets are the map's own but for "
    "a share of the velocity that falls over training, and the error falls with that share: a low value alone is no proof of a "
    "good map. A sound one stays about or below that at equal times.",
    "stored_loss": "Raw error against stored trajectories of the teacher: it falls to what the network cannot follow. Where "
    "this part of training ends, the curve ends.",
    "target_size_high": "Size of targets at the noisiest times over that of velocities there. A mean velocity is no larger than "
    "the velocities that it is a mean of, so about 1 and below is sound; above 2, targets run away.",
}
"""By the measure, for the charts of training."""


def ladder_note(comparison: Comparison) -> str:
    """How to read the scores in few calls of all maps of a comparison."""
    points = [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    infos = [comparison.info(name) for name in dict.fromkeys(name for point in points for name in point.scores)]
    higher = [inside(info.label) for info in infos if info.better == "higher"]
    better = f"Higher is better for {listing(higher)}, lower for the other scores." if higher else "Lower scores are better."
    return _LADDER_NOTE.format(better)
