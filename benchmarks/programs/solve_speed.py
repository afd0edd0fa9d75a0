"""Time solves beside bare network calls, one line of answer for each line of input: run by
``table_speed.py``.

    python benchmarks/programs/solve_speed.py

A line is JSON: side, solver, steps, batch and pairs. The answer holds the seconds of so many
    solves, each beside as many bare
calls of the network as it makes (``solve``, ``bare``), and the processor seconds of one solve
around a network that computes nothing (``idle``), and where the package is. All that it uses of the
package is the same in commit 8eb11c4.
"""

import functools
import json
import sys
import time

import pushforward as pf  # before torch: chooses how its threads wait

# isort: split
import torch
from torch import nn

from pushforward import solvers
from pushforward.networks import MLP, Reshaped, UNet


class Idle(nn.Module):
    """A network that computes nothing."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, t=None, condition=None):
        """The same tensor each time."""
        return self.output


@functools.cache
def network_of(side):
    """The small network of the digits or of MNIST."""
    torch.manual_seed(0)
    if side == 8:
        return Reshaped(MLP.sized("small", shape=(64,)), (1, 8, 8)).eval()
    return UNet.sized("small", shape=(1, 28, 28)).to(memory_format=torch.channels_last).eval()


@functools.cache
def works(side, solver, steps, batch):
    """A solve, one around an idle network, and the bare calls, warmed up."""
    kind = pf.data.ImageSpace if hasattr(pf.data, "ImageSpace") else pf.data.Space
    network = network_of(side)
    space = kind((1, side, side), (0.5,), (0.5,), (0.0,), (1.0,))
    z = torch.randn(batch, 1, side, side)
    flow, idle = (
        pf.Flow(pf.Denoiser(net, pf.Linear(), "velocity", space), solvers.named(solver), steps)
        for net in (network, Idle(torch.randn_like(z)))
    )
    t = torch.full((batch,), 0.5)
    calls = flow.calls
    done = (
        (lambda: flow(z)),
        (lambda: idle(z)),
        (lambda: [network(z, t, None) for _ in range(calls)]),
    )
    for work in done:
        work()
    return done


def seconds(work, clock=time.perf_counter):
    """How long one run of it takes."""
    began = clock()
    work()
    return clock() - began


def answer(side, solver, steps, batch, pairs):
    """The times of pairs, in alternating order."""
    solve, idle, bare = works(side, solver, steps, batch)
    taken = {"solve": [], "bare": []}
    for number in range(pairs):
        order = [("solve", solve), ("bare", bare)][:: 1 if number % 2 else -1]
        for name, work in order:
            taken[name].append(seconds(work))
    return {**taken, "idle": seconds(idle, time.process_time), "package": pf.__file__}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
