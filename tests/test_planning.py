"""What a dry run says: memory of each process, as tensors have it, and nothing is written."""

import json

import pytest
import torch

from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget, Trainer
from pushforward.training.estimates import plan
from pushforward.training.runs.folder import claim

DATA = space_data((17,), labels=False, n=300)


def recipe(**changes):
    return recipe_for("flow", DATA, precision="float32", **changes)


def numbers_of(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_memory_of_one_process_is_that_of_its_tensors(tmp_path):
    planned = plan(recipe(batch=16), DATA, Budget(steps=2))
    lock = claim(tmp_path / "run", "data", "flow")
    trainer = Trainer(recipe(batch=16), DATA, Budget(steps=2), out=lock)
    trainer.advance()
    tensors = list(trainer.method.state_dict().values())
    for player in trainer.state.optimizers.values():
        tensors += [value for value in player.state().values() if value.numel() > 1]
    size = numbers_of(trainer.method)
    assert planned.parameters == size
    kept = sum(tensor.nbytes for tensor in tensors) + 8 * size
    assert kept < planned.memory < 2 * kept + DATA.train.x.nbytes
    files = (tmp_path / "run").glob("checkpoints/step_000002/*.safetensors")
    stored = sum(path.stat().st_size for path in files)
    assert planned.checkpoint == pytest.approx(stored, rel=0.2)
    assert planned.steps == 2
    assert planned.share == 16
    assert planned.part == 16
    assert planned.steps_per_epoch == 300 / 16


def test_each_process_holds_a_share_of_sharded_weights():
    planned = plan(recipe(batch=512), DATA, Budget(samples=5120), processes=8, sharded=True)
    alone = plan(recipe(batch=64), DATA, Budget(samples=5120))
    saved = 7 * (5 * 4 * planned.parameters) // 8 - 2 * 4 * planned.parameters
    assert alone.memory - planned.memory == pytest.approx(saved, rel=0.1)
    assert (planned.steps, planned.share, planned.part) == (10, 64, 64)
    assert not torch.distributed.is_initialized()


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(UsageError, match=r"batch of 128 .*`batch=512`"):
        plan(recipe(batch=128), DATA, Budget(steps=1), processes=8)
    with pytest.raises(UsageError, match=r"`batch=576`"):
        plan(recipe(batch=512), DATA, Budget(steps=1), processes=3)
    spread = plan(recipe(batch=256, accumulate=2), DATA, Budget(steps=1), processes=2)
    assert spread.share == 128
    assert spread.part == 64


def test_the_command_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = "train flow --data moons --limit 100 --size tiny --dry-run --devices 2"
    assert main(f"{command} --json".split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["processes"] == 2
    assert said["share"] == 64
    assert said["steps"] == 5000
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note").touch()
    code = main(f"{command} --out taken".split())
    assert code == 0, "a folder that is there is nothing to a dry run"
    assert "memory per process" in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "note"]
