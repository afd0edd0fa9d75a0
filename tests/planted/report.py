"""Planted faults of `report`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "report/conditions.py": [
        ("any(map(_has_part, value.values()))", "False", "r e p o t _ f i n d g s"),
        ("cost.trajectory_seconds, cost.ancestor_seconds", "cost.trajectory_seconds", "r e p o t _ f i n d g s"),
        ("row for row in comparison.further_baselines if row.name == ROW_COPIES", "row for row in ()", "t a b l e _ s i n"),
        ("score.interval[0] > 0.5", "score.interval[0] <= 0.5", "t a b l e _ r p o"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "t a b l e _ r p o"),
        ("score.interval[1] < floor.value", "True", "t a b l e _ r p o"),
        ("is not None and m.weights_step == 0)", "is None)", "f i n s h e d _ l a r"),
    ],
    "report/facts.py": [
        ("if model.run or model.sampling.calls is not None]", "]", "s t o r e d _ p i c u"),
    ],
    "report/findings.py": [
        ("if base is not None and base.better_than(own):", "if False:", "r e p o t _ f i n d g s"),
    ],
    "report/latent.py": [
        ("square(points.min(0), points.max(0), 1.05)", "square(points.min(0) / 2, points.max(0) / 2)", "c o d e s"),
    ],
    "report/page.py": [
        ("score.name.startswith(FORMULA)", "score.name.startswith(())", "f i l e _ d o r s"),
    ],
    "report/samples.py": [
        ("partners[closest]])", "partners[: len(closest)]])", "c l o s e t _ p a i r"),
        ("not nearest.usual > 0", "False", "c l o s e t _ p a i r"),
    ],
    "report/statistics.py": [
        ("if base.better_than(own) or not (unclear or at_floor", "if not (unclear or at_floor", "r e p o t _ f i n d g s"),
        ("if self.interval is not None or self.spread is None:", "if self.spread is None:", "r e p o t _ f i n d g s"),
    ],
    "report/tables.py": [
        ("*comparison.further_baselines) if row is not None", ") if row is not None", "t a b l e _ s i n"),
    ],
}
