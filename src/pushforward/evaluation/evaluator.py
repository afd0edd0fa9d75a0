"""Scores of one model on held-out data, with real-data scores, costs, curves and pictures."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.data import Dataset, Space
from pushforward.evaluation.costs import batch_of, most_at_once, sampling_costs, speed
from pushforward.evaluation.features import Features, fit_features, kind_of
from pushforward.evaluation.intervals import together
from pushforward.evaluation.measurements import Pictures, Plan, SamplingCost
from pushforward.evaluation.models import Model, of_run, starts_warnings, unseen_warnings
from pushforward.evaluation.pictures import latent_pictures, latent_statistics, pictures_of
from pushforward.evaluation.results import (
    REPEAT_SEEDS,
    REPEATS,
    Comparison,
    DataInfo,
    ModelResult,
    Protocol,
    Settings,
)
from pushforward.evaluation.samples import ExternalSamples
from pushforward.evaluation.scores import (
    labels_for,
    real_data_scores,
    reference_examples,
    sample_count,
    score,
)
from pushforward.extractors import Extractor, Spaces, check_spaces, named_extractors
from pushforward.methods.method import parameters
from pushforward.metrics import MetricInfo, describe
from pushforward.metrics.score import Scores, chosen
from pushforward.registries import METRICS, at
from pushforward.training.checkpoint.storage import sha256
from pushforward.training.estimates import training_memory
from pushforward.training.loop.machine import machine
from pushforward.training.runs.run import Run, transport_of
from pushforward.transports import (
    BATCH,
    Transport,
    starts,
)
from pushforward.transports.redrawing import (
    MEASURED,
    Tally,
    counting_draws,
    named_constraints,
    unmet_kept,
    warn_unmet,
)
from pushforward.transports.transport import shared_stream

Tell = Callable[[str], None] | None  # Receives a line of text before each long step
LEAST = 30.0  # Seconds that measuring may always take
SWEEP = 40.0  # Maximum number of seconds per model for scores over solver steps
SIZES = (10_000, 5_000, 2_000, 1_000, 500)  # Numbers of samples if time is short
# Samples whose scoring is timed: as a warm-up, then in earnest
FEWEST = 50
PROBED = 500
FEW_REDRAWS = 5  # Draws of real data if time is short
REDRAW = 0.5  # Scoring a draw of real data takes this fraction of the time of scoring a sampling
NEIGHBOURS = 5  # of precision, recall, density and coverage
# Scores that are computed in every feature space
SCORES = ("frechet", "kid", "precision", "recall", "coverage")


@dataclass
class Evaluator:
    """Evaluator of models on one data set, which computes features and real-data scores only once.

    Call `follow` or `save_time` before any other method to limit how much is measured.

    Args:
        data: Data set; models are compared with its held-out split.
        n: Number of samples per side; 0 for the maximum that the held-out split allows, at most
            10,000.
        repeats: Number of samplings per model.
        metrics: Names of metrics; None for all that apply.
        seed: Number added to the seed of every sampling.
        batch: Number of samples generated at a time.
        spaces: Feature spaces (`pushforward.extractors`). Models are ranked in the first space; a
            few scores are also computed in the others. None for the space that suits the data.
        tell: Function called with a line of text before each long step; None to print nothing.

    Raises:
        UsageError: If a feature space is unknown or is named twice.
        DataError: If an extractor cannot read the data.
        MissingExtra: If a package that an extractor needs is not installed.
    """

    data: Dataset
    n: int = 0
    repeats: int = REPEATS
    metrics: Sequence[str] | None = None
    seed: int = 0
    batch: int = BATCH
    spaces: Spaces = None
    tell: Tell = None
    plan: Plan = field(init=False)
    features: Features = field(init=False)
    others: tuple[Features, ...] = field(init=False)
    # Why a requested score is missing, by name
    unscored: dict[str, str] = field(init=False, default_factory=dict)
    began: float = field(init=False)  # Start of measuring, by `time.perf_counter`

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = sample_count(self.data, self.n or None, learns(self.data, self.spaces))
        extractors = _extractors(self.data, self.spaces)
        check_spaces(extractors, self.data)
        self.say("features, which are cached for the next evaluation")
        first, *others = ({name: extractor} for name, extractor in extractors.items())
        self.features = fit_features(self.data, first)
        self.others = tuple(fit_features(self.data, other, reads=False) for other in others)
        self.plan = Plan(self.n, self.repeats)

    def follow(self, plan: Plan) -> None:
        """Set how much is measured."""
        self.plan = plan
        self.n = plan.n or self.n
        self.repeats = plan.repeats or self.repeats

    def save_time(self, models: Sequence[Model], n: int | None, repeats: int | None) -> float:
        """Measure for about as long as models were trained, in all.

        ``n`` and ``repeats`` are None if they may be reduced: samplings first, then samples.

        Returns:
            An estimate of the seconds that this takes.
        """
        trained = sum(model.state["seconds"] for model in models if isinstance(model, Run))
        limit: float = max(LEAST, trained)
        scoring = self._scoring_seconds()
        drawing = 0.0
        for model in models:
            most = min(self.n, self.batch)
            _, single = speed(partial(batch_of, transport_of(model)), most)
            drawing += single

        space = self.data.space
        rows = max(1, len(models)) + 1  # with the baseline
        if space.names:
            rows += 2

        def seconds(size: int) -> float:
            needed = space.samples_needed(size, len(self.data.train))
            return needed * drawing + rows * size * scoring

        size = self.n
        smaller = [other for other in SIZES if n is None and other < size]
        while smaller and seconds(size) > limit:
            size = smaller.pop(0)
        samplings = self.repeats
        if repeats is None:
            affordable = int(limit / 2 / seconds(size))
            samplings = min(samplings, max(1, affordable))
        redraws = None
        if space.redraws * REDRAW * size * scoring > limit:
            redraws = FEW_REDRAWS
        sweep = min(SWEEP, limit / 4 / max(1, len(models)))
        self.follow(Plan(size, samplings, redraws, sweep, limit))
        real = (redraws or space.redraws) * REDRAW * size * scoring
        return samplings * seconds(size) + real + sweep * len(models)

    def _scoring_seconds(self) -> float:
        for most in (FEWEST, PROBED):  # the first call imports libraries
            n = min(self.n, most)
            started = time.perf_counter()
            needed = self.data.space.samples_needed(n, len(self.data.train))
            examples = np.arange(needed) % len(self.data.train)
            self.score(self.data.train.data_units(examples), n)
        return (time.perf_counter() - started) / n

    @cached_property
    def real_data_scores(self) -> Scores:
        """Return the real-data scores."""
        return self._in_spaces(
            partial(real_data_scores, self.data, n=self.n, redraws=self.plan.redraws)
        )

    def say(self, what: str) -> None:
        """Print what is measured next."""
        if self.tell is not None:
            self.tell(f"measuring {what} ...")

    def _in_spaces(self, scored: Callable[..., Scores]) -> Scores:
        scores = scored(self.features, metrics=self.metrics)
        requested = chain.from_iterable(names for _, names in chosen(self.metrics))
        names = [name for name in requested if name in SCORES]
        if not names:
            return scores
        for space in self.others:
            for name, result in scored(space, metrics=names).items():
                scores[f"{name} ({space.name})"] = result
        return scores

    def _infos(self) -> dict[str, MetricInfo]:
        known = describe()
        for space in self.others:
            what = f" Computed in other features: {space.describe(self.n)}."
            group = f"In other features: {space.name}"
            for name in SCORES:
                info = known[name]
                known[f"{name} ({space.name})"] = replace(
                    info,
                    label=f"{info.label} ({space.name})",
                    what=info.what + what,
                    group=group,
                    role=None,
                )
        return known

    def scores(self, sampler: Any, name: str = "") -> tuple[Scores, float | None]:
        """Compute scores over all samplings, and the fraction of samples in the requested class.

        A flow from a data set is sampled once, because all its samplings start from the same
        examples.

        Args:
            sampler: Transport, given samples, or any object with ``stream(n, seed=...,
                batch=...)``.
        """
        samplings = []
        agreements = []
        times = self.repeats
        if isinstance(sampler, Transport) and starts(sampler) is not None:
            times = 1
        for repeat in range(times):
            if name:
                self.say(f"{name}, sampling {repeat + 1} of {times}")
            seed = (repeat + 1) * REPEAT_SEEDS
            if isinstance(sampler, ExternalSamples):  # as many as there are
                n = self.n
                learned = sampler.x if sampler.values is None else sampler.values
            else:
                n = self.data.space.samples_needed(self.n, len(self.data.train))
                learned = None
            x, labels, values = self.draw(sampler, seed, n)
            samplings.append(self.score(x, self.n, values, learned))
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        scores = together(samplings, self.n, self.real_data_scores, self._infos())
        self._note_missing(scores)
        if not agreements:
            return scores, None
        return scores, float(np.mean(agreements))

    def _note_missing(self, scores: Scores) -> None:
        for key, metric in METRICS.items():
            wanted = self.metrics is None or {key, *metric.scores} & set(self.metrics)
            suited = self.data.space.names or not getattr(metric, "of_tables", False)
            if not wanted or not suited:
                continue
            for name, info in metric.scores.items():
                if info.missing and name not in scores:
                    self.unscored[name] = info.missing

    def score(
        self,
        x: torch.Tensor,
        n: int,
        values: np.ndarray | None = None,
        learned: torch.Tensor | np.ndarray | None = None,
    ) -> Scores:
        """Score one sampling in all feature spaces.

        Arguments as in `pushforward.evaluation.scores.score`.
        """
        return self._in_spaces(partial(score, x, self.data, n=n, values=values, learned=learned))

    def draw(
        self, sampler: Any, seed: int, n: int | None = None
    ) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray | None]:
        """Draw samples in data units.

        All models receive the same labels, and the same noise if its shape is the same.

        Args:
            n: Number of samples; None for the number that is compared.

        Returns:
            Samples, their labels or None, and the values of table rows if the coordinates of the
            model differ from the data's, or None.
        """
        n = n or self.n
        seed = self.seed + seed
        if isinstance(sampler, ExternalSamples):
            return sampler.part(n, seed)
        draw = sampler.stream
        if isinstance(sampler, Transport):
            condition = labels_for(sampler, self.data, n, seed)
            draw = partial(shared_stream, sampler, condition=condition)
        with unmet_kept():
            parts = list(draw(n, seed=seed, batch=self.batch))
        x = torch.cat([part for part, _ in parts])
        values = None
        if isinstance(sampler, Transport):
            if sampler.calls:  # baselines without a network break constraints
                warn_unmet(sampler.space, x, "They are scored unchanged.")
            x, values = sampler.space.recoded(x, self.data.space)
        if "label" not in (parts[0][1] or {}):
            return x, None, values
        labels = torch.cat([condition["label"] for _, condition in parts])
        return x, labels.cpu().numpy(), values

    def score_samplings(
        self,
        sampler: Transport,
        metrics: Sequence[str],
        n: int,
        repeats: int,
        seconds: float = math.inf,
    ) -> tuple[Scores, list[torch.Tensor]]:
        """Compute some scores over several samplings, in the features that rank models.

        Args:
            seconds: Time after which no further sampling starts.

        Returns:
            Scores by name, and the samplings.
        """
        samplings = []
        rows = []
        started = time.perf_counter()
        for repeat in range(1, repeats + 1):
            x, _, values = self.draw(sampler, repeat * REPEAT_SEEDS, n)
            rows.append(score(x, self.data, self.features, n=n, metrics=metrics, values=values))
            samplings.append(x)
            each = (time.perf_counter() - started) / repeat
            if each * (repeat + 1) > seconds:
                break
        return together(rows, n, {}, describe()), samplings

    def baselines(self) -> tuple[ModelResult, ...]:
        """Score the samplers without a network that the kind of data has, the main one first."""
        self.say("the baseline")
        (name, sampler), *further = at(self.data.space.baselines)(self.data).items()
        scores, agreement = self.scores(sampler)
        result = ModelResult(f"baseline ({name})", scores=scores, label_agreement=agreement)
        others = (ModelResult(name, scores=self.scores(sampler)[0]) for name, sampler in further)
        return result, *others

    def comparison(self, models: Sequence[ModelResult] = (), baselines: bool = False) -> Comparison:
        """Combine results of models with data, settings, machine, metrics and real-data scores."""
        space = self.data.space
        known = self._infos()
        baseline = None
        further: Sequence[ModelResult] = ()
        rows = list(models)
        if baselines:
            baseline, *further = self.baselines()
            rows.append(baseline)
        names = dict.fromkeys(self.real_data_scores)
        for row in rows:
            names |= dict.fromkeys(row.scores)
        entries = chain.from_iterable(kind.entries for kind in space.conditions.values())
        data = DataInfo(
            self.data.name,
            space.shape,
            space.noun,
            tuple(space.classes),
            space.names or tuple(space.columns),
            None if self.data.trained_on is False else len(self.data.train),
            len(self.data.held_out),
            self.data.fingerprint,
            tuple(entries),
            space.left_out,
        )
        settings = Settings(
            n=self.n,
            repeats=self.repeats,
            k=NEIGHBOURS,
            features=self.features.describe(self.n),
            spaces=tuple(features.name for features in (self.features, *self.others)),
            dimensions=self.features.dims(self.n),
            classifier_accuracy=self.features.accuracy,
            plan=self.plan,
        )
        return Comparison(
            data=data,
            settings=settings,
            protocol=protocol_of(
                self.data, self.features, self.n, tuple(self.real_data_scores), self.others
            ),
            machine=machine(),
            metrics={name: known[name] for name in names if name in known},
            real_data_scores=self.real_data_scores,
            unscored=self.unscored,
            models=tuple(models),
            baseline=baseline,
            further_baselines=tuple(further),
        )

    def evaluate(
        self,
        name: str,
        model: Model,
        *,
        curve: bool = True,
        sampling: SamplingCost | None = None,
    ) -> tuple[ModelResult, Pictures]:
        """Measure one model, and make its pictures.

        Args:
            curve: Whether to measure training memory, and draw pictures of latents.
            sampling: Sampling cost from `sampling`; None to measure it for this model alone.
        """
        transport = transport_of(model)
        run = model if isinstance(model, Run) else None
        with counting_draws() as tally:
            scores, agreement = self.scores(transport, name)
        sampling = sampling or self.sampling({name: transport})[name]
        sampling = replace(sampling, refused=tally.share if tally.drawn else None)
        conditions = transport.space.conditions
        given = {name: kind for name, kind in conditions.items() if not kind.learned}
        warnings = [
            *unseen_warnings(model, self.data),
            *starts_warnings(model, self.n),
            *constraint_warnings(transport.space, self.data.space, tally),
        ]
        latent = None
        if run is not None:
            warnings = [*run.warnings, *run.unfinished, *warnings]
            latent = latent_statistics(run, self.data, self.features)
        result = ModelResult(
            name=name,
            family=type(transport).__name__,
            conditioned=names_of(given),
            parameters=parameters(transport),
            sampling=sampling,
            scores=scores,
            label_agreement=agreement,
            latent=latent,
            warnings=tuple(warnings),
        )
        pictures = pictures_of(transport, run, self.data)
        if run is None:
            return result, pictures
        result = of_run(result, run)
        if curve:
            pictures = replace(pictures, latent=latent_pictures(run, self.data))
            self.say(f"{name}, training memory")
            held = training_memory(run, self.data)
            memory = None if held is None else held / 2**20
            result = replace(result, training=replace(result.training, memory_mb=memory))
        return result, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, SamplingCost]:
        """Measure the sampling cost of each model.

        Calls, operations, memory, and time in alternating rounds.
        """
        self.say("sampling time and memory")
        return sampling_costs(models, most_at_once(self.data))


def learns(dataset: Dataset, spaces: Spaces) -> bool:
    """Return whether any feature space is learned; then only half of the data gives scores."""
    return any(extractor.learns for extractor in _extractors(dataset, spaces).values())


def _extractors(dataset: Dataset, spaces: Spaces) -> dict[str, Extractor]:
    if spaces is None:
        spaces = kind_of(dataset)
    return named_extractors(spaces)


def constraint_warnings(own: Space, data: Space, tally: Tally) -> tuple[str, ...]:
    """Write warnings if constraints differ from the data's, or samples break them."""
    warnings = own.constraint_warnings(data)
    if not tally.unmet:
        return warnings
    unmet = (
        f"{tally.unmet:,} scored samples still break {named_constraints(own)} after "
        f"{MEASURED} "
        "further draws."
    )
    return *warnings, unmet


def protocol_of(
    data: Dataset,
    features: Features,
    n: int,
    metrics: Sequence[str],
    others: Sequence[Features] = (),
) -> Protocol:
    """Describe how scores are computed, so that reports can be compared."""
    space = data.space
    examples = data.held_out.data_units(reference_examples(len(data.held_out), n)).numpy()
    return Protocol(
        data=data.fingerprint,
        reference=hashlib.sha256(repr(examples.shape).encode() + examples.tobytes()).hexdigest(),
        n=n,
        k=NEIGHBOURS,
        extractor=features.identity,
        dimensions=features.dims(n),
        preprocessing=features.preprocessing,
        quantisation=f"{space.levels} levels" if space.levels is not None else "float32",
        representation=space.encoder(data).representation,
        labels="in proportion" if space.label is not None else "",
        versions=_versions(metrics),
        spaces={other.name: other.identity for other in others},
    )


def _versions(metrics: Sequence[str]) -> dict[str, str]:
    # importing the package would point up
    versions = {"pushforward": str(sys.modules["pushforward"].__version__)}
    for metric in METRICS.values():
        own = sorted(set(metric.scores) & set(metrics))
        definition = getattr(metric, "definition", None)
        file = getattr(sys.modules[metric.__module__], "__file__", None)
        if definition:
            versions |= dict.fromkeys(own, f"definition {definition}")
        elif own and file and not metric.__module__.startswith("pushforward."):
            versions |= dict.fromkeys(own, sha256(Path(file))[:12])
    return versions
