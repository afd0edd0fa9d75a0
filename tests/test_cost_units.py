"""Parameters, operations and memory against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

from pushforward.evaluation import cost
from pushforward.methods.method import parameters


def test_parameters_count_shared_tensors_once():
    first, second = nn.Linear(5, 7), nn.Linear(5, 7)
    second.weight = first.weight
    assert parameters(nn.ModuleList([first, second])) == 35 + 7 + 7


def test_flops_of_a_product_and_a_convolution():
    layer, picture = nn.Linear(5, 7, bias=False), nn.Conv2d(2, 3, 3, padding=1, bias=False)
    assert cost.flops(layer, torch.randn(11, 5)) == 2 * 11 * 5 * 7
    with torch.no_grad():
        assert cost.flops(lambda: picture(torch.randn(4, 2, 6, 8))) == 2 * 4 * 3 * 2 * 9 * 6 * 8
