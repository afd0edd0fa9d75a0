"""The section on samples: one panel for each model, moved together by a slider over training and one over sampling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, counted
from pushforward.report.captions import shared_noise
from pushforward.report.columns import has_columns
from pushforward.report.distributions import histogram_chart
from pushforward.report.facts import scored_trainings
from pushforward.report.limits import not_stored, without_pictures
from pushforward.report.markup import panel, side_by_side, sign, titled
from pushforward.report.nearest import closest_pairs, nearest_layer
from pushforward.report.planes import plane_data, plane_layers, plane_notes, plane_toggles
from pushforward.report.sprites import Look, Sprite

__all__ = ["samples"]

RINGS = "Gray rings are held-out data, coloured dots are samples."
COLUMNS = 12
"""Columns of a table whose histograms are drawn."""
SAMPLING, TRAINING = "f", "t"
"""Classes of the frames from noise to data, and of those over training."""


@dataclass(frozen=True)
class Panel:
    """One model: its samples as a picture (data URI, width, height), and the frames that lie above it."""

    index: int
    model: ModelResult
    still: tuple[str, int, int]
    sampling: Sprite | None
    training: Sprite | None

    @property
    def layers(self) -> list[tuple[str, Sprite]]:
        """The frames that there are, by their class."""
        both = ((SAMPLING, self.sampling), (TRAINING, self.training))
        return [(kind, sprite) for kind, sprite in both if sprite is not None and sprite.frames > 1]


def samples(comparison: Comparison, look: Look, rules: list[str]) -> str:
    """Real data and samples of each model with their sliders, and for tables the histograms of their columns.

    Args:
        comparison: What is reported.
        look: How samples are drawn.
        rules: Styles of the frames are added here.
    """
    real, absent = look.grid("real", None), without_pictures(comparison)
    parts = [part for index, model in look.numbered(comparison.models) if (part := _panel(index, model, look)) is not None]
    if not parts and real is None:
        return f"<p>{escape(absent)}</p>" if absent else ""
    figures = [panel("Real data <span>held out</span>", real, "Held-out examples of the real data")] if real is not None else []
    for part in parts:
        rules += [_rule(f"{kind}{part.index}{look.suffix}", sprite) for kind, sprite in part.layers]
        figures.append(_figure(part, look, rules))
    strips = "".join(
        _strip(part, f"{kind}{part.index}{look.suffix}", kind, sprite)
        for kind in (TRAINING, SAMPLING)
        for part, sprite in _moving(parts, kind)
    )
    strips = f'<div class="strips">{strips}</div>' if strips else ""
    return (
        f'<div class="player">{_controls(parts, look)}{side_by_side(figures)}{plane_data(comparison, look)}</div>'
        f'<p class="note wider">{escape(_notes(comparison, look, parts))}</p>{strips}{_columns(comparison, look)}'
        f"{closest_pairs(look, [(part.index, part.model) for part in parts])}"
    )


def _panel(index: int, model: ModelResult, look: Look) -> Panel | None:
    still, pictures = look.grid(model.name, index), look.of(model.name)
    if still is None:
        return None
    return Panel(
        index, model, still, look.sprite(pictures.formation, index, "t"), look.sprite(pictures.training, index, "after step")
    )


def _rule(name: str, sprite: Sprite) -> str:
    size = f"background-size:100% {100 * sprite.frames}%;aspect-ratio:{sprite.width}/{sprite.height}"
    return f".{name}{{background-image:url({sprite.uri});{size}}}"


def _moving(parts: Sequence[Panel], kind: str) -> list[tuple[Panel, Sprite]]:
    return [(part, sprite) for part in parts for layer, sprite in part.layers if layer == kind]


# Sliders --------------------------------------------------------------------------------------------------------


def _controls(parts: Sequence[Panel], look: Look) -> str:
    """The sliders that have anything to move, and the switches of what is drawn over points in the plane."""
    sliders = []
    for kind, name, ends in ((TRAINING, "Training", ("start", "end")), (SAMPLING, "Sampling", ("noise", "data"))):
        moving = _moving(parts, kind)
        if moving:
            most = max((sprite for _, sprite in moving), key=lambda sprite: sprite.frames)
            sliders.append(_slider(kind, name, ends, most, look.suffix))
    switches = plane_toggles(look)
    return f'<div class="controls" hidden>{"".join(sliders)}{switches}</div>' if sliders or switches else ""


def _slider(kind: str, name: str, ends: tuple[str, str], most: Sprite, suffix: str) -> str:
    last = most.frames - 1
    what = "step of training" if kind == TRAINING else "from noise to data"
    shares = escape(json.dumps(_shares(most) if kind == TRAINING else []))
    return (
        f'<div class="control" data-kind="{kind}" data-shares="{shares}">'
        f'<button type="button" class="play" aria-label="Play {name.lower()}"><span aria-hidden="true"></span></button>'
        f'<label for="slider-{kind}{suffix}">{name}<small>{what}</small></label>'
        f'<span class="end" aria-hidden="true">{ends[0]}</span>'
        f'<input id="slider-{kind}{suffix}" type="range" min="0" max="{last}" step="1" value="{last}">'
        f'<span class="end" aria-hidden="true">{ends[1]}</span></div>'
    )


def _shares(sprite: Sprite) -> list[int]:
    """How much of training is over at each frame, per cent."""
    last = sprite.moments[-1] or 1.0
    return [round(100 * moment / last) for moment in sprite.moments]


def _figure(part: Panel, look: Look, rules: list[str]) -> str:
    index, model = part.index, part.model
    uri, width, height = part.still
    layers = "".join(
        f'<div class="sprite {kind}{index}{look.suffix}" data-frames="{sprite.frames}" '
        f'data-labels="{escape(json.dumps(list(sprite.labels)))}" hidden></div>'
        for kind, sprite in part.layers
    )
    jumps = part.sampling is None
    veil = '<div class="veil" aria-hidden="true" hidden>z</div>' if jumps else ""
    below, above = plane_layers(look, model, index, rules)
    near, attributes = nearest_layer(look, model, index, rules)
    return (
        f'<figure class="panel{" jump" if jumps else ""}" data-model="{index}"><p class="figtitle">{titled(model, index)}</p>'
        f'<div class="frame"><div class="stage"{attributes}>{below}<img class="still" src="{uri}" width="{width}" '
        f'height="{height}" alt="{escape(f"Samples of {model.name}")}">{layers}{veil}{above}{near}</div></div>'
        f"<figcaption>{_moment(part)}</figcaption></figure>"
    )


def _moment(part: Panel) -> str:
    steps, earlier = part.model.training.steps, part.model.weights_step
    rest = "" if steps is None else f"after step {count(steps)}"
    if earlier is not None and steps is not None:
        rest = f"weights of step {count(earlier)}, of {count(steps)} trained"
    how = _solver(part.model)
    return f'<span class="at" data-rest="{rest}">{rest}</span>' + (f'<span class="how">{escape(how)}</span>' if how else "")


def _solver(model: ModelResult) -> str:
    calls = model.sampling.calls
    needed = "" if calls is None else "one network call" if calls == 1 else counted(calls, "network call")
    return ", ".join(filter(None, [needed, model.sampling.solver]))


def _strip(part: Panel, name: str, kind: str, sprite: Sprite) -> str:
    """Some frames side by side, for paper and for readers without JavaScript."""
    last = sprite.frames - 1
    chosen = sorted({round(last * share / 5) for share in range(6)})
    stills = "".join(
        f'<li><div class="frame"><div class="sprite {name}" style="background-position:0 {100 * at / last:.3f}%">'
        f"</div></div>{escape(sprite.labels[at])}</li>"
        for at in chosen
    )
    title = f"{sign(part.index)}{escape(part.model.name)} <span>{'training' if kind == TRAINING else 'sampling'}</span>"
    return f'<div class="strip"><p class="figtitle">{title}</p><ol>{stills}</ol></div>'


# Words ----------------------------------------------------------------------------------------------------------


def _notes(comparison: Comparison, look: Look, parts: Sequence[Panel]) -> str:
    trainings = scored_trainings(comparison)
    notes = [f"Samples are those of the {trainings}." if trainings else "", shared_noise(comparison, places=not look.columns())]
    notes.append("Nothing was picked by hand.")
    if look.columns() in (1, 2):
        notes.append(RINGS)
    elif look.columns() > 2:
        notes.append(f"Examples are drawn on the first two principal axes of the real data. {RINGS}")
    training, sampling = _moving(parts, TRAINING), _moving(parts, SAMPLING)
    if training:
        notes.append("Over training the noise stays the same.")
    if sampling:
        notes.append("Sampling leads from noise (t = 1) to data (t = 0), with the weights of the end of training.")
    if sampling and any(part.sampling is None for part in parts):
        notes.append("Models that need one network call jump: between noise and sample there is nothing to see.")
    notes += [without_pictures(comparison), not_stored(comparison)]
    if any(look.of(part.model.name).nearest is not None for part in parts):
        notes.append("Point at a sample, tap it, or move with the arrow keys, to see the training image nearest to it.")
    return " ".join(filter(None, [*notes, *plane_notes(look)]))


def _columns(comparison: Comparison, look: Look) -> str:
    if (look.columns() < 3 and look.columns() != 1) or has_columns(comparison):
        return ""
    names = comparison.data.columns
    charts = []
    clouds = [(model.name, index, look.samples(model.name)) for index, model in look.numbered(comparison.models)]
    for column in range(min(look.columns(), COLUMNS)):
        label = names[column] if column < len(names) else f"x{column}"
        rows = [(name, index, rows[:, column]) for name, index, rows in clouds if rows is not None]
        charts.append(histogram_chart(label, None if look.real is None else look.real[:, column], rows))
    rest = f" The first {COLUMNS} of {look.columns()} columns." if look.columns() > COLUMNS else ""
    return (
        f'<p class="note">Each column alone: real data as a gray area, models as lines.{rest}</p>'
        f'<div class="columns">{"".join(charts)}</div>'
    )
