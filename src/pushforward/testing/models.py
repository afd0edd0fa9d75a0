"""Conformance of methods, recipes and spaces, and the data that they are tried on."""

from __future__ import annotations

import copy
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward import recipes, spec
from pushforward.conditions import Label
from pushforward.data import Batch, Dataset, ImageSpace, Space, Split, VectorSpace, kinds
from pushforward.denoisers import Condition
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.methods.method import Method, PrecomputesInputs, StepContext
from pushforward.recipes import RecipeFunction
from pushforward.recipes.recipe import Recipe
from pushforward.training import Run, fit, load
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import MEASURED, Groups, load as load_checkpoint
from pushforward.training.loop.model_setup import fields_of
from pushforward.transports import Flow, Transport


class Broken(AssertionError):
    """Raised if a part violates a law; the message names both."""


@contextmanager
def law(part: Any, says: str) -> Iterator[None]:
    """Context that adds part and law to failed assertions."""
    try:
        yield
    except AssertionError as error:
        raise Broken(f"{type(part).__name__}: {says}. {error}".rstrip()) from error


def built(part: Any, kind: type) -> Any:
    """Return the part, or an instance if a class is given."""
    thing = part() if isinstance(part, type) else part
    if not isinstance(thing, kind):
        raise TypeError(f"Expected a {kind.__name__} or a subclass, got {thing!r}.")
    return thing


def refuses(work: Callable[[], object], error: type[Exception]) -> bool:
    """Return whether ``work`` raises this error."""
    try:
        work()
    except error:
        return True
    return False


def rebuilt(part: Any) -> Any:
    """Rebuild a part from its description, after registering your own class."""
    kind = type(part)
    known = spec.registered().get(kind.__name__, kind)
    with law(part, "its class must not have the same name as a part of pushforward"):
        assert known is kind or not known.__module__.startswith("pushforward."), f"{known} has it."
    if not kind.__module__.startswith("pushforward."):
        spec.register(kind)
    return spec.build(spec.describe(part))


IMAGES_ONLY = ("autoencoder",)  # Recipes that take images alone; this one receives no labels either


def space_data(shape: tuple[int, ...], labels: bool, n: int = 70, seed: int = 0) -> Dataset:
    """Build n random examples, and 24 held-out examples, with three classes or none.

    The shape of an example is (d,) for float vectors, (channels, height, width) for bytes.
    """
    random = np.random.default_rng(seed)
    size = (n + 24, *shape)
    x: np.ndarray
    space: Space
    conditions = {}
    if labels:
        conditions["label"] = Label(("a", "b", "c"), (0.5, 0.25, 0.25))
    if len(shape) == 1:
        x = (random.normal(size=size) * 2 + 1).astype(np.float32)
        mean = x.mean(0).tolist()
        std = x.std(0).tolist()
        space = VectorSpace(shape, mean, std, conditions=conditions)
    else:
        x = random.integers(0, 256, size=size, dtype=np.uint8)
        unit = x.astype(np.float64) / 255
        mean = unit.mean((0, 2, 3)).tolist()
        std = unit.std((0, 2, 3)).tolist()
        low = (0.0,) * shape[0]
        high = (1.0,) * shape[0]
        space = ImageSpace(shape, mean, std, low=low, high=high, conditions=conditions)
    if not labels:
        return Dataset("made", space, Split(x[:n], None), Split(x[n:], None))
    label = random.integers(0, 3, size=len(x))
    return Dataset("made", space, Split(x[:n], label[:n]), Split(x[n:], label[n:]))


def shape_for(name: str) -> tuple[int, ...]:
    """Choose a shape that suits a recipe."""
    if name in IMAGES_ONLY:
        return (1, 8, 8)
    return (17,)


def teachers_for(recipe: recipes.RecipeFunction, space: Space) -> dict[str, Any]:
    """Build an untrained flow or map for each frozen part that a recipe needs."""
    teachers = {}
    parts = recipes.frozen_parts(recipe)
    for name in recipes.missing_parts(recipe):
        maps = "FlowMap" in recipes.words_of(parts[name].annotation)
        function = recipes.named("meanflow" if maps else "flow")
        flow = function(space, "tiny").method.transport()
        with torch.no_grad():
            for parameter in flow.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.05)
        teachers[name] = flow.denoiser if maps else flow
    return teachers


def recipe_for(recipe: str | Any, data: Dataset, **training: Any) -> recipes.Recipe:
    """Build a tiny recipe with fixed initial weights, and batches of 16 by default."""
    function = recipes.named(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = teachers_for(function, data.space)
        if "trajectories" in recipes.settings(function):
            options["trajectories"] = 64
        built = function(data.space, "tiny", **options)
    training.setdefault("batch", 16)
    return dataclasses.replace(built, training=dataclasses.replace(built.training, **training))


def check_space(kind: type[Space], x: NDArray[Any]) -> None:
    """Check all laws of a kind of data.

    Args:
        kind: Class of the package, or class registered with `pushforward.spec.register`.
        x: Some samples as a `Split` stores them, (n, *shape), n at least 2, of which no number is
            the same in all samples.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
    """
    space = kind.measured(x)
    with law(space, "no other kind may accept its arrays"):
        assert [other for other in kinds() if other.accepts(x)] == [kind]
    data = Split(x).data_units()
    with law(space, "rebuilding a space from its description must give an equal space"):
        assert space.shape == x.shape[1:]
        assert spec.build(spec.describe(space)) == space
    exact = data.double()
    scale = torch.from_numpy(space.scale).double()
    model = space.to_model(exact)
    with law(space, "model units must have mean 0, and `to_data` must invert `to_model`"):
        assert abs(float(model.mean())) < 1e-4
        assert torch.allclose(space.to_data(model), exact, rtol=1e-9, atol=1e-9)
    with law(space, "`scale` must be the standard deviations, and `log_det` minus their log sum"):
        gaps = (exact - exact[:1]).flatten(1) / scale
        assert torch.allclose(gaps, (model - model[:1]).flatten(1), rtol=1e-5, atol=1e-5)
        assert abs(space.log_det + float(scale.log().sum())) <= 1e-5 * (1 + abs(space.log_det))
    if space.bounds is not None:
        low, high = space.bounds
        with law(space, "data must lie within the bounds"):
            assert (model.float() >= low - 1e-4).all()
            assert (model.float() <= high + 1e-4).all()
    examples = space.quantise(data)
    with law(space, "a written file must return the same values"):
        assert torch.equal(space.rounded(data), data)
        assert len(examples) == len(data)
        assert ".npz" in space.endings
    with law(space, "samples must be drawn as pictures, or as points if `as_points` is set"):
        drawn = space.drawing(examples)
        assert drawn.ndim == (2 if space.as_points else 4)
        assert len(drawn) == len(data)
        assert space.as_points or drawn.dtype == np.uint8
    with law(space, "an unscaled space must use data units as model units"):
        wide = space.unscaled(tuple(side + 1 for side in space.shape))
        ones = torch.ones(1, *wide.shape)
        assert torch.equal(wide.to_model(ones), ones)
        assert wide.bounds is None


def check_method(
    method: Method | Recipe | Callable[..., Method | Recipe],
    data: Dataset | None = None,
    *,
    size: int = 16,
) -> None:
    """Check the laws of a method that need no training, in seconds.

    1. The trained networks are named modules that share no parameter; frozen parts belong to none.
    2. ``turns`` yields names of trained networks with finite scalar losses, each of which reaches
       the parameters of its network.
    3. Losses depend only on batch, `StepContext` and weights, to the last bit.
    4. The description rebuilds the method with the same names and shapes of tensors.
    5. `PrecomputesInputs.prepared` depends only on the example and its place.
    6. Samples are finite, have the shape of the data and stay within its bounds; sample i comes
       from seed + i.

    Args:
        method: Method, recipe, or function from a `Space` to either.
        data: Data for the method; None for labelled vectors with 17 columns.
        size: Batch size, a multiple of the method's ``group``.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        TypeError: If it is not a method.
    """
    data = data or space_data((17,), labels=True)
    thing = method if isinstance(method, (Method, Recipe)) else method(data.space)
    if isinstance(thing, Recipe):
        thing = thing.method
    if not isinstance(thing, Method):
        raise TypeError(
            f"Expected a method, a recipe, or a function from a space to a method, got {thing!r}."
        )
    _check_networks(thing)
    _check_losses(thing, _batch_for(thing, data, size))
    with law(thing, "it must be rebuilt from its description"):
        again = rebuilt(thing).state_dict()
        tensors = thing.state_dict()
        assert again.keys() == tensors.keys()
        assert all(again[name].shape == tensors[name].shape for name in tensors)
    transport = stirred(thing).transport()
    _check_drawn(thing, transport.sample(4, seed=7), data.space)
    with law(thing, "sample i must depend on seed + i only"):
        check_seeds(transport)


def _check_networks(method: Method) -> None:
    owned = []
    with law(method, "it must have networks, each with parameters"):
        assert method.players
        for player in method.players.values():
            parameters = list(map(id, player.parameters()))
            assert parameters
            owned += parameters
    with law(method, "networks must not share parameters"):
        assert len(owned) == len(set(owned))
    with law(method, "frozen parts must not belong to a network"):
        for part in method.parts.values():
            assert set(owned).isdisjoint(map(id, part.parameters()))


def _batch_for(method: Method, data: Dataset, size: int) -> Batch:
    x, condition = _examples(data, slice(size))
    if not isinstance(method, PrecomputesInputs):
        return Batch(x, condition)
    fields = fields_of(method, x, condition)
    middle = size // 2
    half = fields_of(method, *_examples(data, slice(middle, size)), middle)
    with law(method, "prepared inputs must depend on the example only"):
        for name, value in half.items():
            torch.testing.assert_close(value, fields[name][middle:], rtol=1e-4, atol=1e-4)
    return Batch(fields.pop("x"), condition, fields)


def _check_losses(method: Method, batch: Batch) -> None:
    first = _turns(stirred(method), batch)
    second = _turns(stirred(method), batch)
    with law(method, "losses must yield names of networks with finite scalar losses"):
        assert first
        for player, loss, _ in first:
            assert player in method.players, f'"{player}" is not one of its networks.'
            assert loss.shape == (), f"A loss has shape {tuple(loss.shape)}."
            assert math.isfinite(float(loss))
    with law(method, "each loss must reach the parameters of its network"):
        for player, _, gradient in first:
            assert gradient > 0, f'No gradient reaches "{player}".'
    with law(method, "losses must depend only on batch, now and weights"):
        assert [float(loss) for _, loss, _ in first] == [float(loss) for _, loss, _ in second]


def _examples(data: Dataset, index: slice) -> tuple[Tensor, Condition]:
    x = data.space.to_model(data.train.data_units(index))
    return x, data.train.condition(data.space.conditions, index)


def _turns(method: Method, batch: Batch) -> list[tuple[str, Tensor, float]]:
    torch.manual_seed(0)  # only dropout uses torch's generator
    turns = []
    for player, loss in method.turns(batch, StepContext(BlockDraws(0, 1, len(batch.x)), 0, 0.5, 1)):
        total = 0.0
        if player in method.players and loss.dim() == 0:
            parameters = [p for p in method.players[player].parameters() if p.requires_grad]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for gradient in gradients:
                if gradient is not None:
                    total += float(gradient.abs().sum())
        turns.append((player, loss.detach(), total))
    return turns


def _check_drawn(method: Method, x: Tensor, space: Space) -> None:
    with law(method, "samples must be finite, have the data's shape and lie within its bounds"):
        assert x.shape[1:] == torch.Size(space.shape)
        assert torch.isfinite(x).all()
        assert space.levels is None or (x.min() >= 0 and x.max() <= 1)


def check_seeds(transport: Transport) -> None:
    """Check that samples depend on their own seed only."""
    whole = moved(transport, 0, 8)
    scale = float(whole.std())
    apart = (whole[1:] - whole[:-1]).flatten(1).square().mean(1).sqrt()
    assert apart.min() > 1e-2 * scale, "If seeds had no effect, equal samples would prove nothing."
    for seed, n in ((4, 4), (2, 1)):
        torch.testing.assert_close(
            moved(transport, seed, n), whole[seed : seed + n], rtol=0, atol=1e-4 * scale
        )


def moved(transport: Transport, seed: int, n: int) -> Tensor:
    """Return samples in model units, where images do not saturate."""
    draws = ExampleDraws(seed, n)
    condition = transport.conditions(n, None, seed)
    with torch.no_grad():
        return transport(draws.normal(transport.noise_shape), condition, draws)


def stirred(method: Method) -> Method:
    """Copy a model with slightly changed weights, so that samples depend on all."""
    method = copy.deepcopy(method).eval()
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=random))
    return method


State = tuple[Groups, dict[str, Any]]
FEW = 4  # Steps of a sampler, at most, where a law is not of its steps


def final_state(folder: Path) -> State:
    """Return the tensors and counters of a run's newest checkpoint, without measurements."""
    newest = latest(folder / "checkpoints")
    assert newest is not None, f"{folder} has no checkpoint."
    stored = load_checkpoint(newest)
    counters = {name: value for name, value in stored.state.items() if name not in MEASURED}
    return stored.tensors, counters


def assert_same(a: State, b: State) -> None:
    """Check that two final states are equal bit for bit."""
    groups, counters = a
    others, other_counters = b
    assert counters == other_counters, f"Counters differ: {counters} and {other_counters}."
    assert groups.keys() == others.keys() == {"method", "average", "optimizer"}
    for group, tensors in groups.items():
        same = tensors.keys() == others[group].keys()
        assert same, f"The tensors of {group} have different names."
        for name, tensor in tensors.items():
            assert torch.equal(tensor, others[group][name]), f"{group}/{name} differs."


@dataclass(frozen=True)
class Trained:
    """One recipe trained twice: undisturbed, and killed after one step, resumed and loaded."""

    whole: Run
    run: Run
    data: Dataset


def train_twice(recipe: str | RecipeFunction, data: Dataset, folder: Path) -> Trained:
    """Train for two steps, and again with a kill after the first."""
    whole = fit(recipe_for(recipe, data), data, steps=2, out=folder / "whole")
    cut = folder / "cut"
    trainer = prepare(recipe_for(recipe, data), data, steps=2, out=cut, checkpoint_every=1)
    trainer.advance(1e-9)
    del trainer  # a kill: nothing is finished or saved beyond the last checkpoint
    reopen(cut, data=data).advance()
    return Trained(whole, load(cut), data)


def in_few_steps(transport: Transport) -> Transport:
    """Return the transport with at most four steps."""
    if isinstance(transport, Flow) and transport.steps > FEW:
        return transport.with_solver(transport.solver, FEW)
    return transport


def check_resumed(trained: Trained) -> None:
    """Check that the interrupted run ends like the other, bit for bit."""
    method = trained.run.method
    with law(method, "a run that was interrupted and resumed must end like an uninterrupted one"):
        assert_same(final_state(trained.whole.folder), final_state(trained.run.folder))


def check_stored(trained: Trained) -> None:
    """Check that the run folder describes the method."""
    method = trained.run.method
    with law(method, "rebuilding the run from its description must give the same method"):
        assert spec.describe(spec.build(spec.describe(method))) == trained.run.spec["method"]


def check_sampled(trained: Trained) -> Tensor:
    """Check samples, and their equality after loading; return five samples."""
    x = trained.run.transport.sample(5, seed=7)
    with law(trained.run.method, "a loaded run must draw the same samples as the trained run"):
        loaded = in_few_steps(trained.run.transport).sample(5, seed=7)
        whole = in_few_steps(trained.whole.transport).sample(5, seed=7)
        assert torch.equal(loaded, whole)
    _check_drawn(trained.run.method, x, trained.data.space)
    return x


def check_scored(trained: Trained) -> None:
    """Check that evaluation returns finite scores."""
    from pushforward.evaluation import Evaluator  # scikit-learn, which nothing else here needs

    scores, _ = Evaluator(trained.data, repeats=1).scores(in_few_steps(trained.run.transport))
    with law(trained.run.method, "evaluation must return finite scores"):
        assert {"frechet", "coverage", "kid"} <= scores.keys()
        assert all(np.isfinite(score.number) for score in scores.values())


def check_recipe(
    recipe: str | RecipeFunction, data: Dataset | None = None, folder: str | Path | None = None
) -> None:
    """Check all laws of a recipe and its method, in a few seconds.

    Trains twice for two steps at size "tiny", once interrupted, and resumes, loads, samples and
    evaluates the run.

    Args:
        recipe: Name of a recipe, or a function of a space and a size.
        data: Data for the method; None for labelled vectors with 17 columns.
        folder: Folder for runs; None for a temporary folder.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
    """
    data = data or space_data((17,), labels=True)
    check_method(recipe_for(recipe, data), data)
    with tempfile.TemporaryDirectory() as temporary:
        trained = train_twice(recipe, data, Path(folder or temporary))
        check_resumed(trained)
        check_stored(trained)
        check_sampled(trained)
        check_scored(trained)
