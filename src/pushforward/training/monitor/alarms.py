"""Rules that detect faults of training from the rows of the log."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pushforward.training.runs.log import players_in

SLACK = 1e-9  # rounding: less below a threshold is not below it
# steps over which means and medians are taken, and between two looks at them
WINDOW = 500
LOOKS = 50
HELD = 0.75
COVERED = 0.4
HOLDING = 200
"""A model has collapsed below this fraction of its best, if it has held that fraction of modes or
coverage that many steps."""
CHANCE = 0.55  # accuracy up to which a critic has learned nothing
# mean accuracy from which the critic wins, and below which it does so no more
RIGHT = 0.99
WRONG_AGAIN = 0.98
# logit gap that is large even where it does not rise, and the one above which a training diverges
WIDE = 20.0
GAP = 1e4
IMPROVED = 0.95
"""A Fréchet distance counts as better below this fraction of the best one before; coverage, above
the best one divided by it."""
SILENT = 0.1
HELD_DOWN = 0.5
UNUSED = 0.02
"""Fractions of latent units up to which a posterior has collapsed or is over-regularised; fraction
of codes that are unused."""
APART = 0.3
"""Disagreement from which a map is inconsistent: sound maps have .08 to .21, a velocity mistaken
for a map .42."""
TIMES_DIAGONAL = 3.0
"""Off-diagonal loss divided by the loss at equal times, from which it is too large; sound runs
(exact derivatives) reach 1.6."""
LARGE = 3.0
SMALL = 0.1
"""Target size divided by velocity size, beyond which targets have diverged or vanished; sound runs
have .1 to 1.4."""
UNSKIPPED = 100  # steps without a skipped one after which that alarm is over

Health = Mapping[
    str, Any
]  # the measures of one step by name; a value is None where it was not finite
Past = dict[str, Any]  # what a rule remembers of earlier rows


@dataclass(frozen=True)
class Alarm:
    """Alarm at the step at which it begins or ends.

    Args:
        kind: Name in `RULES`.
        step: Training step.
        value: Measured value; None if not finite.
        threshold: Limit of the value.
        sentence: Description of the alarm.
        advice: Suggested fix; empty at the end of an alarm.
        over: Whether this is the end of the alarm.
    """

    kind: str
    step: int
    value: float | None
    threshold: float
    sentence: str
    advice: str = ""
    over: bool = False

    @property
    def text(self) -> str:
        if self.advice:
            return f"{self.sentence}: {self.advice}"
        return self.sentence


class Look(NamedTuple):
    """Result of a rule for one row; ``wrong`` is None if there is no fault."""

    wrong: Any
    value: float | None
    threshold: float
    sentence: str
    advice: str = ""


def _look(
    wrong: Any, value: float, threshold: float, sentence: str, advice: str, over: str
) -> Look:
    if wrong:
        return Look(wrong, value, threshold, sentence, advice)
    return Look(None, value, threshold, over)


def _collapse(step: int, health: Health, past: Past) -> Look | None:
    modes = health.get("modes")
    reached = health.get("coverage" if modes is None else "modes_held")
    if reached is None or health.get("beta") == 0:  # a plain autoencoder learns no codes to sample
        return None
    past["best"] = max(past.get("best", 0.0), reached)
    if reached < (COVERED if modes is None else HELD * modes) - SLACK:
        past.pop("since", None)
    elif step - past.setdefault("since", step) >= HOLDING:
        past["held"] = True
    if modes is None:
        said = f"covers {reached:.2f} of the data"
    else:
        said = f"reaches {reached:.0f} of {modes} modes"
    threshold = HELD * past["best"]
    lost = "held" in past and reached < threshold - SLACK
    sentence = f"the generator {said}, down from {past['best']:.3g}"
    over = f"the collapse is over: the generator {said}"
    return _look(lost, reached, threshold, sentence, _against_collapse(health), over)


def _against_collapse(health: Health) -> str:
    if "logit_gap" not in health and "critic_accuracy" not in health:
        return "lower lr"
    accuracy = health.get("critic_accuracy")
    if accuracy is not None and accuracy <= CHANCE:
        return f"the critic is at chance ({accuracy:.0%} correct): lower gamma"
    return f"{'set penalty to r1+r2' if health.get('penalty') == 0 else 'raise gamma'}, or set pack to 2"


def _missing(step: int, health: Health, past: Past) -> Look | None:
    modes = health.get("modes")
    held = health.get("modes_held")
    if modes is None or held is None:
        return None
    best = past["best"] = max(past.get("best", 0), held)
    if "logit_gap" in health:
        advice = _against_collapse(health)
    else:
        advice = "train longer, or use a larger size"
    few = best < HELD * modes - SLACK
    said = f"the generator has reached at most {best} of {modes} modes, and no more since"
    return Look(f"{best} held" if few else None, best, HELD * modes, said, advice)


def _critic(step: int, health: Health, past: Past) -> Look | None:
    rows = past.setdefault("rows", deque())
    samples = past.setdefault("samples", deque())
    for kept, names in (
        (rows, ("critic_accuracy", "logit_gap")),
        (samples, ("frechet", "coverage")),
    ):
        if (values := _known(health, *names)) is not None:
            kept.append((step, *values))
    if rows:
        past.setdefault("first", rows[0][0])
    while rows and rows[0][0] <= step - WINDOW:
        rows.popleft()
    while samples and samples[0][0] <= step - WINDOW:
        _, distance, coverage = samples.popleft()
        least, most = past.get("before", (math.inf, 0.0))
        past["before"] = min(least, distance), max(most, coverage)
    if step % LOOKS or not rows or step - past["first"] + 1 < WINDOW:
        return None
    accuracy = statistics.fmean(right for _, right, _ in rows)
    half = len(rows) // 2
    first, second = (
        statistics.fmean(gap for _, _, gap in part)
        for part in ([*rows][:half] or rows, [*rows][half:])
    )
    said = f"over {WINDOW} steps the critic ranked {accuracy:.1%} of the examples correctly, and the logit gap went to {second:.3g}"
    improved = bool(samples)
    if before := past.get("before"):
        distance = min((value for _, value, _ in samples), default=math.inf)
        coverage = max((value for _, _, value in samples), default=0.0)
        improved = distance < IMPROVED * before[0] or IMPROVED * coverage > before[1]
    if improved or accuracy < (WRONG_AGAIN if past.get("wins") else RIGHT) - SLACK:
        past["wins"] = False
        return Look(None, accuracy, WRONG_AGAIN, f"the critic no longer wins: {said}")
    past["wins"] = past.get("wins") or second > first or second >= WIDE
    advice = "raise gamma, lower the critic's learning rate, or augment"
    said = f"the critic wins: {said}, and the samples did not improve"
    if past["wins"]:
        return Look("wins", accuracy, RIGHT, said, advice)
    return None


def _divergence(step: int, health: Health, past: Past) -> Look | None:
    if "logit_gap" not in health:
        return None
    gap = health["logit_gap"]
    away = gap is None or abs(gap) > GAP
    said = f"the logit gap is {'not finite' if gap is None else f'{gap:.3g}'}"
    return Look(
        "away" if away else None,
        gap,
        GAP,
        f"{said}, after steps above {GAP:,.0f}",
        "raise gamma, or lower lr",
    )


def _units(health: Health) -> tuple[float, float, float | None, str] | None:
    active = health.get("active_units")
    units = health.get("units")
    if active is None or not units:
        return None
    return active, units, health.get("beta"), f"{active:.0f} of {units:.0f} latent units are active"


def _posterior(step: int, health: Health, past: Past) -> Look | None:
    if (code := _units(health)) is None:
        return None
    active, units, beta, said = code
    if beta is None:  # an autoencoder for latents
        advice = "lower divergence, or lr"
    elif beta == 0:
        advice = "lower lr: nothing regularises the latent, so the encoder itself has died"
    else:
        advice = f"{'lower beta, or ' if beta > 1 else ''}set warmup to 0.3 (for a vae also free_bits to 0.1), or weaken the decoder"
    sentence = f"the posterior has collapsed: {said}, so the decoder ignores the latent"
    silent = active <= SILENT * units + SLACK
    return _look(
        silent, active, SILENT * units, sentence, advice, f"the latent is used again: {said}"
    )


def _regularised(step: int, health: Health, past: Past) -> Look | None:
    if (code := _units(health)) is None:
        return None
    active, units, beta, said = code
    down = beta is not None and beta > 1 and SILENT * units + SLACK < active < HELD_DOWN * units
    sentence = f"the latent is over-regularised: at beta {beta or 0:g}, {said}"
    return _look(
        down,
        active,
        HELD_DOWN * units,
        sentence,
        "lower beta towards 1",
        f"the latent is used again: {said}",
    )


def _book(step: int, health: Health, past: Past) -> Look | None:
    used = health.get("perplexity")
    size = health.get("book")
    if used is None or not size:
        return None
    threshold = max(2.0, UNUSED * size)
    said = f"{used:.0f} of {size:.0f} codebook entries are used"
    sentence = f"the codebook is hardly used: about {said}"
    over = f"the codebook is used again: {said}"
    return _look(not used > threshold, used, threshold, sentence, "lower codes or lr", over)


def _disagreement(step: int, health: Health, past: Past) -> Look | None:
    apart = health.get("disagreement")
    if apart is None:
        return None
    said = f"one jump and two jumps from the same noise differ by {apart:.2f} standard deviations of the samples"
    advice = "sample it in more calls, or distil a flow instead"
    sentence = f"the map is inconsistent: {said}"
    over = f"the map is consistent again: {said}"
    return _look(not apart < APART, apart, APART, sentence, advice, over)


def _off_diagonal(step: int, health: Health, past: Past) -> Look | None:
    rows = past.setdefault("rows", deque())
    if (values := _known(health, "diagonal_loss", "off_diagonal_loss")) is None:
        return None
    past.setdefault("first", step)
    rows.append((step, *values))
    while rows[0][0] <= step - WINDOW:
        rows.popleft()
    if step % LOOKS or step - past["first"] + 1 < WINDOW:
        return None
    equal, apart = (statistics.median(row[at] for row in rows) for at in (1, 2))
    ratio = apart / max(equal, 1e-12)
    said = f"over {WINDOW} steps the raw loss between two different times is {ratio:.2g} times the loss at equal times"
    chases = not ratio < TIMES_DIAGONAL
    return _look(
        chases,
        ratio,
        TIMES_DIAGONAL,
        f"the map chases its own targets: {said}",
        "lower lr, or raise diagonal",
        said,
    )


def _targets(step: int, health: Health, past: Past) -> Look | None:
    sizes = [
        value
        for name, value in health.items()
        if name.startswith("target_size_") and value is not None
    ]
    if not sizes:
        return None
    most = max(sizes)
    said = f"targets are {most:.2g} times as large as velocities"
    if most > LARGE:
        return Look(
            "large",
            most,
            LARGE,
            f"targets diverge: {said}",
            "lower lr, or leave exact derivatives out",
        )
    if most < SMALL:
        return Look(
            "small",
            most,
            SMALL,
            f"the network has died: {said} at all times",
            "start again with a lower lr",
        )
    return Look(None, most, LARGE, f"targets are of normal size again: {said}")


def _skipped(step: int, health: Health, past: Past) -> Look | None:
    players = players_in(health)
    if players:
        past |= {"last": step, "count": past.get("count", 0) + 1}
        what = (
            f"the loss or gradient of {' and '.join(players)} is not finite, so the step is skipped"
        )
        return Look(
            "skipped", None, 0.0, what, "if this happens again, lower lr or train in float32"
        )
    if "last" not in past or step < past["last"] + UNSKIPPED:
        return None
    return Look(None, float(past["count"]), 0.0, f"steps skipped so far: {past['count']}")


def _variety(step: int, health: Health, past: Past) -> Look | None:
    ratios = {name: health.get(f"{name}_ratio") for name in ("coverage", "recall")}
    known = {
        name: (ratio, health[f"{name}_limit"])
        for name, ratio in ratios.items()
        if ratio is not None
    }
    if not known:
        return None
    name, (ratio, limit) = min(known.items(), key=lambda item: item[1][0] - item[1][1])
    if ratio >= limit - SLACK:
        past["passed"] = step
        return Look(None, ratio, limit, f"{name} is {ratio:.3f} of its initial value")
    passed = past.get("passed", 0)
    if passed:
        weights = f"the weights of step {passed:,}"
    else:
        weights = "the initial weights, so nothing was gained"
    said = f"{name} has fallen to {ratio:.3f} of its initial value, below the limit of {limit:.3f}; training ends with {weights}"
    advice = "to go further, run finish on the same map again with a larger anchor or a lower learning rate"
    return Look("lost", ratio, limit, said, advice)


def _known(health: Health, *names: str) -> list[Any] | None:
    values = [health.get(name) for name in names]
    if None in values:
        return None
    return values


RULES: dict[str, tuple[Callable[[int, Health, Past], Look | None], int]] = {
    "collapse": (_collapse, 200),
    "missing": (_missing, 2000),
    "critic": (_critic, 0),
    "posterior": (_posterior, 500),
    "regularised": (_regularised, 500),
    "book": (_book, 500),
    "disagreement": (_disagreement, 1000),
    "off_diagonal": (_off_diagonal, 0),
    "targets": (_targets, 500),
    "skipped": (_skipped, 0),
    "variety": (_variety, 0),
    "divergence": (_divergence, 49),
}
"""The faults that are watched for: how to examine a row, and for how many steps a fault must
persist to raise an alarm."""


class Watch:
    """Monitor that applies all rules, and reports when an alarm begins and ends.

    Attributes:
        ended: Reason why training ends, if samples have lost diversity.
    """

    def __init__(self) -> None:
        self.ended: str | None = None
        self._past: dict[str, Past] = {kind: {} for kind in RULES}
        self._wrong: dict[str, tuple[Any, int]] = {}
        self._standing: set[str] = set()

    @property
    def suspect(self) -> bool:
        return self._wrong.get("divergence", (None, 0))[0] is not None

    @property
    def passed(self) -> int:
        return int(self._past["variety"].get("passed", 0))

    def read(self, row: Mapping[str, Any]) -> list[Alarm]:
        step = row["step"]
        health = row.get("health") or {}
        news = []
        for kind, (rule, lasting) in RULES.items() if health else ():
            look = rule(step, health, self._past[kind])
            if look is None:
                continue
            if kind not in self._wrong or self._wrong[kind][0] != look.wrong:
                self._wrong[kind] = look.wrong, step
            over = look.wrong is None or step - self._wrong[kind][1] < lasting
            if kind == "variety" and not over:
                self.ended = look.sentence
            if over == (kind in self._standing):
                news.append(
                    Alarm(
                        kind,
                        step,
                        look.value,
                        look.threshold,
                        look.sentence,
                        "" if over else look.advice,
                        over,
                    )
                )
                self._standing ^= {kind}
        return news


def alarms(history: Iterable[Mapping[str, Any]]) -> list[Alarm]:
    """Return all alarms that begin or end in the rows of a log."""
    watch = Watch()
    return [alarm for row in history for alarm in watch.read(row)]


def lost(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence of the alarm that ended training, or an empty string."""
    last = rows[-1].get("alarm", ()) if rows else ()
    return next(
        (alarm["sentence"] for alarm in last if alarm["kind"] == "variety" and not alarm["over"]),
        "",
    )
