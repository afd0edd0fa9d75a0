"""Only what a command wrote is ever removed, and nothing is read, locked or written through a link in a run's folder."""

import filelock
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.cli.demo import demo_folder
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare
from pushforward.training.runs import folder as folders
from pushforward.training.runs import run_lock

DATA = space_data((2,), labels=False)
TINY = ["--data", "moons", "--limit", "200", "--size", "tiny", "--batch", "16", "--steps", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_anything_else_is_refused_and_stays_as_it_is(here, capsys):
    mine = here / "mine"
    for name in ("cache/prepared.safetensors", "rows.safetensors", ".lock", "note"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("of the user")
    before = content(mine)
    for _ in range(2):
        assert main(["train", "flow", *TINY, "--out", "mine"]) == 2
        assert "mine exists already" in capsys.readouterr().err
        assert content(mine) == before
        (mine / ".lock").unlink(missing_ok=True)
        before.pop(mine / ".lock", None)


def test_a_run_that_also_holds_files_of_the_user_is_not_replaced(tmp_path):
    run = pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "run").folder
    (run / "notes.txt").write_text("of the user")
    before = content(run)
    with pytest.raises(UsageError, match=r"notes\.txt"):
        pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=run, overwrite=True)
    assert content(run) == before


@pytest.mark.parametrize("beside", [True, False])
def test_a_comparison_that_could_not_begin_leaves_what_is_not_its_own(beside, here, monkeypatch, capsys):
    trainers = []

    def fails_second(recipe, *arguments, **options):
        if trainers:
            raise UsageError("the second fails")
        trainers.append(prepare(recipe, *arguments, **options))
        if beside:
            (trainers[0].folder / "notes.txt").touch()
        return trainers[0]

    monkeypatch.setattr("pushforward.training.api.prepare", fails_second)
    assert main(["compare", "flow", "vae", *TINY, "--out", "both"]) == 2
    assert "the second fails" in capsys.readouterr().err
    assert (here / "both" / "flow" / "notes.txt").exists() == (here / "both").exists() == beside


@pytest.mark.parametrize("name", [".lock", "checkpoints", "samples", "cache", "metrics.jsonl"])
def test_a_link_in_a_run_is_refused_and_what_it_leads_to_is_not_touched(name, tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    pf.fit(recipe_for("flow", DATA), DATA, steps=2, checkpoint_every=1, out=run)
    (run / name).rename(outside) if (run / name).exists() else outside.mkdir()
    if outside.is_file():
        outside.write_text("of the user")
    (run / name).symlink_to(outside)
    before = content(tmp_path)
    words = rf"run/{name.replace('.', '[.]')} .* a link\. Put a copy of what it leads to in its place"
    for use in (pf.load, lambda run: pf.resume(run, data=DATA, steps=3)):
        with pytest.raises(CheckpointError, match=words):
            use(run)
    assert content(tmp_path) == before


def test_a_linked_lock_is_refused_by_all_that_would_train(tmp_path):
    (tmp_path / "kept").write_text("of the user")
    begun = folders.claim(tmp_path / "run", "data", "flow")
    begun.lock.release()
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "kept")
    for use in (lambda: run_lock.hold(tmp_path / "run"), lambda: folders.claim(tmp_path / "run", "data", "flow")):
        with pytest.raises(CheckpointError, match="a link"):
            use()
    with pytest.raises(OSError, match="link"):  # the installed version by itself
        filelock.FileLock(tmp_path / "run" / ".lock", timeout=0).acquire()
    assert (tmp_path / "kept").read_text() == "of the user"


def test_a_demo_goes_on_through_no_link(tmp_path):
    with demo_folder(str(tmp_path / "demo"), "digits", {"seed": 0}) as folder:
        (folder / "vae" / "checkpoints" / "step_000001").mkdir(parents=True)
    (tmp_path / "demo" / "two-dimensions").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="two-dimensions"), demo_folder(str(folder), "digits", {"seed": 0}):
        pass
