"""Every benchmark runs as ``--smoke``; every claim of the field has its row, and the page says what
the results say.
"""

import importlib
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
HOLDS = "holds"
PART = "holds in part"
FAILS = "does not hold"
OPEN = "not decided"


@pytest.fixture(scope="module")
def claims():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("claims")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def figures(claims):
    return importlib.import_module("claim_measurements.figures")


@pytest.fixture(scope="module")
def rows(claims):
    sources = [source for claim in claims.CLAIMS for source in claim.sources]
    return claims.judged(claims.stored(sources))


def test_each_of_the_fifteen_claims_has_its_row(claims, rows):
    page = (ROOT / "docs" / "claims.md").read_text()
    assert len(claims.CLAIMS) == len({claim.text for claim in claims.CLAIMS}) == 15
    assert [row["claim"] for row in rows] == [claim.text for claim in claims.CLAIMS]
    for number, row in enumerate(rows, start=1):
        claim = row["claim"].replace("|", "\\|")
        assert f"| {number} | {claim} | **{row['verdict']}** |" in page
        assert f"## {number}. {row['claim']}\n" in claims.details(rows)
        verdicts = ["not measured"]
        if row["figures"]:
            verdicts = [HOLDS, PART, FAILS, OPEN]
        assert row["verdict"] in verdicts


def test_the_page_and_its_numbers_are_those_of_the_results(claims, rows):
    again = "run python benchmarks/claims.py"
    text = (ROOT / "docs" / "claims.md").read_text()
    assert text == claims.page(rows), again
    assert claims.details(rows) in (BENCHMARKS / "results" / "claims.md").read_text(), again
    stored = (BENCHMARKS / "results" / "claims.json").read_text()
    computed = json.dumps(rows)
    assert rounded(stored)["rows"] == rounded(computed), again


def rounded(text):
    """Quantiles of Student's distribution differ by 1e-11 among releases of scipy."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}"))


def test_intervals(figures):
    values = [1.0, 2.0, 4.0]
    seeds = figures.over_seeds(values)
    known = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (seeds.low, seeds.high) == pytest.approx(known)
    single = figures.over_seeds([3.0])
    assert (single.low, single.high) == (3, 3)
    ratio = figures.ratios([2.0, 8.0], [1.0, 2.0])
    assert ratio.value == pytest.approx(math.sqrt(8))
    none = figures.share([False] * 9)  # Wilson: z^2 / (n + z^2)
    z = stats.norm.ppf(0.975)
    assert (none.low, none.high) == pytest.approx((0, z**2 / (9 + z**2)))
    # table II (d) of Newcombe 1998: 5/56 against 0/29
    gap = figures.less([False] * 29, [True] * 5 + [False] * 51)
    assert (gap.low, gap.high) == pytest.approx((-0.0381, 0.1926), abs=1e-4)
    calls = figures.positive([10, 10, 20])
    assert calls.value == pytest.approx(2000 ** (1 / 3))
    assert calls.low > 0


def test_the_closed_form_of_both_variances(claims):
    gradients = importlib.import_module("claim_measurements.gradients")
    torch = gradients.torch
    offset = torch.tensor([0.5, -1.0], dtype=torch.float64)
    spread = 0.7
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)  # exact for these polynomials
    first, second = np.meshgrid(nodes, nodes)
    e = np.stack([first.ravel(), second.ravel()], 1)
    weight = np.outer(weights, weights).ravel() / (2 * np.pi)
    z = offset.numpy() + spread * e
    squares = (z**2).sum(1, keepdims=True)

    def variance(estimate):
        mean = weight @ estimate
        return float((weight @ estimate**2 - mean**2).sum())

    wanted = [variance(2 * z), variance(squares * e / spread)]
    assert gradients.closed_form(offset, spread) == pytest.approx(wanted)


NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "protocol")


def files():
    """When each file was written; folders aside, which change with the bytecode in them."""
    paths = [path for path in BENCHMARKS.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def protocol():
    """The shared module; all smoke runs of this file share one temporary folder, and so features
    and floors.
    """
    sys.path.insert(0, str(BENCHMARKS))
    module = importlib.import_module("protocol")
    with module.smoke():
        yield module
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_prints_a_table_and_writes_nowhere(name, protocol, capsys):
    before = files()
    importlib.import_module(name).main(["--smoke"])
    assert files() == before
    assert "| --- |" in capsys.readouterr().out, "it prints its table"


def test_the_table_comes_first_and_lists_every_benchmark():
    text = (BENCHMARKS / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[1].startswith("| file |")
    assert "time" in lines[1]
    listed = re.findall(r"^\| `(\w+)\.py` \|", text, re.M)
    assert sorted(listed) == NAMES
