"""The data of a training that names none is that of the run that it learns from."""

import shutil

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli import main

WORDS = ["--size", "tiny", "--steps", "1"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    np.save(folder / "points.npy", np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32))
    data = pf.data.load(folder / "points.npy", limit=200)
    return pf.fit("flow", data, size="tiny", steps=1, seed=0, out=folder / "teacher", progress=False)


def test_a_student_is_trained_on_its_teachers_data_as_the_teacher_read_it(teacher, tmp_path):
    words = ["train", "distil", "--teacher", str(teacher.folder), "--trajectories", "4", *WORDS]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    run = pf.load(tmp_path / "run")
    assert run.spec["fingerprint"] == teacher.spec["fingerprint"]
    assert run.spec["data"]["limit"] == 200


def test_a_latent_model_is_trained_on_the_data_of_its_autoencoder(teacher, tmp_path):
    vae = pf.fit("vae", pf.data.load("moons", limit=100), size="tiny", steps=1, seed=0, out=tmp_path / "vae", progress=False)
    assert main(["train", "flow", "--latent", str(vae.folder), *WORDS, "--out", str(tmp_path / "run")]) == 0
    assert pf.load(tmp_path / "run").spec["data"]["name_or_path"] == "moons"


def test_data_that_is_gone_or_came_from_python_is_named(teacher, tmp_path, capsys):
    copy = tmp_path / "teacher"
    shutil.copytree(teacher.folder, copy)
    spec = (copy / "spec.json").read_text()
    (copy / "spec.json").write_text(spec.replace("points.npy", "gone.npy"))
    words = ["train", "distil", "--teacher", str(copy), *WORDS, "--out", str(tmp_path / "run")]
    assert main(words) == 3
    assert "gone.npy" in capsys.readouterr().err
    own = pf.data.from_arrays(np.random.default_rng(0).standard_normal((100, 2)), name="own")
    run = pf.fit("flow", own, size="tiny", steps=1, out=tmp_path / "own", progress=False)
    assert main(["train", "distil", "--teacher", str(run.folder), *WORDS, "--out", str(tmp_path / "run")]) == 2
    assert "was trained on data from Python, which a run does not hold" in " ".join(capsys.readouterr().err.split())
