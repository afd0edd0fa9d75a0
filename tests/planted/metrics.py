"""Planted faults of `metrics`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "metrics/classes.py": [
        ("growth=growth, extra=extra", "extra=extra", "i n t e r v a l s _ 0"),
        ("errors(terms[0], terms[1])", "errors(terms[0], 0 * reference)", "i n t e r v a l s"),
        ("len(labels) == 0 or labels.min() < 0 or labels.max() >= classes", "len(labels) == 0", "m e t r i c s _ o p y n g"),
    ],
    "metrics/column_shapes.py": [
        ("np.where(np.isnan(side), -np.inf, side)", "side[~np.isnan(side)]", "t a b l e _ m r i c s"),
    ],
    "metrics/copying.py": [
        ("variance - of_samples", "0.2 * variance", "i n t e r v a l s"),
        ("float(terms @ terms) * m / max(m - 1, 1)", "0.0", "i n t e r v a l s"),
        ("adjusted * (1 - adjusted) ** 2 / total", "adjusted * (1 - adjusted) / total", "i n t e r v a l s"),
        (" * (1 - total / (m + k))", "", "i n t e r v a l s"),
        ("scale * above.var(ddof=1) / n", "above.var(ddof=1) / n", "i n t e r v a l s"),
        ("(weights**2 * of_generated).sum() + shared", "shared", "i n t e r v a l s"),
        ("error=share_error(authentic", "error=2 * share_error(authentic", "i n t e r v a l s"),
    ],
    "metrics/detection.py": [
        ("fit(rows[~out], own[~out])", "fit(rows, own)", "t a b l e _ m r i c s"),
        ("mixed[place, :, column] = rows[order, column]", "mixed[place, :, 0] = rows[order, 0]", "t a b l e _ m r i c s"),
        ("2 * np.maximum(means, 0.5) - 1", "np.maximum(means, 0.5)", "t a b l e _ m r i c s"),
    ],
    "metrics/exchanges.py": [
        ("stay = round(n * n / (n + m))", "stay = n", "i n t e r v a l s _ 0"),
        ("x[stay:], y[n - stay :]", "x[: n - stay], y[n - stay :]", "i n t e r v a l s _ 0"),
        ("widened * float(np.std", "float(np.std", "i n t e r v a l s _ 0"),
        (" / blocks**0.5", "", "i n t e r v a l s _ 0"),
        ("error * part", "error", "i n t e r v a l s _ 0"),
    ],
    "metrics/fidelity.py": [
        ("nearest(real, real, 1)", "nearest(real, real, 0)", "t a b l e _ m r i c s"),
        ("generated - centre, axis=1)", "generated - generated.mean(0), axis=1)", "t a b l e _ m r i c s"),
        ("generated[at] - generated.mean(0)", "generated[at] - centre", "t a b l e _ m r i c s"),
    ],
    "metrics/growth.py": [
        ("turn = _last(falls, null_mean, value + most)", "turn = _last(falls, null_mean, null_mean)", "i n t e r v a l s _ 0"),
        ("low = lift - root if above > wide else -wide", "low = -wide", "i n t e r v a l s"),
        ("2 * lift * above + wide**2 + lift**2", "wide**2 + lift**2", "i n t e r v a l s"),
        ("max(0.0, growth.null_error**2 - shared) / samplings", "max(0.0, growth.null_error**2 - shared)", "i n t e r v a l s"),
        ("root / m, first * over", "root / m, 0.0", "i n t e r v a l s"),
        ("limit - (limit - null_variance)", "limit - 0.0", "i n t e r v a l s _ 0"),
        ("(null_mean / mean) ** 2", "(null_mean / mean)", "i n t e r v a l s _ 0"),
        ("reference_slope * over, *rest)", "reference_slope * over, rest[0])", "i n t e r v a l s _ 0"),
        ("float(values.mean()))", "(len(counts) - 1) / (2 * n))", "i n t e r v a l s _ 0"),
        ("first / n / distance if distance > 0 else 0.0", "0.0", "i n t e r v a l s _ 0"),
    ],
    "metrics/manifold.py": [
        ("float(np.clip(together / max(shares, 1e-12), 0, 1))", "0.35", "i n t e r v a l s"),
        ("(variance * len(x) / len(generated)) ** 0.5", "0.0", "i n t e r v a l s"),
        ("of_real = (halves * falls * len(y) / len(real)) ** 0.5", "of_real = 0.0", "i n t e r v a l s"),
    ],
    "metrics/membership.py": [
        ("return -near if known is None", "return near if known is None", "t a b l e _ r o s"),
        ("if samples.generated_more is None else samples.generated_more", "if True else None", "t a b l e _ r o s p"),
        ("known, scale) + TINY) - near", "known, scale) + TINY)", "t a b l e _ r o s"),
    ],
    "metrics/memorisation.py": [
        ("return distances <= threshold", "return distances < threshold", "m e t r i c s _ o p y n g"),
        ("np.hypot(share_error(copies.sum(), len(copies)), shared)", "shared", "i n t e r v a l s"),
        ("if threshold == 0:", "if False:", "m e t r i c s _ o p y n g h l d u"),
    ],
    "metrics/modes.py": [
        ("growth=count.divergence_growth", "growth=()", "i n t e r v a l s _ 0"),
    ],
    "metrics/nearest_rows.py": [
        ("if not samples.apart and repeating(known) > REPEATING:", "if False:", "t a b l e _ r o s"),
        ("counts[counts > 1].sum()", "(counts > 1).sum()", "t a b l e _ r o s"),
        ("first == other, 0.5, first < other", "first == other, 1.0, first < other", "t a b l e _ r o s"),
        ("a / b**2 * of_b", "a * of_b", "t a b l e _ r o s"),
        ("cell_variance(cells, others, len(training)) ** 0.5", "0.0", "t a b l e _ r o s"),
        ("(c * (c - 1)).sum()", "(c * c).sum()", "t a b l e _ r o s"),
        ("- (c.sum() / n) ** 2 / rows", "", "t a b l e _ r o s"),
        ("some(samples.training, len(held_out), 2)", "samples.training", "t a b l e _ r o s"),
        ("if not distances[1].any():", "if False:", "t a b l e _ r o s"),
        ("if len(x) > KNOWN:", "if False:", "t a b l e _ r o s"),
    ],
    "metrics/pair_trends.py": [
        ("abs(gap) / 2, np.sign(gap) / 2", "abs(gap), np.sign(gap) / 2", "t a b l e _ m r i c s"),
        ("np.where(np.isnan(side), BINS + 2", "np.where(np.isnan(side), 0", "t a b l e _ m r i c s"),
        ("value * (u**2 + v**2) / 2", "value", "t a b l e _ m r i c s"),
        (" * len(x) / both.sum()", "", "t a b l e _ r o s"),
        (
            "if all(value is None for value, _ in correlations):",
            "if any(value is None for value, _ in correlations):",
            "t a b l e _ m r i c s",
        ),
        ("first[0] * second[2] + second[0]", "first[0] + second[0]", "t a b l e _ m r i c s"),
    ],
    "metrics/reconstruction.py": [
        ("blurred(a * b) - mean_a * mean_b", "blurred(a * b)", "v a e"),
        ("radius=(0, 0, RADIUS, RADIUS)", "radius=(0, 0, 2, 2)", "v a e"),
    ],
    "metrics/sinkhorn.py": [
        ("return of_x - own_x, of_y - own_y", "return of_x - own_x, of_y", "m e t r i c s _ o a l n v"),
    ],
    "metrics/table.py": [
        ("sign[of_x], -sign[of_y]", "sign[of_x], sign[of_y]", "t a b l e _ m r i c s"),
        ("for names in table.labels], gaps, np.ptp)", "for names in table.labels], gaps)", "t a b l e _ m r i c s"),
        ("rising = np.lexsort(rows.T[::-1])", "rising = np.arange(len(rows))", "t a b l e _ m r i c s"),
        ("float(unit(known))", "1.0", "t a b l e _ m r i c s"),
    ],
    "metrics/trees.py": [
        (" and not alone else", " else", "t a b l e _ m r i c s"),
        ("min(TO_PREDICT, CELLS_TO_PREDICT", "min(ROWS, CELLS_TO_PREDICT", "t a b l e _ m r i c s"),
        ("CODES - 1)", "CODES)", "t a b l e _ m r i c s"),
        ("table.generated.copy(), table.reference.copy()", "table.generated, table.reference", "t a b l e _ m r i c s"),
        ("float(part.min()) - 1", "float(part.min())", "t a b l e _ m r i c s"),
    ],
    "metrics/uncertainty.py": [
        (" * stdtrit(1.5 * (blocks - 1), 0.975) / 1.96", "", "t a b l e _ r o s"),
        ("1 - (ranks[n:] - rankdata(y)) / n", "(ranks[n:] - rankdata(y)) / n", "t a b l e _ m r i c s"),
        (
            "math.sqrt(of_first + of_second), math.sqrt(of_second)",
            "math.sqrt(of_first), math.sqrt(of_second)",
            "t a b l e _ m r i c s",
        ),
    ],
    "metrics/utility.py": [
        ("classes[-1:] if len(classes) == 2 else classes", "classes[-1:]", "t a b l e _ m r i c s"),
        ("(y - mean) / std", "y - mean", "t a b l e _ m r i c s"),
        ("squares - ((real - mean) / std * value) ** 2", "squares", "t a b l e _ r o s"),
        ("terms[own] += (above - areas[-1]) / own.mean()", "terms[own] += above - areas[-1]", "t a b l e _ r o s"),
        (" / len(areas) / np.sqrt(len(test))", " / np.sqrt(len(test))", "t a b l e _ r o s"),
        ("if len(seen) > 1 else", "if True else", "t a b l e _ m r i c s"),
        ("generated=table.learned, learned=None", "learned=None", "t a b l e _ m r i c s"),
    ],
    "metrics/wasserstein.py": [
        (
            "_with_errors(score, first_order, transport_growth(x, y, first_order))",
            "_with_errors(score, first_order, ())",
            "i n t e r v a l s _ 0",
        ),
        (
            "_with_errors(sliced, *sliced_errors_of(x, y))",
            "_with_errors(sliced, sliced_errors_of(x, y)[0], ())",
            "i n t e r v a l s _ 0",
        ),
    ],
}
