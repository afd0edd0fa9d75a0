"""The fifteen claims: figures read from results, and rules that turn figures into verdicts. No
result is written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from claim_measurements.figures import (
    Figure,
    Results,
    above,
    at_least,
    at_most,
    below,
    bounded,
    column,
    less,
    met,
    over_seeds,
    ratios,
    rows_of,
    share,
    spanned,
    verdict,
)

Figures = Mapping[str, Figure]
MODES = 8
GRID = 25
"""Modes of ring and grid, by definition."""
MOST = 0.1
"""The share of trainings that may fail of what counts as stable."""


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
    """Which trainings of families fail: on digits over rates, and, where a family was trained
    there, on ring and grid.
    """
    marks: list[bool] = []
    for family in families:
        marks += [row["failed"] for row in rows_of(results, "claim_stability", family=family)]
        for name, modes in (("ring", MODES), ("grid", GRID)):
            rows = rows_of(results, name, model=family, weights="averaged")
            marks += [bool(row["diverged"]) or row["modes_kept"] < modes for row in rows]
    return marks


def collapse(results: Results) -> dict[str, Figure]:
    def modes(row):
        return bounded(column(results, "ablation_ring", "averaged/modes_kept", row=row), MODES)

    pacgan = {"model": "original", "weights": "averaged"}
    return {
        "calls": over_seeds(column(results, "stacked_digits", "calls", model="gan")),
        "original": modes("original"),
        "default": modes("default"),
        "ring": bounded(column(results, "ring", "modes_kept", **pacgan), MODES),
        "grid": bounded(column(results, "grid", "modes_kept", **pacgan), GRID),
    }


def collapse_rule(figures: Figures) -> str:
    """Holds if a GAN takes one call and the interval of the original GAN lies below all modes.

    Holds in part if only one of these is true.
    """
    conditions = [at_most(figures["calls"], 1), below(figures["original"], MODES)]
    return verdict(conditions, met(conditions, 1))


def blur(results: Results) -> dict[str, Figure]:
    def sharp(name, **row):
        return over_seeds(column(results, name, "sharpness", **row))

    return {
        "critic": sharp("digits", recipe="gan"),
        "means": single(
            column(results, "claim_blur", "sharpness", loss="class means")[0]
        ),  # no training: no spread
        "energy": sharp("claim_blur", loss="energy distance"),
        "bound": sharp("digits", recipe="vae"),
        "floor": floor_of(results, "claim_blur", "sharpness"),
        "squared_mnist": sharp_on_mnist(results, "autoencoder, beta 0: reconstructions"),
        "critic_mnist": sharp_on_mnist(results, "adversarial autoencoder: reconstructions"),
    }


def blur_rule(figures: Figures) -> str:
    """Holds if class means, the energy distance and the VAE are less sharp than the GAN.

    Holds in part if some of them are.
    """
    conditions = [below(figures[name], figures["critic"]) for name in ("means", "energy", "bound")]
    return verdict(conditions, met(conditions, 1))


def holes(results: Results) -> dict[str, Figure]:
    def coverage(name: str) -> Figure:
        score = rows_of(results, "holes_mnist", rows=name)[0]["coverage"]
        floor = score["mean"] / score["ratio"]
        same = len(set(score["values"])) == 1
        return over_seeds(
            [value / floor for value in (score["values"][:1] if same else score["values"])]
        )

    plain = "autoencoder, beta 0"
    vae = "VAE"
    between = "spherical midpoints of codes"
    return {
        "plain": coverage(f"{plain}: N(0, 1) decoded"),
        "vae": coverage(f"{vae}: N(0, 1) decoded"),
        "plain_between": coverage(f"{plain}: {between}"),
        "vae_between": coverage(f"{vae}: {between}"),
    }


def holes_rule(figures: Figures) -> str:
    """Holds if decoded N(0, 1) has less than .5 of real data's coverage for the plain decoder, and
    at least .9 for the VAE.

    Holds in part if the plain autoencoder covers less than the VAE.
    """
    plain = figures["plain"]
    vae = figures["vae"]
    return verdict([below(plain, 0.5), at_least(vae, 0.9)], below(plain, vae))


def vaes(results: Results) -> dict[str, Figure]:
    return {
        "failed": share(
            [row["failed"] for row in rows_of(results, "claim_stability", family="vae")]
        ),
        "sharpness": over_seeds(column(results, "digits", "sharpness", recipe="vae")),
        "decoded": sharp_on_mnist(results, "VAE: N(0, 1) decoded"),
        "latent_flow": sharp_on_mnist(results, "VAE: flow in its latent space"),
        "mnist": single(column(results, "mnist", "sharpness", recipe="vae")[0]),
        "floor": floor_of(results, "claim_blur", "sharpness"),
    }


def vaes_rule(figures: Figures) -> str:
    """Holds if at most a tenth of the training runs fail and sharpness is below .9 of real data's.

    Holds in part if only one of these is true.
    """
    conditions = [
        at_most(figures["failed"], MOST),
        below(figures["sharpness"], figures["floor"].times(0.9)),
    ]
    return verdict(conditions, met(conditions, 1))


def gradients(results: Results) -> dict[str, Figure]:
    def get(name):
        return over_seeds(column(results, "claim_gradients", name))

    names = ("noise_reparameterised", "noise_score", "error_reparameterised", "error_score")
    values = {
        name: column(results, "claim_gradients", name) for name in ("ratio", "ratio_baseline")
    }
    return {
        **{name: ratios(each, [1.0] * len(each)) for name, each in values.items()},
        **{name: get(name) for name in names},
    }


def gradients_rule(figures: Figures) -> str:
    """Holds if the variance of the score-function gradient with a baseline is more than 10 times
    the other.

    Holds in part if it is larger.
    """
    return verdict([above(figures["ratio_baseline"], 10)], above(figures["ratio_baseline"], 1))


def jump(results: Results) -> dict[str, Figure]:
    last = max(row["level"] for row in results["claim_jump"]["rows"])
    return {
        "apart": spanned(column(results, "claim_jump", "apart")),
        "by_chance": spanned(column(results, "claim_jump", "by_chance")),
        "speedup": over_seeds(column(results, "claim_jump", "speedup", level=last)),
    }


def jump_rule(figures: Figures) -> str:
    """Holds if no moment differs by more than 4 standard errors and the jump is faster.

    Holds in part if only the first is true.
    """
    same = at_most(figures["apart"], 4)
    return verdict([same, above(figures["speedup"], 1)], same)


def noise(results: Results) -> dict[str, Figure]:
    return {
        "ddpm": failures(results, "ddpm"),
        "original": failures(results, "original"),
        "gan": failures(results, "gan"),
        "ablation": share(
            [
                row["averaged"]["modes_kept"] < MODES
                for row in rows_of(results, "ablation_ring", row="original")
            ]
        ),
    }


def noise_rule(figures: Figures) -> str:
    """Holds if at most a tenth of the training runs of `ddpm` fail and a larger fraction of the
    original GANs does.

    Holds in part if only one of these is true.
    """
    conditions = [at_most(figures["ddpm"], MOST), below(figures["ddpm"], figures["original"])]
    return verdict(conditions, met(conditions, 1))


def many(results: Results) -> dict[str, Figure]:
    steps = ("flow", "ddpm", "edm")
    others = ("gan", "original", "vae")
    return {
        "steps": failures(results, *steps),
        **{name: failures(results, name) for name in others},
        **{
            f"less_than_{name}": less(failed(results, *steps), failed(results, name))
            for name in others
        },
    }


def many_rule(figures: Figures) -> str:
    """Holds if families with many steps fail less often than every family with one step.

    Uses intervals of the differences (Newcombe). Holds in part if they fail less often than the
    original GAN.
    """
    lower = {name: above(figures[f"less_than_{name}"], 0) for name in ("gan", "original", "vae")}
    return verdict(list(lower.values()), lower["original"])


def labels(results: Results) -> dict[str, Figure]:
    needed = {
        name: column(results, "claim_labels", f"needed_{name}") for name in ("accuracy", "coverage")
    }
    figures = {name: over_seeds(values) for name, values in needed.items()}
    return {**figures, "ratio": ratios(needed["coverage"], needed["accuracy"])}


def labels_rule(figures: Figures) -> str:
    """Holds if the ratio of the examples that generator and classifier need is above 1."""
    return verdict([above(figures["ratio"], 1)])


def regression(results: Results) -> dict[str, Figure]:
    cosines = {name: column(results, "claim_game", name) for name in ("game", "control")}
    return {
        **{
            name: over_seeds(column(results, "claim_regression", name))
            for name in ("flow", "ddpm", "vae")
        },
        **{name: over_seeds(values) for name, values in cosines.items()},
        "game_over_control": ratios(cosines["game"], cosines["control"]),
    }


def regression_rule(figures: Figures) -> str:
    """Holds if all models but the GAN end within .1 of conditional means, and the GAN's mean cosine
    is below its control's.

    The ratio of the cosines is computed for each seed. Holds in part if at least two of the four
    conditions are met.
    """
    conditions = [at_most(figures[name], 0.1) for name in ("flow", "ddpm", "vae")]
    conditions.append(below(figures["game_over_control"], 1))
    return verdict(conditions, met(conditions, 2))
