"""The families in two dimensions at the top of a demo's page: what each does, what went wrong, and what a sample costs."""

from __future__ import annotations

from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, counted, plain
from pushforward.report.markup import prose, titled
from pushforward.report.samples import samples
from pushforward.report.speeds import at_once
from pushforward.report.sprites import Look

__all__ = ["deed", "story"]

WAYS = {
    "gan": "A generator maps noise to data in one call. A critic learns to tell its samples from data, and the two play against "
    "each other: no label to regress, but a game.",
    "original GAN": "The game as it was first published (2014), without the penalties and Fourier features of later work, and at "
    "a high learning rate (.02), at which it loses points early.",
    "vae": "An encoder and a decoder learn a code that looks like noise; a sample is noise decoded, in one call. Training is a "
    "regression and stable.",
    "ddpm": "Diffusion: data is hidden in noise, and a network learns to take the noise away again, in many small steps. Each is "
    "a plain regression.",
    "flow": "Flow matching: a network learns the velocity of straight ways from noise to data. A regression too; fewer steps are "
    "enough.",
}
"""What each model does, by its name."""
BLURRED = 0.5
"""The share of samples between the modes from which on a model is said to blur."""
LEAST = 0.2
"""The part of its true share of samples from which on a mode is reached."""
UNTRAINED = 100
"""Steps of training below which what a model does with the points says nothing about its family."""


def story(opening: Comparison, look: Look, rules: list[str]) -> str:
    """A paragraph, the moving pictures, and a card for each model.

    Args:
        opening: Models of points in the plane.
        look: How their samples are drawn, under a suffix of its own.
        rules: Styles of the frames are added here.
    """
    cards = "".join(_card(opening, model, index) for index, model in look.numbered(opening.models))
    budget = next((model.training.seconds for model in opening.models if model.training.seconds), None)
    trained = "" if budget is None else f" Each trained for {plain(budget, 2)} seconds."
    return (
        "<p>All of them learn one thing: to move simple noise onto data, so that new samples can be drawn. They differ in how. "
        f"Here the data is {escape(opening.data.name)}, eight points on a circle, where each mistake can be seen.{trained}</p>"
        f'<div class="deeds">{cards}</div>{samples(opening, look, rules)}'
    )


def _card(opening: Comparison, model: ModelResult, index: int) -> str:
    way = WAYS.get(model.name, "")
    costs = [] if model.sampling.calls is None else [counted(model.sampling.calls, "call")]
    if model.sampling.seconds_per_sample:
        costs.append(f"{plain(1e6 * model.sampling.seconds_per_sample, 2)} µs a sample")
        costs += filter(None, [at_once(model.sampling.timing.batch)])
    return (
        f'<div class="deed"><p class="figtitle">{titled(model, index)}</p><p>{escape(way)}</p>'
        f'<p><strong>{prose(deed(opening, model))}</strong></p><p class="note">{escape(" · ".join(costs))}</p></div>'
    )


def deed(opening: Comparison, model: ModelResult) -> str:
    """What a model did with the modes, in a sentence, or that it has hardly been trained; empty where modes were not scored."""
    held, between, true = model.scores.get("modes_held"), model.scores.get("bridges"), opening.floors.get("modes_held")
    values = [score.value for score in (held, between, true) if score is not None and score.value is not None]
    if held is None or len(values) < 3:
        return ""
    steps = model.training.steps
    if steps is not None and steps < UNTRAINED:
        return f"Not trained yet: {counted(steps, 'step')}."
    modes, outside, every = values
    reached = sum(share >= LEAST / every for share in held.extra.get("nearest", ()))
    share = f"{100 * outside:.0f} % of its samples fall between the points"
    if 0 < reached <= every / 2:
        return f"It collapsed: nearly all of its samples are near {reached} of {count(every)} points."
    if outside > BLURRED and modes > every / 2:
        return f"It has learned where the points are, but not yet how narrow they are: {share}."
    if outside > BLURRED:
        return f"It blurs: {share}."
    if modes < every:
        return f"It lost {count(every - modes)} of {count(every)} points; {share}."
    return f"It holds all {count(every)} points; {share}."
