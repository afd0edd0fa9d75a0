"""Samples of any model, in a file, a folder or an array, scored against any data by the metrics
that apply to it.
"""

import json

import numpy as np
import pytest
import torch
from programs.command_line import answer, run
from programs.tables import mixed_table
from programs.text_tables import cases

import pushforward as pf
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.samples import given_samples
from pushforward.pictures import grid_picture
from pushforward.testing import space_data


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


@pytest.fixture(scope="module")
def few(digits):
    """A hundred digits and their labels."""
    train = digits.train.take(slice(100))
    return train.x, train.labels


@pytest.fixture
def samples_file(few, tmp_path):
    """The hundred digits as a file of samples."""
    x, labels = few
    file = tmp_path / "samples.npz"
    np.savez(file, x=np.moveaxis(x, 1, -1), label=labels)
    return file


def write_images(folder, images):
    """Write each image as a file of its own."""
    folder.mkdir()
    for number, image in enumerate(images):
        picture = grid_picture(image[None]).crop((0, 0, 8, 8))
        picture.save(folder / f"{number:03d}.png")
    return folder


def scores_of(comparison):
    scores = comparison.models[0].scores
    return {name: score.value for name, score in scores.items()}


def test_a_file_and_an_array_have_the_same_scores(digits, few, samples_file):
    x, _ = few

    def evaluated(samples):
        return pf.evaluate(samples, digits, n=60, metrics=["frechet", "coverage"])

    of_bytes = evaluated(x)
    of_file = evaluated(samples_file)
    of_floats = evaluated(torch.from_numpy(x).float() / 255)
    for other in (of_file, of_floats):
        assert scores_of(other) == scores_of(of_bytes)
    (array,) = of_bytes.models
    (file,) = of_file.models
    assert array.name == "samples"
    assert array.label_agreement is None
    assert file.name == "samples.npz"
    assert file.label_agreement > 0.9
    assert "unknown" in file.warnings[0]
    assert of_file.settings.repeats == 1
    assert not of_file.unscored, "columns of tables do not concern images"


def test_more_samples_are_scored_in_more_repeats(digits, few):
    x, _ = few
    comparison = pf.evaluate(x, digits, n=30, metrics=["coverage"])
    assert comparison.settings.repeats == 3


def test_rows_of_a_table_are_samples(tmp_path):
    moons = pf.data.load("moons")
    file = tmp_path / "points.csv"
    file.write_text("x,y,label\n0.5,1,0\n0.5,1,1\n-1,2,1\n")
    given = given_samples(file, moons)
    x = sorted(given.x.tolist())
    assert x == [[-1.0, 2.0], [0.5, 1.0], [0.5, 1.0]]
    assert "classes of moons" in given.notes[0]


def test_columns_of_a_table_are_found_by_name(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    named = pf.data.from_arrays(rows, columns=("x", "y"), name="named")
    file = tmp_path / "turned.csv"
    file.write_text("label;y;x\n0;1;0.5\n1;2;-1\n")
    x = sorted(given_samples(file, named).x.tolist())
    assert x == [[-1.0, 2.0], [0.5, 1.0]]


@cases(r"""
    shape           type     says
    (5, 3, 16, 16)  uint8    \(3, 16, 16\).* \(1, 8, 8\), as in digits
    (1, 1, 8, 8)    uint8    1 samples.* at least 2
    (9, 1, 8, 8)    float64  float64.*0 to 255; expected uint8
    (9, 1, 8, 8)    int64    int64.*0 to 255; expected uint8
""")
def test_samples_of_a_wrong_shape_or_type_are_refused(digits, shape, type, says):
    samples = np.zeros(shape, type)
    samples[0] = 255
    with pytest.raises(DataError, match=says):
        pf.evaluate(samples, digits)


def test_samples_that_are_not_finite_are_refused(digits):
    spoiled = np.zeros((3, 1, 8, 8))
    spoiled[1] = np.nan
    with pytest.raises(DataError, match="1 of 3 samples"):
        pf.evaluate(spoiled, digits)


def test_arguments_that_do_not_concern_samples_are_refused(digits):
    samples = np.zeros((5, 1, 8, 8))
    with pytest.raises(UsageError, match="`seed=5`"):
        pf.evaluate(digits.train.x[:9], digits, seed=5)
    with pytest.raises(UsageError, match="`data`"):
        pf.evaluate(samples)
    with pytest.raises(UsageError, match=r"`n` must be at most 5.* got 50"):
        pf.evaluate(samples, digits, n=50)


def test_an_empty_folder_is_refused(digits, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(DataError, match="empty"):
        pf.evaluate(folder, digits)


def test_the_command_line_scores_samples(samples_file, tmp_path, capsys):
    def evaluated(data):
        line = f"evaluate {samples_file} --data {data} --n 40 --metrics coverage --json"
        content = json.loads(answer(capsys, line))
        return content, content["models"][0]["scores"]

    content, scores = evaluated("digits")
    assert scores["coverage"]["n"] == 40
    said = [text for text in content["warnings"] if "training examples" in text]
    assert any("unknown" in text for text in said)
    folder = tmp_path / "run"
    pf.fit("gan", "digits", size="tiny", steps=1, out=folder, progress=False)
    _, of_run = evaluated(folder)
    assert of_run == scores
    code, _, err = run(capsys, f"evaluate {samples_file}")
    assert code == 2
    assert "such as --data digits" in err


def test_samples_that_are_sorted_by_class_are_not_cut_to_the_first_classes(digits):
    """And each of several samplings takes others."""
    train = digits.train
    by_class = train.x[train.labels.argsort(kind="stable")]
    given = given_samples(by_class, digits)
    first, second, third = (
        {bytes(row) for row in given.part(100, repeat * 1_000_000)[0].numpy()}
        for repeat in (1, 2, 3)
    )
    shared = min(len(first & second), len(second & third))
    assert shared < 5
    last_class = torch.from_numpy(by_class[-300:]).float() / 255
    of_last_class = first & set(map(bytes, last_class.numpy()))
    assert len(of_last_class) > 5


@pytest.fixture
def rows():
    """Lines of three numbers and one of four kinds."""
    numbers = np.random.default_rng(0).normal(size=(200, 3))
    lines = []
    for number, (u, v, age) in enumerate(numbers):
        kind = "abcd"[number % 4]
        lines.append(f"{u:.6f},{v:.6f},{age:.5f},{kind}")
    return lines


def test_samples_of_a_table_are_read_as_its_data_is(rows, tmp_path, capsys):
    """Columns that became the label or were given are no part of the samples."""
    table = tmp_path / "table.csv"
    samples = tmp_path / "samples.csv"
    table.write_text("\n".join(["u,v,age,kind", *rows]))
    samples.write_text("\n".join(["v,u,age,kind", *rows[:30]]))
    line = f"evaluate {samples} --metrics sliced_w2 --json --data {table}"
    content = json.loads(answer(capsys, f"{line} --target kind --given age"))
    assert content["data"]["columns"] == ["u", "v"]
    assert content["data"]["classes"] == list("abcd")
    assert content["models"][0]["label_agreement"] is not None
    code, _, err = run(capsys, f"{line} --target knid")
    assert code == 2
    assert 'column "knid"' in err


def test_a_table_without_names_has_none_to_compare(rows, tmp_path, capsys):
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(row.rpartition(",")[0] for row in rows))
    line = f"evaluate {bare} --metrics sliced_w2 --json --data {bare} --header no"
    (model,) = json.loads(answer(capsys, line))["models"]
    assert model["scores"]["sliced_w2"]["n"] > 0


@cases("""
    kind    names                           refused
    table   energy frechet neighbour_test   frechet, neighbour_test
    table   manifold energy                 manifold
    images  energy w2 sliced_w2             energy, w2
    images  modes_held column_error         modes_held, column_error
""")
def test_metrics_that_do_not_apply_are_named(kind, names, refused):
    data = mixed_table(60)
    if kind == "images":
        data = space_data((1, 8, 8), labels=False, n=40)
    x = data.held_out.data_units(slice(None))
    with pytest.raises(UsageError, match=f"^{refused} cannot be computed"):
        pf.evaluate(x, data, metrics=names.split())


def written_table(path, n, seed):
    lines = ["height,size,number"]
    for number, height in enumerate(np.random.default_rng(seed).normal(size=n)):
        size = "ab"[int(height > 0.3)]
        lines.append(f"{height:.3f},{size},{number}")
    path.write_text("\n".join(lines))
    return path


def test_samples_of_any_program_are_scored_without_its_training_data(tmp_path, capsys):
    """And scores that need the training data are left out; the page says so."""
    real = written_table(tmp_path / "real.csv", 90, 0)
    synthetic = written_table(tmp_path / "synthetic.csv", 60, 1)
    page = tmp_path / "quality.html"
    line = f"evaluate {real} {synthetic} --out {page} --drop number --n 15 --repeats 1 --json"
    content = json.loads(answer(capsys, line))
    scores = content["models"][0]["scores"]
    assert {"column_error", "energy"} <= scores.keys()
    groups = {content["metrics"][name]["group"] for name in scores}
    assert "Privacy" not in groups
    assert content["data"]["held_out"] == 30
    assert content["data"]["left_out"] == ["number"]
    seen, _, _ = page.read_text().partition('type="application/json"')
    assert "--train" in seen


@pytest.mark.parametrize(
    "words",
    [
        "real.csv synthetic.csv --metrics near_copies",
        "real.csv synthetic.csv --out quality.pdf",
        "real.csv synthetic.csv --train real.csv",
        "synthetic.csv --train real.csv",
    ],
)
def test_what_samples_cannot_be_asked_is_refused(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    written_table(tmp_path / "real.csv", 90, 0)
    written_table(tmp_path / "synthetic.csv", 60, 1)
    code, _, _ = run(capsys, f"evaluate {words}")
    assert code == 2


def test_copies_are_found_by_the_training_data_that_is_named(tmp_path, capsys):
    real = written_table(tmp_path / "real.csv", 60, 0)
    train = written_table(tmp_path / "train.csv", 120, 1)
    new = written_table(tmp_path / "new.csv", 120, 2)
    options = f"--train {train} --metrics near_copies,nearer_training --drop number --json"
    copies = []
    nearer = []
    for samples in (train, new):
        content = json.loads(answer(capsys, f"evaluate {real} {samples} {options}"))
        scores = content["models"][0]["scores"]
        copies.append(scores["near_copies"]["value"])
        nearer.append(scores["nearer_training"]["value"])
    assert copies[0] > 0.95
    assert copies[1] < 0.9
    assert nearer[0] > 0.65 > nearer[1]


def test_a_training_row_that_is_a_real_row_is_left_out(tmp_path):
    real = written_table(tmp_path / "real.csv", 60, 0)
    train = written_table(tmp_path / "train.csv", 120, 1)
    data = pf.data.real_data(real, train=train, drop="number")
    assert len(data.train) == 119
    assert len(data.held_out) == 60
    other = tmp_path / "other.csv"
    other.write_text("height,weight\n1,2\n2,3\n")
    with pytest.raises(DataError, match=r"size.*weight"):
        pf.data.real_data(real, train=other)


def test_two_folders_of_images_are_compared(digits, tmp_path):
    x = digits.train.x
    real = write_images(tmp_path / "real", x[:60])
    train = write_images(tmp_path / "train", x[60:160])
    made = write_images(tmp_path / "made", x[60:90])
    data = pf.data.real_data(real)
    comparison = pf.evaluate(made, data, metrics=["coverage"], n=15)
    assert scores_of(comparison).keys() == {"coverage"}
    assert comparison.pictures["made"].grid is not None
    data = pf.data.real_data(real, train=train)
    comparison = pf.evaluate(made, data, metrics=["coverage", "near_copies"], n=15)
    assert scores_of(comparison)["near_copies"] == 1.0
    assert comparison.pictures["made"].grid is not None
