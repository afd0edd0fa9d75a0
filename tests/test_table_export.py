"""Samplers of tables as programs of `torch.export`."""

import torch
from programs.tables import mixed_values
from torch import nn

from pushforward.data import TableSpace
from pushforward.data.tables import Category, Number
from pushforward.data.tables.columns import Format
from pushforward.paths import Linear
from pushforward.recipes.choice import table_denoising
from pushforward.transports import Flow
from pushforward.transports.export import exported


def test_a_sampler_of_rows_exports_for_any_number_of_rows_with_given_columns():
    """The program's results are coordinates, of which the table makes cells."""
    values = mixed_values(300)[:, [1, 3]]
    fields = [Number.measured("gain", values[:, 0], form=Format(2)), Category.measured("kind", values[:, 1], ["a", "b", "c"])]
    denoiser = table_denoising(TableSpace.of(fields), "tiny", "mlp", Linear(), "velocity").denoiser.eval()
    denoiser.move(torch.tensor([0.4, -0.2]))
    nn.init.normal_(denoiser.network.leave.weight, 0, 0.1)
    flow = Flow(denoiser, "euler", 1)
    program, z = exported(flow).module(), torch.randn(7, *flow.noise_shape)
    for given in (None, {"kind": "b"}):
        condition = flow.conditions(7, given, 0)
        with torch.no_grad():
            rows = flow.space.to_data(flow(z, condition))
            torch.testing.assert_close(program(z, condition, None), rows, rtol=1e-5, atol=1e-5)
        cells = flow.space.cells(program(z, condition, None))
        assert cells == flow.space.cells(rows)
        assert given is None or {cell for _, cell in cells} == {"b"}
