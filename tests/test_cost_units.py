"""Parameters, operations and memory against counts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pushforward import recipes
from pushforward.evaluation import evaluator as cost
from pushforward.evaluation.measurements import SampleTime
from pushforward.methods.method import parameters
from pushforward.testing import space_data
from pushforward.training.loop.memory import peak_memory


def test_parameters_count_shared_tensors_once():
    first, second = nn.Linear(5, 7), nn.Linear(5, 7)
    second.weight = first.weight
    assert parameters(nn.ModuleList([first, second])) == 35 + 7 + 7


def test_flops_of_a_product_and_a_convolution():
    layer, picture = nn.Linear(5, 7, bias=False), nn.Conv2d(2, 3, 3, padding=1, bias=False)
    assert cost.flops(layer, torch.randn(11, 5)) == 2 * 11 * 5 * 7
    with torch.no_grad():
        assert cost.flops(lambda: picture(torch.randn(4, 2, 6, 8))) == 2 * 4 * 3 * 2 * 9 * 6 * 8


def test_peak_memory_is_what_the_kernel_counts():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("only Linux says it in two ways")
    peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak_memory() == pytest.approx(peak, rel=0.02)


def test_the_time_of_a_sample_is_the_lower_quartile_of_its_turns(monkeypatch):
    turns = SampleTime(1, 1.0, 3.0, (5.0, 1.0, 3.0, 2.0, 4.0))
    monkeypatch.setattr(cost, "time_in_turns", lambda models, most: dict.fromkeys(models, turns))
    transport = recipes.gan(space_data((2,), labels=False).space, "tiny").method.transport()
    assert cost.sampling_costs({"gan": transport}, 4)["gan"].seconds_per_sample == 2.0
