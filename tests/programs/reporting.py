"""The content of a report of four models, and what the report says of it."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
from programs.text_tables import read_cases

from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.measurements import Pictures, SampleTime, SamplingCost, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult, Score, Settings
from pushforward.metrics import MetricInfo, describe
from pushforward.report import Report, tables
from pushforward.report.findings import findings

METRICS = """
frechet     | Fréchet distance | lower  | 0.100   | 0.010
kid         | KID              | lower  | 0.00002 | 0.00030
precision   | Precision        | higher | 0.80    | 0.02
recall      | Recall           | higher | 0.78    | 0.02
density     | Density          | target | 1.0     | 0.03
coverage    | Coverage         | higher | 0.960   | 0.010
near_copies | Near-copies      | lower  | 0.004   | 0.003
sharpness   | Sharpness        | target | 1.0     | 0.01
"""
ABOUT = {name: tuple(about) for name, *about in read_cases(METRICS)}
"""Name, direction and real-data score of each metric, with its standard deviation."""
SCORES = """
flow     | 0.13 | 0.0004 | 0.79 | 0.77 | 0.98 | 0.95  | 0.003 | 1.02
ddpm     | 0.21 | 0.0011 | 0.76 | 0.77 | 0.94 | 0.942 | 0.002 | 1.05
gan      | 0.44 | 0.0035 | 0.75 | 0.68 | 0.9  | 0.88  | 0.004 | 0.98
vae      | 0.92 | 0.0081 | 0.74 | 0.69 | 1.1  | 0.79  | 0.0   | 0.88
baseline | 1.9  | 0.02   | 0.5  | 0.7  | 0.5  | 0.74  | 0.0   | 1.3
"""
VALUES = {name: dict(zip(ABOUT, scores, strict=True)) for name, *scores in read_cases(SCORES)}
BASE = VALUES.pop("baseline")
FAMILIES = {"flow": "flow matching", "ddpm": "diffusion", "gan": "GAN", "vae": "VAE"}
SPREADS = {"near_copies": 0.001, "kid": 0.0002}


def comparison(content, pictures=None):
    """The comparison of a JSON file's content, with arrays given as dicts."""
    text = json.dumps({"format_version": 2} | content)
    plain = json.loads(text.replace("NaN", "null"))
    pictures = pictures or {}
    drawn = {name: Pictures(**arrays) for name, arrays in pictures.items()}
    return dataclasses.replace(Comparison.from_plain(plain), pictures=drawn)


def report(content, pictures=None):
    return Report(comparison(content, pictures))


def scorecards(content):
    return tables.scorecards(comparison(content))


def pooled(content, pictures):
    aggregate = aggregated(comparison(content, pictures))
    return aggregate.to_plain(), aggregate.pictures


def score(value, spread, real_data_score):
    rng = np.random.default_rng(3)
    values = value + spread * rng.normal(size=3)
    ratio = None
    if real_data_score:
        ratio = value / real_data_score
    return {"value": value, "spread": spread, "values": values.tolist(), "ratio": ratio}


def scores(means, usual_spread):
    """A score for each metric."""
    made = {}
    for name, mean in means.items():
        _, _, real_data_score, _ = ABOUT[name]
        spread = SPREADS.get(name, usual_spread)
        made[name] = score(mean, spread, real_data_score)
    return made


def metrics(declared=ABOUT):
    """Their real places in the report; the targets are those of the floors."""
    known = describe()
    made = {}
    for name, (label, better, *_) in declared.items():
        usual = known.get(name, MetricInfo())
        said = {"label": label, "better": better, "target": None, "what": f"What {label} is."}
        made[name] = dataclasses.replace(usual, **said).to_plain()
    return made


def real_data_scores(declared=ABOUT):
    made = {}
    for name, (*_, value, spread) in declared.items():
        made[name] = {"value": value, "spread": spread}
    return made


def losses(family, steps=300):
    rng = np.random.default_rng(5)
    step = np.arange(0, steps * 10, 10)

    def curve(means, std):
        values = means + std * rng.normal(size=steps)
        return {"step": step.tolist(), "value": values.tolist()}

    fall = curve(0.3 + 0.9 * np.exp(-step / 300), 0.04)
    if family != "GAN":
        return {"model": fall}
    waves = curve(0.69 + 0.1 * np.sin(step / 400), 0.05)
    return {"critic": fall, "generator": waves}


def trajectory(name):
    worse = 0.0
    levels = [9.0, 4.5, 0.0, -4.5, -9.0]
    if name == "ddpm":
        worse = 0.1
        levels.pop()
    rows = []
    for level in levels:
        error = 0.4 + worse + level**2 / 100
        rows.append({"log_snr": level, "error": error})
    return {"n": 250, "straightness": 0.125 + 10 * worse, "npe": None, "loss_by_level": rows}


def timing(seconds, low=0.99, high=1.01):
    values = [seconds] * 7
    return {"batch": 64, "low": low * seconds, "high": high * seconds, "values": values}


MODELS = """
flow | 402314 | 19 | Heun | 10
ddpm | 402314 | 20 | DDIM | 20
gan  | 388120 | 1  | null | null
vae  | 410442 | 1  | null | null
"""
COSTS = {name: costs for name, *costs in read_cases(MODELS)}
"""Parameters, calls of a network, solver and steps of each model."""
TRAINED = """{
    "seconds": 60.2,
    "steps": 2990,
    "samples": 382720,
    "precision": "float32",
    "batch": 128,
    "samples_per_second": 6357.0,
    "memory_mb": 21.0
}"""
DESCRIBED = """{
    "conditioned": ["label"],
    "seed": 0,
    "other_parameters": {},
    "curve": [],
    "trajectory": null,
    "label_agreement": 0.97,
    "warnings": []
}"""


def steps_curve(name):
    """Scores after a few steps."""
    points = []
    for steps in (1, 2, 4, 8, 16, 32):
        calls = steps
        if name == "flow":
            calls = 2 * steps - 1
        distance = {"value": 0.12 + 2.0 / steps**1.5}
        coverage = {"value": 0.95 - 0.5 / steps}
        scores = {"frechet": distance, "coverage": coverage}
        points.append({"calls": calls, "steps": steps, "scores": scores})
    return points


def sampling_cost(calls, solver, steps):
    seconds = 0.00021 * calls
    return {
        "solver": solver,
        "steps": steps,
        "calls": calls,
        "seconds_per_sample": seconds,
        "timing": timing(seconds),
        "flops_per_sample": 3_100_000 * calls,
        "memory": {"mb": 3.2, "batch": 64},
    }


def make_model(name):
    family = FAMILIES[name]
    parameters, *sampling = COSTS[name]
    made = json.loads(DESCRIBED)
    made["name"] = name
    made["family"] = family
    made["method"] = family
    made["run"] = f"runs/{name}"
    made["parameters"] = parameters
    made["training"] = json.loads(TRAINED)
    made["sampling"] = sampling_cost(*sampling)
    made["scores"] = scores(VALUES[name], 0.008)
    made["losses"] = losses(family)
    made["commands"] = [f"pushforward train {name} --data digits --budget 60s --seed 0"]
    if name in ("flow", "ddpm"):
        made["method"] = "Denoising"
        made["curve"] = steps_curve(name)
        made["trajectory"] = trajectory(name)
    if name == "gan":
        made["other_parameters"] = {"critic": 391_000}
    if name == "vae":
        made["training"]["samples"] *= 2
    return made


WHOLE = """{
    "format_version": 2,
    "title": "gan, vae, ddpm, flow on digits",
    "created": "2026-11-24",
    "data": {
        "name": "digits",
        "shape": [1, 8, 8],
        "kind": "image",
        "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        "columns": [],
        "train": 1437,
        "held_out": 360
    },
    "settings": {
        "n": 360,
        "repeats": 3,
        "seeds": 1,
        "budget": "60s",
        "k": 5,
        "features": "classifier, 36 dimensions, held-out accuracy 0.98"
    },
    "machine": {
        "cpu": "AMD EPYC",
        "cores": 2,
        "torch": "2.13.0",
        "python": "3.11.2",
        "platform": "Linux"
    },
    "baseline": {"name": "no network (one Gaussian per class)"},
    "commands": ["pushforward compare gan vae ddpm flow --data digits --budget 60s"]
}"""


@functools.cache
def whole():
    """A comparison of four models, to be left as it is."""
    made = json.loads(WHOLE)
    made["data"]["fingerprint"] = "9f2c" * 16
    made["metrics"] = metrics()
    made["real_data_scores"] = real_data_scores()
    made["models"] = [make_model(name) for name in VALUES]
    made["baseline"]["scores"] = scores(BASE, 0.01)
    return made


def model(content, name):
    return next(entry for entry in content["models"] if entry["name"] == name)


def put(content, name, metric, mean):
    """Another value, with its ratio to the floor."""
    row = content["baseline"]
    if name != "baseline":
        row = model(content, name)
    _, _, real_data_score, _ = ABOUT[metric]
    row["scores"][metric] |= {"value": mean, "ratio": mean / real_data_score}


def put_interval(content, name, metric, ends):
    """An interval of a score."""
    model(content, name)["scores"][metric]["interval"] = ends


def said(content, kind=None):
    """The findings on a comparison, or on its plain data."""
    if isinstance(content, dict):
        content = comparison(content)
    return [finding.text for finding in findings(content) if kind in (None, finding.kind)]


RANKING = {
    "frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality"),
    "coverage": MetricInfo("Coverage", "higher", "A share.", role="diversity", unit="%"),
}


def sampled(value, spread=0.01, error=0.02):
    """Three samplings whose interval comes from their examples: 1.96 sqrt(.01^2 + (error^2 - .01^2)
    / 3) either way.
    """
    values = (value - spread, value, value + spread)
    score = Score(value, spread, error=error, reference_error=0.01, values=values)
    return with_interval(score)


def compared(values, base=(2.0, 0.5), **more):
    """Models by name: Fréchet distance, coverage, seconds of a sample."""
    models = []
    for name, (distance, share, time) in values.items():
        scores = {"frechet": sampled(distance), "coverage": sampled(share)}
        timing = SampleTime(low=time, high=1.01 * time)
        cost = SamplingCost(calls=1, seconds_per_sample=time, timing=timing)
        models.append(ModelResult(name, scores=scores, sampling=cost))
    distance, share = base
    given = {
        "metrics": RANKING,
        "real_data_scores": certain(0.1, 0.96),
        "models": tuple(models),
        "baseline": ModelResult("no network", scores=certain(distance, share)),
        "settings": Settings(n=360, repeats=3),
    }
    return Comparison("it", **(given | more))


def certain(distance, share):
    """Scores that hardly vary."""
    return {"frechet": Score(distance, 0.01), "coverage": Score(share, 0.01)}


def swept(rows, budgets=(None, None, None)):
    """Fréchet distances of each recipe after 4.1, 8.2 and 16.4 seconds, for budgets that say so or
    not.
    """
    sweep = {}
    last = {}
    for name, values in rows.items():
        points = []
        for seconds, value, budget in zip((4.1, 8.2, 16.4), values, budgets, strict=True):
            scores = {"frechet": sampled(value)}
            points.append(SweepPoint(seconds, 9, 0, scores, budget))
        sweep[name] = tuple(points)
        last[name] = (values[-1], 0.9, 0.1)
    return compared(last, sweep=sweep)
