"""The server: each request gets what `sample` draws, whatever else is made with it, and nothing makes it compute without bound."""

import base64
import csv
import io
import json
import os
import random
import signal
import socket
import threading
import time

import httpx
import numpy as np
import pytest
import torch
from openai import BadRequestError, NotFoundError, OpenAI
from PIL import Image
from programs import fuzzing
from programs.tables import mixed_table
from starlette.testclient import TestClient

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import Diverged, UsageError
from pushforward.networks import MLP, Reshaped
from pushforward.registries import RECIPES, SOLVERS
from pushforward.serving import Busy, Limits, Model, application
from pushforward.solvers import named
from pushforward.solvers.table import LearnedTable, general
from pushforward.testing import IMAGES_ONLY, recipe_for, space_data, stirred
from pushforward.training import Run
from pushforward.transports import has_steps, inner_of

IMAGES, ROWS = "/v1/images/generations", "/v1/rows"
LEVEL = 1 / 255
SMALL = (1, 8, 8)


class Drawn(pf.Method):
    """A method that is nothing but its transport."""

    def __init__(self, transport):
        super().__init__()
        self.model, self.space = transport, transport.space

    players = averaged = property(lambda self: {})

    def losses(self, batch, now):
        return iter(())

    def transport(self):
        return self.model


def run_of(recipe, folder, shape=SMALL, labels=True, data=None):
    """An untrained run of a recipe whose samples depend on all of its weights."""
    data = space_data(shape, labels) if data is None else data
    return Run(folder, {"recipe": str(recipe)}, stirred(recipe_for(recipe, data).method), {"step": 0}, "")


def speaking(shape=SMALL):
    """A flow of images whose network is an MLP that puts out no zeros."""
    space = space_data(shape, True).space
    torch.manual_seed(1)
    network = MLP(64, 64, width=32, depth=1, conditions=space.conditions)
    network.leave.reset_parameters()
    return pf.Flow(pf.Denoiser(Reshaped(network, shape), pf.Linear(), "velocity", space), "dpm", 6)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    (folder / "spec.json").write_text("{}")
    return Run(folder, {"recipe": "flow"}, Drawn(speaking()), {"step": 0}, "")


def made(model, requests):
    """The samples of requests that are made together."""
    for request in requests:
        model.engine.submit(request)
    while model.engine.rows:
        model.engine.tick()
    assert model.engine.active == 0
    return [request.answer.result(timeout=0) for request in requests]


def wanted(run, n, seed, label=None, given=None, **sampler):
    condition = {**({"label": label} if label else {}), **(given or {})}
    return run.configured(**sampler).transport.sample(n, condition or None, seed=seed)


def check(run, asked, within, **engine):
    """Requests alone and together give what `sample` draws."""
    together = made(model := Model(run, **engine), [model.request(**each) for each in asked])
    for each, x in zip(asked, together, strict=True):
        expected = wanted(run, **each)
        assert (x - expected).abs().max() <= within, each
        [alone] = made(model, [model.request(**each)])
        assert (alone - x).abs().max() <= within, each


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_gives_the_samples_of_its_run(recipe, tmp_path):
    run = run_of(recipe, tmp_path, SMALL, labels=recipe not in IMAGES_ONLY)
    steps = [{}] if not has_steps(inner_of(run.transport)) else [{}, {"steps": 1}, {"steps": 3}]
    asked = [{"n": n, "seed": 50 * n, **more} for n, more in enumerate(steps * 2, start=1)]
    check(run, [{**each, "label": "b"} if run.space.classes else each for each in asked], LEVEL / 4, batch=4)


@pytest.mark.parametrize("recipe", ["flow", "ddpm", "edm", "vae", "gan"])
@pytest.mark.parametrize("kind", ["vectors", "tables"])
def test_rows_and_vectors_are_those_of_the_run(recipe, kind, tmp_path):
    data = mixed_table(200) if kind == "tables" else space_data((5,), False)
    run = run_of(recipe, tmp_path, data=data)
    steps = [{"steps": 2, "solver": "dpmsde"}, {"steps": 3, "solver": "heun"}] if has_steps(inner_of(run.transport)) else [{}]
    asked = [{"n": 9, "seed": 4, **steps[0]}, {"n": 5, "seed": -3, **steps[-1]}]
    model = Model(run, batch=8)
    if kind == "tables" and steps[0]:
        asked.append({"n": 4, "seed": 4, "given": {"whole": 3, "kind": "b"}, **steps[0]})
    for each, x in zip(asked, made(model, [model.request(**each) for each in asked]), strict=True):
        expected = wanted(run, **each)
        assert x.dtype == expected.dtype
        assert (x - expected).abs().max() < 1e-4
        assert run.space.records(x)[0][2:] == run.space.records(expected)[0][2:] or kind == "vectors"


SETTINGS = [{"steps": 4}, {"steps": 7, "scale": 3.0}, {"steps": 2, "scale": 0.0}]


def test_requests_of_all_solvers_share_calls_and_get_their_own_samples(flow):
    solvers = [name for name in SOLVERS if not (named(name).adaptive or named(name).jumps)]
    solvers += ["dpm:3", "eulermaruyama:0.3", "predictorcorrector:2"]
    asked = [
        {"n": 1 + number % 2, "seed": 17 * number, "label": "abc"[number % 3], "solver": solver, **SETTINGS[number % 3]}
        for number, solver in enumerate(solvers * 2)
    ]
    check(flow, asked, LEVEL / 4, batch=64)
    model = Model(flow, batch=64)
    made(model, [model.request(**each) for each in asked])
    assert model.engine.calls < 0.2 * model.engine.moved


def test_maps_between_two_times_jump_and_are_flows_too(tmp_path):
    run = run_of("meanflow", tmp_path)
    solvers = ["jump", "jump:0.5", "jump:1", "euler", "dpm", "ancestral"]
    asked = [{"n": 2, "seed": i, "steps": 1 + i % 3, "solver": solver, "label": "a"} for i, solver in enumerate(solvers * 2)]
    check(run, asked, LEVEL / 4, batch=8)


def test_a_map_that_has_learned_guidance_takes_a_scale_for_each_row(tmp_path):
    space = space_data(SMALL, True).space
    torch.manual_seed(2)
    network = MLP(64, 64, width=32, depth=1, conditions=space.conditions, times=3)
    network.leave.reset_parameters()
    scaling = pf.denoisers.Preconditioning(guidance=(1.0, 4.0))
    learned = pf.FlowMap(Reshaped(network, SMALL), pf.Linear(), "velocity", space, preconditioning=scaling)
    run = Run(tmp_path, {"recipe": "map"}, Drawn(pf.Flow(learned, "jump", 2)), {"step": 0}, "")
    check(run, [{"n": 2, "seed": 3, **({"scale": s} if s else {})} for s in (None, 1.0, 2.5, 4.0)], LEVEL / 4)
    with pytest.raises(UsageError):
        Model(run).request(scale=5.0)


def test_latent_autoguided_and_thresholded_models_and_learned_tables(flow, tmp_path):
    coder = pf.Autoencoder(pf.networks.Compressor((1, 16, 16), outputs=2, factor=2, width=8),
                           pf.networks.Expander((1, 16, 16), inputs=1, factor=2, width=8), space_data((1, 16, 16), False).space)
    latent = Run(tmp_path, {"recipe": "flow"}, Drawn(pf.Latent(speaking(), coder.eval())), {"step": 0}, "")
    check(latent, [{"n": 2, "seed": 5, "steps": 3}, {"n": 1, "seed": 9, "solver": "ancestral", "scale": 2.0}], LEVEL / 4)
    guided = flow.configured(weaker=speaking().denoiser.on(pf.VP()), weaker_scale=1.7, threshold=0.99)
    check(guided, [{"n": 2, "seed": 5, "steps": 3}, {"n": 2, "seed": 9, "steps": 5, "scale": 2.0}], LEVEL / 4)
    heun = flow.configured(solver="heun", steps=3)
    table = LearnedTable.of(general(inner_of(heun.transport).table), inner_of(heun.transport).times)
    weights = [[1.1 * w for w in row] for row in table.weights]
    learned = Run(tmp_path, {"recipe": "flow"}, Drawn(speaking()), {"step": 0}, "")
    learned.store_table(named("heun"), LearnedTable(table.kinds, table.times, weights, table.stops, table.grid))
    asked = [{"n": 2, "seed": 1, "steps": 3, "solver": "heun", **more} for more in ({}, {"scale": 1.5})]
    check(learned, asked, LEVEL / 4)
    [scaled] = made(model := Model(learned), [model.request(**asked[0])])
    assert (scaled - wanted(flow, **asked[0])).abs().max() > LEVEL


def test_rows_that_break_a_constraint_are_drawn_again_and_hopeless_requests_end(tmp_path):
    lines = [f"{i % 13};{i % 13 + i % 3};{'ny'[i % 2]}" for i in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["start;end;flag", *lines]) + "\n")
    run = run_of("flow", tmp_path, data=pf.data.load(tmp_path / "t.csv", constraints="end >= start"))
    asked = [{"n": 20, "seed": 3, "steps": 2}, {"n": 6, "seed": 90, "steps": 4, "solver": "euler"}]
    model = Model(run)
    for each, x in zip(asked, made(model, [model.request(**each) for each in asked]), strict=True):
        assert torch.equal(x, wanted(run, **each))
        assert run.space.valid(x).all()
    assert model.engine.made == 26 < model.engine.moved / 3
    never = run_of("flow", tmp_path, data=pf.data.load(tmp_path / "t.csv", constraints="end - start > 1.5"))
    never.transport.space.__dict__["constraints"] = pf.data.load(tmp_path / "t.csv", constraints="start >= 13.5").space.constraints \
        if False else never.transport.space.constraints
