"""Planted faults of `report`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "report/bias.py": [
        ("floors.get(name, sum(some) / len(some))", "sum(some) / len(some)", "provenance"),
        ('if not any("nearer_training" in', 'if any("nearer_training" in', "table_baselines"),
        ("return floor_text(comparison, metric) or plain(bias, 2)", "return plain(bias, 2)", "report_figures"),
    ],
    "report/captions.py": [
        ('"Towards real data")', '"Down") and "Down"', "table_report"),
        ("worse[-1] + 1 if worse else 0", "worse[0] + 1 if worse else 0", "report_costs"),
        ("turn = -1.0 if", "turn = 1.0 if", "table_report"),
        ("{measured(best[1], spread)[0]}", "{plain(best[1])}", "report_figures"),
    ],
    "report/charts.py": [
        ("low = max(low, edge / 3) if", "low = low if", "report_parts"),
        ("bool((xs == np.round(xs)).all())", "False", "report_pictures"),
        ("bool((xs == np.round(xs)).all())", "True", "report_pictures"),
    ],
    "report/choosing.py": [
        ("if warned else", "if True else", "report_choices"),
        ("if name in {score.name for score in leaders(comparison, metric)}", "if False", "report_choices"),
        ("_not_proven(comparison, short) + lines", "lines", "report_choices"),
        ("if not _judged(comparison, name) and", "if", "report_choices"),
        ("for text in [*differ, *warned]", "for text in warned", "report_choices"),
        (" or (base is not None and not own.better_than(base))", "", "report_intervals"),
    ],
    "report/clauses.py": [
        (
            'for other in ("w2", "coverage", "recall", "density"):',
            'for other in ("coverage", "recall", "density"):',
            "report_figures",
        ),
    ],
    "report/columns.py": [
        ("return [escape(name) for name in shortened", "return [name for name in shortened", "table_report"),
        ("if np.isnan(error):", "if False:", "table_report"),
        ("return bool(drawn or", "return bool(drawn and", "table_report"),
    ],
    "report/costs.py": [
        ("        duration(training.trajectory_seconds),", "        duration(None),", "report_costs"),
        ("        duration(training.ancestor_seconds),", "        duration(None),", "report_costs"),
        ('"–" if sampling.refused is None else f"{sampling.refused:.1%}"', '"–"', "table_constraints"),
    ],
    "report/facts.py": [
        ("if len(comparison.models) == 1 and", "if", "report_names"),
        ('if data.kind == "row" and data.columns:', "if False:", "table_report"),
        ("if point.budget is not None or seconds is None:", "if seconds is None:", "report_intervals"),
        ("first = next(reads, len(comparison.commands))", "first = len(comparison.commands)", "report_choices"),
    ],
    "report/feature_spaces.py": [
        ("any(map(_has_part, value.values()))", "False", "report_intervals"),
        ('({space})", other.name, model.name)', '({space})", model.name, other.name)', "feature_spaces"),
    ],
    "report/gaussian.py": [
        (
            "if len(ranked) < 2 or (len(lead) == 1 and (base is None or lead[0].better_than(base))):",
            "if len(ranked) < 2:",
            "report_figures",
        ),
        ("and not any(score.better_than(base) for score in lead)", "", "report_figures"),
        ('SEPARATING = ("w2", "sliced_w2", "energy", "coverage")', 'SEPARATING = ("energy", "coverage", "w2")', "report_figures"),
        ("or len(comparison.data.shape) != 1:", ":", "report_figures"),
        ("    if worse == BASELINE:", "    if False:", "report_figures"),
        ("pairs = ahead or", "pairs = pairs or", "report_figures"),
        ("max(pairs, key=", "min(pairs, key=", "report_figures"),
        ("if len(scores) > 1 else []", "if True else []", "report_figures"),
    ],
    "report/health.py": [
        ("measured > 1 and", "", "report_names"),
    ],
    "report/ladder.py": [
        (
            "lines.append(Series(by, index + 1, [default.calls]",
            "name = by; lines.append(Series(by, index + 1, [default.calls]",
            "default_of_the_teacher",
        ),
        ("    if all(worse):", "    if worse[-1]:", "ladder"),
        ("and not first and _above(ladder, metric, own, rungs[0])", "and not first", "finished_ladder"),
        ("and model.weights_step == 0:", "and False:", "finished_ladder"),
    ],
    "report/latent.py": [
        ("square(points.min(0), points.max(0), 1.05)", "square(points.min(0) / 2, points.max(0) / 2)", "codes"),
        ("log_y=True", "log_y=False", "codes"),
    ],
    "report/limits.py": [
        ("(100 if share else 1)", "1", "report_verdict"),
        ("if model.run or model.sampling.calls is not None]", "]", "stored_pictures"),
    ],
    "report/map_captions.py": [
        ('if info.better == "higher"', "if True", "ladder_pictures"),
        ("if higher else", "if True else", "ladder_pictures"),
    ],
    "report/markup.py": [
        ("part if at % 2 else OPTION.sub", "part if True else OPTION.sub", "report_figures"),
        ('r"(<svg\\b.*?</svg>|<[^>]*>)"', 'r"(<[^>]*>)"', "report_figures"),
        ("if column.hint and column.named == column.label", "if False", "report_choices"),
        ("(interval != cell.interval)", "0", "report_choices"),
    ],
    "report/nearest.py": [
        ("partners[closest]])", "partners[: len(closest)]])", "closest_pairs"),
        ("not nearest.usual > 0", "False", "closest_pairs"),
    ],
    "report/page.py": [
        ("score.name.startswith(FORMULA)", "score.name.startswith(())", "file_doors"),
    ],
    "report/rounding.py": [
        ("if score.interval is None:", "if True:", "report_figures"),
        ('return f"{text} {info.unit}".strip()', "return text", "report_figures"),
    ],
    "report/rungs.py": [
        ("if ladder.default == ladder.own:", "if False:", "default_of_the_teacher"),
        ("    if ladder.finished:", "    if False:", "finished_ladder"),
    ],
    "report/samples.py": [
        ("if earlier is not None and steps is not None:", "if earlier and steps is not None:", "report_names"),
    ],
    "report/speeds.py": [
        (
            "for speed, part in zip(slower, parts, strict=True)\n",
            "for speed, part in zip(slower[-1:], parts[-1:])\n",
            "report_figures",
        ),
        ("if len(slower) <= MANY:", "if True:", "report_figures"),
        ("if first.low is None or first.high is None else", "if True else", "report_text"),
        ("high is not None and low > 0 and not apart", "high is not None and low > 0", "report_choices"),
        (
            "slow.low / fast.high, slow.high / fast.low",
            "slow.seconds / fast.seconds, slow.seconds / fast.seconds",
            "report_costs",
        ),
    ],
    "report/sprites.py": [
        ("self.numbers.get(model.name, place)", "place", "report"),
    ],
    "report/statistics.py": [
        ("if base.better_than(own) or not (unclear or at_floor", "if not (unclear or at_floor", "report_choices"),
        ("if self.interval is not None or self.spread is None:", "if self.spread is None:", "report_intervals"),
        (
            "with_spread(self.value, self.spread, self.interval)",
            "with_spread(self.value, self.spread)",
            "report_figures",
        ),
        ("(item[0] == FURTHER, item[0] not in ranking)", "(item[0] != FURTHER, item[0] not in ranking)", "results"),
        ("sorted(known, key=lambda item: item[0])", "known", "report_verdict"),
        ("comparison.info(name).group", "FURTHER", "results"),
        ('name not in (first, "near_copies")', "name != first", "results"),
    ],
    "report/sweep.py": [
        ("base is None or score.better_than(base)", "True", "report_intervals"),
    ],
    "report/table_warnings.py": [
        ("score.interval[0] <= 0.5", "score.interval[0] > 0.5", "table_report"),
        ("key=lambda name: -falls[name]", "key=lambda name: falls[name]", "table_report"),
        ("columns and (floor is None or _below(score, floor))", "columns", "table_report"),
        ("score.interval[1] < floor.value", "True", "table_report"),
    ],
    "report/tables.py": [
        ("        score = replace(score, spread=None)", "        pass", "report_text"),
        ("*comparison.further_baselines) if row is not None", ") if row is not None", "table_baselines"),
        ("if score.interval is not None:", "if False:", "report_intervals"),
        ("at, family_aside(model))", "at)", "report_names"),
    ],
    "report/text.py": [
        ("if worded else shortened(names, room)", "if False else shortened(names, room)", "report_text"),
    ],
    "report/verdict.py": [
        ('" (spread)" if spread and', '"" if spread and', "report_figures"),
        ("if base is not None and base.better_than(ranked[0]):", "if False:", "report_text"),
        ("row for row in comparison.further_baselines if row.name == ROW_COPIES", "row for row in ()", "table_baselines"),
        ("if score.name not in {leader.name for leader in lead})", "if score.name not in {ranked[0].name})", "report_intervals"),
        ("if base is not None and not beat:", "if False:", "report_choices"),
        ("cost.trajectory_seconds, cost.ancestor_seconds", "cost.trajectory_seconds", "report_warnings"),
    ],
}
