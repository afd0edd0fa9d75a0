"""Train recipes in several processes for a few steps, or kill one of two; prints the results as
JSON: run by ``processes.py``.

    python benchmarks/programs/several.py train COUNT KIND[,KIND ...] STEPS NAME ...
    python benchmarks/programs/several.py kill TIMES
    python benchmarks/programs/several.py speed COUNT THREADS STEPS
    python benchmarks/programs/several.py pause TIMES

KIND is plain; sharded; double, which computes in float64; control or double-control, whose weights
are scaled by one rounding of float32 or float64; or one of these with :SEED, where each is moved by
one. Kinds of float64 share no call with others. NAME is a recipe's, or gan:lazy, or
NAME:accumulate, or NAME:partsN, which computes each batch in N parts, or NAME:seedN. Several
processes are forked from this one, which has computed nothing; a single one is this one.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import pushforward as pf
from pushforward import spec
from pushforward.cli import main as command_line
from pushforward.data import Batch
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import PushforwardError
from pushforward.testing import recipe_for, shape_for, space_data
from pushforward.testing.models import assert_same, final_state
from pushforward.training import Trainer
from pushforward.training.api import prepare
from pushforward.training.checkpoint.checkpointer import Checkpointer
from pushforward.training.checkpoint.tensors import unsharded
from pushforward.training.runs.log import read

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from programs import interruptions
from programs.interruptions import together

BATCH = 256
ROUNDING = 1.2e-7
REFUSALS = ("batch", "shard", "split", "whole weights")
"""Words of errors by which a case is refused, not failed."""
STEPS = 30


def _lazy(space: Any, size: str, **parts: Any) -> Any:
    return pf.recipes.gan(space, size, penalty_interval=4, **parts)


def trainer_of(case: str, kind: str, steps: int, out: Path) -> Trainer:
    """The trainer of a case, in the processes that this one belongs to."""
    torch.set_default_dtype(torch.float32)
    name, _, variant = case.partition(":")
    data = space_data(shape_for(name), labels=len(shape_for(name)) == 1, n=300)
    recipe = recipe_for(
        _lazy if variant == "lazy" else name, data, batch=BATCH, precision="float32"
    )
    if variant == "accumulate":
        recipe = dataclasses.replace(
            recipe, training=recipe.training.changed(batch=2 * BATCH, accumulate=2)
        )
    if variant.startswith("parts"):
        recipe = dataclasses.replace(
            recipe, training=recipe.training.changed(accumulate=int(variant.removeprefix("parts")))
        )
    seed = int(variant.removeprefix("seed")) if variant.startswith("seed") else 4
    trainer = prepare(recipe, data, steps=steps, seed=seed, out=out, shard=kind == "sharded")
    kind, _, number = kind.partition(":")
    if kind.startswith("double"):
        in_double(trainer)
    if kind.endswith("control"):
        moved(trainer, number, 2.0**-52 if kind.startswith("double") else ROUNDING)
    return trainer


def moved(trainer: Trainer, seed: str, share: float) -> None:
    """Scale all weights by 1 and a share of it, or with a seed each by so much up or down."""
    random = torch.Generator().manual_seed(int(seed or 0))
    with torch.no_grad():
        for parameter in trainer.method.parameters():
            up = torch.rand(parameter.shape, generator=random) < (0.5 if seed else 1.0)
            parameter.mul_(torch.where(up, 1 + share, 1 - share))


def in_double(trainer: Trainer) -> None:
    """Let a training compute in float64 from the weights and batches of float32; new tensors are
    float64 from here on.
    """
    torch.set_default_dtype(torch.float64)
    for method in (trainer.method, trainer.average.method):
        method.double()
    batch = trainer.sampler.batch

    def converted(*which: Any) -> Batch:
        usual = batch(*which)
        fields = {name: _double(value) for name, value in usual.fields.items()}
        return Batch(_double(usual.x), usual.condition, fields)

    trainer.sampler.batch = converted  # type: ignore[method-assign]


def _double(value: torch.Tensor) -> torch.Tensor:
    if value.is_floating_point():
        return value.double()
    return value


def stay_in_double() -> None:
    """Let this process, and those that it starts, draw numbers as float64, those of float32, and
    convert none back.
    """
    for kind, name in itertools.product((BlockDraws, ExampleDraws), ("normal", "uniform")):
        usual = getattr(kind, name)
        setattr(kind, name, lambda draws, *shape, usual=usual: usual(draws, *shape).double())
    convert = torch.Tensor.float

    def kept_double(x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float64:
            return x
        return convert(x)

    torch.Tensor.float = kept_double  # type: ignore[method-assign, assignment]


def trained(case: str, kind: str, steps: int, out: Path) -> dict[str, Any]:
    """Losses of each step and the first gradients of each player; or why the case is refused."""
    gradients: dict[str, list[float]] = {}
    try:
        trainer = trainer_of(case, kind, steps, out)
        usual = trainer.processes.add_gradients

        def noted(parameters: Any) -> None:
            usual(parameters)
            name = next(
                name
                for name, player in trainer.state.optimizers.items()
                if player.parameters is parameters
            )
            if name not in gradients:
                gradients[name] = torch.cat(
                    [unsharded(p.grad).flatten() for p in parameters if p.grad is not None]
                ).tolist()

        trainer.processes.add_gradients = noted  # type: ignore[method-assign]
        trainer.advance()
    except PushforwardError as error:
        if not any(word in str(error) for word in REFUSALS):
            raise
        return {"refused": str(error).split(". ")[0]}
    return {
        "losses": [row["loss"] for row in read(trainer.folder / "metrics.jsonl")],
        "gradients": gradients,
    }


def train(count: int, kind: str, steps: int, cases: list[str]) -> dict[str, Any]:
    """The results of each case, which has processes of its own."""
    results = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            if count == 1:
                results[case] = trained(case, kind, steps, Path(folder, "run"))
                continue
            path = Path(folder, "result.json")

            def work(rank: int, case: str = case, folder: str = folder, path: Path = path) -> None:
                result = trained(case, kind, steps, Path(folder, "run"))
                if rank == 0:
                    path.write_text(json.dumps(result))

            codes, printed, _ = together(count, work, Path(folder, "printed"))
            results[case] = (
                {"failed": f"{codes}: {printed[0][-300:]}"}
                if any(codes)
                else json.loads(path.read_text())
            )
    return results


def kill(times: int) -> list[dict[str, Any]]:
    """Kill one of two processes after a step, resume with two new ones, and compare with the
    undisturbed run.
    """
    drawn = random.Random(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "train",
            "flow",
            "--data",
            "moons",
            "--limit",
            "300",
            "--size",
            "tiny",
            "--batch",
            "128",
            "--steps",
            str(STEPS),
        ]
        words += ["--checkpoint-every", "4", "--out"]
        undisturbed = Path(folder, "undisturbed")
        if times:
            together(
                2, lambda rank: command_line([*words, str(undisturbed)]), Path(folder, "printed")
            )
        for number in range(times):
            rank = drawn.randrange(2)
            step = drawn.randrange(1, STEPS)
            inside = drawn.random() < 0.5
            out = Path(folder, str(number))

            def work(own, at=(rank, step, inside), out=out):
                return _killed(own, at, [*words, str(out)])

            # in a folder of its own: the store in it names processes that are killed
            before = Path(folder, f"{number}-before")
            codes, _, seconds = together(2, work, before)

            def resume(own, out=out):
                return command_line(["resume", str(out)])

            after = Path(folder, f"{number}-after")
            again, _, _ = together(2, resume, after)
            try:
                assert_same(final_state(undisturbed), final_state(out))
                equal = True
            except AssertionError:
                equal = False
            ended = {"codes": codes, "seconds": seconds, "again": again, "equal": equal}
            rows.append({"rank": rank, "step": step, "in a save": inside, **ended})
    return rows


def speed(count: int, threads: int, steps: int) -> float:
    """Training examples in a second of a small U-Net on images of 32 x 32, batches of 128; the
    median over steps.
    """
    data = space_data((3, 32, 32), labels=False, n=512)

    def work(rank: int) -> float:
        torch.set_num_threads(threads)
        recipe = dataclasses.replace(pf.recipes.flow(data.space, "small"), name="unet")
        recipe = dataclasses.replace(recipe, training=recipe.training.changed(batch=128))
        with tempfile.TemporaryDirectory() as folder:
            shared = Path(os.environ.get("SHARED", folder))
            trainer = prepare(recipe, data, steps=steps + 2, seed=0, out=shared / "run")
            trainer.threads.numbers = [threads]
            trainer.threads.stages = [{"step": 0, "threads": [threads]}]
            trainer.save()
            times = []
            for _ in range(steps + 2):
                torch.set_num_threads(trainer.threads.threads_for(trainer.clock.step))
                began = time.perf_counter()
                trainer.train_step(trainer.next_batch())
                times.append(trainer.processes.together(time.perf_counter() - began, 0)[0])
                trainer.state.advance(times[-1])
            trainer.close()
        if rank == 0 and "SHARED" in os.environ:
            (shared / "speed").write_text(str(median(times[2:])))
        return median(times[2:])

    if count == 1:
        return 128 / work(0)
    with tempfile.TemporaryDirectory() as folder:
        codes, printed, _ = together(
            count, lambda rank: int(work(rank) <= 0), Path(folder, "printed"), SHARED=folder
        )
        assert not any(codes), printed
        return 128 / float(Path(folder, "speed").read_text())


def pause(times: int) -> dict[str, Any]:
    """Seconds for which a save stops two processes that train a small U-Net, by kind of weights:
    waiting, and beside the steps.

    Both ways take turns; two steps lie between saves. The medians, and the bytes of a checkpoint.
    """
    data = space_data((3, 32, 32), labels=False, n=512)
    results = {}

    def work(rank: int, kind: str, folder: Path) -> None:
        recipe = dataclasses.replace(pf.recipes.flow(data.space, "small"), name="unet")
        recipe = dataclasses.replace(
            recipe, training=recipe.training.changed(batch=128, optimizer="adamw")
        )
        trainer = prepare(
            recipe,
            data,
            steps=6 * times + 2,
            seed=0,
            out=folder / "run",
            shard=kind == "sharded",
            progress=False,
        )
        seconds: dict[str, list[float]] = {"waiting": [], "beside": []}
        trainer.save()
        for way in ("waiting", "beside") * times:
            for _ in range(2):
                trainer.train_step(trainer.next_batch())
                trainer.state.advance(1.0)
            trainer.checkpointer.wait()
            began = time.perf_counter()
            trainer.save(beside=way == "beside")
            seconds[way].append(trainer.processes.together(time.perf_counter() - began, 0)[0])
        trainer.checkpointer.wait()
        size = (
            sum(
                path.stat().st_size
                for path in (folder / "run" / "checkpoints").glob("*/*.safetensors")
            )
            / 2
        )
        trainer.close()
        if rank == 0:
            (folder / "pauses.json").write_text(
                json.dumps({way: median(each) for way, each in seconds.items()} | {"bytes": size})
            )

    for kind in ("plain", "sharded"):
        with tempfile.TemporaryDirectory() as folder:
            codes, printed, _ = together(
                2, lambda rank, at=(kind, Path(folder)): work(rank, *at), Path(folder, "printed")
            )
            assert not any(codes), printed
            results[kind] = json.loads(Path(folder, "pauses.json").read_text())
    return results


def _killed(own: int, at: tuple[int, int, bool], words: list[str]) -> int:
    """A training that is killed, in one process, after a step, or in the first save that comes
    after it.
    """
    rank, step, inside = at
    usual = Trainer.train_step
    saving = Checkpointer.save

    def stepped(trainer: Trainer, batch: Any) -> Any:
        result = usual(trainer, batch)
        if own == rank and not inside and trainer.clock.step + 1 == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def saved(checkpointer: Checkpointer, state: Any, *given: Any, **options: Any) -> None:
        if own == rank and inside and state.step >= step:
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        saving(checkpointer, state, *given, **options)

    Trainer.train_step = stepped  # type: ignore[method-assign]
    Checkpointer.save = saved  # type: ignore[method-assign]
    return command_line(words)


def main(words: list[str]) -> None:
    """Print the results."""
    torch.set_num_threads(1)
    interruptions.LIMIT = 900.0
    spec.registered()
    if words[0] == "kill":
        result: Any = kill(int(words[1]))
    elif words[0] == "speed":
        result = speed(*map(int, words[1:]))
    elif words[0] == "pause":
        result = pause(int(words[1]))
    else:
        count, kinds, steps, *cases = words[1:]
        if kinds.startswith("double"):
            stay_in_double()
        result = {kind: train(int(count), kind, int(steps), cases) for kind in kinds.split(",")}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
