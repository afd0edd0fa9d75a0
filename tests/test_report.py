"""The report: what it says of planted faults, and that the page is whole, safe and self-contained."""

from __future__ import annotations

import copy
import html.parser
import json
import os
import re

import numpy as np
import pytest

from pushforward.errors import CheckpointError, UsageError
from pushforward.report import Report, words
from pushforward.pictures import grid_picture, scatter_picture, write_gif
from pushforward.report.numbers import duration, measured, percent, plain, quantity
from pushforward.report.tables import scorecards

ABOUT = {
    "frechet": ("Fréchet distance", "lower", 0.100, 0.010),
    "kid": ("KID", "lower", 0.00002, 0.00030),
    "precision": ("Precision", "higher", 0.80, 0.02),
    "recall": ("Recall", "higher", 0.78, 0.02),
    "density": ("Density", "higher", 1.0, 0.03),
    "coverage": ("Coverage", "higher", 0.960, 0.010),
    "near_copies": ("Near-copies", "lower", 0.004, 0.003),
    "sharpness": ("Sharpness", "target", 1.0, 0.01),
}
VALUES = {
    "flow": {"frechet": 0.13, "kid": 0.0004, "precision": 0.79, "recall": 0.77, "density": 0.98, "coverage": 0.95, "near_copies": 0.003, "sharpness": 1.02},
    "ddpm": {"frechet": 0.21, "kid": 0.0011, "precision": 0.76, "recall": 0.77, "density": 0.94, "coverage": 0.942, "near_copies": 0.002, "sharpness": 1.05},
    "gan": {"frechet": 0.44, "kid": 0.0035, "precision": 0.75, "recall": 0.68, "density": 0.9, "coverage": 0.88, "near_copies": 0.004, "sharpness": 0.98},
    "vae": {"frechet": 0.92, "kid": 0.0081, "precision": 0.74, "recall": 0.66, "density": 1.1, "coverage": 0.79, "near_copies": 0.0, "sharpness": 0.88},
}  # fmt: skip
FAMILIES = {"flow": "flow matching", "ddpm": "diffusion", "gan": "GAN", "vae": "VAE"}
BASE = {"frechet": 1.9, "kid": 0.02, "precision": 0.5, "recall": 0.7, "density": 0.5, "coverage": 0.74, "near_copies": 0.0, "sharpness": 1.3}


def score(value, spread, floor):
    rng = np.random.default_rng(3)
    return {"mean": value, "spread": spread, "values": (value + spread * rng.normal(size=3)).tolist(), "ratio": value / floor if floor else None}


def metrics(about=ABOUT):
    return {
        name: {"label": label, "better": better, "target": None, "what": f"What {label} is.", "floor": {"mean": mean, "spread": spread}}
        for name, (label, better, mean, spread) in about.items()
    }


def losses(family, steps=300):
    rng, step = np.random.default_rng(5), np.arange(0, steps * 10, 10)
    fall = 0.3 + 0.9 * np.exp(-step / 300) + 0.04 * rng.normal(size=steps)
    if family != "GAN":
        return {"model": {"step": step.tolist(), "value": fall.tolist()}}
    other = 0.69 + 0.1 * np.sin(step / 400) + 0.05 * rng.normal(size=steps)
    return {"critic": {"step": step.tolist(), "value": fall.tolist()}, "generator": {"step": step.tolist(), "value": other.tolist()}}


def make_entrant(name):
    family = FAMILIES[name]
    iterative = name in ("flow", "ddpm")
    calls = {"flow": 19, "ddpm": 20}.get(name, 1)
    curve = [{"calls": 2 * k - 1 if name == "flow" else k, "steps": k, "frechet": 0.12 + 2.0 / k**1.5, "coverage": 0.95 - 0.5 / k} for k in (1, 2, 4, 8, 16, 32)]
    return {
        "name": name,
        "family": family,
        "method": "Denoising" if iterative else family,
        "conditioned": True,
        "run": f"runs/{name}",
        "seed": 0,
        "parameters": {"flow": 402_314, "ddpm": 402_314, "gan": 388_120, "vae": 410_442}[name],
        "other_parameters": {"critic": 391_000} if name == "gan" else {},
        "training": {"seconds": 60.2, "steps": 2990, "samples": 382_720 * (2 if name == "vae" else 1), "precision": "float32", "batch": 128,
                     "samples_per_second": 6357.0, "peak_memory_mb": 612.0},
        "sampling": {"solver": {"flow": "Heun", "ddpm": "DDIM"}.get(name), "steps": {"flow": 10, "ddpm": 20}.get(name), "calls": calls,
                     "seconds_per_sample": 0.00021 * calls, "flops_per_sample": 3_100_000 * calls},
        "scores": {metric: score(value, {"near_copies": 0.001, "kid": 0.0002}.get(metric, 0.008), ABOUT[metric][2]) for metric, value in VALUES[name].items()},
        "curve": curve if iterative else [],
        "losses": losses(family),
        "label_agreement": 0.97,
        "modes": None,
        "warnings": [],
        "commands": [f"pushforward train {name} --data digits --budget 60s --seed 0"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    return {
        "format_version": 1,
        "title": "gan, vae, ddpm, flow on digits",
        "created": "2026-11-24",
        "data": {"name": "digits", "shape": [1, 8, 8], "kind": "image", "classes": [str(i) for i in range(10)], "columns": [], "train": 1437,
                 "held_out": 360, "fingerprint": "9f2c" * 16},
        "settings": {"n": 360, "repeats": 3, "seeds": 1, "budget": "60s", "k": 5, "features": "classifier, 36 dimensions, held-out accuracy 0.98",
                     "shared": "seeds"},
        "machine": {"cpu": "AMD EPYC", "cores": 2, "torch": "2.13.0", "python": "3.11.2", "platform": "Linux"},
        "metrics": metrics(),
        "entrants": [make_entrant(name) for name in VALUES],
        "baseline": {"name": "no network (one Gaussian per class)", "scores": {m: score(v, 0.01 if m != "kid" else 0.0003, ABOUT[m][2]) for m, v in BASE.items()}},
        "commands": ["pushforward compare gan vae ddpm flow --data digits --budget 60s"],
    }  # fmt: skip


@pytest.fixture
def content(whole):
    return copy.deepcopy(whole)


@pytest.fixture(scope="module")
def digit_pictures():
    from sklearn.datasets import load_digits

    rng, x = np.random.default_rng(0), load_digits().images[..., None] / 16
    made = {"real": {"grid": (x[:64] * 255).astype(np.uint8)}}
    for i, name in enumerate(VALUES):
        data = np.clip(x[100 + 64 * i : 164 + 64 * i] + (0.02 + 0.03 * i) * rng.normal(size=(64, 8, 8, 1)), 0, 1)
        noise = rng.normal(size=(16, 8, 8, 1)) * 0.5 + 0.5
        mix = [(float(t), np.clip((1 - t) * data[:16] + t * noise, 0, 1)) for t in np.linspace(1, 0, 11)]
        history = [(500 * k, (255 * np.clip(data[:64] + rng.normal(size=data.shape) / (1 + 2 * k), 0, 1)).astype(np.uint8)) for k in range(6)]
        made[name] = {
            "grid": (data * 255).astype(np.uint8),
            "formation": [(t, (255 * frame).astype(np.uint8)) for t, frame in mix] if name in ("flow", "ddpm") else None,
            "training": history,
        }
    return made


@pytest.fixture(scope="module")
def toy_pictures():
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)

    def draw(n, modes, width):
        return (centres[rng.integers(0, modes, n)] + width * rng.normal(size=(n, 2))).astype(np.float32)

    made = {"real": {"grid": draw(1000, 8, 0.05)}}
    for name, modes, width in (("flow", 8, 0.06), ("ddpm", 8, 0.08), ("gan", 6, 0.03), ("vae", 8, 0.2)):
        data = draw(1000, modes, width)
        noise = rng.normal(size=(600, 2))
        path = [(float(t), ((1 - t) * data[:600] + t * noise).astype(np.float32)) for t in np.linspace(1, 0, 9)]
        made[name] = {"grid": data, "formation": path if name in ("flow", "ddpm") else None}
    return made


def toy_content(content):
    content["title"] = "gan, vae, ddpm, flow on ring"
    content["data"] |= {"name": "ring", "shape": [2], "kind": "vector", "classes": [], "columns": ["x", "y"]}
    content["settings"]["shared"] = "noise"
    more = {"modes_held": ("Modes held", "higher", 8.0, 0.0), "bridges": ("Bridges", "lower", 0.001, 0.001), "spread": ("Spread", "target", 1.0, 0.02)}
    content["metrics"] = {k: v for k, v in content["metrics"].items() if k != "sharpness"} | metrics(more)
    found = {"flow": (8, 0.01, 1.05), "ddpm": (8, 0.02, 1.1), "gan": (6, 0.005, 0.6), "vae": (8, 0.2, 1.8)}
    for entrant in content["entrants"]:
        held, bridges, spread = found[entrant["name"]]
        entrant["scores"].pop("sharpness")
        entrant["scores"] |= {"modes_held": score(held, 0.0, 8), "bridges": score(bridges, 0.002, 0.001), "spread": score(spread, 0.01, 1)}
    return content


if __name__ == "__main__":  # writes pages to look at: python tests/test_report.py FOLDER
    import sys

    full, digits, toy = whole.__wrapped__(), digit_pictures.__wrapped__(), toy_pictures.__wrapped__()  # type: ignore[attr-defined]
    Report(full, digits).save_all(f"{sys.argv[1]}/digits")
    Report(toy_content(copy.deepcopy(full)), toy).save_all(f"{sys.argv[1]}/toy")
