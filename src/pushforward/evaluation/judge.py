"""One model against held-out data: scores beside their floors, cost, and the pictures of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.data import Dataset, TableSpace
from pushforward.denoisers import Condition
from pushforward.evaluation import cost
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.combining import together
from pushforward.evaluation.constraint_warnings import constraint_warnings
from pushforward.evaluation.curves import quality_curve, trajectory_of
from pushforward.evaluation.drawing import pictures_of
from pushforward.evaluation.features import Features
from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.further_spaces import fit_spaces, floors_in, infos_in, learns, scores_in
from pushforward.evaluation.given import Given
from pushforward.evaluation.lag import lag_warnings
from pushforward.evaluation.latent import latent_statistics
from pushforward.evaluation.latent_pictures import latent_pictures
from pushforward.evaluation.measurements import CurvePoint, SamplingCost
from pushforward.evaluation.naming import chosen
from pushforward.evaluation.provenance import protocol_of
from pushforward.evaluation.read_classes import labels_for
from pushforward.evaluation.results import REPEAT_SEEDS, REPEATS, Comparison, DataInfo, ModelResult, Settings
from pushforward.evaluation.row_mixture import RowMixture
from pushforward.evaluation.rows import attacked, column_names, is_table, recoded
from pushforward.evaluation.run_results import of_run, unfinished_warnings
from pushforward.evaluation.scoring import compared, floors, score
from pushforward.evaluation.table_baselines import drawn_rows
from pushforward.evaluation.unseen import starts, starts_warnings, unseen_warnings
from pushforward.extractors import Spaces
from pushforward.metrics import Score, describe
from pushforward.registries import METRICS
from pushforward.training import Run
from pushforward.training.estimates import training_memory
from pushforward.training.monitor.machine import machine
from pushforward.training.runs.run import transport_of
from pushforward.transports import BATCH, Transport, has_levels
from pushforward.transports.rejection import counted, unmet_kept, warn_broken
from pushforward.transports.shared_sampling import stream

__all__ = ["Judge", "Sampler"]

AT_ONCE = {False: 64, True: 1000}
"""Samples generated at a time, at most, where time and memory are measured; by whether they are points."""
NEIGHBOURS = 5
"""Of precision, recall, density and coverage."""


class Sampler(Protocol):
    """Anything that generates samples in parts, as a transport does."""

    def stream(self, n: int, *, seed: int = 0, batch: int = BATCH) -> Iterator[tuple[torch.Tensor, Condition]]:
        """Samples in data units with their condition."""
        ...


@dataclass
class Judge:
    """Everything that does not depend on the model: features, floors and the no-network row, computed once.

    Args:
        data: The data set; models are compared with its held-out split.
        n: Samples on either side; 0 takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings of each model.
        metrics: Names of metrics; None means all that apply.
        seed: Added to the seed of every sampling.
        batch: Samples generated at a time.
        spaces: Feature spaces (`pushforward.extractors`); models are ranked in the first, and scores in further ones stand beside
            its scores. None takes the one that suits the data.
        tell: Called with a line before each sampling of a model, and before whatever else takes long; None is silent.
    """

    data: Dataset
    n: int = 0
    repeats: int = REPEATS
    metrics: Sequence[str] | None = None
    seed: int = 0
    batch: int = BATCH
    spaces: Spaces = None
    tell: Callable[[str], None] | None = None
    features: Features = field(init=False)
    others: tuple[Features, ...] = field(init=False)
    floors: dict[str, Score] = field(init=False)
    unscored: dict[str, str] = field(init=False, default_factory=dict)
    """Why a metric that was asked for has no score, by its name."""

    def __post_init__(self) -> None:
        self.repeats = whole("repeats", self.repeats, 1)
        self.n = compared(self.data, self.n or None, learns(self.data, self.spaces))
        self.features, self.others = fit_spaces(self.data, self.spaces)
        self.floors = floors(self.data, self.features, n=self.n, metrics=self.metrics)
        self.floors = {**self.floors, **floors_in(self.others, self.data, self.n, self.metrics)}

    def say(self, what: str) -> None:
        """Tell what is measured now."""
        if self.tell is not None:
            self.tell(f"measuring {what} ...")

    def scores(self, sampler: Sampler, name: str = "") -> tuple[dict[str, Score], float | None]:
        """The scores of anything with ``stream(n, seed=..., batch=...)`` over all repeats, and its label agreement.

        A flow from a data set is sampled once: its samplings start from the same examples and would be no repeats.
        """
        samplings: list[dict[str, Score]] = []
        agreements = []
        once = isinstance(sampler, Transport) and starts(sampler) is not None
        times = 1 if once else self.repeats
        for repeat in range(times):
            if name:
                self.say(f"{name}, sampling {repeat + 1} of {times}")
            given = sampler if isinstance(sampler, Given) else None  # as many as they are
            n, seed = self.n if given else attacked(self.data, self.n), (repeat + 1) * REPEAT_SEEDS
            x, labels, values = self.draw(sampler, seed, n)
            values, learned = (given.values_of(n, self.seed + seed), given.every) if given else (values, None)
            scored = score(x, self.data, self.features, n=self.n, metrics=self.metrics, values=values, learned=learned)
            samplings.append({**scored, **scores_in(self.others, x, self.data, self.n, self.metrics)})
            if labels is not None and self.features.classifies:
                agreements.append(float((self.features.classify(x) == labels).mean()))
        infos = describe()
        scores = together(samplings, self.n, self.floors, {**infos_in(self.others, infos, self.n), **infos})
        reasons = _explained(self.metrics, is_table(self.data.space))
        self.unscored |= {metric: why for metric, why in reasons.items() if metric not in scores}
        return scores, float(np.mean(agreements)) if agreements else None

    def draw(
        self, sampler: Sampler, seed: int, n: int | None = None
    ) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray | None]:
        """As many samples as are compared, or n, in data units, with their labels; the first repeat has seed `REPEAT_SEEDS`.

        All models have the same labels, in proportion to the data's, and the same noise where it has one shape. With them come
        the values of rows of a table whose model has other coordinates than the data; else None.
        """
        n, seed, draw = n or self.n, self.seed + seed, sampler.stream
        if isinstance(sampler, Transport):
            draw = partial(stream, sampler, condition=labels_for(sampler, self.data, n, seed))
        with unmet_kept():
            parts = list(draw(n, seed=seed, batch=self.batch))
        x, values = torch.cat([part for part, _ in parts]), None
        if isinstance(sampler, Transport):
            if not isinstance(sampler, RowMixture):
                warn_broken(sampler.space, x)
            x, values = recoded(x, sampler.space, self.data.space)
        if "label" not in (parts[0][1] or {}):
            return x, None, values
        labels = torch.cat([condition["label"] for _, condition in parts if condition is not None]).cpu().numpy()
        return x, labels, values

    def _quick(self, transport: Transport, n: int) -> dict[str, Score]:
        """The distances that rank models, of a single sampling of n samples."""
        ranking = {name for name, info in describe().items() if info.role == "quality"}
        names = [name for _, names in chosen(self.metrics) for name in names if name in ranking]
        x, _, values = self.draw(transport, REPEAT_SEEDS, n)
        return score(x, self.data, self.features, n=n, metrics=names, values=values) if names else {}

    def baseline(self) -> ModelResult:
        """The no-network row: a Gaussian for each class, or one in all; of a table a mixture of rows."""
        self.say("no network")
        if isinstance(self.data.space, TableSpace):
            mixture = RowMixture.fit(self.data)
            scores, name = self.scores(mixture)[0], f"no network (mixture of {len(mixture.weights)})"
            return ModelResult(name, sampling_seeds=self._seeds(scores), scores=scores)
        scores, agreement = self.scores(GaussianBaseline.fit(self.data))
        name = f"no network ({'one Gaussian per class' if self.data.space.classes else 'one Gaussian'})"
        return ModelResult(name, sampling_seeds=self._seeds(scores), scores=scores, label_agreement=agreement)

    def _seeds(self, scores: Mapping[str, Score]) -> tuple[int, ...]:
        """Of the samplings of scores."""
        samplings = max((len(score.values) for score in scores.values()), default=0)
        return tuple(self.seed + (repeat + 1) * REPEAT_SEEDS for repeat in range(samplings))

    def further_baselines(self) -> tuple[ModelResult, ...]:
        """Of a table its columns drawn independently, and copies of its training rows; none of other data."""
        return tuple(ModelResult(name, scores=self.scores(drawn)[0]) for name, drawn in drawn_rows(self.data).items())

    def comparison(self, models: Sequence[ModelResult] = (), baseline: ModelResult | None = None) -> Comparison:
        """Results of models with data, settings, machine, metrics and floors; with a baseline the further ones of a table."""
        space, known = self.data.space, describe()
        rows = [*models, *([] if baseline is None else [baseline])]
        names = dict.fromkeys([*self.floors, *(name for row in rows for name in row.scores)])
        known |= infos_in(self.others, known, self.n)
        data = DataInfo(
            self.data.name,
            tuple(space.shape),
            space.noun,
            tuple(space.classes),
            column_names(space),
            len(self.data.train),
            len(self.data.held_out),
            self.data.fingerprint,
            tuple(entry for kind in space.conditions.values() for entry in kind.entries),
        )
        settings = Settings(
            n=self.n,
            repeats=self.repeats,
            k=NEIGHBOURS,
            features=self.features.describe(self.n),
            spaces=tuple(features.name for features in (self.features, *self.others)),
            dimensions=self.features.dims(self.n),
            classifier_accuracy=self.features.accuracy,
        )
        return Comparison(
            data=data,
            settings=settings,
            protocol=protocol_of(self.data, self.features, self.n, NEIGHBOURS, tuple(self.floors), self.others),
            machine=machine(),
            metrics={name: known[name] for name in names if name in known},
            floors=self.floors,
            unscored=self.unscored,
            models=tuple(models),
            baseline=baseline,
            further_baselines=() if baseline is None else self.further_baselines(),
        )

    def judge(
        self,
        name: str,
        model: Run | Transport,
        *,
        curve: bool | Sequence[int] = True,
        sampling: SamplingCost | None = None,
    ) -> tuple[ModelResult, Pictures]:
        """Everything that is measured of one model, and its pictures.

        Args:
            name: As the report shows it.
            model: A run or a transport.
            curve: Whether to measure quality against network calls, trajectories and the memory of training; or in which numbers
                of steps, beside its own, the first.
            sampling: The model's part of `sampling`; None measures it here, alone.
        """
        transport = transport_of(model)
        with counted() as tally:
            scores, agreement = self.scores(transport, name)
        sampling = sampling or self.sampling({name: transport})[name]
        sampling = replace(sampling, refused=tally.share if tally.drawn else None)
        run = model if isinstance(model, Run) else None
        points: tuple[CurvePoint, ...] = ()
        trajectory = None
        if curve:
            points = quality_curve(self, transport, scores, None if isinstance(curve, bool) else curve, name)
            if has_levels(transport):
                self.say(f"{name}, trajectories")
            trajectory = trajectory_of(transport, self.data, self.seed, sampling.seconds_per_sample)
        result = ModelResult(
            name=name,
            family=type(transport).__name__,
            conditioned=names_of({k: v for k, v in transport.space.conditions.items() if not v.learned}),
            parameters=cost.parameters(transport),
            sampling=sampling,
            scores=scores,
            label_agreement=agreement,
            sampling_seeds=self._seeds(scores),
            curve=points,
            trajectory=trajectory,
            latent=None if run is None else latent_statistics(run, self.data, self.features),
            warnings=(
                *(() if run is None else (*run.warnings, *unfinished_warnings(run))),
                *unseen_warnings(model, self.data),
                *starts_warnings(model, self.n),
                *constraint_warnings(transport.space, self.data.space, tally),
                *lag_warnings(model, self._quick, self.n),
            ),
        )
        pictures = pictures_of(transport, run, self.data)
        if run is None:
            return result, pictures
        result = of_run(result, run)
        if curve:
            self.say(f"{name}, the memory of training")
            pictures = replace(pictures, latent=latent_pictures(run, self.data))
            memory = cost.megabytes(training_memory(run, self.data))
            result = replace(result, training=replace(result.training, memory_mb=memory))
        return result, pictures

    def sampling(self, models: Mapping[str, Transport]) -> dict[str, SamplingCost]:
        """What sampling costs each model: calls, arithmetic, memory, and time, which is measured in turns over all models."""
        self.say("the time and memory of samples")
        return cost.sampling_costs(models, AT_ONCE[self.data.space.as_points])


def _explained(wanted: Sequence[str] | None, table: bool) -> dict[str, str]:
    """The sentences that explain a missing score, of the scores that were asked for; those ``of_tables`` for tables alone."""
    metrics = [metric for name, metric in METRICS.items() if wanted is None or {name, *metric.scores} & set(wanted)]
    metrics = [metric for metric in metrics if table or not getattr(metric, "of_tables", False)]
    return {name: info.missing for metric in metrics for name, info in metric.scores.items() if info.missing}
