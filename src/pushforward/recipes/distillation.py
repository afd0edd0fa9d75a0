"""Students of a flow: distilled, trained by distribution matching, or finished by a critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import Space
from pushforward.denoisers import Guided
from pushforward.denoisers.denoiser import Denoiser, FlowMap, trained
from pushforward.errors import UsageError
from pushforward.methods import (
    AdversarialRefinement,
    AnchorPenalty,
    CriticInput,
    Distillation,
    DistributionMatching,
    FlowMapMatching,
    Guard,
    LatentMethod,
    Method,
    Penalties,
    Trajectories,
)
from pushforward.methods.flow_map import Dyadic, Pairs, Sorted
from pushforward.methods.flow_map_targets import (
    EndTarget,
    MiddleTarget,
    Progressive,
    Rule,
    StartTarget,
)
from pushforward.methods.perceptual_distance import FeatureCritic, FeatureDistance
from pushforward.networks import UNet
from pushforward.networks.gan import FeatureHeads
from pushforward.recipes.defaults import (
    augmentation,
    batch_size,
    critic as choose_critic,
    denoising_training,
    flat,
    precision,
)
from pushforward.recipes.flow_matching import times_for, trajectories_for
from pushforward.recipes.recipe import (
    LossOption,
    NetworkOption,
    PathOption,
    Recipe,
    RegularisationOption,
    ScheduleOption,
    Training,
    on_space,
)
from pushforward.recipes.students import copy_of, student_of, times_of_jumps
from pushforward.transports import Flow, Latent, inner_of

RULES = ("stored", "start", "middle", "end", "progressive")
# Steps of a trajectory that starts from noise, and of one that starts from other data
STEPS = 8
STEPS_FROM_DATA = 32
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
    over: LossOption[float] = 0.8,
    derivative: LossOption[str] = "none",
    average: LossOption[float | None] = None,
    power: LossOption[float] = 0.5,
    diagonal: PathOption[float] = 0.15,
    to_data: PathOption[float] = 0.5,
    likeness: LossOption[float | None] = None,
) -> Recipe:
    """Student of a flow, ddpm or edm: a map between two times that starts as its teacher.

    A student of a table learns only from stored trajectories: rule, stored, guidance, first, last,
    over, derivative, average, power, diagonal and likeness do not apply.

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
        over: Fraction of training over which it falls.
        derivative: Exact limit of the rules start and end, by forward differentiation or difference
            (U-Nets then use a tenth of the learning rate); or none.
        average: Half-life, in examples, of the weight average that computes targets; 0 to use the
            map itself. The default is 5,000 for U-Nets with the rule start, middle or end,
            otherwise 0.
        power: Exponent that reduces the weight of examples with large errors; 0 weights all
            equally.
        diagonal: Fraction of examples at which the student learns the teacher's velocity.
        to_data: Fraction of the other examples that are mapped to data.
        likeness: Weight of the distance between samples of student and teacher in the teacher's
            features; 0 for none. The default is 2 for U-Nets, otherwise 0.

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
    if average is None and convolutional and rule in ("start", "middle", "end"):
        average = AVERAGE
    stored = _stored(rule, stored)
    if likeness is None:
        likeness = LIKENESS if convolutional else 0.0
    scales = _guidance(guidance)

    guide = flow.with_solver("unipc", teacher_steps, times_of_jumps(denoiser, teacher_steps))
    span = scales if len(scales) == 2 else None
    if scales != (1.0,):
        scale = 1.0 if scales[0] <= 1 <= scales[-1] else scales[0]
        guide = Flow(Guided(flow.denoiser, scale), guide.solver, teacher_steps, guide.grid)
    student = _student(guide, span)
    target = _rule(rule, (first, last, over), derivative, average or None)
    pairs: Pairs = Sorted(times_for(space), diagonal=diagonal, to_data=to_data)
    if rule == "progressive":
        pairs = Dyadic(STAGES - 1, diagonal=diagonal, staged=True)
    method: Method
    if stored:
        store = Trajectories(
            guide,
            trajectories_for(guide.steps + 1, guide.space.size, trajectories),
            to_data=to_data,
            legs=LEGS if convolutional else 0.5,
            unconditional=0.1 if student.unconditional else 0.0,
            guidance=span,
        )
        method = Distillation(
            student,
            target,
            pairs,
            trajectories=store,
            stored=stored,
            power=power,
            steps=calls,
            likeness=FeatureDistance(likeness) if likeness else None,
        )
    else:
        method = FlowMapMatching(student, target, pairs, teacher=guide, power=power, steps=calls)
    method, family = _in_latents(method, teacher)

    training = denoising_training(space, denoiser.network)
    if derivative != "none" and convolutional:
        training = training.changed(lr=EXACT * training.lr)
    return Recipe(method, training, "distil", family, first_weights=_start_as_teacher)


def _in_latents(method: Method, teacher: Any) -> tuple[Method, str]:
    if isinstance(teacher, Latent):
        return LatentMethod(method, teacher.autoencoder), "flow map in a latent space"
    return method, "flow map"


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
    denoiser = trained(flow.denoiser) if isinstance(flow, Flow) else None
    if denoiser is None:
        raise UsageError(
            "The teacher must be a model that samples in steps (flow, ddpm, edm); got a "
            f"{type(flow).__name__}."
        )
    return denoiser


def _guidance(given: float | str | Sequence[float]) -> tuple[float, ...]:
    """Read one scale, or the least and the greatest."""
    parts: Sequence[Any]
    if isinstance(given, str):
        parts = given.split(",")
    elif isinstance(given, Sequence):
        parts = given
    else:
        parts = (given,)
    try:
        scales = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        scales = ()
    single = len(scales) == 1
    rising = len(scales) == 2 and scales[0] < scales[1]
    if not (single or rising) or not all(map(math.isfinite, scales)):
        raise UsageError(
            "guidance must be a scale, such as 2, or a range with the lower end first, such as "
            f"1,4; got {given!r}."
        )
    return scales


def _student(guide: Flow, guidance: Sequence[float] | None) -> Any:
    denoiser = trained(guide.denoiser)
    assert denoiser is not None
    return student_of(denoiser, denoiser.unconditional and denoiser is guide.denoiser, guidance)


def _stored(rule: str, given: float | None) -> float:
    one_of("rule", rule, RULES)
    if rule == "stored":
        if given not in (None, 1):
            raise UsageError(
                f"stored={given:g} trains partly on a rule, but rule=stored is not one. Use "
                f"{', '.join(RULES[1:])}."
            )
        return 1.0
    if given is None:
        if rule == "progressive":
            return 0.0
        return 0.5
    return given


def _rule(
    rule: str, schedule: tuple[float, float, float], derivative: str, average: float | None
) -> Rule:
    if rule not in ("start", "end") and derivative != "none":
        raise UsageError(
            f"The rule {rule} does not use a derivative. Use start or end, or leave out derivative."
        )
    if rule == "progressive":
        if average is not None:
            raise UsageError(
                "The rule progressive takes its targets from the previous stage. Leave out average."
            )
        return Progressive(STAGES)
    if rule == "middle":
        return MiddleTarget(average=average)
    if rule == "end":
        return EndTarget(derivative=derivative, average=average)
    first, last, over = schedule
    return StartTarget(first, last, over=over, derivative=derivative, average=average)


def _start_as_teacher(method: Any) -> None:
    inner = method.method if isinstance(method, LatentMethod) else method
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
        first = denoiser if start is None else start
        if first.jumps:
            return copy_of(first)
        return student_of(first)

    def first_weights(method: Any) -> None:
        real = trained(method.teacher.denoiser)
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
    jumps = start is not None or denoiser.jumps
    training = Training(
        batch_size(space),
        lr=1e-4 if jumps else 3e-4,
        betas=(0.0, 0.99),
        ema=20_000,
        precision=precision(space),
    )
    return Recipe(method, training, "dmd", "flow map", first_weights=first_weights)


# Initial fraction of training in which only the critic is trained: a convolutional one, which
# starts with random weights, and one of features
STILL = 0.15
STILL_FEATURES = 0.05


@on_space
def finish(
    space: Space,
    size: str = "small",
    *,
    teacher: FlowMap | Latent,
    critic: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    calls: PathOption[int] = 1,
    inside: PathOption[float] = 0.0,
    anchor: LossOption[float] = 0.3,
    anchor_end: ScheduleOption[float | None] = None,
    still: ScheduleOption[float | None] = None,
    gamma: RegularisationOption[float | None] = None,
    gamma_end: ScheduleOption[float | None] = None,
    difference: RegularisationOption[float] = 0.05,
    penalty_interval: RegularisationOption[int] = 1,
    augment_critic: RegularisationOption[str] = "none",
    strength: RegularisationOption[float] = 1.0,
    coverage: RegularisationOption[float] = 0.97,
    recall: RegularisationOption[float] = 0.95,
    checks: RegularisationOption[int] = 8,
) -> Recipe:
    """Map between two times, sharpened by a critic; training stops before it loses diversity.

    Args:
        size: Size of the critic, unless it is one of features.
        teacher: Starting map: a run of distil, meanflow or dmd. In a latent space, the critic
            scores latents.
        critic: Module ``critic(x, None, condition)``.
        network: Network of the critic: auto, mlp, dcgan, residual or textbook, as in gan; or
            features, small critics on features of the starting map, which auto uses if the
            map is a U-Net.
        calls: Default number of network calls per sample; training uses one.
        inside: Fraction of jumps that start at noisy data, which keeps samples in 2 or 4 calls
            good.
        anchor: Weight of the squared distance to the teacher's samples from the same noise.
        anchor_end: Weight at the end of a cosine schedule; constant by default.
        still: Initial fraction of training in which only the critic is trained; the default is 0.05
            for a critic of features, 0.15 for other critics of images, 0 for points and rows.
        gamma: Weight of the critic's gradient penalties; the default is 0 for a critic of features,
            otherwise 1.
        gamma_end: Weight at the end of a cosine schedule; the default is a tenth of gamma.
        difference: Step of the finite differences for gradient penalties; 0 for exact gradients.
        penalty_interval: Number of steps between penalties (lazy regularisation).
        augment_critic: Augmentation of the critic's inputs, for small data sets of images: color,
            translation, cutout, separated by commas; or none.
        strength: Probability of each augmentation in augment_critic.
        coverage: Training stops if coverage falls significantly below this fraction of its initial
            value; 0 for no limit.
        recall: Training stops if recall falls significantly below this fraction of its initial
            value; 0 for no limit.
        checks: Number of measurements of both, at equal intervals of training.

    References:
        Lin et al., Adversarial Flow Models (2025); Huang et al., The GAN Is Dead (2024).
    """
    augment = augmentation(space, augment_critic)
    inner: Any = teacher
    if isinstance(teacher, Latent):
        inner = inner_of(teacher)
        space = inner.space
    flow_map = getattr(inner, "denoiser", inner)
    if critic is None:
        critic = _critic(space, size, network, flow_map)
    by_features = isinstance(critic, FeatureCritic)
    small = flat(space)
    if gamma is None:
        gamma = 0.0 if by_features else 1.0
    if gamma_end is None:
        gamma_end = gamma / 10
    if still is None:
        if by_features:
            still = STILL_FEATURES
        else:
            still = 0.0 if small else STILL
    guard = None
    if coverage or recall:
        guard = Guard(coverage, recall, checks)

    step = difference or None
    penalties = Penalties("r1+r2", gamma, gamma_end, None, penalty_interval, step)
    method: Method = AdversarialRefinement(
        copy_of(flow_map),
        critic,
        teacher=flow_map,
        penalties=penalties,
        critic_input=CriticInput(augment=augment, strength=strength),
        anchor=AnchorPenalty(anchor, anchor_end, inside, still),
        guard=guard,
        steps=calls,
    )
    method, family = _in_latents(method, teacher)

    lr = 1e-3
    map_lr = 2e-4 if by_features else 5e-5
    if small:
        lr = 5e-4
        map_lr = 3e-4
    training = Training(
        batch_size(space),
        lr=lr,
        betas=(0.0, 0.99),
        clip=None,
        ema=20_000,
        precision=precision(space),
        players={"map": {"lr": map_lr}},
    )
    return Recipe(method, training, "finish", family, first_weights=_finish_start_as_teacher)


def _critic(space: Space, size: str, network: str, flow_map: FlowMap) -> nn.Module:
    unet = flow_map.network
    if isinstance(unet, UNet) and network in ("auto", "features"):
        return FeatureCritic(FeatureHeads.of(unet))
    if network == "features":
        raise UsageError(
            "A critic can only read features of a UNet, but the network of this map is a "
            f"{type(unet).__name__}. Use `network=auto`."
        )
    return choose_critic(space, size, network)


def _finish_start_as_teacher(method: Any) -> None:
    inner = method.method if isinstance(method, LatentMethod) else method
    inner.flow_map.load_state_dict(inner.teacher.state_dict())
