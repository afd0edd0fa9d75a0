"""Planted faults of `evaluation`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "evaluation/measurements.py": [
        (
            "self.trajectory_seconds, self.ancestor_seconds",
            "self.trajectory_seconds",
            "report_findings",
        ),
    ],
    "evaluation/baselines.py": [
        ("(joint - norm).exp()", "torch.ones_like(joint) / joint.shape[1]", "no_network"),
        ("+ mixture.weights.log()", "", "no_network"),
        ("(squares - means.square())", "squares", "no_network"),
        ("torch.special.ndtr(z[:, 0].double())", "z[:, 0].double().sigmoid()", "no_network"),
        (
            "(\n            -(mixture.means.square() * precision + math.log(2 * math.pi)) / 2\n    "
            "        - mixture.deviations.log()\n        )",
            "-(mixture.means.square() * precision + math.log(2 * math.pi)) / 2",
            "no_network",
        ),
        (
            "\n            torch.zeros(space.size, dtype=torch.int64) if whole else "
            "torch.tensor(space.owners),",
            " torch.tensor(space.owners) if whole else torch.tensor(space.owners)",
            "no_network",
        ),
        (
            "else torch.tensor(space.owners)",
            "else torch.zeros(space.size, dtype=torch.int64)",
            "no_network",
        ),
        ("torch.special.ndtr(z.double())", "torch.special.ndtr(z.double()).square()", "no_network"),
    ],
    "evaluation/comparison.py": [
        (
            "\n        if len(weights := {model.weights_step for model in group}) == 1\n       ",
            " if (weights := {group[0].weights_step})",
            "health",
        ),
        ("max(statistics.stdev(values), sampling)", "statistics.stdev(values)", "report_findings"),
        ("if len(values) < len(parts)", "if False", "report_findings"),
    ],
    "evaluation/curves.py": [
        (
            'drawn = climb.samples(other, f"the teacher of {name}")',
            "drawn = climb.samples(other, name)",
            "ladder",
        ),
        ("if isinstance(teacher, FlowMap) and isinstance(inner, Flow):", "if False:", "ladder"),
        ("Jump.of(teacher), inner.steps)", "Jump.of(teacher), 2)", "ladder"),
        ("same_calls.get(rung.calls, [] if finished else own)", "own", "ladder"),
    ],
    "evaluation/evaluator.py": [
        (
            "            x, values = recoded(x, sampler.space, self.data.space)\n",
            "",
            "table_distances",
        ),
        ("self.further_baselines() if baselines else ()", "()", "no_network"),
        (
            'versions |= dict.fromkeys(own, f"definition',
            'dict.fromkeys(own, f"definition',
            "table_report",
        ),
        (
            "float(\n                np.quantile(timings[name].values, 0.25)",
            "max(\n                timings[name].values",
            "cost",
        ),
        (
            "\n        f\"{what}: {', '.join(constraints)}.\"\n        for what, constraints in "
            "differences.items()\n        if constraints\n    ",
            "f\"{what}: {', '.join(constraints)}.\" for what, constraints in ()",
            "table_samples",
        ),
        ("*[unmet] * bool(tally.unmet)", "", "table_samples"),
        ("() if run is None else (*run.warnings, *run.unfinished)", "()", "failing_trainings"),
        ("(\n    6  # St", "(\n    2  # St", "cost"),
        (
            "metrics=CURVE_SCORES, values=values",
            "metrics=CURVE_SCORES, values=None",
            "table_samples",
        ),
        ("took * (repeat + 1) > judge.plan.sweep / len(rest)", "True", "table_samples"),
        ("if not isinstance(sampler, RowMixture):", "if True:", "table_samples"),
        ("refused=tally.share if tally.drawn else None", "refused=None", "table_samples"),
        (
            "for name in names if name in known",
            "for name in self.floors if name in known",
            "no_network",
        ),
        ("else attacked(self.data, self.n)", "else self.n", "table_report"),
        (
            'representation=REPRESENTATION if isinstance(space, TableSpace) else ""',
            'representation=""',
            "table_distances",
        ),
    ],
    "evaluation/features.py": [
        (' or given.startswith("~")', "", "hostile"),
        ("    if wrong:\n", "    if False:\n", "extractors"),
        ("state = state_hash(network)", "state = None", "extractors"),
        ("hashlib.sha256(self.weights.encode())", "hashlib.sha256()", "extractors"),
        (" and not learned:", ":", "extractors"),
        ("    if isinstance(space, TableSpace):", "    if False:", "table_report"),
        ("repr((own, self.preprocessing, state))", "repr((own, self.preprocessing))", "extractors"),
    ],
    "evaluation/intervals.py": [
        ("if score.growth and None not in score.growth:", "if score.growth:", "intervals"),
        ("else info.most\n", "else math.inf\n", "intervals"),
        ("max(least, end)", "end", "intervals"),
        ("interval = of_share(", "interval = above(", "intervals"),
        ("high = (n, high) if", "high = (low, n) if", "intervals"),
        ("max(0.0, root - half) ** 2)", "(root - half) * abs(root - half))", "intervals"),
        ("min(len(values), 2)", "1", "intervals"),
        ("np.ptp(values) == 0", "False", "floors"),
        ("/ len(terms), len(terms) - 1, tuple", "/ len(terms), 1, tuple", "pairs"),
        ("if len(self.terms) == len(other.terms) > 1:", "if False:", "pairs"),
        ("            self.runs.of_difference(other.runs),\n", "", "pairs"),
        ("if self.root and other.root:", "if False:", "pairs"),
    ],
    "evaluation/model_metrics.py": [
        (
            "if not (held & ~used).any():\n        return max(2, int(used.sum()))\n    return 256",
            "return max(2, int(used.sum()))",
            "cost",
        ),
        ("float(np.var(accuracies, ddof=1)) - of_few", "0.0", "intervals"),
        ("min(len(data.held_out), EXAMPLES)", "len(data.held_out)", "vae"),
        (
            "method.log_weights(space.to_model(x), few",
            "method.log_weights(space.to_model(x), 1",
            "vae",
        ),
        ("if isinstance(transport.space, TableSpace):", "if False:", "table_reading"),
    ],
    "evaluation/models.py": [
        ("    if own:\n", "    if False:\n", "lineage"),
        ("run.seen.apart != data.apart", "False", "splits_of_tables"),
        (
            "not known and (model.seen.own is None or",
            "not known or (model.seen.own is None or",
            "lineage",
        ),
        ("return warnings + shared_examples(data)", "return warnings", "held_out"),
        (' or int(number) > run.state["step"]', "", "stored_pictures"),
        ("known = dtype == example.dtype if", "known = True if", "stored_pictures"),
        ("or not 0 < shape[0] <= most[0]", "", "stored_pictures"),
        ('trajectory_seconds=state.get("store_seconds") or None,', "", "prepared"),
        (
            "\n                taken for name, taken in run.seen.seconds.items() if name != "
            "str(run.folder)\n            )\n           ",
            "taken for name, taken in run.seen.seconds.items())",
            "lineage",
        ),
        ('weights_step=state.get("weights_step"),', "", "finishing"),
        ("for budget in longer)", "for budget in ())", "state_digest"),
        (
            "                _check_headers(file, run.space)",
            "                pass",
            "stored_pictures",
        ),
        ("(unscored if entries else ())", "()", "numbers"),
        ('run.space.drawing(arrays["x"]', 'np.array(arrays["x"]', "spaces"),
    ],
    "evaluation/pictures.py": [
        (
            "if met(autoencoder.space.conditions, data.space.conditions):\n        return "
            "(autoencoder, data)\n    return None",
            "return (autoencoder, data)",
            "codes",
        ),
        ("if not autoencoder.standard", "if False", "codes"),
        ("torch.diag(log_variance.exp().mean(0))", "0", "vae"),
        (
            "\n            + centre.square().sum()\n            - len(centre)\n           ",
            " + centre.square().sum()",
            "vae",
        ),
        ("float(explained(", "float(1 - explained(", "vae"),
        ("examples[split.labels[examples] == split.labels[examples[0]]]", "examples", "codes"),
        (
            "split.condition(conditions, examples[:1])",
            "split.condition(conditions, examples[-1:])",
            "codes",
        ),
        ("share * (means[1] - means[0])", "share * means[1]", "codes"),
        ("axes[:2].T", "axes[-2:].T", "codes"),
        ("points = raw.of(samples, data", "points = 2 * raw.of(samples, data", "table_distances"),
    ],
    "evaluation/plans.py": [
        ("if seconds(plan) <= limit:", "if False:", "plans"),
        ("if seconds(reduced) < seconds(plan):", "if True:", "plans"),
        ("if not stored(n):", "if True:", "plans"),
        ("if plan.memory:", "if True:", "plans"),
        ("return curve + ladder", "return int(curve)", "plans"),
    ],
    "evaluation/results.py": [
        ("eturn self.l", "eturn -self.l", "report_findings"),
        ("if version != FORMAT", "if False", "report_files"),
        ("better if abs(gap) > margin else None", "better", "pairs"),
        ("Variation(max(each, default=0.0))", "Variation()", "pairs"),
        (
            "\n                self._over_samples(row, metric, score, pooled),\n                "
            "Variation(2 * (own + of_target)),\n                runs,\n            ",
            "self._over_samples(row, metric, score, pooled), Variation(own), runs",
            "pairs",
        ),
        ('if better == "higher":\n            return -value\n        ', "", "pairs"),
        ('    "representation": "the representation of rows",\n', "", "table_distances"),
    ],
    "evaluation/scores.py": [
        ("if not own or isinstance", "if True or isinstance", "given_samples"),
        ("repr((key, n, redraws, named))", "repr((key, n, named))", "table_report"),
        (
            "np.clip(values[start : start + BLOCK], low, high)",
            "values[start : start + BLOCK]",
            "table_distances",
        ),
        (
            "_values(self.space, rows_at(split, index))",
            "self.space.values(split.data_units(index))",
            "table_distances",
        ),
        ("(x) if values is None else values)", "(x) if True else values)", "table_distances"),
        ("renumbered(own.values(x), own", "renumbered(space.values(x), own", "table_distances"),
        (
            "torch.from_numpy(space.encoded(values, foreign=True)), values",
            "torch.from_numpy(space.encoded(values, foreign=True)), None",
            "table_values",
        ),
        (
            "None if isinstance(self.space, TableSpace) else self.space.scale",
            "self.space.scale",
            "table_distances",
        ),
        (
            "if isinstance(rows, np.ndarray) and space.accepts(rows):\n        return rows\n    ",
            "",
            "table_values",
        ),
        ("split.table_values is Non", "Tru", "table_values"),
        ("min(2 * train, MOST), learned)", "n, learned)", "table_report"),
        ("rows_at(split, np.arange(len(split)))", "rows_at(split, used)", "table_values"),
        ("space.values(torch.as_tensor(generated))", "space.values(every)", "table_digits"),
        ("raw.of(every, values) if", "raw.of(every) if", "table_distances"),
        ("training=raw.training,", "training=raw.training[::-1] * 2,", "table_distances"),
        (
            "generated=raw.at(split, picked)",
            "generated=raw.at(split, picked) + 1",
            "table_distances",
        ),
        ('if redraw >= getattr(metric, "floor_redraws", redraw + 1):', "if False:", "table_report"),
        (
            "if isinstance(dataset.space, TableSpace):\n        return OF_TABLES\n    ",
            "",
            "table_report",
        ),
        (
            'if name not in getattr(metric(), "left_out", lambda _: ())(samples)',
            "",
            "given_samples",
        ),
    ],
}
