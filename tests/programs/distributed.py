"""Two processes of gloo on this machine, which train small models and say how they ended: run by
``test_processes.py``.

    python tests/programs/distributed.py FOLDER

It forks into two processes once torch is loaded, which is most of what starting costs.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import torch

from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget, Trainer
from pushforward.training.checkpoint.tensors import unsharded
from pushforward.training.distributed.processes import Group
from pushforward.training.loop.budget import Settings
from pushforward.training.loop.trainer import finish_run
from pushforward.training.runs.folder import RunLock, claim

STEPS = {"flow": 20, "gan": 20, "vae": 3, "vqvae": 3}
"""How many steps each recipe is trained for."""
DEAD = 8
"""So many codes of a book are unused when training starts: they are put on examples of the whole
batch.
"""


def trained(name, folder, processes, scale=1.0, parts=1):
    """A trainer that has made its steps, from weights that are scaled, and the first gradients; on
    300 vectors with labels.

    Each process computes its share of a batch in so many parts.
    """
    data = space_data((17,), labels=True, n=300)
    scaled = recipe_for(name, data, batch=128, precision="float32", accumulate=parts)
    with torch.no_grad():
        for parameter in scaled.method.parameters():
            parameter.mul_(scale)
        if name == "vqvae":
            scaled.method.codebook.counts[:DEAD] = 0
    lock = RunLock(Path(folder), None, writes=False)
    if processes.rank == 0:
        lock = claim(folder, "data", name)
    trainer = Trainer(
        scaled,
        data,
        Budget(steps=STEPS[name]),
        out=lock,
        settings=Settings(seed=4),
        processes=processes,
    )
    gradients = {}
    step = trainer.processes.add_gradients

    def noted(parameters):
        step(parameters)
        player = next(
            name
            for name, player in trainer.state.optimizers.items()
            if player.parameters is parameters
        )
        if player not in gradients:
            gradients[player] = torch.cat(
                [unsharded(p.grad).flatten() for p in parameters if p.grad is not None]
            )

    trainer.processes.add_gradients = noted
    trainer.advance()
    return trainer, gradients


def work(rank, folder):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    for name in STEPS:
        for kind in ("reduced", "sharded"):
            trainer, gradients = trained(
                name, folder / f"{name}-{kind}", Group(sharded=kind == "sharded")
            )
            if rank == 0:
                torch.save(gradients, folder / f"{name}-{kind}.gradients")
            parameters = list(trainer.method.parameters())
            shards = sum(p.to_local().numel() for p in parameters if hasattr(p, "to_local"))
            rest = sum(p.numel() for p in parameters if not hasattr(p, "to_local"))
            if kind == "sharded":
                run = finish_run(trainer)
                content = {
                    "shards": shards,
                    "whole": rest,
                    "spec": run.spec,
                    "seen": run.seen.own.tolist(),
                }
                (folder / f"{name}-shards-{rank}.json").write_text(json.dumps(content))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def main(folder):
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    child = os.fork()
    try:
        work(int(child == 0), folder)
    except BaseException:
        if child:
            os.kill(child, 9)
        raise
    if child == 0:
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
