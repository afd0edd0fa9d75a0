"""Planted faults of `report`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "report/conditions.py": [
        ("any(map(_has_part, value.values()))", "False", "report_findings"),
        ("cost.trajectory_seconds, cost.ancestor_seconds", "cost.trajectory_seconds", "report_findings"),
        ("score.interval[0] > 0.5", "score.interval[0] <= 0.5", "table_report"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "table_report"),
        ("score.interval[1] < floor.value", "True", "table_report"),
        ("is not None and m.weights_step == 0)", "is None)", "ladder"),
    ],
    "report/findings.py": [
        ("if base is not None and base.better_than(own):", "if False:", "report_findings"),
    ],
    "report/page.py": [
        ("score.name.startswith(FORMULA)", "score.name.startswith(())", "hostile"),
    ],
    "report/statistics.py": [
        ("if base.better_than(own) or not (unclear or at_floor", "if not (unclear or at_floor", "report_findings"),
        ("if self.interval is not None or self.spread is None:", "if self.spread is None:", "report_findings"),
    ],
}
