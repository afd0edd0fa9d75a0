"""The verb distil and `pushforward.training.distil`: a student of any run that samples in steps."""

import json
import shlex

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
    return pf.fit("flow", pf.data.load("moons", limit=256), steps=12, size="tiny", out=out, progress=False)


def test_a_run_is_distilled_on_its_own_data(teacher, tmp_path, capsys):
    words = ["distil", str(teacher.folder), "--steps", "3", "--out", str(tmp_path / "run"), "--json", "--batch", "32", *WORDS]
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


def test_without_a_budget_the_student_takes_its_teachers_steps(teacher, tmp_path):
    run = distil(teacher.folder, settings=FEW, out=tmp_path / "run", progress=False)
    assert run.state["step"] == teacher.state["step"] == 12


@pytest.mark.parametrize("calls", [0, 26])
def test_a_student_takes_no_more_calls_than_its_teacher(teacher, tmp_path, calls):
    assert teacher.transport.calls == 25
    with pytest.raises(UsageError, match="so a student takes 1 to 25 `calls`"):
        distil(teacher, calls=calls, steps=1, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_gan_and_a_map_are_no_teachers(teacher, tmp_path):
    data = pf.data.load("moons", limit=256)
    gan = pf.fit("gan", data, steps=1, size="tiny", out=tmp_path / "gan", progress=False)
    with pytest.raises(UsageError, match="is a gan, which samples in one call already"):
        distil(gan, steps=1)
    student = distil(teacher, steps=1, settings=FEW, out=tmp_path / "student", progress=False)
    with pytest.raises(UsageError, match="is a distil, which samples"):
        distil(student, steps=1)


def test_a_teacher_whose_data_is_gone_or_changed_is_refused(tmp_path):
    file, out = tmp_path / "table.csv", tmp_path / "teacher"
    rows = [f"{i % 7},{i % 11}" for i in range(60)]
    file.write_text("\n".join(["a,b", *rows]))
    pf.fit("flow", str(file), steps=1, size="tiny", out=out, progress=False)
    file.write_text("\n".join(["a,b", *rows[::-1], "5,5"]))
    with pytest.raises(DataError, match=r"has changed since .* was trained"):
        distil(out, steps=1)
    file.unlink()
    with pytest.raises(DataError, match=r"table\.csv"):
        distil(out, steps=1)


def test_data_that_has_moved_is_named_by_its_new_place(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = pf.data.load("moons", limit=256).train.data_units(slice(None)).numpy()
    np.savez("old.npz", x=rows, label=np.arange(len(rows)) % 2)
    pf.fit("flow", pf.data.load("old.npz", limit=100), steps=1, size="tiny", out="teacher", progress=False)
    (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    words = ["distil", "teacher", "--steps", "1", "--out", "run", *WORDS]
    assert main(words) == 3
    assert "no file or folder" in (said := " ".join(capsys.readouterr().err.split()))
    assert "give its place: --data PLACE." in said
    assert main([*words, "--data", "new.npz"]) == 0, "it is read as the teacher read it, 100 examples of it"
    assert pf.load("run").spec["fingerprint"] == pf.load("teacher").spec["fingerprint"]


def test_data_of_python_is_handed_over(tmp_path):
    data = pf.data.from_arrays(pf.data.load("moons", limit=256).train.x, name="own")
    teacher = pf.fit("flow", data, steps=1, size="tiny", out=tmp_path / "teacher", progress=False)
    with pytest.raises(UsageError, match="give it as `data`"):
        distil(teacher, steps=1)
    assert distil(teacher, data=data, steps=1, settings=FEW, out=tmp_path / "run", progress=False).state["step"] == 1


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
        "--checks",
        "1",
    ]
    assert main(words) == 2
    assert "--anchor" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*words, "--finish", "0.2s"]) == 0
    spec = pf.load(tmp_path / "run-finished").spec
    assert (spec["method"]["anchor"]["weight"], spec["method"]["guard"]["checks"]) == (2.5, 1)
    assert (spec["asked"]["anchor"], spec["asked"]["frozen"]) == (2.5, [f"teacher={tmp_path / 'run'}"])
    assert "anchor" not in pf.load(tmp_path / "run").spec["asked"]


def test_settings_of_the_finish_are_refused_before_the_student_is_trained(teacher, tmp_path, capsys):
    words = ["distil", str(teacher.folder), "--steps", "2", "--out", str(tmp_path / "run"), "--finish", "1s"]
    for wrong, says in (
        (["--anchor=-1"], "--anchor must be 0 or more"),
        (["--network", "nope"], "nope"),
        (["--ancor", "1"], 'Did you mean "--anchor"?'),
    ):
        assert main([*words, *wrong]) == 2
        assert says in " ".join(capsys.readouterr().err.split())
    with pytest.raises(UsageError, match=r'The recipe finish has no anchr\. Did you mean "anchor"'):
        distil(teacher, finish=1.0, finish_settings={"anchr": 1}, out=tmp_path / "run", progress=False)
    with pytest.raises(UsageError, match="need a finish: give `finish`"):
        distil(teacher, finish_settings={"anchor": 1}, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_an_interruption_says_how_the_student_is_finished(teacher, tmp_path, monkeypatch, capsys):
    """In the student's training, and while its finish is set up."""
    folder = tmp_path / "run"
    words = ["distil", str(teacher.folder), "--steps", "2", "--out", str(folder), *WORDS, "--finish", "1s", "--anchor", "2.5"]
    command = f"pushforward train finish --teacher {folder} --budget 1s --anchor 2.5 --out {folder}-finished"

    def stopped(*_, **__):
        raise SystemExit(130)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pushforward.cli.training.train_all", stopped)
        assert main(words) == 130
    assert f"then: {command}" in capsys.readouterr().err.splitlines()
    with monkeypatch.context() as patched:
        patched.setattr("pushforward.cli.training.announce", lambda trainer: trainer.folder.name == "run" or interrupted())
        assert main([*words, "--overwrite"]) == 130
    assert f"no step of {folder}-finished was done. Its student is saved. To finish it: {command} --overwrite" in " ".join(
        capsys.readouterr().err.split()
    )
    monkeypatch.setattr("pushforward.training.api.finisher", interrupted)
    assert main([*words, "--overwrite"]) == 130
    assert f"interrupted: the student is saved. To finish it: {command}" in capsys.readouterr().err.splitlines()
    assert main([*shlex.split(command)[1:-4], "--steps", "1"]) == 2, "one budget"
    assert (
        main([*(word for word in shlex.split(command)[1:] if word not in ("--budget", "1s")), "--steps", "1", "--overwrite"]) == 0
    )
