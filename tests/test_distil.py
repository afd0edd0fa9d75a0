"""The verb distil and `pushforward.training.distil`, and the data of a student that names none."""

import json
import shutil

import numpy as np
import pytest
from programs.command_line import answer, run

import pushforward as pf
from pushforward.errors import DataError, UsageError
from pushforward.training import distil

FEW = {"trajectories": 64, "teacher_steps": 2}


FEW_TRAJECTORIES = "--trajectories 64 --teacher-steps 2"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("distil") / "teacher"
    data = pf.data.load("moons", limit=256)
    return pf.fit("flow", data, steps=12, size="tiny", out=out, progress=False)


def test_a_run_is_distilled_on_its_own_data(teacher, tmp_path, capsys):
    folder = tmp_path / "run"
    command = f"distil {teacher.folder} --steps 3 --out {folder} --json --batch 32"
    out = answer(capsys, f"{command} {FEW_TRAJECTORIES}")
    assert json.loads(out)["recipe"] == "distil"
    student = pf.load(folder)
    assert student.transport.calls == 1
    assert student.spec["fingerprint"] == teacher.spec["fingerprint"]
    assert student.spec["training"]["batch"] == 32
    assert student.sample(4, steps=3).shape == (4, 2)


def test_calls_is_the_default_of_samples(teacher, tmp_path):
    student = distil(teacher, calls=2, steps=1, settings=FEW, out=tmp_path / "run", progress=False)
    assert student.transport.calls == 2
    assert pf.load(student.folder).transport.calls == 2


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
    rows.reverse()
    file.write_text("\n".join(["a,b", *rows, "5,5"]))
    with pytest.raises(DataError, match=r"has changed since .* was trained"):
        distil(out, steps=1)
    file.unlink()
    with pytest.raises(DataError, match=r"table\.csv"):
        distil(out, steps=1)


def test_settings_of_the_finish_are_taken_with_a_finish(teacher, tmp_path, capsys):
    folder = tmp_path / "run"
    command = f"distil {teacher.folder} --steps 2 --out {folder} {FEW_TRAJECTORIES} --anchor 2.5"
    code, _, err = run(capsys, command)
    assert code == 2
    assert "--anchor" in err
    assert not folder.exists()
    answer(capsys, f"{command} --finish 0.2s")
    finished = pf.load(tmp_path / "run-finished").spec
    assert finished["method"]["anchor"]["weight"] == 2.5
    assert finished["asked"]["anchor"] == 2.5
    assert finished["asked"]["frozen"] == [f"teacher={folder}"]
    assert "anchor" not in pf.load(folder).spec["asked"]


SHORT = "--size tiny --steps 1"


def short_run(recipe, data, out):
    return pf.fit(recipe, data, size="tiny", steps=1, seed=0, out=out, progress=False)


@pytest.fixture(scope="module")
def pointed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    points = np.random.default_rng(0).standard_normal((400, 2))
    file = folder / "points.npy"
    np.save(file, points.astype(np.float32))
    data = pf.data.load(file, limit=200)
    return short_run("flow", data, folder / "teacher")


def test_a_student_is_trained_on_its_teachers_data_as_the_teacher_read_it(
    pointed, tmp_path, capsys
):
    folder = tmp_path / "run"
    command = f"train distil --teacher {pointed.folder} --trajectories 4 {SHORT} --out {folder}"
    answer(capsys, command)
    spec = pf.load(folder).spec
    assert spec["fingerprint"] == pointed.spec["fingerprint"]
    assert spec["data"]["limit"] == 200


def test_a_latent_model_is_trained_on_the_data_of_its_autoencoder(tmp_path, capsys):
    moons = pf.data.load("moons", limit=100)
    vae = short_run("vae", moons, tmp_path / "vae")
    folder = tmp_path / "run"
    answer(capsys, f"train flow --latent {vae.folder} {SHORT} --out {folder}")
    assert pf.load(folder).spec["data"]["name_or_path"] == "moons"


def test_data_that_is_gone_is_named(pointed, tmp_path, capsys):
    copy = tmp_path / "teacher"
    shutil.copytree(pointed.folder, copy)
    file = copy / "spec.json"
    file.write_text(file.read_text().replace("points.npy", "gone.npy"))
    command = f"train distil --teacher {copy} {SHORT} --out {tmp_path / 'run'}"
    code, _, err = run(capsys, command)
    assert code == 3
    assert "gone.npy" in err


def test_data_that_came_from_python_is_named(tmp_path, capsys):
    points = np.random.default_rng(0).standard_normal((100, 2))
    own = pf.data.from_arrays(points, name="own")
    teacher = short_run("flow", own, tmp_path / "own")
    command = f"train distil --teacher {teacher.folder} {SHORT} --out {tmp_path / 'run'}"
    code, _, err = run(capsys, command)
    assert code == 2
    assert "was trained on data passed in Python" in " ".join(err.split())
