"""The claims of the field: every claim has its row, verdicts follow from rules, and the page says what the results say."""

import importlib
import json
import math
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
HOLDS, PART, FAILS, OPEN = "holds", "holds in part", "does not hold", "not decided"


@pytest.fixture(scope="module")
def claims():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("claims")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def rules(claims):
    modules = [importlib.import_module(f"claim_measurements.{name}") for name in ("rules", "sampling_rules")]
    return types.SimpleNamespace(**{key: value for module in modules for key, value in vars(module).items()})


@pytest.fixture
def figures(claims):
    return importlib.import_module("claim_measurements.figures")


@pytest.fixture(scope="module")
def rows(claims):
    return claims.judged(claims.stored(source for claim in claims.CLAIMS for source in claim.sources))


def test_each_of_the_fifteen_claims_has_its_row(claims, rows):
    page = (ROOT / "docs" / "claims.md").read_text()
    assert len(claims.CLAIMS) == len({claim.text for claim in claims.CLAIMS}) == 15
    assert [row["claim"] for row in rows] == [claim.text for claim in claims.CLAIMS]
    for number, row in enumerate(rows, start=1):
        claim = row["claim"].replace("|", "\\|")
        assert f"| {number} | {claim} | **{row['verdict']}** |" in page
        assert f"## {number}. {row['claim']}\n" in claims.details(rows)
        assert row["verdict"] in (HOLDS, PART, FAILS, OPEN) if row["figures"] else row["verdict"] == "not measured"


def test_a_claim_without_results_says_so(claims):
    (row, *others) = claims.judged({})
    assert len(others) == 14
    assert (row["verdict"], row["figures"]) == ("not measured", {})
    assert "| 1 | A GAN samples in one pass and can collapse. | **not measured** |" in claims.page([row])
    assert "runs what is missing" in claims.details([row])


def test_the_page_and_its_numbers_are_those_of_the_results(claims, rows):
    again = "run python benchmarks/claims.py"
    assert (ROOT / "docs" / "claims.md").read_text() == claims.page(rows), again
    assert claims.details(rows) in (BENCHMARKS / "results" / "claims.md").read_text(), again
    stored, computed = (BENCHMARKS / "results" / "claims.json").read_text(), json.dumps(rows)
    assert rounded(stored)["rows"] == rounded(computed), again


def rounded(text):
    """Quantiles of Student's distribution differ by 1e-11 among releases of scipy."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}"))


def test_commands_of_the_page_exist(claims, rows):
    for command in {command for row in rows for command in row["commands"]}:
        program, *options = command.removeprefix("python benchmarks/").split()
        text = (BENCHMARKS / program).read_text()
        assert all(f'"{option}"' in text for option in options if option.startswith("--")), command
    assert {name for claim in claims.CLAIMS for name in claim.sources} == set(claims.COMMANDS)
    for name in claims.MEASUREMENTS:
        assert (BENCHMARKS / "claim_measurements" / f"{name}.py").exists()


def test_no_figure_is_written_by_hand(claims):
    """Numbers in the words of a claim are protocols; a figure comes in by its name."""
    for claim in claims.CLAIMS:
        assert re.findall(r"\{\w+(?::value)?\}", claim.shown), claim.text
        assert not re.search(r"\d\.\d", re.sub(r"\{[^}]*\}", "", claim.shown + claim.measured)), claim.text


MADE_UP = [
    # the rule, figures as values or (value, low, high), the verdict
    ("collapse", {"calls": 1, "original": (2, 1, 3)}, HOLDS),
    ("collapse", {"calls": 1, "original": 8}, PART),
    ("collapse", {"calls": 1, "original": (7, 5, 8)}, OPEN),
    ("collapse", {"calls": 2, "original": 8}, FAILS),
    ("blur", {"critic": (0.9, 0.88, 0.92), "means": 0.3, "energy": 0.5, "bound": (0.8, 0.7, 0.87)}, HOLDS),
    ("blur", {"critic": (0.9, 0.88, 0.92), "means": 0.3, "energy": 0.95, "bound": 0.89}, PART),
    ("blur", {"critic": (0.9, 0.88, 0.92), "means": 0.3, "energy": 0.5, "bound": (0.85, 0.8, 0.9)}, OPEN),
    ("blur", {"critic": 0.9, "means": 0.95, "energy": 0.95, "bound": 0.95}, FAILS),
    ("holes", {"plain": 0.2, "vae": (0.95, 0.91, 0.99)}, HOLDS),
    ("holes", {"plain": 0.2, "vae": (0.8, 0.7, 0.85)}, PART),
    ("holes", {"plain": 0.2, "vae": (0.95, 0.85, 1.0)}, OPEN),
    ("holes", {"plain": (0.8, 0.7, 0.9), "vae": 0.85}, OPEN),
    ("holes", {"plain": (0.8, 0.7, 0.9), "vae": 0.6}, FAILS),
    ("vaes", {"failed": 0, "sharpness": 0.8, "floor": 1.0}, HOLDS),
    ("vaes", {"failed": (0.5, 0.2, 0.8), "sharpness": 0.8, "floor": 1.0}, PART),
    ("vaes", {"failed": (0, 0, 0.39), "sharpness": 0.8, "floor": 1.0}, OPEN),
    ("vaes", {"failed": 0, "sharpness": (0.85, 0.8, 0.88), "floor": (1.0, 0.9, 1.1)}, OPEN),
    ("vaes", {"failed": (0.5, 0.2, 0.8), "sharpness": 0.95, "floor": 1.0}, FAILS),
    ("gradients", {"ratio_baseline": (20, 11, 30)}, HOLDS),
    ("gradients", {"ratio_baseline": (5, 2, 9)}, PART),
    ("gradients", {"ratio_baseline": (20, 9, 30)}, OPEN),
    ("gradients", {"ratio_baseline": (0.8, 0.5, 0.9)}, FAILS),
    ("jump", {"apart": (2, 1, 3.9), "speedup": 500}, HOLDS),
    ("jump", {"apart": (2, 1, 3.9), "speedup": 0.5}, PART),
    ("jump", {"apart": (2, 1, 3.9), "speedup": (2, 0.5, 3)}, OPEN),
    ("jump", {"apart": (2, 1, 4.1), "speedup": 500}, OPEN),
    ("jump", {"apart": (6, 5, 9), "speedup": 500}, FAILS),
    ("noise", {"ddpm": 0, "original": 0.3}, HOLDS),
    ("noise", {"ddpm": 0, "original": 0}, PART),
    ("noise", {"ddpm": (0, 0, 0.24), "original": (0.6, 0.4, 0.8)}, OPEN),
    ("noise", {"ddpm": (0, 0, 0.08), "original": (0.25, 0.07, 0.5)}, OPEN),
    ("noise", {"ddpm": 0.4, "original": 0.3}, FAILS),
    ("calls", {"ancestral": 250, "fast": (10, 8, 25)}, HOLDS),
    ("calls", {"ancestral": 50, "fast": 10}, PART),
    ("calls", {"ancestral": (250, 90, 500), "fast": (10, 8, 25)}, OPEN),
    ("calls", {"ancestral": 1000, "fast": (12.6, 4.7, 34)}, OPEN),
    ("calls", {"ancestral": 20, "fast": (30, 20, 40)}, FAILS),
    ("latent", {"time": (200, 150, 300), "training": 120}, HOLDS),
    ("latent", {"time": (50, 40, 60), "training": 120}, PART),
    ("latent", {"time": (200, 90, 300), "training": 120}, OPEN),
    ("latent", {"time": (200, 150, 300), "training": 1.5}, FAILS),
    ("straight", {"curved_over": (3, 2, 4), "reflow_saves": (3, 2, 4)}, HOLDS),
    ("straight", {"curved_over": 1, "reflow_saves": (3, 2, 4)}, PART),
    ("straight", {"curved_over": (1, 0.5, 2), "reflow_saves": (3, 2, 4)}, OPEN),
    ("straight", {"curved_over": 1, "reflow_saves": 1}, FAILS),
    ("transport", {"ratio": (5, 2, 9)}, HOLDS),
    ("transport", {"ratio": (1.5, 1.1, 1.9)}, PART),
    ("transport", {"ratio": (1.9, 1.1, 3)}, OPEN),
    ("transport", {"ratio": (0.9, 0.8, 1)}, FAILS),
    ("same", {"float64": 1e-12, "float32": 1e-5}, HOLDS),
    ("same", {"float64": 1e-6, "float32": 1e-5}, PART),
    ("same", {"float64": 1e-12, "float32": (1e-3, 1e-4, 1e-2)}, OPEN),
    ("same", {"float64": 1e-12, "float32": 0.1}, FAILS),
    ("many", {"less_than_gan": 0.2, "less_than_original": (0.3, 0.1, 0.5), "less_than_vae": 0.1}, HOLDS),
    ("many", {"less_than_gan": -0.2, "less_than_original": (0.3, 0.1, 0.5), "less_than_vae": 0.1}, PART),
    ("many", {"less_than_gan": (0, -0.1, 0.1), "less_than_original": (0.3, 0.1, 0.5), "less_than_vae": 0.1}, OPEN),
    ("many", {"less_than_gan": 0.2, "less_than_original": (-0.3, -0.5, -0.1), "less_than_vae": 0.1}, FAILS),
    ("labels", {"ratio": (2, 1.1, 4)}, HOLDS),
    ("labels", {"ratio": (0.7, 0.36, 1.5)}, OPEN),
    ("labels", {"ratio": (2, 0.9, 4)}, OPEN),
    ("labels", {"ratio": (0.7, 0.5, 0.9)}, FAILS),
    ("regression", {"flow": 0.02, "ddpm": 0.02, "vae": (0.03, 0.01, 0.1), "game_over_control": (0.7, 0.6, 0.9)}, HOLDS),
    ("regression", {"flow": 0.02, "ddpm": 0.02, "vae": 0.5, "game_over_control": (0.7, 0.6, 1.1)}, PART),
    ("regression", {"flow": 0.02, "ddpm": 0.02, "vae": 0.02, "game_over_control": (0.7, 0.6, 1.1)}, OPEN),
    ("regression", {"flow": 0.2, "ddpm": (0.1, 0.05, 0.2), "vae": 0.5, "game_over_control": (0.7, 0.6, 0.9)}, OPEN),
    ("regression", {"flow": 0.2, "ddpm": 0.02, "vae": 0.5, "game_over_control": (1.2, 1.1, 1.3)}, FAILS),
]


@pytest.mark.parametrize(("name", "given", "expected"), MADE_UP)
def test_verdicts_follow_from_the_figures(name, given, expected, rules, figures):
    ends = {key: value if isinstance(value, tuple) else (value,) * 3 for key, value in given.items()}
    assert getattr(rules, f"{name}_rule")({key: figures.Figure(*value, n=3) for key, value in ends.items()}) == expected


def test_every_rule_is_tested_with_all_of_its_verdicts(claims):
    for claim in claims.CLAIMS:
        name = claim.rule.__name__.removesuffix("_rule")
        verdicts = {HOLDS, FAILS, OPEN} | ({PART} if "Holds in part if" in claim.condition else set())
        assert {expected for rule, _, expected in MADE_UP if rule == name} == verdicts
        assert claim.condition.startswith("Holds if ")
        assert claim.condition.endswith(".")


@pytest.mark.parametrize(("failed", "expected"), [([False] * 6, OPEN), ([False] * 34, OPEN), ([False] * 35, HOLDS)])
def test_none_that_fails_decides_a_share_of_a_tenth_from_35_trainings_on(failed, expected, rules, figures):
    sharpness, floor = (figures.Figure(*[value] * 3, n=3) for value in (0.8, 1.0))
    assert rules.vaes_rule({"failed": figures.share(failed), "sharpness": sharpness, "floor": floor}) == expected


def test_intervals(figures):
    values = [1.0, 2.0, 4.0]
    seeds = figures.over_seeds(values)
    known = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (seeds.low, seeds.high) == pytest.approx(known)
    assert (figures.over_seeds([3.0]).low, figures.over_seeds([3.0]).high) == (3, 3)
    ratio = figures.ratios([2.0, 8.0], [1.0, 2.0])
    assert ratio.value == pytest.approx(math.sqrt(8))
    none = figures.share([False] * 9)  # Wilson: z^2 / (n + z^2)
    z = stats.norm.ppf(0.975)
    assert (none.low, none.high) == pytest.approx((0, z**2 / (9 + z**2)))
    # table II (d) of Newcombe 1998: 5/56 against 0/29
    gap = figures.less([False] * 29, [True] * 5 + [False] * 51)
    assert (gap.low, gap.high) == pytest.approx((-0.0381, 0.1926), abs=1e-4)
    calls = figures.positive([10, 10, 20])
    assert (calls.value, calls.low > 0) == (pytest.approx(2000 ** (1 / 3)), True)


def test_figures_in_words(figures):
    assert f"{figures.Figure(6.1519, 5.9, 6.4, 3)}" == "6.15 (5.9 to 6.4, n = 3)"
    assert f"{figures.Figure(0.2, 0.2, 0.2, 1)} {figures.Figure(1234.5, 0, 0, 3):value}" == "0.2 (n = 1) 1,234"
    assert figures.short(1.5e-15) == "1.5e-15"


def test_the_closed_form_of_both_variances(claims):
    gradients = importlib.import_module("claim_measurements.gradients")
    torch = gradients.torch
    offset, spread = torch.tensor([0.5, -1.0], dtype=torch.float64), 0.7
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)  # exact for these polynomials
    e = np.stack([part.ravel() for part in np.meshgrid(nodes, nodes)], 1)
    weight = np.outer(weights, weights).ravel() / (2 * np.pi)
    z = offset.numpy() + spread * e
    estimates = 2 * z, (z**2).sum(1, keepdims=True) * e / spread
    variances = [float((weight @ x**2 - (weight @ x) ** 2).sum()) for x in estimates]
    assert gradients.closed_form(offset, spread) == pytest.approx(variances)


def test_a_training_fails_where_it_diverges_or_is_far_from_its_familys_best(claims):
    stability = importlib.import_module("claim_measurements.stability")
    scores = {1.0: [0.1, 0.2, 0.15], 3.0: [0.5, 0.44, None]}
    rows = [{"family": "gan", "rate": rate, "frechet": value} for rate, values in scores.items() for value in values]
    stability.mark(rows)
    assert [row["failed"] for row in rows] == [False, False, False, True, False, True]
    lost = [{"family": "vae", "rate": 1.0, "frechet": None}]
    stability.mark(lost)
    assert lost[0]["failed"]


def test_calls_count_from_where_on_all_are_enough(claims):
    calls = importlib.import_module("claim_measurements.calls")
    good, bad = {"spread": 1.05, "inside": calls.INSIDE}, {"spread": 1.2, "inside": calls.INSIDE}
    assert calls.fewest({"5": good, "10": bad, "25": good, "50": good}) == 25, "5 was luck"
    assert calls.fewest({"5": good, "10": bad}) == 20
    z = calls.torch.randn(20_000, 2, generator=calls.torch.Generator().manual_seed(0))
    centres = calls.torch.tensor([[0.0, 0.0], [9.0, 9.0]], dtype=calls.torch.float64)
    scores = calls.scored(calls.STD * z, centres)
    assert scores["spread"] == pytest.approx(1, abs=0.02)
    assert scores["inside"] == pytest.approx(calls.INSIDE, abs=0.005)


def test_examples_needed_are_read_between_two_numbers(claims):
    labels = importlib.import_module("claim_measurements.labels")
    assert labels.needed((50, 200), [0.99, 1.0]) == 50
    assert labels.needed((50, 200, 400), [0.9, 1.0, 1.0]) == pytest.approx(100)
