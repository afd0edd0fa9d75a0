"""Recipes of tables, which replace the general ones of the same names."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.denoisers import MapSampling
from pushforward.errors import UsageError
from pushforward.methods import Trajectories
from pushforward.networks import MLP, ColumnTransformer
from pushforward.networks.blocks import size_choice
from pushforward.paths import (
    VE,
    EDMWeight,
    Levels,
    Linear,
    LogNormal,
    Path,
    Stratified,
)
from pushforward.recipes.autoencoding import vae
from pushforward.recipes.diffusion import ddpm_path, sigma_max
from pushforward.recipes.flow_maps import distil as distil_maps, teaching_denoiser
from pushforward.recipes.flow_matching import trajectories_for
from pushforward.recipes.recipe import Recipe, Training
from pushforward.recipes.students import jump_grid, straightened, times_of_jumps
from pushforward.solvers import DPMSDE
from pushforward.tables.column import Known
from pushforward.tables.denoiser import TableDenoiser, TableDenoising, TableDistillation
from pushforward.tables.space import TableSpace
from pushforward.transports import Flow, Latent, inner_of

# Rows of a batch, and the most columns at which a transformer over columns has as many
BATCH = 512
TOKENS = 64
SIZES = {"tiny": (64, 3), "small": (256, 4), "base": (512, 6)}  # Width and depth of the MLP
WAVES = 5  # Frequencies of each score that the MLP receives
LONGEST_LATENT = 32  # of an autoencoder, by default
# Steps of a trajectory by DPM-Solver++(2M): a multiple of the jumps of samplings in 1, 2, 4 and 8
# calls
STEPS = 24
STUDENT_SETTINGS = ("calls", "to_data", "trajectories", "teacher_steps")


def table_denoising(
    space: TableSpace,
    size: str,
    network: str | nn.Module,
    path: Path,
    prediction: str,
    **options: Any,
) -> TableDenoising:
    """Build the method that denoises table rows.

    ``network`` is "auto", "mlp", "columns" for a transformer with one token per column, or a
    module; the squared error of ``prediction`` is the loss of scores.
    """
    name = next(
        name for name in ("known", "known_columns", "given_columns") if name not in space.names
    )
    space = space.with_conditions({**space.conditions, name: Known(space.fields)})
    waves = WAVES if network in ("auto", "mlp") else 0
    net = network if isinstance(network, nn.Module) else _network(space, size, network, waves)
    return TableDenoising(TableDenoiser(net, path, prediction, space, waves=waves), **options)


def _network(space: TableSpace, size: str, kind: str, waves: int) -> nn.Module:
    one_of("network", kind, ("auto", "mlp", "columns"), " for a table")
    conditions = {
        name: condition for name, condition in space.conditions.items() if not condition.learned
    }
    if kind == "columns":
        return ColumnTransformer.sized(
            size, shape=space.shape, starts=space.starts, conditions=conditions
        )
    width, depth = size_choice(size, SIZES)
    inputs = space.size + len(space.fields) + 2 * waves * len(space.scored)
    return MLP(inputs, space.size, width=width, depth=depth, conditions=conditions)


def table_training(size: str, space: TableSpace, network: str | nn.Module) -> Training:
    """Choose the training settings of a denoiser of rows; bfloat16 saves little in narrow networks.

    The transformer over columns computes one token per cell: with more than 64 columns, a batch has
    fewer rows, so that steps do not get more expensive.
    """
    columns = TOKENS
    if network == "columns":
        columns = max(TOKENS, len(space.fields))
    rows = max(64, BATCH * TOKENS // columns // 64 * 64)
    return Training(rows, lr=1e-3, precision="auto" if size == "base" else "float32")


def student_of_table(teacher: TableDenoiser) -> TableDenoiser:
    """Build a map between two times on the straight path, initialised as a denoiser of a table.

    See `student_of`.
    """
    network, straight = straightened(teacher)
    student = TableDenoiser(
        network,
        straight,
        "velocity",
        teacher.table,
        clock="t",
        unconditional=teacher.unconditional,
        waves=teacher.waves,
        sampling=MapSampling(jump_grid(teacher.table)),
    )
    student.shift.copy_(teacher.shift)
    return student


def flow(
    space: TableSpace,
    size: str = "small",
    *,
    network: str | nn.Module = "auto",
    coupling: str = "independent",
    source: Any = None,
    teacher: Any = None,
    **unused: Any,
) -> Recipe:
    """Flow matching on rows; 50 SDE steps."""
    if coupling != "independent" or source is not None or teacher is not None:
        raise UsageError(
            "A flow of a table with mixed types always pairs rows with independent noise. Leave "
            "coupling, source and "
            "teacher out."
        )
    # factors below 1, which columns that follow from others get, leave little of training to low
    # noise
    method = table_denoising(space, size, network, Linear(), "velocity", rate=0.0, solver=DPMSDE())
    return Recipe(method, table_training(size, space, network), "flow", "flow matching")


def ddpm(
    space: TableSpace,
    size: str = "small",
    *,
    network: str | nn.Module = "auto",
    levels: int = 1000,
    **unused: Any,
) -> Recipe:
    """DDPM on rows."""
    times = Stratified(Levels(levels))
    method = table_denoising(space, size, network, ddpm_path(levels), "noise", times=times)
    return Recipe(method, table_training(size, space, network), "ddpm", "diffusion")


def edm(space: TableSpace, size: str = "small", *, network: str | nn.Module = "auto") -> Recipe:
    """EDM on rows, with the log-normal noise levels of short vectors."""
    path = VE(sigma_max=sigma_max(space.size))
    times = Stratified(LogNormal(-0.5, 1.2))
    method = table_denoising(space, size, network, path, "v", times=times, weight=EDMWeight())
    return Recipe(method, table_training(size, space, network), "edm", "diffusion")


def autoencoder(
    space: TableSpace,
    size: str = "small",
    *,
    channels: int | None = None,
    kl_weight: float | None = None,
    **unused: Any,
) -> Recipe:
    """VAE with a small KL weight, whose latents describe rows almost completely."""
    if not channels:
        channels = min(LONGEST_LATENT, 2 * len(space.fields))
    if kl_weight is None:
        kl_weight = 0.1
    recipe = vae(space.with_conditions(), size, latent_size=channels, beta=kl_weight)
    return replace(recipe, name="autoencoder", family="autoencoder")


def no_map(space: TableSpace, *arguments: Any, **unused: Any) -> Recipe:
    """Refuse recipes that learn jumps by squared error."""
    raise UsageError(
        "shortcut, consistency, meanflow and dmd do not support tables: they learn jumps by "
        "squared error, and "
        "the mean of two categories is not a category. Train a flow with `pushforward train flow "
        "--data FILE` "
        "and distil it with `pushforward distil RUN`, or train a gan or a vae, which sample in one "
        "call."
    )


def distil(
    space: TableSpace, size: str = "small", *, teacher: Flow | Latent, **settings: Any
) -> Recipe:
    """Student of a denoiser of rows, or of any other model of tables by the general recipe."""
    flow = inner_of(teacher)
    denoiser = teaching_denoiser(flow)
    general = inspect.unwrap(distil_maps)
    if not isinstance(denoiser, TableDenoiser):
        recipe: Recipe = general(space, size, teacher=teacher, **settings)
        return recipe
    usual = inspect.signature(general).parameters
    others = [
        name
        for name, value in settings.items()
        if name not in STUDENT_SETTINGS and value != usual[name].default
    ]
    if size != "small":
        others.append("size")
    if others:
        raise UsageError(
            "A student of a table always learns from stored trajectories, with its teacher's "
            "network. Leave "
            f"out {', '.join(others)}."
        )
    return _student_recipe(denoiser, **settings)


def _student_recipe(
    denoiser: TableDenoiser,
    calls: int = 1,
    to_data: float = 0.5,
    trajectories: int | None = None,
    teacher_steps: int | None = None,
    **unused: Any,
) -> Recipe:
    steps = STEPS if teacher_steps is None else whole("teacher_steps", teacher_steps, 1)
    guide = Flow(denoiser, "dpm", steps, times_of_jumps(denoiser, steps))
    count = trajectories_for(steps + 1, denoiser.table.size, trajectories)
    store = Trajectories(guide, count, to_data=to_data)
    method = TableDistillation(student_of_table(denoiser), store, steps=calls)
    network = "columns" if isinstance(denoiser.network, ColumnTransformer) else "mlp"
    training = table_training("small", denoiser.table, network)
    return Recipe(method, training, "distil", "flow map", first_weights=_start_as_teacher)


def _start_as_teacher(method: Any) -> None:
    method.start_from(student_of_table(method.teacher.denoiser).state_dict())
