"""Read and write runs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import nn

from pushforward import spec, synonyms
from pushforward.data import Space
from pushforward.data.core.dataset import Seen
from pushforward.denoisers import Denoiser
from pushforward.errors import (
    CheckpointError,
    RunUsageError,
    UsageError,
    did_you_mean,
    suggestion,
)
from pushforward.files import read_json
from pushforward.methods.method import Method
from pushforward.plugins import resume_command
from pushforward.registries import at
from pushforward.runtime import device_named, display, facts, in_notebook
from pushforward.samples import Samples, drawn_from
from pushforward.sampling_options import (
    Sampling,
    configure,
    given_options,
    seed_of,
    with_conditions,
)
from pushforward.solvers.solver import Solver
from pushforward.training.checkpoint.storage import (
    all_in,
    latest,
    step_name,
    unfinished,
    weights_of,
    write_json,
)
from pushforward.training.checkpoint.tensors import load as load_checkpoint, restore
from pushforward.training.monitor.alarms import ending_alarm
from pushforward.training.runs import log
from pushforward.training.runs.folder import checkpoint_in
from pushforward.training.runs.log import best_of
from pushforward.training.runs.provenance import read_seen, seen_by
from pushforward.training.runs.spec_file import (
    UNFIT,
    check_spec,
    read_parts,
    read_spec,
    recipe_of,
)
from pushforward.transports import BATCH, ConditionLike, Flow, Transport, inner_of

GRIDS = "grids.json"  # learned times, which belong to the weights that they were learned for
GRIDS_FORMAT = 4


class Run:
    """Finished or interrupted training run, read from its folder.

    Args:
        folder: Run folder.
        content: Content of ``spec.json``.
        method: Method with the chosen weights (the average by default).
        state: Counters of the checkpoint: step, samples, seconds, total, weights_step.
        weights: Hash of the weights file, by which learned grids and tables are matched.
        warnings: Sentences that a report must print.

    Attributes:
        options: Sampling options of `configured`.
    """

    def __init__(
        self,
        folder: Path,
        content: dict[str, Any],
        method: Method,
        state: dict[str, Any],
        weights: str,
        warnings: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.spec = content
        self.method = method
        self.state = state
        self.weights = weights
        self.warnings = tuple(warnings)
        self._guides: tuple[Path, ...] = ()
        self.options: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.folder.absolute().name  # of "." as well

    @property
    def space(self) -> Space:
        return self.method.space

    @cached_property
    def transport(self) -> Transport:
        return self.method.transport()

    @property
    def denoiser(self) -> Any:
        """Return the denoiser of an iterative model.

        Raises:
            UsageError: If the model samples in one call.
        """
        denoiser = getattr(inner_of(self.transport), "denoiser", None)
        if denoiser is None:
            raise UsageError(f"{self.folder} is a one-call model, which has no denoiser.")
        return denoiser

    @cached_property
    def seen(self) -> Seen:
        """Return the training examples and seconds of the run and its ancestors."""
        seen = read_seen(self.folder, self.spec, self.state)
        for folder in self._guides:
            seen = seen.joined_by(str(folder), seen_by(folder))
        return seen

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Return a sentence if the budget is not used up; empty otherwise."""
        newest = latest(self.folder / "checkpoints")
        words = None if newest is None else unfinished(newest, self.spec.get("budget") or {})
        if (
            not words
            or any("broke off" in text for text in self.warnings)
            or ending_alarm(self.losses())
        ):
            return ()
        return (
            f"training is unfinished: {words}. Resume it first: "
            f"{resume_command(self.folder, self.spec)}",
        )

    def sample(
        self,
        n: int = 64,
        condition: ConditionLike = None,
        *,
        seed: int = 0,
        batch: int = BATCH,
        **options: Any,
    ) -> Any:
        """Draw new samples in data units, on the CPU; sample i depends only on ``seed + i``.

        Args:
            n: Number of samples.
            condition: Such as ``{"label": "cat"}``, or n values in a list or tensor; None draws
                them as in the training data.
            seed: Seed of the first sample, any integer.
            batch: Batch size.
            options: Conditions by name: ``label=3``, ``age=40``; options of `configured`:
                ``steps=8``, ...; a torch ``generator`` for its initial seed; for tables,
                ``fill={"id": "sequence"}`` to number rows in a column that the model leaves out.

        Returns:
            `Samples` in data units; for a table, a pandas data frame if pandas is installed.

        Raises:
            UsageError: If the model does not support numbers, conditions or options.
            Diverged: If a sample is not finite, or violates a constraint of the data.
        """
        generator = options.pop("generator", None)
        if generator is not None:
            seed = seed_of(generator, seed)
        fill = options.pop("fill", None)
        condition, sampling = with_conditions(condition, options, self.space)
        run = self.configured(**sampling)
        return drawn_from(run.transport, n, condition, seed=seed, batch=batch, fill=fill)

    def configured(self, **options: Unpack[Sampling]) -> Run:
        """Return the run with other sampling options; weights are shared.

        Args:
            options: See `pushforward.sampling_options.Sampling`; ``weaker`` may also be a run, its
                folder, or FOLDER@CHECKPOINT.

        Raises:
            UsageError: If an option is not supported or out of range.
            CheckpointError: If ``weaker`` is not a run.
        """
        given = given_options(options)
        if not given:
            return self
        run = copy.copy(self)
        run.__dict__.pop("seen", None)
        run.options = {**self.options, **given}
        weaker = given.get("weaker")
        if isinstance(weaker, (str, Path)):
            folder, checkpoint = checkpoint_in(weaker)
            weaker = load(folder, checkpoint=checkpoint, device=self.transport.device)
        if isinstance(weaker, Run):
            run._guides = (*self._guides, weaker.folder)
            given["weaker"] = weaker.denoiser
        run.transport = configure(
            self.transport,
            grids=self.learned_grid,
            name=str(self.folder),
            **given,
        )
        return run

    def export(self, out: str | Path | None = None, **options: Any) -> Any:
        """Export the sampler for use without this library.

        Args:
            out: Output folder; ``export`` in the run folder by default.
            options: Options of `pushforward.export.export`, such as ``format="html"``.
        """
        from pushforward.export.files import export

        return export(
            self.transport,
            out or self.folder / "export",
            learned=self.tuned(),
            name=self.name,
            **options,
        )

    def tuned(self) -> list[Flow]:
        """Return the flows that `pushforward tune` has learned for these weights."""
        flow = inner_of(self.transport)
        if not (isinstance(flow, Flow) and isinstance(flow.denoiser, Denoiser)):
            return []
        flows = []
        for entry in self.learned_grids():
            solver = spec.build(entry["solver"])
            tuned = self.configured(steps=entry["steps"], solver=solver)
            flows.append(inner_of(tuned.transport))
        return [each for each in flows if isinstance(each, Flow) and isinstance(each.grid, list)]

    def losses(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``: step, samples, seconds and losses."""
        return log.read(self.folder / "metrics.jsonl")

    def learned_grids(self) -> list[dict[str, Any]]:
        """Return the entries of ``grids.json``, each with the hash of the weights it belongs to."""
        path = self.folder / GRIDS
        if not path.is_file():
            return []
        try:
            entries = list(read_json(path)["grids"])
            assert all(entry.keys() >= {"steps", "solver", "times"} for entry in entries)
        except (AssertionError, AttributeError, LookupError, TypeError) as error:
            raise CheckpointError(
                f"{path} is damaged: it contains no learned grids. "
                "Delete it and run pushforward tune again."
            ) from error
        return entries

    def learned_grid(self, steps: int, solver: Solver) -> list[float] | None:
        """Return the times learned for a number of steps of this solver and these weights."""
        wanted = (steps, spec.describe(solver), self.weights)
        for entry in self.learned_grids():
            if _grid_key(entry) == wanted:
                return list(entry["times"])
        return None

    def store_grid(self, solver: Solver, times: Sequence[float], **facts: Any) -> None:
        """Store falling times (N + 1) learned for a solver, replacing earlier ones."""
        entry = {
            "checkpoint_step": self.state["step"],
            "steps": len(times) - 1,
            "solver": spec.describe(solver),
            "times": [float(t) for t in times],
            **facts,
            "weights": self.weights,
        }
        others = [each for each in self.learned_grids() if _grid_key(each) != _grid_key(entry)]
        grids = sorted([*others, entry], key=itemgetter("steps"))
        write_json(self.folder / GRIDS, {"format_version": GRIDS_FORMAT, "grids": grids})

    def show(self, n: int = 64, condition: ConditionLike = None, **options: Any) -> None:
        """Draw samples and show them as a picture or a table.

        Args:
            n: Number of samples.
            condition: Condition of the samples; see `sample`.
            options: Options of `sample`, such as ``seed=1``, ``label=3`` or ``steps=8``.

        Raises:
            UsageError: If the samples are vectors that cannot be drawn; see also `sample`.
        """
        drawn = self.sample(n, condition, **options)
        if isinstance(drawn, Samples):
            drawn.show()
        else:
            show = display if in_notebook() else print
            show(drawn)

    def plot(self) -> Any:
        """Draw the losses of training, and the scores measured while training, against the step.

        Returns:
            A matplotlib figure. Only some recipes, such as gan and meanflow, measure scores while
            training; `evaluate` scores every run.
        """
        from matplotlib import pyplot

        rows = self.losses()
        panels = {"loss": [(row["step"], row["loss"]) for row in rows]}
        scored = []
        for row in rows:
            health = row.get("health", {})
            if "frechet" in health:
                distances = {name: health[name] for name in health if name.startswith("frechet")}
                scored.append((row["step"], distances))
        if scored:
            panels["Fréchet distance"] = scored
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(9, 4), layout="constrained", squeeze=False
        )
        for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
            steps, values = zip(*points, strict=True)
            for name in values[-1]:
                course = [each.get(name) for each in values]
                axis.plot(steps, course, label=name, marker=".", markersize=3)
            axis.set(title=self.name, xlabel="step", ylabel=title)
            axis.legend()
        if in_notebook():  # which shows the returned figure, and all open ones a second time
            pyplot.close(figure)
        return figure

    def evaluate(self, data: Any = None, **options: Any) -> Any:
        """Score the run against held-out data; see `pushforward.evaluate`.

        Args:
            data: Data set, or its name or path; None for the run's own.
            options: Options of `pushforward.evaluate`, such as ``n=1000``.
        """
        return at("evaluation:evaluate")(self, data, **options)

    if not TYPE_CHECKING:  # every other attribute would pass as Any

        def __getattr__(self, name: str) -> Any:
            """Refuse a missing attribute, with a hint if it is a word of another library."""
            if synonyms.is_listed(name):
                hint = suggestion(name, dir(type(self)))
                raise AttributeError(
                    f"{type(self).__name__!r} object has no attribute {name!r}.{hint}"
                )
            return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.spec['recipe']}, step {self.state['step']})"

    def _repr_html_(self) -> str:
        data = (self.spec.get("data") or {}).get("name_or_path", "given in Python")
        summary = {"recipe": f"{self.spec['recipe']} ({self.spec['family']})", "data": data}
        now = self.state
        summary |= {
            "step": f"{now['step']:,}",
            "samples": f"{now['samples']:,}",
            "seconds": f"{now['seconds']:.1f}",
        }
        return facts(f"Run {self.folder}", summary | {"sampler": repr(self.transport)})


def pick(folder: Path, name: str | None) -> Path:
    """Return a run's checkpoint by name, "best", or the newest."""
    if name == "best":
        best = best_of(log.read(folder / "metrics.jsonl"))
        if best is None:
            raise RunUsageError(
                f"{folder} has no best checkpoint: its samples in 1, 2 and 4 calls were not "
                "measured, because it is not a map between two times or was trained too briefly. "
                "To use the newest checkpoint, leave out `checkpoint`."
            )
        name = step_name(best.step)
    inside = folder / "checkpoints"
    chosen = inside / name if name else latest(inside)
    if chosen is not None and chosen.is_dir():
        return chosen
    names = [path.name for path in all_in(inside)]
    if not names:
        raise CheckpointError(
            f"{folder} has no checkpoint yet. Start its training: pushforward resume {folder}"
        )
    hint = did_you_mean(name or "", [*names, "best"])
    raise RunUsageError(f"{folder} has no checkpoint {name}.{hint} Available: {', '.join(names)}.")


def load(
    folder: str | Path,
    *,
    raw: bool = False,
    checkpoint: str | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    method: Method | None = None,
    network: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Load a run: its spec and the weights of its newest checkpoint, verified by hash.

    Args:
        folder: Run folder.
        raw: Whether to load the last weights instead of their average.
        checkpoint: Name of a checkpoint, such as "step_000500"; None for the newest, "best" for a
            map's best step.
        plugins: Python files, or a single file, that the run was trained with.
        method: Method with the run's structure, if the spec cannot rebuild it.
        network: Network with the same class and arguments as the run's, if the spec cannot rebuild
            it. A copy is used.
        device: Device of the weights.

    Raises:
        CheckpointError: If the folder is not a run folder, a file is missing or damaged, or a
            plugin is not named.
        UsageError: If the network differs from the run's.
    """
    if not isinstance(folder, (str, Path)):
        raise UsageError(
            f'Expected a run folder, such as "runs/digits-flow"; got a {type(folder).__name__}.'
        )
    folder, device, content = Path(folder), device_named(device), read_spec(Path(folder), plugins)
    stored = load_checkpoint(pick(folder, checkpoint), device)
    check_spec(folder, content, stored.state)
    complete = spec.with_network(content, network)
    built = recipe_of(complete, method).method.to(device)
    read_parts(folder, content, built, device)
    restore(built, stored.weights(raw), stored.folder)
    built.eval().requires_grad_(False)
    return Run(folder, content, built, stored.state, weights_of(stored.folder, raw))


def transport_of(model: Run | Transport) -> Transport:
    """Return the transport of a run, or the transport itself."""
    if isinstance(model, Run):
        return model.transport
    return model


def by_default(content: Any, part: str, flow: Flow) -> Flow | None:
    """Build a frozen part with the default sampler of its own run; None if there is none."""
    try:
        stored = (content.get("samplers") or {}).get(part)
        if stored is None:
            return None
        return Flow(flow.denoiser, spec.build(stored["solver"]), stored["steps"], stored["grid"])
    except UNFIT as error:
        raise CheckpointError(
            f"The sampler of the frozen part {part} in spec.json is invalid: {error}. "
            "Restore the file."
        ) from error


def _grid_key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["steps"], entry["solver"], entry.get("weights")


def described_sampler(transport: Transport) -> dict[str, Any] | None:
    """Describe solver, steps and grid as JSON; None for a model without steps."""
    flow = inner_of(transport)
    if isinstance(flow, Flow):
        return {"solver": spec.describe(flow.solver), "steps": flow.steps, "grid": flow.grid}
    return None
