"""Run folders: one training at a time, from its first moment; runs that were never saved; weights that are not drawn twice."""

import copy
import dataclasses
import errno
import gc
import json
import textwrap
import threading
from pathlib import Path

import pytest
import torch
from programs import forking

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError, UsageError
from pushforward.recipes import Training
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import checkpoint, folders
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare

DATA = space_data((2,), labels=False)
TINY = ["--data", "moons", "--limit", "200", "--size", "tiny", "--batch", "16"]
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
            while len(list(Path(".").glob(f"{self.at}-*.refused"))) < self.others and time.monotonic() < end:
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

    fit = lambda out, watch: pf.fit(recipe_for("flow", data), data, steps=3, out=out, progress=watch)
    race("named", lambda watch: fit("run", watch), {count} - 1)
    race("default", lambda watch: fit(None, watch), 0)
    race("resume", lambda watch: pf.resume("run", data=data, steps=6, progress=watch), {count} - 1)
"""


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """What several processes that start at one moment each end with: by race, the list of outcomes."""
    folder = tmp_path_factory.mktemp("race")
    code = textwrap.dedent(RACE).replace("{count}", str(AT_ONCE))
    done = forking.run(code, cwd=folder)
    assert done.returncode == 0, done.stderr
    said = {at: [json.loads(path.read_text()) for path in folder.glob(f"{at}-*.json")] for at in ("named", "default", "resume")}
    return folder, said, done.stderr


@pytest.mark.parametrize(("race", "steps"), [("named", 3), ("resume", 6)])
def test_of_processes_that_train_one_folder_one_does(race, steps, raced):
    folder, said, errors = raced
    assert sorted(kind for kind, *_ in said[race]) == ["CheckpointError"] * (AT_ONCE - 1) + ["done"], errors
    assert all("is being trained" in text and code == 4 for kind, text, code in said[race] if kind != "done")
    assert [own[2] for own in said[race] if own[0] == "done"] == [steps]
    assert [row["step"] for row in pf.load(folder / "run").losses()] == list(range(1, 7))


def test_processes_that_name_no_folder_get_one_each(raced):
    _, said, errors = raced
    assert [kind for kind, *_ in said["default"]] == ["done"] * AT_ONCE, errors
    assert {Path(own[1]).name for own in said["default"]} == {"made-flow", "made-flow-2", "made-flow-3"}


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
    assert len(pf.load(tmp_path / "run").transport.sample(4)) == 4, "reading needs no lock"
    trainer.advance()
    assert pf.resume(tmp_path / "run", data=DATA, steps=6).state["step"] == 6
    with pytest.raises(UsageError, match="exists already"):
        held(tmp_path)


def test_a_report_is_not_taken_for_a_run(tmp_path):
    (tmp_path / "flow").mkdir()
    (tmp_path / "report.html").touch()
    with pytest.raises(CheckpointError, match=r"is a report, not a run: open .*/report\.html\."):
        folders.check_run(tmp_path)
    (tmp_path / "flow" / "spec.json").touch()
    with pytest.raises(CheckpointError, match=r"report\.html, or name a run inside, such as .*/flow\."):
        folders.check_run(tmp_path)


def test_threads_of_one_process_are_told_apart(tmp_path):
    trainer, said = held(tmp_path), []

    def other():
        try:
            reopen(tmp_path / "run", data=DATA)
        except CheckpointError as error:
            said.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(said) == 1
    thread = threading.Thread(target=trainer.advance)
    thread.start()
    thread.join()
    assert pf.resume(tmp_path / "run", data=DATA).state["step"] == 5, "a lock may be given back by another thread"


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
    assert pf.resume(tmp_path / "run", data=DATA).state["step"] == 5


def test_a_closed_trainer_goes_on_unless_the_run_has(tmp_path):
    first, second = held(tmp_path), None
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


def test_a_closed_trainer_does_not_go_on_where_another_made_steps_and_saved_none(tmp_path):
    first = held(tmp_path)
    first.advance(1e-9)
    first.close()
    second = reopen(tmp_path / "run", data=DATA)
    second.advance(1e-9)
    second._flush()
    second.close()
    with pytest.raises(CheckpointError, match="trained further"):
        first.advance()


@pytest.mark.parametrize("writable", [True, False])
def test_a_lock_of_another_user_is_no_licence_to_train(writable, tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(folders.FileLock, "acquire", refused)
    monkeypatch.setattr(folders, "_writable", lambda _: writable)
    if not writable:
        assert folders.hold(tmp_path) is None
        return
    with pytest.raises(CheckpointError, match=r"another user's\. If nobody trains there, delete it"):
        folders.hold(tmp_path)


def test_whoever_may_write_to_a_folder_may_lock_it(tmp_path):
    tmp_path.chmod(0o775)
    lock = folders.hold(tmp_path)
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o664
    lock.release()


def test_a_folder_that_cannot_be_used_is_not_left(tmp_path):
    recipe = recipe_for("flow", DATA, batch=96, accumulate=2)
    with pytest.raises(UsageError, match="multiple of"):
        pf.fit(recipe, DATA, steps=1, out=tmp_path / "above" / "run")
    assert not (tmp_path / "above").exists()


def test_a_name_that_is_taken_meanwhile_is_passed_over(tmp_path, monkeypatch):
    free = iter([tmp_path / "taken", tmp_path / "taken", tmp_path / "free"])
    (tmp_path / "taken").mkdir()
    monkeypatch.setattr(folders, "free_folder", lambda *_: next(free))
    assert folders.new_folder(None, "data", "flow") == tmp_path / "free"


def test_the_command_line_exits_with_4_while_a_folder_is_in_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "flow", *TINY, "--steps", "2", "--out", "run"]) == 0
    trainer = reopen("run", steps=9)
    assert main(["resume", "run"]) == 4
    assert main(["train", "flow", *TINY, "--steps", "2", "--out", "run"]) == 4
    assert capsys.readouterr().err.count("is being trained at this moment") == 2
    trainer.close()
    assert main(["train", "flow", *TINY, "--steps", "2", "--out", "run"]) == 2
    assert main(["resume", "run"]) == 0


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_run_that_was_never_saved_is_started_by_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "gan", *TINY, "--steps", "3", "--seed", "4"]
    assert main([*words, "--out", "whole"]) == 0
    monkeypatch.setattr(checkpoint, "fill", full)
    assert main([*words, "--out", "run"]) == 4
    said = capsys.readouterr().err
    assert "Nothing has been saved of this run yet" in said
    assert "pushforward resume run" in said
    assert "earlier checkpoints" not in said
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="pushforward resume run"):
        pf.load("run")
    assert main(["resume", "run"]) == 0
    assert "never saved" in capsys.readouterr().err
    assert_same(final_state(Path("whole")), final_state(Path("run")))


@pytest.mark.parametrize("kind", ["name", "init"])
def test_a_run_from_python_that_was_never_saved_is_started(kind, tmp_path, monkeypatch):
    options = {"steps": 3, "seed": 2}
    if kind == "init":
        options["init"] = pf.fit("flow", DATA, steps=2, out=tmp_path / "first").folder
    whole = pf.fit("flow", DATA, out=tmp_path / "whole", **options)
    monkeypatch.setattr(checkpoint, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit("flow", DATA, out=tmp_path / "run", **options)
    monkeypatch.undo()
    pf.resume(tmp_path / "run", data=DATA)
    assert_same(final_state(whole.folder), final_state(tmp_path / "run"))


def test_an_unsaved_run_whose_start_is_gone_says_what_to_do(tmp_path, monkeypatch):
    first = pf.fit("flow", DATA, steps=2, out=tmp_path / "first").folder
    monkeypatch.setattr(checkpoint, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit("flow", DATA, steps=3, out=tmp_path / "run", init=first)
    monkeypatch.undo()
    for steps in (4, 6):
        pf.resume(first, data=DATA, steps=steps)
    with pytest.raises(CheckpointError, match=r"started from are gone.*trained further since.*Delete .*run and train again"):
        pf.resume(tmp_path / "run", data=DATA)


def test_lost_weights_and_lost_checkpoints_are_not_replaced(tmp_path, monkeypatch):
    method = recipe_for("flow", DATA).method
    monkeypatch.setattr(checkpoint, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit(method, DATA, steps=3, out=tmp_path / "given")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="are lost"):
        pf.resume(tmp_path / "given", data=DATA)
    assert pf.resume(tmp_path / "given", data=DATA, method=method).state["step"] == 3
    for path in (tmp_path / "given" / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    with pytest.raises(CheckpointError, match="checkpoints are gone"):
        pf.resume(tmp_path / "given", data=DATA, method=method)


class Own(torch.nn.Module):
    """Cannot be rebuilt: it keeps none of its arguments."""

    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.SiLU(), torch.nn.Linear(width, 2))

    def forward(self, x, t=None, condition=None):
        return self.inner(torch.cat([x, t[:, None]], 1))


def own():
    return pf.recipes.flow(DATA.space, network=Own(8))


def first_weights(recipe, seed, out):
    trainer = prepare(recipe, DATA, steps=2, out=out, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in trainer.method.parameters()])


def test_a_module_that_cannot_be_rebuilt_is_trained_once(tmp_path):
    recipe = own()
    pf.fit(recipe, DATA, steps=2, out=tmp_path / "0", seed=0)
    for again in (recipe, copy.deepcopy(recipe), pf.recipes.flow(DATA.space, network=recipe.method.denoiser.network)):
        with pytest.raises(UsageError, match="given to a training before"):
            prepare(again, DATA, steps=2, out=tmp_path / "1", seed=1)
        with pytest.raises(UsageError, match="before"):
            prepare(lambda again=again: again, DATA, steps=2, out=tmp_path / "1", seed=1)
    assert not (tmp_path / "1").exists()
    assert pf.fit(recipe.method, DATA, steps=2, out=tmp_path / "2").state["step"] == 2, "on purpose, it goes on"


def test_a_function_makes_modules_anew_from_each_seed(tmp_path):
    weights = [first_weights(own, seed, tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert pf.fit(lambda: own().method, DATA, steps=2, out=tmp_path / "method").state["step"] == 2


@pytest.mark.parametrize(("given", "says"), [(lambda: 3, "returned an int"), (3, "got an int")])
def test_what_is_no_recipe_is_refused(given, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        pf.fit(given, DATA, steps=2, out=tmp_path / "run")


def test_a_players_own_rate_follows_the_common_one():
    lazy = pf.recipes.gan(space_data((1, 28, 28), labels=False).space, "tiny").training
    changed = lazy.changed(lr=0.005, batch=16)
    share = 4 / 5
    assert changed.of("generator", "lr") == 0.005
    assert changed.of("critic", "lr") == pytest.approx(share * 0.005)
    assert changed.of("critic", "betas") == pytest.approx([0, 0.99**share])
    assert changed.batch == 16
    own = Training(players={"critic": {"clip": 3.0, "lr": 0.002}}).changed(clip=None)
    assert own.of("critic", "clip") is None
    assert own.of("critic", "lr") == 0.002


def test_the_option_lr_keeps_the_correction_of_a_lazy_critic(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gan", *TINY, "--penalty-interval", "4", "--lr", "0.005", "--steps", "1", "--out", "run"]) == 0
    training = pf.load("run").spec["training"]
    assert training["lr"] == 0.005
    assert training["players"]["critic"]["lr"] == pytest.approx(0.8 * 0.005)
    assert dataclasses.replace(Training(), lr=0.005).players == {}


def test_the_method_of_a_loaded_run_is_not_trained_in_place(tmp_path):
    data = pf.data.load("moons")
    run = pf.fit("flow", data, size="tiny", steps=2, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"frozen, as those of a loaded run are.*init=run"):
        pf.fit(run.method, data, steps=2, out=tmp_path / "second")
    assert pf.fit("flow", data, size="tiny", init=run, steps=2, out=tmp_path / "third").state["step"] == 2


def test_a_run_with_other_given_columns_is_no_start(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,age,income\n" + "\n".join(f"{i * 0.7 % 3},{i * 0.3 % 2},{i},{i % 7}" for i in range(60)))
    first, second = (pf.data.load(tmp_path / "t.csv", given=names) for names in (["age", "income"], ["income", "age"]))
    run = pf.fit("flow", first, size="tiny", steps=1, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"init=.*was trained with .*same given columns"):
        pf.fit("flow", second, size="tiny", steps=1, init=run, out=tmp_path / "second")
    assert pf.fit("flow", first, size="tiny", steps=1, init=run, out=tmp_path / "third").state["step"] == 1
