"""The judge of published tables, against closed forms; it was compared once with sdmetrics itself (docs/decisions)."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pushforward.metrics.table import Table

NAN = float("nan")


@pytest.fixture(scope="module")
def judge():
    place = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, place)
    from table_judges import published

    yield published
    sys.path.remove(place)


def texts(real, samples, labels=("a", "b")):
    sides = [np.array(side, dtype=float)[:, None] for side in (samples, real)]
    return Table(*sides, names=("x",), kinds=("category",), labels=(labels,))


def shares(n, share):
    return np.arange(n) < round(n * share)


def test_one_column_of_two_texts_has_the_score_of_its_shares(judge):
    """The best ranks of such rows have 2 AUC - 1 = the difference of shares, whose mean over equal folds is that of all rows."""
    assert judge.as_published(texts(shares(1500, 0.5), shares(1500, 0.8))) == pytest.approx(0.7, abs=1e-9)
    assert judge.as_published(texts(shares(1500, 0.8), shares(1500, 0.5)), seed=3) == pytest.approx(0.7, abs=1e-9)


def compared(real, samples):
    labels = ((), ("a", "b", "c"), ("0", "1", "2", "5"))
    return Table(samples, real, names=("n", "t", "o"), kinds=("number", "category", "ordinal"), labels=labels)


def test_rows_are_read_as_a_file_of_them_would_be(judge):
    """Numbers first; a missing one is the mean of the real rows; texts are indicators, a missing one too; levels are numbers."""
    kinds = ("category", "number", "boolean", "ordinal", "category")
    labels = (("b", "B", "c"), (), ("FALSE", "TRUE"), ("2", "10"), ("0", "7"))
    real = np.array([[0, 1.5, 1, 0, 1], [NAN, 2.5, 0, 1, 0], [1, NAN, 0, 0, 0]])
    samples = np.array([[2, NAN, 1, 1, 1], [1, 9.0, 0, 0, 0]])
    table = Table(samples, real, names=tuple("vwxyz"), kinds=kinds, labels=labels)
    read, drawn = judge.as_numbers(table)
    assert read.tolist() == [[1.5, 1, 2, 7, 0, 1, 0], [2.5, 0, 10, 0, 0, 0, 1], [2.0, 0, 2, 0, 1, 0, 0]]
    assert drawn.tolist() == [[2.0, 1, 10, 7, 0, 0, 0], [9.0, 0, 2, 0, 1, 0, 0]], "a text that no real row holds has no indicator"
