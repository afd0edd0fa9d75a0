"""Quality of samples during training, from fixed noise."""

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
from pushforward.denoisers import Condition
from pushforward.denoisers.denoiser import condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged
from pushforward.methods.method import Guard, Method, StepContext
from pushforward.paths import training_noise
from pushforward.training.loop.callbacks import Action, CallbackRequest, Observer, StateView
from pushforward.training.runs.log import Best, best_of
from pushforward.transports import BATCH, Flow, Map, Transport, inner_of, with_inner
from pushforward.transports.redrawing import without_rejection
from pushforward.transports.transport import finite

SAMPLES = 500  # fixed-noise samples, and training examples that they are compared with
EVERY = 50  # steps between measurements where a batch is large; see `interval`
AXES = 32  # principal axes in which images are compared
NEIGHBOURS = 5


def interval(batch: int) -> int:
    """Return the number of steps between measurements, more for small batches."""
    return EVERY * math.ceil(8 * SAMPLES / (EVERY * batch))


def measured_in_words(health: Mapping[str, Any]) -> str:
    """Format the latest measurement, such as "modes 8/8"."""
    if health.get("modes") is not None:
        return f"modes {health['modes_held']}/{health['modes']}"
    if health.get("coverage_1") is not None:
        return f"coverage {health['coverage_1']:.2f} in one call"
    if health.get("coverage") is None:
        return ""
    if health.get("units"):
        units = f"  units {health['active_units']:.0f}/{health['units']:.0f}"
    else:
        units = ""
    return f"coverage {health['coverage']:.2f}{units}"


@contextlib.contextmanager
def as_sampled(method: Method) -> Iterator[None]:
    """Context with a method in sampling mode, which restores modules and torch's generator."""
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
    """Fixed training examples with which as many samples are compared."""

    def __init__(self, data: Dataset, count: int) -> None:
        from pushforward.metrics.modes import Centred

        truth = data.truth
        train = data.train
        self.space = data.space
        self.count = count
        self.truth: Centred | None = None
        if isinstance(truth, Centred) and len(truth.centres) > 0 and truth.std > 0:
            self.truth = truth
        x = train.data_units(permutation(len(train), 0)[: self.count])
        self._centre, self._axes = principal(self._rows(x))
        self._real = self._projected(x)
        if self.count > NEIGHBOURS:
            # the nearest example of all is the example itself
            self._reach = _distances(self._real, self._real).kthvalue(NEIGHBOURS + 1, dim=1).values

    def measures(self, x: Tensor) -> dict[str, float]:
        """Measure samples."""
        from pushforward.metrics.modes import count_modes
        from pushforward.metrics.two_sample import frechet_distance

        if not x.isfinite().all():
            return {}
        measures = {}
        if self.truth is not None:
            of = count_modes(
                x.flatten(1).numpy(), self.truth.centres, float(self.truth.std), self.truth.weights
            )
            measures = {
                "modes": len(of.mass),
                "modes_held": of.held,
                "bridges": of.bridges,
                "spread": of.spread,
            }
        samples = self._projected(x)
        if self.count > NEIGHBOURS:
            near = _distances(self._real, samples).amin(1) < self._reach
            measures["coverage"] = float(near.double().mean())
        return {**measures, "frechet": frechet_distance(samples, self._real)}

    def reached(self, x: Tensor) -> dict[str, np.ndarray]:
        """Find the examples that samples reach (`pushforward.metrics.manifold.reached`)."""
        from pushforward.metrics.manifold import reached

        return reached(self._projected(x), self._real, NEIGHBOURS)

    def _projected(self, x: Tensor) -> np.ndarray:
        return (self._rows(x) - self._centre) @ self._axes

    def _rows(self, x: Tensor) -> np.ndarray:
        return self.space.to_model(x).flatten(1).double().numpy()


def starts_of(transport: Transport, n: int) -> tuple[Tensor, Condition]:
    """Return the fixed noise of n samples and their conditions."""
    source = getattr(inner_of(transport), "source", None)
    draws = ExampleDraws(0, n, device=transport.device)
    noise = transport.noise(draws) if source is None else source.fixed(n, transport.device)
    return noise, transport.conditions(len(noise), None, 0)


def sample_in_batches(transport: Transport, noise: Tensor, condition: Condition) -> Tensor:
    """Compute samples from given noise in data units, on the CPU, (n, *shape)."""
    parts = []
    for start in range(0, len(noise), BATCH):
        index = slice(start, min(start + BATCH, len(noise)))
        draws = ExampleDraws(start, index.stop - start, "health", device=noise.device)
        x = transport(noise[index], condition_at(condition, index), draws)
        parts.append(transport.space.to_data(x).float().cpu())
    return torch.cat(parts)


def _distances(x: np.ndarray, y: np.ndarray) -> Tensor:
    return torch.cdist(
        torch.from_numpy(x), torch.from_numpy(y), compute_mode="donot_use_mm_for_euclid_dist"
    )


def principal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute centre (d,) and at most 32 axes (d, k) of examples (n, d), of unit variance."""
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
    if total > 0:
        axes = axes / math.sqrt(total)
    return centre, axes


CHANCE = 2.0  # standard errors up to which a fall is laid to chance


class Diversity(Observer):
    """Observer of diversity at fixed points of training, for methods with a guard."""

    decides = True

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._start: dict[str, np.ndarray] = {}

    def due(self, view: StateView) -> bool:
        guard = view.method.guard
        if guard is None or self._count(guard) <= NEIGHBOURS:
            return False
        before = int(guard.checks * view.before + 1e-9)
        now = int(guard.checks * view.progress + 1e-9)
        return now > before

    def observe(self, view: StateView) -> Mapping[str, float]:
        """Measure coverage and recall relative to the reference, and the limits that end training.

        A limit is lower if few examples are compared: two standard errors below 1. Samples that
        are not finite have coverage and recall 0.
        """
        guard = view.method.guard
        assert guard is not None
        if not self._start:
            self._prepare(guard, view.method.reference())
        measures = {}
        try:
            now = self._reached(view.average.transport())
        except Diverged:
            now = {name: np.zeros_like(before) for name, before in self._start.items()}
        for name, least in (("coverage", guard.coverage), ("recall", guard.recall)):
            before = self._start[name]
            after = now[name]
            if not before.any():
                continue  # no share of nothing can be lost
            start = float(before.mean())
            error = math.sqrt(float((before != after).sum())) / len(before)
            measures[f"{name}_ratio"] = float(after.mean()) / start
            measures[f"{name}_limit"] = max(0.0, min(least, 1 - CHANCE * error / start))
        return measures

    def _prepare(self, guard: Guard, reference: Transport) -> None:
        self._noise = starts_of(reference, self._count(guard))
        self.reference = Reference(self.data, len(self._noise[0]))
        self._start = self._reached(reference)

    def _count(self, guard: Guard) -> int:
        return min(guard.samples, len(self.data.train))

    def _reached(self, transport: Transport) -> dict[str, np.ndarray]:
        with without_rejection(), torch.no_grad():
            x = finite(sample_in_batches(transport, *self._noise))
        return self.reference.reached(x)


COUNTS = {1: 1, 2: 1, 4: 4}
"""Numbers of calls, each with the number of measurements between its marks: on average four calls
per mark."""
# Times t at which targets are measured, by their third of [0, 1]
BINS = {"low": 1 / 6, "middle": 1 / 2, "high": 5 / 6}
TARGETS = 128  # examples on which targets are measured at each of those times


class FixedNoise(Observer):
    """Observer that compares samples of maps from fixed noise with training examples.

    Maps between two times are measured with averaged weights, in 1, 2 and 4 calls. The targets of
    their current weights are compared with velocities.
    """

    def __init__(self, data: Dataset, batch: int) -> None:
        self.data = data
        self.every = interval(batch)
        self._jumps = False
        self._reference: Reference | None = None
        self._prepared = False
        self._best: Best | None = None

    @property
    def decides(self) -> bool:  # type: ignore[override]
        return self._jumps

    def requests(self, view: StateView) -> list[CallbackRequest]:
        if self._best is None:
            return []
        return [CallbackRequest(Action.CHECKPOINT, "the best samples so far", self._best.step)]

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        self._best = best_of([row], self._best)
        return {}

    def due(self, view: StateView) -> bool:
        known = self._reference is not None or not self._prepared
        return known and view.step % self.every == 0

    def observe(self, view: StateView) -> dict[str, float]:
        self._prepare(view.method)
        if not self._jumps:
            return self.of(view.method)
        mark = view.step // self.every
        counts = [count for count, marks in COUNTS.items() if mark % marks == 0]
        return self.of(view.average, counts) | self.targets(view)

    def _prepare(self, method: Method) -> None:
        if self._prepared:
            return
        self._prepared = True
        with as_sampled(method):
            transport = method.transport()
            inner = inner_of(transport)
            self._jumps = isinstance(inner, Flow) and inner.solver.jumps
            if self._jumps or isinstance(inner, Map):
                self._starts = starts_of(transport, min(SAMPLES, len(self.data.train)))
                self._reference = Reference(self.data, len(self._starts[0]))

    def of(self, method: Method, counts: Sequence[int] = (1,)) -> dict[str, float]:
        """Measure a method's samples in these numbers of calls."""
        self._prepare(method)
        reference = self._reference
        if reference is None:
            return {}
        samples = {count: self._samples(method, count) for count in counts}
        by_count = {}
        for count, x in samples.items():
            scores = reference.measures(x)
            if scores:
                by_count[count] = scores
        if 1 not in by_count:
            return {}
        if not self._jumps:
            return by_count[1]
        measures = {}
        if reference.count > NEIGHBOURS:
            measures["recall"] = float(reference.reached(samples[1])["recall"].mean())
            measures["coverage_1"] = by_count[1]["coverage"]
        if max(COUNTS) in by_count:
            best = 1
            if "critic" not in method.players:
                best = min(by_count, key=lambda count: by_count[count]["frechet"])
            measures |= by_count[best]
        for count, scores in by_count.items():
            name = "frechet" if count == 1 else f"frechet_{count}"
            measures[name] = scores["frechet"]
        flow = inner_of(method.transport())
        if 2 in by_count and not (isinstance(flow, Flow) and flow.solver.stochastic):
            measures["disagreement"] = disagreement(samples[1], samples[2])
        return measures

    def targets(self, view: StateView) -> dict[str, float]:
        """Measure the size of a map's targets, relative to velocities, in each range of times."""
        from pushforward.methods import FlowMapMatching

        method = view.method
        if not isinstance(method, FlowMapMatching):
            return {}
        if view.progress < getattr(method, "stored", 0.0):  # targets are stored states
            return {}
        split = self.data.train
        space = method.space
        index = permutation(len(split), 0)[:TARGETS]
        device = next(method.parameters()).device
        x = space.to_model(split.data_units(index).to(device))
        condition = split.condition(space.conditions, index, device)
        draws = ExampleDraws(0, len(x), "targets", device=device)
        z = training_noise(method.couple.source, x.shape[1:], draws)
        s = draws.stream("second time").uniform()
        sizes = {}
        with as_sampled(method):
            for name, at in BINS.items():
                t = torch.full_like(s, at)
                x_t = (1 - at) * x + at * z
                now = StepContext(draws.stream(name), 0, view.progress)
                target = method.target((x_t, t, s * t), z - x, condition, now)
                velocity = method.target((x_t, t, t), z - x, condition, now)
                ratio = target.square().mean() / velocity.square().mean()
                sizes[f"target_size_{name}"] = float(ratio.sqrt())
        return sizes

    def _samples(self, method: Method, count: int) -> Tensor:
        with as_sampled(method):
            transport = method.transport()
            flow = inner_of(transport)
            if isinstance(flow, Flow):
                transport = with_inner(transport, flow.with_solver(flow.solver, count))
            return sample_in_batches(transport, *self._starts)


def disagreement(once: Tensor, twice: Tensor) -> float:
    """Compute the RMS difference of two sets of samples in standard deviations."""
    variances = [(x - x.mean(0)).double().square().mean() for x in (once, twice)]
    spread = float(torch.stack(variances).mean())
    if spread > 0:
        return float((once - twice).double().square().mean() / spread) ** 0.5
    return math.nan
