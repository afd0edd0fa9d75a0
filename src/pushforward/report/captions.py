"""What stands beside the pictures: how many calls are enough, what a loss means, what a comparison cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, counted, listing, measured
from pushforward.report.rungs import rung_of, rungs_of
from pushforward.report.sentences import inside, marked
from pushforward.report.speeds import sessions
from pushforward.report.statistics import at_n, blind, curve_metric, floor_of

__all__ = [
    "CODE_NOTES",
    "HEALTH_CAPTIONS",
    "HEALTH_NOTE",
    "LANDSCAPE_NOTE",
    "LEVEL_NOTE",
    "PATHS_NOTE",
    "TRAJECTORY_NOTE",
    "cost_note",
    "cost_notes",
    "curve_intro",
    "curve_notes",
    "curve_points",
    "family_of",
    "loss_caption",
    "seconds_note",
    "shared_noise",
]


def curve_intro(comparison: Comparison) -> str:
    """How to read quality against network calls, by the name of the score that is drawn."""
    info = comparison.info(curve_metric(comparison))
    better = {"lower": "; lower is better", "higher": "; higher is better"}.get(info.better, "")
    return (
        f"{info.label} against network calls for one sample{better}. The band is what real data scores against real data: no "
        "model can be seen to be better than that. A model that samples in one call alone is a single point. "
        f"{_samplings(comparison)}"
    )


def _samplings(comparison: Comparison) -> str:
    """Over how many samplings the points of curves are means, the fewest and the most of them."""
    every = [point for model in comparison.models for point in model.curve]
    counts = {max((len(values) for values in point.values.values()), default=1) for point in every}
    least, most = min(counts, default=1), max(counts, default=1)
    fewer = f", points that take long over {least} at least" if least < most else ""
    return f"Each point of a curve is the mean over {counted(most, 'sampling')}{fewer}."


def curve_notes(comparison: Comparison) -> list[str]:
    """For each iterative model, how many calls are enough; marked text as in `Sentence`."""
    metric = curve_metric(comparison)
    return [note for model in comparison.models if (note := _enough(comparison, model, metric))]


def curve_points(model: ModelResult, metric: str) -> list[tuple[float, float, float | None]]:
    """Calls, score and steps along a curve, by calls; points without a finite score are left out."""
    points = [(rung, point.steps) for point in model.curve if (rung := rung_of(point, metric)) is not None]
    return sorted([(rung.calls, rung.value, steps) for rung, steps in points], key=lambda point: point[0])


def _enough(comparison: Comparison, model: ModelResult, metric: str) -> str:
    """The fewest calls from which no point of the curve is measurably worse than its best one."""
    points, rungs = curve_points(model, metric), rungs_of(model.curve, metric)
    if len(points) < 3:
        return ""
    name = marked(model.name)
    turn = -1.0 if comparison.info(metric).better == "higher" else 1.0
    top = min(rungs, key=lambda rung: turn * rung.value)
    best, spread = points[rungs.index(top)], floor_of(comparison, metric)[1]
    worse = [at for at, rung in enumerate(rungs) if rung.differs(top, spread, len(rungs) - 1)]
    first = worse[-1] + 1 if worse else 0
    if blind(comparison, metric):
        return _unseen(comparison, model, metric, points[first:])
    if first == len(points):
        return f"For {name}, {_point(best, spread)} are best; with {_point(points[-1], spread)} it is worse."
    if first == len(points) - 1 and best == points[-1]:
        return f"{name} still improves at {count(best[0])} calls ({measured(best[1], spread)[0]})."
    near = "the best of its curve" if points[first] == best else f"not measurably worse than {_point(best, spread)}"
    verb = "is" if points[first][0] == 1 else "are"
    return f"For {name}, {_point(points[first], spread)} {verb} enough, {near}; more only cost time."


def _unseen(comparison: Comparison, model: ModelResult, metric: str, level: Sequence[tuple[float, float, float | None]]) -> str:
    """Of a score that even a Gaussian passes: that it can rule out numbers of calls, and not say that one is enough."""
    if len(level) < 2:
        return ""
    least, most = counted(level[0][0], "call"), count(level[-1][0])
    return (
        f"{inside(comparison.info(metric).label)}{at_n(comparison)} cannot tell {least} of "
        f"{marked(model.name)} from {most}: even the no-network row is not measurably worse than real data."
    )


def _point(point: tuple[float, float, float | None], spread: float) -> str:
    """Such as ``15 calls (8 steps: 0.130)``, in the digits that real data's spread supports."""
    calls, value, steps = point
    at = "" if steps is None else f"{counted(steps, 'step')}: "
    return f"{counted(calls, 'call')} ({at}{measured(value, spread)[0]})"


SECONDS_NOTE = (
    "{} and to the left is better. Time is that of {}. "
    "It was measured at each model's own number of steps; at other numbers it is in proportion to network calls."
)
APART = "Models of different reports were timed in different sessions, so their times do not compare. "
COST_NOTES = (
    "Time per sample is that of {}. {} timed in turns, at least seven of each after a warm-up. The lower quartile is shown, "
    "since other programs can only slow a turn down; the interval leads from the fastest turn to the median. Memory is what a "
    "model adds: the most bytes that PyTorch's allocator holds for it at once, weights included, without the library, the "
    "data and the other models. In training these are also gradients, the optimiser's states, averaged weights and "
    "activations of one step, at the batch size shown. Scratch memory of system libraries is not counted, so a process needs "
    "more than this."
)
TRAJECTORY_NOTE = (
    "Straightness is how much the velocity along the way from noise to sample varies, relative to how far the way leads: 0 is a "
    "straight line at constant speed, on which one step suffices; the larger, the more steps it takes. It is large as well where "
    "noise and data lie close together. All models are read on the same straight path, so their values compare. A model that "
    "samples in one call alone has no trajectory."
)
COST_NOTE = (
    "NPE, the normalised path energy, is how much more is moved than has to be, relative to the least (optimal transport): 0 is "
    "the least. The least is estimated from as many examples of noise and of data as there are trajectories."
)
PATHS_NOTE = (
    "Lines lead from noise (crosses) to samples (dots), from the same noise in each picture; gray rings are held-out data."
)
LEVEL_NOTE = (
    "Unlike losses of training, errors at one noise level can be compared: all models predict v on the same "
    "held-out examples with "
    "the same noise. Lower is better. A noise level is noise over data, σ/α: where it is low, detail is drawn; where it is high, "
    "shape and content are decided. Part of the error cannot be avoided, so what counts is the gap between two models."
)


HEALTH_NOTE = (
    "Measured while models were trained, on the weights as they were at that step and not on their average, which is what is "
    "sampled above (samples of maps between two times: on the average, in one call): up to 500 samples from noise that stays the "
    "same, beside as many training examples. So few are rough: read a "
    "curve against itself over time, not against a score. Where an alarm stands, the charts are shaded."
)
CODE_NOTES = {
    "table": "Models with an encoder code an example and decode it again. Reconstructions say what the code keeps; the KL term "
    "says what it costs. Samples come from a prior: the mismatch is how far the codes of all data together lie from "
    "it, so a large one means places from which samples are drawn and to which no data is coded. Active units are "
    "numbers of the code whose mean varies over data by a variance above 0.01 (within a class where the model receives "
    "classes). Without any, samples hardly differ, or by the decoder's noise alone: "
    "posterior collapse, or a training too short to begin to use them.",
    "units": "The KL term of each number of the code, the largest first. An active unit costs 0.005 nats at least, and may carry "
    "little more. Units below that carry nothing: harmless where a few are, "
    "collapse where all are, over-regularisation where beta is above 1 and most are.",
    "walks": "Walks lead from the code of the first image above to that of the held-out image that differs most from it, of the "
    "same class where the model receives classes.",
    "classes": "One code decoded as each class says what the label decides and what the code does: the class changes, style "
    "stays.",
    "arithmetic": "Arithmetic adds to the codes of one class what tells the mean of another class from it.",
    "map": "The map shows codes of held-out examples, on their first two principal axes where codes have more "
    "than two numbers, each "
    "class in its colour. A model that receives classes need not keep them in its codes, so that there they mix.",
}
HEALTH_CAPTIONS = {
    "kl": "Nats that the code costs an example, over single batches (two layers: both, estimated). Near 0 the decoder ignores "
    "the code: posterior collapse. With a warm-up it falls as the weight rises.",
    "log_likelihood": "The other half of the bound: how well the decoder tells an example from its code, nats an example; "
    "higher is better. The bound is this less beta times the KL term.",
    "explained": "Share of the variance about the mean example that reconstructions explain: 0 is what the mean alone would.",
    "active_units": "Numbers of the code (of two layers: the lower one) whose mean varies over the examples of a batch, "
    "within a class where there are labels.",
    "perplexity": "Codes of the codebook in use, as many as would be used evenly for the same entropy. A low value means a book "
    "that is largely dead.",
    "feature_distance": "Distance of reconstructions in the features in which they are compared while training.",
    "modes_held": "Modes that have at least 20 % of their true mass. A fall that lasts is collapse: the generator has given up "
    "modes that it knew. All modes held does not mean that each has its right width.",
    "coverage": "Share of training examples that have a sample near them; a perfect model has about 0.97. A fall that lasts is "
    "collapse. A low value that rises is a model that is still learning.",
    "bridges": "Share of samples more than 5 standard deviations from every mode. A continuous generator leaves some on the way "
    "from one mode to the next; one that sees the signs of its noise can jump, and has fewer.",
    "critic_accuracy": "Share of pairs, a real and a generated example, that the critic ranks right in a batch. "
    "0.5 is chance, and "
    "no proof of good samples: a weak critic guesses as well. Near 1 for good, it has won, and its slope teaches nothing.",
    "logit_gap": "How much higher the critic scores real examples than generated ones. Its size depends on the game and on the "
    "penalties; what counts is its course: a steady climb means that the critic runs away.",
}
LANDSCAPE_NOTE = (
    "How real the critic takes each point to be, at the moments at which samples were kept: the darker, the more real. Coloured "
    "dots are samples of the same weights, gray rings are held-out data. The generator moves its samples uphill, so it learns "
    "where slopes lead from samples to data, and nothing where the land is flat; a hill on data without samples is a mode that "
    "the critic misses. Shades are relative within each picture, and far from all dots, where the critic was never asked, they "
    "mean little. Where there are classes, the highest value over them is drawn."
)


def cost_notes(comparison: Comparison) -> str:
    """How times and memory were measured."""
    apart = len(sessions(comparison)) > 1
    models = "Models of one report are" if apart else "All models are"
    return (APART if apart else "") + COST_NOTES.format(_timed(comparison, " (“at once”)"), models)


def _timed(comparison: Comparison, where: str = "") -> str:
    """What was timed to get the time of a sample.

    Args:
        comparison: What is reported.
        where: Where the number of samples of a batch stands.
    """
    batches = {model.sampling.timing.batch for model in comparison.models if model.sampling.seconds_per_sample}
    if batches == {1}:
        return "a sample drawn alone"
    alone = "known only where the batch has one sample" if 1 in batches else "not known"
    return f"a batch, divided by its samples{where}; that of a sample drawn alone is {alone}"


def seconds_note(comparison: Comparison) -> str:
    """How to read quality against the time of a sample."""
    better = comparison.info(curve_metric(comparison)).better
    towards = {"higher": "Up", "lower": "Down"}.get(better, "Towards real data")
    return (APART if len(sessions(comparison)) > 1 else "") + SECONDS_NOTE.format(towards, _timed(comparison))


def cost_note(comparison: Comparison) -> str:
    """How to read transport costs; empty where there are none."""
    paths = [model.trajectory for model in comparison.models]
    return COST_NOTE if any(path is not None and path.npe is not None for path in paths) else ""


CAPTIONS = {
    "gan": "A game of two players: each loss says how that player fares against the other one as it is now. It is no "
    "measure of quality: a flat or rising curve is normal, and a low generator loss does not mean good samples. "
    "Watch for one player winning for good.",
    "vae": "The negative ELBO per dimension: an upper bound on the negative log-likelihood, reconstruction plus the "
    "cost of the code. Lower is a better model of the data, but blurred samples can have a low one. It may be below "
    "zero for continuous data.",
    "diffusion": "A regression error, averaged over noise levels. It never reaches zero, since the noise in a sample "
    "cannot be known exactly, and it flattens long before the samples stop improving.",
    "flow": "A regression error: how far the predicted velocity is from those of random noise-data pairs. It never "
    "reaches zero, since many pairs cross at one point, and it flattens long before the samples stop improving.",
    "map": "A regression error whose targets are partly the map's own. Each example is divided by a power of its own error, so "
    "the printed loss hardly moves and says nothing of quality; a flat curve is normal. How training went shows the raw errors.",
    "other": "The loss of this method. Compare it with itself over time, never with another family's.",
}


def family_of(model: ModelResult) -> str:
    """One of the keys of the captions: gan, vae, diffusion, flow, map, other."""
    words = f"{model.family} {model.method}".lower()
    known = {
        "flow map": "map",
        **dict.fromkeys(("gan", "adversarial"), "gan"),
        **dict.fromkeys(("vae", "variational", "autoencoder"), "vae"),
        "flow": "flow",
        **dict.fromkeys(("diffusion", "ddpm", "edm", "score", "denoising"), "diffusion"),
    }
    return next((family for word, family in known.items() if word in words), "other")


def loss_caption(model: ModelResult) -> str:
    """What a loss curve of this family does and does not mean."""
    return CAPTIONS[family_of(model)]


def shared_noise(comparison: Comparison, places: bool = True) -> str:
    """Which models' samples start from the same noise; empty where nothing is known.

    Args:
        comparison: What is reported.
        places: Whether samples have places that can be compared, as in grids of images.
    """
    names, shared = [model.name for model in comparison.models], comparison.settings.shared
    if shared is None or len(names) < 2:
        return ""
    groups = [group for stated in shared if len(group := [name for name in names if name in stated]) > 1]
    apart = [name for name in names if not any(name in group for group in groups)]
    same, unlike = (": the same place in each grid is the same z", ", so equal places do not correspond") if places else ("", "")
    if not groups:
        return f"All models use the same seeds. Their noise has different shapes{unlike}."
    if groups == [names]:
        return f"All models start from the same noise{same}."
    others = [f"so do {listing(group)}" for group in groups[1:]]
    start = ", and ".join([f"{listing(groups[0])} start from the same noise", *others])
    rest = (
        f" The noise of {listing(apart)} has {'another shape' if len(apart) == 1 else 'other shapes'}{unlike}." if apart else ""
    )
    return f"{start}{same.replace('each grid', 'their grids')}.{rest}"
