"""Laws that every network obeys, on spaces of all kinds."""

from __future__ import annotations

import pytest
import torch
from programs.small_networks import (
    CASES,
    CLASSES,
    DENOISERS,
    ON_VECTORS,
    SMALL,
    TIMELESS,
    arguments,
    awaken,
    mlp,
    outputs,
)
from torch import Tensor

from pushforward.denoisers.precision import call, network_precision


@pytest.mark.parametrize(("build", "shape", "classes"), CASES)
def test_shapes(build, shape, classes):
    network = build(shape, classes)
    x, t, condition = arguments(build, shape, classes, 5, torch.float32)
    y = network(x, t, condition)
    assert y.shape == outputs(build, shape, 5)
    assert y.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = awaken(network)(x, t, condition)
    high = network(x, t, condition)
    assert low.dtype == torch.float32
    assert (low - high).norm() < 0.1 * high.norm() + 1e-3


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_rows_are_independent(build, shape, classes):
    network = awaken(build(shape, classes).double())
    x, t, condition = arguments(build, shape, classes, 5)
    whole = network(x, t, condition)
    for i in range(5):
        row = slice(i, i + 1)
        alone = network(x[row], None if t is None else t[row], condition and {"label": condition["label"][row]})
        torch.testing.assert_close(alone, whole[row], rtol=1e-10, atol=1e-10)
    assert whole.flatten(1).std(0).min() > 0 if whole.ndim > 1 else whole.std() > 0


@pytest.mark.parametrize("build", [p.values[0] for p in SMALL if p.values[2]], ids=lambda build: build.__name__)
def test_null_rows_read_as_unconditional(build):
    shape = (5,) if build in ON_VECTORS else (3, 6, 5)
    network = awaken(build(shape, CLASSES).double(), 0.3)
    x, t, condition = arguments(build, shape, CLASSES, 5)
    null = torch.tensor([True, False, True, False, False])
    free, labelled = network(x, t, None), network(x, t, condition)
    mixed = network(x, t, {**condition, "label_null": null})
    torch.testing.assert_close(mixed[null], free[null], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixed[~null], labelled[~null], rtol=1e-12, atol=1e-12)
    difference = (free - labelled).reshape(5, -1).abs().amax(1)
    assert difference.min() > 1e-3
    torch.testing.assert_close(network(x, t, {}), free)


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_forward_mode_derivative_equals_difference(build, shape, classes):
    network = awaken(build(shape, classes).double())
    x, t, condition = arguments(build, shape, classes, 3)
    primals = (x,) if t is None else (x, t)
    tangents = tuple(torch.randn_like(primal) for primal in primals)

    def call(*inputs: Tensor) -> Tensor:
        return network(inputs[0], inputs[1] if t is not None else None, condition)

    def moved(step: float) -> Tensor:
        with torch.no_grad():
            return call(*(p + step * v for p, v in zip(primals, tangents, strict=True)))

    _, derivative = torch.func.jvp(call, primals, tangents)
    # Fourth order, and a step small enough for frequencies up to 1000; leaky ReLUs are piecewise linear.
    h = 1e-5
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-6)
    assert derivative.abs().max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("build", "shape", "classes"), [p for p in SMALL if p.values[0] in DENOISERS])
def test_forward_mode_works_in_every_precision(build, shape, classes, precision):
    """Fused attention has no forward-mode derivative, and group_norm mixes types in it: both are gone round there."""
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    tangent = torch.randn_like(x)

    def derivative(network, x, tangent, t):
        return torch.func.jvp(lambda x: call(network, x, t, condition), (x,), (tangent,))

    with network_precision(precision):
        value, tangent_out = derivative(network, x, tangent, t)
        with torch.no_grad():
            plain = call(network, x, t, condition)
    _, exact = derivative(network.double(), x.double(), tangent.double(), None if t is None else t.double())
    error = (tangent_out - exact).norm() / exact.norm()
    assert error < (1e-4 if precision == "float32" else 0.1)
    assert (value - plain).norm() < (1e-5 if precision == "float32" else 0.05) * plain.norm()


@pytest.mark.parametrize(("build", "shape", "classes"), [p for p in SMALL if p.values[2]])
def test_export_equals_eager(build, shape, classes):
    network = awaken(build(shape, classes)).eval()
    x, t, condition = arguments(build, shape, classes, 3, torch.float32)
    exported = torch.export.export(network, (x, t, condition), strict=False).module()
    x, t, _ = arguments(build, shape, classes, 3, torch.float32)
    torch.testing.assert_close(exported(x, t, condition), network(x, t, condition), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", list(DENOISERS))
def test_denoisers_start_at_zero_and_others_do_not(build):
    shape = (5,) if build is mlp else (2, 7, 9)
    x, t, _ = arguments(build, shape, 0, 4, torch.float32)
    assert build(shape)(x, t).abs().max() == 0
    assert build(shape, times=0)(x).abs().max() > 0
    for timeless in TIMELESS:
        assert timeless((2, 7, 9))(arguments(timeless, (2, 7, 9), 0, 4, torch.float32)[0]).abs().max() > 0


@pytest.mark.parametrize(("build", "shape", "classes"), SMALL)
def test_every_parameter_learns(build, shape, classes):
    network = awaken(build(shape, classes))
    x, t, condition = arguments(build, shape, classes, 5, torch.float32)
    if condition is not None:
        condition["label_null"] = torch.tensor([False, False, False, True, False])
    network(x, t, condition).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
