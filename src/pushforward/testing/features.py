"""The laws of feature extractors."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from torch import nn

from pushforward.data import Dataset
from pushforward.evaluation.features import Features, fit_features
from pushforward.extractors import Extractor
from pushforward.testing.laws import law
from pushforward.testing.samples import space_data

EXAMPLES = 12


def check_features(extractor: str | Extractor | type[Extractor] | nn.Module, data: Dataset | None = None) -> None:
    """Check the laws of a feature extractor, in the time of two fits.

    1. It describes itself and its preprocessing.
    2. It gives float64 (n, features), finite.
    3. An example's features do not depend on the others of its batch, nor on their order.
    4. The same data and seed give the same features, bit for bit, and the same identity; torch's global generator is unchanged.
    5. Features read from the cache are the same, bit for bit.
    6. Other weights give another identity.

    Args:
        extractor: A name, an extractor, a class that needs no arguments, or a network.
        data: Data that it can read; None takes 70 random grey images of three classes.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
        PushforwardError: If it cannot read the data, or fails.
    """
    data = data or space_data((1, 8, 8), labels=True)
    part: Any = extractor
    before = torch.get_rng_state()
    with tempfile.TemporaryDirectory() as cache:
        features, cached = (fit_features(data, extractor, cache=cache, reads=False) for _ in range(2))
        again = fit_features(data, extractor, cache=False, reads=False)
        with law(part, "torch's global generator must be unchanged"):
            assert torch.equal(torch.get_rng_state(), before)
        with law(part, "it must describe itself and its preprocessing"):
            assert features.extractor.describe()
            assert features.extractor.preprocessing(data.space)
        x = data.held_out.data_units(slice(EXAMPLES))
        whole = _checked(part, features, x)
        _check_batches(part, features, x, whole)
        for other, says in ((again, "the same data and seed must give"), (cached, "the cache must give")):
            with law(part, f"{says} the same features, bit for bit, and the same identity"):
                assert np.array_equal(whole, other(x, EXAMPLES * 10)), "The features differ."
                assert features.identity == other.identity, "The identities differ."
    _check_identity(part, again)


def _checked(part: Any, features: Features, x: torch.Tensor) -> np.ndarray:
    whole = features(x, EXAMPLES * 10)
    with law(part, "it must give float64 (n, features), finite"):
        assert whole.dtype == np.float64
        assert whole.shape == (len(x), features.dims(EXAMPLES * 10))
        assert np.isfinite(whole).all()
    return whole


def _check_batches(part: Any, features: Features, x: torch.Tensor, whole: np.ndarray) -> None:
    scale = max(1e-3, float(np.abs(whole).max()))
    singly = np.concatenate([features(example[None], EXAMPLES * 10) for example in x])
    turned = features(x.flip(0), EXAMPLES * 10)[::-1]
    for name, other in (("the others of its batch", singly), ("their order", turned)):
        with law(part, f"an example's features must not depend on {name}"):
            gap = float(np.abs(other - whole).max()) / scale
            assert gap < 1e-4, f"They differ by {gap:.1e} of the largest."


def _check_identity(part: Any, features: Features) -> None:
    network: nn.Module = features._network
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point() and tensor.numel()]
    before, identity = features.weights, features.identity
    del features.weights
    if tensors:
        tensors[-1].view(-1)[0] += 1
    else:
        features.tensors["mean"][0] += 1
    with law(part, "other weights must have another hash"):
        assert features.weights != before
    with law(part, "rounding of weights must not change what identifies it, where its source is known"):
        assert features.identity == identity or not features.determined
