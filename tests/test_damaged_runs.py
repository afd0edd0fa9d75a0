"""Runs that are damaged, changed, older or of another format; only what a command wrote is removed,
and no link is followed.
"""

import json

import filelock
import pytest
from programs.text_tables import read_cases
from programs.trained import run_folder

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.cli.demo import demo_folder
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.runs import folder as folders, folder as run_lock


@pytest.mark.parametrize(
    "name",
    [
        "method.safetensors",
        "average.safetensors",
        "optimizer.safetensors",
        "state.json",
        "MANIFEST.json",
    ],
)
@pytest.mark.parametrize("fault", ["cut", "flip", "delete"])
def test_damage_is_found_before_anything_starts(name, fault, tmp_path):
    folder, data = run_folder(tmp_path)
    path = folder / "checkpoints" / "step_000004" / name
    content = bytearray(path.read_bytes())
    if fault == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 4 if fault == "flip" else 0
        path.write_bytes(content if fault == "flip" else content[: len(content) // 2])
    with pytest.raises(CheckpointError):
        pf.load(folder)
    with pytest.raises(CheckpointError):
        pf.resume(folder, data=data, steps=6)
    step = pf.resume(folder, data=data, steps=6, checkpoint="step_000002").state["step"]
    assert step == 6


def test_old_checkpoints_go_and_two_stay(tmp_path):
    folder, _ = run_folder(tmp_path, steps=9, every=2)
    assert [path.name for path in sorted((folder / "checkpoints").glob("step_*"))] == [
        "step_000008",
        "step_000009",
    ]


def test_changed_data_is_refused(tmp_path):
    folder, _ = run_folder(tmp_path)
    other = space_data((2,), labels=False, seed=5)
    with pytest.raises(DataError, match="changed"):
        pf.resume(folder, data=other, steps=6)


SOUND = """
training | lr     | 0.5
spec     | seed   | 4
method   | steps  | 7
"""
BROKEN = """
training | batchh  | 5
method   | stepz   | 7
spec     | method  | {"part": "Linear"}
spec     | recipe  | null
spec     | plugins | [{}]
"""


def change_spec(folder, part, name, value):
    """Set a value in the specification of a run, or remove it."""
    path = folder / "spec.json"
    spec = json.loads(path.read_text())
    changed = spec
    if part != "spec":
        changed = spec[part]
    changed[name] = value
    if value is None:
        del changed[name]
    path.write_text(json.dumps(spec))


@pytest.fixture
def without_hashes(monkeypatch):
    """Checkpoints that hold no hash of the specification."""
    monkeypatch.setattr("pushforward.training.runs.run.check_spec", lambda *_: None)
    monkeypatch.setattr("pushforward.training.api.check_spec", lambda *_: None)


def check_refused(folder, data):
    with pytest.raises(CheckpointError):
        pf.load(folder)
    with pytest.raises(CheckpointError):
        pf.resume(folder, data=data)


@pytest.mark.parametrize(("part", "name", "value"), read_cases(SOUND) + read_cases(BROKEN))
def test_a_changed_spec_is_refused_by_its_hash(part, name, value, tmp_path):
    folder, data = run_folder(tmp_path)
    change_spec(folder, part, name, value)
    check_refused(folder, data)


@pytest.mark.usefixtures("without_hashes")
@pytest.mark.parametrize(("part", "name", "value"), read_cases(BROKEN))
def test_a_spec_that_cannot_be_read_is_refused(part, name, value, tmp_path):
    folder, data = run_folder(tmp_path)
    change_spec(folder, part, name, value)
    check_refused(folder, data)


@pytest.mark.usefixtures("without_hashes")
@pytest.mark.parametrize(("part", "name", "value"), read_cases(SOUND))
def test_a_spec_of_which_no_hash_is_known_may_be_changed(part, name, value, tmp_path):
    folder, data = run_folder(tmp_path)
    change_spec(folder, part, name, value)
    pf.load(folder)
    pf.resume(folder, data=data)


def test_a_run_of_another_format_is_refused_by_its_number(tmp_path):
    folder, data = run_folder(tmp_path)
    spec = json.loads((folder / "spec.json").read_text())
    says = r"no checkpoint step_000009\. Did you mean .* step_000002, step_000004"
    with pytest.raises(CheckpointError, match=says):
        pf.load(folder, checkpoint="step_000009")
    for junk, says in (
        ('{"a":', r"spec.json is not valid JSON.* Restore it"),
        ("[1]", "format None"),
    ):
        (folder / "spec.json").write_text(junk)
        with pytest.raises(CheckpointError, match=says):
            pf.load(folder)
    (folder / "spec.json").write_text(json.dumps(spec | {"format_version": 1}))
    for use in (lambda: pf.load(folder), lambda: pf.resume(folder, data=data)):
        with pytest.raises(CheckpointError, match=r"format 1, .* reads format \d"):
            use()


def test_a_torn_log_is_read_and_mended(tmp_path):
    folder, data = run_folder(tmp_path)
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines()
    first, second, third, fourth = lines
    half = fourth[: len(fourth) // 2]
    torn = [first, second[:20], second[:9] + "}", "[1]}", "{}", third, half]
    path.write_text("\n".join(torn))
    assert [row["step"] for row in pf.load(folder).losses()] == [1, 3]
    pf.resume(folder, data=data, steps=6)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3, 5, 6]


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("step_*"))


def test_after_an_older_checkpoint_later_ones_go(tmp_path):
    """Of the run that was given up nothing may be taken for the newest, nor kept in a whole one's
    place.
    """
    folder, data = run_folder(tmp_path, steps=9, every=3)
    assert names(folder) == ["step_000006", "step_000009"]
    damaged = folder / "checkpoints" / "step_000009" / "method.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    trainer = reopen(folder, data=data, checkpoint="step_000006")
    assert names(folder) == ["step_000006", "step_000009"]
    trainer.advance(1e-9)
    trainer.finish()
    assert names(folder) == ["step_000006", "step_000007"]
    assert latest(folder / "checkpoints").name == "step_000007"
    assert pf.resume(folder, data=data, steps=12).state["step"] == 12
    assert names(folder) == ["step_000009", "step_000012"]
    assert [row["step"] for row in pf.load(folder).losses()] == list(range(1, 13))


def test_the_newest_checkpoint_is_the_one_written_last(tmp_path):
    folder, _ = run_folder(tmp_path)
    inside = folder / "checkpoints"
    pointer = inside / "latest.json"
    pointer.write_text('{"checkpoint": "step_000002"}')
    assert latest(inside).name == "step_000002"
    for text in (
        '{"checkpoint": "../checkpoints"}',
        '{"checkpoint": "step_000003"}',
        "[]",
        "{",
        '{"checkpoint": 4}',
    ):
        pointer.write_text(text)
        assert latest(inside).name == "step_000004"
    pointer.unlink()
    weights = inside / "step_000004" / "method.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert latest(inside).name == "step_000002"


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
        assert "already exists" in capsys.readouterr().err
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


@pytest.mark.parametrize("name", [".lock", "checkpoints", "samples", "cache", "metrics.jsonl"])
def test_a_link_in_a_run_is_refused_and_what_it_leads_to_is_not_touched(name, tmp_path):
    run = tmp_path / "run"
    outside = tmp_path / "outside"
    pf.fit(recipe_for("flow", DATA), DATA, steps=2, checkpoint_every=1, out=run)
    (run / name).rename(outside) if (run / name).exists() else outside.mkdir()
    if outside.is_file():
        outside.write_text("of the user")
    (run / name).symlink_to(outside)
    before = content(tmp_path)
    words = rf"run/{name.replace('.', '[.]')} .* a link\..*copy of the file"
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
    for use in (
        lambda: run_lock.hold(tmp_path / "run"),
        lambda: folders.claim(tmp_path / "run", "data", "flow"),
    ):
        with pytest.raises(CheckpointError, match="a link"):
            use()
    with pytest.raises(OSError, match="link"):  # the installed version by itself
        filelock.FileLock(tmp_path / "run" / ".lock", timeout=0).acquire()
    assert (tmp_path / "kept").read_text() == "of the user"


def test_a_demo_goes_on_through_no_link(tmp_path):
    held = demo_folder(str(tmp_path / "demo"), "digits", {"seed": 0})
    held.close()
    (held.folder / "two-dimensions").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="two-dimensions"):
        demo_folder(str(held.folder), "digits", {"seed": 0})


def test_parts_of_earlier_versions_name_the_remedy():
    with pytest.raises(CheckpointError, match="no longer offered"):
        spec.build({"part": "GAN", "critic": {"part": "ProjectedCritic", "side": 64}})
