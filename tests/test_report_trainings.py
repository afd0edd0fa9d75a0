"""Several trainings of one recipe in a report."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from programs.report_pages import check_page
from programs.reporting import comparison, model, pooled, report, said

from pushforward.report import facts


def trained(content, values, name="flow"):
    """One model for each training of a recipe, as `compare --seeds` makes them, in place of one."""
    (place,) = (i for i, entry in enumerate(content["models"]) if entry["name"] == name)
    trainings = []
    for seed, value in enumerate(values):
        entry = copy.deepcopy(content["models"][place]) | {"name": f"{name}-{seed}", "seed": seed, "run": f"runs/{name}-{seed}"}
        entry["scores"]["frechet"] |= {"value": value, "ratio": value / 0.1}
        entry["training"]["seconds"] = 60.0 + seed
        entry["commands"] = [f"pushforward train {name} --seed {seed}"]
        trainings.append(entry)
    content["models"][place : place + 1] = trainings
    content["settings"] |= {"seeds": len(values), "shared": [[entry["name"] for entry in trainings] + ["ddpm"], ["gan", "vae"]]}
    return content


def test_trainings_of_a_recipe_are_one_row_with_their_own_spread(content):
    content = trained(content, (0.12, 0.20, 0.13))
    pictures = {entry["name"]: {"grid": i} for i, entry in enumerate(content["models"])} | {"real": {"grid": 9}}
    aggregate, drawn = pooled(content, pictures)
    assert [entry["name"] for entry in aggregate["models"]] == ["flow", "ddpm", "gan", "vae"]
    flow = model(aggregate, "flow")
    row = flow["scores"]["frechet"]
    assert row["value"] == pytest.approx(0.15)
    assert row["spread"] == pytest.approx(np.std([0.12, 0.20, 0.13], ddof=1))
    assert row["ratio"] == pytest.approx(1.5)
    assert row["values"] == [0.12, 0.20, 0.13]
    assert flow["scores"]["kid"]["spread"] == pytest.approx(0.0002), "no less than over samplings"
    assert flow["training"]["seconds"] == pytest.approx(61)
    assert flow["parameters"] == 402_314
    assert [training["seed"] for training in flow["trainings"]] == [0, 1, 2]
    assert [training["scores"]["frechet"]["value"] for training in flow["trainings"]] == [0.12, 0.20, 0.13]
    assert len(flow["commands"]) == 3
    assert {name: parts.grid for name, parts in drawn.items()} == {"flow": 0, "ddpm": 3, "gan": 4, "vae": 5, "real": 9}
    assert aggregate["settings"]["shared"] == [["flow", "ddpm"], ["gan", "vae"]]
    assert said(aggregate)[0].startswith("Best in Fréchet distance: flow"), "0.15 ± 0.04 is no better than 0.21"
    assert "ddpm (0.210)" in said(aggregate)[0]
    assert "Spreads over a few trainings are rough" in " ".join(facts.limits(comparison(aggregate)))
    check_page(report(aggregate).to_html())
