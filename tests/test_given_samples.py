"""Samples of any model, in a file, a folder or an array, scored against any data by the metrics
that apply to it.
"""

import json

import numpy as np
import pytest
import torch
from programs.tables import mixed_table

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.samples import given_samples
from pushforward.pictures import grid_picture
from pushforward.testing import space_data


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


@pytest.fixture(scope="module")
def few(digits):
    return digits.train.x[:100], digits.train.labels[:100]


def scores_of(comparison):
    return {name: score.value for name, score in comparison.models[0].scores.items()}


def test_a_file_a_folder_and_an_array_have_the_same_scores(digits, few, tmp_path):
    x, labels = few
    actual = np.moveaxis(x, 1, -1)
    np.savez(tmp_path / "samples.npz", x=actual, label=labels)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(x):
        grid_picture(image[None]).crop((0, 0, 8, 8)).save(tmp_path / "images" / f"{number:03d}.png")
    options = {"n": 60, "metrics": ["frechet", "coverage"]}
    wanted = pf.evaluate(x, digits, **options)
    of_file = pf.evaluate(tmp_path / "samples.npz", digits, **options)
    assert (
        scores_of(wanted)
        == scores_of(of_file)
        == scores_of(pf.evaluate(torch.from_numpy(x).float() / 255, digits, **options))
    )
    assert (of_file.models[0].name, wanted.models[0].name) == ("samples.npz", "samples")
    assert of_file.models[0].label_agreement > 0.9
    assert wanted.models[0].label_agreement is None
    assert "unknown" in of_file.models[0].warnings[0]
    assert of_file.settings.repeats == 1
    assert not of_file.unscored, "columns of tables do not concern images"
    repeats = pf.evaluate(x, digits, n=30, metrics=["coverage"]).settings.repeats
    assert repeats == 3


def test_rows_of_a_table_are_samples(tmp_path):
    moons = pf.data.load("moons")
    (tmp_path / "points.csv").write_text("x,y,label\n0.5,1,0\n0.5,1,1\n-1,2,1\n")
    given = given_samples(tmp_path / "points.csv", moons)
    x = sorted(given.x.tolist())
    assert x == [[-1.0, 2.0], [0.5, 1.0], [0.5, 1.0]]
    assert "classes of moons" in given.notes[0]
    random = np.random.default_rng(0)
    named = pf.data.from_arrays(
        random.normal(size=(60, 2)).astype(np.float32), columns=("x", "y"), name="named"
    )
    (tmp_path / "turned.csv").write_text("label;y;x\n0;1;0.5\n1;2;-1\n")
    x = sorted(given_samples(tmp_path / "turned.csv", named).x.tolist())
    assert x == [[-1.0, 2.0], [0.5, 1.0]]


def test_wrong_samples_are_refused_in_words(digits, tmp_path):
    spoiled = np.zeros((3, 1, 8, 8))
    spoiled[1] = np.nan
    wrong = {
        r"\(3, 16, 16\).* \(1, 8, 8\), as in digits": np.zeros((5, 3, 16, 16), np.uint8),
        "1 samples.* at least 2": np.zeros((1, 1, 8, 8), np.uint8),
        "1 of 3 samples": spoiled,
        "float64.*0 to 255; expected uint8": digits.train.x[:9].astype(float),
        "int64.*0 to 255; expected uint8": digits.train.x[:9].astype(int),
    }
    for message, x in wrong.items():
        with pytest.raises(DataError, match=message):
            pf.evaluate(x, digits)
    with pytest.raises(UsageError, match="`seed=5`"):
        pf.evaluate(digits.train.x[:9], digits, seed=5)
    with pytest.raises(UsageError, match="`data`"):
        pf.evaluate(np.zeros((5, 1, 8, 8)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        pf.evaluate(tmp_path / "empty", digits)
    with pytest.raises(UsageError, match=r"`n` must be at most 5.* got 50"):
        pf.evaluate(np.zeros((5, 1, 8, 8)), digits, n=50)


def test_the_command_line_scores_samples(few, tmp_path, capsys):
    x, labels = few
    file = str(tmp_path / "samples.npz")
    actual = np.moveaxis(x, 1, -1)
    np.savez(file, x=actual, label=labels)
    code = main(
        ["evaluate", file, "--data", "digits", "--n", "40", "--metrics", "coverage", "--json"]
    )
    assert code == 0
    content = json.loads(capsys.readouterr().out)
    assert content["models"][0]["scores"]["coverage"]["n"] == 40
    assert any(
        "training examples" in warning and "unknown" in warning for warning in content["warnings"]
    )
    pf.fit("gan", "digits", size="tiny", steps=1, out=tmp_path / "run", progress=False)
    code = main(
        [
            "evaluate",
            file,
            "--data",
            str(tmp_path / "run"),
            "--n",
            "40",
            "--metrics",
            "coverage",
            "--json",
        ]
    )
    assert code == 0
    scores = json.loads(capsys.readouterr().out)["models"][0]["scores"]
    assert scores == content["models"][0]["scores"]
    assert main(["evaluate", file]) == 2
    assert "such as --data digits" in capsys.readouterr().err


def test_samples_that_are_sorted_by_class_are_not_cut_to_the_first_classes(digits):
    """And each of several samplings takes others."""
    by_class = digits.train.x[digits.train.labels.argsort(kind="stable")]
    given = given_samples(by_class, digits)
    parts = [given.part(100, repeat * 1_000_000)[0].numpy() for repeat in (1, 2, 3)]
    smallest = min(
        len({*map(bytes, a)} & {*map(bytes, b)})
        for a, b in ((parts[0], parts[1]), (parts[1], parts[2]))
    )
    assert smallest < 5
    first = {*map(bytes, (torch.from_numpy(by_class[-300:]).float() / 255).numpy())}
    total = sum(bytes(row) in first for row in parts[0])
    assert total > 5


def test_samples_of_a_table_are_read_as_its_data_is(tmp_path, capsys):
    """Columns that became the label or were given are no part of the samples; a table without names
    has none to compare.
    """
    random = np.random.default_rng(0)
    rows = [
        f"{a:.6f},{b:.6f},{c:.5f},{kind}"
        for (a, b, c), kind in zip(random.normal(size=(200, 3)), "abcd" * 50, strict=True)
    ]
    (tmp_path / "table.csv").write_text("u,v,age,kind\n" + "\n".join(rows))
    (tmp_path / "samples.csv").write_text("v,u,age,kind\n" + "\n".join(rows[:30]))
    table = str(tmp_path / "table.csv")
    words = [
        "evaluate",
        str(tmp_path / "samples.csv"),
        "--metrics",
        "sliced_w2",
        "--json",
        "--data",
        table,
    ]
    assert main([*words, "--target", "kind", "--given", "age"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["data"]["columns"], content["data"]["classes"]) == (["u", "v"], list("abcd"))
    assert content["models"][0]["label_agreement"] is not None
    assert main([*words, "--target", "knid"]) == 2
    assert 'column "knid"' in capsys.readouterr().err
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(row.rpartition(",")[0] for row in rows))
    code = main(
        [
            "evaluate",
            str(bare),
            "--metrics",
            "sliced_w2",
            "--json",
            "--data",
            str(bare),
            "--header",
            "no",
        ]
    )
    assert code == 0
    n = json.loads(capsys.readouterr().out)["models"][0]["scores"]["sliced_w2"]["n"]
    assert n > 0


IMAGES = space_data((1, 8, 8), labels=False, n=40)


@pytest.mark.parametrize(
    ("data", "names", "refused"),
    [
        (mixed_table(60), ["energy", "frechet", "neighbour_test"], ["frechet", "neighbour_test"]),
        (mixed_table(60), ["manifold", "energy"], ["manifold"]),
        (IMAGES, ["energy", "w2", "sliced_w2"], ["energy", "w2"]),
        (IMAGES, ["modes_held", "column_error"], ["modes_held", "column_error"]),
    ],
)
def test_metrics_that_do_not_apply_are_named(data, names, refused):
    with pytest.raises(UsageError, match=rf"^{', '.join(refused)} cannot be computed"):
        pf.evaluate(data.held_out.data_units(slice(None)), data, metrics=names)


def written_table(path, n, seed):
    random = np.random.default_rng(seed)
    lines = [
        f"{value:.3f},{'ab'[int(value > 0.3)]},{number}"
        for value, number in zip(random.normal(size=n), range(n), strict=True)
    ]
    path.write_text("\n".join(["height,size,number", *lines]))
    return str(path)


def test_samples_of_any_program_are_scored_without_its_training_data(tmp_path, capsys):
    """And scores that need the training data are left out; the page says so."""
    real = written_table(tmp_path / "real.csv", 90, 0)
    synthetic = written_table(tmp_path / "synthetic.csv", 60, 1)
    page = tmp_path / "quality.html"
    code = main(
        [
            "evaluate",
            real,
            synthetic,
            "--out",
            str(page),
            "--drop",
            "number",
            "--n",
            "15",
            "--repeats",
            "1",
            "--json",
        ]
    )
    assert code == 0
    content = json.loads(capsys.readouterr().out)
    scores = content["models"][0]["scores"]
    assert {"column_error", "energy"} <= scores.keys()
    assert not [name for name in scores if content["metrics"][name]["group"] == "Privacy"]
    assert content["data"]["held_out"] == 30
    assert content["data"]["left_out"] == ["number"]
    assert "--train" in page.read_text().split('type="application/json"')[0]
    assert main(["evaluate", real, synthetic, "--metrics", "near_copies"]) == 2
    assert main(["evaluate", real, synthetic, "--out", "quality.pdf"]) == 2
    assert main(["evaluate", real, synthetic, "--train", real]) == 2
    assert main(["evaluate", synthetic, "--train", real]) == 2


def test_copies_are_found_by_the_training_data_that_is_named(tmp_path, capsys):
    real = written_table(tmp_path / "real.csv", 60, 0)
    train = written_table(tmp_path / "train.csv", 120, 1)
    names = "near_copies,nearer_training"
    found = []
    for samples in (train, written_table(tmp_path / "new.csv", 120, 2)):
        words = [
            "evaluate",
            real,
            samples,
            "--train",
            train,
            "--metrics",
            names,
            "--drop",
            "number",
            "--json",
        ]
        assert main(words) == 0
        scores = json.loads(capsys.readouterr().out)["models"][0]["scores"]
        found.append([scores[name]["value"] for name in names.split(",")])
    assert found[0][0] > 0.95
    assert found[1][0] < 0.9
    assert found[0][1] > 0.65 > found[1][1]
    data = pf.data.real_data(real, train=train, drop="number")
    assert (len(data.train), len(data.held_out)) == (
        119,
        60,
    )  # one training row is a real row as well
    (tmp_path / "other.csv").write_text("height,weight\n1,2\n2,3\n")
    with pytest.raises(DataError, match=r"size.*weight"):
        pf.data.real_data(real, train=tmp_path / "other.csv")


def test_two_folders_of_images_are_compared(digits, tmp_path):
    for name, images in (
        ("real", digits.train.x[:60]),
        ("train", digits.train.x[60:160]),
        ("made", digits.train.x[60:90]),
    ):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            grid_picture(image[None]).crop((0, 0, 8, 8)).save(tmp_path / name / f"{number:03d}.png")
    for train, copies in ((None, {}), (tmp_path / "train", {"near_copies": 1.0})):
        data = pf.data.real_data(tmp_path / "real", train=train)
        metrics = ["coverage", *copies]
        comparison = pf.evaluate(tmp_path / "made", data, metrics=metrics, n=15)
        assert {
            name: value for name, value in scores_of(comparison).items() if name != "coverage"
        } == copies
        assert comparison.pictures["made"].grid is not None
