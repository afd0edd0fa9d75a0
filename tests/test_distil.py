"""The verb distil and `pushforward.training.distil`, and the data of a student that names none."""

import json
import shutil

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import DataError, UsageError
from pushforward.training import distil

FEW = {"trajectories": 64, "teacher_steps": 2}
WORDS = ["--trajectories", "64", "--teacher-steps", "2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("distil") / "teacher"
    return pf.fit(
        "flow", pf.data.load("moons", limit=256), steps=12, size="tiny", out=out, progress=False
    )


def test_a_run_is_distilled_on_its_own_data(teacher, tmp_path, capsys):
    words = [
        "distil",
        str(teacher.folder),
        "--steps",
        "3",
        "--out",
        str(tmp_path / "run"),
        "--json",
        "--batch",
        "32",
        *WORDS,
    ]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "distil"
    run = pf.load(tmp_path / "run")
    assert run.transport.calls == 1
    assert run.spec["fingerprint"] == teacher.spec["fingerprint"]
    assert run.spec["training"]["batch"] == 32
    assert run.sample(4, steps=3).shape == (4, 2)


def test_calls_is_the_default_of_samples(teacher, tmp_path):
    run = distil(teacher, calls=2, steps=1, settings=FEW, out=tmp_path / "run", progress=False)
    assert run.transport.calls == 2
    assert pf.load(run.folder).transport.calls == 2


@pytest.mark.parametrize("calls", [0, 26])
def test_a_student_takes_no_more_calls_than_its_teacher(teacher, tmp_path, calls):
    assert teacher.transport.calls == 25
    with pytest.raises(UsageError, match="1 to 25 `calls`"):
        distil(teacher, calls=calls, steps=1, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_gan_and_a_map_are_no_teachers(teacher, tmp_path):
    data = pf.data.load("moons", limit=256)
    gan = pf.fit("gan", data, steps=1, size="tiny", out=tmp_path / "gan", progress=False)
    with pytest.raises(UsageError, match="is a gan, which already samples in 1 call"):
        distil(gan, steps=1)
    student = distil(teacher, steps=1, settings=FEW, out=tmp_path / "student", progress=False)
    with pytest.raises(UsageError, match="is a distil, which already samples"):
        distil(student, steps=1)


def test_a_teacher_whose_data_is_gone_or_changed_is_refused(tmp_path):
    file = tmp_path / "table.csv"
    out = tmp_path / "teacher"
    rows = [f"{i % 7},{i % 11}" for i in range(60)]
    file.write_text("\n".join(["a,b", *rows]))
    pf.fit("flow", str(file), steps=1, size="tiny", out=out, progress=False)
    file.write_text("\n".join(["a,b", *rows[::-1], "5,5"]))
    with pytest.raises(DataError, match=r"has changed since .* was trained"):
        distil(out, steps=1)
    file.unlink()
    with pytest.raises(DataError, match=r"table\.csv"):
        distil(out, steps=1)


def test_settings_of_the_finish_are_taken_with_a_finish(teacher, tmp_path, capsys):
    words = [
        "distil",
        str(teacher.folder),
        "--steps",
        "2",
        "--out",
        str(tmp_path / "run"),
        *WORDS,
        "--anchor",
        "2.5",
    ]
    assert main(words) == 2
    assert "--anchor" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*words, "--finish", "0.2s"]) == 0
    spec = pf.load(tmp_path / "run-finished").spec
    assert spec["method"]["anchor"]["weight"] == 2.5
    assert (spec["asked"]["anchor"], spec["asked"]["frozen"]) == (
        2.5,
        [f"teacher={tmp_path / 'run'}"],
    )
    assert "anchor" not in pf.load(tmp_path / "run").spec["asked"]


SHORT = ["--size", "tiny", "--steps", "1"]


@pytest.fixture(scope="module")
def pointed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    np.save(
        folder / "points.npy", np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32)
    )
    data = pf.data.load(folder / "points.npy", limit=200)
    return pf.fit(
        "flow", data, size="tiny", steps=1, seed=0, out=folder / "teacher", progress=False
    )


def test_a_student_is_trained_on_its_teachers_data_as_the_teacher_read_it(pointed, tmp_path):
    words = ["train", "distil", "--teacher", str(pointed.folder), "--trajectories", "4", *SHORT]
    code = main([*words, "--out", str(tmp_path / "run")])
    assert code == 0
    run = pf.load(tmp_path / "run")
    assert run.spec["fingerprint"] == pointed.spec["fingerprint"]
    assert run.spec["data"]["limit"] == 200


def test_a_latent_model_is_trained_on_the_data_of_its_autoencoder(pointed, tmp_path):
    vae = pf.fit(
        "vae",
        pf.data.load("moons", limit=100),
        size="tiny",
        steps=1,
        seed=0,
        out=tmp_path / "vae",
        progress=False,
    )
    code = main(
        ["train", "flow", "--latent", str(vae.folder), *SHORT, "--out", str(tmp_path / "run")]
    )
    assert code == 0
    name_or_path = pf.load(tmp_path / "run").spec["data"]["name_or_path"]
    assert name_or_path == "moons"


def test_data_that_is_gone_or_came_from_python_is_named(pointed, tmp_path, capsys):
    copy = tmp_path / "teacher"
    shutil.copytree(pointed.folder, copy)
    spec = (copy / "spec.json").read_text()
    (copy / "spec.json").write_text(spec.replace("points.npy", "gone.npy"))
    words = ["train", "distil", "--teacher", str(copy), *SHORT, "--out", str(tmp_path / "run")]
    assert main(words) == 3
    assert "gone.npy" in capsys.readouterr().err
    own = pf.data.from_arrays(np.random.default_rng(0).standard_normal((100, 2)), name="own")
    run = pf.fit("flow", own, size="tiny", steps=1, out=tmp_path / "own", progress=False)
    code = main(
        ["train", "distil", "--teacher", str(run.folder), *SHORT, "--out", str(tmp_path / "run")]
    )
    assert code == 2
    assert "was trained on data passed in Python" in " ".join(capsys.readouterr().err.split())
