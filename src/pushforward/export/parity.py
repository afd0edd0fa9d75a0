"""Differences between an exported graph and its sampler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.denoisers.denoiser import SCALE
from pushforward.draws import ExampleDraws
from pushforward.export.program import Flows, Sampler, decoder_draws, inputs_of, noise_count
from pushforward.transports import Transport, inner_of, with_inner

BAR = 1e-4  # a graph that is farther from its sampler is not written
STEPS = (1, 4, 25, 50)  # compared, if a graph has them
EXAMPLES = (1, 5)
SCALES = (0.0, 3.0)
LEARNED = "learned"  # solver of steps that were tuned for the run


@dataclass(frozen=True)
class Distance:
    """Largest difference of a number, in standard deviations of the data."""

    solver: str
    steps: int
    n: int
    worst: float


def session(model: bytes | str) -> Any:
    """Load a graph (bytes or file) in onnxruntime, with the number of threads that torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds_of(
    session: Any, transport: Transport, n: int, seed: int, scale: bool, number: int = 0
) -> dict[str, np.ndarray]:
    """Build the inputs of a graph for some seeds, with the noise of `Transport.sample`.

    Args:
        transport: The model under one solver and number of steps.
        scale: Whether the examples have different guidance scales; otherwise 1.
        number: Number of the solver.
    """
    inner = inner_of(transport)
    draws = ExampleDraws(seed, n)
    feeds = {
        "z": transport.noise(draws),
        "noise": torch.zeros(1, n, *inner.space.shape),
        "scale": torch.linspace(*SCALES, n) if scale else torch.ones(n),
        "steps": torch.tensor(getattr(inner, "steps", 1)),
        "solver": torch.tensor(number),
        "way": torch.tensor(0),
        **(transport.conditions(n, None, seed) or {}),
    }
    noises = [draws.normal(inner.space.shape) for _ in range(noise_count(transport))]
    if noises:
        feeds["noise"] = torch.stack(noises)
    if decoder_draws(transport):
        feeds["decoder_noise"] = draws.stream("decoder").normal(transport.space.shape)
    return {each.name: feeds[each.name].numpy() for each in session.get_inputs()}


def by_torch(transport: Transport, feeds: Mapping[str, np.ndarray]) -> Tensor:
    """Compute the sampler's output for the inputs of a graph, (n, *shape), in data units."""
    given = {name: torch.from_numpy(part) for name, part in feeds.items()}
    condition = {name: given[name] for name in transport.space.conditions if name in given}
    if "scale" in given:
        condition[SCALE] = given["scale"]
    noises = (given.get("noise"), given.get("decoder_noise"))
    with torch.inference_mode():
        return Sampler(transport)(given["z"], condition or None, *noises)


def distances(
    session: Any,
    transport: Transport,
    flows: Flows,
    steps: Sequence[int] = STEPS,
    examples: Sequence[int] = EXAMPLES,
) -> Iterator[Distance]:
    """Measure the distances between a graph and its sampler by solver, steps and batch size.

    Each solver is compared at the given numbers of steps, its maximum, and all learned numbers.
    """
    cases = []
    for number, (solver, several) in enumerate(flows.items()):
        compared = set(several)
        if solver != LEARNED:
            compared &= {*steps, max(several)}
        for count in sorted(compared):
            cases.append((with_inner(transport, several[count]), solver, number, count))
    shape = transport.space.shape
    for model, solver, number, count in cases or [(transport, "", 0, 1)]:
        for n in examples:
            feeds = feeds_of(session, model, n, 0, True, number)
            x = session.run(["x"], feeds)[0].reshape(n, *shape)
            away = x - by_torch(model, feeds).numpy()
            yield Distance(solver, count, n, _worst(away, model))


def program_distances(program: Callable[..., Tensor], transport: Transport) -> Iterator[Distance]:
    """Measure the distances between a `torch.export` program and its sampler, by batch size."""
    sampler = Sampler(transport)
    steps = getattr(inner_of(transport), "steps", 1)
    for n in EXAMPLES:
        inputs = inputs_of(transport, n)
        with torch.inference_mode():
            away = (program(**inputs) - sampler(**inputs)).cpu()
        yield Distance("", steps, n, _worst(away.numpy(), transport))


def _worst(away: np.ndarray, transport: Transport) -> float:
    space = transport.space
    std = np.array(space.scale).reshape(1, *space.shape)
    return float(np.abs(away / std).max())


def halved(transport: Transport, least: int) -> Transport:
    """Round large weights of a model to float16."""
    model = copy.deepcopy(transport)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.numel() >= least:
                weight.copy_(weight.half())
    return model
