"""One model against held-out data: scores beside their floors, cost, and the pictures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.data import Dataset, dataset_of
from pushforward.errors import DataError, UsageError
from pushforward.evaluation import cost
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.coded import code_pictures, coding
from pushforward.evaluation.commands import commands
from pushforward.evaluation.features import Features, fit_features
from pushforward.evaluation.guess import guess
from pushforward.evaluation.likelihood import ABOUT, bits, coded_bits
from pushforward.evaluation.naming import check_metrics
from pushforward.evaluation.scoring import compared, deviation, floors, ratio, score
from pushforward.evaluation.starts import fitting, starts, starts_warnings
from pushforward.evaluation.trajectories import loss_by_level, straightness, trace, transport_cost
from pushforward.evaluation.unseen import check_unseen, unseen_warnings
from pushforward.methods.bounds import Weighing
from pushforward.training import Run, load
from pushforward.training.lineage import earlier_split
from pushforward.training.rehearsal import training_memory
from pushforward.training.run import machine
from pushforward.transports import BATCH, Flow, Latent, Transport, inner_of, with_inner

__all__ = ["Judge", "check_model_kind", "data_of", "evaluate"]

REPEAT_SEEDS = 1_000_000
"""Repeat r samples from seed (r + 1) times this, so that no two repeats share a sample."""
CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SECONDS = 40.0
"""The most that one model's curve of quality against calls may take."""
SHOWN = {"image": 64, "vector": 1000}
AT_ONCE = {"image": 64, "vector": 1000}
"""Samples made at a time, at most, where time and memory are measured."""
TRACED = {"image": (256, 32), "vector": (1000, 64)}
"""Rows and steps of the trajectories that are measured."""
TRACED_SECONDS = 4.0
"""About the most that one model's trajectories, and as much again its losses by noise level, may take."""
LEVELS = 13
FEW_COLUMNS = 16
"""Vectors of more columns have no transport cost: what is least cannot be told from so few rows."""
DRAWN = 60
"""Trajectories in a picture."""


@dataclass
class Judge:
    """Everything that does not depend on the model: features, floors and the no-network row, computed once.

    Args:
        data: The data set; models are compared with its held-out split.
        n: Samples on either side; 0 takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings of each model.
        metrics: Names of metrics; None means all that apply.
        seed: Added to the seed of every sampling.
        batch: Rows sampled at a time.
    """

    data: Dataset
    n: int = 0
    repeats: int = 3
    metrics: Sequence[str] | None = None
    seed: int = 0
    batch: int = BATCH
    features: Features = field(init=False)
    floors: dict[str, Any] = field(init=False)
    unscored: dict[str, str] = field(init=False, default_factory=dict)
    """Why a metric that was asked for has no score, by its name."""

    def __post_init__(self) -> None:
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = compared(self.data, self.n or None)
        self.features = fit_features(self.data)
        self.floors = floors(self.data, self.features, n=self.n, metrics=self.metrics)

    def scores(self, sampler: Any) -> tuple[dict[str, Any], float | None]:
        """The scores of anything with ``sample(n, condition, seed=...)`` over all repeats, and its label agreement.

        A flow from a data set is sampled once: its samplings start from the same examples and would be no repeats.
        """
        values: dict[str, list[float]] = {}
        agreements, masses = [], []
        once = isinstance(sampler, Transport) and starts(sampler) is not None
        for repeat in range(1 if once else self.repeats):
            x, labels = self._draw(sampler, (repeat + 1) * REPEAT_SEEDS)
            for name, found in score(x, self.data, self.features, n=self.n, metrics=self.metrics).items():
                values.setdefault(name, []).append(found.value)
                if "mass" in found.extra:
                    masses.append(found.extra["mass"])
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        rows = {name: self._row(name, found) for name, found in values.items()}
        if masses:
            rows["modes_held"]["mass"] = np.mean(masses, axis=0).tolist()
        self.unscored |= {name: why for name, why in _explained(self.metrics).items() if name not in rows}
        return rows, float(np.mean(agreements)) if agreements else None

    def _draw(self, sampler: Any, seed: int) -> tuple[torch.Tensor, np.ndarray | None]:
        parts = list(sampler.stream(self.n, seed=self.seed + seed, batch=self.batch))
        x = torch.cat([part for part, _ in parts])
        if parts[0][1] is None:
            return x, None
        return x, torch.cat([condition["label"] for _, condition in parts]).cpu().numpy()

    def _row(self, name: str, values: list[float]) -> dict[str, Any]:
        mean, floor = float(np.mean(values)), self.floors.get(name)
        spread = deviation(values) if len(values) > 1 else None
        over = None if floor is None else ratio(mean, floor)
        return {"mean": mean, "spread": spread, "values": values, "ratio": over}

    def baseline(self) -> dict[str, Any]:
        """The no-network row: a Gaussian for each class, or one in all."""
        made = GaussianBaseline.fit(self.data)
        rows, agreement = self.scores(made)
        each = "one Gaussian per class" if self.data.space.classes else "one Gaussian"
        return {"name": f"no network ({each})", "scores": rows, "label_agreement": agreement}

    def described(self) -> dict[str, Any]:
        """Settings, data, machine and metrics as a report needs them."""
        from pushforward.metrics import describe as describe_metrics

        space, about = self.data.space, describe_metrics()
        floor = {name: {"mean": f.mean, "spread": f.spread} for name, f in self.floors.items()}
        return {
            "data": {
                "name": self.data.name,
                "shape": list(space.shape),
                "kind": space.kind,
                "classes": list(space.classes),
                "columns": list(space.columns),
                "train": len(self.data.train),
                "held_out": len(self.data.held_out),
                "fingerprint": self.data.fingerprint,
            },
            "settings": {
                "n": self.n,
                "repeats": self.repeats,
                "k": 5,
                "features": self.features.describe(self.n),
                "dimensions": self.features.dims(self.n),
                "classifier_accuracy": self.features.accuracy,
            },
            "machine": machine(),
            "metrics": {name: {**about.get(name, {"label": name}), "floor": row} for name, row in floor.items()},
            "unscored": dict(self.unscored),
        }

    def entrant(
        self, name: str, model: Run | Transport, *, curve: bool = True, sampling: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content and the pictures of one model for a report.

        Args:
            name: As the report shows it.
            model: A run or a transport.
            curve: Whether to measure quality against network calls, trajectories and the memory of training.
            sampling: The model's part of `sampling`; None measures it here, alone.
        """
        transport = model.transport if isinstance(model, Run) else model
        rows, agreement = self.scores(transport)
        sampling = sampling or self.sampling({name: transport})[name]
        content = {
            "name": name,
            "conditioned": bool(transport.space.classes),
            "parameters": cost.parameters(transport),
            "sampling": sampling,
            "scores": rows,
            "label_agreement": agreement,
            "modes": {"mass": rows["modes_held"]["mass"]} if "modes_held" in rows else None,
            "curve": self._curve(transport, rows) if curve else [],
            "trajectory": self._trajectory(transport, sampling["seconds_per_sample"]) if curve else None,
            "coding": coding(model, self.data, self.features) if isinstance(model, Run) else None,
            "warnings": [
                *(model.warnings if isinstance(model, Run) else ()),
                *unseen_warnings(model, self.data),
                *starts_warnings(model, self.n),
            ],
            **(_of_run(model) if isinstance(model, Run) else {"family": type(transport).__name__}),
        }
        pictures = _pictures(transport, model if isinstance(model, Run) else None)
        if curve and isinstance(model, Run):
            pictures["codes"] = code_pictures(model, self.data)
            content["training"]["memory_mb"] = cost.megabytes(training_memory(model, self.data))
        return content, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, dict[str, Any]]:
        """What sampling costs each model: calls, arithmetic, memory, and time, which is measured in turns over all models."""
        return cost.sampling_costs(models, AT_ONCE[self.data.space.kind])

    def _curve(self, transport: Transport, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Fréchet distance and coverage against network calls, for as many steps as the time allows.

        The point of the model's own number of steps is its first sampling, which ``scores`` holds. It takes the place of a
        number of `CURVE_STEPS` within a factor of 1.5.
        """
        flow = inner_of(transport)
        if not isinstance(flow, Flow) or flow.solver.adaptive:
            return []
        import time

        # times given one by one are for their own number of steps
        grid = flow.grid if isinstance(flow.grid, str) else None
        points, started = [], time.perf_counter()
        own = flow.steps if flow.grid is grid else 0
        if own:
            found = {key: scores[key]["values"][0] for key in ("frechet", "coverage") if key in scores}
            points.append({"steps": own, "calls": transport.calls, **found})
        for steps in [steps for steps in CURVE_STEPS if not own / 1.5 < steps < own * 1.5]:
            made = with_inner(transport, flow.with_solver(flow.solver, steps, grid))
            began = time.perf_counter()
            x, _ = self._draw(made, REPEAT_SEEDS)
            took = time.perf_counter() - began
            measured = score(x, self.data, self.features, n=self.n, metrics=("frechet", "manifold"))
            found = {key: measured[key].value for key in ("frechet", "coverage") if key in measured}
            points.append({"steps": steps, "calls": made.calls, **found})
            if time.perf_counter() - started + 2 * took > CURVE_SECONDS:
                break
        return sorted(points, key=lambda point: point["steps"])

    def _trajectory(self, transport: Transport, seconds: float) -> dict[str, Any] | None:
        """How an iterative model moves, on as many rows as the time allows; ``seconds`` is that of one sample.

        None for one-call models, for flows from another source than noise, which have no noise levels, and for models in a
        latent space, which move codes.
        """
        if not isinstance(transport, Flow) or transport.source is not None:
            return None
        most, steps = TRACED[transport.space.kind]
        affordable = TRACED_SECONDS / (seconds / transport.calls * transport.denoiser.calls())
        rows = max(16, min(most, round(affordable / steps)))
        few = transport.space.kind == "vector" and transport.space.size <= FEW_COLUMNS
        levels = loss_by_level(transport.denoiser, self.data, LEVELS, max(16, min(1000, round(affordable / LEVELS))))
        return {
            "rows": rows,
            "straightness": straightness(transport, rows, self.seed, steps),
            "npe": transport_cost(transport, self.data, rows, self.seed, steps) if few else None,
            "loss_by_level": levels,
        }


def _explained(wanted: Sequence[str] | None) -> dict[str, str]:
    """The sentences that explain a missing score, of the scores that were asked for."""
    from pushforward.metrics import registry

    abouts = [part.about for name, part in registry().items() if wanted is None or {name, *part.scores} & set(wanted)]
    return {name: row["without"] for about in abouts for name, row in about.items() if "without" in row}


def _of_run(run: Run) -> dict[str, Any]:
    losses: dict[str, dict[str, list[float]]] = {}
    rows = run.losses()
    for row in rows[:: max(1, len(rows) // 400)]:
        for player, value in row["loss"].items():
            line = losses.setdefault(player, {"step": [], "value": []})
            line["step"].append(row["step"])
            line["value"].append(value)
    state, seconds = run.state, run.state["seconds"]
    sampled = set(cost.named_parameters(run.transport))
    others = {name: cost.parameters(part) for name, part in run.method.named_children()}
    return {
        "family": run.spec["family"],
        "method": run.spec["method"]["part"],
        "run": str(run.folder),
        "seed": run.spec["seed"],
        "training": {
            "seconds": seconds,
            "steps": state["step"],
            "samples": state["samples"],
            "precision": state.get("precision"),
            "batch": state.get("batch"),
            "samples_per_second": state["samples"] / seconds if seconds else None,
        },
        "other_parameters": {name: count for name, count in others.items() if name in _beside(run, sampled)},
        "losses": losses,
        "commands": commands(run),
    }


def _beside(run: Run, sampled: set[int]) -> list[str]:
    """The parts of a method that its sampler does not use, such as a critic."""
    return [name for name, part in run.method.named_children() if not sampled & set(cost.named_parameters(part))]


def _pictures(transport: Transport, run: Run | None) -> dict[str, Any]:
    space = transport.space
    count = SHOWN[space.kind]
    return {
        "grid": _shown(space, transport.sample(count)),
        "formation": _formation(transport),
        "paths": _paths(transport),
        "training": _history(run) if run else [],
    }


def _shown(space: Any, x: torch.Tensor) -> np.ndarray:
    return space.quantise(x)


def _formation(transport: Transport) -> list[tuple[float, np.ndarray]] | None:
    if not isinstance(inner_of(transport), Flow):
        return None
    assert isinstance(transport, (Flow, Latent))
    count = 16 if transport.space.kind == "image" else 600
    return [(t, _shown(transport.space, x)) for t, x in transport.trajectory(count)]


def _paths(transport: Transport) -> np.ndarray | None:
    """The trajectories (rows, steps + 1, 2) of points in the plane, from noise to data; None for anything else."""
    if not isinstance(transport, Flow) or transport.source is not None or tuple(transport.space.shape) != (2,):
        return None
    _, states = trace(transport, DRAWN, steps=TRACED["vector"][1])
    return torch.stack([transport.space.to_data(x) for x in states], dim=1).numpy()


def _history(run: Run) -> list[tuple[int, np.ndarray]]:
    found = []
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        with np.load(path, allow_pickle=False) as file:
            found.append((int(path.stem.removeprefix("step_")), file["x"][: SHOWN[run.space.kind]]))
    return found


def evaluate(
    model: Run | Transport | str | Path,
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = 3,
    metrics: Sequence[str] | None = None,
    plugins: Sequence[str | Path] = (),
    seed: int = 0,
    batch: int = BATCH,
) -> dict[str, Any]:
    """Score one model against held-out data.

    Args:
        model: A run, its folder, or a transport.
        data: The data set, or its name or path; a run knows its own.
        n: Samples on either side; None takes as many as the held-out split allows, and no more than a flow from a data set has
            different examples to start from.
        repeats: Samplings; a flow from a data set is sampled once, and its scores have no spread.
        metrics: Names of metrics (`pushforward.metrics.registry`), and "bpd" for bits per dimension; None means all that apply
            but that.
        plugins: Python files that the run needs.
        seed: Added to the seed of every sampling.
        batch: Rows sampled at a time.

    Returns:
        Plain data: ``scores`` by name with mean, spread, floor and ratio, the no-network row, cost, settings.

    Raises:
        UsageError: If n is larger than the held-out split, a transport comes without data, or the run was trained on held-out
            examples of the data.
        DataError: If the run's data has changed since.
    """
    metrics = [metrics] if isinstance(metrics, str) else metrics
    check_metrics(metrics)
    if isinstance(model, (str, Path)):
        model = load(model, plugins=plugins)
    check_model_kind(model)
    data = data_of(model) if data is None else dataset_of(data)
    if isinstance(model, Run):
        check_unseen(model.name, model, data)
    others = None if metrics is None else [name for name in metrics if name != "bpd"]
    name, asked = model.name if isinstance(model, Run) else "model", metrics is not None and "bpd" in metrics
    row = _bits(model, data, n, seed, batch) if asked else None
    about = None if row is None else {**ABOUT, "baseline": _guess(model, data, row["n"])}
    if row is not None and not others:
        return _of_bits(name, data, row, about, unseen_warnings(model, data))
    judge = Judge(data, fitting([model], data, n), repeats, others, seed, batch)
    content, _ = judge.entrant(name, model, curve=False)
    described = judge.described()
    if row is not None:
        content["scores"]["bpd"], described["metrics"]["bpd"] = row, about
    return {**described, "entrants": [content], "baseline": judge.baseline()}


def check_model_kind(model: Any) -> None:
    """Refuse what is neither a run nor a transport.

    Raises:
        UsageError: Saying what was expected.
    """
    if not isinstance(model, (Run, Transport)):
        raise UsageError(f"Expected a run (pf.load), its folder, or a transport; got a {type(model).__name__}.")


def _bits(model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> dict[str, Any]:
    if isinstance(model, Run) and isinstance(model.method, Weighing):
        return coded_bits(model.method, data, n, seed=seed)
    return bits(model.transport if isinstance(model, Run) else model, data, n, seed=seed, batch=batch)


def _guess(model: Run | Transport, data: Dataset, n: int) -> dict[str, Any] | None:
    method = model.method if isinstance(model, Run) else None
    transport = model.transport if isinstance(model, Run) else model
    return guess(data, n, discrete=isinstance(method, Weighing) and method.discrete, labelled=bool(transport.space.classes))


def _of_bits(name: str, data: Dataset, row: dict[str, Any], metric: Any, warnings: Sequence[str]) -> dict[str, Any]:
    """The content of an evaluation that asks for bits per dimension alone, which needs no samples."""
    entrant = {"name": name, "scores": {"bpd": row}, "warnings": list(warnings)}
    about = {"data": {"name": data.name, "fingerprint": data.fingerprint}, "settings": {"n": row["n"]}, "machine": machine()}
    return {**about, "metrics": {"bpd": metric}, "entrants": [entrant], "baseline": {"scores": {}}}


def data_of(model: Any) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        UsageError: If the model does not say what that was.
        DataError: If it has changed since.
    """
    from pushforward.data import load as load_data

    origin: Mapping[str, Any] | None = model.spec.get("data") if isinstance(model, Run) else None
    if not origin and isinstance(model, Run):
        raise UsageError(
            f"{model.folder} was trained on data from Python, which a run does not hold. Evaluate it in Python and hand over the "
            "data: pf.evaluate(run, data), or pf.compare(runs, data)."
        )
    if not origin:
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    data = load_data(**origin)
    was = model.spec.get("fingerprint")
    if was not in (None, data.fingerprint):
        raise DataError(
            f"The data has changed since {model.folder} was trained (fingerprint {data.fingerprint[:12]}, was {was[:12]}). "
            f"Restore it, or train anew.{earlier_split(model.spec)}"
        )
    return data
