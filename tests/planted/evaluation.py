"""Planted faults of `evaluation`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "evaluation/applicable.py": [
        ("if not own or isinstance", "if True or isinstance", "applicable"),
        ('if name not in getattr(metric, "left_out", lambda _: ())(samples)', "", "applicable"),
    ],
    "evaluation/aggregate.py": [
        (
            "if len(weights := {model.weights_step for model in group}) == 1 else None",
            "if (weights := {group[0].weights_step}) else None",
            "health_report",
        ),
        ("max(statistics.stdev(values), sampling)", "statistics.stdev(values)", "report_trainings"),
        ("if len(values) < len(parts)", "if False", "report_trainings"),
    ],
    "evaluation/cache.py": [
        ('or given.startswith("~") else', "else", "file_doors"),
    ],
    "evaluation/commands.py": [
        ('*_options({"out": out})', "", "run_commands"),
        (' or trained_by.startswith("pushforward compare ")', "", "run_commands"),
        ('.removesuffix(".0")', "", "report_choices"),
        (" *_options(_settings(spec)),", "", "run_commands"),
        ('*_options(spec["asked"]), ', "", "run_commands"),
        ("*reading_options(source), ", "", "run_commands"),
        ('"constraint": source.get("constraints"), ', "", "table_messages"),
        ('*([f"--schema {schema}"] if schema else [])', "", "table_messages"),
        ('.replace("  ", r" \\u0020")', "", "table_messages"),
    ],
    "evaluation/constraint_warnings.py": [
        ("    if not dated:", "    if True:", "table_constraints"),
        ("    if lacking:", "    if False:", "table_constraints"),
        ("    if tally.unmet:", "    if False:", "table_constraints"),
    ],
    "evaluation/cost.py": [
        ("in unused.items() if size}", "in unused.items()}", "trajectory_store"),
        ("float(np.quantile(timing.values, 0.25))", "max(timing.values)", "cost"),
        ("FEW_STEPS = 6", "FEW_STEPS = 2", "cost"),
    ],
    "evaluation/curves.py": [
        ("metrics=CURVE_SCORES, values=values", "metrics=CURVE_SCORES, values=None", "table_constraints"),
        ("* (repeat + 1) > seconds * repeat:", "> 0:", "trajectories"),
    ],
    "evaluation/drawing.py": [
        (' and step <= run.state["step"]', "", "stored_pictures"),
        ('space.drawing(arrays["x"]', 'np.array(arrays["x"]', "spaces"),
    ],
    "evaluation/extraction.py": [
        ("    if wrong:\n", "    if False:\n", "extractors"),
    ],
    "evaluation/features.py": [
        ("repr((own, self.preprocessing, state))", "repr((own, self.preprocessing))", "extractors"),
        ("state = state_hash(network)", "state = None", "feature_spaces extractors"),
        ("hashlib.sha256(self.weights.encode())", "hashlib.sha256()", "extractors"),
    ],
    "evaluation/floor_cache.py": [
        ("repr((key, n, redraws, named))", "repr((key, n, named))", "table_report"),
    ],
    "evaluation/halves.py": [
        (" and not learned:", ":", "extractors"),
        ("    if is_table(space):", "    if False:", "table_report"),
    ],
    "evaluation/intervals.py": [
        ("if score.growth and None not in score.growth:", "if score.growth:", "intervals_near_0"),
        ("else info.most\n", "else math.inf\n", "intervals_near_0"),
        ("max(least, end)", "end", "intervals"),
        ("interval = of_share(", "interval = above(", "intervals"),
        ("high = (n, high) if", "high = (low, n) if", "intervals"),
        ("max(0.0, root - half) ** 2)", "(root - half) * abs(root - half))", "intervals"),
        ("min(len(values), 2)", "1", "intervals"),
        ("if np.ptp(values) == 0 else", "if False else", "floors"),
    ],
    "evaluation/judge.py": [
        ("if not isinstance(sampler, RowMixture):", "if True:", "table_constraints"),
        ("refused=tally.share if tally.drawn else None", "refused=None", "table_constraints"),
        ("            x, values = recoded(x, sampler.space, self.data.space)\n", "", "table_distances"),
        ("() if baseline is None else self.further_baselines()", "()", "table_baselines"),
        ("for name in names if name in known", "for name in self.floors if name in known", "table_baselines"),
        ("() if run is None else (*run.warnings, *unfinished_warnings(run))", "()", "failing_trainings"),
        ("else attacked(self.data, self.n)", "else self.n", "table_report"),
    ],
    "evaluation/ladder.py": [
        ("drawn = self.finite(other, of)", "drawn = self.finite(other)", "ladder"),
        ("if isinstance(teacher, FlowMap) and isinstance(inner, Flow):", "if False:", "ladder"),
        ("Jump.of(teacher), inner.steps)", "Jump.of(teacher), 2)", "ladder"),
        ("self.point(rung, None, same[1])", "self.point(rung)", "finished_ladder"),
    ],
    "evaluation/lag.py": [
        ("or not _long(model)", "or True", "planted_faults"),
        ("old.number - new.number <= 2 * noise or old.number <= WORSE * new.number", "False", "planted_faults"),
        ("weights(raw=True)", "weights()", "planted_faults"),
        (' and by_name[name].better == "lower"]', "]", "table_report"),
    ],
    "evaluation/latent.py": [
        ("if met(autoencoder.space.conditions, data.space.conditions) else None", "", "codes"),
        ("if not autoencoder.standard", "if False", "codes"),
        ("torch.diag(log_variance.exp().mean(0))", "0", "vae_evaluation"),
        ("centre.square().sum() - len(centre)", "centre.square().sum()", "vae_evaluation"),
        ("float(explained(", "float(1 - explained(", "vae_evaluation"),
    ],
    "evaluation/latent_pictures.py": [
        ("examples[split.labels[examples] == split.labels[examples[0]]]", "examples", "codes"),
        ("split.condition(conditions, examples[:1])", "split.condition(conditions, examples[-1:])", "codes"),
        ("share * (means[1] - means[0])", "share * means[1]", "codes"),
        ("axes[:2].T", "axes[-2:].T", "codes"),
    ],
    "evaluation/likelihood.py": [
        ("min(len(data.held_out), EXAMPLES)", "len(data.held_out)", "vae_evaluation"),
        ("weights.append(method.log_weights(x, few", "weights.append(method.log_weights(x, 1", "vae_evaluation"),
    ],
    "evaluation/model_metrics.py": [
        ("if isinstance(transport_of(model).space, TableSpace):", "if False:", "table_messages"),
        ("if not (held & ~used).any() else 256", "", "cost"),
    ],
    "evaluation/moments.py": [
        ("            _check(path, file, space)", "            pass", "stored_pictures"),
        ("known = dtype == example.dtype if", "known = True if", "stored_pictures"),
        ("or not 0 < shape[0] <= most[0]", "", "stored_pictures"),
    ],
    "evaluation/neighbours.py": [
        ("points = raw.of(samples, data", "points = 2 * raw.of(samples, data", "table_distances"),
    ],
    "evaluation/odd_rows.py": [
        ("max(POINT, ERRORS * np", "max(1.0, ERRORS * np", "table_constraints"),
        ("np.isnan(column) if np.isnan(value) else", "", "table_constraints"),
        ("(1 / n + 1 / training)", "(1 / n)", "table_constraints"),
        ("column > max(known)", "False", "table_values"),
        ("if not field.missing", "if field.missing", "table_values"),
        ("int((column % 1 > 0).sum())", "0", "table_values"),
    ],
    "evaluation/pairs.py": [
        ("variance(gaps) / len(gaps), len(gaps) - 1", "own, freedom", "pairs"),
        ("variance(terms) / len(terms), len(terms) - 1", "0.0, 1", "pairs"),
    ],
    "evaluation/protocol.py": [
        ('if part.name != "weights"', 'if part.name not in ("weights", "representation")', "table_distances"),
    ],
    "evaluation/provenance.py": [
        ('representation=REPRESENTATION if is_table(space) else ""', 'representation=""', "table_distances"),
        ('versions |= dict.fromkeys(sorted(own), f"definition', 'dict.fromkeys(sorted(own), f"definition', "table_report"),
    ],
    "evaluation/results.py": [
        ("if version != FORMAT", "if False", "report_files"),
    ],
    "evaluation/row_mixture.py": [
        ("(joint - norm).exp()", "torch.ones_like(joint) / joint.shape[1]", "table_baselines"),
        ("+ mixture.weights.log()", "", "table_baselines"),
        ("(squares - means.square())", "squares", "table_baselines"),
        ("torch.special.ndtr(z[:, 0].double())", "z[:, 0].double().sigmoid()", "table_baselines"),
        ("/ 2 - mixture.deviations.log()", "/ 2", "table_baselines"),
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
    "evaluation/run_results.py": [
        ('trajectory_seconds=state.get("store_seconds") or None,', "", "trajectory_store"),
        (" if name != str(run.folder)) or None,", ") or None,", "lineage"),
        ('weights_step=state.get("weights_step"),', "", "guard"),
        ("    if not words or lost(", "    if True or lost(", "unfinished"),
        ("    if not words or lost(", "    if lost(", "unfinished"),
    ],
    "evaluation/scoring.py": [
        ("rows_at(self.split, np.arange(len(self.split)))", "rows_at(self.split, examples)", "table_values"),
        ("dataset.space.values(torch.as_tensor(generated))", "dataset.space.values(every)", "table_digits"),
        ("raw.of(every, values) if", "raw.of(every) if", "table_distances"),
        ("training=raw.training", "training=raw.training[::-1] * 2", "table_distances"),
        ("generated=self.raw.at(self.split, picked)", "generated=self.raw.at(self.split, picked) + 1", "table_distances"),
        ('if redraw >= getattr(metric, "floor_redraws", redraw + 1):', "if False:", "table_report"),
        ("(OF_TABLES if is_table(dataset.space) else REDRAWS)", "REDRAWS", "table_report"),
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
    "evaluation/synthetic_training.py": [
        ("float(np.var(accuracies, ddof=1)) - of_few", "0.0", "intervals"),
    ],
    "evaluation/table_baselines.py": [
        ("torch.zeros(space.size, dtype=torch.int64) if whole", "torch.tensor(space.owners) if whole", "table_baselines"),
        ("else torch.tensor(space.owners)", "else torch.zeros(space.size, dtype=torch.int64)", "table_baselines"),
        ("torch.special.ndtr(z.double())", "torch.special.ndtr(z.double()).square()", "table_baselines"),
    ],
    "evaluation/truncation.py": [
        ('if "density" not in judge.floors:', "if False:", "table_messages"),
    ],
    "evaluation/turns.py": [
        ("except (CheckpointError, DataError):", "except CheckpointError:", "changing_data"),
        ("except Diverged as error:", "except KeyError as error:", "failing_trainings"),
        ("if fallen and len(fallen) == len(trainers):", "if False:", "failing_trainings"),
    ],
    "evaluation/unseen.py": [
        ("    if own:\n", "    if False:\n", "lineage"),
        ("run.seen.apart != data.apart", "False", "splits_of_tables"),
        ("not known and (model.seen.own is None or", "not known or (model.seen.own is None or", "lineage"),
        ("return warnings + shared_examples(data)", "return warnings", "held_out"),
        ("    if not entries:\n", "    if True:\n", "numbers"),
    ],
}
