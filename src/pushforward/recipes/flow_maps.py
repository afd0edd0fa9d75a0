"""Maps between two times, without a teacher and as students of a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import Space
from pushforward.denoisers import Guided
from pushforward.denoisers.denoiser import Denoiser, FlowMap, trained_denoiser
from pushforward.errors import UsageError
from pushforward.methods import (
    Distillation,
    DistributionMatching,
    FlowMapMatching,
    Method,
    Trajectories,
)
from pushforward.methods.distillation import FeatureDistance
from pushforward.methods.flow_map import Dyadic, Pairs, Sorted
from pushforward.methods.flow_map_targets import (
    EndTarget,
    MiddleTarget,
    Progressive,
    Rule,
    StartTarget,
)
from pushforward.networks import UNet
from pushforward.paths import Linear
from pushforward.recipes.defaults import (
    batch_size,
    denoising_network,
    denoising_training,
    precision,
)
from pushforward.recipes.flow_matching import times_for, trajectories_for
from pushforward.recipes.recipe import (
    LossOption,
    NetworkOption,
    PathOption,
    Recipe,
    Training,
    on_space,
)
from pushforward.recipes.students import copy_of, in_latents, student_of, times_of_jumps
from pushforward.transports import Flow, Latent, inner_of


def _without_teacher(
    name: str, space: Space, size: str, network: str | nn.Module, rule: Rule, pairs: Pairs
) -> Recipe:
    net = denoising_network(space, size, network, times=2)
    flow_map = FlowMap(net, Linear(), "velocity", space)
    method = FlowMapMatching(flow_map, rule, pairs)
    return Recipe(method, denoising_training(space, net), name, "flow map")


@on_space
def consistency(
    space: Space,
    size: str = "small",
    *,
    network: NetworkOption[str | nn.Module] = "auto",
    first: LossOption[float] = 1.0,
    last: LossOption[float] = 0.005,
    derivative: LossOption[str] = "none",
) -> Recipe:
    """Consistency model: maps all noisy states of an example to the same data; one call per sample.

    It begins as a denoiser, and the two compared states come closer during training (ECT). It only
    jumps to data: with several steps, noise is added between them.

    Args:
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape
            (n, 2).
        first: Distance of the two states at the start of training, as a fraction of the way to
            data.
        last: Value of first at the end of training, reached geometrically.
        derivative: Exact limit, by forward differentiation or difference; or none.

    References:
        Song et al., Consistency Models (2023), algorithm 3; Geng et al., ECT (2025).
    """
    rule = StartTarget(first, last, over=FALL, derivative=derivative)
    pairs = Sorted(times_for(space), diagonal=0.0, to_data=1.0)
    return _without_teacher("consistency", space, size, network, rule, pairs)


@on_space
def meanflow(
    space: Space,
    size: str = "small",
    *,
    network: NetworkOption[str | nn.Module] = "auto",
    first: LossOption[float] = 1.0,
    last: LossOption[float] = 0.005,
    derivative: LossOption[str] = "none",
    diagonal: PathOption[float] = 0.25,
) -> Recipe:
    """Mean flow: regresses the mean velocity between two times; one call per sample, or more.

    It begins as flow matching and ends as a self-consistent map along the velocity (AlphaFlow,
    SoFlow); with ``derivative="forward"`` it is the published MeanFlow, at 2.5 times the cost per
    step.

    Args:
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape
            (n, 2).
        first: Fraction of a jump covered by the data's velocity at the start of training.
        last: Value of first at the end of training, reached geometrically.
        derivative: Exact limit, by forward differentiation or difference; or none.
        diagonal: Fraction of examples trained as a flow, with equal times.

    References:
        Geng et al., Mean Flows for One-step Generative Modeling (2025); Zhang et al., AlphaFlow
        (2025); Luo et al., SoFlow (2025).
    """
    rule = StartTarget(first, last, over=FALL, derivative=derivative)
    pairs = Sorted(times_for(space), diagonal=diagonal)
    return _without_teacher("meanflow", space, size, network, rule, pairs)


@on_space
def shortcut(
    space: Space,
    size: str = "small",
    *,
    network: NetworkOption[str | nn.Module] = "auto",
    levels: PathOption[int] = 7,
    diagonal: PathOption[float] = 0.75,
    average: LossOption[float | None] = None,
) -> Recipe:
    """Shortcut model: a jump equals two jumps of half its length; one call per sample, or more.

    Args:
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape
            (n, 2).
        levels: Number of halvings: jumps have the lengths 1, 1/2, ... 2^-levels.
        diagonal: Fraction of examples trained as a flow, with equal times.
        average: Half-life, in examples, of a weight average that computes the two jumps; by default
            the map itself is used.

    References:
        Frans et al., One Step Diffusion via Shortcut Models (2025).
    """
    rule = MiddleTarget(average=average)
    pairs = Dyadic(levels, diagonal=diagonal)
    return _without_teacher("shortcut", space, size, network, rule, pairs)


RULES = ("stored", "start", "middle", "end", "progressive")
# Steps of a trajectory that starts from noise, and of one that starts from other data
STEPS = 8
STEPS_FROM_DATA = 32
# Fraction of training over which the known part of a jump becomes shorter
FALL = 0.8
# Stages of progressive distillation: steps of 1/16, 1/8, ... 1
STAGES = 5
# Half-life in samples: at the rate of U-Nets, targets of the map itself run away from its teacher
AVERAGE = 5_000.0
# U-Nets: fractions of stored pairs that are the jump of one call, and jumps of 2 or 4 calls
LEGS = (0.49, 0.21)
# Factor of the learning rate of U-Nets for a rule's exact limit, which diverges at the full rate
EXACT = 0.1
# Weight of the distance between samples in the features of a teacher that is a U-Net
LIKENESS = 2.0


@on_space
def distil(
    space: Space,
    size: str = "small",
    *,
    teacher: Flow | Latent,
    calls: PathOption[int] = 1,
    rule: LossOption[str] = "stored",
    stored: LossOption[float | None] = None,
    trajectories: LossOption[int | None] = None,
    teacher_steps: LossOption[int | None] = None,
    guidance: LossOption[float | str | Sequence[float]] = 1.0,
    first: LossOption[float] = 0.1,
    last: LossOption[float] = 0.005,
    derivative: LossOption[str] = "none",
    diagonal: PathOption[float] = 0.15,
    to_data: PathOption[float] = 0.5,
) -> Recipe:
    """Student of a flow, ddpm or edm: a map between two times that starts as its teacher.

    A student of a table learns only from stored trajectories: rule, stored, guidance, first, last,
    derivative and diagonal do not apply.

    Args:
        size: Not used: the student has the teacher's network, with a second time.
        teacher: Trained model that samples in many steps. The student of a latent model is trained
            in the same latent space.
        calls: Default number of network calls per sample; any number can be used for sampling.
        rule: Target of a jump: stored trajectories of the teacher (stored), or the map itself and
            the teacher's velocity at noisy data, at the start, middle or end of the jump;
            progressive is middle in five stages, each the teacher of the next.
        stored: Fraction of training on stored trajectories, before the rule takes over; the default
            is a half, or none for progressive.
        trajectories: Number of stored trajectories; the default is 16,384, or fewer if they would
            take more than 512 MB.
        teacher_steps: Number of steps per trajectory; the default is 8, 24 for tables, and 32 for a
            teacher that starts from data instead of noise.
        guidance: Classifier-free guidance scale of the teacher, which the student learns to apply
            in one call; or a range, such as 1,4, from which the scale can be chosen when sampling
            (by default 1, or the smallest scale if 1 is outside the range).
        first: Fraction of a jump covered by the teacher's velocity with the rule start, as it would
            be at the start of training.
        last: Fraction at the end of training, reached geometrically.
        derivative: Exact limit of the rules start and end, by forward differentiation or difference
            (U-Nets then use a tenth of the learning rate); or none.
        diagonal: Fraction of examples at which the student learns the teacher's velocity.
        to_data: Fraction of the other examples that are mapped to data.

    References:
        Song et al., Consistency Models (2023); Luo et al., SoFlow (2025); Zhang et al., AlphaFlow
        (2025); Frans et al., Shortcut Models (2025); Boffi et al. (2025), for the end; Meng et al.,
        On Distillation of Guided Diffusion Models (2023).
    """
    flow = inner_of(teacher)
    denoiser = teaching_denoiser(flow)
    assert isinstance(flow, Flow)
    if isinstance(teacher, Latent):
        space = flow.space
    convolutional = isinstance(denoiser.network, UNet)
    if teacher_steps is None:
        teacher_steps = STEPS if denoiser.source is None else STEPS_FROM_DATA
    teacher_steps = whole("teacher_steps", teacher_steps, 1)
    one_of("rule", rule, RULES)
    if rule == "stored":
        stored = 1.0
    elif stored is None:
        stored = 0.5
        if rule == "progressive":
            stored = 0.0
    scales = _guidance(guidance)
    legs: float | Sequence[float] = 0.5
    average = None
    likeness = None
    if convolutional:
        legs = LEGS
        average = AVERAGE
        likeness = FeatureDistance(LIKENESS)

    guide = flow.with_solver("unipc", teacher_steps, times_of_jumps(denoiser, teacher_steps))
    span = None
    if len(scales) == 2:
        span = scales
    if scales != (1.0,):
        scale = scales[0]
        if scale <= 1 <= scales[-1]:
            scale = 1.0
        guide = Flow(Guided(flow.denoiser, scale), guide.solver, teacher_steps, guide.grid)
    student = _student(guide, span)
    target = _rule(rule, first, last, derivative, average)
    pairs: Pairs = Sorted(times_for(space), diagonal=diagonal, to_data=to_data)
    if rule == "progressive":
        pairs = Dyadic(STAGES - 1, diagonal=diagonal, staged=True)
    method: Method
    if stored:
        store = Trajectories(
            guide,
            trajectories_for(guide.steps + 1, guide.space.size, trajectories),
            to_data=to_data,
            legs=legs,
            unconditional=0.1 if student.unconditional else 0.0,
            guidance=span,
        )
        method = Distillation(
            student,
            target,
            pairs,
            trajectories=store,
            stored=stored,
            steps=calls,
            likeness=likeness,
        )
    else:
        method = FlowMapMatching(student, target, pairs, teacher=guide, steps=calls)
    method, family = in_latents(method, teacher)

    training = denoising_training(space, denoiser.network)
    if derivative != "none" and convolutional:
        training = training.changed(lr=EXACT * training.lr)
    return Recipe(method, training, "distil", family, first_weights=_start_as_teacher)


def teaching_denoiser(flow: Any) -> Denoiser:
    """Return the denoiser of a teacher that samples in steps.

    Raises:
        UsageError: If the model does not sample in steps, or is a map between two times.
    """
    denoiser = _denoiser(flow)
    if denoiser.jumps:
        raise UsageError(
            "The teacher is already a map between two times. Sample it in 1, 2 or 4 `steps`."
        )
    return denoiser


def _denoiser(flow: Any) -> Denoiser:
    denoiser = trained_denoiser(flow.denoiser) if isinstance(flow, Flow) else None
    if denoiser is None:
        raise UsageError(
            "The teacher must be a model that samples in steps (flow, ddpm, edm); got a "
            f"{type(flow).__name__}."
        )
    return denoiser


def _guidance(given: float | str | Sequence[float]) -> tuple[float, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    try:
        scales = np.atleast_1d(np.array(parts, float))
    except (TypeError, ValueError):
        scales = np.zeros(0)
    rising = len(scales) in (1, 2) and bool((np.diff(scales) > 0).all())
    if not rising or not np.isfinite(scales).all():
        raise UsageError(
            "guidance must be a scale, such as 2, or a range with the lower end first, such as "
            f"1,4; got {given!r}."
        )
    return tuple(scales.tolist())


def _student(guide: Flow, guidance: Sequence[float] | None) -> Any:
    denoiser = trained_denoiser(guide.denoiser)
    assert denoiser is not None
    return student_of(denoiser, denoiser.unconditional and denoiser is guide.denoiser, guidance)


def _rule(rule: str, first: float, last: float, derivative: str, average: float | None) -> Rule:
    if rule == "progressive":
        return Progressive(STAGES)
    if rule == "middle":
        return MiddleTarget(average=average)
    if rule == "end":
        return EndTarget(derivative=derivative, average=average)
    if rule == "stored":
        average = None
    return StartTarget(first, last, over=FALL, derivative=derivative, average=average)


def _start_as_teacher(method: Any) -> None:
    inner = getattr(method, "method", method)
    inner.start_from(_student(inner.teacher, inner.flow_map.preconditioning.guidance).state_dict())


@on_space
def dmd(
    space: Space,
    size: str = "small",
    *,
    teacher: Flow,
    start: FlowMap | None = None,
    calls: PathOption[int] = 1,
    inside: PathOption[float] = 0.0,
    rounds: LossOption[int] = 5,
    least: LossOption[float] = 0.02,
    greatest: LossOption[float] = 0.98,
) -> Recipe:
    """One-call student of a flow, ddpm or edm, trained by the difference of two scores.

    The scores are the teacher's and that of the student's samples.

    Args:
        size: Not used: both networks are copies of the teacher's.
        teacher: Trained model of noise that samples in many steps, or a map between two times that
            has also learned velocities (meanflow, shortcut, distil).
        start: Initial map, such as a run of distil; the default is the teacher with a second time.
        calls: Default number of network calls per sample; training uses one.
        inside: Fraction of jumps that start at noisy data, which keeps samples in 2 or 4 calls
            good.
        rounds: Number of updates of the denoiser of the student's samples per update of the
            student.
        least: Smallest noise fraction at which the distributions are compared.
        greatest: Largest noise fraction at which the distributions are compared.

    References:
        Yin et al., One-step Diffusion with Distribution Matching Distillation (2024); Yin et al.,
        Improved Distribution Matching Distillation for Fast Image Synthesis (DMD2, 2024).
    """
    denoiser = _denoiser(teacher)
    sampling = getattr(denoiser, "sampling", None)
    if sampling is not None and sampling.only_to_data:
        raise UsageError(
            "This teacher is a consistency model, which only maps to data and has no score to "
            "match. Use a flow, ddpm or edm as the teacher, and this map as the start."
        )
    for name, model in (("teacher", denoiser), ("start", start)):
        if model is not None and model.source is not None:
            raise UsageError(
                f"The {name} was trained from {model.source.data} instead of noise, so it has no "
                "score to match. Distil its flow: `pushforward distil RUN`."
            )

    def initial_map(denoiser: Any) -> Any:
        first = start or denoiser
        if first.jumps:
            return copy_of(first)
        return student_of(first)

    def first_weights(method: Any) -> None:
        real = trained_denoiser(method.teacher.denoiser)
        assert real is not None
        method.fake.load_state_dict(real.state_dict())
        method.flow_map.load_state_dict(initial_map(real).state_dict())

    method = DistributionMatching(
        initial_map(denoiser),
        copy_of(denoiser),
        teacher=teacher,
        rounds=rounds,
        ends=(least, greatest),
        inside=inside,
        steps=calls,
    )
    # a map that jumps well already is only moved a little
    lr = 3e-4
    if start is not None or denoiser.jumps:
        lr = 1e-4
    training = Training(
        batch_size(space),
        lr=lr,
        betas=(0.0, 0.99),
        ema=20_000,
        precision=precision(space),
    )
    return Recipe(method, training, "dmd", "flow map", first_weights=first_weights)
