"""Splits of tables: rows that repeat, tables that grow, and the hashes that both rest on."""

import collections
import csv

import numpy as np
import pytest
from programs.rows import random

import pushforward as pf
from pushforward import data as pf_data
from pushforward.errors import UsageError


def write(path, names, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def survey(seed, n):
    """Rows of four answers, 216 different ones, from one law; answers depend on each other."""
    r = random(seed)
    first = r.choice(6, n, p=[0.19, 0.18, 0.17, 0.16, 0.15, 0.15])
    second = np.where(r.random(n) < 0.1, first, r.choice(6, n))
    third = r.choice(3, n)
    fourth = r.choice(2, n)
    answers = np.stack([first, second, third, fourth], 1)
    return [[f"a{a}", f"b{b}", f"c{c}", f"d{d}"] for a, b, c, d in answers]


def numeric(seed, n):
    r = random(seed)
    return [[f"{a:.9f}", f"{b:.2f}", "xy"[int(a > 0)]] for a, b in r.standard_normal((n, 2))]


def trained_before(first, grown, key):
    """How many held-out rows of a grown table were training rows of the first, by the values of a
    column that names rows.
    """
    before = pf_data.load(first)
    after = pf_data.load(grown)
    trained = column(before, before.train, key)
    held_out = column(after, after.held_out, key)
    return len(trained & held_out)


def column(data, split, name):
    """The different values of a column."""
    place = data.space.names.index(name)
    return set(split.table_values[:, place])


def contents(split):
    """The different rows of a split."""
    return {tuple(row) for row in split.table_values}


@pytest.fixture
def table(tmp_path):
    """A function that writes a table with these columns and rows."""
    return lambda name, names, rows: write(tmp_path / f"{name}.csv", names, rows)


def test_new_draws_from_the_law_of_a_survey_are_told_from_its_rows_no_better_than_held_out_rows(
    table,
):
    """Split together, they had a two-sample score of .18 and an attack on membership of .80: their
    contents were not held out.
    """
    path = table("survey", "abcd", survey(0, 3000))
    fresh = table("fresh", "abcd", survey(1, 3000))
    metrics = ["membership", "nearest_rows"]
    result = pf.evaluate(fresh, path, metrics=["detection", *metrics], repeats=1)
    scores = result.models[0].scores
    assert result.real_data_scores["detection"].value > 0.85
    assert scores["detection"].value > 0.85
    for name in ("membership", "membership_ratio"):
        assert scores[name].value == pytest.approx(0.5, abs=0.07)
    assert {"nearest_ratio", "nearer_training"} & set(scores), (
        "distances are compared, since equal rows are on both sides"
    )
    together = pf_data.load(path, copies="together")
    result = pf.evaluate(fresh, together, metrics=metrics, repeats=1)
    scores = result.models[0].scores
    assert scores["membership_ratio"].value > 0.75
    assert "nearest_ratio" not in scores


@pytest.mark.parametrize("n", [300, 3000])
def test_copies_of_measurements_and_of_an_oversampled_class_stay_together(table, n):
    rows = numeric(2, n)
    once = table("once", "abk", rows)
    doubled = table("doubled", "abk", rows * 2)
    oversampled = table("tenfold", "abk", rows + 9 * rows[: n // 10])
    usual = pf_data.check(once)
    for path in (doubled, oversampled):
        checked = pf_data.check(path, table=True)
        assert checked["copies"] == usual["copies"]
        data = pf_data.load(path, table=True)
        train = contents(data.train)
        held_out = contents(data.held_out)
        assert not train & held_out
        assert len(train) > n / 20
        assert len(held_out) > n / 20


def test_measurements_of_few_decimals_that_were_written_twice_stay_together(table):
    """Their values are few, and each occurs in many rows, but no answer of a survey has a
    fraction.
    """
    r = random(11)
    centres = 2 * r.standard_normal((8, 2))
    modes = r.integers(8, size=3000)
    points = centres[modes] + 0.05 * r.standard_normal((3000, 2))
    rows = [[f"{a:.2f}", f"{b:.2f}", "xy"[int(a > b)]] for a, b in points]
    doubled = table("doubled", "abk", rows + rows)
    assert not pf_data.load(doubled).apart


def test_rows_of_a_survey_stay_on_their_side_when_it_grows(table):
    """Each content is held out at most as often in the first rows as in all, and in training
    likewise.
    """
    rows = survey(4, 4000)
    first = pf_data.load(table("first", "abcd", rows[:3000]))
    grown = pf_data.load(table("grown", "abcd", rows))
    for side in ("train", "held_out"):
        assert counts(getattr(first, side)) <= counts(getattr(grown, side))


def counts(split):
    return collections.Counter(map(tuple, split.table_values))


def grown_by_a_value(i):
    """A column of 20 whole numbers gets a 21st, so that it is no column of ordered categories any
    more.
    """
    return str(i % 20), "20"


def grown_by_a_date(i):
    """A column of dates of which each has two meanings gets one that has a single meaning."""
    return f"{1 + i % 9:02}/{1 + i % 11:02}/2021", "25/03/2021"


def grown_by_a_decimal(i):
    """A whole column gets a number with decimals, and is written with two everywhere."""
    return str(i % 97), "3.25"


@pytest.mark.parametrize("grow", [grown_by_a_value, grown_by_a_date, grown_by_a_decimal])
def test_held_out_rows_stay_held_out_when_a_new_row_changes_what_a_column_is_taken_for(table, grow):
    """They were hashed as what their columns were taken for: 92 of 94 rows, or 82 of 115, had been
    trained on.
    """
    rows = []
    for i, (key, *_) in enumerate(numeric(5, 1000)):
        value, last = grow(i)
        rows.append([key, value])
    first = table("first", ["key", "x"], rows[:-1])
    rows[-1][1] = last
    grown = table("grown", ["key", "x"], rows)
    assert trained_before(first, grown, "key") == 0


def test_held_out_rows_stay_held_out_when_an_ordered_identifier_is_shuffled(table):
    names = ["id", "key", "x"]
    rows = [[str(i), *row[:2]] for i, row in enumerate(numeric(6, 1000))]
    first = table("first", names, rows)
    order = random(7).permutation(1000)
    shuffled = table("shuffled", names, [rows[i] for i in order])
    first_names = pf_data.load(first).space.names
    shuffled_names = pf_data.load(shuffled).space.names
    assert first_names != shuffled_names, "the identifier is left out of one alone"
    assert trained_before(first, shuffled, "key") == 0


def test_a_file_of_numbers_is_split_alike_as_vectors_as_a_table_and_with_a_target(table):
    rows = [[a, b, "01"[k == "x"]] for a, b, k in numeric(9, 400)]
    path = table("numbers", "abk", rows)
    whole = pf_data.load(path, table=True)
    vectors = pf_data.load(path, table=False)
    labelled = pf_data.load(path, target="k")
    assert whole.table is not None
    for data in (vectors, labelled):
        assert data.table is None
        np.testing.assert_array_equal(data.train.hashes, whole.train.hashes)
        np.testing.assert_array_equal(data.held_out.hashes, whole.held_out.hashes)


def test_a_run_reads_grown_data_by_its_own_rule_and_refuses_another(tmp_path, monkeypatch):
    """A few answers, then more, which repeat more often: the rule of the first file is the
    run's.
    """
    monkeypatch.chdir(tmp_path)
    r = random(10)
    answers = r.integers(0, 90, (220, 2))
    rows = [[f"a{i}", f"b{j}"] for i, j in answers]
    write("few.csv", "ab", rows)
    write("grown.csv", "ab", rows + rows[:50])
    few = pf_data.load("few.csv")
    grown = pf_data.load("grown.csv")
    assert not few.apart
    assert grown.apart
    run = pf.fit("flow", few, size="tiny", steps=2, out="run")
    with pytest.raises(UsageError, match='copies="together"'):
        pf.evaluate(run, grown, repeats=1, metrics=["column_shapes"])
    together = pf_data.load("grown.csv", copies="together")
    pf.evaluate(run, together, repeats=1, metrics=["column_shapes"])
    stored = pf.load("run").spec["data"]
    assert stored["copies"] == "together"


GOLDEN = {
    "plain": ("a,b\n1,x\n2.50,y\n-0,\n", "4eeff611f0fda50b ac873244477c546e dab59f3e2eda4753"),
    "numbers": (
        "a,b\n1,2.0\n1.0,2\n1e0,+2\n0.1,.1\n",
        "0fef4377a3e591b0 0fef4377a3e591b0 0fef4377a3e591b0 2430bcd5bafb5b0e",
    ),
    "codes": ("zip,n\n007,1\n7,1\n00053,2\n", "027f2cf3fa5be420 4790b599ccf7bb5c 6594a4b0b296c71a"),
    "missing": (
        "a,b\nNA,1\n,1\n?,1\nnull,1\nnone,2\n",
        "ae10278076ff027d bc66fc5dcb535a43 bc66fc5dcb535a43 bc66fc5dcb535a43 bc66fc5dcb535a43",
    ),
    "dates": ("day,x\n2021-03-04,1.5\n04/03/2021,1.5\n", "508bfca50a533b3a ee5eb27b2045a9c7"),
    "semicolons": ("a;b\n1,5;x\n2,5;y\n", "6f92e0a83f75f79f c5cc312cf91d4fcd"),
    "quoted": ('a,b\n"x, y",1\n"x\ny",2\n', "3230e7aabb717ba4 3be1ce8063691620"),
    "accents": ("name,größe\nZoë,1\nzoe,2\n", "012643ba515ef378 c33cf1377c0883df"),
    "long": (
        "id,x\n12345678901234567890,0.30000000000000004\n12345678901234567891,0.3\n",
        "7f4c30119a48e336 e39e2a81fd0796bd",
    ),
    "spaces": ("a,b\n 1 , x\n2,x \n", "dab59f3e2eda4753 e7e983afdcb9a3fd"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_hashes_of_rows_stay_what_they_are_since_runs_hold_them(tmp_path, name):
    text, expected = GOLDEN[name]
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    data = pf_data.load(tmp_path / "t.csv", table=True, header=True)
    hashes = np.sort(np.concatenate([data.train.hashes, data.held_out.hashes]))
    actual = " ".join(f"{value:016x}" for value in hashes)
    assert actual == expected
