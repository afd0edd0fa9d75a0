"""The laws of spaces: units, round trips through files, pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward import spec
from pushforward.data import Space, Split, kinds
from pushforward.testing.laws import law


def check_space(kind: type[Space], x: NDArray[Any]) -> None:
    """Check all laws of a kind of data.

    Args:
        kind: A class of the package, or one that `pushforward.spec.register` has been given.
        x: Some samples as a `Split` stores them, (n, *shape), n at least 2, of which no number is the same in all samples.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
    """
    space = kind.measured(x)
    with law(space, "no other kind may accept its arrays"):
        assert [other for other in kinds() if other.accepts(x)] == [kind]
    data = Split(x).data_units()
    with law(space, "a space must be rebuilt from its description"):
        assert space.shape == x.shape[1:]
        assert spec.build(spec.describe(space)) == space
    _check_units(space, data)
    _check_files(space, data)
    with law(space, "an unscaled space must take data units as model units"):
        wide = space.unscaled(tuple(side + 1 for side in space.shape))
        ones = torch.ones(1, *wide.shape)
        assert torch.equal(wide.to_model(ones), ones)
        assert wide.bounds is None


def _check_units(space: Space, data: torch.Tensor) -> None:
    exact, scale = data.double(), torch.from_numpy(space.scale).double()
    model = space.to_model(exact)
    with law(space, "model units must have mean 0, and `to_data` must invert `to_model`"):
        assert abs(float(model.mean())) < 1e-4
        assert torch.allclose(space.to_data(model), exact, rtol=1e-9, atol=1e-9)
    with law(space, "`scale` must be the standard deviations, and `log_det` minus the sum of their logarithms"):
        gaps = (exact - exact[:1]).flatten(1) / scale
        assert torch.allclose(gaps, (model - model[:1]).flatten(1), rtol=1e-5, atol=1e-5)
        assert abs(space.log_det + float(scale.log().sum())) <= 1e-5 * (1 + abs(space.log_det))
    with law(space, "data must lie within the bounds"):
        low, high = space.bounds or (model, model)
        assert bool((model.float() >= low - 1e-4).all() and (model.float() <= high + 1e-4).all())


def _check_files(space: Space, data: torch.Tensor) -> None:
    examples = space.quantise(data)
    with law(space, "a file must return the values that were written"):
        assert torch.equal(space.rounded(data), data)
        assert len(examples) == len(data)
        assert ".npz" in space.endings
    with law(space, "samples must be drawn as pictures, or as points where `as_points` is set"):
        drawn = space.drawing(examples)
        assert drawn.ndim == (2 if space.as_points else 4)
        assert len(drawn) == len(data)
        assert space.as_points or drawn.dtype == np.uint8
