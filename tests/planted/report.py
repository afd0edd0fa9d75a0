"""Planted faults of `report`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "report/charts.py": [
        ("low = max(low, edge / 3) if", "low = low if", "report_pictures"),
        ("bool((xs == np.round(xs)).all())", "False", "report_pictures"),
        ("bool((xs == np.round(xs)).all())", "True", "report_pictures"),
    ],
    "report/conditions.py": [
        ("worse[-1] + 1 if worse else 0", "worse[0] + 1 if worse else 0", "report_findings"),
        ("any(map(_has_part, value.values()))", "False", "report_findings"),
        ("cost.trajectory_seconds, cost.ancestor_seconds", "cost.trajectory_seconds", "report_findings"),
        ("row for row in comparison.further_baselines if row.name == ROW_COPIES", "row for row in ()", "table_baselines"),
        ("score.interval[0] > 0.5", "score.interval[0] <= 0.5", "table_report"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "table_report"),
        ("score.interval[1] < floor.value", "True", "table_report"),
        ("if score.name not in names), None)", "if score.name != ranked[0].name), None)", "report_findings"),
        ("is not None and m.weights_step == 0)", "is None)", "ladder"),
    ],
    "report/distributions.py": [
        ("known = not np.isnan(share)", "known = True", "table_report"),
    ],
    "report/findings.py": [
        ("if base is not None and base.better_than(own):", "if False:", "report_findings"),
    ],
    "report/page.py": [
        ("score.name.startswith(FORMULA)", "score.name.startswith(())", "hostile"),
    ],
    "report/samples.py": [
        ("if earlier is not None and steps is not None:", "if earlier and steps is not None:", "report_tables"),
    ],
    "report/sprites.py": [
        ("self.numbers.get(model.name, place)", "place", "report"),
    ],
    "report/statistics.py": [
        ("if base.better_than(own) or not (unclear or at_floor", "if not (unclear or at_floor", "report_findings"),
        ("if self.interval is not None or self.spread is None:", "if self.spread is None:", "report_tables"),
        ("(item[0] == FURTHER, item[0] not in ranking)", "(item[0] != FURTHER, item[0] not in ranking)", "results"),
        ("comparison.info(name).group", "FURTHER", "results"),
        ('name not in (first, "near_copies")', "name != first", "results"),
        ('return f"{text} {info.unit}".strip() if', "return text if", "report_tables"),
    ],
    "report/tables.py": [
        ("        score = replace(score, spread=None)", "        pass", "report_tables"),
        ("*comparison.further_baselines) if row is not None", ") if row is not None", "table_baselines"),
        ("at, family_aside(model))", "at)", "report_tables"),
        ("if point.budget is not None or point.seconds is None:", "if point.seconds is None:", "report_findings"),
        ("duration(cost.trajectory_seconds)", "duration(None)", "report_tables"),
        ("duration(cost.ancestor_seconds)", "duration(None)", "report_tables"),
        ('f"{cost.refused:.1%}"', '"–"', "table_constraints"),
    ],
    "report/text.py": [
        ("if len(comparison.models) == 1 and", "if", "report_tables"),
        ('if data.kind == "row" and data.columns', "if False", "table_report"),
        ("first = next(reads, len(comparison.commands))", "first = len(comparison.commands)", "report_tables"),
        ('if info.unit == "%" else 1), 2)', "if False else 1), 2)", "report_findings"),
        ("if model.run or model.sampling.calls is not None]", "]", "report_tables"),
    ],
}
