"""Planted faults of `evaluation`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "evaluation/measurements.py": [
        (
            "self.trajectory_seconds, self.ancestor_seconds",
            "self.trajectory_seconds",
            "report_findings",
        ),
    ],
    "evaluation/joined.py": [
        (
            "    if len({model.weights_step for model in group}) == 1:\n",
            "    if True:\n",
            "health",
        ),
        ("max(statistics.stdev(values), sampling)", "statistics.stdev(values)", "report_findings"),
        ("if len(values) < len(parts)", "if False", "report_findings"),
    ],
    "evaluation/comparison.py": [
        ("if not {*scores} & {*result.scores, *judge.unscored}:", "if False:", "given_samples"),
    ],
    "evaluation/costs.py": [
        (
            "float(np.quantile(timings[name].values, 0.25)",
            "max(timings[name].values",
            "cost",
        ),
        ("FEW_STEPS = 6", "FEW_STEPS = 2", "cost"),
    ],
    "evaluation/curves.py": [
        (
            'rung = climb.rung(transport, f"the teacher of {name}")',
            "rung = climb.rung(transport, name)",
            "ladder",
        ),
        ("    if isinstance(teacher, FlowMap):\n", "    if False:\n", "ladder"),
        ("Jump.of(teacher), inner.steps)", "Jump.of(teacher), 2)", "ladder"),
        (
            "beside_by_calls.get(transport.calls, own)",
            "teachers and teachers[0].samplings",
            "ladder",
        ),
    ],
    "evaluation/evaluator.py": [
        (
            "            x, values = sampler.space.recoded(x, self.data.space)\n",
            "",
            "table_distances",
        ),
        ("further_baselines=tuple(further)", "further_baselines=()", "no_network"),
        ("        if definition:\n", "        if False:\n", "table_report"),
        ("return *warnings, unmet", "return warnings", "table_samples"),
        ("warnings = [*run.warnings, *run.unfinished, *warnings]", "pass", "failing_trainings"),
        ("while smaller and seconds(size) > limit:", "while False:", "plans"),
        ("affordable = int(limit / 2", "affordable = int(limit", "plans"),
        ("redraws = FEW_REDRAWS", "redraws = None", "plans"),
        (
            "metrics=metrics, values=values",
            "metrics=metrics, values=None",
            "table_samples",
        ),
        ("each * (repeat + 1) > seconds", "True", "table_samples"),
        ("if sampler.calls:", "if True:", "table_samples"),
        ("refused=tally.share if tally.drawn else None", "refused=None", "table_samples"),
        (
            "for name in names if name in known",
            "for name in self.floors if name in known",
            "no_network",
        ),
        (
            "n = self.data.space.samples_needed(self.n, len(self.data.train))",
            "n = self.n",
            "table_report",
        ),
        (
            "representation=space.encoder(data).representation",
            'representation=""',
            "table_distances",
        ),
    ],
    "evaluation/features.py": [
        (' or given.startswith("~")', "", "hostile"),
        ("    if wrong:\n", "    if False:\n", "extractors"),
        ("state = state_hash(network)", "state = None", "extractors"),
        ("hashlib.sha256(self.weights.encode())", "hashlib.sha256()", "extractors"),
        ('= "raw" and not learned', '= "raw"', "extractors"),
        ("repr((own, self.preprocessing, state))", "repr((own, self.preprocessing))", "extractors"),
    ],
    "evaluation/intervals.py": [
        ("if score.growth and None not in score.growth:", "if score.growth:", "intervals"),
        ("        most = info.most", "        most = math.inf", "intervals"),
        ("np.clip(ends, least, most)", "np.clip(ends, None, most)", "intervals"),
        ("low, high = of_share(", "low, high = above(", "intervals"),
        ("            low = n\n", "            high = n\n", "intervals"),
        ("max(0.0, root - half) ** 2", "(root - half) * abs(root - half)", "intervals"),
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
        ("method.log_weights(u, few", "method.log_weights(u, 1", "vae"),
        ("if transport.space.no_density:", "if False:", "table_reading"),
    ],
    "evaluation/models.py": [
        ("    if own:\n", "    if False:\n", "lineage"),
        ("run.seen.apart != data.apart", "False", "splits_of_tables"),
        ("    elif not known:\n        seen", "    elif True:\n        seen", "lineage"),
        ("    warnings += shared_examples(data)\n", "", "held_out"),
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
        ("    if entries:\n        warnings +=", "    if False:\n        warnings +=", "numbers"),
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
        (" - d - log_determinant", " - log_determinant", "vae"),
        ("float(explained(", "float(1 - explained(", "vae"),
        ("examples[split.labels[examples] == split.labels[examples[0]]]", "examples", "codes"),
        (
            "split.condition(conditions, examples[:1])",
            "split.condition(conditions, examples[-1:])",
            "codes",
        ),
        ("share * (mean_b - mean_a)", "share * mean_b", "codes"),
        ("points = centred @ axes\n", "points = centred[:, :2]\n", "codes"),
        (
            "points = raw.of(samples, raw.values(x))",
            "points = 2 * raw.of(samples, raw.values(x))",
            "table_distances",
        ),
    ],
    "evaluation/results.py": [
        ("eturn self.l", "eturn -self.l", "report_findings"),
        ("if version != FORMAT", "if False", "report_files"),
        ("            if abs(difference) > margin:\n", "            if True:\n", "pairs"),
        ("return Variation(most)", "return Variation()", "pairs"),
        ("Variation(2 * variance)", "Variation((score.reference_error or 0.0) ** 2)", "pairs"),
        ('if better == "higher":\n            return -value\n        ', "", "pairs"),
        ("        if own != compared:\n", "        if False:\n", "table_distances"),
    ],
    "evaluation/scores.py": [
        ("repr((key, n, redraws, named))", "repr((key, n, named))", "table_report"),
        (
            "values = encoder.values(torch.as_tensor(generated))",
            "values = encoder.values(quantised(generated, dataset.space))",
            "table_digits",
        ),
        ('if redraw >= getattr(metric, "floor_redraws", redraw + 1):', "if False:", "table_report"),
    ],
}
