"""Planted faults: each is one wrong line in a copy of the package, and the named tests must fail on it.

    python tests/faults.py [PART ...]

Runs all faults, or those of files whose path contains a PART, and prints which were caught. A fault that survives means that
a test is missing or proves nothing. This takes a while (a pytest run for each), so it is no part of `make test`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
Fault = tuple[str, str, str]
"""What the line says, what it says with the fault, and the test modules that must notice, separated by blanks."""

FAULTS: dict[str, list[Fault]] = {
    "cli/neighbours.py": [
        ("_nearest_rows if data.space.names else _nearest_csv", "_nearest_csv", "table_messages"),
    ],
    "evaluation/truncation.py": [
        ('if "density" not in judge.floors:', "if False:", "table_messages"),
    ],
    "evaluation/model_metrics.py": [
        ("if isinstance(transport_of(model).space, TableSpace):", "if False:", "table_messages"),
        ("if not (held & ~used).any() else 256", "", "cost"),
    ],
    "recipes/students.py": [
        ("if isinstance(space, TableSpace):", "if False:", "table_messages"),
    ],
    "cli/given.py": [
        ("for part in masked.split", "for part in given.split", "given_values"),
        (" and word.strip() not in fields:", ":", "given_values"),
        ('and value not in names and getattr(field, "missing", False)', "", "given_values"),
        ("replace('\"\"', '\"')", "strip()", "given_values"),
        ("value if name in refused else", "value if False else", "table_messages"),
    ],
    "pictures.py": [
        ('if hollow else {"fill": ink}', 'if False else {"fill": ink}', "report_intervals"),
    ],
    "report/tables.py": [
        ("*comparison.further_baselines) if row is not None", ") if row is not None", "table_baselines"),
        ("if score.interval is None:", "if True:", "report_intervals"),
        ("at, family_aside(model))", "at)", "report_names"),
    ],
    "evaluation/ladder.py": [
        ("if isinstance(teacher, FlowMap) and isinstance(inner, Flow):", "if False:", "ladder"),
        ("Jump.of(teacher), inner.steps)", "Jump.of(teacher), 2)", "ladder"),
    ],
    "report/ladder.py": [
        ("    if all(worse):", "    if worse[-1]:", "ladder"),
        ("and not first and _above(ladder, metric, own, rungs[0])", "and not first", "ladder"),
    ],
    "report/choosing.py": [
        ("if warned else", "if True else", "report_choices"),
        ("if name in {score.name for score in leaders(comparison, metric)} and", "if False and", "report_choices"),
        ("_not_proven(comparison, short) + lines", "lines", "report_choices"),
        (" or (base is not None and not own.better_than(base))", "", "report_intervals"),
    ],
    "report/verdict.py": [
        ("row for row in comparison.further_baselines if row.name == ROW_COPIES", "row for row in ()", "table_baselines"),
        ("if score.name not in {leader.name for leader in lead})", "if score.name not in {ranked[0].name})", "report_intervals"),
        ("if base is not None and not beat:", "if False:", "report_choices"),
    ],
    "report/sweep.py": [
        ("base is None or score.better_than(base)", "True", "report_intervals"),
    ],
    "report/facts.py": [
        ("if len(comparison.models) == 1 and", "if", "report_names"),
        ('if data.kind == "row" and data.columns:', "if False:", "table_report"),
        ("if point.budget is not None or seconds is None:", "if seconds is None:", "report_intervals"),
        ("first = next(reads, len(comparison.commands))", "first = len(comparison.commands)", "report_choices"),
    ],
    "report/bias.py": [
        ("floors.get(name, sum(some) / len(some))", "sum(some) / len(some)", "provenance"),
        ('if not any("nearer_training" in', 'if any("nearer_training" in', "table_baselines"),
    ],
    "report/limits.py": [
        ("(100 if share else 1)", "1", "report"),
        ("if model.run or model.sampling.calls is not None]", "]", "stored_pictures"),
    ],
    "report/sprites.py": [
        ("self.numbers.get(model.name, place)", "place", "report"),
    ],
    "evaluation/stored_pictures.py": [
        ("if config and config != own:", "if False:", "stored_pictures"),
        ("or not (weights or config)", "", "stored_pictures"),
        ("if weights and weights != run.weights:", "if False:", "stored_pictures"),
        ('"Sampling" in model.origin or scored != usual', "scored != usual", "stored_pictures"),
        ("or scored != usual else", "else", "stored_pictures"),
        ('if run.state["step"] != first.training.steps:', "if False:", "stored_pictures"),
        ("frames[-1][0] != run.state", "False and run.state", "stored_pictures"),
        ("if not all(np.isfinite(x).all() for _, x in frames):", "if False:", "stored_pictures"),
        ("    comparison = _apart_from_real(comparison)", "", "stored_pictures"),
        ("if not os.path.isdir(place):", "if False:", "stored_pictures"),
    ],
    "recipes/tables.py": [
        ('WAVES if network in ("auto", "mlp") else 0', "WAVES", "table_networks"),
        ("BATCH * TOKENS // columns // 64 * 64", "BATCH", "edge_tables"),
    ],
    "table_denoiser.py": [
        ("if self.waves > MOST_WAVES:", "if False:", "table_networks"),
        ("LEAST_LOG = -87.0", "LEAST_LOG = -0.87", "table_denoiser"),
        ("isinstance(inputs, int) and inputs !=", "False and inputs !=", "table_networks"),
        ("noisy.new_zeros(noisy.shape[0], ", "noisy.new_zeros(len(noisy), ", "table_export"),
        ("times_for(t, x_t[:1]) if single", "times_for(t, x_t) if single", "table_networks"),
        ('getattr(self.network, "shares_time", False)', "True", "table_networks"),
        ("(x_t + alpha * layout.mean)", "(x_t - alpha * layout.mean)", "table_denoiser"),
        ("* layout.ordinary(probabilities)", "* 1.0", "table_denoiser"),
        ("self.factors * torch.where(layout.discrete", "torch.where(layout.discrete", "table_denoiser"),
        ("std = np.array(self._table.std) / ", "std = np.array(self._table.std) * ", "table_denoiser"),
        ("given.known & ~given.hide[:, None]", "given.known", "table_denoiser"),
        ("mean, reach = noisy * reach,", "mean, reach = noisy,", "table_denoiser"),
        ("torch.exp((reach**2 - 1) / 2", "torch.exp(0 * (reach**2 - 1) / 2", "table_denoiser"),
        ("reach.masked_fill(seen, 1.0)", "reach", "table_denoiser"),
        ("data = torch.where(known, self._units", "data = torch.where(known & False, self._units", "table_denoiser"),
        ("own.masked_fill(", "own + 0 * own.masked_fill(", "imputation"),
        ("torch.where(self.layout.blocked, errors.indicators, squared)", "squared", "table_denoiser"),
        (
            "counts = torch.where(layout.discrete, 0.0, layout.ordinary(x))",
            "counts = torch.where(layout.discrete, 0.0, 1.0)",
            "table_denoiser",
        ),
    ],
    "recipes/flow.py": [
        ("rate=0.0, ", "", "table_denoiser"),
    ],
    "methods/table_denoising.py": [
        ("* ~given.known).mean()", ").mean()", "table_denoiser"),
        ("now.progress < LEARNED", "True", "table_denoiser"),
        (".clamp(min=0) / max(self.known, 1e-9)", ".clamp(min=0)", "table_denoiser"),
    ],
    "networks/embedding.py": [
        ("((1, n) if self.shares_time else (n,))", "(1, n)", "table_networks"),
    ],
    "networks/columns.py": [
        ("order.argsort()", "order", "table_networks"),
        ("flat.argsort()", "flat", "table_networks"),
    ],
    "editing/imputation.py": [
        ("if not all(holds(c, fields, values).all()", "if not all(True", "imputation"),
        ("    if imputed.beyond:", "    if False:", "given_values"),
        ("~self.missing[rows], places", "~self.missing[rows] & False, places", "given_values"),
        ("if transport.space.columns and not transport.space.names:", "if False:", "table_messages"),
        ("np.where(missing[index], filled, values[index])", "filled", "imputation"),
        ("np.where(missing[rows], -1, ", "np.where(missing[rows], 0, ", "imputation"),
        ("seed + draw * PERIOD + index,", "seed + draw * PERIOD + start + np.arange(len(index)),", "imputation"),
        ('"sample/again {turn}"', '"sample/again"', "imputation"),
        ("waiting[possible[waiting] & ", "waiting[", "imputation"),
        ("space.met(values) if space.constraints", "~np.isnan(values[:, 0]) if space.constraints", "imputation"),
    ],
    "data/tables/gaps.py": [
        ("for _, last in self.lines]", "for last, _ in self.lines]", "table_messages"),
        (' and text not in getattr(field, "names", ())', "", "imputation"),
        ("return before + cell + after", "return before + cell", "gaps"),
        ("""if text.startswith('"') or any(""", "if any(", "gaps"),
        ("for first in range(after, last):", "for first in (after,):", "gaps"),
        ("parts, done = [self.mark], 0", "parts, done = [], 0", "gaps"),
        ("if not layout.header:", "if False:", "gaps"),
        ("== len(names) else numbered", "== len(names) else names", "gaps"),
        ("    if repeated:", "    if False:", "gaps"),
        ('if dates and field.kind == "date":', "if False:", "gaps"),
    ],
    "editing/variation.py": [
        ("+ self.strength * z, condition)", "+ self.strength * z, condition, draws)", "decoder_noise"),
        ("checked_example(flow, x)[None], given)", "checked_example(flow, x)[None], None)", "encoded"),
    ],
    "training/health.py": [
        ("transport.space.to_data(x)", "inner_of(transport).space.to_data(x)", "encoded"),
    ],
    "data/tables/coordinates.py": [
        ("np.log(np.maximum(shares, LEAST_SHARE))", "0 * shares", "table_denoiser"),
        ("u = lower + (upper - lower)", "u = lower + 0.5 * (upper - lower)", "table_denoiser"),
        ("> 0.5, drawn, normal)", "> 0.5, drawn, scores)", "table_denoiser"),
        ("self.closed | (after.T % 2 == 1)", "self.closed", "table_denoiser"),
        ("np.array(scored, dtype=np.int64) + 1", "np.array(scored, dtype=np.int64) + 2", "table_denoiser"),
        ("absent[[stop - 1", "absent[[stop - 2", "imputation"),
        ("-torch.log(-torch.special.log_ndtr(noise))", "-torch.log(-torch.special.log_ndtr(noise / 2))", "table_models"),
        ("torch.ones_like(indicators[:, :1])", "torch.zeros_like(indicators[:, :1])", "table_models"),
        ("[-FARTHEST, *inner, FARTHEST]", "[-1.0, *inner, FARTHEST]", "table_models"),
        ("torch.log_softmax(block, dim=2)", "torch.log_softmax(block, dim=1)", "table_models"),
        ("(0, VECTOR - logits.shape[0] % VECTOR)", "(0, 0)", "table_denoiser"),
        ("rows.shape[1]), dim=1)", "rows.shape[1]), dim=0)", "table_denoiser"),
        ("spans[-1][1:] == (first, width)", "spans[-1][1] == first", "table_denoiser"),
        ("index_copy(1, self.order, parts)", "index_copy(1, self.indicators, parts)", "table_models"),
    ],
    "recipes/waves.py": [
        ("part * (size // pack) + place", "part + place", "table_models"),
        ("high=HIGHEST, ", "", "table_models"),
    ],
    "data/spaces/table.py": [
        ("within * torch.from_numpy(", "0 * within * torch.from_numpy(", "table_digits"),
        ("if isinstance(kind, Known) and condition is not None", "if False and condition is not None", "table_digits"),
        (
            "known = given[:, self.shape[0] :][:, self.owners] > 0.5",
            "known = given[:, self.shape[0] :][:, self.owners] > -0.5",
            "table_digits",
        ),
        ("super().to_model(x.float())", "super().to_model(x)", "table_digits"),
        ("if field.open)", "if field.scores)", "table_digits"),
        ("strict=False) if field.scores)", "strict=False))", "table_models"),
        ("out[first : first + ROWS, start:stop]", "out[:ROWS, start:stop]", "table_models"),
        ("not in (0, len(self.fields))", "not in range(99)", "table_kinds"),
        ("check_constraints(self.constraints, {", "check_constraints((), {", "table_kinds"),
    ],
    "networks/straight_through.py": [
        ("layout.chosen(noisy) + (soft - soft.detach())", "soft", "table_models"),
        ("(soft - soft.detach())", "(soft - soft).detach()", "table_models"),
        (
            "torch.where(layout.closed, codes - scores, 0.0).detach()",
            "torch.where(layout.closed, codes - scores, 0.0)",
            "table_models",
        ),
        ("torch.where(layout.closed, codes - scores, 0.0).detach()", "0.0", "table_models"),
        ("layout.gated(rows) * scores", "scores", "table_models"),
    ],
    "methods/table_likelihood.py": [
        ("(layout.gated(rows) * each)", "each", "table_models"),
        ("torch.where(layout.closed, log_between(low, high), densities)", "densities", "table_models"),
        ("self.log_variance + math.log", "math.log", "table_models"),
        ("torch.exp(self.log_variance / 2) * noise", "noise", "table_models"),
        ("torch.where(turned, -high, low), torch.where(turned, -low, high)", "low, high", "table_models"),
        ("+ gumbel(noise)", "", "table_models"),
    ],
    "evaluation/row_mixture.py": [
        ("(joint - norm).exp()", "torch.ones_like(joint) / joint.shape[1]", "table_baselines"),
        ("+ mixture.weights.log()", "", "table_baselines"),
        ("(squares - means.square())", "squares", "table_baselines"),
        ("torch.special.ndtr(z[:, 0].double())", "z[:, 0].double().sigmoid()", "table_baselines"),
        ("/ 2 - mixture.deviations.log()", "/ 2", "table_baselines"),
    ],
    "evaluation/table_baselines.py": [
        ("torch.zeros(space.size, dtype=torch.int64) if whole", "torch.tensor(space.owners) if whole", "table_baselines"),
        ("else torch.tensor(space.owners)", "else torch.zeros(space.size, dtype=torch.int64)", "table_baselines"),
        ("torch.special.ndtr(z.double())", "torch.special.ndtr(z.double()).square()", "table_baselines"),
    ],
    "solvers/symbols.py": [
        ('raise NotAffine(f"a state is asked for `{name}`")', "return lambda *_: self", "tables"),
        ("terms[register] = sign * weight if coefficient is None", "terms[register] = weight if coefficient is None", "tables"),
    ],
    "solvers/tracing.py": [
        ("if condition is not self.condition:", "if False:", "tables"),
        ("                self._register(part)\n", "                pass\n", "tables"),
        ("if tuple(shape) != self._tracer.shape:", "if False:", "tables"),
    ],
    "solvers/table.py": [
        ("for register in row.dropped:", "for register in ():", "tables"),
        ("torch.add(out, value, alpha=weight)", "torch.add(out, value)", "tables"),
        ("return sum(denoiser.calls(", "return sum(1 or denoiser.calls(", "guidance cost"),
    ],
    "solvers/dense.py": [
        ("held = (held - {call.estimate}) | {call.point}", "held = held | {call.point}", "export"),
        ('_NEUTRAL = {"state": 0.0', '_NEUTRAL = {"state": 1.0', "export"),
    ],
    "solvers/table_cache.py": [
        ("times.tolist() == list(self.learned.grid)", "len(times)", "table_learning"),
        ("[*_settings(self.solver), *_settings(denoiser)]", "_settings(denoiser)", "tables"),
        ("[*_settings(self.solver), *_settings(denoiser)]", "_settings(self.solver)", "tables"),
        ("*chain(*map(_settings, inner))", "", "tables"),
        ('if name != "training"', "", "tables"),
    ],
    "solvers/jump.py": [
        ("cls(1.0 if", "cls(0.0 if", "finishing"),
        ("return denoiser.jump(x, t, s, condition), None", "return denoiser.jump(x, t, 0 * s, condition), None", "jumps"),
        ("- math.log1p(-(self.renoise**2))", "", "jumps"),
        ("self.renoise * there.sigma * noise_of", "there.sigma * noise_of", "jumps"),
    ],
    "methods/mapping.py": [
        ("straight(self.target_map or self.flow_map)", "straight(self.flow_map)", "mapping"),
        ("average.lerp_(parameter, weight)", "average.lerp_(parameter, 1 - weight)", "mapping"),
        ("return (self.flow_map,)", "return (self,)", "mapping"),
    ],
    "methods/rules.py": [
        ("min(self.average, EARLY * (samples + new))", "self.average", "mapping"),
        ("int(progress * self.stages)", "int(progress)", "mapping"),
    ],
    "methods/pairs.py": [
        ("self.levels - int(progress", "self.levels + 1 - int(progress", "mapping"),
    ],
    "methods/trajectories.py": [
        ('low + draws.stream("guidance").uniform()', 'low + 0 * draws.stream("guidance").uniform()', "guided_students"),
        ("(share >= self._single).double()", "(share >= 0.5).double()", "trajectory_store"),
        ("if self.ends else states", "", "distillation"),
        ("condition = hidden(condition, hide)", "pass", "distillation"),
        ("return hidden(values, self.hidden[which]) if", "return values if", "distillation"),
    ],
    "methods/feature_critic.py": [
        ("(1 - share) * transform(x)", "transform(x)", "feature_critic"),
        (
            "time = torch.full((len(x),), self.low) if level is None else level",
            "time = torch.full((len(x),), self.low)",
            "feature_critic",
        ),
        ("level = given.pop(LEVEL, None)", "level = given.get(LEVEL)", "feature_critic"),
    ],
    "networks/feature_heads.py": [
        ("2 ** (levels - level)", "2**level", "feature_critic"),
    ],
    "methods/likeness.py": [
        ("denoiser.path.time(Linear().log_snr(noised[0]))", "noised[0]", "likeness"),
        ("[F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]", "maps", "likeness"),
    ],
    "methods/distillation.py": [
        ("chosen(equal, data_condition, condition)", "condition", "distillation"),
        ("some(data_condition, held)", "some(batch.condition, held)", "distillation"),
        ("(s == 0) & ~equal", "~equal", "likeness"),
        ("self.likeness.weight * self.softened(unlike)", "self.softened(unlike)", "likeness"),
    ],
    "methods/reflow.py": [
        ("start / pairs.times[0]", "start", "reflow"),
        ("pairs.condition(which)", "condition", "reflow"),
    ],
    "training/storing.py": [
        ("if checkpoints.sha256(path) != written:", "if False:", "trajectory_store"),
        ("self.seconds += time.perf_counter() - started", "self.seconds = time.perf_counter() - started", "trajectory_store"),
        ("return budget.after(self.seconds)", "return budget", "trajectory_store"),
        ("SHARE * budget.seconds", "budget.seconds", "trajectory_store"),
        ("            if parts < len(self._hashes):", "            if False:", "trajectory_store"),
        ("self._ends[parts], False", "self._ends[parts], True", "trajectory_store"),
    ],
    "predictor.py": [
        ('"output": there.alpha - state * here.alpha', '"output": there.alpha', "jumps"),
        ('and "predict" not in vars(denoiser)', "", "tables"),
        ("return (y * output).add(x_t, alpha=state)", "return (y * output).add(x_t)", "golden"),
    ],
    "draws.py": [
        ("self._philox.at(seed, self._stream", "self._philox.at(self.seeds[0], self._stream", "draws splitting"),
        ("range(seed, seed + (1 if", "range(seed, seed + (2 if", "splitting"),
        ("= 0, 0, 0, call", "= 0, 0, 0, 0", "draws"),
        ('text = "\\x1f".join', 'text = "".join', "draws"),
        ("first + at // BLOCK)", "at // BLOCK)", "draws"),
        ("self.step, call, first", "self.step, 0, first", "draws"),
        ("step = self.step // interval", "step = self.step", "draws couplings_times"),
        ('name=f"{self.name}/{name}"', "name=self.name", "draws"),
        ('"buffer_pos": 4', '"buffer_pos": 3', "draws"),
        ('return BlockDraws(self.seed, step, self.n, self.start, f"{self.name}/{name}", self.device)', "return self", "training"),
    ],
    "paths.py": [
        ("-half * sigma, half * alpha", "half * sigma, half * alpha", "paths"),
        ("-alpha * dalpha / sigma", "alpha * dalpha / sigma", "paths"),
        ("2 * (torch.log1p(-t) - torch.log(t))", "torch.log1p(-t) - torch.log(t)", "paths"),
        ("torch.sigmoid(-log_snr / 2)", "torch.sigmoid(-log_snr)", "paths"),
        ("b * b + 4 * a * c", "b * b + 2 * a * c", "paths"),
        ("torch.exp(-log_snr / 2) / self.sigma_max", "torch.exp(-log_snr / 2)", "paths"),
    ],
    "tabulated.py": [
        ("(2 * c + u * 3 * d)) * self.levels", "(2 * c + u * 3 * d))", "paths"),
        ("position = t.double() * self.levels - 1", "position = t.double() * self.levels", "paths"),
        ("np.log1p(-np.array(self.betas))", "np.array(-np.array(self.betas))", "paths"),
        ("self.ends = (1 / len(self.betas), 1.0)", "self.ends = (0.0, 1.0)", "paths predictions"),
    ],
    "predictions.py": [
        ("(-k.sigma / k.r, k.alpha / k.r)", "(-k.sigma, k.alpha)", "predictions"),
        ("-1 / k.sigma)", "1 / k.sigma)", "predictions"),
        ("(b * x_t - k.sigma * y) / det", "(b * x_t + k.sigma * y) / det", "predictions"),
        (
            "_determinant(to, k) / _determinant(kind, k)",
            "_determinant(kind, k) / _determinant(to, k)",
            "predictions couplings_times",
        ),
        ("(k.dalpha, k.dsigma)", "(k.dsigma, k.dalpha)", "predictions"),
    ],
    "data/example_hashes.py": [
        ("mix(words ^ places)", "mix(words)", "held_out"),
        ("x = (x + np.float32(0))", "x = x", "held_out"),
        ("gray = (", "gray = ~(", "held_out"),
        ("distinct < np.uint64(2**64 // SHARE)", "np.arange(len(distinct)) < len(distinct) / SHARE", "held_out"),
        ("if counts.max() <= ATOM:", "if True:", "held_out"),
        ("numbered[order] = mix(ranked, number)", "numbered[order] = mix(ranked, order)", "held_out"),
        ("held[free[: 2 if", "held[free[: 0 if", "held_out"),
        ("trained[_highest(ranks, labels)] = True", "pass", "held_out data"),
    ],
    "data/dataset.py": [
        ("labels, self.hashes[index], given, values)", "labels, None, given, values)", "held_out"),
    ],
    "data/sources.py": [
        ('    refuse_unknown(options, LoadOptions, "data.load")\n', "", "newcomers"),
    ],
    "data/memory.py": [
        ('    refuse_unknown(options, ArrayOptions, "data.from_arrays")\n', "", "newcomers"),
    ],
    "data/building.py": [
        ("    train, removed = _without_copies(train, held_out, scaled)\n", "    removed = 0\n", "held_out"),
        ("[: len(here)] <= ATOM", "[: len(here)] > 0", "held_out"),
    ],
    "data/image_files.py": [
        (" or math.prod(wanted) != end - handle.tell():", ":", "packing"),
        ("read.hash = example_hashes(pixels", "read.hash = example_hashes(_pixels(fit(image, size))", "held_out_images"),
    ],
    "data/sets/__init__.py": [
        ("if part.name in own():", "if False:", "new_file"),
        ("isinstance(part, Derived)))", "0))", "data"),
    ],
    "data/source.py": [
        ("if split is not None and", "if False and", "new_file"),
        ("(None, 0) if self.whole", "(reading.limit, 0) if self.whole", "stacked"),
    ],
    "plugins.py": [
        ('if plugin["sha256"] not in named:', "if False:", "new_file plugin training"),
        ("if len(names) != 1:", "if False:", "new_file plugin"),
        ("any(plugin.names.values())", "True", "new_file"),
    ],
    "data/seen.py": [
        ("+ ([] if other.own is None else [other.own[~among(other.own, other.shared)]])", "", "lineage"),
        ("other.own[~among(other.own, other.shared)]", "other.own", "lineage"),
        (" & ~among(held_out, self.shared)", "", "lineage"),
        ("shared=own[among(own, np.sort(data.held_out.hashes))]", "shared=own", "lineage"),
        ("hashes = [self.inherited, other.inherited]", "hashes = [self.inherited]", "lineage"),
    ],
    "training/lineage.py": [
        ('checkpoints.sha256(path) != record["sha256"]', "False", "lineage"),
        ("    if seen.unknown:\n", "    if False:\n", "lineage"),
    ],
    "evaluation/unseen.py": [
        ("    if own:\n", "    if False:\n", "lineage"),
        ("(model.seen.own is None and ", "(", "lineage"),
        ("return warnings + shared_examples(data)", "return warnings", "held_out"),
        ("    if not entries:\n", "    if True:\n", "numbers"),
    ],
    "evaluation/lag.py": [
        ("or not _long(model)", "or True", "planted_faults"),
        ("old.number - new.number <= 2 * noise or old.number <= WORSE * new.number", "False", "planted_faults"),
        ("weights(raw=True)", "weights()", "planted_faults"),
        (' and by_name[name].better == "lower"]', "]", "table_report"),
    ],
    "metrics/growth.py": [
        ("low = lift - root if above > wide else -wide", "low = -wide", "intervals"),
        ("2 * lift * above + wide**2 + lift**2", "wide**2 + lift**2", "intervals"),
        ("max(0.0, growth.error**2 - shared) / samplings", "max(0.0, growth.error**2 - shared)", "intervals"),
        ("root / m, first * over", "root / m, 0.0", "intervals"),
    ],
    "evaluation/synthetic_training.py": [
        ("float(np.var(accuracies, ddof=1)) - of_few", "0.0", "intervals"),
    ],
    "training/samplers.py": [
        ("return flow.with_solver(solver, stored", "return flow.with_solver(flow.solver, stored", "ladder"),
        ("if not isinstance(solver, Solver):", "if False:", "default_of_the_teacher"),
        ("AttributeError, LookupError", "LookupError", "ladder"),
    ],
    "report/rungs.py": [
        ("if ladder.default == ladder.own:", "if False:", "default_of_the_teacher"),
    ],
    "metrics/manifold.py": [
        ("float(np.clip(together / max(shares, 1e-12), 0, 1))", "0.35", "intervals"),
        ("(variance * len(x) / len(generated)) ** 0.5", "0.0", "intervals"),
        ("of_real = (halves * falls * len(y) / len(real)) ** 0.5", "of_real = 0.0", "intervals"),
    ],
    "evaluation/intervals.py": [
        ("max(least, high))", "high)", "intervals"),
        ("interval = of_share(", "interval = above(", "intervals"),
        ("high = (n, high) if", "high = (low, n) if", "intervals"),
        ("max(0.0, root - half) ** 2)", "(root - half) * abs(root - half))", "intervals"),
        ("min(len(values), 2)", "1", "intervals"),
    ],
    "metrics/copying.py": [
        ("variance - of_samples", "0.2 * variance", "intervals"),
        ("float(terms @ terms) * m / max(m - 1, 1)", "0.0", "intervals"),
        ("adjusted * (1 - adjusted) ** 2 / total", "adjusted * (1 - adjusted) / total", "intervals"),
        (" * (1 - total / (m + k))", "", "intervals"),
        ("scale * above.var(ddof=1) / n", "above.var(ddof=1) / n", "intervals"),
        ("(weights**2 * of_generated).sum() + shared", "shared", "intervals"),
        ("error = share_error(", "error = 2 * share_error(", "intervals"),
    ],
    "metrics/classes.py": [
        ("errors(side[generated], -side[reference])", "errors(side[generated], 0 * reference)", "intervals"),
    ],
    "metrics/sinkhorn.py": [
        ("return of_x - own_x, of_y - own_y", "return of_x - own_x, of_y", "metrics_oracles intervals"),
    ],
    "metrics/memorisation.py": [
        ("return distances <= threshold", "return distances < threshold", "metrics"),
        ("np.hypot(share_error(copies.sum(), len(copies)), shared)", "shared", "intervals"),
        ("if threshold == 0:", "if False:", "metrics held_out"),
    ],
    "metrics/table.py": [
        ("sign[of_x], -sign[of_y]", "sign[of_x], sign[of_y]", "table_metrics"),
        ("for names in table.labels], gaps, np.ptp)", "for names in table.labels], gaps)", "table_metrics"),
        ("rising = np.lexsort(rows.T[::-1])", "rising = np.arange(len(rows))", "table_metrics"),
        ("float(unit(known))", "1.0", "table_metrics"),
    ],
    "metrics/trees.py": [
        (" and not alone else", " else", "table_metrics"),
        ("min(TO_PREDICT, CELLS_TO_PREDICT", "min(ROWS, CELLS_TO_PREDICT", "table_metrics"),
        ("CODES - 1)", "CODES)", "table_metrics"),
        ("table.generated.copy(), table.reference.copy()", "table.generated, table.reference", "table_metrics"),
        ("float(part.min()) - 1", "float(part.min())", "table_metrics"),
    ],
    "metrics/uncertainty.py": [
        ("1 - (ranks[n:] - rankdata(y)) / n", "(ranks[n:] - rankdata(y)) / n", "table_metrics"),
        ("math.sqrt(of_first + of_second), math.sqrt(of_second)", "math.sqrt(of_first), math.sqrt(of_second)", "table_metrics"),
    ],
    "metrics/column_shapes.py": [
        ("np.where(np.isnan(side), -np.inf, side)", "side[~np.isnan(side)]", "table_metrics"),
        ("low - 0.5 + width", "low + width", "table_metrics"),
        ("if table.missing[place] if table.missing else any(", "if any(", "table_metrics"),
        ("np.argsort(-shares, kind=", "np.argsort(shares, kind=", "table_metrics"),
    ],
    "metrics/pair_trends.py": [
        ("abs(gap) / 2, np.sign(gap) / 2", "abs(gap), np.sign(gap) / 2", "table_metrics"),
        ("np.where(np.isnan(side), BINS + 2", "np.where(np.isnan(side), 0", "table_metrics"),
        ("value * (u**2 + v**2) / 2", "value", "table_metrics"),
        (
            "if all(value is None for value, _ in correlations):",
            "if any(value is None for value, _ in correlations):",
            "table_metrics",
        ),
        ("first[0] * second[2] + second[0]", "first[0] + second[0]", "table_metrics"),
    ],
    "metrics/detection.py": [
        ("fit(rows[~out], own[~out])", "fit(rows, own)", "table_metrics"),
        ("mixed[place, :, column] = rows[order, column]", "mixed[place, :, 0] = rows[order, 0]", "table_metrics"),
        ("2 * np.maximum(means, 0.5) - 1", "np.maximum(means, 0.5)", "table_metrics"),
    ],
    "metrics/fidelity.py": [
        ("nearest(real, real, 1)", "nearest(real, real, 0)", "table_metrics"),
        ("generated - centre, axis=1)", "generated - generated.mean(0), axis=1)", "table_metrics"),
        ("generated[at] - generated.mean(0)", "generated[at] - centre", "table_metrics"),
    ],
    "metrics/utility.py": [
        ("classes[-1:] if len(classes) == 2 else classes", "classes[-1:]", "table_metrics"),
        ("(y - mean) / std", "y - mean", "table_metrics"),
        ("if len(seen) > 1 else", "if True else", "table_metrics"),
        ("generated=table.learned, learned=None", "learned=None", "table_metrics"),
    ],
    "evaluation/provenance.py": [
        ('representation=REPRESENTATION if is_table(space) else ""', 'representation=""', "table_distances"),
        ('versions |= dict.fromkeys(sorted(own), f"definition', 'dict.fromkeys(sorted(own), f"definition', "table_report"),
    ],
    "metrics/nearest_rows.py": [
        ("if repeating(known) > REPEATING:", "if False:", "table_copies"),
        ("counts[counts > 1].sum()", "(counts > 1).sum()", "table_copies"),
        ("0.5 * (first == other)", "1.0 * (first == other)", "table_copies"),
        ("a / b**2 * of_b", "a * of_b", "table_copies"),
        ("if not distances[1].any():", "if False:", "table_copies"),
        ("if len(x) > KNOWN:", "if False:", "table_copies"),
    ],
    "metrics/membership.py": [
        ("return -near if known is None", "return near if known is None", "table_copies"),
        ("if samples.generated_more is None else samples.generated_more", "if True else None", "table_copies table_report"),
        ("known, scale) + TINY) - near", "known, scale) + TINY)", "table_copies"),
    ],
    "evaluation/constraint_warnings.py": [
        ("    if lacking:", "    if False:", "table_constraints"),
        ("    if tally.unmet:", "    if False:", "table_constraints"),
    ],
    "evaluation/curves.py": [
        ("metrics=CURVE_SCORES, values=values", "metrics=CURVE_SCORES, values=None", "table_constraints"),
    ],
    "report/costs.py": [
        ('"–" if sampling.refused is None else f"{sampling.refused:.1%}"', '"–"', "table_constraints"),
    ],
    "evaluation/odd_rows.py": [
        ("max(POINT, ERRORS * np", "max(1.0, ERRORS * np", "table_constraints"),
        ("np.isnan(column) if np.isnan(value) else", "", "table_constraints"),
        ("column > max(known)", "False", "table_values"),
        ("if not field.missing", "if field.missing", "table_values"),
        ("int((column % 1 > 0).sum())", "0", "table_values"),
    ],
    "evaluation/rows.py": [
        ("np.clip(values[start : start + BLOCK], low, high)", "values[start : start + BLOCK]", "table_distances"),
        ("_values(self.space, rows_at(split, index))", "self.space.values(split.data_units(index))", "table_distances"),
        ("if values is None else values)", "if True else values)", "table_distances"),
        ("renumbered(own.values(x), own", "renumbered(space.values(x), own", "table_distances"),
        (
            "torch.from_numpy(space.encoded(values, foreign=True)), values",
            "torch.from_numpy(space.encoded(values, foreign=True)), None",
            "table_runs",
        ),
        ("return None if is_table(self.space) else self.space.scale", "return self.space.scale", "table_distances"),
        ("return rows if isinstance(rows, np.ndarray) and space.accepts(rows) else", "return", "table_values"),
        ("if split.table_values is None else", "if True else", "table_values"),
        ("min(2 * train, MOST), learned)", "n, learned)", "table_report"),
    ],
    "evaluation/floor_cache.py": [
        ("repr((key, n, redraws, named))", "repr((key, n, named))", "table_report"),
    ],
    "report/columns.py": [
        ("return [escape(name) for name in shortened", "return [name for name in shortened", "table_report"),
        ("if np.isnan(error):", "if False:", "table_report"),
    ],
    "report/table_warnings.py": [
        ("score.interval[0] <= 0.5", "score.interval[0] > 0.5", "table_report"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "table_report"),
        ("columns and (floor is None or _below(score, floor))", "columns", "table_report"),
        ("score.interval[1] < floor.value", "True", "table_report"),
    ],
    "couplings.py": [
        ("if dataset.stored_fingerprints[1] != self.fingerprint:", "if False:", "flow_source"),
        ('"limit": self.limit', '"limit": None', "flow_source"),
        ("_order(n, int(period))", "_order(n, 0)", "flow_source"),
        ("cost = -(flat_x", "cost = (flat_x", "couplings_times"),
        ("classes = [group] if labels is None else", "classes = [group] if True else", "couplings_times"),
        ("positions.split(self.group)", "positions.split(len(x))", "couplings_times"),
        ("members[assign(x[members], z[members])]", "assign(x[members], z[members])", "couplings_times"),
        ("interval=self.reuse", "interval=1", "couplings_times"),
    ],
    "times.py": [
        ("low + u * (high - low)", "u", "couplings_times"),
        ("-2 * (self.mean + self.std", "2 * (self.mean + self.std", "couplings_times"),
        ("torch.sigmoid(self.mean + self.std", "torch.sigmoid(self.std", "couplings_times"),
        ("torch.floor(u * self.levels) + 1", "torch.floor(u * self.levels)", "couplings_times"),
        ("+ part) / len(part)", "+ 0.5) / len(part)", "couplings_times"),
        ("return (k.alpha / k.sigma) ** 2", "return k.alpha / k.sigma", "couplings_times"),
        ("** 2).clamp(max=self.gamma)", "** 2).clamp(min=self.gamma)", "couplings_times"),
        ("(k.r / k.sigma) ** 2", "k.r**2", "couplings_times"),
        ('gain(kind, "data", k) ** 2', 'gain(kind, "data", k)', "couplings_times"),
    ],
    "preconditioning.py": [
        ("-path.log_snr(t) / 8", "-path.log_snr(t) / 4", "predictions"),
    ],
    "denoiser.py": [
        ("x_t / k.r if self.preconditioning", "x_t * k.r if self.preconditioning", "predictions"),
        ("return self.preconditioning.output or self.prediction", "return self.prediction", "preconditioning"),
        ("convert(self.output, self.prediction,", "convert(self.prediction, self.output,", "preconditioning"),
        ("solve(self.output,", "solve(self.prediction,", "preconditioning"),
        ("scale = self.denoiser.path.at(then).r / here.r", "scale = torch.ones_like(t)", "guidance"),
        ('{"scale": 1 / k.r}', '{"scale": k.r}', "predictions golden"),
        ('"until": self.time(second)', '"until": self.time(t)', "tables"),
        ("known.time(self.path.log_snr(t))", "t", "guidance"),
        ('kind in ("noise", "score")', "False", "flow_source"),
    ],
    "solvers/ddim.py": [
        ("there.alpha * data + there.sigma * noise", "there.alpha * data + here.sigma * noise", "solvers"),
        ("there.sigma**2 - fresh**2", "there.sigma**2", "solvers"),
        ("DDIM(1.0)", "DDIM(0.5)", "solvers"),
        ("torch.sqrt(1 - ratio)", "torch.sqrt(ratio)", "solvers"),
    ],
    "solvers/exponential_step.py": [
        ("toward = 1.0 if kind", "toward = -1.0 if kind", "solvers"),
        ("factor = toward * (there.alpha", "factor = (there.alpha", "solvers"),
        ("/ (at - other[:, None])", "/ (other[:, None] - at)", "solvers"),
        ("(points - lam_s[:, None])", "(points - lam_t[:, None])", "solvers"),
    ],
    "solvers/multistep.py": [
        ("nodes[0][1] + slope / 2", "nodes[0][1] + slope", "solvers"),
        ("/ (newer[0] - older[0])", "/ (older[0] - newer[0])", "solvers"),
        ('SingleStep(2, "data") if self.order == 3', 'SingleStep(2, "data") if self.order == 4', "solvers"),
        ("new[1] - nodes[0][1]", "nodes[0][1] - new[1]", "solvers"),
        ("[new, *nodes])", "nodes)", "solvers"),
        ("(3 / 2, -1 / 2)", "(3 / 2, 1 / 2)", "solvers"),
        ("[: self.memory]", "", "solvers"),
        ("and steps > 1 else 0", "else 0", "solvers"),
    ],
    "solvers/single_step.py": [
        ("start + gap * i / self.order", "start + gap / 2", "solvers"),
        ("[node] if self.order == 2 else", "[first] if self.order == 2 else", "solvers"),
    ],
    "solvers/stochastic.py": [
        ("-torch.expm1(-2 * h)", "-torch.expm1(-h)", "solvers"),
        ("(h / (2 * h_before))", "(h / h_before)", "solvers"),
        ("torch.sqrt(2 * h)", "torch.sqrt(h)", "solvers"),
        ("self.strength**2 * h", "self.strength * h", "solvers"),
        ("(first + second) / 2", "first", "solvers"),
        ("extra * self.excess", "2 * extra * self.excess", "solvers"),
        ("2 * self.snr * sigma * noise_of", "3 * self.snr * sigma * noise_of", "solvers"),
    ],
    "solvers/adaptive.py": [
        ("- growth * y) / k.dlog_snr", ") / k.dlog_snr", "solvers"),
        ("y * over(path.at(s).r, x)", "y", "solvers"),
    ],
    "guidance.py": [
        ("if scales is not None:", "if False:", "guided_students"),
        ("self.interval is None and not learned", "self.interval is None", "table_denoiser"),
        ("if not low <= self.scale <= high:", "if False:", "guided_students"),
        ("torch.lerp(y[n:], y[index], scale[index])", "torch.lerp(y[index], y[n:], scale[index])", "guidance"),
        ("return _lerp(null, given, scale)", "return _lerp(given, null, scale)", "guidance golden"),
        ("torch.full_like(t, scale), torch.ones_like(t)", "torch.full_like(t, scale), torch.full_like(t, scale)", "guidance"),
        ("else 2)", "else 1)", "guidance"),
        ("(level >= interval[0]) &", "(level <= interval[0]) |", "guidance"),
        ("not inner.unconditional", "False", "guidance"),
        ("torch.lerp(weak, y[index], scale[index])", "torch.lerp(y[index], weak, scale[index])", "guidance"),
        ("Repathed(weaker, denoiser.path)", "weaker", "guidance"),
        (".clamp(min=1).reshape", ".reshape", "guidance"),
    ],
    "likelihood.py": [
        ("return at_end + gained", "return at_end - gained", "likelihood"),
        ("+ flow.space.log_det", "", "likelihood"),
        ("math.log(2 * math.pi) / 2 + math.log(scale)", "math.log(2 * math.pi) / 2", "likelihood"),
        ("h / 6 * (da + 2 * db", "h / 6 * (da + db", "likelihood"),
        ("(slope * probe)", "slope", "likelihood"),
        ("total * (high - low) / (2 * times)", "total * (high - low) / times", "likelihood"),
        ("- torch.logsumexp(-distance * precision, 0)", "", "likelihood"),
        ("bits + math.log2(space.levels - 1)", "bits", "likelihood"),
        ("- 0.5).to(x)", ").to(x)", "likelihood"),
    ],
    "grid_learning.py": [
        ("if flow.source is None else flow.source(draws)", "", "flow_source"),
        ("if error < least and", "if error > least and", "grid_learning"),
        ("torch.softmax(self.share, 0)", "torch.softmax(self.share.detach(), 0)", "grid_learning"),
        ("flow.solver.stochastic or", "False or", "grid_learning"),
    ],
    "table_learning.py": [
        ("self._units * self.added", "self._units * self.added.detach()", "table_learning"),
        ("max(CERTAIN * error, LEAST * float(before.mean()))", "-1.0", "table_learning"),
        ("flow.solver.jumps", "False", "table_learning"),
        ("[*GRIDS, *grids]", "[*GRIDS]", "table_learning"),
        ("if candidate is not None and error < least", "if candidate is not None and error > least", "table_learning"),
    ],
    "solvers/learned.py": [
        ("sources = (0, *(2 * j + 2", "sources = (0, *(2 * j + 1", "table_learning"),
        ("stops.append(number)", "stops.append(number + 1)", "table_learning"),
    ],
    "networks/fourier_features.py": [
        ("x.device.type, enabled=False", "x.device.type, dtype=torch.bfloat16", "gan_networks"),
        ("angles.sin(), angles.cos()", "angles.sin(), angles.sin()", "gan_networks"),
        ("math.log10(low), math.log10(high)", "math.log10(high), math.log10(low)", "gan_networks"),
        (
            "nn.functional.normalize(torch.randn(fourier_features, inputs), dim=1)",
            "torch.ones(fourier_features, inputs) / inputs**0.5",
            "gan_networks",
        ),
    ],
    "networks/sign_codes.py": [
        ("x[:, : self.sign_codes] > 0", "x[:, -self.sign_codes :] > 0", "gan_networks"),
        ("x[:, : self.sign_codes] > 0", "x[:, : self.sign_codes] < 0", "gan_networks"),
        ("self.scale * x,", "x,", "gan_networks"),
        ("F.embedding(pattern, self.codes)", "F.embedding(pattern, self.codes.sign())", "gan_networks"),
        ("if sign_codes > min(latent, MOST)", "if sign_codes > latent + 1", "gan_networks"),
    ],
    "networks/mlp.py": [
        ("act = ACTIVATIONS[self.activation]", 'act = ACTIVATIONS["silu"]', "networks gan"),
    ],
    "recipes/gan.py": [
        ("penalty_interval = 4 if convolutional and", "penalty_interval = 4 if", "methods"),
        ("share = penalty_interval / (penalty_interval + 1)", "share = 1.0", "methods"),
        ("(min(10, latent) if vector else 0)", "(10 if vector else 0)", "gan"),
        ("and not spectral else 0", "else 0", "gan"),
        ("beta2_end=beta2_end, ", "", "gan"),
        ("if shortest_ramp is None and ramp is None and", "if shortest_ramp is None and", "gan"),
        ("and penalised and vector and not _continuous(space)", "and penalised and not _continuous(space)", "gan"),
        ("and penalised and vector and not _continuous(space)", "and penalised and vector", "gan"),
        ("and penalised and vector and not _continuous(space)", "and vector and not _continuous(space)", "gan"),
        ("ramp=ramp, shortest_ramp=shortest_ramp)", "ramp=ramp)", "gan"),
        ("penalty_interval, difference, shortest_ramp)", "penalty_interval, difference)", "gan"),
    ],
    "recipes/ddpm.py": [
        ('"log_snr" if len(space.shape) == 1 else "time"', '"time"', "default_samplers"),
        ('output="v" if preconditioned else None', "output=None", "preconditioning"),
        ("Levels(levels)", "Levels(levels // 2)", "preconditioning"),
    ],
    "recipes/choice.py": [
        ("flat(space, DENOISED)", "flat(space)", "methods"),
        ('"mlp" if flat(space) else "dcgan"', '"mlp" if flat(space) else "residual"', "methods"),
    ],
    "training/game_alarms.py": [
        ("accuracy <= CHANCE", "accuracy >= CHANCE", "health"),
        ("step - self._since < STUCK", "step < STUCK", "health"),
        ("if held > self._best:", "if held != self._best:", "health"),
        ("== 0 else 'raise gamma'", "is None else 'raise gamma'", "health"),
        ("step - self._held_since >= LASTING", "step - self._held_since >= 0", "health"),
        ("self._held_since) if holds else -1", "self._held_since)", "health"),
        ("step - self._low_since < LASTING", "step - self._low_since < 0", "health"),
        ("reached >= threshold - SLACK", "reached > threshold + SLACK", "health"),
        ("step - self._since + 1 < GAP_LASTING", "step - self._since + 1 < 1", "health"),
        ("self._stands = self._stands or second > first", "self._stands = self._stands or second < first", "health"),
    ],
    "training/latent_alarms.py": [
        ("if used > threshold", "if used < threshold", "collapse"),
    ],
    "networks/level_posterior.py": [
        ("and not torch.compiler.is_compiling()", "", "export"),
        ("off.square() / 2 - ratio.log()", "off.square() / 2", "likelihood"),
        ("and not narrow.any():", "and not narrow.all():", "likelihood"),
        ("torch.hypot(torch.ones_like(ratio), ratio)", "1", "likelihood"),
        ("(mean * ratio.square() + noisy * std.square())", "(noisy * ratio.square() + mean * std.square())", "likelihood"),
    ],
    "solvers/runge_kutta.py": [
        ("t + node * gap", "t", "solvers"),
        ("(0.5, 0.5)", "(0.4, 0.6)", "solvers"),
        ("(1 / 6, 1 / 3, 1 / 3, 1 / 6)", "(1 / 4, 1 / 4, 1 / 4, 1 / 4)", "solvers"),
    ],
    "solvers/grids.py": [
        ("np.linspace(most ** (1 / rho), least ** (1 / rho), steps) ** rho", "np.linspace(most, least, steps)", "solvers"),
        ("shift * u / (1 + (shift - 1) * u)", "u", "solvers"),
    ],
    "transports/flow.py": [
        ("self.source.starts(draws)", "self.source(draws)", "flow_source"),
        ("z * self._width_at_start", "z", "solvers methods"),
        ("return state / self._width_at_start", "return state", "solvers methods"),
        ("times[::-1]", "times", "solvers methods"),
    ],
    "transports/transport.py": [
        (
            "        return self.space.finished(x,",
            "        return x.double() if True else self.space.finished(x,",
            "table_digits",
        ),
        ("dtype=self.space.precision", "dtype=torch.float32", "table_digits"),
        ("return redrawing.checked(self._parts(", "return (self._parts(", "table_samples"),
        ("            own.check()", "            pass", "table_samples"),
        ("seed + start, size, device", "seed, size, device", "solvers methods laws"),
        ("part, seed + start)", "part, seed)", "solvers methods laws"),
        ("value[start : start + size]", "value[:size]", "solvers methods laws"),
    ],
    "transports/map.py": [
        ("if self.likelihood is None or draws is None:", "if True:", "decoder_noise"),
    ],
    "transports/latent.py": [
        (
            "self.autoencoder.drawn(self.decode(self.inner(z, condition, draws), condition), draws)",
            "self.decode(self.inner(z, condition, draws), condition)",
            "table_models",
        ),
        ("return self.inner.calls + 1", "return self.inner.calls", "solvers methods"),
        ("self.inner.space.to_data(codes)", "codes", "methods encoded"),
    ],
    "conditions/label.py": [
        ('"one of" if numbered else', '"one of" if False else', "given_values"),
        ("np.cumsum(self.frequencies)[:-1]", "np.arange(1, len(self.names)) / len(self.names)", "conditions methods"),
    ],
    "conditions/kind.py": [
        ("hide | condition[mask]", "hide", "guidance conditions"),
        ("self.entries.index(entry)", "0", "conditions"),
        ("if not kind.learned}", "}", "table_denoiser"),
        ('{"label"} - conditions.keys() if kind.learned', "set() if kind.learned", "table_denoiser"),
    ],
    "conditions/known.py": [
        ("type(cell).__name__ in (", "False and type(cell).__name__ in (", "given_values"),
        ("""quote = '"' if any""", """quote = "" if any""", "given_values"),
        ("torch.as_tensor(request, dtype=torch.float64)", "torch.as_tensor(request, dtype=torch.float32)", "table_digits"),
        ("* (marks[:, place, None] > 0)", "", "table_denoiser"),
        ("len(self.fields) + place] = 1.0", "len(self.fields) + place] = 0.0", "table_denoiser"),
        ("if not text and field.missing:", "if not text:", "table_denoiser"),
        ("not low <= numbers[i] <= high", "False", "imputation"),
        ("            warn(", "            str(", "given_values"),
        ("moved |= np.abs(held - numbers) > SAME", "moved &= np.abs(held - numbers) > SAME", "given_values"),
        ("moved &= np.abs(held - numbers) > ROUNDING", "moved |= np.abs(held - numbers) > ROUNDING", "given_values"),
        ("moved |= (field.kind ==", "moved &= (field.kind ==", "given_values"),
        ("columns = [field.nearest(values[:, place])", "columns = [(values[:, place])", "given_values"),
    ],
    "conditions/requests.py": [
        ('if isinstance(label, Label) and name == label.target != "":', "if False:", "table_messages"),
        ("if name in self.numbers:", "if False:", "table_messages"),
        ("if name in self.columns:", "if False:", "table_models"),
        ("ExampleDraws(seed, n, name)", "ExampleDraws(0, n, name)", "conditions"),
    ],
    "conditions/embeddings.py": [
        ("(like - mean) / std", "like / std * 0", "conditions"),
        ("self.null.to(vector.dtype), vector)", "vector, vector)", "conditions"),
    ],
    "data/given.py": [
        ("kind.measure(train.given[name], names, examples)", "kind.measure(held_out.given[name], names[::-1])", "numbers"),
        ("names, examples)", "names)", "numbers"),
    ],
    "methods/denoising.py": [
        ("x_t = k.alpha * x + k.sigma * z", "x_t = k.alpha * x + k.sigma * z + 0.1", "methods"),
        (".flatten(1).mean(1)", ".flatten(1).sum(1)", "methods"),
        ("uniform() < share", "uniform() > share", "methods"),
        ("(self.weight(self.denoiser.prediction, at) * error)", "error", "methods"),
        ("if self.space.conditions and self.denoiser.unconditional", "if False and self.denoiser.unconditional", "guidance"),
        ('draws.stream("label dropout").uniform()', "draws.uniform()", "golden_losses"),
    ],
    "methods/game.py": [
        ("gamma / 2 * halves[name].mean()", "gamma * halves[name].mean()", "gan"),
        ('zip(("r1", "r2"), squares', 'zip(("r2", "r1"), squares', "gan"),
        ("self.penalties.weight(now) * interval if", "self.penalties.weight(now) if", "gan"),
        ("due = now.step % interval == 0", "due = True", "gan"),
        ("        with held(self.critic):\n", "        if True:\n", "splitting"),
        ("if OBJECTIVES[self.loss].paired else on_real.detach()", "if False else on_real.detach()", "gan"),
        ("values.repeat_interleave(pack, 0)", "values", "gan"),
        ("self.scores(x, _twice(_twice(condition)))", "self.scores(x, _twice(condition))", "laws"),
        ('with network_precision("float32"):', "if True:", "finishing"),
    ],
    "methods/gan.py": [
        ("(lean - self.critic_input.ada_target) * (", "(self.critic_input.ada_target - lean) * (", "gan"),
        ("with torch.set_grad_enabled(now.parts == 1):", "if True:", "splitting"),
        ("strength = self.strength_now.clone()", "strength = self.strength_now", "gan"),
        ("clamp_(0.0, STRONGEST)", "clamp_(0.0, 1.0)", "gan"),
        (
            "self.game.critic_loss(transform(batch.x), transform(fake.detach())",
            "self.game.critic_loss(batch.x, transform(fake.detach())",
            "gan",
        ),
        (
            'yield "generator", self.game.generator_loss(transform(batch.x), transform(fake)',
            'yield "generator", self.game.generator_loss(transform(batch.x), transform(fake.detach())',
            "gan methods",
        ),
    ],
    "methods/finish.py": [
        ("transform(x), seen)", "transform(x), condition)", "feature_critic"),
        ("loss + self.anchor.at(now) * distance", "loss + self.anchor.weight * distance", "finishing"),
        ("jump_to_data(self.teacher, start, condition)", "jump_to_data(self.flow_map, start, condition)", "finishing"),
        ("with torch.set_grad_enabled(now.parts == 1):", "if True:", "splitting"),
    ],
    "methods/starts.py": [
        ("return path.at(t).over(x).sigma * z, t", "return z, t", "finishing"),
        ("torch.zeros_like(x))", "x)", "finishing"),
    ],
    "methods/distribution_matching.py": [
        ("((learned - real) /", "((real - learned) /", "distribution_matching"),
        (".clamp(-BOUND, BOUND)", "", "distribution_matching"),
        ("(x - (x - step).detach()).square().mean() / 2", "(x - (x - step).detach()).square().mean()", "distribution_matching"),
        ("return (self.flow_map,)", "return (self,)", "distribution_matching"),
        ("path.time(Linear().log_snr(levels))", "levels", "distribution_matching"),
        ('predictor.predict("data"', 'predictor.predict("velocity"', "distribution_matching"),
    ],
    "training/best.py": [
        ("** (1 / len(BY))", "", "best_checkpoint"),
        ("measured < BETTER * before.quality", "measured < before.quality", "best_checkpoint"),
    ],
    "training/variety.py": [
        ("CHANCE * error / share", "0", "guard"),
        ("moment.average.transport()", "moment.method.transport()", "guard"),
        ("return now > before", "return True", "guard"),
        ("if not self._start:", "if True:", "guard"),
        ("except Diverged:", "except ZeroDivisionError:", "guard"),
    ],
    "training/variety_alarm.py": [
        ("self.passed = step", "pass", "guard"),
        ("key=lambda item: item[1][0] - item[1][1]", "key=lambda item: item[0]", "guard"),
    ],
    "training/settings.py": [
        ("limit / 4)", "limit)", "training"),
        ("return clock.seconds - saved >=", "return clock.seconds - saved < 0 *", "interrupted"),
    ],
    "training/run_data.py": [
        ("if vectors.fingerprint == content", "if False and vectors.fingerprint == content", "golden_folders"),
        ("    if processes is not None:\n", "    if False:\n", "changing_data"),
        ("if learned is None:", "if False:", "training cli"),
        ('if name != "download"', "", "hostile"),
    ],
    "training/own_columns.py": [
        ("if was in (again.fingerprint, again.stored_fingerprints[0])), None)", "), None)", "table_runs"),
        ("if was in (again.fingerprint, again.stored_fingerprints[0])", "if was == again.fingerprint", "table_runs"),
        ("known = (*_encoded_again(content, data), data)", "known = (data, *_encoded_again(content, data))", "table_runs"),
        ("mean=own.mean, std=own.std, fields=own.fields)", "mean=own.mean, std=own.std)", "table_runs"),
        ("return any(was in (again.examples_fingerprint, again.stored_fingerprints[1])", "return any(was in ()", "table_runs"),
    ],
    "training/going_back.py": [
        ('player.restore(stored.tensors["optimizer"])', "pass", "training"),
        ("restore(trainer.average.method, stored.weights(), stored.folder)", "pass", "training"),
        ("    if used == step:\n", "    if True:\n", "guard"),
        ("return where if where.is_dir() else checkpoints.latest(inside) or where", "return where", "guard"),
        ("for player in trainer.players.values():", "for player in ():", "training laws"),
        ('player.restore(stored.tensors["optimizer"])', "pass", "kills"),
        ("    take_up(trainer, stored_for(trainer", "    (trainer, stored_for(trainer", "guard"),
    ],
    "methods/critic_input.py": [
        ("return self.pack * max(1, self.minibatch_std)", "return self.pack", "gan"),
    ],
    "methods/method.py": [
        ("(math.pi * share)) / 2", "(math.pi * share)) / 4", "gan methods"),
        ("min(1.0, self.samples / ramp)", "self.samples / ramp", "gan"),
        ("share = min(share, self.samples / shortest)", "share = self.samples / shortest", "gan"),
    ],
    "methods/objectives.py": [
        ("F.softplus(on_fake - on_real)", "F.softplus(on_real - on_fake)", "gan"),
        ("lambda on_real, on_fake: F.softplus(-on_fake)", "lambda on_real, on_fake: -F.softplus(on_fake)", "gan"),
        ("F.relu(1 + on_fake)", "F.relu(1 - on_fake)", "gan"),
        ("(on_fake - 1).square() / 2", "on_fake.square() / 2", "gan"),
        ("lambda on_real, on_fake: on_fake - on_real", "lambda on_real, on_fake: on_real - on_fake", "gan"),
    ],
    "methods/penalties.py": [
        ("share * real + (1 - share) * fake", "share * fake + (1 - share) * real", "gan"),
        ("(square + 1e-12).sqrt() - 1", "square - 1", "gan"),
        ("(square + 1e-12).sqrt()", "square.sqrt()", "gan"),
        (".reshape(len(scores), -1).sum(1)", "", "gan"),
        ("create_graph=True", "create_graph=False", "gan"),
        ("self.end, self.ramp, self.shortest_ramp)", "self.end, self.ramp)", "gan"),
    ],
    "augmentation.py": [
        ("self.extent * (bright - 0.5) / 2", "self.extent * (bright - 0.5)", "gan"),
        ("grey = x.mean(1, keepdim=True)", "grey = x.mean((2, 3), keepdim=True)", "gan"),
        ("(contrast + 0.5)", "contrast", "gan"),
        ("(2 * most + 1)).long() - most", "(2 * most)).long() - most", "gan"),
        ("torch.gather(moved, axis, index) * inside", "torch.gather(moved, axis, index)", "gan"),
        (").long() - width // 2", ").long()", "gan"),
        ("hidden[0][:, None, :, None] & hidden", "hidden[0][:, None, :, None] | hidden", "gan"),
        ("draws.uniform() < probability", "draws.uniform() < 2 * probability", "gan"),
    ],
    "methods/class_prior.py": [
        ("by_class - by_class[present].mean(0)", "by_class", "class_prior collapse"),
        ("by_class[present].mean(0)", "by_class.mean(0)", "class_prior"),
        ("if self.absent:", "if False:", "class_prior"),
        ("(mean - centre) * torch.exp(-log_std)", "(mean - centre) * torch.exp(log_std)", "class_prior"),
        ("log_variance - 2 * log_std", "log_variance - log_std", "class_prior"),
        ("mean + torch.exp(log_std) * w", "mean + w", "class_prior"),
    ],
    "methods/vae.py": [
        ("if classes and self.bound.beta else", "if classes else", "class_prior"),
        (
            "mean_of(self.code_decoder, self.likelihood), self.space, self.code",
            "mean_of(self.decoder, self.likelihood), self.space, self.code",
            "class_prior",
        ),
        ("torch.exp(log_variance / 2) * now.draws", "torch.exp(log_variance) * now.draws", "methods vae"),
        ("if settings.beta == 0 else mean + torch", "if False else mean + torch", "methods"),
        ("log_likelihood + ratio", "log_likelihood - ratio", "vae"),
        ("mean, log_variance = mean.detach(), log_variance.detach()", "pass", "vae"),
        ("self.code_encoder if self.bound.beta else Deterministic(self.encoder)", "self.code_encoder", "encoded"),
        ("condition_at(condition, index)", "condition", "vae"),
        ('now.notes["kl"] = divergence.detach().mean()', 'now.notes["kl"] = divergence.detach().sum()', "vae"),
    ],
    "methods/evidence_bound.py": [
        ("min(1.0, now.progress / self.warmup)", "now.progress / self.warmup", "vae"),
    ],
    "methods/importance_weighting.py": [
        ("(sums / torch.bincount(group, minlength=groups)[:, None])[group]", "mean.mean(0)", "class_prior"),
        ("log_variance.exp() - 1 - log_variance", "log_variance.exp() - 1 + log_variance", "vae methods"),
        ("(1 - beta + beta * weights)", "weights", "vae"),
        ("(x - x.mean(0)).square().sum()", "x.square().sum()", "vae"),
        ("math.log(2 * math.pi)).flatten", "0.0).flatten", "vae"),
        (" - math.log(log_weights.shape[1])", "", "vae"),
        ("(slope.reshape(len(share), -1) * share).reshape(slope.shape)", "slope", "vae"),
        ("held = {name: parameter.detach()", "held = {name: parameter", "vae"),
        ("group.mean(0).clamp(min=free)", "group.clamp(min=free).mean(0)", "vae"),
        ("flat.split(BLOCK)", "[flat]", "vae"),
        ("(len(mean) - groups) > ACTIVE", "(len(mean) - groups) > ACTIVE / 100", "vae"),
    ],
    "methods/likelihoods.py": [
        ("torch.exp(self.log_variance / 2) * noise", "torch.exp(self.log_variance) * noise", "decoder_noise"),
        ("likelihood if likelihood.space.as_points else None", "likelihood", "decoder_noise"),
        ("torch.special.ndtr(noise) <", "torch.special.ndtr(noise) >", "decoder_noise"),
        ("torch.exp(-self.log_variance)", "torch.exp(self.log_variance)", "methods"),
        ("math.log(2 * math.pi)", "0.0", "vae methods"),
        ("torch.where(level == 0, F.logsigmoid(above)", "torch.where(level < 0, F.logsigmoid(above)", "vae"),
        ("-2 * half * sharp", "-half * sharp", "vae"),
        ("(scales.unflatten(1, shaped) - 1.4).clamp(NARROWEST, WIDEST)", "(scales.unflatten(1, shaped) - 1.4)", "vae"),
        ("places.clamp(-1, 1)", "places", "vae"),
        ("self.space.to_model(torch.sigmoid(decoded))", "torch.sigmoid(decoded)", "vae"),
    ],
    "methods/hierarchical_vae.py": [
        ("seen_h, seen_u = h.clone(), u.clone()", "seen_h, seen_u = h, u", "vae"),
        ("call(constant(self.upper_encoder), seen_h", "call(self.upper_encoder, seen_h", "vae"),
        ("gaussian_log_prob(seen_h, *prior) + standard", "standard", "vae"),
        ("z[:, self.split :]", "z[:, : mean.shape[1]]", "vae"),
        ("noise[:, lower:]", "noise[:, :upper]", "vae"),
        ("noise[:, lower:]", 'draws.stream("upper").normal((samples, upper)).flatten(0, 1)', "vae"),
        ("WIDEST * torch.tanh(log_variance / WIDEST)", "log_variance", "vae"),
    ],
    "methods/quantised.py": [
        ("flat + size * torch.arange", "flat + 0 * torch.arange", "quantised"),
        ("+ self.commitment * apart.mean()", "", "quantised"),
        ("self.codebook.follow(**moved", "dict(**moved", "quantised"),
        ('total.values["use"] / total.count', 'total.values["use"] / 64', "quantised processes"),
        ("right=True", "right=False", "quantised"),
        ("self.network(self.codebook(z)[0], t", "self.network(z, t", "quantised"),
    ],
    "networks/quantise.py": [
        ("(place * positions.shape[1]).long()", "(0 * place).long()", "quantised"),
        ("candidates[torch.argsort(choice)[: len(dead)]]", "candidates[: len(dead)]", "quantised"),
        ("enabled=False", "enabled=True", "quantised"),
        ("distances.argmin(1)", "distances.argmax(1)", "quantised"),
        ("q.detach() + (h - h.detach())", "q", "quantised"),
        ("self.counts[dead] = even", "pass", "quantised"),
        ("(self.counts < DEAD * even)", "(self.counts < 0)", "quantised"),
        ("(1 + 1e-3) / 2 for", "(1 - 1e-1) / 2 for", "quantised"),
        ("squashed.round()", "squashed.floor()", "quantised"),
    ],
    "methods/latent_method.py": [
        ("torch.exp(log_variance / 2) * now", "torch.exp(log_variance) * now", "encoded"),
        ("self.method.space.to_model(codes)", "codes", "encoded"),
    ],
    "methods/frozen.py": [
        (
            "def __deepcopy__(self, memo: dict[int, Any]) -> _Parts:\n        return self",
            "def _deepcopy(self, memo: dict[int, Any]) -> _Parts:\n        return self",
            "encoded frozen",
        ),
        ("module.eval().requires_grad_(False)", "module.eval()", "encoded frozen"),
        ("            part._apply(fn, recurse)", "            pass", "frozen"),
        ("parts.setdefault(name, part) is not part", "parts.setdefault(name, part) is None", "frozen"),
    ],
    "methods/perceptual_autoencoder.py": [
        ("with torch.set_grad_enabled(now.parts == 1):", "if True:", "splitting"),
        ('total.values["square"] / count', 'total.values["square"]', "perceptual"),
    ],
    "training/frozen.py": [
        ("(*recipe.builds_on, *ancestors)", "recipe.builds_on", "frozen"),
        ("if tuple(trained.shape) != tuple(space.shape) or", "if False and", "frozen"),
    ],
    "training/observing.py": [
        ("    with observing(moment.method, moment.average):", "    if True:", "observers"),
        ("[observer.best for observer in observers]", "[]", "best_checkpoint"),
        ("if _versions(method, average) != before:", "if False:", "observers"),
        ("observer.decides and observer.due(moment)", "False", "guard"),
        ("measured if processes is None else", "measured if True else", "observers"),
        ("with generators_kept(device), torch.no_grad():", "if True:", "observers"),
    ],
    "training/latent_data.py": [
        ("mean.var(axes, correction=0) + log_variance.exp().mean(axes)", "mean.var(axes, correction=0)", "encoded"),
    ],
    "training/preparing.py": [
        ('if known.get("key") == key and checkpoints.sha256(path) == known.get("sha256"):', "if True:", "encoded"),
        ("_last = key, fields", "pass", "encoded"),
        ("ExampleDraws(start, len(x)", "ExampleDraws(0, len(x)", "prepared"),
        ("if not isinstance(value, nn.Module)}", "if False}", "prepared"),
    ],
    "training/parts.py": [
        ("if checkpoints.sha256(path) != hashes[name]:", "if False:", "encoded"),
        ("module.load_state_dict(parts[name].state_dict())", "pass", "encoded"),
    ],
    "report/captions.py": [
        ('"Towards real data")', '"Down") and "Down"', "table_report"),
        ("beyond[-1] + 1 if beyond else 0", "beyond[0] + 1 if beyond else 0", "report"),
        ("turn = -1.0 if", "turn = 1.0 if", "table_report"),
    ],
    "report/charts.py": [
        ("low = max(low, edge / 3) if", "low = low if", "report_parts"),
        ("bool((xs == np.round(xs)).all())", "False", "report"),
        ("bool((xs == np.round(xs)).all())", "True", "report"),
    ],
    "evaluation/scoring.py": [
        ("rows_at(self.split, np.arange(len(self.split)))", "rows_at(self.split, examples)", "table_values"),
        ("dataset.space.values(torch.as_tensor(generated))", "dataset.space.values(every)", "table_digits"),
        ("raw.of(every, values) if", "raw.of(every) if", "table_distances"),
        ("training=raw.training", "training=raw.training[::-1] * 2", "table_distances"),
        ("generated=self.raw.at(self.split, picked)", "generated=self.raw.at(self.split, picked) + 1", "table_distances"),
        ("if np.ptp(values) == 0 else", "if False else", "features"),
        ('if redraw >= getattr(metric, "floor_redraws", redraw + 1):', "if False:", "table_report"),
        ("(OF_TABLES if is_table(dataset.space) else REDRAWS)", "REDRAWS", "table_report"),
    ],
    "evaluation/likelihood.py": [
        ("min(len(data.held_out), EXAMPLES)", "len(data.held_out)", "vae"),
        ("weights.append(method.log_weights(x, few", "weights.append(method.log_weights(x, 1", "vae"),
    ],
    "evaluation/latent.py": [
        ("if met(autoencoder.space.conditions, data.space.conditions) else None", "", "codes"),
        ("if not autoencoder.standard", "if False", "codes"),
        ("torch.diag(log_variance.exp().mean(0))", "0", "vae"),
        ("centre.square().sum() - len(centre)", "centre.square().sum()", "vae"),
        ("float(explained(", "float(1 - explained(", "vae"),
    ],
    "evaluation/latent_pictures.py": [
        ("examples[split.labels[examples] == split.labels[examples[0]]]", "examples", "codes"),
        ("split.condition(conditions, examples[:1])", "split.condition(conditions, examples[-1:])", "codes"),
        ("share * (means[1] - means[0])", "share * means[1]", "codes"),
        ("axes[:2].T", "axes[-2:].T", "codes"),
    ],
    "metrics/reconstruction.py": [
        ("blurred(a * b) - mean_a * mean_b", "blurred(a * b)", "vae"),
        ("radius=(0, 0, RADIUS, RADIUS)", "radius=(0, 0, 2, 2)", "vae"),
    ],
    "data/binarised.py": [
        ("2**24 / 255", "2**24 / 256", "vae"),
        ("np.arange(at, min(at + _CHUNK, len(split)))", "np.zeros(min(at + _CHUNK, len(split)) - at, int)", "vae"),
    ],
    "training/ema.py": [
        ("0.5 ** (batch / half_life)", "0.5 ** (half_life / batch)", "training"),
        ("self.share * samples", "samples", "training"),
        ("if average.is_floating_point():", "if isinstance(average, nn.Parameter):", "training"),
        ("                average.data = theirs.data\n", "", "frozen"),
        ("            average.copy_(theirs)", "            pass", "training"),
    ],
    "training/optimizers.py": [
        ("self.lr * rate", "self.lr", "optimizers"),
        ("torch.empty_like(parameter).copy_(placed(value, parameter))", "value", "training laws optimizers"),
        ("if self.clip is not None", "if False", "optimizers"),
        ("norm if loss is None else norm + loss", "norm", "skipping"),
        ("if waits and not finite:", "if False:", "skipping"),
        ("(~finite).float()", "finite.float()", "skipping"),
        ("parameter.grad = None", "pass", "optimizers"),
        ("part.groups == 1", "True", "optimizers"),
        ("min(len(w), w[0].numel()) >=", "max(len(w), w[0].numel()) >=", "optimizers"),
        ("yield from ((numbers[at], kinds)", "yield from ((at, kinds)", "optimizers"),
        ("state = {at: by_index[number]", "state = {number: by_index[number]", "optimizers"),
        ("permute(0, 2, 3, 1).view(", "permute(0, 2, 3, 1).clone().view(", "optimizers"),
        ("None if kernel.grad is None else _matrix(kernel.grad)", "_matrix(kernel.grad)", "optimizers"),
    ],
    "training/budget.py": [
        ("round(left / pace)", "1", "budgets"),
        ("start, self.step + (max", "self._used, self.step + (max", "budgets"),
        ("LONGEST * median(self._latest)", "math.inf", "budgets"),
        ("max(progress, SETTLE))", "self.progress)", "budgets"),
        ("max(left, limit / CHECKS)", "self.seconds", "budgets"),
        ("self.warmed += progress", "self.warmed += share", "budgets"),
        ("min(share, 2 * usual)", "share", "budgets"),
        ("if stage.step > self.step]", "if False]", "budgets"),
        ('"M": 1_000_000', '"M": 1_000', "training cli"),
        ("end + (1 - end) *", "end *", "training"),
    ],
    "training/checks.py": [
        ("else space.units", "else {}", "training"),
    ],
    "training/folders.py": [
        ("self.replaced.rename(self.folder)", "pass", "sampling"),
        ("folder.mkdir()\n", "folder.mkdir(exist_ok=True)\n", "run_folders"),
        ("raise _busy(folder) from None", "return None", "run_folders"),
        ("while not _locked(folder):", "while True:", "run_folders"),
        ("    put_back(Path(wanted))", "    pass", "interrupted"),
    ],
    "training/stages.py": [
        ("return recorded if recorded[: len(stored)] == stored else stored", "return stored", "budgets"),
        ("return recorded if recorded[: len(stored)] == stored else stored", "return recorded", "budgets"),
    ],
    "training/checkpoint.py": [
        (
            "    with staged(final) as temporary:\n        fill(",
            "    [_remove(old) for old in all_in(folder)]\n    with staged(final) as temporary:\n        fill(",
            "kills",
        ),
        (
            "        fill(temporary, tensors, state)\n        commit(temporary, final)",
            "        commit(temporary, final)\n        fill(final, tensors, state)",
            "kills",
        ),
        ("(*given_up, *remaining[:-keep])", "given_up", "training"),
        ("(*given_up, *remaining[:-keep])", "remaining[:-keep]", "training"),
        ("        shutil.rmtree(temporary, ignore_errors=True)\n\n\ndef commit", "        pass\n\n\ndef commit", "training"),
        ("        os.rename(final, aside)", "        shutil.rmtree(final)", "crashes"),
        ('        _flush(folder / f"{name}.safetensors")\n', "", "crashes"),
        ("            left.unlink(missing_ok=True)", "            pass", "crashes"),
        ("        os.rename(folder, gone)\n        shutil.rmtree(gone)", "        shutil.rmtree(folder)", "crashes"),
        ("    check_space(final, bytes_of(tensors.values()))\n", "", "saving"),
        ('and state["step"] != step_of(folder):', "and False:", "crashes"),
        ("if (name := wrong_counter(state)) is not None:", "if False:", "training"),
    ],
    "training/log.py": [
        ("except (ValueError, RecursionError):\n            continue", "except KeyError:\n            continue", "training"),
        ('if row["step"] <= step', "if True", "training"),
        ("checkpoints.write_text(path, remaining)", "path.write_text(remaining)", "interrupted"),
        ("all(map(_is_rollback, rollbacks))", "True", "recovering"),
    ],
    "training/memory.py": [
        ("most = max(most, held)", "most = held", "cost"),
        ('.write_text("5")', '.write_text("1")', "training"),
        ('or "CPUAllocator" in words', "", "out_of_memory"),
        ("isinstance(error, (MemoryError, torch.OutOfMemoryError)) or", "", "out_of_memory"),
        ("min(machine, most - taken)", "machine", "out_of_memory"),
    ],
    "recipes/recipe.py": [
        ("if name not in PER_PLAYER:", "if False:", "training"),
        ("if player not in known:", "if False:", "training"),
        ("if not 0 <= number(name, getattr(self, name)) < math.inf:", "if False:", "training"),
    ],
    "training/trainer.py": [
        ("        self.saver.close(self)\n        for observer", "        for observer", "saving"),
        (
            "        self._check_weights(self.clock.step)\n        with self.processes.phase",
            "        with self.processes.phase",
            "recovering",
        ),
        ("if self.processes.count == 1 and not seems_finite(self._moving):", "if False:", "recovering"),
        ("with generators_kept(self.device):", "if True:", "budgets run_folders"),
        ("or self.clock.stages == [stage]", "", "budgets run_folders"),
        ("            write_stages(self.folder, self.clock.stages)", "            pass", "budgets run_folders"),
        ("if not self.saved:", "if False:", "training"),
        ("        reset_peak(self.device)\n", "", "training"),
        ("if self.saver.step != self.clock.step:", "if False:", "training"),
        ("if self._step.moved:", "if True:", "skipping"),
        ("spec.describe(recipe.method)  #", "{}  #", "training"),
        ("        self.saver.check()\n", "", "saving"),
        (" or self.done or self.stop))", "))", "saving"),
        ("or players_in(health)", "", "recovering"),
        ("self.journal.skips.last != self.clock.step and", "True and", "skipping"),
    ],
    "training/same_data.py": [
        ("data._fingerprints) if processes.rank == 0 else None", "data._fingerprints)", "changing_data"),
        ('processes.compare({"data": _hash(data)})', "pass", "changing_data"),
        (", *split.values.values()):", ",):", "changing_data"),
        ("not processes.agreed(reading is not None and reading.done())", "False", "changing_data"),
    ],
    "training/saving.py": [
        ("        trainer.processes.compare(where)\n", "", "recovering"),
        ('state.get("budget", trainer.content["budget"])', "asdict(trainer.budget)", "training"),
        ('"after": self.step', '"after": None', "training"),
        ("{name: copied(group) for name, group in tensors.items()} if beside else tensors", "tensors", "saving"),
        ("            self.step, self._seconds = self._before", "            pass", "saving"),
        (" and _fits(tensors)", "", "saving"),
        ("error is not None and error is not self._reported:", "False:", "saving"),
        (" and error is not self._reported:", ":", "saving"),
        ("            check_space(where, bytes_of(tensors.values()))\n", "            pass\n", "processes"),
        ("processes.rank, processes.control)", "processes.rank)", "processes"),
        ("            **trainer.recovery.state(),\n", "", "recovering"),
        ("        trainer.recovery.restore(trainer, state)\n", "", "recovering"),
    ],
    "training/holding.py": [
        ("if self._closed_at != self._standing()", "if False and self._standing()", "budgets run_folders"),
    ],
    "training/journal.py": [
        ("if wait and self.writes:", "if False:", "interrupted"),
        ("                flush(self.path)\n", "                pass\n", "crashes"),
        ("step - last < FLUSH:", "True:", "crashes"),
        ("            checkpoints.write_latest(", "            str(", "interrupted"),
        ("self._append(rows[: count + 1])", "pass", "budgets run_folders"),
        ("if last and self.skips.all", "if False", "skipping"),
        ("            self.skips.read(row)\n", "", "skipping"),
        ("if math.isfinite(loss)}", "}", "budgets skipping"),
        ("observer.row(row, again=True)", "pass", "observers"),
        ("log.cut(self.path, step)", "pass", "kills"),
    ],
    "training/observers.py": [
        ("permutation(len(data.held_out), 0)[: len(x)]", "slice(len(x))", "training"),
        ("    late = True\n", "", "training observers"),
        ("except Diverged as error:", "except ZeroDivisionError as error:", "observers"),
    ],
    "data/census.py": [
        ("self.skipped.append((self.store.title(number), ", "self.skipped.append((read.file, ", "changing_data"),
    ],
    "trackers/__init__.py": [
        ("if isinstance(given, str) and not trackers:", "if False:", "trackers"),
    ],
    "cli/reading.py": [
        ("    if loaded.read_as:\n", "    if not loaded.read_as:\n", "plain_numbers"),
        ("reading.workers is not None and not loaded.train.on_disk", "False", "streaming"),
    ],
    "cli/listing.py": [
        ("            missing.append(package)\n", "            pass\n", "cli"),
    ],
    "training/data_files.py": [
        ("names[:SHOWN]", "names", "changing_data"),
        ("write_json(folder / FILE, {", "write_json(folder / 'no.json', {", "changing_data"),
    ],
    "training/reading.py": [
        ("step // trainer.method.reuse", "step", "training"),
        ("        trainer.finish()\n", "        trainer.close()\n", "changing_data"),
        ("error = _of_all(trainer.processes, error)", "pass", "launched"),
    ],
    "warned.py": [
        ("            level = depth\n", "            level = 1\n", "observers"),
    ],
    "training/step.py": [
        ("seed_generators(key(self.seed,", "id(key(self.seed,", "training laws splitting"),
        ("*([block] if block else [])", "", "splitting"),
        ("            set_generator_state(part.generator, self.device)", "            pass", "splitting"),
        ("BlockDraws(self.seed, clock.step, count, index.start", "BlockDraws(self.seed, clock.step, count, 0", "training"),
        ("BlockDraws(self.seed, clock.step,", "BlockDraws(self.seed, 0,", "training"),
        ("loss * (part.count / self.training.batch)", "loss", "training"),
        ("            parameter.requires_grad_(False)\n", "            pass\n", "splitting"),
        ("                parameter.requires_grad_(True)\n", "", "splitting training"),
        ("            self.processes.add_gradients(player.parameters)\n", "", "processes skipping"),
        ("self.processes.added([move[1]])[0]", "move[1]", "processes skipping"),
        ("        self._beside.put_back()\n", "", "skipping"),
        ("        self._beside.hold()\n", "", "skipping"),
        ("if not done}", "}", "skipping"),
        ("        everything[self.index] = held\n", "", "processes"),
        ("if len(all_parts) > 1:", "if False:", "splitting"),
        ("return Sums(sum(part.count for part in sums)", "return Sums(sums[0].count", "splitting"),
        ("self.rate * schedule.rate", "schedule.rate", "recovering"),
        ("_fits(size, count * parts, unit)]", "True]", "planning"),
        ("step * math.ceil(size / step)", "step", "planning"),
    ],
    "training/tuned.py": [
        ('bool(entry["weights"] == run.weights)', "True", "tuned"),
        ('bool(entry.get("checkpoint_step", run.state["step"]) == run.state["step"])', "True", "tuned"),
        ("    if named and sentences:\n", "    if False:\n", "tuned"),
    ],
    "training/skipping.py": [
        ("self._steps[-IN_A_ROW] == step - IN_A_ROW + 1", "True", "skipping"),
        ("self._steps[0] <= step - WINDOW", "self._steps[0] < step - WINDOW", "skipping"),
        ("len(self._steps) > MOST", "len(self._steps) >= MOST", "skipping"),
        ("step < self._last + LASTING", "False", "skipping"),
        ("            self._steps.clear()\n", "            pass\n", "skipping"),
    ],
    "training/processes.py": [
        ("if sharded else 'all'}", "if True else 'all'}", "launched"),
        ("            network.reshard()\n", "            pass\n", "processes"),
        ('not hasattr(p, "device_mesh")', "True", "processes"),
        ("tensor.copy_(total.view(tensor.shape))", "pass", "processes"),
        ("values[:, 1].max()", "values[self.rank, 1]", "launched"),
        ("Board(store if owned else self._store, ", "Board(store, ", "processes"),
        ("Board(store if owned else self._store, ", "Board(self._store, ", "launched"),
        ("if rank is not None:", "if False:", "launched"),
        ("        if len(wrong):", "        if False:", "launched"),
    ],
    "training/tensors.py": [
        ("else torch.stack(norms).norm()", "else norms[0]", "processes"),
        ("return tensor.full_tensor() if", "return tensor.to_local() if", "processes"),
    ],
    "training/start.py": [
        ("    share_fingerprints(dataset, processes)\n", "", "launched"),
        ('("device", "progress", "trackers")', '("device", "progress")', "launched"),
        ("restore(built.method, source.method.state_dict(), source.folder)", "pass", "training"),
        ("    _check_untrained(recipe.method)\n        return recipe, False", "    return recipe, False", "budgets run_folders"),
        ("        claimed.discard()\n", "        pass\n", "budgets run_folders"),
    ],
    "training/ending.py": [
        ("restore(trainer.average.method, stored.weights(), stored.folder)", "pass", "training"),
        ("    if got:\n", "    if False:\n", "signals"),
        ("    if got:\n", "    if got and not trainer.done:\n", "signals"),
    ],
    "evaluation/cost.py": [
        ("float(np.quantile(self.values, 0.25))", "max(self.values)", "cost"),
        ("FEW_STEPS = 6", "FEW_STEPS = 2", "cost"),
    ],
    "report/speeds.py": [
        ("high is not None and low > 0 and not apart", "high is not None and low > 0", "report_choices"),
        ("slow.low / fast.high, slow.high / fast.low", "slow.seconds / fast.seconds, slow.seconds / fast.seconds", "report"),
    ],
    "evaluation/turns.py": [
        ("except (CheckpointError, DataError):", "except CheckpointError:", "changing_data"),
        ("except Diverged as error:", "except KeyError as error:", "training"),
        ("if fallen and len(fallen) == len(trainers):", "if False:", "training"),
    ],
    "evaluation/models.py": [],
    "evaluation/aggregate.py": [
        ("max(statistics.stdev(values), sampling)", "statistics.stdev(values)", "report"),
        ("if len(values) < len(parts)", "if False", "report"),
    ],
    "evaluation/results.py": [
        ("if version != FORMAT", "if False", "report"),
    ],
    "records.py": [
        ("float(value) if math.isfinite(value) else None", "float(value)", "report"),
        ("and isinstance(value, bool) == (kind is bool)", "", "report"),
        ("value if value in parts else", "value or", "report"),
    ],
    "report/nearest.py": [
        ("partners[closest]])", "partners[: len(closest)]])", "closest_pairs"),
        ("not nearest.usual > 0", "False", "closest_pairs"),
    ],
    "report/health.py": [
        ("measured > 1 and", "", "report_names"),
    ],
    "report/statistics.py": [
        ("return None if blurred and not base.better_than(own) else (own, base)", "return None", "report_choices"),
        ("if self.interval is not None or self.spread is None:", "if self.spread is None:", "report_intervals"),
        ("(item[0] == FURTHER, item[0] not in ranking)", "(item[0] != FURTHER, item[0] not in ranking)", "results"),
        ("sorted(known, key=lambda item: item[0])", "known", "report"),
        ("comparison.info(name).group", "FURTHER", "results"),
        ('name not in (first, "near_copies")', "name != first", "results"),
    ],
    "evaluation/commands.py": [
        (" *_options(_settings(spec)),", "", "training"),
        ('*_options(spec["asked"]), ', "", "training"),
        ("*reading_options(source), ", "", "training"),
        ('"constraint": source.get("constraints"), ', "", "table_messages"),
        ('*([f"--schema {schema}"] if schema else [])', "", "table_messages"),
        ('.replace("  ", r" \\u0020")', "", "table_messages"),
    ],
    "evaluation/judge.py": [
        ("refused=tally.share if tally.drawn else None", "refused=None", "table_constraints"),
        ("            x, values = recoded(x, sampler.space, self.data.space)\n", "", "table_distances"),
        ("() if baseline is None else self.further_baselines()", "()", "table_baselines"),
        ("() if run is None else run.warnings", "()", "training"),
        ("else attacked(self.data, self.n)", "else self.n", "table_report"),
    ],
    "training/run.py": [
        ("seen = seen.joined_by(str(folder), seen_by(folder))", "pass", "sampling"),
        ("stored.weights(raw)", "stored.weights(not raw)", "training"),
        ("    check_spec(folder, content, stored.state)\n", "", "training"),
    ],
    "data/sampler.py": [
        ("{name: value[index] for name, value in self.fields.items()}", "self.fields", "prepared"),
        ("return number * size + start, number", "return number * size + start + 1, number", "data training splitting"),
        (
            "permutation(self.examples_per_epoch, _ORDER, self.seed, epoch)",
            "np.random.permutation(len(self.dataset.train))",
            "kills",
        ),
        ("_ORDER, self.seed, epoch)", 'abs(hash("order")) % 9999, self.seed, epoch)', "state_digest"),
    ],
    "data/spaces/scaled.py": [
        ("return (x - mean) / std", "return (x - mean) * std", "data spaces"),
        ("statistics(x, 1 + cls.axis)", "statistics(x, 1)", "spaces"),
        ("self.size // self.shape[self.axis]", "self.size // self.shape[0]", "spaces"),
    ],
    "data/spaces/registry.py": [
        ("return (*_own(), *spec.plugins(Space))", "return _own()", "spaces"),
    ],
    "devices.py": [
        ("if tensor.dim() == sides", "if tensor.dim() >= 4", "spaces"),
    ],
    "evaluation/drawing.py": [
        ('space.drawing(arrays["x"]', 'np.array(arrays["x"]', "spaces"),
    ],
    "data/spaces/vector.py": [
        ("int(v) if flag else float(v)", "float(v)", "cli"),
    ],
    "outputs.py": [
        ("if path.exists() and not overwrite", "if False", "cli"),
        ("at += len(x)", "at += 0", "cli"),
        ("conditions.setdefault(name, []).append(values.numpy())", "pass", "cli numbers"),
        ("condition, seed=seed, batch=batch)", "condition, seed=0, batch=batch)", "cli"),
    ],
    "sampling_options.py": [
        ("    if solver.stochastic:", "    if False:", "grid_learning"),
        ("for option in GUIDANCE if option in given}", "for option in () if option in given}", "table_learning"),
        ('given.get("steps", flow.steps)', "flow.steps", "sampling"),
        ("denoiser, table = _guided(flow.denoiser, given)", "denoiser, table = flow.denoiser", "sampling cli_editing"),
        ('"steps" in given and unguided', '"steps" in given', "sampling"),
        ("fits = isinstance(flow.grid, str) or steps == flow.steps", "fits = True", "sampling"),
        ('given.get("weaker_scale", 2.0)', "2.0", "sampling"),
    ],
    "samples.py": [
        ("if whole else part", "if part.dim() else part", "sampling"),
    ],
    "training/progress.py": [
        ("sys.stderr.isatty() or in_notebook() if", "sys.stderr.isatty() if", "sampling"),
        ("self._handles[name].update(content, raw=True)", "pass", "sampling"),
    ],
    "recipes/options.py": [
        ('elif inside and not line.startswith("    "):', "elif False:", "help"),
        ("kind = str if str in plain else plain[-1]", "kind = plain[0]", "help"),
    ],
    "cli/announcing.py": [
        ("    say_news(trainer)\n", "", "launched"),
    ],
    "cli/training.py": [
        ("if overwrite or dry_run or not", "if overwrite or not", "planning"),
    ],
    "cli/foreseen.py": [
        ("if size < 2**20", "if False", "planning"),
    ],
    "cli/launching.py": [
        ("and not launch.restarts and not begun", "and not launch.restarts", "started_again"),
        ("if code not in FINAL or launcher is None:", "if True:", "launched"),
        ("if code not in FINAL or launcher is None:", "if launcher is None:", "started_again"),
        ("if launched().local_rank:", "if False:", "started_again"),
        ("int(code.read() or (", "int(0 or (", "launched"),
        ('or "torchrun" in words', "", "started_again"),
        ("not (stopped and code == -signal.SIGTERM)", "True", "started_again"),
        ('words[0] == "resume" or _is_of', "_is_of", "started_again"),
        ('manifest.get("launch") == launch', "launch in str(manifest)", "started_again"),
        ("run is None or words[0] not in TRAINING", "run is None", "started_again"),
        ('file for file in words[1:2] if file.endswith(".py")', "file for file in ()", "started_again"),
        ("if sharing.shard and sharing.devices in (None, 1)", "if sharing.shard and False", "planning"),
    ],
    "cli/terminal.py": [
        ("7 a missing extra, ", "", "help"),
    ],
    "cli/recipe_help.py": [
        ("show_default=default is not None", "show_default=True", "help"),
        ("sort_key=11 + place", "sort_key=11", "help"),
    ],
    "editing/any_model.py": [
        ("first.z[0], last.z[0], frames", "first.z[0], first.z[0], frames", "cli_editing"),
    ],
    "cli/loop.py": [
        ("130 if number ==", "75 if number ==", "cli"),
    ],
    "cli/compared.py": [
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "cli"),
        ("if holds_models and", "if", "cli"),
    ],
    "cli/parsing.py": [
        ("if key not in known:", "if False:", "cli"),
    ],
    "testing/laws.py": [
        ('assert known is kind or not known.__module__.startswith("pushforward.")', "assert known", "conformance"),
        ("raise Broken(", "raise ValueError(", "conformance"),
    ],
    "testing/problems.py": [
        ("here.alpha**2 * Correlated.covariance", "here.alpha * Correlated.covariance", "solvers"),
        ('"velocity", torch.from_numpy(points)', '"v", torch.from_numpy(points)', "solvers"),
        ("self.count += 1", "self.count += 2", "solvers"),
    ],
    "testing/solvers.py": [
        ("assert abs(order - solver.order) < tolerance", "assert order < solver.order + tolerance", "conformance"),
        ("assert vars(solver) == before", "assert vars(solver) is not None", "conformance"),
        ("assert vars(rebuilt(solver)) == vars(solver)", "assert rebuilt(solver)", "conformance"),
        ("assert solver.adaptive or flow.calls == solver.calls(steps)", "assert flow.calls", "conformance"),
        ("torch.testing.assert_close(flow.sample(2, seed=5), x[2:], rtol=1e-5, atol=1e-5)", "pass", "conformance"),
        ("assert end.requires_grad", "assert end is not None", "conformance"),
        ("off = (covariance - wanted).abs()", "off = 0 * covariance", "conformance"),
    ],
    "testing/paths.py": [
        ("torch.testing.assert_close(derivative, slope, rtol=1e-9, atol=1e-11)", "pass", "conformance"),
        ("torch.testing.assert_close(value, 2 * (k.alpha.log() - k.sigma.log()), rtol=1e-8, atol=1e-8)", "pass", "conformance"),
        ("torch.testing.assert_close(path.time(path.log_snr(t)), t, rtol=1e-9, atol=1e-10)", "pass", "conformance"),
    ],
    "testing/metrics.py": [
        ("assert all(map(np.array_equal", "assert any(map(np.array_equal", "conformance"),
        ("assert sign * score.number >= sign * bad[name].number", "assert sign", "conformance"),
        ("given.generated[::-1].copy()", "given.generated", "conformance"),
        ("assert scores.keys() <= set(thing.scores)", "assert set(thing.scores)", "conformance"),
    ],
    "testing/methods.py": [
        ("assert len(owned) == len(set(owned))", "assert owned", "conformance"),
        ("assert slope > 0", "assert slope >= 0", "conformance"),
        ("assert player in method.players", "assert player", "conformance"),
        ("assert [float(loss) for _, loss, _ in first] == ", "assert first or ", "conformance"),
        (
            "torch.testing.assert_close(moved(transport, seed, n)",
            "torch.testing.assert_close(whole[seed : seed + n]",
            "conformance",
        ),
    ],
    "evaluation/features.py": [
        ("repr((own, self.preprocessing, state))", "repr((own, self.preprocessing))", "extractors"),
        ("state = state_hash(network)", "state = None", "feature_spaces extractors"),
        ("hashlib.sha256(self.weights.encode())", "hashlib.sha256()", "extractors"),
    ],
    "evaluation/extraction.py": [
        ("    if wrong:\n", "    if False:\n", "extractors"),
    ],
    "evaluation/halves.py": [
        (" and not learned:", ":", "extractors"),
        ("    if is_table(space):", "    if False:", "table_report"),
    ],
    "extractors/self_supervised.py": [
        ("VARIANCE * functional.relu(1 - spread).mean()", "0 * spread.mean()", "extractors"),
    ],
    "extractors/inception.py": [
        ("torch.load(io.BytesIO(self._content), weights_only=True)", "pass", "feature_spaces"),
    ],
    "report/feature_spaces.py": [
        ("any(map(_has_part, value.values()))", "False", "report_intervals"),
        ('({space})", other.name, model.name)', '({space})", model.name, other.name)', "feature_spaces"),
    ],
    "testing/recipes.py": [
        (
            "        assert_same(final_state(trained.whole.folder), final_state(trained.run.folder))",
            "        pass",
            "conformance",
        ),
    ],
    "recipes/schedule.py": [
        ("self.lr_ramp, self.ramp, self.shortest_ramp)", "self.lr_ramp, self.ramp)", "gan"),
        ("self.beta2_end, self.ramp, self.shortest_ramp)", "self.beta2_end, self.ramp)", "gan"),
    ],
    "training/verifying.py": [
        ('sha256(path) == entry["sha256"]', "True", "crashes"),
        ("    return next((path for path in all_in(folder) if _seal(path) == manifest), named)", "    return named", "crashes"),
        ('if (version := manifest.get("format_version")) != FORMAT:', "if (version := FORMAT) != FORMAT:", "crashes"),
        ('        return _MANIFEST, "differs from what was written (sha256)"', "        pass", "crashes"),
        ("not in before)) if fault(path) is None)", "not in before)))", "crashes"),
        ("if (named := _named(folder)) is not None:", "if False:", "training"),
        ("for path in reversed(checkpoints) if fault(path) is None", "for path in reversed(checkpoints)", "training"),
        ("for path in reversed(checkpoints) if", "for path in checkpoints if", "training"),
        ('if not (isinstance(entry, dict) and {"size", "sha256"} <= entry.keys()):', "if False:", "training"),
        ("{'method' if raw else 'average'}.safetensors", "average.safetensors", "tuned"),
    ],
    "training/background.py": [
        ("        background.join()", "        pass", "saving"),
    ],
    "training/space.py": [
        ("if free is None or free >= needed:", "if True:", "saving"),
    ],
    "training/fallback.py": [
        ("        os.rename(damaged, aside)", "        pass", "saving"),
        ("        if error.before is None:", "        if True:", "saving"),
    ],
    "training/digests.py": [
        ("            digest.update(_bytes(tensor))", "            pass", "state_digest"),
        ("return value.hex() if isinstance(value, float)", "return round(value, 9) if isinstance(value, float)", "state_digest"),
        (' if row["step"] <= stored.state["step"]]', "]", "state_digest"),
        (' if name != "seconds"}', "}", "state_digest"),
        (" if name not in MEASURED}", "}", "state_digest"),
    ],
    "training/run_spec.py": [
        ("FORMAT = 4\n", "FORMAT = 5\n", "golden_folders"),
    ],
    "evaluation/moments.py": [
        ("            _check(path, file, space)", "            pass", "stored_pictures"),
        ("known = dtype == example.dtype if", "known = True if", "stored_pictures"),
        ("or not 0 < shape[0] <= most[0]", "", "stored_pictures"),
    ],
    "trackers/tensorboard.py": [
        ("add_scalar(name, value, step)", "add_scalar(name, value)", "trackers"),
    ],
    "training/counters.py": [
        ('    "peak_memory_mb": _or_none(_is_amount),\n', "", "hostile"),
    ],
    "safe_files.py": [
        ("and _is_own_folder(entry.path)", "and False", "hostile"),
        ("os.lstat(link).st_uid == target.st_uid == os.getuid()", "True", "hostile"),
        ("place == folder and known is not None", "False", "hostile"),
        ('getattr(os, "O_NONBLOCK", 0)', "0", "hostile"),
        ("if end != size:", "if False:", "hostile"),
        ("elif not entry.is_file(follow_symlinks=False):", "elif False:", "hostile"),
        ('("U32", "I32", "F32")', '("U32", "F32")', "hostile"),
    ],
    "training/tracking.py": [
        ("if step > follower.logged:", "if True:", "trackers"),
        ("self._followers.remove(follower)", "pass", "trackers"),
        ("logged if tracker.name in known else 0", "logged", "trackers"),
        ("refuse_links(inside, ())", "pass", "trackers"),
        (
            "known = follower.tracker.start(self.folder, facts, config, follower.known)",
            "known = follower.tracker.start(self.folder, facts, config, None)",
            "trackers",
        ),
    ],
    "annotated.py": [
        ("return kind is int", "return True", "hostile"),
        ("any(_fits(value, part) for part in parts)", "True", "hostile"),
    ],
    "training/rebuilding.py": [
        ("def _should_skip_dynamo(cls)", "def _other(cls)", "hostile"),
        ("hand the method ", "keep the method ", "hostile"),
        ("if self._bytes > self.most or self._calls > self.calls:", "if self._bytes > self.most:", "hostile"),
        ("self._bytes += 4 * _wanted(func, args, given)", "", "hostile"),
        ("elif part and isinstance(value, (int, float))", "elif False and isinstance(value, (int, float))", "hostile"),
    ],
    "trackers/wandb.py": [
        ('os.environ.get("WANDB_MODE", "offline")', '"online"', "trackers"),
    ],
    "strict_json.py": [
        ("    except RecursionError:", "    except ZeroDivisionError:", "hostile"),
        ("    _check_depth(value)\n", "", "hostile"),
        ("if len(digits) > MOST_DIGITS:", "if False:", "hostile"),
    ],
    "trackers/mlflow.py": [
        ("if known is not None:", "if False:", "trackers"),
    ],
    "training/interrupting.py": [
        ("            trainer.stop = number\n", "            pass\n", "signals"),
        ("if got and time.monotonic() - first[0] > TOGETHER:", "if got:", "signals"),
        ("if got and time.monotonic() - first[0] > TOGETHER:", "if False:", "signals"),
        ("            raise KeyboardInterrupt\n", "            pass\n", "signals"),
        (" is not signal.SIG_IGN", " is not None", "signals"),
        ("            signal.signal(number, handler)\n", "            pass\n", "signals"),
        (" if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []", "", "signals"),
    ],
    "training/failure.py": [
        ("    clock.step = step - 1\n", "", "recovering"),
        ("numbers[numbers.isfinite()].double()", "numbers.double()", "recovering"),
        ("describe(trainer, error, batch)\n", "describe(trainer, error, None)\n", "recovering"),
        ("numbers = isinstance(error, Diverged)", "numbers = True", "out_of_memory"),
        ("except Exception as refused:", "except OSError as refused:", "out_of_memory"),
    ],
    "training/foresight.py": [
        ("(size / unit - 1)", "(size / unit)", "out_of_memory"),
        ("copy.deepcopy(trainer.method)", "trainer.method", "out_of_memory"),
        ("if held - present <= free), None", "), None", "out_of_memory"),
    ],
    "training/recovering.py": [
        ("trainer.processes.first(trainer.saver.step)", "trainer.saver.step", "recovering"),
        ("return rate * RATE, accumulate", "return rate, accumulate", "recovering"),
        ("trainer.clock.seconds = max(trainer.clock.seconds, seconds)", "pass", "recovering"),
        ("checkpoints.write_json(self.path, {", "str({", "recovering"),
        ("if not self.writes or trainer.journal.waits:", "if not self.writes:", "recovering"),
        (' if rollback.step == state["step"]]', "]", "recovering"),
        ("        trainer.observe()\n", "", "recovering"),
        ("            parameter.grad = None\n", "            pass\n", "out_of_memory"),
        ("if r.cause == DIVERGED), None", "if r.rate < 0.2), None", "recovering"),
        ("or trainer.processes.count == 1", "or True", "out_of_memory"),
        ("range(2 * present, most + 1)", "(2 * present,)", "out_of_memory"),
        ("error.__context__ = None", "pass", "out_of_memory"),
        ("accumulate * trainer.processes.count", "accumulate", "out_of_memory"),
        ("math.ceil(rollbacks[-1].accumulate / processes)", "rollbacks[-1].accumulate", "out_of_memory"),
    ],
    "data/file_hashes.py": [
        ("for name in (known.reading | now.reading)", "for name in ()", "data_check"),
        ('{"fingerprint": [known.fingerprint, now.fingerprint]}', "{}", "data_check"),
        ("known[name] != file]", "known[name] == file]", "data_check"),
    ],
    "data/ahead.py": [
        ("if self._last is None or self._last[0] != key:", "if self._last is None:", "streaming"),
        ("self._coming.pop(key, None)", "self._coming.pop(next(iter(self._coming), key), None)", "streaming"),
        ("submit(self.x.decoded, self.numbers(later, part))", "submit(self.x.decoded, self.numbers(number, part))", "streaming"),
    ],
    "data/checking.py": [
        ("None if _is_part(loading) else report", "report", "data_check"),
        ("if len(group) > 1]", "if len(group) > 2]", "data_check"),
        ('.get("sha256") != digest]', '.get("sha256") is None]', "data_check"),
        ("if out is not None and Path(out).exists():", "if False:", "data_check"),
        ("max(0, len(groups) - _GROUPS)", "0", "data_check"),
        ('"both" if len(inside) > 1 else', "", "data_check"),
        ("if np.ptp(labels[group])", "", "data_check"),
        ("group[first]", "group[:0]", "data_check"),
        ("return_counts=True)[1] > 1", "return_counts=True)[1] > 9", "data_check"),
    ],
    "data/packing.py": [
        ("archive.offset + _HEADER", "archive.offset", "packing"),
        ("split.hashes[i]:016x", "i:016x", "packing"),
        ("if not named and", "if False and", "packing"),
        ("self._written[first] += 1", "pass", "changing_data"),
    ],
    "data/images.py": [
        ("total[3, 255] += self.counts[1].sum() + self.counts[3][0].sum()", "pass", "streaming"),
        (
            "self.counts[images.shape[1]] += level_counts(images)",
            "self.counts[images.shape[1]] = level_counts(images)",
            "streaming",
        ),
        ("if len(tally.skipped) > MAX_SKIPPED * len(store):", "if False:", "data_check"),
    ],
    "data/image_store.py": [
        ("if stamp != tuple(self._stamps[i]):", "if False:", "streaming packing"),
        ("[0] != content:", "[0] != 0:", "streaming packing"),
    ],
    "data/png_chunks.py": [
        ("if texts > MAX_TEXTS:", "if False:", "hostile_images"),
        ("if beside > MAX_BESIDE:", "if False:", "hostile_images"),
        ("if chunks > MAX_CHUNKS:", "if False:", "hostile_images"),
    ],
    "data/tables/renumbering.py": [
        ("if here.levels == there.levels:", "if True:", "table_runs"),
        ("if lost.any():", "if False:", "table_runs"),
    ],
    "data/fingerprints.py": [
        ("and not coordinates:", "and False:", "table_runs"),
        ("[field.name, list(field.levels)]", "[field.name]", "table_runs"),
        ("_add(split.x, whole, unlabelled)", "_add(split.x[:1], whole, unlabelled)", "data"),
        ("range(0, len(array), step)", "range(0, step, step)", "streaming"),
    ],
    "data/packed.py": [
        ("if getattr(index, name) != getattr(known, name)]", "if False]", "data_check"),
        ("if stated != total else []", "if False else []", "data_check"),
        ("if count != counts[file]]", "if False]", "data_check"),
        ('content.get("fingerprint") != fingerprint:', "False:", "data_check"),
        ("if file.parent != path or", "if", "packing"),
        ("if not numbers.issuperset(index.labels):", "if False:", "packing"),
        ("if any(offset < 0 or", "if False and any(offset < 0 or", "packing"),
        ("if not file.is_file():", "if False:", "packing"),
    ],
    "data/readers/shards.py": [
        ("content_digest(content_hashes(content.x)) != packed.content", "False", "packing"),
        ("if size > MAX_MEMBER:", "if False:", "packing"),
        ("key=lambda label: (int(label) if numbers else 0, label)", "reverse=True", "packing"),
    ],
    "data/tar_index.py": [
        ("if not 0 <= size <= MAX_HEADER:", "if False:", "packing"),
        ("if member.offset_data + member.size > end:", "if False:", "packing"),
        ("index.labels[-1] = label", "pass", "packing"),
    ],
    "data/streamed.py": [
        ("content=self.content[index])", "content=self.content)", "streaming"),
        ("store.again(int(self.places[number])", "store.again(int(number)", "streaming packing"),
        ("return counts - rest.level_counts()", "return counts", "streaming"),
    ],
    "transports/spreading.py": [
        ("own is not None and source == rank", "False", "launched"),
        ("return not (_active and _active[-1]) or torch.distributed.get_rank() == 0", "return True", "launched"),
    ],
    "training/agreement.py": [
        ("if launch.restarts < (launch.most_restarts or 0):", "if False:", "launched"),
        ("            self._post(error)\n", "            pass\n", "launched"),
        ("rebuilt = own(words)", "rebuilt = PushforwardError(words)", "launched"),
        ("        leave()\n", "", "launched"),
    ],
    "training/shards.py": [
        ("        player.restore(dict(groups", "        (dict(groups", "launched"),
        ("for _ in _loaded(folder, expected, trainer.processes.control):", "for _ in ():", "launched"),
        ("start != end or kind", "kind", "hostile"),
        ("        check_tensors(path)\n", "", "hostile"),
    ],
    "training/taking_up.py": [
        ("processes.first(None if where is None else where.name)", "None if where is None else where.name", "launched"),
        ("if fallback and processes.count == 1:", "if fallback:", "launched"),
        ("check_spec(folder, content, stored.state)", "pass", "training"),
        (
            'budget.check_beyond(folder, stored.state["seconds"]',
            'str(stored.state["seconds"]',
            "training interrupted",
        ),
        ("            left.unlink(missing_ok=True)", "            pass", "crashes"),
        ("        extend(folder, content, budget, trainer.clock.step, writes)\n", "", "training"),
        ("    put_back(folder)\n", "    pass\n", "interrupted"),
    ],
    "launched.py": [
        ('"SLURM_NTASKS" in given and "MASTER_ADDR" in given', '"SLURM_NTASKS" in given', "launched"),
        ("sum(int(given", "sum(0 * int(given", "launched"),
    ],
    "training/planning.py": [
        ("2 * max(players.values())", "0 * max(players.values())", "planning"),
        ("slope * (part - sizes[1])", "0 * (part - sizes[1])", "planning"),
        ("optimizers=sum(player.state_bytes()", "optimizers=sum(player.state_bytes(True)", "planning"),
    ],
    "training/sharding.py": [
        ("if any(nn.utils.parametrize.is_parametrized(module)", "if any(False", "processes"),
        ("set_reshard_after_backward(False)", "set_reshard_after_backward(True)", "processes"),
        ("player.network if isinstance(player, Denoiser) else player", 'getattr(player, "network", player)', "processes"),
        ("network.set_gradient_divide_factor(1.0)", "pass", "processes"),
    ],
    "training/launching.py": [
        ("own, ends = uuid.uuid4().hex,", 'own, ends = "0",', "started_again"),
        ('        store.set(f"{name}/{rank}", "")\n', "", "started_again"),
        ('if not store.check([f"{own}/{other}"])}', "if False}", "started_again"),
        ("    import torch.distributed.nn.functional\n", "", "started_again"),
        ("    release()\n", "", "launched"),
        ("    gc.collect()", "    pass", "launched"),
        ("and launch.restarts <= most", "and False", "started_again"),
        ("if not processes.sharded and has_shards", "if has_shards", "started_again"),
        ('manifest.get("launch") == name and manifest', "manifest", "launched"),
        ('return before.get("newest") == newest', "return True", "launched"),
        ("    if name is None:", "    if name is None or not launched().restarts:", "launched"),
        ("if not is_here(folder) and", "if", "launched"),
    ],
    "training/placing.py": [
        ("lambda: processes.distribute(twin)", "lambda: twin", "processes"),
    ],
    "data/tables/text.py": [
        ("if share > most + ", "if share >= most + ", "table_reading"),
        ("if row[0].startswith(COMMENTS):", "if False:", "table_reading"),
        ('line.strip().replace("\\t", " ")', "line.strip()[1:]", "table_reading"),
        ('if any("\\n" in cell', 'if not any("\\n" in cell', "table_reading"),
        ("if split.width not in (None, split.usual):", "if False:", "table_reading"),
    ],
    "data/tables/rows.py": [
        (" if place not in others))", "))", "table_reading"),
        ("first[codes[::-1]] = np.arange(len(codes))[::-1]", "first[codes] = np.arange(len(codes))", "table_reading"),
        ("if len(order) == len(texts) and", "if True or", "table_reading"),
    ],
    "data/tables/format.py": [
        ('fraction.rstrip("0").ljust(self.least, "0")', 'fraction.rstrip("0")', "table_kinds"),
        ('"%S": 1.0', '"%S": 60.0', "table_kinds"),
        ("(?!\\d)", "", "table_kinds"),
        ("self.plus and float(text) > 0", "self.plus and float(text) >= 0", "table_kinds"),
        ("and 0 <= count <= MOST_DIGITS", "and count <= MOST_DIGITS", "table_kinds"),
        ('or "%" in _DIRECTIVE.sub("", self.pattern)', "", "table_kinds"),
        ("np.isfinite(values) & ", "", "table_kinds"),
        ("else _DATES if self.pattern else", "else", "table_kinds"),
        ("if self.bare and not fraction", "if False and not fraction", "table_kinds"),
    ],
    "data/tables/number.py": [
        ("place = np.searchsorted(self.knots, values) +", "place =", "table_kinds"),
        ("away <= np.abs(values - held)", "away < np.abs(values - held)", "given_values"),
        ("        for atom in self.atoms:\n            away", "        for atom in ():\n            away", "given_values"),
        ("            places = np.union1d(places, np.flatnonzero(rounded))", "            return field", "table_digits"),
        ("stored = middles[place] == scores", "stored = middles[place] == scores.astype(np.float32)", "table_digits"),
        ("middles = self._middles.astype(np.float32).astype(np.float64)", "middles = self._middles", "table_digits"),
        ("np.where(stored, np.array(self.knots)[place], values)", "values", "table_kinds"),
        ("np.repeat(self.knots, 2)", "np.repeat(self.knots, 2) + 1", "table_kinds"),
        ("np.where(counts > 1, WITHIN * share, 0.0)", "WITHIN * share", "table_digits"),
        ("WITHIN = 0.999", "WITHIN = 1.0", "table_digits"),
        ("half = np.array(self.spans) / 2 if", "half = 0 * np.array(self.spans) if", "table_denoiser"),
        ("share * (edges[2 * after] - edges[2 * place + 1])", "share * edges[2 * after]", "table_kinds"),
        ("0 < rank <= top", "0 < rank", "table_kinds"),
    ],
    "data/tables/column.py": [
        ("share >= 0 for share in shares", "True for share in shares", "table_kinds"),
    ],
    "data/tables/layout.py": [
        ("len(self.separator) != 1 or", "", "table_kinds"),
    ],
    "data/tables/numerals.py": [
        ('if counts[","] > counts["."]', 'if counts["."] == 0', "table_kinds"),
        ("or is_code(text)", "", "table_kinds"),
        ("[1-9]\\d{{0,2}}", "\\d{{1,3}}", "table_kinds"),
        ('return sign != "." or ', "return True or ", "table_schema"),
        ("if lengths == {0, most}:", "if False:", "table_kinds"),
        ("any(value < 0 for _, value in signs)", "True", "table_kinds"),
        ("and not is_whole(text))", "and False)", "table_kinds"),
        ("len(fraction) - int(exponent or 0)", "len(fraction)", "table_kinds"),
    ],
    "data/tables/dates.py": [
        ("return loose if not _fits(pattern, texts) and", "return loose if", "table_schema"),
        ("and _fits(loose, texts) else pattern", "and False else pattern", "table_schema"),
        ("and form.cell(value) == text", "", "table_kinds"),
    ],
    "data/tables/inference.py": [
        ('if finding.kind != "whole" or "category:" not in kind:', "if True:", "table_messages"),
        ("self.form.rounded(texts[places]) if self.rounds", "texts[places] if self.rounds", "table_schema"),
        ("identifier = n > IDENTIFIER_ROWS and ", "identifier = ", "table_kinds"),
        ("several = different > MOST_CATEGORIES", "several = False", "table_reading"),
        ("if (identifier or several) and", "if several and", "table_kinds"),
        ('if dress.group == "," and (bare', "if False and (bare", "table_kinds"),
        (">= CODES * n", ">= n", "table_kinds"),
        (">= CODES * n", ">= 0", "table_kinds"),
        ("> MIXED * n and", "> n and", "table_reading"),
        ("key=lambda text: (float(text), text)", "key=lambda text: text", "table_samples"),
    ],
    "data/sets/torchvision.py": [
        ("or len(content) - start != math.prod(sides)", "", "data"),
        ("content[:4] != bytes([0, 0, 8, dimensions]) or ", "", "data"),
        ('for split in ("train", "t10k")[:: 1 if train else -1]', 'for split in ("train", "t10k")', "data"),
    ],
    "data/header.py": [
        ('evidence.count("name") >= 2 and', "False and", "header"),
        ('evidence.count("name") >= 2 and', "True and", "header"),
    ],
    "data/tables/raw.py": [
        ("key=lambda entry: entry[0])[1]", "key=lambda entry: -entry[0])[1]", "table_reading"),
    ],
    "data/tables/schema.py": [
        ('for name, value in schema.items() if name != "columns"]', "for name, value in schema.items()]", "table_schema"),
        (
            "        faults.add(sentence)\n    faults.refuse(",
            "        faults.add(sentence)\n        faults.refuse(",
            "table_schema",
        ),
        ("why != own.why and", "True and", "table_schema"),
        ("return int(column.counts[places][moved].sum())", "return 0 * int(column.counts[places][moved].sum())", "table_schema"),
        ('tuple(entry["names"]) if "names" in entry else ordered(texts)', "ordered(texts)", "table_reading"),
        ("if odd:", "if False:", "table_reading"),
        ('if "pattern" in entry and', "if False and", "table_reading"),
        ('return value in (".", ",")', "return isinstance(value, str)", "table_reading"),
    ],
    "cli/data_group.py": [
        ("allow_leading_hyphen=True", "allow_leading_hyphen=False", "given_values"),
    ],
    "data/tables/polars_frames.py": [  # where polars is installed
        ('name in ("Categorical", "Enum")', 'name in ("Enum",)', "polars"),
        ("if zone == ", "if True or zone == ", "polars"),
        ("            cells[row] = cell", "            cells[0] = cell", "polars"),
    ],
    "data/tables/frames.py": [
        ('if str(series.dtype).lower() == "float32" else', "if False else", "table_reading"),
        ("series.cat.categories.to_list(), style)", "(v := series.cat.categories.to_list()), _style(v))", "table_messages"),
        ("cells = field.cells(field.read(texts))", "cells = texts", "table_messages"),
        ("day = style.days and _midnight(value)", "day = style.days", "table_messages"),
        ("whole = len(present) < len(values) and", "whole = False and", "table_reading"),
        (" and not pd.api.types.is_bool_dtype(source)", "", "gaps"),
        ("index=source.index, dtype=source.dtype)", "index=source.index)", "gaps"),
        ("if math.isinf(value):", "if False:", "table_reading"),
    ],
    "data/tables/category.py": [
        ("return named[np.where(", "return values + 0 * named[np.where(", "table_samples"),
    ],
    "cli/tuning.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "grid_learning"),
    ],
    "cli/table_check.py": [
        ('.replace("\\n", "\\\\n")', "", "table_schema"),
    ],
    "cli/imputing.py": [
        ("isinstance(imputed.source, GappyFile)", "hasattr(imputed.source, 'numbers')", "imputation"),
    ],
    "data/tables/frame_types.py": [
        ("if not levels.keys() >= set(texts) - {None}:", "if False:", "table_messages"),
        ("ordered=bool(match[1])", "ordered=False", "table_messages"),
        ("return series.astype(kind)", "return series", "table_messages"),
        ('if kind in ("bool", "boolean"):', "if False:", "table_messages"),
    ],
    "data/tables/given.py": [
        ("(values[:, place] < low) | ", "", "given_values"),
        ("total + len(rows)", "len(rows)", "given_values"),
        ("& ~np.any(free, axis=0)", "", "table_messages"),
        ("own[field.name], greatest)", "own[field.name], own[field.name])", "table_messages"),
    ],
    "errors.py": [
        ("get_close_matches(lower, names", "get_close_matches(word, names", "table_messages"),
        ("close = close or [name", "close = [name", "table_messages"),
    ],
    "numbers.py": [
        ("if len(set(short)) == len(set(names)):", "if True:", "report_text"),
    ],
    "data/tables/facts.py": [
        ("(len(table.lines) < FEW)", "(len(table.lines) < 0)", "table_schema"),
        ("if finding.why == TOO_MANY)", "if False)", "table_messages"),
        ("dropped.setdefault(finding.why, [])", "dropped.setdefault(finding.name, [])", "table_messages"),
    ],
    "data/tables/comparable.py": [
        ("if not all(named) or all(", "if True or all(", "table_constraints"),
        ("    _refuse([*refused, ", "    _refuse([", "table_constraints"),
        ("close = did_you_mean(text, field.levels)", 'close = ""', "table_constraints"),
        ("if np.isnan(value[0]) and field.kind", "if False and field.kind", "table_constraints"),
        ("longest = max(named, key=len)", "longest = named[0]", "table_constraints"),
    ],
    "data/tables/constraints.py": [
        ("for a in left for b in right", "for a, b in zip(left, right)", "table_messages"),
        ("return -greatest, -least", "return -least, -greatest", "table_messages"),
        ("_may(ast.LtE, left, right) & ", "", "table_messages"),
        ("(plain & ~near) if strict else (plain | near)", "plain", "table_samples"),
        ("compared | missing", "compared", "table_samples"),
        ("for name in self.names], axis=0)", "for name in self.names[:2]], axis=0)", "table_samples"),
        ("elif not isinstance(node, ast.Name):", "elif False:", "table_samples"),
    ],
    "data/tabular.py": [
        ('kind.startswith("ordered ") and entry is None', "False", "given_values"),
        ('kind.startswith("ordered ") and entry is None', 'kind.startswith("ordered ")', "given_values"),
        ("if broken:", "if False:", "table_samples"),
        ("bool(np.isnan(column).any()) for column", "False for column", "table_reading"),
        ("texts[places] = field.read(", "texts[places] = 0 * field.read(", "table_samples"),
        ("table.header is not False", "True", "table_samples"),
        ('("", *missing)', "missing", "table_reading"),
    ],
    "data/vectors.py": [
        ("or _has_atom(values, codes) or", "or", "table_reading"),
        ("(target is None and _fixed(texts))", "False", "table_reading"),
        ("(target is None and _fixed(texts))", "_fixed(texts)", "data_files"),
        ("range(DECIMALS + 1)", "range(DECIMALS)", "table_reading"),
    ],
    "evaluation/neighbours.py": [
        ("points = raw.of(samples, data", "points = 2 * raw.of(samples, data", "table_distances"),
    ],
    "evaluation/protocol.py": [
        ('if part.name != "weights"', 'if part.name not in ("weights", "representation")', "table_distances"),
    ],
    "data/readers/tables.py": [
        ("if reading.header is not False or len", "if True or len", "table_schema"),
        ("it has {some(table.names, 12)}", "it has {some(space.names, 12)}", "given_values"),
        ("if reading.table.table is False:", "if False:", "plain_numbers"),
        ("split.x.shape[1] - len(reading.given)", "split.x.shape[1]", "plain_numbers"),
    ],
    "cli/checking.py": [
        ('"note": report.get("read_as") and as_options(report["read_as"])', '"note": report.get("read_as")', "plain_numbers"),
    ],
    "transports/redrawing.py": [
        ("return min(TURNS, MEASURED) if measured else TURNS", "return TURNS", "table_constraints"),
        ("            tally.unmet += unmet", "            tally.unmet = 0", "table_constraints"),
        ("        part.waiting = waiting[~valid]", "        part.waiting = waiting[:0]", "table_samples"),
        ("                if self.hopeless:\n                    break\n", "", "table_samples"),
        ("self.lost >= HOPELESS and not _unmet_allowed", "self.lost >= HOPELESS", "table_samples"),
        ("self.lost >= HOPELESS and not _unmet_allowed", "HOPELESS <= self.tally.drawn == self.tally.refused", "table_samples"),
        ("turn * self.n + seed - self.seed < HOPELESS", "True", "table_samples"),
        ("if self.unmet and not _unmet_allowed:", "if not _unmet_allowed:", "table_samples"),
        ("        self.unmet += unmet", "        self.unmet = unmet", "table_samples"),
        ("            if self.hopeless:\n                self.check()\n", "", "table_samples"),
        ("return 0 < self.tally.refused == self.tally.drawn and", "return False and", "table_samples"),
        ("if not np.all(replace(space, constraints=(constraint,)).valid(x)):", "if True:", "table_samples"),
        ("if valid is None or valid.all():\n        return\n    texts", "if True:\n        return\n    texts", "table_samples"),
        ("        self._joined = (self.tally.drawn,", "        _ = (self.tally.drawn,", "table_samples"),
        ("        warn(f", "        str(f", "table_samples"),
        ('f"{draws.name}/again {turn}"', "draws.name", "table_samples"),
        ("None if _off else self.space.valid(x)", "self.space.valid(x)", "table_samples"),
        (
            "seeds = [draws.seeds[place] for place in waiting.tolist()]\n        cond",
            "seeds = list(draws.seeds)[: len(waiting)]\n        cond",
            "table_samples",
        ),
    ],
}


def main(parts: list[str]) -> int:
    """Plant every fault in turn; returns how many survived."""
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for file, faults in FAULTS.items():
            if not parts or any(part in file for part in parts):
                survived += sum(not planted(copy, file, fault) for fault in faults)
    print(f"{survived} survived")
    return survived


def planted(copy: Path, file: str, fault: Fault) -> bool:
    """Whether the tests fail with one fault in place."""
    right, wrong, modules = fault
    path, started = copy / "src" / "pushforward" / file, time.perf_counter()
    text = path.read_text()
    if right not in text:
        print(f"GONE      {file}: {right!r} is not there any more", flush=True)
        return False
    try:
        compile(text.replace(right, wrong, 1), file, "exec")
    except SyntaxError as error:
        print(f"BROKEN    {file}: {right!r} -> {wrong!r} is no Python: {error}", flush=True)
        return False
    path.write_text(text.replace(right, wrong, 1))
    try:
        caught, how = fails(copy, modules.split())
    finally:
        path.write_text(text)
    seconds = time.perf_counter() - started
    print(f"{'caught' if caught else 'SURVIVED':9} {file}: {right!r} -> {wrong!r} ({seconds:.0f} s) {how}", flush=True)
    return caught


def fails(copy: Path, modules: list[str]) -> tuple[bool, str]:
    """Whether any test of these modules fails, and which did first; a module that cannot be imported proves nothing."""
    tests = [f"tests/test_{module}.py" for module in modules]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "2", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return True, "a test hangs"
    first = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    imported = not any(line.startswith("ERROR") and "::" not in line for line in first)
    return done.returncode not in (0, 5) and imported, first[0] if first else ""


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
