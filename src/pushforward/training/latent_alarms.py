"""Alarms of latents: units or codes that nothing uses."""

from __future__ import annotations

from pushforward.training.alarm import SLACK, Alarm, Health, Rule

__all__ = ["BookUnused", "PosteriorCollapse"]

SILENT = 0.1
"""Share of a code's units up to which the posterior has collapsed; one unit where there are so few."""
HELD_DOWN = 0.5
"""Share of active units below which a weight of more than 1 on the KL term holds the code down."""
UNUSED = 0.02
"""Share of a book of codes up to which it is hardly used; two codes where there are so few."""
CODED = 500
"""Steps for which units, or codes of a book, must be silent: early in a sound training they are too, for 150 steps at most."""


class PosteriorCollapse(Rule):
    """The decoder ignores the code: next to no unit of it is active, for 500 steps.

    A unit is active where its mean varies over data. It begins where at most a tenth of the units, and not even one of fewer than
    ten, are active; and where a weight of more than 1 on the KL term holds more than half of them down, it is reported as
    over-regularisation in place of collapse.
    """

    def __init__(self, kind: str = "posterior") -> None:
        self.kind, self._since = kind, -1

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without a code decide nothing."""
        active, units, beta = health.get("active_units"), health.get("units"), health.get("beta")
        if active is None or not units:
            return None
        gone = active <= SILENT * units + SLACK
        collapse = self.kind == "posterior"
        threshold = (SILENT if collapse else HELD_DOWN) * units
        bad = gone if collapse else beta is not None and beta > 1 and not gone and active < threshold
        said = f"{active:.0f} of {units:.0f} units of the code are active"
        if not bad:
            self._since = -1
            return Alarm(self.kind, step, active, threshold, f"the code is in use again: {said}", over=True)
        self._since = step if self._since < 0 else self._since
        if step - self._since < CODED:
            return None
        if collapse:
            said = f"the posterior has collapsed: {said}, so the decoder ignores it"
            return Alarm(self.kind, step, active, threshold, said, _against_silence(beta))
        explained = (
            "" if health.get("explained") is None else f" and reconstructions explain {health['explained']:.0%} of the variance"
        )
        said = f"the code is over-regularised: at beta {beta:g} only {said}{explained}"
        return Alarm(self.kind, step, active, threshold, said, "lower beta towards 1")


def _against_silence(beta: float | None) -> str:
    """The advice; an autoencoder for latents notes no beta, and one of beta 0 has no KL term."""
    if beta is None:
        return "lower divergence, or lr"
    if beta == 0:
        return "lower lr: nothing presses on the code, so the encoder itself has died"
    lower = "lower beta, or " if beta > 1 else ""
    return f"{lower}set warmup to 0.3 (for a vae also free_bits to 0.1), or weaken the decoder"


class BookUnused(Rule):
    """Next to no code of a finite book is in use, for 500 steps.

    Its perplexity is at most a fiftieth of the codes that a batch can use, or two.
    """

    def __init__(self) -> None:
        self._since = -1

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without a book decide nothing."""
        used, size = health.get("perplexity"), health.get("book")
        if used is None or not size:
            return None
        threshold = max(2.0, UNUSED * size)
        said = f"{used:.0f} of {size:.0f} codes of the codebook are in use"
        if used > threshold:
            self._since = -1
            return Alarm("book", step, used, threshold, f"the book is in use again: {said}", over=True)
        self._since = step if self._since < 0 else self._since
        if step - self._since < CODED:
            return None
        return Alarm("book", step, used, threshold, f"the codebook is hardly used: about {said}", "lower codes or lr")
