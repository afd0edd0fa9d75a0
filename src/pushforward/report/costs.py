"""The tables of cost: size and training, then sampling."""

from __future__ import annotations

from pushforward.evaluation.measurements import SamplingCost
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, counted, duration, listing, plain, quantity
from pushforward.report.speeds import at_once
from pushforward.report.tables import Cell, Column, Row, Table

__all__ = ["costs"]

COLUMNS = (
    Column("Parameters", "Of the network that samples."),
    Column("Training only", "Parameters of networks that only training needs."),
    Column("Training", "Time inside training steps."),
    Column("Trajectories", "Time in which the teacher generated trajectories, beside that of the training steps."),
    Column("Built on", "Time in which the models that it builds on were trained: teacher, autoencoder, start."),
    Column("Steps"),
    Column("Training examples drawn"),
    Column("Examples per second", "In training."),
    Column("Batch"),
    Column("Precision"),
    Column("Memory", "The most that a training step adds: weights, gradients, optimiser states and activations."),
    Column("Sampler"),
    Column("Calls", "Network evaluations for one sample."),
    Column(
        "Time per sample",
        "Of a batch, divided by its samples: lower quartile over the turns; from the fastest turn to the median.",
    ),
    Column("Memory", "The most that sampling a batch adds, weights included."),
    Column("FLOPs per sample"),
    Column("Refused draws", "Share of draws that broke a constraint of the table; these samples were drawn again."),
)
SAMPLING = 11
"""The first column that is about sampling."""


def costs(comparison: Comparison) -> list[tuple[str, Table]]:
    """Size and training, then sampling of each model; columns that no model fills are left out."""
    table = Table(COLUMNS, [Row(model.name, _cells(model), index=number) for number, model in enumerate(comparison.models)])
    parts = {"Size and training": range(SAMPLING), "Sampling": range(SAMPLING, len(COLUMNS))}
    return [(heading, part) for heading, columns in parts.items() if (part := table.of(columns).filled).columns]


def _cells(model: ModelResult) -> list[Cell]:
    training, sampling = model.training, model.sampling
    texts = [
        quantity(model.parameters),
        listing(f"{name} {quantity(size)}" for name, size in model.other_parameters.items()) or "–",
        duration(training.seconds),
        duration(training.trajectory_seconds),
        duration(training.ancestor_seconds),
        count(training.steps),
        quantity(training.samples),
        count(training.samples_per_second),
        count(training.batch),
        training.precision or "–",
        _megabytes(training.memory_mb),
        _sampler(sampling),
        count(sampling.calls),
    ]
    return [
        *(Cell(text) for text in texts),
        _time(sampling),
        Cell(_megabytes(sampling.memory.mb), note=at_once(sampling.memory.batch)),
        Cell(quantity(sampling.flops_per_sample)),
        Cell("–" if sampling.refused is None else f"{sampling.refused:.1%}"),
    ]


def _sampler(sampling: SamplingCost) -> str:
    solver = sampling.solver or ("one call" if sampling.calls == 1 else "–")
    return solver + ("" if sampling.steps is None else f", {counted(sampling.steps, 'step')}")


def _time(sampling: SamplingCost) -> Cell:
    timing = sampling.timing
    notes = [f"{duration(timing.low)} to {duration(timing.high)}"] if timing.low is not None and timing.high is not None else []
    return Cell(duration(sampling.seconds_per_sample), note=", ".join([*notes, *filter(None, [at_once(timing.batch)])]))


def _megabytes(x: float | None) -> str:
    return "–" if x is None else f"{count(x) if x >= 100 else plain(x, 2)} MB"
