"""The sections on samples: grids, how samples form, how they changed over training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count
from pushforward.report.captions import shared_noise
from pushforward.report.distributions import histogram_chart
from pushforward.report.markup import panel, side_by_side, sign, titled
from pushforward.report.sprites import Look, Sprite

__all__ = ["forming", "history", "samples"]

COLUMNS = 12
"""Columns of a table whose histograms are drawn."""


@dataclass(frozen=True)
class Panel:
    """One model in a player; ``jump`` where it needs one call and has no frames between noise and sample."""

    index: int
    model: ModelResult
    sprite: Sprite
    jump: bool = False


@dataclass(frozen=True)
class Player:
    """What distinguishes the two players of a page: class of its frames, names of both ends, label of the slider."""

    kind: str
    ends: tuple[str, str]
    label: str
    seconds: int = 5


def samples(comparison: Comparison, look: Look) -> str:
    """A grid of real data and one of each model, and for tables the histograms of their columns."""
    panels = []
    real = look.grid("real", None)
    if real is not None:
        panels.append(panel("Real data <span>held out</span>", real, "Held-out samples of the real data"))
    for index, model in enumerate(comparison.models):
        grid = look.grid(model.name, index)
        if grid is not None:
            panels.append(panel(titled(model, index), grid, f"Samples of {model.name}"))
    if not panels:
        return ""
    return f"<p>{escape(_shared(comparison, look))}</p>{side_by_side(panels)}{_columns(comparison, look)}"


def _shared(comparison: Comparison, look: Look) -> str:
    noise = shared_noise(comparison, places=not look.columns())
    drawn = ""
    if look.columns() in (1, 2):
        drawn = "Gray dots are held-out data."
    elif look.columns() > 2:
        drawn = "Vectors are drawn on the first two principal axes of the real data; gray dots are held-out data."
    return " ".join(filter(None, [noise, "Nothing was picked by hand.", drawn]))


def _columns(comparison: Comparison, look: Look) -> str:
    if look.columns() < 3 and look.columns() != 1:
        return ""
    names = comparison.data.columns
    charts = []
    clouds = [(model.name, index, look.samples(model.name)) for index, model in enumerate(comparison.models)]
    for column in range(min(look.columns(), COLUMNS)):
        label = names[column] if column < len(names) else f"x{column}"
        rows = [(name, index, rows[:, column]) for name, index, rows in clouds if rows is not None]
        charts.append(histogram_chart(label, None if look.real is None else look.real[:, column], rows))
    rest = f" The first {COLUMNS} of {look.columns()} columns." if look.columns() > COLUMNS else ""
    return (
        f'<p class="note">Each column alone: real data as a gray area, models as lines.{rest}</p>'
        f'<div class="columns">{"".join(charts)}</div>'
    )


def forming(comparison: Comparison, look: Look, rules: list[str]) -> str:
    """A player from noise to data; empty where no model has steps. The styles of its frames are added to ``rules``."""
    panels, any_steps = [], False
    for index, model in enumerate(comparison.models):
        sprite = look.sprite(look.of(model.name).formation, index, "t")
        any_steps |= sprite is not None and sprite.frames > 1
        jump = sprite is None
        if jump:
            grid = look.samples(model.name)
            sprite = None if grid is None else look.sprite([(0.0, grid)], index, "t")
        if sprite is not None:
            panels.append(Panel(index, model, sprite, jump))
    if not any_steps:
        return ""
    text = "From noise (t = 1) to data (t = 0)."
    if any(part.jump for part in panels):
        text += " Models that need one network call jump: between noise and sample there is nothing to see."
    return f"<p>{text}</p>" + _player(panels, rules, Player("f", ("noise", "data"), "Noise to data"))


def history(comparison: Comparison, look: Look, rules: list[str]) -> str:
    """A player over training; empty where no model has stored samples. The styles of its frames are added to ``rules``."""
    panels = []
    for index, model in enumerate(comparison.models):
        sprite = look.sprite(look.of(model.name).training, index, "step")
        if sprite is not None and sprite.frames > 1:
            panels.append(Panel(index, model, sprite))
    if not panels:
        return ""
    player = _player(panels, rules, Player("t", ("start", "end"), "Start to end of training"))
    return f"<p>The same noise, from the first kept step of training to the last.</p>{player}"


def _player(panels: Sequence[Panel], rules: list[str], player: Player) -> str:
    start, end = player.ends
    figures, strips = [], ""
    for part in panels:
        sprite = part.sprite
        rules.append(
            f".{player.kind}{part.index}{{background-image:url({sprite.uri});background-size:100% {100 * sprite.frames}%;"
            f"aspect-ratio:{sprite.width}/{sprite.height}}}"
        )
        figures.append(_figure(part, player))
        strips += _strip(part, player.kind)
    return (
        f'<div class="player" data-seconds="{player.seconds}"><div class="controls" hidden><button type="button">Play</button>'
        f'<span aria-hidden="true">{start}</span>'
        f'<input type="range" min="0" max="1000" value="1000" aria-label="{player.label}">'
        f'<span aria-hidden="true">{end}</span></div>{side_by_side(figures)}</div><div class="strips">{strips}</div>'
    )


def _figure(part: Panel, player: Player) -> str:
    sprite, jump = part.sprite, part.jump
    labels = escape(json.dumps(list(sprite.labels)))
    alt = escape(f"Samples of {part.model.name}, {player.ends[0]} to {player.ends[1]}")
    how = "one call" if jump else _solver(part.model) if player.kind == "f" else ""
    return (
        f'<figure class="panel{" jump" if jump else ""}"><p class="figtitle">{titled(part.model, part.index)}</p>'
        f'<div class="frame"><div class="sprite {player.kind}{part.index}" role="img" aria-label="{alt}" '
        f'data-frames="{sprite.frames}" data-labels="{labels}"></div>'
        f"{'<div class=veil aria-hidden=true>z</div>' if jump else ''}</div>"
        f'<figcaption><span class="at">{escape(sprite.labels[-1])}</span>'
        f"{f' · {escape(how)}' if how else ''}</figcaption></figure>"
    )


def _solver(model: ModelResult) -> str:
    calls = model.sampling.calls
    counted = "" if calls is None else "one network call" if calls == 1 else f"{count(calls)} network calls"
    return ", ".join(filter(None, [counted, model.sampling.solver]))


def _strip(part: Panel, kind: str) -> str:
    sprite, last = part.sprite, part.sprite.frames - 1
    chosen = sorted({round(last * share / 5) for share in range(6)})
    places = {frame: 100 * frame / last if last else 100 for frame in chosen}
    stills = "".join(
        f'<li><div class="frame"><div class="sprite {kind}{part.index}" style="background-position:0 {places[frame]:.3f}%">'
        f"</div></div>{escape(sprite.labels[frame])}</li>"
        for frame in chosen
    )
    if part.jump:
        stills = '<li><div class="frame unseen">z</div>noise</li>' + stills
    aside = " <span>one call</span>" if part.jump else ""
    title = f"{sign(part.index)}{escape(part.model.name)}{aside}"
    return f'<div class="strip"><p class="figtitle">{title}</p><ol>{stills}</ol></div>'
