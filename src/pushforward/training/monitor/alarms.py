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
WINDOW = 500  # steps over which means and medians are taken
LOOKS = 50  # steps between two looks at them
# a model has collapsed below HELD of its best coverage or number of modes, if it has held that
# fraction of the modes, or COVERED of the data, for HOLDING steps
HELD = 0.75
COVERED = 0.4
HOLDING = 200
CHANCE = 0.55  # accuracy up to which a critic has learned nothing
RIGHT = 0.99  # mean accuracy from which the critic wins
WRONG_AGAIN = 0.98  # mean accuracy below which the critic no longer wins
WIDE = 20.0  # logit gap that is large even where it does not rise
GAP = 1e4  # logit gap above which a training run diverges
IMPROVED = 0.95  # a Fréchet distance or inverse coverage below this fraction of the best is better
SILENT = 0.1  # fraction of active latent units up to which a posterior has collapsed
HELD_DOWN = 0.5  # fraction of active latent units below which beta > 1 is too large
UNUSED = 0.02  # fraction of codebook entries in use up to which the codebook is hardly used
APART = 0.3  # disagreement of inconsistent maps; sound maps have .08 to .21
TIMES_DIAGONAL = 3.0  # off-diagonal loss / loss at equal times; sound runs reach 1.6
# target size / velocity size of targets that have diverged or vanished; sound runs: .1 to 1.4
LARGE = 3.0
SMALL = 0.1
UNSKIPPED = 100  # steps without a skipped one after which that alarm is over

Health = Mapping[
    str, Any
]  # the measures of one step by name; a value is None where it was not finite
Past = dict[str, Any]  # what a rule remembers of earlier rows


@dataclass(frozen=True)
class Alarm:
    """Beginning or end (``over``) of an alarm.

    Args:
        kind: Name in `RULES`.
        step: Training step.
        value: Measured value; None if not finite.
        threshold: Limit of the value.
        sentence: Description.
        advice: Suggested fix; empty at the end of an alarm.
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
    if modes is None:
        reached = health.get("coverage")
        held = COVERED
    else:
        reached = health.get("modes_held")
        held = HELD * modes
    if reached is None or health.get("beta") == 0:  # a plain autoencoder learns no codes to sample
        return None
    best = max(past.get("best", 0.0), reached)
    past["best"] = best
    if reached < held - SLACK:
        past.pop("since", None)
    elif step - past.setdefault("since", step) >= HOLDING:
        past["held"] = True
    if modes is None:
        said = f"covers {reached:.2f} of the data"
    else:
        said = f"reaches {reached:.0f} of {modes} modes"
    threshold = HELD * best
    lost = "held" in past and reached < threshold - SLACK
    sentence = f"the generator {said}, down from {best:.3g}"
    over = f"the collapse is over: the generator {said}"
    return _look(lost, reached, threshold, sentence, _against_collapse(health), over)


def _against_collapse(health: Health) -> str:
    if "logit_gap" not in health and "critic_accuracy" not in health:
        return "lower lr"
    accuracy = health.get("critic_accuracy")
    if accuracy is not None and accuracy <= CHANCE:
        return f"the critic is at chance ({accuracy:.0%} correct): lower gamma"
    if health.get("penalty") == 0:
        return "set penalty to r1+r2, or set pack to 2"
    return "raise gamma, or set pack to 2"


def _missing(step: int, health: Health, past: Past) -> Look | None:
    modes = health.get("modes")
    held = health.get("modes_held")
    if modes is None or held is None:
        return None
    best = max(past.get("best", 0), held)
    past["best"] = best
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
    values = _known(health, "critic_accuracy", "logit_gap")
    if values is not None:
        rows.append((step, *values))
        past.setdefault("first", step)
    values = _known(health, "frechet", "coverage")
    if values is not None:
        samples.append((step, *values))
    while rows and rows[0][0] <= step - WINDOW:
        rows.popleft()
    while samples and samples[0][0] <= step - WINDOW:
        _, distance, coverage = samples.popleft()
        least, most = past.get("before", (math.inf, 0.0))
        past["before"] = (min(least, distance), max(most, coverage))
    if step % LOOKS or not rows or step - past["first"] + 1 < WINDOW:
        return None
    accuracy = statistics.fmean(right for _, right, _ in rows)
    gaps = [gap for _, _, gap in rows]
    half = len(gaps) // 2
    first = statistics.fmean(gaps[:half] or gaps)
    second = statistics.fmean(gaps[half:])
    said = (
        f"over {WINDOW} steps the critic ranked {accuracy:.1%} of the examples correctly, and the "
        f"logit gap went to {second:.3g}"
    )
    least = WRONG_AGAIN if past.get("wins") else RIGHT
    if _improved(samples, past.get("before")) or accuracy < least - SLACK:
        past["wins"] = False
        return Look(None, accuracy, WRONG_AGAIN, f"the critic no longer wins: {said}")
    past["wins"] = past.get("wins") or second > first or second >= WIDE
    advice = "raise gamma, lower the critic's learning rate, or augment"
    said = f"the critic wins: {said}, and the samples did not improve"
    if past["wins"]:
        return Look("wins", accuracy, RIGHT, said, advice)
    return None


def _improved(samples: Iterable[tuple[int, float, float]], before: Any) -> bool:
    if before is None:
        return bool(samples)
    distance = min((distance for _, distance, _ in samples), default=math.inf)
    coverage = max((coverage for _, _, coverage in samples), default=0.0)
    return distance < IMPROVED * before[0] or IMPROVED * coverage > before[1]


def _divergence(step: int, health: Health, past: Past) -> Look | None:
    if "logit_gap" not in health:
        return None
    gap = health["logit_gap"]
    away = None
    if gap is None:
        said = "the logit gap is not finite"
        away = "away"
    else:
        said = f"the logit gap is {gap:.3g}"
        if abs(gap) > GAP:
            away = "away"
    sentence = f"{said}, after steps above {GAP:,.0f}"
    return Look(away, gap, GAP, sentence, "raise gamma, or lower lr")


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
        advice = "set warmup to 0.3 (for a vae also free_bits to 0.1), or weaken the decoder"
        if beta > 1:
            advice = f"lower beta, or {advice}"
    sentence = f"the posterior has collapsed: {said}, so the decoder ignores the latent"
    silent = active <= SILENT * units + SLACK
    return _look(
        silent, active, SILENT * units, sentence, advice, f"the latent is used again: {said}"
    )


def _regularised(step: int, health: Health, past: Past) -> Look | None:
    if (code := _units(health)) is None:
        return None
    active, units, beta, said = code
    threshold = HELD_DOWN * units
    down = beta is not None and beta > 1 and SILENT * units + SLACK < active < threshold
    sentence = f"the latent is over-regularised: at beta {beta or 0:g}, {said}"
    over = f"the latent is used again: {said}"
    return _look(down, active, threshold, sentence, "lower beta towards 1", over)


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
    said = (
        f"one jump and two jumps from the same noise differ by {apart:.2f} standard deviations of "
        "the samples"
    )
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
    equal = statistics.median(row[1] for row in rows)
    apart = statistics.median(row[2] for row in rows)
    ratio = apart / max(equal, 1e-12)
    said = (
        f"over {WINDOW} steps the raw loss between two different times is {ratio:.2g} times the "
        "loss at equal times"
    )
    chases = not ratio < TIMES_DIAGONAL
    sentence = f"the map chases its own targets: {said}"
    return _look(chases, ratio, TIMES_DIAGONAL, sentence, "lower lr, or raise diagonal", said)


def _targets(step: int, health: Health, past: Past) -> Look | None:
    sizes = []
    for name, value in health.items():
        if name.startswith("target_size_") and value is not None:
            sizes.append(value)
    if not sizes:
        return None
    most = max(sizes)
    said = f"targets are {most:.2g} times as large as velocities"
    if most > LARGE:
        advice = "lower lr, or leave exact derivatives out"
        return Look("large", most, LARGE, f"targets diverge: {said}", advice)
    if most < SMALL:
        sentence = f"the network has died: {said} at all times"
        return Look("small", most, SMALL, sentence, "start again with a lower lr")
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
    known = []
    for name in ("coverage", "recall"):
        ratio = health.get(f"{name}_ratio")
        if ratio is not None:
            limit = health[f"{name}_limit"]
            known.append((ratio - limit, name, ratio, limit))
    if not known:
        return None
    _, name, ratio, limit = min(known)
    if ratio >= limit - SLACK:
        past["passed"] = step
        return Look(None, ratio, limit, f"{name} is {ratio:.3f} of its initial value")
    passed = past.get("passed", 0)
    if passed:
        weights = f"the weights of step {passed:,}"
    else:
        weights = "the initial weights, so nothing was gained"
    said = (
        f"{name} has fallen to {ratio:.3f} of its initial value, below the limit of {limit:.3f}; "
        f"training ends with {weights}"
    )
    advice = (
        "to go further, run finish on the same map again with a larger anchor or a lower learning "
        "rate"
    )
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
"""Rules by kind of alarm, and for how many steps a fault must persist to raise it."""


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
        news: list[Alarm] = []
        if not health:
            return news
        for kind, (rule, lasting) in RULES.items():
            look = rule(step, health, self._past[kind])
            if look is None:
                continue
            if kind not in self._wrong or self._wrong[kind][0] != look.wrong:
                self._wrong[kind] = (look.wrong, step)
            over = look.wrong is None or step - self._wrong[kind][1] < lasting
            if kind == "variety" and not over:
                self.ended = look.sentence
            if over == (kind in self._standing):
                advice = "" if over else look.advice
                news.append(
                    Alarm(kind, step, look.value, look.threshold, look.sentence, advice, over)
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
