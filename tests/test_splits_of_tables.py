"""Splits of tables: rows that repeat, tables that grow, and the hashes that both rest on."""

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
    return [
        [f"a{a}", f"b{b}", f"c{c}", f"d{d}"]
        for a, b, c, d in zip(first, second, r.choice(3, n), r.choice(2, n), strict=True)
    ]


def numeric(seed, n):
    r = random(seed)
    return [[f"{a:.9f}", f"{b:.2f}", "xy"[int(a > 0)]] for a, b in r.standard_normal((n, 2))]


def trained_before(first, grown, key):
    """How many held-out rows of a grown table were training rows of the first, by the values of a
    column that names rows.
    """
    before, after = (pf_data.load(path) for path in (first, grown))
    place = before.space.names.index(key), after.space.names.index(key)
    return len(
        set(before.train.table_values[:, place[0]]) & set(after.held_out.table_values[:, place[1]])
    )


def test_new_draws_from_the_law_of_a_survey_are_told_from_its_rows_no_better_than_held_out_rows(
    tmp_path,
):
    """Split together, they had a two-sample score of .18 and an attack on membership of .80: their
    contents were not held out.
    """
    path = write(tmp_path / "survey.csv", "abcd", survey(0, 3000))
    fresh = write(tmp_path / "fresh.csv", "abcd", survey(1, 3000))
    metrics = ["membership", "nearest_rows"]
    result = pf.evaluate(fresh, path, metrics=["detection", *metrics], repeats=1)
    scores = result.models[0].scores
    real_data_scores = result.real_data_scores
    assert real_data_scores["detection"].value > 0.85
    assert scores["detection"].value > 0.85
    assert all(abs(scores[name].value - 0.5) < 0.07 for name in ("membership", "membership_ratio"))
    assert {"nearest_ratio", "nearer_training"} & set(scores), (
        "distances are compared, since equal rows are on both sides"
    )
    together = (
        pf.evaluate(fresh, pf_data.load(path, copies="together"), metrics=metrics, repeats=1)
        .models[0]
        .scores
    )
    assert together["membership_ratio"].value > 0.75
    assert "nearest_ratio" not in together


@pytest.mark.parametrize("n", [300, 3000])
def test_copies_of_measurements_and_of_an_oversampled_class_stay_together(tmp_path, n):
    rows = numeric(2, n)
    doubled = write(tmp_path / "doubled.csv", "abk", rows + rows)
    oversampled = write(
        tmp_path / "tenfold.csv", "abk", rows + [row for row in rows[: n // 10] for _ in range(9)]
    )
    for path in (doubled, oversampled):
        data = pf_data.load(path, table=True)
        copies = pf_data.check(path, table=True)["copies"]
        expected = pf_data.check(write(tmp_path / "once.csv", "abk", rows))["copies"]
        assert copies == expected
        sides = [
            {tuple(row) for row in split.table_values} for split in (data.train, data.held_out)
        ]
        assert not sides[0] & sides[1]
        assert min(map(len, sides)) > n / 20


def test_measurements_of_few_decimals_that_were_written_twice_stay_together(tmp_path):
    """Their values are few, and each occurs in many rows, but no answer of a survey has a
    fraction.
    """
    r = random(11)
    points = 2 * r.standard_normal((8, 2))[r.integers(8, size=3000)] + 0.05 * r.standard_normal(
        (3000, 2)
    )
    rows = [[f"{a:.2f}", f"{b:.2f}", "xy"[int(a > b)]] for a, b in points]
    assert not pf_data.load(write(tmp_path / "doubled.csv", "abk", rows + rows)).apart


def test_rows_of_a_survey_stay_on_their_side_when_it_grows(tmp_path):
    """Each content is held out at most as often in the first rows as in all, and in training
    likewise.
    """
    rows = survey(4, 4000)
    parts = [pf_data.load(write(tmp_path / f"{n}.csv", "abcd", rows[:n])) for n in (3000, 4000)]
    for side in ("train", "held_out"):
        first, grown = (
            np.unique(getattr(data, side).table_values, axis=0, return_counts=True)
            for data in parts
        )
        counts = {tuple(row): count for row, count in zip(*grown, strict=True)}
        assert all(counts[tuple(row)] >= count for row, count in zip(*first, strict=True))


def grown_by_a_value(rows):
    """A column of 20 whole numbers gets a 21st, so that it is no column of ordered categories any
    more.
    """
    return [[row[0], str(i % 20)] for i, row in enumerate(rows[:-1])], [[rows[-1][0], "20"]]


def grown_by_a_date(rows):
    """A column of dates of which each has two meanings gets one that has a single meaning."""
    return [[row[0], f"{1 + i % 9:02}/{1 + i % 11:02}/2021"] for i, row in enumerate(rows[:-1])], [
        [rows[-1][0], "25/03/2021"]
    ]


def grown_by_a_decimal(rows):
    """A whole column gets a number with decimals, and is written with two everywhere."""
    return [[row[0], str(i % 97)] for i, row in enumerate(rows[:-1])], [[rows[-1][0], "3.25"]]


@pytest.mark.parametrize("grow", [grown_by_a_value, grown_by_a_date, grown_by_a_decimal])
def test_held_out_rows_stay_held_out_when_a_new_row_changes_what_a_column_is_taken_for(
    tmp_path, grow
):
    """They were hashed as what their columns were taken for: 92 of 94 rows, or 82 of 115, had been
    trained on.
    """
    rows, new = grow(numeric(5, 1000))
    first = write(tmp_path / "first.csv", ["key", "x"], rows)
    grown = write(tmp_path / "grown.csv", ["key", "x"], rows + new)
    assert trained_before(first, grown, "key") == 0


def test_held_out_rows_stay_held_out_when_an_ordered_identifier_is_shuffled(tmp_path):
    rows = [[str(i), *row[:2]] for i, row in enumerate(numeric(6, 1000))]
    first = write(tmp_path / "first.csv", ["id", "key", "x"], rows)
    shuffled = write(
        tmp_path / "shuffled.csv",
        ["id", "key", "x"],
        [rows[i] for i in random(7).permutation(1000)],
    )
    actual = pf_data.load(first).space.names
    assert actual != pf_data.load(shuffled).space.names, "the identifier is left out of one alone"
    assert trained_before(first, shuffled, "key") == 0


def test_a_file_of_numbers_is_split_alike_as_vectors_as_a_table_and_with_a_target(tmp_path):
    rows = [[*row, k] for *row, k in numeric(9, 400)]
    path = write(tmp_path / "numbers.csv", "abk", [[a, b, "01"[k == "x"]] for a, b, k in rows])
    splits = [
        pf_data.load(path, table=True),
        pf_data.load(path, table=False),
        pf_data.load(path, target="k"),
    ]
    assert [data.table is None for data in splits] == [False, True, True]
    for data in splits:
        np.testing.assert_array_equal(data.train.hashes, splits[0].train.hashes)
        np.testing.assert_array_equal(data.held_out.hashes, splits[0].held_out.hashes)


def test_a_run_reads_grown_data_by_its_own_rule_and_refuses_another(tmp_path, monkeypatch):
    """A few answers, then more, which repeat more often: the rule of the first file is the
    run's.
    """
    monkeypatch.chdir(tmp_path)
    r = random(10)
    rows = [[f"a{i}", f"b{j}"] for i, j in r.integers(0, 90, (220, 2))]
    write("few.csv", "ab", rows)
    write("grown.csv", "ab", rows + rows[:50])
    few = pf_data.load("few.csv")
    grown = pf_data.load("grown.csv")
    assert (few.apart, grown.apart) == (False, True)
    run = pf.fit("flow", few, size="tiny", steps=2, out="run")
    with pytest.raises(UsageError, match='copies="together"'):
        pf.evaluate(run, grown, repeats=1, metrics=["column_shapes"])
    pf.evaluate(
        run, pf_data.load("grown.csv", copies="together"), repeats=1, metrics=["column_shapes"]
    )
    assert pf.load("run").spec["data"]["copies"] == "together"


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
