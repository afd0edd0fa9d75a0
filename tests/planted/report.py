"""Planted faults of `report`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "report/findings.py": [
        ("any(map(_uses_imagenet, settings.values()))", "False", "report_findings"),
    ],
    "report/model_findings.py": [
        (
            "or recall is None or collapsed(comparison, model):",
            "or recall is None:",
            "report_findings",
        ),
        (
            "or not score.value or collapsed(comparison, model):",
            "or not score.value:",
            "report_findings",
        ),
        ("score.ratio < DISTINCT:", "score.ratio < DISTINCT / 2:", "planted_faults"),
        ("score.interval[0] <= 0.5", "score.interval[0] > 0.5", "table_report"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "table_report"),
    ],
    "report/ladders.py": [
        ("is not None and model.weights_step == 0:", "is None:", "ladder"),
    ],
    "report/answers.py": [
        ("if own.better_than(base):", "if True:", "report_findings"),
        ("if factor > LONGEST and smaller:", "if smaller:", "report_findings"),
        ("if end is None and begin.advice]", "if begin.advice]", "report_findings"),
        ('if metric == "detection" and hardly_told(score):', "if False:", "table_report"),
        (
            'if comparison.info(metric).better == "lower" and all(ratios):',
            "if False:",
            "report_findings",
        ),
        ("rungs.index(worse[-1]) + 1 :", "rungs.index(worse[0]) + 1 :", "report_findings"),
        ("np.nanargmax(errors - real)", "np.nanargmin(errors - real)", "table_report"),
    ],
    "report/papers.py": [
        ("name.startswith(FORMULA)", "name.startswith(())", "hostile"),
        ("for run in (model, *model.trainings):", "for run in (model,):", "report_files"),
        ('"interval_low": value - margin', '"interval_low": value', "report_files"),
        ("return text.translate(LATEX)", "return text", "report_files"),
        ('bold=bool(row["clear"])', "bold=True", "report_files"),
        ('row[f"{metric}_low"] = low', 'row[f"{metric}_low"] = high', "report_files"),
    ],
    "report/plain_text.py": [
        (
            '" percentage points" if factor == 100',
            '" percentage points" if False',
            "report_findings",
        ),
        ('if data.kind == "row" and data.columns', "if False", "report_findings"),
        (
            "    for points in comparison.sweep.values():\n",
            "    lines += comparison.commands\n    for points in comparison.sweep.values():\n",
            "report_findings",
        ),
    ],
    "report/samples.py": [
        (
            "square(points.min(0), points.max(0), 1.05)",
            "square(points.min(0) / 2, points.max(0) / 2)",
            "codes",
        ),
        ("if model.weights_step is None:", "if not model.weights_step:", "report_findings"),
    ],
    "report/statistics.py": [
        ("if real.equal is None:", "if True:", "report_findings"),
        ("(1 + 1 / draws) * spread", "spread", "report_findings"),
        ("if first.better_than(other):", "if True:", "pairs"),
        ("not any(_apart(other, member) for member in members)", "True", "pairs"),
        ("if not own.better_than(base)]", "if base.better_than(own)]", "pairs"),
        (
            "if self.interval is not None or self.spread is None:",
            "if self.spread is None:",
            "report_findings",
        ),
        ('f"{text} {info.unit}".strip()', "text", "report_findings"),
    ],
    "report/tables.py": [
        ("        score = replace(score, spread=None)", "        pass", "report_findings"),
        ("note, best, decimals_in(comparison, metric))", "note, best)", "report_findings"),
        (
            "(comparison.baseline, *comparison.further_baselines)",
            "(comparison.baseline,)",
            "report_findings",
        ),
        (
            "if point.budget is not None or point.seconds is None:",
            "if point.seconds is None:",
            "report_findings",
        ),
        ('"training.trajectory_seconds"', '"training.seconds"', "report_findings"),
        ('"training.ancestor_seconds"', '"training.seconds"', "report_findings"),
        ("rn 100 * ref", "rn ref", "report_findings"),
    ],
}
