"""Do several processes train what one process trains, and what comes of a killed one?

Protocol: every recipe, in its tiny size, on 300 random examples with labels, batches of 256 in
    float32, for 20 steps: in one
process, and in 2 and 4 processes of gloo on this machine with all weights in each and with sharded
ones. `gan:lazy` has a penalty in every fourth step, `flow:accumulate` batches of 512 in two parts.
The bar of recipes of one player is a relative distance of 1e-5 of each loss. In games rounding
grows: the first gradients are to agree to 1e-5, and later losses within three times the drift of a
control, whose weights are scaled by 1 + 1.2e-7. Then one of two processes is killed, after a random
step or inside of a save, and training is resumed with two new ones: the end is to equal the
undisturbed one bit for bit. `gan` and `vqvae`, which amplify a rounding, are trained in float64 as
well, and beside twenty controls in which each weight is moved by one rounding, up or down. If only
the order of sums differs, distances begin at the rounding of float64 and grow as those of its own
control do. Both are also trained from ten seeds in 2 and 4 processes and with two controls: in how
many the bar holds, and in how many it does for a control in their place. Last come the speed of the
small U-Net on images of 32 x 32, batches of 128, in one process of two threads and in two of one,
and the seconds for which a save stops two processes; they have no bar.

    python benchmarks/processes.py [--parts recipes,kills,speeds,roundings,seeds,pauses] [--steps
    20] [--kills 20]
                                   [--controls 20] [--seeds 10] [--smoke]

Parts that are left out stay as they were measured before; each has its commit.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from protocol import benchmark, commit, parsed, printed_by, relative, results, table, write

import numpy as np

import pushforward as pf
from pushforward.registries import RECIPES

PROGRAM = Path(__file__).parent / "programs" / "several.py"
VARIANTS = ("gan:lazy", "flow:accumulate")
BAR = 1e-5
TIMES = 3.0
KINDS = ("plain", "sharded")
PARTS = ("recipes", "kills", "speeds", "roundings", "seeds", "pauses")
SENSITIVE = ("gan", "vqvae")
"""Recipes that amplify a rounding within 20 steps: by the game, and by examples between two codes.
"""


def ran(*words: object) -> Any:
    """What the program prints; of trainings, by kind and case."""
    return json.loads(
        printed_by(PROGRAM, list(map(str, words)), Path(pf.__file__).parents[1]).splitlines()[-1]
    )


def apart(losses: list[dict[str, float]], wanted: list[dict[str, float]]) -> np.ndarray:
    """The largest relative distance of a loss at each step."""
    return np.array(
        [max(relative(a[name], b[name]) for name in b) for a, b in zip(losses, wanted, strict=True)]
    )


def gradient(given: dict[str, list[float]], wanted: dict[str, list[float]]) -> float:
    """The largest relative distance of a player's first gradients."""

    def distance(a, b):
        return float(np.linalg.norm(np.subtract(a, b)) / max(np.linalg.norm(b), 1e-12))

    return max(distance(given[name], wanted[name]) for name in wanted)


def bound(drift: np.ndarray) -> np.ndarray:
    """The largest drift of a control up to each step, of which losses may be three times as far
    apart.
    """
    return np.maximum(np.maximum.accumulate(drift, axis=-1), 1e-6)


def among(plain: dict[str, Any]) -> dict[str, Any]:
    """Where the losses of several processes lie among those of all controls, of which a game has a
    whole distribution.

    Returns:
        By the number of processes, the largest of all steps' distances, in distances of the median
        control, and how many controls they stay within three times of in all steps; and in how many
        pairs of controls one does so with the other.
    """
    drifts = np.array(plain["controls"])
    bounds = bound(drifts)
    places = range(len(drifts))

    def within(losses: np.ndarray, which: Any) -> int:
        return int((losses <= TIMES * bounds[which]).all(-1).sum())

    several = {count: np.array(losses) for count, losses in plain["losses"].items()}
    return {
        "medians": {
            count: float((losses / np.median(bounds, 0)).max()) for count, losses in several.items()
        },
        "within": {count: within(losses, slice(None)) for count, losses in several.items()},
        "pairs": sum(
            within(drifts[place], [other for other in places if other != place]) for place in places
        ),
    }


def row(
    case: str,
    kind: str,
    count: int,
    result: dict[str, Any],
    single: dict[str, Any],
    control: dict[str, Any],
) -> dict[str, Any]:
    """What came of a case in some processes."""
    known: dict[str, Any] = {"case": case, "kind": kind, "processes": count}
    why = next(
        (
            given[name]
            for given in (result, single)
            for name in ("refused", "failed")
            if name in given
        ),
        None,
    )
    if why is not None:
        return {**known, "why": why, "holds": None if "failed" not in result else False}
    losses = apart(result["losses"], single["losses"])
    drift = apart(control["losses"], single["losses"])
    first = gradient(result["gradients"], single["gradients"])
    game = len(single["gradients"]) > 1
    allowed = TIMES * bound(drift) if game else np.full(len(losses), BAR)
    holds = bool((losses <= allowed).all() and (first <= BAR or not game))
    return {
        **known,
        "game": game,
        "losses": float(losses.max()),
        "gradient": first,
        "drift": float(drift.max()),
        "holds": holds,
    }


def rounding(case: str, steps: int, counts: list[int], controls: int) -> dict[str, Any]:
    """How far a case is from one process in float64 and in float32, beside controls that differ
    from it by one rounding.
    """
    known: dict[str, Any] = {"case": case, "kind": "roundings"}
    for kind, control, seeds in (("double", "double-control", 1), ("plain", "control", controls)):
        kinds = [kind, *(f"{control}:{seed}" for seed in range(1, seeds + 1))]
        alone = ran("train", 1, ",".join(kinds), steps, case)
        single, *others = (alone[each][case] for each in kinds)
        several = {count: ran("train", count, kind, steps, case)[kind][case] for count in counts}
        known[kind] = {
            "gradient": {
                count: gradient(each["gradients"], single["gradients"])
                for count, each in several.items()
            },
            "losses": {
                count: apart(each["losses"], single["losses"]).tolist()
                for count, each in several.items()
            },
            "controls": [apart(each["losses"], single["losses"]).tolist() for each in others],
        }
    parts = {
        count: ran("train", 1, "plain", steps, f"{case}:parts{count}")["plain"][
            f"{case}:parts{count}"
        ]
        for count in counts
    }
    known["parts"] = {
        count: apart(several[count]["losses"], parts[count]["losses"]).tolist() for count in counts
    }
    return known


def seeded(name: str, steps: int, seeds: int) -> dict[str, Any]:
    """How often a sensitive recipe's bar holds in several processes, and for a control, over seeds
    of the training.
    """
    cases = [f"{name}:seed{seed}" for seed in range(1, seeds + 1)]
    alone = ran("train", 1, "plain,control,control:1", steps, *cases)
    several = {count: ran("train", count, "plain", steps, *cases)["plain"] for count in (2, 4)} | {
        "control": alone["control:1"]
    }
    holds = {who: [] for who in several}
    for case in cases:
        single = alone["plain"][case]
        drift = apart(alone["control"][case]["losses"], single["losses"])
        allowed = TIMES * bound(drift) if len(single["gradients"]) > 1 else BAR
        for who, trainings in several.items():
            losses = apart(trainings[case]["losses"], single["losses"])
            holds[who].append(
                {"holds": bool((losses <= allowed).all()), "largest": float(losses.max())}
            )
    return holds


def held_by(seeds: dict[str, Any]) -> str:
    """What `seeded` gave for each recipe, in a table."""
    lines = []
    for name, by_whom in seeds.items():
        for who, each in by_whom.items():
            largest = sorted(result["largest"] for result in each)
            span = f"{largest[0]:.1e} to {largest[-1]:.1e}, median {np.median(largest):.1e}"
            what = "a control" if who == "control" else f"{who} processes"
            lines.append(
                [
                    f"`{name}`",
                    what,
                    span,
                    f"{sum(result['holds'] for result in each)} of {len(each)} seeds",
                ]
            )
    return "\n\n" + table(
        ["recipe", "losses of", "largest distance from one process", "bar holds in"], lines
    )


def paused(pauses: dict[str, Any]) -> str:
    """For how long a save stops training, in sentences."""
    weights = {"plain": "with all weights in each", "sharded": "with sharded weights"}
    return "".join(
        f"\n\nA save of {each['bytes'] / 1e6:.0f} MB stops two processes {weights[kind]} for "
        f"{each['waiting']:.2f} s where they "
        f"wait for it, and for {each['beside']:.2f} s where it is written beside the next steps."
        for kind, each in pauses.items()
    )


def in_parts(count: Any, losses: list[float]) -> str:
    """How far several processes are from one that adds up the same parts of each batch, in a
    sentence.
    """
    same = sum(not any(losses[: step + 1]) for step in range(len(losses)))
    if same == len(losses):
        then = "."
    else:
        then = f", {losses[same]:.1e} apart in the next one, and {max(losses):.1e} at most."
    return (
        f"\n\n{count} processes and one process that computes each batch in {count} parts: equal "
        "in every digit in the first "
        f"{same} of {len(losses)} steps{then}"
    )


def words_of(known: dict[str, Any]) -> str:
    """What `rounding` gave, in sentences."""
    double = known["double"]
    plain = known["plain"]
    first = max(losses[0] for losses in double["losses"].values())
    largest = max(max(losses) for losses in double["losses"].values())
    drifts = sorted(max(control) for control in plain["controls"])
    gradients = max(double["gradient"].values())
    control = max(double["controls"][0])
    beside = among(plain)
    pairs = len(drifts) * (len(drifts) - 1)
    ratios = beside["medians"]
    counts = beside["within"]
    lines = [
        [
            f"{count} processes",
            f"{max(losses):.1e}",
            f"{ratios[count]:.2f}",
            f"{counts[count]} of {len(drifts)}",
        ]
        for count, losses in plain["losses"].items()
    ]
    spread = f"{drifts[0]:.1e} to {drifts[-1]:.1e}, median {np.median(drifts):.1e}"
    lines.append(["a control", spread, "", f"{beside['pairs']} of {pairs} pairs"])
    head = [
        "losses of",
        "largest distance",
        "largest ratio to the median control",
        f"within {TIMES:g} times a control",
    ]
    return (
        f"\n\n`{known['case']}` in float64: first gradients {gradients:.1e} apart, losses "
        f"{first:.1e} in the first step and "
        f"{largest:.1e} at most, those of a control {control:.1e}. In float32, beside "
        f"{len(drifts)} controls (a "
        "control's distance at a step is its largest one so far; each control is compared with all "
        "others as well):\n\n"
        + table(head, lines)
        + "".join(in_parts(count, losses) for count, losses in known.get("parts", {}).items())
    )


def missed_by(rows: list[dict[str, Any]]) -> str:
    """Which recipes miss the bar, and why that is no fault if float64 shows none."""
    cases = list(dict.fromkeys(r["case"] for r in rows if r["holds"] is False))
    if not cases:
        return ""
    return (
        f"\n\nThe bar as it is written is missed by {', '.join(f'`{case}`' for case in cases)}. "
        "Several processes add up "
        "gradients in another order than one process does, so that weights differ by a rounding. A "
        "game amplifies it, and in "
        "`vqvae` it gives an example between two codes the other one. One control is then one draw "
        "of many, so both stand beside "
        "twenty of them below. Any other difference than that of rounding would show in float64 as "
        "well."
    )


def text_of(rows: list[dict[str, Any]]) -> str:
    """The table of the recipes."""
    words = {True: "holds", False: "misses", None: "refused"}
    lines = []
    for r in rows:
        if "why" in r:
            numbers = ["", "", ""]
        else:
            numbers = [f"{r[name]:.1e}" for name in ("losses", "gradient", "drift")]
        why = f": {r['why']}" if "why" in r else ""
        lines.append([r["case"], r["kind"], str(r["processes"]), *numbers, words[r["holds"]] + why])
    head = [
        "recipe",
        "weights",
        "processes",
        "losses apart",
        "first gradients apart",
        "drift of the control",
        "bar",
    ]
    return table(head, lines) + missed_by(rows)


def killed(kills: list[dict[str, Any]]) -> str:
    """What came of the kills, in a sentence."""
    slowest = max(kill["seconds"] for kill in kills)
    ended = sum(sorted(kill["codes"]) == [-9, 1] for kill in kills)
    equal = sum(kill["equal"] and kill["again"] == [0, 0] for kill in kills)
    return (
        f"\n\nOf {len(kills)} trainings of two processes, one of which was to be killed, {ended} "
        "ended in both, "
        f"the slowest {slowest:.1f} s after its start; {equal} ended, when resumed, in the "
        "undisturbed run's state bit for bit."
    )


def fast(speeds: dict[str, float]) -> str:
    """The speeds, in sentences."""
    where = {"1": "one process of two threads", "2": "two processes of one thread"}
    return "".join(
        f"\n\nThe small U-Net sees {value:,.1f} examples a second in {where[count]}."
        for count, value in speeds.items()
    )


def recipes(steps: int, smoke: bool) -> list[dict[str, Any]]:
    """A row for each recipe, kind of weights and number of processes."""
    cases, counts = (["flow"], [1]) if smoke else ([*RECIPES, *VARIANTS], [2, 4])
    alone = ran("train", 1, "plain,control", steps, *cases)
    rows = []
    for kind in KINDS[:1] if smoke else KINDS:
        for count in counts:
            several = ran("train", count, kind, steps, *cases)[kind]
            rows += [
                row(case, kind, count, several[case], alone["plain"][case], alone["control"][case])
                for case in cases
            ]
    return sorted(rows, key=lambda r: cases.index(r["case"]))


def before() -> dict[str, Any]:
    """What earlier runs have measured, by part, and their commits."""
    path = results() / "processes.json"
    if not path.exists():
        return {"commits": {}}
    known = json.loads(path.read_text())
    rows = {
        part: [r for r in known["rows"] if (r["kind"] == "roundings") == (part == "roundings")]
        for part in ("recipes", "roundings")
    }
    stamp = f"{known['date']} at {known['commit']}"
    parts = {part: known.get(part, {}) for part in ("seeds", "pauses")}
    commits = known.get("commits", dict.fromkeys(PARTS, stamp))
    return {
        **rows,
        "kills": known["kills"],
        "speeds": known["examples_per_second"],
        **parts,
        "commits": commits,
    }


@benchmark
def main(words: list[str]) -> None:
    """Measure, write the table and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--steps", type=int, default=20, help="steps of each training (default 20)")
    parser.add_argument(
        "--controls", type=int, default=20, help="controls of sensitive recipes (default 20)"
    )
    parser.add_argument(
        "--kills", type=int, default=20, help="trainings that are killed (default 20)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds of `gan` (default 10)")
    parser.add_argument("--pauses", type=int, default=10, help="saves of each way (default 10)")
    given = parsed(parser, words, steps=2, parts="recipes")
    work = {
        "recipes": lambda: recipes(given.steps, given.smoke),
        "kills": lambda: ran("kill", given.kills),
        "speeds": lambda: {
            str(count): ran("speed", count, 2 // count, given.steps) for count in (2, 1)
        },
        "seeds": lambda: {name: seeded(name, given.steps, given.seeds) for name in SENSITIVE},
        "pauses": lambda: ran("pause", given.pauses),
        "roundings": lambda: [
            rounding(case, given.steps, [2, 4], given.controls) for case in SENSITIVE
        ],
    }
    known = before()
    for part in given.parts.split(","):
        known[part] = work[part]()
        known["commits"][part] = f"{datetime.date.today().isoformat()} at {commit()}"
    sentences = {
        "recipes": text_of,
        "roundings": lambda each: "".join(map(words_of, each)),
        "kills": killed,
    }
    sentences |= {"seeds": held_by, "speeds": fast, "pauses": paused}
    text = "".join(in_words(known[part]) for part, in_words in sentences.items() if known.get(part))
    facts = {
        "steps": given.steps,
        "kills": known.get("kills", []),
        "examples_per_second": known.get("speeds", {}),
    }
    facts |= {part: known.get(part, {}) for part in ("seeds", "pauses")}
    rows = [*known.get("recipes", []), *known.get("roundings", [])]
    write(
        "processes",
        "Several processes compared with one",
        text,
        rows,
        commits=known["commits"],
        **facts,
    )


if __name__ == "__main__":
    main()
