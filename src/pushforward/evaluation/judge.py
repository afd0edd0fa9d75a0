"""One model against held-out data: scores beside their floors, cost, and the pictures of a report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.errors import UsageError
from pushforward.evaluation import cost
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.features import Features, fit_features
from pushforward.evaluation.scoring import compared, floors, ratio, score
from pushforward.training import Run, load
from pushforward.training.run import machine
from pushforward.transports import Flow, Transport

__all__ = ["Judge", "evaluate"]

REPEAT_SEEDS = 1_000_000
"""Repeat r samples from seed (r + 1) times this, so that no two repeats share a sample."""
CURVE_STEPS = (1, 2, 4, 8, 16, 32)
CURVE_SECONDS = 40.0
"""The most that one model's curve of quality against calls may take."""
SHOWN = {"image": 64, "vector": 1000}


@dataclass
class Judge:
    """Everything that does not depend on the model: features, floors and the no-network row, computed once.

    Args:
        data: The data set; models are compared with its held-out split.
        n: Samples on either side; 0 takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings of each model.
        metrics: Names of metrics; None means all that apply.
    """

    data: Dataset
    n: int = 0
    repeats: int = 3
    metrics: Sequence[str] | None = None
    features: Features = field(init=False)
    floors: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"--repeats must be at least 1, got {self.repeats}.")
        self.n = compared(self.data, self.n or None)
        self.features = fit_features(self.data)
        self.floors = floors(self.data, self.features, n=self.n, metrics=self.metrics)

    def scores(self, sampler: Any) -> tuple[dict[str, Any], float | None]:
        """The scores of anything with ``sample(n, condition, seed=...)`` over all repeats, and its label agreement."""
        values: dict[str, list[float]] = {}
        agreements, masses = [], []
        for repeat in range(self.repeats):
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
        return rows, float(np.mean(agreements)) if agreements else None

    def _draw(self, sampler: Any, seed: int) -> tuple[torch.Tensor, np.ndarray | None]:
        parts = list(sampler.stream(self.n, seed=seed))
        x = torch.cat([part for part, _ in parts])
        if parts[0][1] is None:
            return x, None
        return x, torch.cat([condition["label"] for _, condition in parts]).cpu().numpy()

    def _row(self, name: str, values: list[float]) -> dict[str, Any]:
        mean, floor = float(np.mean(values)), self.floors.get(name)
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
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
            "settings": {"n": self.n, "repeats": self.repeats, "k": 5, "features": self.features.describe(self.n)},
            "machine": machine(),
            "metrics": {name: {**about.get(name, {"label": name}), "floor": row} for name, row in floor.items()},
        }

    def entrant(self, name: str, model: Run | Transport, *, curve: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content and the pictures of one model for a report."""
        transport = model.transport if isinstance(model, Run) else model
        rows, agreement = self.scores(transport)
        content = {
            "name": name,
            "conditioned": bool(transport.space.classes),
            "parameters": cost.parameters(transport),
            "sampling": self._sampling(transport),
            "scores": rows,
            "label_agreement": agreement,
            "modes": {"mass": rows["modes_held"]["mass"]} if "modes_held" in rows else None,
            "curve": self._curve(transport) if curve else [],
            "warnings": [],
            **(_of_run(model) if isinstance(model, Run) else {"family": type(transport).__name__}),
        }
        return content, _pictures(transport, model if isinstance(model, Run) else None)

    def _sampling(self, transport: Transport) -> dict[str, Any]:
        solver = {"solver": _title(transport), "steps": transport.steps} if isinstance(transport, Flow) else {}
        count = 64 if transport.space.kind == "image" else 1000
        return {
            **solver,
            "calls": transport.calls,
            "seconds_per_sample": cost.seconds_per_sample(lambda n: transport.sample(n, batch=n), count, 3),
            "flops_per_sample": cost.flops(lambda: transport.sample(1)),
        }

    def _curve(self, transport: Transport) -> list[dict[str, Any]]:
        """Fréchet distance and coverage against network calls, for as many steps as the time allows."""
        if not isinstance(transport, Flow):
            return []
        import time

        points, started = [], time.perf_counter()
        for steps in CURVE_STEPS:
            flow = transport.with_solver(transport.solver, steps, transport.grid)
            began = time.perf_counter()
            x, _ = self._draw(flow, REPEAT_SEEDS)
            took = time.perf_counter() - began
            found = score(x, self.data, self.features, n=self.n, metrics=("frechet", "manifold"))
            point = {"steps": steps, "calls": flow.calls}
            points.append(point | {key: found[key].value for key in ("frechet", "coverage") if key in found})
            if time.perf_counter() - started + 2 * took > CURVE_SECONDS:
                break
        return points


def _title(transport: Flow) -> str:
    return type(transport.solver).__name__ + (f", {transport.grid} grid" if transport.grid else "")


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
            "peak_memory_mb": state.get("peak_memory_mb"),
        },
        "other_parameters": {name: count for name, count in others.items() if name in _beside(run, sampled)},
        "losses": losses,
        "commands": [command(run)],
    }


def _beside(run: Run, sampled: set[int]) -> list[str]:
    """The parts of a method that its sampler does not use, such as a critic."""
    return [name for name, part in run.method.named_children() if not sampled & set(cost.named_parameters(part))]


def command(run: Run) -> str:
    """The command line that trains this run again."""
    spec, source = run.spec, run.spec.get("data") or {}
    plugin = spec["plugins"][0]["file"] if spec.get("plugins") else None
    budget = spec["budget"]
    given = {"steps": "--steps {}", "samples": "--samples {}", "seconds": "--budget {:g}s"}
    amount = next(text.format(budget[key]) for key, text in given.items() if budget.get(key) is not None)
    words = [
        "pushforward train",
        plugin or spec["recipe"],
        "--data",
        shlex.quote(source.get("name_or_path", "DATA")),
        amount,
    ]
    words += [f"--{name} {shlex.quote(str(source[name]))}" for name in ("target", "limit") if name in source]
    words += [f"--resize {source['resize'][0]}"] if "resize" in source else []
    words += ["--condition " + ("label" if source["labelled"] else "none")] if "labelled" in source else []
    return " ".join([*words, f"--seed {spec['seed']}"])


def _pictures(transport: Transport, run: Run | None) -> dict[str, Any]:
    space = transport.space
    count = SHOWN[space.kind]
    return {
        "grid": _shown(space, transport.sample(count)),
        "formation": _formation(transport),
        "training": _history(run) if run else [],
    }


def _shown(space: Any, x: torch.Tensor) -> np.ndarray:
    return space.quantise(x)


def _formation(transport: Transport) -> list[tuple[float, np.ndarray]] | None:
    if not isinstance(transport, Flow):
        return None
    count = 16 if transport.space.kind == "image" else 600
    return [(t, _shown(transport.space, x)) for t, x in transport.trajectory(count)]


def _history(run: Run) -> list[tuple[int, np.ndarray]]:
    found = []
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        with np.load(path, allow_pickle=False) as file:
            found.append((int(path.stem.removeprefix("step_")), file["x"][: SHOWN[run.space.kind]]))
    return found


def evaluate(
    model: Run | Transport | str | Path,
    data: Dataset | None = None,
    *,
    n: int | None = None,
    repeats: int = 3,
    metrics: Sequence[str] | None = None,
    plugins: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Score one model against held-out data.

    Args:
        model: A run, its folder, or a transport.
        data: The data set; a run knows its own.
        n: Samples on either side.
        repeats: Samplings.
        metrics: Names of metrics (`pushforward.metrics.registry`); None means all that apply.
        plugins: Python files that the run needs.

    Returns:
        Plain data: ``scores`` by name with mean, spread, floor and ratio, the no-network row, cost, settings.

    Raises:
        UsageError: If n is larger than the held-out split, or a transport comes without data.
    """
    if isinstance(model, (str, Path)):
        model = load(model, plugins=plugins)
    if data is None:
        data = data_of(model)
    judge = Judge(data, n or 0, repeats, metrics)
    content, _ = judge.entrant(model.name if isinstance(model, Run) else "model", model, curve=False)
    return {**judge.described(), "entrants": [content], "baseline": judge.baseline()}


def data_of(model: Any) -> Dataset:
    """The data set that a run was trained on."""
    from pushforward.data import load as load_data

    origin: Mapping[str, Any] | None = model.spec.get("data") if isinstance(model, Run) else None
    if not origin:
        raise UsageError("Hand over the data set: this model does not say where its data came from.")
    return load_data(**origin)
