"""Conformance of metrics and of feature extractors."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from pushforward.data import Dataset
from pushforward.errors import Diverged
from pushforward.evaluation.features import fit_features
from pushforward.extractors import Extractor
from pushforward.metrics import Metric, Samples
from pushforward.testing.models import law, refuses, space_data

EXAMPLES = 240
SIDE = 6


def sample_sets() -> list[Samples]:
    """Build samples of a good model of vectors and of images."""
    random = np.random.Generator(np.random.Philox(3))
    centres = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
    truth = SimpleNamespace(centres=centres, std=0.2, weights=np.full(3, 1 / 3))
    modes = centres[random.integers(3, size=(3, EXAMPLES))]
    vectors = modes + 0.2 * random.standard_normal((3, EXAMPLES, 2))
    images = 0.5 + 0.2 * random.standard_normal((3, EXAMPLES, SIDE * SIDE))
    return [
        _samples(vectors, (2,), truth),
        _samples(images.clip(0, 1), (1, SIDE, SIDE), None),
    ]


def _samples(splits: np.ndarray, shape: tuple[int, ...], truth: Any) -> Samples:
    generated, reference, training = splits.astype(np.float32)
    return Samples(
        generated,
        reference,
        training,
        generated.astype(np.float64),
        reference.astype(np.float64),
        shape,
        truth=truth,
        generated_classes=_classes(generated),
        reference_classes=_classes(reference),
        classes=2,
    )


def _classes(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 0] > np.median(x[:, 0]), np.int64)


def _backwards(samples: Samples) -> Samples:
    changes = {}
    for name in ("generated", "generated_features", "generated_classes"):
        values = getattr(samples, name)
        if values is not None:
            changes[name] = values[::-1].copy()
    if samples.table is not None:
        rows = samples.table.generated[::-1].copy()
        changes["table"] = replace(samples.table, generated=rows)
    return replace(samples, **changes)


def _far(samples: Samples) -> Samples:
    far = np.full_like(samples.generated, 9 * np.abs(samples.reference).max())
    return replace(samples, generated=far, generated_features=far.astype(np.float64))


def check_metric(
    metric: Metric | type[Metric],
    samples: Samples | None = None,
    worse: Callable[[Samples], Samples] = _far,
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
            None for vectors or images. Metrics of tables need them.
        worse: Function that replaces the generated examples by some that must not score better; by
            default one example far from all data, n times.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        TypeError: If it applies to none of the samples.
    """
    thing = metric() if isinstance(metric, type) else metric
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
        assert all(thing.scores[name].what for name in scores)
        assert all(math.isfinite(score.number) for score in scores.values())
    shuffled = thing(_backwards(given))
    bad = thing(worse(given))
    for name, score in scores.items():
        with law(thing, "the order of generated examples must not matter"):
            same = math.isclose(shuffled[name].number, score.number, rel_tol=1e-6, abs_tol=1e-9)
            assert same, f'"{name}" changes.'
        sign = {"lower": -1, "higher": 1}.get(thing.scores[name].better or "", 0)
        if name in bad and math.isfinite(bad[name].number):
            with law(thing, f'"{name}" must not be better for worse examples'):
                better = sign * score.number >= sign * bad[name].number
                assert better, f"Good: {score}, worse: {bad[name]}."
    nothing = np.full_like(given.generated, np.nan)
    with law(thing, "examples that are not finite must be refused"):
        assert refuses(lambda: replace(given, generated=nothing), Diverged)


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

    Args:
        extractor: Name, extractor, class without required arguments, or network.
        data: Supported data; None for 70 random grey images of three classes.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        PushforwardError: If the data is not supported, or the extractor fails.
    """
    data = data or space_data((1, 8, 8), labels=True)
    part = extractor
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
