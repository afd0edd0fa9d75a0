import json
import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from laws import CASES, recipe_for, space_data

import pushforward as pf
from pushforward.draws import BLOCK
from pushforward.errors import CheckpointError, DataError, Diverged, UsageError
from pushforward.training import Budget, Trainer, checkpoint
from pushforward.training.budget import SETTLE, Clock
from pushforward.training.ema import Average
from pushforward.training.start import prepare, reopen

RECIPES = list(pf.recipes.registry())


def final_state(folder):
    """Every tensor and counter of the newest checkpoint; seconds aside, they must agree bit for bit."""
    found = checkpoint.load(checkpoint.latest(folder / "checkpoints"))
    state = {name: value for name, value in found.state.items() if name not in ("seconds", "peak_memory_mb")}
    return found.tensors, state


def assert_same(a, b):
    assert a[1] == b[1]
    assert a[0].keys() == b[0].keys() == {"method", "average", "optimizer"}
    for group in a[0]:
        assert a[0][group].keys() == b[0][group].keys()
        for name, tensor in a[0][group].items():
            assert torch.equal(tensor, b[0][group][name]), f"{group}/{name}"


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_run_ends_bit_for_bit(name, tmp_path):
    """Stopped mid-epoch and at an epoch's edge (64 rows, batch 32); the log agrees as well."""
    data = space_data((17,), labels=True, rows=70)
    made = lambda: recipe_for(name, data, batch=32)  # noqa: E731
    whole = pf.fit(made(), data, steps=7, out=tmp_path / "whole", seed=3)
    trainer = prepare(made(), data, steps=7, out=tmp_path / "cut", seed=3)
    for stop in (2, 3, 5):
        while trainer.clock.step < stop:
            trainer.advance(1e-9)
        trainer.finish()
        trainer = reopen(tmp_path / "cut", data=data)
        assert trainer.clock.step == stop
    trainer.advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    logs = [[row["loss"] for row in run.losses()] for run in (whole, pf.load(tmp_path / "cut"))]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 7


@pytest.mark.parametrize("name", RECIPES)
def test_accumulation_changes_nothing_but_rounding(name, tmp_path):
    data = space_data((17,), labels=True, rows=300)
    finals = []
    for parts in (1, 2):
        recipe = recipe_for(name, data, batch=4 * BLOCK, accumulate=parts, precision="float32")
        pf.fit(recipe, data, steps=3, out=tmp_path / str(parts), seed=0)
        finals.append(final_state(tmp_path / str(parts))[0]["method"])
    # pairing cancels the critic's last bias: its gradient is rounding, which Adam blows up
    for key in finals[0].keys() - {"critic.network.leave.bias", "critic.leave.bias"}:
        torch.testing.assert_close(finals[0][key], finals[1][key], rtol=1e-3, atol=2e-5)


CHILD = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    from laws import recipe_for, space_data
    from pushforward.methods import Denoising, GAN, VAE
    from pushforward.training.start import prepare, reopen
    data = space_data((17,), labels=True, rows=300)
    folder = {folder!r}
    recipe = recipe_for({name!r}, data, batch=128, accumulate=2)
    kind = type(recipe.method)
    losses, seen = kind.losses, [0]

    def counted(self, batch, now):
        for turn in losses(self, batch, now):
            seen[0] += 1
            if seen[0] == {kill}:
                os.kill(os.getpid(), signal.SIGKILL)
            yield turn

    if {kill}:
        kind.losses = counted
    fresh = not os.path.exists(folder)
    trainer = prepare(recipe, data, steps=4, out=folder, checkpoint_every=1) if fresh else reopen(folder, data=data)
    trainer.advance()
"""


def child(folder, name, kill):
    code = textwrap.dedent(CHILD).format(tests=os.path.dirname(__file__), folder=str(folder), name=name, kill=kill)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(("name", "kill"), [(name, 7 if name == "gan" else 4) for name in RECIPES])
def test_a_kill_inside_accumulation_replays_the_step(name, kill, tmp_path):
    """SIGKILL between the turns of two micro-batches; the run is then resumed and compared with an undisturbed one."""
    assert child(tmp_path / "killed", name, kill).returncode == -signal.SIGKILL
    assert checkpoint.latest(tmp_path / "killed" / "checkpoints") is not None
    done = child(tmp_path / "killed", name, 0)
    assert done.returncode == 0, done.stderr
    assert child(tmp_path / "whole", name, 0).returncode == 0
    assert_same(final_state(tmp_path / "killed"), final_state(tmp_path / "whole"))


def test_seeds_change_runs_and_equal_seeds_repeat_them(tmp_path):
    data = space_data((2,), labels=False)
    finals = []
    for i, seed in enumerate((0, 0, 1)):
        pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / str(i), seed=seed)
        finals.append(final_state(tmp_path / str(i))[0]["method"]["denoiser.network.enter.weight"])
    assert torch.equal(finals[0], finals[1])
    assert not torch.equal(finals[0], finals[2])


def test_a_finished_run_is_extended_not_repeated(tmp_path):
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("vae", data), data, steps=3, out=tmp_path / "run")
    assert pf.resume(tmp_path / "run", data=data).state["step"] == 3
    assert pf.resume(tmp_path / "run", data=data, steps=5).state["step"] == 5
    assert [row["step"] for row in pf.load(tmp_path / "run").losses()] == [1, 2, 3, 4, 5]


def test_init_starts_from_another_runs_average(tmp_path):
    data = space_data((2,), labels=False)
    first = pf.fit(recipe_for("flow", data), data, steps=3, out=tmp_path / "first")
    trainer = prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / "second", init=tmp_path / "first")
    for name, tensor in first.method.state_dict().items():
        assert torch.equal(trainer.method.state_dict()[name], tensor)


def test_the_average_is_the_stated_one():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    average = Average(method, half_life=100, share=0.5)
    parameter, mine = next(method.parameters()), next(average.method.parameters())
    expected = mine.clone()
    for step in range(1, 6):
        with torch.no_grad():
            parameter.add_(step)
        average.update(samples=40 * step, batch=40)
        weight = 1 - 0.5 ** (40 / min(100, 0.5 * 40 * step))
        expected = expected + weight * (parameter.detach() - expected)
        torch.testing.assert_close(mine, expected)


def test_buffers_are_averaged_and_counts_copied():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    method.denoiser.network.norm = torch.nn.BatchNorm1d(2)
    average = Average(method, half_life=1e9, share=1.0)
    norm, mine = method.denoiser.network.norm, average.method.denoiser.network.norm
    norm.running_mean += 1
    norm.num_batches_tracked += 7
    average.update(samples=100, batch=50)
    torch.testing.assert_close(mine.running_mean, torch.full((2,), 1 - 0.5**0.5))
    assert mine.num_batches_tracked == 7


def test_the_rate_rises_stays_and_falls():
    clock = Clock(Budget(steps=1000), 1)
    rates = []
    while not clock.done:
        rates.append(clock.rate(warmup=100, decay=1 / 3, end=0.1))
        clock.tick(0.01)
    assert rates[0] == pytest.approx(0.01)
    assert rates[99:660] == pytest.approx([1.0] * 561)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert np.all(np.diff(rates[667:]) < 0)


def test_a_seconds_budget_settles_at_two_thirds():
    clock = Clock(Budget(seconds=9.0), 1)
    previous = 0.0
    while not clock.done:
        clock.tick(0.1 if clock.seconds < 3 else 0.2)
        assert clock.progress >= previous
        previous = clock.progress
        assert (clock.total is None) == (clock.seconds < SETTLE * 9 - 1e-9)
    assert clock.total == pytest.approx(45 + 15, abs=10)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("60s", 60), ("10m", 600), ("1.5h", 5400), (12, 12)])
def test_durations(text, seconds):
    assert Budget.duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("5000", 5000), ("200k", 200_000), ("1M", 1_000_000), ("1.5k", 1500)])
def test_counts(text, count):
    assert Budget.count(text) == count


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Budget.duration("soon"),
        lambda: Budget.duration("0s"),
        lambda: Budget.count("-3"),
        lambda: Budget(),
        lambda: Budget(steps=1, samples=2),
        lambda: Budget(steps=0),
    ],
)
def test_bad_budgets(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=9, out=tmp_path / "run", checkpoint_every=2)
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    with torch.no_grad():
        next(trainer.method.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match="step 3"):
        trainer.advance()
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").name == "step_000002"


def run_folder(tmp_path, steps=4, every=2):
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, steps=steps, out=tmp_path / "run", checkpoint_every=every)
    return tmp_path / "run", data


@pytest.mark.parametrize(
    "name", ["method.safetensors", "average.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]
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
    assert pf.resume(folder, data=data, steps=6, checkpoint="step_000002").state["step"] == 6


def test_old_checkpoints_go_and_two_stay(tmp_path):
    folder, _ = run_folder(tmp_path, steps=9, every=2)
    assert [path.name for path in sorted((folder / "checkpoints").glob("step_*"))] == ["step_000008", "step_000009"]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    folder, data = run_folder(tmp_path)
    before = final_state(folder)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_flush", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.resume(folder, data=data, steps=6)
    monkeypatch.undo()
    assert not list((folder / "checkpoints").glob(".tmp*"))
    assert_same(final_state(folder), before)
    assert pf.resume(folder, data=data, steps=6).state["step"] == 6


def test_changed_data_is_refused(tmp_path):
    folder, _ = run_folder(tmp_path)
    other = space_data((2,), labels=False, seed=5)
    with pytest.raises(DataError, match="changed"):
        pf.resume(folder, data=other, steps=6)


def test_a_missing_run_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no run"):
        pf.load(tmp_path)


def test_an_existing_folder_is_not_written_to(tmp_path):
    folder, data = run_folder(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        pf.fit(recipe_for("flow", data), data, steps=2, out=folder)


def test_runs_hold_no_pickle(tmp_path):
    folder, _ = run_folder(tmp_path)
    endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert endings <= {".json", ".jsonl", ".safetensors", ".npz", ".png"}
    json.loads((folder / "spec.json").read_text())


def test_ones_own_module_stands_in_and_is_handed_over_again(tmp_path):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 2)

        def forward(self, x, t=None, condition=None):
            return self.inner(torch.cat([x, t[:, None]], 1))

    data = space_data((2,), labels=False)
    make = lambda: pf.recipes.flow(data.space, network=Own())  # noqa: E731
    run = pf.fit(make(), data, steps=2, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match="method="):
        pf.load(tmp_path / "run")
    again = pf.load(tmp_path / "run", method=make().method)
    assert torch.equal(again.transport.sample(3), run.transport.sample(3))


def test_accumulation_that_would_split_a_group_is_refused(tmp_path):
    data = space_data((2,), labels=False, rows=600)
    recipe = recipe_for("flow", data, batch=96, accumulate=2)
    with pytest.raises(UsageError, match="multiple of"):
        Trainer(recipe, data, Budget(steps=1), out=tmp_path / "run")


def test_cases_of_the_law_are_all_spaces():
    assert len(CASES) == 10
