"""Conformance of metrics and of feature extractors."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pushforward.data import Dataset
from pushforward.errors import Diverged
from pushforward.evaluation.features import fit_features
from pushforward.extractors import Extractor
from pushforward.metrics import Metric, Samples, Score
from pushforward.tables.metrics.table import Table
from pushforward.testing.models import law, refuses, space_data

EXAMPLES = 240
SIDE = 6


def sample_sets() -> list[Samples]:
    """Build samples of a good model of vectors, of images, and of table rows."""
    random = np.random.Generator(np.random.Philox(3))
    centres = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
    truth = SimpleNamespace(centres=centres, std=0.2, weights=np.full(3, 1 / 3))
    vectors = []
    for _ in range(3):
        modes = centres[random.integers(3, size=EXAMPLES)]
        vectors.append(modes + 0.2 * random.standard_normal((EXAMPLES, 2)))
    images = []
    for _ in range(3):
        noise = random.standard_normal((EXAMPLES, SIDE * SIDE))
        images.append(np.clip(0.5 + 0.2 * noise, 0, 1))
    rows = [_rows(random) for _ in range(3)]
    generated, reference, training = map(_values, rows)
    table = Table(
        generated,
        reference,
        ("number", "other", "category", "target"),
        ("number", "number", "category", "boolean"),
        ((), (), ("low", "middle", "high"), ("no", "yes")),
        "target",
        training=training,
    )
    return [
        _samples(vectors, (2,), truth=truth),
        _samples(images, (1, SIDE, SIDE)),
        _samples(rows, (7,), table=table),
    ]


def _rows(random: np.random.Generator) -> np.ndarray:
    number = random.standard_normal(EXAMPLES)
    other = number + random.standard_normal(EXAMPLES)
    category = np.searchsorted([-0.5, 0.5], number + 0.5 * random.standard_normal(EXAMPLES))
    positive = np.asarray(other > 0, int)
    return np.column_stack([number, other, np.eye(3)[category], np.eye(2)[positive]])


def _values(x: np.ndarray) -> np.ndarray:
    rows = x.astype(np.float32)
    category = rows[:, 2:5].argmax(1)
    target = rows[:, 5:].argmax(1)
    return np.column_stack([rows[:, :2], category, target]).astype(np.float64)


def _samples(splits: Sequence[np.ndarray], shape: tuple[int, ...], **more: Any) -> Samples:
    generated, reference, training = (part.astype(np.float32) for part in splits)
    return samples_of(
        generated,
        reference,
        training,
        shape=shape,
        generated_classes=_classes(generated),
        reference_classes=_classes(reference),
        classes=2,
        **more,
    )


def _classes(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 0] > np.median(x[:, 0]), np.int64)


def _with_generated(samples: Samples, generated: np.ndarray) -> Samples:
    changes: dict[str, Any] = {
        "generated": generated.astype(np.float32),
        "generated_features": generated.astype(np.float64),
    }
    if samples.generated_classes is not None:
        changes["generated_classes"] = _classes(generated)
    if samples.table is not None:
        changes["table"] = dataclasses.replace(samples.table, generated=_values(generated))
    return dataclasses.replace(samples, **changes)


def check_metric(
    metric: Metric | type[Metric],
    samples: Samples | None = None,
    worse: Callable[[Samples], np.ndarray] | None = None,
) -> None:
    """Check the laws of a metric, in milliseconds.

    1. It gives the scores that it declares, finite, with a description for each.
    2. The order of the generated examples does not matter.
    3. It changes none of the arrays that it is given.
    4. Good examples score at least as well as ``worse`` ones.
    5. Examples that are not finite are refused before it is called.

    Args:
        metric: Metric, or class without required arguments.
        samples: Samples of a good model that it applies to, with features equal to the examples;
            None takes the first of `sample_sets` that it applies to.
        worse: Function from the samples to generated examples (n, d) that must not score better;
            None for one example far from all data, n times. For a metric of copying, use the
            training examples.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        TypeError: If it applies to none of the samples.
    """
    thing: Metric = metric() if isinstance(metric, type) else metric
    applicable = [kind for kind in ([samples] if samples else sample_sets()) if thing.applies(kind)]
    if not applicable:
        raise TypeError(
            f"{type(thing).__name__} applies to none of the samples. "
            "Pass samples that it applies to."
        )
    given = applicable[0]
    arrays = (given.generated, given.reference, given.training)
    before = [array.copy() for array in arrays]
    scores = thing(given)
    with law(thing, "it must not modify the arrays it is given"):
        assert all(map(np.array_equal, before, arrays))
    with law(thing, "it must return finite scores, each declared and described"):
        assert scores
        assert scores.keys() <= set(thing.scores), f"It returned {sorted(scores)}."
        for name, score in scores.items():
            assert thing.scores[name].what
            assert math.isfinite(score.number)
    shuffled = thing(_with_generated(given, given.generated[::-1].copy()))
    with law(thing, "the order of generated examples must not matter"):
        for name, score in scores.items():
            same = math.isclose(shuffled[name].number, score.number, rel_tol=1e-6, abs_tol=1e-9)
            assert same, f'"{name}" changes.'
    if worse is None:
        far = np.full_like(given.generated, 9 * np.abs(given.reference).max())
    else:
        far = worse(given)
    bad = thing(_with_generated(given, far))
    for name, score in scores.items():
        sign = {"lower": -1, "higher": 1}.get(thing.scores[name].better or "", 0)
        if name in bad and math.isfinite(bad[name].number):
            with law(thing, f'"{name}" must not be better for worse examples'):
                better = sign * score.number >= sign * bad[name].number
                assert better, f"Good: {score}, worse: {bad[name]}."
    nothing = np.full_like(given.generated, np.nan)
    with law(thing, "examples that are not finite must be refused"):
        assert refuses(lambda: _with_generated(given, nothing), Diverged)


def samples_of(
    generated: np.ndarray,
    reference: np.ndarray,
    training: np.ndarray | None = None,
    *,
    features: bool = True,
    **more: Any,
) -> Samples:
    """Convert arrays (n, d) to inputs of metrics, as their own features or with features 0."""
    if training is None:
        training = reference
    if training.dtype != np.uint8:
        training = training.astype(np.float32)

    def as_features(x: NDArray[Any]) -> NDArray[Any]:
        if features:
            return x.astype(np.float64)
        return np.zeros((len(x), 1))

    fields = {
        "generated": generated.astype(np.float32),
        "reference": reference.astype(np.float32),
        "training": training,
        "generated_features": as_features(generated),
        "reference_features": as_features(reference),
        "shape": generated.shape[1:],
    }
    for name, value in more.items():
        if value is not None:
            fields[name] = value
    return Samples(**fields)  # type: ignore[arg-type]


def values_of(metric: Metric, *arrays: np.ndarray, **more: Any) -> dict[str, Score]:
    """Compute the scores for `samples_of` the arrays, to which the metric must apply."""
    samples = samples_of(*arrays, **more)
    assert metric.applies(samples)
    return metric(samples)


FEATURES_EXAMPLES = 12


def check_features(
    extractor: str | Extractor | type[Extractor] | nn.Module, data: Dataset | None = None
) -> None:
    """Check the laws of a feature extractor, in the time of two fits.

    1. It describes itself and its preprocessing.
    2. It gives float64 (n, features), finite.
    3. An example's features do not depend on the others of its batch, nor on their order.
    4. The same data and seed give the same features, bit for bit, and the same identity; torch's
       global generator is unchanged.
    5. Features read from the cache are the same, bit for bit.
    6. Other weights give another identity.

    Args:
        extractor: Name, extractor, class without required arguments, or network.
        data: Supported data; None for 70 random grey images of three classes.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        PushforwardError: If the data is not supported, or the extractor fails.
    """
    data = data or space_data((1, 8, 8), labels=True)
    part: Any = extractor
    before = torch.get_rng_state()
    with tempfile.TemporaryDirectory() as cache:
        features = fit_features(data, extractor, cache=cache, reads=False)
        cached = fit_features(data, extractor, cache=cache, reads=False)
        again = fit_features(data, extractor, cache=False, reads=False)
    with law(part, "it must not change torch's global generator"):
        assert torch.equal(torch.get_rng_state(), before)
    with law(part, "it must describe itself and its preprocessing"):
        assert features.extractor.describe()
        assert features.extractor.preprocessing(data.space)
    x = data.held_out.data_units(slice(FEATURES_EXAMPLES))
    n = FEATURES_EXAMPLES * 10
    whole = features(x, n)
    with law(part, "it must return finite float64 of shape (n, features)"):
        assert whole.dtype == np.float64
        assert whole.shape == (len(x), features.dims(n))
        assert np.isfinite(whole).all()
    scale = max(1e-3, float(np.abs(whole).max()))
    singly = np.concatenate([features(example[None], n) for example in x])
    turned = features(x.flip(0), n)[::-1]
    for name, changed in (("the other examples in the batch", singly), ("their order", turned)):
        with law(part, f"an example's features must not depend on {name}"):
            gap = float(np.abs(changed - whole).max()) / scale
            assert gap < 1e-4, f"They differ by {gap:.1e} of the largest."
    for same, cause in ((again, "the same data and seed"), (cached, "the cache")):
        with law(part, f"{cause} must give the same features, bit for bit, and the same identity"):
            assert np.array_equal(whole, same(x, n)), "The features differ."
            assert features.identity == same.identity, "The identities differ."
    _check_identity(part, again)


def _check_identity(part: Any, features: Any) -> None:
    weights = features.weights
    identity = features.identity
    del features.weights
    tensors = []
    for tensor in features._network.state_dict().values():
        if tensor.is_floating_point() and tensor.numel():
            tensors.append(tensor)
    if tensors:
        tensors[-1].view(-1)[0] += 1
    else:
        features.tensors["mean"][0] += 1
    with law(part, "other weights must have another hash"):
        assert features.weights != weights
    with law(part, "rounding of weights must not change its identity if its source is known"):
        assert features.identity == identity or not features.determined
