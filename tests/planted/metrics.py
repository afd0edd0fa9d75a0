"""Planted faults of `metrics`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "metrics/classes.py": [
        ("growth=growth, extra=extra", "extra=extra", "intervals_near_0"),
        ("errors(terms[0], terms[1])", "errors(terms[0], 0 * reference)", "intervals"),
        ("len(labels) == 0 or labels.min() < 0 or labels.max() >= classes", "len(labels) == 0", "metrics_copying"),
    ],
    "metrics/column_shapes.py": [
        ("np.where(np.isnan(side), -np.inf, side)", "side[~np.isnan(side)]", "table_metrics"),
    ],
    "metrics/copying.py": [
        ("variance - of_samples", "0.2 * variance", "intervals"),
        ("float(terms @ terms) * m / max(m - 1, 1)", "0.0", "intervals"),
        ("adjusted * (1 - adjusted) ** 2 / total", "adjusted * (1 - adjusted) / total", "intervals"),
        (" * (1 - total / (m + k))", "", "intervals"),
        ("scale * above.var(ddof=1) / n", "above.var(ddof=1) / n", "intervals"),
        ("(weights**2 * of_generated).sum() + shared", "shared", "intervals"),
        ("error=share_error(authentic", "error=2 * share_error(authentic", "intervals"),
    ],
    "metrics/detection.py": [
        ("fit(rows[~out], own[~out])", "fit(rows, own)", "table_metrics"),
        ("mixed[place, :, column] = rows[order, column]", "mixed[place, :, 0] = rows[order, 0]", "table_metrics"),
        ("2 * np.maximum(means, 0.5) - 1", "np.maximum(means, 0.5)", "table_metrics"),
    ],
    "metrics/exchanges.py": [
        ("stay = round(n * n / (n + m))", "stay = n", "intervals_near_0"),
        ("x[stay:], y[n - stay :]", "x[: n - stay], y[n - stay :]", "intervals_near_0"),
        ("widened * float(np.std", "float(np.std", "intervals_near_0"),
        (" / blocks**0.5", "", "intervals_near_0"),
        ("error * part", "error", "intervals_near_0"),
    ],
    "metrics/fidelity.py": [
        ("nearest(real, real, 1)", "nearest(real, real, 0)", "table_metrics"),
        ("generated - centre, axis=1)", "generated - generated.mean(0), axis=1)", "table_metrics"),
        ("generated[at] - generated.mean(0)", "generated[at] - centre", "table_metrics"),
    ],
    "metrics/growth.py": [
        ("turn = _last(falls, null_mean, value + most)", "turn = _last(falls, null_mean, null_mean)", "intervals_near_0"),
        ("low = lift - root if above > wide else -wide", "low = -wide", "intervals"),
        ("2 * lift * above + wide**2 + lift**2", "wide**2 + lift**2", "intervals"),
        ("max(0.0, growth.null_error**2 - shared) / samplings", "max(0.0, growth.null_error**2 - shared)", "intervals"),
        ("root / m, first * over", "root / m, 0.0", "intervals"),
        ("limit - (limit - null_variance)", "limit - 0.0", "intervals_near_0"),
        ("(null_mean / mean) ** 2", "(null_mean / mean)", "intervals_near_0"),
        ("reference_slope * over, *rest)", "reference_slope * over, rest[0])", "intervals_near_0"),
        ("float(values.mean()))", "(len(counts) - 1) / (2 * n))", "intervals_near_0"),
        ("first / n / distance if distance > 0 else 0.0", "0.0", "intervals_near_0"),
    ],
    "metrics/manifold.py": [
        ("float(np.clip(together / max(shares, 1e-12), 0, 1))", "0.35", "intervals"),
        ("(variance * len(x) / len(generated)) ** 0.5", "0.0", "intervals"),
        ("of_real = (halves * falls * len(y) / len(real)) ** 0.5", "of_real = 0.0", "intervals"),
    ],
    "metrics/membership.py": [
        ("return -near if known is None", "return near if known is None", "table_errors"),
        ("if samples.generated_more is None else samples.generated_more", "if True else None", "table_errors table_report"),
        ("known, scale) + TINY) - near", "known, scale) + TINY)", "table_errors"),
    ],
    "metrics/memorisation.py": [
        ("return distances <= threshold", "return distances < threshold", "metrics_copying"),
        ("np.hypot(share_error(copies.sum(), len(copies)), shared)", "shared", "intervals"),
        ("if threshold == 0:", "if False:", "metrics_copying held_out"),
    ],
    "metrics/modes.py": [
        ("growth=count.divergence_growth", "growth=()", "intervals_near_0"),
    ],
    "metrics/nearest_rows.py": [
        ("if not samples.apart and repeating(known) > REPEATING:", "if False:", "table_errors"),
        ("counts[counts > 1].sum()", "(counts > 1).sum()", "table_errors"),
        ("first == other, 0.5, first < other", "first == other, 1.0, first < other", "table_errors"),
        ("a / b**2 * of_b", "a * of_b", "table_errors"),
        ("cell_variance(cells, others, len(training)) ** 0.5", "0.0", "table_errors"),
        ("(c * (c - 1)).sum()", "(c * c).sum()", "table_errors"),
        ("- (c.sum() / n) ** 2 / rows", "", "table_errors"),
        ("some(samples.training, len(held_out), 2)", "samples.training", "table_errors"),
        ("if not distances[1].any():", "if False:", "table_errors"),
        ("if len(x) > KNOWN:", "if False:", "table_errors"),
    ],
    "metrics/pair_trends.py": [
        ("abs(gap) / 2, np.sign(gap) / 2", "abs(gap), np.sign(gap) / 2", "table_metrics"),
        ("np.where(np.isnan(side), BINS + 2", "np.where(np.isnan(side), 0", "table_metrics"),
        ("value * (u**2 + v**2) / 2", "value", "table_metrics"),
        (" * len(x) / both.sum()", "", "table_errors"),
        (
            "if all(value is None for value, _ in correlations):",
            "if any(value is None for value, _ in correlations):",
            "table_metrics",
        ),
        ("first[0] * second[2] + second[0]", "first[0] + second[0]", "table_metrics"),
    ],
    "metrics/reconstruction.py": [
        ("blurred(a * b) - mean_a * mean_b", "blurred(a * b)", "vae"),
        ("radius=(0, 0, RADIUS, RADIUS)", "radius=(0, 0, 2, 2)", "vae"),
    ],
    "metrics/sinkhorn.py": [
        ("return of_x - own_x, of_y - own_y", "return of_x - own_x, of_y", "metrics_oracles intervals"),
    ],
    "metrics/table.py": [
        ("sign[of_x], -sign[of_y]", "sign[of_x], sign[of_y]", "table_metrics"),
        ("for names in table.labels], gaps, np.ptp)", "for names in table.labels], gaps)", "table_metrics"),
        ("rising = np.lexsort(rows.T[::-1])", "rising = np.arange(len(rows))", "table_metrics"),
    ],
    "metrics/trees.py": [
        (" and not alone else", " else", "table_metrics"),
        ("min(TO_PREDICT, CELLS_TO_PREDICT", "min(ROWS, CELLS_TO_PREDICT", "table_metrics"),
        ("CODES - 1)", "CODES)", "table_metrics"),
    ],
    "metrics/uncertainty.py": [
        (" * stdtrit(1.5 * (blocks - 1), 0.975) / 1.96", "", "table_errors"),
        ("1 - (ranks[n:] - rankdata(y)) / n", "(ranks[n:] - rankdata(y)) / n", "table_metrics"),
        ("math.sqrt(of_first + of_second), math.sqrt(of_second)", "math.sqrt(of_first), math.sqrt(of_second)", "table_metrics"),
    ],
    "metrics/utility.py": [
        ("classes[-1:] if len(classes) == 2 else classes", "classes[-1:]", "table_metrics"),
        ("(y - mean) / std", "y - mean", "table_metrics"),
        ("squares - ((real - mean) / std * value) ** 2", "squares", "table_errors"),
        ("terms[own] += (above - areas[-1]) / own.mean()", "terms[own] += above - areas[-1]", "table_errors"),
        (" / len(areas) / np.sqrt(len(test))", " / np.sqrt(len(test))", "table_errors"),
        ("if len(seen) > 1 else", "if True else", "table_metrics"),
        ("generated=table.learned, learned=None", "learned=None", "table_metrics"),
    ],
    "metrics/wasserstein.py": [
        (
            "_with_errors(score, first_order, transport_growth(x, y, first_order))",
            "_with_errors(score, first_order, ())",
            "intervals_near_0",
        ),
        (
            "_with_errors(sliced, *sliced_errors_of(x, y))",
            "_with_errors(sliced, sliced_errors_of(x, y)[0], ())",
            "intervals_near_0",
        ),
    ],
}
