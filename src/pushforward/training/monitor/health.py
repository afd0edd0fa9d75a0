"""The health of a training: notes of methods, norms of gradients, and the quality of samples from fixed noise.

Nothing here changes training by a bit: samples are drawn without gradients, with running statistics held and dropout off,
from noise of their own, and torch's generator is put back.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.methods.method import Method
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.modes import Centred, count_modes
from pushforward.training.loop.callbacks import Moment, Observer
from pushforward.transports import BATCH, Flow, Map, Transport, inner_of

SAMPLES = 500
"""Fixed-noise samples, and training examples that they are compared with."""
EVERY = 50
"""Steps between measurements where a batch is large; see `interval`."""
NORMS = 10
"""Steps between gradient norms."""
AXES = 32
"""Principal axes in which images are compared."""
NEIGHBOURS = 5
DIGITS = 5
"""Digits that are logged, and that alarms see."""


def interval(batch: int) -> int:
    """Steps between measurements: 50, and more where a batch is small beside the samples, so that they cost little beside it."""
    return EVERY * math.ceil(8 * SAMPLES / (EVERY * batch))


def joined(notes: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """The notes of the parts of a batch as those of the whole: means, weighted by the parts' examples."""
    if len(notes) == 1:
        return dict(notes[0])
    means = {}
    for name in dict.fromkeys(name for part in notes for name in part):
        held = [(part[name], count) for part, count in zip(notes, counts, strict=True) if name in part]
        means[name] = sum(note * count for note, count in held) / sum(count for _, count in held)
    return means


def in_numbers(measures: Sequence[dict[str, Any]]) -> None:
    """Turn the tensors among measures into numbers, with one wait for the device; what is not finite becomes None."""
    places = [(held, name) for held in measures for name, value in held.items() if isinstance(value, Tensor)]
    if places:
        device = next((held[name].device for held, name in places if held[name].device.type != "cpu"), torch.device("cpu"))
        values = torch.stack([held[name].detach().to(device, torch.float64).reshape(()) for held, name in places]).tolist()
        for (held, name), value in zip(places, values, strict=True):
            held[name] = value
    for held in measures:
        held |= {name: _short(value) for name, value in held.items()}


def _short(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def in_words(health: Mapping[str, Any]) -> str:
    """The newest measurement in a few characters, such as "modes 8/8"; empty where nothing was measured."""
    if health.get("modes") is not None:
        return f"modes {health['modes_held']}/{health['modes']}"
    if health.get("coverage_1") is not None:
        return f"coverage {health['coverage_1']:.2f} in one call"
    if health.get("coverage") is None:
        return ""
    units = f"  units {health['active_units']:.0f}/{health['units']:.0f}" if health.get("units") else ""
    return f"coverage {health['coverage']:.2f}{units}"


@contextlib.contextmanager
def as_sampled(method: Method) -> Iterator[None]:
    """Within this context a method is as it is when it is sampled; afterwards its modules and torch's generator are as before."""
    modes = [(module, module.training) for module in method.modules()]
    devices = sorted({p.device.index or 0 for p in method.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        # not by eval(), which a module may have given a meaning of its own
        for module, _ in modes:
            module.training = False
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


class Reference:
    """Training examples that stay the same, and how near samples are to them.

    Examples are compared in model units, images on their first 32 principal axes, scaled to unit total variance.

    Args:
        data: The training data.
        most: Examples that are compared at most.
    """

    def __init__(self, data: Dataset, most: int = SAMPLES) -> None:
        truth, train = data.truth, data.train
        self.space, self.count = data.space, min(most, len(train))
        self.truth = truth if isinstance(truth, Centred) and len(truth.centres) > 0 and truth.std > 0 else None
        real = self._flat(train.data_units(permutation(len(train), 0)[: self.count]))
        self._centre, self._axes = principal(real)
        self._real = self._projected(real)
        if self.count > NEIGHBOURS:
            # the nearest example of all is the example itself
            self._reach = _distances(self._real, self._real).kthvalue(NEIGHBOURS + 1, dim=1).values

    def measures(self, x: Tensor) -> dict[str, float]:
        """Measures of samples.

        Args:
            x: Data units, on the CPU, (n, *shape).

        Returns:
            ``coverage`` (of `pushforward.metrics.manifold.prdc`; a perfect model has 0.97, 1 - 2^-5), ``frechet``
            (Fréchet distance; 1 is that of a single point in the middle of the data), and for data of known modes ``modes``
            (how many there are) with ``modes_held``, ``bridges`` and ``spread`` of `pushforward.metrics.modes.count_modes`.
            Empty where samples are not finite.
        """
        if not bool(x.isfinite().all()):
            return {}
        measures: dict[str, float] = {}
        if self.truth is not None:
            of = count_modes(x.flatten(1).numpy(), self.truth.centres, float(self.truth.std), self.truth.weights)
            measures = {"modes": len(of.mass), "modes_held": of.held, "bridges": of.bridges, "spread": of.spread}
        samples = self._projected(self._flat(x))
        if self.count > NEIGHBOURS:
            measures["coverage"] = float((_distances(self._real, samples).amin(1) < self._reach).double().mean())
        return {**measures, "frechet": frechet_distance(samples, self._real)}

    def recall(self, x: Tensor) -> dict[str, float]:
        """``recall``: the share of the examples that lie among samples (of `pushforward.metrics.manifold.prdc`); data units."""
        samples = self._projected(self._flat(x))
        if min(self.count, len(samples)) <= NEIGHBOURS:
            return {}
        reach = _distances(samples, samples).kthvalue(NEIGHBOURS + 1, dim=1).values
        return {"recall": float((_distances(self._real, samples) < reach).any(1).double().mean())}

    def _flat(self, x: Tensor) -> np.ndarray:
        return self.space.to_model(x).flatten(1).double().numpy()

    def _projected(self, x: np.ndarray) -> np.ndarray:
        return (x - self._centre) @ self._axes


class FixedNoise(Observer):
    """Samples of the present weights from noise that stays the same, beside training examples that stay the same.

    Only methods whose samples take one network call (`Map`) are measured; maps between two times have an observer of their own
    (`pushforward.training.monitor.flow_map_monitor.Jumps`), and any other's samples cost too much.

    Args:
        data: The training data.
        batch: Examples of a training step, which set how often is measured.
    """

    def __init__(self, data: Dataset, batch: int) -> None:
        self.data, self.every = data, interval(batch)
        self._cheap: bool | None = None

    def due(self, moment: Moment) -> bool:
        """It goes by steps alone, so that a resumed run measures where the whole one does."""
        return moment.step % self.every == 0 and self._cheap is not False

    def look(self, moment: Moment) -> dict[str, float]:
        """Measures of the present samples; see `Reference.measures`."""
        return self.of(moment.method)

    def of(self, method: Method) -> dict[str, float]:
        """Measures of a method's samples; empty where they cost too much."""
        if self._cheap is None:
            self._prepare(method)
        return self.reference.measures(self._samples(method)) if self._cheap else {}

    def _prepare(self, method: Method) -> None:
        with as_sampled(method):
            transport = method.transport()
            self._cheap = isinstance(inner_of(transport), Map)
            if self._cheap:
                self.reference = Reference(self.data)
                self._starts = starts_of(transport, self.reference.count)

    def _samples(self, method: Method) -> Tensor:
        with as_sampled(method):
            return sampled(method.transport(), *self._starts)


def starts_of(transport: Transport, n: int) -> tuple[Tensor, Condition]:
    """The fixed noise of n samples and their conditions.

    Of a transport with a source these are different training examples, at most as many as there are.
    """
    flow = inner_of(transport)
    source = flow.source if isinstance(flow, Flow) else None
    if source is None:
        noise = transport.noise(ExampleDraws(0, n, device=transport.device))
    else:
        noise = source.fixed(n, transport.device)
    return noise, transport.conditions(len(noise), None, 0)


def sampled(transport: Transport, noise: Tensor, condition: Condition) -> Tensor:
    """Samples from given noise in data units, on the CPU, (n, *shape)."""
    parts = []
    for start in range(0, len(noise), BATCH):
        index = slice(start, min(start + BATCH, len(noise)))
        draws = ExampleDraws(start, index.stop - start, "health", device=noise.device)
        x = transport(noise[index], condition_at(condition, index), draws)
        parts.append(transport.space.to_data(x).float().cpu())
    return torch.cat(parts)


def _distances(x: np.ndarray, y: np.ndarray) -> Tensor:
    return torch.cdist(torch.from_numpy(x), torch.from_numpy(y), compute_mode="donot_use_mm_for_euclid_dist")


def principal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (d,) and axes (d, k) of examples (n, d): the columns themselves up to 32, else principal axes.

    The total variance along the axes is 1.
    """
    centre = x.mean(0)
    d = x.shape[1]
    axes = np.eye(d)
    if d > AXES:
        # from the (n, n) products of examples, which are fewer than columns
        products = (x - centre) @ (x - centre).T
        values, vectors = np.linalg.eigh(products)
        leading = slice(max(0, len(values) - AXES), None)
        scale = np.sqrt(np.clip(values[leading], 1e-12 * max(values[-1], 1e-300), None))
        axes = (x - centre).T @ (vectors[:, leading] / scale)
    total = float(((x - centre) @ axes).var(0).sum())
    return centre, axes / math.sqrt(total) if total > 0 else axes
