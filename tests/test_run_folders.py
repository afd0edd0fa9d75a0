"""Run folders: one training at a time, from its first moment."""

import gc
import json
import textwrap
from pathlib import Path

import pytest
import torch
from programs import forking

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import storage

DATA = space_data((2,), labels=False)
AT_ONCE = 3
RACE = """
    import json, os, sys, time
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from pushforward.testing import recipe_for, space_data
    import pushforward as pf
    from pushforward.training import Silent

    data = space_data((2,), labels=False)

    class Waiting(Silent):
        '''Holds training at its first step until the others have given up, or for 20 s.'''

        def __init__(self, at, others):
            self.at, self.others = at, others

        def __call__(self, name, clock, samples, losses):
            end = time.monotonic() + (20 if clock.step % 3 == 1 else 0)
            def refused():
                return len(list(Path(".").glob(f"{self.at}-*.refused")))
            while refused() < self.others and time.monotonic() < end:
                time.sleep(0.01)

    def attempt(at, train, others):
        try:
            run = train(Waiting(at, others))
            said = ["done", str(run.folder), run.state["step"]]
        except pf.errors.PushforwardError as error:
            said = [type(error).__name__, str(error), error.exit_code]
            Path(f"{at}-{os.getpid()}.refused").write_text("")
        Path(f"{at}-{os.getpid()}.json").write_text(json.dumps(said))

    def race(at, train, others):
        ready, go = os.pipe()
        children = []
        for _ in range({count}):
            child = os.fork()
            if child == 0:
                os.close(go)
                os.read(ready, 1)
                try:
                    attempt(at, train, others)
                finally:
                    os._exit(0)
            children.append(child)
        os.close(go)
        for child in children:
            os.waitpid(child, 0)

    def fit(out, watch):
        return pf.fit(recipe_for("flow", data), data, steps=3, out=out, progress=watch)
    race("named", lambda watch: fit("run", watch), {count} - 1)
    race("default", lambda watch: fit(None, watch), 0)
    race("resume", lambda watch: pf.resume("run", data=data, steps=6, progress=watch), {count} - 1)
"""


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """What several processes that start at one moment each end with: by race, the list of
    outcomes.
    """
    folder = tmp_path_factory.mktemp("race")
    code = textwrap.dedent(RACE).replace("{count}", str(AT_ONCE))
    done = forking.run(code, cwd=folder)
    assert done.returncode == 0, done.stderr
    said = {
        at: [json.loads(path.read_text()) for path in folder.glob(f"{at}-*.json")]
        for at in ("named", "default", "resume")
    }
    return folder, said, done.stderr


@pytest.mark.parametrize(("race", "steps"), [("named", 3), ("resume", 6)])
def test_of_processes_that_train_one_folder_one_does(race, steps, raced):
    folder, said, errors = raced
    names = sorted(kind for kind, *_ in said[race])
    assert names == ["CheckpointError"] * (AT_ONCE - 1) + ["done"], errors
    assert all(
        "is being trained" in text and code == 4
        for kind, text, code in said[race]
        if kind != "done"
    )
    assert [own[2] for own in said[race] if own[0] == "done"] == [steps]
    assert [row["step"] for row in pf.load(folder / "run").losses()] == list(range(1, 7))


class Own(torch.nn.Module):
    """Cannot be rebuilt: it keeps none of its arguments."""

    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Linear(3, width - 6)

    def forward(self, x, t=None, condition=None):
        return self.inner(torch.cat([x, t[:, None]], 1))


def test_a_module_that_cannot_be_rebuilt_is_trained_once(tmp_path):
    recipe = pf.recipes.flow(DATA.space, network=Own(8))
    pf.fit(recipe, DATA, steps=2, out=tmp_path / "0", seed=0)
    for again in (recipe, pf.recipes.flow(DATA.space, network=recipe.method.denoiser.network)):
        with pytest.raises(UsageError):
            prepare(again, DATA, steps=2, out=tmp_path / "1", seed=1)
    assert not (tmp_path / "1").exists()
    step = pf.fit(recipe.method, DATA, steps=2, out=tmp_path / "2").state["step"]
    assert step == 2, "on purpose, it goes on"


def test_training_leaves_torchs_generator_as_it_was(tmp_path):
    before = torch.get_rng_state()
    pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_name_no_folder_get_one_each(raced):
    _, said, errors = raced
    assert [kind for kind, *_ in said["default"]] == ["done"] * AT_ONCE, errors
    assert {Path(own[1]).name for own in said["default"]} == {
        "made-flow",
        "made-flow-2",
        "made-flow-3",
    }


def held(tmp_path, steps=5):
    trainer = prepare(recipe_for("flow", DATA), DATA, steps=steps, out=tmp_path / "run")
    trainer.advance(1e-9)
    return trainer


def test_a_trainer_holds_its_folder_until_it_ends(tmp_path):
    trainer = held(tmp_path)
    for other in (lambda: pf.resume(tmp_path / "run", data=DATA), lambda: held(tmp_path)):
        with pytest.raises(CheckpointError, match="is being trained"):
            other()
    assert (tmp_path / "run" / "spec.json").is_file(), "another training's folder is not removed"
    count = len(pf.load(tmp_path / "run").transport.sample(4))
    assert count == 4, "reading needs no lock"
    trainer.advance()
    step = pf.resume(tmp_path / "run", data=DATA, steps=6).state["step"]
    assert step == 6
    with pytest.raises(UsageError, match="already"):
        held(tmp_path)


@pytest.mark.parametrize("way", ["close", "error", "deletion"])
def test_a_trainer_that_is_gone_holds_nothing(way, tmp_path):
    trainer = held(tmp_path)
    if way == "close":
        trainer.close()
    elif way == "error":
        trainer.method.losses = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.advance()
    else:
        del trainer
        gc.collect()
    step = pf.resume(tmp_path / "run", data=DATA).state["step"]
    assert step == 5


def test_a_closed_trainer_goes_on_unless_the_run_has(tmp_path):
    first = held(tmp_path)
    second = None
    first.finish()
    first.advance(1e-9)
    first.close()
    second = reopen(tmp_path / "run", data=DATA)
    second.advance(1e-9)
    with pytest.raises(CheckpointError, match="is being trained"):
        first.advance()
    second.advance()
    with pytest.raises(CheckpointError, match="trained further"):
        first.advance()
    assert pf.load(tmp_path / "run").state["step"] == 5


def test_a_folder_that_cannot_be_used_is_not_left(tmp_path):
    recipe = recipe_for("flow", DATA, batch=96, accumulate=2)
    with pytest.raises(UsageError, match="multiples of"):
        pf.fit(recipe, DATA, steps=1, out=tmp_path / "above" / "run")
    assert not (tmp_path / "above").exists()


TINY = ["--data", "moons", "--limit", "200", "--size", "tiny", "--batch", "16"]


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_run_that_was_never_saved_is_started_by_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "gan", *TINY, "--steps", "3", "--seed", "4"]
    assert main([*words, "--out", "whole"]) == 0
    monkeypatch.setattr(storage, "fill", full)
    assert main([*words, "--out", "run"]) == 4
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="pushforward resume run"):
        pf.load("run")
    assert main(["resume", "run"]) == 0
    assert "resuming run at step 0" in capsys.readouterr().err
    assert_same(final_state(Path("whole")), final_state(Path("run")))


@pytest.mark.parametrize("kind", ["name", "init"])
def test_a_run_from_python_that_was_never_saved_is_started(kind, tmp_path, monkeypatch):
    options = {"steps": 3, "seed": 2}
    if kind == "init":
        options["init"] = pf.fit("flow", DATA, steps=2, out=tmp_path / "first").folder
    whole = pf.fit("flow", DATA, out=tmp_path / "whole", **options)
    monkeypatch.setattr(storage, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit("flow", DATA, out=tmp_path / "run", **options)
    monkeypatch.undo()
    pf.resume(tmp_path / "run", data=DATA)
    assert_same(final_state(whole.folder), final_state(tmp_path / "run"))


def test_lost_weights_and_lost_checkpoints_are_not_replaced(tmp_path, monkeypatch):
    method = recipe_for("flow", DATA).method
    monkeypatch.setattr(storage, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit(method, DATA, steps=3, out=tmp_path / "given")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="are lost"):
        pf.resume(tmp_path / "given", data=DATA)
    step = pf.resume(tmp_path / "given", data=DATA, method=method).state["step"]
    assert step == 3
    for path in (tmp_path / "given" / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    with pytest.raises(CheckpointError, match="checkpoints are missing"):
        pf.resume(tmp_path / "given", data=DATA, method=method)
