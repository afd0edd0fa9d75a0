"""The content of a report of four models, and what the report says of it."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np

from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.measurements import Pictures, SampleTime, SamplingCost, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult, Score, Settings
from pushforward.metrics import MetricInfo, describe
from pushforward.report import Report, tables
from pushforward.report.findings import findings

ABOUT = {
    "frechet": ("Fréchet distance", "lower", 0.100, 0.010),
    "kid": ("KID", "lower", 0.00002, 0.00030),
    "precision": ("Precision", "higher", 0.80, 0.02),
    "recall": ("Recall", "higher", 0.78, 0.02),
    "density": ("Density", "target", 1.0, 0.03),
    "coverage": ("Coverage", "higher", 0.960, 0.010),
    "near_copies": ("Near-copies", "lower", 0.004, 0.003),
    "sharpness": ("Sharpness", "target", 1.0, 0.01),
}
VALUES = {
    name: dict(zip(ABOUT, numbers, strict=True))
    for name, numbers in {
        "flow": (0.13, 0.0004, 0.79, 0.77, 0.98, 0.95, 0.003, 1.02),
        "ddpm": (0.21, 0.0011, 0.76, 0.77, 0.94, 0.942, 0.002, 1.05),
        "gan": (0.44, 0.0035, 0.75, 0.68, 0.9, 0.88, 0.004, 0.98),
        "vae": (0.92, 0.0081, 0.74, 0.69, 1.1, 0.79, 0.0, 0.88),
    }.items()
}
FAMILIES = {"flow": "flow matching", "ddpm": "diffusion", "gan": "GAN", "vae": "VAE"}
BASE = dict(zip(ABOUT, (1.9, 0.02, 0.5, 0.7, 0.5, 0.74, 0.0, 1.3), strict=True))
SPREADS = {"near_copies": 0.001, "kid": 0.0002}


def comparison(content, pictures=None):
    """The comparison of a JSON file's content, with arrays given as dicts."""
    given = json.loads(json.dumps({"format_version": 2} | content).replace("NaN", "null"))
    drawn = {name: Pictures(**arrays) for name, arrays in (pictures or {}).items()}
    return dataclasses.replace(Comparison.from_plain(given), pictures=drawn)


def report(content, pictures=None):
    return Report(comparison(content, pictures))


def scorecards(content):
    return tables.scorecards(comparison(content))


def pooled(content, pictures):
    aggregate = aggregated(comparison(content, pictures))
    return aggregate.to_plain(), aggregate.pictures


def score(value, spread, real_data_score):
    rng = np.random.default_rng(3)
    return {
        "value": value,
        "spread": spread,
        "values": (value + spread * rng.normal(size=3)).tolist(),
        "ratio": value / real_data_score if real_data_score else None,
    }


def metrics(declared=ABOUT):
    """Their real places in the report; the targets are those of the floors."""
    return {
        name: dataclasses.replace(
            describe().get(name, MetricInfo()),
            label=label,
            better=better,
            target=None,
            what=f"What {label} is.",
        ).to_plain()
        for name, (label, better, _, _) in declared.items()
    }


def real_data_scores(declared=ABOUT):
    return {
        name: {"value": value, "spread": spread} for name, (_, _, value, spread) in declared.items()
    }


def losses(family, steps=300):
    rng = np.random.default_rng(5)
    step = np.arange(0, steps * 10, 10)
    fall = 0.3 + 0.9 * np.exp(-step / 300) + 0.04 * rng.normal(size=steps)
    if family != "GAN":
        return {"model": {"step": step.tolist(), "value": fall.tolist()}}
    other = 0.69 + 0.1 * np.sin(step / 400) + 0.05 * rng.normal(size=steps)
    return {
        "critic": {"step": step.tolist(), "value": fall.tolist()},
        "generator": {"step": step.tolist(), "value": other.tolist()},
    }


def trajectory(name):
    worse = 0.1 if name == "ddpm" else 0.0
    levels = [9.0, 4.5, 0.0, -4.5, -9.0][: 4 if name == "ddpm" else 5]
    rows = [{"log_snr": level, "error": 0.4 + worse + level**2 / 100} for level in levels]
    return {"n": 250, "straightness": 0.125 + 10 * worse, "npe": None, "loss_by_level": rows}


def timing(seconds, low=0.99, high=1.01):
    return {"batch": 64, "low": low * seconds, "high": high * seconds, "values": [seconds] * 7}


def make_model(name):
    family = FAMILIES[name]
    iterative = name in ("flow", "ddpm")
    calls = {"flow": 19, "ddpm": 20}.get(name, 1)
    curve = [
        {
            "calls": 2 * k - 1 if name == "flow" else k,
            "steps": k,
            "scores": {
                "frechet": {"value": 0.12 + 2.0 / k**1.5},
                "coverage": {"value": 0.95 - 0.5 / k},
            },
        }
        for k in (1, 2, 4, 8, 16, 32)
    ]
    return {
        "name": name,
        "family": family,
        "method": "Denoising" if iterative else family,
        "conditioned": ["label"],
        "run": f"runs/{name}",
        "seed": 0,
        "parameters": {"flow": 402_314, "ddpm": 402_314, "gan": 388_120, "vae": 410_442}[name],
        "other_parameters": {"critic": 391_000} if name == "gan" else {},
        "training": {
            "seconds": 60.2,
            "steps": 2990,
            "samples": 382_720 * (2 if name == "vae" else 1),
            "precision": "float32",
            "batch": 128,
            "samples_per_second": 6357.0,
            "memory_mb": 21.0,
        },
        "sampling": {
            "solver": {"flow": "Heun", "ddpm": "DDIM"}.get(name),
            "steps": {"flow": 10, "ddpm": 20}.get(name),
            "calls": calls,
            "seconds_per_sample": 0.00021 * calls,
            "timing": timing(0.00021 * calls),
            "flops_per_sample": 3_100_000 * calls,
            "memory": {"mb": 3.2, "batch": 64},
        },
        "scores": {
            m: score(v, SPREADS.get(m, 0.008), ABOUT[m][2]) for m, v in VALUES[name].items()
        },
        "curve": curve if iterative else [],
        "trajectory": trajectory(name) if iterative else None,
        "losses": losses(family),
        "label_agreement": 0.97,
        "warnings": [],
        "commands": [f"pushforward train {name} --data digits --budget 60s --seed 0"],
    }


@functools.cache
def whole():
    """A comparison of four models, to be left as it is."""
    return {
        "format_version": 2,
        "title": "gan, vae, ddpm, flow on digits",
        "created": "2026-11-24",
        "data": {
            "name": "digits",
            "shape": [1, 8, 8],
            "kind": "image",
            "classes": [str(i) for i in range(10)],
            "columns": [],
            "train": 1437,
            "held_out": 360,
            "fingerprint": "9f2c" * 16,
        },
        "settings": {
            "n": 360,
            "repeats": 3,
            "seeds": 1,
            "budget": "60s",
            "k": 5,
            "features": "classifier, 36 dimensions, held-out accuracy 0.98",
        },
        "machine": {
            "cpu": "AMD EPYC",
            "cores": 2,
            "torch": "2.13.0",
            "python": "3.11.2",
            "platform": "Linux",
        },
        "metrics": metrics(),
        "real_data_scores": real_data_scores(),
        "models": [make_model(name) for name in VALUES],
        "baseline": {
            "name": "no network (one Gaussian per class)",
            "scores": {m: score(v, SPREADS.get(m, 0.01), ABOUT[m][2]) for m, v in BASE.items()},
        },
        "commands": ["pushforward compare gan vae ddpm flow --data digits --budget 60s"],
    }


def model(content, name):
    return next(entry for entry in content["models"] if entry["name"] == name)


def put(content, name, metric, mean):
    """Another value, with its ratio to the floor."""
    row = content["baseline"] if name == "baseline" else model(content, name)
    row["scores"][metric] |= {"value": mean, "ratio": mean / ABOUT[metric][2]}


def said(content, kind=None):
    """The findings on a comparison, or on its plain data."""
    results = content if isinstance(content, Comparison) else comparison(content)
    return [finding.text for finding in findings(results) if kind in (None, finding.kind)]


RANKING = {
    "frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality"),
    "coverage": MetricInfo("Coverage", "higher", "A share.", role="diversity", unit="%"),
}


def sampled(value, spread=0.01, error=0.02):
    """Three samplings whose interval comes from their examples: 1.96 sqrt(.01^2 + (error^2 - .01^2)
    / 3) either way.
    """
    values = (value - spread, value, value + spread)
    return with_interval(Score(value, spread, error=error, reference_error=0.01, values=values))


def compared(values, base=(2.0, 0.5), **more):
    """Models by name: Fréchet distance, coverage, seconds of a sample."""
    models = tuple(
        ModelResult(
            name,
            scores={"frechet": sampled(distance), "coverage": sampled(share)},
            sampling=SamplingCost(
                calls=1, seconds_per_sample=time, timing=SampleTime(low=time, high=1.01 * time)
            ),
        )
        for name, (distance, share, time) in values.items()
    )
    none = ModelResult(
        "no network", scores={"frechet": Score(base[0], 0.01), "coverage": Score(base[1], 0.01)}
    )
    real_data_scores = {"frechet": Score(0.1, 0.01), "coverage": Score(0.96, 0.01)}
    given = {
        "metrics": RANKING,
        "real_data_scores": real_data_scores,
        "models": models,
        "baseline": none,
        "settings": Settings(n=360, repeats=3),
    }
    return Comparison("it", **(given | more))


def swept(rows, budgets=(None, None, None)):
    """Fréchet distances of each recipe after 4.1, 8.2 and 16.4 seconds, for budgets that say so or
    not.
    """
    points = {
        name: tuple(
            SweepPoint(seconds, 9, 0, {"frechet": sampled(value)}, budget)
            for seconds, value, budget in zip((4.1, 8.2, 16.4), values, budgets, strict=True)
        )
        for name, values in rows.items()
    }
    return dataclasses.replace(
        compared({name: (values[-1], 0.9, 0.1) for name, values in rows.items()}), sweep=points
    )
