"""The fifteen claims: figures read from results, and rules that turn figures into verdicts. No result is written here."""

from __future__ import annotations

from collections.abc import Mapping

from claim_measurements.figures import (
    Figure,
    Results,
    bounded,
    column,
    less,
    over_seeds,
    ratios,
    rows_of,
    share,
    spanned,
    verdict,
)

Figures = Mapping[str, Figure]
MODES, GRID = 8, 25
"""Modes of ring and grid, by definition."""


def single(value: float) -> Figure:
    return over_seeds([value])


def floor_of(results: Results, name: str, metric: str) -> Figure:
    """Real data's score as a result holds it, with a spread of its own as the interval."""
    floor = results[name]["floor"][metric]
    spread = floor["spread"] or 0.0
    return Figure(floor["value"], floor["value"] - spread, floor["value"] + spread, 1)


def sharp_on_mnist(results: Results, name: str) -> Figure:
    """Sharpness over real images', of one training."""
    return single(rows_of(results, "holes_mnist", rows=name)[0]["sharpness"]["ratio"])


def failures(results: Results, *families: str) -> Figure:
    """The share of a family's trainings that fail."""
    return share(failed(results, *families))


def failed(results: Results, *families: str) -> list[bool]:
    """Which trainings of families fail: on digits over rates, and, where a family was trained there, on ring and grid."""
    marks: list[bool] = []
    for family in families:
        marks += [row["failed"] for row in rows_of(results, "claim_stability", family=family)]
        for name, modes in (("ring", MODES), ("grid", GRID)):
            rows = rows_of(results, name, model=family, weights="averaged")
            marks += [bool(row["diverged"]) or row["modes_kept"] < modes for row in rows]
    return marks


def collapse(results: Results) -> dict[str, Figure]:
    modes = lambda row: bounded(column(results, "ablation_ring", "averaged/modes_kept", row=row), MODES)  # noqa: E731
    pacgan = {"model": "original", "weights": "averaged"}
    return {
        "calls": over_seeds(column(results, "stacked_digits", "calls", model="gan")),
        "original": modes("original"),
        "default": modes("default"),
        "ring": bounded(column(results, "ring", "modes_kept", **pacgan), MODES),
        "grid": bounded(column(results, "grid", "modes_kept", **pacgan), GRID),
    }


def collapse_rule(figures: Figures) -> str:
    """Holds if a GAN takes one call and the original game's interval lies below all modes.

    Holds in part if only either is so.
    """
    once, lost = figures["calls"].high <= 1, figures["original"].high < MODES
    return verdict(once and lost, once or lost)


def blur(results: Results) -> dict[str, Figure]:
    sharp = lambda name, **row: over_seeds(column(results, name, "sharpness", **row))  # noqa: E731
    return {
        "critic": sharp("digits", recipe="gan"),
        "means": single(column(results, "claim_blur", "sharpness", loss="class means")[0]),  # no training: no spread
        "energy": sharp("claim_blur", loss="energy distance"),
        "bound": sharp("digits", recipe="vae"),
        "floor": floor_of(results, "claim_blur", "sharpness"),
        "squared_mnist": sharp_on_mnist(results, "autoencoder, beta 0: reconstructions"),
        "critic_mnist": sharp_on_mnist(results, "adversarial autoencoder: reconstructions"),
    }


def blur_rule(figures: Figures) -> str:
    """Holds if the interval of class means, of the energy distance and of a VAE's bound lies below the critic's.

    Holds in part if that of some does.
    """
    below = [figures[name].high < figures["critic"].low for name in ("means", "energy", "bound")]
    return verdict(all(below), any(below))


def holes(results: Results) -> dict[str, Figure]:
    def coverage(name: str) -> Figure:
        score = rows_of(results, "holes_mnist", rows=name)[0]["coverage"]
        floor = score["mean"] / score["ratio"]
        same = len(set(score["values"])) == 1
        return over_seeds([value / floor for value in (score["values"][:1] if same else score["values"])])

    plain, vae = "autoencoder, beta 0", "VAE"
    between = "spherical midpoints of codes"
    return {
        "plain": coverage(f"{plain}: N(0, 1) decoded"),
        "vae": coverage(f"{vae}: N(0, 1) decoded"),
        "plain_between": coverage(f"{plain}: {between}"),
        "vae_between": coverage(f"{vae}: {between}"),
    }


def holes_rule(figures: Figures) -> str:
    """Holds if draws from N(0, 1) cover less than .5 of real data's coverage by the plain decoder and .9 by the VAE's.

    Intervals count as a whole. Holds in part if the plain autoencoder's interval lies below the VAE's.
    """
    plain, vae = figures["plain"], figures["vae"]
    return verdict(plain.high < 0.5 and vae.low >= 0.9, plain.high < vae.low)


def vaes(results: Results) -> dict[str, Figure]:
    return {
        "failed": share([row["failed"] for row in rows_of(results, "claim_stability", family="vae")]),
        "sharpness": over_seeds(column(results, "digits", "sharpness", recipe="vae")),
        "decoded": sharp_on_mnist(results, "VAE: N(0, 1) decoded"),
        "latent_flow": sharp_on_mnist(results, "VAE: flow in its latent space"),
        "mnist": single(column(results, "mnist", "sharpness", recipe="vae")[0]),
        "floor": floor_of(results, "claim_blur", "sharpness"),
    }


def vaes_rule(figures: Figures) -> str:
    """Holds if at most a tenth of the trainings fail and the whole interval of sharpness is below .9 of real data's.

    Holds in part if only either is so.
    """
    stable, blurred = figures["failed"].value <= 0.1, figures["sharpness"].high < 0.9 * figures["floor"].value
    return verdict(stable and blurred, stable or blurred)


def gradients(results: Results) -> dict[str, Figure]:
    get = lambda name: over_seeds(column(results, "claim_gradients", name))  # noqa: E731
    names = ("noise_reparameterised", "noise_score", "error_reparameterised", "error_score")
    values = {name: column(results, "claim_gradients", name) for name in ("ratio", "ratio_baseline")}
    return {**{name: ratios(each, [1.0] * len(each)) for name, each in values.items()}, **{name: get(name) for name in names}}


def gradients_rule(figures: Figures) -> str:
    """Holds if the score function's variance, with a baseline, is over 10 times the other by the whole interval.

    Holds in part if it is over 1 times.
    """
    return verdict(figures["ratio_baseline"].low > 10, figures["ratio_baseline"].low > 1)


def jump(results: Results) -> dict[str, Figure]:
    last = max(row["level"] for row in results["claim_jump"]["rows"])
    return {
        "apart": spanned(column(results, "claim_jump", "apart")),
        "by_chance": spanned(column(results, "claim_jump", "by_chance")),
        "speedup": over_seeds(column(results, "claim_jump", "speedup", level=last)),
    }


def jump_rule(figures: Figures) -> str:
    """Holds if no moment differs by more than 4 standard errors and the jump is faster.

    Holds in part if only the first is so.
    """
    same = figures["apart"].high <= 4
    return verdict(same and figures["speedup"].low > 1, same)


def noise(results: Results) -> dict[str, Figure]:
    return {
        "ddpm": failures(results, "ddpm"),
        "original": failures(results, "original"),
        "gan": failures(results, "gan"),
        "ablation": share([row["averaged"]["modes_kept"] < MODES for row in rows_of(results, "ablation_ring", row="original")]),
    }


def noise_rule(figures: Figures) -> str:
    """Holds if at most a tenth of the trainings of `ddpm` fail and the original GAN's share is higher by the whole intervals.

    Holds in part if only either is so.
    """
    sound, better = figures["ddpm"].value <= 0.1, figures["ddpm"].high < figures["original"].low
    return verdict(sound and better, sound or better)


def many(results: Results) -> dict[str, Figure]:
    steps, others = ("flow", "ddpm", "edm"), ("gan", "original", "vae")
    return {
        "steps": failures(results, *steps),
        **{name: failures(results, name) for name in others},
        **{f"less_than_{name}": less(failed(results, *steps), failed(results, name)) for name in others},
    }


def many_rule(figures: Figures) -> str:
    """Holds if fewer trainings of the families of many steps fail than of every family of one.

    Intervals of the differences (Newcombe's) count as a whole. Holds in part if fewer than of the original GAN.
    """
    lower = {name: figures[f"less_than_{name}"].low > 0 for name in ("gan", "original", "vae")}
    return verdict(all(lower.values()), lower["original"])


def labels(results: Results) -> dict[str, Figure]:
    needed = {name: column(results, "claim_labels", f"needed_{name}") for name in ("accuracy", "coverage")}
    figures = {name: over_seeds(values) for name, values in needed.items()}
    return {**figures, "ratio": ratios(needed["coverage"], needed["accuracy"])}


def labels_rule(figures: Figures) -> str:
    """Holds if the generator needs more examples than the classifier by the whole interval of the ratio.

    Holds in part if it needs more by the mean.
    """
    return verdict(figures["ratio"].low > 1, figures["ratio"].value > 1)


def regression(results: Results) -> dict[str, Figure]:
    cosines = {name: column(results, "claim_game", name) for name in ("game", "control")}
    return {
        **{name: over_seeds(column(results, "claim_regression", name)) for name in ("flow", "ddpm", "vae")},
        **{name: over_seeds(values) for name, values in cosines.items()},
        "game_over_control": ratios(cosines["game"], cosines["control"]),
    }


def regression_rule(figures: Figures) -> str:
    """Holds if all but the GAN end within .1 of conditional means, and the game's mean cosine is below its control's.

    In the control the generator does not learn. Intervals, that of the ratio seed by seed, count as a whole.
    Holds in part if at least two of the four do so.
    """
    met = [figures[name].high <= 0.1 for name in ("flow", "ddpm", "vae")]
    met.append(figures["game_over_control"].high < 1)
    return verdict(all(met), sum(met) >= 2)
