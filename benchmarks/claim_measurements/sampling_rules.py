"""Of the fifteen claims those on paths, solvers and latent spaces: figures read from results, and
rules of verdicts.
"""

from __future__ import annotations

from claim_measurements.figures import (
    Figure,
    Results,
    above,
    at_least,
    at_most,
    below,
    column,
    met,
    over_seeds,
    positive,
    ratios,
    spanned,
    verdict,
)
from claim_measurements.rules import Figures, single


def calls(results: Results) -> dict[str, Figure]:
    def needed(name):
        return positive(column(results, "claim_calls", f"needed/{name}"))

    rows = results["mnist_calls_small"]["rows"]
    reference = results["mnist_calls_small"]["reference"]
    blocks = sorted({key.split()[1] for key in rows if key.startswith("block")})

    def ratio(name: str) -> Figure:
        def of(what):
            return [rows[f"block {block} {what}"]["frechet"] for block in blocks]

        return ratios(of(f"{name} time 8"), of(f"reference {reference}"))

    return {
        "ancestral": needed("ancestral"),
        "ddim": needed("ddim"),
        "fast": needed("dpm:2"),
        "mnist_unipc": ratio("unipc:2"),
        "mnist_ddim": ratio("ddim"),
    }


def calls_rule(figures: Figures) -> str:
    """Holds if the ancestral sampler needs at least 100 calls and DPM-Solver++ at most 25.

    Holds in part if DPM-Solver++ needs fewer calls than the ancestral sampler.
    """
    ancestral = figures["ancestral"]
    fast = figures["fast"]
    return verdict([at_least(ancestral, 100), at_most(fast, 25)], below(fast, ancestral))


def latent(results: Results) -> dict[str, Figure]:
    def saving(cost: str) -> list[float]:
        sets = ("latent_mnist", "latent_emoji_swap_1")
        return [
            column(results, name, cost, flow="pixel")[0]
            / column(results, name, cost, flow="latent")[0]
            for name in sets
        ]

    costs = {
        "time": "seconds_per_sample",
        "sampling": "flops_per_sample",
        "training": "flops_per_training_sample",
    }
    return {name: spanned(saving(cost)) for name, cost in costs.items()}


def latent_rule(figures: Figures) -> str:
    """Holds if every saving is at least a factor of 100.

    Holds in part if every saving is more than a factor of 2.
    """
    least = [above(figure, 2) for figure in figures.values()]
    return verdict([at_least(figure, 100) for figure in figures.values()], met(least, len(least)))


def straight(results: Results) -> dict[str, Figure]:
    models = ("vp", "straight", "ot", "reflow")
    steps, error = (
        {name: column(results, "claim_straightness", key, model=name) for name in models}
        for key in ("steps_needed", "rms_8")
    )
    figures = {name: over_seeds(values) for name, values in steps.items()}
    return {
        **figures,
        "curved_over": ratios(error["vp"], error["straight"]),
        "reflow_saves": ratios(error["straight"], error["reflow"]),
    }


def straight_rule(figures: Figures) -> str:
    """Holds if 8 Euler steps have a larger error on the curved path than on the straight one, and
    there than on its reflow.

    Uses intervals of the ratios. Holds in part if only one of these is true.
    """
    conditions = [above(figures[name], 1) for name in ("curved_over", "reflow_saves")]
    return verdict(conditions, met(conditions, 1))


def transport(results: Results) -> dict[str, Figure]:
    bent = {
        name: column(results, "claim_straightness", "straightness", model=name)
        for name in ("straight", "ot")
    }
    figures = {"independent": over_seeds(bent["straight"]), "ot": over_seeds(bent["ot"])}
    return {**figures, "ratio": ratios(bent["straight"], bent["ot"])}


def transport_rule(figures: Figures) -> str:
    """Holds if independent noise gives at least twice the deviation from straight lines.

    Holds in part if it gives a larger one.
    """
    return verdict([at_least(figures["ratio"], 2)], above(figures["ratio"], 1))


def same(results: Results) -> dict[str, Figure]:
    gaps = {
        f"float{bits}": spanned(column(results, "claim_calls", f"apart_float{bits}"))
        for bits in (32, 64)
    }
    exact = results["mnist_calls_small"]["rows"]["straight path"]["float64, tolerance 1e-05"]
    return {**gaps, "mnist": single(exact)}


def same_rule(figures: Figures) -> str:
    """Holds if no number of any sample differs by more than 1e-9 in float64 and 1e-3 in float32.

    Holds in part if the differences are at most .05.
    """
    both = figures["float64"], figures["float32"]
    near = met([at_most(figure, 0.05) for figure in both], 2)
    return verdict(
        [at_most(figure, bar) for figure, bar in zip(both, (1e-9, 1e-3), strict=True)], near
    )
