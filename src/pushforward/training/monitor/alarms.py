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
WIDE = 20.0  # mean logit gap from which the critic wins
IMPROVED = 0.95  # share of the least Fréchet distance so far, below which samples have improved
GAP = 1e4  # logit gap above which a training run diverges
SILENT = 0.1  # fraction of active latent units up to which a posterior has collapsed
HELD_DOWN = 0.5  # fraction of active latent units below which beta > 1 is too large
UNUSED = 0.02  # fraction of codebook entries in use up to which the codebook is hardly used
APART = 0.3  # disagreement of inconsistent maps; sound maps have .08 to .21
MISSING = 2000  # steps without a new mode after which modes are missing
TIMES_DIAGONAL = 3.0  # off-diagonal loss / loss at equal times; sound runs reach 1.6
# target size / velocity size of targets that have diverged or vanished; sound runs: .1 to 1.4
LARGE = 3.0
SMALL = 0.1
UNSKIPPED = 100  # steps without a skipped one after which that alarm is over

# the measures of one step by name; a value is None if it was not finite
Health = Mapping[str, Any]
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


class RuleResult(NamedTuple):
    """Result of a rule for one row, with the sentences of a fault and of its end."""

    wrong: bool
    value: float | None
    threshold: float
    sentence: str
    advice: str
    over: str


def _collapse(step: int, health: Health, past: Past) -> RuleResult | None:
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
    return RuleResult(lost, reached, threshold, sentence, _against_collapse(health), over)


def _against_collapse(health: Health) -> str:
    if "logit_gap" not in health and "critic_accuracy" not in health:
        return "lower lr"
    accuracy = health.get("critic_accuracy")
    if accuracy is not None and accuracy <= CHANCE:
        return f"the critic is at chance ({accuracy:.0%} correct): lower gamma"
    if health.get("penalty") == 0:
        return "set penalty to r1+r2, or set pack to 2"
    return "raise gamma, or set pack to 2"


def _missing(step: int, health: Health, past: Past) -> RuleResult | None:
    modes = health.get("modes")
    held = health.get("modes_held")
    if modes is None or held is None:
        return None
    if held > past.get("best", -1):
        past["best"] = held
        past["since"] = step
    best = past["best"]
    missing = best < HELD * modes - SLACK and step - past["since"] >= MISSING
    said = f"the generator has reached at most {best:.0f} of {modes} modes"
    advice = "train longer, or use a larger size"
    if "logit_gap" in health:
        advice = _against_collapse(health)
    return RuleResult(missing, best, HELD * modes, f"{said}, and no more since", advice, said)


def _window(step: int, past: Past, *measures: float | None) -> Iterable[Any] | None:
    rows = past.setdefault("rows", deque())
    if None not in measures:
        rows.append((step, *measures))
        past.setdefault("first", step)
    while rows and rows[0][0] <= step - WINDOW:
        rows.popleft()
    if step % LOOKS or not rows or step - past["first"] + 1 < WINDOW:
        return None
    return zip(*rows, strict=True)


def _critic(step: int, health: Health, past: Past) -> RuleResult | None:
    distance = health.get("frechet")
    if distance is not None and distance < IMPROVED * past.get("distance", math.inf):
        past["distance"] = distance
        past["improved"] = step
    columns = _window(step, past, health.get("critic_accuracy"), health.get("logit_gap"))
    if columns is None:
        return None
    _, accuracies, gaps = columns
    accuracy = statistics.fmean(accuracies)
    mean_gap = statistics.fmean(gaps)
    improving = step - past.get("improved", -math.inf) < WINDOW
    wins = accuracy >= RIGHT - SLACK and mean_gap >= WIDE and not improving
    said = (
        f"over {WINDOW} steps the critic ranked {accuracy:.1%} of the examples correctly, with a "
        f"mean logit gap of {mean_gap:.3g}"
    )
    advice = "raise gamma, lower the critic's learning rate, or augment"
    over = f"the critic no longer wins: {said}"
    wrong = f"the critic wins: {said}, and the samples did not improve"
    return RuleResult(wins, accuracy, RIGHT, wrong, advice, over)


def _divergence(step: int, health: Health, past: Past) -> RuleResult | None:
    if "logit_gap" not in health:
        return None
    gap = health["logit_gap"]
    said = "the logit gap is not finite" if gap is None else f"the logit gap is {gap:.3g}"
    away = gap is None or abs(gap) > GAP
    sentence = f"{said}, after steps above {GAP:,.0f}"
    return RuleResult(away, gap, GAP, sentence, "raise gamma, or lower lr", said)


def _posterior(step: int, health: Health, past: Past) -> RuleResult | None:
    active = health.get("active_units")
    units = health.get("units")
    if active is None or not units:
        return None
    beta = health.get("beta")
    strong = beta is not None and beta > 1
    threshold = (HELD_DOWN if strong else SILENT) * units
    if beta is None:  # an autoencoder for latents
        advice = "lower divergence, or lr"
    elif beta == 0:
        advice = "lower lr: nothing regularises the latent, so the encoder itself has died"
    else:
        advice = "set warmup to 0.3 (for a vae also free_bits to 0.1), or weaken the decoder"
        if strong:
            advice = f"lower beta towards 1, or {advice}"
    said = f"{active:.0f} of {units:.0f} latent units are active"
    sentence = f"the latent is hardly used: {said}, so the decoder ignores most of it"
    over = f"the latent is used again: {said}"
    return RuleResult(active <= threshold + SLACK, active, threshold, sentence, advice, over)


def _book(step: int, health: Health, past: Past) -> RuleResult | None:
    used = health.get("perplexity")
    size = health.get("book")
    if used is None or not size:
        return None
    threshold = max(2.0, UNUSED * size)
    said = f"{used:.0f} of {size:.0f} codebook entries are used"
    sentence = f"the codebook is hardly used: about {said}"
    over = f"the codebook is used again: {said}"
    return RuleResult(not used > threshold, used, threshold, sentence, "lower codes or lr", over)


def _disagreement(step: int, health: Health, past: Past) -> RuleResult | None:
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
    return RuleResult(not apart < APART, apart, APART, sentence, advice, over)


def _off_diagonal(step: int, health: Health, past: Past) -> RuleResult | None:
    columns = _window(step, past, health.get("diagonal_loss"), health.get("off_diagonal_loss"))
    if columns is None:
        return None
    _, equal, apart = columns
    ratio = statistics.median(apart) / max(statistics.median(equal), 1e-12)
    said = (
        f"over {WINDOW} steps the raw loss between two different times is {ratio:.2g} times the "
        "loss at equal times"
    )
    chases = not ratio < TIMES_DIAGONAL
    sentence = f"the map chases its own targets: {said}"
    return RuleResult(chases, ratio, TIMES_DIAGONAL, sentence, "lower lr, or raise diagonal", said)


def _targets(step: int, health: Health, past: Past) -> RuleResult | None:
    sizes = []
    for name, value in health.items():
        if name.startswith("target_size_") and value is not None:
            sizes.append(value)
    if not sizes:
        return None
    most = max(sizes)
    said = f"targets are {most:.2g} times as large as velocities"
    over = f"targets are of normal size again: {said}"
    if most < SMALL:
        sentence = f"the network has died: {said} at all times"
        return RuleResult(True, most, SMALL, sentence, "start again with a lower lr", over)
    advice = "lower lr, or leave exact derivatives out"
    return RuleResult(most > LARGE, most, LARGE, f"targets diverge: {said}", advice, over)


def _skipped(step: int, health: Health, past: Past) -> RuleResult | None:
    players = players_in(health)
    if players:
        past["last"] = step
        past["count"] = past.get("count", 0) + 1
    elif step < past.get("last", step) + UNSKIPPED:
        return None
    sentence = (
        f"the loss or gradient of {' and '.join(players)} is not finite, so the step is skipped"
    )
    advice = "if this happens again, lower lr or train in float32"
    over = f"steps skipped so far: {past['count']}"
    return RuleResult(bool(players), past["count"], 0.0, sentence, advice, over)


def _diversity(step: int, health: Health, past: Past) -> RuleResult | None:
    known = []
    for name in ("coverage", "recall"):
        ratio = health.get(f"{name}_ratio")
        if ratio is not None:
            limit = health[f"{name}_limit"]
            known.append((ratio - limit, name, ratio, limit))
    if not known:
        return None
    _, name, ratio, limit = min(known)
    lost = ratio < limit - SLACK
    if not lost:
        past["passed"] = step
    passed = past.get("passed", 0)
    if passed:
        weights = f"the weights of step {passed:,}"
    else:
        weights = "the initial weights, so nothing was gained"
    sentence = (
        f"{name} has fallen to {ratio:.3f} of its initial value, below the limit of {limit:.3f}; "
        f"training ends with {weights}"
    )
    advice = (
        "to go further, run finish on the same map again with a larger anchor or a lower learning "
        "rate"
    )
    over = f"{name} is {ratio:.3f} of its initial value"
    return RuleResult(lost, ratio, limit, sentence, advice, over)


RULES: dict[str, tuple[Callable[[int, Health, Past], RuleResult | None], int]] = {
    "collapse": (_collapse, 200),
    "missing": (_missing, 0),
    "critic": (_critic, 0),
    "posterior": (_posterior, 500),
    "book": (_book, 500),
    "disagreement": (_disagreement, 1000),
    "off_diagonal": (_off_diagonal, 0),
    "targets": (_targets, 500),
    "skipped": (_skipped, 0),
    "variety": (_diversity, 0),  # the name in stored logs
    "divergence": (_divergence, 49),
}
"""Rules by kind of alarm, and for how many steps a fault must persist to raise it."""


class AlarmMonitor:
    """Monitor that applies all rules, and reports when an alarm begins and ends.

    Attributes:
        ended: Reason why training ends, if samples have lost diversity.
    """

    def __init__(self) -> None:
        self.ended: str | None = None
        self._past: dict[str, Past] = {kind: {} for kind in RULES}
        self._since: dict[str, int] = {}  # the step from which each fault persists
        self._standing: set[str] = set()

    @property
    def suspect(self) -> bool:
        return "divergence" in self._since

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
            result = rule(step, health, self._past[kind])
            if result is None:
                continue
            stands = False
            if result.wrong:
                stands = step - self._since.setdefault(kind, step) >= lasting
            else:
                self._since.pop(kind, None)
            if kind == "variety" and stands:
                self.ended = result.sentence
            if stands == (kind in self._standing):
                continue
            self._standing ^= {kind}
            sentence = result.sentence if stands else result.over
            advice = result.advice if stands else ""
            news.append(
                Alarm(kind, step, result.value, result.threshold, sentence, advice, not stands)
            )
        return news


def alarms(history: Iterable[Mapping[str, Any]]) -> list[Alarm]:
    """Return all alarms that begin or end in the rows of a log."""
    monitor = AlarmMonitor()
    return [alarm for row in history for alarm in monitor.read(row)]


def ending_alarm(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence of the alarm that ended training, or an empty string."""
    last = rows[-1].get("alarm", ()) if rows else ()
    return next(
        (alarm["sentence"] for alarm in last if alarm["kind"] == "variety" and not alarm["over"]),
        "",
    )
