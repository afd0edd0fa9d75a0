"""The two-sample score of published tables: sdmetrics' classifier detection with XGBoost's trees.

References:
    sdmetrics, single_table/detection. Scassola et al., A sobering look at tabular data generation
    via probabilistic circuits (TabPC), 2026, arXiv:2603.23016, whose code takes these trees, and
    whose table has TabDiff, TabSyn and others beside TabPC.
"""

from __future__ import annotations

import numpy as np

from pushforward.tables.metrics.table import Table, codes

__all__ = ["as_numbers", "as_published"]

FOLDS = 3


def as_published(table: Table, seed: int = 0) -> float:
    """1 - (2 max(AUC, 1/2) - 1) of trees that tell real rows from samples, mean over shuffled
    folds.

    Args:
        table: Training rows as ``reference``, and as many samples.
        seed: Of the folds, which sdmetrics draws anew each time.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler
    from xgboost import XGBClassifier

    sides = as_numbers(table)
    rows = np.concatenate(sides)
    real = np.repeat([1, 0], [len(side) for side in sides])
    parts = []
    for known, unseen in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, real):
        trees = XGBClassifier(eval_metric="logloss", enable_categorical=True, random_state=0)
        judge = make_pipeline(RobustScaler(), trees).fit(rows[known], real[known])
        area = roc_auc_score(real[unseen], judge.predict_proba(rows[unseen])[:, 1])
        parts.append(2 * max(0.5, area) - 1)
    return float(1 - np.mean(parts))


def as_numbers(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Real rows and samples as sdmetrics gives them to a classifier, (n, d) each, so that no
    category is left to it as such.

    Numbers come first, missing ones as the mean of the real rows. Each text that real rows hold
    becomes an indicator, and so does a missing one. Categories and levels that a file writes as
    numbers, or as true and false, are numbers, as pandas reads them.
    """
    numbers = []
    indicators = []
    for labels, *sides in zip(table.labels, table.reference.T, table.generated.T, strict=True):
        known = _written(labels)
        if known is None:
            held = sorted(
                np.unique(codes(sides[0], len(labels))),
                key=lambda code: (*labels, "\U0010ffff")[code],
            )
            indicators += [[codes(side, len(labels)) == code for side in sides] for code in held]
        else:
            read = [known[codes(side, len(labels))] for side in sides] if labels else sides
            numbers.append([np.where(np.isnan(side), np.nanmean(read[0]), side) for side in read])
    real, drawn = (
        np.column_stack(side).astype(float) for side in zip(*numbers, *indicators, strict=True)
    )
    return real, drawn


def _written(labels: tuple[str, ...]) -> np.ndarray | None:
    """The numbers that labels are written as, and NaN for a missing one; None where one is
    a text.
    """
    try:
        return np.array(
            [
                *(float({"false": "0", "true": "1"}.get(text.lower(), text)) for text in labels),
                np.nan,
            ]
        )
    except ValueError:
        return None
