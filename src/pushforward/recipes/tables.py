"""Denoisers of tables: their networks, conditions and training, for every recipe that trains one."""

from __future__ import annotations

from typing import Any

from torch import nn

from pushforward.arguments import one_of
from pushforward.conditions import Known
from pushforward.data import Space
from pushforward.data.spaces import TableSpace
from pushforward.methods.denoising import TableDenoising
from pushforward.networks import MLP, ColumnTransformer
from pushforward.networks.checks import size_choice
from pushforward.paths import Path
from pushforward.recipes.recipe import Training
from pushforward.table_denoiser import TableDenoiser

NETWORKS = ("auto", "mlp", "columns")
BATCH, TOKENS = 512, 64
"""Rows of a batch, and the most columns at which a transformer over columns has as many."""
SIZES = {"tiny": (64, 3), "small": (256, 4), "base": (512, 6)}
"""Width and depth of the MLP."""
WAVES = 5
"""Frequencies of each score that the MLP receives."""


def table_denoising(
    space: Space, size: str, network: str | nn.Module, path: Path, prediction: str, **options: Any
) -> TableDenoising:
    """The method that denoises rows of a table.

    ``network`` is "auto", "mlp", "columns" for a transformer with a token for each column, or a module; ``prediction`` is the one
    whose squared error is the loss of scores.

    Raises:
        UsageError: For an unknown network or size.
    """
    assert isinstance(space, TableSpace)
    space = _with_known(space)
    waves = WAVES if network in ("auto", "mlp") else 0
    net = network if isinstance(network, nn.Module) else _network(space, size, network, waves)
    return TableDenoising(TableDenoiser(net, path, prediction, space, waves=waves), **options)


def _network(space: TableSpace, size: str, kind: str, waves: int) -> nn.Module:
    one_of("network", kind, NETWORKS, " for a table")
    conditions = {name: condition for name, condition in space.conditions.items() if not condition.learned}
    if kind == "columns":
        return ColumnTransformer.sized(size, shape=space.shape, starts=space.starts, conditions=conditions)
    width, depth = size_choice(size, SIZES)
    inputs = space.size + len(space.fields) + 2 * waves * len(space.scored)
    return MLP(inputs, space.size, width=width, depth=depth, conditions=conditions)


def _with_known(space: TableSpace) -> TableSpace:
    name = next(name for name in ("known", "known_columns", "given_columns") if name not in space.names)
    return space.with_conditions({**space.conditions, name: Known(space.fields)})


def table_training(size: str, space: TableSpace, network: str | nn.Module) -> Training:
    """How a denoiser of rows is trained; bfloat16 saves little in narrow networks.

    The transformer over columns computes a token for each cell: of more than 64 columns a batch has fewer rows, so that a step
    costs no more.
    """
    columns = max(TOKENS, len(space.fields)) if network == "columns" else TOKENS
    rows = max(64, BATCH * TOKENS // columns // 64 * 64)
    return Training(rows, lr=1e-3, precision="auto" if size == "base" else "float32")
