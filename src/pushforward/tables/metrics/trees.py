"""Boosted trees that distinguish samples from real rows, or predict a column."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pushforward.data.core.hashes import Floats, Integers, Mask
from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import by_examples, placed
from pushforward.metrics.uncertainty import area, area_errors
from pushforward.tables.metrics.table import Table, rank, shuffled

# Rows that trees are given at most to tell rows apart, and to predict a column, which takes one fit
# instead of three
ROWS = 10_000
TO_PREDICT = 50_000
FEW_COLUMNS = (
    30  # Tables with more columns have fewer rows, since the time grows with the number of cells
)
# Rows from which on a tenth of them says when a predictor has learned enough; of fewer a tenth says
# little
STOPPED = 2000
TREES = 500  # Maximum number of trees of a predictor that is stopped
CODES = 250  # Categories of a column that trees tell apart, at most; the rarest are one


def inputs(table: Table) -> tuple[Floats, Floats]:
    """Convert generated and held-out rows to inputs of trees, without missing values.

    Missing numbers are set to the smallest value of the column; missing categories become an
    additional category. If there are many categories, they are numbered by frequency among held-out
    rows, and the rarest are merged.
    """
    generated = table.generated.copy()
    reference = table.reference.copy()
    for place, discrete in enumerate(table.categorical):
        sides = (generated[:, place], reference[:, place])
        absent = float(len(table.labels[place]))
        if not discrete:
            least = np.fmin(*map(np.fmin.reduce, sides))
            absent = float(np.nan_to_num(least - 1))
        for side in sides:
            side[np.isnan(side)] = absent
        if discrete and absent >= CODES:
            places = np.minimum(rank(reference[:, place], int(absent)), CODES - 1)
            for side in sides:
                side[:] = places[side.astype(np.int64)]
    return generated, reference


def most_rows(columns: int, most: int = ROWS) -> int:
    """Return the maximum number of rows for trees.

    ``most``, fewer above 30 columns, but at least 1,000.
    """
    return max(1000, most * FEW_COLUMNS // max(FEW_COLUMNS, columns))


def classifier(categorical: Mask) -> Any:
    """Build boosted trees for classification.

    Args:
        categorical: Mask of the columns that hold categories, (columns,).

    References:
        Ke et al., LightGBM: a highly efficient gradient boosting decision tree, 2017;
            scikit-learn's implementation, with its
        default settings: 100 trees of at most 31 leaves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        early_stopping=False, categorical_features=categorical, random_state=0
    )


def predictor(categorical: Mask, y: Floats, classes: bool) -> Any:
    """Build boosted trees that predict a column of classes or numbers.

    Args:
        categorical: Mask of the other columns that hold categories, (columns,).
        y: Target column of the training rows, (n,). From 2,000 rows on, training stops when ten
            consecutive trees do not reduce the loss on a tenth of the rows, or after 500 trees.
            With fewer rows, or a class with a single row, it stops after 100 trees.

    References:
        As `classifier`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    _, counts = np.unique(y, return_counts=True)
    stops = len(y) >= STOPPED and not (classes and counts.min() < 2)
    return kind(
        max_iter=TREES if stops else 100,
        early_stopping=stops,
        categorical_features=categorical,
        random_state=0,
    )


FOLDS = 3
ASKED = 1000  # Rows of either side in a fold by which columns are told apart, at most
# The error of an area, measured over new rows on both sides, over that for trees that are given,
# about
TAUGHT = 1.5
Area = tuple[Floats, Floats]  # As `pushforward.metrics.uncertainty.area` returns it


def detected(table: Table, importance: bool = True) -> tuple[list[Area], Floats, list[Integers]]:
    """Distinguish generated from held-out rows by boosted trees, in a three-fold cross-validation.

    Returns:
        Area under the ROC curve of each fold, by its terms; decrease of the area when a column of
            unseen rows is shuffled, averaged over folds, (columns,), or 0 if not requested; and the
            indices of generated and held-out rows, fold by fold.
    """
    from sklearn import config_context

    most = most_rows(len(table.names))
    generated, reference = inputs(table)
    of_x = shuffled(generated, 0)[:most]
    of_y = shuffled(reference, 1)[:most]
    rows = np.concatenate([generated[of_x], reference[of_y]])
    own = np.arange(len(rows)) < len(of_x)
    fold = np.concatenate([np.arange(len(of_x)) % FOLDS, np.arange(len(of_y)) % FOLDS])
    areas = []
    falls = np.zeros(rows.shape[1])
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for number in range(FOLDS):
            out = fold == number
            trees = classifier(table.categorical).fit(rows[~out], own[~out])
            ranks = trees.decision_function(rows[out])
            areas.append(area(ranks[own[out]], ranks[~own[out]]))
            if importance:
                falls += _falls(trees, rows[out], own[out]) / FOLDS
    places = []
    for order in (of_x, of_y):
        places.append(np.concatenate([order[number::FOLDS] for number in range(FOLDS)]))
    return areas, falls, places


def _falls(trees: Any, rows: Floats, own: Mask) -> Floats:
    from sklearn.inspection import permutation_importance

    # rows are in random order
    some = np.concatenate([np.flatnonzero(own)[:ASKED], np.flatnonzero(~own)[:ASKED]])
    found = permutation_importance(
        trees, rows[some], own[some], scoring="roc_auc", n_repeats=1, random_state=0
    )
    return np.asarray(found.importances_mean)


class Detection:
    """Failure of boosted trees to distinguish generated rows from real rows."""

    real_data_redraws: ClassVar[int] = 5
    scores: ClassVar[Infos] = {
        "detection": share_info(
            "Two-sample score",
            "higher",
            "Failure of boosted trees to distinguish samples from real rows: 1 if they cannot, 0 "
            "if they always can. It "
            f"is 2 - 2 max(AUC, 1/2), averaged over {FOLDS} folds.",
            group="Quality and diversity",
            role="quality",
            priority=0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and samples.equal and len(samples.generated) >= 10 * FOLDS

    def __call__(self, samples: Samples) -> Scores:
        """Compute one score, "detection".

        ``extra`` has the mean area under the ROC curve as "auc", the column names as "columns", and
        the decrease of the area when each column is shuffled as "falls".
        """
        areas, falls, (at_x, at_y) = detected(samples.table, samples.errors)
        means = []
        variances = np.zeros(2)
        of_x = []
        of_y = []
        for above, below in areas:
            means.append(above.mean())
            variances += np.square(area_errors(above, below))
            of_x.append(-2 * TAUGHT * (above - above.mean()))
            of_y.append(-2 * TAUGHT * (below - below.mean()))
        value = float(1 - np.mean(2 * np.maximum(means, 0.5) - 1))
        if not samples.errors:
            return {"detection": Score(value)}
        error, shared = 2 * TAUGHT * np.sqrt(variances) / FOLDS
        terms_x = placed(np.concatenate(of_x), at_x, len(samples.table.generated))
        terms_y = placed(np.concatenate(of_y), at_y, len(samples.table.reference))
        score = Score(
            value,
            error=float(error),
            reference_error=float(shared),
            reference_terms=by_examples(terms_y),
            sample_terms=by_examples(terms_x),
            extra={
                "auc": float(np.mean(means)),
                "columns": samples.table.names,
                "falls": tuple(falls.tolist()),
            },
        )
        return {"detection": score}


CLASSES = 20  # Classes of a target that are told apart, at most
OTHERS = "The real-data score comes from trees trained on training rows."


def utility(table: Table) -> tuple[str, float, float] | None:
    """Train trees on samples and test them on real rows.

    "utility_auc" is the area under the ROC curve (one-vs-rest mean over several classes; 1/2 if
    samples have one class), "utility_rmse" the root mean squared error of a numeric target divided
    by the standard deviation of real rows. Rows without a target value are omitted. Trees learn
    from at most 50,000 rows, and fewer for wide tables.

    Returns:
        Name, value and standard error of the score; None if real rows have a single target value.

    References:
        Esteban et al., Real-valued (medical) time series generation with recurrent conditional
        GANs, 2017, arXiv:1706.02633 ("TSTR"); Xu et al., Modeling tabular data using conditional
        GAN, 2019, arXiv:1907.00503 ("machine learning efficacy").
    """
    if table.learned is not None:
        table = replace(table, generated=table.learned, learned=None)
    place = table.names.index(table.target)
    kinds = np.delete(table.categorical, place)
    generated, reference = inputs(table)
    x, y = _without_target(generated, table.generated[:, place], place)
    test, real = _without_target(reference, table.reference[:, place], place)
    if len(real) < 2 or np.ptp(real) == 0 or not x.shape[1]:
        return None
    order = shuffled(np.column_stack([x, y]), 0)[: most_rows(len(table.names), TO_PREDICT)]
    x = x[order]
    y = y[order]
    if table.categorical[place]:
        return ("utility_auc", *_class_area(kinds, x, y, test, real))
    return ("utility_rmse", *_number_error(kinds, x, y, test, real))


def _without_target(rows: Floats, target: Floats, place: int) -> tuple[Floats, Floats]:
    known = ~np.isnan(target)
    return np.delete(rows, place, axis=1)[known], target[known]


def _class_area(
    kinds: Mask, x: Floats, y: Floats, test: Floats, real: Floats
) -> tuple[float, float]:
    values, counts = np.unique(real, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][: CLASSES - 1]
    y = np.where(np.isin(y, frequent), y, -1.0)
    real = np.where(np.isin(real, frequent), real, -1.0)
    seen = np.unique(y)
    shares = np.zeros((len(test), len(seen)))
    if len(seen) > 1:
        shares = predictor(kinds, y, True).fit(x, y).predict_proba(test)
    ranks = dict(zip(seen, shares.T, strict=True))
    classes = np.unique(real)
    if len(classes) == 2:
        classes = classes[-1:]
    areas = []
    terms = np.zeros(len(test))
    for value in classes:
        own = real == value
        rank = ranks.get(value, np.zeros(len(test)))
        above, below = area(rank[own], rank[~own])
        areas.append(float(above.mean()))
        terms[own] += (above - areas[-1]) / own.mean()
        terms[~own] += (below - areas[-1]) / (1 - own.mean())
    return float(np.mean(areas)), float(terms.std(ddof=1) / len(areas) / np.sqrt(len(test)))


def _number_error(
    kinds: Mask, x: Floats, y: Floats, test: Floats, real: Floats
) -> tuple[float, float]:
    mean = real.mean()
    std = real.std()
    scaled = (real - mean) / std
    guess = np.zeros(len(test))
    if len(y) > 1:
        guess = predictor(kinds, y, False).fit(x, (y - mean) / std).predict(test)
    squares = (scaled - guess) ** 2
    value = float(np.sqrt(squares.mean()))
    terms = squares - (scaled * value) ** 2  # the unit varies with the same rows
    return value, float(terms.std(ddof=1) / np.sqrt(len(terms)) / (2 * max(value, 1e-12)))


class Utility:
    """Quality of predictions of the target column of real rows by trees trained on samples."""

    definition: ClassVar[int] = 2
    real_data_redraws: ClassVar[int] = 1  # real rows to learn from are the same every time
    scores: ClassVar[Infos] = {
        "utility_auc": share_info(
            "AUC when trained on samples",
            "higher",
            "Area under the ROC curve of boosted trees trained on samples to predict the target, "
            f"on held-out rows. {OTHERS}",
            group="Use",
        ),
        "utility_rmse": MetricInfo(
            "Error when trained on samples",
            "lower",
            "Root mean squared error, on held-out rows, of boosted trees trained on samples to "
            "predict the target, in units of "
            f"the target's standard deviation. {OTHERS}",
            group="Use",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and bool(samples.table.target)

    def __call__(self, samples: Samples) -> Scores:
        """Compute one of the two scores.

        The error over new samples is unknown, so intervals come from several samplings and the
        error of held-out rows.
        """
        result = utility(samples.table)
        if result is None:
            return {}
        name, value, shared = result
        return {name: Score(value, reference_error=shared)}
