"""What is said of a path that is no run, or of a run whose training has not ended."""

import json

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError
from pushforward.training.api import prepare
from pushforward.training.runs.folder import NAMED, check_run, claim


def runs(place, *names):
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "spec.json").write_text("{}")


@pytest.mark.parametrize("options", [[], ["--data", "moons"], ["--n", "50"]], ids=["alone", "data", "n"])
@pytest.mark.parametrize("reported", [False, True])
def test_evaluate_of_the_folder_of_a_comparison_names_its_runs_and_the_command_that_scores_them(
    tmp_path, monkeypatch, capsys, options, reported
):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "all of it", "vae", "flow")
    if reported:
        (tmp_path / "all of it" / "report.html").touch()
    assert main(["evaluate", "all of it", *options]) == 2
    error = capsys.readouterr().err
    assert ("open all of it/report.html." in error) == reported
    assert error.endswith(
        " It holds the runs flow and vae: name one of them, such as all of it/flow. All are scored beside each other by: "
        "pushforward compare 'all of it/flow' 'all of it/vae'\n"
    )


def test_of_a_folder_of_runs_on_several_data_sets_those_of_one_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "all", *"abcde")
    for name, data in zip("abcd", ("moons", "digits", "moons", "ring"), strict=True):
        (tmp_path / "all" / name / "spec.json").write_text(json.dumps({"data": {"name_or_path": data}}))
    (tmp_path / "all" / "e" / "spec.json").write_text("no spec")
    assert main(["evaluate", "all"]) == 2
    assert capsys.readouterr().err.endswith(
        "Those of one data set are scored beside each other by: pushforward compare all/a all/c\n"
    )
    (tmp_path / "all" / "c" / "spec.json").unlink()
    assert main(["evaluate", "all"]) == 2
    assert capsys.readouterr().err.endswith("name one of them, such as all/a.\n")


def test_runs_in_a_folder_are_scored_together_as_folders_and_only_where_they_are_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path, "flow", "vae")
    assert main(["evaluate", "."]) == 2
    assert capsys.readouterr().err.endswith("by: pushforward compare ./flow ./vae\n")  # flow alone is the recipe
    assert main(["sample", "."]) == 2
    assert capsys.readouterr().err.endswith("It holds the runs flow and vae: name one of them, such as flow.\n")


def test_of_many_runs_in_a_folder_some_are_named(tmp_path):
    runs(tmp_path, *(f"r{number}" for number in range(NAMED + 3)))
    with pytest.raises(CheckpointError, match=f"the runs r0, r1, .*, r6 and 3 more: name one of them, such as {tmp_path}/r0"):
        check_run(tmp_path)


@pytest.mark.parametrize(
    ("verb", "wrong"), [("sample", "sweep/flwo"), ("evaluate", "moons-flw"), ("resume", "moons-flw"), ("report", "sweep/flwo")]
)
def test_a_suggested_run_is_a_path_that_can_be_pasted(tmp_path, monkeypatch, capsys, verb, wrong):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "runs", "moons-flow")
    runs(tmp_path / "sweep", "flow")
    assert main([verb, wrong]) == 2
    right = "sweep/flow" if "/" in wrong else "runs/moons-flow"
    assert f'Did you mean "{right}"?' in capsys.readouterr().err


def test_samples_of_a_run_whose_training_has_not_ended_say_of_which_step_they_are(tmp_path, capsys):
    trainer = prepare("flow", pf.data.load("moons"), size="tiny", steps=9, out=tmp_path / "run", checkpoint_every=1)
    trainer.advance(1e-9)
    words = ["sample", str(trainer.folder), "--n", "4", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{trainer.folder}, step 1: it is unfinished: 1 of 9 steps of training.")
    assert json.loads(printed.out)["n"] == 4
    trainer.advance()
    assert main(words) == 0
    assert capsys.readouterr().err == ""


def test_a_run_whose_training_is_just_starting_is_to_be_tried_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun = claim("new", "data", "flow")
    assert main(["sample", "new"]) == 4
    assert "its training is just starting, or was interrupted" in capsys.readouterr().err
    begun.discard()
    assert main(["sample", "new"]) == 2
    assert "There is no folder new" in capsys.readouterr().err


def test_evaluate_of_a_report_says_that_it_is_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "report.html").touch()
    assert main(["evaluate", "scores"]) == 2
    assert "scores is a report, not a run: open scores/report.html." in capsys.readouterr().err
